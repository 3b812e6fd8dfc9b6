//! Owns pruning and defaults by a structural schema. It refuses judgement: wrong types pass
//! through untouched and are found by validation.

use serde_json::{Map, Value};

use super::{Additional, Structural};

/// Removes fields that the schema does not know, and names each in `unknown`.
/// `root` is an object whose `apiVersion`, `kind` and `metadata` are known anyway.
pub(crate) fn prune(value: &mut Value, schema: &Structural, root: bool, unknown: &mut Vec<String>) {
    let start = unknown.len();
    prune_at(value, schema, root, "", unknown);
    if let Some(found) = unknown.get_mut(start..) {
        found.sort();
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn prune_at(
    value: &mut Value,
    schema: &Structural,
    root: bool,
    path: &str,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                let path = format!("{path}[{i}]");
                match &schema.items {
                    Some(of) => prune_at(item, of, false, &path, unknown),
                    None if schema.preserve => {}
                    None => strip(item, &path, unknown),
                }
            }
        }
        Value::Object(map) => {
            let known = root || schema.embedded;
            let mut gone = Vec::new();
            for (name, value) in map.iter_mut() {
                if known && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                if let Some(of) = schema.properties.get(name) {
                    prune_at(value, of, false, &join(path, name), unknown);
                    continue;
                }
                match &schema.additional {
                    Additional::Each(of) => prune_at(value, of, false, &join(path, name), unknown),
                    Additional::Anything | Additional::Nothing if schema.preserve => {}
                    // Any value is allowed, but no field of it is known.
                    Additional::Anything => strip(value, &join(path, name), unknown),
                    Additional::Nothing => gone.push(name.clone()),
                }
            }
            for name in gone {
                map.shift_remove(&name);
                unknown.push(join(path, &name));
            }
        }
        _ => {}
    }
}

/// Drops all fields of the objects in a value that no schema knows.
fn strip(value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            unknown.extend(map.keys().map(|name| join(path, name)));
            map.clear();
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                strip(item, &format!("{path}[{i}]"), unknown);
            }
        }
        _ => {}
    }
}

/// What becomes of nulls where they are not allowed and nothing stands in for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// They go, as they do when a body is read.
    Drop,
    /// They stay, to be judged: an apply may leave them where all of a value went.
    Keep,
}

/// Fills absent fields with their defaults.
pub(crate) fn fill(value: &mut Value, schema: &Structural, nulls: Nulls) {
    match value {
        Value::Array(items) => {
            if let Some(of) = &schema.items {
                for item in items {
                    fill(item, of, nulls);
                }
            }
        }
        Value::Object(map) => {
            if nulls == Nulls::Drop {
                drop_nulls(map, schema);
            }
            for (name, of) in &schema.properties {
                let absent = match map.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !of.nullable,
                };
                if let Some(default) = of.default.as_ref().filter(|_| absent) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(of) = schema.properties.get(name) {
                    fill(value, of, nulls);
                } else if let Additional::Each(of) = &schema.additional {
                    fill(value, of, nulls);
                }
            }
        }
        _ => {}
    }
}

fn drop_nulls(map: &mut Map<String, Value>, schema: &Structural) {
    if !map.values().any(Value::is_null) {
        return;
    }
    map.retain(|name, value| {
        if !value.is_null() {
            return true;
        }
        match (schema.properties.get(name), &schema.additional) {
            (Some(of), _) => of.nullable,
            (None, Additional::Each(of)) => of.nullable,
            _ => true,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Structural {
        Structural::read(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "mode": {"type": "string", "default": "fast"},
            "limits": {"type": "object", "default": {}, "properties": {
                "cpu": {"type": "integer", "default": 2}}},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "object", "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}}},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true}
        }}}}))
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let mut value = json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "extra": 1,
            "spec": {"mode": "slow", "odd": {}, "any": {"x": 1}, "labels": {"a": "b"},
                "list": [{"port": 1, "nope": 2}],
                "template": {"apiVersion": "v1", "kind": "Y", "metadata": {}, "spec": 1}}
        });
        let mut unknown = Vec::new();
        prune(&mut value, &schema(), true, &mut unknown);
        assert_eq!(
            unknown,
            [
                "extra",
                "spec.list[0].nope",
                "spec.odd",
                "spec.template.spec"
            ]
        );
        assert_eq!(
            value,
            json!({
                "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"},
                "spec": {"mode": "slow", "any": {"x": 1}, "labels": {"a": "b"},
                    "list": [{"port": 1}],
                    "template": {"apiVersion": "v1", "kind": "Y", "metadata": {}}}
            })
        );
    }

    #[test]
    fn defaults_fill_what_is_absent_at_every_depth() {
        let mut value = json!({"spec": {"mode": null, "list": [{"port": 1}, {"protocol": "UDP"}]}});
        fill(&mut value, &schema(), Nulls::Drop);
        assert_eq!(
            value,
            json!({"spec": {"mode": "fast", "limits": {"cpu": 2},
                "list": [{"port": 1, "protocol": "TCP"}, {"protocol": "UDP"}]}})
        );
    }
}
