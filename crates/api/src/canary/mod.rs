//! Owns Canary: a workload whose changes are released step by step.
//!
//! The parts: `service` (how the workload is reached), `mesh` (what only a service mesh reads),
//! `analysis` (steps, checks, hooks), `status` (the run).
//!
//! Counts and weights are whole numbers here, in the types and in the schema. A fraction is refused
//! at the door; one that is already stored makes one Canary unreadable, never the list.

mod analysis;
mod mesh;
mod service;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_object::Kind;

pub use analysis::{
    Alert, AlertSeverity, Analysis, AnalysisStep, MatchRequest, Metric, SameSite, SessionAffinity,
    ThresholdRange, ValueMatch, Webhook, WebhookType,
};
pub use mesh::{
    AllowedOrigin, ConnectionPool, ConsistentHash, CorsPolicy, H2UpgradePolicy, HttpConnectionPool,
    HttpCookie, LoadBalancer, LoadBalancing, LocalityDistribution, LocalityFailover,
    LocalityLoadBalancing, OutlierDetection, RouteMatch, StringMatch, TlsMode, TlsSettings,
    TrafficPolicy,
};
pub use service::{
    BackendReference, GatewayReference, HeaderOperations, Headers, MetadataKeys, Mirror, Retries,
    Rewrite, Service, ServiceMetadata, TrafficDistribution,
};
pub use status::{CanaryCondition, HandledRequest, PastRun, Phase, RunReading, Status};

use crate::Api;
use crate::names::FLAGGER_GROUP;

/// The kind as it is served.
pub const KIND: Kind = Kind::namespaced(FLAGGER_GROUP, "v1beta1", "Canary", "canaries");

impl Api for Spec {
    const KIND: Kind = KIND;
}

/// What to release, how it is reached, and how it is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "CanarySpec"))]
pub struct Spec {
    /// What moves the traffic; the program's default where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Address of Prometheus for the built-in checks; the program's default where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_server: Option<String>,
    /// The workload to release.
    pub target_ref: TargetReference,
    /// The autoscaler of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler_ref: Option<AutoscalerReference>,
    /// The Ingress that moves the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_ref: Option<IngressReference>,
    /// The APISIX route that moves the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_ref: Option<RouteReference>,
    /// The Gloo upstream that is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_ref: Option<UpstreamReference>,
    /// How the workload is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// How a change is judged.
    pub analysis: Analysis,
    /// How long a rollout of either workload may take without progress; 600 where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i64>,
    /// Whether a change is promoted without steps and checks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_analysis: bool,
    /// Whether deletion gives the target its replicas back and the objects their first form.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revert_on_deletion: bool,
    /// Stops the run where it is until it is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What moves the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", schemars(rename = "TrafficProvider"))]
pub enum Provider {
    /// Apache APISIX.
    Apisix,
    /// AWS App Mesh.
    AppMesh,
    /// AWS App Mesh, its second API.
    #[serde(rename = "appmesh:v1beta2")]
    AppMeshV1Beta2,
    /// Contour.
    Contour,
    /// The Gateway API.
    #[serde(rename = "gatewayapi:v1")]
    GatewayApiV1,
    /// The Gateway API at its older version.
    #[serde(rename = "gatewayapi:v1beta1")]
    GatewayApiV1Beta1,
    /// Gloo.
    Gloo,
    /// Istio.
    Istio,
    /// Knative.
    Knative,
    /// Services alone: blue and green without shares.
    #[default]
    Kubernetes,
    /// Kuma.
    Kuma,
    /// Linkerd.
    Linkerd,
    /// The NGINX ingress.
    Nginx,
    /// Open Service Mesh.
    Osm,
    /// Skipper.
    Skipper,
    /// Service Mesh Interface, first version.
    #[serde(rename = "smi:v1alpha1")]
    SmiV1Alpha1,
    /// Service Mesh Interface, second version.
    #[serde(rename = "smi:v1alpha2")]
    SmiV1Alpha2,
    /// Service Mesh Interface, third version.
    #[serde(rename = "smi:v1alpha3")]
    SmiV1Alpha3,
    /// Traefik.
    Traefik,
}

/// The workload to release, in the Canary's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind.
    pub kind: TargetKind,
    /// Name.
    pub name: String,
}

/// Kinds that can be released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TargetKind {
    /// A DaemonSet.
    DaemonSet,
    /// A Deployment.
    #[default]
    Deployment,
    /// A Service whose selector is moved, or a Knative service.
    Service,
}

impl TargetKind {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
        }
    }
}

/// The autoscaler of the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind.
    pub kind: AutoscalerKind,
    /// Name.
    pub name: String,
    /// Queries for the primary's scaler, by the trigger's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub primary_scaler_queries: BTreeMap<String, String>,
    /// Replicas for the primary's scaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_scaler_replicas: Option<ScalerReplicas>,
}

/// Kinds of autoscalers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AutoscalerKind {
    /// A HorizontalPodAutoscaler.
    #[default]
    HorizontalPodAutoscaler,
    /// A ScaledObject of KEDA.
    ScaledObject,
}

/// Replicas for the primary's scaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ScalerReplicas {
    /// At least so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1)))]
    pub min_replicas: Option<i64>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1)))]
    pub max_replicas: Option<i64>,
}

/// The Ingress that moves the traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IngressReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Ingress"])))]
    pub kind: String,
    /// Name.
    pub name: String,
}

/// The APISIX route that moves the traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["ApisixRoute"])))]
    pub kind: String,
    /// Name.
    pub name: String,
}

/// The Gloo upstream that is copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Upstream"])))]
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; the Canary's where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Spec {
    /// The name of the service that users call: `service.name`, or the target's.
    pub fn apex_name(&self) -> &str {
        let own = self
            .service
            .as_ref()
            .and_then(|service| service.name.as_deref());
        own.filter(|name| !name.is_empty())
            .unwrap_or(&self.target_ref.name)
    }
}
