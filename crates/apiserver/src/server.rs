//! Owns the handle on one API server: its state, clock and seed. Cheap to clone.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use http::Response;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::json;

use crate::addresses::{Addresses, SequentialAddresses};
use crate::authorize;
use crate::body::ApiBody;
use crate::call::{Call, stamp};
use crate::controllers::metrics::MetricsSource;
use crate::identity::{Tokens, User};
use crate::logs::PodLogs;
use crate::objects;
use crate::openapi::Documents;
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
    /// Measures what pods use, for HorizontalPodAutoscalers. Without it there is no metrics API.
    pub metrics: Option<Arc<dyn MetricsSource>>,
    /// The certificates that every namespace is told to trust, in PEM; may be empty.
    pub root_ca: String,
    /// Keeps the logs of pods; without it they are empty.
    pub logs: Option<Arc<dyn PodLogs>>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            history: 4096,
            addresses: Arc::new(SequentialAddresses::default()),
            event_ttl: std::time::Duration::from_hours(1),
            metrics: None,
            root_ca: String::new(),
            logs: None,
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
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Option<Arc<dyn MetricsSource>>,
    pub(crate) root_ca: String,
    pub(crate) documents: Documents,
    pub(crate) logs: Option<Arc<dyn PodLogs>>,
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
    /// A server with the namespaces and roles that every cluster has, and nothing else.
    pub fn new(options: Options) -> Self {
        Self::with(options, Tuning::default())
    }

    /// The same, tuned.
    pub fn with(options: Options, tuning: Tuning) -> Self {
        let mut state = State::new(options.seed, tuning.history, tuning.addresses);
        let time = stamp((options.now)());
        let roles = authorize::bootstrap(&state.bindings, &time);
        state.begin(&roles);
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
        Self(Arc::new(Inner {
            state: RwLock::new(state),
            now: options.now,
            event_ttl: tuning.event_ttl,
            tokens: Tokens::default(),
            metrics: tuning.metrics,
            root_ca: tuning.root_ca,
            documents: Documents::default(),
            logs: tuning.logs,
        }))
    }

    /// Accepts a bearer token as a user's, beside those of service accounts.
    pub fn accept_token(&self, token: &str, user: User) {
        self.0.tokens.accept(token, user);
    }

    /// Who asks, if they may; the answer that refuses them if not. For paths that an embedder
    /// serves beside the API's own.
    #[expect(clippy::result_large_err, reason = "a refusal is an answer, made once")]
    pub fn admit(&self, head: &Parts) -> Result<Arc<User>, Response<ApiBody>> {
        authorize::enter(self, head).map_err(|denial| denial.answer(self, head))
    }

    /// The HTTP face, for clients and listeners.
    pub fn service(&self) -> ApiService {
        ApiService::new(self.clone())
    }

    /// The same objects for parts of this process, without HTTP.
    pub fn store(&self) -> Store {
        Store::new(self.0.clone())
    }

    /// Runs the controllers that make built-in kinds behave, until dropped. They wait for changes
    /// and timers only.
    pub fn run_controllers(&self) -> impl Future<Output = ()> + Send + use<> {
        crate::controllers::run(self.clone())
    }
}
