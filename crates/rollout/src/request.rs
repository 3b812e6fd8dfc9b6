//! Owns what a person can ask of a canary, and how it is remembered that it was done.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Go past the current step's hold, or start a run that waits for approval.
    Promote,
    /// End the analysis here and promote the revision.
    PromoteFull,
    /// Stay at the current weight; checks go on.
    Pause,
    /// Go on after a pause.
    Resume,
    /// End the run and give traffic back.
    Abort,
    /// Analyse the revision that failed again.
    Retry,
    /// Go back to the revision that was promoted before the current one.
    Rollback,
}

impl Verb {
    /// All of them, in the order in which they are honoured.
    pub const ALL: [Self; 7] = [
        Self::Abort,
        Self::Rollback,
        Self::Pause,
        Self::Resume,
        Self::PromoteFull,
        Self::Promote,
        Self::Retry,
    ];

    /// The verb as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Rollback => "rollback",
        }
    }
}

/// Something asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What.
    pub verb: Verb,
    /// Tells this request from an earlier one of the same verb: each token acts once.
    pub token: String,
    /// Who asked, where that is known.
    pub by: Option<String>,
}

/// A request that was honoured or turned down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// What.
    pub verb: Verb,
    /// Its token.
    pub token: String,
    /// Who asked, where that is known.
    #[serde(default)]
    pub by: Option<String>,
    /// When it was taken up.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// What came of it.
    #[serde(default)]
    pub outcome: String,
}
