//! Owns one pass over a Kustomization.
//!
//! # Flow
//! 1. Gather the facts and decide.
//! 2. Fetch the artifact, prove it, build it.
//! 3. Record the union of the old inventory and the new one, then apply, then prune, then record
//!    the new one. A crash anywhere in between leaves every object that was ever sent in the record.
//! 4. Where asked, wait until everything is healthy; a newer revision ends the wait.
//!
//! # Guarantees
//! Nothing is applied of a build that failed anywhere. What is not changed is not sent. A pass that
//! finds everything as it should be writes its status once, at the most.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_api::kustomization::{KIND, Status};
use weir_api::names::{FINALIZER, reason};
use weir_api::{ConditionStatus, GoDuration, Kustomization, git_repository};
use weir_artifact::{Limits, fetch_and_extract};
use weir_cluster::{Applier, ClusterError, Inventory, Owner, Waited, Waiting};
use weir_kustomize::DirectoryFiles;
use weir_object::{Key, Object};
use weir_runtime::conditions::requested_at;
use weir_runtime::http::Http;
use weir_runtime::{
    ApiClient, ApiFailure, EventKind, Outcome, Reconciler, Recorder, SharedClock, Store,
    patch_status,
};

use crate::controller::is_ready;
use crate::decide::{Artifact, Observation, Plan, Source, decide};
use crate::record::{self, At};
use crate::spec::{self, Deletion, Problem, Wanted};

/// The annotation of events that names the revision.
const REVISION: &str = "kustomize.toolkit.fluxcd.io/revision";

/// The reconciler of Kustomization.
pub(crate) struct Kustomizations {
    pub(crate) applier: Applier,
    pub(crate) api: ApiClient,
    pub(crate) events: Recorder,
    pub(crate) clock: SharedClock,
    pub(crate) http: Http,
    pub(crate) store: Arc<Store>,
    pub(crate) sources: Arc<Store>,
    pub(crate) canaries: Arc<Store>,
    pub(crate) limits: Limits,
}

#[async_trait::async_trait]
impl Reconciler for Kustomizations {
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
    all: &'a Kustomizations,
    object: Object,
    status: Status,
}

/// Why a build or what follows it did not work out.
struct Failure {
    reason: &'static str,
    message: String,
    /// Whether it may heal by itself, soon.
    transient: bool,
}

impl Failure {
    fn new(reason: &'static str, message: impl Into<String>, transient: bool) -> Self {
        Self {
            reason,
            message: message.into(),
            transient,
        }
    }

    fn cluster(reason: &'static str, failure: &ClusterError) -> Self {
        Self::new(reason, failure.to_string(), failure.is_retryable())
    }
}

impl<'a> Pass<'a> {
    fn new(all: &'a Kustomizations, object: &Object) -> Self {
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
        let read = Kustomization::from_object_without_status(&self.object);
        let wanted = match &read {
            Ok(read) => spec::wanted(&read.spec, self.object.namespace()),
            Err(e) => Err(Problem {
                reason: reason::BUILD_FAILED,
                message: e.to_string(),
            }),
        };
        let seen = Observation {
            deleting: self.object.is_deleting(),
            finalizer: self.object.finalizers().any(|name| name == FINALIZER),
            suspended: self.object.get(&["spec", "suspend"]) == Some(&Value::Bool(true)),
            problem: wanted.as_ref().err().cloned(),
            source: wanted
                .as_ref()
                .map_or(Source::Missing(String::new()), |w| self.source(w)),
            unready: wanted.as_ref().ok().and_then(|w| self.unready(w)),
        };
        match (decide(&seen), wanted) {
            (Plan::Release, wanted) => self.release(wanted.ok().as_ref()).await,
            (Plan::Adopt, _) => {
                self.all
                    .api
                    .add_finalizer(&KIND, &self.object, FINALIZER)
                    .await?;
                // The write comes back as a change, which asks for the next pass.
                Ok(Outcome::Wait)
            }
            (Plan::Rest, _) => {
                self.handled();
                self.record().await?;
                Ok(Outcome::Wait)
            }
            (Plan::Stall(problem), _) => {
                let at = self.at();
                record::stalled(&mut self.status, at, problem.reason, &problem.message);
                self.handled();
                self.tell_once(EventKind::Warning, problem.reason, &problem.message)
                    .await?;
                Ok(Outcome::Wait)
            }
            (Plan::Await { reason, message }, Ok(wanted)) => {
                let at = self.at();
                record::failed(&mut self.status, at, reason, &message);
                self.handled();
                self.tell_once(EventKind::Normal, reason, &message).await?;
                // Its event continues; the timer is for what has no event.
                Ok(Outcome::After(wanted.retry))
            }
            (Plan::Apply(artifact), Ok(wanted)) => self.deliver(&wanted, &artifact).await,
            // The last two: a problem is decided before anything that needs the spec.
            (Plan::Leave, _) | (Plan::Await { .. } | Plan::Apply(_), Err(_)) => Ok(Outcome::Wait),
        }
    }

