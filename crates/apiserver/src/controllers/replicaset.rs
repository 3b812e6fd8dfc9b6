//! Owns ReplicaSet: as many pods as wanted, the least useful removed first, and a status that
//! counts them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::source::{Queue, Seen, Source, controller, controller_key, is_going, number};
use super::{PODS, REPLICA_SETS};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::server::Inner;
use crate::store::Store;

/// Pods made or removed for one set in one go.
const BURST: usize = 500;

/// Runs the controller until dropped.
pub(crate) async fn run(store: Store, clock: Arc<Inner>) {
    let (mut sets, mut pods) = (Source::new(&store, REPLICA_SETS), Source::new(&store, PODS));
    let mut queue = Queue::default();
    loop {
        tokio::select! {
            seen = sets.next() => note(&store, &mut queue, seen),
            seen = pods.next() => note_pod(&store, &mut queue, seen),
            () = queue.timer() => {}
        }
        while let Some(seen) = sets.ready() {
            note(&store, &mut queue, seen);
        }
        while let Some(seen) = pods.ready() {
            note_pod(&store, &mut queue, seen);
        }
        while let Some(key) = queue.take() {
            if let Err(refusal) = sync(&store, &clock, &mut queue, &key) {
                tracing::debug!(%key, %refusal, "replicas are tried again");
                if refusal.is_retryable() {
                    queue.after(Duration::from_millis(50), key);
                }
            }
        }
    }
}

fn note(store: &Store, queue: &mut Queue, seen: Seen) {
    match seen {
        Seen::Put(object) => queue.add(crate::state::key_of(&object)),
        Seen::Gone(_) => {}
        Seen::All => queue.add_all(&store.list(&REPLICA_SETS, None, &Selector::default()).0),
    }
}

fn note_pod(store: &Store, queue: &mut Queue, seen: Seen) {
    match seen {
        Seen::Put(pod) | Seen::Gone(pod) => {
            if let Some(key) = controller_key(&pod, "ReplicaSet") {
                queue.add(key);
            } else if path::get(&pod, &["metadata", "ownerReferences"]).is_none()
                && path::get(&pod, &["metadata", "labels"]).is_some()
            {
                // A pod without an owner may be adopted.
                let namespace = path::text(&pod, &["metadata", "namespace"]);
                let (sets, _) = store.list(&REPLICA_SETS, Some(namespace), &Selector::default());
                for set in sets {
                    let selects = Selector::from_object(path::get(&set, &["spec", "selector"]));
                    if selects.is_some_and(|s| s.matches(&pod)) {
                        queue.add(crate::state::key_of(&set));
                    }
                }
            }
        }
        Seen::All => note(store, queue, Seen::All),
    }
}

