//! Prometheus for the sandbox: scrapes what the sandbox runs and answers the HTTP API.
//!
//! It owns the scrape loop (targets, `up`, staleness); the HTTP API over it is in `api`, samples and
//! PromQL are `weir_promql`'s. It refuses rules, alerts, remote write and
//! anything on disk. All waiting follows tokio's time and all timestamps the given clock, so that
//! it runs under virtual time.

mod api;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};
use url::Url;
use weir_promql::{Engine, Format, Labels, Retention, Sample, Storage, parse_exposition};
use weir_runtime::SharedClock;
use weir_runtime::http::{Http, Request};

/// Largest scrape in bytes.
const MAX_SCRAPE: usize = 8 << 20;
/// Most samples of one scrape.
const MAX_SAMPLES: usize = 50_000;
/// Most scrapes at once.
const MAX_CONCURRENT: usize = 16;
/// How far into the future a target may date a sample, in milliseconds.
const MAX_AHEAD: i64 = 600_000;

/// One address to scrape, and the labels that its series get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where the metrics are.
    pub url: Url,
    /// Labels for all of its series, such as `kubernetes_pod_name`. `job` and `instance` get
    /// defaults.
    pub labels: Vec<(String, String)>,
}

impl Target {
    fn labels(&self) -> Labels {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let defaults = [
            ("job".to_owned(), "sandbox".to_owned()),
            ("instance".into(), format!("{host}:{port}")),
        ];
        Labels::new(defaults.into_iter().chain(self.labels.iter().cloned()))
    }
}

/// How scraping is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrapeOptions {
    /// Time between the scrapes of a target.
    pub interval: Duration,
    /// Bound of one scrape.
    pub timeout: Duration,
    /// What is kept.
    pub retention: Retention,
}

impl Default for ScrapeOptions {
    /// Every second, because a demo's analysis interval is as short.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            retention: Retention::default(),
        }
    }
}

type Source = Arc<dyn Fn() -> Vec<Target> + Send + Sync>;

/// The sandbox's Prometheus. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Prometheus(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    http: Http,
    options: ScrapeOptions,
    storage: Storage,
    engine: Engine,
    source: Mutex<Source>,
    /// By URL and labels, in order.
    state: Mutex<BTreeMap<(String, Labels), TargetState>>,
}

/// What is known of a target since its last scrape.
#[derive(Debug, Clone, Default)]
struct TargetState {
    series: BTreeSet<Labels>,
    scraped: Option<Timestamp>,
    seconds: f64,
    failure: Option<String>,
}

struct Scrape {
    key: (String, Labels),
    at: Timestamp,
    seconds: f64,
    outcome: Result<Vec<(Labels, Sample)>, String>,
}

impl Prometheus {
    /// A Prometheus without targets.
    pub fn new(clock: SharedClock, http: Http) -> Self {
        Self::with_options(clock, http, ScrapeOptions::default())
    }

    /// A Prometheus without targets, with its own options.
    pub fn with_options(clock: SharedClock, http: Http, options: ScrapeOptions) -> Self {
        Self(Arc::new(Inner {
            clock,
            http,
            options,
            storage: Storage::new(options.retention),
            engine: Engine::default(),
            source: Mutex::new(Arc::new(Vec::new)),
            state: Mutex::default(),
        }))
    }

    /// Sets what is scraped; asked anew before each round. A target that is no longer named ends
    /// its series at the next round.
    pub fn set_targets(&self, source: impl Fn() -> Vec<Target> + Send + Sync + 'static) {
        *lock(&self.0.source) = Arc::new(source);
    }