    fn source(&self, wanted: &Wanted) -> Source {
        let Some(source) = self.all.sources.get(&wanted.source) else {
            let kind = git_repository::KIND.kind;
            return Source::Missing(format!(
                "{kind} `{}` not found; create it or correct spec.sourceRef",
                wanted.source
            ));
        };
        let text = |field: &str| source.text(&["status", "artifact", field]).to_owned();
        if text("url").is_empty() {
            return Source::Empty(format!(
                "source artifact of GitRepository `{}` not found; it has not been fetched yet",
                wanted.source
            ));
        }
        let origin = source.text(&[
            "status",
            "artifact",
            "metadata",
            weir_api::names::ORIGIN_REVISION,
        ]);
        Source::At(Artifact {
            revision: text("revision"),
            url: text("url"),
            digest: text("digest"),
            origin: (!origin.is_empty()).then(|| origin.to_owned()),
        })
    }

    fn unready(&self, wanted: &Wanted) -> Option<String> {
        wanted
            .dependencies
            .iter()
            .find_map(|key| match self.all.store.get(key) {
                None => Some(format!("dependency `{key}` not found")),
                Some(other) if !is_ready(&other) => {
                    Some(format!("dependency `{key}` is not ready"))
                }
                Some(other) => {
                    let field = |o: &Object, f: &str| o.text(&["spec", "sourceRef", f]).to_owned();
                    let same = field(&other, "name") == field(&self.object, "name")
                        && other.namespace() == self.object.namespace();
                    let source = self.all.sources.get(&wanted.source)?;
                    let current = source.text(&["status", "artifact", "revision"]).to_owned();
                    let behind = other.text(&["status", "lastAppliedRevision"]) != current;
                    (same && behind)
                        .then(|| format!("dependency `{key}` revision is not up to date"))
                }
            })
    }

    async fn deliver(
        &mut self,
        wanted: &Wanted,
        artifact: &Artifact,
    ) -> Result<Outcome, ApiFailure> {
        let started = tokio::time::Instant::now();
        let news = self.status.last_attempted_revision.as_deref() != Some(&artifact.revision)
            || self.status.observed_generation != Some(self.object.generation());
        if news {
            // Intent: what is about to be tried is known before anything of it happens.
            let at = self.at();
            let timeout = GoDuration::from(wanted.timeout).0;
            let message = format!(
                "Fetching manifests for revision {} with a timeout of {timeout}",
                artifact.revision
            );
            record::progress(&mut self.status, at, &message);
            self.record().await?;
        }
        let mut digest = None;
        match self.build_and_apply(wanted, artifact, &mut digest).await? {
            Ok(Some(waited)) => {
                let revision = &artifact.revision;
                let message =
                    format!("New reconciliation triggered while waiting for revision {revision}");
                let at = self.at();
                record::failed(
                    &mut self.status,
                    at,
                    reason::HEALTH_CHECK_CANCELED,
                    &message,
                );
                self.record().await?;
                debug_assert_eq!(waited, Waited::Cancelled);
                Ok(Outcome::After(Duration::ZERO))
            }
            Ok(None) => {
                let (at, took) = (self.at(), started.elapsed());
                record::succeeded(
                    &mut self.status,
                    at,
                    &artifact.revision,
                    artifact.origin.clone(),
                );
                if news && let Some(digest) = &digest {
                    let why = reason::RECONCILIATION_SUCCEEDED;
                    record::remember(
                        &mut self.status,
                        digest,
                        &artifact.revision,
                        why,
                        took,
                        at.now,
                    );
                }
                let asked = requested_at(&self.object).map(str::to_owned);
                let requested = asked != self.status.last_handled_reconcile_at;
                self.handled();
                self.record().await?;
                if news || requested {
                    let took = GoDuration::from(rounded(took)).0;
                    let next = GoDuration::from(wanted.interval).0;
                    let message = format!("Reconciliation finished in {took}, next run in {next}");
                    self.tell(
                        EventKind::Normal,
                        reason::RECONCILIATION_SUCCEEDED,
                        &message,
                        Some(&artifact.revision),
                    );
                }
                Ok(Outcome::After(wanted.interval))
            }
            Err(failure) => {
                let (at, took) = (self.at(), started.elapsed());
                record::failed(&mut self.status, at, failure.reason, &failure.message);
                if let (true, Some(digest)) = (news, &digest) {
                    record::remember(
                        &mut self.status,
                        digest,
                        &artifact.revision,
                        failure.reason,
                        took,
                        at.now,
                    );
                }
                self.handled();
                self.record().await?;
                self.tell(
                    EventKind::Warning,
                    failure.reason,
                    &failure.message,
                    Some(&artifact.revision),
                );
                if failure.transient {
                    Ok(Outcome::Retry(failure.message))
                } else {
                    Ok(Outcome::After(wanted.retry))
                }
            }
        }
    }

