//! Owns what the API does to built-in kinds beyond their types: first status, derived fields, what
//! cannot change, what must agree. It refuses controllers' work.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use weir_object::path;

use crate::authorize;
use crate::call::{Call, stamp};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;

/// Fills in what a new object of a built-in kind starts with.
pub(crate) fn begin(resource: &Resource, object: &mut Value, _: &Call) -> Result<(), Refusal> {
    if resource.status {
        path::remove(object, &["status"]);
    }
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Namespace") => {
            path::set(object, &["spec", "finalizers"], json!(["kubernetes"]));
            path::set(object, &["status"], json!({"phase": "Active"}));
            let name = path::text(object, &["metadata", "name"]).to_owned();
            path::set(
                object,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                name.into(),
            );
        }
        ("", "Pod") => {
            path::set(
                object,
                &["status"],
                json!({"phase": "Pending", "qosClass": qos(object)}),
            );
        }
        ("", "PersistentVolumeClaim" | "PersistentVolume") => {
            path::set(object, &["status"], json!({"phase": "Pending"}));
        }
        ("", "Service") => path::set(object, &["status"], json!({"loadBalancer": {}})),
        ("apps", "Deployment" | "DaemonSet" | "StatefulSet") => {
            path::set(object, &["status"], json!({}));
        }
        ("apps", "ReplicaSet") => path::set(object, &["status"], json!({"replicas": 0})),
        ("batch", "Job" | "CronJob") => path::set(object, &["status"], json!({})),
        ("apiextensions.k8s.io", _) => crate::custom::begin(object),
        _ => {}
    }
    every_write(resource, object)
}

/// What each write of the kind does.
pub(crate) fn every_write(resource: &Resource, object: &mut Value) -> Result<(), Refusal> {
    authorize::complete(resource, object);
    if resource.is("", "Secret") {
        merge_string_data(object)?;
        if path::text(object, &["type"]).is_empty() {
            path::set(object, &["type"], "Opaque".into());
        }
    }
    Ok(())
}

fn merge_string_data(secret: &mut Value) -> Result<(), Refusal> {
    let Some(Value::Object(plain)) = path::remove(secret, &["stringData"]) else {
        return Ok(());
    };
    for (key, value) in plain {
        let Value::String(text) = value else {
            return Err(Refusal::BadRequest(format!(
                "stringData.{key} must be a string"
            )));
        };
        path::set(secret, &["data", &key], STANDARD.encode(text).into());
    }
    Ok(())
}

