//! Owns what follows from removal: dependents of owners that are gone, owners that wait for their
//! dependents, and namespaces that go (`ending`). The state keeps the short lists of what waits, so
//! that nothing is searched for.

use std::sync::Arc;

use serde_json::Value;
use weir_object::{Key, path};

use super::ending;
use super::recorder::{Recorder, Told};
use crate::call::{Call, DeleteOptions, Part, Propagation};
use crate::objects;
use crate::registry::{Resource, Storage};
use crate::remove::{self, FOREGROUND, ORPHAN};
use crate::server::Inner;
use crate::state::State;
use crate::store::Store;

/// An object that names an owner where it cannot be: the object, and what is said of it.
type Misplaced = (Arc<Value>, String);

/// Runs until dropped.
pub(crate) async fn run(store: Store, inner: Arc<Inner>) {
    let mut signal = inner.read().chores.subscribe();
    let mut recorder = Recorder::new();
    loop {
        signal.borrow_and_update();
        // Each round acts on what the last one left; a round that changes nothing is the last.
        for _ in 0..100 {
            let before = inner.read().version;
            for (object, message) in round(&inner) {
                let told = Told {
                    component: "garbage-collector-controller",
                    kind: "Warning",
                    reason: "OwnerRefInvalidNamespace",
                    message: &message,
                };
                recorder.tell(&store, inner.now(), &object, told);
            }
            if inner.read().version == before {
                break;
            }
        }
        if signal.changed().await.is_err() {
            return;
        }
    }
}

fn round(inner: &Inner) -> Vec<Misplaced> {
    let call = Call::new("kube-controller-manager", inner.now());
    let mut told = Vec::new();
    let mut state = inner.write();
    for uid in state.ownerless() {
        for (storage, key) in state.dependents(&uid) {
            lose_owner(&mut state, storage, &key, &call, &mut told);
        }
    }
    for uid in state.waiting_owners() {
        let Some((storage, key)) = state.find(&uid) else {
            continue;
        };
        settle_owner(&mut state, storage, &key, &uid, &call);
    }
    for namespace in state.ending_namespaces() {
        ending::empty(&mut state, &namespace, &call);
    }
    told
}

fn resource_of(state: &State, storage: Storage) -> Option<Arc<Resource>> {
    state
        .registry
        .iter()
        .find(|r| r.storage == storage)
        .cloned()
}

pub(crate) fn scope<'a>(resource: &Resource, key: &'a Key) -> Option<&'a str> {
    resource.kind.namespaced.then_some(key.namespace.as_str())
}

fn references(object: &Value) -> Vec<Value> {
    let list = path::get(object, &["metadata", "ownerReferences"]).and_then(Value::as_array);
    list.cloned().unwrap_or_default()
}

/// Changes an object's metadata; what cannot be changed now is met again in the next round.
fn rewrite(
    state: &mut State,
    resource: &Resource,
    key: &Key,
    field: &str,
    value: Vec<Value>,
    call: &Call,
) {
    let Some(old) = state.get(resource.storage, key) else {
        return;
    };
    let mut new = (*crate::convert::outward(resource, &old)).clone();
    if value.is_empty() {
        path::remove(&mut new, &["metadata", field]);
    } else {
        path::set(&mut new, &["metadata", field], value.into());
    }
    let how = objects::How::of(Part::Whole);
    let outcome = objects::replace(
        state,
        resource,
        scope(resource, key),
        &old,
        new,
        how,
        &mut call.clone(),
    );
    if let Err(refusal) = outcome {
        tracing::debug!(%key, %refusal, "metadata could not be changed after a removal");
    }
}

