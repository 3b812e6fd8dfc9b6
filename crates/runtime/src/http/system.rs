//! Owns the real network: reqwest with rustls, one pooled client for each set of TLS wishes.
//! Redirects are followed for GET and HEAD, at most ten, and credentials stay with the origin they
//! were given for.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use reqwest::dns::{Addrs, Name, Resolving};

use super::{BodyStream, HttpError, Request, Response, Tls, Transport, masked};

/// Resolves names that DNS does not know, such as a sandbox's services.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `name`, or `None` to ask DNS.
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>>;
}

/// The transport of a process.
pub struct SystemTransport {
    resolver: Option<Arc<dyn Resolve>>,
    clients: Mutex<HashMap<(Tls, bool), reqwest::Client>>,
}

/// The most clients kept, one for each set of TLS wishes; past it the oldest sets are forgotten.
const MAX_CLIENTS: usize = 256;

impl SystemTransport {
    /// A transport with an optional resolver of its own.
    pub fn new(resolver: Option<Arc<dyn Resolve>>) -> Self {
        crate::tls::init();
        Self {
            resolver,
            clients: Mutex::default(),
        }
    }

    fn client(&self, tls: &Tls, follow: bool, url: &str) -> Result<reqwest::Client, HttpError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(tls.clone(), follow)) {
            return Ok(client.clone());
        }
        let refused = |what: String| HttpError::Tls {
            url: url.to_owned(),
            what,
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_mins(1))
            .pool_max_idle_per_host(8)
            .tls_danger_accept_invalid_certs(tls.insecure)
            .redirect(if follow {
                reqwest::redirect::Policy::limited(10)
            } else {
                reqwest::redirect::Policy::none()
            });
        if let Some(pem) = &tls.ca_pem {
            let certs = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| refused(format!("the CA certificate cannot be read: {e}")))?;
            builder = builder.tls_certs_merge(certs);
        }
        if let Some(pem) = &tls.identity_pem {
            let identity = reqwest::Identity::from_pem(pem.expose().as_bytes())
                .map_err(|e| refused(format!("the client certificate cannot be read: {e}")))?;
            builder = builder.identity(identity);
        }
        if let Some(resolver) = &self.resolver {
            builder = builder.dns_resolver(Arc::new(Names(resolver.clone())));
        }
        let client = builder.build().map_err(|e| refused(chain(&e)))?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert((tls.clone(), follow), client.clone());
        Ok(client)
    }
}

#[async_trait::async_trait]
impl Transport for SystemTransport {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let url = masked(&request.url);
        let safe = matches!(request.method, http::Method::GET | http::Method::HEAD);
        let client = self.client(&request.tls, request.follow_redirects && safe, &url)?;
        let response = client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .timeout(request.timeout)
            .send()
            .await
            .map_err(|e| told(&e, &url, request.timeout))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let timeout = request.timeout;
        let body = response
            .bytes_stream()
            .map_err(move |e| told(&e, &url, timeout));
        Ok(Response {
            status,
            headers,
            body: BodyStream::new(body),
        })
    }
}

fn told(e: &reqwest::Error, url: &str, timeout: Duration) -> HttpError {
    let (url, what) = (url.to_owned(), chain(e));
    if e.is_timeout() {
        HttpError::Timeout { url, timeout }
    } else if e.is_builder() {
        HttpError::BadUrl { url, what }
    } else if what.contains("certificate") || what.contains("TLS") || what.contains("tls") {
        HttpError::Tls { url, what }
    } else if e.is_connect() {
        HttpError::Connect { url, what }
    } else {
        HttpError::Broken { url, what }
    }
}

/// The causes, innermost last, without the URL that each of reqwest's own texts repeats.
fn chain(e: &reqwest::Error) -> String {
    let mut at: Option<&dyn std::error::Error> = std::error::Error::source(e);
    let mut parts: Vec<String> = Vec::new();
    while let (Some(cause), true) = (at, parts.len() < 8) {
        let text = cause.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        at = cause.source();
    }
    if parts.is_empty() {
        "no further cause is known".to_owned()
    } else {
        parts.join(": ")
    }
}

/// Adapts a [`Resolve`] to reqwest, with the system's resolver behind it.
struct Names(Arc<dyn Resolve>);

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.0.resolve(name.as_str());
        Box::pin(async move {
            let addrs: Addrs = match known {
                Some(ips) => Box::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0))),
                None => {
                    let found: Vec<SocketAddr> =
                        tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
                    Box::new(found.into_iter())
                }
            };
            Ok(addrs)
        })
    }
}
