//! Owns `weir run`: the controllers against a cluster, until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;
use weir_runtime::http::Http;
use weir_runtime::{Context, SystemClock};

use super::access::Access;
use crate::controllers;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// Options of `weir run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where artifacts are kept
    #[arg(long, value_name = "DIR", default_value = "/data")]
    storage_path: PathBuf,
    /// Where artifacts are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    storage_addr: SocketAddr,
    /// Under which address others reach the artifacts
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        default_value = "source-controller.flux-system.svc"
    )]
    storage_adv_addr: String,
    /// Where metrics and health are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_addr: SocketAddr,
    /// The shortest analysis interval of a Canary, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    min_analysis_interval: u64,
    /// Prometheus for the built-in checks of Canaries that name none
    #[arg(long, value_name = "URL", default_value = "http://prometheus:9090")]
    metrics_server: String,
    /// The form of the log
    #[arg(long, value_enum, default_value = "json")]
    pub(crate) log_format: LogFormat,
}

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let (client, _) = access.client().await?;
    let stop = CancellationToken::new();
    let context = Context::new(
        client,
        Http::system(None),
        Arc::new(SystemClock),
        stop.clone(),
    );
    let artifacts = controllers::artifacts(&options.storage_path, context.clock.clone())?;
    let served = serve(options.storage_addr, artifacts.router(), stop.clone()).await?;
    let metrics = serve(
        options.metrics_addr,
        controllers::observability(&context),
        stop.clone(),
    )
    .await?;
    let running = controllers::start(
        &context,
        &artifacts,
        &controllers::Options {
            artifact_base_url: format!("http://{}", options.storage_adv_addr),
            min_analysis_interval: Duration::from_secs(options.min_analysis_interval),
            metrics_server: options.metrics_server,
        },
    );
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "running");
    stopped().await?;
    tracing::info!("stopping");
    stop.cancel();
    running.stopped().await;
    // Both end by the same token.
    let _ = tokio::join!(served, metrics);
    Ok(ExitCode::SUCCESS)
}

/// Waits for SIGTERM or Ctrl-C.
pub(crate) async fn stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn serve(
    at: SocketAddr,
    router: axum::Router,
    stop: CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let listener = tokio::net::TcpListener::bind(at)
        .await
        .with_context(|| format!("{at} cannot be bound; choose another address"))?;
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(e) = served.await {
            tracing::error!(%at, %e, "a server ended");
        }
    }))
}
