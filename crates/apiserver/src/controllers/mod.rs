//! Owns the controllers that make built-in kinds behave: rollouts, replicas, endpoints, ownership,
//! namespaces, and the end of events. They are woken by changes and timers, never by a clock tick,
//! and decide from what is stored, so that a missed wake-up costs nothing but time.
//!
//! Each kind is followed once, for all of them; they take turns, so that two runs with equal seeds
//! are equal. They refuse to run pods: that is a kubelet's work, which sets nodes and statuses.

mod collector;
mod cronjob;
mod daemon_nodes;
mod daemonset;
mod deployment;
pub(crate) mod disruption;
mod ending;
mod endpoints;
mod expiry;
mod history;
mod hpa;
mod job;
pub(crate) mod metrics;
mod namespaces;
mod plan;
mod podgc;
pub(crate) mod pods;
mod quantity;
mod quota;
mod recorder;
mod replicaset;
mod schedule;
mod slices;
mod source;
mod stateful_claims;
mod statefulset;
mod status;
mod triggers;
mod ttl;
mod volumes;
mod world;

use std::sync::Arc;

use futures::future::select_all;
use tokio::time::Instant;
use weir_object::{Key, Kind};

use crate::refusal::Refusal;
use crate::server::ApiServer;
use source::{Queue, Seen, Source};
use world::World;

pub(crate) const PODS: Kind = Kind::namespaced("", "v1", "Pod", "pods");
pub(crate) const NODES: Kind = Kind::cluster("", "v1", "Node", "nodes");
pub(crate) const SERVICES: Kind = Kind::namespaced("", "v1", "Service", "services");
pub(crate) const ENDPOINTS: Kind = Kind::namespaced("", "v1", "Endpoints", "endpoints");
pub(crate) const EVENTS: Kind = Kind::namespaced("", "v1", "Event", "events");
pub(crate) const NAMESPACES: Kind = Kind::cluster("", "v1", "Namespace", "namespaces");
pub(crate) const ACCOUNTS: Kind = Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
pub(crate) const CONFIG_MAPS: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
pub(crate) const QUOTAS: Kind = Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas");
pub(crate) const CLAIMS: Kind =
    Kind::namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
pub(crate) const VOLUMES: Kind = Kind::cluster("", "v1", "PersistentVolume", "persistentvolumes");
pub(crate) const CLASSES: Kind =
    Kind::cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses");
pub(crate) const REPLICATION_CONTROLLERS: Kind =
    Kind::namespaced("", "v1", "ReplicationController", "replicationcontrollers");
pub(crate) const DEPLOYMENTS: Kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
pub(crate) const REPLICA_SETS: Kind = Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets");
pub(crate) const STATEFUL_SETS: Kind =
    Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets");
pub(crate) const DAEMON_SETS: Kind = Kind::namespaced("apps", "v1", "DaemonSet", "daemonsets");
pub(crate) const REVISIONS: Kind =
    Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions");
pub(crate) const JOBS: Kind = Kind::namespaced("batch", "v1", "Job", "jobs");
pub(crate) const CRON_JOBS: Kind = Kind::namespaced("batch", "v1", "CronJob", "cronjobs");
pub(crate) const SLICES: Kind =
    Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
pub(crate) const BUDGETS: Kind = Kind::namespaced(
    "policy",
    "v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets",
);
pub(crate) const SCALERS: Kind = Kind::namespaced(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
);

/// The kinds that controllers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum On {
    Namespace,
    Node,
    Pod,
    Service,
    Endpoints,
    Slice,
    Account,
    ConfigMap,
    Quota,
    Claim,
    Volume,
    Class,
    ReplicationController,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    ControllerRevision,
    Job,
    CronJob,
    DisruptionBudget,
    Scaler,
}

const FOLLOWED: [(On, Kind); 22] = [
    (On::Namespace, NAMESPACES),
    (On::Node, NODES),
    (On::Pod, PODS),
    (On::Service, SERVICES),
    (On::Endpoints, ENDPOINTS),
    (On::Slice, SLICES),
    (On::Account, ACCOUNTS),
    (On::ConfigMap, CONFIG_MAPS),
    (On::Quota, QUOTAS),
    (On::Claim, CLAIMS),
    (On::Volume, VOLUMES),
    (On::Class, CLASSES),
    (On::ReplicationController, REPLICATION_CONTROLLERS),
    (On::Deployment, DEPLOYMENTS),
    (On::ReplicaSet, REPLICA_SETS),
    (On::StatefulSet, STATEFUL_SETS),
    (On::DaemonSet, DAEMON_SETS),
    (On::ControllerRevision, REVISIONS),
    (On::Job, JOBS),
    (On::CronJob, CRON_JOBS),
    (On::DisruptionBudget, BUDGETS),
    (On::Scaler, SCALERS),
];