fn qos(pod: &Value) -> &'static str {
    let containers = path::get(pod, &["spec", "containers"]).and_then(Value::as_array);
    let (mut any, mut all) = (false, true);
    for container in containers.into_iter().flatten() {
        for resource in ["cpu", "memory"] {
            let limit = path::get(container, &["resources", "limits", resource]);
            let request = path::get(container, &["resources", "requests", resource]);
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

/// The rules of a built-in kind.
pub(crate) fn check(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let field = |p: &[&str]| path::get(new, p);
    let mut fixed = |p: &[&str]| {
        if let Some(old) = old
            && path::get(old, p) != path::get(new, p)
        {
            let value = path::get(new, p).cloned().unwrap_or_default();
            out.push(Cause::invalid(p.join("."), &value, "field is immutable"));
        }
    };
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("apps", kind @ ("Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")) => {
            fixed(&["spec", "selector"]);
            check_workload(kind, new, &mut out);
        }
        ("batch", "Job") => fixed(&["spec", "template"]),
        ("", "Secret") => {
            fixed(&["type"]);
            check_data(new, true, &mut out);
            check_frozen(old, new, &mut out);
        }
        ("", "ConfigMap") => {
            check_data(new, false, &mut out);
            check_frozen(old, new, &mut out);
        }
        ("", "Pod") => {
            check_containers(new, &["spec"], &mut out);
            if let Some(old) = old {
                check_pod_change(old, new, &mut out);
            }
        }
        ("", "Service") => check_service(old, new, &mut out),
        ("rbac.authorization.k8s.io", _) => out.extend(authorize::check(resource, old, new)),
        ("coordination.k8s.io", "Lease") => {
            let seconds = field(&["spec", "leaseDurationSeconds"]);
            if let Some(seconds) = seconds
                && seconds.as_i64().is_some_and(|s| s <= 0)
            {
                let detail = "must be greater than 0";
                out.push(Cause::invalid("spec.leaseDurationSeconds", seconds, detail));
            }
        }
        ("discovery.k8s.io", "EndpointSlice") if path::text(new, &["addressType"]).is_empty() => {
            out.push(Cause::required("addressType", ""));
        }
        _ => {}
    }
    out
}

fn check_workload(kind: &str, new: &Value, out: &mut Vec<Cause>) {
    let Some(selector) = path::get(new, &["spec", "selector"]) else {
        out.push(Cause::required("spec.selector", ""));
        return;
    };
    if path::get(new, &["spec", "replicas"])
        .and_then(Value::as_i64)
        .is_some_and(|r| r < 0)
    {
        let value = path::get(new, &["spec", "replicas"])
            .cloned()
            .unwrap_or_default();
        let detail = "must be greater than or equal to 0";
        out.push(Cause::invalid("spec.replicas", &value, detail));
    }
    let template = path::get(new, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    let labels = path::get(&template, &["metadata", "labels"])
        .cloned()
        .unwrap_or_default();
    let selects = crate::selector::Selector::from_object(Some(selector));
    match selects {
        None => out.push(Cause::invalid(
            "spec.selector",
            selector,
            "invalid label selector",
        )),
        Some(selects) if selects.is_everything() => {
            let detail = format!("empty selector is invalid for {}", kind.to_lowercase());
            out.push(Cause::invalid("spec.selector", selector, &detail));
        }
        Some(selects) if !selects.matches(&template) => out.push(Cause::invalid(
            "spec.template.metadata.labels",
            &labels,
            "`selector` does not match template `labels`",
        )),
        Some(_) => {}
    }
    check_containers(new, &["spec", "template", "spec"], out);
    if kind == "Deployment" {
        check_strategy(new, out);
    }
}

fn check_strategy(new: &Value, out: &mut Vec<Cause>) {
    let kind = path::text(new, &["spec", "strategy", "type"]);
    let rolling = path::get(new, &["spec", "strategy", "rollingUpdate"]);
    if kind == "Recreate" && rolling.is_some() {
        out.push(Cause::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    let Some(rolling) = rolling else { return };
    let is_zero = |key: &str| match rolling.get(key) {
        Some(Value::Number(n)) => n.as_i64() == Some(0),
        Some(Value::String(text)) => text == "0%",
        _ => false,
    };
    if is_zero("maxUnavailable") && is_zero("maxSurge") {
        let value = rolling.get("maxUnavailable").cloned().unwrap_or_default();
        let detail = "may not be 0 when `maxSurge` is 0";
        out.push(Cause::invalid(
            "spec.strategy.rollingUpdate.maxUnavailable",
            &value,
            detail,
        ));
    }
}

fn check_containers(new: &Value, at: &[&str], out: &mut Vec<Cause>) {
    let spec = path::get(new, at);
    let containers = spec
        .and_then(|s| s.get("containers"))
        .and_then(Value::as_array);
    let at = at.join(".");
    let Some(containers) = containers.filter(|list| !list.is_empty()) else {
        out.push(Cause::required(format!("{at}.containers"), ""));
        return;
    };
    let mut names = Vec::new();
    for (i, container) in containers.iter().enumerate() {
        let name = path::text(container, &["name"]);
        if name.is_empty() {
            out.push(Cause::required(format!("{at}.containers[{i}].name"), ""));
        } else if names.contains(&name) {
            out.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: \"{name}\""),
                field: format!("{at}.containers[{i}].name"),
            });
        }
        names.push(name);
        if path::text(container, &["image"]).is_empty() {
            out.push(Cause::required(format!("{at}.containers[{i}].image"), ""));
        }
    }
}

/// Of a running pod only images, the deadline, tolerations and the grace period may change.
fn check_pod_change(old: &Value, new: &Value, out: &mut Vec<Cause>) {
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "schedulingGates",
            "ephemeralContainers",
        ] {
            path::remove(&mut spec, &[field]);
        }
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                path::remove(container, &["image"]);
            }
        }
        spec
    };
    if old.get("spec") != new.get("spec") && fixed(old) != fixed(new) {
        out.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)",
        ));
    }
}

