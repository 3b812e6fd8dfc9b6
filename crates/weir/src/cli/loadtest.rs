//! Owns `weir loadtest`: the load tester as a server, until told to stop.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;
use weir_loadtest::{Gates, Programs, Tester};
use weir_runtime::Metrics;
use weir_runtime::http::Http;

use super::access::Access;
use super::run::stopped;

/// Options of `weir loadtest`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadtestOptions {
    /// Where it is served
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    port: u16,
    /// How long one task may take
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::run::duration)]
    timeout: Duration,
    /// Which namespaces' Canaries are served, as a regular expression; all where it is not set
    #[arg(long, value_name = "PATTERN", default_value = "")]
    namespace_regexp: String,
    /// Keep the gates in memory, where a restart forgets them and a second replica has others
    #[arg(long)]
    gates_in_memory: bool,
    /// A program that tasks may run, without a shell; may be given more than once
    #[arg(long = "allow-command", value_name = "PROGRAM")]
    allowed: Vec<String>,
    /// Let tasks run anything in a shell: whoever reaches the tester can do whatever it can
    #[arg(long)]
    enable_commands: bool,
}

pub(crate) use LoadtestOptions as Options;

/// Serves until SIGTERM or Ctrl-C.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let gates = if options.gates_in_memory {
        tracing::warn!("gates are kept in memory: a restart forgets them");
        Gates::in_memory()
    } else {
        let (api, namespace) = access.api().await.context(
            "the gates are kept in a ConfigMap; --gates-in-memory does without a cluster",
        )?;
        let own = std::env::var("RUNTIME_NAMESPACE").ok();
        let namespace = access.namespace.clone().or(own).unwrap_or(namespace);
        tracing::info!(
            namespace,
            "gates are kept in the ConfigMap weir-loadtest-gates"
        );
        Gates::in_cluster(api, &namespace)
    };
    let stop = CancellationToken::new();
    let how = weir_loadtest::Options {
        timeout: options.timeout,
        namespace_regexp: options.namespace_regexp,
        programs: Programs {
            allowed: options.allowed.into_iter().collect::<BTreeSet<_>>(),
            shell: options.enable_commands,
        },
    };
    let http = Http::system(None);
    let tester = Tester::new(gates, http, how, Metrics::new(), stop.clone());
    let tester = tester.map_err(anyhow::Error::msg)?;
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, options.port));
    let listener = tokio::net::TcpListener::bind(at)
        .await
        .with_context(|| format!("{at} cannot be bound; choose another --port"))?;
    tracing::info!(%at, "serving");
    let served = axum::serve(listener, tester.router());
    let served = served.with_graceful_shutdown({
        let stop = stop.clone();
        async move {
            // Whatever comes of waiting, there is nothing more to wait for.
            let _ = stopped().await;
            stop.cancel();
        }
    });
    served.await.context("the server ended")?;
    Ok(ExitCode::SUCCESS)
}
