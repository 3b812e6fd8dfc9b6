//! Owns one pass over an ImageRepository: gathers the facts, has them decided, and scans.
//!
//! The tags are kept before the status tells of them: whoever is woken by the status finds them.

use std::sync::Arc;

use weir_api::ImageRepository;
use weir_api::image_repository::{ScanResult, Spec, Status};
use weir_api::names::reason;
use weir_object::Key;
use weir_oci::{Access, Oci, OciError};
use weir_runtime::{ApiFailure, EventKind, Outcome, Reconciler, Store};

use super::decide::{Observation, Plan, decide};
use super::scan::Found;
use super::spec::{Wanted, wanted};
use crate::failure::{Failure, Next, Problem};
use crate::secrets::Data;
use crate::subject::{Desk, Subject};
use crate::tags::Tags;

/// The reconciler of ImageRepository.
pub(crate) struct Repositories {
    pub(crate) desk: Desk,
    pub(crate) store: Arc<Store>,
    pub(crate) oci: Oci,
    pub(crate) tags: Tags,
}

#[async_trait::async_trait]
impl Reconciler for Repositories {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
            self.tags.remove(key);
            return Outcome::Wait;
        };
        let mut subject = Subject::new(&self.desk, &object);
        match self.pass(&mut subject).await {
            Ok(outcome) => outcome,
            // Somebody wrote in between, or the API server is away: observe again.
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

impl Repositories {
    async fn pass(&self, subject: &mut Subject<'_, Status>) -> Result<Outcome, ApiFailure> {
        let spec = ImageRepository::from_object_without_status(&subject.object).map(|r| r.spec);
        let wanted = match &spec {
            Ok(spec) => wanted(spec),
            Err(e) => Err(Problem::new(reason::FAILED, e.to_string())),
        };
        let plan = decide(&self.observe(subject, wanted.as_ref()));
        match (plan, wanted, spec) {
            (Plan::Release, _, _) => subject.release().await,
            (Plan::Rest, _, _) => {
                subject.seen().await?;
                Ok(Outcome::Wait)
            }
            (Plan::Stall(problem), _, _) => subject.stall(&problem).await,
            (Plan::WaitFor(rest), _, _) => Ok(Outcome::After(rest)),
            (Plan::Scan(why), Ok(wanted), Ok(spec)) => {
                tracing::debug!(key = %subject.object.key(), ?why, "scanning");
                subject.working().await?;
                match self.scan(subject, &spec, &wanted).await {
                    Ok(found) => self.record(subject, &wanted, found).await,
                    Err(failure) => subject.fail(&failure, wanted.interval).await,
                }
            }
            (Plan::LetGo | Plan::Scan(_), _, _) => Ok(Outcome::Wait),
        }
    }

    fn observe(
        &self,
        subject: &Subject<'_, Status>,
        wanted: Result<&Wanted, &Problem>,
    ) -> Observation {
        let status = &subject.status;
        let name = wanted.map(|w| w.image.name()).unwrap_or_default();
        let changed = wanted.is_ok_and(|w| {
            let mut lists = [
                status.observed_exclusion_list.clone(),
                w.exclusions.clone(),
            ];
            lists.iter_mut().for_each(|list| list.sort_unstable());
            status.canonical_image_name.as_deref() != Some(name.as_str()) || lists[0] != lists[1]
        });
        let held = self.tags.get(&subject.object.key(), &name);
        let last = status.last_scan_result.as_ref();
        Observation {
            life: subject.life(),
            suspended: subject.suspended(),
            problem: wanted.err().cloned(),
            settled: subject.settled(),
            requested: subject.requested(),
            held: held.map(|tags| tags.len()),
            last: last.and_then(|l| l.scan_time).map(|time| time.timestamp()),
            changed,
            interval: wanted.map(|w| w.interval).unwrap_or_default(),
            now: self.desk.clock.now(),
        }
    }

    async fn scan(
        &self,
        subject: &Subject<'_, Status>,
        spec: &Spec,
        wanted: &Wanted,
    ) -> Result<Found, Failure> {
        let (api, namespace) = (&self.desk.api, subject.object.namespace());
        let mut access = Access {
            insecure: spec.insecure,
            timeout: wanted.timeout,
            ..Access::default()
        };
        if let Some(secret) = &spec.secret_ref {
            let key = Key::new(namespace, secret.name.as_str());
            let data = Data::read(api, &key, "secretRef").await?;
            access.credentials = data.registry(&wanted.image.registry)?;
        }
        if let Some(secret) = &spec.cert_secret_ref {
            let key = Key::new(namespace, secret.name.as_str());
            access.tls = Data::read(api, &key, "certSecretRef").await?.tls()?;
        }
        let listing = self.oci.list_tags(&wanted.image, &access);
        let listed = match tokio::time::timeout(wanted.timeout, listing).await {
            Ok(listed) => listed,
            Err(_) => Err(OciError::Timeout {
                registry: wanted.image.registry.clone(),
                timeout: wanted.timeout,
            }),
        };
        let listed = listed.map_err(|e| scan_failed(&e))?;
        Ok(Found::of(listed, &wanted.excluded))
    }

    async fn record(
        &self,
        subject: &mut Subject<'_, Status>,
        wanted: &Wanted,
        found: Found,
    ) -> Result<Outcome, ApiFailure> {
        let name = wanted.image.name();
        let message = found.message();
        let status = Status {
            canonical_image_name: Some(name.clone()),
            last_scan_result: Some(ScanResult {
                revision: Some(found.revision.clone()),
                tag_count: i64::try_from(found.tags.len()).unwrap_or(i64::MAX),
                scan_time: Some(self.desk.clock.now().into()),
                latest_tags: found.latest(),
            }),
            observed_exclusion_list: wanted.exclusions.clone(),
            ..subject.status.clone()
        };
        self.tags.put(&subject.object.key(), &name, found.tags);
        if subject.succeed(&status, &message).await? {
            subject.tell(EventKind::Normal, reason::SUCCEEDED, &message);
        }
        Ok(Outcome::After(wanted.interval))
    }
}

fn scan_failed(e: &OciError) -> Failure {
    let reason = match e {
        OciError::Auth { .. } => reason::AUTHENTICATION_FAILED,
        _ => reason::READ_OPERATION_FAILED,
    };
    let next = if e.is_retryable() {
        Next::Backoff
    } else {
        Next::Interval
    };
    Failure::new(reason, format!("scan failed: {e}"), next)
}
