//! Asks the sandbox's API and a real control plane the same, and compares the answers.
//!
//! It owns the requests, what may differ without meaning, and the list of differences that are
//! known. It refuses to repair: what differs is told, one case at a time.

#![allow(
    clippy::large_futures,
    reason = "a few futures of 18 KB live on the runtime's heap, once each"
)]

mod compare;
mod controlled;
mod fill;
mod generate;
mod known;
mod kubectl;
mod normal;
mod record;
mod replay;
mod report;
mod run;
mod session;
mod target;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::known::Known;
use crate::replay::Pair;
use crate::report::{Report, say};
use crate::target::{Real, Target};

#[derive(Parser)]
#[command(about = "Compares the sandbox's API with a real control plane.")]
struct Arguments {
    /// The real control plane; without one, `tests/cluster/up` starts one for this run.
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    /// Places printed of each differing case.
    #[arg(long, global = true, default_value_t = 8)]
    most: usize,
    /// Requests at once.
    #[arg(long, global = true, default_value_t = 16)]
    jobs: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Replay the kept requests.
    Replay {
        /// Only sessions whose name has this in it: `file/session`.
        #[arg(long)]
        only: Option<String>,
    },
    /// Play random sequences of writes by several managers.
    Generate {
        /// How many.
        #[arg(long, default_value_t = 2000)]
        sequences: u64,
        /// What they are made from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The first one's number.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Run kubectl's commands and compare what they print.
    Kubectl {
        /// Only commands with this in them, or of this number; the others still run.
        #[arg(long)]
        only: Option<String>,
    },
    /// Write `requests/recorded` anew: what kubectl sends, and what the scenario suite sent.
    Record {
        /// What `WEIR_RECORD=FILE cargo test -p weir-scenarios` wrote.
        #[arg(long)]
        scenarios: Option<PathBuf>,
    },
    /// All of these.
    All {
        /// How many sequences.
        #[arg(long, default_value_t = 2000)]
        sequences: u64,
        /// What they are made from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Arguments::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("conform: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = home.parent().and_then(Path::parent).context("no root")?;
    if let What::Record { scenarios } = &arguments.what {
        return write_records(root, home, scenarios.as_deref()).await;
    }
    let cluster = Cluster::find(root, arguments.kubeconfig.as_deref())?;
    let text = std::fs::read_to_string(&cluster.kubeconfig)
        .with_context(|| cluster.kubeconfig.display().to_string())?;
    let real = Arc::new(Real::from_kubeconfig(&text)?);
    let pair = Pair {
        ours: Target::ours(),
        real: Target::Real(real),
        prefix: prefix(),
    };
    let known = Known::read(&home.join("known.yaml"))?;
    let report = Arc::new(Report::new(known, arguments.most));
    let jobs = arguments.jobs;
    let sessions = || session::read(&home.join("requests"));
    let kubectl = root.join("target/tools/bin/kubectl");
    let run_kubectl = async |only: Option<&str>| {
        let kubeconfig = &cluster.kubeconfig;
        kubectl::kubectl(&pair, home, &kubectl, kubeconfig, only, &report).await
    };
    let good = match arguments.what {
        What::Replay { only } => {
            replay::replay(&pair, sessions()?, only.as_deref(), jobs, &report).await?;
            let whole: &[&str] = if only.is_none() { &["replay"] } else { &[] };
            report.end(whole)
        }
        What::Generate {
            sequences,
            seed,
            from,
        } => {
            Box::pin(generate::generate(
                &pair, seed, from, sequences, jobs, &report,
            ))
            .await?;
            report.end(&[])
        }
        What::Kubectl { only } => {
            run_kubectl(only.as_deref()).await?;
            let whole: &[&str] = if only.is_none() { &["kubectl"] } else { &[] };
            report.end(whole)
        }
        What::Record { .. } => true,
        What::All { sequences, seed } => {
            replay::replay(&pair, sessions()?, None, jobs, &report).await?;
            run_kubectl(None).await?;
            Box::pin(generate::generate(&pair, seed, 0, sequences, jobs, &report)).await?;
            report.end(&["replay", "kubectl", "generate"])
        }
    };
    Ok(good)
}

async fn write_records(root: &Path, home: &Path, scenarios: Option<&Path>) -> anyhow::Result<bool> {
    let Target::Ours(server) = Target::ours() else {
        bail!("no server of ours");
    };
    let to = home.join("requests/recorded");
    let space = record::SPACE;
    let kubectl = root.join("target/tools/bin/kubectl");
    let lines = kubectl::record(&server, home, &kubectl, space).await?;
    let count = record::write(&lines, space, &[], &to.join("kubectl.json"))?;
    say(&format!(
        "{count} distinct requests of kubectl's {}",
        lines.len()
    ));
    if let Some(file) = scenarios {
        let lines = record::read(file)?;
        let names: Vec<String> = session::definitions().into_keys().collect();
        let count = record::write(&lines, "demo", &names, &to.join("weir.json"))?;
        say(&format!(
            "{count} distinct requests of Weir's {}",
            lines.len()
        ));
    }
    Ok(true)
}

/// Names of this run, new on both servers.
fn prefix() -> String {
    let seconds = jiff::Timestamp::now().as_millisecond() / 100 % 60_466_176;
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = seconds;
    let mut text = String::from("conform-");
    for _ in 0..5 {
        let digit = digits.get((rest % 36) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        rest /= 36;
    }
    text
}

/// The real control plane, and whether this run has to end it.
struct Cluster {
    kubeconfig: PathBuf,
    ends: Option<PathBuf>,
}

impl Cluster {
    fn find(root: &Path, given: Option<&Path>) -> anyhow::Result<Self> {
        let kept = root.join("target/cluster/run/kubeconfig");
        if let Some(kubeconfig) = given {
            return Ok(Self {
                kubeconfig: kubeconfig.to_owned(),
                ends: None,
            });
        }
        if root.join("target/cluster/run/pids").exists() {
            return Ok(Self {
                kubeconfig: kept,
                ends: None,
            });
        }
        say("starting a control plane");
        let status = Command::new(root.join("tests/cluster/up"))
            .arg("--control-plane")
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("tests/cluster/up could not start a control plane");
        }
        Ok(Self {
            kubeconfig: kept,
            ends: Some(root.join("tests/cluster/down")),
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(down) = &self.ends {
            // It says itself what went wrong.
            let _ = Command::new(down).status();
        }
    }
}
