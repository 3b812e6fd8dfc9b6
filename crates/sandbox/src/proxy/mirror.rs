//! Owns copies for mirrors: sent once the request's body is known whole, answers dropped, never
//! waited for. A body that is too long, or a mirror that is too slow, means no copy.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::BodyExt as _;

use super::Proxy;
use super::filters::split_host;
use super::model::Mirror;
use super::replay::Tape;

/// How long the whole of a copy may take.
const TIME: Duration = Duration::from_secs(30);
/// The most of a mirror's answer that is read to keep its connection.
const ANSWER: usize = 1 << 20;

/// The head of the request as it went to the backend.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Head {
    pub(crate) fn request(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Proxy {
    /// Sends a copy on the side. The body's first reader must be there already.
    pub(crate) fn copy_to(self: &Arc<Self>, mirror: &Mirror, port: u16, head: &Head, tape: &Tape) {
        if mirror.broken.is_some() {
            return self.metrics.mirrored(&mirror.to, "refused");
        }
        let Ok(place) = self.mirrors.clone().try_acquire_owned() else {
            return self.metrics.mirrored(&mirror.to, "busy");
        };
        let (proxy, mut mirror) = (self.clone(), mirror.clone());
        mirror.to = mirror.to.at(port);
        let (mut head, tape) = (head.clone(), tape.clone());
        tokio::spawn(async move {
            if mirror.marked {
                mark(&mut head.headers);
            }
            let sent = tokio::time::timeout(TIME, proxy.copy(&mirror, head, tape)).await;
            proxy
                .metrics
                .mirrored(&mirror.to, sent.unwrap_or("timeout"));
            drop(place);
        });
    }

    async fn copy(&self, mirror: &Mirror, head: Head, tape: Tape) -> &'static str {
        let Some(whole) = tape.whole().await else {
            return "too large";
        };
        drop(tape);
        let Some(endpoint) = self.pick(&mirror.to) else {
            return "no endpoint";
        };
        let two = mirror.grpc || self.names.speaks_two(&mirror.to);
        let request = head.request(whole.body());
        match self.upstream.send(endpoint.at, two, request).await {
            Ok(answer) => {
                let _ = http_body_util::Limited::new(answer.into_body(), ANSWER)
                    .collect()
                    .await;
                "sent"
            }
            Err(_) => "failed",
        }
    }
}

/// Marks a copy's host, so that the mirror can tell.
fn mark(headers: &mut HeaderMap) {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else {
        return;
    };
    let (name, port) = split_host(host);
    let marked = match port {
        Some(port) => format!("{name}-shadow:{port}"),
        None => format!("{name}-shadow"),
    };
    if let Ok(value) = HeaderValue::from_str(&marked) {
        headers.insert(header::HOST, value);
    }
}