    /// The samples, for those who add some of their own.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Scrapes every interval until it is dropped. A round that takes longer than the interval is
    /// followed by the next whole one.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(self.0.options.interval.max(MIN_INTERVAL));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.scrape().await;
        }
    }

    /// One round: every target once, at most the timeout's length for each.
    pub async fn scrape(&self) {
        let source = Arc::clone(&lock(&self.0.source));
        let targets: BTreeMap<(String, Labels), Url> = source()
            .into_iter()
            .map(|target| ((target.url.to_string(), target.labels()), target.url))
            .collect();
        self.forget_all_but(&targets);
        let scrapes = targets.into_iter().map(|(key, url)| self.fetch(key, url));
        let mut done = futures::stream::iter(scrapes).buffer_unordered(MAX_CONCURRENT);
        while let Some(scrape) = done.next().await {
            self.keep(scrape);
        }
        self.0.storage.expire(self.0.clock.now().as_millisecond());
    }

    fn forget_all_but(&self, targets: &BTreeMap<(String, Labels), Url>) {
        let now = self.0.clock.now().as_millisecond();
        lock(&self.0.state).retain(|key, state| {
            let stays = targets.contains_key(key);
            if !stays {
                for labels in &state.series {
                    self.end(labels, now);
                }
                for (metric, _) in reports(0.0, 0.0, 0) {
                    self.end(&key.1.with("__name__", metric), now);
                }
            }
            stays
        });
    }

    fn end(&self, labels: &Labels, at: i64) {
        if let Err(refused) = self.0.storage.mark_stale(labels, at) {
            tracing::debug!(%refused, "a series could not be marked as ended");
        }
    }

    async fn fetch(&self, key: (String, Labels), url: Url) -> Scrape {
        let at = self.0.clock.now();
        let started = Instant::now();
        let outcome = self.read(url, &key.1, at.as_millisecond()).await;
        Scrape {
            key,
            at,
            seconds: started.elapsed().as_secs_f64(),
            outcome,
        }
    }

    async fn read(&self, url: Url, own: &Labels, at: i64) -> Result<Vec<(Labels, Sample)>, String> {
        let request = Request::get(url).timeout(self.0.options.timeout).header(
            ACCEPT,
            "text/plain;version=0.0.4,application/openmetrics-text;q=0.5",
        );
        let response = self
            .0
            .http
            .send(request)
            .await
            .map_err(|failed| failed.to_string())?;
        if !response.status.is_success() {
            return Err(format!(
                "the target answered with status {}",
                response.status
            ));
        }
        let format = Format::of_content_type(response.header(CONTENT_TYPE).unwrap_or_default());
        let body = response
            .bytes(MAX_SCRAPE)
            .await
            .map_err(|failed| failed.to_string())?;
        let text =
            std::str::from_utf8(&body).map_err(|_| "the metrics are not UTF-8".to_owned())?;
        let parsed = parse_exposition(text, format, MAX_SAMPLES).map_err(|bad| bad.to_string())?;
        let in_time = |time: i64| time <= at.saturating_add(MAX_AHEAD);
        Ok(parsed
            .samples
            .into_iter()
            .map(|sample| {
                let time = sample.time.unwrap_or(at);
                (
                    attach(&sample.labels, own),
                    Sample {
                        time,
                        value: sample.value,
                    },
                )
            })
            .filter(|(_, sample)| in_time(sample.time))
            .collect())
    }

    fn keep(&self, scrape: Scrape) {
        let Scrape {
            key,
            at,
            seconds,
            outcome,
        } = scrape;
        let millis = at.as_millisecond();
        let (samples, failure) = match outcome {
            Ok(samples) => (samples, None),
            Err(failure) => {
                tracing::debug!(target_url = key.0, failure, "a scrape failed");
                (Vec::new(), Some(failure))
            }
        };
        let storage = &self.0.storage;
        let mut refused = storage.append_all(samples.iter().map(|(labels, s)| (labels, *s)));
        let up = if failure.is_some() { 0.0 } else { 1.0 };
        for (metric, value) in reports(up, seconds, samples.len()) {
            let labels = key.1.with("__name__", metric);
            refused.extend(storage.append(&labels, millis, value).err());
        }
        if let Some(first) = refused.first() {
            tracing::debug!(count = refused.len(), %first, "samples were not stored");
        }
        let series: BTreeSet<Labels> = samples.into_iter().map(|(labels, _)| labels).collect();
        let mut state = lock(&self.0.state);
        let known = state.entry(key).or_default();
        for labels in known.series.difference(&series) {
            self.end(labels, millis);
        }
        *known = TargetState {
            series,
            scraped: Some(at),
            seconds,
            failure,
        };
    }
}

/// The shortest interval; tokio refuses zero.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

