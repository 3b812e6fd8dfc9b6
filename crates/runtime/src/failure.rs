//! Owns how a refusal of the API server is told, and which ones a retry can help.

use weir_object::ObjectRef;

use crate::grant;

/// Why a call to the API server did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{verb} {target}: {refusal}")]
pub struct ApiFailure {
    /// What was tried, such as `patch`.
    pub verb: &'static str,
    /// On what, as `Kind/namespace/name`.
    pub target: String,
    /// What came back.
    pub refusal: Refusal,
}

/// What came back instead of success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The object, its kind or its namespace is not there. Retryable once it is.
    #[error("not found: {0}")]
    NotFound(String),
    /// Somebody wrote in between, or owns the fields. Retryable after observing again.
    #[error("conflict: {0}")]
    Conflict(String),
    /// An object of this name is there already. Retryable after observing again.
    #[error("already there: {0}")]
    AlreadyExists(String),
    /// The object is not valid. Terminal until the input changes.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// The identity in use may not do this. Terminal until rights change.
    #[error("not allowed: {0}; {grant}", grant = grant::asked(.0))]
    Forbidden(String),
    /// Any other answer of the server. Retryable.
    #[error("{code} {reason}: {message}")]
    Other {
        /// HTTP status.
        code: u16,
        /// Reason given.
        reason: String,
        /// Message given.
        message: String,
    },
    /// The server could not be asked, or its answer not read. Retryable; the effect is unknown.
    #[error("no answer of the API server: {0}")]
    Unreachable(String),
    /// No answer in time. Retryable; the effect is unknown.
    #[error("no answer of the API server within {0:?}")]
    Timeout(std::time::Duration),
}

impl ApiFailure {
    pub(crate) fn of(verb: &'static str, target: &ObjectRef, refusal: Refusal) -> Self {
        Self {
            verb,
            target: target.to_string(),
            refusal,
        }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.refusal, Refusal::NotFound(_))
    }

    /// Whether somebody wrote in between.
    pub fn is_conflict(&self) -> bool {
        matches!(self.refusal, Refusal::Conflict(_))
    }

    /// Whether the object was there already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self.refusal, Refusal::AlreadyExists(_))
    }

    /// Whether the same call may succeed later with nothing changed in Git or in the object.
    pub fn is_retryable(&self) -> bool {
        !matches!(self.refusal, Refusal::Invalid(_) | Refusal::Forbidden(_))
    }
}

impl From<kube::Error> for Refusal {
    fn from(e: kube::Error) -> Self {
        match e {
            kube::Error::Api(status) => {
                let message = status.message.clone();
                match (status.code, status.reason.as_str()) {
                    (404, _) => Self::NotFound(message),
                    (409, "AlreadyExists") => Self::AlreadyExists(message),
                    (409, _) => Self::Conflict(message),
                    (422 | 400, _) => Self::Invalid(message),
                    (401 | 403, _) => Self::Forbidden(message),
                    (code, reason) => Self::Other {
                        code,
                        reason: reason.to_owned(),
                        message,
                    },
                }
            }
            other => Self::Unreachable(other.to_string()),
        }
    }
}
