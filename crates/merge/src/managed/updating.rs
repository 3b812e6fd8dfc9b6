//! Owns the tracking of plain writes, and the rule both kinds of write share: who loses fields to
//! whom.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use super::entries::{self, Owner, Share, Table};
use super::{Operation, Writer};
use crate::fieldset::FieldSet;
use crate::typed::{self, Comparison};

/// Records the ownership of what a write that is no apply changed, from `live` (none when created)
/// to `new`, and answers `new` with its managed fields.
///
/// Managed fields in `new` count, so that an owner may be edited away, and an empty list resets
/// them; a write through a subresource can't change them.
pub fn update(live: Option<&Value>, new: Value, ty: &TypeRef, writer: &Writer<'_>) -> Value {
    let mut new = new;
    let mut table = starting_table(live, &new, writer);
    entries::strip(&mut new);
    let tracked = !table.is_empty() || live.is_none_or(is_unborn);
    if tracked {
        let mut before = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        entries::strip(&mut before);
        record(
            &before,
            &new,
            ty,
            &mut table,
            writer,
            Owner::of(writer, Operation::Update),
        );
        entries::cap(&mut table);
    }
    entries::store(&mut new, &table);
    new
}

/// Objects without owners are not tracked before their first apply, unless they are new.
fn is_unborn(live: &Value) -> bool {
    weir_object::path::text(live, &["metadata", "uid"]).is_empty()
}

fn starting_table(live: Option<&Value>, new: &Value, writer: &Writer<'_>) -> Table {
    let of_live = || {
        live.map(entries::table)
            .and_then(Result::ok)
            .unwrap_or_default()
    };
    if !writer.subresource.is_empty() {
        return of_live();
    }
    let reset = entries::list(new).is_some_and(|list| match list.as_slice() {
        [] => true,
        [one] => one.as_object().is_some_and(Map::is_empty),
        _ => false,
    });
    if reset {
        return Table::new();
    }
    match entries::table(new) {
        Ok(table) if !table.is_empty() => table,
        _ => of_live(),
    }
}

/// Moves what changed between two versions to one owner.
pub(super) fn record(
    before: &Value,
    after: &Value,
    ty: &TypeRef,
    table: &mut Table,
    writer: &Writer<'_>,
    owner: Owner,
) {
    reconcile(table, ty);
    let change = typed::compare(before, after, ty).without(writer.ignored);
    yield_fields(table, &change, None);
    let gained = change
        .written()
        .without(writer.ignored)
        .difference(&entries::unowned());
    if gained.is_empty() {
        return;
    }
    let share = table.entry(owner).or_insert_with(|| Share {
        fields: FieldSet::default(),
        api_version: writer.api_version.to_owned(),
        time: None,
    });
    share.fields = share.fields.union(&gained);
    writer.api_version.clone_into(&mut share.api_version);
    share.time = Some(writer.now.to_owned());
}

pub(super) fn reconcile(table: &mut Table, ty: &TypeRef) {
    for share in table.values_mut() {
        share.fields = typed::reconcile(&share.fields, ty);
    }
}

/// What each other owner holds of the fields whose value is new.
pub(super) fn conflicts(
    table: &Table,
    change: &Comparison,
    except: Option<&Owner>,
) -> BTreeMap<Owner, FieldSet> {
    let written = change.written();
    table
        .iter()
        .filter(|(owner, _)| Some(*owner) != except)
        .map(|(owner, share)| (owner.clone(), share.fields.intersection(&written)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect()
}

/// Takes changed and removed fields from every other owner; who owns nothing any more goes.
pub(super) fn yield_fields(table: &mut Table, change: &Comparison, except: Option<&Owner>) {
    let lost = change.written().union(&change.removed);
    for (owner, share) in &mut *table {
        if Some(owner) != except {
            share.fields = share.fields.difference(&lost);
        }
    }
    table.retain(|_, share| !share.fields.is_empty());
}
