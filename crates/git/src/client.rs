//! Owns the handle through which reconcilers use Git, and the limits it works under.

use std::sync::Arc;

use tokio::sync::Semaphore;
use weir_runtime::http::Http;

use crate::jobs::{self, Push, RemoteRef};
use crate::{Checkout, GitError, Head, Reference, Remote, exchange};

/// Bounds of what a repository may cost this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one pack, either way.
    pub pack_bytes: usize,
    /// Bytes of a list of references.
    pub listing_bytes: usize,
    /// Bytes of all files of a checkout.
    pub tree_bytes: u64,
    /// Files and directories of a checkout.
    pub entries: u64,
    /// Operations at a time; more wait.
    pub operations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes: 512 << 20,
            listing_bytes: 64 << 20,
            tree_bytes: 1 << 30,
            entries: 200_000,
            operations: 4,
        }
    }
}

/// A handle to Git. Cheap to clone; clones share the limit on operations at a time.
///
/// # Guarantees
/// Each call is one operation bounded by the remote's timeout, waiting for a turn included. A
/// dropped call ends. Nothing is retried, and nothing of a failed call is left on disk.
#[derive(Clone, Debug)]
pub struct Git {
    http: Http,
    limits: Limits,
    permits: Arc<Semaphore>,
}

impl Git {
    /// Git over this HTTP seam with the default limits.
    pub fn new(http: Http) -> Self {
        Self::with_limits(http, Limits::default())
    }

    /// Git over this HTTP seam.
    pub fn with_limits(http: Http, limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.operations.max(1)));
        Self {
            http,
            limits,
            permits,
        }
    }

    /// All references of the remote, in its order. An empty repository has none.
    ///
    /// # Errors
    /// Any [`GitError`] but those of references, paths and pushes.
    pub async fn list(&self, remote: &Remote) -> Result<Vec<RemoteRef>, GitError> {
        let url = remote.shown();
        self.run(remote, move |_| jobs::list(&url)).await
    }

    /// Where `reference` is on the remote now. A commit is taken at its word: only a checkout tells
    /// whether the remote has it.
    ///
    /// # Errors
    /// As [`Git::list`]; [`GitError::BadReference`], [`GitError::Empty`], [`GitError::ReferenceNotFound`].
    pub async fn head(&self, remote: &Remote, reference: &Reference) -> Result<Head, GitError> {
        reference.validate()?;
        let refs = self.list(remote).await?;
        reference.find(&refs, &remote.shown())
    }

    /// Fetches the one commit that `reference` names, without history where the server allows it,
    /// into a temporary directory that lives as long as the value.
    ///
    /// Symbolic links and submodules are left out of the files (they stay in the commit), names
    /// that would leave the directory are refused, and no filter or attribute changes a byte.
    ///
    /// # Errors
    /// As [`Git::head`]; [`GitError::TooLarge`], [`GitError::BadPath`].
    pub async fn checkout(
        &self,
        remote: &Remote,
        reference: &Reference,
    ) -> Result<Checkout, GitError> {
        reference.validate()?;
        let (url, reference, limits) = (remote.shown(), reference.clone(), self.limits.clone());
        self.run(remote, move |stop| {
            jobs::checkout(&url, &reference, &limits, stop)
        })
        .await
    }

    /// Pushes a commit of `checkout`. The reference moves only if it still is where
    /// [`Push::expected`] says: the server compares and swaps.
    ///
    /// # Errors
    /// [`GitError::Rejected`] where it moved or the server refuses; else as [`Git::list`].
    pub async fn push(
        &self,
        remote: &Remote,
        checkout: &Checkout,
        push: Push,
    ) -> Result<(), GitError> {
        let (url, store) = (remote.shown(), checkout.store());
        self.run(remote, move |stop| jobs::push(&url, &store, &push, stop))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        remote: &Remote,
        job: impl FnOnce(&exchange::Stop) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        exchange::run(&self.http, remote, &self.limits, &self.permits, job).await
    }
}
