//! Owns the defaults which a real API server fills into built-in kinds, so that what Weir stores,
//! compares and hashes is what a cluster would. Quantities are brought to their canonical text and
//! parts that are always there (`resources`, `status`) are put in, as storing does.
//!
//! It refuses custom kinds, whose defaults are in their own schema, and what admission and
//! controllers add later (service accounts, cluster IPs, node ports).

mod pod;
pub(crate) mod quantity;
mod workload;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::graph::{Absent, Scalar, Schema, TypeRef};

/// Fills in the defaults of a built-in object, by its `apiVersion` and `kind`. Other kinds stay as
/// they are. Doing it twice changes nothing more.
pub fn apply(object: &mut Value) {
    let text = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = weir_object::split_api_version(&api_version);
    let Some(ty) = Schema::builtin().type_of(group, version, &kind) else {
        return;
    };
    settle_parts(object, &ty);
    inner(object, "status", |status| counts(status, &ty));
    match (group, kind.as_str()) {
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => workload::cron_job(object),
        ("", "Pod") => pod::pod(object),
        ("", "PodTemplate") => pod::template(object),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("", "Service") => service(object),
        ("", "Secret") => secret(object),
        ("", "Namespace") => namespace(object),
        ("", "PersistentVolumeClaim") => {
            pod::claim_spec(object.get_mut("spec"));
            part(object, "status", |status| {
                or(status, "phase", json!("Pending"));
            });
        }
        ("", "PersistentVolume") => {
            part(object, "spec", |spec| {
                or(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
                or(spec, "volumeMode", json!("Filesystem"));
                pod::volume_source(spec);
            });
            part(object, "status", |status| {
                or(status, "phase", json!("Pending"));
            });
        }
        ("", "LimitRange") => limit_range(object),
        ("", "Node") => {
            let capacity = weir_object::path::get(object, &["status", "capacity"]).cloned();
            if let Some(capacity) =
                capacity.filter(|c| c.as_object().is_some_and(|c| !c.is_empty()))
            {
                part(object, "status", |status| {
                    keep_or(status, "allocatable", capacity);
                });
            }
        }
        ("", "Endpoints") => {
            for subset in items(object, "subsets") {
                items(subset, "ports").for_each(|port| or(port, "protocol", json!("TCP")));
            }
        }
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object, version),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object),
        ("networking.k8s.io", "IngressClass") => part(object, "spec", |spec| {
            inner(spec, "parameters", |parameters| {
                or(parameters, "scope", json!("Cluster"));
            });
        }),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object),
        ("storage.k8s.io", "StorageClass") => {
            or(object, "reclaimPolicy", json!("Delete"));
            or(object, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            or(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            for port in items(object, "ports") {
                keep_or(port, "name", json!(""));
                or(port, "protocol", json!("TCP"));
            }
        }
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            items(object, "webhooks").for_each(|hook| webhook(hook, false));
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            items(object, "webhooks").for_each(|hook| webhook(hook, true));
        }
        _ => {}
    }
}

pub use quantity::Quantity;

/// Whether a text is a quantity, such as `500m`.
pub fn is_quantity(text: &str) -> bool {
    quantity::canonical(&Value::from(text)).is_some()
}

/// Puts in what is always there, and writes quantities in their canonical form.
fn settle_parts(value: &mut Value, ty: &TypeRef) {
    if ty.name() == Some("io.k8s.apimachinery.pkg.api.resource.Quantity") {
        if let Some(text) = quantity::canonical(value) {
            *value = Value::String(text);
        }
        return;
    }
    match value {
        Value::Object(map) => {
            // Amounts of resources are told to a thousandth at most.
            let amounts = ty
                .map()
                .and_then(|map| map.additional)
                .map(|link| ty.follow(link));
            if amounts.is_some_and(|ty| {
                ty.name() == Some("io.k8s.apimachinery.pkg.api.resource.Quantity")
            }) {
                for value in map.values_mut() {
                    if let Some(text) = quantity::thousandths(value) {
                        *value = Value::String(text);
                    }
                }
                return;
            }
            for (name, field) in ty.map().into_iter().flat_map(|map| &map.fields) {
                let hollow = map.get(name).is_none_or(Value::is_null);
                if field.absent == Absent::EmptyMap && hollow {
                    map.insert(name.clone(), Value::Object(Map::new()));
                }
            }
            for (name, value) in map {
                if let Some(ty) = ty.field(name) {
                    settle_parts(value, &ty);
                }
            }
        }
        Value::Array(list) => {
            if let Some(item) = ty.item() {
                for value in list {
                    settle_parts(value, &item);
                }
            }
        }
        _ => {}
    }
}

/// Counts that a status always tells are zero at first.
fn counts(status: &mut Value, ty: &TypeRef) {
    let Some(ty) = ty.field("status") else { return };
    for name in ty.map().into_iter().flat_map(|map| &map.required) {
        if ty.field(name).and_then(|ty| ty.scalar()) == Some(Scalar::Integer) {
            keep_or(status, name, json!(0));
        }
    }
}

/// Sets a member that is absent, null, empty text or zero.
fn or(value: &mut Value, name: &str, default: Value) {
    let silent = match value.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if silent {
        put(value, name, default);
    }
}

/// Sets a member that is absent or null; zero and empty text are values here.
fn keep_or(value: &mut Value, name: &str, default: Value) {
    if value.get(name).is_none_or(Value::is_null) {
        put(value, name, default);
    }
}

fn put(value: &mut Value, name: &str, new: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(name.to_owned(), new);
    }
}

