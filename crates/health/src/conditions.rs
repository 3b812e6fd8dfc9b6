//! Owns reading the few fields that health rules look at, from objects that may have any shape.

use serde_json::Value;
use weir_object::Object;

use crate::Health;

/// A condition as far as the rules read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    pub(crate) last_update_time: &'a str,
}

impl Condition<'_> {
    pub(crate) fn is(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }
}

/// The object's conditions in their order. A status of another shape cannot be judged.
pub(crate) fn conditions(object: &Object) -> Result<Vec<Condition<'_>>, Health> {
    let unknown = |what: &str| Health::Unknown {
        message: format!("`{what}` is not what conditions look like; its controller must mend it"),
    };
    match object.get(&["status"]) {
        None | Some(Value::Null | Value::Object(_)) => {}
        Some(_) => return Err(unknown("status")),
    }
    let items = match object.get(&["status", "conditions"]) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(unknown("status.conditions")),
    };
    items
        .iter()
        .enumerate()
        .map(|(i, item)| {
            if !item.is_object() {
                return Err(unknown(&format!("status.conditions[{i}]")));
            }
            let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
            Ok(Condition {
                kind: text("type"),
                status: text("status"),
                reason: text("reason"),
                message: text("message"),
                last_update_time: text("lastUpdateTime"),
            })
        })
        .collect()
}

/// The whole number at `path`; `default` where there is none.
pub(crate) fn number(object: &Object, path: &[&str], default: i64) -> i64 {
    object.get(path).and_then(Value::as_i64).unwrap_or(default)
}
