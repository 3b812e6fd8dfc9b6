//! Owns the decoding of a JSON value into a Go struct: members go by their exact names, unknown and
//! doubled ones are named, nulls leave what they meet, wrong types are refused in Go's words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use weir_object::json_type;
use weir_schema::{GoEdge, GoForm, GoId, GoStruct, GoType, GoTypes};

use super::read::{mark_of, plain};
use super::time;

/// What decoding came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decoded {
    /// The value in the shape of its struct. Members that are nil are absent.
    pub(crate) value: Value,
    /// What strict decoding complains of, in order: `unknown field "x"`, `duplicate field "x"`.
    pub(crate) strict: Vec<String>,
}

const NO_QUANTITY: &str = "quantities must match the regular expression \
'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// No more complaints than these are told.
const COMPLAINTS: usize = 100;

/// How a value comes to its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// From JSON text.
    Text,
    /// From a map that a strategic patch made, which has other words for faults.
    Map,
}

/// Decodes a value; `marked` says that it holds marks of doubled members.
pub(crate) fn decode(
    value: Value,
    root: GoId,
    marked: bool,
    from: From,
) -> Result<Decoded, String> {
    let mut decoder = Decoder {
        types: GoTypes::builtin(),
        marked,
        from,
        fields: Vec::new(),
        inside: None,
        path: String::new(),
        strict: Vec::new(),
        fault: None,
    };
    let edge = GoEdge {
        to: root,
        pointer: false,
    };
    let value = decoder.value(value, edge)?.unwrap_or_default();
    match decoder.fault {
        Some(fault) => Err(fault),
        None => {
            if from == From::Map {
                decoder.strict.sort();
            }
            Ok(Decoded {
                value,
                strict: decoder.strict,
            })
        }
    }
}

struct Decoder {
    types: &'static GoTypes,
    marked: bool,
    from: From,
    /// The struct fields on the way.
    fields: Vec<&'static str>,
    /// The struct that is being filled.
    inside: Option<&'static str>,
    /// The way with indices and map keys.
    path: String,
    strict: Vec<String>,
    /// The first mismatch; decoding goes on after it.
    fault: Option<String>,
}

/// Go's kind of a value in a map.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

impl Decoder {
    fn mismatch(&self, found: &str, wanted: &str) -> String {
        match self.inside.filter(|_| self.from == From::Text) {
            Some(name) => format!(
                "json: cannot unmarshal {found} into Go struct field {name}.{} of type {wanted}",
                self.fields.join(".")
            ),
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        }
    }

    fn save(&mut self, found: &Value, ty: &GoType) {
        if self.fault.is_some() {
            return;
        }
        let inexact =
            matches!(found, Value::Number(_)) && matches!(ty.form, GoForm::Int32 | GoForm::Int64);
        self.fault = Some(match self.from {
            From::Text if inexact => self.mismatch(&format!("number {found}"), &ty.shown),
            From::Text => self.mismatch(json_type(found), &ty.shown),
            From::Map => {
                let kind = kind(found);
                match &ty.form {
                    GoForm::Struct(_) => format!("cannot restore struct from: {kind}"),
                    GoForm::Map(_) => format!("cannot restore map from {kind}"),
                    GoForm::List(_) => format!("cannot restore slice from {kind}"),
                    GoForm::Text => "unrecognized type: string".to_owned(),
                    _ if inexact => format!("cannot convert {kind} to {}", ty.shown),
                    _ => format!("unrecognized type: {}", ty.shown),
                }
            }
        });
    }

    fn complain(&mut self, what: &str, name: &str) {
        if self.strict.len() >= COMPLAINTS {
            return;
        }
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        let text = format!("{what} field {}", Value::String(path));
        if !self.strict.contains(&text) {
            self.strict.push(text);
        }
    }

    /// Decodes below a member.
    fn below<T>(&mut self, name: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let out = decode(self);
        self.path.truncate(before);
        out
    }

