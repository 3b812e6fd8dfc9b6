//! Owns PodDisruptionBudget: how many of the pods it selects are well, how many must be, and so how
//! many may be evicted now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use weir_object::{Key, path, split_api_version};

use super::pods::is_ready;
use super::source::{
    Queue, Seen, controller_ref, is_going, items, name_of, namespace_of, number, selector_text,
    uid_of,
};
use super::world::{World, pod_selector};
use super::{BUDGETS, Control, DEPLOYMENTS, On, PODS, plan};
use crate::call::stamp;
use crate::objects;
use crate::refusal::Refusal;
use crate::scale;
use crate::selector::Selector;
use crate::state::key_of;

const COMPONENT: &str = "controllermanager";
/// Seconds in which an evicted pod is expected to begin to go.
const DELETION: i64 = 120;
/// Seconds after which a mark for disruption that led to nothing is taken back.
const STALE: i64 = 120;
/// Names a pod in the queue of budgets; no budget is called that.
const MARKED: &str = "pod/";

/// The controller.
pub(crate) struct Budgets;

impl Control for Budgets {
    fn name(&self) -> &'static str {
        "disruption"
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::DisruptionBudget, Seen::Put(budget)) => queue.add(key_of(budget)),
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                let none = Value::Null;
                let labels = path::get(pod, &["metadata", "labels"]).unwrap_or(&none);
                for key in world.selecting(On::DisruptionBudget, namespace_of(pod), labels) {
                    queue.add(key);
                }
                if matches!(seen, Seen::Put(_)) && marked_for(pod, world.now()).is_some() {
                    let name = format!("{MARKED}{}", name_of(pod));
                    queue.add(Key::new(namespace_of(pod), name));
                }
            }
            (On::Pod, Seen::All) => {
                queue.add_all(&world.store.list(&BUDGETS, None, &Selector::default()).0);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        if let Some(pod) = key.name.strip_prefix(MARKED) {
            return unmark(world, queue, key, pod);
        }
        let Some(budget) = world.store.get(&BUDGETS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let pods = match pod_selector(On::DisruptionBudget, &budget) {
            Some(selector) => world.pods(&key.namespace, &selector),
            None => Vec::new(),
        };
        if pods.is_empty() {
            world.normal(COMPONENT, &budget, "NoPods", "No matching pods found");
        }
        let mut status = match count(world, &budget, &pods) {
            Ok(counts) => allowed(world, queue, &budget, &pods, counts),
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                let reason = "CalculateExpectedPodCountFailed";
                world.warning(COMPONENT, &budget, reason, &message);
                let mut status = budget.get("status").cloned().unwrap_or_else(|| json!({}));
                path::set(&mut status, &["disruptionsAllowed"], 0.into());
                tell(&mut status, "SyncFailed", &why, world.now());
                status
            }
        };
        for field in ["currentHealthy", "desiredHealthy", "expectedPods"] {
            if status.get(field).is_none() {
                path::set(&mut status, &[field], 0.into());
            }
        }
        if budget.get("status") == Some(&status) {
            return Ok(());
        }
        let mut new = (*budget).clone();
        path::set(&mut new, &["status"], status);
        world.store.update_status(&BUDGETS, new).map(|_| ())
    }
}

/// The pods that there should be, and how many must be well.
struct Counts {
    expected: i64,
    desired: i64,
}

fn count(world: &mut World, budget: &Value, pods: &[Arc<Value>]) -> Result<Counts, String> {
    let field = |name| path::get(budget, &["spec", name]).cloned();
    if let Some(most) = field("maxUnavailable") {
        let expected = scales(world, budget, pods)?;
        let missing = plan::resolve(Some(&most), expected, true);
        return Ok(Counts {
            expected,
            desired: (expected - missing).max(0),
        });
    }
    match field("minAvailable") {
        Some(Value::Number(least)) => Ok(Counts {
            expected: pods.len() as i64,
            desired: least.as_i64().unwrap_or_default(),
        }),
        Some(share) => {
            let expected = scales(world, budget, pods)?;
            Ok(Counts {
                expected,
                desired: plan::resolve(Some(&share), expected, true),
            })
        }
        None => Ok(Counts {
            expected: 0,
            desired: 0,
        }),
    }
}

/// The sizes of all that controls the pods, added.
fn scales(world: &mut World, budget: &Value, pods: &[Arc<Value>]) -> Result<i64, String> {
    let mut seen: HashMap<String, (String, i64)> = HashMap::new();
    let mut unmanaged = false;
    for pod in pods {
        let Some(owner) = controller_ref(pod) else {
            unmanaged = true;
            continue;
        };
        let uid = path::text(owner, &["uid"]).to_owned();
        if seen.contains_key(&uid) {
            continue;
        }
        let found = size_of(world, namespace_of(pod), owner, 0)
            .ok_or_else(|| format!("found no controllers for pod \"{}\"", name_of(pod)))?;
        seen.insert(uid, found);
    }
    if unmanaged {
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As \
             a result, the status of the PDB cannot be calculated correctly, which may result in \
             undefined behavior. To account for these pods please set \".spec.minAvailable\" field \
             of the PDB to an integer value.",
            selector_text(path::get(budget, &["spec", "selector"]))
        );
        world.warning(COMPONENT, budget, "UnmanagedPods", &message);
    }
    // Several sets of one deployment count once.
    let sizes: BTreeMap<String, i64> = seen.into_values().collect();
    Ok(sizes.values().sum())
}

