//! Owns one look at a Job: what has ended since the last one, whether the Job is over by that, and
//! the order in which all is done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::creation::failures_of;
use super::policy::{self, Verdict};
use super::{Backoff, COMPONENT, ended, indexes, is_tracked, release};
use crate::call::stamp;
use crate::controllers::source::{Queue, is_going, items, name_of, number, uid_of};
use crate::controllers::world::World;
use crate::controllers::{On, PODS, pods};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

/// A condition that a Job gets, and what it becomes at the end.
pub(super) struct Word {
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Word {
    pub(super) fn new(kind: &'static str, reason: &str, message: &str) -> Self {
        Self {
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    pub(super) fn of(kind: &'static str, condition: &Value) -> Self {
        let text = |field| path::text(condition, &[field]);
        Self::new(kind, text("reason"), text("message"))
    }
}
/// One look at a Job.
pub(super) struct Look<'a> {
    pub(super) world: &'a mut World,
    pub(super) queue: &'a mut Queue,
    pub(super) backoff: &'a mut HashMap<Key, Backoff>,
    pub(super) key: Key,
    pub(super) job: Arc<Value>,
    pub(super) status: Value,
    pub(super) pods: Vec<Arc<Value>>,
    pub(super) now: Timestamp,
    pub(super) active: Vec<Arc<Value>>,
    pub(super) ready: i64,
    pub(super) terminating: i64,
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    /// Numbers that succeeded before this look, and with it.
    pub(super) done_before: BTreeSet<i64>,
    pub(super) done: BTreeSet<i64>,
    pub(super) lost: Option<BTreeSet<i64>>,
    /// The last failed pod of each number that has no successor yet.
    pub(super) held: BTreeMap<i64, Arc<Value>>,
    pub(super) record: Backoff,
}

impl<'a> Look<'a> {
    pub(super) fn begin(
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

    pub(super) fn spec(&self, field: &str) -> Option<i64> {
        path::get(&self.job, &["spec", field]).and_then(Value::as_i64)
    }

    pub(super) fn completions(&self) -> Option<i64> {
        self.spec("completions")
    }

    pub(super) fn is_indexed(&self) -> bool {
        path::text(&self.job, &["spec", "completionMode"]) == "Indexed"
    }

    pub(super) fn is_suspended(&self) -> bool {
        path::get(&self.job, &["spec", "suspend"]) == Some(&Value::Bool(true))
    }

    /// Whether a pod is replaced only when it has ended.
    pub(super) fn waits_for_end(&self) -> bool {
        path::text(&self.job, &["spec", "podReplacementPolicy"]) == "Failed"
    }

    pub(super) fn has_failed(&self, pod: &Value) -> bool {
        match path::text(pod, &["status", "phase"]) {
            "Failed" => true,
            "Succeeded" => false,
            _ => is_going(pod) && !self.waits_for_end(),
        }
    }

    /// The pods that failed and are not counted yet, with their indices.
    fn failed_with_index(&self) -> impl Iterator<Item = (i64, &Arc<Value>)> {
        let failed = self.pods.iter();
        let failed = failed.filter(|p| is_tracked(p) && self.has_failed(p));
        failed.filter_map(|p| Some((self.index_of(p)?, p)))
    }

    pub(super) fn index_of(&self, pod: &Value) -> Option<i64> {
        indexes::of(pod).filter(|i| *i < self.completions().unwrap_or_default())
    }

    pub(super) fn uncounted(&self, list: &str) -> Vec<String> {
        items(&self.status, &["uncountedTerminatedPods", list])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Counts what has ended, whether it is in the status already or not.
    pub(super) fn count(&mut self) {
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

    pub(super) fn count_indexes(&mut self, completions: i64) {
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
        for (index, pod) in self.failed_with_index() {
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
        for (index, pod) in self.failed_with_index() {
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
    pub(super) fn verdict(&mut self) -> Option<Word> {
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
    pub(super) fn restarts_exceed(&self, limit: i64) -> bool {
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

    pub(super) fn run(mut self) -> Result<(), Refusal> {
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
    pub(super) fn put(&mut self, field: &str, value: i64) {
        if value == 0 {
            path::remove(&mut self.status, &[field]);
        } else {
            path::set(&mut self.status, &[field], value.into());
        }
    }

    pub(super) fn set_condition(
        &mut self,
        kind: &str,
        status: &str,
        reason: &str,
        message: &str,
    ) -> bool {
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

    pub(super) fn tell_suspension(&mut self, time: &str) -> bool {
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

    pub(super) fn delete(
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
}
