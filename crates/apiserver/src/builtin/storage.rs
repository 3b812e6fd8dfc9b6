//! Owns the rules of PersistentVolumeClaim, PersistentVolume and StorageClass.

use serde_json::Value;
use weir_schema::Quantity;

use super::checks::{At, Checks, list, members, of, text};
use super::{names, pod};

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

fn access_modes(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let modes = list(spec, "accessModes");
    for mode in modes {
        let mode = mode.as_str().unwrap_or_default();
        checks.one_of(at.field("accessModes"), mode, &MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        checks.forbidden(at.field("accessModes"), detail);
    }
}

/// The spec of a claim.
pub(super) fn claim_spec(spec: &Value, at: At<'_>, checks: &mut Checks) {
    if list(spec, "accessModes").is_empty() {
        checks.required(
            at.field("accessModes"),
            "at least 1 access mode is required",
        );
    }
    checks.selector(at.field("selector"), of(spec, "selector"));
    access_modes(spec, at, checks);
    let requests = of(of(spec, "resources"), "requests");
    match Quantity::of(of(requests, "storage")) {
        None => checks.required(at.field("resources").key("storage"), ""),
        Some(asked) if asked.nanos <= 0 => {
            let at = at.field("resources");
            checks.wrong(
                at.key("storage"),
                &asked.to_string(),
                "must be greater than zero",
            );
        }
        Some(_) => {}
    }
    class_and_mode(spec, at, checks);
}

/// What claims and volumes say alike.
fn class_and_mode(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        checks.faults(at.field("storageClassName"), class, names::subdomain(class));
    }
    checks.one_of_if(
        at.field("volumeMode"),
        text(spec, "volumeMode"),
        &["Block", "Filesystem"],
    );
}

/// Where a claim's data comes from is written under two names; only some kinds may be meant by the
/// older one.
pub(super) fn data_source(claim: &mut Value) {
    let Some(spec) = claim.get_mut("spec") else {
        return;
    };
    let source = of(spec, "dataSource").clone();
    if !source.is_null() {
        let known = matches!(
            (text(&source, "apiGroup"), text(&source, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        );
        if !known {
            weir_object::path::remove(spec, &["dataSource"]);
        } else if of(spec, "dataSourceRef").is_null() {
            weir_object::path::set(spec, &["dataSourceRef"], source);
        }
        return;
    }
    let reference = of(spec, "dataSourceRef").clone();
    if !reference.is_null() && of(&reference, "namespace").is_null() {
        weir_object::path::set(spec, &["dataSource"], reference);
    }
}

/// What may change of a claim.
pub(super) fn claim_change(old: &Value, new: &Value, checks: &mut Checks) {
    let bound = text(of(old, "status"), "phase") == "Bound";
    let (a, b) = (of(old, "spec"), of(new, "spec"));
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Value::Object(map) = &mut spec {
            map.shift_remove("resources");
            map.shift_remove("volumeAttributesClassName");
            // A claim that is bound to nothing yet may come to name its volume.
            if text(a, "volumeName").is_empty() {
                map.shift_remove("volumeName");
            }
            if !bound && text(a, "storageClassName").is_empty() {
                map.shift_remove("storageClassName");
            }
        }
        spec
    };
    let at = At::root("spec");
    let resized = of(a, "resources") != of(b, "resources");
    if fixed(a) != fixed(b) || (resized && !bound) {
        let detail = "spec is immutable after creation except resources.requests and \
                      volumeAttributesClassName for bound claims";
        checks.forbidden(at, detail);
    }
    let asked = |spec| Quantity::of(of(of(of(spec, "resources"), "requests"), "storage"));
    if bound
        && let (Some(before), Some(after)) = (asked(a), asked(b))
        && after < before
    {
        let at = at.field("resources");
        let detail = "field can not be less than status.capacity";
        checks.forbidden(at.field("requests").key("storage"), detail);
    }
}

/// A volume.
pub(super) fn volume(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    if list(spec, "accessModes").is_empty() {
        checks.required(at.field("accessModes"), "");
    }
    access_modes(spec, at, checks);
    let capacity = of(spec, "capacity");
    let at_capacity = at.field("capacity");
    let amounts: Vec<(&String, &Value)> = members(capacity).collect();
    if amounts.is_empty() {
        checks.required(at_capacity, "");
    }
    if of(capacity, "storage").is_null() || amounts.len() > 1 {
        checks.unsupported(at_capacity, capacity, &["storage"]);
    }
    for (name, value) in amounts {
        if let Some(amount) = Quantity::of(value) {
            if amount.nanos < 0 {
                let shown = i64::try_from(amount.nanos / 1_000_000_000).unwrap_or(i64::MIN);
                let detail = "must be a valid resource quantity";
                checks.invalid(at_capacity.key(name), &shown.into(), detail);
            }
            if amount.nanos <= 0 {
                let detail = "must be greater than zero";
                checks.wrong(at_capacity.key(name), &amount.to_string(), detail);
            }
        }
    }
    match text(spec, "persistentVolumeReclaimPolicy") {
        "" => {}
        policy => {
            let known = ["Delete", "Recycle", "Retain"];
            checks.one_of(at.field("persistentVolumeReclaimPolicy"), policy, &known);
        }
    }
    let affinity = of(spec, "nodeAffinity");
    if !affinity.is_null() {
        let at = at.field("nodeAffinity");
        if of(affinity, "required").is_null() {
            checks.required(
                at.field("required"),
                "must specify required node constraints",
            );
        }
    }
    volume_source(spec, at, checks);
    let host = text(of(spec, "hostPath"), "path");
    if host == "/" && text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        checks.forbidden(at.field("persistentVolumeReclaimPolicy"), detail);
    }
    class_and_mode(spec, at, checks);
}

