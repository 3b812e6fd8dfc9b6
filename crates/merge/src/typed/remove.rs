//! Owns taking fields out of a value, and its reverse: keeping only some.

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use super::{Side, is_atomic_list, item, item_element, member, side};
use crate::element::PathElement;
use crate::fieldset::FieldSet;

/// The value without these fields; null when nothing is left of a map or list.
pub(crate) fn remove(value: &Value, fields: &FieldSet, ty: &TypeRef) -> Value {
    match side(ty, value) {
        Side::Scalar => value.clone(),
        Side::List => {
            let Some(list) = value.as_array() else {
                return Value::Null;
            };
            if is_atomic_list(ty) {
                return Value::Null;
            }
            let item = item(ty);
            let mut out = Vec::with_capacity(list.len());
            for value in list {
                let Ok(element) = item_element(ty, value) else {
                    out.push(value.clone());
                    continue;
                };
                if !fields.has(&element) {
                    out.push(rest(value, fields.below(&element), &item));
                }
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Array(out)
            }
        }
        Side::Map => {
            let Some(map) = value.as_object() else {
                return Value::Null;
            };
            if ty.is_atomic_map() {
                return Value::Null;
            }
            let mut out = Map::new();
            for (name, value) in map {
                let element = PathElement::Field(name.clone());
                if !fields.has(&element) {
                    out.insert(
                        name.clone(),
                        rest(value, fields.below(&element), &member(ty, name)),
                    );
                }
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Object(out)
            }
        }
    }
}

fn rest(value: &Value, fields: &FieldSet, ty: &TypeRef) -> Value {
    if fields.is_empty() {
        value.clone()
    } else {
        remove(value, fields, ty)
    }
}

/// Only these fields of the value, with the key fields of the items they are in. A field that is
/// itself in the set without anything below it comes as a whole when it is one value, and empty
/// when it is a map or list whose members have other owners.
pub(crate) fn extract(value: &Value, fields: &FieldSet, ty: &TypeRef) -> Option<Value> {
    match side(ty, value) {
        Side::Scalar => None,
        Side::List => {
            if is_atomic_list(ty) {
                return None;
            }
            let item = item(ty);
            let mut out = Vec::new();
            for value in value.as_array()? {
                let Ok(element) = item_element(ty, value) else {
                    continue;
                };
                if let Some(mut part) = step(value, &element, fields, &item) {
                    if let (PathElement::Key(keys), Some(part)) = (&element, part.as_object_mut()) {
                        for (name, _) in keys {
                            if let Some(key) = value.get(name)
                                && !part.contains_key(name)
                            {
                                part.insert(name.clone(), key.clone());
                            }
                        }
                    }
                    out.push(part);
                }
            }
            (!out.is_empty()).then_some(Value::Array(out))
        }
        Side::Map => {
            if ty.is_atomic_map() {
                return None;
            }
            let mut out = Map::new();
            for (name, value) in value.as_object()? {
                let element = PathElement::Field(name.clone());
                if let Some(part) = step(value, &element, fields, &member(ty, name)) {
                    out.insert(name.clone(), part);
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
    }
}

fn step(value: &Value, element: &PathElement, fields: &FieldSet, ty: &TypeRef) -> Option<Value> {
    let below = fields.below(element);
    if let Some(part) = extract(value, below, ty) {
        return Some(part);
    }
    if !fields.has(element) {
        return None;
    }
    Some(match side(ty, value) {
        Side::Map if !ty.is_atomic_map() && value.is_object() => Value::Object(Map::new()),
        Side::List if !is_atomic_list(ty) && value.is_array() => Value::Array(Vec::new()),
        _ => value.clone(),
    })
}
