//! Owns CronJob: a Job at each time of its schedule, named by that time so that none is made twice,
//! and a short history of those that are over.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::job::{finished_at, is_finished};
use super::pods::owner_of;
use super::schedule::Schedule;
use super::source::{
    Queue, Seen, controller, controller_key, is_going, items, name_of, namespace_of, uid_of,
};
use super::world::{World, is_ending};
use super::{CRON_JOBS, Control, JOBS, On};
use crate::call::stamp;
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

const COMPONENT: &str = "cronjob-controller";
/// After a time of the schedule, so that clocks that differ a little do not miss it.
const LATE: Duration = Duration::from_millis(100);
/// Times looked at in search of the last one that was missed.
const LOOKS: usize = 1000;

/// The controller.
pub(crate) struct CronJobs;

impl Control for CronJobs {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::CronJob, Seen::Put(cron)) => queue.add(key_of(cron)),
            (On::Job, Seen::Put(job) | Seen::Gone(job)) => {
                if let Some(key) = controller_key(job, "CronJob") {
                    queue.add(key);
                }
            }
            (On::Job, Seen::All) => {
                queue.add_all(&world.store.list(&CRON_JOBS, None, &Selector::default()).0);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(cron) = world.store.get(&CRON_JOBS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let uid = uid_of(&cron).to_owned();
        let mut jobs = world.store.owned(&uid, &JOBS);
        jobs.retain(|job| controller(job, "CronJob").is_some_and(|(_, of)| of == uid));
        let status = cron.get("status").cloned().unwrap_or_else(|| json!({}));
        let now = world.now();
        let mut look = Look {
            world,
            queue,
            cron: &cron,
            status,
            now,
        };
        look.forget_old(&jobs)?;
        let outcome = look.sync(&jobs);
        let status = look.status;
        if cron.get("status") != Some(&status) {
            let mut new = (*cron).clone();
            path::set(&mut new, &["status"], status);
            world.store.update_status(&CRON_JOBS, new)?;
        }
        outcome
    }
}

/// The last time that was due, and whether many were.
struct Due {
    last: Option<Timestamp>,
    earliest: Timestamp,
    missed: i64,
}

/// One look at a CronJob.
struct Look<'a> {
    world: &'a mut World,
    queue: &'a mut Queue,
    cron: &'a Arc<Value>,
    status: Value,
    now: Timestamp,
}