    /// Decodes a value. `None` is nil, or nothing that would change what is there.
    fn value(&mut self, value: Value, edge: GoEdge) -> Result<Option<Value>, String> {
        let Some(ty) = self.types.get(edge.to) else {
            return Ok(Some(value));
        };
        if value.is_null()
            && (edge.pointer || !matches!(ty.form, GoForm::Quantity | GoForm::IntOrString))
        {
            return Ok(None);
        }
        match (&ty.form, value) {
            (GoForm::Struct(of), Value::Object(map)) => self.members(map, of).map(Some),
            (GoForm::Map(edge), Value::Object(map)) => self.map(map, *edge).map(Some),
            (GoForm::List(edge), Value::Array(items)) => self.items(items, *edge).map(Some),
            (form, value) => self.scalar(form, ty, value),
        }
    }

    fn members(&mut self, map: Map<String, Value>, of: &'static GoStruct) -> Result<Value, String> {
        let mut slots: Vec<Option<Value>> = vec![None; of.fields.len()];
        let outer = self.inside;
        for (key, value) in map {
            if self.marked
                && let Some(name) = mark_of(&key)
            {
                if of.find(name).is_some() {
                    self.complain("duplicate", name);
                }
                continue;
            }
            let Some(at) = of.find(&key) else {
                self.complain("unknown", &key);
                continue;
            };
            let (Some(field), Some(slot)) = (of.fields.get(at), slots.get_mut(at)) else {
                continue;
            };
            self.fields.push(&field.name);
            self.inside = Some(&of.name);
            let decoded = self.below(&key, |this| this.value(value, field.edge));
            if decoded.is_err() {
                // A fault that ends decoding is told with where it was.
                return decoded.map(Option::unwrap_or_default);
            }
            *slot = decoded?;
            self.fields.pop();
            self.inside = outer;
        }
        let named = of.fields.iter().zip(slots);
        Ok(named
            .filter_map(|(field, value)| Some((field.name.clone(), value?)))
            .collect::<Map<_, _>>()
            .into())
    }

    fn map(&mut self, map: Map<String, Value>, edge: GoEdge) -> Result<Value, String> {
        let mut out = Map::new();
        for (key, value) in map {
            if self.marked
                && let Some(name) = mark_of(&key)
            {
                self.complain("duplicate", name);
                continue;
            }
            let decoded = self.below(&key, |this| this.value(value, edge))?;
            let zero = || self.zero(edge);
            out.insert(key, decoded.unwrap_or_else(zero));
        }
        Ok(out.into())
    }

