//! Owns the rules of structural schemas: what must be typed, what may stand where, and that what
//! is judged is also declared.

use serde_json::{Value, json};
use weir_gocompat::GoRegex;

use super::schema::{branches, kind, members, on};
use crate::refusal::Cause;

/// What cannot be read as a structural schema at all.
pub(super) fn first_unreadable(schema: &Value) -> Option<String> {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let why =
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
        return Some(why.to_owned());
    }
    if schema.get("items").is_some_and(Value::is_array) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    for key in [
        "id",
        "$schema",
        "$ref",
        "patternProperties",
        "dependencies",
        "additionalItems",
        "definitions",
    ] {
        if schema.get(key).is_some_and(|v| !is_empty(v)) {
            let name = key
                .strip_prefix("$s")
                .map_or(key.to_owned(), |rest| format!("s{rest}"));
            return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
        }
    }
    below(schema)
        .into_iter()
        .find_map(|(_, of)| first_unreadable(of))
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The schemas right below one, with where they are.
fn below(schema: &Value) -> Vec<(String, &Value)> {
    let mut out = Vec::new();
    for (name, of) in members(schema, "properties") {
        out.push((format!("properties[{name}]"), of));
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(of) = schema.get(key).filter(|of| of.is_object()) {
            out.push((key.to_owned(), of));
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, of) in branches(schema, key) {
            out.push((format!("{key}[{i}]"), of));
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Level {
    Root,
    Item,
    Field,
}

fn int_or_string(schema: &Value) -> bool {
    schema.get("anyOf") == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

/// The rules of a structural schema.
pub(super) fn invariants(schema: &Value, level: Level, at: &str, out: &mut Vec<Cause>) {
    let has = |key: &str| schema.get(key).is_some();
    if kind(schema) == "array" && !has("items") {
        out.push(Cause::required(format!("{at}.items"), "must be specified"));
    }
    if let Some(items) = schema.get("items") {
        invariants(items, Level::Item, &format!("{at}.items"), out);
    }
    for (name, of) in members(schema, "properties") {
        invariants(of, Level::Field, &format!("{at}.properties[{name}]"), out);
    }
    let embedded = on(schema, "x-kubernetes-embedded-resource");
    let preserves = on(schema, "x-kubernetes-preserve-unknown-fields");
    let either = on(schema, "x-kubernetes-int-or-string");
    let additional = schema
        .get("additionalProperties")
        .filter(|a| **a != Value::Bool(false));
    if let Some(of) = additional {
        if level == Level::Root {
            let detail = "must not be used at the root";
            out.push(Cause::forbidden(
                format!("{at}.additionalProperties"),
                detail,
            ));
        }
        if of.is_object() {
            invariants(of, Level::Field, &format!("{at}.additionalProperties"), out);
        }
    }
    if either && preserves {
        let detail = "must be false if x-kubernetes-int-or-string is true";
        let field = format!("{at}.x-kubernetes-preserve-unknown-fields");
        out.push(Cause::invalid(field, &true.into(), detail));
    }
    if either && embedded {
        let detail = "must be false if x-kubernetes-int-or-string is true";
        let field = format!("{at}.x-kubernetes-embedded-resource");
        out.push(Cause::invalid(field, &true.into(), detail));
    }
    let first_either = branches(schema, "allOf")
        .next()
        .is_some_and(|(_, of)| int_or_string(of));
    values(schema, int_or_string(schema), first_either, at, out);
    let typed = kind(schema);
    if embedded && typed != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        let field = format!("{at}.type");
        out.push(if typed.is_empty() {
            Cause::required(field, detail)
        } else {
            Cause::invalid(field, &typed.into(), detail)
        });
    } else if typed.is_empty() && !either && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        out.push(Cause::required(format!("{at}.type"), detail));
    }
    if embedded && additional.is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        out.push(Cause::forbidden(
            format!("{at}.additionalProperties"),
            detail,
        ));
    }
    if level == Level::Root && !typed.is_empty() && typed != "object" {
        let detail = "must be object at the root";
        out.push(Cause::invalid(format!("{at}.type"), &typed.into(), detail));
    }
    let resource = level == Level::Root || embedded;
    let property = |name: &str| schema.get("properties").and_then(|p| p.get(name));
    for (name, wanted) in [
        ("kind", "string"),
        ("apiVersion", "string"),
        ("metadata", "object"),
    ] {
        if let Some(of) = property(name).filter(|of| resource && kind(of) != wanted) {
            let field = format!("{at}.properties[{name}].type");
            out.push(Cause::invalid(
                field,
                &kind(of).into(),
                &format!("must be {wanted}"),
            ));
        }
    }
    if level == Level::Root && property("metadata").is_some_and(says_too_much) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        out.push(Cause::forbidden(
            format!("{at}.properties[metadata]"),
            detail,
        ));
    }
    if embedded && !preserves && members(schema, "properties").next().is_none() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        out.push(Cause::required(format!("{at}.properties"), detail));
    }
}

