//! Owns one pass over an ImagePolicy: gathers the facts, has them decided, and records the choice.

use std::sync::Arc;
use std::time::Duration;

use weir_api::image_policy::Status;
use weir_api::names::reason;
use weir_api::{ImagePolicy, ImageRepository};
use weir_object::{Key, Object};
use weir_runtime::{ApiFailure, EventKind, Outcome, Reconciler, Store};

use super::access;
use super::choose::Chooser;
use super::decide::{Observation, Plan, Repository, decide, message};
use crate::failure::Problem;
use crate::repository::spec::image;
use crate::subject::{Desk, Subject};
use crate::tags::Tags;

/// The reconciler of ImagePolicy.
pub(crate) struct Policies {
    pub(crate) desk: Desk,
    pub(crate) store: Arc<Store>,
    pub(crate) repositories: Arc<Store>,
    pub(crate) namespaces: Arc<Store>,
    pub(crate) tags: Tags,
}

/// The repository that a policy names.
pub(crate) fn repository_of(policy: &Object) -> Key {
    let name = policy.text(&["spec", "imageRepositoryRef", "name"]);
    match policy.text(&["spec", "imageRepositoryRef", "namespace"]) {
        "" => Key::new(policy.namespace(), name),
        namespace => Key::new(namespace, name),
    }
}

#[async_trait::async_trait]
impl Reconciler for Policies {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
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

impl Policies {
    async fn pass(&self, subject: &mut Subject<'_, Status>) -> Result<Outcome, ApiFailure> {
        match decide(&self.observe(subject)) {
            Plan::Release => subject.release().await,
            Plan::LetGo | Plan::Await => Ok(Outcome::Wait),
            Plan::Rest => {
                subject.seen().await?;
                Ok(Outcome::Wait)
            }
            Plan::Stall(problem) => subject.stall(&problem).await,
            Plan::Fail(failure) => subject.fail(&failure, Duration::ZERO).await,
            Plan::Choose { image, before } => {
                let mut status = subject.status.clone();
                if before.is_some() {
                    status.observed_previous_ref = before;
                }
                let message = message(&image, status.observed_previous_ref.as_ref());
                status.latest_ref = Some(image);
                if subject.succeed(&status, &message).await? {
                    subject.tell(EventKind::Normal, reason::SUCCEEDED, &message);
                }
                Ok(Outcome::Wait)
            }
        }
    }

    fn observe(&self, subject: &Subject<'_, Status>) -> Observation {
        let object = &subject.object;
        let spec = ImagePolicy::from_object_without_status(object).map(|read| read.spec);
        let chooser = match &spec {
            Ok(spec) => Chooser::read(spec),
            Err(e) => Err(Problem::new(reason::FAILED, e.to_string())),
        };
        let name = repository_of(object);
        Observation {
            life: subject.life(),
            suspended: subject.suspended(),
            chooser,
            repository: self.repository(&name, object.namespace()),
            name,
            latest: subject.status.latest_ref.clone(),
            settled: subject.settled(),
        }
    }

    fn repository(&self, name: &Key, from: &str) -> Repository {
        let Some(object) = self.repositories.get(name) else {
            return Repository::Absent;
        };
        let spec = match ImageRepository::from_object_without_status(&object) {
            Ok(read) => read.spec,
            Err(e) => return Repository::Unusable(e.to_string()),
        };
        if name.namespace != from {
            let namespace = self.namespaces.get(&Key::new("", from));
            if !access::allowed(spec.access_from.as_ref(), namespace.as_deref()) {
                return Repository::Denied;
            }
        }
        match image(&spec) {
            Err(problem) => Repository::Unusable(problem.message),
            Ok(canonical) => Repository::Known {
                tags: self
                    .tags
                    .get(name, &canonical.name())
                    .map(|tags| tags.to_vec()),
                image: spec.image,
            },
        }
    }
}