/// Whether a pod counts as a replica.
fn is_active(pod: &Value) -> bool {
    !is_going(pod)
        && !matches!(
            path::text(pod, &["status", "phase"]),
            "Succeeded" | "Failed"
        )
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    let conditions = path::get(pod, &["status", "conditions"])?.as_array()?;
    let ready = conditions
        .iter()
        .find(|c| path::text(c, &["type"]) == "Ready")?;
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

fn sync(store: &Store, clock: &Inner, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
    let Some(set) = store.get(&REPLICA_SETS, &key.namespace, &key.name) else {
        return Ok(());
    };
    let uid = path::text(&set, &["metadata", "uid"]);
    let mut pods: Vec<Arc<Value>> = store.owned(uid, &PODS);
    pods.retain(|pod| controller(pod, "ReplicaSet").is_some_and(|(_, of)| of == uid));
    if !is_going(&set) {
        adopt(store, &set, &mut pods)?;
    }
    pods.retain(|pod| is_active(pod));
    let wanted = usize::try_from(number(&set, &["spec", "replicas"])).unwrap_or_default();
    if !is_going(&set) {
        if pods.len() < wanted {
            for _ in 0..(wanted - pods.len()).min(BURST) {
                pods.push(store.create(&PODS, pod_of(&set))?);
            }
        } else if pods.len() > wanted {
            pods.sort_by_key(|pod| usefulness(pod));
            let many = (pods.len() - wanted).min(BURST);
            for pod in pods.drain(..many) {
                let name = path::text(&pod, &["metadata", "name"]);
                match store.delete(&PODS, &key.namespace, name) {
                    Ok(()) | Err(Refusal::NotFound { .. }) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
        }
    }
    write_status(store, clock, queue, &set, &pods)
}

/// Takes over pods that match and belong to nobody.
fn adopt(store: &Store, set: &Value, pods: &mut Vec<Arc<Value>>) -> Result<(), Refusal> {
    let Some(selector) = Selector::from_object(path::get(set, &["spec", "selector"])) else {
        return Ok(());
    };
    let namespace = path::text(set, &["metadata", "namespace"]);
    let (all, _) = store.list(&PODS, Some(namespace), &selector);
    for pod in all {
        if path::get(&pod, &["metadata", "ownerReferences"]).is_none() && is_active(&pod) {
            let name = path::text(&pod, &["metadata", "name"]);
            let patch = json!({"metadata": {"uid": path::get(&pod, &["metadata", "uid"]),
                "ownerReferences": [owner_of(set, "apps/v1", "ReplicaSet")]}});
            pods.push(store.patch(&PODS, namespace, name, patch)?);
        }
    }
    Ok(())
}

/// The reference of a controlling owner.
pub(crate) fn owner_of(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": path::text(owner, &["metadata", "name"]),
        "uid": path::text(owner, &["metadata", "uid"]), "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn pod_of(set: &Value) -> Value {
    let template = path::get(set, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    let mut meta = json!({
        "generateName": format!("{}-", path::text(set, &["metadata", "name"])),
        "namespace": path::text(set, &["metadata", "namespace"]),
        "ownerReferences": [owner_of(set, "apps/v1", "ReplicaSet")],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = path::get(&template, &["metadata", field]) {
            path::set(&mut meta, &[field], value.clone());
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template.get("spec")})
}

/// Pods of low rank go first.
fn usefulness(pod: &Value) -> (bool, u8, bool, i64, std::cmp::Reverse<String>, String) {
    let phase = match path::text(pod, &["status", "phase"]) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost = path::text(
        pod,
        &[
            "metadata",
            "annotations",
            "controller.kubernetes.io/pod-deletion-cost",
        ],
    );
    let since = ready_since(pod).map(|t| t.to_string()).unwrap_or_default();
    // The youngest go before the old.
    let born = path::text(pod, &["metadata", "creationTimestamp"]).to_owned();
    let name = path::text(pod, &["metadata", "name"]).to_owned();
    (
        !path::text(pod, &["spec", "nodeName"]).is_empty(),
        phase,
        is_ready(pod),
        cost.parse().unwrap_or_default(),
        std::cmp::Reverse(format!("{since} {born}")),
        name,
    )
}

fn write_status(
    store: &Store,
    clock: &Inner,
    queue: &mut Queue,
    set: &Arc<Value>,
    pods: &[Arc<Value>],
) -> Result<(), Refusal> {
    let now = clock.now();
    let patience = number(set, &["spec", "minReadySeconds"]);
    let (mut ready, mut available, mut next) = (0_i64, 0_i64, None::<i64>);
    for pod in pods {
        let Some(since) = ready_since(pod) else {
            continue;
        };
        ready += 1;
        let left = since.as_second() + patience - now.as_second();
        if patience == 0 || left <= 0 {
            available += 1;
        } else {
            next = Some(next.map_or(left, |n| n.min(left)));
        }
    }
    let template =
        path::get(set, &["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    let labelled = pods
        .iter()
        .filter(|pod| {
            template
                .into_iter()
                .flatten()
                .all(|(key, value)| path::get(pod, &["metadata", "labels", key]) == Some(value))
        })
        .count();
    if let Some(left) = next {
        let wait = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        queue.after(wait, crate::state::key_of(set));
    }
    let mut status = json!({"replicas": pods.len()});
    let mut put = |field: &str, value: i64| {
        if value != 0 {
            path::set(&mut status, &[field], value.into());
        }
    };
    put("fullyLabeledReplicas", labelled as i64);
    put("readyReplicas", ready);
    put("availableReplicas", available);
    put(
        "observedGeneration",
        number(set, &["metadata", "generation"]),
    );
    if set.get("status") == Some(&status) {
        return Ok(());
    }
    let mut new = (**set).clone();
    path::set(&mut new, &["status"], status);
    // Pods that were just made or removed do not change the set, so the version still holds.
    store.update_status(&REPLICA_SETS, new).map(|_| ())
}
