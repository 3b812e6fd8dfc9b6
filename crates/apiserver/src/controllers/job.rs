//! Owns Job: pods that run to completion, as many at once as wanted, tried again with growing
//! patience, each counted exactly once: a finalizer holds a pod until its end is in the status.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::job_indexes::{self as indexes, INDEX};
use super::job_policy::{self as policy, Verdict};
use super::pods::{self, condition};
use super::source::{
    Queue, Seen, controller, is_going, items, name_of, namespace_of, number, uid_of,
};
use super::world::World;
use super::{Control, JOBS, On, PODS};
use crate::call::stamp;
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

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

/// A condition that a Job gets, and what it becomes at the end.
struct Word {
    kind: &'static str,
    reason: String,
    message: String,
}

impl Word {
    fn new(kind: &'static str, reason: &str, message: &str) -> Self {
        Self {
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    fn of(kind: &'static str, condition: &Value) -> Self {
        let text = |field| path::text(condition, &[field]);
        Self::new(kind, text("reason"), text("message"))
    }
}

/// One look at a Job.
struct Look<'a> {
    world: &'a mut World,
    queue: &'a mut Queue,
    backoff: &'a mut HashMap<Key, Backoff>,
    key: Key,
    job: Arc<Value>,
    status: Value,
    pods: Vec<Arc<Value>>,
    now: Timestamp,
    active: Vec<Arc<Value>>,
    ready: i64,
    terminating: i64,
    succeeded: i64,
    failed: i64,
    /// Numbers that succeeded before this look, and with it.
    done_before: BTreeSet<i64>,
    done: BTreeSet<i64>,
    lost: Option<BTreeSet<i64>>,
    /// The last failed pod of each number that has no successor yet.
    held: BTreeMap<i64, Arc<Value>>,
    record: Backoff,
}

impl<'a> Look<'a> {
    fn begin(
        world: &'a mut World,
        queue: &'a mut Queue,
        backoff: &'a mut HashMap<Key, Backoff>,
        job: Arc<Value>,
    ) -> Result<Self, Refusal> {
        let pods = match Selector::from_object(path::get(&job, &["spec", "selector"])) {
            Some(selector) if !selector.is_everything() => {
                let reference = pods::owner_of(&job, "batch/v1", "Job");
                pods::claim(world, &job, &reference, On::Pod, &PODS, &selector)?
            }
            _ => world.store.owned(uid_of(&job), &PODS),
        };
        let mut status = job.get("status").cloned().unwrap_or_else(|| json!({}));
        if !status.is_object() {
            status = json!({});
        }
        if status.get("uncountedTerminatedPods").is_none() {
            path::set(&mut status, &["uncountedTerminatedPods"], json!({}));
        }
        let active: Vec<Arc<Value>> = pods
            .iter()
            .filter(|p| pods::is_active(p))
            .cloned()
            .collect();
        let ready = active.iter().filter(|p| pods::is_ready(p)).count() as i64;
        let ending = |p: &&Arc<Value>| is_going(p) && !pods::is_finished(p);
        let terminating = pods.iter().filter(ending).count() as i64;
        let key = key_of(&job);
        let now = world.now();
        let record = backoff.get(&key).copied().unwrap_or_default();
        let mut look = Self {
            world,
            queue,
            backoff,
            key,
            status,
            pods,
            now,
            active,
            ready,
            terminating,
            succeeded: 0,
            failed: 0,
            done_before: BTreeSet::new(),
            done: BTreeSet::new(),
            lost: None,
            held: BTreeMap::new(),
            record,
            job,
        };
        look.count();
        Ok(look)
    }

    fn spec(&self, field: &str) -> Option<i64> {
        path::get(&self.job, &["spec", field]).and_then(Value::as_i64)
    }

    fn completions(&self) -> Option<i64> {
        self.spec("completions")
    }

    fn is_indexed(&self) -> bool {
        path::text(&self.job, &["spec", "completionMode"]) == "Indexed"
    }

