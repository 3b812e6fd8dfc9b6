//! Owns the handle on one API server: its state, clock and seed. Cheap to clone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use crate::addresses::{Addresses, SequentialAddresses};
use crate::authorize;
use crate::body::ApiBody;
use crate::call::{Call, stamp};
use crate::controllers::metrics::MetricsSource;
use crate::custom;
use crate::faults::Faults;
use crate::identity::{Tokens, User};
use crate::logs::PodLogs;
use crate::objects;
use crate::openapi::Documents;
use crate::persist::{self, Journal, OpenFailure, SaveFailure, Saved};
use crate::random::Random;
use crate::registry::Storage;
use crate::service::ApiService;
use crate::state::{State, key_of};
use crate::store::Store;
use crate::stored::Stored;
use crate::write;

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
    /// What was read from the state file for others, until they take it.
    parcels: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) metrics: Option<Arc<dyn MetricsSource>>,
    pub(crate) root_ca: String,
    pub(crate) faults: Faults,
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

/// The priorities of what a cluster cannot do without.
fn begin_priorities(state: &mut State, time: &str) {
    let Some(classes) = state
        .registry
        .get("scheduling.k8s.io", "v1", "priorityclasses")
        .cloned()
    else {
        return;
    };
    for (name, value, description) in [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let uid = state.random.uid();
        let object = json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1",
            "metadata": {"name": name, "uid": uid, "resourceVersion": "1", "generation": 1,
                "creationTimestamp": time, "managedFields": [{"manager": "kube-apiserver",
                "operation": "Update", "apiVersion": "scheduling.k8s.io/v1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": {"f:description": {}, "f:preemptionPolicy": {},
                "f:value": {}}}]},
            "value": value, "description": description, "preemptionPolicy": "PreemptLowerPriority"});
        state.begin_one(classes.storage, &Key::new("", name), object);
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
        let mut state = State::new(options.seed, tuning.history, tuning.addresses.clone());
        bootstrap(&mut state, (options.now)());
        found(&mut state, (options.now)());
        Self::of(state, options, tuning)
    }

    /// A server that goes on with what a file holds, and keeps it there from now on. A file that
    /// does not exist is made.
    pub fn open(options: Options, tuning: Tuning, path: &Path) -> Result<Self, OpenFailure> {
        let mut state = State::new(options.seed, tuning.history, tuning.addresses.clone());
        // Roles that everyone has are not saved unless they were changed.
        bootstrap(&mut state, (options.now)());
        let (journal, saved) = persist::open(path)?;
        let mut parcels = BTreeMap::new();
        match saved {
            Some(mut saved) => {
                parcels = std::mem::take(&mut saved.parcels);
                restore(&mut state, saved).map_err(|why| OpenFailure::Broken {
                    path: path.to_owned(),
                    why,
                })?;
                state.journal = Some(journal);
            }
            None => {
                state.journal = Some(journal);
                found(&mut state, (options.now)());
            }
        }
        let server = Self::of(state, options, tuning);
        *server.parcels_lock() = parcels;
        Ok(server)
    }

    /// What the parts around the server had kept in its file, by name. It is given out once.
    pub fn take_parcels(&self) -> BTreeMap<String, Bytes> {
        std::mem::take(&mut *self.parcels_lock())
    }

    /// Keeps something beside the objects, where there is a file; `None` takes it away.
    pub fn keep_parcel(&self, name: &str, bytes: Option<Bytes>) {
        if let Some(journal) = &self.0.read().journal {
            journal.note_parcel(name, bytes);
        }
    }

    /// Lets go of the file: what was answered so far is in it, and what comes is in memory alone.
    pub fn close_file(&self) {
        let journal = self.0.write().journal.take();
        // Dropping it writes what is left.
        drop(journal);
    }

    fn parcels_lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0
            .parcels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all that was answered so far is in the file, where there is one.
    pub async fn flush(&self) -> Result<(), SaveFailure> {
        let flushing = self.0.read().journal.as_ref().map(Journal::flushing);
        match flushing {
            Some(flushing) => flushing.done().await,
            None => Ok(()),
        }
    }

    /// All objects of all kinds at one instant, kind by kind.
    pub fn dump(&self) -> impl Iterator<Item = Arc<Value>> + use<> {
        let state = self.0.read();
        let mut storages: Vec<Storage> = Vec::new();
        for resource in state.registry.iter() {
            if !storages.contains(&resource.storage) {
                storages.push(resource.storage);
            }
        }
        let all = storages.into_iter();
        let kept: Vec<Arc<Stored>> = all
            .flat_map(|storage| state.all(storage, None).cloned())
            .collect();
        kept.into_iter().map(|stored| stored.read())
    }

    fn of(state: State, options: Options, tuning: Tuning) -> Self {
        let faults = Faults::new(options.now.clone(), options.seed);
        Self(Arc::new(Inner {
            state: RwLock::new(state),
            now: options.now,
            event_ttl: tuning.event_ttl,
            tokens: Tokens::default(),
            parcels: Mutex::default(),
            metrics: tuning.metrics,
            root_ca: tuning.root_ca,
            faults,
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

/// Takes in the roles and bindings that every cluster has.
fn bootstrap(state: &mut State, now: Timestamp) {
    let time = stamp(now);
    let roles = authorize::bootstrap(&state.bindings, &time);
    state.begin(&roles);
    begin_priorities(state, &time);
}

/// Makes the namespaces that every cluster has.
fn found(state: &mut State, now: Timestamp) {
    let Some(namespaces) = state.registry.get("", "v1", "namespaces").cloned() else {
        return;
    };
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let mut call = Call::new("kube-apiserver", now);
        // The four names are valid and free in an empty state.
        let _ = objects::create(state, &namespaces, None, object, &mut call);
    }
}

const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Puts back what was saved; definitions first, since the other objects' kinds come from them.
fn restore(state: &mut State, saved: Saved) -> Result<(), String> {
    let (first, rest): (Vec<_>, Vec<_>) = saved
        .objects
        .into_iter()
        .partition(|(kind, _)| kind == DEFINITIONS);
    for (kind, text) in first.into_iter().chain(rest) {
        let object = write::yaml(&text)
            .map_err(|fault| format!("an object of {kind} cannot be read: {}", fault.why))?
            .value;
        let storage = state
            .registry
            .storage_of(&kind)
            .ok_or_else(|| format!("it has objects of {kind}, which is not served"))?;
        if kind == DEFINITIONS {
            let own = state.open();
            custom::serve(&mut state.registry, &object, own);
        }
        let address = path::text(&object, &["spec", "clusterIP"]);
        if kind == "/services" && !matches!(address, "" | "None") {
            let key = key_of(&object);
            if state.addresses.allocate(&key, Some(address)).is_none() {
                return Err(format!(
                    "the address {address} of Service {key} is not free"
                ));
            }
        }
        state.restore(storage, object);
    }
    state.resume(saved.version, Random::new(saved.random));
    Ok(())
}
