//! Owns how tests of controllers play the parts that are not there: kubelets and time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use weir_apiserver::{ApiServer, Options, Selector, Store, Tuning};
use weir_object::{Kind, path};

use crate::removal::settle;
use crate::support::*;

pub(crate) const POD: Kind = Kind::namespaced("", "v1", "Pod", "pods");
const EVENT: Kind = Kind::namespaced("", "v1", "Event", "events");

/// A server with its controllers, whose clock follows tokio's.
pub(crate) struct Stage {
    pub(crate) server: ApiServer,
    pub(crate) store: Store,
    running: JoinHandle<()>,
    start: tokio::time::Instant,
}

const EPOCH: &str = "2026-01-02T03:04:05Z";

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Tuning::default())
    }

    pub(crate) fn with(tuning: Tuning) -> Self {
        let start = tokio::time::Instant::now();
        let epoch: jiff::Timestamp = EPOCH.parse().expect("a time");
        let now = move || epoch + jiff::SignedDuration::try_from(start.elapsed()).expect("small");
        let options = Options {
            now: std::sync::Arc::new(now),
            seed: 7,
        };
        let server = ApiServer::with(options, tuning);
        let running = tokio::spawn(server.run_controllers());
        Self {
            store: server.store(),
            running,
            server,
            start,
        }
    }

    /// Ends the controllers and starts others, which know only what is stored.
    pub(crate) fn restart(&mut self) {
        self.running.abort();
        self.running = tokio::spawn(self.server.run_controllers());
    }

    /// The time as objects show it.
    pub(crate) fn now(&self) -> String {
        let epoch: jiff::Timestamp = EPOCH.parse().expect("a time");
        let now = epoch + jiff::SignedDuration::try_from(self.start.elapsed()).expect("small");
        jiff::Timestamp::from_second(now.as_second())
            .expect("in range")
            .to_string()
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        settle().await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        settle().await;
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = post(&self.server, path, body).await;
        assert!(answer.code < 300, "{path}: {}", answer.body);
        settle().await;
        answer.body
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Value {
        let answer = patch(&self.server, path, "merge", body).await;
        assert!(answer.code < 300, "{path}: {}", answer.body);
        settle().await;
        answer.body
    }

    pub(crate) async fn delete(&self, path: &str) {
        let answer = delete(&self.server, path, &Value::Null).await;
        assert!(answer.code < 300, "{path}: {}", answer.body);
        settle().await;
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        settle().await;
        get(&self.server, path).await.body
    }

    /// The status of an object, less its times.
    pub(crate) async fn status(&self, path: &str) -> Value {
        let mut status = self.get(path).await["status"].clone();
        timeless(&mut status);
        status
    }

    /// The names of the pods of `default`.
    pub(crate) fn pods(&self) -> Vec<String> {
        let all = self
            .store
            .list(&POD, Some("default"), &Selector::default())
            .0;
        all.iter()
            .map(|p| path::text(p, &["metadata", "name"]).to_owned())
            .collect()
    }

    pub(crate) fn pod(&self, name: &str) -> Value {
        let pod = self.store.get(&POD, "default", name);
        (*pod.expect("the pod")).clone()
    }

    /// Makes a pod run and be ready, as a kubelet would tell.
    pub(crate) async fn ready(&self, pod: &str) {
        let number = pod.bytes().fold(0_u8, u8::wrapping_add);
        let now = self.now();
        let status = json!({"status": {"phase": "Running", "startTime": now,
            "podIP": format!("10.0.0.{number}"),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]}});
        self.store
            .patch_status(&POD, "default", pod, status)
            .expect("there");
        settle().await;
    }

    /// Ends a pod in a phase, its container with a code.
    pub(crate) async fn end(&self, pod: &str, phase: &str, code: i64) {
        let now = self.now();
        let status = json!({"status": {"phase": phase,
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}],
            "containerStatuses": [{"name": "c", "ready": false, "restartCount": 0, "image": "c:1",
                "imageID": "", "state": {"terminated": {"exitCode": code, "finishedAt": now}}}]}});
        self.store
            .patch_status(&POD, "default", pod, status)
            .expect("there");
        settle().await;
    }

    /// All events of a namespace in the order in which they were written: what they are about, what
    /// they say, and how often. Generated parts of names are `*`.
    pub(crate) fn events(&self, about: &str) -> Vec<String> {
        let (mut all, _) = self.store.list(&EVENT, None, &Selector::default());
        all.sort_by_key(|e| {
            let name = path::text(e, &["metadata", "name"]);
            name.rsplit_once('.').map(|(_, at)| at.to_owned())
        });
        all.iter()
            .filter(|e| path::text(e, &["involvedObject", "kind"]) == about)
            .map(|e| {
                let text = |field| path::text(e, &[field]).to_owned();
                let count = e["count"].as_i64().unwrap_or_default();
                let line = format!("{} {} {}", text("type"), text("reason"), text("message"));
                if count == 1 {
                    line
                } else {
                    format!("{line} x{count}")
                }
            })
            .map(|line| masked(&line))
            .collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Generated suffixes and hashes as `*`.
fn masked(line: &str) -> String {
    let word = |word: &str| {
        let generated = |part: &str| {
            part.len() >= 5
                && part
                    .chars()
                    .all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c))
                && part.chars().any(|c| c.is_ascii_digit() || part.len() == 5)
        };
        let parts: Vec<&str> = word
            .split('-')
            .enumerate()
            .map(|(i, part)| if i > 0 && generated(part) { "*" } else { part })
            .collect();
        parts.join("-")
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Removes times.
pub(crate) fn timeless(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !key.ends_with("Time"));
            map.values_mut().for_each(timeless);
        }
        Value::Array(list) => list.iter_mut().for_each(timeless),
        _ => {}
    }
}
