//! Owns MetricTemplate: a query for a measurement, as a template over the Canary's names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_object::Kind;

use crate::names::FLAGGER_GROUP;
use crate::{Api, LocalObjectReference};

/// The kind as it is served.
pub const KIND: Kind = Kind::namespaced(
    FLAGGER_GROUP,
    "v1beta1",
    "MetricTemplate",
    "metrictemplates",
);

impl Api for Spec {
    const KIND: Kind = KIND;
}

/// Where the measurement comes from and what is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "MetricTemplateSpec"))]
pub struct Spec {
    /// The system to ask.
    pub provider: Provider,
    /// The query as a Go template with the functions `name`, `namespace`, `target`, `service`,
    /// `ingress`, `route`, `interval` and `variables`.
    pub query: String,
}

/// A system of measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "MetricProvider"))]
pub struct Provider {
    /// Which system it is.
    #[serde(rename = "type")]
    pub kind: ProviderKind,
    /// Address of its API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Headers for its requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Secret with its credentials, in the template's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Region of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether its certificate is not checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// Systems of measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", schemars(rename = "MetricProviderKind"))]
pub enum ProviderKind {
    /// Prometheus, and what speaks its API.
    #[default]
    Prometheus,
    /// InfluxDB.
    InfluxDb,
    /// Datadog.
    Datadog,
    /// The metrics API of Kubernetes.
    ExternalMetrics,
    /// Google Cloud Monitoring.
    Stackdriver,
    /// Amazon CloudWatch.
    CloudWatch,
    /// New Relic.
    NewRelic,
    /// Graphite.
    Graphite,
    /// Dynatrace.
    Dynatrace,
    /// Keptn.
    Keptn,
    /// Splunk.
    Splunk,
}

/// What was seen of the template: nothing so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "MetricTemplateStatus"))]
pub struct Status {}
