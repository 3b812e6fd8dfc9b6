//! Owns JSON merge patch (RFC 7396) and JSON patch (RFC 6902) on plain values. It refuses schemas:
//! lists are replaced as a whole by the first and addressed by position by the second.
//!
//! JSON patch is that of the API server, which is kinder than the RFC: `replace` sets a member that
//! is not there, `copy` of such a member copies null, a position may count from the end.

use serde_json::Value;
use weir_object::json_type;

/// A patch that can't be applied. Terminal: the patch, or the object it meets, must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchFailure {
    /// The patch is not a list of operations.
    #[error("json: cannot unmarshal {found} into Go value of type {wanted}")]
    Unreadable {
        /// What stands there.
        found: &'static str,
        /// What should.
        wanted: &'static str,
    },
    /// An operation does not fit the object.
    #[error(
        "operation {index} of the JSON patch (`{op}` at `{path}`) does not fit the object: {reason}"
    )]
    Operation {
        /// Its place in the list, from 0.
        index: usize,
        /// The operation's name.
        op: String,
        /// The path it names.
        path: String,
        /// What went wrong there.
        reason: &'static str,
    },
}

/// Merges `patch` into `target` by RFC 7396: maps are merged, null removes, all else replaces.
pub fn json_merge(target: &mut Value, patch: &Value) {
    json_patch::merge(target, patch);
}

/// Applies the operations of `patch` to a copy of `target`, all or none.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchFailure> {
    let unreadable = |value: &Value, wanted| PatchFailure::Unreadable {
        found: json_type(value),
        wanted,
    };
    let operations = match patch {
        Value::Null => return Ok(target.clone()),
        Value::Array(list) => list,
        other => return Err(unreadable(other, "[]handlers.jsonPatchOp")),
    };
    if let Some(other) = operations.iter().find(|row| !row.is_object()) {
        return Err(unreadable(other, "handlers.jsonPatchOp"));
    }
    let mut out = target.clone();
    for (index, row) in operations.iter().enumerate() {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let op = text("op").unwrap_or("unknown");
        apply(&mut out, op, row).map_err(|reason| PatchFailure::Operation {
            index,
            op: op.to_owned(),
            path: text("path").unwrap_or_default().to_owned(),
            reason,
        })?;
    }
    Ok(out)
}

const NO_PATH: &str = "it has no path";
const MISSING: &str = "nothing is there";
const NO_PLACE: &str = "there is no such place in the list";

fn apply(out: &mut Value, op: &str, row: &Value) -> Result<(), &'static str> {
    let text = |key: &str| row.get(key).and_then(Value::as_str).ok_or(NO_PATH);
    let value = || row.get("value").cloned().unwrap_or_default();
    match op {
        "add" => add(out, text("path")?, value()),
        "remove" => remove(out, text("path")?),
        "replace" => {
            let path = text("path")?;
            if path.is_empty() {
                let value = value();
                if value.is_object() || value.is_array() {
                    *out = value;
                }
                return Ok(());
            }
            match parent(out, path)? {
                (Value::Object(map), key) => {
                    map.insert(key, value());
                }
                (Value::Array(list), key) => {
                    let at = place(&key, list.len()).ok_or(NO_PLACE)?;
                    *list.get_mut(at).ok_or(NO_PLACE)? = value();
                }
                _ => return Err(MISSING),
            }
            Ok(())
        }
        "move" => {
            let from = text("from")?;
            let value = get(out, from)?;
            remove(out, from)?;
            add(out, text("path")?, value)
        }
        "copy" => {
            let value = get(out, text("from")?)?;
            add(out, text("path")?, value)
        }
        "test" => {
            let path = text("path")?;
            let is = if path.is_empty() {
                out.clone()
            } else {
                get(out, path)?
            };
            if is == value() {
                Ok(())
            } else {
                Err("the value is another one")
            }
        }
        _ => Err("there is no such operation"),
    }
}

