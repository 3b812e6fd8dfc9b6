//! Owns the shared watch caches: one watch for each kind, namespace, selector and projection,
//! however many reconcilers look at it.
//!
//! A [`Store`] is fed by two streams: the watch, and the replies to this process's own writes. An
//! older resourceVersion never replaces a newer one, so a write's reply can't be undone by a watch
//! event that was on its way, and a reply that comes after the object's deletion is dropped.
//! `managedFields` are cut off at decode. It refuses to hold Secrets: ask for those when needed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::watch as flag;
use tokio_util::sync::CancellationToken;
use weir_object::labels::{self, Need};
use weir_object::{Key, Kind, Object, ObjectRef, path};

use crate::metrics::Requests;
use crate::queue::Backoff;
use crate::{ApiFailure, Refusal};

/// How much of each object a cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// The whole object but `managedFields`.
    Full,
    /// The same, held as its text and read anew each time: about a sixth of the memory, for kinds
    /// of many objects that are seldom looked at.
    Text,
    /// `apiVersion`, `kind` and `metadata` but `managedFields` and the last-applied annotation.
    Metadata,
}

/// What one watch is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchOf {
    /// Kind.
    pub kind: Kind,
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Label selector, empty for all objects.
    pub labels: String,
    /// How much is kept.
    pub projection: Projection,
}

impl WatchOf {
    /// All objects of a kind, whole.
    pub fn all(kind: &Kind) -> Self {
        Self::projected(kind, Projection::Full)
    }

    /// All objects of a kind, of each as much as `projection` says.
    pub fn projected(kind: &Kind, projection: Projection) -> Self {
        let (namespace, labels) = (None, String::new());
        Self {
            kind: kind.clone(),
            namespace,
            labels,
            projection,
        }
    }

    /// Those that a label selector selects.
    #[must_use]
    pub fn selected(self, labels: &str) -> Self {
        let labels = labels.to_owned();
        Self { labels, ..self }
    }
}

/// One change of a cache.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which object.
    pub key: Key,
    /// As it was.
    pub before: Option<Arc<Object>>,
    /// As it is; `None` when it is gone.
    pub after: Option<Arc<Object>>,
}

type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// The objects of one watch.
pub struct Store {
    of: WatchOf,
    /// The label selector, read; `None` when it can't be, and the server refuses it too.
    needs: Option<Vec<Need>>,
    state: RwLock<State>,
    listeners: RwLock<Vec<Listener>>,
    synced: flag::Sender<bool>,
    /// The first list is complete, or there is none because the kind is not served.
    settled: flag::Sender<bool>,
    changes: flag::Sender<u64>,
    /// The API server does not serve the kind, as far as is known.
    unserved: AtomicBool,
    /// Why the watch may not be, while it may not.
    denied: Mutex<Option<String>>,
}

/// An object as a store holds it.
enum Held {
    Read(Arc<Object>),
    Text {
        version: u64,
        uid: Box<str>,
        text: Box<[u8]>,
    },
}

impl Held {
    fn new(object: &Arc<Object>, projection: Projection) -> Self {
        match serde_json::to_vec(&object.0) {
            Ok(text) if projection == Projection::Text => Self::Text {
                version: version_of(object),
                uid: object.uid().into(),
                text: text.into(),
            },
            _ => Self::Read(object.clone()),
        }
    }

    fn object(&self) -> Arc<Object> {
        match self {
            Self::Read(object) => object.clone(),
            // What was written from a value reads back.
            Self::Text { text, .. } => {
                Arc::new(Object(serde_json::from_slice(text).unwrap_or_default()))
            }
        }
    }

    fn version(&self) -> u64 {
        match self {
            Self::Read(object) => version_of(object),
            Self::Text { version, .. } => *version,
        }
    }

    fn uid(&self) -> &str {
        match self {
            Self::Read(object) => object.uid(),
            Self::Text { uid, .. } => uid,
        }
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Held>,
    /// The highest resourceVersion the watch has shown.
    watermark: u64,
}

impl Store {
    fn new(of: WatchOf) -> Self {
        let (synced, _) = flag::channel(false);
        let (settled, _) = flag::channel(false);
        let (changes, _) = flag::channel(0);
        Self {
            needs: labels::parse(&of.labels).ok(),
            of,
            state: RwLock::default(),
            listeners: RwLock::default(),
            synced,
            settled,
            changes,
            unserved: AtomicBool::new(false),
            denied: Mutex::default(),
        }
    }

