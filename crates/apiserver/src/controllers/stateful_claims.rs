//! Owns the claims of a StatefulSet's pods: made before the pod, kept or removed with it or with
//! the set, as the set's policy says.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::path;

use super::source::{is_going, items, name_of, namespace_of, uid_of};
use super::statefulset::{COMPONENT, parent, range};
use super::world::World;
use super::{CLAIMS, pods};
use crate::refusal::Refusal;

/// The name of the claim that a pod has by a template.
pub(crate) fn name(set: &Value, template: &str, ordinal: i64) -> String {
    format!("{template}-{}-{ordinal}", name_of(set))
}

fn ordinal(pod: &Value) -> i64 {
    parent(name_of(pod)).map_or(-1, |(_, number)| number)
}

fn there(world: &World, set: &Value, pod: &Value) -> Vec<Arc<Value>> {
    items(set, &["spec", "volumeClaimTemplates"])
        .filter_map(|template| {
            let name = name(set, name_of(template), ordinal(pod));
            world.store.get(&CLAIMS, namespace_of(set), &name)
        })
        .collect()
}

/// Makes the claims that a pod needs and that are not there.
pub(crate) fn create_missing(world: &mut World, set: &Value, pod: &Value) -> Result<(), Refusal> {
    let mut outcome = Ok(());
    for template in items(set, &["spec", "volumeClaimTemplates"]) {
        let name = name(set, name_of(template), ordinal(pod));
        if let Some(claim) = world.store.get(&CLAIMS, namespace_of(set), &name) {
            if is_going(&claim) {
                outcome = Err(Refusal::BadRequest(format!("pvc {name} is being deleted")));
            }
            continue;
        }
        let mut claim = template.clone();
        path::remove(&mut claim, &["status"]);
        path::set(&mut claim, &["apiVersion"], "v1".into());
        path::set(&mut claim, &["kind"], "PersistentVolumeClaim".into());
        path::set(&mut claim, &["metadata", "name"], name.clone().into());
        path::set(
            &mut claim,
            &["metadata", "namespace"],
            namespace_of(set).into(),
        );
        let labels = path::get(set, &["spec", "selector", "matchLabels"]);
        for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
            path::set(&mut claim, &["metadata", "labels", key], value.clone());
        }
        let (pod, set_name) = (name_of(pod), name_of(set));
        match world.store.create(&CLAIMS, claim) {
            Ok(_) => {
                let message =
                    format!("create Claim {name} Pod {pod} in StatefulSet {set_name} success");
                world.normal(COMPONENT, set, "SuccessfulCreate", &message);
            }
            Err(Refusal::AlreadyExists { .. }) => {}
            Err(refusal) => {
                let message = format!(
                    "create Claim {name} for Pod {pod} in StatefulSet {set_name} failed error: {refusal}"
                );
                world.warning(COMPONENT, set, "FailedCreate", &message);
                outcome = Err(refusal);
            }
        }
    }
    outcome
}

/// Whether claims go with the pod when the set shrinks, and with the set when it goes.
fn policy(set: &Value) -> (bool, bool) {
    let at = |field| {
        let at = ["spec", "persistentVolumeClaimRetentionPolicy", field];
        path::text(set, &at) == "Delete"
    };
    (at("whenScaled"), at("whenDeleted"))
}

fn refers(reference: &Value, api_version: &str, kind: &str, object: &Value) -> bool {
    path::text(reference, &["apiVersion"]) == api_version
        && path::text(reference, &["kind"]) == kind
        && path::text(reference, &["name"]) == name_of(object)
}

fn references(claim: &Value) -> impl Iterator<Item = &Value> {
    items(claim, &["metadata", "ownerReferences"])
}

/// Whether the claim names an earlier object of this name.
fn names_earlier(claim: &Value, api_version: &str, kind: &str, object: &Value) -> bool {
    references(claim)
        .find(|r| refers(r, api_version, kind, object))
        .is_some_and(|r| path::text(r, &["uid"]) != uid_of(object))
}

