//! Owns the ways a registry call can fail, each said with what, where and what to do.

use std::time::Duration;

use weir_runtime::http::HttpError;

/// Why a registry call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// The image's name is not one. Terminal until it changes.
    #[error("`{name}` is no image reference: {what}; write it as `registry/repository:tag`")]
    BadReference {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The repository, tag or blob is not there. Retryable: it may be pushed.
    #[error("{what} was not found in the registry; check its spelling, or push it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The registry refused the credentials, or wants some. Retryable: the Secret may be mended.
    #[error(
        "`{registry}` refused access to `{repository}`: {what}; check the credentials and their rights"
    )]
    Auth {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// What it said.
        what: String,
    },
    /// The registry asks to come back later. Retryable.
    #[error("`{registry}` limits the rate of requests; it is asked again later")]
    RateLimited {
        /// The registry.
        registry: String,
        /// When it wants to be asked again, where it says so.
        after: Option<Duration>,
    },
    /// The registry could not be reached or could not serve. Retryable.
    #[error("`{registry}` cannot be reached: {what}; check the address and the network")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The cause.
        what: String,
    },
    /// The registry's certificate was refused. Terminal until a certificate changes.
    #[error(
        "TLS with `{registry}` was refused: {what}; give its CA certificate, or set `insecure` for plain HTTP"
    )]
    Tls {
        /// The registry.
        registry: String,
        /// The cause.
        what: String,
    },
    /// No answer in time. Retryable.
    #[error("`{registry}` did not answer within {timeout:?}")]
    Timeout {
        /// The registry.
        registry: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// A limit was passed. Terminal until the image or the limit changes.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What was counted.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not those of the digest. Retryable.
    #[error("{what} has digest `{found}` and not `{expected}`; it was not used")]
    DigestMismatch {
        /// What was asked for.
        what: String,
        /// Its digest.
        expected: String,
        /// What came.
        found: String,
    },
    /// The answer is not what the protocol says. Retryable: a proxy in front may have answered.
    #[error("`{registry}` answered, but not as a registry does: {what}")]
    Malformed {
        /// The registry.
        registry: String,
        /// What came instead.
        what: String,
    },
    /// The registry refused for a reason of its own. Terminal until the request changes.
    #[error("`{registry}` refused the request with status {status}: {what}")]
    Refused {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        what: String,
    },
    /// A layer cannot be packed or unpacked. Terminal until the image changes.
    #[error("a layer cannot be used: {0}")]
    Layer(String),
}

impl OciError {
    /// Whether the same call may succeed later with nothing changed on this side.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BadReference { .. }
            | Self::Tls { .. }
            | Self::TooLarge { .. }
            | Self::Refused { .. }
            | Self::Layer(_) => false,
            Self::NotFound { .. }
            | Self::Auth { .. }
            | Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::DigestMismatch { .. }
            | Self::Malformed { .. } => true,
        }
    }

    pub(crate) fn of_http(e: HttpError, registry: &str) -> Self {
        let registry = registry.to_owned();
        match e {
            HttpError::Connect { what, .. } => Self::Unreachable { registry, what },
            HttpError::Tls { what, .. } => Self::Tls { registry, what },
            HttpError::Timeout { timeout, .. } => Self::Timeout { registry, timeout },
            HttpError::TooLarge { limit, .. } => {
                let what = format!("the answer of `{registry}` in bytes");
                Self::TooLarge {
                    what,
                    limit: limit as u64,
                }
            }
            HttpError::Broken { what, .. } | HttpError::BadUrl { what, .. } => {
                Self::Malformed { registry, what }
            }
        }
    }
}