    fn items(&mut self, items: Vec<Value>, edge: GoEdge) -> Result<Value, String> {
        use std::fmt::Write as _;
        let mut out = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            let before = self.path.len();
            let _ = write!(self.path, "[{i}]");
            let decoded = self.value(item, edge)?;
            self.path.truncate(before);
            out.push(decoded.unwrap_or_else(|| self.zero(edge)));
        }
        Ok(out.into())
    }

    /// What stands in a list or map where null was written.
    fn zero(&self, edge: GoEdge) -> Value {
        match self.types.get(edge.to).map(|ty| &ty.form) {
            _ if edge.pointer => Value::Null,
            Some(GoForm::Struct(_)) => Map::new().into(),
            Some(GoForm::Text | GoForm::Bytes) => "".into(),
            Some(GoForm::Int32 | GoForm::Int64 | GoForm::Float) => 0.into(),
            Some(GoForm::Bool) => false.into(),
            _ => Value::Null,
        }
    }

    fn scalar(
        &mut self,
        form: &GoForm,
        ty: &GoType,
        value: Value,
    ) -> Result<Option<Value>, String> {
        let number = |value: &Value| format!("number {value}");
        match (form, value) {
            (GoForm::Text, value @ Value::String(_))
            | (GoForm::Bool | GoForm::SchemaOrBool, value @ Value::Bool(_))
            | (GoForm::SchemaOrTexts, value @ Value::Array(_))
            | (GoForm::Float, value @ Value::Number(_)) => Ok(Some(value)),
            (GoForm::Int32, value @ Value::Number(_)) => {
                if value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) {
                    return Ok(Some(value));
                }
                self.save(&value, ty);
                Ok(None)
            }
            (GoForm::Int64, value @ Value::Number(_)) => {
                if value.as_i64().is_some() {
                    return Ok(Some(value));
                }
                self.save(&value, ty);
                Ok(None)
            }
            (GoForm::Bytes, Value::String(text)) => {
                match base64_fault(&text) {
                    Some(at) if self.fault.is_none() => {
                        self.fault = Some(format!("illegal base64 data at input byte {at}"));
                    }
                    _ => {}
                }
                if text.contains(['\n', '\r']) {
                    let text = text.replace(['\n', '\r'], "");
                    return Ok(Some(text.into()));
                }
                Ok(Some(text.into()))
            }
            (GoForm::Time | GoForm::MicroTime, value) => match value {
                Value::String(text) => {
                    time::canonical(&text, *form == GoForm::MicroTime).map(|text| Some(text.into()))
                }
                other => Err(self.mismatch(json_type(&other), "string")),
            },
            (GoForm::Quantity, value) => match value {
                Value::Null => Ok(Some("0".into())),
                Value::Number(number) => Ok(Some(number.to_string().into())),
                Value::String(text) if weir_schema::defaults::is_quantity(text.trim()) => {
                    Ok(Some(text.into()))
                }
                _ => Err(NO_QUANTITY.to_owned()),
            },
            (GoForm::IntOrString, value) => match value {
                Value::Null => Ok(Some(0.into())),
                Value::String(_) => Ok(Some(value)),
                Value::Number(_) if value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                    Ok(Some(value))
                }
                Value::Number(_) => Err(self.mismatch(&number(&value), "int32")),
                other => Err(self.mismatch(json_type(&other), "int32")),
            },
            (GoForm::SchemaOrList, Value::Array(items)) => {
                self.items(items, self.schema()).map(Some)
            }
            (
                GoForm::SchemaOrBool | GoForm::SchemaOrList | GoForm::SchemaOrTexts,
                value @ Value::Object(_),
            ) => self.value(value, self.schema()),
            (GoForm::Raw, mut value) => {
                if self.marked {
                    plain(&mut value);
                }
                Ok(Some(value))
            }
            (_, other) => {
                self.save(&other, ty);
                Ok(None)
            }
        }
    }

    fn schema(&self) -> GoEdge {
        GoEdge {
            to: self.types.json_schema().unwrap_or(GoId::MAX),
            pointer: false,
        }
    }
}

