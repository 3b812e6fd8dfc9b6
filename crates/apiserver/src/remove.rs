//! Owns removal: preconditions, grace, finalizers, and what becomes of dependents. Collecting the
//! dependents themselves is the garbage controller's work.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, path};

use crate::builtin::mark_deleted;
use crate::call::{Call, DeleteOptions, Part, Propagation, stamp};
use crate::convert;
use crate::custom;
use crate::objects::{custom_storage, key, not_found};
use crate::policy::{self, Operation, Write};
use crate::refusal::{Refusal, ResourceName};
use crate::registry::Resource;
use crate::state::State;

/// What a removal came to.
#[derive(Debug)]
pub(crate) enum Removed {
    /// The object is gone; its last form.
    Gone(Arc<Value>),
    /// It waits for finalizers or its grace.
    Waiting(Arc<Value>),
}

/// The finalizer of an owner that goes after its dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that leaves its dependents behind.
pub(crate) const ORPHAN: &str = "orphan";

fn finalizers(object: &Value) -> Vec<String> {
    let list = path::get(object, &["metadata", "finalizers"]).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Removes an object, or begins to, unless a policy is against it.
pub(crate) fn delete(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
    call: &mut Call,
) -> Result<Removed, Refusal> {
    if options.propagation.is_none() && resource.is("batch", "Job") {
        call.warn(
            "child pods are preserved by default when jobs are deleted; set \
             propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress \
             this warning",
        );
    }
    ask(state, resource, namespace, name, Some(name), options, call)?;
    delete_unasked(state, resource, namespace, name, options, call)
}

/// Removes an object of a collection that goes as a whole: policies are told no name.
pub(crate) fn delete_of_many(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
    call: &mut Call,
) -> Result<Removed, Refusal> {
    ask(state, resource, namespace, name, None, options, call)?;
    delete_unasked(state, resource, namespace, name, options, call)
}

fn ask(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    told: Option<&str>,
    options: &DeleteOptions,
    call: &mut Call,
) -> Result<(), Refusal> {
    let Some(old) = state.get(resource.storage, &key(namespace, name)) else {
        return Ok(());
    };
    check_preconditions(resource, &old, options)?;
    let old = convert::outward(resource, &old);
    let write = Write {
        operation: Operation::Delete,
        resource,
        namespace,
        name: told.unwrap_or_default(),
        part: Part::Whole,
        new: None,
        old: Some(&old),
    };
    policy::admit(state, &write, call)
}

/// Removes an object, or begins to.
pub(crate) fn delete_unasked(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
    call: &Call,
) -> Result<Removed, Refusal> {
    let at = key(namespace, name);
    let old = state
        .get(resource.storage, &at)
        .ok_or_else(|| not_found(resource, name))?;
    check_preconditions(resource, &old, options)?;
    let propagation = options.propagation.or_else(|| by_default(resource));
    if resource.is("", "Namespace") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Refusal::Forbidden {
            resource: resource.name(),
            name: name.to_owned(),
            why: "this namespace may not be deleted".to_owned(),
            causes: Vec::new(),
        });
    }
    let already = path::get(&old, &["metadata", "deletionTimestamp"]).is_some();
    let mut new = (*old).clone();
    let mut wanted = finalizers(&old);
    if !already {
        wanted.retain(|f| f != FOREGROUND && f != ORPHAN || propagation.is_none());
        let extra = match propagation {
            Some(Propagation::Foreground) => Some(FOREGROUND),
            Some(Propagation::Orphan) => Some(ORPHAN),
            _ => None,
        };
        if let Some(extra) = extra
            && !wanted.iter().any(|f| f == extra)
        {
            wanted.push(extra.to_owned());
        }
    }
    if !already && resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        if !wanted.iter().any(|f| f == custom::CLEANUP) {
            wanted.push(custom::CLEANUP.to_owned());
        }
        custom::mark_going(&mut new, call.now);
    }
    if wanted != finalizers(&old) {
        path::set(&mut new, &["metadata", "finalizers"], json!(wanted));
    }
    let grace = grace_of(resource, &old, options);
    let namespace_waits = resource.is("", "Namespace")
        && path::get(&old, &["spec", "finalizers"])
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty());
    if wanted.is_empty() && grace == 0 && !namespace_waits {
        // A pod is told to go before it does, however short its time.
        let marked = resource.is("", "Pod").then(|| {
            let mut marked = new.clone();
            if already {
                let stamp = stamp(call.now);
                path::set(
                    &mut marked,
                    &["metadata", "deletionTimestamp"],
                    stamp.into(),
                );
                let grace = ["metadata", "deletionGracePeriodSeconds"];
                path::set(&mut marked, &grace, 0.into());
            } else {
                mark_deleted(&mut marked, call, 0);
            }
            marked
        });
        if call.dry_run {
            let last = marked.map_or(old, Arc::new);
            return Ok(Removed::Gone(convert::outward(resource, &last)));
        }
        if let Some(marked) = marked {
            state.put(resource.storage, &at, marked);
        }
        let last = finish(state, resource, &at).unwrap_or(old);
        return Ok(Removed::Gone(convert::outward(resource, &last)));
    }
    if already {
        let left =
            path::get(&old, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
        if left.is_none_or(|left| grace >= left) {
            return Ok(Removed::Waiting(convert::outward(resource, &old)));
        }
        path::set(
            &mut new,
            &["metadata", "deletionGracePeriodSeconds"],
            grace.into(),
        );
    } else if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        let stamp = stamp(call.now);
        path::set(&mut new, &["metadata", "deletionTimestamp"], stamp.into());
    } else {
        mark_deleted(&mut new, call, grace);
    }
    if resource.is("", "Namespace") {
        path::set(&mut new, &["status", "phase"], "Terminating".into());
    }
    if call.dry_run {
        return Ok(Removed::Waiting(convert::outward(resource, &Arc::new(new))));
    }
    let new = state.put(resource.storage, &at, new);
    if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        if let Some(storage) = custom_storage(state, &new) {
            custom::serve(&mut state.registry, &new, storage);
        }
        clean_definition(state, &new, call);
    }
    Ok(Removed::Waiting(convert::outward(resource, &new)))
}

