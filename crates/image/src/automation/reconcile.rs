//! Owns one pass over an ImageUpdateAutomation: gathers the facts, has them decided, and runs.
//!
//! # Flow of a run
//! 1. Check out the newest state, edit, commit.
//! 2. Push, expecting the branch where the checkout found it. A push that is rejected because
//!    somebody was quicker starts again from the new state; nothing is ever forced.
//! 3. Record the commit in the status.
//!
//! A crash between 2 and 3 does not commit twice: the next run finds the images already there.

use std::sync::Arc;

use weir_api::git_repository::Spec as SourceSpec;
use weir_api::image_update_automation::Status;
use weir_api::names::reason;
use weir_api::{GitRepository, ImageUpdateAutomation};
use weir_git::{Change, Expected, Git, GitError, NewCommit, Push, Reference, Remote};
use weir_object::{Key, Object};
use weir_runtime::{ApiFailure, EventKind, Outcome, Reconciler, Store};

use super::decide::{Observation, Plan, Policies, Upstream, decide};
use super::edit::Images;
use super::files::{self, Edits};
use super::message::{self, Told};
use super::select;
use super::source::{Place, git_failed, place};
use super::spec::{Wanted, wanted};
use crate::failure::{Failure, Next, Problem};
use crate::secrets::Data;
use crate::subject::{Desk, Subject};

/// How often a run starts again because somebody else pushed.
const ATTEMPTS: usize = 5;
const UP_TO_DATE: &str = "repository up-to-date";

/// The reconciler of ImageUpdateAutomation.
pub(crate) struct Automations {
    pub(crate) desk: Desk,
    pub(crate) store: Arc<Store>,
    pub(crate) sources: Arc<Store>,
    pub(crate) policies: Arc<Store>,
    pub(crate) git: Git,
}

/// The GitRepository that an automation names.
pub(crate) fn source_of(automation: &Object) -> Key {
    let name = automation.text(&["spec", "sourceRef", "name"]);
    match automation.text(&["spec", "sourceRef", "namespace"]) {
        "" => Key::new(automation.namespace(), name),
        namespace => Key::new(namespace, name),
    }
}

/// What a run left.
struct Ran {
    /// The revision that was edited, or that was pushed.
    revision: String,
    /// The commit, its branch and message, where there was something to commit.
    pushed: Option<Pushed>,
    /// Files that could not be read.
    unreadable: Vec<String>,
}

struct Pushed {
    oid: String,
    branch: String,
    message: String,
}

/// The spec, its source and the place made of the two.
struct Ready {
    wanted: Wanted,
    source: Key,
    spec: SourceSpec,
    place: Place,
}

#[async_trait::async_trait]
impl Reconciler for Automations {
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

impl Automations {
    async fn pass(&self, subject: &mut Subject<'_, Status>) -> Result<Outcome, ApiFailure> {
        let object = subject.object.clone();
        let spec = ImageUpdateAutomation::from_object_without_status(&object).map(|r| r.spec);
        let wanted = match &spec {
            Ok(spec) => wanted(spec),
            Err(e) => Err(Problem::new(reason::FAILED, e.to_string())),
        };
        let problem = wanted.as_ref().err().cloned();
        let selector = wanted.as_ref().ok().and_then(|w| w.selector.clone());
        let ready = wanted.map_err(|_| None).and_then(|wanted| {
            self.ready(source_of(&object), wanted)
                .map_err(|failure| Some(failure))
        });
        let mut seen = Observation {
            life: subject.life(),
            suspended: subject.suspended(),
            problem,
            source: ready.as_ref().err().and_then(Clone::clone),
            switches: ready.as_ref().is_ok_and(|ready| ready.place.switches()),
            policies: self.chosen(object.namespace(), selector.as_ref()),
            observed_policies: subject.status.observed_policies.clone(),
            upstream: Upstream::Unasked,
            observed_revision: subject.status.observed_source_revision.clone(),
            settled: subject.settled(),
        };
        let mut plan = decide(&seen);
        if let (Plan::Ask, Ok(ready)) = (&plan, &ready) {
            seen.upstream = match self.ask(ready).await {
                Ok(revision) => Upstream::At(revision),
                Err(failure) => Upstream::Failed(failure),
            };
            plan = decide(&seen);
        }
        let interval = ready.as_ref().map(|r| r.wanted.interval).unwrap_or_default();
        match (plan, ready) {
            (Plan::Release, _) => subject.release().await,
            (Plan::Stall(problem), _) => subject.stall(&problem).await,
            (Plan::Fail(failure), _) => subject.fail(&failure, interval).await,
            (Plan::Keep, Ok(_)) => {
                subject.seen().await?;
                Ok(Outcome::After(interval))
            }
            (Plan::Run, Ok(ready)) => {
                subject.working().await?;
                match self.run(&object, &ready, &seen.policies).await {
                    Ok(ran) => self.record(subject, ran, seen.policies, interval).await,
                    Err(failure) => subject.fail(&failure, interval).await,
                }
            }
            // Nothing to do, or a plan that cannot follow from a spec that could not be read.
            (Plan::LetGo | Plan::Rest | Plan::Ask | Plan::Keep | Plan::Run, _) => Ok(Outcome::Wait),
        }
    }

