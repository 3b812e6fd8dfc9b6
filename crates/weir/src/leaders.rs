//! Owns which roles this process plays: one Lease for each, which the controllers known for the
//! role's kinds hold too, so that two never work on one kind at once.
//!
//! # Order
//! A role's controllers start after its Lease is held, and nobody else was seen to play it from
//! another namespace. When one Lease is lost all work stops at once and the process ends: whatever
//! it was about to write carries the resourceVersion of an intent, and the next holder goes on from
//! there. At a stop the Leases are let go of after the work in hand is done.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_artifact::Storage;
use weir_object::{Key, Object};
use weir_runtime::kinds::ENDPOINT_SLICE;
use weir_runtime::lease::{Election, LEASE, Leadership, Standing, Terms, WEIR};
use weir_runtime::{Context, Write};

use crate::controllers::{Options, Role, Running};

/// Between two looks for somebody else who plays a role, while there is one.
const LOOK: Duration = Duration::from_secs(30);

/// How roles are shared out.
#[derive(Clone, Debug)]
pub struct Seats {
    /// The roles that this process may play.
    pub roles: Vec<Role>,
    /// Where the Leases are.
    pub namespace: String,
    /// Who this process is, and nobody else.
    pub identity: String,
    /// The times of the elections.
    pub terms: Terms,
    /// Where others reach this process's artifacts.
    pub artifacts: Option<Served>,
}

/// Where others reach this process's artifacts: told through a Service.
#[derive(Clone, Debug)]
pub struct Served {
    /// The address of the pod.
    pub address: IpAddr,
    /// The port of the store's server.
    pub port: u16,
    /// The Service that leads there; it has no selector.
    pub service: String,
}

/// A name for this process: the pod's or host's, and something that no other process has.
pub fn identity(host: &str) -> String {
    // Each is seeded anew by the system.
    let unique = RandomState::new().hash_one(std::process::id());
    format!("{host}_{unique:016x}")
}

/// Labels of `leader_election_master_status`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Master {
    name: String,
}

/// Who plays each role, for readiness and for people. Cheap to clone.
#[derive(Clone, Default)]
pub struct Standings(Arc<Mutex<Vec<Seat>>>);

type Seat = (Role, watch::Receiver<Standing>);

impl Standings {
    fn add(&self, role: Role, standing: watch::Receiver<Standing>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((role, standing));
    }

    /// Each role with who plays it.
    pub fn all(&self) -> Vec<(Role, Standing)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = |(role, standing): &Seat| (*role, standing.borrow().clone());
        all.iter().map(now).collect()
    }
}

/// Plays the roles whose Leases this process holds, until it is stopped.
///
/// # Errors
/// A Lease that was held is lost. Everything has stopped then, and the process should end.
pub async fn play(
    context: &Context,
    artifacts: Option<&Storage>,
    options: &Options,
    seats: &Seats,
    standings: &Standings,
) -> anyhow::Result<()> {
    let mut campaigns = JoinSet::new();
    let masters = Family::<Master, Gauge>::default();
    context.metrics.register(|registry| {
        let help = "Whether this process holds the Lease of this name";
        registry.register("leader_election_master_status", help, masters.clone());
    });
    let master = |role: Role| {
        let name = role.lease(&context.shard);
        masters.get_or_create(&Master { name }).clone()
    };
    for role in seats.roles.iter().copied() {
        master(role).set(0);
        let key = Key::new(&*seats.namespace, role.lease(&context.shard));
        let election = Election::new(
            context.api.clone(),
            context.clock.clone(),
            key,
            seats.identity.clone(),
            seats.terms,
        );
        standings.add(role, election.standing());
        let (context, own) = (context.clone(), seats.namespace.clone());
        campaigns.spawn(async move {
            tokio::select! {
                () = alone(&context, role, &own) => {}
                () = context.stop.cancelled() => return (role, None),
            }
            (role, election.campaign(&context.stop).await)
        });
    }
    let lost = CancellationToken::new();
    let mut held: Vec<Leadership> = Vec::new();
    let mut running = Running::default();
    loop {
        tokio::select! {
            Some(ended) = campaigns.join_next() => {
                let Ok((role, Some(leadership))) = ended else { continue };
                tracing::info!(role = role.name(), "this process plays the role from now on");
                master(role).set(1);
                if role == Role::Source {
                    point_at_artifacts(context, seats).await;
                }
                running.start(role.controllers(context, artifacts, options));
                let (of_role, any) = (leadership.lost.clone(), lost.clone());
                held.push(leadership);
                tokio::spawn(async move {
                    of_role.cancelled().await;
                    any.cancel();
                });
            }
            () = lost.cancelled() => break,
            () = context.stop.cancelled() => break,
        }
    }
    let was_lost = lost.is_cancelled();
    for role in &seats.roles {
        master(*role).set(0);
    }
    context.stop.cancel();
    running.stopped().await;
    while campaigns.join_next().await.is_some() {}
    for leadership in held {
        leadership.release().await;
    }
    if was_lost {
        bail!("a lease was lost, so everything was stopped; see the log above for which and why");
    }
    Ok(())
}

