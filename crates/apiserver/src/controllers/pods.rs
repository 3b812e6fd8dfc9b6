//! Owns what controllers of pods have in common: which pods count, how long they have been ready,
//! how they are made from a template and removed, which go first, and who takes over which.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Kind, path};

use super::source::{controller_ref, is_going, items, name_of, namespace_of, number, uid_of};
use super::world::{World, is_ending};
use super::{On, PODS};
use crate::refusal::Refusal;
use crate::selector::Selector;

/// Whether a pod has ended.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(
        path::text(pod, &["status", "phase"]),
        "Succeeded" | "Failed"
    )
}

/// Whether a pod counts as a replica.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_going(pod) && !is_finished(pod)
}

/// A condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, &["status", "conditions"]).find(|c| path::text(c, &["type"]) == kind)
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = condition(pod, "Ready")?;
    if path::text(ready, &["status"]) != "True" {
        return None;
    }
    let at = path::text(ready, &["lastTransitionTime"]).parse();
    Some(at.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Whether a pod is Ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    ready_since(pod).is_some()
}

/// How many milliseconds are left until a ready pod counts as available; `None` when it is not
/// ready, and 0 when it is available.
pub(crate) fn until_available(pod: &Value, patience: i64, now: Timestamp) -> Option<u64> {
    let since = ready_since(pod)?;
    if patience == 0 {
        return Some(0);
    }
    let due = since
        .as_millisecond()
        .saturating_add(patience.saturating_mul(1000));
    Some(u64::try_from(due.saturating_sub(now.as_millisecond())).unwrap_or_default())
}

/// Whether a pod has been ready for long enough.
pub(crate) fn is_available(pod: &Value, patience: i64, now: Timestamp) -> bool {
    until_available(pod, patience, now) == Some(0)
}

/// The reference of a controlling owner.
pub(crate) fn owner_of(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name_of(owner),
        "uid": uid_of(owner), "controller": true, "blockOwnerDeletion": true,
    })
}

/// A pod from an owner's template.
pub(crate) fn pod_of(owner: &Value, api_version: &str, kind: &str) -> Value {
    let template = path::get(owner, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    let mut meta = json!({
        "generateName": format!("{}-", name_of(owner)),
        "namespace": namespace_of(owner),
        "ownerReferences": [owner_of(owner, api_version, kind)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = path::get(&template, &["metadata", field]) {
            path::set(&mut meta, &[field], value.clone());
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template.get("spec")})
}

/// Makes a pod and tells so on its owner.
pub(crate) fn create(
    world: &mut World,
    component: &'static str,
    owner: &Value,
    pod: Value,
) -> Result<Arc<Value>, Refusal> {
    match world.store.create(&PODS, pod) {
        Ok(pod) => {
            let message = format!("Created pod: {}", name_of(&pod));
            world.normal(component, owner, "SuccessfulCreate", &message);
            Ok(pod)
        }
        Err(refusal) => {
            if !is_ending(&refusal) {
                let message = format!("Error creating: {refusal}");
                world.warning(component, owner, "FailedCreate", &message);
            }
            Err(refusal)
        }
    }
}

/// Removes a pod and tells so on its owner; one that is gone is removed.
pub(crate) fn delete(
    world: &mut World,
    component: &'static str,
    owner: &Value,
    name: &str,
) -> Result<(), Refusal> {
    match world.store.delete(&PODS, namespace_of(owner), name) {
        Ok(()) => {
            let message = format!("Deleted pod: {name}");
            world.normal(component, owner, "SuccessfulDelete", &message);
            Ok(())
        }
        Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => {
            let message = format!("Error deleting: {refusal}");
            world.warning(component, owner, "FailedDelete", &message);
            Err(refusal)
        }
    }
}

/// The order in which superfluous pods go: the least useful first.
pub(crate) fn by_usefulness(a: &Value, b: &Value) -> Ordering {
    let placed = |p: &Value| !path::text(p, &["spec", "nodeName"]).is_empty();
    let phase = |p: &Value| match path::text(p, &["status", "phase"]) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost = |p: &Value| -> i32 {
        let at = [
            "metadata",
            "annotations",
            "controller.kubernetes.io/pod-deletion-cost",
        ];
        path::text(p, &at).parse().unwrap_or_default()
    };
    let restarts = |p: &Value| -> i64 {
        items(p, &["status", "containerStatuses"])
            .map(|c| number(c, &["restartCount"]))
            .max()
            .unwrap_or_default()
    };
    let born = |p: &Value| path::text(p, &["metadata", "creationTimestamp"]).to_owned();
    placed(a)
        .cmp(&placed(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        // Those that became ready last, restarted most, or are youngest.
        .then_with(|| ready_since(b).cmp(&ready_since(a)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| born(b).cmp(&born(a)))
        .then_with(|| name_of(a).cmp(name_of(b)))
}

/// The objects of a kind that an owner controls. Those that match and belong to nobody are taken
/// over, those that match no more are let go; an owner that goes does neither.
pub(crate) fn claim(
    world: &World,
    owner: &Value,
    reference: &Value,
    on: On,
    kind: &Kind,
    selector: &Selector,
) -> Result<Vec<Arc<Value>>, Refusal> {
    let uid = uid_of(owner);
    let namespace = namespace_of(owner);
    let mut out = Vec::new();
    for object in world.store.owned(uid, kind) {
        let controls = controller_ref(&object).is_some_and(|o| path::text(o, &["uid"]) == uid);
        if !controls || namespace_of(&object) != namespace {
            continue;
        }
        if selector.matches(&object) {
            out.push(object);
        } else if !is_going(owner) {
            let others: Vec<&Value> = items(&object, &["metadata", "ownerReferences"])
                .filter(|o| path::text(o, &["uid"]) != uid)
                .collect();
            let left = if others.is_empty() {
                Value::Null
            } else {
                json!(others)
            };
            let patch = json!({"metadata": {"uid": uid_of(&object), "ownerReferences": left}});
            match world.store.patch(kind, namespace, name_of(&object), patch) {
                Ok(_) | Err(Refusal::NotFound { .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    if is_going(owner) {
        return Ok(out);
    }
    for object in world.orphans(on, kind, namespace, selector) {
        if is_going(&object) || (on == On::Pod && is_finished(&object)) {
            continue;
        }
        let mut owners: Vec<Value> = items(&object, &["metadata", "ownerReferences"])
            .cloned()
            .collect();
        owners.push(reference.clone());
        let patch = json!({"metadata": {"uid": uid_of(&object), "ownerReferences": owners}});
        match world.store.patch(kind, namespace, name_of(&object), patch) {
            Ok(object) => out.push(object),
            Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(out)
}

/// Wakes what controls a pod, or what may take it over.
pub(crate) fn wake(
    world: &World,
    queue: &mut super::source::Queue,
    on: On,
    kind: &str,
    pod: &Value,
) {
    if let Some(key) = super::source::controller_key(pod, kind) {
        queue.add(key);
    } else if controller_ref(pod).is_none()
        && let Some(labels) = path::get(pod, &["metadata", "labels"])
    {
        for key in world.selecting(on, namespace_of(pod), labels) {
            queue.add(key);
        }
    }
}
