//! Owns leaving out what controllers wrote: the objects they made, the fields they
//! own, and the versions that their writes moved on, for they write when they come to it. It refuses to leave out what anybody else owns.

use serde_json::{Map, Value};

const MANAGER: &str = "kube-controller-manager";
/// Counts of what controllers made, which come before the objects do.
const COUNTS: [&str; 1] = ["Up-to-date"];

/// An answer's body, without.
pub(crate) fn without(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| !is_made(item.get("object").unwrap_or(item)));
            items.iter_mut().for_each(without);
        }
        Value::Object(map) => {
            map.values_mut().for_each(without);
            counts(map);
            strip(map);
        }
        _ => {}
    }
}

fn entries(object: &Value) -> &[Value] {
    let entries = object.pointer("/metadata/managedFields");
    entries.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_controllers(entry: &Value) -> bool {
    entry.get("manager").and_then(Value::as_str) == Some(MANAGER)
}

fn is_made(object: &Value) -> bool {
    let entries = entries(object);
    !entries.is_empty() && entries.iter().all(is_controllers)
}

/// Takes out of an object what controllers own.
fn strip(object: &mut Map<String, Value>) {
    let Some(Value::Object(meta)) = object.get_mut("metadata") else {
        return;
    };
    meta.remove("resourceVersion");
    let Some(Value::Array(entries)) = meta.get_mut("managedFields") else {
        return;
    };
    let (theirs, rest): (Vec<Value>, Vec<Value>) = std::mem::take(entries)
        .into_iter()
        .partition(is_controllers);
    *entries = rest;
    for entry in theirs {
        if let Some(Value::Object(fields)) = entry.get("fieldsV1") {
            take(object, fields);
        }
    }
}

fn take(value: &mut Map<String, Value>, fields: &Map<String, Value>) {
    for (key, below) in fields {
        let Some(name) = key.strip_prefix("f:") else {
            continue;
        };
        let below = below.as_object();
        let deeper = below.filter(|b| b.keys().any(|k| k.starts_with("f:")));
        match (deeper, value.get_mut(name)) {
            (Some(deeper), Some(Value::Object(inner))) => {
                take(inner, deeper);
                if inner.is_empty() && name != "status" {
                    value.remove(name);
                }
            }
            _ => {
                value.remove(name);
            }
        }
    }
}

fn counts(table: &mut Map<String, Value>) {
    let columns = table.get("columnDefinitions").and_then(Value::as_array);
    let counted: Vec<usize> = columns
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, column)| {
            let name = column.get("name").and_then(Value::as_str);
            name.is_some_and(|name| COUNTS.contains(&name))
        })
        .map(|(index, _)| index)
        .collect();
    let rows = table.get_mut("rows").and_then(Value::as_array_mut);
    for cells in rows
        .into_iter()
        .flatten()
        .filter_map(|r| r.get_mut("cells"))
    {
        for index in &counted {
            if let Some(cell) = cells.get_mut(index) {
                *cell = "<count>".into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_controllers_made_and_own_is_left_out_and_the_rest_stays() {
        let theirs = json!({"manager": MANAGER, "fieldsV1": {
            "f:metadata": {"f:annotations": {"f:revision": {}}},
            "f:status": {"f:conditions": {".": {}, "k:{\"type\":\"A\"}": {}}}}});
        let ours = json!({"manager": "me", "fieldsV1": {"f:spec": {"f:paused": {}}}});
        let mut list = json!({"items": [
            {"metadata": {"name": "made", "managedFields": [theirs]}},
            {"metadata": {"name": "mine", "resourceVersion": "7", "annotations": {"revision": "1"},
                "managedFields": [ours, theirs]},
             "spec": {"paused": true}, "status": {"conditions": [{"type": "A"}], "other": 1}},
        ]});
        without(&mut list);
        let left = json!({"items": [{"metadata": {"name": "mine", "managedFields": [ours]},
            "spec": {"paused": true}, "status": {"other": 1}}]});
        assert_eq!(list, left);
    }
}