const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
    "flexVolume",
];

fn volume_source(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let mut found = SOURCES.iter().filter(|kind| !of(spec, kind).is_null());
    let Some(first) = found.next() else {
        checks.required(at, "must specify a volume type");
        return;
    };
    if *first == "hostPath" {
        pod::host_path(of(spec, "hostPath"), at.field("hostPath"), checks);
    }
    for other in found {
        checks.forbidden(at.field(other), "may not specify more than 1 volume type");
    }
}

/// What may change of a volume.
pub(super) fn volume_change(old: &Value, new: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let (a, b) = (of(old, "spec"), of(new, "spec"));
    if SOURCES.iter().any(|kind| of(a, kind) != of(b, kind)) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        checks.forbidden(at.field("persistentvolumesource"), detail);
    }
    checks.fixed(
        at.field("volumeMode"),
        of(a, "volumeMode"),
        of(b, "volumeMode"),
    );
}

/// A StorageClass.
pub(super) fn class(object: &Value, checks: &mut Checks) {
    match text(object, "provisioner") {
        "" => checks.required(At::root("provisioner"), ""),
        name => {
            let lower = name.to_lowercase();
            checks.faults(At::root("provisioner"), name, names::qualified(&lower));
        }
    }
    for (key, _) in members(of(object, "parameters")) {
        if key.is_empty() {
            checks.wrong(At::root("parameters"), "", "field can not be empty.");
        }
    }
    let policy = text(object, "reclaimPolicy");
    checks.one_of_if(At::root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    let mode = text(object, "volumeBindingMode");
    let known = ["Immediate", "WaitForFirstConsumer"];
    checks.one_of_if(At::root("volumeBindingMode"), mode, &known);
    let at = At::root("allowedTopologies");
    for (i, term) in list(object, "allowedTopologies").iter().enumerate() {
        let at = at.index(i);
        let at = at.field("matchLabelExpressions");
        for (i, rule) in list(term, "matchLabelExpressions").iter().enumerate() {
            let at = at.index(i);
            if list(rule, "values").is_empty() {
                checks.required(at.field("values"), "");
            }
            let key = text(rule, "key");
            checks.faults(at.field("key"), key, names::qualified(key));
        }
    }
}

/// What may change of a class.
pub(super) fn class_change(old: &Value, new: &Value, checks: &mut Checks) {
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if of(old, field) != of(new, field) {
            checks.forbidden(
                At::root(field),
                &format!("updates to {field} are forbidden."),
            );
        }
    }
    let mode = At::root("volumeBindingMode");
    checks.fixed(
        mode,
        of(old, "volumeBindingMode"),
        of(new, "volumeBindingMode"),
    );
}