/// What holds the last member of a path, and that member's name.
fn parent<'a>(out: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), &'static str> {
    let words: Vec<&str> = path.split('/').collect();
    let [_, between @ .., last] = words.as_slice() else {
        return Err(MISSING);
    };
    let mut at = out;
    for word in between {
        let word = unescaped(word);
        at = match at {
            Value::Object(map) => map.get_mut(&word).ok_or(MISSING)?,
            Value::Array(list) => {
                let index = place(&word, list.len()).ok_or(NO_PLACE)?;
                list.get_mut(index).ok_or(NO_PLACE)?
            }
            _ => return Err(MISSING),
        };
    }
    if at.is_object() || at.is_array() {
        Ok((at, unescaped(last)))
    } else {
        Err(MISSING)
    }
}

fn unescaped(word: &str) -> String {
    word.replace("~1", "/").replace("~0", "~")
}

/// A position in a list of `length` items; it may count from the end.
fn place(word: &str, length: usize) -> Option<usize> {
    let index: i64 = word.parse().ok()?;
    let index = if index < 0 {
        usize::try_from(index + length as i64).ok()?
    } else {
        usize::try_from(index).ok()?
    };
    (index < length).then_some(index)
}

fn get(out: &mut Value, path: &str) -> Result<Value, &'static str> {
    match parent(out, path)? {
        (Value::Object(map), key) => Ok(map.get(&key).cloned().unwrap_or_default()),
        (Value::Array(list), key) => {
            let at = place(&key, list.len()).ok_or(NO_PLACE)?;
            list.get(at).cloned().ok_or(NO_PLACE)
        }
        _ => Err(MISSING),
    }
}

fn add(out: &mut Value, path: &str, value: Value) -> Result<(), &'static str> {
    match parent(out, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(list), key) if key == "-" => list.push(value),
        (Value::Array(list), key) => {
            let at = place(&key, list.len() + 1).ok_or(NO_PLACE)?;
            list.insert(at, value);
        }
        _ => return Err(MISSING),
    }
    Ok(())
}

fn remove(out: &mut Value, path: &str) -> Result<(), &'static str> {
    match parent(out, path)? {
        (Value::Object(map), key) => map.shift_remove(&key).map(|_| ()).ok_or(MISSING),
        (Value::Array(list), key) => {
            let at = place(&key, list.len()).ok_or(NO_PLACE)?;
            list.remove(at);
            Ok(())
        }
        _ => Err(MISSING),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        json_merge(
            &mut object,
            &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [3]}),
        );
        assert_eq!(object, json!({"a": {"c": 2, "d": {"f": 1}}, "l": [3]}));
    }

    #[test]
    fn the_failing_operation_is_named() {
        let object = json!({"spec": {"replicas": 1}});
        let patch = json!([
            {"op": "replace", "path": "/spec/replicas", "value": 2},
            {"op": "test", "path": "/spec/paused", "value": true}]);
        let failure = json_patch(&object, &patch).expect_err("no such field");
        let PatchFailure::Operation {
            index, op, path, ..
        } = failure
        else {
            panic!("another failure")
        };
        assert_eq!(
            (index, op.as_str(), path.as_str()),
            (1, "test", "/spec/paused")
        );
    }

    #[test]
    fn the_api_server_is_kinder_than_the_standard() {
        let object = json!({"data": {"a": "1"}, "list": [1, 2]});
        let patch = json!([
            {"op": "replace", "path": "/data/new", "value": "x"},
            {"op": "copy", "from": "/data/missing", "path": "/data/copied"},
            {"op": "replace", "path": "/list/-1", "value": 9},
            {"op": "add", "path": "/list/-", "value": 3}]);
        assert_eq!(
            json_patch(&object, &patch),
            Ok(json!({"data": {"a": "1", "new": "x", "copied": null}, "list": [1, 9, 3]}))
        );
        for bad in [
            json!({"op": "remove", "path": "/data/missing"}),
            json!({"op": "add", "path": "/missing/x", "value": 1}),
            json!({"op": "add", "path": "/list/7", "value": 1}),
            json!({"op": "add", "path": "no-slash", "value": 1}),
            json!({"op": "bogus", "path": "/data"}),
            json!({"path": "/data"}),
        ] {
            let outcome = json_patch(&object, &json!([bad]));
            assert!(
                matches!(outcome, Err(PatchFailure::Operation { .. })),
                "{bad}: {outcome:?}"
            );
        }
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        let failure = json_patch(&json!({}), &json!({"op": "add"})).expect_err("not a list");
        assert!(matches!(failure, PatchFailure::Unreadable { .. }));
    }
}
