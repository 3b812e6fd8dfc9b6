//! Owns what is in force in the data plane: from all Gateways, routes and the objects they lean on
//! to one table for the proxy and one verdict for each object. The decision is pure (`attach`,
//! `mesh`); here are only the watches it is made from. It is made anew when any of them changed.

pub(crate) mod attach;
pub(crate) mod listeners;
pub(crate) mod mesh;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch::Receiver;
use weir_object::{Kind, Object};
use weir_runtime::kinds::{GATEWAY, HTTP_ROUTE, NAMESPACE, SERVICE};
use weir_runtime::{Change, Context, Controller, Store, WatchOf};

use crate::istio::kinds::{DESTINATION_RULE, VIRTUAL_SERVICE};
use crate::proxy::Proxy;
use crate::proxy::reading::Refs;
use attach::{Decision, World, decide};

/// Gateway classes.
pub(crate) const GATEWAY_CLASS: Kind = Kind::cluster(
    "gateway.networking.k8s.io",
    "v1",
    "GatewayClass",
    "gatewayclasses",
);
/// Gateway API routes of gRPC.
pub(crate) const GRPC_ROUTE: Kind =
    Kind::namespaced("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes");
/// Leave to refer to objects of another namespace.
pub(crate) const REFERENCE_GRANT: Kind = Kind::namespaced(
    "gateway.networking.k8s.io",
    "v1",
    "ReferenceGrant",
    "referencegrants",
);
/// The controller name in statuses.
pub(crate) const CONTROLLER: &str = "weir.dev/sandbox-gateway";

/// All kinds that the decision is made from.
const KINDS: [&Kind; 9] = [
    &GATEWAY_CLASS,
    &GATEWAY,
    &HTTP_ROUTE,
    &GRPC_ROUTE,
    &REFERENCE_GRANT,
    &NAMESPACE,
    &SERVICE,
    &VIRTUAL_SERVICE,
    &DESTINATION_RULE,
];

/// The watches, the proxy, and the decision that is in force.
pub(crate) struct Plane {
    stores: [Arc<Store>; 9],
    proxy: Arc<Proxy>,
    state: Mutex<State>,
}

struct State {
    changes: Vec<Receiver<u64>>,
    seen: Vec<u64>,
    decision: Arc<Decision>,
}

impl Plane {
    pub(crate) fn new(context: &Context, proxy: Arc<Proxy>) -> Arc<Self> {
        let stores = KINDS.map(|kind| context.caches.watch(WatchOf::all(kind)));
        let changes = stores.iter().map(|s| s.changes()).collect();
        Arc::new(Self {
            stores,
            proxy,
            state: Mutex::new(State {
                changes,
                seen: Vec::new(),
                decision: Arc::default(),
            }),
        })
    }

    /// The store of a kind.
    pub(crate) fn store(&self, kind: &Kind) -> Arc<Store> {
        let at = KINDS.iter().position(|k| *k == kind);
        // Only kinds of the list are asked for.
        self.stores[at.unwrap_or_default()].clone()
    }

    /// Decides anew where anything changed, and puts it in force before it returns.
    pub(crate) fn refresh(&self) -> Arc<Decision> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<u64> = state.changes.iter().map(|c| *c.borrow()).collect();
        if state.seen == now {
            return state.decision.clone();
        }
        let [
            classes,
            gateways,
            http,
            grpc,
            grants,
            namespaces,
            services,
            virtuals,
            rules,
        ] = self.stores.each_ref().map(|s| s.list());
        let world = World {
            classes,
            gateways,
            http,
            grpc,
            namespaces,
            virtuals,
            rules,
            refs: Refs {
                services: services.into_iter().map(|s| (s.key(), s)).collect(),
                grants,
            },
        };
        let (table, decision) = decide(&world);
        self.proxy.put(table);
        state.seen = now;
        state.decision = Arc::new(decision);
        state.decision.clone()
    }

    /// Lets a controller look at all of its objects when any other kind of the decision changes.
    pub(crate) fn follow(self: &Arc<Self>, mut controller: Controller, own: &Kind) -> Controller {
        for kind in KINDS.into_iter().filter(|k| *k != own) {
            let store = self.store(own);
            controller = controller.also(WatchOf::all(kind), move |change| {
                if matters(change) {
                    store.list().iter().map(|o| o.key()).collect()
                } else {
                    Vec::new()
                }
            });
        }
        controller
    }
}

/// Whether a change is more than one of a status.
fn matters(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return true;
    };
    let labels = |o: &Object| o.labels().cloned();
    before.get(&["spec"]) != after.get(&["spec"]) || labels(before) != labels(after)
}
