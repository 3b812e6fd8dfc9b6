//! Owns the comparison of an object before and after a write: whether anything changed, and
//! whether what changed is what is wanted of it.

use serde_json::Value;
use weir_object::path;

use crate::meta;
use crate::registry::Resource;

/// Whether a write is a new generation.
pub(crate) fn needs_generation(resource: &Resource, old: &Value, new: &Value) -> bool {
    if !resource.generation {
        return false;
    }
    if resource.is("scheduling.k8s.io", "PriorityClass") {
        // Its first generation is its last.
        return false;
    }
    let annotations = ["metadata", "annotations"];
    meta::spec_differs(old, new, resource.custom.is_none() || resource.status)
        || (resource.is("apps", "Deployment")
            && path::get(old, &annotations) != path::get(new, &annotations))
}

/// Whether a write changes nothing: times in managedFields do not count, nor does the version in
/// which it was made.
pub(crate) fn same(old: &Value, new: &Value) -> bool {
    let (Some(a), Some(b)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    let keys_equal = a.len() == b.len()
        && a.iter().all(|(key, value)| {
            key == "metadata" || key == "apiVersion" || b.get(key) == Some(value)
        });
    if !keys_equal {
        return false;
    }
    let (Some(a), Some(b)) = (
        a.get("metadata").and_then(Value::as_object),
        b.get("metadata").and_then(Value::as_object),
    ) else {
        return false;
    };
    let meta_equal = a
        .iter()
        .all(|(key, value)| key == "managedFields" || b.get(key) == Some(value))
        && b.keys()
            .all(|key| key == "managedFields" || a.contains_key(key));
    meta_equal && managed_equal(a.get("managedFields"), b.get("managedFields"))
}

fn managed_equal(a: Option<&Value>, b: Option<&Value>) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (a.and_then(Value::as_array), b.and_then(Value::as_array)) else {
        return false;
    };
    let untimed = |entry: &Value| {
        let mut entry = entry.clone();
        path::remove(&mut entry, &["time"]);
        entry
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| untimed(a) == untimed(b))
}
