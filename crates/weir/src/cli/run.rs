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
use weir_runtime::lease::Terms;
use weir_runtime::{Context, Gate, SystemClock};

use super::access::Access;
use crate::controllers::{self, Role, Tenancy};
use crate::health;
use crate::leaders::{self, Seats, Served, Standings};

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
    /// Which controllers to be; all by default
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Role::ALL, value_name = "NAME")]
    roles: Vec<Role>,
    /// Where artifacts are kept
    #[arg(long, value_name = "DIR", default_value = "/data")]
    storage_path: PathBuf,
    /// Where artifacts are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090", value_parser = address)]
    storage_addr: SocketAddr,
    /// Under which address others reach the artifacts
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        default_value = "source-controller.flux-system.svc"
    )]
    storage_adv_addr: String,
    /// Where metrics and health are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    metrics_addr: SocketAddr,
    /// Where health is served as well, for probes that ask there
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    health_addr: Option<SocketAddr>,
    #[command(flatten)]
    canaries: super::canaries::CanaryOptions,
    /// Work only on the objects that this label selector selects, as one of several shards does;
    /// what they refer to may be any
    #[arg(long, value_name = "SELECTOR", default_value = "", value_parser = selector)]
    watch_label_selector: String,
    /// Act as this ServiceAccount of a Kustomization's namespace where it names none
    #[arg(long, value_name = "NAME")]
    default_service_account: Option<String>,
    /// Refuse references to sources, images, templates and providers of other namespaces
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value = "false", action = clap::ArgAction::Set, hide_possible_values = true)]
    no_cross_namespace_refs: bool,
    /// The Service that leads to the artifacts of the leader
    #[arg(long, value_name = "NAME", default_value = "source-controller")]
    storage_service: String,
    /// Work only while holding the Lease of each role, as several replicas must
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value = "false", action = clap::ArgAction::Set, hide_possible_values = true)]
    enable_leader_election: bool,
    /// Where the Leases and the emergency stop are; otherwise $RUNTIME_NAMESPACE, or flux-system
    #[arg(long, value_name = "NAME")]
    leader_election_namespace: Option<String>,
    /// How long others wait for a holder that gives no sign
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    leader_election_lease_duration: Duration,
    /// How long a holder tries to renew before it stops
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    leader_election_renew_deadline: Duration,
    /// Between two attempts to take or renew a Lease
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    leader_election_retry_period: Duration,
    /// The form of the log
    #[arg(long, value_enum, default_value = "json")]
    pub(crate) log_format: LogFormat,
}

/// A duration as Go writes it: `15s`, `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    weir_gocompat::parse_duration(text).map_err(|e| e.to_string())
}

/// An address, whose host may be left out for all of the machine's: `:8080`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let given = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.to_owned(),
    };
    given
        .parse()
        .map_err(|_| "give it as HOST:PORT or :PORT".to_owned())
}

/// A label selector that can be read.
fn selector(text: &str) -> Result<String, String> {
    weir_object::labels::parse(text).map(|_| text.to_owned())
}

impl Options {
    /// The namespace of the controllers themselves.
    fn namespace(&self) -> String {
        let own = || std::env::var("RUNTIME_NAMESPACE").ok();
        let given = self.leader_election_namespace.clone().or_else(own);
        given.unwrap_or_else(|| "flux-system".to_owned())
    }

    fn seats(&self) -> anyhow::Result<Seats> {
        let host = std::env::var("POD_NAME").ok();
        let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        let address = match std::env::var("POD_IP") {
            Ok(text) => Some(text.parse().with_context(|| {
                format!("POD_IP is `{text}`, which is no address; take it from `status.podIP`")
            })?),
            Err(_) => None,
        };
        let terms = Terms {
            duration: self.leader_election_lease_duration,
            renew: self.leader_election_renew_deadline,
            retry: self.leader_election_retry_period,
        };
        Ok(Seats {
            roles: self.roles.clone(),
            namespace: self.namespace(),
            identity: leaders::identity(host.as_deref().unwrap_or("weir").trim()),
            terms: terms.checked()?,
            artifacts: address.map(|address| Served {
                address,
                port: self.storage_addr.port(),
                service: self.storage_service.clone(),
            }),
        })
    }
}

/// Runs until SIGTERM or Ctrl-C, or until a Lease is lost.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let seats = options.seats()?;
    let (client, _) = access.client().await?;
    let stop = CancellationToken::new();
    let mut context = Context::new(
        client,
        Http::system(None),
        Arc::new(SystemClock),
        stop.clone(),
    );
    context.gate = Gate::watching(&context.caches, &seats.namespace);
    context.shard.clone_from(&options.watch_label_selector);
    let standings = Standings::default();
    // Servers outlive the work, so that what is under way can still be fetched and looked at.
    let close = CancellationToken::new();
    let (mut artifacts, mut served) = (None, None);
    if seats.roles.contains(&Role::Source) {
        let kept = controllers::artifacts(&options.storage_path, context.clock.clone())?;
        served = Some(serve(options.storage_addr, kept.router(), close.clone()).await?);
        artifacts = Some(kept);
    }
    let health = health::router(&context, &standings);
    let mut probed = None;
    if let Some(at) = options.health_addr {
        probed = Some(serve(at, health.clone(), close.clone()).await?);
    }
    let metrics = serve(options.metrics_addr, health, close.clone()).await?;
    let wiring = controllers::Options {
        artifact_base_url: format!("http://{}", options.storage_adv_addr),
        canary: options.canaries.read()?,
        tenancy: Tenancy {
            default_service_account: options.default_service_account.clone(),
            no_cross_namespace_refs: options.no_cross_namespace_refs,
        },
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = seats.identity,
        "running"
    );
    let signal = tokio::spawn({
        let stop = stop.clone();
        async move {
            let told = stopped().await;
            tracing::info!("stopping");
            stop.cancel();
            told
        }
    });
    let ended = if options.enable_leader_election {
        leaders::play(&context, artifacts.as_ref(), &wiring, &seats, &standings).await
    } else {
        controllers::start(&context, &seats.roles, artifacts.as_ref(), &wiring)
            .stopped()
            .await;
        Ok(())
    };
    signal.abort();
    close.cancel();
    // All end by the same token.
    for server in [served, probed, Some(metrics)].into_iter().flatten() {
        let _ = server.await;
    }
    ended.map(|()| ExitCode::SUCCESS)
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
