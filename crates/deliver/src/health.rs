//! Owns waiting for the health of what was applied, and what is said of it. A newer revision, a
//! change of the Kustomization or its deletion ends the wait.

use weir_api::names::reason;
use weir_api::{ConditionStatus, GoDuration};
use weir_cluster::{Waited, Waiting};
use weir_runtime::conditions::requested_at;
use weir_runtime::{ApiFailure, EventKind};

use crate::decide::Artifact;
use crate::deliver::{Failure, Newer, rounded};
use crate::pass::Pass;
use crate::record;
use crate::spec::Wanted;

impl Pass<'_> {
    /// Waits for health where it is asked for.
    pub(crate) async fn health(
        &mut self,
        wanted: &Wanted,
        artifact: &Artifact,
        applied: &weir_cluster::Applied,
    ) -> Result<Result<Option<Newer>, Failure>, ApiFailure> {
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
        let fresh = !was_healthy || !applied.changes().is_empty();
        if fresh {
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
        let waited = self.applier().wait(&waiting, wanted.timeout, newer).await;
        let took = GoDuration::from(rounded(started.elapsed())).0;
        match waited {
            Ok(Waited::Healthy) => {
                let message = format!("Health check passed in {took}");
                if fresh {
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
            Ok(Waited::Cancelled) => Ok(Ok(Some(Newer))),
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
}
