//! Owns strategic merge patch: a merge by the schema's patch strategies, with its directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`).
//!
//! It refuses to be cleverer than the API server: where that keeps a null or a directive inside a
//! new item of a merged list, this does too, so that both store the same. Custom objects have no
//! patch strategies; the API server refuses such patches for them, and the caller must as well.

use serde_json::{Map, Value};
use weir_schema::{PatchStrategy, TypeRef};

use crate::element::same;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// A strategic merge patch that can't be applied. Terminal: the patch must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategicFailure {
    /// An item of a merged list lacks the field that tells items apart.
    #[error("an item of `{path}` has no `{key}`; add it, it tells the items of this list apart")]
    NoMergeKey {
        /// The list.
        path: String,
        /// The missing field.
        key: String,
    },
    /// A merged list of maps has no field that tells its items apart.
    #[error("the items of `{path}` can't be told apart, so they can't be merged; replace the list")]
    NotMergeable {
        /// The list.
        path: String,
    },
    /// The value after `$patch` does not fit here.
    #[error("`$patch: {word}` at `{path}` is not understood; use replace or delete")]
    UnknownDirective {
        /// Where it stands.
        path: String,
        /// The word.
        word: String,
    },
    /// A directive or a member has the wrong shape.
    #[error("`{path}` should be {expected}; correct the patch")]
    WrongShape {
        /// Where it stands.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `$retainKeys` leaves out a key that the patch sets.
    #[error("`$retainKeys` at `{path}` does not name `{key}`, which the patch sets; add it")]
    NotRetained {
        /// The map.
        path: String,
        /// The key that is set.
        key: String,
    },
    /// The items of the patch stand in another order than `$setElementOrder` says.
    #[error("the items of `{path}` are not in the order of its `$setElementOrder`; align the two")]
    OrderMismatch {
        /// The list.
        path: String,
    },
}

/// Applies a strategic merge patch to an object of this type and answers the patched object.
pub fn merge_patch(live: &Value, patch: &Value, ty: &TypeRef) -> Result<Value, StrategicFailure> {
    let shape = |path: &str| StrategicFailure::WrongShape {
        path: path.to_owned(),
        expected: "a map",
    };
    let live = live.as_object().ok_or_else(|| shape("the object"))?;
    let patch = patch.as_object().ok_or_else(|| shape("the patch"))?;
    merge_map(live.clone(), patch.clone(), ty, "").map(Value::Object)
}

type Outcome<T> = Result<T, StrategicFailure>;

fn strategy(ty: &TypeRef, name: &str) -> PatchStrategy {
    ty.declared(name)
        .map(|field| field.patch.clone())
        .unwrap_or_default()
}

fn below(ty: &TypeRef, name: &str) -> TypeRef {
    ty.field(name).unwrap_or_else(crate::typed::untyped)
}

fn merge_map(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    ty: &TypeRef,
    path: &str,
) -> Outcome<Map<String, Value>> {
    if let Some(directive) = patch.get(PATCH) {
        match directive.as_str() {
            Some("replace") => {
                patch.shift_remove(PATCH);
                return Ok(patch);
            }
            Some("delete") => return Ok(Map::new()),
            _ => return Err(unknown(path, directive)),
        }
    }
    retain_keys(&mut original, &mut patch, path)?;
    set_element_orders(&mut original, &mut patch, ty, path)?;
    for (key, value) in patch {
        let deletes = key.strip_prefix(DELETE_FROM).map(str::to_owned);
        let is_deletion = deletes.is_some();
        let name = deletes.unwrap_or(key);
        let at = format!("{path}.{name}");
        if value.is_null() {
            original.shift_remove(&name);
            continue;
        }
        let merged = match (original.get(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let part = if strategy(ty, &name).replace {
                    new
                } else {
                    merge_map(old.clone(), new, &below(ty, &name), &at)?
                };
                Some(Value::Object(part))
            }
            (Some(Value::Array(old)), Value::Array(new)) => Some(Value::Array(merge_list(
                old,
                new,
                ty,
                &name,
                is_deletion,
                &at,
            )?)),
            // There is no list to delete from.
            _ if is_deletion => continue,
            (_, mut new) => {
                discard_nulls(&mut new);
                without_directives(new)
            }
        };
        match merged {
            Some(merged) => {
                original.insert(name, merged);
            }
            None => {
                original.shift_remove(&name);
            }
        }
    }
    Ok(original)
}

