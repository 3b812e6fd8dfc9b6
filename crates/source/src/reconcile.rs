//! Owns one pass over a GitRepository: gathers the facts, has them decided, and performs the plan.
//!
//! # Flow
//! 1. Prove the stored artifact; remove old ones.
//! 2. Decide; where the remote matters, ask it (one listing of references) and decide again.
//! 3. Where an artifact is to be made: say so in the status, fetch, store, then point to it. A crash
//!    before the last step leaves a file that the next pass overwrites or sweeps.
//!
//! # Guarantees
//! A pass that changes nothing writes nothing. The artifact that the status names is served until a
//! newer one is stored. An object that cannot be read stalls alone.

use std::time::Duration;

use serde_json::{Value, json};
use weir_api::git_repository::{KIND, Spec, Status};
use weir_api::names::{EVENT_METADATA_PREFIX, FINALIZER, SOURCE_GROUP, reason};
use weir_api::{Artifact, GitRepository};
use weir_artifact::{Held, Ignore, Owner, Storage};
use weir_git::{Checkout, Git, Reference, Remote};
use weir_object::{Key, Object};
use weir_runtime::conditions::requested_at;
use weir_runtime::{
    ApiClient, ApiFailure, EventKind, Outcome, Reconciler, Recorder, SharedClock, Store, jittered,
    patch_status,
};

use crate::access;
use crate::decide::{Life, Observation, Plan, Stored, Upstream, Why, decide};
use crate::failure::{Failure, Next};
use crate::record::{self, At};
use crate::spec::{self, Choice, Problem, Wanted};

/// The reconciler of GitRepository.
pub(crate) struct GitRepositories {
    pub(crate) api: ApiClient,
    pub(crate) events: Recorder,
    pub(crate) clock: SharedClock,
    pub(crate) store: std::sync::Arc<Store>,
    pub(crate) storage: Storage,
    pub(crate) git: Git,
    pub(crate) base_url: String,
}

#[async_trait::async_trait]
impl Reconciler for GitRepositories {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
            return Outcome::Wait;
        };
        let mut pass = Pass::new(self, &object);
        match pass.run().await {
            Ok(outcome) => outcome,
            // Somebody wrote in between, or the API server is away: observe again.
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

/// One pass over one object.
struct Pass<'a> {
    all: &'a GitRepositories,
    object: Object,
    status: Status,
}

/// What the remote was asked with and what it is asked for.
struct Asked {
    remote: Remote,
    reference: Reference,
}

impl<'a> Pass<'a> {
    fn new(all: &'a GitRepositories, object: &Object) -> Self {
        // A status that cannot be read was written by somebody else; it is made anew.
        let status = object
            .get(&["status"])
            .cloned()
            .map(serde_json::from_value::<Status>);
        let status = status.and_then(Result::ok).unwrap_or_default();
        Self {
            all,
            object: object.clone(),
            status,
        }
    }

    async fn run(&mut self) -> Result<Outcome, ApiFailure> {
        let spec = GitRepository::from_object_without_status(&self.object).map(|read| read.spec);
        let wanted = match &spec {
            Ok(spec) => spec::wanted(spec),
            Err(e) => Err(Problem {
                reason: reason::FAILED,
                message: e.to_string(),
            }),
        };
        let spec = spec.unwrap_or_default();
        let (object, base) = (&self.object, self.status.artifact.clone());
        let finalizer = object.finalizers().any(|name| name == FINALIZER);
        let mut seen = Observation {
            life: Life::of(object.is_deleting(), finalizer),
            suspended: object.get(&["spec", "suspend"]) == Some(&Value::Bool(true)),
            problem: wanted.as_ref().err().cloned(),
            stored: Stored::Never,
            revision: base.map(|artifact| artifact.revision),
            rules_changed: self.status.observed_ignore != spec.ignore,
            upstream: Upstream::Unasked,
        };
        let mut plan = decide(&seen);
        let mut asked = None;
        if let (Plan::Ask, Ok(wanted)) = (&plan, &wanted) {
            if self.status.observed_generation != Some(self.object.generation()) {
                self.record(record::looking(&self.status, self.at()))
                    .await?;
            }
            seen.stored = self.prove().await;
            seen.upstream = match self.ask(&spec, wanted).await {
                Ok((head, with)) => {
                    asked = Some(with);
                    Upstream::At(head)
                }
                Err(failure) => Upstream::Failed(failure),
            };
            plan = decide(&seen);
        }
        match (plan, wanted) {
            (Plan::Release, _) => self.release().await,
            (Plan::Adopt, _) => {
                self.all
                    .api
                    .add_finalizer(&KIND, &self.object, FINALIZER)
                    .await?;
                // The write comes back as a change, which asks for the next pass.
                Ok(Outcome::Wait)
            }
            (Plan::Rest, _) => {
                self.record(record::resting(&self.status, self.at()))
                    .await?;
                Ok(Outcome::Wait)
            }
            (Plan::Stall(problem), _) => self.stall(&problem).await,
            (Plan::Fail(failure), Ok(wanted)) => self.fail(&failure, wanted.interval).await,
            (Plan::Keep { revision }, Ok(wanted)) => {
                self.keep(&revision, &spec).await?;
                Ok(Outcome::After(self.jittered(wanted.interval)))
            }
            (Plan::Fetch { revision, why }, Ok(wanted)) => match asked {
                Some(asked) => {
                    self.fetch(&asked, &revision, &why, &spec, wanted.interval)
                        .await
                }
                None => Ok(Outcome::Wait),
            },
            // Nothing to do, or a plan that cannot follow from a spec that could not be read.
            (
                Plan::LetGo | Plan::Ask | Plan::Fail(_) | Plan::Keep { .. } | Plan::Fetch { .. },
                _,
            ) => Ok(Outcome::Wait),
        }
    }

