//! Owns what a pass can end with instead of success: a reason, a sentence, and when to go on.

use std::time::Duration;

use serde::Serialize;
use weir_api::names::reason;
use weir_git::GitError;
use weir_oci::OciError;

/// When a pass that did not succeed goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Next {
    /// After a back-off: it may heal by itself.
    Backoff,
    /// After this time: the other side asked for it, or must be changed first.
    After(Duration),
    /// When something that is watched changes.
    Event,
    /// Only when the object changes: it is stalled.
    Never,
}

/// Why a pass did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// When to go on.
    pub(crate) next: Next,
}

impl Trouble {
    pub(crate) fn new(reason: &'static str, next: Next, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            next,
        }
    }

    /// The object must change.
    pub(crate) fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(reason, Next::Never, message)
    }

    /// A field is set that this version does not have.
    pub(crate) fn unsupported(field: &str) -> Self {
        Self::stalled(
            reason::UNSUPPORTED,
            format!("`{field}` is not supported by this version; remove it to go on"),
        )
    }

    /// A field has a value that cannot be used.
    pub(crate) fn invalid(field: &str, what: &dyn std::fmt::Display) -> Self {
        Self::stalled(
            reason::FAILED,
            format!("`{field}` cannot be used: {what}; correct it"),
        )
    }

    /// The registry could not be asked.
    pub(crate) fn registry(doing: &str, e: &OciError, interval: Duration) -> Self {
        let reason = match e {
            OciError::Auth { .. } => reason::AUTHENTICATION_FAILED,
            _ => reason::READ_OPERATION_FAILED,
        };
        let next = match e {
            OciError::RateLimited {
                after: Some(after), ..
            } => Next::After((*after).clamp(Duration::from_secs(1), Duration::from_hours(1))),
            e if e.is_retryable() => Next::Backoff,
            _ => Next::After(interval),
        };
        Self::new(reason, next, format!("{doing} failed: {e}"))
    }

    /// The Git repository could not be read or written.
    pub(crate) fn git(doing: &str, e: &GitError, interval: Duration) -> Self {
        let next = match e {
            GitError::BadUrl { .. } => Next::Event,
            e if e.is_retryable() => Next::Backoff,
            _ => Next::After(interval),
        };
        Self::new(
            reason::GIT_OPERATION_FAILED,
            next,
            format!("{doing} failed: {e}"),
        )
    }
}
