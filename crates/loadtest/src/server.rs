//! Owns the routes, with the bodies and statuses that are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_runtime::Metrics;
use weir_runtime::http::Http;

use crate::gates::{Gate, Gates};
use crate::generate::generate;
use crate::task::{Programs, Task};

/// The most bytes of a body.
const BODY: usize = 1 << 20;
/// The most tasks at once.
const TASKS: usize = 64;
/// The most bytes of a program's output that are told.
const OUTPUT: usize = 64 << 10;

/// How the tester works.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long one task may take.
    pub timeout: Duration,
    /// Which namespaces' Canaries are served; a regular expression of RE2, all where it is empty.
    pub namespace_regexp: String,
    /// Which programs may run.
    pub programs: Programs,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    canary: String,
    namespace: String,
    status: u16,
}

/// The load tester. Cheap to clone.
#[derive(Clone)]
pub struct Tester(Arc<Inner>);

struct Inner {
    gates: Gates,
    http: Http,
    options: Options,
    namespaces: Option<weir_gocompat::GoRegex>,
    stop: CancellationToken,
    metrics: Metrics,
    limit: Arc<Semaphore>,
    /// What runs, by Canary and command: the same twice is once.
    running: Mutex<BTreeSet<String>>,
    done: Family<Done, Counter>,
    answered: Family<Answered, Counter>,
}

/// What a hook sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    name: String,
    namespace: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Tester {
    /// A tester with these gates.
    ///
    /// # Errors
    /// Where `namespace_regexp` is no expression.
    pub fn new(
        gates: Gates,
        http: Http,
        options: Options,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let text = options.namespace_regexp.as_str();
        let namespaces = (!text.is_empty())
            .then(|| weir_gocompat::GoRegex::parse(text))
            .transpose()
            .map_err(|e| format!("`{text}` is no regular expression: {e}"))?;
        let (done, answered) = (Family::default(), Family::default());
        metrics.register(|registry| {
            let done: Family<Done, Counter> = Clone::clone(&done);
            let answered: Family<Answered, Counter> = Clone::clone(&answered);
            registry.register("weir_loadtest_tasks", "Tasks that ended, by outcome.", done);
            registry.register(
                "weir_loadtest_requests",
                "Answers to generated requests, by status; 0 is none",
                answered,
            );
        });
        Ok(Self(Arc::new(Inner {
            gates,
            http,
            options,
            namespaces,
            stop,
            metrics,
            limit: Arc::new(Semaphore::new(TASKS)),
            running: Mutex::default(),
            done,
            answered,
        })))
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        let gate = |rollback, what| {
            any(move |State(tester): State<Self>, body: Bytes| async move {
                tester.gate(rollback, what, &body).await
            })
        };
        Router::new()
            .route("/healthz", get(async || "OK"))
            .route(
                "/metrics",
                get(async |State(tester): State<Self>| tester.0.metrics.encode()),
            )
            .route("/gate/approve", any(async || "OK"))
            .route(
                "/gate/halt",
                any(async || (StatusCode::FORBIDDEN, "Forbidden")),
            )
            .route("/gate/check", gate(false, What::Check))
            .route("/gate/open", gate(false, What::Open))
            .route("/gate/close", gate(false, What::Close))
            .route("/rollback/check", gate(true, What::Check))
            .route("/rollback/open", gate(true, What::Open))
            .route("/rollback/close", gate(true, What::Close))
            .fallback(async |State(tester): State<Self>, body: Bytes| tester.task(&body).await)
            .layer(DefaultBodyLimit::max(BODY))
            .with_state(self.clone())
    }

    fn payload(&self, body: &[u8]) -> Result<Payload, (StatusCode, String)> {
        let payload: Payload = serde_json::from_slice(body).map_err(|e| {
            (
                StatusCode::BAD_REQUEST,
                format!("the body is no payload: {e}"),
            )
        })?;
        let served = self.0.namespaces.as_ref();
        if served.is_some_and(|r| !r.is_match(&payload.namespace)) {
            let why = format!("namespace `{}` is not served here", payload.namespace);
            return Err((StatusCode::FORBIDDEN, why));
        }
        Ok(payload)
    }

    async fn gate(&self, rollback: bool, what: What, body: &[u8]) -> Response {
        let payload = match self.payload(body) {
            Ok(payload) => payload,
            Err(refused) => return refused.into_response(),
        };
        let gate = Gate {
            rollback,
            name: payload.name,
            namespace: payload.namespace,
            kind: payload.kind,
        };
        let gates = &self.0.gates;
        let done = match what {
            What::Check => gates.is_open(&gate).await.map(|open| {
                if open {
                    (StatusCode::OK, "Approved")
                } else {
                    (StatusCode::FORBIDDEN, "Forbidden")
                }
            }),
            What::Open => gates
                .set(&gate, true)
                .await
                .map(|()| (StatusCode::ACCEPTED, "")),
            What::Close => gates
                .set(&gate, false)
                .await
                .map(|()| (StatusCode::ACCEPTED, "")),
        };
        match done {
            Ok(answer) => answer.into_response(),
            // A gate that can't be read is closed, and it is the tester's fault.
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()).into_response(),
        }
    }

    async fn task(&self, body: &[u8]) -> Response {
        let payload = match self.payload(body) {
            Ok(payload) => payload,
            Err(refused) => return refused.into_response(),
        };
        if payload.metadata.is_empty() {
            let why = "metadata not found in payload";
            return (StatusCode::BAD_REQUEST, why).into_response();
        }
        let task = match Task::read(&payload.metadata, &self.0.options.programs) {
            Ok(task) => task,
            Err(why) => return (StatusCode::BAD_REQUEST, why.to_string()).into_response(),
        };
        let Ok(permit) = self.0.limit.clone().try_acquire_owned() else {
            let why = format!("{TASKS} tasks are under way, and no more may be at once");
            return (StatusCode::TOO_MANY_REQUESTS, why).into_response();
        };
        let waited_for = matches!(
            task,
            Task::Program {
                waited_for: true,
                ..
            }
        );
        if waited_for {
            let answer = self.run(&payload, task).await;
            drop(permit);
            return answer;
        }
        let key = format!("{}/{} {task:?}", payload.namespace, payload.name);
        let fresh = self.running().insert(key.clone());
        // The same task again is the one that runs.
        if fresh {
            let tester = self.clone();
            tokio::spawn(async move {
                tester.run(&payload, task).await;
                tester.running().remove(&key);
                drop(permit);
            });
        }
        StatusCode::ACCEPTED.into_response()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, payload: &Payload, task: Task) -> Response {
        let canary = format!("{}.{}", payload.name, payload.namespace);
        match task {
            Task::Traffic(mut plan) => {
                plan.duration = plan.duration.min(self.0.options.timeout);
                let outcome = generate(&self.0.http, &plan, &self.0.stop).await;
                tracing::info!(canary, url = %plan.url, "{}", outcome.line());
                for (status, count) in &outcome.statuses {
                    let labels = Answered {
                        canary: payload.name.clone(),
                        namespace: payload.namespace.clone(),
                        status: *status,
                    };
                    self.0.answered.get_or_create(&labels).inc_by(*count);
                }
                self.ended("traffic", true);
                StatusCode::ACCEPTED.into_response()
            }
            Task::Program { words, answers, .. } => {
                let told = program(&words, self.0.options.timeout, &self.0.stop).await;
                self.ended("program", told.is_ok());
                match told {
                    Ok(output) => {
                        tracing::info!(canary, ?words, output, "a program ended well");
                        let output = if answers { output } else { String::new() };
                        (StatusCode::OK, output).into_response()
                    }
                    Err(why) => {
                        tracing::warn!(canary, ?words, why, "a program failed");
                        let why = format!("command {} failed: {why}", words.join(" "));
                        (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
                    }
                }
            }
        }
    }

    fn ended(&self, kind: &'static str, well: bool) {
        let outcome = if well { "done" } else { "failed" };
        self.0.done.get_or_create(&Done { kind, outcome }).inc();
    }
}

