//! Owns the objects of one watch: what replaces what, and who is told.
//!
//! A [`Store`] is fed by two streams: the watch, and the replies to this process's own writes. An
//! older resourceVersion never replaces a newer one, so a write's reply can't be undone by a watch
//! event that was on its way, and a reply that comes after the object's deletion is dropped.
//! It refuses to ask the server: whoever follows the watch feeds it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::watch as flag;
use weir_object::labels::{self, Need};
use weir_object::{Key, Kind, Object};

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
    pub(crate) of: WatchOf,
    /// The label selector, read; `None` when it can't be, and the server refuses it too.
    needs: Option<Vec<Need>>,
    state: RwLock<State>,
    listeners: RwLock<Vec<Listener>>,
    synced: flag::Sender<bool>,
    /// The first list is complete, or there is none because the kind is not served.
    pub(crate) settled: flag::Sender<bool>,
    changes: flag::Sender<u64>,
    /// The API server does not serve the kind, as far as is known.
    pub(crate) unserved: AtomicBool,
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
    pub(crate) fn new(of: WatchOf) -> Self {
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

    pub(crate) fn deny(&self, why: Option<String>) {
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

    pub(crate) fn put(&self, object: Object, from_watch: bool) {
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

    pub(crate) fn remove(&self, object: &Object) {
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
    pub(crate) fn replace(&self, list: Vec<Object>) {
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

/// As much of an object as is kept.
pub(crate) fn project(mut object: Object, projection: Projection) -> Object {
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

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
