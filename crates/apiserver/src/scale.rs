//! Owns the scale subresource: the face of an object that has replicas.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_merge::go;
use weir_object::path;

use crate::admit;
use crate::call::{Call, Part};
use crate::custom::Custom;
use crate::faces;
use crate::objects::{self, How};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::state::State;
use crate::write;

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
    if resource.custom.is_some() && path::get(object, &steps(&wanted)).is_none() {
        return Err(Refusal::Internal(format!(
            "the spec replicas field \".{wanted}\" does not exist"
        )));
    }
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
        "spec": {},
        "status": {"replicas": number(&is)},
    });
    // Nothing wanted is not written down.
    if number(&wanted) != 0 {
        path::set(&mut out, &["spec", "replicas"], number(&wanted).into());
    }
    if !text.is_empty() {
        path::set(&mut out, &["status", "selector"], text.into());
    }
    Ok(out)
}

/// Writes the wanted replicas; `change` makes the new scale from the live one.
pub(crate) fn write(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    call: &mut Call,
    change: impl FnOnce(Arc<Value>, &mut Call) -> Result<Value, Refusal>,
) -> Result<Arc<Value>, Refusal> {
    let (wanted, ..) = paths(resource)?;
    let live = objects::get(state, resource, namespace, name)?;
    let scale = change(Arc::new(read(resource, &live)?), call)?;
    let replicas = judged(scale, namespace, name, call)?;
    let mut object = (*live).clone();
    path::set(&mut object, &steps(&wanted), replicas.replicas.into());
    path::set(
        &mut object,
        &["metadata", "resourceVersion"],
        replicas.version.into(),
    );
    call.patch = None;
    let how = How {
        recorded: Part::Scale,
        ..How::of(Part::Whole)
    };
    let new = objects::replace(state, resource, namespace, &live, object, how, call)?;
    read(resource, &new).map(Arc::new)
}

/// Applies a scale: its manager owns the replicas from then on.
pub(crate) fn apply(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    config: Value,
    call: &mut Call,
) -> Result<Arc<Value>, Refusal> {
    let live = objects::get(state, resource, namespace, name)?;
    if resource.custom.is_some() {
        // The API server cannot either: it takes the scale for an object of the definition.
        return Err(Refusal::Failed(
            "failed to create manager for existing fields: failed to convert live object (/; \
             autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid \
             group/version: autoscaling/v1"
                .to_owned(),
        ));
    }
    let given = path::get(&config, &["spec", "replicas"]).is_some();
    let asked = judged(config, namespace, name, call)?;
    let mut config = json!({"apiVersion": resource.api_version, "kind": *resource.kind.kind,
        "metadata": {"name": name}});
    if given {
        path::set(&mut config, &["spec", "replicas"], asked.replicas.into());
    }
    let object = write::applied(resource, Some(&live), &config, ("", ""), Part::Scale, call)?;
    let how = How {
        recorded: Part::Scale,
        track: false,
        ..How::of(Part::Whole)
    };
    let new = objects::replace(state, resource, namespace, &live, object, how, call)?;
    read(resource, &new).map(Arc::new)
}

/// What is wrong with the counts that a definition names as those of its scale, as
/// `validateScaleSpec` and `validateScaleStatus` of Kubernetes tell it. A write of the status is
/// judged by its part alone.
pub(crate) fn check(custom: &Custom, part: Part, object: &Value) -> Vec<Cause> {
    let Some((wanted, is, selector)) = &custom.scale else {
        return Vec::new();
    };
    let mut causes = Vec::new();
    if part != Part::Status {
        causes.extend(count(object, wanted));
    }
    causes.extend(count(object, is));
    if !selector.is_empty()
        && let Err(why) = nested(object, selector, "string", |v| v.as_str().map(|_| ()))
    {
        causes.push(Cause::invalid(format!(".{selector}"), &"".into(), &why));
    }
    causes
}

fn count(object: &Value, at: &str) -> Option<Cause> {
    let (number, why) = match nested(object, at, "int64", Value::as_i64) {
        Err(why) => (0, why),
        Ok(Some(number)) if number < 0 => (number, "should be a non-negative integer".to_owned()),
        Ok(Some(number)) if number > i64::from(i32::MAX) => (
            number,
            format!("should be less than or equal to {}", i32::MAX),
        ),
        Ok(_) => return None,
    };
    Some(Cause::invalid(format!(".{at}"), &number.into(), &why))
}

/// What is at a path, if anything is; refuses what is of another type, on the way or at the end.
fn nested<T>(
    object: &Value,
    at: &str,
    wanted: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let wrong = |at: &[&str], is: &Value, wanted: &str| {
        let (at, shown, kind) = (at.join("."), go::printed(is, false), go::kind(is));
        Err(format!(
            ".{at} accessor error: {shown} is of the type {kind}, expected {wanted}"
        ))
    };
    let steps = steps(at);
    let mut here = object;
    for (i, step) in steps.iter().enumerate() {
        match here {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(*step) {
                Some(value) => here = value,
                None => return Ok(None),
            },
            other => {
                let way = steps.get(..=i).unwrap_or(&steps);
                return wrong(way, other, "map[string]interface{}");
            }
        }
    }
    match read(here) {
        Some(found) => Ok(Some(found)),
        None => wrong(&steps, here, wanted),
    }
}

/// What a scale asks for.
struct Asked {
    replicas: i64,
    version: String,
}

fn judged(
    mut scale: Value,
    namespace: Option<&str>,
    name: &str,
    call: &mut Call,
) -> Result<Asked, Refusal> {
    admit::place(&faces::SCALE, namespace, Some(name), &mut scale, call)?;
    admit::shape(&faces::SCALE, &mut scale, call)?;
    let replicas = path::get(&scale, &["spec", "replicas"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if replicas < 0 {
        let detail = "must be greater than or equal to 0";
        return Err(Refusal::Invalid {
            group: "autoscaling".to_owned(),
            kind: "Scale".to_owned(),
            name: name.to_owned(),
            causes: vec![Cause::invalid("spec.replicas", &replicas.into(), detail)],
        });
    }
    Ok(Asked {
        replicas,
        version: path::text(&scale, &["metadata", "resourceVersion"]).to_owned(),
    })
}
