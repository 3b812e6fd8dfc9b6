//! Owns the way to a backend: over sockets, with connections that are used again, or straight to a
//! router in memory. It refuses to choose, to retry and to follow redirects.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response, Uri, Version};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use crate::memory::MemoryNet;
use crate::network::Network;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Unused connections kept for each backend.
const KEPT: usize = 16;
/// Backends with an HTTP/2 connection; past it those that are closed are forgotten.
const CONNECTIONS: usize = 512;

/// Why a backend gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection; nothing was sent.
    #[error("no connection to the backend: {0}")]
    Connect(String),
    /// The exchange broke off before an answer.
    #[error("the exchange with the backend broke off: {0}")]
    Reset(String),
}

/// The backends' network.
pub(crate) enum Upstream {
    Sockets(Box<Sockets>),
    Memory(MemoryNet),
}

/// The one HTTP/2 connection of a backend, or none yet.
type Slot = Arc<tokio::sync::Mutex<Option<SendRequest<Body>>>>;

/// Connections by backend.
pub(crate) struct Sockets {
    one: Client<HttpConnector, Body>,
    two: Mutex<HashMap<SocketAddr, Slot>>,
}

impl Upstream {
    pub(crate) fn new(network: &Network) -> Self {
        match network {
            Network::Memory(net) => Self::Memory(net.clone()),
            Network::Loopback => {
                let mut connector = HttpConnector::new();
                connector.set_connect_timeout(Some(CONNECT));
                connector.set_nodelay(true);
                let one = Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(KEPT)
                    .build(connector);
                Self::Sockets(Box::new(Sockets {
                    one,
                    two: Mutex::default(),
                }))
            }
        }
    }

    /// Sends a request to one address; its URI is a path. `two` asks for HTTP/2 with prior
    /// knowledge.
    pub(crate) async fn send(
        &self,
        at: (IpAddr, u16),
        two: bool,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        *request.version_mut() = if two {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        match self {
            Self::Memory(net) => {
                let Some(router) = net.at(&at.0.to_string(), at.1) else {
                    let what = format!("nothing listens on {}:{}", at.0, at.1);
                    return Err(Failure::Connect(what));
                };
                let Ok(response) = router.oneshot(request).await;
                Ok(response)
            }
            Self::Sockets(sockets) if two => sockets.two(at.into(), request).await,
            Self::Sockets(sockets) => {
                *request.uri_mut() = absolute(&SocketAddr::from(at).to_string(), request.uri())?;
                let sent = sockets.one.request(request).await;
                sent.map(|r| r.map(Body::new)).map_err(|e| {
                    let what = chain(&e);
                    if e.is_connect() {
                        Failure::Connect(what)
                    } else {
                        Failure::Reset(what)
                    }
                })
            }
        }
    }
}

impl Sockets {
    /// The one HTTP/2 connection of an address, made where there is none.
    async fn connection(&self, at: SocketAddr) -> Result<SendRequest<Body>, Failure> {
        let slot = {
            let mut all = self.two.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= CONNECTIONS {
                all.retain(|_, slot| slot.try_lock().map_or(true, |s| open(s.as_ref()).is_some()));
            }
            all.entry(at).or_default().clone()
        };
        // Those who come meanwhile wait for the same connection.
        let mut slot = slot.lock().await;
        if let Some(open) = open(slot.as_ref()) {
            return Ok(open);
        }
        let failed = |what: String| Failure::Connect(what);
        let connect = tokio::time::timeout(CONNECT, TcpStream::connect(at)).await;
        let stream = connect
            .map_err(|_| failed(format!("{at} did not answer within {CONNECT:?}")))?
            .map_err(|e| failed(format!("{at}: {e}")))?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(IDLE))
            .keep_alive_timeout(CONNECT)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = tokio::time::timeout(CONNECT, handshake)
            .await
            .map_err(|_| failed(format!("{at} did not greet within {CONNECT:?}")))?
            .map_err(|e| failed(format!("{at}: {}", chain(&e))))?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(%e, %at, "a connection to a backend ended");
            }
        });
        *slot = Some(sender.clone());
        Ok(sender)
    }

    async fn two(
        &self,
        at: SocketAddr,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        let mut connection = self.connection(at).await?;
        // The host goes as the authority, and as nothing else.
        let host = request.headers_mut().remove(http::header::HOST);
        let host = host.as_ref().and_then(|h| h.to_str().ok());
        let own = at.to_string();
        *request.uri_mut() = absolute(host.unwrap_or(&own), request.uri())
            .or_else(|_| absolute(&own, request.uri()))?;
        let ready = connection.ready().await;
        ready.map_err(|e| Failure::Connect(chain(&e)))?;
        let sent = connection.send_request(request).await;
        sent.map(|r| r.map(Body::new))
            .map_err(|e| Failure::Reset(chain(&e)))
    }
}

fn open(slot: Option<&SendRequest<Body>>) -> Option<SendRequest<Body>> {
    slot.filter(|s| !s.is_closed()).cloned()
}

fn absolute(authority: &str, path: &Uri) -> Result<Uri, Failure> {
    let path = path.path_and_query().map_or("/", |p| p.as_str());
    let uri = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(path);
    uri.build()
        .map_err(|e| Failure::Reset(format!("`{authority}{path}` cannot be asked for: {e}")))
}

/// The causes, innermost last.
fn chain(e: &dyn std::error::Error) -> String {
    let mut out = e.to_string();
    let mut at = e.source();
    for _ in 0..8 {
        let Some(cause) = at else { break };
        out = format!("{out}: {cause}");
        at = cause.source();
    }
    out
}
