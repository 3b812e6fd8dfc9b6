//! Owns what happens to one request: faults, redirects, the backend's turn, filters, attempts and
//! times, and the answer's way back. Every wait here has an end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use tokio::time::Instant;

use super::bounded::{Bounded, Observation};
use super::filters::{Crossing, changed, grpc_status, location, split_host, strip};
use super::matching::{Asked, Chosen};
use super::metrics::{Hop, Series};
use super::mirror::Head;
use super::model::{Abort, Action, Backend, Destination, Limit, PathChange, Retry, Route, Rule};
use super::replay::Tape;
use super::upstream::Failure;
use super::{Entry, Proxy};
use crate::names::Endpoint;

/// The most of a request's body that is kept for another attempt or a copy.
const KEPT: usize = 1 << 20;
/// How long an answer may take to begin, where nothing was said.
const DEFAULT: Duration = Duration::from_secs(15);
/// The same where all limits were taken off, and for streams.
const LONGEST: Duration = Duration::from_mins(15);
/// How long a client may bring nothing of a body.
const CLIENT_IDLE: Duration = Duration::from_mins(1);
/// Attempts at most, whatever a route asks for.
const ATTEMPTS: u32 = 10;
/// The first wait before another attempt; it doubles up to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// How often a request may pass here.
const HOPS: u32 = 8;
const HOPS_HEADER: HeaderName = HeaderName::from_static("x-weir-hops");

/// What is known of one request from its arrival on.
struct Call<'a> {
    entry: &'a Entry,
    parts: Parts,
    /// As given, with its port.
    host: String,
    grpc: bool,
    started: Instant,
    route: Arc<Route>,
    chosen: Chosen,
    /// Envoy's word for what was done to it, for Istio's metrics.
    flags: &'static str,
}

/// Why an attempt gave no answer.
enum Lost {
    Failed(Failure),
    Late,
}

impl Proxy {
    pub(super) async fn answer(self: &Arc<Self>, entry: &Entry, request: Request) -> Response {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let grpc = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
        let given = parts
            .headers
            .get(header::HOST)
            .and_then(|h| h.to_str().ok());
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or(given).unwrap_or_default().to_owned();
        if parts.method == Method::CONNECT {
            return told(
                grpc,
                StatusCode::NOT_IMPLEMENTED,
                "CONNECT is not done here",
            );
        }
        if hops(&parts.headers) >= HOPS {
            let what = "the request came by here too often: a backend leads back to the proxy";
            return told(grpc, StatusCode::LOOP_DETECTED, what);
        }
        let name = split_host(&host).0;
        let asked = Asked {
            method: parts.method.as_str(),
            host: name,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            port: entry.port(),
        };
        let Some((route, chosen)) = self.choose(entry, &asked) else {
            let what = format!("no route takes `{name}{}`", parts.uri.path());
            return told(grpc, StatusCode::NOT_FOUND, &what);
        };
        let call = Call {
            entry,
            parts,
            host,
            grpc,
            started,
            route,
            chosen,
            flags: "",
        };
        self.ruled(call, body).await
    }

    /// A request whose rule is known.
    async fn ruled(self: &Arc<Self>, mut call: Call<'_>, body: Body) -> Response {
        let route = call.route.clone();
        let Some(rule) = route.rules.get(call.chosen.rule) else {
            return told(call.grpc, StatusCode::NOT_FOUND, "the rule is gone");
        };
        let crossing = match &rule.cors {
            Some(cors) => cors.cross(&call.parts.method, &call.parts.headers),
            None => Crossing::Silent,
        };
        let state = format!("{} {}#{}", route.kind.name(), route.id(), call.chosen.rule);
        match crossing {
            Crossing::Preflight(headers) => {
                let mut response = Response::new(Body::empty());
                *response.headers_mut() = headers;
                self.observed(&call, None, None, response, None)
            }
            Crossing::Silent => self.done(&mut call, rule, &state, body).await,
            Crossing::Headers(headers) => {
                let mut response = self.done(&mut call, rule, &state, body).await;
                response.headers_mut().extend(headers);
                response
            }
        }
    }

