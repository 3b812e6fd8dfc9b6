//! Owns the name of a revision: a versioned hash of the pod template with everything removed that
//! the API server would fill in by itself. A new default in the API, or one written out by hand,
//! therefore never starts a run. It refuses to look at anything but the template: replicas,
//! strategy and the workload's own metadata are no revision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use weir_object::{digest, path};

/// A pod template's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// `v1:` and the first 16 digits of the digest; what status shows.
    pub id: String,
    /// The whole digest of the normalised template, `sha256:…`.
    pub digest: String,
}

impl Revision {
    /// The revision of a pod template.
    pub fn of(template: &Value) -> Self {
        let digest = digest(&normalised(template));
        let id = format!("v1:{}", digest.get(7..23).unwrap_or_default());
        Self { id, digest }
    }

    /// The revision of a pod template together with the digests of the configuration it refers to.
    /// Without any it is that of the template alone.
    pub fn with(template: &Value, configs: &BTreeMap<String, String>) -> Self {
        if configs.is_empty() {
            return Self::of(template);
        }
        let digest = digest(&serde_json::json!({
            "template": normalised(template), "configs": configs,
        }));
        let id = format!("v1:{}", digest.get(7..23).unwrap_or_default());
        Self { id, digest }
    }

    /// Whether a text is such an identity, and not another controller's.
    pub fn is_id(text: &str) -> bool {
        text.starts_with("v1:")
    }

    /// The part of an identity that may stand in an object's name.
    pub fn name_part(id: &str) -> &str {
        id.rsplit(':').next().unwrap_or(id)
    }
}

/// The template without nulls, empty lists, and fields at the API's defaults.
pub fn normalised(template: &Value) -> Value {
    let mut out = template.clone();
    prune(&mut out);
    drop_empty(&mut out, &["metadata", "labels"]);
    drop_empty(&mut out, &["metadata", "annotations"]);
    drop_empty(&mut out, &["metadata"]);
    if let Some(spec) = path::get_mut(&mut out, &["spec"]).and_then(Value::as_object_mut) {
        pod(spec);
    }
    out
}

/// Removes nulls and empty lists at every depth: the API makes no difference.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for child in map.values_mut() {
                prune(child);
            }
            map.retain(|_, v| !(v.is_null() || v.as_array().is_some_and(Vec::is_empty)));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn drop_empty(value: &mut Value, at: &[&str]) {
    if path::get(value, at)
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        path::remove(value, at);
    }
}

/// Removes `field` where it holds the default.
fn default(map: &mut Map<String, Value>, field: &str, value: &Value) {
    if map.get(field) == Some(value) {
        map.shift_remove(field);
    }
}

fn empty(map: &mut Map<String, Value>, field: &str) {
    if map
        .get(field)
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        map.shift_remove(field);
    }
}

fn pod(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", &"Always".into());
    default(spec, "terminationGracePeriodSeconds", &30.into());
    default(spec, "dnsPolicy", &"ClusterFirst".into());
    default(spec, "schedulerName", &"default-scheduler".into());
    default(spec, "enableServiceLinks", &true.into());
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        default(spec, field, &false.into());
    }
    empty(spec, "securityContext");
    empty(spec, "nodeSelector");
    empty(spec, "affinity");
    // The older name of the same field, which the API keeps filled in.
    if spec.get("serviceAccount") == spec.get("serviceAccountName") {
        spec.shift_remove("serviceAccount");
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for_each(spec, list, |c| container(c, host_network));
    }
    for_each(spec, "volumes", volume);
}

fn for_each(map: &mut Map<String, Value>, list: &str, mut f: impl FnMut(&mut Map<String, Value>)) {
    let items = map.get_mut(list).and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        f(item);
    }
}

fn container(c: &mut Map<String, Value>, host_network: bool) {
    default(c, "terminationMessagePath", &"/dev/termination-log".into());
    default(c, "terminationMessagePolicy", &"File".into());
    for field in ["stdin", "stdinOnce", "tty"] {
        default(c, field, &false.into());
    }
    let pull = default_pull_policy(c.get("image").and_then(Value::as_str).unwrap_or_default());
    default(c, "imagePullPolicy", &pull.into());
    if let Some(resources) = c.get_mut("resources").and_then(Value::as_object_mut) {
        // A request that is not given is taken from the limit.
        let limits = resources.get("limits").and_then(Value::as_object).cloned();
        if let (Some(limits), Some(requests)) = (
            limits,
            resources.get_mut("requests").and_then(Value::as_object_mut),
        ) {
            requests.retain(|name, amount| limits.get(name) != Some(amount));
        }
        empty(resources, "requests");
        empty(resources, "limits");
    }
    empty(c, "resources");
    empty(c, "securityContext");
    for_each(c, "ports", |port| {
        default(port, "protocol", &"TCP".into());
        if host_network && port.get("hostPort") == port.get("containerPort") {
            port.shift_remove("hostPort");
        }
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = c.get_mut(probe).and_then(Value::as_object_mut) else {
            continue;
        };
        for (field, value) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
        ] {
            default(probe, field, &value.into());
        }
        default(probe, "failureThreshold", &3.into());
        default(probe, "initialDelaySeconds", &0.into());
        http_action(probe);
        if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
            default(grpc, "service", &"".into());
        }
    }
    if let Some(hooks) = c.get_mut("lifecycle").and_then(Value::as_object_mut) {
        for hook in hooks.values_mut().filter_map(Value::as_object_mut) {
            http_action(hook);
        }
    }
    for_each(c, "env", |env| {
        default(env, "value", &"".into());
        let from = env.get_mut("valueFrom").and_then(Value::as_object_mut);
        if let Some(from) = from {
            field_ref(from);
            if let Some(resource) = from
                .get_mut("resourceFieldRef")
                .and_then(Value::as_object_mut)
            {
                default(resource, "divisor", &"0".into());
            }
        }
    });
}

