//! Owns what every pass does with its object: reading its status, writing it, and telling of it.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weir_api::names::{EVENT_METADATA_PREFIX, FINALIZER};
use weir_object::{Kind, Object};
use weir_runtime::conditions::requested_at;
use weir_runtime::{
    ApiClient, ApiFailure, EventKind, Outcome, Recorder, SharedClock, jittered, patch_status,
};

use crate::trouble::{Next, Trouble};
use crate::verdict::{At, Told, Verdict, pronounce, resting};

/// How often a status write starts anew when somebody wrote in between.
const STATUS_ATTEMPTS: usize = 5;

/// What the reconciler of one kind works with.
pub(crate) struct Desk {
    pub(crate) api: ApiClient,
    pub(crate) events: Recorder,
    pub(crate) clock: SharedClock,
    pub(crate) kind: Kind,
}

/// What an object says about itself beside its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Facts {
    /// Deletion was asked for.
    pub(crate) deleting: bool,
    /// The toolkit's finalizer is on it.
    pub(crate) finalizer: bool,
    /// `spec.suspend`.
    pub(crate) suspended: bool,
    /// A reconciliation is asked for that was not handled yet.
    pub(crate) asked: bool,
    /// The status speaks of this generation, and well.
    pub(crate) settled: bool,
}

/// One object in work, with its status.
pub(crate) struct Subject<'a, S> {
    pub(crate) desk: &'a Desk,
    pub(crate) object: Object,
    pub(crate) status: S,
    /// The generation that this pass speaks of, whatever comes meanwhile.
    generation: i64,
    requested: Option<String>,
}

impl<'a, S: Told + Default + Serialize + DeserializeOwned + PartialEq> Subject<'a, S> {
    pub(crate) fn new(desk: &'a Desk, object: &Object) -> Self {
        // A status that cannot be read was written by somebody else; it is made anew.
        let status = object
            .get(&["status"])
            .cloned()
            .map(serde_json::from_value::<S>);
        Self {
            desk,
            status: status.and_then(Result::ok).unwrap_or_default(),
            generation: object.generation(),
            requested: requested_at(object).map(str::to_owned),
            object: object.clone(),
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        let mut status = self.status.clone();
        let ready = status.is_ready();
        let (_, observed, handled) = status.parts();
        Facts {
            deleting: self.object.is_deleting(),
            finalizer: self.object.finalizers().any(|name| name == FINALIZER),
            suspended: self.object.get(&["spec", "suspend"]) == Some(&Value::Bool(true)),
            asked: self.requested.is_some() && *handled != self.requested,
            settled: ready && *observed == Some(self.generation),
        }
    }

    pub(crate) fn at(&self) -> At {
        At {
            generation: self.generation,
            now: self.desk.clock.now(),
            requested: self.requested.clone(),
        }
    }

    /// Says that a generation is looked at, where it was not before.
    pub(crate) async fn look(&mut self) -> Result<(), ApiFailure> {
        let observed = *self.status.clone().parts().1;
        if observed == Some(self.generation) {
            return Ok(());
        }
        let verdict = crate::verdict::looking(observed, self.generation);
        let status = pronounce(&self.status, &verdict, &self.at());
        self.record(status).await
    }

    /// Writes the status where it differs. Where somebody wrote in between, it is put on the object
    /// as it is then: nobody else writes this status, and what it tells of has happened.
    pub(crate) async fn record(&mut self, status: S) -> Result<(), ApiFailure> {
        let value = serde_json::to_value(&status).unwrap_or_else(|_| json!({}));
        let (api, kind) = (&self.desk.api, &self.desk.kind);
        let mut attempt = 1;
        loop {
            match patch_status(api, kind, &self.object, &value).await {
                Ok(object) => self.object = object,
                Err(failure) if failure.is_conflict() && attempt < STATUS_ATTEMPTS => {
                    attempt += 1;
                    match api.get(kind, &self.object.key()).await? {
                        Some(now) if now.uid() == self.object.uid() => self.object = now,
                        _ => return Err(failure),
                    }
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            self.status = status;
            return Ok(());
        }
    }

    /// At the interval, spread.
    pub(crate) fn next(&self, interval: Duration) -> Outcome {
        Outcome::After(jittered(interval, &self.object, self.at().now))
    }

    /// Records that the pass did not succeed, and tells of it.
    pub(crate) async fn fail(&mut self, trouble: &Trouble) -> Result<Outcome, ApiFailure> {
        let verdict = Verdict::Failed(trouble.clone());
        let status = pronounce(&self.status, &verdict, &self.at());
        let news = status != self.status;
        self.record(status).await?;
        if news || trouble.next == Next::Backoff {
            self.tell(EventKind::Warning, trouble.reason, &trouble.message);
        }
        Ok(match trouble.next {
            Next::Backoff => Outcome::Retry(trouble.message.clone()),
            Next::After(wait) => Outcome::After(wait),
            Next::Event | Next::Never => Outcome::Wait,
        })
    }

    /// Records that the object was seen resting.
    pub(crate) async fn rest(&mut self) -> Result<Outcome, ApiFailure> {
        let status = resting(&self.status, &self.at());
        self.record(status).await?;
        Ok(Outcome::Wait)
    }

    /// Lets a deleted object go. This room keeps nothing that would outlive it; the finalizer is one
    /// that another controller put on.
    pub(crate) async fn release(&self) -> Result<Outcome, ApiFailure> {
        let (api, kind) = (&self.desk.api, &self.desk.kind);
        match api.remove_finalizer(kind, &self.object, FINALIZER).await {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(Outcome::Wait),
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
