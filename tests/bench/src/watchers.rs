//! Owns the fan-out: many watchers of one collection, and the time until all have seen all changes.

use std::time::Instant;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connection::Target;
use crate::load::rate;
use crate::name;
use weir_bench::Processes;

/// Connections that write.
const WRITERS: usize = 8;
const MAPS: &str = "/api/v1/namespaces/bench-watch/configmaps";

/// Events per second, over all watchers.
pub(crate) async fn fan_out(
    target: &Target,
    processes: &Processes,
    watchers: usize,
    changes: usize,
) -> anyhow::Result<Value> {
    let mut writers = Vec::new();
    for i in 0..WRITERS {
        let mut writer = target.connect().await?;
        let (code, _) = writer.ask("POST", MAPS, &crate::config_map(i)).await?;
        ensure!(code == 201, "a creation was answered with {code}");
        writers.push(writer);
    }
    let mut reading = JoinSet::new();
    for _ in 0..watchers {
        let mut watcher = target.connect().await?;
        watcher.watch(&format!("{MAPS}?watch=1")).await?;
        // What is there comes first.
        watcher.events(WRITERS).await?;
        reading.spawn(async move { watcher.events(changes).await });
    }
    let (start, busy) = (Instant::now(), processes.busy());
    let mut writing = JoinSet::new();
    for (i, mut writer) in writers.into_iter().enumerate() {
        writing.spawn(async move {
            for change in (i..changes).step_by(WRITERS) {
                let patch = json!({"data": {"change": change.to_string()}}).to_string();
                let (code, _) = writer
                    .ask("PATCH", &format!("{MAPS}/{}", name(i)), &patch)
                    .await?;
                ensure!(code == 200, "a change was answered with {code}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    while let Some(done) = reading.join_next().await {
        done??;
    }
    Ok(rate(
        watchers * changes,
        0,
        start.elapsed(),
        processes.busy() - busy,
    ))
}
