//! Owns the controllers that make built-in kinds behave: rollouts, replicas, endpoints, ownership,
//! namespaces, and the end of events. They are woken by changes and timers, never by a clock tick,
//! and decide from what is stored, so that a missed wake-up costs nothing but time.
//!
//! They refuse to run pods: that is a kubelet's work, which sets nodes and statuses.

mod collector;
mod deployment;
mod expiry;
mod plan;
mod replicaset;
mod slices;
mod source;
mod status;

use weir_object::Kind;

use crate::server::ApiServer;

pub(crate) const PODS: Kind = Kind::namespaced("", "v1", "Pod", "pods");
pub(crate) const SERVICES: Kind = Kind::namespaced("", "v1", "Service", "services");
pub(crate) const EVENTS: Kind = Kind::namespaced("", "v1", "Event", "events");
pub(crate) const DEPLOYMENTS: Kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
pub(crate) const REPLICA_SETS: Kind = Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets");
pub(crate) const SLICES: Kind =
    Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");

/// Runs all controllers until dropped.
pub(crate) async fn run(server: ApiServer) {
    let store = server.store().as_manager("kube-controller-manager");
    let clock = server.0.clone();
    futures::join!(
        deployment::run(store.clone(), clock.clone()),
        replicaset::run(store.clone(), clock.clone()),
        slices::run(store.clone()),
        collector::run(clock.clone()),
        expiry::run(store, clock.event_ttl),
        crate::authorize::gather_rules(server),
    );
}
