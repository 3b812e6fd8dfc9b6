//! Owns the older form of the schemas, one document for all groups, as JSON and in protocol
//! buffers. It is made from the newer form.

use serde_json::{Map, Value, json};
use weir_object::path;

use super::{TITLE, VERSION};
use crate::discovery;
use crate::registry::Registry;

/// The media type of protocol buffers here, and the one that clients still ask for.
pub(super) const MEDIAS: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];
/// Schemas inside each other.
const DEPTH: usize = 100;

fn definitions(registry: &Registry) -> (Map<String, Value>, Map<String, Value>) {
    let (mut paths, mut all) = (Map::new(), Map::new());
    for (group, versions) in discovery::groups(registry) {
        for version in versions {
            let Some(mut document) = super::document(registry, &group, &version) else {
                continue;
            };
            let schemas = path::remove(&mut document, &["components", "schemas"]);
            if let Some(Value::Object(schemas)) = schemas {
                for (name, mut schema) in schemas {
                    older(&mut schema, 0);
                    let known = all.get(&name).is_some_and(|old: &Value| {
                        old.get("x-kubernetes-group-version-kind").is_some()
                    });
                    if !known {
                        all.insert(name, schema);
                    }
                }
            }
            if let Some(Value::Object(own)) = path::remove(&mut document, &["paths"]) {
                paths.extend(own.into_iter().map(|(at, of)| (at, older_path(of))));
            }
        }
    }
    paths.sort_keys();
    all.sort_keys();
    (paths, all)
}

/// A schema in the older form: other places for types, no `allOf` around a type, no choices.
fn older(schema: &mut Value, depth: usize) {
    let Some(map) = schema.as_object_mut().filter(|_| depth < DEPTH) else {
        return;
    };
    if let Some(Value::Array(all)) = map.get("allOf")
        && let [Value::Object(only)] = all.as_slice()
        && only.contains_key("$ref")
    {
        let only = only.clone();
        map.shift_remove("allOf");
        map.extend(only);
    }
    // The older form has no word for null or for anything at all, so nothing is said there.
    let open = |field: &str| map.get(field) == Some(&Value::Bool(true));
    if open("nullable") || open("x-kubernetes-preserve-unknown-fields") {
        for field in [
            "type",
            "properties",
            "items",
            "additionalProperties",
            "nullable",
        ] {
            map.shift_remove(field);
        }
    }
    for choice in ["oneOf", "anyOf", "not"] {
        if map.shift_remove(choice).is_some() && !map.contains_key("type") {
            // What may be a text or a number is called a text.
            let int_or_string = map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
            if choice == "oneOf" && !int_or_string {
                map.insert("type".to_owned(), "string".into());
            }
        }
    }
    if map.get("default") == Some(&json!({})) || map.contains_key("$ref") {
        map.shift_remove("default");
    }
    if let Some(Value::String(to)) = map.get_mut("$ref") {
        *to = to.replace("#/components/schemas/", "#/definitions/");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for property in properties.values_mut() {
            older(property, depth + 1);
        }
    }
    for part in ["items", "additionalProperties"] {
        if let Some(part) = map.get_mut(part) {
            older(part, depth + 1);
        }
    }
}

/// The operations of a path, with what clients of this form look at.
fn older_path(path: Value) -> Value {
    let Value::Object(path) = path else {
        return path;
    };
    let mut out = Map::new();
    for (verb, operation) in path {
        let parameters = |value: &Value| -> Vec<Value> {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter()
                .map(|p| {
                    let kind = path::get(p, &["schema", "type"]).cloned();
                    let mut p = p.clone();
                    path::remove(&mut p, &["schema"]);
                    path::set(&mut p, &["type"], kind.unwrap_or_default());
                    path::set(&mut p, &["uniqueItems"], true.into());
                    p
                })
                .collect()
        };
        if verb == "parameters" {
            out.insert(verb, parameters(&operation).into());
            continue;
        }
        let mut row = Map::new();
        for field in ["tags", "description", "operationId"] {
            if let Some(value) = operation.get(field) {
                row.insert(field.to_owned(), value.clone());
            }
        }
        let mut list = operation
            .get("parameters")
            .map(parameters)
            .unwrap_or_default();
        if let Some(content) = path::get(&operation, &["requestBody", "content"]) {
            let forms: Vec<&String> = content
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, _)| k)
                .collect();
            row.insert("consumes".to_owned(), json!(forms));
            let mut schema = first_schema(content);
            older(&mut schema, 0);
            list.insert(
                0,
                json!({"name": "body", "in": "body", "required": true, "schema": schema}),
            );
        }
        if !list.is_empty() {
            row.insert("parameters".to_owned(), list.into());
        }
        let mut responses = Map::new();
        let each = operation.get("responses").and_then(Value::as_object);
        for (code, response) in each.into_iter().flatten() {
            let mut of = json!({"description": response.get("description")});
            if let Some(content) = response.get("content") {
                let mut schema = first_schema(content);
                older(&mut schema, 0);
                path::set(&mut of, &["schema"], schema);
            }
            responses.insert(code.clone(), of);
        }
        row.insert("responses".to_owned(), responses.into());
        for field in ["x-kubernetes-action", "x-kubernetes-group-version-kind"] {
            if let Some(value) = operation.get(field) {
                row.insert(field.to_owned(), value.clone());
            }
        }
        out.insert(verb, row.into());
    }
    out.into()
}

