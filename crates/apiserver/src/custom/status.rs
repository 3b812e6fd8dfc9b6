//! Owns the status of a definition: which of its names are accepted, whether it is established,
//! which versions were stored. What a cluster does in steps is done in the same steps here, at once.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::{flag, serve, texts, versions};
use crate::call::{Call, Part, stamp};
use crate::state::State;
use crate::write;

/// Names are settled at most so often after one change: each round accepts a name or ends.
const ROUNDS: usize = 64;

/// The status of a definition that is new.
pub(crate) fn begin(definition: &mut Value) {
    let stored: Vec<String> = storage_version(definition).into_iter().collect();
    let status = json!({
        "conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored,
    });
    path::set(definition, &["status"], status);
}

fn storage_version(definition: &Value) -> Option<String> {
    let found = versions(definition).find(|v| flag(v, "storage"))?;
    Some(path::text(found, &["name"]).to_owned())
}

/// A storage version that is new is stored from now on.
pub(crate) fn note_storage(definition: &mut Value) {
    let mut stored = texts(path::get(definition, &["status", "storedVersions"]));
    if let Some(name) = storage_version(definition)
        && !stored.contains(&name)
    {
        stored.push(name);
        path::set(definition, &["status", "storedVersions"], json!(stored));
    }
}

fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    path::get(definition, &["status", "conditions"])?
        .as_array()?
        .iter()
        .find(|c| path::text(c, &["type"]) == kind)
}

/// Whether a condition holds.
pub(crate) fn is_true(definition: &Value, kind: &str) -> bool {
    condition(definition, kind).is_some_and(|c| path::text(c, &["status"]) == "True")
}

/// Sets a condition; its time changes with its status only.
fn set(
    definition: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let list = path::get(definition, &["status", "conditions"]).and_then(Value::as_array);
    let mut list = list.cloned().unwrap_or_default();
    let since = condition(definition, kind)
        .filter(|c| path::text(c, &["status"]) == status)
        .map(|c| path::text(c, &["lastTransitionTime"]).to_owned());
    let new = json!({
        "type": kind, "status": status, "lastTransitionTime": since.unwrap_or_else(|| stamp(now)),
        "reason": reason, "message": message,
    });
    match list.iter_mut().find(|c| path::text(c, &["type"]) == kind) {
        Some(old) => *old = new,
        None => list.push(new),
    }
    path::set(definition, &["status", "conditions"], list.into());
}

/// Says that a definition goes.
pub(crate) fn mark_going(definition: &mut Value, now: Timestamp) {
    let message =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set(
        definition,
        "Terminating",
        "True",
        "InstanceDeletionPending",
        message,
        now,
    );
}

fn definition(state: &State, name: &str) -> Option<std::sync::Arc<Value>> {
    let resource = definitions(state)?;
    state.get(resource.storage, &Key::new("", name))
}

fn definitions(state: &State) -> Option<std::sync::Arc<crate::registry::Resource>> {
    state
        .registry
        .get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        .cloned()
}

/// Accepts the names of a definition that was written, establishes it, and serves it.
pub(crate) fn settle(state: &mut State, name: &str, now: Timestamp) {
    let mut waiting = vec![name.to_owned()];
    for _ in 0..ROUNDS {
        let Some(name) = waiting.pop() else { return };
        if settle_one(state, &name, now) {
            waiting.extend(rejected(state, &name));
        }
    }
}

/// A definition that went has freed its names: others of its group may have them.
pub(crate) fn reconsider(state: &mut State, gone: &Value, now: Timestamp) {
    let group = path::text(gone, &["spec", "group"]).to_owned();
    for name in others(state, &group, "") {
        if definition(state, &name).is_some_and(|d| !is_true(&d, "NamesAccepted")) {
            settle(state, &name, now);
        }
    }
}

fn others(state: &State, group: &str, but: &str) -> Vec<String> {
    let Some(resource) = definitions(state) else {
        return Vec::new();
    };
    state
        .range(resource.storage, None)
        .filter(|(key, d)| path::text(d, &["spec", "group"]) == group && key.name != but)
        .map(|(key, _)| key.name.clone())
        .collect()
}

fn rejected(state: &State, name: &str) -> Vec<String> {
    let Some(own) = definition(state, name) else {
        return Vec::new();
    };
    others(state, path::text(&own, &["spec", "group"]), name)
        .into_iter()
        .filter(|n| definition(state, n).is_some_and(|d| !is_true(&d, "NamesAccepted")))
        .collect()
}

