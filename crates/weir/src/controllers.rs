//! Owns the wiring of the reconcilers: all of them on one context, so on one set of caches.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use tokio::task::JoinSet;
use weir_artifact::{Retention, Storage};
use weir_git::Git;
use weir_runtime::{Context, Controller, SharedClock};

/// What the reconcilers need to know of their process.
#[derive(Clone, Debug)]
pub struct Options {
    /// Under which URL others reach the artifact server.
    pub artifact_base_url: String,
    /// The shortest analysis interval of a Canary.
    pub min_analysis_interval: Duration,
    /// Prometheus for the built-in checks of Canaries that name none.
    pub metrics_server: String,
}

/// Controllers under way.
pub struct Running(JoinSet<()>);

impl Running {
    /// Waits until all have stopped, which they do when their context's `stop` is cancelled.
    pub async fn stopped(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// The artifact store in a directory, made when it is missing.
pub fn artifacts(dir: &Path, clock: SharedClock) -> anyhow::Result<Storage> {
    Storage::new(dir, Retention::default(), clock).with_context(|| {
        format!(
            "artifacts cannot be kept in `{}`; give a writable directory",
            dir.display()
        )
    })
}

/// All controllers, not yet running.
pub fn all(context: &Context, artifacts: &Storage, options: &Options) -> Vec<Controller> {
    let mut all = vec![
        weir_source::controller(
            context,
            weir_source::Options::new(
                artifacts.clone(),
                options.artifact_base_url.as_str(),
                Git::new(context.http.clone()),
            ),
        ),
        weir_deliver::controller(context, weir_deliver::Options::default()),
        weir_canary::controller(
            context,
            weir_canary::Options {
                min_analysis_interval: options.min_analysis_interval,
                metrics_server: options.metrics_server.clone(),
                ..weir_canary::Options::default()
            },
        ),
    ];
    all.extend(weir_image::controllers(
        context,
        weir_image::Options::default(),
    ));
    all
}

/// Starts all controllers.
pub fn start(context: &Context, artifacts: &Storage, options: &Options) -> Running {
    let mut running = JoinSet::new();
    for controller in all(context, artifacts, options) {
        running.spawn(controller.run());
    }
    Running(running)
}

/// Metrics and health of the process.
pub fn observability(context: &Context) -> Router {
    let metrics = context.metrics.clone();
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .route(
            "/metrics",
            get(move || async move {
                let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                (
                    [(axum::http::header::CONTENT_TYPE, media)],
                    metrics.encode(),
                )
            }),
        )
}
