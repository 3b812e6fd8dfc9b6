//! Owns one pass over an ImageRepository: decides whether the registry is to be asked, lists its
//! tags, keeps them, and tells of them.
//!
//! The tags are kept before the status is written. A crash in between loses both the tags and the
//! news of them, so that the next start scans again.

mod decide;
mod spec;

use std::sync::Arc;

use weir_api::ImageRepository;
use weir_api::image_repository::{ScanResult, Spec, Status};
use weir_api::names::reason;
use weir_object::{Key, Object};
use weir_oci::{Access, Oci};
use weir_runtime::{
    ApiClient, ApiFailure, EventKind, Outcome, Reconciler, SecretData, Store, UnusableSecret,
};

use crate::desk::{Desk, Subject};
use crate::secrets::registry_login;
use crate::tags::TagStore;
use crate::trouble::{Next, Trouble};
use crate::verdict::{Told as _, Verdict, pronounce};

use decide::{Observation, Plan, decide};
use spec::Wanted;
pub(crate) use spec::{image_of, wanted};

/// How many tags the status shows.
const SHOWN: usize = 10;

/// The reconciler of ImageRepository.
pub(crate) struct ImageRepositories {
    pub(crate) desk: Desk,
    pub(crate) store: Arc<Store>,
    pub(crate) tags: Arc<TagStore>,
    pub(crate) oci: Oci,
}

#[async_trait::async_trait]
impl Reconciler for ImageRepositories {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
            self.tags.forget(key);
            return Outcome::Wait;
        };
        let subject = Subject::new(&self.desk, &object);
        match self.pass(key, subject).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

impl ImageRepositories {
    async fn pass(
        &self,
        key: &Key,
        mut subject: Subject<'_, Status>,
    ) -> Result<Outcome, ApiFailure> {
        let read = ImageRepository::from_object_without_status(&subject.object);
        let wanted = match &read {
            Ok(object) => spec::wanted(&object.spec),
            Err(e) => Err(Trouble::stalled(reason::FAILED, e.to_string())),
        };
        let spec = read.map(|object| object.spec).unwrap_or_default();
        let seen = observe(&subject, &wanted, &self.tags, key);
        match (decide(&seen), wanted) {
            (Plan::Release, _) => subject.release().await,
            (Plan::Rest, _) => subject.rest().await,
            (Plan::Stall(trouble), _) => subject.fail(&trouble).await,
            (Plan::Keep { next }, _) => Ok(Outcome::After(next)),
            (Plan::Scan(why), Ok(wanted)) => {
                tracing::debug!(%key, ?why, "scanning");
                subject.look().await?;
                match self.scan(&subject.object, &spec, &wanted).await {
                    Ok(tags) => self.found(subject, &wanted, tags).await,
                    Err(trouble) => subject.fail(&trouble).await,
                }
            }
            // Nothing to do, or a plan that cannot follow from a spec that could not be read.
            (Plan::LetGo | Plan::Scan(_), _) => Ok(Outcome::Wait),
        }
    }

    /// Lists the tags, the last in byte order first.
    async fn scan(
        &self,
        object: &Object,
        spec: &Spec,
        wanted: &Wanted,
    ) -> Result<Vec<String>, Trouble> {
        let access = access(&self.desk.api, spec, object.namespace(), wanted).await?;
        let listing = self.oci.list_tags(&wanted.image, &access);
        let tags = match tokio::time::timeout(wanted.timeout, listing).await {
            Ok(Ok(tags)) => tags,
            Ok(Err(e)) => {
                let doing = format!("scan of `{}`", spec.image);
                return Err(Trouble::registry(&doing, &e, wanted.interval));
            }
            Err(_) => {
                let message = format!(
                    "scan of `{}` failed: it did not end within {:?}; check the registry, or raise \
                     `spec.timeout`",
                    spec.image, wanted.timeout
                );
                return Err(Trouble::new(
                    reason::READ_OPERATION_FAILED,
                    Next::Backoff,
                    message,
                ));
            }
        };
        let mut tags: Vec<String> = tags.into_iter().filter(|t| !wanted.excludes(t)).collect();
        tags.sort_unstable_by(|a, b| b.cmp(a));
        tags.dedup();
        Ok(tags)
    }

