//! Owns the end of namespaces: what is in one goes before it, pods first, and its status says what
//! is left meanwhile. It does not wait before it begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::source::items;
use crate::call::{Call, DeleteOptions, Part, stamp};
use crate::objects;
use crate::registry::Resource;
use crate::remove;
use crate::state::State;

/// What is left in a namespace.
#[derive(Default)]
struct Left {
    /// How many of each resource.
    resources: BTreeMap<String, usize>,
    /// How many each finalizer holds.
    finalizers: BTreeMap<String, usize>,
}

/// Removes what is in a namespace that goes, then the namespace.
pub(crate) fn empty(state: &mut State, namespace: &str, call: &Call) {
    let mut resources: Vec<Arc<Resource>> = Vec::new();
    for resource in state.registry.iter() {
        let known = resources.iter().any(|r| r.storage == resource.storage);
        if resource.kind.namespaced && !known {
            resources.push(resource.clone());
        }
    }
    // Pods end before what they may need to end well.
    let (pods, others): (Vec<_>, Vec<_>) = resources.into_iter().partition(|r| r.is("", "Pod"));
    let mut left = Left::default();
    for resource in &pods {
        clear(state, resource, namespace, call, &mut left);
    }
    if left.resources.is_empty() {
        for resource in &others {
            clear(state, resource, namespace, call, &mut left);
        }
    }
    let Some(namespaces) = state.registry.get("", "v1", "namespaces").cloned() else {
        return;
    };
    let key = Key::new("", namespace);
    let Some(old) = state.get(namespaces.storage, &key) else {
        return;
    };
    let mut new = (*old).clone();
    if let Some(status) = path::get_mut(&mut new, &["status"]) {
        tell(status, &left, &stamp(call.now));
    }
    let write = |state: &mut State, old: &Arc<Value>, new: Value, part: Part| {
        let how = objects::How {
            recorded: part,
            ..objects::How::of(part)
        };
        let outcome = objects::replace(state, &namespaces, None, old, new, how, &mut call.clone());
        if let Err(refusal) = &outcome {
            tracing::debug!(%namespace, %refusal, "the namespace could not be changed");
        }
        outcome.is_ok()
    };
    if new != *old && !write(state, &old, new, Part::Status) {
        return;
    }
    if !left.resources.is_empty() {
        return;
    }
    let Some(old) = state.get(namespaces.storage, &key) else {
        return;
    };
    let mut new = (*old).clone();
    path::set(&mut new, &["spec", "finalizers"], json!([]));
    write(state, &old, new, Part::Finalize);
}

/// Asks for the removal of all objects of one resource, and counts what stays.
fn clear(state: &mut State, resource: &Resource, namespace: &str, call: &Call, left: &mut Left) {
    let all: Vec<(Key, bool)> = state
        .range(resource.storage, Some(namespace))
        .map(|(key, o)| {
            let going = path::get(&o, &["metadata", "deletionTimestamp"]).is_some();
            (key, going)
        })
        .collect();
    for (key, going) in all {
        if !going {
            let options = DeleteOptions::default();
            // What holds it is counted below.
            let _ = remove::delete(
                state,
                resource,
                Some(namespace),
                &key.name,
                &options,
                &mut call.clone(),
            );
        }
        let Some(object) = state.get(resource.storage, &key) else {
            continue;
        };
        let name = format!("{}.{}", resource.kind.plural, resource.kind.group);
        *left.resources.entry(name).or_default() += 1;
        for finalizer in items(&object, &["metadata", "finalizers"]) {
            let finalizer = finalizer.as_str().unwrap_or_default().to_owned();
            *left.finalizers.entry(finalizer).or_default() += 1;
        }
    }
}

fn tell(status: &mut Value, left: &Left, now: &str) {
    let listed = |all: &BTreeMap<String, usize>, word: &str| {
        let one =
            |(name, count): (&String, &usize)| format!("{name} {word} {count} resource instances");
        all.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let content = if left.resources.is_empty() {
        (
            "False",
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        )
    } else {
        let list = listed(&left.resources, "has");
        let message = format!("Some resources are remaining: {list}");
        ("True", "SomeResourcesRemain", message)
    };
    let finalizers = if left.finalizers.is_empty() {
        let message = "All content-preserving finalizers finished".to_owned();
        ("False", "ContentHasNoFinalizers", message)
    } else {
        let list = listed(&left.finalizers, "in");
        let message = format!("Some content in the namespace has finalizers remaining: {list}");
        ("True", "SomeFinalizersRemain", message)
    };
    let fine = |reason, message: &str| ("False", reason, message.to_owned());
    for (kind, (word, reason, message)) in [
        (
            "NamespaceDeletionDiscoveryFailure",
            fine(
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            fine(
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
        ),
        (
            "NamespaceDeletionContentFailure",
            fine(
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        ("NamespaceContentRemaining", content),
        ("NamespaceFinalizersRemaining", finalizers),
    ] {
        let mut all: Vec<Value> = items(status, &["conditions"]).cloned().collect();
        let new = json!({"type": kind, "status": word, "lastTransitionTime": now,
            "reason": reason, "message": message});
        match all.iter_mut().find(|c| path::text(c, &["type"]) == kind) {
            Some(old) => {
                let same = ["status", "reason", "message"]
                    .iter()
                    .all(|field| old.get(*field) == new.get(*field));
                if !same {
                    *old = new;
                }
            }
            None => all.push(new),
        }
        path::set(status, &["conditions"], all.into());
    }
}
