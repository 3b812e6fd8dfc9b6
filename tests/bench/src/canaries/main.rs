//! Measures Weir with many Canaries against one Kubernetes API, and prints what it saw as JSON. The
//! API is one in this process, or that of a kubeconfig; Weir is a process of its own. Nothing runs
//! pods: Deployments are told to be ready, and routes to be accepted, by this program.
//!
//! # Phases
//! 1. `idle` Canaries are taken up, and left alone for a while.
//! 2. `running` of them get a new image, and their checks are timed at Prometheus.
//! 3. A tenth of those turns bad, while hooks of others hang, and the time to 100/0 in the route is taken.

mod cluster;
mod manifests;
mod prometheus;
mod weir;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};

use cluster::Cluster;
use prometheus::Prometheus;
use weir::Weir;

/// Measures Weir with many Canaries.
#[derive(Debug, Parser)]
pub(crate) struct Line {
    /// The program to measure
    #[arg(long)]
    weir: PathBuf,
    /// The cluster; without it, an API in this process
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Canaries that are there
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Canaries that are then in progress at once
    #[arg(long, default_value_t = 1_000)]
    running: usize,
    /// Seconds between two checks of a Canary
    #[arg(long, default_value_t = 30)]
    interval: u64,
    /// Seconds for which idle Canaries are left alone
    #[arg(long, default_value_t = 120)]
    silence: u64,
}

fn main() -> anyhow::Result<()> {
    let line = Line::parse();
    weir_runtime::tls::init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(&line))?;
    #[expect(clippy::print_stdout, reason = "the report is the output")]
    {
        println!("{report}");
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "progress is for who waits")]
fn say(text: &str) {
    eprintln!("canaries: {text}");
}

async fn measure(line: &Line) -> anyhow::Result<Value> {
    let prometheus = Prometheus::serve().await?;
    let cluster = Cluster::of(line).await?;
    cluster.behave();
    let weir = Weir::start(&line.weir, cluster.kubeconfig(), prometheus.url())?;
    weir.ready().await?;
    let empty = weir.memory()?;

    let began = Instant::now();
    cluster
        .deploy(line.idle, line.interval, &prometheus)
        .await?;
    let up =
        |phases: &[(String, String)]| phases.iter().filter(|(_, p)| p == "Initialized").count();
    cluster
        .until("all are initialised", Duration::from_mins(20), |c| {
            up(&c.phases()) == line.idle
        })
        .await?;
    let taken_up = began.elapsed().as_secs_f64();
    say(&format!(
        "{} Canaries are taken up after {taken_up:.0} s",
        line.idle
    ));
    // Events, whose writing is not what is measured, come to an end.
    weir.quiet().await?;

    let before = (
        weir.requests().await?,
        weir.busy(),
        cluster.version().await?,
    );
    tokio::time::sleep(Duration::from_secs(line.silence)).await;
    let after = (
        weir.requests().await?,
        weir.busy(),
        cluster.version().await?,
    );
    let idle = json!({
        "canaries": line.idle,
        "takenUpSeconds": taken_up,
        "seconds": line.silence,
        "requests": after.0 - before.0,
        // The last look is a write too.
        "writes": after.2 - before.2 - 1.0,
        "cpuSeconds": after.1 - before.1,
        "emptyMiB": empty,
        "residentMiB": weir.memory()?,
        "peakMiB": weir.peak()?,
    });
    say(&format!("idle: {idle}"));

    let running = run(line, &cluster, &prometheus, &weir).await?;
    Ok(json!({"idle": idle, "running": running}))
}

/// Many Canaries in progress at once, a tenth of which turns bad.
async fn run(
    line: &Line,
    cluster: &Cluster,
    prometheus: &Prometheus,
    weir: &Weir,
) -> anyhow::Result<Value> {
    let requests = weir.requests().await?;
    let busy = weir.busy();
    let began = Instant::now();
    // Spread over an interval, as pushes are.
    let pause = Duration::from_secs(line.interval) / u32::try_from(line.running.max(1))?;
    cluster.push(line.running, pause).await?;
    say(&format!("{} versions are pushed", line.running));
    // One whose own hook hangs waits for it; the others must not.
    let bad: Vec<usize> = (0..line.running / 10)
        .filter(|n| !manifests::hangs(*n))
        .collect();
    let at_weight = |c: &Cluster| (0..line.running).filter(|n| c.weight(*n) > 0).count();
    cluster
        .until("all are in progress", Duration::from_mins(5), |c| {
            at_weight(c) == line.running
        })
        .await?;
    let most = cluster
        .phases()
        .iter()
        .filter(|(_, p)| p == "Progressing")
        .count();
    // Two more rounds of all.
    tokio::time::sleep(Duration::from_secs(2 * line.interval)).await;
    let lateness = prometheus.lateness(Duration::from_secs(line.interval));
    say(&format!(
        "{most} in progress; checks were late by {lateness}"
    ));
    prometheus.turn_bad(bad.iter().map(|n| manifests::name(*n)));
    cluster
        .until(
            "all bad ones are rolled back",
            Duration::from_mins(5),
            |c| bad.iter().all(|n| c.weight(*n) == 0),
        )
        .await?;
    let took: Vec<f64> = bad
        .iter()
        .filter_map(|&n| {
            let told = prometheus.first_bad(&manifests::name(n))?;
            let back = cluster.back_at(n)?;
            Some(back.saturating_duration_since(told).as_secs_f64())
        })
        .collect();
    let hanging = prometheus.hanging();
    Ok(json!({
        "canaries": line.running,
        "inProgressAtOnce": most,
        "latenessSeconds": lateness,
        "rolledBack": bad.len(),
        "rollbackSeconds": spread(took),
        "hooksHanging": hanging,
        "seconds": began.elapsed().as_secs_f64(),
        "requests": weir.requests().await? - requests,
        "cpuSeconds": weir.busy() - busy,
        "residentMiB": weir.memory()?,
        "peakMiB": weir.peak()?,
    }))
}

/// Median, 99th percentile and greatest of what was measured.
pub(crate) fn spread(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let last = values.len().checked_sub(1)?;
        values.get((last as f64 * part).round() as usize).copied()
    };
    json!({"count": values.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

/// A port of loopback that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
