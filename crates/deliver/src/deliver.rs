//! Owns delivering an artifact: fetch, build, apply, prune.
//!
//! # Flow
//! 1. Fetch the artifact, prove it, build it.
//! 2. Record the union of the old inventory and the new one, then apply, then prune, then record
//!    the new one. A crash anywhere in between leaves every object that was ever sent in the record.
//! 3. Where asked, wait until everything is healthy; a newer revision ends the wait.
//!
//! # Guarantees
//! Nothing is applied of a build that failed anywhere. What is not changed is not sent. A pass that
//! finds everything as it should be writes its status once, at the most.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use weir_api::GoDuration;
use weir_api::names::reason;
use weir_artifact::fetch_and_extract;
use weir_cluster::{Applier, ClusterError, Inventory, Loan};
use weir_kustomize::DirectoryFiles;
use weir_object::Object;
use weir_runtime::conditions::requested_at;
use weir_runtime::{ApiFailure, EventKind, Outcome, jittered};

use crate::controller::is_ready;
use crate::decide::Artifact;
use crate::pass::Pass;
use crate::record;
use crate::spec::Wanted;

/// Something newer than what is being delivered asks for attention.
pub(crate) struct Newer;

/// Why a build or what follows it did not work out.
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Whether it may heal by itself, soon.
    pub(crate) transient: bool,
}

impl Failure {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>, transient: bool) -> Self {
        Self {
            reason,
            message: message.into(),
            transient,
        }
    }

    pub(crate) fn cluster(reason: &'static str, failure: &ClusterError) -> Self {
        Self::new(reason, failure.to_string(), failure.is_retryable())
    }
}

impl Pass<'_> {
    /// Carries out the delivery of an artifact.
    pub(crate) async fn deliver(
        &mut self,
        wanted: &Wanted,
        artifact: &Artifact,
    ) -> Result<Outcome, ApiFailure> {
        let started = tokio::time::Instant::now();
        let attempted = self.status.last_attempted_revision.as_deref() == Some(&artifact.revision)
            && self.status.observed_generation == Some(self.object.generation());
        let applied = self.status.last_applied_revision.as_deref() == Some(&artifact.revision);
        // A pass that only proves what is known says and writes nothing.
        let news = !(attempted && applied && is_ready(&self.object));
        if !attempted {
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
            Ok(Some(Newer)) => {
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
                Ok(Outcome::After(jittered(
                    wanted.interval,
                    &self.object,
                    at.now,
                )))
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
    ) -> Result<Result<Option<Newer>, Failure>, ApiFailure> {
        let objects = match self.build(wanted, artifact, digest).await {
            Ok(objects) => objects,
            Err(failure) => return Ok(Err(failure)),
        };
        self.status.last_attempted_revision = Some(artifact.revision.clone());
        let objects = match self.applier().settle(objects).await {
            Ok(objects) => objects,
            Err(e) => return Ok(Err(Failure::cluster(reason::RECONCILIATION_FAILED, &e))),
        };
        let owner = self.owner();
        let old = record::inventory(&self.status);
        let planned = Applier::planned(&objects).union(&old);
        if planned != old {
            // Before anything is sent: what may come to be is in the record.
            record::hold(&mut self.status, &planned);
            self.record().await?;
        }
        // Those of a namespace are read once for all of its objects.
        let read: Mutex<BTreeMap<String, Vec<Object>>> = Mutex::default();
        let borrowed = |object: &Object, live: Option<&Object>| {
            let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
            let namespace = object.namespace().to_owned();
            let canaries = read.entry(namespace).or_insert_with_key(|namespace| {
                let all = self.all.canaries.list_in(namespace);
                all.into_iter().map(Arc::unwrap_or_clone).collect()
            });
            Loan {
                left_out: weir_rollout::borrowed_fields(canaries, object),
                sent_along: live
                    .map(|live| weir_rollout::kept_fields(canaries, live))
                    .unwrap_or_default(),
            }
        };
        let applied = self
            .applier()
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
            let (pruned, refused) = self.applier().prune(&stale, &owner).await;
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
}

/// Whole milliseconds, as people read them.
pub(crate) fn rounded(took: Duration) -> Duration {
    Duration::from_millis(took.as_millis() as u64)
}
