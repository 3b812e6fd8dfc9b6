//! Owns forwarding: a request comes in at a Gateway, a route's rule is found, a backend has its
//! turn, and the request goes to one of its ready pods. It counts what it did, as a real data
//! plane would export it. Which routes there are is the gateway controller's part.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use tokio::time::Instant;
use weir_object::Key;
use weir_runtime::http::Http;

use crate::memory::read_body;
use crate::names::Names;
use crate::routes::{Asked, Backend, Route, Turns};

/// The largest request body passed on.
const BODY_LIMIT: usize = 8 << 20;
/// How long a backend may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The routes in force and what was done by them.
pub(crate) struct Proxy {
    http: Http,
    names: Arc<Names>,
    /// The routes of each gateway, by the route's key.
    routes: RwLock<HashMap<Key, BTreeMap<Key, Arc<Route>>>>,
    turns: Mutex<HashMap<(String, usize), Turns>>,
    metrics: ProxyMetrics,
}

impl Proxy {
    pub(crate) fn new(http: Http, names: Arc<Names>) -> Self {
        let (routes, turns) = (RwLock::default(), Mutex::default());
        Self {
            http,
            names,
            routes,
            turns,
            metrics: ProxyMetrics::default(),
        }
    }

    pub(crate) fn metrics(&self) -> ProxyMetrics {
        self.metrics.clone()
    }

    /// Puts a route in force at these gateways, and at no others.
    pub(crate) fn put(&self, key: &Key, gateways: &[Key], route: Option<Route>) {
        let route = route.map(Arc::new);
        let mut all = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for routes in all.values_mut() {
            routes.remove(key);
        }
        for gateway in gateways {
            if let Some(route) = &route {
                all.entry(gateway.clone())
                    .or_default()
                    .insert(key.clone(), route.clone());
            }
        }
    }

    /// The router of one gateway.
    pub(crate) fn router(self: &Arc<Self>, gateway: Key) -> Router {
        Router::new()
            .fallback(forward)
            .with_state((self.clone(), gateway))
    }

    fn route(&self, gateway: &Key, host: &str) -> Option<Arc<Route>> {
        let all = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let routes = all.get(gateway)?.values();
        let fitting = routes.filter_map(|r| Some((r.fits(host)?, r)));
        // Of equals the first by name wins, so that the choice is stable.
        let best = fitting.reduce(|a, b| if b.0 > a.0 { b } else { a });
        best.map(|(_, route)| route.clone())
    }

