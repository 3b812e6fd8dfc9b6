//! Owns the cells of storage: volumes, claims, classes and drivers.

use serde_json::Value;
use weir_object::path;

use super::cells::named;
use super::row::Row;

/// Adds the cells after the name.
pub(super) fn cells(kind: &str, row: &Row<'_>, out: &mut Vec<Value>) {
    match kind {
        "PersistentVolume" => out.extend(volume(row)),
        "PersistentVolumeClaim" => out.extend(claim(row)),
        "StorageClass" => {
            if let Some(Value::String(name)) = out.first_mut()
                && is_default(row)
            {
                name.push_str(" (default)");
            }
            out.extend([
                row.text(&["provisioner"]).into(),
                row.text_or(&["reclaimPolicy"], "Delete"),
                row.text_or(&["volumeBindingMode"], "Immediate"),
                row.truth(&["allowVolumeExpansion"]).into(),
                row.age(),
            ]);
        }
        "CSIDriver" => out.extend(driver(row)),
        "CSINode" => out.extend([row.list(&["spec", "drivers"]).len().into(), row.age()]),
        "CSIStorageCapacity" => out.extend([
            row.text(&["storageClassName"]).into(),
            row.text_or(&["capacity"], "<unset>"),
        ]),
        "VolumeAttachment" => out.extend([
            row.text(&["spec", "attacher"]).into(),
            row.text(&["spec", "source", "persistentVolumeName"]).into(),
            row.text(&["spec", "nodeName"]).into(),
            row.truth(&["status", "attached"]).into(),
            row.age(),
        ]),
        "VolumeAttributesClass" => out.extend([row.text(&["driverName"]).into(), row.age()]),
        _ => out.push(row.age()),
    }
}

fn is_default(row: &Row<'_>) -> bool {
    [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .iter()
    .any(|key| row.text(&["metadata", "annotations", key]) == "true")
}

/// Access modes in their usual order and short.
fn modes(row: &Row<'_>, p: &[&str]) -> String {
    let has = |mode: &str| row.list(p).iter().any(|m| m == mode);
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .into_iter()
    .filter(|(mode, _)| has(mode))
    .map(|(_, short)| short)
    .collect::<Vec<_>>()
    .join(",")
}

fn class(row: &Row<'_>) -> Value {
    const OLD: &str = "volume.beta.kubernetes.io/storage-class";
    match row.get(&["metadata", "annotations", OLD]) {
        Some(class) => class.clone(),
        None => row.text(&["spec", "storageClassName"]).into(),
    }
}

fn phase(row: &Row<'_>) -> Value {
    if row.is_deleted() {
        "Terminating".into()
    } else {
        row.text(&["status", "phase"]).into()
    }
}

fn volume(row: &Row<'_>) -> [Value; 10] {
    let claim = row.get(&["spec", "claimRef"]).map(|of| {
        let text = |field| path::text(of, &[field]);
        format!("{}/{}", text("namespace"), text("name"))
    });
    [
        row.text_or(&["spec", "capacity", "storage"], "0"),
        modes(row, &["spec", "accessModes"]).into(),
        row.text(&["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(row),
        claim.unwrap_or_default().into(),
        class(row),
        row.text_or(&["spec", "volumeAttributesClassName"], "<unset>"),
        row.text(&["status", "reason"]).into(),
        row.age(),
        row.text_or(&["spec", "volumeMode"], "<unset>"),
    ]
}

fn claim(row: &Row<'_>) -> [Value; 8] {
    let name = row.text(&["spec", "volumeName"]);
    let (capacity, modes): (Value, String) = if name.is_empty() {
        ("".into(), String::new())
    } else {
        (
            row.text_or(&["status", "capacity", "storage"], "0"),
            modes(row, &["status", "accessModes"]),
        )
    };
    [
        phase(row),
        name.into(),
        capacity,
        modes.into(),
        class(row),
        row.text_or(&["spec", "volumeAttributesClassName"], "<unset>"),
        row.age(),
        row.text_or(&["spec", "volumeMode"], "<unset>"),
    ]
}

fn driver(row: &Row<'_>) -> [Value; 7] {
    let spec = |field| row.get(&["spec", field]).and_then(Value::as_bool);
    let modes = row.list(&["spec", "volumeLifecycleModes"]);
    let modes: Vec<&str> = modes.iter().filter_map(Value::as_str).collect();
    let tokens = row.get(&["spec", "tokenRequests"]).map(|_| {
        let each = row.list(&["spec", "tokenRequests"]).iter();
        let each = each.map(|t| path::text(t, &["audience"]));
        each.collect::<Vec<_>>().join(",")
    });
    [
        spec("attachRequired").unwrap_or(true).into(),
        spec("podInfoOnMount").unwrap_or_default().into(),
        spec("storageCapacity").unwrap_or_default().into(),
        tokens.unwrap_or_else(|| "<unset>".to_owned()).into(),
        spec("requiresRepublish").unwrap_or_default().into(),
        named(&modes.join(",")),
        row.age(),
    ]
}
