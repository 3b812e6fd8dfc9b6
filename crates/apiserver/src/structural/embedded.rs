//! Owns what an object inside an object must say: its version, its kind, and fitting metadata.

use serde_json::Value;

use super::validate::join;
use super::{Additional, Structural};
use crate::refusal::Cause;

/// All that is wrong with the objects inside an object.
pub(super) fn check(value: &Value, schema: &Structural, path: &str, out: &mut Vec<Cause>) {
    match value {
        Value::Array(items) => {
            let Some(of) = &schema.items else { return };
            for (i, item) in items.iter().enumerate() {
                check(item, of, &format!("{path}[{i}]"), out);
            }
        }
        Value::Object(map) => {
            if schema.embedded {
                identity(map, path, out);
            }
            for (name, value) in map {
                if let Some(of) = schema.properties.get(name) {
                    check(value, of, &join(path, name), out);
                } else if let Additional::Each(of) = &schema.additional {
                    check(value, of, &format!("{path}[{name}]"), out);
                }
            }
        }
        _ => {}
    }
}

fn identity(map: &serde_json::Map<String, Value>, path: &str, out: &mut Vec<Cause>) {
    for name in ["apiVersion", "kind"] {
        let field = join(path, name);
        match map.get(name) {
            None => out.push(Cause::required(field, "")),
            Some(Value::String(text)) if text.is_empty() => {
                out.push(Cause::invalid(
                    field,
                    &text.as_str().into(),
                    "must not be empty",
                ));
            }
            Some(Value::String(_)) => {}
            Some(other) => out.push(Cause::invalid(field, other, "must be a string")),
        }
    }
    if let Some(text) = map.get("apiVersion").and_then(Value::as_str)
        && text.matches('/').count() > 1
    {
        let detail = format!("unexpected GroupVersion string: {text}");
        out.push(Cause::invalid(
            join(path, "apiVersion"),
            &text.into(),
            &detail,
        ));
    }
    if let Some(meta) = map.get("metadata").filter(|m| !m.is_object()) {
        let detail = "must be an object";
        out.push(Cause::invalid(join(path, "metadata"), meta, detail));
    }
}
