//! Owns the process that is measured, and what the system and its own metrics say of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use weir_bench::Processes;

use crate::free_port;

/// The process. It ends with this value.
pub(crate) struct Weir {
    child: Child,
    metrics: String,
}

impl Weir {
    pub(crate) fn start(
        program: &Path,
        kubeconfig: &Path,
        prometheus: &str,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = std::fs::File::create(kubeconfig.with_extension("weir.log"))?;
        let child = Command::new(program)
            .args(["run", "--roles", "flagger", "--min-analysis-interval", "1"])
            .args(["--metrics-server", prometheus])
            .args(["--metrics-addr", &format!("127.0.0.1:{port}")])
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .with_context(|| format!("`{}` cannot be started", program.display()))?;
        Ok(Self {
            child,
            metrics: format!("http://127.0.0.1:{port}"),
        })
    }

    async fn read(&self, path: &str) -> anyhow::Result<String> {
        let answer = reqwest::get(format!("{}{path}", self.metrics)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Waits until its watches are complete.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        for _ in 0..600 {
            if self.read("/readyz").await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("Weir is not ready after a minute")
    }

    /// How many requests it has sent, watches aside.
    pub(crate) async fn requests(&self) -> anyhow::Result<f64> {
        let text = self.read("/metrics").await?;
        let lines = text
            .lines()
            .filter(|l| l.starts_with("rest_client_requests_total"));
        Ok(lines
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Waits until it has sent nothing for two seconds.
    pub(crate) async fn quiet(&self) -> anyhow::Result<()> {
        let mut before = self.requests().await?;
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let now = self.requests().await?;
            if now <= before {
                return Ok(());
            }
            before = now;
        }
        bail!("Weir goes on sending requests for ten minutes with nothing to do")
    }

    fn status(&self, field: &str) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("`{path}` is gone"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.unwrap_or_default() / 1024.0)
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most resident memory so far, in MiB.
    pub(crate) fn peak(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// Processor time in seconds.
    pub(crate) fn busy(&self) -> f64 {
        Processes(vec![self.child.id()]).busy()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
