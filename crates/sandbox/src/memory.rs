//! Owns the network in memory: routers by address and port, reached without sockets. It is one of
//! the two transports of the HTTP seam, the one of scenarios.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use axum::Router;
use axum::body::Body;
use futures::StreamExt as _;
use tower::ServiceExt as _;
use weir_runtime::http::{BodyStream, HttpError, Request, Response, Transport, masked};

use crate::names::Names;
use crate::proxy::Proxy;

/// Routers by `host:port`. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryNet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    routers: RwLock<HashMap<String, Router>>,
    names: RwLock<Option<Arc<Names>>>,
    /// Weak: the proxy's own way to its backends is this network.
    mesh: RwLock<Weak<Proxy>>,
}

impl MemoryNet {
    /// Puts a router at an address, replacing an earlier one.
    pub fn listen(&self, host: &str, port: u16, router: Router) {
        let mut routers = self
            .0
            .routers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        routers.insert(format!("{host}:{port}"), router);
    }

    /// Takes the router at an address away; later connections are refused.
    pub fn close(&self, host: &str, port: u16) {
        let mut routers = self
            .0
            .routers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        routers.remove(&format!("{host}:{port}"));
    }

    /// Sets how names of services are resolved.
    pub fn resolve_by(&self, names: Arc<Names>) {
        *self.0.names.write().unwrap_or_else(PoisonError::into_inner) = Some(names);
    }

    /// Sets what services are reached through, where there is a mesh.
    pub(crate) fn mesh_by(&self, proxy: &Arc<Proxy>) {
        *self.0.mesh.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(proxy);
    }

    /// The router at an address itself.
    pub(crate) fn at(&self, host: &str, port: u16) -> Option<Router> {
        let routers = self
            .0
            .routers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        routers.get(&format!("{host}:{port}")).cloned()
    }

    fn router(&self, host: &str, port: u16) -> Option<Router> {
        self.at(host, port).or_else(|| {
            let mesh = self
                .0
                .mesh
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .upgrade();
            if let Some(router) = mesh.and_then(|mesh| mesh.mesh_router(host, port)) {
                return Some(router);
            }
            let names = self
                .0
                .names
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()?;
            let (address, port) = names.endpoint(host, port)?;
            self.at(&address.to_string(), port)
        })
    }
}

#[async_trait::async_trait]
impl Transport for MemoryNet {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let shown = masked(&request.url);
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let port = request.url.port_or_known_default().unwrap_or(80);
        let Some(router) = self.router(&host, port) else {
            let what = format!("nothing listens on {host}:{port}");
            return Err(HttpError::Connect { url: shown, what });
        };
        let bad = |what: String| HttpError::BadUrl {
            url: shown.clone(),
            what,
        };
        let mut path = request.url.path().to_owned();
        if let Some(query) = request.url.query() {
            path = format!("{path}?{query}");
        }
        let mut inner = http::Request::builder().method(request.method).uri(path);
        if let Some(headers) = inner.headers_mut() {
            *headers = request.headers;
            if !headers.contains_key(http::header::HOST)
                && let Ok(value) = http::HeaderValue::from_str(&format!("{host}:{port}"))
            {
                headers.insert(http::header::HOST, value);
            }
        }
        let inner = inner
            .body(Body::from(request.body))
            .map_err(|e| bad(e.to_string()))?;
        let Ok(response) = router.oneshot(inner).await;
        let (parts, body) = response.into_parts();
        let body = body.into_data_stream().map(move |chunk| {
            chunk.map_err(|e| HttpError::Broken {
                url: shown.clone(),
                what: e.to_string(),
            })
        });
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: BodyStream::new(body),
        })
    }
}

/// Reads a body whole, at most `limit` bytes; `None` past the limit or when it breaks off.
pub(crate) async fn read_body(body: Body, limit: usize) -> Option<bytes::Bytes> {
    let limited = http_body_util::Limited::new(body, limit);
    let whole = http_body_util::BodyExt::collect(limited).await;
    whole.ok().map(http_body_util::Collected::to_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use weir_runtime::http::Http;

    #[tokio::test]
    async fn requests_reach_the_router_at_their_address() {
        let net = MemoryNet::default();
        net.listen(
            "10.0.0.1",
            80,
            Router::new().route("/x", get(|| async { "here" })),
        );
        let http = Http::new(net.clone());
        let url = url::Url::parse("http://10.0.0.1/x?y=1").expect("a URL");
        let response = http
            .send(Request::get(url.clone()))
            .await
            .expect("a response");
        assert_eq!(response.text(10).await, Ok("here".into()));
        net.close("10.0.0.1", 80);
        let refused = http.send(Request::get(url)).await.map(|r| r.status);
        assert!(
            matches!(refused, Err(HttpError::Connect { .. })),
            "{refused:?}"
        );
    }
}