    async fn done(
        self: &Arc<Self>,
        call: &mut Call<'_>,
        rule: &Rule,
        state: &str,
        body: Body,
    ) -> Response {
        if let Some((delay, share)) = rule.fault.delay
            && self.turns.hit(&format!("{state} delay"), share)
        {
            call.flags = "DI";
            tokio::time::sleep(delay).await;
        }
        if let Some((abort, share)) = rule.fault.abort
            && self.turns.hit(&format!("{state} abort"), share)
        {
            call.flags = "FI";
            let response = match abort {
                Abort::Http(status) => told(call.grpc, status, "fault filter abort"),
                Abort::Grpc(status) => grpc_answer(status, "fault filter abort"),
            };
            return self.observed(call, None, None, response, None);
        }
        let found = call.chosen.found.and_then(|i| rule.matches.get(i));
        let found = found.and_then(super::matching::Match::prefix);
        let mut response = match &rule.action {
            Action::Forward(backends) => {
                return self.forward(call, rule, state, backends, found, body).await;
            }
            Action::Redirect(redirect) => {
                let (uri, port) = (&call.parts.uri, call.entry.port());
                let to = location(redirect, uri, &call.host, port, found);
                let Ok(to) = HeaderValue::from_str(&to) else {
                    return told(
                        call.grpc,
                        StatusCode::BAD_REQUEST,
                        "the target is not a URL",
                    );
                };
                let mut response = Response::new(Body::empty());
                *response.status_mut() = redirect.status;
                response.headers_mut().insert(header::LOCATION, to);
                response
            }
            Action::Answer(status, text) => {
                let mut response = Response::new(Body::from(text.clone()));
                *response.status_mut() = *status;
                response
            }
        };
        rule.filters.response.apply(response.headers_mut());
        self.observed(call, None, None, response, None)
    }

