//! Owns the layer between a controller and the API server: it counts what passes and puts one fault
//! at one position.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use weir_apiserver::ApiServer;

/// What happens at one position of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The process ends right before the write reaches the server.
    CrashBefore,
    /// The process ends right after the write took effect, and hears nothing.
    CrashAfter,
    /// The server refuses the write with 500.
    Error,
    /// The write takes effect, and the answer is a timeout.
    Ambiguous,
    /// Somebody else writes the same object right before.
    Conflict,
    /// A user pushes a new revision right before the write.
    Push,
    /// A user takes the push back right before the write.
    Revert,
    /// The process stalls before the write; a second one takes over, and then the write goes out.
    SecondLeader,
    /// The clock jumps five minutes ahead.
    ClockAhead,
    /// The clock jumps five minutes back.
    ClockBack,
    /// A pod of the canary fails right before the write.
    PodsFail,
    /// Somebody edits the primary's pod template right before the write.
    PrimaryEdited,
    /// Somebody deletes the primary right before the write.
    PrimaryDeleted,
    /// A read is answered as the object was before its last change.
    StaleRead,
    /// An event is lost; the watch ends with 410 and is listed anew.
    EventLost,
    /// An event comes five seconds late, and all after it.
    EventLate,
    /// An event comes twice.
    EventTwice,
    /// The metrics server answers a query with 500.
    ProviderError,
    /// The metrics server has no value for a query.
    ProviderEmpty,
    /// The metrics server never answers a query.
    ProviderHangs,
    /// A new revision is pushed while a query is under way.
    PushDuringQuery,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Error,
        Self::Ambiguous,
        Self::Conflict,
        Self::Push,
        Self::Revert,
        Self::SecondLeader,
        Self::ClockAhead,
        Self::ClockBack,
        Self::PodsFail,
        Self::PrimaryEdited,
        Self::PrimaryDeleted,
        Self::StaleRead,
        Self::EventLost,
        Self::EventLate,
        Self::EventTwice,
        Self::ProviderError,
        Self::ProviderEmpty,
        Self::ProviderHangs,
        Self::PushDuringQuery,
    ];

    /// What its positions are counted by.
    pub fn at(self) -> Counted {
        match self {
            Self::StaleRead => Counted::Reads,
            Self::EventLost | Self::EventLate | Self::EventTwice => Counted::Events,
            Self::ProviderError
            | Self::ProviderEmpty
            | Self::ProviderHangs
            | Self::PushDuringQuery => Counted::Queries,
            _ => Counted::Writes,
        }
    }

    /// Its name, as the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash before a write",
            Self::CrashAfter => "crash after a write",
            Self::Error => "a write is refused",
            Self::Ambiguous => "a write takes effect, the answer is lost",
            Self::Conflict => "a foreign write of the same object",
            Self::Push => "a push of a new revision",
            Self::Revert => "the push is taken back",
            Self::SecondLeader => "a stalled leader writes after another took over",
            Self::ClockAhead => "the clock jumps five minutes ahead",
            Self::ClockBack => "the clock jumps five minutes back",
            Self::PodsFail => "the canary's pods fail for a while",
            Self::PrimaryEdited => "the primary is edited by hand",
            Self::PrimaryDeleted => "the primary is deleted by hand",
            Self::StaleRead => "a read is answered from the past",
            Self::EventLost => "an event is lost, the watch expires",
            Self::EventLate => "an event comes five seconds late",
            Self::EventTwice => "an event comes twice",
            Self::ProviderError => "the metrics server fails",
            Self::ProviderEmpty => "the metrics server has no value",
            Self::ProviderHangs => "the metrics server does not answer",
            Self::PushDuringQuery => "a push while a query is under way",
        }
    }
}

/// What is counted on the way of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Writes of the controller, but for Events.
    Writes,
    /// Reads of single objects.
    Reads,
    /// Events of watches.
    Events,
    /// Queries to the metrics server.
    Queries,
}

/// A moment at which the world is changed from outside: what to do then is the world's matter.
type Hand = Arc<dyn Fn(&Fault, &str) + Send + Sync>;

