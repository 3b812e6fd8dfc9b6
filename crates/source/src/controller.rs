//! Owns putting the reconciler together with its watch and queue.

use std::time::Duration;

use weir_api::git_repository::KIND;
use weir_api::names::SOURCE_CONTROLLER;
use weir_artifact::Storage;
use weir_git::Git;
use weir_runtime::{Context, Controller, ControllerOptions};

use crate::reconcile::GitRepositories;

/// How sources are fetched and kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where artifacts are kept.
    pub storage: Storage,
    /// The address of the store's server, as consumers reach it, such as `http://source:9790`.
    pub artifact_base_url: String,
    /// Git; clones share its limit on operations at a time.
    pub git: Git,
    /// Repositories worked on at once.
    pub workers: usize,
    /// How long a retry of a failed fetch waits at most; the first waits 750 ms, each next twice
    /// as long.
    pub longest_retry: Duration,
}

impl Options {
    /// Options with the usual numbers.
    pub fn new(storage: Storage, artifact_base_url: impl Into<String>, git: Git) -> Self {
        Self {
            storage,
            artifact_base_url: artifact_base_url.into(),
            git,
            workers: 4,
            longest_retry: Duration::from_mins(15),
        }
    }
}

/// The controller of GitRepository.
pub fn controller(context: &Context, options: Options) -> Controller {
    let mut settings = ControllerOptions {
        workers: options.workers,
        ..ControllerOptions::default()
    };
    settings.backoff.most = options.longest_retry;
    let reconciler = GitRepositories {
        api: context.api.with_manager(SOURCE_CONTROLLER),
        events: context.events.named(SOURCE_CONTROLLER),
        clock: context.clock.clone(),
        store: context.caches.watch(context.own(&KIND)),
        storage: options.storage,
        git: options.git,
        base_url: options.artifact_base_url.trim_end_matches('/').to_owned(),
    };
    Controller::new(context, "gitrepository", &KIND, reconciler, settings)
        .managed_by(SOURCE_CONTROLLER)
}