    fn ready(&self, source: Key, wanted: Wanted) -> Result<Ready, Failure> {
        let failed = |message: String| {
            Failure::new(reason::SOURCE_MANAGER_FAILED, message, Next::Change)
        };
        let object = self.sources.get(&source).ok_or_else(|| {
            failed(format!(
                "the GitRepository `{source}` was not found; create it, or correct `spec.sourceRef`"
            ))
        })?;
        let spec = GitRepository::from_object_without_status(&object);
        let spec = spec.map_err(|e| failed(e.to_string()))?.spec;
        let place = place(&source.to_string(), &spec, &wanted)?;
        Ok(Ready {
            wanted,
            source,
            spec,
            place,
        })
    }

    /// The images of the policies that are selected and have chosen one.
    fn chosen(&self, namespace: &str, selector: Option<&weir_api::LabelSelector>) -> Policies {
        let policies = self.policies.list_in(namespace);
        let policies = policies.iter().filter(|p| select::chooses(selector, p));
        policies
            .filter_map(|policy| {
                let latest = policy.get(&["status", "latestRef"])?.clone();
                let latest = serde_json::from_value(latest).ok()?;
                Some((policy.name().to_owned(), latest))
            })
            .collect()
    }

    async fn remote(&self, ready: &Ready) -> Result<Remote, Failure> {
        let remote = ready.place.remote.clone();
        match &ready.spec.secret_ref {
            None => Ok(remote),
            Some(secret) => {
                let key = Key::new(ready.source.namespace.as_str(), secret.name.as_str());
                let field = format!("secretRef` of the GitRepository `{}", ready.source);
                Data::read(&self.desk.api, &key, &field).await?.git(remote)
            }
        }
    }

    async fn ask(&self, ready: &Ready) -> Result<String, Failure> {
        let remote = self.remote(ready).await?;
        let head = self.git.head(&remote, &ready.place.checkout).await;
        head.map(|head| head.revision).map_err(|e| git_failed(&e))
    }

    async fn run(
        &self,
        object: &Object,
        ready: &Ready,
        policies: &Policies,
    ) -> Result<Ran, Failure> {
        let remote = self.remote(ready).await?;
        let mut rejected = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(object, ready, &remote, policies).await? {
                Ok(ran) => return Ok(ran),
                Err(e) => rejected = Some(e),
            }
        }
        let last = rejected.as_ref().map(ToString::to_string);
        Err(Failure::new(
            reason::GIT_OPERATION_FAILED,
            format!(
                "{ATTEMPTS} pushes in a row were rejected; the last: {}",
                last.unwrap_or_default()
            ),
            Next::Backoff,
        ))
    }