/// Visits a member map, making it when it is absent.
fn part(value: &mut Value, name: &str, visit: impl FnOnce(&mut Value)) {
    keep_or(value, name, Value::Object(Map::new()));
    inner(value, name, visit);
}

/// Visits a member map when it is there.
fn inner(value: &mut Value, name: &str, visit: impl FnOnce(&mut Value)) {
    if let Some(member) = value.get_mut(name).filter(|member| member.is_object()) {
        visit(member);
    }
}

fn items<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_empty(value: &Value, name: &str) -> bool {
    match value.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

/// Limits of containers follow from each other.
fn limit_range(object: &mut Value) {
    inner(object, "spec", |spec| {
        for limit in items(spec, "limits") {
            if text(limit, "type") != "Container" {
                continue;
            }
            for (from, to) in [
                ("max", "default"),
                ("default", "defaultRequest"),
                ("min", "defaultRequest"),
            ] {
                let Some(Value::Object(amounts)) = limit.get(from).cloned() else {
                    continue;
                };
                part(limit, to, |given| {
                    for (name, amount) in amounts {
                        keep_or(given, &name, amount);
                    }
                });
            }
        }
    });
}

fn service(object: &mut Value) {
    part(object, "spec", |spec| {
        or(spec, "sessionAffinity", json!("None"));
        match text(spec, "sessionAffinity") {
            "None" => {
                if let Some(spec) = spec.as_object_mut() {
                    spec.shift_remove("sessionAffinityConfig");
                }
            }
            "ClientIP" => {
                let set = ["sessionAffinityConfig", "clientIP", "timeoutSeconds"];
                if weir_object::path::get(spec, &set).is_none_or(Value::is_null) {
                    let config = json!({"clientIP": {"timeoutSeconds": 10800}});
                    put(spec, "sessionAffinityConfig", config);
                }
            }
            _ => {}
        }
        or(spec, "type", json!("ClusterIP"));
        for port in items(spec, "ports") {
            or(port, "protocol", json!("TCP"));
            let number = port.get("port").cloned().unwrap_or(json!(0));
            or(port, "targetPort", number);
        }
        let kind = text(spec, "type").to_owned();
        let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
            || kind == "ClusterIP" && !is_empty(spec, "externalIPs");
        if outside {
            or(spec, "externalTrafficPolicy", json!("Cluster"));
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
            keep_or(spec, "internalTrafficPolicy", json!("Cluster"));
        }
        if kind == "LoadBalancer" {
            keep_or(spec, "allocateLoadBalancerNodePorts", json!(true));
        }
    });
}

/// Plain texts become data, over what is there.
fn secret(object: &mut Value) {
    or(object, "type", json!("Opaque"));
    let plain = object
        .as_object_mut()
        .and_then(|map| map.shift_remove("stringData"));
    let Some(Value::Object(plain)) = plain else {
        return;
    };
    part(object, "data", |data| {
        for (name, value) in plain {
            let bytes = value.as_str().unwrap_or_default().as_bytes();
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            put(data, &name, Value::String(text));
        }
    });
}

fn namespace(object: &mut Value) {
    let name = weir_object::path::text(object, &["metadata", "name"]).to_owned();
    if !name.is_empty() {
        let path = ["metadata", "labels", "kubernetes.io/metadata.name"];
        weir_object::path::set(object, &path, Value::String(name));
    }
    part(object, "status", |status| {
        or(status, "phase", json!("Active"));
    });
}

fn autoscaler(object: &mut Value, version: &str) {
    part(object, "spec", |spec| {
        keep_or(spec, "minReplicas", json!(1));
        if version != "v2" {
            keep_or(spec, "targetCPUUtilizationPercentage", json!(80));
            return;
        }
        if is_empty(spec, "metrics") {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
            put(spec, "metrics", json!([metric]));
        }
        inner(spec, "behavior", |behavior| {
            part(behavior, "scaleUp", |rules| {
                keep_or(rules, "stabilizationWindowSeconds", json!(0));
                keep_or(rules, "selectPolicy", json!("Max"));
                let policies = json!([
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15}]);
                keep_or(rules, "policies", policies);
            });
            part(behavior, "scaleDown", |rules| {
                keep_or(rules, "selectPolicy", json!("Max"));
                let policies = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
                keep_or(rules, "policies", policies);
            });
        });
    });
}

fn network_policy(object: &mut Value) {
    part(object, "spec", |spec| {
        for direction in ["ingress", "egress"] {
            for rule in items(spec, direction) {
                items(rule, "ports").for_each(|port| keep_or(port, "protocol", json!("TCP")));
            }
        }
        if is_empty(spec, "policyTypes") {
            let outgoing = !is_empty(spec, "egress");
            let types = if outgoing {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            put(spec, "policyTypes", types);
        }
    });
}

fn binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    part(object, "roleRef", |role| or(role, "apiGroup", json!(GROUP)));
    for subject in items(object, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            or(subject, "apiGroup", json!(GROUP));
        }
    }
}

fn webhook(hook: &mut Value, mutating: bool) {
    keep_or(hook, "failurePolicy", json!("Fail"));
    keep_or(hook, "matchPolicy", json!("Equivalent"));
    keep_or(hook, "namespaceSelector", json!({}));
    keep_or(hook, "objectSelector", json!({}));
    keep_or(hook, "timeoutSeconds", json!(10));
    if mutating {
        keep_or(hook, "reinvocationPolicy", json!("Never"));
    }
    items(hook, "rules").for_each(|rule| keep_or(rule, "scope", json!("*")));
    inner(hook, "clientConfig", |client| {
        inner(client, "service", |service| {
            keep_or(service, "port", json!(443));
        });
    });
}