fn check_preconditions(
    resource: &Resource,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), Refusal> {
    let name = path::text(old, &["metadata", "name"]).to_owned();
    for (what, wanted, is) in [
        ("UID", &options.uid, path::text(old, &["metadata", "uid"])),
        (
            "ResourceVersion",
            &options.version,
            path::text(old, &["metadata", "resourceVersion"]),
        ),
    ] {
        if let Some(wanted) = wanted
            && wanted != is
        {
            let then = if what == "UID" {
                "The object might have been deleted and then recreated"
            } else {
                "The object might have been modified"
            };
            return Err(Refusal::Conflict {
                resource: ResourceName {
                    group: resource.kind.group.to_string(),
                    plural: resource.kind.kind.to_string(),
                },
                name,
                why: format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record \
                     ({is}). {then}"
                ),
            });
        }
    }
    Ok(())
}

/// Pods that run somewhere get time to end; everything else goes at once.
fn grace_of(resource: &Resource, pod: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is("", "Pod") {
        return 0;
    }
    let done = matches!(
        path::text(pod, &["status", "phase"]),
        "Succeeded" | "Failed"
    );
    if done || path::text(pod, &["spec", "nodeName"]).is_empty() {
        return 0;
    }
    let own = path::get(pod, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    options.grace.or(own).unwrap_or(30).max(0)
}

/// Removes an object whose deletion was asked for once nothing holds it any more.
pub(crate) fn settle(state: &mut State, resource: &Resource, at: &Key) {
    let Some(object) = state.get(resource.storage, at) else {
        return;
    };
    if goes(resource, &object) {
        finish(state, resource, at);
    }
}

/// Whether an object's deletion was asked for and nothing holds it any more.
pub(crate) fn goes(resource: &Resource, object: &Value) -> bool {
    let held = path::get(object, &["metadata", "deletionTimestamp"]).is_none()
        || !finalizers(object).is_empty()
        || path::get(object, &["metadata", "deletionGracePeriodSeconds"])
            .and_then(Value::as_i64)
            .is_some_and(|grace| grace > 0)
        || (resource.is("", "Namespace")
            && path::get(object, &["spec", "finalizers"])
                .and_then(Value::as_array)
                .is_some_and(|f| !f.is_empty()));
    !held
}

/// What becomes of dependents when nothing is said: older kinds leave theirs.
pub(crate) fn by_default(resource: &Resource) -> Option<Propagation> {
    let leaves = resource.is("", "ReplicationController") || resource.is("batch", "Job");
    leaves.then_some(Propagation::Orphan)
}

/// Takes the object out and frees what it held.
pub(crate) fn finish(state: &mut State, resource: &Resource, at: &Key) -> Option<Arc<Value>> {
    let last = state.remove(resource.storage, at)?;
    if resource.is("", "Service") {
        state
            .addresses
            .release(at, path::text(&last, &["spec", "clusterIP"]));
    }
    if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        if let Some(storage) = custom_storage(state, &last) {
            state.close(storage);
        }
        let group = path::text(&last, &["spec", "group"]);
        let plural = path::text(&last, &["spec", "names", "plural"]);
        state.registry.remove(group, plural);
        let since = path::text(&last, &["metadata", "deletionTimestamp"]);
        custom::reconsider(state, &last, since.parse().unwrap_or_default());
    }
    if let Some(custom) = &resource.custom
        && state.all(resource.storage, None).next().is_none()
    {
        let name = custom.definition.clone();
        release_definition(state, &name);
    }
    Some(last)
}

/// Removes all objects of a definition that goes, then the definition.
fn clean_definition(state: &mut State, definition: &Value, call: &Call) {
    let name = path::text(definition, &["metadata", "name"]).to_owned();
    let of = |r: &&Arc<Resource>| r.custom.as_ref().is_some_and(|c| c.definition == name);
    let resource = state.registry.iter().find(of).cloned();
    if let Some(resource) = resource {
        let keys: Vec<Key> = state
            .all(resource.storage, None)
            .map(|stored| stored.place.key())
            .collect();
        for at in keys {
            let namespace = resource.kind.namespaced.then_some(at.namespace.as_str());
            let options = DeleteOptions::default();
            // An object that cannot go now holds the definition until its finalizers are done.
            let _ = delete_unasked(state, &resource, namespace, &at.name, &options, call);
        }
        if state.all(resource.storage, None).next().is_some() {
            return;
        }
    }
    release_definition(state, &name);
}

/// A definition that waits for its last object goes.
fn release_definition(state: &mut State, name: &str) {
    let Some(definitions) = state
        .registry
        .get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        .cloned()
    else {
        return;
    };
    let at = Key::new("", name);
    let Some(live) = state.get(definitions.storage, &at) else {
        return;
    };
    if path::get(&live, &["metadata", "deletionTimestamp"]).is_none() {
        return;
    }
    let mut wanted = finalizers(&live);
    wanted.retain(|f| f != custom::CLEANUP);
    if wanted.is_empty() {
        finish(state, &definitions, &at);
    } else {
        let mut new = (*live).clone();
        path::set(&mut new, &["metadata", "finalizers"], json!(wanted));
        state.put(definitions.storage, &at, new);
    }
}