fn http_action(holder: &mut Map<String, Value>) {
    if let Some(get) = holder.get_mut("httpGet").and_then(Value::as_object_mut) {
        default(get, "scheme", &"HTTP".into());
        default(get, "path", &"/".into());
    }
}

fn field_ref(holder: &mut Map<String, Value>) {
    if let Some(field) = holder.get_mut("fieldRef").and_then(Value::as_object_mut) {
        default(field, "apiVersion", &"v1".into());
    }
}

fn volume(v: &mut Map<String, Value>) {
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        let Some(source) = v.get_mut(source).and_then(Value::as_object_mut) else {
            continue;
        };
        default(source, "defaultMode", &420.into());
        for_each(source, "items", field_ref);
        for_each(source, "sources", |part| {
            if let Some(down) = part.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                for_each(down, "items", field_ref);
            }
            if let Some(token) = part
                .get_mut("serviceAccountToken")
                .and_then(Value::as_object_mut)
            {
                default(token, "expirationSeconds", &3600.into());
            }
        });
    }
    if let Some(host) = v.get_mut("hostPath").and_then(Value::as_object_mut) {
        default(host, "type", &"".into());
    }
}

/// `Always` for the tag `latest` or no tag, otherwise `IfNotPresent`, as the API defaults it.
fn default_pull_policy(image: &str) -> &'static str {
    let (name, has_digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
        None if has_digest => "IfNotPresent",
        None => "Always",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written() -> Value {
        json!({
            "metadata": {"labels": {"app": "app"}},
            "spec": {
                "serviceAccountName": "app",
                "containers": [{
                    "name": "app", "image": "r:5000/app:1.0.0",
                    "ports": [{"containerPort": 9898}],
                    "resources": {"limits": {"cpu": "100m"}},
                    "readinessProbe": {"httpGet": {"port": "http", "path": "/readyz"}},
                    "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                }],
                "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}],
            },
        })
    }

    fn stored() -> Value {
        json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "app"}},
            "spec": {
                "serviceAccountName": "app", "serviceAccount": "app",
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
                "securityContext": {},
                "containers": [{
                    "name": "app", "image": "r:5000/app:1.0.0", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 9898, "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}},
                    "readinessProbe": {
                        "httpGet": {"port": "http", "path": "/readyz", "scheme": "HTTP"},
                        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                        "failureThreshold": 3,
                    },
                    "env": [{"name": "IP", "valueFrom": {
                        "fieldRef": {"fieldPath": "status.podIP", "apiVersion": "v1"}}}],
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }],
                "volumes": [
                    {"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
                    {"name": "e", "emptyDir": {}},
                ],
            },
        })
    }

    #[test]
    fn r03_defaults_never_change_the_revision() {
        assert_eq!(normalised(&stored()), normalised(&written()));
        assert_eq!(Revision::of(&stored()), Revision::of(&written()));
        let id = Revision::of(&written()).id;
        assert_eq!((id.get(..3), id.len()), (Some("v1:"), 19));
    }

    #[test]
    fn what_changes_the_pods_changes_the_revision() {
        for (at, value) in [
            (
                &["spec", "containers", "0", "image"][..],
                json!("r:5000/app:1.0.1"),
            ),
            (
                &["spec", "containers", "0", "imagePullPolicy"],
                json!("Always"),
            ),
            (
                &["spec", "containers", "0", "env", "0", "name"],
                json!("HOST"),
            ),
            (&["spec", "restartPolicy"], json!("Never")),
            (
                &["metadata", "annotations"],
                json!({"kubectl.kubernetes.io/restartedAt": "x"}),
            ),
            (
                &["spec", "volumes", "1", "emptyDir"],
                json!({"medium": "Memory"}),
            ),
        ] {
            let mut other = written();
            path::set(&mut other, at, value);
            assert_ne!(Revision::of(&other), Revision::of(&written()), "{at:?}");
        }
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        assert_eq!(default_pull_policy("app"), "Always");
        assert_eq!(default_pull_policy("r:5000/app"), "Always");
        assert_eq!(default_pull_policy("app:latest"), "Always");
        assert_eq!(default_pull_policy("app:1"), "IfNotPresent");
        assert_eq!(default_pull_policy("app@sha256:00"), "IfNotPresent");
    }
}