    fn is_suspended(&self) -> bool {
        path::get(&self.job, &["spec", "suspend"]) == Some(&Value::Bool(true))
    }

    /// Whether a pod is replaced only when it has ended.
    fn waits_for_end(&self) -> bool {
        path::text(&self.job, &["spec", "podReplacementPolicy"]) == "Failed"
    }

    fn has_failed(&self, pod: &Value) -> bool {
        match path::text(pod, &["status", "phase"]) {
            "Failed" => true,
            "Succeeded" => false,
            _ => is_going(pod) && !self.waits_for_end(),
        }
    }

    fn index_of(&self, pod: &Value) -> Option<i64> {
        indexes::of(pod).filter(|i| *i < self.completions().unwrap_or_default())
    }

    fn uncounted(&self, list: &str) -> Vec<String> {
        items(&self.status, &["uncountedTerminatedPods", list])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Counts what has ended, whether it is in the status already or not.
    fn count(&mut self) {
        let (good, bad) = (self.uncounted("succeeded"), self.uncounted("failed"));
        let valid = |p: &&Arc<Value>, known: &[String]| {
            is_tracked(p)
                && !known.iter().any(|uid| uid == uid_of(p))
                && (!self.is_indexed() || self.index_of(p).is_some())
        };
        let new_good: Vec<&Arc<Value>> = self
            .pods
            .iter()
            .filter(|p| path::text(p, &["status", "phase"]) == "Succeeded" && valid(p, &good))
            .collect();
        let new_bad: Vec<&Arc<Value>> = self
            .pods
            .iter()
            .filter(|p| self.has_failed(p) && valid(p, &bad))
            .collect();
        let counted = new_bad
            .iter()
            .filter(|p| policy::judge(&self.job, p) != Verdict::Ignore)
            .count();
        let is = |field: &str| number(&self.status, &[field]);
        let succeeded = is("succeeded") + new_good.len() as i64 + good.len() as i64;
        let failed = is("failed") + counted as i64 + bad.len() as i64;
        let record = &mut self.record;
        let last_good = new_good.iter().map(|p| ended(p)).max();
        if last_good.is_some() {
            *record = Backoff::default();
        }
        for at in new_bad.iter().map(|p| ended(p)) {
            if last_good.is_none_or(|good| at > good) {
                record.failures = record.failures.saturating_add(1);
                record.last = record.last.max(at);
            }
        }
        (self.succeeded, self.failed) = (succeeded, failed);
        if let (true, Some(completions)) = (self.is_indexed(), self.completions()) {
            self.count_indexes(completions);
        }
    }

    fn count_indexes(&mut self, completions: i64) {
        let text = |field| path::text(&self.status, &[field]);
        self.done_before = indexes::read(text("completedIndexes"), completions);
        let new = self.pods.iter().filter_map(|p| {
            let good = path::text(p, &["status", "phase"]) == "Succeeded" && is_tracked(p);
            self.index_of(p).filter(|_| good)
        });
        self.done = self.done_before.iter().copied().chain(new).collect();
        self.succeeded = self.done.len() as i64;
        let Some(limit) = self.spec("backoffLimitPerIndex") else {
            return;
        };
        let mut lost = indexes::read(text("failedIndexes"), completions);
        for pod in self
            .pods
            .iter()
            .filter(|p| is_tracked(p) && self.has_failed(p))
        {
            let Some(index) = self.index_of(pod) else {
                continue;
            };
            let over = match policy::judge(&self.job, pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => failures_of(pod) >= limit,
            };
            if over {
                lost.insert(index);
            }
        }
        let mut held: BTreeMap<i64, Arc<Value>> = BTreeMap::new();
        let live: BTreeSet<i64> = self.active.iter().filter_map(|p| indexes::of(p)).collect();
        for pod in self
            .pods
            .iter()
            .filter(|p| is_tracked(p) && self.has_failed(p))
        {
            let Some(index) = self.index_of(pod) else {
                continue;
            };
            if live.contains(&index) || self.done.contains(&index) || lost.contains(&index) {
                continue;
            }
            let rank = |p: &Value| (failures_of(p), ended(p));
            if held.get(&index).is_none_or(|old| rank(pod) >= rank(old)) {
                held.insert(index, pod.clone());
            }
        }
        self.held = held;
        self.lost = Some(lost);
    }

    /// Why the Job is over, if it is: what it is said to be on the way there.
    fn verdict(&mut self) -> Option<Word> {
        let told = |kind| {
            items(&self.status, &["conditions"])
                .find(|c| path::text(c, &["type"]) == kind && path::text(c, &["status"]) == "True")
        };
        if let Some(met) = told("SuccessCriteriaMet") {
            return Some(Word::of("SuccessCriteriaMet", met));
        }
        if let Some(target) = told("FailureTarget") {
            return Some(Word::of("Failed", target));
        }
        for pod in self.pods.iter().filter(|p| self.has_failed(p)) {
            if let Verdict::FailJob(message) = policy::judge(&self.job, pod) {
                return Some(Word::new("FailureTarget", "PodFailurePolicy", &message));
            }
        }
        let limit = self.spec("backoffLimit").unwrap_or(6);
        if self.failed > limit || self.restarts_exceed(limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(Word::new("FailureTarget", "BackoffLimitExceeded", message));
        }
        if let (Some(deadline), false) = (self.spec("activeDeadlineSeconds"), self.is_suspended()) {
            let start: Option<Timestamp> = path::text(&self.status, &["startTime"]).parse().ok();
            let left = start.map_or(deadline * 1000, |start| {
                start.as_millisecond() + deadline * 1000 - self.now.as_millisecond()
            });
            if left <= 0 {
                let message = "Job was active longer than specified deadline";
                return Some(Word::new("FailureTarget", "DeadlineExceeded", message));
            }
            let wait = Duration::from_millis(u64::try_from(left).unwrap_or_default());
            self.queue.after(wait, self.key.clone());
        }
        let completions = self.completions().unwrap_or_default();
        if let Some(lost) = &self.lost {
            let lost = lost.len() as i64;
            if self
                .spec("maxFailedIndexes")
                .is_some_and(|most| lost > most)
            {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return Some(Word::new(
                    "FailureTarget",
                    "MaxFailedIndexesExceeded",
                    message,
                ));
            }
            if lost > 0 && lost + self.done.len() as i64 >= completions {
                let message = "Job has failed indexes";
                return Some(Word::new("FailureTarget", "FailedIndexes", message));
            }
        }
        if self.is_indexed() {
            return policy::succeeded(&self.job, &self.done, completions)
                .map(|message| Word::new("SuccessCriteriaMet", "SuccessPolicy", &message));
        }
        None
    }

    /// Whether containers that are started again in their pods were so too often.
    fn restarts_exceed(&self, limit: i64) -> bool {
        let at = ["spec", "template", "spec", "restartPolicy"];
        if path::text(&self.job, &at) != "OnFailure" {
            return false;
        }
        let alive =
            |p: &&Arc<Value>| matches!(path::text(p, &["status", "phase"]), "Running" | "Pending");
        let restarts: i64 = self
            .pods
            .iter()
            .filter(alive)
            .flat_map(|p| {
                let own = items(p, &["status", "containerStatuses"]);
                own.chain(items(p, &["status", "initContainerStatuses"]))
            })
            .map(|c| number(c, &["restartCount"]))
            .sum();
        if limit == 0 {
            restarts > 0
        } else {
            restarts >= limit
        }
    }

    fn run(mut self) -> Result<(), Refusal> {
        let time = stamp(self.now);
        if path::text(&self.status, &["startTime"]).is_empty() && !self.is_suspended() {
            path::set(&mut self.status, &["startTime"], time.clone().into());
        }
        let mut over = self.verdict();
        let mut changed = false;
        let mut outcome = Ok(());
        let mut active = self.active.len() as i64;
        if over.is_some() {
            outcome = self.delete(&self.active.clone(), false, &mut active);
            if outcome.is_err() {
                over = None;
            }
        } else {
            let managed = !is_going(&self.job);
            if managed {
                outcome = self.manage(&mut active);
            }
            let complete = match self.completions() {
                None => self.succeeded > 0 && active == 0,
                Some(wanted) => self.succeeded >= wanted && active == 0,
            };
            if complete {
                let message = "Reached expected number of succeeded pods";
                over = Some(Word::new(
                    "SuccessCriteriaMet",
                    "CompletionsReached",
                    message,
                ));
            } else if managed {
                changed = self.tell_suspension(&time);
            }
        }
        for (field, value) in [("ready", self.ready), ("terminating", self.terminating)] {
            changed |= path::get(&self.status, &[field]) != Some(&value.into());
            path::set(&mut self.status, &[field], value.into());
        }
        changed |= number(&self.status, &["active"]) != active;
        self.put("active", active);
        self.track(over, changed, &time)?;
        outcome
    }

    /// Sets a count, which is left out when it is nothing.
    fn put(&mut self, field: &str, value: i64) {
        if value == 0 {
            path::remove(&mut self.status, &[field]);
        } else {
            path::set(&mut self.status, &[field], value.into());
        }
    }

    fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) -> bool {
        let time = stamp(self.now);
        let new = json!({"type": kind, "status": status, "lastProbeTime": time,
            "lastTransitionTime": time, "reason": reason, "message": message});
        let all = self.status.get("conditions").and_then(Value::as_array);
        let mut all = all.cloned().unwrap_or_default();
        match all.iter_mut().find(|c| path::text(c, &["type"]) == kind) {
            Some(old) => {
                let same = ["status", "reason", "message"]
                    .iter()
                    .all(|field| old.get(*field) == new.get(*field));
                if same {
                    return false;
                }
                *old = new;
            }
            None if status == "False" => return false,
            None => all.push(new),
        }
        path::set(&mut self.status, &["conditions"], all.into());
        true
    }

