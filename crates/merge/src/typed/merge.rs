//! Owns the merge of an apply configuration into a value: maps and keyed lists are joined, all
//! else is taken from the configuration. Nothing is removed here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use super::{Side, Sides, is_atomic_list, item, item_element, member};
use crate::element::PathElement;

/// The live value with the configuration merged in.
pub(crate) fn merge(live: &Value, applied: &Value, ty: &TypeRef) -> Result<Value, String> {
    Ok(value(Some(live), Some(applied), ty)?.unwrap_or(Value::Null))
}

fn value(lhs: Option<&Value>, rhs: Option<&Value>, ty: &TypeRef) -> Result<Option<Value>, String> {
    let side = match rhs {
        // Null takes the form of the other, and so does what is absent.
        None => Sides::of(ty, lhs).first(),
        Some(_) => Sides::of(ty, rhs).first(),
    };
    let leaf = || rhs.or(lhs).cloned();
    match side {
        Side::Scalar => Ok(leaf()),
        Side::Map => {
            let (l, r) = (
                lhs.and_then(Value::as_object),
                rhs.and_then(Value::as_object),
            );
            let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
            if empty || ty.is_atomic_map() {
                return Ok(leaf());
            }
            map(l, r, ty)
        }
        Side::List => {
            let (l, r) = (lhs.and_then(Value::as_array), rhs.and_then(Value::as_array));
            let empty = l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty);
            if empty || is_atomic_list(ty) {
                return Ok(leaf());
            }
            list(
                l.map_or(&[], Vec::as_slice),
                r.map_or(&[], Vec::as_slice),
                ty,
            )
        }
    }
}

fn map(
    lhs: Option<&Map<String, Value>>,
    rhs: Option<&Map<String, Value>>,
    ty: &TypeRef,
) -> Result<Option<Value>, String> {
    let mut out = Map::new();
    let names = lhs.into_iter().flat_map(Map::keys).chain(
        rhs.into_iter()
            .flat_map(Map::keys)
            .filter(|name| !lhs.is_some_and(|lhs| lhs.contains_key(*name))),
    );
    for name in names {
        let merged = value(
            lhs.and_then(|map| map.get(name)),
            rhs.and_then(|map| map.get(name)),
            &member(ty, name),
        )?;
        if let Some(merged) = merged {
            out.insert(name.clone(), merged);
        }
    }
    Ok((!out.is_empty()).then_some(Value::Object(out)))
}

/// Items of one list by their step. A step met more than once stands for null when that is
/// allowed: such items are not merged but replaced.
struct Indexed<'a> {
    order: Vec<PathElement>,
    items: BTreeMap<PathElement, &'a Value>,
}

static NULL: Value = Value::Null;

fn index<'a>(list: &'a [Value], ty: &TypeRef, repeated: bool) -> Result<Indexed<'a>, String> {
    let mut out = Indexed {
        order: Vec::with_capacity(list.len()),
        items: BTreeMap::new(),
    };
    for value in list {
        let element = item_element(ty, value)?;
        if out.items.contains_key(&element) {
            if !repeated {
                return Err(format!("duplicate entries for key {element}"));
            }
            out.items.insert(element.clone(), &NULL);
        } else {
            out.items.insert(element.clone(), value);
        }
        out.order.push(element);
    }
    Ok(out)
}

/// Joins two lists. The order is the configuration's; items it does not name keep their place
/// relative to those before them.
fn list(lhs: &[Value], rhs: &[Value], ty: &TypeRef) -> Result<Option<Value>, String> {
    let item = item(ty);
    let right = index(rhs, ty, false)?;
    let left = index(lhs, ty, true)?;
    let mut shared = right
        .order
        .iter()
        .filter(|element| left.items.contains_key(*element));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let mut out = Vec::with_capacity(lhs.len().max(rhs.len()));
    let (mut l, mut r) = (0, 0);
    loop {
        let (le, re) = (left.order.get(l), right.order.get(r));
        if le.is_none() && re.is_none() {
            break;
        }
        if let (Some(le), Some(re)) = (le, re) {
            if le == re {
                done.insert(re);
                out.extend(value(
                    left.items.get(le).copied(),
                    right.items.get(le).copied(),
                    &item,
                )?);
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if right.items.contains_key(le) && next_shared.is_some_and(|next| next != le) {
                // Shared, but its turn comes where the configuration has it.
                l += 1;
                continue;
            }
        }
        if let Some(le) = le {
            if !right.items.contains_key(le) {
                out.extend(value(lhs.get(l), None, &item)?);
                l += 1;
                continue;
            }
            if done.contains(le) {
                l += 1;
            }
        }
        if let Some(re) = re {
            done.insert(re);
            out.extend(value(
                left.items.get(re).copied(),
                right.items.get(re).copied(),
                &item,
            )?);
            r += 1;
            if next_shared == Some(re) {
                next_shared = shared.next();
            }
        }
    }
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}