/// The uid and size of what an owner reference names: a replica set's is its deployment's.
fn size_of(world: &World, namespace: &str, owner: &Value, depth: u8) -> Option<(String, i64)> {
    let text = |field| path::text(owner, &[field]);
    let (group, _) = split_api_version(text("apiVersion"));
    let state = world.clock.read();
    let resource = state
        .registry
        .iter()
        .find(|r| r.is(group, text("kind")))
        .cloned()?;
    let scope = resource.kind.namespaced.then_some(namespace);
    let object = objects::get(&state, &resource, scope, text("name")).ok()?;
    drop(state);
    if uid_of(&object) != text("uid") {
        return None;
    }
    let above = controller_ref(&object).filter(|o| {
        text("kind") == "ReplicaSet" && path::text(o, &["kind"]) == DEPLOYMENTS.kind && depth == 0
    });
    if let Some(above) = above {
        return size_of(world, namespace, above, depth + 1);
    }
    let scale = scale::read(&resource, &object).ok()?;
    Some((
        uid_of(&object).to_owned(),
        number(&scale, &["spec", "replicas"]),
    ))
}

fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// The status by these counts; pods that were evicted and do not go are counted again.
fn allowed(
    world: &mut World,
    queue: &mut Queue,
    budget: &Value,
    pods: &[Arc<Value>],
    Counts { expected, desired }: Counts,
) -> Value {
    let now = world.now();
    let mut disrupted = Map::new();
    for pod in pods.iter().filter(|p| !is_going(p)) {
        let at = ["status", "disruptedPods", name_of(pod)];
        let Some(since) = path::get(budget, &at).and_then(Value::as_str) else {
            continue;
        };
        let left = seconds(since).unwrap_or_default() + DELETION - now.as_second();
        if left < 0 {
            let message = format!(
                "Pod was expected by PDB {0}/{0} to be deleted but it wasn't",
                namespace_of(budget)
            );
            world.warning(COMPONENT, pod, "NotDeleted", &message);
        } else {
            let wait = Duration::from_secs(u64::try_from(left).unwrap_or_default() + 1);
            queue.after(wait, key_of(budget));
            disrupted.insert(name_of(pod).to_owned(), since.into());
        }
    }
    let healthy = pods
        .iter()
        .filter(|p| !is_going(p) && is_ready(p) && !disrupted.contains_key(name_of(p)))
        .count() as i64;
    let spare = if expected > 0 {
        (healthy - desired).max(0)
    } else {
        0
    };
    let mut status = json!({
        "observedGeneration": number(budget, &["metadata", "generation"]),
        "disruptionsAllowed": spare, "currentHealthy": healthy, "desiredHealthy": desired,
        "expectedPods": expected,
    });
    if !disrupted.is_empty() {
        path::set(&mut status, &["disruptedPods"], disrupted.into());
    }
    if let Some(conditions) = path::get(budget, &["status", "conditions"]) {
        path::set(&mut status, &["conditions"], conditions.clone());
    }
    tell_allowed(&mut status, now);
    status
}

/// Says in the condition whether a disruption is allowed.
pub(crate) fn tell_allowed(status: &mut Value, now: Timestamp) {
    let reason = if number(status, &["disruptionsAllowed"]) > 0 {
        "SufficientPods"
    } else {
        "InsufficientPods"
    };
    tell(status, reason, "", now);
}

fn tell(status: &mut Value, reason: &str, message: &str, now: Timestamp) {
    let word = if reason == "SufficientPods" {
        "True"
    } else {
        "False"
    };
    let mut all: Vec<Value> = items(status, &["conditions"]).cloned().collect();
    let old = all
        .iter()
        .position(|c| path::text(c, &["type"]) == "DisruptionAllowed");
    let old = old.map(|at| all.remove(at));
    let since = old
        .as_ref()
        .filter(|c| path::text(c, &["status"]) == word)
        .map_or(stamp(now), |c| {
            path::text(c, &["lastTransitionTime"]).to_owned()
        });
    all.push(
        json!({"type": "DisruptionAllowed", "status": word, "reason": reason,
        "message": message, "lastTransitionTime": since,
        "observedGeneration": number(status, &["observedGeneration"])}),
    );
    path::set(status, &["conditions"], all.into());
}

/// How long a pod that lives on stays marked for disruption.
fn marked_for(pod: &Value, now: Timestamp) -> Option<i64> {
    if is_going(pod) || super::pods::is_finished(pod) {
        return None;
    }
    let mark = super::pods::condition(pod, "DisruptionTarget")?;
    let text = |field| path::text(mark, &[field]);
    if text("status") != "True" || text("reason") == "TerminationByKubelet" {
        return None;
    }
    let since = seconds(text("lastTransitionTime")).unwrap_or_default();
    Some((since + STALE - now.as_second()).max(0))
}

/// Takes back a mark for disruption that led to nothing.
fn unmark(world: &World, queue: &mut Queue, key: &Key, name: &str) -> Result<(), Refusal> {
    let Some(pod) = world.store.get(&PODS, &key.namespace, name) else {
        return Ok(());
    };
    match marked_for(&pod, world.now()) {
        None => Ok(()),
        Some(0) => {
            let mut new = (*pod).clone();
            let list = path::get_mut(&mut new, &["status", "conditions"]);
            for condition in list.and_then(Value::as_array_mut).into_iter().flatten() {
                if path::text(condition, &["type"]) == "DisruptionTarget" {
                    *condition = json!({"type": "DisruptionTarget", "status": "False",
                        "lastProbeTime": null, "lastTransitionTime": stamp(world.now())});
                }
            }
            world.store.update_status(&PODS, new).map(|_| ())
        }
        Some(left) => {
            let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
            queue.after(left, key.clone());
            Ok(())
        }
    }
}
