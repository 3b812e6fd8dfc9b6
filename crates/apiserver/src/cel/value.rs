//! Owns the values of the language. What comes from an object is looked at in place, through the
//! schema that types it; only what is computed is owned.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::eval::Fault;
use super::hosts::Host;
use super::time;
use super::types::Type;
use crate::structural::{Additional, Structural, Type as Shape};

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Arc<[u8]>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(jiff::Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    Type(Type),
    Optional(Option<Arc<Value<'a>>>),
    Host(Host),
}

/// A list, and the schema that says how it is compared and added to.
#[derive(Clone, Debug)]
pub(crate) struct List<'a> {
    pub(crate) items: Items<'a>,
    pub(crate) shape: Option<&'a Structural>,
}

#[derive(Clone, Debug)]
pub(crate) enum Items<'a> {
    Owned(Arc<Vec<Value<'a>>>),
    Json(&'a [Json]),
}

/// A map or an object.
#[derive(Clone, Debug)]
pub(crate) enum Map<'a> {
    Owned(Arc<BTreeMap<Key, Value<'a>>>),
    Json(&'a serde_json::Map<String, Json>, Option<&'a Structural>),
}

/// A key of a map. Numbers that are equal are the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    /// Only what does not fit into `Int`.
    Uint(u64),
    /// The bits of a double that is not whole.
    Double(u64),
    Text(String),
}

impl Key {
    fn value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(v) => Value::Bool(*v),
            Self::Int(v) => Value::Int(*v),
            Self::Uint(v) => Value::Uint(*v),
            Self::Double(v) => Value::Double(f64::from_bits(*v)),
            Self::Text(v) => Value::Text(Cow::Owned(v.clone())),
        }
    }
}

pub(crate) fn text<'a>(text: impl Into<String>) -> Value<'a> {
    Value::Text(Cow::Owned(text.into()))
}

