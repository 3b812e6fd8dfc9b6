//! Owns the tracking of plain writes, and the rule both kinds of write share: who loses fields to
//! whom.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use super::entries::{self, Owner, Share, Table};
use super::versions::{Changes, Versions};
use super::{Operation, Writer};
use crate::fieldset::FieldSet;
use crate::typed;

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
        let owner = Owner::of(writer, Operation::Update);
        if record(&before, &new, ty, &mut table, writer, owner).is_err() {
            // Nobody owns anything rather than something wrong; the write itself stands.
            return new;
        }
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

/// Moves what changed between two objects to one owner.
pub(super) fn record(
    before: &Value,
    after: &Value,
    ty: &TypeRef,
    table: &mut Table,
    writer: &Writer<'_>,
    owner: Owner,
) -> Result<(), String> {
    let versions = Versions::of(writer, ty);
    versions.reconcile(table, before)?;
    let change = typed::compare(before, after, ty).without(writer.ignored);
    let changes = versions.changes(before, after, &change, table)?;
    yield_fields(table, &changes, None);
    let gained = change
        .written()
        .without(writer.ignored)
        .difference(&entries::unowned());
    if gained.is_empty() {
        return Ok(());
    }
    let share = table.entry(owner).or_insert_with(|| Share {
        fields: FieldSet::default(),
        api_version: writer.api_version.to_owned(),
        time: None,
    });
    share.fields = share.fields.union(&gained);
    writer.api_version.clone_into(&mut share.api_version);
    share.time = writer.time();
    Ok(())
}

/// What each other owner holds of the fields whose value is new.
pub(super) fn conflicts(
    table: &Table,
    changes: &Changes,
    except: Option<&Owner>,
) -> BTreeMap<Owner, FieldSet> {
    table
        .iter()
        .filter(|(owner, _)| Some(*owner) != except)
        .filter_map(|(owner, share)| {
            let written = changes.in_version(&share.api_version)?.written();
            Some((owner.clone(), share.fields.intersection(&written)))
        })
        .filter(|(_, fields)| !fields.is_empty())
        .collect()
}

/// Takes changed and removed fields from every other owner; who owns nothing any more goes, and
/// so does who wrote in a version that is gone.
pub(super) fn yield_fields(table: &mut Table, changes: &Changes, except: Option<&Owner>) {
    table.retain(|owner, share| {
        if Some(owner) != except {
            let Some(change) = changes.in_version(&share.api_version) else {
                return false;
            };
            let lost = change.written().union(&change.removed);
            share.fields = share.fields.difference(&lost);
        }
        !share.fields.is_empty()
    });
}
