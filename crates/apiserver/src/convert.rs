//! Owns the faces of one stored object: versions of a definition differ in `apiVersion`, and the
//! two groups of Event in field names. Events are kept in the core form.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::registry::Resource;

/// Core name and events.k8s.io name of the same field.
const EVENT: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The object as the resource shows it.
pub(crate) fn outward(resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
    if !resource.converts(object) {
        return object.clone();
    }
    let mut out = (**object).clone();
    if let Value::Object(map) = &mut out {
        if resource.is("events.k8s.io", "Event") {
            for (core, new) in EVENT {
                rename(map, core, new);
            }
            rename(map, "reportingComponent", "reportingController");
        }
        map.insert("apiVersion".into(), resource.api_version.clone().into());
    }
    Arc::new(out)
}

/// The object as it is kept, from what the resource was given.
pub(crate) fn inward(resource: &Resource, object: &mut Value) {
    if !resource.is("events.k8s.io", "Event") {
        return;
    }
    if let Value::Object(map) = object {
        for (core, new) in EVENT {
            rename(map, new, core);
        }
        rename(map, "reportingController", "reportingComponent");
        map.insert("apiVersion".into(), "v1".into());
    }
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.shift_remove(from) {
        map.insert(to.to_owned(), value);
    }
}
