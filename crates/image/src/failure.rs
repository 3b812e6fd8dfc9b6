//! Owns what a pass can end with instead of success: a reason, a sentence, and when to try again.

use serde::Serialize;

/// When a failed pass is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Next {
    /// After a back-off: it may heal by itself.
    Backoff,
    /// At the interval: something must change on the other side.
    Interval,
    /// When the object, or another one that is watched, changes.
    Change,
}

/// Why a pass did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) next: Next,
}

impl Failure {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>, next: Next) -> Self {
        Self {
            reason,
            message: message.into(),
            next,
        }
    }
}

/// What must change in the object before work can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

/// The reason of a field that is not supported.
pub(crate) const UNSUPPORTED: &str = "Unsupported";

impl Problem {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// A field that this version does not know how to honour; ignoring it could do harm.
    pub(crate) fn unsupported(field: &str) -> Self {
        Self::new(
            UNSUPPORTED,
            format!("`spec.{field}` is not supported by this version; remove it to go on"),
        )
    }

    /// A field whose value cannot be used.
    pub(crate) fn invalid(field: &str, what: &dyn std::fmt::Display) -> Self {
        Self::new(
            weir_api::names::reason::FAILED,
            format!("`spec.{field}` cannot be used: {what}"),
        )
    }
}