    async fn forward(
        self: &Arc<Self>,
        call: &mut Call<'_>,
        rule: &Rule,
        state: &str,
        backends: &[Backend],
        found: Option<&str>,
        body: Body,
    ) -> Response {
        let weights: Vec<u32> = backends.iter().map(|b| b.weight).collect();
        let next = self.turns.next(state, &weights);
        let Some(backend) = next.and_then(|i| backends.get(i)) else {
            let what = "the rule has no backend";
            let response = told(call.grpc, StatusCode::INTERNAL_SERVER_ERROR, what);
            return self.observed(call, None, None, response, None);
        };
        // A destination without a port means the one that the request came in at.
        let port = call.entry.port();
        let at_port;
        let backend = if backend.to.port == 0 {
            at_port = Backend {
                to: backend.to.at(port),
                ..backend.clone()
            };
            &at_port
        } else {
            backend
        };
        if let Some(why) = &backend.broken {
            call.flags = "NC";
            let response = told(call.grpc, StatusCode::INTERNAL_SERVER_ERROR, why);
            return self.observed(call, Some(&backend.to), None, response, None);
        }
        let head = match head(call, rule, backend, found) {
            Ok(head) => head,
            Err(what) => {
                let response = told(call.grpc, StatusCode::BAD_REQUEST, what);
                return self.observed(call, Some(&backend.to), None, response, None);
            }
        };
        let copies = rule.filters.mirrors.iter().chain(&backend.filters.mirrors);
        let copies: Vec<_> = copies
            .enumerate()
            .filter(|(i, m)| {
                self.turns
                    .hit(&format!("{state} mirror {i} {}", m.to), m.share)
            })
            .map(|(_, m)| m)
            .collect();
        let kept = if copies.is_empty() && rule.retry.attempts == 0 {
            0
        } else {
            KEPT
        };
        let (body, stalled) = Bounded::request(body, CLIENT_IDLE);
        let tape = Tape::new(body, kept);
        let from = Instant::now();
        let deadline = match rule.timeout {
            Limit::After(limit) => Some(from + limit),
            Limit::Default if !call.grpc && !call.entry.is_mesh() => Some(from + DEFAULT),
            Limit::Default | Limit::None => None,
        };
        let mut copies = Some(copies);
        let mut attempt = 0;
        let (reached, lost) = loop {
            let Some(endpoint) = self.pick(&backend.to) else {
                call.flags = "UH";
                let what = format!("service `{}` has no ready endpoint", backend.to.service);
                let response = told(call.grpc, StatusCode::SERVICE_UNAVAILABLE, &what);
                return self.observed(call, Some(&backend.to), None, response, None);
            };
            let Some(body) = tape.play() else {
                break (
                    None,
                    Lost::Failed(Failure::Reset("the body is gone".into())),
                );
            };
            for mirror in copies.take().into_iter().flatten() {
                self.copy_to(mirror, port, &head, &tape);
            }
            let sent = Instant::now();
            let mut until = deadline.unwrap_or(sent + LONGEST);
            if let Some(limit) = rule.attempt {
                until = until.min(sent + limit);
            }
            let two = backend.grpc || self.names.speaks_two(&backend.to);
            let sending = self.upstream.send(endpoint.at, two, head.request(body));
            let outcome = match tokio::time::timeout_at(until, sending).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(failure)) => Err(Lost::Failed(failure)),
                Err(_) => Err(Lost::Late),
            };
            let time_left = deadline.is_none_or(|at| Instant::now() < at);
            let again = attempt < rule.retry.attempts.min(ATTEMPTS)
                && time_left
                && !stalled.load(Ordering::Relaxed)
                && repeats(&rule.retry, &outcome);
            if again {
                self.given_up(call, backend, &endpoint, &outcome, sent);
                self.metrics.retried(&call.route.id());
                let (first, last) = BACKOFF;
                let wait = rule.retry.backoff.unwrap_or(first) * 2_u32.pow(attempt);
                let mut wake =
                    Instant::now() + wait.min(rule.retry.backoff.unwrap_or(last).max(last));
                if let Some(at) = deadline {
                    wake = wake.min(at);
                }
                tokio::time::sleep_until(wake).await;
                attempt += 1;
                continue;
            }
            match outcome {
                Ok(answer) => {
                    return self.back(call, rule, backend, &endpoint, answer, deadline);
                }
                Err(lost) => break (Some(endpoint), lost),
            }
        };
        let mesh = call.entry.is_mesh();
        let (status, flags, what) = match &lost {
            _ if stalled.load(Ordering::Relaxed) => (
                StatusCode::REQUEST_TIMEOUT,
                "DC",
                "the request's body did not come in time".to_owned(),
            ),
            Lost::Late => (
                StatusCode::GATEWAY_TIMEOUT,
                "UT",
                "the backend did not answer in time".to_owned(),
            ),
            Lost::Failed(f @ Failure::Connect(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "UF", f.to_string())
            }
            Lost::Failed(f) if mesh => (StatusCode::SERVICE_UNAVAILABLE, "UC", f.to_string()),
            Lost::Failed(f) => (StatusCode::BAD_GATEWAY, "UC", f.to_string()),
        };
        call.flags = flags;
        let response = told(call.grpc, status, &what);
        let reached = reached.filter(|_| !matches!(lost, Lost::Failed(Failure::Connect(_))));
        self.observed(call, Some(&backend.to), reached.as_ref(), response, None)
    }

    /// An answer on its way back.
    fn back(
        &self,
        call: &Call<'_>,
        rule: &Rule,
        backend: &Backend,
        endpoint: &Endpoint,
        answer: http::Response<Body>,
        deadline: Option<Instant>,
    ) -> Response {
        let mut response = answer;
        strip(response.headers_mut());
        backend.filters.response.apply(response.headers_mut());
        rule.filters.response.apply(response.headers_mut());
        self.observed(call, Some(&backend.to), Some(endpoint), response, deadline)
    }

    /// The ready endpoints of a destination take turns.
    pub(super) fn pick(&self, to: &Destination) -> Option<Endpoint> {
        let mut ready = self.names.endpoints(to);
        let weights = vec![1; ready.len()];
        let next = self.turns.next(&format!("to {to}"), &weights)?;
        (next < ready.len()).then(|| ready.swap_remove(next))
    }

    /// Counts an attempt that is followed by another, for the side that received it.
    fn given_up(
        &self,
        call: &Call<'_>,
        backend: &Backend,
        endpoint: &Endpoint,
        outcome: &Result<http::Response<Body>, Lost>,
        sent: Instant,
    ) {
        if !call.entry.is_mesh() {
            return;
        }
        if let Ok(answer) = outcome {
            let mut hop = hop(call, Some(&backend.to), Some(endpoint), answer.status());
            hop.received = true;
            self.metrics.observe_hop(hop, sent.elapsed());
        }
    }

    /// Lets an answer be counted at its end.
    fn observed(
        &self,
        call: &Call<'_>,
        to: Option<&Destination>,
        reached: Option<&Endpoint>,
        response: Response,
        deadline: Option<Instant>,
    ) -> Response {
        let status = response.status();
        let gateway = match call.entry {
            Entry::Gateway(key, _) => key.to_string(),
            Entry::Mesh(..) => String::new(),
        };
        let series = Series {
            gateway,
            kind: call.route.kind,
            route: call.route.id(),
            namespace: to.map(|t| t.namespace.clone()).unwrap_or_default(),
            service: to.map(|t| t.service.clone()).unwrap_or_default(),
            code: status.as_u16(),
        };
        let mut hops = Vec::new();
        if call.entry.is_mesh() {
            hops.push(hop(call, to, reached, status));
            if reached.is_some() {
                let mut received = hop(call, to, reached, status);
                received.received = true;
                hops.push(received);
            }
        }
        let observation = Observation {
            metrics: self.metrics.clone(),
            series,
            hops,
            started: call.started,
        };
        let (parts, body) = response.into_parts();
        let body = Bounded::answer(body, &parts.headers, deadline, observation);
        Response::from_parts(parts, body)
    }
}

