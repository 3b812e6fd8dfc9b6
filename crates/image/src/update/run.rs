//! Owns one update: check out, set the marks, commit, push.
//!
//! The commit's parent is the commit that the branch is expected at, so that the server takes it only
//! where nobody pushed in between. Where somebody did, the whole update starts anew from the new
//! state, a bounded number of times; nothing is ever overwritten. An update that was pushed and then
//! forgotten, as in a crash, is found to have nothing to change.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_api::image_policy::ImageRef;
use weir_api::names::reason;
use weir_git::{
    Change, Checkout, Expected, Git, GitError, Head, NewCommit, Push, Reference, Remote, RemoteRef,
};
use weir_object::Key;
use weir_runtime::SharedClock;

use super::files::{self, Report};
use super::message;
use super::spec::{Target, Wanted, head, tip};
use crate::trouble::{Next, Trouble};

/// What an update works with.
pub(crate) struct Run<'a> {
    pub(crate) git: &'a Git,
    pub(crate) clock: &'a SharedClock,
    pub(crate) wanted: &'a Wanted,
    pub(crate) target: &'a Target,
    /// With the credentials.
    pub(crate) remote: &'a Remote,
    pub(crate) automation: &'a Key,
    /// By `namespace:policy`.
    pub(crate) images: &'a BTreeMap<String, ImageRef>,
    pub(crate) attempts: u32,
}

/// What became of an update.
#[derive(Debug)]
pub(crate) struct Done {
    /// The revision that the manifests are at now.
    pub(crate) revision: String,
    /// What was pushed, where anything was.
    pub(crate) pushed: Option<Pushed>,
    /// Files that hold a marker and cannot be read.
    pub(crate) unreadable: Vec<(String, String)>,
    /// What went wrong after the commit was pushed to its branch.
    pub(crate) afterwards: Option<Trouble>,
}

/// A pushed commit.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) commit: String,
    pub(crate) message: String,
}

/// What the remote has.
pub(crate) struct Seen {
    pub(crate) refs: Vec<RemoteRef>,
    pub(crate) reference: Reference,
    pub(crate) head: Head,
    /// The commit that the branch to push to is at.
    pub(crate) tip: Option<String>,
}

