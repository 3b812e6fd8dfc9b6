//! Owns the way of an object from what a client wrote to what may be kept: names and kinds agree,
//! fields are known, defaults are filled, the rules of its kind hold. It refuses storage.

use serde_json::{Map, Value};
use weir_object::path;

use crate::builtin;
use crate::call::{Call, Validation};
use crate::custom;
use crate::meta;
use crate::policy;
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::structural;
use crate::typed;
use crate::write;

/// Checks that a body is an object of the resource, in the place of the request, and fills what
/// the request already says.
pub(crate) fn place(
    resource: &Resource,
    namespace: Option<&str>,
    name: Option<&str>,
    object: &mut Value,
) -> Result<(), Refusal> {
    let Value::Object(map) = object else {
        return Err(Refusal::BadRequest(
            "the body must be a JSON object".to_owned(),
        ));
    };
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    let api_version = map
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !api_version.is_empty() && api_version != resource.api_version {
        return Err(Refusal::BadRequest(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            resource.api_version
        )));
    }
    if !kind.is_empty() && kind != resource.kind.kind {
        return Err(Refusal::BadRequest(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            resource.kind.kind
        )));
    }
    if resource.custom.is_some() && (kind.is_empty() || api_version.is_empty()) {
        return Err(Refusal::BadRequest(
            "Object 'Kind' or 'apiVersion' is missing".to_owned(),
        ));
    }
    map.insert("apiVersion".into(), resource.api_version.clone().into());
    map.insert("kind".into(), resource.kind.kind.to_string().into());
    let meta = map
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if meta.is_null() {
        *meta = Value::Object(Map::new());
    }
    let Value::Object(meta) = meta else {
        return Err(Refusal::BadRequest(
            "metadata must be a JSON object".to_owned(),
        ));
    };
    let given = meta
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match namespace {
        Some(namespace) if given.is_empty() => {
            meta.insert("namespace".into(), namespace.into());
        }
        Some(namespace) if given != namespace => {
            return Err(Refusal::BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
                    .to_owned(),
            ));
        }
        Some(_) => {}
        None => {
            meta.shift_remove("namespace");
        }
    }
    if let Some(name) = name {
        let given = meta.get("name").and_then(Value::as_str).unwrap_or_default();
        if given.is_empty() {
            meta.insert("name".into(), name.into());
        } else if given != name {
            return Err(Refusal::BadRequest(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
    }
    Ok(())
}

/// Drops or refuses unknown fields and fills defaults.
pub(crate) fn shape(
    resource: &Resource,
    object: &mut Value,
    call: &mut Call,
) -> Result<(), Refusal> {
    let mut unknown = Vec::new();
    let mismatch = match &resource.custom {
        None => typed::shape(object, &resource.typing, &mut unknown),
        Some(custom) => {
            structural::prune(object, &custom.schema, true, &mut unknown);
            let meta = resource.typing.field("metadata");
            match (object.get_mut("metadata"), meta) {
                (Some(value), Some(ty)) => {
                    let mut inside = Vec::new();
                    let outcome = typed::shape(value, &ty, &mut inside);
                    unknown.extend(inside.into_iter().map(|field| format!("metadata.{field}")));
                    outcome.map_err(|m| typed::Mismatch {
                        path: format!("metadata.{}", m.path),
                        ..m
                    })
                }
                _ => Ok(()),
            }
        }
    };
    let kind = &resource.kind;
    if let Err(typed::Mismatch {
        path,
        found,
        wanted,
    }) = mismatch
    {
        return Err(Refusal::BadRequest(format!(
            "{0} in version \"{1}\" cannot be handled as a {0}: json: cannot unmarshal {found} into \
             Go struct field {0}.{path} of type {wanted}",
            kind.kind, kind.version
        )));
    }
    if !unknown.is_empty() {
        let listed = |field: &String| format!("unknown field \"{field}\"");
        match call.validation {
            Validation::Ignore => {}
            Validation::Warn => unknown.iter().map(listed).for_each(|text| call.warn(text)),
            Validation::Strict => {
                let all: Vec<String> = unknown.iter().map(listed).collect();
                return Err(Refusal::BadRequest(format!(
                    "{0} in version \"{1}\" cannot be handled as a {0}: strict decoding error: {2}",
                    kind.kind,
                    kind.version,
                    all.join(", ")
                )));
            }
        }
    }
    defaults(resource, object);
    Ok(())
}

/// Fills absent fields.
pub(crate) fn defaults(resource: &Resource, object: &mut Value) {
    match &resource.custom {
        Some(custom) => structural::fill(object, &custom.schema),
        None if resource.kind.kind == "CustomResourceDefinition" => {
            custom::default_definition(object);
        }
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicy") => policy::fill(object),
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicyBinding") => {
            policy::fill_binding(object);
        }
        None => write::builtin_defaults(object),
    }
}

/// Checks the rules of the kind; all causes are told together.
pub(crate) fn check(
    resource: &Resource,
    old: Option<&Value>,
    new: &Value,
    call: &mut Call,
) -> Result<(), Refusal> {
    let mut causes: Vec<Cause> = meta::check(resource, old, new);
    match &resource.custom {
        Some(custom) => {
            let judged = structural::judge(new, old, &custom.schema);
            causes.extend(judged.causes);
            judged.warnings.into_iter().for_each(|text| call.warn(text));
        }
        None if resource.kind.kind == "CustomResourceDefinition" => {
            causes.extend(custom::check_definition(new, old));
        }
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicy") => {
            causes.extend(policy::check_policy(new));
        }
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicyBinding") => {
            causes.extend(policy::check_binding(new));
        }
        None => causes.extend(builtin::check(resource, old, new)),
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Refusal::Invalid {
        group: resource.kind.group.to_string(),
        kind: resource.kind.kind.to_string(),
        name: path::text(new, &["metadata", "name"]).to_owned(),
        causes,
    })
}