// What a lock guards is replaced whole, so that a poisoned one is still usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every scrape says of itself.
fn reports(up: f64, seconds: f64, samples: usize) -> [(&'static str, f64); 3] {
    #[expect(clippy::cast_precision_loss, reason = "bounded by MAX_SAMPLES")]
    let samples = samples as f64;
    [
        ("up", up),
        ("scrape_duration_seconds", seconds),
        ("scrape_samples_scraped", samples),
    ]
}

/// The target's labels win; an exposed label of the same name is kept as `exported_…`.
fn attach(exposed: &Labels, own: &Labels) -> Labels {
    let exposed = exposed.iter().map(|(name, value)| {
        let taken = !own.get(name).is_empty();
        (
            if taken {
                format!("exported_{name}")
            } else {
                name.to_owned()
            },
            value.to_owned(),
        )
    });
    Labels::new(
        exposed.chain(
            own.iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, to_bytes};
    use http::{HeaderMap, StatusCode};
    use serde_json::{Value as Json, json};
    use tower::ServiceExt as _;
    use weir_runtime::VirtualClock;
    use weir_runtime::http::{HttpError, Response, Transport};

    use super::*;

    /// Answers `http://app/…` from a script: one entry per scrape, the last one for good.
    struct Script(Vec<Result<&'static str, u16>>, AtomicUsize);

    #[async_trait::async_trait]
    impl Transport for Script {
        async fn send(&self, request: Request) -> Result<Response, HttpError> {
            if request.url.path() == "/hang" {
                std::future::pending::<()>().await;
            }
            let turn = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
            let (status, body) = match self.0[turn] {
                Ok(body) => (StatusCode::OK, body),
                Err(status) => (StatusCode::from_u16(status).expect("a status"), ""),
            };
            Ok(Response::full(status, HeaderMap::new(), body))
        }
    }

    pub(super) fn start(script: &[Result<&'static str, u16>], path: &str) -> Prometheus {
        let clock = VirtualClock::starting_at(Timestamp::from_second(1000).expect("a time"));
        let http = Http::new(Script(script.to_vec(), AtomicUsize::new(0)));
        let prometheus = Prometheus::new(Arc::new(clock), http);
        let url: Url = format!("http://app:8080{path}").parse().expect("a URL");
        let labels = vec![("kubernetes_pod_name".to_owned(), "app-1".to_owned())];
        prometheus.set_targets(move || {
            vec![Target {
                url: url.clone(),
                labels: labels.clone(),
            }]
        });
        prometheus
    }

    pub(super) async fn rounds(prometheus: &Prometheus, count: u32) {
        for _ in 0..count {
            prometheus.scrape().await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    pub(super) async fn call(
        prometheus: &Prometheus,
        method: &str,
        uri: &str,
        form: &str,
    ) -> (u16, Json) {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::from(form.to_owned()));
        let service = prometheus.router();
        let response = service
            .oneshot(request.expect("a request"))
            .await
            .expect("infallible");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20)
            .await
            .expect("a body");
        let text = String::from_utf8_lossy(&body).into_owned();
        (
            status,
            serde_json::from_slice(&body).unwrap_or(Json::String(text)),
        )
    }

    async fn values(prometheus: &Prometheus, query: &str) -> Json {
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .finish();
        let (status, body) = call(prometheus, "POST", "/api/v1/query", &form).await;
        assert_eq!(status, 200, "{body}");
        body["data"]["result"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| e["value"][1].clone())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn labels_up_and_staleness() {
        let script = [
            Ok("m{job=\"x\",a=\"1\"} 1\nn 2\n"),
            Ok("m{job=\"x\",a=\"1\"} 3\n"),
            Err(500),
        ];
        let prometheus = start(&script, "/metrics");
        rounds(&prometheus, 1).await;
        let (_, series) = call(&prometheus, "GET", "/api/v1/series?match[]=m", "").await;
        assert_eq!(
            series["data"],
            json!([{"__name__": "m", "a": "1", "exported_job": "x", "instance": "app:8080",
                    "job": "sandbox", "kubernetes_pod_name": "app-1"}])
        );
        assert_eq!(
            values(&prometheus, "{__name__=~\"m|n|up\"}").await,
            json!(["1", "2", "1"])
        );
        rounds(&prometheus, 1).await;
        assert_eq!(
            values(&prometheus, "{__name__=~\"m|n|up\"}").await,
            json!(["3", "1"])
        );
        rounds(&prometheus, 1).await;
        assert_eq!(
            values(&prometheus, "{__name__=~\"m|n|up\"}").await,
            json!(["0"])
        );
        let (_, targets) = call(&prometheus, "GET", "/api/v1/targets", "").await;
        let target = &targets["data"]["activeTargets"][0];
        assert_eq!(target["health"], "down");
        assert_eq!(
            target["lastError"],
            "the target answered with status 500 Internal Server Error"
        );
        prometheus.set_targets(Vec::new);
        rounds(&prometheus, 1).await;
        assert_eq!(values(&prometheus, "{job=\"sandbox\"}").await, json!([]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_malformed_body_and_a_silent_target_are_down() {
        let malformed = start(&[Ok("m 1\nm{ 2")], "/metrics");
        rounds(&malformed, 1).await;
        assert_eq!(
            values(&malformed, "{__name__=~\"m|up\"}").await,
            json!(["0"])
        );
        let (_, targets) = call(&malformed, "GET", "/api/v1/targets", "").await;
        let failure = targets["data"]["activeTargets"][0]["lastError"].to_string();
        assert!(failure.contains("line 2 of the metrics"), "{failure}");
        let silent = start(&[Ok("m 1")], "/hang");
        rounds(&silent, 1).await;
        assert_eq!(values(&silent, "up").await, json!(["0"]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_loop_scrapes_every_interval() {
        let prometheus = start(&[Ok("m 1")], "/metrics");
        let task = tokio::spawn(prometheus.clone().run());
        tokio::time::sleep(Duration::from_millis(9500)).await;
        task.abort();
        assert_eq!(
            values(&prometheus, "count_over_time(up[1m])").await,
            json!(["10"])
        );
    }
}
