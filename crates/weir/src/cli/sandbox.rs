//! Owns `weir sandbox`: the embedded Kubernetes API alone, until told to stop.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use weir_sandbox::Sandbox;

/// Options of `weir sandbox`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where the kubeconfig is written; otherwise into a temporary directory
    #[arg(long = "write-kubeconfig", value_name = "FILE")]
    write_kubeconfig: Option<PathBuf>,
    /// Port of the API on its loopback address; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    port: u16,
    /// Print only the kubeconfig's path
    #[arg(long, short)]
    quiet: bool,
}

/// Serves until SIGTERM or Ctrl-C.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let dir = tempfile::Builder::new().prefix("weir-sandbox-").tempdir()?;
    let mut wished = weir_sandbox::Options::loopback(dir.path());
    wished.api_port = options.port;
    let sandbox = Sandbox::start(wished).await?;
    let kubeconfig = match &options.write_kubeconfig {
        Some(file) => {
            sandbox
                .write_kubeconfig_to(file)
                .with_context(|| format!("`{}` cannot be written", file.display()))?;
            file.clone()
        }
        None => sandbox.write_kubeconfig(dir.path())?,
    };
    let mut out = std::io::stdout().lock();
    if options.quiet {
        writeln!(out, "{}", kubeconfig.display())?;
    } else {
        writeln!(
            out,
            "The sandbox's Kubernetes API is up. In another terminal:\n"
        )?;
        writeln!(out, "  export KUBECONFIG={}", kubeconfig.display())?;
        writeln!(out, "  kubectl get namespaces\n")?;
        writeln!(out, "  registry  {}", sandbox.registry_address())?;
        writeln!(out, "  git       {}", sandbox.git_address(""))?;
        writeln!(out, "  metrics   {}\n", sandbox.prometheus_address())?;
        writeln!(out, "Ctrl-C ends it; nothing is kept.")?;
    }
    out.flush()?;
    drop(out);
    super::run::stopped().await?;
    sandbox.stop().await;
    Ok(ExitCode::SUCCESS)
}
