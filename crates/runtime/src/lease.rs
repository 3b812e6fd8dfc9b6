//! Owns leadership by Lease (`coordination.k8s.io/v1`), as client-go's leader election does it: who
//! holds a Lease may act, renews it, and stops before anybody else may take it.
//!
//! # Guarantees
//! What a Lease says of time is never compared with this process's clock: a holder counts as gone
//! when its Lease did not change for its own duration *while it was watched here*. Every write
//! carries the resourceVersion it was decided on. A holder that cannot renew stops at
//! [`Terms::renew`], counted from the start of its last success, which is before
//! [`Terms::duration`] ends elsewhere.
//!
//! It refuses to fence: a Lease stops nobody's late write. Every effect of a reconciler follows an
//! intent that carries a resourceVersion, and that does.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use weir_object::{Key, Kind, Object};

use crate::{ApiClient, ApiFailure, SharedClock, Write};

/// `coordination.k8s.io/v1` Lease.
pub const LEASE: Kind = Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
/// Annotation: which holder was a Weir, so that its peers can tell it from another controller.
pub const WEIR: &str = "lease.weir.dev/holder";

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long others wait for a holder that gives no sign.
    pub duration: Duration,
    /// How long a holder tries to renew before it stops acting; less than `duration`.
    pub renew: Duration,
    /// Between two attempts, to renew or to take.
    pub retry: Duration,
}

impl Default for Terms {
    /// The defaults of client-go.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Times that allow two holders at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the lease duration {duration:?} must be longer than the renew deadline {renew:?}, and that \
     longer than the retry period {retry:?}"
)]
pub struct UnsafeTerms {
    duration: Duration,
    renew: Duration,
    retry: Duration,
}

impl Terms {
    /// Refuses times under which a holder could still act when another one may.
    ///
    /// # Errors
    /// [`UnsafeTerms`].
    pub fn checked(self) -> Result<Self, UnsafeTerms> {
        let Self {
            duration,
            renew,
            retry,
        } = self;
        if duration > renew && renew > retry && !retry.is_zero() {
            Ok(self)
        } else {
            Err(UnsafeTerms {
                duration,
                renew,
                retry,
            })
        }
    }
}

/// Who holds a Lease, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Not yet asked, or the API server did not answer.
    #[default]
    Unknown,
    /// This process.
    Held,
    /// Another Weir: this one stands by.
    Peer(String),
    /// A controller that is no Weir: this process does not act beside it.
    Foreign(String),
}

/// One Lease that somebody wants to hold.
pub struct Election {
    api: ApiClient,
    clock: SharedClock,
    key: Key,
    identity: String,
    terms: Terms,
    standing: watch::Sender<Standing>,
    /// The Lease as last seen, and since when it is so.
    seen: Option<(Seen, Instant)>,
    /// The Lease as this process last wrote it, while it is the holder.
    held: Option<Object>,
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    holder: String,
    weir: bool,
    duration: Duration,
    transitions: u64,
    version: String,
}

impl Seen {
    fn read(lease: &Object) -> Self {
        let number = |field| {
            let found = lease
                .get(&["spec", field])
                .and_then(serde_json::Value::as_u64);
            found.unwrap_or_default()
        };
        let holder = lease.text(&["spec", "holderIdentity"]).to_owned();
        Self {
            weir: !holder.is_empty() && lease.annotation(WEIR) == Some(&holder),
            holder,
            duration: Duration::from_secs(number("leaseDurationSeconds").min(3600)),
            transitions: number("leaseTransitions"),
            version: lease.resource_version().to_owned(),
        }
    }
}

/// What is to be done about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// There is none.
    Create,
    /// It is this process's already.
    Renew,
    /// Nobody holds it any more; the holder before, if it did not let go.
    Take(Option<String>),
    /// Somebody holds it.
    Wait,
}

fn decide(seen: Option<&Seen>, unchanged: Duration, identity: &str) -> Step {
    match seen {
        None => Step::Create,
        Some(seen) if seen.holder == identity => Step::Renew,
        Some(seen) if seen.holder.is_empty() => Step::Take(None),
        Some(seen) if unchanged >= seen.duration => Step::Take(Some(seen.holder.clone())),
        Some(_) => Step::Wait,
    }
}

