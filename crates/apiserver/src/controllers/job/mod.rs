//! Owns Job: pods that run to completion, as many at once as wanted, tried again with growing
//! patience, each counted exactly once: a finalizer holds a pod until its end is in the status.

mod creation;
mod indexes;
mod look;
mod policy;
mod tracking;

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::pods::{self, condition};
use super::source::{Queue, Seen, controller, items, name_of, namespace_of, number, uid_of};
use super::world::World;
use super::{Control, JOBS, On, PODS};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;
use look::Look;

const COMPONENT: &str = "job-controller";
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Pods made, removed or counted in one look.
const BURST: usize = 500;
/// Between a failure and the next try.
const FIRST_WAIT: i64 = 10_000;
const LAST_WAIT: i64 = 600_000;
/// Names a pod in the queue of Jobs; no Job is called that.
const LOOSE: &str = "pod/";

/// The controller.
#[derive(Default)]
pub(crate) struct Jobs {
    backoff: HashMap<Key, Backoff>,
}

/// How often in a row pods failed, and when last.
#[derive(Clone, Copy, Default)]
struct Backoff {
    failures: u32,
    last: i64,
}

impl Backoff {
    /// Milliseconds until the next try.
    fn left(self, now: Timestamp) -> i64 {
        if self.failures == 0 {
            return 0;
        }
        let doubled = FIRST_WAIT.saturating_mul(1 << (self.failures - 1).min(20));
        (self.last + doubled.min(LAST_WAIT) - now.as_millisecond()).max(0)
    }
}

impl Control for Jobs {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Job, Seen::Put(job)) => queue.add(key_of(job)),
            (On::Job, Seen::Gone(job)) => {
                self.backoff.remove(&key_of(job));
                for pod in world.store.owned(uid_of(job), &PODS) {
                    queue.add(loose(&pod));
                }
            }
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                pods::wake(world, queue, On::Job, "Job", pod);
                if matches!(seen, Seen::Put(_)) && is_tracked(pod) {
                    queue.add(loose(pod));
                }
            }
            (On::Pod, Seen::All) => {
                queue.add_all(&world.store.list(&JOBS, None, &Selector::default()).0);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        if let Some(name) = key.name.strip_prefix(LOOSE) {
            return release_loose(world, &key.namespace, name);
        }
        let Some(job) = world.store.get(&JOBS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let manager = path::text(&job, &["spec", "managedBy"]);
        if !manager.is_empty() && manager != "kubernetes.io/job-controller" {
            return Ok(());
        }
        if is_finished(&job) {
            self.backoff.remove(key);
            return Ok(());
        }
        Look::begin(world, queue, &mut self.backoff, job)?.run()
    }
}

fn loose(pod: &Value) -> Key {
    Key::new(namespace_of(pod), format!("{LOOSE}{}", name_of(pod)))
}

/// Whether a Job is over.
pub(crate) fn is_finished(job: &Value) -> bool {
    finished_at(job).is_some()
}

/// The condition with which a Job is over.
pub(crate) fn finished_at(job: &Value) -> Option<&Value> {
    let done = |kind| condition(job, kind).filter(|c| path::text(c, &["status"]) == "True");
    done("Complete").or_else(|| done("Failed"))
}

fn is_tracked(pod: &Value) -> bool {
    items(pod, &["metadata", "finalizers"]).any(|f| f == TRACKING)
}

/// Lets go of a pod whose Job is gone or over: nobody will count it.
fn release_loose(world: &World, namespace: &str, name: &str) -> Result<(), Refusal> {
    let Some(pod) = world.store.get(&PODS, namespace, name) else {
        return Ok(());
    };
    if !is_tracked(&pod) {
        return Ok(());
    }
    if let Some((owner, uid)) = controller(&pod, "Job")
        && let Some(job) = world.store.get(&JOBS, namespace, owner)
        && uid_of(&job) == uid
        && !is_finished(&job)
    {
        return Ok(());
    }
    release(world, &pod)
}

/// Removes the tracking finalizer.
fn release(world: &World, pod: &Value) -> Result<(), Refusal> {
    let (namespace, name) = (namespace_of(pod), name_of(pod));
    let Some(live) = world.store.get(&PODS, namespace, name) else {
        return Ok(());
    };
    if uid_of(&live) != uid_of(pod) || !is_tracked(&live) {
        return Ok(());
    }
    let left: Vec<&Value> = items(&live, &["metadata", "finalizers"])
        .filter(|f| *f != TRACKING)
        .collect();
    let left = if left.is_empty() {
        Value::Null
    } else {
        json!(left)
    };
    let patch = json!({"metadata": {"uid": uid_of(pod), "finalizers": left}});
    match world.store.patch(&PODS, namespace, name, patch) {
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// When a pod ended, in milliseconds.
fn ended(pod: &Value) -> i64 {
    let time = |text: &str| {
        text.parse::<Timestamp>()
            .ok()
            .map(Timestamp::as_millisecond)
    };
    let containers: Vec<Option<i64>> = items(pod, &["status", "containerStatuses"])
        .map(|c| time(path::text(c, &["state", "terminated", "finishedAt"])))
        .collect();
    if !containers.is_empty()
        && let Some(all) = containers.into_iter().collect::<Option<Vec<i64>>>()
    {
        return all.into_iter().max().unwrap_or_default();
    }
    let unready = condition(pod, "Ready")
        .filter(|c| path::text(c, &["status"]) == "False")
        .and_then(|c| time(path::text(c, &["lastTransitionTime"])));
    let deleted = || {
        let at = time(path::text(pod, &["metadata", "deletionTimestamp"]))?;
        Some(at - 1000 * number(pod, &["metadata", "deletionGracePeriodSeconds"]))
    };
    unready
        .or_else(deleted)
        .or_else(|| time(path::text(pod, &["metadata", "creationTimestamp"])))
        .unwrap_or_default()
}
