//! Owns the rules of `metadata`: names, labels, owners, and which parts only the server writes.

use serde_json::{Value, json};
use weir_object::{path, split_api_version};

use crate::builtin::{At, Checks, names};
use crate::refusal::Cause;
use crate::registry::Resource;

/// Together, the keys and values of annotations may not be longer.
const ANNOTATIONS: usize = 256 * 1024;

/// What is wrong with a name.
fn name_faults(resource: &Resource, name: &str) -> names::Faults {
    if resource.custom.is_some() {
        return names::subdomain(name);
    }
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("rbac.authorization.k8s.io", _)
        | ("" | "events.k8s.io", "Event")
        | ("policy", "PodDisruptionBudget")
        | ("autoscaling", "HorizontalPodAutoscaler") => names::path_segment(name),
        ("", "Service") => names::label_1035(name),
        ("", "Namespace") | ("apps", "StatefulSet") => names::label(name),
        _ => names::subdomain(name),
    }
}

/// What is wrong with a prefix of names: a trailing hyphen is part of no name yet.
fn prefix_faults(resource: &Resource, prefix: &str) -> names::Faults {
    let stem = prefix
        .strip_suffix('-')
        .map_or(prefix.to_owned(), |stem| format!("{stem}a"));
    name_faults(resource, &stem)
}

/// All that is wrong with an object's metadata; `early` was found before.
///
/// A change is judged several times over, and each time tells all that it finds: for all kinds as
/// an object and as a change, then by the rules of the kind.
pub(crate) fn check(
    resource: &Resource,
    old: Option<&Value>,
    new: &Value,
    early: Vec<Cause>,
) -> Vec<Cause> {
    let Some(meta) = new.get("metadata").filter(|meta| meta.is_object()) else {
        return vec![Cause::required("metadata", "")];
    };
    let Some(old) = old else {
        let mut out = named(resource, meta);
        out.extend(as_object(meta));
        if strict_finalizers(resource) {
            out.extend(domains(meta));
        }
        return out;
    };
    let mut change = added_finalizers(old, new);
    change.extend(early);
    change.extend(described(meta));
    let mut out = as_object(meta);
    out.extend(change.iter().cloned());
    for round in rounds(resource) {
        match round {
            Round::Object => {
                out.extend(as_object(meta));
                out.extend(domains(meta));
            }
            Round::Change => {
                out.extend(change.iter().cloned());
                out.extend(domains(meta));
            }
            Round::PlainObject => out.extend(as_object(meta)),
            Round::PlainChange => out.extend(change.iter().cloned()),
        }
    }
    out
}

/// One of the ways in which the rules of a kind judge metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Object,
    Change,
    /// Without asking finalizers for a domain.
    PlainObject,
    PlainChange,
}

/// What the rules of a kind judge when an object changes, in order.
fn rounds(resource: &Resource) -> &'static [Round] {
    use Round::{Change, Object, PlainChange, PlainObject};
    if resource.custom.is_some() {
        return &[PlainChange];
    }
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "ConfigMap" | "Secret" | "ServiceAccount" | "Pod" | "Endpoints")
        | ("apps", "ControllerRevision")
        | ("networking.k8s.io", "Ingress" | "IngressClass") => &[Change, Object],
        ("", "ReplicationController" | "Namespace" | "Node")
        | ("batch", "Job")
        | ("networking.k8s.io", "NetworkPolicy" | "IPAddress")
        | ("storage.k8s.io", "StorageClass" | "CSIStorageCapacity") => &[Object, Change],
        ("resource.k8s.io", kind) if kind != "ResourceSlice" => &[Object, Change],
        ("rbac.authorization.k8s.io", _) => &[Object, Object, Change],
        ("", "PersistentVolumeClaim") | ("storage.k8s.io", "VolumeAttributesClass") => {
            &[Object, Change, Object]
        }
        ("", "PersistentVolume") | ("storage.k8s.io", "CSINode" | "VolumeAttachment") => {
            &[Object, Object]
        }
        ("", "LimitRange")
        | ("discovery.k8s.io", "EndpointSlice")
        | ("flowcontrol.apiserver.k8s.io", _) => &[Object],
        ("" | "events.k8s.io", "Event") | ("policy", "PodDisruptionBudget") => &[],
        ("coordination.k8s.io" | "apiextensions.k8s.io", _) => &[PlainChange],
        ("node.k8s.io", _) => &[PlainObject, PlainChange],
        ("admissionregistration.k8s.io", _) => &[PlainObject],
        ("apiregistration.k8s.io", _) => &[PlainChange, PlainObject],
        _ => &[Change],
    }
}