fn owned_by(claim: &Value, object: &Value) -> bool {
    references(claim).any(|r| path::text(r, &["uid"]) == uid_of(object))
}

/// A pod that shrinks away must not be made again with its old claim, which is about to go.
pub(crate) fn is_stale(world: &World, set: &Value, pod: &Value) -> bool {
    policy(set).0
        && there(world, set, pod)
            .iter()
            .any(|claim| names_earlier(claim, "v1", "Pod", pod))
}

/// Somebody else controls the claim although the policy would have it go.
fn has_stranger(claim: &Value, set: &Value, pod: &Value) -> bool {
    if policy(set) == (false, false) {
        return false;
    }
    references(claim).any(|r| {
        if refers(r, "apps/v1", "StatefulSet", set) {
            return path::text(r, &["uid"]) != uid_of(set);
        }
        if refers(r, "v1", "Pod", pod) {
            return path::text(r, &["uid"]) != uid_of(pod);
        }
        r.get("controller") == Some(&Value::Bool(true))
    })
}

/// Which of the two is to own the claim: the set, the pod.
fn wanted(set: &Value, pod: &Value) -> (bool, bool) {
    let (first, end) = range(set);
    let beyond = !(first..end).contains(&ordinal(pod));
    match policy(set) {
        (false, false) => (false, false),
        (false, true) => (true, false),
        (true, false) => (false, beyond),
        (true, true) => (!beyond, beyond),
    }
}

fn is_right(claim: &Value, set: &Value, pod: &Value) -> bool {
    if names_earlier(claim, "apps/v1", "StatefulSet", set) || names_earlier(claim, "v1", "Pod", pod)
    {
        return true;
    }
    let (by_set, by_pod) = (owned_by(claim, set), owned_by(claim, pod));
    if has_stranger(claim, set, pod) {
        return !by_set && !by_pod;
    }
    let loose = references(claim).any(|r| {
        let uid = path::text(r, &["uid"]);
        (uid == uid_of(set) || uid == uid_of(pod))
            && r.get("controller") != Some(&Value::Bool(true))
    });
    !loose && (by_set, by_pod) == wanted(set, pod)
}

/// Whether the owners of a pod's claims are as the policy says.
pub(crate) fn match_policy(world: &World, set: &Value, pod: &Value) -> bool {
    there(world, set, pod)
        .iter()
        .all(|claim| is_right(claim, set, pod))
}

/// Makes the owners of a pod's claims as the policy says.
pub(crate) fn keep_policy(world: &mut World, set: &Value, pod: &Value) -> Result<(), Refusal> {
    for claim in there(world, set, pod) {
        let stranger = has_stranger(&claim, set, pod);
        if stranger {
            let message = format!(
                "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging \
                 controller, the retention policy is ignored for this claim",
                name_of(&claim)
            );
            world.warning(COMPONENT, set, "ConflictingController", &message);
        }
        if is_right(&claim, set, pod) {
            continue;
        }
        let mut owners: Vec<Value> = references(&claim)
            .filter(|r| !refers(r, "apps/v1", "StatefulSet", set) && !refers(r, "v1", "Pod", pod))
            .cloned()
            .collect();
        let (by_set, by_pod) = wanted(set, pod);
        if by_set && !stranger {
            owners.push(pods::owner_of(set, "apps/v1", "StatefulSet"));
        }
        if by_pod && !stranger {
            owners.push(pods::owner_of(pod, "v1", "Pod"));
        }
        let mut new = (*claim).clone();
        if owners.is_empty() {
            path::remove(&mut new, &["metadata", "ownerReferences"]);
        } else {
            path::set(&mut new, &["metadata", "ownerReferences"], json!(owners));
        }
        world.store.update(&CLAIMS, new)?;
    }
    Ok(())
}