    /// `Ok(Some(_))` when the wait for health was ended by something newer.
    async fn build_and_apply(
        &mut self,
        wanted: &Wanted,
        artifact: &Artifact,
        digest: &mut Option<String>,
    ) -> Result<Result<Option<Waited>, Failure>, ApiFailure> {
        let objects = match self.build(wanted, artifact, digest).await {
            Ok(objects) => objects,
            Err(failure) => return Ok(Err(failure)),
        };
        self.status.last_attempted_revision = Some(artifact.revision.clone());
        let owner = self.owner();
        let old = record::inventory(&self.status);
        let planned = Applier::planned(&objects).union(&old);
        if planned != old {
            // Before anything is sent: what may come to be is in the record.
            record::hold(&mut self.status, &planned);
            self.record().await?;
        }
        let canaries: Vec<Object> = self
            .all
            .canaries
            .list()
            .iter()
            .map(|c| (**c).clone())
            .collect();
        let borrowed = |object: &Object| weir_rollout::borrowed_fields(&canaries, object);
        let applied = self
            .all
            .applier
            .apply(objects, &owner, wanted.force, borrowed)
            .await;
        let applied = match applied {
            Ok(applied) => applied,
            Err(e) => return Ok(Err(Failure::cluster(reason::RECONCILIATION_FAILED, &e))),
        };
        let changes = applied.changes();
        if !changes.is_empty() {
            self.tell(
                EventKind::Normal,
                reason::PROGRESSING,
                &changes.join("\n"),
                Some(&artifact.revision),
            );
        }
        let new = applied.inventory();
        let stale = old.without(&new);
        let mut kept = Inventory::default();
        let mut failure = None;
        if wanted.prune && !stale.0.is_empty() {
            let (pruned, refused) = self.all.applier.prune(&stale, &owner).await;
            let lines: Vec<String> = pruned
                .deleted
                .iter()
                .map(|e| format!("{} deleted", e.object))
                .collect();
            if !lines.is_empty() {
                self.tell(
                    EventKind::Normal,
                    reason::PROGRESSING,
                    &lines.join("\n"),
                    Some(&artifact.revision),
                );
            }
            kept = Inventory(pruned.left);
            failure = refused.map(|e| Failure::cluster(reason::PRUNE_FAILED, &e));
        }
        record::hold(&mut self.status, &new.union(&kept));
        if let Some(failure) = failure {
            return Ok(Err(failure));
        }
        self.health(wanted, artifact, &applied).await
    }