pub(crate) fn list(items: Vec<Value<'_>>) -> Value<'_> {
    Value::List(List {
        items: Items::Owned(Arc::new(items)),
        shape: None,
    })
}

pub(crate) fn some(value: Value<'_>) -> Value<'_> {
    Value::Optional(Some(Arc::new(value)))
}

/// A part of an object as the schema types it; without a schema, as JSON types it.
pub(crate) fn view<'a>(json: &'a Json, shape: Option<&'a Structural>) -> Result<Value<'a>, Fault> {
    let invalid = |wanted: &str| {
        Err(Fault::said(format!(
            "invalid data, expected a {wanted} value"
        )))
    };
    let Some(shape) = shape else {
        return Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(v) => Value::Bool(*v),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(v), _) => Value::Int(v),
                (None, Some(v)) => Value::Uint(v),
                _ => Value::Double(n.as_f64().unwrap_or_default()),
            },
            Json::String(v) => Value::Text(Cow::Borrowed(v)),
            Json::Array(items) => Value::List(List {
                items: Items::Json(items),
                shape: None,
            }),
            Json::Object(map) => Value::Map(Map::Json(map, None)),
        });
    };
    if json.is_null() {
        return Ok(Value::Null);
    }
    if shape.int_or_string || shape.kind.is_none() {
        return view(json, None);
    }
    match (shape.kind, json) {
        (Some(Shape::Object), Json::Object(map)) => Ok(Value::Map(Map::Json(map, Some(shape)))),
        (Some(Shape::Array), Json::Array(items)) => Ok(Value::List(List {
            items: Items::Json(items),
            shape: Some(shape),
        })),
        (Some(Shape::String), Json::String(v)) => match shape.format.as_deref() {
            Some("date-time") => match time::timestamp(v) {
                Some(time) => Ok(Value::Timestamp(time)),
                None => Err(Fault::said(format!("Invalid date-time format: {v}"))),
            },
            Some("date") => match format!("{v}T00:00:00Z").parse() {
                Ok(time) => Ok(Value::Timestamp(time)),
                Err(_) => Err(Fault::said(format!("Invalid date format: {v}"))),
            },
            Some("duration") => match time::format_duration(v) {
                Some(duration) => Ok(Value::Duration(duration)),
                None => Err(Fault::said(format!("Invalid duration format: {v}"))),
            },
            Some("byte") => {
                use base64::Engine as _;
                match base64::engine::general_purpose::STANDARD.decode(v) {
                    Ok(bytes) => Ok(Value::Bytes(bytes.into())),
                    Err(_) => invalid("base64 encoded byte format string"),
                }
            }
            _ => Ok(Value::Text(Cow::Borrowed(v))),
        },
        (Some(Shape::Number), Json::Number(n)) => Ok(Value::Double(n.as_f64().unwrap_or(0.0))),
        (Some(Shape::Integer), Json::Number(n)) => match n.as_i64() {
            Some(v) => Ok(Value::Int(v)),
            None => match n.as_f64() {
                Some(v) if v.fract() == 0.0 && v.abs() < 9e18 => Ok(Value::Int(v as i64)),
                _ => invalid("integer"),
            },
        },
        (Some(Shape::Boolean), Json::Bool(v)) => Ok(Value::Bool(*v)),
        (Some(kind), _) => invalid(kind.name()),
        (None, _) => view(json, None),
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match &self.items {
            Items::Owned(items) => items.len(),
            Items::Json(items) => items.len(),
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<Result<Value<'a>, Fault>> {
        match &self.items {
            Items::Owned(items) => items.get(at).cloned().map(Ok),
            Items::Json(items) => {
                let of = self.shape.and_then(|s| s.items.as_deref());
                items.get(at).map(|json| view(json, of))
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, Fault>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(crate) fn to_vec(&self) -> Result<Vec<Value<'a>>, Fault> {
        self.iter().collect()
    }

    fn keys(&self) -> Option<&'a [String]> {
        self.shape.and_then(|s| s.list_keys.as_deref())
    }

    fn is_set(&self) -> bool {
        self.shape.is_some_and(|s| s.list_set)
    }

    /// The two together: sets and keyed lists unite, others are put in a row.
    pub(crate) fn plus(&self, other: &List<'a>) -> Result<Value<'a>, Fault> {
        let mut out = self.to_vec()?;
        if self.is_set() {
            for item in other.iter() {
                let item = item?;
                if !out.iter().any(|have| equal(have, &item)) {
                    out.push(item);
                }
            }
        } else if let Some(keys) = self.keys() {
            for item in other.iter() {
                let item = item?;
                match out.iter().position(|have| same_key(keys, have, &item)) {
                    Some(at) => out[at] = item,
                    None => out.push(item),
                }
            }
        } else {
            for item in other.iter() {
                out.push(item?);
            }
        }
        Ok(Value::List(List {
            items: Items::Owned(Arc::new(out)),
            shape: self.shape,
        }))
    }
}

fn same_key(keys: &[String], a: &Value<'_>, b: &Value<'_>) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else {
        return false;
    };
    keys.iter().all(|key| match (a.field(key), b.field(key)) {
        (Some(Ok(a)), Some(Ok(b))) => equal(&a, &b),
        (None, None) => true,
        _ => false,
    })
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Owned(map) => map.len(),
            Self::Json(map, _) => map.len(),
        }
    }

    /// What a field selection finds. The fields of typed objects are asked for by escaped names.
    pub(crate) fn field(&self, name: &str) -> Option<Result<Value<'a>, Fault>> {
        match self {
            Self::Owned(map) => map.get(&Key::Text(name.to_owned())).cloned().map(Ok),
            Self::Json(map, None) => map.get(name).map(|json| view(json, None)),
            Self::Json(map, Some(shape)) => {
                if let Additional::Each(of) = &shape.additional {
                    return map.get(name).map(|json| view(json, Some(of)));
                }
                let name = super::escape::unescape(name);
                let json = map.get(name.as_ref())?;
                Some(view(json, shape.properties.get(name.as_ref())))
            }
        }
    }

    pub(crate) fn get(&self, key: &Value<'_>) -> Option<Result<Value<'a>, Fault>> {
        match (self, key) {
            (Self::Json(..), Value::Text(name)) => self.field(name),
            (Self::Json(..), _) => None,
            (Self::Owned(map), key) => map.get(&key.key()?).cloned().map(Ok),
        }
    }

    /// The keys as values.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Owned(map) => map.keys().map(Key::value).collect(),
            Self::Json(map, _) => map.keys().map(|k| Value::Text(Cow::Borrowed(k))).collect(),
        }
    }

    pub(crate) fn entries(&self) -> Vec<(Value<'a>, Result<Value<'a>, Fault>)> {
        match self {
            Self::Owned(map) => map
                .iter()
                .map(|(k, v)| (k.value(), Ok(v.clone())))
                .collect(),
            Self::Json(map, _) => map
                .keys()
                .filter_map(|k| {
                    let value = self.raw(k)?;
                    Some((Value::Text(Cow::Borrowed(k.as_str())), value))
                })
                .collect(),
        }
    }

    /// By the name in the JSON, unescaped.
    fn raw(&self, name: &str) -> Option<Result<Value<'a>, Fault>> {
        match self {
            Self::Json(map, Some(shape)) if !matches!(shape.additional, Additional::Each(_)) => {
                Some(view(map.get(name)?, shape.properties.get(name)))
            }
            _ => self.field(name),
        }
    }
}