#[derive(Default)]
struct Plan {
    fault: Option<(Fault, u64)>,
    met: bool,
    hand: Option<Hand>,
    crash: Option<CancellationToken>,
    log: Vec<String>,
}

/// One process's way to the server. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    plan: Arc<Mutex<Plan>>,
    counts: Arc<[AtomicU64; 4]>,
    /// Lets a stalled write go on.
    pub(crate) go_on: Arc<Notify>,
    /// Tells that a write stalls.
    pub(crate) stalled: Arc<Notify>,
}

impl Faults {
    pub(crate) fn plan(&self, fault: Option<(Fault, u64)>, hand: Hand) {
        let mut plan = self.lock();
        plan.fault = fault;
        plan.hand = Some(hand);
    }

    pub(crate) fn crash_by(&self, token: CancellationToken) {
        self.lock().crash = Some(token);
    }

    /// Whether the fault took place.
    pub(crate) fn met(&self) -> bool {
        self.lock().met
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    pub(crate) fn count(&self, what: Counted) -> u64 {
        self.counter(what).load(Ordering::Relaxed)
    }

    fn counter(&self, what: Counted) -> &AtomicU64 {
        let [writes, reads, events, queries] = &*self.counts;
        match what {
            Counted::Writes => writes,
            Counted::Reads => reads,
            Counted::Events => events,
            Counted::Queries => queries,
        }
    }

    /// Counts one, and says what happens to it.
    pub(crate) fn next(&self, what: Counted, path: &str) -> Option<Fault> {
        let number = self.counter(what).fetch_add(1, Ordering::Relaxed) + 1;
        let mut plan = self.lock();
        if what == Counted::Writes {
            plan.log.push(path.to_owned());
        }
        let (fault, at) = plan.fault?;
        let meets = fault.at() == what && at == number;
        plan.met |= meets;
        meets.then_some(fault)
    }

    /// Changes the world from outside.
    pub(crate) fn hand(&self, fault: Fault, path: &str) {
        let hand = self.lock().hand.clone();
        if let Some(hand) = hand {
            hand(&fault, path);
        }
    }

    async fn crash(&self) -> ! {
        if let Some(token) = &self.lock().crash {
            token.cancel();
        }
        // The process is gone: nobody hears anything.
        std::future::pending().await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called after each write that took effect.
pub(crate) type Look = Arc<dyn Fn(&str) + Send + Sync>;

/// The API server behind the faults.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) server: ApiServer,
    pub(crate) faults: Faults,
    pub(crate) look: Look,
    pub(crate) past: Arc<Mutex<Past>>,
}

/// Each object's last two versions, by path.
#[derive(Default)]
pub(crate) struct Past(std::collections::BTreeMap<String, (Option<Value>, Value)>);

impl Past {
    fn keep(&mut self, path: &str, object: Value) {
        let entry = self.0.entry(path.to_owned());
        entry
            .and_modify(|(before, now)| {
                if *now != object {
                    *before = Some(std::mem::replace(now, object.clone()));
                }
            })
            .or_insert((None, object));
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    let mut response = Response::new(Full::from(body.to_string()).boxed_unsync());
    *response.status_mut() = code;
    response
}

impl Service<Request<Body>> for Faulty {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

impl Faulty {
    async fn answer(self, request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default();
        if *request.method() == Method::GET {
            let watches = query.contains("watch=");
            let one = path.split('/').count() > 6 || path.ends_with("/namespaces/demo");
            return if watches {
                self.watch(request).await
            } else if one {
                self.read(request, &path).await
            } else {
                self.pass(request).await
            };
        }
        if path.contains("/events") {
            return self.pass(request).await;
        }
        let what = format!("{} {path}", request.method());
        let fault = self.faults.next(Counted::Writes, &what);
        match fault {
            Some(Fault::CrashBefore) => self.faults.crash().await,
            Some(Fault::Error) => {
                return status(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalError",
                    "planned failure",
                );
            }
            Some(Fault::SecondLeader) => {
                self.faults.stalled.notify_one();
                self.faults.go_on.notified().await;
            }
            Some(fault) => self.faults.hand(fault, &path),
            None => {}
        }
        let response = self.pass(request).await;
        (self.look)(&what);
        match fault {
            Some(Fault::CrashAfter) => self.faults.crash().await,
            Some(Fault::Ambiguous) => {
                status(StatusCode::GATEWAY_TIMEOUT, "Timeout", "planned timeout")
            }
            _ => response,
        }
    }

    async fn pass(&self, request: Request<Body>) -> Answer {
        match self.server.service().oneshot(request).await {
            Ok(response) => response.map(boxed),
            Err(never) => match never {},
        }
    }

    async fn read(&self, request: Request<Body>, path: &str) -> Answer {
        let stale = self.faults.next(Counted::Reads, path) == Some(Fault::StaleRead);
        let response = self.pass(request).await;
        if !response.status().is_success() {
            return response;
        }
        let (head, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(all) => all.to_bytes(),
            Err(never) => match never {},
        };
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(object) = serde_json::from_slice::<Value>(&bytes) {
            past.keep(path, object);
        }
        let before = past.0.get(path).and_then(|(before, _)| before.clone());
        let bytes = match before {
            Some(before) if stale => Bytes::from(before.to_string()),
            _ => bytes,
        };
        Response::from_parts(head, Full::from(bytes).boxed_unsync())
    }

    async fn watch(&self, request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let response = self.pass(request).await;
        let (head, body) = response.into_parts();
        let lines = lines(body);
        let faults = self.faults.clone();
        let past = self.past.clone();
        // One event in, none, one or two out; `true` ends the stream after it.
        let frames = lines.flat_map(move |line| {
            let (faults, past, path) = (faults.clone(), past.clone(), path.clone());
            futures::stream::once(async move {
                let event: Value = serde_json::from_slice(&line).unwrap_or_default();
                if event["type"] == "BOOKMARK" || event["type"].is_null() {
                    return vec![line];
                }
                let name = event["object"]["metadata"]["name"].as_str();
                let at = format!("{path}/{}", name.unwrap_or_default());
                past.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .keep(&at, event["object"].clone());
                match faults.next(Counted::Events, &path) {
                    Some(Fault::EventLost) => vec![expired()],
                    Some(Fault::EventTwice) => vec![line.clone(), line],
                    Some(Fault::EventLate) => {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        vec![line]
                    }
                    _ => vec![line],
                }
            })
            .flat_map(futures::stream::iter)
        });
        let frames = until_expired(frames);
        let body = StreamBody::new(frames.map(|line| Ok(http_body::Frame::data(line))));
        Response::from_parts(head, body.boxed_unsync())
    }
}

fn boxed(body: weir_apiserver::ApiBody) -> UnsyncBoxBody<Bytes, Infallible> {
    // A stream that breaks off ends.
    let frames = BodyStream::new(body).filter_map(|frame| async move { frame.ok() });
    StreamBody::new(frames.map(Ok)).boxed_unsync()
}

/// What tells a client that it has to list again.
fn expired() -> Bytes {
    let line = serde_json::json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410}});
    Bytes::from(format!("{line}\n"))
}

fn until_expired(frames: impl Stream<Item = Bytes>) -> impl Stream<Item = Bytes> {
    frames.scan(false, |ended, line| {
        let end = std::mem::replace(ended, line.starts_with(b"{\"type\":\"ERROR\""));
        futures::future::ready((!end).then_some(line))
    })
}

/// The lines of a body.
fn lines(body: UnsyncBoxBody<Bytes, Infallible>) -> impl Stream<Item = Bytes> {
    let data = BodyStream::new(body).filter_map(|frame| async move {
        let Ok(frame) = frame;
        frame.into_data().ok()
    });
    data.map(Some)
        .chain(futures::stream::once(async { None }))
        .scan(Vec::new(), |rest: &mut Vec<u8>, data| {
            let mut out = Vec::new();
            match data {
                Some(data) => {
                    rest.extend_from_slice(&data);
                    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                        out.push(Bytes::from(rest.drain(..=end).collect::<Vec<u8>>()));
                    }
                }
                None if !rest.is_empty() => out.push(Bytes::from(std::mem::take(rest))),
                None => {}
            }
            futures::future::ready(Some(futures::stream::iter(out)))
        })
        .flatten()
}