    /// Proves the artifact that the status names, and removes old ones.
    async fn prove(&self) -> Stored {
        let Some(artifact) = &self.status.artifact else {
            return Stored::Never;
        };
        let storage = &self.all.storage;
        if let Ok(owner) = self.owner() {
            match storage.sweep(&owner, Some(&artifact.path)).await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => {
                    tracing::debug!(key = %self.object.key(), ?removed, "swept artifacts");
                }
                Err(e) => self.warn("GarbageCollectionFailed", &e.to_string()),
            }
        }
        match storage.verify(&artifact.path, &artifact.digest).await {
            Ok(Held::Intact) => Stored::Intact,
            Ok(Held::Damaged { found }) => {
                let message = format!(
                    "the stored artifact `{}` had digest `{found}` in place of `{}` and was removed",
                    artifact.path, artifact.digest
                );
                self.warn("ArtifactVerificationFailed", &message);
                Stored::Damaged
            }
            // What cannot be proved is made again.
            Ok(Held::Missing) | Err(_) => Stored::Missing,
        }
    }

    /// Asks the remote where the wanted revision is.
    async fn ask(&self, spec: &Spec, wanted: &Wanted) -> Result<(weir_git::Head, Asked), Failure> {
        let mut remote = wanted.remote.clone();
        if let Some(secret) = &spec.secret_ref {
            let namespace = self.object.namespace();
            remote = access::with_secret(&self.all.api, remote, namespace, &secret.name).await?;
        }
        let reference = match &wanted.choice {
            Choice::Exact(reference) => reference.clone(),
            Choice::Range(range) => {
                let refs = self.all.git.list(&remote).await?;
                let tag = spec::highest(range, &refs);
                let tag = tag.ok_or_else(|| Failure::no_tag(range.original(), &remote.shown()))?;
                Reference::Tag(tag)
            }
        };
        let head = self.all.git.head(&remote, &reference).await?;
        Ok((head, Asked { remote, reference }))
    }

    async fn fetch(
        &mut self,
        asked: &Asked,
        revision: &str,
        why: &Why,
        spec: &Spec,
        interval: Duration,
    ) -> Result<Outcome, ApiFailure> {
        let before = self.status.artifact.clone();
        self.record(record::fetching(&self.status, revision, why, self.at()))
            .await?;
        let (checkout, artifact) = match self.make(asked, spec).await {
            Ok(made) => made,
            Err(failure) => return self.fail(&failure, interval).await,
        };
        let failing = record::tells_of_failure(&self.status);
        let digest = artifact.digest.clone();
        let ignore = spec.ignore.as_deref();
        self.record(record::succeeded(&self.status, artifact, ignore, self.at()))
            .await?;
        // The same bytes are no news, but the end of a failure is.
        if before.is_none_or(|before| before.digest != digest) {
            let message = format!(
                "stored artifact for commit '{}'",
                short(checkout.info().subject())
            );
            self.tell(EventKind::Normal, reason::NEW_ARTIFACT, &message);
        } else if failing {
            self.tell_recovery();
        }
        Ok(Outcome::After(self.jittered(interval)))
    }

    async fn make(&self, asked: &Asked, spec: &Spec) -> Result<(Checkout, Artifact), Failure> {
        let checkout = self
            .all
            .git
            .checkout(&asked.remote, &asked.reference)
            .await?;
        let (dir, extra) = (checkout.dir().to_owned(), spec.ignore.clone());
        let rules = tokio::task::spawn_blocking(move || Ignore::load(&dir, extra.as_deref())).await;
        let rules = rules.map_err(|e| weir_artifact::ArtifactError::Local {
            doing: "reading",
            path: "the checkout".to_owned(),
            what: e.to_string(),
        })??;
        let file = format!("{}.tar.gz", checkout.oid());
        let stored = self
            .all
            .storage
            .store_dir(&self.owner()?, &file, checkout.dir(), rules)
            .await?;
        let artifact = Artifact {
            url: self.url(&stored.path),
            path: stored.path,
            revision: checkout.revision().to_owned(),
            digest: stored.digest,
            last_update_time: stored.at.into(),
            size: i64::try_from(stored.size).ok(),
            ..Artifact::default()
        };
        Ok((checkout, artifact))
    }

    async fn keep(&mut self, revision: &str, spec: &Spec) -> Result<(), ApiFailure> {
        let Some(mut artifact) = self.status.artifact.clone() else {
            return Ok(());
        };
        // The store's address may be another one since a restart.
        artifact.url = self.url(&artifact.path);
        let failing = record::tells_of_failure(&self.status);
        let requested = requested_at(&self.object).map(str::to_owned);
        let asked_for = requested.is_some() && requested != self.status.last_handled_reconcile_at;
        let ignore = spec.ignore.as_deref();
        self.record(record::succeeded(&self.status, artifact, ignore, self.at()))
            .await?;
        if failing {
            self.tell_recovery();
        } else if asked_for {
            let message =
                format!("no changes since last reconciliation: observed revision '{revision}'");
            self.tell(EventKind::Normal, reason::GIT_OPERATION_SUCCEEDED, &message);
        }
        Ok(())
    }

    async fn fail(&mut self, failure: &Failure, interval: Duration) -> Result<Outcome, ApiFailure> {
        self.record(record::failed(&self.status, failure, self.at()))
            .await?;
        self.tell(EventKind::Warning, failure.reason, &failure.message);
        Ok(match failure.next {
            Next::Backoff => Outcome::Retry(failure.message.clone()),
            Next::Interval => Outcome::After(self.jittered(interval)),
            Next::Never => Outcome::Wait,
        })
    }

    async fn stall(&mut self, problem: &Problem) -> Result<Outcome, ApiFailure> {
        let before = self.status.clone();
        self.record(record::stalled(&self.status, problem, self.at()))
            .await?;
        if before != self.status {
            self.tell(EventKind::Warning, problem.reason, &problem.message);
        }
        Ok(Outcome::Wait)
    }

    async fn release(&mut self) -> Result<Outcome, ApiFailure> {
        if let Ok(owner) = self.owner() {
            match self.all.storage.remove_all(&owner).await {
                Ok(0) => {}
                Ok(_) => self.tell(
                    EventKind::Normal,
                    "GarbageCollectionSucceeded",
                    "garbage collected artifacts for deleted resource",
                ),
                Err(e) => {
                    self.warn("GarbageCollectionFailed", &e.to_string());
                    return Ok(Outcome::Retry(e.to_string()));
                }
            }
        }
        match self
            .all
            .api
            .remove_finalizer(&KIND, &self.object, FINALIZER)
            .await
        {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(Outcome::Wait),
        }
    }

    /// Writes the status where it differs, and goes on with the object as it then is.
    async fn record(&mut self, status: Status) -> Result<(), ApiFailure> {
        let value = serde_json::to_value(&status).unwrap_or_else(|_| json!({}));
        self.object = patch_status(&self.all.api, &KIND, &self.object, &value).await?;
        self.status = status;
        Ok(())
    }

    fn at(&self) -> At<'_> {
        let generation = self.object.generation();
        At {
            generation,
            now: self.all.clock.now(),
            requested: requested_at(&self.object),
        }
    }

    fn owner(&self) -> Result<Owner, weir_artifact::ArtifactError> {
        Owner::new(&KIND.kind, self.object.namespace(), self.object.name())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.all.base_url)
    }

    fn warn(&self, reason: &str, message: &str) {
        self.tell(EventKind::Warning, reason, message);
    }

    fn tell_recovery(&self) {
        let revision = self
            .status
            .artifact
            .as_ref()
            .map_or("", |a| a.revision.as_str());
        let message = format!("stored artifact for revision '{revision}'");
        self.tell(EventKind::Normal, reason::SUCCEEDED, &message);
    }

    /// Tells of the object, with the revision that it is at and what its owner wants added.
    fn tell(&self, kind: EventKind, reason: &str, message: &str) {
        let (revision, digest) = (
            format!("{SOURCE_GROUP}/revision"),
            format!("{SOURCE_GROUP}/digest"),
        );
        let mut notes: Vec<(&str, &str)> = Vec::new();
        if let Some(artifact) = &self.status.artifact {
            notes.push((&revision, &artifact.revision));
            notes.push((&digest, &artifact.digest));
        }
        let annotations = self
            .object
            .get(&["metadata", "annotations"])
            .and_then(Value::as_object);
        for (name, value) in annotations.into_iter().flatten() {
            if let (Some(name), Some(value)) =
                (name.strip_prefix(EVENT_METADATA_PREFIX), value.as_str())
            {
                notes.push((name, value));
            }
        }
        self.all
            .events
            .publish(&self.object, kind, reason, message, &notes);
    }

    /// The interval, up to a twentieth longer or shorter, so that sources made together do not ask
    /// together for ever. The same moment and object give the same answer, so scenarios repeat.
    fn jittered(&self, interval: Duration) -> Duration {
        jittered(interval, &self.object, self.all.clock.now())
    }
}

/// A subject for an event, cut as people know it.
fn short(subject: &str) -> String {
    const MOST: usize = 50;
    let cut: String = subject.chars().take(MOST).collect();
    if cut.len() < subject.len() {
        format!("{cut}...")
    } else {
        cut
    }
}