    fn tell_suspension(&mut self, time: &str) -> bool {
        let job = self.job.clone();
        if self.is_suspended() {
            let changed = self.set_condition("Suspended", "True", "JobSuspended", "Job suspended");
            if changed {
                self.world
                    .normal(COMPONENT, &job, "Suspended", "Job suspended");
            }
            return changed;
        }
        let changed = self.set_condition("Suspended", "False", "JobResumed", "Job resumed");
        if changed {
            self.world.normal(COMPONENT, &job, "Resumed", "Job resumed");
            // The deadline counts only while the Job is not suspended.
            path::set(&mut self.status, &["startTime"], time.into());
        }
        changed
    }

    fn delete(
        &mut self,
        pods: &[Arc<Value>],
        release_first: bool,
        active: &mut i64,
    ) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        for pod in pods {
            let mut result = Ok(());
            if release_first {
                result = release(self.world, pod);
            }
            let result =
                result.and_then(|()| pods::delete(self.world, COMPONENT, &self.job, name_of(pod)));
            if let Err(refusal) = result {
                outcome = Err(refusal);
                continue;
            }
            *active -= 1;
            self.ready -= i64::from(pods::is_ready(pod));
            self.terminating += 1;
        }
        outcome
    }

    /// Makes what is missing, removes what is too much.
    fn manage(&mut self, active: &mut i64) -> Result<(), Refusal> {
        if self.is_suspended() {
            return self.delete(&self.active.clone(), true, active);
        }
        let parallelism = self.spec("parallelism").unwrap_or(1);
        let wanted = match self.completions() {
            None if self.succeeded > 0 => *active,
            None => parallelism,
            Some(completions) => (completions - self.succeeded).min(parallelism).max(0),
        };
        let surplus = self.surplus((*active - wanted).max(0) as usize);
        if !surplus.is_empty() {
            return self.delete(&surplus, true, active);
        }
        let ending = if self.waits_for_end() {
            self.terminating
        } else {
            0
        };
        let missing = (wanted - ending - *active).clamp(0, BURST as i64) as usize;
        if missing == 0 {
            return Ok(());
        }
        let per_index = self.spec("backoffLimitPerIndex").is_some();
        let left = if per_index {
            0
        } else {
            self.record.left(self.now)
        };
        if left > 0 {
            self.wait(left);
            return Ok(());
        }
        if !self.is_indexed() {
            for _ in 0..missing {
                self.create(None)?;
                *active += 1;
            }
            return Ok(());
        }
        let mut taken: BTreeSet<i64> = self.done.clone();
        taken.extend(self.active.iter().filter_map(|p| indexes::of(p)));
        taken.extend(self.lost.iter().flatten());
        if self.waits_for_end() {
            let ending = self
                .pods
                .iter()
                .filter(|p| is_going(p) && !pods::is_finished(p));
            taken.extend(ending.filter_map(|p| indexes::of(p)));
        }
        let completions = self.completions().unwrap_or_default();
        for index in indexes::pending(&taken, completions, missing) {
            if per_index && let Some(last) = self.held.get(&index) {
                let record = Backoff {
                    failures: u32::try_from(failures_of(last) + 1).unwrap_or(u32::MAX),
                    last: ended(last),
                };
                let left = record.left(self.now);
                if left > 0 {
                    self.wait(left);
                    continue;
                }
            }
            self.create(Some(index))?;
            *active += 1;
        }
        Ok(())
    }

