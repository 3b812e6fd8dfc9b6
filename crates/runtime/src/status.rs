//! Owns writing a status: as the smallest merge patch from what is there to what should be, with
//! the resourceVersion as precondition; no difference means no write.

use serde_json::{Map, Value, json};
use weir_object::{Kind, Object};

use crate::{ApiClient, ApiFailure, Write};

/// The JSON merge patch (RFC 7396) that makes `after` of `before`; `None` when they are equal.
pub fn merge_between(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(a), Value::Object(b)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for (key, value) in b {
        match a.get(key) {
            Some(old) => patch.extend(merge_between(old, value).map(|p| (key.clone(), p))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    for key in a.keys().filter(|k| !b.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

/// Makes `status` the status of `object`. Returns the object as it then is, which is the same one
/// when there was nothing to write.
///
/// # Errors
/// A conflict means that somebody wrote in between: observe again and decide anew.
pub async fn patch_status(
    api: &ApiClient,
    kind: &Kind,
    object: &Object,
    status: &Value,
) -> Result<Object, ApiFailure> {
    let before = object
        .get(&["status"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    match merge_between(&before, status) {
        None => Ok(object.clone()),
        Some(patch) => {
            let body = json!({
                "metadata": {"resourceVersion": object.resource_version()},
                "status": patch,
            });
            api.write_status(kind, &object.key(), Write::Merge(body))
                .await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_difference_is_sent() {
        let a = json!({"phase": "A", "gone": 1, "deep": {"x": 1, "y": 2}, "list": [1]});
        let b = json!({"phase": "B", "deep": {"x": 1, "y": 3}, "list": [1, 2], "new": {}});
        let expected =
            json!({"phase": "B", "gone": null, "deep": {"y": 3}, "list": [1, 2], "new": {}});
        assert_eq!(merge_between(&a, &b), Some(expected));
        assert_eq!(merge_between(&a, &a), None);
    }
}
