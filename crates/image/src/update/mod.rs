//! Owns one pass over an ImageUpdateAutomation: gathers the policies' choices and where the
//! repository is, decides, updates, and records.

mod decide;
mod edit;
mod files;
mod message;
mod run;
mod selector;
mod spec;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_api::image_policy::{self, ImageRef};
use weir_api::image_update_automation::Status;
use weir_api::names::reason;
use weir_api::{GitRepository, ImageUpdateAutomation};
use weir_git::{Git, Remote};
use weir_object::Key;
use weir_runtime::{ApiFailure, EventKind, Outcome, Reconciler, SecretData, Store};

use crate::desk::{Desk, Subject};
use crate::trouble::{Next, Trouble};
use crate::verdict::{Told as _, Verdict, pronounce};

use decide::{Observation, Plan, Upstream, decide};
use run::{Done, Run, Seen};
use spec::{Target, Wanted};

/// The sentence of an automation with nothing left to do.
const UP_TO_DATE: &str = "repository up-to-date";
/// How many files an event names.
const NAMED: usize = 10;

/// The reconciler of ImageUpdateAutomation.
pub(crate) struct ImageUpdateAutomations {
    pub(crate) desk: Desk,
    pub(crate) store: Arc<Store>,
    pub(crate) policies: Arc<Store>,
    pub(crate) sources: Arc<Store>,
    pub(crate) git: Git,
    pub(crate) no_cross_namespace_refs: bool,
    pub(crate) attempts: u32,
}

#[async_trait::async_trait]
impl Reconciler for ImageUpdateAutomations {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
            return Outcome::Wait;
        };
        let subject = Subject::new(&self.desk, &object);
        match self.pass(key, subject).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

impl ImageUpdateAutomations {
    async fn pass(
        &self,
        key: &Key,
        mut subject: Subject<'_, Status>,
    ) -> Result<Outcome, ApiFailure> {
        let prepared = self.prepare(&subject);
        let policies = match &prepared {
            Ok((wanted, _, _)) => self.choices(key, wanted),
            Err(_) => BTreeMap::new(),
        };
        let mut seen = Observation {
            facts: subject.facts(),
            problem: prepared.as_ref().err().cloned(),
            observed_policies: subject.status.observed_policies.clone(),
            observed_revision: subject.status.observed_source_revision.clone(),
            pushed: subject.status.last_push_commit.clone(),
            policies: policies.clone(),
            upstream: Upstream::Unasked,
        };
        let plan = decide(&seen);
        let (Plan::Ask, Ok((wanted, target, source))) = (&plan, &prepared) else {
            return match plan {
                Plan::Release => subject.release().await,
                Plan::Fail(trouble) => subject.fail(&trouble).await,
                // A suspended automation says nothing, not even that it saw a request.
                _ => Ok(Outcome::Wait),
            };
        };
        subject.look().await?;
        let images: BTreeMap<String, ImageRef> = policies
            .iter()
            .map(|(name, image)| (format!("{}:{name}", key.namespace), image.clone()))
            .collect();
        let remote = match self.remote(target, source, wanted).await {
            Ok(remote) => remote,
            Err(trouble) => return subject.fail(&trouble).await,
        };
        let run = Run {
            git: &self.git,
            clock: &self.desk.clock,
            wanted,
            target,
            remote: &remote,
            automation: key,
            images: &images,
            attempts: self.attempts,
        };
        let mut found: Option<Seen> = None;
        seen.upstream = match run.look().await {
            Ok(there) => {
                let upstream = Upstream::At {
                    revision: there.head.revision.clone(),
                    switched: target.switched,
                    tip: there.tip.clone(),
                };
                found = Some(there);
                upstream
            }
            Err(trouble) => Upstream::Failed(trouble),
        };
        match (decide(&seen), found) {
            (Plan::Run(why), Some(found)) => {
                tracing::debug!(%key, ?why, "updating");
                match run.run(found).await {
                    Ok(done) => record(&mut subject, wanted, target, policies, done).await,
                    Err(trouble) => subject.fail(&trouble).await,
                }
            }
            (Plan::Fail(trouble), _) => subject.fail(&trouble).await,
            _ => Ok(subject.next(wanted.interval)),
        }
    }

    /// Reads the spec and its source.
    fn prepare(
        &self,
        subject: &Subject<'_, Status>,
    ) -> Result<(Wanted, Target, GitRepository), Trouble> {
        let read = ImageUpdateAutomation::from_object_without_status(&subject.object)
            .map_err(|e| Trouble::stalled(reason::FAILED, e.to_string()))?;
        let namespace = subject.object.namespace();
        let wanted = spec::wanted(&read.spec, namespace, !self.no_cross_namespace_refs)?;
        let away =
            |message: String| Trouble::new(reason::SOURCE_MANAGER_FAILED, Next::Event, message);
        let source = self.sources.get(&wanted.source).ok_or_else(|| {
            away(format!(
                "the GitRepository `{}` was not found; create it, or correct `spec.sourceRef`",
                wanted.source
            ))
        })?;
        let source =
            GitRepository::from_object_without_status(&source).map_err(|e| away(e.to_string()))?;
        let target = spec::target(&wanted, &source.spec)?;
        Ok((wanted, target, source))
    }

