//! Owns faults of the API as the controllers see it: a layer in front of the API server that
//! counts writes and, by plan, refuses some or stops the process right after one.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use kube::client::Body;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use weir_apiserver::{ApiBody, ApiServer};

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server answers 500 and does nothing.
    Refuse,
    /// The write is done, and the process stops before it hears of it.
    CrashAfter,
}

#[derive(Default)]
struct Plan {
    writes: u64,
    /// Which write, counted from 1, and what happens to it and to how many after it.
    at: Option<(u64, u64, Fault)>,
    log: Vec<String>,
    crash: Option<CancellationToken>,
}

/// The plan of one process's faults. Cheap to clone.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

impl Faults {
    /// From the write of this number on (counted from now, from 1), `count` writes meet the fault.
    pub fn plan(&self, number: u64, count: u64, fault: Fault) {
        let mut plan = self.lock();
        plan.at = Some((plan.writes + number, count, fault));
    }

    /// No more faults.
    pub fn clear(&self) {
        self.lock().at = None;
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// The writes so far, as `METHOD path`.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Whether the planned crash took place.
    pub fn crashed(&self) -> bool {
        self.lock()
            .crash
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
    }

    pub(crate) fn crash_by(&self, token: CancellationToken) {
        self.lock().crash = Some(token);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut plan = self.lock();
        plan.writes += 1;
        let number = plan.writes;
        plan.log.push(format!("{method} {path}"));
        let (from, count, fault) = plan.at.clone()?;
        (from..from + count).contains(&number).then_some(fault)
    }
}

/// The API server behind the faults.
#[derive(Clone)]
pub(crate) struct Faulty {
    server: ApiServer,
    faults: Faults,
}

impl Faulty {
    pub(crate) fn new(server: ApiServer, faults: Faults) -> Self {
        Self { server, faults }
    }
}

impl Service<Request<Body>> for Faulty {
    type Response = Response<Either<ApiBody, Full<Bytes>>>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        // Events are told on the side; losing one changes nothing, so they are not counted.
        let aside =
            request.uri().path().ends_with("/events") || request.uri().path().contains("/events/");
        let fault = (!reads && !aside)
            .then(|| self.faults.next(request.method(), request.uri().path()))
            .flatten();
        let (server, faults) = (self.server.clone(), self.faults.clone());
        Box::pin(async move {
            if fault == Some(Fault::Refuse) {
                let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"planned failure","reason":"InternalError","code":500}"#;
                let mut response = Response::new(Either::Right(Full::from(body)));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(response);
            }
            if crate::record::wanted() {
                return Ok(recorded(server, request).await);
            }
            let response = server.service().oneshot(request).await?;
            if fault == Some(Fault::CrashAfter) {
                if let Some(token) = &faults.lock().crash {
                    token.cancel();
                }
                // The process is gone: nobody hears the reply.
                std::future::pending::<()>().await;
            }
            Ok(response.map(Either::Left))
        })
    }
}

/// Answers a request and keeps both, unless the answer is a stream.
async fn recorded(
    server: ApiServer,
    request: Request<Body>,
) -> Response<Either<ApiBody, Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let body = body.unwrap_or_default();
    let streams = head.uri.query().is_some_and(|q| q.contains("watch="));
    let request = Request::from_parts(head.clone(), Full::new(body.clone()));
    let Ok(response) = server.service().oneshot(request).await;
    let code = response.status().as_u16();
    if streams {
        crate::record::keep(&head, &body, code, &Bytes::new());
        return response.map(Either::Left);
    }
    let (parts, answer) = response.into_parts();
    let answer = answer
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let answer = answer.unwrap_or_default();
    crate::record::keep(&head, &body, code, &answer);
    Response::from_parts(parts, Either::Right(Full::new(answer)))
}
