//! Owns the rules of pods and pod templates: the spec as a whole, in the order in which the API
//! judges it. It refuses defaults, and what admission decides.

mod affinity;
mod change;
mod containers;
mod probes;
mod resources;
mod security;
mod volumes;
mod warnings;

use serde_json::{Value, json};

use super::checks::{At, Checks, flag, int, list, members, of, text};
use super::names;

pub(crate) use change::check_change;
pub(crate) use resources::{amount, resource_name};
pub(crate) use volumes::host_path;
pub(crate) use warnings::warnings;

/// What a spec belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Pod,
    Template,
}

/// A new pod.
pub(crate) fn check_new(pod: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(pod, "spec");
    mirror(pod, checks);
    apparmor(pod, checks);
    check_spec(spec, at, Of::Pod, checks);
    for (name, list_of) in [
        ("containers", list(spec, "containers")),
        ("initContainers", list(spec, "initContainers")),
    ] {
        let at = at.field(name);
        for (i, container) in list_of.iter().enumerate() {
            let image = text(container, "image");
            if image != image.trim() {
                let detail = "must not have leading or trailing whitespace";
                checks.wrong(at.index(i).field("image"), image, detail);
            }
        }
    }
    if !list(spec, "ephemeralContainers").is_empty() {
        checks.forbidden(at.field("ephemeralContainers"), "cannot be set on create");
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        checks.forbidden(at.field("nodeName"), detail);
    }
}

/// Profiles in annotations, as they were told once, become fields.
pub(crate) fn profile_fields(pod: &mut Value) {
    let annotations = weir_object::path::get(pod, &["metadata", "annotations"]).cloned();
    for list in ["initContainers", "containers"] {
        let containers =
            weir_object::path::get_mut(pod, &["spec", list]).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let key = format!("{PROFILE}{}", text(container, "name"));
            let Some(told) = annotations
                .as_ref()
                .and_then(|a| a.get(&key))
                .and_then(Value::as_str)
            else {
                continue;
            };
            if !of(of(container, "securityContext"), "appArmorProfile").is_null() {
                continue;
            }
            let profile = match told {
                "runtime/default" => json!({"type": "RuntimeDefault"}),
                "unconfined" => json!({"type": "Unconfined"}),
                told => match told.strip_prefix("localhost/") {
                    Some(name) => json!({"type": "Localhost", "localhostProfile": name}),
                    None => continue,
                },
            };
            weir_object::path::set(container, &["securityContext", "appArmorProfile"], profile);
        }
    }
}

/// Annotations that name the profile of a container begin with this.
const PROFILE: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Marks a pod that stands for one which a node runs by itself.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

fn mirror(pod: &Value, checks: &mut Checks) {
    let told = of(of(of(pod, "metadata"), "annotations"), MIRROR);
    if let Some(told) = told.as_str()
        && text(of(pod, "spec"), "nodeName").is_empty()
    {
        let at = At::root("metadata");
        let at = at.field("annotations");
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        checks.wrong(at.key(MIRROR), told, detail);
    }
}

fn apparmor(pod: &Value, checks: &mut Checks) {
    let at = At::root("metadata");
    let at = at.field("annotations");
    for (key, value) in members(of(of(pod, "metadata"), "annotations")) {
        let value = value.as_str().unwrap_or_default();
        if key.starts_with(PROFILE)
            && !matches!(value, "" | "runtime/default" | "unconfined")
            && !value.starts_with("localhost/")
        {
            let detail = format!("invalid AppArmor profile name: {}", json!(value));
            checks.wrong(at.key(key), value, &detail);
        }
    }
}

/// A template in a workload.
pub(crate) fn check_template(template: &Value, at: At<'_>, checks: &mut Checks) {
    check_template_meta(template, at, checks);
    let spec = of(template, "spec");
    let at = at.field("spec");
    check_spec(spec, at, Of::Template, checks);
    if !list(spec, "ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        checks.forbidden(at.field("ephemeralContainers"), detail);
    }
}

/// The metadata of a template.
pub(crate) fn check_template_meta(template: &Value, at: At<'_>, checks: &mut Checks) {
    let meta = of(template, "metadata");
    checks.labels(at.field("labels"), of(meta, "labels"));
    for (key, _) in members(of(meta, "annotations")) {
        checks.faults(
            at.field("annotations"),
            key,
            names::qualified(&key.to_lowercase()),
        );
    }
}

/// Takes out of a spec what no cluster has turned on: restart policies of single containers, stop
/// signals and volumes of images.
pub(crate) fn drop_disabled(spec: &mut Value) {
    let mut images: Vec<Value> = Vec::new();
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        images = volumes
            .iter()
            .filter(|v| !of(v, "image").is_null())
            .map(|v| of(v, "name").clone())
            .collect();
        volumes.retain(|v| of(v, "image").is_null());
    }
    for name in ["containers", "initContainers"] {
        let containers = spec.get_mut(name).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let Value::Object(map) = container else {
                continue;
            };
            let sidecar =
                name == "initContainers" && map.get("restartPolicy").is_some_and(|p| p == "Always");
            if !sidecar {
                map.shift_remove("restartPolicy");
            }
            map.shift_remove("restartPolicyRules");
            if let Some(Value::Object(lifecycle)) = map.get_mut("lifecycle")
                && lifecycle.shift_remove("stopSignal").is_some()
                && lifecycle.is_empty()
            {
                map.shift_remove("lifecycle");
            }
            if !images.is_empty()
                && let Some(Value::Array(mounts)) = map.get_mut("volumeMounts")
            {
                mounts.retain(|mount| !images.contains(of(mount, "name")));
            }
        }
    }
}

