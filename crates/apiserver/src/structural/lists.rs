//! Owns what keyed lists and sets promise: no two items are the same.

use serde_json::{Map, Value};

use super::{Additional, Structural};
use crate::refusal::{Cause, shown};

/// All items that are there twice.
pub(crate) fn duplicates(value: &Value, schema: &Structural, path: &str, out: &mut Vec<Cause>) {
    match value {
        Value::Array(items) => {
            if schema.list_set {
                twice(items.iter().cloned(), path, out);
            } else if let Some(keys) = &schema.list_keys {
                let odd = items.iter().position(|i| !(i.is_object() || i.is_null()));
                match odd {
                    Some(i) => out.push(Cause::invalid(
                        format!("{path}[{i}]"),
                        items.get(i).unwrap_or(&Value::Null),
                        "must be an object for an array of list-type map",
                    )),
                    None => twice(items.iter().map(|item| key_of(item, keys)), path, out),
                }
            }
            if let Some(of) = &schema.items {
                for (i, item) in items.iter().enumerate() {
                    duplicates(item, of, &format!("{path}[{i}]"), out);
                }
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(of) = schema.properties.get(name) {
                    duplicates(value, of, &super::validate::join(path, name), out);
                } else if let Additional::Each(of) = &schema.additional {
                    duplicates(value, of, &format!("{path}[{name}]"), out);
                }
            }
        }
        _ => {}
    }
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let mut sorted: Vec<&String> = keys.iter().collect();
    sorted.sort();
    let mut out = Map::new();
    for key in sorted {
        if let Some(value) = item.get(key) {
            out.insert(key.clone(), value.clone());
        }
    }
    Value::Object(out)
}

/// Tells the second of equal items; a third is not told again.
fn twice(items: impl Iterator<Item = Value>, path: &str, out: &mut Vec<Cause>) {
    let mut seen = std::collections::HashMap::<String, u32>::new();
    for (i, item) in items.enumerate() {
        let times = seen.entry(item.to_string()).or_insert(0);
        *times += 1;
        if *times == 2 {
            out.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {}", shown(&item)),
                field: format!("{path}[{i}]"),
            });
        }
    }
}