/// Root metadata may limit the name, and nothing else.
fn says_too_much(metadata: &Value) -> bool {
    let named =
        members(metadata, "properties").all(|(name, _)| name == "name" || name == "generateName");
    let rest = metadata.as_object().is_some_and(|map| {
        map.iter().any(|(key, value)| {
            !matches!(key.as_str(), "type" | "properties" | "default") && !is_empty(value)
        })
    });
    !named || rest
}

/// What may stand in `allOf`, `anyOf`, `oneOf` and `not`: values, no structure.
fn values(schema: &Value, skip_any: bool, skip_first: bool, at: &str, out: &mut Vec<Cause>) {
    if !skip_any {
        for (i, of) in branches(schema, "anyOf") {
            nested(of, false, &format!("{at}.anyOf[{i}]"), out);
        }
    }
    for (i, of) in branches(schema, "allOf") {
        nested(of, skip_first && i == 0, &format!("{at}.allOf[{i}]"), out);
    }
    for (i, of) in branches(schema, "oneOf") {
        nested(of, false, &format!("{at}.oneOf[{i}]"), out);
    }
    if let Some(of) = schema.get("not") {
        nested(of, false, &format!("{at}.not"), out);
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Err(why) = GoRegex::parse(pattern)
    {
        let detail = format!(
            "must be a valid regular expression, but isn't: {}",
            crate::cel::pattern_fault(&why)
        );
        out.push(Cause::invalid(
            format!("{at}.pattern"),
            &pattern.into(),
            &detail,
        ));
    }
}

fn nested(of: &Value, skip_any: bool, at: &str, out: &mut Vec<Cause>) {
    values(of, skip_any, false, at, out);
    if let Some(items) = of.get("items") {
        nested(items, false, &format!("{at}.items"), out);
    }
    for (name, of) in members(of, "properties") {
        nested(of, false, &format!("{at}.properties[{name}]"), out);
    }
    let mut forbid = |key: &str, detail: &str| {
        if of.get(key).is_some_and(|v| !is_empty(v)) {
            out.push(Cause::forbidden(format!("{at}.{key}"), detail));
        }
    };
    forbid("type", "must be empty to be structural");
    forbid("additionalProperties", "must be undefined to be structural");
    forbid("default", "must be undefined to be structural");
    forbid("title", "must be empty to be structural");
    forbid("description", "must be empty to be structural");
    forbid("nullable", "must be false to be structural");
    forbid(
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    );
    forbid(
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    );
    forbid(
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    );
    forbid(
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    );
    forbid(
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    );
    forbid(
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    );
    forbid("x-kubernetes-validations", "must be empty to be structural");
    if of
        .get("properties")
        .and_then(|p| p.get("metadata"))
        .is_some()
    {
        let detail = "must not be specified in a nested context";
        out.push(Cause::forbidden(
            format!("{at}.properties[metadata]"),
            detail,
        ));
    }
}

/// What is judged in a branch must be declared outside of it.
pub(super) fn completeness(
    branch: &Value,
    spine: &Value,
    spine_at: &str,
    at: &str,
    out: &mut Vec<Cause>,
) {
    for key in ["not", "allOf", "anyOf", "oneOf"] {
        if key == "not" {
            if let Some(of) = branch.get("not") {
                counterpart(of, Some(spine), spine_at, &format!("{at}.not"), out);
            }
            continue;
        }
        for (i, of) in branches(branch, key) {
            counterpart(of, Some(spine), spine_at, &format!("{at}.{key}[{i}]"), out);
        }
    }
}

fn counterpart(of: &Value, spine: Option<&Value>, spine_at: &str, at: &str, out: &mut Vec<Cause>) {
    let Some(spine) = spine else {
        let detail = format!("because it is defined in {at}");
        out.push(Cause::required(spine_at, &detail));
        return;
    };
    completeness(of, spine, spine_at, at, out);
    if let Some(items) = of.get("items") {
        let (spine_at, at) = (format!("{spine_at}.items"), format!("{at}.items"));
        counterpart(items, spine.get("items"), &spine_at, &at, out);
    }
    for (name, of) in members(of, "properties") {
        let step = format!("properties[{name}]");
        let (spine_at, at) = (format!("{spine_at}.{step}"), format!("{at}.{step}"));
        let spine = spine.get("properties").and_then(|p| p.get(name));
        counterpart(of, spine, &spine_at, &at, out);
    }
}