impl Run<'_> {
    /// Asks the remote where it is: one listing of references.
    pub(crate) async fn look(&self) -> Result<Seen, Trouble> {
        let refs = self.git.list(self.remote).await;
        let refs = refs.map_err(|e| self.trouble("listing the repository's references", &e))?;
        let (reference, head) =
            head(&self.target.choice, &refs, &self.remote.shown()).map_err(|message| {
                Trouble::new(reason::GIT_OPERATION_FAILED, Next::Backoff, message)
            })?;
        let tip = tip(&refs, &self.branch());
        Ok(Seen {
            refs,
            reference,
            head,
            tip,
        })
    }

    /// Updates, starting from what the remote has.
    pub(crate) async fn run(&self, mut seen: Seen) -> Result<Done, Trouble> {
        for _ in 1..self.attempts {
            match self.once(&seen).await? {
                Ok(done) => return Ok(done),
                Err(rejected) => {
                    tracing::info!(automation = %self.automation, %rejected, "starting anew");
                    seen = self.look().await?;
                }
            }
        }
        let last = self.once(&seen).await?;
        last.map_err(|e| self.trouble("push", &e))
    }

    /// One attempt. The inner failure is a push that somebody else was faster than.
    async fn once(&self, seen: &Seen) -> Result<Result<Done, GitError>, Trouble> {
        // A branch to push to goes on from where it is, so that it never has to be overwritten.
        let from = match (self.target.switched, &seen.tip) {
            (true, Some(_)) => Reference::Branch(self.target.push_branch.clone()),
            _ => seen.reference.clone(),
        };
        let checkout = self.git.checkout(self.remote, &from).await;
        let mut checkout = checkout.map_err(|e| self.trouble("checkout", &e))?;
        let expected = match (self.target.switched, &seen.tip) {
            (true, None) => Expected::Absent,
            _ => Expected::At(checkout.oid().to_owned()),
        };
        let report = self.edit(&checkout).await?;
        let unreadable = report.unreadable.clone();
        let revision = |checkout: &Checkout| {
            if self.target.switched {
                seen.head.revision.clone()
            } else {
                checkout.revision().to_owned()
            }
        };
        let Some(pushed) = self.commit(&mut checkout, report).await? else {
            return Ok(Ok(Done {
                revision: revision(&checkout),
                pushed: None,
                unreadable,
                afterwards: None,
            }));
        };
        let push = Push {
            commit: pushed.commit.clone(),
            reference: self.branch(),
            expected,
            force: false,
        };
        match self.git.push(self.remote, &checkout, push).await {
            Ok(()) => {}
            Err(rejected @ GitError::Rejected { .. }) => return Ok(Err(rejected)),
            Err(e) => return Err(self.trouble("push", &e)),
        }
        Ok(Ok(Done {
            revision: revision(&checkout),
            afterwards: self.push_also(&checkout, &pushed, seen).await,
            pushed: Some(pushed),
            unreadable,
        }))
    }

    /// Pushes to the refspec too. The branch comes first, as it is what the next update starts from.
    async fn push_also(
        &self,
        checkout: &Checkout,
        pushed: &Pushed,
        seen: &Seen,
    ) -> Option<Trouble> {
        let (reference, _) = self.target.also.clone()?;
        if reference == self.branch() {
            return None;
        }
        let expected = tip(&seen.refs, &reference).map_or(Expected::Absent, Expected::At);
        let push = Push {
            commit: pushed.commit.clone(),
            reference,
            expected,
            force: false,
        };
        let done = self.git.push(self.remote, checkout, push).await;
        // The next update pushes again; this one is on its branch already.
        done.err().map(|e| Trouble {
            next: Next::After(self.wanted.interval),
            ..self.trouble("push of `spec.git.push.refspec`", &e)
        })
    }

    async fn edit(&self, checkout: &Checkout) -> Result<Report, Trouble> {
        let (root, path) = (checkout.dir().to_owned(), self.wanted.path.clone());
        let images = self.images.clone();
        let failed = |what: String| {
            let message = format!("reading the manifests failed on this side: {what}");
            Trouble::new(reason::UPDATE_FAILED, Next::Backoff, message)
        };
        let task = tokio::task::spawn_blocking(move || files::update(&root, &path, &images));
        let report = task.await.map_err(|e| failed(e.to_string()))?;
        report.map_err(|e| failed(e.to_string()))?.ok_or_else(|| {
            let message = format!(
                "`spec.update.path` leads to `{}`, which is not in `{}` at `{}`; correct it, or push \
                 the directory",
                self.wanted.path,
                self.remote.shown(),
                checkout.revision()
            );
            Trouble::new(
                reason::UPDATE_FAILED,
                Next::After(self.wanted.interval),
                message,
            )
        })
    }

    async fn commit(
        &self,
        checkout: &mut Checkout,
        report: Report,
    ) -> Result<Option<Pushed>, Trouble> {
        if report.edited.is_empty() {
            return Ok(None);
        }
        let wanted = self.wanted;
        let message = message::render(
            wanted.template.as_ref(),
            self.automation,
            &wanted.values,
            &report.edited,
        )
        .map_err(|e| {
            let field = "`spec.git.commit.messageTemplate`";
            let message = format!("{field} cannot be rendered: {e}; correct it");
            Trouble::new(reason::UPDATE_FAILED, Next::Never, message)
        })?;
        let changes: Vec<Change> = report
            .edited
            .into_iter()
            .map(|file| Change {
                path: file.path,
                content: Some(file.content.into_bytes()),
            })
            .collect();
        let commit = NewCommit {
            author_name: wanted.author_name.clone(),
            author_email: wanted.author_email.clone(),
            message: message.clone(),
            seconds: self.clock.now().as_second(),
        };
        let made = checkout.commit(changes, commit).await;
        let made = made.map_err(|e| self.trouble("commit", &e))?;
        Ok(made.map(|commit| Pushed { commit, message }))
    }

    fn branch(&self) -> String {
        format!("refs/heads/{}", self.target.push_branch)
    }

    fn trouble(&self, doing: &str, e: &GitError) -> Trouble {
        let interval: Duration = self.wanted.interval;
        Trouble::git(doing, e, interval)
    }
}