    fn wait(&mut self, milliseconds: i64) {
        let wait = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
        self.queue.after(wait, self.key.clone());
    }

    /// The pods that go: those of a number that another has or none has, then the least useful.
    fn surplus(&self, at_least: usize) -> Vec<Arc<Value>> {
        let mut left = self.active.clone();
        let mut out: Vec<Arc<Value>> = Vec::new();
        left.sort_by(|a, b| pods::by_usefulness(a, b));
        if self.is_indexed() {
            let mut kept = BTreeSet::new();
            let mut good = Vec::new();
            for pod in left.into_iter().rev() {
                match self.index_of(&pod) {
                    Some(index) if kept.insert(index) => good.push(pod),
                    _ => out.push(pod),
                }
            }
            good.reverse();
            left = good;
        }
        let more = at_least.saturating_sub(out.len());
        out.extend(left.into_iter().take(more));
        out.truncate(BURST);
        out
    }

    fn create(&mut self, index: Option<i64>) -> Result<(), Refusal> {
        let mut pod = pods::pod_of(&self.job, "batch/v1", "Job");
        let mut finalizers: Vec<Value> =
            items(&pod, &["metadata", "finalizers"]).cloned().collect();
        if !finalizers.iter().any(|f| f == TRACKING) {
            finalizers.push(TRACKING.into());
        }
        path::set(&mut pod, &["metadata", "finalizers"], finalizers.into());
        if let Some(index) = index {
            let name = name_of(&self.job).to_owned();
            let text = index.to_string();
            path::set(
                &mut pod,
                &["metadata", "annotations", INDEX],
                text.clone().into(),
            );
            path::set(&mut pod, &["metadata", "labels", INDEX], text.into());
            path::set(
                &mut pod,
                &["spec", "hostname"],
                format!("{name}-{index}").into(),
            );
            let prefix: String = format!("{name}-{index}-").chars().take(58).collect();
            path::set(&mut pod, &["metadata", "generateName"], prefix.into());
            if self.spec("backoffLimitPerIndex").is_some() {
                let before = self.held.get(&index);
                let count = before.map_or(0, |last| {
                    let ignored = policy::judge(&self.job, last) == Verdict::Ignore;
                    failures_of(last) + i64::from(!ignored)
                });
                let at = ["metadata", "annotations", FAILURES];
                path::set(&mut pod, &at, count.to_string().into());
            }
            name_index(&mut pod);
        }
        match pods::create(self.world, COMPONENT, &self.job, pod) {
            // All that follows would fail alike, until the namespace is gone.
            Err(refusal) if super::world::is_ending(&refusal) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Counts what has ended, in a way that survives an end at any point: what is about to be
    /// counted is written down, then the pods are let go, then the counts are written.
    fn track(&mut self, over: Option<Word>, mut changed: bool, time: &str) -> Result<(), Refusal> {
        let held: BTreeSet<String> = self
            .pods
            .iter()
            .filter(|p| is_tracked(p))
            .map(|p| uid_of(p).to_owned())
            .collect();
        changed |= self.settle(&held);
        let mut pods = self.pods.clone();
        if self.is_indexed() {
            pods.sort_by_key(|p| indexes::of(p));
        }
        let (mut letting_go, mut new_done) = (Vec::new(), BTreeSet::new());
        let (mut good, mut bad) = (self.uncounted("succeeded"), self.uncounted("failed"));
        let failing = over
            .as_ref()
            .is_some_and(|w| w.kind != "SuccessCriteriaMet");
        let mut all_seen = true;
        for pod in pods.iter().filter(|p| is_tracked(p)) {
            let success = path::text(pod, &["status", "phase"]) == "Succeeded";
            let failure = self.has_failed(pod);
            let held = self
                .index_of(pod)
                .and_then(|i| self.held.get(&i))
                .is_some_and(|p| uid_of(p) == uid_of(pod));
            let ends = is_going(&self.job) || over.is_some() || success || (failure && !held);
            if !ends {
                continue;
            }
            letting_go.push(pod.clone());
            let uid = uid_of(pod).to_owned();
            let index = self.index_of(pod);
            if success && !bad.contains(&uid) {
                if self.is_indexed() {
                    if let Some(index) = index.filter(|i| !self.done_before.contains(i)) {
                        new_done.insert(index);
                        changed = true;
                    }
                } else if !good.contains(&uid) {
                    good.push(uid);
                    changed = true;
                }
            } else if (failure || failing)
                && !bad.contains(&uid)
                && (!self.is_indexed() || index.is_some())
                && policy::judge(&self.job, pod) != Verdict::Ignore
            {
                bad.push(uid);
                changed = true;
            }
            if new_done.len() + good.len() + bad.len() >= BURST {
                all_seen = false;
                break;
            }
        }
        self.set_uncounted("succeeded", good);
        self.set_uncounted("failed", bad);
        if self.is_indexed() {
            let done: BTreeSet<i64> = self.done.union(&new_done).copied().collect();
            let text = indexes::write(&done);
            changed |= text != path::text(&self.status, &["completedIndexes"]);
            if text.is_empty() {
                path::remove(&mut self.status, &["completedIndexes"]);
            } else {
                path::set(&mut self.status, &["completedIndexes"], text.into());
            }
            self.put("succeeded", done.len() as i64);
            if let Some(lost) = &self.lost {
                let text: Value = indexes::write(lost).into();
                changed |= path::get(&self.status, &["failedIndexes"]) != Some(&text);
                path::set(&mut self.status, &["failedIndexes"], text);
            }
        }
        let last = over.map(|word| {
            let told = matches!(word.kind, "FailureTarget" | "SuccessCriteriaMet");
            if told && self.set_condition(word.kind, "True", &word.reason, &word.message) {
                changed = true;
            }
            let kind = if word.kind == "SuccessCriteriaMet" {
                "Complete"
            } else {
                "Failed"
            };
            Word { kind, ..word }
        });
        if changed {
            self.write()?;
        }
        self.remember();
        let mut left = held;
        for pod in &letting_go {
            release(self.world, pod)?;
            left.remove(uid_of(pod));
        }
        let mut changed = self.settle(&left);
        let ended = last.filter(|_| all_seen && self.may_end());
        if let Some(word) = &ended {
            path::set(&mut self.status, &["terminating"], 0.into());
            self.set_condition(word.kind, "True", &word.reason, &word.message);
            if word.kind == "Complete" {
                path::set(&mut self.status, &["completionTime"], time.into());
            }
            changed = true;
        }
        if changed {
            self.write()?;
        }
        if let Some(word) = ended {
            self.tell_end(&word);
        }
        Ok(())
    }

    fn remember(&mut self) {
        if self.record.failures == 0 {
            self.backoff.remove(&self.key);
        } else {
            self.backoff.insert(self.key.clone(), self.record);
        }
    }

    /// A Job is over once every pod is counted and none still ends.
    fn may_end(&self) -> bool {
        let waiting = self.uncounted("succeeded").len() + self.uncounted("failed").len();
        // What was deleted above and had no node is gone by now.
        let ending = self.pods.iter().filter_map(|p| {
            let live = self.world.store.get(&PODS, namespace_of(p), name_of(p))?;
            (uid_of(&live) == uid_of(p) && is_going(&live) && !pods::is_finished(&live))
                .then_some(())
        });
        waiting == 0 && ending.count() == 0
    }

    fn tell_end(&mut self, word: &Word) {
        let job = self.job.clone();
        if word.kind == "Complete" {
            let many = number(&self.status, &["succeeded"]);
            if self.completions().is_some_and(|wanted| many > wanted) {
                let message = "Too many succeeded pods running after completion count reached";
                self.world
                    .warning(COMPONENT, &job, "TooManySucceededPods", message);
            }
            self.world
                .normal(COMPONENT, &job, "Completed", "Job completed");
        } else {
            self.world
                .warning(COMPONENT, &job, &word.reason, &word.message);
        }
    }

    fn set_uncounted(&mut self, list: &str, uids: Vec<String>) {
        let at = ["uncountedTerminatedPods", list];
        if uids.is_empty() {
            path::remove(&mut self.status, &at);
        } else {
            path::set(&mut self.status, &at, uids.into());
        }
    }

    /// Counts the pods that were let go. Answers whether there were any.
    fn settle(&mut self, held: &BTreeSet<String>) -> bool {
        let mut changed = false;
        for list in ["succeeded", "failed"] {
            let uids = self.uncounted(list);
            let left: Vec<String> = uids.iter().filter(|u| held.contains(*u)).cloned().collect();
            if left.len() < uids.len() {
                let count = number(&self.status, &[list]) + (uids.len() - left.len()) as i64;
                self.put(list, count);
                self.set_uncounted(list, left);
                changed = true;
            }
        }
        changed
    }

    fn write(&mut self) -> Result<(), Refusal> {
        let mut new = (*self.job).clone();
        path::set(&mut new, &["status"], self.status.clone());
        self.job = self.world.store.update_status(&JOBS, new)?;
        Ok(())
    }
}

/// How often pods of this one's number failed before it.
fn failures_of(pod: &Value) -> i64 {
    path::text(pod, &["metadata", "annotations", FAILURES])
        .parse()
        .unwrap_or_default()
}

/// Tells each container its pod's number.
fn name_index(pod: &mut Value) {
    let field = format!("metadata.labels['{INDEX}']");
    for list in ["initContainers", "containers"] {
        let all = path::get_mut(pod, &["spec", list]).and_then(Value::as_array_mut);
        for container in all.into_iter().flatten() {
            let known = items(container, &["env"])
                .any(|e| path::text(e, &["name"]) == "JOB_COMPLETION_INDEX");
            if known {
                continue;
            }
            let mut env: Vec<Value> = items(container, &["env"]).cloned().collect();
            env.push(json!({"name": "JOB_COMPLETION_INDEX",
                "valueFrom": {"fieldRef": {"fieldPath": field}}}));
            path::set(container, &["env"], env.into());
        }
    }
}