fn unknown(path: &str, directive: &Value) -> StrategicFailure {
    StrategicFailure::UnknownDirective {
        path: path.to_owned(),
        word: directive
            .as_str()
            .map_or_else(|| directive.to_string(), str::to_owned),
    }
}

/// Drops what `$retainKeys` does not name.
fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    path: &str,
) -> Outcome<()> {
    let Some(list) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Some(list) = list.as_array() else {
        return Err(StrategicFailure::WrongShape {
            path: format!("{path}.{RETAIN_KEYS}"),
            expected: "a list of names",
        });
    };
    let named = |key: &str| list.iter().any(|name| name.as_str() == Some(key));
    for (key, value) in &*patch {
        let directive = key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER);
        if !value.is_null() && !directive && !named(key) {
            return Err(StrategicFailure::NotRetained {
                path: path.to_owned(),
                key: key.clone(),
            });
        }
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// Merges every list that comes with an order, and puts it in that order.
fn set_element_orders(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    ty: &TypeRef,
    path: &str,
) -> Outcome<()> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let Some(name) = directive.strip_prefix(ELEMENT_ORDER).map(str::to_owned) else {
            continue;
        };
        let at = format!("{path}.{name}");
        let list = |value: Option<Value>, what: &str| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(StrategicFailure::WrongShape {
                path: format!("{path}.{what}"),
                expected: "a list",
            }),
        };
        let order = list(patch.shift_remove(&directive), &directive)?.unwrap_or_default();
        let old = list(original.get(&name).cloned(), &name)?;
        let new = list(patch.get(&name).cloned(), &name)?;
        let key = strategy(ty, &name).merge_key;
        in_order(
            new.as_deref().unwrap_or_default(),
            &order,
            key.as_deref(),
            &at,
        )?;
        let server = server_order(old.as_deref(), new.as_deref(), key.as_deref());
        let merged = match (&old, new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match without_directives(Value::Array(new)) {
                Some(Value::Array(new)) => new,
                _ => continue,
            },
            (Some(old), Some(new)) => merge_list(old, new, ty, &name, false, &at)?,
        };
        let ordered = arrange(merged, &order, &server, key.as_deref(), &at)?;
        original.insert(name.clone(), Value::Array(ordered));
        patch.shift_remove(&name);
    }
    Ok(())
}

/// The live order that counts: new items take the places that deleted ones leave.
fn server_order(old: Option<&[Value]>, new: Option<&[Value]>, key: Option<&str>) -> Vec<Value> {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let Some(key) = key else { return old.to_vec() };
    let has = |list: &[Value], item: &Value| {
        item.get(key).is_some_and(|wanted| {
            list.iter()
                .any(|other| other.get(key).is_some_and(|other| same(other, wanted)))
        })
    };
    let is_delete = |item: &&Value| item.get(PATCH).and_then(Value::as_str) == Some("delete");
    let deleted: Vec<Value> = new.iter().filter(is_delete).cloned().collect();
    let mut out: Vec<Value> = old
        .iter()
        .filter(|item| !has(&deleted, item))
        .cloned()
        .collect();
    let added = new
        .iter()
        .filter(|item| item.get(PATCH).is_none() && !has(&out, item));
    let added: Vec<Value> = added.cloned().collect();
    out.extend(added);
    out.truncate(old.len());
    out
}

