//! Owns server-side apply: merge, take away what the manager no longer applies, find conflicts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use super::entries::{self, Owner, Share, Table};
use super::updating::{conflicts, record, yield_fields};
use super::versions::{Formless, Versions};
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
        record(&empty, &before, ty, &mut table, writer, owner).map_err(|reason| {
            ApplyFailure::Failed(format!(
                "failed to create manager for existing fields: {reason}"
            ))
        })?;
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
        Err(Refused::Failed(reason)) => return Err(ApplyFailure::Failed(reason)),
    };
    let changed = live.is_none() || !same(&before, &out);
    if changed {
        let owner = Owner::of(writer, Operation::Apply);
        if let Some(share) = table.get_mut(&owner) {
            share.time = writer.time();
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
    Failed(String),
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
    let versions = Versions::of(writer, ty);
    versions
        .reconcile(&mut table, before)
        .map_err(Refused::Failed)?;
    let owner = Owner::of(writer, Operation::Apply);
    let merged = typed::merge(before, applied, ty)
        .map_err(|reason| Refused::Failed(format!("failed to merge config: {reason}")))?;
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
    let out = match last {
        None => merged,
        Some(last) => prune(merged, &table, &last, &versions, writer.api_version)
            .map_err(|reason| Refused::Failed(format!("failed to prune fields: {reason}")))?,
    };

    let change = typed::compare(before, &out, ty).without(writer.ignored);
    let changes = versions
        .changes(before, &out, &change, &table)
        .map_err(Refused::Failed)?;
    let found = conflicts(&table, &changes, Some(&owner));
    if !force && !found.is_empty() {
        let mut paths = Vec::new();
        for (owner, fields) in found {
            fields.each(|path| paths.push((owner.clone(), path.to_vec())));
        }
        return Err(Refused::Conflicts(paths));
    }
    yield_fields(&mut table, &changes, Some(&owner));
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
/// included, version by version; put back what went along although the manager never applied it.
fn prune(
    merged: Value,
    table: &Table,
    last: &Share,
    versions: &Versions<'_>,
    own: &str,
) -> Result<Value, String> {
    if last.fields.is_empty() {
        return Ok(merged);
    }
    let then = last.api_version.as_str();
    let (merged, at) = match versions.form(&merged, own, then) {
        Ok((form, ty)) => (form.into_owned(), ty),
        Err(Formless::Missing) => return Ok(merged),
        Err(Formless::Broken(reason)) => {
            return Err(format!(
                "failed to convert merged object to last applied version: {reason}"
            ));
        }
    };
    let mut owned: BTreeMap<&str, FieldSet> = BTreeMap::new();
    for share in table.values() {
        let fields = owned.entry(share.api_version.as_str()).or_default();
        *fields = fields.union(&share.fields);
    }
    let last = last.fields.with_named_parents(Some(at));
    let mut pruned = typed::remove(&merged, &last, at);
    let mut current = then;
    // What is owned in the version of the last time comes first.
    let mut order: Vec<&str> = owned.keys().copied().collect();
    order.sort_by_key(|version| *version != then);
    for version in order {
        let Some(fields) = owned.get(version) else {
            continue;
        };
        let back = put_back(&merged, &pruned, (then, current), version, fields, versions)
            .map_err(|reason| format!("failed add back owned items: {reason}"))?;
        if let Some(back) = back {
            pruned = back;
            current = version;
        }
    }
    let (pruned, _) = form(versions, &pruned, current, then, "pruned")?;
    let all = typed::fields_of(&merged, at).with_named_parents(Some(at));
    let kept = typed::fields_of(&pruned, at).with_named_parents(Some(at));
    let out = typed::remove(&merged, &all.difference(&kept).intersection(&last), at);
    match versions.form(&out, then, own) {
        Ok((form, _)) => Ok(form.into_owned()),
        Err(Formless::Missing) => Ok(out),
        Err(Formless::Broken(reason)) => Err(reason),
    }
}

fn form<'o, 'a>(
    versions: &Versions<'a>,
    object: &'o Value,
    from: &str,
    to: &str,
    which: &str,
) -> Result<(Cow<'o, Value>, &'a TypeRef), String> {
    versions.form(object, from, to).map_err(|formless| {
        let reason = match formless {
            Formless::Missing => format!("no corresponding type for {to}"),
            Formless::Broken(reason) => reason,
        };
        format!("failed to convert {which} object at version {to}: {reason}")
    })
}

/// Puts back what somebody owns in one version. Nothing when that version is gone.
fn put_back(
    merged: &Value,
    pruned: &Value,
    (merged_in, pruned_in): (&str, &str),
    version: &str,
    owned: &FieldSet,
    versions: &Versions<'_>,
) -> Result<Option<Value>, String> {
    if versions.ty(version).is_none() {
        return Ok(None);
    }
    let (merged, ty) = form(versions, merged, merged_in, version, "merged")?;
    let (pruned, _) = form(versions, pruned, pruned_in, version, "pruned")?;
    let fields = |value: &Value| typed::fields_of(value, ty).with_named_parents(Some(ty));
    let stays = fields(&pruned).union(&owned.with_named_parents(Some(ty)));
    let gone = fields(&merged).difference(&stays);
    Ok(Some(typed::remove(&merged, &gone, ty)))
}

fn worded(mut found: Found) -> Conflicts {
    found.sort_by_cached_key(|(owner, _)| owner.identity());
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