    /// A store of what was read once, and does not change: for whoever looks and goes.
    pub fn holding(kind: &Kind, objects: Vec<Object>) -> Arc<Self> {
        let store = Self::new(WatchOf::all(kind));
        for object in objects {
            store.put(object, true);
        }
        store.synced.send_replace(true);
        Arc::new(store)
    }

    /// The object of this name, as last seen.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.read().objects.get(key).map(Held::object)
    }

    /// All objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<Object>> {
        self.read().objects.values().map(Held::object).collect()
    }

    /// All objects of one namespace, ordered by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<Object>> {
        let from = Key::new(namespace, "");
        let state = self.read();
        let range = state.objects.range(from..);
        range
            .take_while(|(k, _)| k.namespace == namespace)
            .map(|(_, held)| held.object())
            .collect()
    }

    /// The objects of one namespace whose names start so, ordered by name.
    pub fn list_named(&self, namespace: &str, start: &str) -> Vec<Arc<Object>> {
        let from = Key::new(namespace, start);
        let state = self.read();
        let range = state.objects.range(from..);
        range
            .take_while(|(k, _)| k.namespace == namespace && k.name.starts_with(start))
            .map(|(_, held)| held.object())
            .collect()
    }

    /// How many objects one namespace has.
    pub fn count_in(&self, namespace: &str) -> usize {
        let from = Key::new(namespace, "");
        let state = self.read();
        let range = state.objects.range(from..);
        range.take_while(|(k, _)| k.namespace == namespace).count()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `listener` for each change from now on. It must be quick and must not wait.
    pub fn on_change(&self, listener: impl Fn(&Change) + Send + Sync + 'static) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let mut seen = self.synced.subscribe();
        // The sender lives as long as the store, so this ends only when the flag is set.
        let _ = seen.wait_for(|ready| *ready).await;
    }

    /// Waits until the first list is complete, or until it is known that the kind is not served;
    /// objects of it may still come, when it is.
    pub async fn settled(&self) {
        let mut seen = self.settled.subscribe();
        // The sender lives as long as the store, so this ends only when the flag is set.
        let _ = seen.wait_for(|ready| *ready).await;
    }

    /// Why this process may not watch, as the API server says, while it may not.
    pub fn denied(&self) -> Option<String> {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        denied.clone()
    }

    fn deny(&self, why: Option<String>) {
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// A receiver that is marked changed after each change, for those who wait for a while. It
    /// leaves nothing behind when dropped, as a listener would.
    pub fn changes(&self) -> flag::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Whether the object is one of those that are watched.
    fn admits(&self, object: &Object) -> bool {
        let label = |key: &str| object.label(key);
        let here = self.of.namespace.as_deref();
        here.is_none_or(|ns| ns == object.namespace())
            && self
                .needs
                .as_ref()
                .is_some_and(|needs| labels::meet(needs, label))
    }

    /// Feeds back the reply to one of our own writes.
    pub(crate) fn observe(&self, object: &Object) {
        if !self.admits(object) || !self.is_synced() {
            return;
        }
        let gone = object.is_deleting() && object.finalizers().next().is_none();
        if !gone {
            self.put(project(object.clone(), self.of.projection), false);
        }
    }

    fn put(&self, object: Object, from_watch: bool) {
        let key = object.key();
        let version = version_of(&object);
        let after = Arc::new(object);
        let before = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if from_watch {
                state.watermark = state.watermark.max(version);
            }
            let held = state.objects.get(&key).map(Held::version);
            let stale = match held {
                Some(held) => version < held || (version == held && version != 0),
                // The watch has passed this version and shows no such object: it was deleted.
                None => !from_watch && version <= state.watermark,
            };
            if stale {
                return;
            }
            let held = Held::new(&after, self.of.projection);
            state.objects.insert(key.clone(), held)
        };
        let before = before.map(|held| held.object());
        self.tell(&Change {
            key,
            before,
            after: Some(after),
        });
    }

    fn remove(&self, object: &Object) {
        let key = object.key();
        let before = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let version = version_of(object);
            state.watermark = state.watermark.max(version);
            if state
                .objects
                .get(&key)
                .is_some_and(|held| held.uid() != object.uid())
            {
                return;
            }
            state.objects.remove(&key)
        };
        if let Some(before) = before {
            self.tell(&Change {
                key,
                before: Some(before.object()),
                after: None,
            });
        }
    }

    /// Replaces everything by a complete list, keeping what our own writes made newer.
    fn replace(&self, list: Vec<Object>) {
        let mut listed: HashMap<Key, Object> = list.into_iter().map(|o| (o.key(), o)).collect();
        let top = listed.values().map(version_of).max().unwrap_or_default();
        let gone: Vec<Arc<Object>> = {
            let state = self.read();
            let missing = |(key, held): &(&Key, &Held)| {
                !listed.contains_key(*key) && held.version() <= top.max(state.watermark)
            };
            let gone = state.objects.iter().filter(missing);
            gone.map(|(_, held)| held.object()).collect()
        };
        for object in gone {
            self.remove(&object);
        }
        let mut keys: Vec<Key> = listed.keys().cloned().collect();
        keys.sort();
        for key in keys {
            if let Some(object) = listed.remove(&key) {
                self.put(object, true);
            }
        }
        self.synced.send_replace(true);
        self.settled.send_replace(true);
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn tell(&self, change: &Change) {
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            listener(change);
        }
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}, {} objects)", self.of.kind, self.len())
    }
}

