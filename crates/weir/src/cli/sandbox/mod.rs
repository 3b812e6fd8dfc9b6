//! Owns `weir sandbox`: the embedded Kubernetes API alone, until told to stop; and the commands that
//! speak to a running one.

mod advance;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use weir_sandbox::{FaultPlan, Sandbox};

use super::access::Access;

/// Options of `weir sandbox`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// What can be asked of a running sandbox.
#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Move the time of a sandbox in virtual time forward
    Advance(advance::Options),
}

/// How a sandbox runs.
#[derive(Args, Clone, Debug)]
struct Serve {
    /// Where the kubeconfig is written; otherwise into a temporary directory
    #[arg(long = "write-kubeconfig", value_name = "FILE")]
    write_kubeconfig: Option<PathBuf>,
    /// Port of the API on its loopback address; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    port: u16,
    /// Print only the kubeconfig's path
    #[arg(long, short)]
    quiet: bool,
    /// Seed of generated names and uids; otherwise each start has another
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Whether time is real, or virtual: it keeps step with real time until `weir sandbox advance`
    /// moves it, and pods run in memory
    #[arg(long, value_enum, default_value_t)]
    clock: Clock,
    /// Keep everything in this file, and go on with what it holds: objects, repositories, images
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Faults of the API, by the plan in this file; they begin once everything is loaded
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Apply the manifests of a file or directory at the start; may be given several times
    #[arg(long, value_name = "PATH")]
    load: Vec<PathBuf>,
    /// Write the objects as manifests into a directory at the end
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

/// How time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Clock {
    /// As everywhere
    #[default]
    Real,
    /// As it is moved
    Virtual,
}

impl Options {
    /// Whether the runtime's time must be paused.
    pub(crate) fn in_virtual_time(&self) -> bool {
        self.command.is_none() && self.serve.clock == Clock::Virtual
    }

    /// Whether it serves, rather than asking one that does.
    pub(crate) fn serves(&self) -> bool {
        self.command.is_none()
    }
}

/// Serves until SIGTERM or Ctrl-C, or asks one that serves.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    match options.command {
        Some(Command::Advance(options)) => advance::run(access, options).await,
        None => serve(options.serve).await,
    }
}

async fn serve(options: Serve) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &options.dump {
        must_be_empty(dir)?;
    }
    let faults = options.faults.as_deref().map(read_faults).transpose()?;
    let dir = tempfile::Builder::new().prefix("weir-sandbox-").tempdir()?;
    let mut wished = match options.clock {
        Clock::Real => weir_sandbox::Options::loopback(dir.path()),
        Clock::Virtual => weir_sandbox::Options::in_virtual_time(dir.path()),
    };
    wished.api_port = options.port;
    if let Some(seed) = options.seed {
        wished.seed = seed;
    }
    wished.state.clone_from(&options.state);
    let sandbox = Sandbox::start(wished).await?;
    let outcome = hold(&sandbox, &options, faults, dir.path()).await;
    sandbox.stop().await;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// What happens while the sandbox is up.
async fn hold(
    sandbox: &Sandbox,
    options: &Serve,
    faults: Option<FaultPlan>,
    dir: &Path,
) -> anyhow::Result<()> {
    let mut told = Vec::new();
    for path in &options.load {
        let loaded = sandbox.load(path).await?;
        told.push(format!(
            "loaded {} objects of {} files in {}",
            loaded.objects,
            loaded.files,
            path.display()
        ));
        if !loaded.namespaces.is_empty() {
            let names = loaded.namespaces.join(", ");
            told.push(format!(
                "made the namespaces that no manifest makes: {names}"
            ));
        }
    }
    if let Some(plan) = faults {
        told.push(format!("faults by {} rules", plan.rules.len()));
        sandbox.server().faults().set(plan)?;
    }
    let kubeconfig = match &options.write_kubeconfig {
        Some(file) => {
            sandbox
                .write_kubeconfig_to(file)
                .with_context(|| format!("`{}` cannot be written", file.display()))?;
            file.clone()
        }
        None => sandbox.write_kubeconfig(dir)?,
    };
    greet(sandbox, options, &kubeconfig, &told)?;
    super::run::stopped().await?;
    if let Some(dir) = &options.dump {
        let count = sandbox.dump(dir)?;
        writeln!(
            std::io::stderr(),
            "{count} objects written to {}",
            dir.display()
        )?;
    }
    Ok(())
}

fn greet(
    sandbox: &Sandbox,
    options: &Serve,
    kubeconfig: &Path,
    told: &[String],
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if options.quiet {
        writeln!(out, "{}", kubeconfig.display())?;
        return Ok(out.flush()?);
    }
    writeln!(
        out,
        "The sandbox's Kubernetes API is up. In another terminal:\n"
    )?;
    writeln!(out, "  export KUBECONFIG={}", kubeconfig.display())?;
    writeln!(out, "  kubectl get namespaces\n")?;
    writeln!(out, "  registry  {}", sandbox.registry_address())?;
    writeln!(out, "  git       {}", sandbox.git_address(""))?;
    writeln!(out, "  metrics   {}\n", sandbox.prometheus_address())?;
    for line in told {
        writeln!(out, "{line}")?;
    }
    if options.clock == Clock::Virtual {
        writeln!(out, "Time is virtual: `weir sandbox advance 10m` moves it.")?;
    }
    match (&options.state, &options.dump) {
        (Some(file), _) => writeln!(
            out,
            "Ctrl-C ends it; the state is kept in {}.",
            file.display()
        )?,
        (None, Some(dir)) => writeln!(out, "Ctrl-C ends it; objects go to {}.", dir.display())?,
        (None, None) => writeln!(out, "Ctrl-C ends it; nothing is kept.")?,
    }
    Ok(out.flush()?)
}

/// A fault plan, read before anything is started.
fn read_faults(file: &Path) -> anyhow::Result<FaultPlan> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("`{name}` cannot be read"))?;
    Ok(FaultPlan::parse(&name, &text)?)
}

/// What is in the directory is somebody's; a dump does not mix with it.
fn must_be_empty(dir: &Path) -> anyhow::Result<()> {
    let full = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if full || dir.is_file() {
        bail!(
            "`{}` is not empty; give --dump a new directory",
            dir.display()
        );
    }
    Ok(())
}
