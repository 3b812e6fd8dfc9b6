//! Owns the defaults of pods and pod templates.

use serde_json::{Value, json};

use super::{inner, is_empty, items, keep_or, or, part, put, text};

/// A pod. It gets a little more than a template: requests follow limits, links to services, and
/// host ports on the host's network.
pub(super) fn pod(object: &mut Value) {
    part(object, "spec", |spec| {
        spec_defaults(spec);
        keep_or(spec, "enableServiceLinks", json!(true));
        let on_host = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
        for list in ["containers", "initContainers"] {
            for container in items(spec, list) {
                requests_follow_limits(container);
                if on_host {
                    for port in items(container, "ports") {
                        let number = port.get("containerPort").cloned().unwrap_or(json!(0));
                        or(port, "hostPort", number);
                    }
                }
            }
        }
    });
}

fn requests_follow_limits(container: &mut Value) {
    let limits = weir_object::path::get(container, &["resources", "limits"]).cloned();
    let Some(limits) = limits.as_ref().and_then(Value::as_object) else {
        return;
    };
    inner(container, "resources", |resources| {
        part(resources, "requests", |requests| {
            for (name, value) in limits {
                keep_or(requests, name, value.clone());
            }
        });
    });
}

/// The pod template in the `template` member of a spec.
pub(super) fn template(owner: &mut Value) {
    part(owner, "template", |template| {
        part(template, "metadata", |_| {});
        part(template, "spec", spec_defaults);
    });
}

fn spec_defaults(spec: &mut Value) {
    // The old name of a field that is written under both.
    let (new, old) = (
        text(spec, "serviceAccountName").to_owned(),
        text(spec, "serviceAccount").to_owned(),
    );
    if new.is_empty() && !old.is_empty() {
        put(spec, "serviceAccountName", json!(old));
    } else if !new.is_empty() && new != old {
        put(spec, "serviceAccount", json!(new));
    }
    for volume in items(spec, "volumes") {
        // Only a name: an empty directory.
        if volume
            .as_object()
            .is_some_and(|map| map.keys().all(|key| key == "name"))
        {
            put(volume, "emptyDir", json!({}));
        }
        inner(volume, "image", |image| {
            let policy = pull_policy(text(image, "reference"));
            or(image, "pullPolicy", json!(policy));
        });
        volume_source(volume);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items(spec, list).for_each(container);
    }
    or(spec, "dnsPolicy", json!("ClusterFirst"));
    or(spec, "restartPolicy", json!("Always"));
    keep_or(spec, "securityContext", json!({}));
    keep_or(spec, "terminationGracePeriodSeconds", json!(30));
    or(spec, "schedulerName", json!("default-scheduler"));
}

pub(super) fn volume_source(volume: &mut Value) {
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        inner(volume, source, |source| {
            keep_or(source, "defaultMode", json!(0o644));
        });
    }
    inner(volume, "downwardAPI", field_references);
    inner(volume, "projected", |projected| {
        for source in items(projected, "sources") {
            inner(source, "downwardAPI", field_references);
            inner(source, "serviceAccountToken", |token| {
                keep_or(token, "expirationSeconds", json!(3600));
            });
        }
    });
    inner(volume, "hostPath", |path| keep_or(path, "type", json!("")));
    inner(volume, "iscsi", |iscsi| {
        or(iscsi, "iscsiInterface", json!("default"));
    });
    inner(volume, "rbd", |rbd| {
        or(rbd, "pool", json!("rbd"));
        or(rbd, "user", json!("admin"));
        or(rbd, "keyring", json!("/etc/ceph/keyring"));
    });
    inner(volume, "azureDisk", |disk| {
        keep_or(disk, "cachingMode", json!("ReadWrite"));
        keep_or(disk, "fsType", json!("ext4"));
        keep_or(disk, "readOnly", json!(false));
        keep_or(disk, "kind", json!("Shared"));
    });
    inner(volume, "scaleIO", |io| {
        or(io, "storageMode", json!("ThinProvisioned"));
        or(io, "fsType", json!("xfs"));
    });
    inner(volume, "ephemeral", |ephemeral| {
        inner(ephemeral, "volumeClaimTemplate", |claim| {
            claim_spec(claim.get_mut("spec"));
        });
    });
}

pub(super) fn claim_spec(spec: Option<&mut Value>) {
    if let Some(spec) = spec {
        keep_or(spec, "volumeMode", json!("Filesystem"));
    }
}

fn field_references(source: &mut Value) {
    for item in items(source, "items") {
        inner(item, "fieldRef", |reference| {
            or(reference, "apiVersion", json!("v1"));
        });
    }
}

fn container(container: &mut Value) {
    for port in items(container, "ports") {
        or(port, "protocol", json!("TCP"));
    }
    for variable in items(container, "env") {
        inner(variable, "valueFrom", |source| {
            inner(source, "fieldRef", |reference| {
                or(reference, "apiVersion", json!("v1"));
            });
            inner(source, "fileKeyRef", |file| {
                keep_or(file, "optional", json!(false));
            });
        });
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        inner(container, probe, |probe| {
            or(probe, "timeoutSeconds", json!(1));
            or(probe, "periodSeconds", json!(10));
            or(probe, "successThreshold", json!(1));
            or(probe, "failureThreshold", json!(3));
            inner(probe, "httpGet", http_get);
            inner(probe, "grpc", |grpc| keep_or(grpc, "service", json!("")));
        });
    }
    inner(container, "lifecycle", |lifecycle| {
        for hook in ["postStart", "preStop"] {
            inner(lifecycle, hook, |hook| inner(hook, "httpGet", http_get));
        }
    });
    let policy = pull_policy(text(container, "image"));
    or(container, "imagePullPolicy", json!(policy));
    or(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    or(container, "terminationMessagePolicy", json!("File"));
    if is_empty(container, "resources") {
        put(container, "resources", json!({}));
    }
}

fn http_get(action: &mut Value) {
    or(action, "path", json!("/"));
    or(action, "scheme", json!("HTTP"));
}

/// `latest`, said or meant, is pulled each time; a digest means nothing but itself.
fn pull_policy(image: &str) -> &'static str {
    // What is no image has no tag that could move.
    if image.contains(char::is_whitespace) {
        return "IfNotPresent";
    }
    let (name, digest) = image
        .split_once('@')
        .map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or_default();
    let latest = match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest && !last.is_empty(),
    };
    if latest { "Always" } else { "IfNotPresent" }
}
