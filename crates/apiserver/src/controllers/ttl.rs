//! Owns the end of Jobs that are over and say how long they are to be kept after that.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use weir_object::{Key, path};

use super::job::finished_at;
use super::source::{Queue, Seen, is_going, uid_of};
use super::world::World;
use super::{Control, JOBS, On};
use crate::call::{DeleteOptions, Propagation};
use crate::refusal::Refusal;
use crate::state::key_of;

/// The controller.
pub(crate) struct Finished;

impl Control for Finished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn note(&mut self, _: &World, queue: &mut Queue, on: On, seen: &Seen) {
        if let (On::Job, Seen::Put(job)) = (on, seen)
            && limit(job).is_some()
        {
            queue.add(key_of(job));
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(job) = world.store.get(&JOBS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let Some(limit) = limit(&job) else {
            return Ok(());
        };
        if is_going(&job) {
            return Ok(());
        }
        let left = limit - world.now().as_millisecond();
        if left > 0 {
            let wait = Duration::from_millis(u64::try_from(left).unwrap_or_default());
            queue.after(wait, key.clone());
            return Ok(());
        }
        let options = DeleteOptions {
            propagation: Some(Propagation::Foreground),
            uid: Some(uid_of(&job).to_owned()),
            ..DeleteOptions::default()
        };
        match world
            .store
            .remove(&JOBS, &key.namespace, &key.name, &options)
        {
            Err(Refusal::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

/// When a Job is to go, in milliseconds.
fn limit(job: &Value) -> Option<i64> {
    let keep = path::get(job, &["spec", "ttlSecondsAfterFinished"])?.as_i64()?;
    let ended = path::text(finished_at(job)?, &["lastTransitionTime"]);
    let ended: Timestamp = ended.parse().ok()?;
    Some(
        ended
            .as_millisecond()
            .saturating_add(keep.saturating_mul(1000)),
    )
}
