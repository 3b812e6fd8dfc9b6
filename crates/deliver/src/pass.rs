//! Owns one pass over a Kustomization: gather the facts, decide, carry the plan out, record. The
//! larger plans have rooms of their own: `deliver`, `health`, `release`.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_api::kustomization::{KIND, Status};
use weir_api::names::{FINALIZER, reason};
use weir_api::{Kustomization, git_repository};
use weir_artifact::Limits;
use weir_cluster::{Applier, Owner};
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
use crate::spec::{self, Problem, Wanted};

/// The annotation of events that names the revision.
const REVISION: &str = "kustomize.toolkit.fluxcd.io/revision";

/// The reconciler of Kustomization.
pub(crate) struct Kustomizations {
    pub(crate) applier: Applier,
    pub(crate) api: ApiClient,
    pub(crate) events: Recorder,
    pub(crate) clock: SharedClock,
    pub(crate) http: Http,
    /// Those that are worked on here.
    pub(crate) store: Arc<Store>,
    /// Those of all shards.
    pub(crate) all: Arc<Store>,
    pub(crate) sources: Arc<Store>,
    pub(crate) canaries: Arc<Store>,
    pub(crate) limits: Limits,
    pub(crate) default_account: Option<String>,
    pub(crate) no_cross_namespace_refs: bool,
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
pub(crate) struct Pass<'a> {
    pub(crate) all: &'a Kustomizations,
    pub(crate) object: Object,
    pub(crate) status: Status,
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
            Ok(read) => {
                let cross = !self.all.no_cross_namespace_refs;
                spec::wanted(&read.spec, self.object.namespace(), cross)
            }
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
            .find_map(|key| match self.all.all.get(key) {
                None => Some(format!("dependency `{key}` not found")),
                Some(other) if !is_ready(&other) => {
                    Some(format!("dependency `{key}` is not ready"))
                }
                Some(other) => {
                    let same = source_of(&other) == source_of(&self.object);
                    let source = self.all.sources.get(&wanted.source)?;
                    let current = source.text(&["status", "artifact", "revision"]).to_owned();
                    let behind = other.text(&["status", "lastAppliedRevision"]) != current;
                    (same && behind)
                        .then(|| format!("dependency `{key}` revision is not up to date"))
                }
            })
    }

    /// The account that objects are applied as, where it is not the process's own: it is read from
    /// any spec, so that what was applied as somebody is taken away as the same.
    pub(crate) fn account(&self) -> Option<Key> {
        let name = match self.object.text(&["spec", "serviceAccountName"]) {
            "" => self.all.default_account.as_deref()?,
            name => name,
        };
        Some(Key::new(self.object.namespace(), name))
    }

    /// What brings objects to the cluster with the rights that this object may use.
    pub(crate) fn applier(&self) -> Applier {
        match self.account() {
            Some(account) => self.all.applier.acting_as(&account),
            None => self.all.applier.clone(),
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner {
            namespace: self.object.namespace().to_owned(),
            name: self.object.name().to_owned(),
        }
    }

    pub(crate) fn at(&self) -> At {
        At {
            now: self.all.clock.now(),
            generation: self.object.generation(),
        }
    }

    /// Notes that a request by annotation was honoured.
    pub(crate) fn handled(&mut self) {
        if let Some(asked) = requested_at(&self.object) {
            self.status.last_handled_reconcile_at = Some(asked.to_owned());
        }
    }

    /// Writes the status where it differs.
    pub(crate) async fn record(&mut self) -> Result<(), ApiFailure> {
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

    pub(crate) fn tell(&self, kind: EventKind, why: &str, message: &str, revision: Option<&str>) {
        let annotations: Vec<(&str, &str)> = revision.map(|r| (REVISION, r)).into_iter().collect();
        self.all
            .events
            .publish(&self.object, kind, why, message, &annotations);
    }
}

/// Kind and key of the source that a Kustomization names.
pub(crate) fn source_of(object: &Object) -> (String, Key) {
    let text = |field: &str| object.text(&["spec", "sourceRef", field]);
    let namespace = match text("namespace") {
        "" => object.namespace(),
        given => given,
    };
    (text("kind").to_owned(), Key::new(namespace, text("name")))
}
