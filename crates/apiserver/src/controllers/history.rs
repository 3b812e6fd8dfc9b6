//! Owns ControllerRevisions: the templates that a set had, numbered, found again when it takes one
//! of them back, and forgotten beyond its limit.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::path;

use super::source::{name_of, namespace_of, number};
use super::world::World;
use super::{On, REVISIONS, pods};
use crate::random::safe_encode;
use crate::refusal::Refusal;
use crate::selector::Selector;

/// What a set's kind does differently.
pub(crate) struct Style {
    pub(crate) kind: &'static str,
    /// The label under which a revision carries its hash.
    pub(crate) label: &'static str,
}

/// The revisions of a set, in order.
pub(crate) fn of(world: &World, set: &Value, style: &Style) -> Result<Vec<Arc<Value>>, Refusal> {
    let Some(selector) = Selector::from_object(path::get(set, &["spec", "selector"])) else {
        return Ok(Vec::new());
    };
    let reference = pods::owner_of(set, "apps/v1", style.kind);
    let on = On::ControllerRevision;
    let mut all = pods::claim(world, set, &reference, on, &REVISIONS, &selector)?;
    all.sort_by_key(|revision| {
        let born = path::text(revision, &["metadata", "creationTimestamp"]).to_owned();
        (
            number(revision, &["revision"]),
            born,
            name_of(revision).to_owned(),
        )
    });
    Ok(all)
}

/// What a revision keeps of a set.
pub(crate) fn data_of(set: &Value) -> Value {
    let mut template = path::get(set, &["spec", "template"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    path::set(&mut template, &["$patch"], "replace".into());
    json!({"spec": {"template": template}})
}

/// Whether a revision holds this.
pub(crate) fn holds(revision: &Value, data: &Value) -> bool {
    revision.get("data") == Some(data)
}

/// The set as it was at a revision.
pub(crate) fn apply(set: &Value, revision: &Value) -> Value {
    let mut out = set.clone();
    let mut template = path::get(revision, &["data", "spec", "template"])
        .cloned()
        .unwrap_or_default();
    path::remove(&mut template, &["$patch"]);
    path::set(&mut out, &["spec", "template"], template);
    out
}

/// The text that Go writes for a value, which is what names are made of.
fn go_text(data: &Value) -> String {
    weir_object::canonical(data)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// FNV-1 of 32 bits.
fn fnv1(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |h: u32, b| {
        h.wrapping_mul(0x0100_0193) ^ u32::from(*b)
    })
}

/// Makes a revision of the set as it is. A name that another revision has counts as a collision.
pub(crate) fn create(
    world: &World,
    set: &Value,
    style: &Style,
    data: &Value,
    revision: i64,
    collisions: &mut i64,
) -> Result<Arc<Value>, Refusal> {
    let text = go_text(data);
    let hash_of = |probe: i64| safe_encode(&fnv1(format!("{text}{probe}").as_bytes()).to_string());
    let first = hash_of(*collisions);
    let mut labels = path::get(set, &["spec", "template", "metadata", "labels"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    path::set(&mut labels, &[style.label], first.into());
    let annotations = path::get(set, &["metadata", "annotations"]).and_then(Value::as_object);
    let prefix: String = name_of(set).chars().take(223).collect();
    loop {
        let hash = hash_of(*collisions);
        let name = format!("{prefix}-{hash}");
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": namespace_of(set), "labels": labels,
                "ownerReferences": [pods::owner_of(set, "apps/v1", style.kind)]},
            "data": data, "revision": revision,
        });
        if let Some(annotations) = annotations.filter(|a| !a.is_empty()) {
            let annotations = Value::Object(annotations.clone());
            path::set(&mut object, &["metadata", "annotations"], annotations);
        }
        match world.store.create(&REVISIONS, object) {
            Err(Refusal::AlreadyExists { .. }) => {
                let there = world.store.get(&REVISIONS, namespace_of(set), &name);
                match there {
                    Some(there) if holds(&there, data) => return Ok(there),
                    _ => *collisions += 1,
                }
            }
            other => return other,
        }
    }
}

/// Gives a revision a new number.
pub(crate) fn renumber(
    world: &World,
    revision: &Value,
    number: i64,
) -> Result<Arc<Value>, Refusal> {
    let patch = json!({"revision": number});
    world
        .store
        .patch(&REVISIONS, namespace_of(revision), name_of(revision), patch)
}

/// Removes the oldest revisions that nothing lives by, beyond the set's limit.
pub(crate) fn forget(
    world: &World,
    set: &Value,
    revisions: &[Arc<Value>],
    lives: impl Fn(&Value) -> bool,
    countable: impl Fn(&Value) -> bool,
) -> Result<(), Refusal> {
    let limit = path::get(set, &["spec", "revisionHistoryLimit"]).and_then(Value::as_i64);
    let Ok(limit) = usize::try_from(limit.unwrap_or(10)) else {
        return Ok(());
    };
    let counted = revisions.iter().filter(|r| countable(r)).count();
    let dead = revisions.iter().filter(|r| countable(r) && !lives(r));
    for revision in dead.take(counted.saturating_sub(limit)) {
        let outcome = world
            .store
            .delete(&REVISIONS, namespace_of(revision), name_of(revision));
        match outcome {
            Ok(()) | Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}
