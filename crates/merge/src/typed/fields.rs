//! Owns the set of fields that a value sets: what applying it claims.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_schema::TypeRef;

use super::{Side, is_atomic_list, item, item_element, member, side};
use crate::element::PathElement;
use crate::fieldset::FieldSet;

/// The fields that a value sets.
pub(crate) fn fields_of(value: &Value, ty: &TypeRef) -> FieldSet {
    of(value, ty).1
}

/// Whether the value is itself one field, and the fields below it.
fn of(value: &Value, ty: &TypeRef) -> (bool, FieldSet) {
    let mut out = FieldSet::default();
    match side(ty, value) {
        Side::Scalar => return (true, out),
        Side::Map => {
            if ty.is_atomic_map() {
                return (true, out);
            }
            for (name, value) in value.as_object().into_iter().flatten() {
                let (own, below) = of(value, &member(ty, name));
                let hollow =
                    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                let member = own || hollow || ty.declared(name).is_none();
                out.put(PathElement::Field(name.clone()), member, below);
            }
        }
        Side::List => {
            if is_atomic_list(ty) {
                return (true, out);
            }
            let mut seen: BTreeMap<PathElement, usize> = BTreeMap::new();
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            let Ok(elements) = list
                .iter()
                .map(|value| item_element(ty, value))
                .collect::<Result<Vec<_>, _>>()
            else {
                return (true, out);
            };
            for element in &elements {
                *seen.entry(element.clone()).or_default() += 1;
            }
            let item = item(ty);
            for (element, value) in elements.into_iter().zip(list) {
                let twice = seen.get(&element).is_some_and(|times| *times > 1);
                let below = if twice {
                    FieldSet::default()
                } else {
                    of(value, &item).1
                };
                out.put(element, true, below);
            }
        }
    }
    (false, out)
}
