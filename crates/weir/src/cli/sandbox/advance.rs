//! Owns `weir sandbox advance`: moving the time of a running sandbox.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use http_body_util::BodyExt as _;

use super::Access;
use crate::cli::output::{self, Output};

/// The longest that moving the time may take in real time: a day of a busy sandbox is minutes.
const PATIENCE: Duration = Duration::from_hours(1);

/// Options of `weir sandbox advance`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How far, as in `90s`, `10m` or `1h30m`
    #[arg(value_name = "DURATION", value_parser = duration)]
    by: Duration,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

fn duration(text: &str) -> Result<Duration, String> {
    weir_gocompat::parse_duration(text).map_err(|e| e.to_string())
}

/// Moves the time, and says what it is then.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let mut config = access.config().await?;
    let at = config.cluster_url.to_string();
    config.read_timeout = Some(PATIENCE);
    let client = kube::Client::try_from(config)?;
    let path = format!("/sandbox/clock?seconds={}", options.by.as_secs());
    let request = http::Request::post(path).body(kube::client::Body::empty())?;
    let response = tokio::time::timeout(PATIENCE, client.send(request))
        .await
        .with_context(|| format!("{at} did not come there within an hour"))?
        .with_context(|| format!("{at} could not be asked"))?;
    let code = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if !code.is_success() {
        let why = told["message"]
            .as_str()
            .unwrap_or("it is no sandbox of weir");
        anyhow::bail!("{at} did not move its time: {why}");
    }
    if options.output != Output::Table {
        output::value(options.output, &told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = told["time"].as_str().unwrap_or_default();
    writeln!(std::io::stdout().lock(), "{time}")?;
    Ok(ExitCode::SUCCESS)
}