/// A Lease that is held. Act while [`Leadership::lost`] is not cancelled. One that is dropped is not
/// renewed any more, and others have to wait for its end.
pub struct Leadership {
    /// Cancelled when the Lease could not be renewed in time, or somebody else has it.
    pub lost: CancellationToken,
    let_go: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Leadership {
    /// Lets go of the Lease, so that another holder need not wait. Nothing may act any more.
    pub async fn release(self) {
        self.let_go.cancel();
        // It ends by itself within one call's time; a failed release only makes others wait.
        let _ = self.task.await;
    }
}

impl Election {
    /// An election for the Lease `key`; `identity` must be of this process alone.
    pub fn new(
        api: ApiClient,
        clock: SharedClock,
        key: Key,
        identity: String,
        terms: Terms,
    ) -> Self {
        let (standing, _) = watch::channel(Standing::default());
        Self {
            api,
            clock,
            key,
            identity,
            terms,
            standing,
            seen: None,
            held: None,
        }
    }

    /// Who holds the Lease, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Waits until this process holds the Lease; `None` when stopped before.
    pub async fn campaign(mut self, stop: &CancellationToken) -> Option<Leadership> {
        loop {
            let began = Instant::now();
            match timeout(self.terms.renew, self.attempt()).await {
                Ok(Ok(true)) => return Some(self.hold(began)),
                Ok(Ok(false)) => {}
                Ok(Err(failure)) => {
                    tracing::warn!(lease = %self.key, %failure, "the lease could not be taken");
                }
                Err(_) => tracing::warn!(lease = %self.key, "the API server does not answer"),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(self.pause()) => {}
            }
        }
    }

    /// The time until the next attempt, up to a fifth longer, so that standbys do not ask at once.
    fn pause(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.identity, self.clock.now().as_second()).hash(&mut hasher);
        let part = (hasher.finish() % 1001) as f64 / 1000.0;
        self.terms.retry.mul_f64(1.0 + part / 5.0)
    }

