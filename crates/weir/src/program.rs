//! Owns the program's start: the runtime, the log, and how a failure becomes an exit code.
//! 0 is success, 1 a failure told on standard error, 2 a command line that cannot be read.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Command, Line};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let line = Line::parse_from(crate::cli::called::arguments(std::env::args_os()));
    weir_runtime::tls::init();
    log(&line);
    let runtime = match runtime(&line) {
        Ok(runtime) => runtime,
        Err(e) => return failed(&anyhow::anyhow!("the runtime could not be started: {e}")),
    };
    let done = runtime.block_on(run(line));
    // Work on blocking threads (Git, archives) may be under way; it is bounded, but not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match done {
        Ok(code) => code,
        Err(e) => failed(&e),
    }
}

fn runtime(line: &Line) -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    if line.in_virtual_time() {
        return Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
    }
    Builder::new_multi_thread()
        .worker_threads(line.threads())
        .enable_all()
        .build()
}

async fn run(line: Line) -> anyhow::Result<ExitCode> {
    let access = line.access;
    match line.command {
        Command::Run(options) => crate::cli::run::run(&access, *options).await,
        Command::Demo(options) => crate::demo::run(options).await,
        Command::Sandbox(options) => crate::cli::sandbox::run(&access, options).await,
        Command::Get(options) => crate::cli::get::run(&access, options).await,
        Command::Canary(options) => crate::cli::canary::run(&access, options).await,
        Command::Loadtest(options) => crate::cli::loadtest::run(&access, options).await,
        Command::Events(options) => crate::cli::events::run(&access, options).await,
        Command::Pause(options) => crate::cli::pause::pause(&access, options).await,
        Command::Resume(options) => crate::cli::pause::resume(&access, options).await,
        Command::Check(options) => crate::cli::check::run(&access, options).await,
        Command::Version(options) => crate::cli::version::run(&access, options).await,
        Command::Completion { shell } => Ok(crate::cli::completion(shell)),
        Command::Reference => Ok(crate::cli::reference::print()),
    }
}

fn log(line: &Line) {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(line.log_level()));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second subscriber can only come from a test harness, which then keeps its own.
    let _ = if line.logs_json() {
        log.json().try_init()
    } else {
        log.try_init()
    };
}

fn failed(e: &anyhow::Error) -> ExitCode {
    // Nothing is left to tell when standard error itself is gone.
    let _ = writeln!(std::io::stderr(), "weir: {e:#}");
    ExitCode::FAILURE
}
