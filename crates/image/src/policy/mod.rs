//! Owns one pass over an ImagePolicy: gathers the scanned tags, has one chosen, looks its digest up
//! where that is wanted, and records the choice.
//!
//! What was chosen stays chosen while tags are missing or cannot be had: no failure ever takes an
//! image back.

mod choose;
mod decide;
mod spec;

use std::sync::Arc;

use weir_api::image_policy::{ImageRef, Spec, Status};
use weir_api::names::reason;
use weir_api::{ImagePolicy, ImageRepository};
use weir_object::{Key, Object};
use weir_oci::Oci;
use weir_runtime::{ApiFailure, EventKind, Outcome, Reconciler, Store};

use crate::desk::{Desk, Subject};
use crate::repository;
use crate::tags::TagStore;
use crate::trouble::Trouble;
use crate::verdict::{At, Told as _, Verdict, pronounce};

use decide::{Digest, Observation, Plan, Scan, decide};
use spec::Reflection;

/// The reconciler of ImagePolicy.
pub(crate) struct ImagePolicies {
    pub(crate) desk: Desk,
    pub(crate) store: Arc<Store>,
    pub(crate) repositories: Arc<Store>,
    pub(crate) namespaces: Arc<Store>,
    pub(crate) tags: Arc<TagStore>,
    pub(crate) oci: Oci,
    pub(crate) no_cross_namespace_refs: bool,
}

#[async_trait::async_trait]
impl Reconciler for ImagePolicies {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
            return Outcome::Wait;
        };
        let subject = Subject::new(&self.desk, &object);
        match self.pass(subject).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

impl ImagePolicies {
    async fn pass(&self, mut subject: Subject<'_, Status>) -> Result<Outcome, ApiFailure> {
        let read = ImagePolicy::from_object_without_status(&subject.object);
        let wanted = match &read {
            Ok(object) => spec::wanted(&object.spec),
            Err(e) => Err(Trouble::stalled(reason::FAILED, e.to_string())),
        };
        let spec = read.map(|object| object.spec).unwrap_or_default();
        let from = repository_of(&spec, subject.object.namespace());
        let repository = self.repositories.get(&from);
        let mut seen = Observation {
            facts: subject.facts(),
            scan: self.scan(&from, repository.as_deref(), subject.object.namespace()),
            repository: from,
            wanted,
            latest: subject.status.latest_ref.clone(),
            digest: Digest::Unasked,
        };
        let mut plan = decide(&seen);
        if let Plan::Ask(image) = &plan {
            seen.digest = match self.digest(repository.as_deref(), image).await {
                Ok(digest) => Digest::Known(digest),
                Err(trouble) => Digest::Failed(trouble),
            };
            plan = decide(&seen);
        }
        match plan {
            Plan::Release => subject.release().await,
            Plan::Rest => subject.rest().await,
            Plan::Fail(trouble) => subject.fail(&trouble).await,
            Plan::Settle(image) => {
                let reflection = seen.wanted.map(|wanted| wanted.reflection);
                settle(subject, image, reflection.unwrap_or(Reflection::Never)).await
            }
            Plan::LetGo | Plan::Await | Plan::Ask(_) => Ok(Outcome::Wait),
        }
    }

    /// What there is to choose from.
    fn scan(&self, from: &Key, repository: Option<&Object>, namespace: &str) -> Scan {
        let Some(repository) = repository else {
            return Scan::NoRepository;
        };
        let Ok(read) = ImageRepository::from_object_without_status(repository) else {
            return Scan::None;
        };
        if from.namespace != namespace {
            let labels = self.namespaces.get(&Key::new("", namespace));
            let labelled = |key: &str, value: &str| {
                labels.as_ref().and_then(|object| object.label(key)) == Some(value)
            };
            let allowed = read.spec.access_from.as_ref().is_some_and(|access| {
                access.namespace_selectors.iter().any(|selector| {
                    let mut wanted = selector.match_labels.iter();
                    wanted.all(|(key, value)| labelled(key, value))
                })
            });
            if self.no_cross_namespace_refs || !allowed {
                return Scan::Denied;
            }
        }
        let Ok(image) = repository::image_of(&read.spec) else {
            return Scan::None;
        };
        match self.tags.get(from, repository.uid(), &image.name()) {
            Some(tags) if !tags.is_empty() => Scan::Of {
                image: read.spec.image,
                tags,
            },
            _ => Scan::None,
        }
    }