fn check_data(new: &Value, encoded: bool, out: &mut Vec<Cause>) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in new
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let good = !key.is_empty()
                && key.len() <= 253
                && key != "."
                && key != ".."
                && key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !good {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
                    (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
                    '[-._a-zA-Z0-9]+')";
                out.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &key.clone().into(),
                    detail,
                ));
            }
            let text = value.as_str().unwrap_or_default();
            size += text.len();
            if (encoded || field == "binaryData") && STANDARD.decode(text).is_err() {
                let detail = "illegal base64 data";
                out.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &"".into(),
                    detail,
                ));
            }
        }
    }
    if size > 2 * 1024 * 1024 || (!encoded && size > 1024 * 1024) {
        out.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: may not be more than 1048576 bytes".to_owned(),
            field: String::new(),
        });
    }
}

fn check_frozen(old: Option<&Value>, new: &Value, out: &mut Vec<Cause>) {
    let Some(old) = old else { return };
    if old.get("immutable") != Some(&Value::Bool(true)) {
        return;
    }
    for field in ["data", "binaryData", "immutable"] {
        if old.get(field) != new.get(field) {
            out.push(Cause::forbidden(
                field,
                "field is immutable when `immutable` is set",
            ));
        }
    }
}

fn check_service(old: Option<&Value>, new: &Value, out: &mut Vec<Cause>) {
    let external = path::text(new, &["spec", "type"]) == "ExternalName";
    let ports = path::get(new, &["spec", "ports"]).and_then(Value::as_array);
    let headless = path::text(new, &["spec", "clusterIP"]) == "None";
    if ports.is_none_or(Vec::is_empty) && !external && !headless {
        out.push(Cause::required("spec.ports", ""));
    }
    let many = ports.map_or(0, Vec::len) > 1;
    for (i, port) in ports.into_iter().flatten().enumerate() {
        if many && path::text(port, &["name"]).is_empty() {
            out.push(Cause::required(format!("spec.ports[{i}].name"), ""));
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
        if !(1..=65535).contains(&number) {
            let at = format!("spec.ports[{i}].port");
            out.push(Cause::invalid(
                at,
                &number.into(),
                "must be between 1 and 65535, inclusive",
            ));
        }
    }
    if let Some(old) = old {
        let (before, after) = (
            path::text(old, &["spec", "clusterIP"]),
            path::text(new, &["spec", "clusterIP"]),
        );
        if !before.is_empty() && before != after && !external {
            out.push(Cause::invalid(
                "spec.clusterIPs[0]",
                &after.into(),
                "may not change once set",
            ));
        }
    }
}

/// The instant an object's removal was asked for, as its metadata tells it.
pub(crate) fn mark_deleted(object: &mut Value, call: &Call, grace: i64) {
    let at = call.now.as_second().saturating_add(grace);
    let at = jiff::Timestamp::from_second(at).unwrap_or(call.now);
    path::set(object, &["metadata", "deletionTimestamp"], stamp(at).into());
    path::set(
        object,
        &["metadata", "deletionGracePeriodSeconds"],
        grace.into(),
    );
    if let Some(generation) = path::get(object, &["metadata", "generation"]).and_then(Value::as_i64)
    {
        path::set(object, &["metadata", "generation"], (generation + 1).into());
    }
}