impl Look<'_> {
    fn active(&self) -> Vec<Value> {
        items(&self.status, &["active"]).cloned().collect()
    }

    fn set_active(&mut self, active: Vec<Value>) {
        if active.is_empty() {
            path::remove(&mut self.status, &["active"]);
        } else {
            path::set(&mut self.status, &["active"], active.into());
        }
    }

    fn drop_active(&mut self, uid: &str) {
        let mut active = self.active();
        active.retain(|a| path::text(a, &["uid"]) != uid);
        self.set_active(active);
    }

    fn is_active(&self, uid: &str) -> bool {
        self.active().iter().any(|a| path::text(a, &["uid"]) == uid)
    }

    fn normal(&mut self, reason: &str, message: &str) {
        self.world.normal(COMPONENT, self.cron, reason, message);
    }

    fn warning(&mut self, reason: &str, message: &str) {
        self.world.warning(COMPONENT, self.cron, reason, message);
    }

    /// Removes the oldest of the Jobs that are over, beyond the limits.
    fn forget_old(&mut self, jobs: &[Arc<Value>]) -> Result<(), Refusal> {
        for (kind, field) in [
            ("Complete", "successfulJobsHistoryLimit"),
            ("Failed", "failedJobsHistoryLimit"),
        ] {
            let limit = path::get(self.cron, &["spec", field]).and_then(Value::as_u64);
            let Some(limit) = limit.and_then(|l| usize::try_from(l).ok()) else {
                continue;
            };
            let mut over: Vec<&Arc<Value>> = jobs
                .iter()
                .filter(|j| finished_at(j).is_some_and(|c| path::text(c, &["type"]) == kind))
                .collect();
            over.sort_by_key(|j| {
                let start = path::text(j, &["status", "startTime"]).to_owned();
                (start.is_empty(), start, name_of(j).to_owned())
            });
            let many = over.len().saturating_sub(limit);
            for job in over.into_iter().take(many).filter(|j| !is_going(j)) {
                self.delete(job)?;
            }
        }
        Ok(())
    }

    fn delete(&mut self, job: &Value) -> Result<(), Refusal> {
        let outcome = self
            .world
            .store
            .delete(&JOBS, namespace_of(job), name_of(job));
        match outcome {
            Ok(()) | Err(Refusal::NotFound { .. }) => {
                self.drop_active(uid_of(job));
                self.normal("SuccessfulDelete", &format!("Deleted job {}", name_of(job)));
                Ok(())
            }
            Err(refusal) => {
                self.warning("FailedDelete", &format!("Deleted job: {refusal}"));
                Err(refusal)
            }
        }
    }

    /// Takes in what became of the Jobs that were started.
    fn follow(&mut self, jobs: &[Arc<Value>]) {
        for job in jobs {
            let found = self.is_active(uid_of(job));
            let Some(end) = finished_at(job) else {
                if !found {
                    let message = format!(
                        "Saw a job that the controller did not create or forgot: {}",
                        name_of(job)
                    );
                    self.warning("UnexpectedJob", &message);
                }
                continue;
            };
            let kind = path::text(end, &["type"]);
            if found {
                self.drop_active(uid_of(job));
                let message = format!("Saw completed job: {}, condition: {kind}", name_of(job));
                self.normal("SawCompletedJob", &message);
            }
            if kind == "Complete" {
                let at = path::text(job, &["status", "completionTime"]);
                // Times of one form order as text does.
                if at > path::text(&self.status, &["lastSuccessfulTime"]) {
                    path::set(&mut self.status, &["lastSuccessfulTime"], at.into());
                }
            }
        }
        for active in self.active() {
            let uid = path::text(&active, &["uid"]);
            let there = jobs.iter().any(|j| uid_of(j) == uid);
            let name = path::text(&active, &["name"]);
            let namespace = namespace_of(self.cron);
            if !there && self.world.store.get(&JOBS, namespace, name).is_none() {
                self.normal("MissingJob", &format!("Active job went missing: {name}"));
                self.drop_active(uid);
            }
        }
    }

    fn schedule(&mut self) -> Option<Schedule> {
        let text = path::text(self.cron, &["spec", "schedule"]);
        let named = path::text(self.cron, &["spec", "timeZone"]);
        let mut zone = TimeZone::UTC;
        if !named.is_empty() {
            match TimeZone::get(named) {
                Ok(found) => zone = found,
                Err(_) => {
                    let message =
                        format!("invalid timeZone: \"{named}\": unknown time zone {named}");
                    self.warning("UnknownTimeZone", &message);
                    return None;
                }
            }
        }
        if path::get(self.cron, &["spec", "suspend"]) == Some(&Value::Bool(true)) {
            return None;
        }
        if text.contains("TZ") {
            let message = format!(
                "CRON_TZ or TZ used in schedule \"{text}\" is not officially supported, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            );
            self.warning("UnsupportedSchedule", &message);
        }
        match Schedule::parse(text, zone) {
            Ok(schedule) => Some(schedule),
            Err(why) => {
                let message = format!("unparseable schedule: \"{text}\" : {why}");
                self.warning("UnparseableSchedule", &message);
                None
            }
        }
    }

    /// The last time that was due. `None` is a schedule that never is.
    fn due(&self, schedule: &Schedule, deadline: bool) -> Option<Due> {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let last = time(path::text(&self.status, &["lastScheduleTime"]));
        let born = time(path::text(self.cron, &["metadata", "creationTimestamp"]));
        let mut earliest = last.or(born).unwrap_or(self.now);
        let limit = path::get(self.cron, &["spec", "startingDeadlineSeconds"]);
        if let (true, Some(limit)) = (deadline, limit.and_then(Value::as_i64))
            && let Ok(floor) = self.now.checked_sub(SignedDuration::from_secs(limit))
        {
            earliest = earliest.max(floor);
        }
        let due = |last, missed| {
            Some(Due {
                last,
                earliest,
                missed,
            })
        };
        let first = schedule.next(earliest)?;
        let second = schedule.next(first)?;
        if self.now < first {
            return due(None, 0);
        }
        if self.now < second {
            return due(Some(first), 0);
        }
        let between = second.as_second() - first.as_second();
        if between < 1 {
            return None;
        }
        let missed = (self.now.as_second() - first.as_second()) / between + 1;
        // Near the end of what was missed, were all intervals equal.
        let skip = SignedDuration::from_secs((missed - 2) * between);
        let mut at = schedule.next(first.checked_add(skip).ok()?)?;
        let mut last = None;
        for _ in 0..LOOKS {
            if at > self.now {
                break;
            }
            last = Some(at);
            at = schedule.next(at)?;
        }
        due(last, missed)
    }

    fn wake_next(&mut self, schedule: &Schedule) {
        let from = match self.due(schedule, false) {
            Some(Due {
                last: Some(last), ..
            }) => last,
            Some(due) if due.missed == 0 => due.earliest,
            _ => self.now,
        };
        if let Some(next) = schedule.next(from) {
            let wait = next.as_millisecond() - self.now.as_millisecond();
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            self.queue.after(wait + LATE, key_of(self.cron));
        }
    }

    fn sync(&mut self, jobs: &[Arc<Value>]) -> Result<(), Refusal> {
        self.follow(jobs);
        if is_going(self.cron) {
            return Ok(());
        }
        let Some(schedule) = self.schedule() else {
            return Ok(());
        };
        let Some(due) = self.due(&schedule, true) else {
            let message = format!(
                "invalid schedule: {} : time difference between two schedules is less than 1 second",
                path::text(self.cron, &["spec", "schedule"])
            );
            self.warning("InvalidSchedule", &message);
            return Ok(());
        };
        let Some(at) = due.last else {
            self.wake_next(&schedule);
            return Ok(());
        };
        if due.missed > 100 {
            let message = "too many missed start times. Set or decrease \
                           .spec.startingDeadlineSeconds or check clock skew";
            self.warning("TooManyMissedTimes", message);
        }
        let limit = path::get(self.cron, &["spec", "startingDeadlineSeconds"]);
        let late = limit
            .and_then(Value::as_i64)
            .is_some_and(|limit| at.as_millisecond() + limit * 1000 < self.now.as_millisecond());
        if late {
            let message = format!(
                "Missed scheduled time to start a job: {}",
                at.strftime("%a, %d %b %Y %H:%M:%S +0000")
            );
            self.warning("MissSchedule", &message);
            self.wake_next(&schedule);
            return Ok(());
        }
        let name = format!("{}-{}", name_of(self.cron), at.as_second().div_euclid(60));
        let known = self
            .active()
            .iter()
            .any(|a| path::text(a, &["name"]) == name)
            || path::text(&self.status, &["lastScheduleTime"]) == stamp(at);
        if known {
            self.wake_next(&schedule);
            return Ok(());
        }
        match path::text(self.cron, &["spec", "concurrencyPolicy"]) {
            "Forbid" if !self.active().is_empty() => {
                let message = "Not starting job because prior execution is running and \
                               concurrency policy is Forbid";
                self.normal("JobAlreadyActive", message);
                self.wake_next(&schedule);
                return Ok(());
            }
            "Replace" => {
                for active in self.active() {
                    let name = path::text(&active, &["name"]);
                    let namespace = namespace_of(self.cron);
                    if let Some(job) = self.world.store.get(&JOBS, namespace, name) {
                        self.delete(&job)?;
                    }
                }
            }
            _ => {}
        }
        self.start(&name, at)?;
        self.wake_next(&schedule);
        Ok(())
    }

    fn start(&mut self, name: &str, at: Timestamp) -> Result<(), Refusal> {
        let template = path::get(self.cron, &["spec", "jobTemplate"])
            .cloned()
            .unwrap_or_default();
        let named = path::text(self.cron, &["spec", "timeZone"]);
        let zone = TimeZone::get(named).unwrap_or(TimeZone::UTC);
        let shown = if named.is_empty() {
            stamp(at)
        } else {
            at.to_zoned(zone)
                .strftime("%Y-%m-%dT%H:%M:%S%:z")
                .to_string()
        };
        let shown = shown.replace("+00:00", "Z");
        let mut object = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": namespace_of(self.cron),
                "ownerReferences": [owner_of(self.cron, "batch/v1", "CronJob")]},
            "spec": template.get("spec"),
        });
        for field in ["labels", "annotations"] {
            if let Some(value) = path::get(&template, &["metadata", field]) {
                path::set(&mut object, &["metadata", field], value.clone());
            }
        }
        let time = [
            "metadata",
            "annotations",
            "batch.kubernetes.io/cronjob-scheduled-timestamp",
        ];
        path::set(&mut object, &time, shown.into());
        let job = match self.world.store.create(&JOBS, object) {
            Ok(job) => {
                self.normal("SuccessfulCreate", &format!("Created job {name}"));
                job
            }
            // It was made before an end of this process, and not written down.
            Err(Refusal::AlreadyExists { .. }) => {
                let there = self.world.store.get(&JOBS, namespace_of(self.cron), name);
                let own = |job: &Arc<Value>| {
                    controller(job, "CronJob").is_some_and(|(_, of)| of == uid_of(self.cron))
                        && !is_finished(job)
                };
                match there.filter(own) {
                    Some(job) => job,
                    None => return Ok(()),
                }
            }
            Err(refusal) => {
                if !is_ending(&refusal) {
                    self.warning("FailedCreate", &format!("Error creating job: {refusal}"));
                }
                return Err(refusal);
            }
        };
        let mut active = self.active();
        active.push(
            json!({"kind": "Job", "namespace": namespace_of(&job), "name": name,
            "uid": uid_of(&job), "apiVersion": "batch/v1",
            "resourceVersion": path::text(&job, &["metadata", "resourceVersion"])}),
        );
        self.set_active(active);
        path::set(&mut self.status, &["lastScheduleTime"], stamp(at).into());
        Ok(())
    }
}
