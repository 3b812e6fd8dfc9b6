//! Owns the scale subresource: the face of an object that has replicas.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{path, split_api_version};

use crate::call::{Call, Part};
use crate::objects::{self, How};
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::state::State;
use crate::write::PatchKind;

fn steps(path: &str) -> Vec<&str> {
    path.split('.').filter(|step| !step.is_empty()).collect()
}

fn paths(resource: &Resource) -> Result<(String, String, String), Refusal> {
    if !resource.scale {
        return Err(Refusal::NoResource);
    }
    Ok(resource
        .custom
        .as_ref()
        .and_then(|c| c.scale.clone())
        .unwrap_or_else(|| {
            (
                "spec.replicas".to_owned(),
                "status.replicas".to_owned(),
                String::new(),
            )
        }))
}

/// The scale of an object.
pub(crate) fn read(resource: &Resource, object: &Value) -> Result<Value, Refusal> {
    let (wanted, is, selector) = paths(resource)?;
    let number = |p: &str| {
        path::get(object, &steps(p))
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let text = if resource.custom.is_some() {
        path::text(object, &steps(&selector)).to_owned()
    } else {
        let labels = path::get(object, &["spec", "selector", "matchLabels"])
            .or_else(|| path::get(object, &["spec", "selector"]))
            .and_then(Value::as_object);
        let mut pairs: Vec<String> = labels
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        pairs.sort();
        pairs.join(",")
    };
    let meta = |field: &str| {
        path::get(object, &["metadata", field])
            .cloned()
            .unwrap_or_default()
    };
    let mut out = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta("name"), "namespace": meta("namespace"), "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"),
            "creationTimestamp": meta("creationTimestamp")},
        "spec": {"replicas": number(&wanted)},
        "status": {"replicas": number(&is)},
    });
    if !text.is_empty() {
        path::set(&mut out, &["status", "selector"], text.into());
    }
    Ok(out)
}

/// A patch on a scale.
pub(crate) fn patched(live: &Value, kind: PatchKind, patch: &Value) -> Result<Value, Refusal> {
    if kind == PatchKind::Json {
        return weir_merge::json_patch(live, patch).map_err(|_| Refusal::Unprocessable);
    }
    let mut out = live.clone();
    weir_merge::json_merge(&mut out, patch);
    Ok(out)
}

/// Writes the wanted replicas; `change` makes the new scale from the live one.
pub(crate) fn write(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    call: &mut Call,
    change: impl FnOnce(Value) -> Result<Value, Refusal>,
) -> Result<Arc<Value>, Refusal> {
    let (wanted, ..) = paths(resource)?;
    let live = objects::get(state, resource, namespace, name)?;
    let scale = change(read(resource, &live)?)?;
    let (group, _) = split_api_version(path::text(&scale, &["apiVersion"]));
    if path::text(&scale, &["kind"]) != "Scale" || group != "autoscaling" {
        return Err(Refusal::BadRequest(
            "the object given to the scale subresource must be a Scale of autoscaling/v1"
                .to_owned(),
        ));
    }
    let replicas = path::get(&scale, &["spec", "replicas"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let mut object = (*live).clone();
    path::set(&mut object, &steps(&wanted), replicas.into());
    let version = path::text(&scale, &["metadata", "resourceVersion"]);
    path::set(
        &mut object,
        &["metadata", "resourceVersion"],
        version.into(),
    );
    let how = How {
        recorded: Part::Scale,
        ..How::of(Part::Whole)
    };
    let new = objects::replace(state, resource, namespace, &live, object, how, call)?;
    read(resource, &new).map(Arc::new)
}
