//! Owns the object itself: a JSON map with `apiVersion`, `kind` and `metadata`. Everything else is
//! left as it came, so nothing is lost in passing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Key, ObjectRef, path};

/// A Kubernetes object as a value. Unknown fields are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Value);

/// A value that is not a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The document is a list or a scalar. Terminal until the input changes.
    #[error("a Kubernetes object must be a map, found {0}")]
    NotAMap(&'static str),
    /// A required field is missing or empty. Terminal until the input changes.
    #[error("field `{0}` is missing or not a non-empty string")]
    Missing(&'static str),
}

impl Object {
    /// Takes a value that has `apiVersion`, `kind` and `metadata.name` (or `generateName`).
    pub fn new(value: Value) -> Result<Self, Malformed> {
        let shape = match &value {
            Value::Object(_) => None,
            Value::Array(_) => Some("a list"),
            Value::Null => Some("nothing"),
            _ => Some("a scalar"),
        };
        if let Some(found) = shape {
            return Err(Malformed::NotAMap(found));
        }
        let object = Self(value);
        if object.api_version().is_empty() {
            return Err(Malformed::Missing("apiVersion"));
        }
        if object.kind().is_empty() {
            return Err(Malformed::Missing("kind"));
        }
        if object.name().is_empty() && object.text(&["metadata", "generateName"]).is_empty() {
            return Err(Malformed::Missing("metadata.name"));
        }
        Ok(object)
    }

    /// The value at `path`.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        path::get(&self.0, path)
    }

    /// The string at `path`, or the empty string.
    pub fn text(&self, path: &[&str]) -> &str {
        path::text(&self.0, path)
    }

    /// Puts a value at `path`, creating maps on the way.
    pub fn set(&mut self, path: &[&str], value: Value) {
        path::set(&mut self.0, path, value);
    }

    /// Removes and returns the value at `path`.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        path::remove(&mut self.0, path)
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"])
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// `metadata.namespace`, empty where there is none.
    pub fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"])
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> &str {
        self.text(&["metadata", "resourceVersion"])
    }

    /// `metadata.generation`, 0 where there is none.
    pub fn generation(&self) -> i64 {
        self.get(&["metadata", "generation"])
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    /// Whether deletion was asked for.
    pub fn is_deleting(&self) -> bool {
        self.get(&["metadata", "deletionTimestamp"])
            .is_some_and(|v| !v.is_null())
    }

    /// The annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.get(&["metadata", "annotations", key])?.as_str()
    }

    /// The label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.get(&["metadata", "labels", key])?.as_str()
    }

    /// `metadata.labels`, where there are any.
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        self.get(&["metadata", "labels"])?.as_object()
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.get(&["metadata", "finalizers"])
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// The name inside the kind.
    pub fn key(&self) -> Key {
        Key::new(self.namespace(), self.name())
    }

    /// The full reference.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refuses_what_is_not_an_object_and_says_why() {
        assert_eq!(Object::new(json!([])), Err(Malformed::NotAMap("a list")));
        assert_eq!(
            Object::new(json!({"kind": "X"})),
            Err(Malformed::Missing("apiVersion"))
        );
        let odd = json!({"apiVersion": "v1", "kind": "X", "metadata": "no"});
        assert_eq!(Object::new(odd), Err(Malformed::Missing("metadata.name")));
        let good = json!({"apiVersion": "v1", "kind": "X", "metadata": {"generateName": "a-"}});
        assert!(Object::new(good).is_ok());
    }
}
