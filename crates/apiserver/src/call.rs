//! Owns how a write is asked for: by whom, how strictly, for real or not, and through which door.

use std::sync::Arc;

use jiff::Timestamp;

use crate::identity::User;
use crate::request::{self, Query};
use crate::write::Patched;

/// What to do with fields that the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Validation {
    /// Drop them without a word.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse.
    Strict,
}

/// The part of an object that a request addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
    Scale,
    /// A namespace's own finalizers.
    Finalize,
    /// A pod's node.
    Binding,
    /// A pod's removal, asked for politely.
    Eviction,
    /// A service account's token.
    Token,
}

impl Part {
    /// The name in paths and managedFields.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Token => "token",
        }
    }
}

/// One write.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is asked for on its own"
)]
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Who asks for it; the server itself for what this process does.
    pub(crate) user: Arc<User>,
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    pub(crate) validation: Validation,
    pub(crate) force: bool,
    pub(crate) now: Timestamp,
    /// Members that the body names twice, by their paths; each has left a mark in its place.
    pub(crate) doubled: Vec<String>,
    /// What the reader of YAML says of keys written twice.
    pub(crate) repeated: Vec<String>,
    /// The patch that made the object, for refusals that show it.
    pub(crate) patch: Option<Patched>,
    /// Whether an object without a name takes that of the request.
    pub(crate) named: bool,
    /// Whether the object is what an apply made.
    pub(crate) applied: bool,
    /// Whether the body is so large that what is kept may be too large.
    pub(crate) large: bool,
    /// What the client is to be told beside the answer.
    pub(crate) warnings: Vec<String>,
}

impl Call {
    pub(crate) fn new(manager: &str, now: Timestamp) -> Self {
        Self {
            user: User::server(),
            manager: manager.to_owned(),
            dry_run: false,
            validation: Validation::Warn,
            force: false,
            now,
            doubled: Vec::new(),
            repeated: Vec::new(),
            patch: None,
            named: false,
            applied: false,
            large: false,
            warnings: Vec::new(),
        }
    }

    /// The write that a request asks for.
    pub(crate) fn of(query: &Query, user: &Arc<User>, agent: Option<&str>, now: Timestamp) -> Self {
        let manager = query.manager.clone();
        Self {
            user: user.clone(),
            dry_run: query.dry_run,
            force: query.force,
            validation: query.validation.unwrap_or_default(),
            ..Self::new(&manager.unwrap_or_else(|| request::manager_of(agent)), now)
        }
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        if self.warnings.len() < 50 {
            self.warnings.push(text.into());
        }
    }
}

/// A time as the API writes it: UTC in whole seconds.
pub(crate) fn stamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or_default()
        .to_string()
}

/// How removal is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
}

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}
