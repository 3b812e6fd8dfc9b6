//! Owns the ways an exchange can fail, with what a person needs to act.

use std::time::Duration;

/// Why an exchange did not complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The URL or a header cannot be used. Terminal until the input changes.
    #[error("`{url}` cannot be requested: {what}")]
    BadUrl {
        /// The URL, credentials masked.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// No connection could be made. Retryable.
    #[error("no connection to `{url}`: {what}")]
    Connect {
        /// The URL, credentials masked.
        url: String,
        /// The cause, as the system tells it.
        what: String,
    },
    /// The certificate or the handshake was refused. Terminal until a certificate changes.
    #[error("TLS with `{url}` was refused: {what}; check the CA certificate given for it")]
    Tls {
        /// The URL, credentials masked.
        url: String,
        /// The cause.
        what: String,
    },
    /// The exchange did not complete in time. Retryable.
    #[error("`{url}` did not answer within {timeout:?}")]
    Timeout {
        /// The URL, credentials masked.
        url: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The response is larger than the caller allows. Terminal until the remote changes.
    #[error("the response of `{url}` is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The URL, credentials masked.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The exchange broke off or the body is not what it claims to be. Retryable.
    #[error("the exchange with `{url}` broke off: {what}")]
    Broken {
        /// The URL, credentials masked.
        url: String,
        /// The cause.
        what: String,
    },
}

impl HttpError {
    /// Whether the same request may succeed later with nothing changed here.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::Tls { .. } | Self::TooLarge { .. } => false,
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
        }
    }
}
