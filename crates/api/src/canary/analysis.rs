//! Owns how a change is judged: steps, checks, hooks, alerts and session affinity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StringMatch;
use crate::{GoDuration, LocalObjectReference, NamespacedObjectReference};

/// How a change is judged. Exactly one of `iterations`, `stepWeight`, `stepWeights` and `steps` is
/// set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [{"required": ["interval", "threshold", "iterations"]}, {"required": ["interval", "threshold", "stepWeight"]}, {"required": ["interval", "threshold", "stepWeights"]}, {"required": ["interval", "threshold", "steps"]}])))]
pub struct Analysis {
    /// How often the checks run; 60 s where it is not set, and not less than the program's minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = crate::names::CANARY_INTERVAL_PATTERN)))]
    pub interval: Option<GoDuration>,
    /// How many failed checks end the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i64>,
    /// How many rounds of checks a run without shares takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<i64>,
    /// The share in percent after which the change is promoted; 100 where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<i64>,
    /// By how much the canary's share grows at each step, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_weight: Option<i64>,
    /// The canary's shares at each step, in percent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_weights: Vec<i64>,
    /// The canary's steps, each with what it asks for beside its share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<AnalysisStep>,
    /// By how much the primary's share grows at each step of the promotion; all at once where it
    /// is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_weight_promotion: Option<i64>,
    /// For how long a promoted revision is still measured, and taken back if its checks fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_time: Option<GoDuration>,
    /// How many revisions promoted before the current one can be gone back to without a new
    /// analysis; none where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 10)))]
    pub rollback_window: Option<i64>,
    /// Whether the canary first gets copies of requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirror: bool,
    /// The share of requests that are copied, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_weight: Option<i64>,
    /// The share of the primary's pods that must be available, in percent; 100 where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_ready_threshold: Option<i64>,
    /// The share of the canary's pods that must be available, in percent; 100 where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_ready_threshold: Option<i64>,
    /// Which requests go to the canary in an A/B test.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<MatchRequest>,
    /// The checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Where alerts are sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Hooks that are called during the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
    /// Keeps a user at the side that first answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
}

/// One step of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AnalysisStep {
    /// The canary's share in percent; it must rise from step to step.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub weight: i64,
    /// How long the step lasts at least, measured again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<GoDuration>,
    /// Whether a person has to let the run go on, by `weir canary promote`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual: bool,
    /// How many requests the canary must have answered at this step before it is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub min_requests: Option<i64>,
}

/// Requests that go to the canary in an A/B test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MatchRequest {
    /// By headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, ValueMatch>,
    /// By parameters of the query.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query_params: BTreeMap<String, StringMatch>,
    /// By labels of the calling workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_labels: BTreeMap<String, String>,
}

/// A text to match in exactly one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [{"required": ["exact"]}, {"required": ["prefix"]}, {"required": ["suffix"]}, {"required": ["regex"]}])))]
pub struct ValueMatch {
    /// The whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// A regular expression in the syntax of RE2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// A check: a measurement and the range that it must lie in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Name; `request-success-rate` and `request-duration` are built in.
    pub name: String,
    /// The time that the query looks back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = crate::names::CANARY_INTERVAL_PATTERN)))]
    pub interval: Option<GoDuration>,
    /// The limit; older form of `thresholdRange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The range, both ends included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_range: Option<ThresholdRange>,
    /// A query for Prometheus; older form of `templateRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The template of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<NamespacedObjectReference>,
    /// Values for the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template_variables: BTreeMap<String, String>,
}

/// A range with one end or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ThresholdRange {
    /// Least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Where alerts are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Name.
    pub name: String,
    /// From what severity on; `info` where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<AlertSeverity>,
    /// The AlertProvider.
    pub provider_ref: NamespacedObjectReference,
}

/// How serious an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// Not said.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// For knowledge.
    Info,
    /// Worth a look.
    Warn,
    /// A failure.
    Error,
}

/// A hook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Name.
    pub name: String,
    /// When it is called.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<WebhookType>,
    /// Whether its outcome sends no alerts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute_alert: bool,
    /// Address.
    pub url: String,
    /// How long a call may take; 10 s where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = crate::names::CANARY_INTERVAL_PATTERN)))]
    pub timeout: Option<GoDuration>,
    /// How often a failed call is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// Whether the certificate is not checked.
    #[serde(
        rename = "disableTLS",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub disable_tls: bool,
    /// Values that are sent along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Secret of the Canary's namespace with the key `token`, which calls are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WebhookType {
    /// As `rollout`.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// Before a run starts; it waits until the hook agrees.
    ConfirmRollout,
    /// Before the first traffic.
    PreRollout,
    /// With each round of checks.
    Rollout,
    /// Before the promotion; it waits until the hook agrees.
    ConfirmPromotion,
    /// After the run.
    PostRollout,
    /// At each event.
    Event,
    /// With each round; an agreeing hook rolls back.
    Rollback,
    /// Before each step; it waits until the hook agrees.
    ConfirmTrafficIncrease,
}

/// Keeps a user at the side that first answered, by a cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// Name of the canary's cookie.
    pub cookie_name: String,
    /// Name of the primary's cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_cookie_name: Option<String>,
    /// Host that the cookie is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Whether scripts cannot read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http_only: bool,
    /// How many seconds it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = 86400)))]
    pub max_age: Option<i64>,
    /// Whether it is kept apart for each embedding site.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioned: bool,
    /// Path that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it is sent from other sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// Whether it is sent over HTTPS only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
}

/// Whether a cookie is sent from other sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SameSite {
    /// No.
    Strict,
    /// When a link is followed.
    #[default]
    Lax,
    /// Yes.
    None,
}