/// One controller.
pub(crate) trait Control: Send {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// Decides what a change means for it.
    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen);

    /// Looks at one object as it is now, and acts. What is refused is tried again later.
    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal>;
}

/// A controller with what it has to do.
struct Member {
    control: Box<dyn Control>,
    queue: Queue,
}

impl Member {
    fn new(control: impl Control + 'static) -> Self {
        Self {
            control: Box::new(control),
            queue: Queue::default(),
        }
    }

    fn work(&mut self, world: &mut World) {
        self.queue.ripen(Instant::now());
        while let Some(key) = self.queue.take() {
            match self.control.sync(world, &mut self.queue, &key) {
                Ok(()) => self.queue.well(&key),
                Err(refusal) => {
                    let controller = self.control.name();
                    tracing::debug!(controller, %key, %refusal, "it is tried again");
                    self.queue.again(key);
                }
            }
        }
    }
}

/// Runs all controllers until dropped.
pub(crate) async fn run(server: ApiServer) {
    let store = server.store().as_manager("kube-controller-manager");
    let clock = server.0.clone();
    futures::join!(
        take_turns(World::new(store.clone(), clock.clone())),
        collector::run(store.clone(), clock.clone()),
        expiry::run(store, clock.event_ttl),
        crate::authorize::gather_rules(server),
    );
}

async fn take_turns(mut world: World) {
    let mut sources: Vec<(On, Source)> = FOLLOWED
        .into_iter()
        .map(|(on, kind)| (on, Source::new(&world.store, kind)))
        .collect();
    let mut members = [
        Member::new(namespaces::Accounts),
        Member::new(namespaces::RootCa),
        Member::new(volumes::Binder::default()),
        Member::new(volumes::ClaimProtection::default()),
        Member::new(volumes::VolumeProtection),
        Member::new(cronjob::CronJobs),
        Member::new(job::Jobs::default()),
        Member::new(deployment::Deployments),
        Member::new(statefulset::StatefulSets),
        Member::new(daemonset::DaemonSets::default()),
        Member::new(replicaset::Replicas::sets()),
        Member::new(replicaset::Replicas::controllers()),
        Member::new(slices::Slices::default()),
        Member::new(endpoints::Endpoints::default()),
        Member::new(disruption::Budgets),
        Member::new(hpa::Scalers::default()),
        Member::new(podgc::Orphaned::default()),
        Member::new(ttl::Finished),
        Member::new(quota::Quotas::default()),
    ];
    loop {
        let due = members.iter().filter_map(|m| m.queue.next()).min();
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let changed = sources
            .iter_mut()
            .map(|(on, source)| Box::pin(async { (*on, source.next().await) }));
        let first = tokio::select! {
            ((on, seen), _, _) = select_all(changed) => Some((on, seen)),
            () = timer => None,
        };
        if let Some((on, seen)) = first {
            tell(&mut world, &mut members, on, &seen);
        }
        // All that is known is taken in before anything is done about it.
        for (on, source) in &mut sources {
            while let Some(seen) = source.ready() {
                tell(&mut world, &mut members, *on, &seen);
            }
        }
        for member in &mut members {
            member.work(&mut world);
        }
    }
}

fn tell(world: &mut World, members: &mut [Member], on: On, seen: &Seen) {
    let before = world.note(on, seen);
    for member in &mut *members {
        member.control.note(world, &mut member.queue, on, seen);
    }
    // A pod that changed its labels is news to those who knew it by the old ones, too.
    if let (Some(labels), Some(object)) = (before, seen.object()) {
        let mut face = (**object).clone();
        weir_object::path::set(&mut face, &["metadata", "labels"], labels);
        weir_object::path::remove(&mut face, &["metadata", "ownerReferences"]);
        let face = Seen::Left(Arc::new(face));
        for member in members {
            member.control.note(world, &mut member.queue, on, &face);
        }
    }
}
