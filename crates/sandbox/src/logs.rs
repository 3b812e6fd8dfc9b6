//! Owns what containers said: the last lines of each, with their times, for as long as their pod
//! is there. It refuses files; what is older than the bounds is gone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use weir_apiserver::{LogOptions, LogStream, PodLogs};
use weir_object::path;
use weir_runtime::SharedClock;

/// Bytes kept of one container.
const KEPT: usize = 1024 * 1024;
/// A longer line is cut in two.
const LINE: usize = 16 * 1024;

/// The logs of all containers.
pub(crate) struct Logs {
    clock: SharedClock,
    kept: Mutex<HashMap<(String, String), Runs>>,
}

/// The present run of a container and the one before.
#[derive(Clone)]
struct Runs {
    now: Arc<Log>,
    before: Option<Arc<Log>>,
}

impl Logs {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<(String, String), Runs>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run of a container.
    pub(crate) fn begin(&self, uid: &str, container: &str) -> Arc<Log> {
        let log = Arc::new(Log::new(self.clock.clone()));
        let key = (uid.to_owned(), container.to_owned());
        let mut kept = self.kept();
        let before = kept.remove(&key).map(|runs| runs.now);
        if let Some(before) = &before {
            before.close();
        }
        let now = log.clone();
        kept.insert(key, Runs { now, before });
        log
    }

    /// Drops what a pod said, and ends those who listen.
    pub(crate) fn forget(&self, uid: &str) {
        self.kept().retain(|(own, _), runs| {
            let keep = own != uid;
            if !keep {
                runs.now.close();
            }
            keep
        });
    }
}

impl PodLogs for Logs {
    fn open(&self, pod: &Value, asked: &LogOptions) -> Result<LogStream, String> {
        let name = path::text(pod, &["metadata", "name"]);
        let uid = path::text(pod, &["metadata", "uid"]).to_owned();
        let container = &asked.container;
        let runs = self.kept().get(&(uid, container.clone())).cloned();
        let waits = || {
            let statuses = path::get(pod, &["status", "containerStatuses"]);
            let statuses = statuses.and_then(Value::as_array).into_iter().flatten();
            let own = statuses
                .into_iter()
                .find(|s| path::text(s, &["name"]) == container.as_str())?;
            path::get(own, &["state", "running"]).is_none().then(|| {
                match path::text(own, &["state", "waiting", "reason"]) {
                    "" => "ContainerCreating".to_owned(),
                    reason => reason.to_owned(),
                }
            })
        };
        let log = match runs {
            Some(runs) if asked.previous => {
                // Of a container that waits to be started again, the last run is meant.
                let last = if runs.now.is_over() {
                    Some(runs.now)
                } else {
                    runs.before
                };
                last.ok_or_else(|| {
                    format!(
                        "previous terminated container \"{container}\" in pod \"{name}\" not found"
                    )
                })?
            }
            Some(runs) => runs.now,
            None if asked.previous => {
                return Err(format!(
                    "previous terminated container \"{container}\" in pod \"{name}\" not found"
                ));
            }
            None => match waits() {
                Some(reason) => {
                    return Err(format!(
                        "container \"{container}\" in pod \"{name}\" is waiting to start: {reason}"
                    ));
                }
                // Containers beside the first are not started and say nothing.
                None => return Ok(Box::pin(futures::stream::empty())),
            },
        };
        Ok(log.read(asked))
    }
}

struct Line {
    at: Timestamp,
    text: Bytes,
}

#[derive(Default)]
struct Lines {
    /// The number of the first line that is kept.
    first: u64,
    kept: VecDeque<Line>,
    bytes: usize,
    over: bool,
}

/// What one run of a container said.
pub(crate) struct Log {
    clock: SharedClock,
    lines: Mutex<Lines>,
    changed: watch::Sender<()>,
}

impl Log {
    fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            lines: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.lines().over
    }

    /// Adds a line, which ends with its line break.
    fn push(&self, text: Bytes) {
        let mut lines = self.lines();
        lines.bytes += text.len();
        lines.kept.push_back(Line {
            at: self.clock.now(),
            text,
        });
        while lines.bytes > KEPT {
            let Some(gone) = lines.kept.pop_front() else {
                break;
            };
            lines.bytes -= gone.text.len();
            lines.first += 1;
        }
        drop(lines);
        self.changed.send_replace(());
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.lines().over = true;
        self.changed.send_replace(());
    }

    /// Takes in what a process writes until it closes its end.
    pub(crate) async fn take(&self, mut from: impl AsyncRead + Unpin) {
        let mut rest = BytesMut::with_capacity(4096);
        loop {
            let read = from.read_buf(&mut rest).await;
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.push(rest.split_to(end + 1).freeze());
            }
            let ended = !matches!(read, Ok(n) if n > 0);
            if !rest.is_empty() && (ended || rest.len() > LINE) {
                let mut line = rest.split();
                line.extend_from_slice(b"\n");
                self.push(line.freeze());
            }
            if ended {
                return;
            }
        }
    }

    fn read(self: Arc<Self>, asked: &LogOptions) -> LogStream {
        let next = {
            let lines = self.lines();
            let recent = lines
                .kept
                .iter()
                .filter(|line| asked.since.is_none_or(|since| line.at >= since))
                .count();
            let wanted = asked.tail.map_or(recent, |tail| tail.min(recent));
            lines.first + (lines.kept.len() - wanted) as u64
        };
        let reading = Reading {
            changed: self.changed.subscribe(),
            log: self,
            next,
            left: asked.limit.unwrap_or(usize::MAX),
            follow: asked.follow,
            timestamps: asked.timestamps,
        };
        Box::pin(futures::stream::unfold(reading, |mut reading| async move {
            let piece = reading.piece().await?;
            Some((piece, reading))
        }))
    }
}

