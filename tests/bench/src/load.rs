//! Owns requests in number: from several connections at once, for a count or for a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connection::{Connection, Target};
use weir_bench::Processes;

/// Connections that create.
const CREATORS: usize = 32;

/// A source of requests.
pub(crate) struct Load {
    target: Target,
    processes: Processes,
}

/// What a measure came to.
pub(crate) fn rate(count: usize, bytes: usize, time: Duration, busy: f64) -> Value {
    json!({
        "count": count, "perSecond": count as f64 / time.as_secs_f64(),
        "serverMicros": busy * 1e6 / count.max(1) as f64, "bytes": bytes / count.max(1),
    })
}

impl Load {
    pub(crate) fn new(target: Target, processes: Processes) -> Self {
        Self { target, processes }
    }

    /// One request that must be served.
    pub(crate) async fn once(
        &mut self,
        method: &str,
        path: &str,
        body: String,
    ) -> anyhow::Result<()> {
        let (code, _) = self
            .target
            .connect()
            .await?
            .ask(method, path, &body)
            .await?;
        ensure!(code < 300, "{method} {path} was answered with {code}");
        Ok(())
    }

    async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            out.push(self.target.connect().await?);
        }
        Ok(out)
    }

    /// Creates objects.
    pub(crate) async fn create(
        &self,
        path: &'static str,
        count: usize,
        body: fn(usize) -> String,
    ) -> anyhow::Result<Value> {
        let next = Arc::new(AtomicUsize::new(0));
        let connections = self.connections(CREATORS).await?;
        let (start, busy) = (Instant::now(), self.processes.busy());
        let mut tasks = JoinSet::new();
        for mut connection in connections {
            let next = next.clone();
            tasks.spawn(async move {
                let mut bytes = 0;
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return anyhow::Ok(bytes);
                    }
                    let (code, size) = connection.ask("POST", path, &body(i)).await?;
                    ensure!(code == 201, "a creation was answered with {code}");
                    bytes += size;
                }
            });
        }
        let mut bytes = 0;
        while let Some(done) = tasks.join_next().await {
            bytes += done??;
        }
        Ok(rate(
            count,
            bytes,
            start.elapsed(),
            self.processes.busy() - busy,
        ))
    }

    /// Reads for a time.
    pub(crate) async fn read(
        &self,
        connections: usize,
        time: Duration,
        path: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> anyhow::Result<Value> {
        let connections = self.connections(connections).await?;
        let (start, busy) = (Instant::now(), self.processes.busy());
        let mut tasks = JoinSet::new();
        for (task, mut connection) in connections.into_iter().enumerate() {
            let path = path.clone();
            tasks.spawn(async move {
                let (mut count, mut bytes) = (0, 0);
                while start.elapsed() < time {
                    let (code, size) = connection
                        .ask("GET", &path(task * 1000 + count), "")
                        .await?;
                    ensure!(code == 200, "a read was answered with {code}");
                    (count, bytes) = (count + 1, bytes + size);
                }
                anyhow::Ok((count, bytes))
            });
        }
        let (mut count, mut bytes) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            let (c, b) = done??;
            (count, bytes) = (count + c, bytes + b);
        }
        Ok(rate(
            count,
            bytes,
            start.elapsed(),
            self.processes.busy() - busy,
        ))
    }
}