/// What is wrong with the names of a new object.
fn named(resource: &Resource, meta: &Value) -> Vec<Cause> {
    let mut checks = Checks::default();
    let at = At::root("metadata");
    let text = |field: &str| path::text(meta, &[field]);
    let prefix = text("generateName");
    // Names are told as wrong as they are given: a prefix that is wrong makes two wrong names.
    if !prefix.is_empty() {
        for fault in prefix_faults(resource, prefix) {
            checks.wrong(at.field("generateName"), prefix, &fault);
        }
    }
    let name = text("name");
    if name.is_empty() {
        checks.required(at.field("name"), "name or generateName is required");
    } else {
        checks.faults(at.field("name"), name, name_faults(resource, name));
    }
    checks.causes
}

/// What is wrong with what metadata says of any object.
fn as_object(meta: &Value) -> Vec<Cause> {
    let mut checks = Checks {
        causes: described(meta),
    };
    finalizers(meta, &mut checks);
    checks.causes
}

fn described(meta: &Value) -> Vec<Cause> {
    let mut checks = Checks::default();
    let at = At::root("metadata");
    checks.labels(
        at.field("labels"),
        meta.get("labels").unwrap_or(&Value::Null),
    );
    annotations(meta, &mut checks);
    owners(meta, &mut checks);
    checks.causes
}

fn annotations(meta: &Value, checks: &mut Checks) {
    let at = At::root("metadata");
    let mut size = 0;
    for (key, value) in meta
        .get("annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        for fault in names::qualified(&key.to_lowercase()) {
            checks.wrong(at.field("annotations"), key, &fault);
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS {
        checks
            .causes
            .push(Cause::too_long(at.field("annotations"), ANNOTATIONS));
    }
}

fn owners(meta: &Value, checks: &mut Checks) {
    let at = At::root("metadata");
    let at = at.field("ownerReferences");
    let owners = meta.get("ownerReferences").and_then(Value::as_array);
    let mut controller: Option<&Value> = None;
    for owner in owners.into_iter().flatten() {
        let text = |field| path::text(owner, &[field]);
        let api_version = text("apiVersion");
        let (group, version) = split_api_version(api_version);
        if version.is_empty() || api_version.matches('/').count() > 1 {
            checks.wrong(
                at.field("apiVersion"),
                api_version,
                "version must not be empty",
            );
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                checks.wrong(at.field(field), "", "must not be empty");
            }
        }
        if text("kind") == "Event" && group.is_empty() {
            let detail = format!("/{version}, Kind=Event is disallowed from being an owner");
            checks.invalid(at, owner, &detail);
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            match controller {
                Some(first) => {
                    let shown = |o: &Value| {
                        format!("{}/{}", path::text(o, &["kind"]), path::text(o, &["name"]))
                    };
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references \
                         for {} and {}",
                        shown(first),
                        shown(owner)
                    );
                    checks.invalid(at, &json!(owners), &detail);
                }
                None => controller = Some(owner),
            }
        }
    }
}

fn finalizer_list(object: &Value) -> Vec<&str> {
    let list = path::get(object, &["metadata", "finalizers"]).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Whether finalizers of this kind must be standard ones or have a domain, which those kinds ask
/// for whose checks share code with Pods'.
fn strict_finalizers(resource: &Resource) -> bool {
    let lenient = matches!(
        resource.kind.group.as_ref(),
        "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "coordination.k8s.io"
            | "node.k8s.io"
            | "policy"
    );
    resource.custom.is_none() && !lenient && resource.kind.kind != "Event"
}

fn finalizers(meta: &Value, checks: &mut Checks) {
    let at = At::root("metadata");
    let at = at.field("finalizers");
    let list = meta.get("finalizers").and_then(Value::as_array);
    let mut special = 0;
    for name in list.into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        checks.faults(at, name, names::qualified(name));
        special += usize::from(matches!(name, "orphan" | "foregroundDeletion"));
    }
    if special > 1 {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        checks.invalid(at, &json!(list), detail);
    }
}