/// One series of Istio's for a request, as its sender tells it.
fn hop(
    call: &Call<'_>,
    to: Option<&Destination>,
    reached: Option<&Endpoint>,
    status: StatusCode,
) -> Hop {
    let service = match (to, call.entry) {
        (Some(to), _) => (to.namespace.clone(), to.service.clone()),
        (None, Entry::Mesh(key, _) | Entry::Gateway(key, _)) => {
            (key.namespace.clone(), key.name.clone())
        }
    };
    let workload = reached.and_then(Endpoint::workload).unwrap_or_default();
    Hop {
        received: false,
        namespace: service.0,
        service: service.1,
        workload_namespace: workload.namespace,
        workload: workload.name,
        app: workload.app,
        version: workload.version,
        grpc: call.grpc,
        code: status.as_u16(),
        grpc_status: String::new(),
        flags: call.flags,
    }
}

/// The head of the request as the backend sees it.
fn head(
    call: &Call<'_>,
    rule: &Rule,
    backend: &Backend,
    found: Option<&str>,
) -> Result<Head, &'static str> {
    let parts = &call.parts;
    let mut headers = parts.headers.clone();
    let passed = hops(&headers) + 1;
    strip(&mut headers);
    let rewrites = [&rule.filters.rewrite, &backend.filters.rewrite];
    let rewritten = rewrites.iter().rev().find_map(|r| r.host.as_deref());
    if let Ok(value) = HeaderValue::from_str(rewritten.unwrap_or(&call.host)) {
        headers.insert(header::HOST, value);
    }
    rule.filters.request.apply(&mut headers);
    backend.filters.request.apply(&mut headers);
    headers.insert(HOPS_HEADER, HeaderValue::from(passed));
    let path = |change: &PathChange| changed(parts.uri.path(), change, found);
    let change = rewrites.iter().rev().find_map(|r| r.path.as_ref());
    let path = change.map_or_else(|| parts.uri.path().to_owned(), path);
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let uri: Uri = target.parse().map_err(|_| "the path cannot be passed on")?;
    Ok(Head {
        method: parts.method.clone(),
        uri,
        headers,
    })
}

fn hops(headers: &HeaderMap) -> u32 {
    let given = headers.get(HOPS_HEADER).and_then(|v| v.to_str().ok());
    given.map_or(0, |v| v.parse().unwrap_or(HOPS))
}

/// Whether an outcome asks for another attempt.
fn repeats(retry: &Retry, outcome: &Result<http::Response<Body>, Lost>) -> bool {
    let on = &retry.on;
    match outcome {
        Err(Lost::Failed(Failure::Connect(_))) => on.connect || on.reset || on.server,
        Err(Lost::Failed(Failure::Reset(_))) => on.reset || on.server,
        Err(Lost::Late) => on.timeout || on.server,
        Ok(answer) => {
            let status = answer.status().as_u16();
            let grpc = answer.headers().get("grpc-status");
            let grpc = grpc
                .and_then(|v| v.to_str().ok())
                .and_then(|v| v.parse().ok());
            (on.server && status >= 500)
                || on.statuses.contains(&status)
                || grpc.is_some_and(|status: u32| on.grpc.contains(&status))
        }
    }
}

/// An answer of the proxy's own.
pub(super) fn told(grpc: bool, status: StatusCode, what: &str) -> Response {
    if grpc {
        return grpc_answer(grpc_status(status), what);
    }
    let mut response = Response::new(Body::from(format!("{what}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// A gRPC status without a message's frame.
fn grpc_answer(status: u32, what: &str) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert("grpc-status", HeaderValue::from(status));
    let safe: String = what
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .filter(|c| *c != '%')
        .collect();
    if let Ok(message) = HeaderValue::from_str(&safe) {
        headers.insert("grpc-message", message);
    }
    response
}