/// Waits until nobody plays the role from another namespace, or under the name of another shard that
/// this one is part of. Whoever does is named in the log.
async fn alone(context: &Context, role: Role, own: &str) {
    let mut before: Option<Vec<Object>> = None;
    let here = Key::new(own, role.lease(&context.shard));
    loop {
        let found = match context.api.list(&LEASE, None, "").await {
            Ok(found) => found,
            Err(failure) => {
                tracing::warn!(%failure, "leases of other namespaces cannot be seen, so nobody \
                    there is waited for");
                return;
            }
        };
        let others: Vec<Object> = found
            .into_iter()
            .filter(|lease| lease.key() != here && role.meets(&here.name, lease.name()))
            .filter(|lease| {
                let holder = lease.text(&["spec", "holderIdentity"]);
                !holder.is_empty() && lease.annotation(WEIR) != Some(holder)
            })
            .collect();
        let Some(longest) = others.iter().map(duration_of).max() else {
            return;
        };
        // Whether somebody lives is told by a renewal that is seen, never by the time it names.
        let alive = |lease: &&Object| {
            let same = |b: &Object| {
                b.key() == lease.key() && b.resource_version() == lease.resource_version()
            };
            before
                .as_ref()
                .is_some_and(|before| !before.iter().any(same))
        };
        match others.iter().find(alive) {
            Some(lease) => tracing::error!(role = role.name(), lease = %lease.key(),
                holder = lease.text(&["spec", "holderIdentity"]),
                "another controller works on these kinds; they are left alone until it is gone: \
                 scale it to zero, or uninstall it"),
            None if before.is_some() => {
                for lease in &others {
                    tracing::warn!(role = role.name(), lease = %lease.key(),
                        "a leftover lease, whose holder gave no sign; delete it");
                }
                return;
            }
            None => {}
        }
        let wait = if before.is_none() {
            longest
        } else {
            LOOK.max(longest)
        };
        before = Some(others);
        tokio::time::sleep(wait).await;
    }
}

fn duration_of(lease: &Object) -> Duration {
    let seconds = lease.get(&["spec", "leaseDurationSeconds"]);
    let seconds = seconds.and_then(serde_json::Value::as_u64);
    Duration::from_secs(seconds.unwrap_or(60).clamp(1, 600))
}

/// Leads those who fetch artifacts to this process: their Service has no selector, since only who
/// plays the sources' role has what it serves.
async fn point_at_artifacts(context: &Context, seats: &Seats) {
    let Some(Served {
        address,
        port,
        service,
    }) = &seats.artifacts
    else {
        return;
    };
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let slice = Object(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-leader"), "namespace": seats.namespace, "labels": {
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "weir"}},
        "addressType": family,
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }));
    let key = Key::new(&*seats.namespace, slice.name());
    let api = context.api.with_manager(Role::Source.name());
    let write = Write::Apply {
        fields: slice,
        force: true,
    };
    if let Err(failure) = api.write(&ENDPOINT_SLICE, &key, write).await {
        tracing::error!(%failure, "others cannot be led to this process's artifacts");
    }
}
