//! Owns server-side apply: merge, take away what the manager no longer applies, find conflicts.

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use super::entries::{self, Owner, Share, Table};
use super::updating::{conflicts, reconcile, record, yield_fields};
use super::{ApplyFailure, Conflict, Conflicts, Operation, Writer};
use crate::element::{json_text, same, shown};
use crate::fieldset::FieldSet;
use crate::typed;

/// The annotation in which `kubectl apply` keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager whose applies take over from that annotation.
const KUBECTL: &str = "kubectl";
/// Who owns what was there before anybody was tracked.
const BEFORE: &str = "before-first-apply";

/// Applies a configuration on the live object (none when it is to be created) and answers the
/// merged object with its managed fields, not yet defaulted.
///
/// Fields the manager applied before and no longer does go, unless somebody else owns them.
/// Fields that others own with another value are conflicts, unless `force`d. Equal values are
/// shared. When nothing changes, the live object comes back as it is.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    ty: &TypeRef,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyFailure> {
    check(applied, ty, writer)?;
    let (before, mut table) = match live {
        None => (Value::Object(Map::new()), Table::new()),
        Some(live) => (stripped(live), entries::table(live)?),
    };
    if table.is_empty() {
        let owner = Owner::of(
            &Writer {
                manager: BEFORE,
                ..*writer
            },
            Operation::Update,
        );
        let empty = Value::Object(Map::new());
        record(&empty, &before, ty, &mut table, writer, owner);
    }
    let mut attempt = attempt(&before, applied, ty, &table, writer, force);
    if writer.manager == KUBECTL
        && let Err(Refused::Conflicts(found)) = &attempt
    {
        // Values which `kubectl apply` set before it applied on the server are its own.
        let allowed = allowed_by_last_applied(&before, ty, writer).unwrap_or_default();
        let left: Found = found
            .iter()
            .filter(|(_, path)| !allowed.contains(path))
            .cloned()
            .collect();
        attempt = if left.is_empty() {
            self::attempt(&before, applied, ty, &table, writer, true)
        } else {
            Err(Refused::Conflicts(left))
        };
    }
    let (mut out, mut table) = match attempt {
        Ok(done) => done,
        Err(Refused::Conflicts(found)) => return Err(ApplyFailure::Conflicts(worded(found))),
        Err(Refused::Invalid(reason)) => {
            return Err(ApplyFailure::Invalid {
                reasons: vec![reason],
            });
        }
    };
    let changed = live.is_none() || !same(&before, &out);
    if changed {
        let owner = Owner::of(writer, Operation::Apply);
        if let Some(share) = table.get_mut(&owner) {
            share.time = Some(writer.now.to_owned());
        }
        if ty.name().is_some() {
            // Built-in objects are kept in fixed shapes, which have no nulls.
            drop_nulls(&mut out);
        }
    } else {
        out = before;
    }
    if writer.manager == KUBECTL {
        renew_last_applied(&mut out, applied);
    }
    entries::store(&mut out, &table);
    Ok(out)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn stripped(object: &Value) -> Value {
    let mut out = object.clone();
    entries::strip(&mut out);
    out
}

fn check(applied: &Value, ty: &TypeRef, writer: &Writer<'_>) -> Result<(), ApplyFailure> {
    let found = applied
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if found != writer.api_version {
        return Err(ApplyFailure::WrongVersion {
            found: found.to_owned(),
            expected: writer.api_version.to_owned(),
        });
    }
    if entries::list(applied).is_some() {
        return Err(ApplyFailure::CarriesManagedFields);
    }
    let reasons = typed::validate(applied, ty);
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(ApplyFailure::Invalid { reasons })
    }
}

type Found = Vec<(Owner, crate::element::Path)>;

enum Refused {
    Conflicts(Found),
    Invalid(String),
}

fn attempt(
    before: &Value,
    applied: &Value,
    ty: &TypeRef,
    table: &Table,
    writer: &Writer<'_>,
    force: bool,
) -> Result<(Value, Table), Refused> {
    let mut table = table.clone();
    reconcile(&mut table, ty);
    let owner = Owner::of(writer, Operation::Apply);
    let merged = typed::merge(before, applied, ty).map_err(Refused::Invalid)?;
    let fields = typed::fields_of(applied, ty).without(writer.ignored);
    let last = table.get(&owner).cloned();
    table.insert(
        owner.clone(),
        Share {
            fields,
            api_version: writer.api_version.to_owned(),
            time: last.as_ref().and_then(|share| share.time.clone()),
        },
    );
    let last = last.map(|share| share.fields).unwrap_or_default();
    let out = prune(merged, &table, &last, ty);

    let change = typed::compare(before, &out, ty).without(writer.ignored);
    let found = conflicts(&table, &change, Some(&owner));
    if !force && !found.is_empty() {
        let mut paths = Vec::new();
        for (owner, fields) in found {
            fields.each(|path| paths.push((owner.clone(), path.to_vec())));
        }
        return Err(Refused::Conflicts(paths));
    }
    yield_fields(&mut table, &change, Some(&owner));
    if let Some(share) = table.get_mut(&owner) {
        share.fields = share.fields.difference(&entries::unowned());
        if share.fields.is_empty() {
            table.remove(&owner);
        }
    }
    Ok((out, table))
}

/// Takes away what the manager applied last time and does not now, unless somebody owns it. Three
/// steps: take away all that was applied last time; put back what anybody owns now, the manager
/// included; put back what went along although the manager never applied it.
fn prune(merged: Value, table: &Table, last: &FieldSet, ty: &TypeRef) -> Value {
    if last.is_empty() {
        return merged;
    }
    let ty = Some(ty);
    let (Some(at), last) = (ty, last.with_named_parents(ty)) else {
        return merged;
    };
    let fields = |value: &Value| typed::fields_of(value, at).with_named_parents(ty);
    let all = fields(&merged);
    let owned = table
        .values()
        .fold(FieldSet::default(), |sum, share| sum.union(&share.fields))
        .with_named_parents(ty);
    let bare = typed::remove(&merged, &last, at);
    let back = typed::remove(&merged, &all.difference(&fields(&bare).union(&owned)), at);
    typed::remove(
        &merged,
        &all.difference(&fields(&back)).intersection(&last),
        at,
    )
}

fn worded(found: Found) -> Conflicts {
    let rows = found.into_iter().map(|(owner, path)| Conflict {
        manager: owner.shown(),
        field: shown(&path),
    });
    Conflicts(rows.collect())
}

/// Fields of the last-applied annotation whose values the object still has.
fn allowed_by_last_applied(live: &Value, ty: &TypeRef, writer: &Writer<'_>) -> Option<FieldSet> {
    let text =
        weir_object::path::get(live, &["metadata", "annotations", LAST_APPLIED])?.as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last.get("apiVersion")?.as_str()? != writer.api_version
        || !typed::validate(&last, ty).is_empty()
    {
        return None;
    }
    let change = typed::compare(&last, live, ty);
    Some(typed::fields_of(&last, ty).difference(&change.written().union(&change.removed)))
}

/// Keeps the annotation true where an object has one, so that `kubectl apply` can take over again.
fn renew_last_applied(object: &mut Value, applied: &Value) {
    let path = ["metadata", "annotations", LAST_APPLIED];
    if weir_object::path::text(object, &path).is_empty() {
        return;
    }
    let mut applied = applied.clone();
    weir_object::path::remove(&mut applied, &path);
    let text = format!("{}\n", json_text(&applied));
    weir_object::path::set(object, &path, Value::String(text));
}
