//! Owns the handle on one API server: its state, clock and seed. Cheap to clone.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use serde_json::json;

use crate::addresses::{Addresses, SequentialAddresses};
use crate::call::Call;
use crate::faults::{FaultPlan, Faults};
use crate::objects;
use crate::service::ApiService;
use crate::state::State;
use crate::store::Store;

/// Reads the wall clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a server starts with.
#[derive(Clone)]
pub struct Options {
    /// The wall clock behind all times in objects.
    pub now: Now,
    /// The seed of uids and generated names.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            now: Arc::new(Timestamp::now),
            seed: 0,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What may be tuned beside the options.
#[derive(Clone)]
pub struct Tuning {
    /// Changes kept of each kind, for watches that resume.
    pub history: usize,
    /// Gives addresses to Services.
    pub addresses: Arc<dyn Addresses>,
    /// How long Events are kept, counted from their last change.
    pub event_ttl: std::time::Duration,
    /// Faults from the start; more can be set later through [`ApiServer::faults`]. A plan that
    /// contradicts itself is left out, which [`FaultPlan::parse`] never gives.
    pub faults: Option<FaultPlan>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            history: 4096,
            addresses: Arc::new(SequentialAddresses::default()),
            event_ttl: std::time::Duration::from_hours(1),
            faults: None,
        }
    }
}

impl std::fmt::Debug for Tuning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tuning")
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    state: RwLock<State>,
    pub(crate) now: Now,
    pub(crate) event_ttl: std::time::Duration,
    pub(crate) faults: Faults,
}

impl Inner {
    // A panic cannot leave the state half written in a way that matters more than going on:
    // every write ends with one put.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }
}

/// A Kubernetes API in memory.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiServer")
    }
}

impl ApiServer {
    /// A server with the namespaces that every cluster has, and nothing else.
    pub fn new(options: Options) -> Self {
        Self::with(options, Tuning::default())
    }

    /// The same, tuned.
    pub fn with(options: Options, tuning: Tuning) -> Self {
        let mut state = State::new(options.seed, tuning.history, tuning.addresses);
        let namespaces = state.registry.get("", "v1", "namespaces").cloned();
        if let Some(namespaces) = namespaces {
            for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
                let object =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
                let mut call = Call::new("kube-apiserver", (options.now)());
                // The four names are valid and free in an empty state.
                let _ = objects::create(&mut state, &namespaces, None, object, &mut call);
            }
        }
        let faults = Faults::new(options.now.clone(), options.seed);
        if let Some(plan) = tuning.faults
            && let Err(refused) = faults.set(plan)
        {
            tracing::warn!(%refused, "a fault plan is left out");
        }
        Self(Arc::new(Inner {
            state: RwLock::new(state),
            now: options.now,
            event_ttl: tuning.event_ttl,
            faults,
        }))
    }

    /// The HTTP face, for clients and listeners.
    pub fn service(&self) -> ApiService {
        ApiService::new(self.clone())
    }

    /// The same objects for parts of this process, without HTTP.
    pub fn store(&self) -> Store {
        Store::new(self.0.clone())
    }

    /// The faults that befall requests, by plan.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Runs the controllers that make built-in kinds behave, until dropped. They wait for changes
    /// and timers only.
    pub fn run_controllers(&self) -> impl Future<Output = ()> + Send + use<> {
        crate::controllers::run(self.clone())
    }
}