    fn turn(&self, route: &Route, rule: usize, backends: &[Backend]) -> Option<usize> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns
            .entry((route.name.clone(), rule))
            .or_default()
            .next(backends)
    }

    async fn answer(&self, gateway: &Key, request: Request) -> Response {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let given = parts
            .headers
            .get(header::HOST)
            .and_then(|h| h.to_str().ok());
        let host = given.or(parts.uri.host()).unwrap_or_default();
        let host = host
            .rsplit_once(':')
            .map_or(host, |(name, _)| name)
            .to_owned();
        let Some(route) = self.route(gateway, &host) else {
            return told(
                StatusCode::NOT_FOUND,
                format!("no route for host `{host}`\n"),
            );
        };
        let asked = Asked {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
        };
        let Some(index) = route.rule(&asked) else {
            return told(
                StatusCode::NOT_FOUND,
                "no rule of the route matches\n".into(),
            );
        };
        let rule = &route.rules[index];
        let Some(backend) = self
            .turn(&route, index, &rule.backends)
            .map(|i| &rule.backends[i])
        else {
            return told(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the rule has no backend\n".into(),
            );
        };
        let mut headers = parts.headers.clone();
        for name in &rule.remove_headers {
            headers.remove(name.as_str());
        }
        for (name, value) in &rule.set_headers {
            let name = http::HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let response = match read_body(body, BODY_LIMIT).await {
            Some(body) => self.pass(backend, &parts.method, path, headers, body).await,
            None => told(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("at most {BODY_LIMIT} bytes\n"),
            ),
        };
        self.metrics.observe(
            &route.name,
            &backend.service,
            response.status(),
            started.elapsed(),
        );
        response
    }

    async fn pass(
        &self,
        backend: &Backend,
        method: &http::Method,
        path: &str,
        mut headers: http::HeaderMap,
        body: bytes::Bytes,
    ) -> Response {
        let ready = self
            .names
            .ready(&backend.namespace, &backend.service, backend.port);
        let Some((address, port)) = self.pick(&ready, backend) else {
            let what = format!("service `{}` has no ready endpoint\n", backend.service);
            return told(StatusCode::SERVICE_UNAVAILABLE, what);
        };
        let Ok(url) = url::Url::parse(&format!("http://{address}:{port}{path}")) else {
            return told(
                StatusCode::BAD_REQUEST,
                "the path cannot be passed on\n".into(),
            );
        };
        for name in [
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::CONTENT_LENGTH,
            header::UPGRADE,
        ] {
            headers.remove(name);
        }
        let mut request = weir_runtime::http::Request::new(method.clone(), url).timeout(TIMEOUT);
        request.headers = headers;
        request.body = body;
        request.follow_redirects = false;
        match self.http.send(request).await {
            Ok(answer) => {
                let mut response = Response::new(Body::from_stream(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
                    response.headers_mut().remove(name);
                }
                response
            }
            Err(e) => told(StatusCode::BAD_GATEWAY, format!("{e}\n")),
        }
    }

    /// The endpoints of one backend take turns too.
    fn pick(&self, ready: &[(IpAddr, u16)], backend: &Backend) -> Option<(IpAddr, u16)> {
        let as_backends: Vec<Backend> = ready
            .iter()
            .map(|_| Backend {
                weight: 1,
                ..backend.clone()
            })
            .collect();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}/{}:{}", backend.namespace, backend.service, backend.port);
        let next = turns
            .entry((name, usize::MAX))
            .or_default()
            .next(&as_backends)?;
        ready.get(next).copied()
    }
}

async fn forward(State((proxy, gateway)): State<(Arc<Proxy>, Key)>, request: Request) -> Response {
    proxy.answer(&gateway, request).await
}

fn told(status: StatusCode, what: String) -> Response {
    (status, what).into_response()
}

/// What the proxy did, by route, service and status. Cheap to clone.
#[derive(Clone, Default)]
pub struct ProxyMetrics(Arc<Mutex<Counts>>);

/// Requests and the seconds they took, by route, service and status.
type Counts = BTreeMap<(String, String, u16), (u64, f64)>;

impl ProxyMetrics {
    fn observe(&self, route: &str, service: &str, status: StatusCode, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.to_owned(), service.to_owned(), status.as_u16());
        let (count, seconds) = all.entry(key).or_default();
        *count += 1;
        *seconds += took.as_secs_f64();
    }

    /// Requests by service since the start.
    pub fn by_service(&self) -> BTreeMap<String, u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = BTreeMap::new();
        for ((_, service, _), (count, _)) in all.iter() {
            *out.entry(service.clone()).or_default() += count;
        }
        out
    }

    /// All series in the Prometheus text format.
    pub fn exposition(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for (name, help, kind) in [
            ("proxy_requests_total", "Requests passed on.", "counter"),
            (
                "proxy_request_duration_seconds_sum",
                "The time they took, in seconds.",
                "counter",
            ),
        ] {
            // Writing to a String does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for ((route, service, code), (count, seconds)) in all.iter() {
                let value = if name.ends_with("total") {
                    *count as f64
                } else {
                    *seconds
                };
                let _ = writeln!(
                    out,
                    "{name}{{route=\"{route}\",service=\"{service}\",code=\"{code}\"}} {value}"
                );
            }
        }
        out
    }
}
