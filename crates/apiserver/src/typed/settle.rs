//! Owns the encoding of a Go struct: fields in order, empty ones left out or written as their zero,
//! maps sorted. It is what a client reads back, whatever was written.

use serde_json::{Map, Value};
use weir_schema::{GoEdge, GoField, GoForm, GoId, GoTypes};

/// How objects of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As protobuf, in which an empty list or map is none.
    Protobuf,
    /// As JSON.
    Json,
}

/// Writes a value as its struct.
pub(crate) fn settle(value: &mut Value, root: GoId, kept: Kept) {
    let types = GoTypes::builtin();
    let encoder = Encoder { types, kept };
    encoder.value(
        value,
        GoEdge {
            to: root,
            pointer: false,
        },
    );
}

struct Encoder {
    types: &'static GoTypes,
    kept: Kept,
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

impl Encoder {
    fn value(&self, value: &mut Value, edge: GoEdge) {
        match (self.types.get(edge.to).map(|ty| &ty.form), value) {
            (Some(GoForm::Struct(of)), Value::Object(map)) => {
                let mut old = std::mem::take(map);
                for field in &of.fields {
                    let found = old.get_mut(&field.name).map(Value::take);
                    if let Some(value) = self.member(found, field) {
                        map.insert(field.name.clone(), value);
                    }
                }
            }
            (Some(GoForm::List(edge)), Value::Array(items)) => {
                for item in items {
                    self.element(item, *edge);
                }
            }
            (Some(GoForm::Map(edge)), Value::Object(map)) => {
                if !map.keys().is_sorted() {
                    map.sort_keys();
                }
                for item in map.values_mut() {
                    self.element(item, *edge);
                }
            }
            (Some(GoForm::SchemaOrBool | GoForm::SchemaOrList | GoForm::SchemaOrTexts), value) => {
                let to = self.types.json_schema().unwrap_or(GoId::MAX);
                let edge = GoEdge { to, pointer: false };
                match value {
                    Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, edge)),
                    value @ Value::Object(_) => self.value(value, edge),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn element(&self, item: &mut Value, edge: GoEdge) {
        if item.is_null() && !edge.pointer {
            *item = self.zero(edge.to);
        }
        self.value(item, edge);
    }

    /// A member as it is written; none when it is left out.
    fn member(&self, found: Option<Value>, field: &GoField) -> Option<Value> {
        let found = found.filter(|value| !value.is_null());
        let edge = field.edge;
        if edge.pointer {
            return match found {
                Some(mut value) => {
                    self.value(&mut value, edge);
                    Some(value)
                }
                None if field.omit_empty || field.omit_zero => None,
                None => Some(Value::Null),
            };
        }
        let form = self.types.get(edge.to).map(|ty| &ty.form);
        let whole = matches!(
            form,
            Some(
                GoForm::Struct(_)
                    | GoForm::Time
                    | GoForm::MicroTime
                    | GoForm::Quantity
                    | GoForm::IntOrString
            )
        );
        if whole {
            // `omitempty` never leaves out a struct.
            return match found {
                Some(mut value) => {
                    self.value(&mut value, edge);
                    Some(value)
                }
                None if field.omit_zero => None,
                None => Some(self.zero(edge.to)),
            };
        }
        match found {
            Some(value) if field.omit_empty && is_empty(&value) => None,
            Some(value)
                if self.kept == Kept::Protobuf
                    && matches!(form, Some(GoForm::List(_) | GoForm::Map(_)))
                    && is_empty(&value) =>
            {
                Some(Value::Null)
            }
            Some(mut value) => {
                self.value(&mut value, edge);
                Some(value)
            }
            None if field.omit_empty => None,
            None => Some(self.zero(edge.to)),
        }
    }

    fn zero(&self, id: GoId) -> Value {
        match self.types.get(id).map(|ty| &ty.form) {
            Some(GoForm::Struct(_)) => {
                let mut value = Value::Object(Map::new());
                self.value(
                    &mut value,
                    GoEdge {
                        to: id,
                        pointer: false,
                    },
                );
                value
            }
            Some(GoForm::Text) => "".into(),
            Some(GoForm::Bool) => false.into(),
            Some(GoForm::Int32 | GoForm::Int64 | GoForm::Float | GoForm::IntOrString) => 0.into(),
            Some(GoForm::Quantity) => "0".into(),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settled(api_version: &str, kind: &str, mut value: Value) -> String {
        let root = GoTypes::builtin().of(api_version, kind).expect("known");
        settle(&mut value, root, Kept::Protobuf);
        value.to_string()
    }

    #[test]
    fn objects_are_written_in_the_order_and_fullness_of_their_structs() {
        let table = [
            (
                "v1",
                "ConfigMap",
                json!({"data": {"b": "", "a": "1"}, "metadata": {"labels": {}, "name": "x"}, "kind": "ConfigMap", "apiVersion": "v1"}),
                r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"a":"1","b":""}}"#,
            ),
            (
                "rbac.authorization.k8s.io/v1",
                "Role",
                json!({"rules": []}),
                r#"{"metadata":{},"rules":null}"#,
            ),
            (
                "v1",
                "Pod",
                json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {}}, "securityContext": {}}]}}),
                r#"{"metadata":{},"spec":{"containers":[{"name":"c","resources":{},"securityContext":{}}]},"status":{}}"#,
            ),
            (
                "apps/v1",
                "ReplicaSet",
                json!({"spec": {"replicas": 0}}),
                r#"{"metadata":{},"spec":{"replicas":0,"selector":null,"template":{"metadata":{},"spec":{"containers":null}}},"status":{"replicas":0}}"#,
            ),
            (
                "v1",
                "Event",
                json!({}),
                r#"{"metadata":{},"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"reportingComponent":"","reportingInstance":""}"#,
            ),
        ];
        for (api_version, kind, value, want) in table {
            assert_eq!(settled(api_version, kind, value), want, "{kind}");
        }
    }
}