/// Where a reader stands.
struct Reading {
    log: Arc<Log>,
    changed: watch::Receiver<()>,
    /// The number of the next line.
    next: u64,
    /// Bytes that may still be told.
    left: usize,
    follow: bool,
    timestamps: bool,
}

impl Reading {
    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            self.changed.borrow_and_update();
            let (mut out, over) = self.new_lines();
            if self.left == 0 && out.is_empty() {
                return None;
            }
            if !out.is_empty() {
                out.truncate(self.left);
                self.left -= out.len();
                return Some(out.freeze());
            }
            if over || !self.follow {
                return None;
            }
            self.changed.changed().await.ok()?;
        }
    }

    fn new_lines(&mut self) -> (BytesMut, bool) {
        let lines = self.log.lines();
        let mut out = BytesMut::new();
        // A slow reader loses what is not kept any more.
        let skip = self.next.saturating_sub(lines.first) as usize;
        for line in lines.kept.iter().skip(skip) {
            if out.len() >= self.left {
                break;
            }
            if self.timestamps {
                let at = line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string();
                out.extend_from_slice(at.as_bytes());
            }
            out.extend_from_slice(&line.text);
        }
        self.next = lines.first + lines.kept.len() as u64;
        (out, lines.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use weir_runtime::VirtualClock;

    async fn text(stream: LogStream) -> String {
        let pieces: Vec<Bytes> = stream.collect().await;
        String::from_utf8(pieces.concat()).expect("text")
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_read_from_a_time_by_its_tail_and_within_bounds() {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let log = Arc::new(Log::new(Arc::new(VirtualClock::starting_at(start))));
        log.take(&b"one\ntwo\n"[..]).await;
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        log.take(&b"three\nfour"[..]).await;
        log.close();
        let ask = |asked: LogOptions| text(log.clone().read(&asked));
        let all = LogOptions::default();
        assert_eq!(ask(all.clone()).await, "one\ntwo\nthree\nfour\n");
        let tail = LogOptions {
            tail: Some(3),
            limit: Some(6),
            ..all.clone()
        };
        assert_eq!(ask(tail).await, "two\nth");
        let since = LogOptions {
            since: start.checked_add(std::time::Duration::from_secs(5)).ok(),
            ..all.clone()
        };
        assert_eq!(ask(since.clone()).await, "three\nfour\n");
        let stamped = LogOptions {
            timestamps: true,
            tail: Some(1),
            ..since
        };
        assert_eq!(ask(stamped).await, "2026-01-02T03:04:15.000000000Z four\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_hears_until_the_run_ends_and_old_lines_go() {
        let logs = Logs::new(Arc::new(VirtualClock::starting_at(Timestamp::UNIX_EPOCH)));
        let log = logs.begin("u", "c");
        let follow = LogOptions {
            container: "c".into(),
            follow: true,
            ..LogOptions::default()
        };
        let pod = serde_json::json!({"metadata": {"name": "p", "uid": "u"}});
        let stream = logs.open(&pod, &follow).expect("kept");
        let heard = tokio::spawn(text(stream));
        log.take(&b"a\n"[..]).await;
        tokio::task::yield_now().await;
        log.take(&b"b\n"[..]).await;
        // The next run ends the one before.
        let next = logs.begin("u", "c");
        assert_eq!(heard.await.expect("no panic"), "a\nb\n");
        let before = LogOptions {
            previous: true,
            ..follow
        };
        assert_eq!(
            text(logs.open(&pod, &before).expect("kept")).await,
            "a\nb\n"
        );
        let line = vec![b'x'; 1000];
        for _ in 0..2000 {
            next.take(&line[..]).await;
        }
        assert!(next.lines().bytes <= KEPT);
        logs.forget("u");
        let gone = logs.open(&pod, &before).err();
        assert_eq!(
            gone.as_deref(),
            Some("previous terminated container \"c\" in pod \"p\" not found")
        );
    }
}