    async fn found(
        &self,
        mut subject: Subject<'_, Status>,
        wanted: &Wanted,
        tags: Vec<String>,
    ) -> Result<Outcome, ApiFailure> {
        let before = subject.status.clone();
        let at = subject.at();
        let checksum = checksum(&tags);
        let message = format!(
            "successful scan: found {} tags with checksum {checksum}",
            tags.len()
        );
        let mut status = pronounce(&before, &Verdict::Succeeded(message.clone()), &at);
        status.canonical_image_name = Some(wanted.image.name());
        status
            .observed_exclusion_list
            .clone_from(&wanted.exclusion_list);
        status.last_scan_result = Some(ScanResult {
            revision: Some(checksum.to_string()),
            tag_count: tags.len() as i64,
            scan_time: Some(at.now.into()),
            latest_tags: tags.iter().take(SHOWN).cloned().collect(),
        });
        let (key, uid) = (subject.object.key(), subject.object.uid().to_owned());
        self.tags.put(&key, &uid, &wanted.image.name(), tags);
        subject.record(status).await?;
        let asked = subject.facts().asked;
        if before.said() != message || !before.is_ready() || asked {
            subject.tell(EventKind::Normal, reason::SUCCEEDED, &message);
        }
        Ok(subject.next(wanted.interval))
    }
}

/// How an ImageRepository's registry is talked to.
pub(crate) async fn access(
    api: &ApiClient,
    spec: &Spec,
    namespace: &str,
    wanted: &Wanted,
) -> Result<Access, Trouble> {
    let trouble = |unusable: UnusableSecret| {
        let message = unusable.to_string();
        Trouble::new(reason::AUTHENTICATION_FAILED, Next::Backoff, message)
    };
    let mut access = Access {
        insecure: spec.insecure,
        timeout: wanted.timeout,
        ..Access::default()
    };
    if let Some(secret) = &spec.secret_ref {
        let data = SecretData::read(api, namespace, &secret.name, "spec.secretRef").await;
        let credentials = data.and_then(|data| registry_login(&data, &wanted.image.registry));
        access.credentials = credentials.map_err(trouble)?;
    }
    if let Some(secret) = &spec.cert_secret_ref {
        let data = SecretData::read(api, namespace, &secret.name, "spec.certSecretRef").await;
        access.tls = data.and_then(|data| data.tls()).map_err(trouble)?;
    }
    Ok(access)
}

fn observe(
    subject: &Subject<'_, Status>,
    wanted: &Result<Wanted, Trouble>,
    tags: &TagStore,
    key: &Key,
) -> Observation {
    let (status, now) = (&subject.status, subject.desk.clock.now());
    let name = wanted.as_ref().ok().map(|w| w.image.name());
    let held = name
        .as_deref()
        .and_then(|name| tags.get(key, subject.object.uid(), name));
    let scanned = status.last_scan_result.as_ref().and_then(|s| s.scan_time);
    let due = scanned.and_then(|at| {
        let wanted = wanted.as_ref().ok()?;
        let next = at.timestamp().checked_add(wanted.interval).ok()?;
        Some(std::time::Duration::try_from(next.duration_since(now)).unwrap_or_default())
    });
    let mut rules = status.observed_exclusion_list.clone();
    rules.sort_unstable();
    let new_rules = wanted.as_ref().ok().map(|w| {
        let mut list = w.exclusion_list.clone();
        list.sort_unstable();
        list
    });
    Observation {
        facts: subject.facts(),
        problem: wanted.as_ref().err().cloned(),
        held: held.is_some(),
        other_image: status.canonical_image_name != name,
        other_rules: new_rules.is_some_and(|list| list != rules),
        due,
    }
}

/// The checksum people know from this status: Adler-32 of the tags as JSON.
fn checksum(tags: &[String]) -> u32 {
    const MODULUS: u32 = 65_521;
    let text = serde_json::to_vec(tags).unwrap_or_default();
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in text {
        a = (a + u32::from(byte)) % MODULUS;
        b = (b + a) % MODULUS;
    }
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_adler_32() {
        // Of `["1.1.0","1.0.0"]` and of `[]`, as zlib computes them.
        let tags = ["1.1.0".to_owned(), "1.0.0".to_owned()];
        assert_eq!(super::checksum(&tags), ADLER_TWO);
        assert_eq!(super::checksum(&[]), ADLER_NONE);
    }
    const ADLER_TWO: u32 = 495_453_000;
    const ADLER_NONE: u32 = 18_153_657;
}
