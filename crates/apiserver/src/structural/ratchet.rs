//! Owns the comparison of a value with what it was: what did not change is not judged anew.

use serde_json::Value;

use super::{Additional, Structural};

/// What a value was, as far as it can be told.
#[derive(Clone, Copy)]
pub(crate) struct Was<'a> {
    pub(crate) old: &'a Value,
    pub(crate) schema: &'a Structural,
}

impl Was<'_> {
    /// What a field was.
    pub(crate) fn key(self, name: &str) -> Option<Self> {
        let old = self.old.as_object()?.get(name)?;
        let schema = match (self.schema.properties.get(name), &self.schema.additional) {
            (Some(schema), _) => schema,
            (None, Additional::Each(schema)) => schema,
            _ => return None,
        };
        Some(Self { old, schema })
    }

    /// What an item was: only items of keyed lists can be told apart.
    pub(crate) fn item(self, new: &Value) -> Option<Self> {
        let keys = self.schema.list_keys.as_ref()?;
        let schema = self.schema.items.as_deref()?;
        let old = self
            .old
            .as_array()?
            .iter()
            .find(|old| same_keys(keys, &self, old, new))?;
        Some(Self { old, schema })
    }

    /// Whether nothing changed.
    pub(crate) fn same(self, new: &Value) -> bool {
        match (self.old, new) {
            (Value::Null, Value::Null) => true,
            (Value::Array(old), Value::Array(items)) => {
                if old.len() != items.len() {
                    return false;
                }
                if self.schema.list_keys.is_none() {
                    return old == items;
                }
                items
                    .iter()
                    .all(|item| self.item(item).is_some_and(|was| was.same(item)))
            }
            (Value::Object(old), Value::Object(map)) => {
                old.len() == map.len()
                    && map
                        .iter()
                        .all(|(name, value)| self.key(name).is_some_and(|was| was.same(value)))
            }
            (old, new) => old == new,
        }
    }
}

/// Whether two items of a keyed list are the same one; absent keys have their defaults.
fn same_keys(keys: &[String], was: &Was<'_>, a: &Value, b: &Value) -> bool {
    keys.iter().all(|key| {
        let default = was
            .schema
            .items
            .as_ref()
            .and_then(|of| of.properties.get(key)?.default.as_ref());
        let of = |item: &'_ Value| item.get(key).or(default).cloned();
        of(a) == of(b)
    })
}