    /// The digest that the image's tag has now.
    async fn digest(
        &self,
        repository: Option<&Object>,
        image: &ImageRef,
    ) -> Result<String, Trouble> {
        let gone = || Trouble::stalled(reason::FAILED, "the ImageRepository cannot be read");
        let object = repository.ok_or_else(gone)?;
        let read = ImageRepository::from_object_without_status(object).map_err(|_| gone())?;
        let wanted = repository::wanted(&read.spec)?;
        let namespace = object.namespace();
        let access = repository::access(&self.desk.api, &read.spec, namespace, &wanted).await?;
        let tagged = wanted.image.with_tag(&image.tag);
        let found = self.oci.resolve(&tagged, &access).await;
        found.map(|descriptor| descriptor.digest).map_err(|e| {
            let doing = format!("look-up of the digest of `{image}`");
            Trouble::registry(&doing, &e, wanted.interval)
        })
    }
}

fn repository_of(spec: &Spec, namespace: &str) -> Key {
    let reference = &spec.image_repository_ref;
    let namespace = reference
        .namespace
        .as_deref()
        .filter(|ns| !ns.is_empty())
        .unwrap_or(namespace);
    Key::new(namespace, &reference.name)
}

async fn settle(
    mut subject: Subject<'_, Status>,
    image: ImageRef,
    reflection: Reflection,
) -> Result<Outcome, ApiFailure> {
    let before = subject.status.clone();
    let asked = subject.facts().asked;
    let status = settled(&before, image, &subject.at());
    let message = status.said().to_owned();
    subject.record(status).await?;
    if before.said() != message || !before.is_ready() || asked {
        subject.tell(EventKind::Normal, reason::SUCCEEDED, &message);
    }
    Ok(match reflection {
        Reflection::Always(interval) => Outcome::After(interval),
        Reflection::Never | Reflection::IfNotPresent => Outcome::Wait,
    })
}

/// The status with the choice in it, and what was chosen before.
fn settled(before: &Status, image: ImageRef, at: &At) -> Status {
    let mut status = before.clone();
    if before.latest_ref.as_ref() != Some(&image) {
        status.observed_previous_ref.clone_from(&before.latest_ref);
    }
    let mut message = format!(
        "Latest image tag for {} resolved to {}",
        image.name, image.tag
    );
    if let Some(digest) = &image.digest {
        message = format!("{message} with digest {digest}");
    }
    if let Some(previous) = &status.observed_previous_ref {
        message = format!("{message} (previously {previous})");
    }
    status.latest_ref = Some(image);
    pronounce(&status, &Verdict::Succeeded(message), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_image(tag: &str, digest: Option<&str>) -> ImageRef {
        ImageRef {
            name: "r.io/app".into(),
            tag: tag.into(),
            digest: digest.map(str::to_owned),
        }
    }

    #[test]
    fn what_was_chosen_before_is_remembered() {
        let at = At {
            generation: 1,
            now: jiff::Timestamp::UNIX_EPOCH,
            requested: None,
        };
        let first = settled(&Status::default(), mk_image("1.0.0", None), &at);
        assert_eq!(
            first.said(),
            "Latest image tag for r.io/app resolved to 1.0.0"
        );
        assert_eq!(first.observed_previous_ref, None);
        let second = settled(&first, mk_image("1.1.0", Some("sha256:a")), &at);
        let said = "Latest image tag for r.io/app resolved to 1.1.0 with digest sha256:a \
                    (previously r.io/app:1.0.0)";
        assert_eq!(second.said(), said);
        assert_eq!(second.observed_previous_ref, Some(mk_image("1.0.0", None)));
        let again = settled(&second, mk_image("1.1.0", Some("sha256:a")), &at);
        assert_eq!(again, second, "nothing new is nothing to write");
    }
}
