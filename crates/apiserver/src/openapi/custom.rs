//! Owns schemas of custom types: what a definition says, with the parts that every object has put
//! in, in the words that all kinds have for them.

use serde_json::{Value, json};
use weir_object::path;

use super::{schema, words};

const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";
/// The words on the parts of an object inside another.
const EMBEDDED: [(&str, &str); 2] = [
    (
        "apiVersion",
        "apiVersion defines the versioned schema of this representation of an object. More info: \
         https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md\
         #resources",
    ),
    (
        "kind",
        "kind is a string value representing the type of this object. In CamelCase. More info: \
         https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md\
         #types-kinds",
    ),
];
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/\
                        contributors/devel/sig-architecture/api-conventions.md#metadata";
/// Schemas inside each other.
const DEPTH: usize = 100;

/// Puts the common words on `apiVersion` and `kind`.
pub(super) fn describe_type(schema: &mut Value) {
    for field in ["apiVersion", "kind"] {
        let mut property = json!({"type": "string"});
        if let Some(text) = words::of_field(CONFIG_MAP, field) {
            property = json!({"description": text, "type": "string"});
        }
        path::set(schema, &["properties", field], property);
    }
}

fn metadata() -> Value {
    json!({"description": METADATA, "allOf": [schema::reference(schema::OBJECT_META)]})
}

/// The schema of a version, from what its definition says.
pub(super) fn schema(document: &Value, kinds: Value) -> Value {
    let mut out = document.clone();
    if !out.is_object() {
        out = json!({"type": "object"});
    }
    embed(&mut out, 0);
    describe_type(&mut out);
    path::set(&mut out, &["properties", "metadata"], metadata());
    path::set(&mut out, &["x-kubernetes-group-version-kind"], kinds);
    out
}

/// Tells what objects inside the object have.
fn embed(schema: &mut Value, depth: usize) {
    if depth > DEPTH {
        return;
    }
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        for (field, text) in EMBEDDED {
            let property = json!({"description": text, "type": "string"});
            path::set(schema, &["properties", field], property);
        }
        path::set(schema, &["properties", "metadata"], metadata());
        let required = schema.get("required").and_then(Value::as_array);
        let mut required = required.cloned().unwrap_or_default();
        for field in ["kind", "apiVersion"] {
            if !required.contains(&field.into()) {
                required.push(field.into());
            }
        }
        path::set(schema, &["required"], required.into());
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            embed(property, depth + 1);
        }
    }
    for part in ["items", "additionalProperties"] {
        if let Some(part) = schema.get_mut(part).filter(|part| part.is_object()) {
            embed(part, depth + 1);
        }
    }
}