/// Where a text stops being base64, as Go counts.
fn base64_fault(text: &str) -> Option<usize> {
    let plain: String;
    let text = if text.contains(['\n', '\r']) {
        plain = text.replace(['\n', '\r'], "");
        &plain
    } else {
        text
    };
    if STANDARD.decode(text).is_ok() {
        return None;
    }
    let bytes = text.as_bytes();
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    for (at, byte) in bytes.iter().enumerate() {
        if digit(byte) {
            continue;
        }
        if *byte != b'=' {
            return Some(at);
        }
        // Padding is right in the third and fourth place of the last group only.
        let rest = bytes.get(at..).unwrap_or_default();
        return Some(match (at % 4, rest) {
            (2, [b'=']) => bytes.len(),
            (2, [b'=', b'=']) | (3, [b'=']) => 0,
            (2, [b'=', b'=', ..]) => at + 2,
            (2 | 3, [b'=', ..]) => at + 1,
            _ => at,
        });
    }
    // A group that is not whole is told where it begins.
    Some(bytes.len() - bytes.len() % 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(api_version: &str, kind: &str, body: Value) -> Result<Decoded, String> {
        let root = GoTypes::builtin().of(api_version, kind).expect("known");
        decode(body, root, false, From::Text)
    }

    fn deployment(spec: &Value) -> Result<Decoded, String> {
        read("apps/v1", "Deployment", json!({"spec": spec}))
    }

    #[test]
    fn wrong_types_are_refused_in_the_words_of_go() {
        let containers = |c: Value| json!({"template": {"spec": {"containers": c}}});
        let quantity = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        let table = [
            (
                json!({"replicas": "x"}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"replicas": 1.5}),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"replicas": 3_000_000_000_u64}),
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"selector": []}),
                "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector",
            ),
            (
                json!({"selector": {"matchLabels": []}}),
                "json: cannot unmarshal array into Go struct field LabelSelector.spec.selector.matchLabels of type map[string]string",
            ),
            (
                containers(json!({})),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (
                containers(json!([1])),
                "json: cannot unmarshal number into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
            ),
            (
                containers(json!([{"imagePullPolicy": 1}])),
                "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
            ),
            (
                json!({"strategy": {"rollingUpdate": {"maxSurge": true}}}),
                "json: cannot unmarshal bool into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32",
            ),
            (
                containers(json!([{"resources": {"limits": {"cpu": "x"}}}])),
                quantity,
            ),
            (
                containers(json!([{"resources": {"limits": {"cpu": true}}}])),
                quantity,
            ),
        ];
        for (spec, want) in table {
            assert_eq!(deployment(&spec).expect_err("refused"), want, "{spec}");
        }
        let map = |body| read("v1", "ConfigMap", body).expect_err("refused");
        assert_eq!(
            map(json!({"binaryData": {"a": "%%"}})),
            "illegal base64 data at input byte 0"
        );
        assert_eq!(
            map(json!({"metadata": {"creationTimestamp": 1}})),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"
        );
        assert_eq!(
            map(json!({"data": {"a": 1}})),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        );
    }

    #[test]
    fn unknown_fields_are_dropped_and_named_in_order() {
        let decoded = deployment(&json!({
            "odd": 1, "Replicas": 2, "replicas": 1,
            "template": {"spec": {"containers": [{"name": "c", "wrong": {"deep": 1}}]}},
        }))
        .expect("decoded");
        assert_eq!(
            decoded.strict,
            [
                "unknown field \"spec.odd\"",
                "unknown field \"spec.Replicas\"",
                "unknown field \"spec.template.spec.containers[0].wrong\"",
            ]
        );
        assert_eq!(
            decoded.value["spec"]["template"]["spec"]["containers"],
            json!([{"name": "c"}])
        );
        let root = GoTypes::builtin().of("v1", "ConfigMap").expect("known");
        let parsed =
            super::super::parse(br#"{"Data":{},"data":{"a":"1","a":"2"},"foo":{"x":1,"x":2}}"#)
                .expect("JSON");
        let decoded = decode(parsed.value, root, true, From::Text).expect("decoded");
        assert_eq!(
            decoded.strict,
            [
                "unknown field \"Data\"",
                "duplicate field \"data.a\"",
                "unknown field \"foo\""
            ]
        );
        assert_eq!(decoded.value, json!({"data": {"a": "2"}}));
    }

    #[test]
    fn nulls_are_what_go_makes_of_them() {
        let decoded = read(
            "v1",
            "ConfigMap",
            json!({
                "metadata": {"name": null, "labels": {"a": null}, "creationTimestamp": null}, "data": null,
            }),
        );
        assert_eq!(
            decoded.expect("decoded").value,
            json!({"metadata": {"labels": {"a": ""}}})
        );
        let decoded = read(
            "v1",
            "Pod",
            json!({"spec": {"containers": [null, {"resources": {"limits": {"cpu": null}}}]}}),
        );
        assert_eq!(
            decoded.expect("decoded").value,
            json!({"spec": {"containers": [{}, {"resources": {"limits": {"cpu": "0"}}}]}})
        );
    }

    #[test]
    fn base64_ends_where_go_says() {
        for (text, at) in [
            ("%%", Some(0)),
            ("YQ==", None),
            ("YQ=", Some(3)),
            ("YQ", Some(0)),
            ("YWJjY", Some(4)),
            ("YQ==x", Some(4)),
            ("Y\nQ==", None),
        ] {
            assert_eq!(base64_fault(text), at, "{text}");
        }
    }
}
