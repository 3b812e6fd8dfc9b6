//! Owns strategic merge patch: a merge by the schema's patch strategies, with its directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`).
//!
//! It refuses to be cleverer than the API server: where that keeps a null or a directive inside a
//! new item of a merged list, this does too, so that both store the same. Custom objects have no
//! patch strategies; the API server refuses such patches for them, and the caller must as well.

use serde_json::{Map, Value};
use weir_object::json_type;
use weir_schema::{PatchStrategy, TypeRef};

use crate::element::same;
use crate::go;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// A strategic merge patch that can't be applied, in the API server's words. Terminal: the patch
/// must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategicFailure {
    /// An item of a merged list lacks the field that tells items apart.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item, as Go prints it.
        item: String,
        /// The missing field.
        key: String,
    },
    /// A merged list of maps has no field that tells its items apart.
    #[error("cannot merge lists without merge key for {list}")]
    NotMergeable {
        /// The list's name.
        list: String,
    },
    /// The value after `$patch` does not fit here.
    #[error("unknown patch type: {word} in map: {map}")]
    UnknownDirective {
        /// The word.
        word: String,
        /// The map that it stands in, as Go prints it.
        map: String,
    },
    /// `$patch: merge` in an item of a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirective,
    /// A directive or a member is of another type than it must be.
    #[error("expected a {expected}, but received a {found}")]
    WrongType {
        /// The Go type it should have.
        expected: &'static str,
        /// The Go type it has.
        found: &'static str,
    },
    /// A list's items are of different types.
    #[error("list element types are not identical: {lists}")]
    MixedList {
        /// The live and the patch's list, as Go prints them.
        lists: String,
    },
    /// A merged list holds lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// `$retainKeys` is no list, or leaves out a key that the patch sets.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$deleteFromPrimitiveList` or `$setElementOrder` without a list's name.
    #[error("invalid patch format of {0}")]
    Nameless(&'static str),
    /// The items of the patch stand in another order than `$setElementOrder` says.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch {
        /// The patch's items, as Go prints them.
        patch: String,
        /// The order.
        order: String,
    },
    /// The patch is no map.
    #[error("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")]
    NoMap {
        /// What it is.
        found: &'static str,
    },
}

impl StrategicFailure {
    /// Whether the patch is malformed, rather than something that the API server does not expect.
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::RetainKeys | Self::Nameless(_) | Self::NoMap { .. }
        )
    }
}

/// Applies a strategic merge patch to an object of this type and answers the patched object.
pub fn merge_patch(live: &Value, patch: &Value, ty: &TypeRef) -> Result<Value, StrategicFailure> {
    let no_map = |value: &Value| StrategicFailure::NoMap {
        found: json_type(value),
    };
    let live = live.as_object().ok_or_else(|| no_map(live))?;
    let patch = match patch {
        Value::Object(map) => map.clone(),
        // Nothing is a patch that changes nothing.
        Value::Null => Map::new(),
        other => return Err(no_map(other)),
    };
    merge_map(live.clone(), patch, ty).map(Value::Object)
}

fn wrong(expected: &'static str, found: &Value) -> StrategicFailure {
    StrategicFailure::WrongType {
        expected,
        found: go::kind(found),
    }
}

