//! Owns the names of the built-in kinds that several rooms use.

use weir_object::Kind;

/// Deployments.
pub const DEPLOYMENT: Kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
/// Daemon sets.
pub const DAEMON_SET: Kind = Kind::namespaced("apps", "v1", "DaemonSet", "daemonsets");
/// Replica sets.
pub const REPLICA_SET: Kind = Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets");
/// Controller revisions.
pub const CONTROLLER_REVISION: Kind =
    Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions");
/// Services.
pub const SERVICE: Kind = Kind::namespaced("", "v1", "Service", "services");
/// Pods.
pub const POD: Kind = Kind::namespaced("", "v1", "Pod", "pods");
/// Secrets.
pub const SECRET: Kind = Kind::namespaced("", "v1", "Secret", "secrets");
/// Config maps.
pub const CONFIG_MAP: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
/// Service accounts.
pub const SERVICE_ACCOUNT: Kind = Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
/// Namespaces.
pub const NAMESPACE: Kind = Kind::cluster("", "v1", "Namespace", "namespaces");
/// Events of the core group.
pub const EVENT: Kind = Kind::namespaced("", "v1", "Event", "events");
/// Endpoint slices.
pub const ENDPOINT_SLICE: Kind =
    Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
/// Gateway API routes of HTTP.
pub const HTTP_ROUTE: Kind =
    Kind::namespaced("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
/// Gateway API gateways.
pub const GATEWAY: Kind =
    Kind::namespaced("gateway.networking.k8s.io", "v1", "Gateway", "gateways");
/// Custom resource definitions.
pub const CRD: Kind = Kind::cluster(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
);