impl Value<'_> {
    pub(crate) fn key(&self) -> Option<Key> {
        Some(match self {
            Self::Bool(v) => Key::Bool(*v),
            Self::Int(v) => Key::Int(*v),
            Self::Uint(v) => i64::try_from(*v).map_or(Key::Uint(*v), Key::Int),
            Self::Double(v) if v.fract() == 0.0 && v.abs() < 9e18 => Key::Int(*v as i64),
            Self::Double(v) => Key::Double(v.to_bits()),
            Self::Text(v) => Key::Text(v.to_string()),
            _ => return None,
        })
    }

    /// How much there is to walk over: the size of what has one, otherwise one.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(value)) => value.size(),
            Self::Host(host) => host.size(),
            _ => 1,
        }
    }

    pub(crate) fn ty(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::Text(_) => Type::Text,
            Self::Bytes(_) => Type::Bytes,
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Host(host) => Type::Host(host.name()),
        }
    }
}

/// The name of a type, without what it is of.
pub(crate) fn type_name(ty: &Type) -> String {
    match ty {
        Type::List(_) => "list".to_owned(),
        Type::Map(_) => "map".to_owned(),
        Type::Optional(_) => "optional_type".to_owned(),
        Type::Type(_) => "type".to_owned(),
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    }
}

fn compare_int_double(a: i64, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    if b >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if b < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    (a as f64).partial_cmp(&b)
}

/// The order of two values, `None` when they have none.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) | (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => compare_int_double(*a, *b),
        (Value::Double(a), Value::Int(b)) => compare_int_double(*b, *a).map(Ordering::reverse),
        (Value::Uint(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Uint(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether two values can be put in order at all.
pub(crate) fn comparable(a: &Value<'_>, b: &Value<'_>) -> bool {
    let number = |v: &Value<'_>| matches!(v, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    (number(a) && number(b)) || (compare(a, b).is_some())
}

/// Whether two values are the same. Values of different types are not; numbers compare by worth.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::List(a), Value::List(b)) => equal_lists(a, b),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.entries().into_iter().all(|(key, left)| {
                    let right = match (&key, b) {
                        (Value::Text(name), Map::Json(..)) => b.raw(name),
                        _ => b.get(&key),
                    };
                    matches!((left, right), (Ok(l), Some(Ok(r))) if equal(&l, &r))
                })
        }
        (Value::Type(a), Value::Type(b)) => type_name(a) == type_name(b),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(a, b),
            _ => false,
        },
        (Value::Host(a), Value::Host(b)) => a.same(b),
        _ => compare(a, b) == Some(Ordering::Equal),
    }
}

fn equal_lists(a: &List<'_>, b: &List<'_>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.is_set() || a.keys().is_some() {
        let (Ok(a), Ok(b)) = (a.to_vec(), b.to_vec()) else {
            return false;
        };
        return a.iter().all(|x| b.iter().any(|y| equal(x, y)));
    }
    a.iter()
        .zip(b.iter())
        .all(|(x, y)| matches!((x, y), (Ok(x), Ok(y)) if equal(&x, &y)))
}
