//! Owns one object during one pass: its status as it is written, and the events about it. It refuses
//! to know any kind.

use std::time::Duration;

use serde_json::{Value, json};
use weir_api::names::{EVENT_METADATA_PREFIX, FINALIZER, READY};
use weir_api::{Condition, ConditionStatus};
use weir_object::{Kind, Object};
use weir_runtime::conditions::requested_at;
use weir_runtime::{
    ApiClient, ApiFailure, EventKind, Outcome, Recorder, SharedClock, patch_status,
};

use crate::failure::{Failure, Next, Problem};
use crate::record::{self, At, Told};

/// Where an object is between coming and going. None of these kinds holds anything outside of the
/// object, so no finalizer is put on; one that another controller put on is taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is wanted.
    #[default]
    Wanted,
    /// Deletion was asked for, and it waits for our finalizer.
    Leaving,
    /// Deletion was asked for, and it does not wait for us.
    Left,
}

/// What a reconciler writes with.
pub(crate) struct Desk {
    pub(crate) kind: Kind,
    pub(crate) api: ApiClient,
    pub(crate) events: Recorder,
    pub(crate) clock: SharedClock,
}

/// One object during one pass.
pub(crate) struct Subject<'a, T> {
    desk: &'a Desk,
    pub(crate) object: Object,
    pub(crate) status: T,
    /// What `Ready` was before the pass, which decides what is news.
    before: Option<Condition>,
}

impl<'a, T: Told> Subject<'a, T> {
    pub(crate) fn new(desk: &'a Desk, object: &Object) -> Self {
        // A status that cannot be read was written by somebody else; it is made anew.
        let status = object
            .get(&["status"])
            .cloned()
            .map(serde_json::from_value::<T>);
        let status = status.and_then(Result::ok).unwrap_or_default();
        let before = Condition::find(status.conditions(), READY).cloned();
        Self {
            desk,
            object: object.clone(),
            status,
            before,
        }
    }

    pub(crate) fn life(&self) -> Life {
        let held = self.object.finalizers().any(|name| name == FINALIZER);
        match (self.object.is_deleting(), held) {
            (false, _) => Life::Wanted,
            (true, true) => Life::Leaving,
            (true, false) => Life::Left,
        }
    }

    pub(crate) fn suspended(&self) -> bool {
        self.object.get(&["spec", "suspend"]) == Some(&Value::Bool(true))
    }

    /// Whether the last pass succeeded, with this generation.
    pub(crate) fn settled(&self) -> bool {
        self.before.as_ref().is_some_and(Condition::is_true)
            && self.status.observed() == Some(self.object.generation())
    }

    /// Whether a reconciliation was asked for that was not handled yet.
    pub(crate) fn requested(&self) -> bool {
        let requested = requested_at(&self.object);
        requested.is_some() && requested != self.status.handled()
    }

    pub(crate) fn at(&self) -> At<'_> {
        At {
            generation: self.object.generation(),
            now: self.desk.clock.now(),
            requested: requested_at(&self.object),
        }
    }

    /// Says that work began, for a generation that is new.
    pub(crate) async fn working(&mut self) -> Result<(), ApiFailure> {
        if self.status.observed() == Some(self.object.generation()) {
            return Ok(());
        }
        let status = record::working(&self.status, self.at());
        self.record(status).await
    }

    /// Writes `status` as that of a pass that succeeded. Says whether it is news.
    pub(crate) async fn succeed(&mut self, status: &T, message: &str) -> Result<bool, ApiFailure> {
        let status = record::succeeded(status, message, self.at());
        self.record(status).await?;
        let same = |before: &Condition| before.is_true() && before.message == message;
        Ok(!self.before.as_ref().is_some_and(same))
    }

    /// Tells of a failure, as an event only where it is news.
    pub(crate) async fn fail(
        &mut self,
        failure: &Failure,
        interval: Duration,
    ) -> Result<Outcome, ApiFailure> {
        let status = record::failed(&self.status, failure, self.at());
        self.record(status).await?;
        self.warn_once(failure.reason, &failure.message);
        Ok(match failure.next {
            Next::Backoff => Outcome::Retry(failure.message.clone()),
            Next::Interval => Outcome::After(interval),
            Next::Change => Outcome::Wait,
        })
    }

    pub(crate) async fn stall(&mut self, problem: &Problem) -> Result<Outcome, ApiFailure> {
        let status = record::stalled(&self.status, problem, self.at());
        self.record(status).await?;
        self.warn_once(problem.reason, &problem.message);
        Ok(Outcome::Wait)
    }

    /// Marks a request as seen, and nothing else.
    pub(crate) async fn seen(&mut self) -> Result<(), ApiFailure> {
        let status = record::seen(&self.status, self.at());
        self.record(status).await
    }

    pub(crate) async fn release(&mut self) -> Result<Outcome, ApiFailure> {
        let Desk { api, kind, .. } = self.desk;
        match api.remove_finalizer(kind, &self.object, FINALIZER).await {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(Outcome::Wait),
        }
    }

    /// Writes the status where it differs, and goes on with the object as it then is.
    async fn record(&mut self, status: T) -> Result<(), ApiFailure> {
        let value = serde_json::to_value(&status).unwrap_or_else(|_| json!({}));
        let Desk { api, kind, .. } = self.desk;
        self.object = patch_status(api, kind, &self.object, &value).await?;
        self.status = status;
        Ok(())
    }

    fn warn_once(&self, reason: &str, message: &str) {
        let known = self.before.as_ref().is_some_and(|ready| {
            ready.status == ConditionStatus::False
                && ready.reason == reason
                && ready.message == message
        });
        if !known {
            self.tell(EventKind::Warning, reason, message);
        }
    }

    /// Tells of the object, with what its owner wants added.
    pub(crate) fn tell(&self, kind: EventKind, reason: &str, message: &str) {
        let annotations = self
            .object
            .get(&["metadata", "annotations"])
            .and_then(Value::as_object);
        let notes: Vec<(&str, &str)> = annotations
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(EVENT_METADATA_PREFIX)?, value.as_str()?))
            })
            .collect();
        self.desk
            .events
            .publish(&self.object, kind, reason, message, &notes);
    }
}
