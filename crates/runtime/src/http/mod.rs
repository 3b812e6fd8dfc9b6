//! The one HTTP and TLS seam.
//!
//! Everything that leaves the process by HTTP other than calls to the API server goes through
//! [`Http`]: Git, registries, artifacts, metrics. Behind it stands a [`Transport`]: reqwest in a
//! process, axum routers in memory in scenarios. It owns timeouts, size limits and how failures
//! are told; it refuses to retry, since only the caller knows whether a request may be repeated.

mod failure;
mod request;
mod response;
mod system;

use std::sync::Arc;
use std::time::Duration;

pub use failure::HttpError;
pub use request::{Request, Tls, masked};
pub use response::{BodyStream, Response};
pub use system::{Resolve, SystemTransport};

/// Carries one exchange. Implementations honour `timeout`, `tls` and `follow_redirects`.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and returns once the response's head is there.
    async fn send(&self, request: Request) -> Result<Response, HttpError>;
}

/// A handle to the process's transport. Cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<dyn Transport>);

impl Http {
    /// A handle to a given transport.
    pub fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }

    /// The real network, with an optional resolver of names that DNS does not know.
    pub fn system(resolver: Option<Arc<dyn Resolve>>) -> Self {
        Self::new(SystemTransport::new(resolver))
    }

    /// Sends one request. The whole exchange, body included, is bounded by the request's timeout.
    ///
    /// # Errors
    /// Any [`HttpError`]; a status of 400 or more is not one: it is the caller's to judge.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let deadline = tokio::time::Instant::now() + request.timeout;
        let url = masked(&request.url);
        let timeout = request.timeout;
        match tokio::time::timeout_at(deadline, self.0.send(request)).await {
            Ok(result) => result.map(|r| r.with_deadline(deadline, url, timeout)),
            Err(_) => Err(HttpError::Timeout { url, timeout }),
        }
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

/// The timeout of an exchange where the caller gives none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
