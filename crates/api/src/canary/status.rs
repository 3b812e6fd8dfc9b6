//! Owns what is known of a Canary: its phase, its counts, and the record of the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ConditionStatus, Time};

/// What is known of the Canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "CanaryStatus"))]
pub struct Status {
    /// The spec's generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the run is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How many checks have failed in this run.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub failed_checks: i64,
    /// The canary's share in percent.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub canary_weight: i64,
    /// How many rounds of checks are done.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub iterations: i64,
    /// Digests of the ConfigMaps and Secrets that the target uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tracked_configs: BTreeMap<String, String>,
    /// Digest of the target's template that is being released, or was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_spec: Option<String>,
    /// Digest of the target's template that was last promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_promoted_spec: Option<String>,
    /// When the run last moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// The canary's cookie in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_cookie: Option<String>,
    /// The primary's cookie in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_session_affinity_cookie: Option<String>,
    /// The canary's cookie in the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_session_affinity_cookie: Option<String>,
    /// What is true of the Canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<CanaryCondition>,
    /// The run as it is recorded before each effect, so that a restart at any moment resumes it.
    /// For the program alone; its form is not part of the API.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::free_form"))]
    pub run: Map<String, Value>,
    /// The last runs that ended, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRun>,
    /// Revisions promoted before the current one, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<String>,
    /// How many pods the primary had when last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_replicas: Option<i64>,
    /// What people asked for last, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<HandledRequest>,
}

/// A run that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PastRun {
    /// The revision.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub revision: String,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// How it ended: `Initialized`, `Promoted`, `RolledBack`, `Aborted`, `Superseded` or
    /// `NeverReady`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// Why, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The shares it walked, in percent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<i64>,
    /// The iterations it began, where it counted any.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub iterations: i64,
    /// Rounds that were judged.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub rounds: i64,
    /// Rounds in which a check failed.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub failed_checks: i64,
    /// What the last round measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<RunReading>,
}

/// What came back for one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunReading {
    /// `value`, `noData` or `providerFailed`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub result: String,
    /// The metric.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub name: String,
    /// Its value, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the provider warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a person asked for, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HandledRequest {
    /// What: `promote`, `promoteFull`, `pause`, `resume`, `abort`, `retry` or `rollback`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub verb: String,
    /// The token that tells it from other requests.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub token: String,
    /// Who asked, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// What came of it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::no_default))]
    pub outcome: String,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Phase {
    /// Not yet seen.
    #[default]
    #[serde(rename = "")]
    New,
    /// The primary is being made.
    Initializing,
    /// The primary serves; no change was seen yet.
    Initialized,
    /// A change waits for a hook to agree.
    Waiting,
    /// A change is being judged.
    Progressing,
    /// A change that passed waits for a hook to agree.
    WaitingPromotion,
    /// The change goes to the primary.
    Promoting,
    /// All traffic goes to the primary, and the canary is about to be scaled down.
    Finalising,
    /// The change was promoted.
    Succeeded,
    /// The change was taken back.
    Failed,
    /// The Canary is being deleted and the target restored.
    Terminating,
    /// The target is restored.
    Terminated,
}

impl Phase {
    /// The word in the API; empty for a Canary that was not yet seen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Initializing => "Initializing",
            Self::Initialized => "Initialized",
            Self::Waiting => "Waiting",
            Self::Progressing => "Progressing",
            Self::WaitingPromotion => "WaitingPromotion",
            Self::Promoting => "Promoting",
            Self::Finalising => "Finalising",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::Terminated => "Terminated",
        }
    }
}

/// What is true of a Canary at a moment, with the reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CanaryCondition {
    /// What the condition is about: `Promoted`, `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    #[cfg_attr(feature = "schema", schemars(extend("type" = "string"), transform = crate::schema::no_enum))]
    pub status: ConditionStatus,
    /// The spec's generation that the condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When anything of it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// The reason as one word.
    pub reason: String,
    /// The reason as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
