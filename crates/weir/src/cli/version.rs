//! Owns `weir version`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::access::Access;
use super::output::{self, Output};

/// Options of `weir version`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Do not ask the cluster
    #[arg(long)]
    client: bool,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// Shows this program's version, and the cluster's when it answers.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let mut versions = json!({"weir": env!("CARGO_PKG_VERSION")});
    if !options.client
        && let Ok((client, _)) = access.client().await
    {
        let limit = std::time::Duration::from_secs(5);
        if let Ok(Ok(info)) = tokio::time::timeout(limit, client.apiserver_version()).await {
            versions["kubernetes"] = json!(info.git_version);
        }
    }
    if options.output != Output::Table {
        output::value(options.output, &versions)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    for (name, version) in versions.as_object().into_iter().flatten() {
        writeln!(out, "{name}: {}", version.as_str().unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}