    /// One attempt; the inner failure is a push that was rejected.
    async fn attempt(
        &self,
        object: &Object,
        ready: &Ready,
        remote: &Remote,
        policies: &Policies,
    ) -> Result<Result<Ran, GitError>, Failure> {
        let Ready { wanted, place, .. } = ready;
        let failed = |e: GitError| git_failed(&e);
        let branch = Reference::Branch(place.branch.clone());
        let (mut base, mut exists) = (place.checkout.clone(), true);
        let mut observed = None;
        if place.switches() {
            observed = Some(self.git.head(remote, &place.checkout).await.map_err(failed)?);
            match self.git.head(remote, &branch).await {
                // The branch is gone on with where there is one.
                Ok(_) => base = branch.clone(),
                Err(GitError::ReferenceNotFound { .. }) => exists = false,
                Err(e) => return Err(failed(e)),
            }
        }
        let mut checkout = self.git.checkout(remote, &base).await.map_err(failed)?;
        let before = checkout.oid().to_owned();
        let namespace = object.namespace();
        let images: Images = policies
            .iter()
            .map(|(name, image)| (format!("{namespace}:{name}"), image.clone()))
            .collect();
        let edits = self.edits(checkout.dir().to_owned(), wanted, images.clone());
        let Edits {
            written,
            unreadable,
        } = edits.await?;
        let mut pushed = None;
        if !written.is_empty() {
            let told = Told {
                automation: &object.key(),
                images: written_images(&written, &images),
                written: &written,
                values: &wanted.values,
            };
            let message = message::render(&wanted.template, &told).map_err(|e| {
                Failure::new(
                    reason::UPDATE_FAILED,
                    format!("`spec.git.commit.messageTemplate` failed: {e}; correct it"),
                    Next::Interval,
                )
            })?;
            let commit = NewCommit {
                author_name: wanted.author.0.clone(),
                author_email: wanted.author.1.clone(),
                message: message.clone(),
                seconds: self.desk.clock.now().as_second(),
            };
            let changes = written.into_iter().map(|file| Change {
                path: file.path,
                content: Some(file.content),
            });
            let made = checkout.commit(changes.collect(), commit).await;
            if let Some(oid) = made.map_err(failed)? {
                let push = Push {
                    commit: oid.clone(),
                    reference: format!("refs/heads/{}", place.branch),
                    expected: if exists {
                        Expected::At(before)
                    } else {
                        Expected::Absent
                    },
                    force: false,
                };
                match self.git.push(remote, &checkout, push).await {
                    Ok(()) => {}
                    Err(e @ GitError::Rejected { .. }) => return Ok(Err(e)),
                    Err(e) => return Err(failed(e)),
                }
                pushed = Some(Pushed {
                    oid,
                    branch: place.branch.clone(),
                    message,
                });
            }
        }
        let revision = observed.map_or_else(|| checkout.revision().to_owned(), |h| h.revision);
        Ok(Ok(Ran {
            revision,
            pushed,
            unreadable,
        }))
    }

    async fn edits(
        &self,
        dir: std::path::PathBuf,
        wanted: &Wanted,
        images: Images,
    ) -> Result<Edits, Failure> {
        let path = wanted.path.clone();
        let edited =
            tokio::task::spawn_blocking(move || files::edit_all(&dir, &path, &images)).await;
        edited
            .unwrap_or_else(|e| Err(format!("editing ended abnormally: {e}")))
            .map_err(|message| Failure::new(reason::UPDATE_FAILED, message, Next::Interval))
    }

    async fn record(
        &self,
        subject: &mut Subject<'_, Status>,
        ran: Ran,
        policies: Policies,
        interval: std::time::Duration,
    ) -> Result<Outcome, ApiFailure> {
        let now = self.desk.clock.now();
        let mut status = Status {
            last_automation_run_time: Some(now.into()),
            observed_policies: policies,
            observed_source_revision: Some(ran.revision),
            ..subject.status.clone()
        };
        if let Some(pushed) = &ran.pushed {
            status.last_push_commit = Some(pushed.oid.clone());
            status.last_push_time = Some(now.into());
        }
        let news = if ran.unreadable.is_empty() {
            subject.succeed(&status, UP_TO_DATE).await?
        } else {
            subject.status = status;
            let message = format!(
                "{} of the files with markers cannot be edited and were left as they are: {}",
                ran.unreadable.len(),
                ran.unreadable.join("; ")
            );
            // A correction is a new revision, which is told of or found at the interval.
            let failure = Failure::new(reason::UPDATE_FAILED, message, Next::Interval);
            subject.fail(&failure, interval).await?;
            false
        };
        if let Some(Pushed {
            oid,
            branch,
            message,
        }) = &ran.pushed
        {
            let short = oid.get(..7).unwrap_or(oid);
            let text = format!("pushed commit '{short}' to branch '{branch}'\n{message}");
            subject.tell(EventKind::Normal, reason::SUCCEEDED, &text);
        } else if news {
            subject.tell(EventKind::Normal, reason::SUCCEEDED, UP_TO_DATE);
        }
        Ok(Outcome::After(interval))
    }
}

/// The images that the changes wrote, each once.
fn written_images(written: &[files::Written], images: &Images) -> Vec<String> {
    let changes = written.iter().flat_map(|file| &file.changes);
    let mut all: Vec<String> = changes
        .filter_map(|change| {
            let policy: Vec<&str> = change.setter.splitn(3, ':').take(2).collect();
            images.get(&policy.join(":")).map(ToString::to_string)
        })
        .collect();
    all.sort();
    all.dedup();
    all
}
