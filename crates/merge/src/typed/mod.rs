//! Owns what the type graph makes of a value: which side of a type applies, how items of a list
//! are told apart, and the walks built on that (compare, merge, remove, validate, the set of
//! fields). It refuses managers and entries, see `managed`.

mod compare;
mod fields;
mod merge;
mod reconcile;
mod remove;
mod validate;

use std::sync::OnceLock;

use serde_json::Value;
use weir_schema::{ListKind, TypeRef};

use crate::element::PathElement;

pub(crate) use compare::{Comparison, compare};
pub(crate) use fields::fields_of;
pub(crate) use merge::merge;
pub(crate) use reconcile::reconcile;
pub(crate) use remove::{extract, remove};
pub(crate) use validate::{told, validate};

/// The sides of a type that can apply to a value. More than one only for null, which takes any
/// form, and for a value that does not fit its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sides {
    scalar: bool,
    list: bool,
    map: bool,
}

/// The side that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Map,
    Scalar,
    List,
}

impl Sides {
    pub(crate) fn of(ty: &TypeRef, value: Option<&Value>) -> Self {
        let ty = ty.get();
        let all = Self {
            scalar: ty.scalar.is_some(),
            list: ty.list.is_some(),
            map: ty.map.is_some(),
        };
        let none = Self {
            scalar: false,
            list: false,
            map: false,
        };
        match value {
            Some(Value::Object(_)) if all.map => Self { map: true, ..none },
            Some(Value::Array(_)) if all.list => Self { list: true, ..none },
            Some(Value::String(_) | Value::Number(_) | Value::Bool(_)) if all.scalar => Self {
                scalar: true,
                ..none
            },
            _ => all,
        }
    }

    /// A type without any side behaves as a scalar: one value.
    pub(crate) fn first(self) -> Side {
        if self.map {
            Side::Map
        } else if self.list && !self.scalar {
            Side::List
        } else {
            Side::Scalar
        }
    }
}

/// The side of a type for a value.
pub(crate) fn side(ty: &TypeRef, value: &Value) -> Side {
    Sides::of(ty, Some(value)).first()
}

/// The type of a member; what is not declared is untyped.
pub(crate) fn member(ty: &TypeRef, name: &str) -> TypeRef {
    ty.field(name).unwrap_or_else(untyped)
}

/// The type of a list's items.
pub(crate) fn item(ty: &TypeRef) -> TypeRef {
    ty.item().unwrap_or_else(untyped)
}

pub(crate) fn untyped() -> TypeRef {
    static CELL: OnceLock<TypeRef> = OnceLock::new();
    CELL.get_or_init(TypeRef::untyped).clone()
}

pub(crate) fn is_atomic_list(ty: &TypeRef) -> bool {
    matches!(ty.list_kind(), None | Some(ListKind::Atomic))
}

/// The step that leads to an item of a set or keyed list, or why there is none.
pub(crate) fn item_element(ty: &TypeRef, value: &Value) -> Result<PathElement, String> {
    match ty.list_kind() {
        Some(ListKind::Map(keys)) => {
            let Some(map) = value.as_object() else {
                return Err("associative list with keys may not have non-map elements".to_owned());
            };
            let mut fields = Vec::with_capacity(keys.len());
            for key in keys {
                if let Some(value) = map.get(key) {
                    fields.push((key.clone(), value.clone()));
                } else if let Some(value) = ty.key_default(key) {
                    fields.push((key.clone(), value));
                }
            }
            if fields.is_empty() {
                return Err(format!(
                    "associative list with keys has an element that omits all key fields {keys:?}"
                ));
            }
            Ok(PathElement::key(fields))
        }
        Some(ListKind::Set) => match value {
            Value::Object(_) | Value::Array(_) | Value::Null => {
                Err("associative list without keys has an element that is not a scalar".to_owned())
            }
            scalar => Ok(PathElement::Value(scalar.clone())),
        },
        Some(ListKind::Atomic) | None => {
            Err("items of an atomic list can't be told apart".to_owned())
        }
    }
}