    async fn build(
        &self,
        wanted: &Wanted,
        artifact: &Artifact,
        digest: &mut Option<String>,
    ) -> Result<Vec<Object>, Failure> {
        let dir = tempfile::Builder::new().prefix("weir-build-").tempdir();
        let dir =
            dir.map_err(|e| Failure::new(reason::DIRECTORY_CREATION_FAILED, e.to_string(), true))?;
        let (url, sum, limits) = (&artifact.url, &artifact.digest, &self.all.limits);
        if let Err(e) = fetch_and_extract(&self.all.http, url, sum, dir.path(), limits).await {
            return Err(Failure::new(
                reason::ARTIFACT_FAILED,
                e.to_string(),
                e.is_retryable(),
            ));
        }
        let (path, options) = (wanted.path.clone(), wanted.build.clone());
        // Building is work for the processor and the disk; it must not hold up the others.
        let built = tokio::task::spawn_blocking(move || {
            let files = DirectoryFiles::new(dir.path());
            weir_kustomize::build(&files, &path, &options).map_err(Box::new)
        });
        let built = built
            .await
            .map_err(|e| Failure::new(reason::BUILD_FAILED, e.to_string(), true))?;
        let built = built.map_err(|e| {
            let why = match *e {
                weir_kustomize::BuildError::NoDirectory(_) => reason::ARTIFACT_FAILED,
                _ => reason::BUILD_FAILED,
            };
            let path = &wanted.path;
            Failure::new(why, format!("kustomization path `./{path}`: {e}"), false)
        })?;
        *digest = Some(weir_artifact::sha256_of(built.to_yaml().as_bytes()).to_string());
        let mut objects = built.objects;
        for object in &mut objects {
            for (key, value) in &wanted.labels {
                object.set(&["metadata", "labels", key], json!(value));
            }
            for (key, value) in &wanted.annotations {
                object.set(&["metadata", "annotations", key], json!(value));
            }
        }
        Ok(objects)
    }

    async fn health(
        &mut self,
        wanted: &Wanted,
        artifact: &Artifact,
        applied: &weir_cluster::Applied,
    ) -> Result<Result<Option<Waited>, Failure>, ApiFailure> {
        let waiting = if wanted.wait {
            Waiting::of(applied)
        } else {
            Waiting::for_objects(wanted.checks.iter().cloned())
        };
        let waiting = waiting.except(&self.object.reference());
        if waiting.is_empty() {
            let at = self.at();
            record::health(&mut self.status, at, None);
            return Ok(Ok(None));
        }
        let limit = GoDuration::from(wanted.timeout).0;
        let was = weir_api::Condition::find(&self.status.conditions, weir_api::names::HEALTHY);
        let was_healthy = was.is_some_and(weir_api::Condition::is_true);
        if !was_healthy {
            let message = format!(
                "Running health checks for revision {} with a timeout of {limit}",
                artifact.revision
            );
            let at = self.at();
            record::health(
                &mut self.status,
                at,
                Some((ConditionStatus::Unknown, reason::PROGRESSING, &message)),
            );
            record::progress(&mut self.status, at, &message);
            self.record().await?;
        }
        let started = tokio::time::Instant::now();
        let newer = self.something_newer(wanted, artifact);
        let waited = self.all.applier.wait(&waiting, wanted.timeout, newer).await;
        let took = GoDuration::from(rounded(started.elapsed())).0;
        match waited {
            Ok(Waited::Healthy) => {
                let message = format!("Health check passed in {took}");
                if !was_healthy {
                    let at = self.at();
                    record::health(
                        &mut self.status,
                        at,
                        Some((ConditionStatus::True, reason::SUCCEEDED, &message)),
                    );
                    self.tell(
                        EventKind::Normal,
                        reason::PROGRESSING,
                        &message,
                        Some(&artifact.revision),
                    );
                }
                Ok(Ok(None))
            }
            Ok(Waited::Cancelled) => Ok(Ok(Some(Waited::Cancelled))),
            Ok(Waited::Unhealthy { early, objects }) => {
                let how = if early {
                    "failed early due to stalled resources"
                } else {
                    "timeout waiting for"
                };
                let message = format!(
                    "health check failed after {took}: {how}: [{}]",
                    objects.join(", ")
                );
                let at = self.at();
                record::health(
                    &mut self.status,
                    at,
                    Some((
                        ConditionStatus::False,
                        reason::HEALTH_CHECK_FAILED,
                        &message,
                    )),
                );
                Ok(Err(Failure::new(
                    reason::HEALTH_CHECK_FAILED,
                    message,
                    false,
                )))
            }
            Err(e) => Ok(Err(Failure::cluster(reason::HEALTH_CHECK_FAILED, &e))),
        }
    }