/// Whether names were given up or taken.
fn settle_one(state: &mut State, name: &str, now: Timestamp) -> bool {
    let Some(old) = definition(state, name) else {
        return false;
    };
    if path::get(&old, &["metadata", "deletionTimestamp"]).is_some() {
        return false;
    }
    let names = |of: &Value, part: &str| {
        path::get(
            of,
            &[
                part,
                if part == "spec" {
                    "names"
                } else {
                    "acceptedNames"
                },
            ],
        )
        .cloned()
        .unwrap_or_default()
    };
    let mut changed = false;
    let mut live = (*old).clone();
    if names(&old, "spec") != names(&old, "status") || condition(&old, "NamesAccepted").is_none() {
        accept(state, name, &mut live, now);
        changed = names(&old, "status") != names(&live, "status");
        live = put(state, name, &old, live, now);
    }
    if is_true(&live, "NamesAccepted") && !is_true(&live, "Established") {
        let before = live.clone();
        let message = "the initial names have been accepted";
        set(
            &mut live,
            "Established",
            "True",
            "InitialNamesAccepted",
            message,
            now,
        );
        live = put(state, name, &before, live, now);
    }
    if is_true(&live, "Established") {
        let storage = crate::objects::custom_storage(state, &live).unwrap_or_else(|| state.open());
        serve(&mut state.registry, &live, storage);
    }
    changed
}

/// Which names are free, and what that makes of the conditions.
fn accept(state: &State, name: &str, live: &mut Value, now: Timestamp) {
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in others(state, path::text(live, &["spec", "group"]), name) {
        let Some(other) = definition(state, &other) else {
            continue;
        };
        let text = |field: &str| path::text(&other, &["status", "acceptedNames", field]).to_owned();
        resources.extend([text("plural"), text("singular")]);
        resources.extend(texts(path::get(
            &other,
            &["status", "acceptedNames", "shortNames"],
        )));
        kinds.extend([text("kind"), text("listKind")]);
    }
    let wanted = path::get(live, &["spec", "names"])
        .cloned()
        .unwrap_or_default();
    let mut accepted = path::get(live, &["status", "acceptedNames"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    let mut trouble: Option<(&str, String)> = None;
    for (field, used, reason) in [
        ("plural", &resources, "PluralConflict"),
        ("singular", &resources, "SingularConflict"),
        ("shortNames", &resources, "ShortNamesConflict"),
        ("kind", &kinds, "KindConflict"),
        ("listKind", &kinds, "ListKindConflict"),
    ] {
        let own = texts(accepted.get(field));
        let mut taken: Vec<String> = match wanted.get(field) {
            Some(Value::Array(_)) => texts(wanted.get(field)),
            Some(Value::String(one))
                if accepted.get(field) != Some(&Value::String(one.clone())) =>
            {
                vec![one.clone()]
            }
            _ => Vec::new(),
        };
        taken.retain(|one| used.contains(one) && !own.contains(one));
        if taken.is_empty() {
            match wanted.get(field) {
                Some(value) => path::set(&mut accepted, &[field], value.clone()),
                None => {
                    path::remove(&mut accepted, &[field]);
                }
            }
            continue;
        }
        let each: Vec<String> = taken
            .iter()
            .map(|one| format!("{one:?} is already in use"))
            .collect();
        let message = match each.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        trouble = Some((reason, message));
    }
    match wanted.get("categories") {
        Some(value) => path::set(&mut accepted, &["categories"], value.clone()),
        None => {
            path::remove(&mut accepted, &["categories"]);
        }
    }
    path::set(live, &["status", "acceptedNames"], accepted);
    let established = condition(live, "Established").is_some();
    match trouble {
        None => {
            set(
                live,
                "NamesAccepted",
                "True",
                "NoConflicts",
                "no conflicts found",
                now,
            );
            if !is_true(live, "Established") {
                let message = "the initial names have been accepted";
                set(live, "Established", "False", "Installing", message, now);
            }
        }
        Some((reason, message)) => {
            set(live, "NamesAccepted", "False", reason, &message, now);
            if !established {
                let message = "not all names are accepted";
                set(live, "Established", "False", "NotAccepted", message, now);
            }
        }
    }
}

fn put(state: &mut State, name: &str, old: &Value, new: Value, now: Timestamp) -> Value {
    let Some(resource) = definitions(state) else {
        return new;
    };
    if *old == new {
        return new;
    }
    let call = Call::new("kube-apiserver", now);
    let new = write::tracked(&resource, Some(old), new, Part::Status, &call);
    let stored = state.put(resource.storage, &Key::new("", name), new);
    (*stored).clone()
}