fn first_schema(content: &Value) -> Value {
    let first = content.as_object().and_then(|map| map.values().next());
    first
        .and_then(|of| of.get("schema"))
        .cloned()
        .unwrap_or_default()
}

/// The document as JSON.
pub(super) fn document(registry: &Registry) -> Value {
    let (paths, definitions) = definitions(registry);
    json!({"swagger": "2.0", "info": {"title": TITLE, "version": VERSION},
        "paths": paths, "definitions": definitions})
}

/// The document in protocol buffers: its head, its types, and of its paths the operations with
/// the parameters that clients look for.
pub(super) fn protobuf(registry: &Registry) -> Vec<u8> {
    let (paths, definitions) = definitions(registry);
    let mut out = Vec::new();
    text(1, "2.0", &mut out);
    nested(2, &mut out, |out| {
        text(1, TITLE, out);
        text(2, VERSION, out);
    });
    nested(8, &mut out, |out| {
        for (at, of) in &paths {
            nested(2, out, |out| {
                text(1, at, out);
                nested(2, out, |out| path_item(of, out));
            });
        }
    });
    nested(9, &mut out, |out| {
        for (name, schema) in &definitions {
            named(1, name, schema, out, 0);
        }
    });
    out
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn nested(number: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    varint(number << 3 | 2, out);
    let start = out.len();
    write(out);
    let mut length = Vec::with_capacity(5);
    varint(out.len() - start, &mut length);
    out.splice(start..start, length);
}

fn text(number: usize, value: &str, out: &mut Vec<u8>) {
    nested(number, out, |out| out.extend_from_slice(value.as_bytes()));
}

fn truth(number: usize, out: &mut Vec<u8>) {
    varint(number << 3, out);
    out.push(1);
}

/// A value of any form, as text in YAML.
fn any(number: usize, value: &Value, out: &mut Vec<u8>) {
    nested(number, out, |out| {
        text(2, &weir_yaml::to_string(value), out);
    });
}

fn named(number: usize, name: &str, value: &Value, out: &mut Vec<u8>, depth: usize) {
    nested(number, out, |out| {
        text(1, name, out);
        nested(2, out, |out| schema(value, out, depth));
    });
}

fn extensions(number: usize, value: &Value, out: &mut Vec<u8>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if name.starts_with("x-") {
            nested(number, out, |out| {
                text(1, name, out);
                any(2, value, out);
            });
        }
    }
}

fn texts(number: usize, value: Option<&Value>, out: &mut Vec<u8>) {
    for word in value.and_then(Value::as_array).into_iter().flatten() {
        text(number, word.as_str().unwrap_or_default(), out);
    }
}

fn schema(value: &Value, out: &mut Vec<u8>, depth: usize) {
    if depth > DEPTH {
        return;
    }
    for (number, field) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description")] {
        if let Some(found) = value.get(field).and_then(Value::as_str) {
            text(number, found, out);
        }
    }
    if let Some(default) = value.get("default") {
        any(5, default, out);
    }
    texts(19, value.get("required"), out);
    for allowed in value
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        any(20, allowed, out);
    }
    match value.get("additionalProperties") {
        Some(Value::Bool(true)) => nested(21, out, |out| truth(2, out)),
        Some(of @ Value::Object(_)) => {
            nested(21, out, |out| {
                nested(1, out, |out| schema(of, out, depth + 1));
            });
        }
        _ => {}
    }
    if let Some(kind) = value.get("type").and_then(Value::as_str) {
        nested(22, out, |out| text(1, kind, out));
    }
    if let Some(items) = value.get("items") {
        nested(23, out, |out| {
            nested(1, out, |out| schema(items, out, depth + 1));
        });
    }
    if let Some(properties) = value.get("properties").and_then(Value::as_object) {
        nested(25, out, |out| {
            for (name, of) in properties {
                named(1, name, of, out, depth + 1);
            }
        });
    }
    extensions(31, value, out);
}

fn path_item(value: &Value, out: &mut Vec<u8>) {
    for (number, verb) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if let Some(of) = value.get(verb) {
            nested(number, out, |out| operation(of, out));
        }
    }
}

fn operation(value: &Value, out: &mut Vec<u8>) {
    texts(1, value.get("tags"), out);
    for (number, field) in [(3, "description"), (5, "operationId")] {
        if let Some(found) = value.get(field).and_then(Value::as_str) {
            text(number, found, out);
        }
    }
    texts(7, value.get("consumes"), out);
    let parameters = value.get("parameters").and_then(Value::as_array);
    for parameter in parameters.into_iter().flatten() {
        if path::text(parameter, &["in"]) != "query" {
            continue;
        }
        // An item is a parameter, that is not in a body, in the query.
        nested(8, out, |out| {
            nested(1, out, |out| {
                nested(2, out, |out| {
                    nested(3, out, |out| {
                        text(2, "query", out);
                        text(4, path::text(parameter, &["name"]), out);
                        text(6, path::text(parameter, &["type"]), out);
                    });
                });
            });
        });
    }
    nested(9, out, |_| {});
    extensions(13, value, out);
}
