//! Owns the counting of a Job's pods: each exactly once, whenever the process ends.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_object::path;

use super::look::{Look, Word};
use super::policy::{self, Verdict};
use super::{BURST, COMPONENT, indexes, is_tracked, release};
use crate::controllers::source::{is_going, name_of, namespace_of, number, uid_of};
use crate::controllers::{JOBS, PODS, pods};
use crate::refusal::Refusal;

impl Look<'_> {
    /// Counts what has ended, in a way that survives an end at any point: what is about to be
    /// counted is written down, then the pods are let go, then the counts are written.
    pub(super) fn track(
        &mut self,
        over: Option<Word>,
        mut changed: bool,
        time: &str,
    ) -> Result<(), Refusal> {
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

    pub(super) fn remember(&mut self) {
        if self.record.failures == 0 {
            self.backoff.remove(&self.key);
        } else {
            self.backoff.insert(self.key.clone(), self.record);
        }
    }

    /// A Job is over once every pod is counted and none still ends.
    pub(super) fn may_end(&self) -> bool {
        let waiting = self.uncounted("succeeded").len() + self.uncounted("failed").len();
        // What was deleted above and had no node is gone by now.
        let ending = self.pods.iter().filter_map(|p| {
            let live = self.world.store.get(&PODS, namespace_of(p), name_of(p))?;
            (uid_of(&live) == uid_of(p) && is_going(&live) && !pods::is_finished(&live))
                .then_some(())
        });
        waiting == 0 && ending.count() == 0
    }

    pub(super) fn tell_end(&mut self, word: &Word) {
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

    pub(super) fn set_uncounted(&mut self, list: &str, uids: Vec<String>) {
        let at = ["uncountedTerminatedPods", list];
        if uids.is_empty() {
            path::remove(&mut self.status, &at);
        } else {
            path::set(&mut self.status, &at, uids.into());
        }
    }

    /// Counts the pods that were let go. Answers whether there were any.
    pub(super) fn settle(&mut self, held: &BTreeSet<String>) -> bool {
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

    pub(super) fn write(&mut self) -> Result<(), Refusal> {
        let mut new = (*self.job).clone();
        path::set(&mut new, &["status"], self.status.clone());
        self.job = self.world.store.update_status(&JOBS, new)?;
        Ok(())
    }
}