#[derive(Clone, Copy)]
enum What {
    Check,
    Open,
    Close,
}

/// Runs a program; says what it printed, or why it failed.
async fn program(
    words: &[String],
    timeout: Duration,
    stop: &CancellationToken,
) -> Result<String, String> {
    let (name, rest) = words
        .split_first()
        .ok_or_else(|| "it has no name".to_owned())?;
    let mut command = tokio::process::Command::new(name);
    command
        .args(rest)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::select! {
        ended = tokio::time::timeout(timeout, command.output()) => ended,
        () = stop.cancelled() => return Err("the tester stops".to_owned()),
    };
    let output = ended
        .map_err(|_| format!("it did not end within {timeout:?}"))?
        .map_err(|e| format!("it can't be started: {e}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let text: String = text.chars().take(OUTPUT).collect();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{text}: {}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use http::{HeaderMap, Request};
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;
    use weir_runtime::http::{HttpError, Response as Answer, Transport};

    use super::*;

    /// A service that counts what it is asked.
    #[derive(Clone, Default)]
    struct Counts(Arc<AtomicU64>);

    #[async_trait::async_trait]
    impl Transport for Counts {
        async fn send(&self, _: weir_runtime::http::Request) -> Result<Answer, HttpError> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            let status = if n % 10 == 9 {
                StatusCode::BAD_GATEWAY
            } else {
                StatusCode::OK
            };
            Ok(Answer::full(status, HeaderMap::new(), "hello"))
        }
    }

    fn tester(counts: &Counts, programs: Programs) -> Tester {
        let options = Options {
            timeout: Duration::from_secs(30),
            namespace_regexp: "^demo$".into(),
            programs,
        };
        let http = Http::new(counts.clone());
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        Tester::new(Gates::in_memory(), http, options, metrics, stop).expect("a tester")
    }

    async fn ask(tester: &Tester, path: &str, body: &str) -> (u16, String) {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = Request::builder().method(method).uri(path);
        let request = request.body(axum::body::Body::from(body.to_owned()));
        let answer = tester.router().oneshot(request.expect("a request")).await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn payload(more: &Value) -> String {
        let mut body = json!({"name": "app", "namespace": "demo", "phase": "Progressing"});
        for (key, value) in more.as_object().expect("a map") {
            body[key] = value.clone();
        }
        body.to_string()
    }

    #[tokio::test]
    async fn the_known_routes_answer_as_they_are_known_to() {
        let tester = tester(&Counts::default(), Programs::default());
        let plain = payload(&json!({}));
        for (path, body, status, text) in [
            ("/gate/approve", "", 200, "OK"),
            ("/gate/halt", "", 403, "Forbidden"),
            ("/gate/check", &*plain, 403, "Forbidden"),
            ("/gate/open", &plain, 202, ""),
            ("/gate/check", &plain, 200, "Approved"),
            ("/rollback/check", &plain, 403, "Forbidden"),
            ("/gate/close", &plain, 202, ""),
            ("/gate/check", &plain, 403, "Forbidden"),
            ("/", &plain, 400, "metadata not found in payload"),
        ] {
            assert_eq!(
                ask(&tester, path, body).await,
                (status, text.to_owned()),
                "{path}"
            );
        }
        assert_eq!(ask(&tester, "/gate/check", "no JSON").await.0, 400);
        let other = plain.replace("demo", "other");
        assert_eq!(ask(&tester, "/gate/check", &other).await.0, 403);
        let typed = payload(&json!({"type": "confirm-promotion"}));
        ask(&tester, "/gate/open", &typed).await;
        assert_eq!(ask(&tester, "/gate/check", &typed).await.0, 200);
        assert_eq!(ask(&tester, "/gate/check", &plain).await.0, 403);
    }

    #[tokio::test(start_paused = true)]
    async fn traffic_is_made_here_and_told_of() {
        let counts = Counts::default();
        let tester = tester(&counts, Programs::default());
        let cmd = "hey -z 5s -q 10 -c 2 http://app.demo/";
        let body = payload(&json!({"metadata": {"type": "cmd", "cmd": cmd}}));
        assert_eq!(ask(&tester, "/", &body).await.0, 202);
        assert_eq!(
            ask(&tester, "/", &body).await.0,
            202,
            "the same again is the same"
        );
        while !tester.running().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let sent = counts.0.load(Ordering::Relaxed);
        assert!(
            (95..=105).contains(&sent),
            "{sent} requests, at 20 a second for 5 s"
        );
        let (_, metrics) = ask(&tester, "/metrics", "").await;
        let told = format!(
            r#"weir_loadtest_requests_total{{canary="app",namespace="demo",status="502"}} {}"#,
            sent / 10
        );
        assert!(metrics.contains(&told), "{told} is not in {metrics}");
    }

    #[tokio::test]
    async fn r30_an_unknown_type_is_an_answer_and_programs_need_leave() {
        let tester = tester(&Counts::default(), Programs::default());
        let ask = async |kind: &str, cmd: &str| {
            let body = payload(&json!({"metadata": {"type": kind, "cmd": cmd}}));
            ask(&tester, "/", &body).await
        };
        assert_eq!(ask("ngrinder", "x").await.0, 400);
        let (status, why) = ask("bash", "echo hello").await;
        assert_eq!(status, 400);
        assert!(why.contains("--allow-command echo"), "{why}");
    }

    #[tokio::test]
    async fn a_program_that_is_allowed_runs_without_a_shell() {
        let programs = Programs {
            allowed: ["echo".to_owned(), "false".to_owned()].into(),
            shell: false,
        };
        let tester = tester(&Counts::default(), programs);
        let run = async |cmd: &str| {
            let metadata = json!({"type": "bash", "cmd": cmd, "returnCmdOutput": "true"});
            ask(&tester, "/", &payload(&json!({"metadata": metadata}))).await
        };
        assert_eq!(run("echo 'a  b' *").await, (200, "a  b *\n".to_owned()));
        let (status, why) = run("false").await;
        assert_eq!(status, 500);
        assert!(why.starts_with("command false failed"), "{why}");
    }
}
