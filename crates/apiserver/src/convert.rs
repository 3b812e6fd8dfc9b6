//! Owns the faces of one stored object: versions of a definition differ in what they know, and the
//! two groups of Event in field names. Events are kept in the core form, autoscalers in version 2.

mod scaler;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};
use weir_object::path;

use crate::registry::Resource;
use crate::stored::{Recent, Stored};
use crate::structural;

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
    if is_as_kept(resource, object.get("apiVersion").and_then(Value::as_str)) {
        return object.clone();
    }
    let mut out = (**object).clone();
    if resource.is("autoscaling", "HorizontalPodAutoscaler") {
        if resource.kind.version == "v1" {
            scaler::to_v1(&mut out);
        } else {
            scaler::to_v2(&mut out);
        }
        return Arc::new(out);
    }
    if let Some(custom) = &resource.custom {
        path::set(
            &mut out,
            &["apiVersion"],
            resource.api_version.clone().into(),
        );
        structural::fill(&mut out, &custom.kept.schema, structural::Nulls::Drop);
        structural::prune(&mut out, &custom.schema, true, &mut Vec::new());
        return Arc::new(out);
    }
    if let Value::Object(map) = &mut out {
        if resource.is("events.k8s.io", "Event") {
            for (core, new) in EVENT {
                rename(map, core, new);
            }
            rename(map, "reportingComponent", "reportingController");
            map.retain(|key, value| !(key.starts_with("reporting") && value == ""));
        }
        map.insert("apiVersion".into(), resource.api_version.clone().into());
    }
    Arc::new(out)
}

/// Whether the kept text is what the resource shows.
pub(crate) fn as_kept(resource: &Resource, stored: &Stored) -> bool {
    is_as_kept(resource, Some(&stored.head.api_version))
}

/// A custom object that was written in another version than the one in which objects are kept has
/// that version's defaults yet to come, whichever version is read.
fn is_as_kept(resource: &Resource, api_version: Option<&str>) -> bool {
    let kept = resource
        .custom
        .as_ref()
        .map(|c| c.kept.api_version.as_str());
    api_version == Some(&resource.api_version) && kept.is_none_or(|kept| Some(kept) == api_version)
}

/// A kept object as the resource shows it.
pub(crate) fn shown(resource: &Resource, stored: &Stored, recent: &Recent) -> Arc<Value> {
    outward(resource, &stored.value(recent))
}

/// Writes a kept object as the resource shows it, with or without its type header.
pub(crate) fn write(resource: &Resource, stored: &Stored, typed: bool, out: &mut Vec<u8>) {
    if as_kept(resource, stored) {
        if typed {
            stored.write(out);
        } else {
            stored.write_untyped(out);
        }
        return;
    }
    let object = outward(resource, &stored.read());
    // Writing a value to memory cannot fail.
    let _ = match &*object {
        Value::Object(fields) if !typed => {
            let fields = fields
                .iter()
                .filter(|(k, _)| *k != "apiVersion" && *k != "kind");
            let bare: Map<String, Value> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
            serde_json::to_writer(out, &bare)
        }
        whole => serde_json::to_writer(out, whole),
    };
}

/// A custom object as it is kept: with what the version knows in which objects are kept. It says
/// in which version it was written, see [`is_as_kept`].
pub(crate) fn keep(resource: &Resource, object: &mut Value) {
    if let Some(custom) = &resource.custom
        && resource.api_version != custom.kept.api_version
    {
        structural::prune(object, &custom.kept.schema, true, &mut Vec::new());
    }
}

/// The object as it is kept, from what the resource was given.
pub(crate) fn inward(resource: &Resource, object: &mut Value) {
    if resource.is("autoscaling", "HorizontalPodAutoscaler") && resource.kind.version == "v1" {
        scaler::to_v2(object);
        return;
    }
    if !resource.is("events.k8s.io", "Event") {
        return;
    }
    if let Value::Object(map) = object {
        for (core, new) in EVENT {
            rename(map, new, core);
        }
        rename(map, "reportingController", "reportingComponent");
        for field in ["reportingComponent", "reportingInstance"] {
            map.entry(field).or_insert_with(|| "".into());
        }
        map.insert("apiVersion".into(), "v1".into());
    }
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.shift_remove(from) {
        map.insert(to.to_owned(), value);
    }
}

/// An autoscaler in version 2, whichever it came in.
pub(crate) fn scaler_v2(object: &Value) -> Cow<'_, Value> {
    if object.get("apiVersion").and_then(Value::as_str) != Some("autoscaling/v1") {
        return Cow::Borrowed(object);
    }
    let mut out = object.clone();
    scaler::to_v2(&mut out);
    Cow::Owned(out)
}