/// An object none of whose owners is left goes; one with others left forgets those that are gone.
fn lose_owner(
    state: &mut State,
    storage: Storage,
    key: &Key,
    call: &Call,
    told: &mut Vec<Misplaced>,
) {
    let Some(resource) = resource_of(state, storage) else {
        return;
    };
    let Some(object) = state.get(storage, key) else {
        return;
    };
    let all = references(&object);
    let mut left: Vec<Value> = Vec::new();
    for owner in &all {
        let text = |field| path::text(owner, &[field]);
        match state.find(text("uid")) {
            // Whether an owner of a kind that is not served is gone cannot be told.
            None if !is_served(state, text("apiVersion"), text("kind")) => return,
            None => {}
            Some((_, of)) if of.namespace.is_empty() || of.namespace == key.namespace => {
                left.push(owner.clone());
            }
            // An owner in another namespace owns nothing here.
            Some(_) => {
                let (version, kind, name, uid) =
                    (text("apiVersion"), text("kind"), text("name"), text("uid"));
                let namespace = &key.namespace;
                told.push((
                    object.clone(),
                    format!(
                        "ownerRef [{version}/{kind}, namespace: {namespace}, name: {name}, uid: \
                         {uid}] does not exist in namespace \"{namespace}\""
                    ),
                ));
                // What is in no namespace cannot be looked for in one, so it stays.
                if namespace.is_empty() {
                    left.push(owner.clone());
                }
            }
        }
    }
    if !left.is_empty() {
        if left.len() < all.len() {
            rewrite(state, &resource, key, "ownerReferences", left, call);
        }
        return;
    }
    if path::get(&object, &["metadata", "deletionTimestamp"]).is_some() {
        return;
    }
    let options = DeleteOptions {
        propagation: Some(Propagation::Background),
        uid: Some(path::text(&object, &["metadata", "uid"]).to_owned()),
        ..DeleteOptions::default()
    };
    // It may be held by finalizers, which is then their business.
    let _ = remove::delete(
        state,
        &resource,
        scope(&resource, key),
        &key.name,
        &options,
        &mut call.clone(),
    );
}

fn is_served(state: &State, api_version: &str, kind: &str) -> bool {
    state
        .registry
        .iter()
        .any(|r| r.api_version == api_version && r.kind.kind == kind)
}

/// An owner that waits: orphans are let go, or blocking dependents removed first.
fn settle_owner(state: &mut State, storage: Storage, key: &Key, uid: &str, call: &Call) {
    let (Some(resource), Some(owner)) = (resource_of(state, storage), state.get(storage, key))
    else {
        return;
    };
    let finalizers = path::get(&owner, &["metadata", "finalizers"]).and_then(Value::as_array);
    let finalizers = finalizers.cloned().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    let without =
        |name: &str| -> Vec<Value> { finalizers.iter().filter(|f| *f != name).cloned().collect() };
    if has(ORPHAN) {
        for (storage, key) in state.dependents(uid) {
            let Some(resource) = resource_of(state, storage) else {
                continue;
            };
            let Some(object) = state.get(storage, &key) else {
                continue;
            };
            let left: Vec<Value> = references(&object)
                .into_iter()
                .filter(|o| path::text(o, &["uid"]) != uid)
                .collect();
            rewrite(state, &resource, &key, "ownerReferences", left, call);
        }
        rewrite(state, &resource, key, "finalizers", without(ORPHAN), call);
        return;
    }
    if !has(FOREGROUND) {
        return;
    }
    let mut blocked = false;
    for (storage, dependent) in state.dependents(uid) {
        let Some(resource) = resource_of(state, storage) else {
            continue;
        };
        let Some(object) = state.get(storage, &dependent) else {
            continue;
        };
        let blocks = references(&object).iter().any(|o| {
            path::text(o, &["uid"]) == uid
                && o.get("blockOwnerDeletion") == Some(&Value::Bool(true))
        });
        if path::get(&object, &["metadata", "deletionTimestamp"]).is_none() {
            // Dependents with dependents of their own wait for them in turn.
            let nested = !state
                .dependents(path::text(&object, &["metadata", "uid"]))
                .is_empty();
            let propagation = if nested {
                Propagation::Foreground
            } else {
                Propagation::Background
            };
            let options = DeleteOptions {
                propagation: Some(propagation),
                ..DeleteOptions::default()
            };
            let scope = scope(&resource, &dependent);
            let _ = remove::delete(
                state,
                &resource,
                scope,
                &dependent.name,
                &options,
                &mut call.clone(),
            );
        }
        blocked |= blocks && state.contains(storage, &dependent);
    }
    if !blocked {
        rewrite(
            state,
            &resource,
            key,
            "finalizers",
            without(FOREGROUND),
            call,
        );
    }
}