/// Checks that the items of a patch stand in the order given, and that none is missing there.
fn in_order(patch: &[Value], order: &[Value], key: Option<&str>, path: &str) -> Outcome<()> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let wanted = identity(item, key, path)?;
        let mut found = false;
        for candidate in rest.by_ref() {
            if same(identity(candidate, key, path)?, wanted) {
                found = true;
                break;
            }
        }
        if !found {
            return Err(StrategicFailure::OrderMismatch {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

/// What tells an item apart: its key field, or the item itself.
fn identity<'a>(item: &'a Value, key: Option<&str>, path: &str) -> Outcome<&'a Value> {
    let Some(key) = key else { return Ok(item) };
    let Some(map) = item.as_object() else {
        return Err(StrategicFailure::WrongShape {
            path: path.to_owned(),
            expected: "a list of maps",
        });
    };
    map.get(key).ok_or_else(|| StrategicFailure::NoMergeKey {
        path: path.to_owned(),
        key: key.to_owned(),
    })
}

fn merge_list(
    old: &[Value],
    new: Vec<Value>,
    ty: &TypeRef,
    name: &str,
    is_deletion: bool,
    path: &str,
) -> Outcome<Vec<Value>> {
    let strategy = strategy(ty, name);
    if !strategy.merge && !is_deletion {
        return Ok(new);
    }
    let maps = old
        .iter()
        .chain(&new)
        .filter(|item| item.is_object())
        .count();
    if maps == 0 {
        if is_deletion {
            let kept = old
                .iter()
                .filter(|item| !new.iter().any(|gone| same(gone, item)));
            return Ok(kept.cloned().collect());
        }
        let mut merged = Vec::with_capacity(old.len() + new.len());
        for item in old.iter().chain(&new) {
            if !merged.iter().any(|known| same(known, item)) {
                merged.push(item.clone());
            }
        }
        return arrange(merged, &new, old, None, path);
    }
    if maps != old.len() + new.len() {
        return Err(StrategicFailure::WrongShape {
            path: path.to_owned(),
            expected: "a list of items of one kind",
        });
    }
    let Some(key) = strategy.merge_key else {
        return Err(StrategicFailure::NotMergeable {
            path: path.to_owned(),
        });
    };
    let item = below(ty, name).item().unwrap_or_else(crate::typed::untyped);
    let (mut merged, new) = special_items(old, new, &key, path)?;
    let server = merged.clone();
    for value in &new {
        let wanted = identity(value, Some(&key), path)?;
        let known = merged
            .iter_mut()
            .find(|known| known.get(&key).is_some_and(|known| same(known, wanted)));
        match (known, value) {
            (Some(known), Value::Object(value)) => {
                let at = format!("{path}[{key}={wanted}]");
                let before = known.as_object().cloned().unwrap_or_default();
                *known = Value::Object(merge_map(before, value.clone(), &item, &at)?);
            }
            _ => merged.push(value.clone()),
        }
    }
    arrange(merged, &new, &server, Some(&key), path)
}

/// Handles the items of a patch that are directives: deletes from the old list, or starts anew.
fn special_items(
    old: &[Value],
    new: Vec<Value>,
    key: &str,
    path: &str,
) -> Outcome<(Vec<Value>, Vec<Value>)> {
    let mut kept = old.to_vec();
    let mut plain = Vec::with_capacity(new.len());
    let mut replace = false;
    for item in new {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let gone = identity(&item, Some(key), path)?;
                    kept.retain(|known| !known.get(key).is_some_and(|known| same(known, gone)));
                }
                Some("replace") => replace = true,
                _ => return Err(unknown(path, directive)),
            },
        }
    }
    Ok(if replace {
        (plain, Vec::new())
    } else {
        (kept, plain)
    })
}

/// Puts the items which `order` names in that order, leaves the others in the server's, and weaves
/// the two together: one of the server's own goes before an item it stood before.
fn arrange(
    items: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
    path: &str,
) -> Outcome<Vec<Value>> {
    let place = |list: &[Value], item: &Value| {
        let of =
            |item: &Value| key.map_or_else(|| Some(item.clone()), |key| item.get(key).cloned());
        let wanted = of(item);
        list.iter().position(|other| match (&wanted, of(other)) {
            (Some(a), Some(b)) => same(a, &b),
            (None, None) => true,
            _ => false,
        })
    };
    for item in items.iter().chain(order) {
        identity(item, key, path)?;
    }
    let (mut named, mut own): (Vec<Value>, Vec<Value>) = items
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    own.sort_by_key(|item| place(server, item));
    let mut out = Vec::with_capacity(named.len() + own.len());
    let mut own = own.into_iter().peekable();
    for item in named {
        let here = place(server, &item);
        while let Some(next) = own.peek() {
            match (place(server, next), here) {
                (Some(theirs), Some(here)) if theirs < here => out.extend(own.next()),
                _ => break,
            }
        }
        out.push(item);
    }
    out.extend(own);
    Ok(out)
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// The value without directives; none when it is one.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(PATCH) {
                return None;
            }
            let rows = map
                .into_iter()
                .filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(rows.collect()))
        }
        Value::Array(list) => Some(Value::Array(
            list.into_iter().filter_map(without_directives).collect(),
        )),
        scalar => Some(scalar),
    }
}
