//! Owns what a hosting service's webhooks do elsewhere: a push to the sandbox's Git server or
//! registry asks the objects that look at it for a reconciliation now, by the annotation that
//! people know.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use weir_api::names::REQUESTED_AT;
use weir_object::{Kind, Object};
use weir_runtime::{ApiClient, Context, Store, WatchOf, Write};

use crate::gitserver::GitPush;
use crate::registry::RegistryPush;

/// Follows pushes until both servers are gone.
pub(crate) async fn run(
    context: Context,
    mut git: Receiver<GitPush>,
    mut images: Receiver<RegistryPush>,
) {
    let api = context.api.with_manager("sandbox");
    let repositories = context
        .caches
        .watch(WatchOf::all(&weir_api::git_repository::KIND));
    let scans = context
        .caches
        .watch(WatchOf::all(&weir_api::image_repository::KIND));
    let now = || context.clock.now().to_string();
    loop {
        tokio::select! {
            push = git.recv() => match push {
                Ok(push) => {
                    let end = format!("/{}", push.repository);
                    let looks = |o: &Object| o.text(&["spec", "url"]).ends_with(&end);
                    ask(&api, &weir_api::git_repository::KIND, &repositories, looks, &now()).await;
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            push = images.recv() => match push {
                Ok(push) => {
                    let end = format!("/{}", push.repository);
                    let looks = |o: &Object| o.text(&["spec", "image"]).ends_with(&end);
                    ask(&api, &weir_api::image_repository::KIND, &scans, looks, &now()).await;
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

async fn ask(
    api: &ApiClient,
    kind: &Kind,
    store: &Arc<Store>,
    looks: impl Fn(&Object) -> bool,
    now: &str,
) {
    for object in store.list().into_iter().filter(|o| looks(o)) {
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: now}}});
        if let Err(failure) = api.write(kind, &object.key(), Write::Merge(patch)).await {
            tracing::warn!(%failure, "a webhook was lost");
        }
    }
}
