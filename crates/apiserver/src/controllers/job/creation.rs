//! Owns which pods of a Job are made and removed now, and what they are told of their number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::path;

use super::indexes::{self, INDEX};
use super::look::Look;
use super::policy::{self, Verdict};
use super::{BURST, Backoff, COMPONENT, FAILURES, TRACKING, ended};
use crate::controllers::pods;
use crate::controllers::source::{is_going, items, name_of};
use crate::controllers::world::is_ending;
use crate::refusal::Refusal;

impl Look<'_> {
    /// Makes what is missing, removes what is too much.
    pub(super) fn manage(&mut self, active: &mut i64) -> Result<(), Refusal> {
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

    pub(super) fn wait(&mut self, milliseconds: i64) {
        let wait = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
        self.queue.after(wait, self.key.clone());
    }

    /// The pods that go: those of a number that another has or none has, then the least useful.
    pub(super) fn surplus(&self, at_least: usize) -> Vec<Arc<Value>> {
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

    pub(super) fn create(&mut self, index: Option<i64>) -> Result<(), Refusal> {
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
            Err(refusal) if is_ending(&refusal) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// How often pods of this one's number failed before it.
pub(super) fn failures_of(pod: &Value) -> i64 {
    path::text(pod, &["metadata", "annotations", FAILURES])
        .parse()
        .unwrap_or_default()
}

/// Tells each container its pod's number.
pub(super) fn name_index(pod: &mut Value) {
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