/// The spec of either.
pub(crate) fn check_spec(spec: &Value, at: At<'_>, owner: Of, checks: &mut Checks) {
    let volumes = volumes::check(spec, at.field("volumes"), checks);
    containers::check(spec, at, &volumes, checks);
    if flag(spec, "hostNetwork") {
        host_network(spec, at, owner, checks);
    }
    match text(spec, "restartPolicy") {
        "" => checks.required(at.field("restartPolicy"), ""),
        policy => checks.one_of(
            at.field("restartPolicy"),
            policy,
            &["Always", "OnFailure", "Never"],
        ),
    }
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    match text(spec, "dnsPolicy") {
        "" => checks.required(at.field("dnsPolicy"), ""),
        policy => checks.one_of(at.field("dnsPolicy"), policy, &known),
    }
    checks.labels(at.field("nodeSelector"), of(spec, "nodeSelector"));
    security::check_pod(spec, at.field("securityContext"), checks);
    affinity::check(of(spec, "affinity"), at.field("affinity"), checks);
    dns_config(spec, at.field("dnsConfig"), checks);
    for (i, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        let at = at.field("readinessGates");
        checks.faults(
            at.index(i).field("conditionType"),
            kind,
            names::qualified(kind),
        );
    }
    scheduling_gates(spec, at.field("schedulingGates"), checks);
    affinity::check_spread(spec, at.field("topologySpreadConstraints"), checks);
    let account = text(spec, "serviceAccountName");
    if !account.is_empty() {
        checks.faults(
            at.field("serviceAccountName"),
            account,
            names::subdomain(account),
        );
    }
    let node = text(spec, "nodeName");
    if !node.is_empty() {
        checks.faults(at.field("nodeName"), node, names::subdomain(node));
    }
    if let Some(seconds) = int(spec, "activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        checks.invalid(at.field("activeDeadlineSeconds"), &seconds.into(), detail);
    }
    for field in ["hostname", "subdomain"] {
        let name = text(spec, field);
        if !name.is_empty() {
            checks.faults(at.field(field), name, names::label(name));
        }
    }
    affinity::check_tolerations(spec, at.field("tolerations"), checks);
    host_aliases(spec, at.field("hostAliases"), checks);
    for field in ["priorityClassName", "runtimeClassName"] {
        let name = text(spec, field);
        if !name.is_empty() {
            checks.faults(at.field(field), name, names::subdomain(name));
        }
    }
    let policy = text(spec, "preemptionPolicy");
    checks.one_of_if(
        at.field("preemptionPolicy"),
        policy,
        &["PreemptLowerPriority", "Never"],
    );
    if let Some(os) = spec.get("os").filter(|os| os.is_object()) {
        match text(os, "name") {
            "" => checks.required(at.field("os").field("name"), ""),
            "linux" | "windows" => {}
            other => checks.unsupported(at.field("os"), &other.into(), &["linux", "windows"]),
        }
    }
}

fn host_network(spec: &Value, at: At<'_>, owner: Of, checks: &mut Checks) {
    let at = at.field("containers");
    for (i, container) in list(spec, "containers").iter().enumerate() {
        let at = at.index(i);
        let at = at.field("ports");
        for (i, port) in list(container, "ports").iter().enumerate() {
            let host = int(port, "hostPort").unwrap_or_default();
            let own = int(port, "containerPort").unwrap_or_default();
            if (owner == Of::Pod || host != 0) && host != own {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                checks.invalid(at.index(i).field("hostPort"), &host.into(), detail);
            }
        }
    }
}

fn dns_config(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let config = of(spec, "dnsConfig");
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            checks.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            checks.required(at.field("nameservers"), detail);
            return;
        }
    }
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        checks.invalid(at.field("nameservers"), of(config, "nameservers"), detail);
    }
    for (i, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or_default();
        checks.faults(at.field("nameservers").index(i), server, names::ip(server));
    }
    for (i, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            checks.required(at.field("options").index(i), "must not be empty");
        }
    }
}

fn scheduling_gates(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let mut seen = Vec::new();
    for (i, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        checks.faults(at.index(i), name, names::qualified(name));
        if seen.contains(&name) {
            checks.duplicate(at.index(i), &name.into());
        }
        seen.push(name);
    }
}

fn host_aliases(spec: &Value, at: At<'_>, checks: &mut Checks) {
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let at = at.index(i);
        let ip = text(alias, "ip");
        checks.faults(at.field("ip"), ip, names::ip(ip));
        for (i, host) in list(alias, "hostnames").iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            checks.faults(at.field("hostnames").index(i), host, names::subdomain(host));
        }
    }
}