/// What is told of a custom object's new finalizers.
pub(crate) fn finalizer_warnings(old: Option<&Value>, new: &Value) -> Vec<String> {
    let had = old.map(finalizer_list).unwrap_or_default();
    let fresh = finalizer_list(new).into_iter().filter(|name| {
        !had.contains(name)
            && !name.contains('/')
            && !matches!(*name, "orphan" | "foregroundDeletion")
    });
    let told = fresh.map(|name| {
        let path = if name.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        format!(
            "metadata.finalizers: \"{name}\": prefer a domain-qualified finalizer name{path} to \
             avoid accidental conflicts with other finalizer writers"
        )
    });
    told.collect()
}

/// Finalizers of most built-in kinds name their domain; those of custom kinds need none.
fn domains(meta: &Value) -> Vec<Cause> {
    let mut checks = Checks::default();
    let at = At::root("metadata");
    let at = at.field("finalizers");
    let list = meta.get("finalizers").and_then(Value::as_array);
    for (i, name) in list.into_iter().flatten().enumerate() {
        let name = name.as_str().unwrap_or_default();
        let standard = matches!(name, "orphan" | "foregroundDeletion" | "kubernetes");
        if !name.contains('/') && !standard {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            checks.wrong(at.index(i), name, detail);
        }
    }
    checks.causes
}

fn added_finalizers(old: &Value, new: &Value) -> Vec<Cause> {
    if path::get(old, &["metadata", "deletionTimestamp"]).is_none() {
        return Vec::new();
    }
    let had = finalizer_list(old);
    let added: Vec<String> = finalizer_list(new)
        .into_iter()
        .filter(|f| !had.contains(f))
        .map(|f| format!("\"{f}\""))
        .collect();
    if added.is_empty() {
        return Vec::new();
    }
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        added.join(", ")
    );
    vec![Cause::forbidden("metadata.finalizers", &detail)]
}

/// Keeps of owners that are named twice the first, and says so.
pub(crate) fn dedup_owners(object: &mut Value, warn: &mut dyn FnMut(String)) {
    let Some(owners) =
        path::get_mut(object, &["metadata", "ownerReferences"]).and_then(Value::as_array_mut)
    else {
        return;
    };
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut again: Vec<String> = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            let uid = path::text(&owner, &["uid"]).to_owned();
            if !again.contains(&uid) {
                again.push(uid);
            }
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if !again.is_empty() {
        warn(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in \
             1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate \
             UID(s) observed: {}",
            again.join(", ")
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

/// Takes the server's parts of `metadata` from the live object, whatever the client sent. Answers
/// what the client may not even try to change.
pub(crate) fn carry(old: &Value, new: &mut Value) -> Vec<Cause> {
    let mut early = Vec::new();
    let Some(old) = old.get("metadata").and_then(Value::as_object) else {
        return early;
    };
    let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
        return early;
    };
    for field in ["uid", "deletionTimestamp"] {
        let given = meta
            .get(field)
            .filter(|given| !given.is_null() && *given != "");
        // A time that is there already is kept whatever is sent.
        let free = field == "deletionTimestamp" && old.contains_key(field);
        if let Some(given) = given
            && !free
            && old.get(field) != Some(given)
        {
            let at = format!("metadata.{field}");
            early.push(Cause::invalid(at, given, "field is immutable"));
        }
    }
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
    early
}

/// Removes the server's parts of `metadata` from a new object.
pub(crate) fn strip(new: &mut Value) {
    if let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in OWNED {
            // Kinds whose changes nobody counts keep what was sent.
            if field != "generation" {
                meta.shift_remove(field);
            }
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