    fn hold(mut self, mut renewed: Instant) -> Leadership {
        let (lost, let_go) = (CancellationToken::new(), CancellationToken::new());
        let (tell, told) = (lost.clone(), let_go.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            // Also when this task ends in a way that nobody thought of.
            let _tell = tell.drop_guard();
            loop {
                tokio::select! {
                    () = told.cancelled() => return self.give_up().await,
                    () = sleep(self.terms.retry) => {}
                }
                let began = Instant::now();
                let left = (renewed + self.terms.renew).saturating_duration_since(began);
                match timeout(left, self.attempt()).await {
                    Ok(Ok(true)) => renewed = began,
                    Ok(Ok(false)) => {
                        tracing::error!(lease = %self.key, "the lease was taken by another");
                        return;
                    }
                    Ok(Err(failure)) => {
                        tracing::warn!(lease = %self.key, %failure, "the lease was not renewed");
                    }
                    Err(_) => {}
                }
                if renewed.elapsed() >= self.terms.renew {
                    tracing::error!(lease = %self.key, "the lease could not be renewed in time");
                    self.standing.send_replace(Standing::Unknown);
                    return;
                }
            }
        }));
        Leadership { lost, let_go, task }
    }

    /// Renews, or looks, decides and writes, once; whether the Lease is this process's now.
    async fn attempt(&mut self) -> Result<bool, ApiFailure> {
        // What was written last is the precondition, so that renewing takes one call and not two:
        // with a slow API server that is the difference between holding and losing.
        if let Some(held) = self.held.take() {
            let write = Write::Replace(self.filled(held, None, true));
            match self.api.write(&LEASE, &self.key, write).await {
                Ok(object) => {
                    self.held = Some(object);
                    return Ok(true);
                }
                Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
                Err(failure) => return Err(failure),
            }
        }
        let live = self.api.get(&LEASE, &self.key).await?;
        let seen = live.as_ref().map(Seen::read);
        let now = Instant::now();
        let since = match (&self.seen, &seen) {
            (Some((before, since)), Some(seen)) if before.version == seen.version => *since,
            _ => now,
        };
        self.seen = seen.clone().map(|seen| (seen, since));
        let step = decide(seen.as_ref(), now - since, &self.identity);
        let renewal = step == Step::Renew;
        let write = match (&step, &seen, live) {
            (Step::Wait, Some(seen), _) => {
                self.stand(seen);
                return Ok(false);
            }
            (_, _, None) => {
                let (namespace, name) = (&self.key.namespace, &self.key.name);
                Write::Create(self.filled(
                    Object(
                        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                        "metadata": {"namespace": namespace, "name": name}}),
                    ),
                    None,
                    false,
                ))
            }
            (_, seen, Some(live)) => Write::Replace(self.filled(live, seen.as_ref(), renewal)),
        };
        match self.api.write(&LEASE, &self.key, write).await {
            Ok(object) => {
                self.seen = Some((Seen::read(&object), now));
                self.held = Some(object);
                if let Step::Take(Some(holder)) = step {
                    tracing::warn!(lease = %self.key, holder,
                        "took a leftover lease, whose holder gave no sign for its whole duration");
                }
                self.standing.send_replace(Standing::Held);
                Ok(true)
            }
            // Somebody was quicker: look again at the next attempt. Whose it is, only reading tells.
            Err(failure) if failure.is_conflict() || failure.is_already_exists() => {
                self.seen = None;
                Ok(renewal && self.still_held().await?)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn still_held(&self) -> Result<bool, ApiFailure> {
        let live = self.api.get(&LEASE, &self.key).await?;
        Ok(live.is_some_and(|lease| lease.text(&["spec", "holderIdentity"]) == self.identity))
    }

    fn stand(&self, seen: &Seen) {
        let holder = seen.holder.clone();
        let standing = if seen.weir {
            Standing::Peer(holder)
        } else {
            Standing::Foreign(holder)
        };
        self.standing.send_if_modified(|now| {
            let new = *now != standing;
            if new {
                match &standing {
                    Standing::Foreign(holder) => tracing::error!(lease = %self.key, holder,
                        "another controller holds the lease of these kinds; they are not worked on \
                         until it is gone: scale it to zero, or uninstall it"),
                    _ => tracing::info!(lease = %self.key, ?standing, "standing by"),
                }
                now.clone_from(&standing);
            }
            new
        });
    }

    /// The Lease with this process as its holder.
    fn filled(&self, mut lease: Object, seen: Option<&Seen>, renewal: bool) -> Object {
        let now = self
            .clock
            .now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string();
        let mut set = |path: &[&str], value| {
            weir_object::path::set(&mut lease.0, path, value);
        };
        set(
            &["metadata", "annotations", WEIR],
            self.identity.as_str().into(),
        );
        set(&["spec", "holderIdentity"], self.identity.as_str().into());
        let seconds = self.terms.duration.as_secs().max(1);
        set(&["spec", "leaseDurationSeconds"], seconds.into());
        set(&["spec", "renewTime"], now.as_str().into());
        if !renewal {
            let transitions = seen.map_or(0, |seen| seen.transitions + 1);
            set(&["spec", "acquireTime"], now.as_str().into());
            set(&["spec", "leaseTransitions"], transitions.into());
        }
        lease
    }

    async fn give_up(&mut self) {
        let release = async {
            let Some(mut lease) = self.api.get(&LEASE, &self.key).await? else {
                return Ok(());
            };
            if lease.text(&["spec", "holderIdentity"]) != self.identity {
                return Ok(());
            }
            // As client-go lets go: nobody holds it, and nobody has to wait.
            for (field, value) in [
                ("holderIdentity", json!("")),
                ("leaseDurationSeconds", json!(1)),
            ] {
                weir_object::path::set(&mut lease.0, &["spec", field], value);
            }
            let written = self
                .api
                .write(&LEASE, &self.key, Write::Replace(lease))
                .await;
            written.map(|_| ())
        };
        match timeout(self.terms.renew, release).await {
            Ok(Ok(())) => tracing::info!(lease = %self.key, "let go of the lease"),
            Ok(Err(failure)) => {
                tracing::warn!(lease = %self.key, %failure, "the lease was not let go of");
            }
            Err(_) => tracing::warn!(lease = %self.key, "the lease was not let go of in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str) -> Seen {
        Seen {
            holder: holder.to_owned(),
            weir: true,
            duration: Duration::from_secs(15),
            transitions: 0,
            version: "1".to_owned(),
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_holds_it_for_its_own_duration() {
        let after = |seconds| Duration::from_secs(seconds);
        let step = |lease: Option<&Seen>, unchanged| decide(lease, after(unchanged), "me");
        assert_eq!(step(None, 0), Step::Create);
        assert_eq!(step(Some(&seen("me")), 99), Step::Renew);
        assert_eq!(step(Some(&seen("")), 0), Step::Take(None));
        assert_eq!(step(Some(&seen("other")), 14), Step::Wait);
        let left = Step::Take(Some("other".to_owned()));
        assert_eq!(step(Some(&seen("other")), 15), left);
    }

    #[test]
    fn times_that_allow_two_holders_are_refused() {
        let terms = Terms::default();
        assert_eq!(terms.checked(), Ok(terms));
        for bad in [
            Terms {
                renew: terms.duration,
                ..terms
            },
            Terms {
                retry: terms.renew,
                ..terms
            },
            Terms {
                retry: Duration::ZERO,
                ..terms
            },
        ] {
            assert!(bad.checked().is_err(), "{bad:?}");
        }
    }
}