    /// Ends when the source has another artifact, or the object another generation, request or end.
    fn something_newer(
        &self,
        wanted: &Wanted,
        artifact: &Artifact,
    ) -> impl Future<Output = ()> + use<> {
        let (sources, store) = (self.all.sources.clone(), self.all.store.clone());
        let (source, own) = (wanted.source.clone(), self.object.key());
        let revision = artifact.revision.clone();
        let asked = requested_at(&self.object).map(str::to_owned);
        let generation = self.object.generation();
        async move {
            let (mut a, mut b) = (sources.changes(), store.changes());
            loop {
                let newer = sources
                    .get(&source)
                    .is_some_and(|s| s.text(&["status", "artifact", "revision"]) != revision);
                let changed = store.get(&own).is_none_or(|o| {
                    o.is_deleting()
                        || o.generation() != generation
                        || requested_at(&o).map(str::to_owned) != asked
                });
                if newer || changed {
                    return;
                }
                let ended = tokio::select! {
                    changed = a.changed() => changed.is_err(),
                    changed = b.changed() => changed.is_err(),
                };
                if ended {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Takes away what was applied, where the object asks for it, and lets the object go.
    async fn release(&mut self, wanted: Option<&Wanted>) -> Result<Outcome, ApiFailure> {
        let suspended = self.object.get(&["spec", "suspend"]) == Some(&Value::Bool(true));
        let deletes = wanted.is_some_and(|w| w.deletion == Deletion::Delete) && !suspended;
        let inventory = record::inventory(&self.status);
        if deletes && !inventory.0.is_empty() {
            let (pruned, failure) = self.all.applier.prune(&inventory, &self.owner()).await;
            let lines: Vec<String> = pruned
                .deleted
                .iter()
                .map(|e| format!("{} deleted", e.object))
                .collect();
            if !lines.is_empty() {
                self.tell(
                    EventKind::Normal,
                    reason::PROGRESSING,
                    &lines.join("\n"),
                    None,
                );
            }
            if let Some(failure) = failure {
                let message = format!("pruning for deleted resource failed: {failure}");
                self.tell(EventKind::Warning, reason::PRUNE_FAILED, &message, None);
                return Ok(Outcome::Retry(message));
            }
        }
        self.all
            .api
            .remove_finalizer(&KIND, &self.object, FINALIZER)
            .await?;
        Ok(Outcome::Wait)
    }

    fn owner(&self) -> Owner {
        Owner {
            namespace: self.object.namespace().to_owned(),
            name: self.object.name().to_owned(),
        }
    }

    fn at(&self) -> At {
        At {
            now: self.all.clock.now(),
            generation: self.object.generation(),
        }
    }

    /// Notes that a request by annotation was honoured.
    fn handled(&mut self) {
        if let Some(asked) = requested_at(&self.object) {
            self.status.last_handled_reconcile_at = Some(asked.to_owned());
        }
    }

    /// Writes the status where it differs.
    async fn record(&mut self) -> Result<(), ApiFailure> {
        let status = serde_json::to_value(&self.status).unwrap_or_else(|_| json!({}));
        self.object = patch_status(&self.all.api, &KIND, &self.object, &status).await?;
        Ok(())
    }

    /// Records, and tells of it when the record changed.
    async fn tell_once(
        &mut self,
        kind: EventKind,
        why: &str,
        message: &str,
    ) -> Result<(), ApiFailure> {
        let before = self.object.resource_version().to_owned();
        self.record().await?;
        if self.object.resource_version() != before {
            self.tell(kind, why, message, None);
        }
        Ok(())
    }

    fn tell(&self, kind: EventKind, why: &str, message: &str, revision: Option<&str>) {
        let annotations: Vec<(&str, &str)> = revision.map(|r| (REVISION, r)).into_iter().collect();
        self.all
            .events
            .publish(&self.object, kind, why, message, &annotations);
    }
}

/// Whole milliseconds, as people read them.
fn rounded(took: Duration) -> Duration {
    Duration::from_millis(took.as_millis() as u64)
}
