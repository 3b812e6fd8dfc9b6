//! The demo: the whole way of a change, twice, on the sandbox: a good version is promoted, a
//! faulty one is rolled back.
//!
//! It owns the telling. Everything told is a fact read from the API, the Git server, the proxy or
//! the load generator at the moment it is told; nothing is played back.

mod chronicle;
mod manifests;
mod narrator;
mod outcome;
mod story;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::cli::output::Output;
use narrator::Narrator;
use world::World;

/// Options of `weir demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// End after the story instead of staying up
    #[arg(long)]
    exit: bool,
    /// How to tell it: as a table of events, live, or as one JSON or YAML object at the end
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// The shortest analysis interval, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    min_analysis_interval: u64,
    /// Requests a second that users send
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The most seconds the story may take
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    timeout: u64,
}

/// Tells the story; then stays up until told to stop, unless asked to end.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let narrator = Arc::new(Narrator::new(options.output == Output::Table));
    narrator.title("Weir: from a push to safe traffic");
    let world = World::start(Duration::from_secs(options.min_analysis_interval.max(1))).await?;
    let limit = Duration::from_secs(options.timeout);
    let stop = crate::cli::run::stopped();
    let told = tokio::select! {
        told = tokio::time::timeout(limit, story::tell(&world, &narrator, options.rate)) => {
            told.unwrap_or_else(|_| Err(anyhow::anyhow!("the story did not end within {limit:?}")))
        }
        _ = stop => Err(anyhow::anyhow!("stopped before the end of the story")),
    };
    let done = match told {
        Ok((outcome, _load)) => {
            narrator.outcome(&outcome);
            if options.output != Output::Table {
                crate::cli::output::value(options.output, &serde_json::to_value(&outcome)?)?;
            }
            if options.exit {
                Ok(())
            } else {
                narrator.look_around(&world);
                crate::cli::run::stopped().await
            }
        }
        Err(e) => {
            Narrator::trouble(&world.diagnosis());
            Err(e)
        }
    };
    world.stop().await;
    done.map(|()| ExitCode::SUCCESS)
}
