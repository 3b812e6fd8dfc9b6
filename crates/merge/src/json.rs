//! Owns JSON merge patch (RFC 7396) and JSON patch (RFC 6902) on plain values. It refuses schemas:
//! lists are replaced as a whole by the first and addressed by position by the second.

use serde_json::Value;

/// A patch that can't be applied. Terminal: the patch, or the object it meets, must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchFailure {
    /// The patch is not a list of operations.
    #[error("the JSON patch is not a list of operations: {reason}; write `[{{\"op\": …}}]`")]
    Unreadable {
        /// What the reader met.
        reason: String,
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
        reason: String,
    },
}

/// Merges `patch` into `target` by RFC 7396: maps are merged, null removes, all else replaces.
pub fn json_merge(target: &mut Value, patch: &Value) {
    json_patch::merge(target, patch);
}

/// Applies the operations of `patch` to a copy of `target`, all or none.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchFailure> {
    let operations: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|fault| PatchFailure::Unreadable {
            reason: fault.to_string(),
        })?;
    let mut out = target.clone();
    json_patch::patch(&mut out, &operations).map_err(|fault| {
        let row = patch.get(fault.operation);
        let op = row
            .and_then(|row| row.get("op"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        PatchFailure::Operation {
            index: fault.operation,
            op: op.to_owned(),
            path: fault.path.to_string(),
            reason: fault.kind.to_string(),
        }
    })?;
    Ok(out)
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
    fn what_is_not_a_list_is_refused() {
        let failure = json_patch(&json!({}), &json!({"op": "add"})).expect_err("not a list");
        assert!(matches!(failure, PatchFailure::Unreadable { .. }));
    }
}