fn version_of(object: &Object) -> u64 {
    object.resource_version().parse().unwrap_or_default()
}

fn project(mut object: Object, projection: Projection) -> Object {
    object.remove(&["metadata", "managedFields"]);
    if projection == Projection::Metadata {
        object.remove(&[
            "metadata",
            "annotations",
            "kubectl.kubernetes.io/last-applied-configuration",
        ]);
        if let Value::Object(map) = &mut object.0 {
            map.retain(|k, _| matches!(k.as_str(), "apiVersion" | "kind" | "metadata"));
        }
    }
    object
}

/// All watches of a process. Cheap to clone.
#[derive(Clone)]
pub struct Caches(Arc<Inner>);

struct Inner {
    client: kube::Client,
    stores: Mutex<HashMap<WatchOf, Arc<Store>>>,
    stop: CancellationToken,
    /// What is counted of the client's requests.
    requests: Requests,
}

impl Caches {
    /// No watches yet. They end when `stop` is cancelled.
    pub fn new(client: kube::Client, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            client,
            stores: Mutex::default(),
            stop,
            requests: Requests::default(),
        }))
    }

    /// The store of this watch, started on first use and shared afterwards.
    pub fn watch(&self, of: WatchOf) -> Arc<Store> {
        let mut stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&of) {
            return store.clone();
        }
        let store = Arc::new(Store::new(of.clone()));
        stores.insert(of, store.clone());
        tokio::spawn(follow(
            self.0.client.clone(),
            store.clone(),
            self.0.stop.clone(),
        ));
        store
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.0.requests
    }

    /// How many watches are open, for metrics.
    pub fn open(&self) -> usize {
        self.0
            .stores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// What is watched and not yet complete, by kind. A kind that the API server does not serve is
    /// not waited for: whoever needs it works once it is there.
    pub fn incomplete(&self) -> Vec<String> {
        let stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let unserved = |store: &Store| store.unserved.load(Ordering::Relaxed);
        let waiting = stores.values().filter(|s| !s.is_synced() && !unserved(s));
        let mut kinds: Vec<String> = waiting
            .map(|store| match store.denied() {
                Some(why) => format!("{}: {why}", store.of.kind),
                None => store.of.kind.to_string(),
            })
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// Feeds a write's reply to every store that holds objects of its kind.
    pub(crate) fn observe(&self, kind: &Kind, object: &Object) {
        for store in self.of_kind(kind) {
            store.observe(object);
        }
    }

    fn of_kind(&self, kind: &Kind) -> Vec<Arc<Store>> {
        let stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores
            .iter()
            .filter(|(of, _)| of.kind == *kind)
            .map(|(_, s)| s.clone())
            .collect()
    }
}

/// Follows one watch until stopped. kube's watcher lists again by itself after a gap; the wait
/// between attempts is ours.
async fn follow(client: kube::Client, store: Arc<Store>, stop: CancellationToken) {
    let of = &store.of;
    let resource = kube::api::ApiResource {
        group: of.kind.group.to_string(),
        version: of.kind.version.to_string(),
        api_version: of.kind.api_version(),
        kind: of.kind.kind.to_string(),
        plural: of.kind.plural.to_string(),
    };
    let api: Api<Watched> = match &of.namespace {
        Some(ns) if of.kind.namespaced => Api::namespaced_with(client, ns, &resource),
        _ => Api::all_with(client, &resource),
    };
    let mut config = watcher::Config::default().timeout(290);
    if !of.labels.is_empty() {
        config = config.labels(&of.labels);
    }
    let backoff = Backoff {
        first: Duration::from_millis(500),
        most: Duration::from_secs(30),
    };
    let mut events = Box::pin(watcher::watcher(api, config));
    let mut failures = 0;
    let mut listing: Vec<Object> = Vec::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            // A list begins, which says nothing of how it ends.
            Some(Ok(Event::Init)) => listing.clear(),
            Some(Ok(event)) => {
                failures = 0;
                store.unserved.store(false, Ordering::Relaxed);
                store.deny(None);
                match event {
                    Event::Init => {}
                    Event::InitApply(o) => listing.push(project(o.into_object(of), of.projection)),
                    Event::InitDone => store.replace(std::mem::take(&mut listing)),
                    Event::Apply(o) => store.put(project(o.into_object(of), of.projection), true),
                    Event::Delete(o) => store.remove(&o.into_object(of)),
                }
            }
            Some(Err(e)) => {
                failures += 1;
                let wait = backoff.after(failures);
                store.deny(denial(&e, of));
                if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = &e {
                    store.unserved.store(status.code == 404, Ordering::Relaxed);
                    if status.code == 404 {
                        store.settled.send_replace(true);
                    }
                }
                tracing::warn!(kind = %of.kind, %e, ?wait, "watch interrupted");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// What to say where the server answered that this process may not watch.
fn denial(error: &watcher::Error, of: &WatchOf) -> Option<String> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))
    | watcher::Error::WatchError(status)) = error
    else {
        return None;
    };
    matches!(status.code, 401 | 403).then(|| {
        let kinds = ObjectRef {
            api_version: of.kind.api_version(),
            kind: of.kind.kind.to_string(),
            namespace: of.namespace.clone().unwrap_or_default(),
            name: "*".to_owned(),
        };
        let refusal = Refusal::Forbidden(status.message.clone());
        ApiFailure::of("watch", &kinds, refusal).to_string()
    })
}

/// An object as kube's watcher wants it: with typed metadata beside the untouched value. Any shape
/// of `metadata` is taken, so that one malformed object never ends a watch.
#[derive(Clone, Debug)]
struct Watched {
    meta: ObjectMeta,
    value: Value,
}

impl Watched {
    /// List items come without `apiVersion` and `kind`; they are those of the watch.
    fn into_object(self, of: &WatchOf) -> Object {
        let mut object = Object(self.value);
        if object.kind().is_empty() {
            object.set(&["kind"], Value::String(of.kind.kind.to_string()));
            object.set(&["apiVersion"], Value::String(of.kind.api_version()));
        }
        object
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field: &str| {
            path::get(&value, &["metadata", field])
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let annotations = path::get(&value, &["metadata", "annotations"])
            .and_then(|a| serde_json::from_value(a.clone()).ok());
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            annotations,
            ..ObjectMeta::default()
        };
        Ok(Self { meta, value })
    }
}

impl kube::Resource for Watched {
    type DynamicType = kube::api::ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        dt.kind.as_str().into()
    }
    fn group(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        dt.group.as_str().into()
    }
    fn version(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        dt.version.as_str().into()
    }
    fn plural(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        dt.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