const LIST: &str = "[]interface {}";
const MAP: &str = "map[string]interface {}";

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
) -> Outcome<Map<String, Value>> {
    if let Some(directive) = patch.get(PATCH) {
        match directive.as_str() {
            Some("replace") => {
                patch.shift_remove(PATCH);
                return Ok(patch);
            }
            Some("delete") => return Ok(Map::new()),
            _ => return Err(unknown(directive, &Value::Object(patch.clone()))),
        }
    }
    retain_keys(&mut original, &mut patch)?;
    set_element_orders(&mut original, &mut patch, ty)?;
    for (key, value) in patch {
        let deletes = key.strip_prefix(DELETE_FROM).map(str::to_owned);
        let is_deletion = deletes.is_some();
        let name = deletes.unwrap_or(key);
        if is_deletion && name.is_empty() {
            return Err(StrategicFailure::Nameless("primitive list"));
        }
        if value.is_null() {
            original.shift_remove(&name);
            continue;
        }
        let merged = match (original.get(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let part = if strategy(ty, &name).replace {
                    new
                } else {
                    merge_map(old.clone(), new, &below(ty, &name))?
                };
                Some(Value::Object(part))
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                Some(Value::Array(merge_list(old, new, ty, &name, is_deletion)?))
            }
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

fn unknown(directive: &Value, map: &Value) -> StrategicFailure {
    StrategicFailure::UnknownDirective {
        word: go::printed(directive, false),
        map: go::printed(map, false),
    }
}

/// Drops what `$retainKeys` does not name.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Outcome<()> {
    let Some(list) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Some(list) = list.as_array() else {
        return Err(StrategicFailure::RetainKeys);
    };
    let named = |key: &str| list.iter().any(|name| name.as_str() == Some(key));
    for (key, value) in &*patch {
        let directive = key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER);
        if !value.is_null() && !directive && !named(key) {
            return Err(StrategicFailure::RetainKeys);
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
        if name.is_empty() {
            return Err(StrategicFailure::Nameless("setElementOrder list"));
        }
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(LIST, &other)),
        };
        let order = list(patch.shift_remove(&directive))?.unwrap_or_default();
        let old = list(original.get(&name).cloned())?;
        let new = list(patch.get(&name).cloned())?;
        let key = strategy(ty, &name).merge_key;
        in_order(new.as_deref().unwrap_or_default(), &order, key.as_deref())?;
        let server = server_order(old.as_deref(), new.as_deref(), key.as_deref());
        let merged = match (&old, new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match without_directives(Value::Array(new)) {
                Some(Value::Array(new)) => new,
                _ => continue,
            },
            (Some(old), Some(new)) => merge_list(old, new, ty, &name, false)?,
        };
        let ordered = arrange(merged, &order, &server, key.as_deref())?;
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
fn in_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Outcome<()> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let is_delete = |item: &&Value| item.get(PATCH).and_then(Value::as_str) == Some("delete");
    let mut items = patch
        .iter()
        .filter(|item| key.is_none() || !is_delete(item));
    let mut item = items.next();
    let mut rest = order.iter();
    while let Some(wanted) = item {
        // Other directives have no place in the order, and are passed over while some is left.
        let Some(candidate) = rest.as_slice().first() else {
            return Err(StrategicFailure::OrderMismatch {
                patch: go::printed(&patch.to_vec().into(), false),
                order: go::printed(&order.to_vec().into(), false),
            });
        };
        if wanted.get(PATCH).is_some() {
            item = items.next();
            continue;
        }
        if same(identity(candidate, key)?, identity(wanted, key)?) {
            item = items.next();
        }
        rest.next();
    }
    Ok(())
}

/// What tells an item apart: its key field, or the item itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Outcome<&'a Value> {
    let Some(key) = key else { return Ok(item) };
    let Some(map) = item.as_object() else {
        return Err(wrong(MAP, item));
    };
    map.get(key).ok_or_else(|| StrategicFailure::NoMergeKey {
        item: go::printed(item, false),
        key: key.to_owned(),
    })
}

fn merge_list(
    old: &[Value],
    new: Vec<Value>,
    ty: &TypeRef,
    name: &str,
    is_deletion: bool,
) -> Outcome<Vec<Value>> {
    let strategy = strategy(ty, name);
    if !strategy.merge && !is_deletion {
        return Ok(new);
    }
    if old.iter().chain(&new).any(Value::is_array) {
        return Err(StrategicFailure::ListOfLists);
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
        return arrange(merged, &new, old, None);
    }
    if maps != old.len() + new.len() {
        let lists = Value::Array(vec![old.to_vec().into(), new.into()]);
        return Err(StrategicFailure::MixedList {
            lists: go::printed(&lists, false),
        });
    }
    let Some(key) = strategy.merge_key else {
        return Err(StrategicFailure::NotMergeable {
            list: name.to_owned(),
        });
    };
    let item = below(ty, name).item().unwrap_or_else(crate::typed::untyped);
    let (mut merged, new) = special_items(old, new, &key)?;
    let server = merged.clone();
    for value in &new {
        let wanted = identity(value, Some(&key))?;
        let known = merged
            .iter_mut()
            .find(|known| known.get(&key).is_some_and(|known| same(known, wanted)));
        match (known, value) {
            (Some(known), Value::Object(value)) => {
                let before = known.as_object().cloned().unwrap_or_default();
                *known = Value::Object(merge_map(before, value.clone(), &item)?);
            }
            _ => merged.push(value.clone()),
        }
    }
    arrange(merged, &new, &server, Some(&key))
}

/// Handles the items of a patch that are directives: deletes from the old list, or starts anew.
fn special_items(old: &[Value], new: Vec<Value>, key: &str) -> Outcome<(Vec<Value>, Vec<Value>)> {
    let mut kept = old.to_vec();
    let mut plain = Vec::with_capacity(new.len());
    let mut replace = false;
    for item in new {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let gone = identity(&item, Some(key))?;
                    kept.retain(|known| !known.get(key).is_some_and(|known| same(known, gone)));
                }
                Some("replace") => replace = true,
                Some("merge") => return Err(StrategicFailure::MergeDirective),
                _ => return Err(unknown(directive, &item)),
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
        identity(item, key)?;
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
