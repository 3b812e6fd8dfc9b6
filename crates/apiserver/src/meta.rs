//! Owns the rules of `metadata`: names, labels, owners, and which parts only the server writes.

use serde_json::{Map, Value};
use weir_object::path;

use crate::refusal::Cause;
use crate::registry::Resource;
use crate::selector::{is_label_value, is_qualified_name};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-')
}

/// What is wrong with a text that must be a DNS subdomain.
pub(crate) fn not_a_subdomain(text: &str) -> Option<&'static str> {
    (!text.split('.').all(is_dns_label)).then_some(SUBDOMAIN)
}

/// What is wrong with a name, in the API's words.
pub(crate) fn name_fault(resource: &Resource, name: &str) -> Option<String> {
    if resource.kind.group == "rbac.authorization.k8s.io" {
        return segment_faults(name).into_iter().next();
    }
    let label = resource.is("", "Namespace") || resource.is("", "Service");
    let limit = if label { 63 } else { 253 };
    if name.len() > limit {
        return Some(format!("must be no more than {limit} bytes"));
    }
    if label {
        (!is_dns_label(name)).then(|| LABEL.to_owned())
    } else {
        not_a_subdomain(name).map(str::to_owned)
    }
}

/// What keeps a name from being a part of a path.
pub(crate) fn segment_faults(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|illegal| name.contains(**illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

/// What keeps a name from being that of most kinds.
pub(crate) fn subdomain_fault(name: &str) -> Option<&'static str> {
    if name.len() > 253 {
        return Some("must be no more than 253 bytes");
    }
    (!name.split('.').all(is_dns_label)).then_some(SUBDOMAIN)
}

/// All that is wrong with an object's metadata.
pub(crate) fn check(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let Some(meta) = new.get("metadata").and_then(Value::as_object) else {
        return vec![Cause::required("metadata", "")];
    };
    let name = meta.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        out.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if old.is_none()
        && let Some(fault) = name_fault(resource, name)
    {
        out.push(Cause::invalid("metadata.name", &name.into(), &fault));
    }
    check_labels(meta, &mut out);
    for (key, value) in meta
        .get("annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if !is_qualified_name(&key.to_lowercase()) {
            out.push(Cause::invalid(
                "metadata.annotations",
                &key.clone().into(),
                QUALIFIED,
            ));
        }
        if !value.is_string() {
            out.push(Cause::invalid(
                "metadata.annotations",
                value,
                "must be a string",
            ));
        }
    }
    check_owners(meta, &mut out);
    let finalizers = |of: &Value| -> Vec<String> {
        let list = path::get(of, &["metadata", "finalizers"]).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    for finalizer in finalizers(new) {
        if !is_qualified_name(&finalizer) {
            out.push(Cause::invalid(
                "metadata.finalizers",
                &finalizer.into(),
                QUALIFIED,
            ));
        }
    }
    if let Some(old) = old
        && path::get(old, &["metadata", "deletionTimestamp"]).is_some()
    {
        let had = finalizers(old);
        let added: Vec<String> = finalizers(new)
            .into_iter()
            .filter(|f| !had.contains(f))
            .collect();
        if !added.is_empty() {
            let listed: Vec<String> = added.iter().map(|f| format!("\"{f}\"")).collect();
            out.push(Cause::forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new \
                     finalizers []string{{{}}}",
                    listed.join(", ")
                ),
            ));
        }
    }
    out
}

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
'MyValue',  or 'my_value',  or '12345', regex used for validation is \
'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with a label's key.
pub(crate) fn label_key_faults(key: &str) -> Vec<&'static str> {
    let mut out = Vec::new();
    if key.is_empty() {
        out.push("name part must be non-empty");
    }
    if !is_qualified_name(key) {
        out.push(QUALIFIED);
    }
    out
}

/// What is wrong with a label's value.
pub(crate) fn label_value_faults(value: &str) -> Option<&'static str> {
    if is_label_value(value) {
        None
    } else if value.len() > 63 {
        Some("must be no more than 63 bytes")
    } else {
        Some(LABEL_VALUE)
    }
}

fn check_labels(meta: &Map<String, Value>, out: &mut Vec<Cause>) {
    for (key, value) in meta
        .get("labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if !is_qualified_name(key) {
            out.push(Cause::invalid(
                "metadata.labels",
                &key.clone().into(),
                QUALIFIED,
            ));
        }
        match value.as_str() {
            Some(text) if !is_label_value(text) => {
                let fault = if text.len() > 63 {
                    "must be no more than 63 bytes"
                } else {
                    LABEL_VALUE
                };
                out.push(Cause::invalid("metadata.labels", value, fault));
            }
            Some(_) => {}
            None => out.push(Cause::invalid("metadata.labels", value, "must be a string")),
        }
    }
}

fn check_owners(meta: &Map<String, Value>, out: &mut Vec<Cause>) {
    let mut controllers = 0;
    let owners = meta.get("ownerReferences").and_then(Value::as_array);
    for (i, owner) in owners.into_iter().flatten().enumerate() {
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if path::text(owner, &[field]).is_empty() {
                let at = format!("metadata.ownerReferences[{i}].{field}");
                out.push(Cause::invalid(at, &"".into(), detail));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            controllers += 1;
        }
    }
    if controllers > 1 {
        out.push(Cause::invalid(
            "metadata.ownerReferences",
            &Value::Array(owners.cloned().unwrap_or_default()),
            "Only one reference can have Controller set to true",
        ));
    }
}

/// The parts of `metadata` that only the server writes.
const OWNED: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
];

/// Takes the server's parts of `metadata` from the live object, whatever the client sent.
pub(crate) fn carry(old: &Value, new: &mut Value) {
    let Some(old) = old.get("metadata").and_then(Value::as_object) else {
        return;
    };
    let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in OWNED {
        match old.get(field) {
            Some(value) => meta.insert(field.to_owned(), value.clone()),
            None => meta.shift_remove(field),
        };
    }
    meta.shift_remove("selfLink");
    if let Some(name) = old.get("generateName") {
        meta.entry("generateName").or_insert_with(|| name.clone());
    }
}

/// Removes the server's parts of `metadata` from a new object.
pub(crate) fn strip(new: &mut Value) {
    if let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in OWNED {
            meta.shift_remove(field);
        }
        meta.shift_remove("selfLink");
    }
}

/// Whether two objects differ in more than `metadata`, and `status` where it stands apart.
pub(crate) fn spec_differs(old: &Value, new: &Value, status_apart: bool) -> bool {
    let (Some(a), Some(b)) = (old.as_object(), new.as_object()) else {
        return old != new;
    };
    let counts = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !status_apart,
        _ => true,
    };
    a.iter()
        .any(|(key, value)| counts(key) && b.get(key) != Some(value))
        || b.keys().any(|key| counts(key) && !a.contains_key(key))
}