    /// What the selected policies chose, by their names.
    fn choices(&self, key: &Key, wanted: &Wanted) -> BTreeMap<String, ImageRef> {
        let chosen = |object: &weir_object::Object| {
            let status = object.get(&["status"])?.clone();
            let status: image_policy::Status = serde_json::from_value(status).ok()?;
            Some((object.name().to_owned(), status.latest_ref?))
        };
        self.policies
            .list_in(&key.namespace)
            .iter()
            .filter(|object| selector::matches(&wanted.selector, object))
            .filter_map(|object| chosen(object))
            .collect()
    }

    /// The source's repository with its credentials, which are the source's namespace's.
    async fn remote(
        &self,
        target: &Target,
        source: &GitRepository,
        wanted: &Wanted,
    ) -> Result<Remote, Trouble> {
        let remote = target.remote.clone();
        let Some(secret) = &source.spec.secret_ref else {
            return Ok(remote);
        };
        let namespace = &wanted.source.namespace;
        let field = "spec.secretRef";
        let data = SecretData::read(&self.desk.api, namespace, &secret.name, field).await;
        data.and_then(|data| remote.login(&data))
            .map_err(|unusable| {
                let message = unusable.to_string();
                Trouble::new(reason::SOURCE_MANAGER_FAILED, Next::Backoff, message)
            })
    }
}

/// The others are as they should be; a marked file that cannot be read is not, and says so until
/// it is mended.
fn verdict(unreadable: &[(String, String)], wanted: &Wanted) -> Verdict {
    let told: Vec<String> = unreadable
        .iter()
        .take(NAMED)
        .map(|(path, what)| format!("`{path}` holds a marker and was left as it is: {what}"))
        .collect();
    if told.is_empty() {
        return Verdict::Succeeded(UP_TO_DATE.to_owned());
    }
    let message = format!("{}; mend the file, or remove the marker", told.join("; "));
    Verdict::Failed(Trouble::new(
        reason::UPDATE_FAILED,
        Next::After(wanted.interval),
        message,
    ))
}

async fn record(
    subject: &mut Subject<'_, Status>,
    wanted: &Wanted,
    target: &Target,
    policies: BTreeMap<String, ImageRef>,
    done: Done,
) -> Result<Outcome, ApiFailure> {
    let at = subject.at();
    let (was_ready, asked) = (subject.status.is_ready(), subject.facts().asked);
    let mut status = subject.status.clone();
    status.last_automation_run_time = Some(at.now.into());
    status.observed_policies = policies;
    status.observed_source_revision = Some(done.revision);
    if let Some(pushed) = &done.pushed {
        status.last_push_commit = Some(pushed.commit.clone());
        status.last_push_time = Some(at.now.into());
    }
    let verdict = verdict(&done.unreadable, wanted);
    subject.record(pronounce(&status, &verdict, &at)).await?;
    if let Some(pushed) = &done.pushed {
        let short = pushed.commit.get(..7).unwrap_or(&pushed.commit);
        let also = target.also.as_ref().filter(|_| done.afterwards.is_none());
        let also = also.map_or(String::new(), |(_, refspec)| {
            format!(" and refspecs '{refspec}'")
        });
        let message = format!(
            "pushed commit '{short}' to branch '{}'{also}\n{}",
            target.push_branch, pushed.message
        );
        subject.tell(EventKind::Normal, reason::SUCCEEDED, &message);
    } else if !was_ready || asked {
        subject.tell(EventKind::Normal, reason::SUCCEEDED, UP_TO_DATE);
    }
    for (path, what) in done.unreadable.iter().take(NAMED) {
        let message = format!("`{path}` holds a marker and was left as it is: {what}");
        subject.tell(EventKind::Warning, reason::UPDATE_FAILED, &message);
    }
    if let Some(rest) = done.unreadable.len().checked_sub(NAMED).filter(|n| *n > 0) {
        let message = format!("{rest} more files hold a marker and could not be read");
        subject.tell(EventKind::Warning, reason::UPDATE_FAILED, &message);
    }
    if let Some(trouble) = &done.afterwards {
        // The branch has the commit; what is left is told, and tried with the next one.
        subject.tell(EventKind::Warning, trouble.reason, &trouble.message);
    }
    Ok(subject.next(wanted.interval))
}
