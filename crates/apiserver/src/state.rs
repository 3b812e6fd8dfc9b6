//! Owns the objects: one counter of versions, a bucket for each kind with a bounded history, and
//! indices by uid and owner. Writers hold the lock, so each request is atomic.
//! It refuses rules: what may be written is decided before.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;
use weir_object::{Key, path};

use crate::addresses::Addresses;
use crate::authorize::Bindings;
use crate::random::Random;
use crate::registry::{Registry, Storage};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Put,
    Removed,
}

/// One entry of a bucket's history.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) what: What,
    /// The object after the change; its last form when it was removed.
    pub(crate) object: Arc<Value>,
    pub(crate) before: Option<Arc<Value>>,
    /// The watch event's text, made once for all watchers that see it unchanged.
    pub(crate) text: OnceLock<Bytes>,
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Arc<Change>>,
    /// History up to and including this version is gone.
    pub(crate) compacted: u64,
    /// Wakes watchers; holds the version of the last change.
    signal: watch::Sender<u64>,
    /// The kind is not served any more: watchers end.
    pub(crate) closed: bool,
}

impl Bucket {
    fn new(version: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            // Nothing was ever forgotten of a bucket that starts empty.
            compacted: 0,
            signal: watch::Sender::new(version),
            closed: false,
        }
    }

    /// Objects of one namespace, or all, in order of their keys.
    pub(crate) fn range<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let start = Key::new(namespace.unwrap_or_default(), "");
        self.objects
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| namespace.is_none_or(|ns| key.namespace == ns))
    }

    /// The changes after a version, or `None` when they are not kept any more.
    pub(crate) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Arc<Change>>> {
        if version < self.compacted {
            return None;
        }
        let start = self.history.partition_point(|c| c.version <= version);
        Some(self.history.range(start..))
    }

    /// What was there at an earlier version, or `None` when that is not known any more.
    pub(crate) fn at(
        &self,
        version: u64,
        namespace: Option<&str>,
    ) -> Option<BTreeMap<Key, Arc<Value>>> {
        let mut undone: HashMap<Key, Option<Arc<Value>>> = HashMap::new();
        for change in self.since(version)? {
            undone
                .entry(key_of(&change.object))
                .or_insert_with(|| change.before.clone());
        }
        let mut out: BTreeMap<Key, Arc<Value>> = self
            .range(namespace)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        for (key, before) in undone {
            if namespace.is_some_and(|ns| ns != key.namespace) {
                continue;
            }
            match before {
                Some(object) => out.insert(key, object),
                None => out.remove(&key),
            };
        }
        Some(out)
    }

    /// The version of the last change.
    pub(crate) fn last(&self) -> u64 {
        *self.signal.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.signal.subscribe()
    }

    fn record(&mut self, change: Change, keep: usize) {
        let version = change.version;
        self.history.push_back(Arc::new(change));
        while self.history.len() > keep {
            if let Some(old) = self.history.pop_front() {
                self.compacted = old.version;
            }
        }
        self.signal.send_replace(version);
    }
}

/// The key of an object.
pub(crate) fn key_of(object: &Value) -> Key {
    Key::new(
        path::text(object, &["metadata", "namespace"]),
        path::text(object, &["metadata", "name"]),
    )
}

/// All there is, behind one lock.
pub(crate) struct State {
    /// The last resourceVersion given out.
    pub(crate) version: u64,
    pub(crate) registry: Registry,
    /// Who is bound to which role.
    pub(crate) bindings: Bindings,
    buckets: Vec<Bucket>,
    by_uid: HashMap<Box<str>, (Storage, Key)>,
    dependents: HashMap<Box<str>, BTreeSet<(Storage, Key)>>,
    /// Uids that are named as owners and do not exist.
    ownerless: BTreeSet<Box<str>>,
    /// Uids of objects that wait for their dependents.
    waiting: BTreeSet<Box<str>>,
    /// Namespaces that go.
    ending: BTreeSet<String>,
    namespaces: Option<Storage>,
    /// Wakes whoever follows up on removals.
    pub(crate) chores: watch::Sender<u64>,
    pub(crate) random: Random,
    pub(crate) addresses: Arc<dyn Addresses>,
    keep: usize,
}

impl State {
    pub(crate) fn new(seed: u64, keep: usize, addresses: Arc<dyn Addresses>) -> Self {
        let (registry, storages) = Registry::builtin();
        Self {
            ownerless: BTreeSet::new(),
            waiting: BTreeSet::new(),
            ending: BTreeSet::new(),
            namespaces: registry.get("", "v1", "namespaces").map(|r| r.storage),
            chores: watch::Sender::new(0),
            version: 1,
            bindings: Bindings::new(&registry),
            registry,
            buckets: (0..storages).map(|_| Bucket::new(1)).collect(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
            random: Random::new(seed),
            addresses,
            keep: keep.max(1),
        }
    }

    /// A new bucket for a kind that a definition brought.
    pub(crate) fn open(&mut self) -> Storage {
        self.buckets.push(Bucket::new(self.version));
        self.buckets.len() - 1
    }

    /// Ends the watches of a kind that is not served any more.
    pub(crate) fn close(&mut self, storage: Storage) {
        let version = self.version;
        if let Some(bucket) = self.buckets.get_mut(storage) {
            bucket.closed = true;
            bucket.history = VecDeque::new();
            bucket.compacted = version;
            bucket.signal.send_replace(version);
        }
    }

    pub(crate) fn bucket(&self, storage: Storage) -> Option<&Bucket> {
        self.buckets.get(storage)
    }

    pub(crate) fn get(&self, storage: Storage, key: &Key) -> Option<&Arc<Value>> {
        self.buckets.get(storage)?.objects.get(key)
    }

    /// Objects of one namespace, or all.
    pub(crate) fn range<'a>(
        &'a self,
        storage: Storage,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.buckets
            .get(storage)
            .into_iter()
            .flat_map(move |b| b.range(namespace))
    }

    /// Where the object of a uid is.
    pub(crate) fn find(&self, uid: &str) -> Option<&(Storage, Key)> {
        self.by_uid.get(uid)
    }

    /// The objects that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(Storage, Key)> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Writes an object under the next version and tells watchers.
    pub(crate) fn put(&mut self, storage: Storage, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        let version = self.version;
        path::set(
            &mut object,
            &["metadata", "resourceVersion"],
            version.to_string().into(),
        );
        let object = Arc::new(object);
        let before = match self.buckets.get_mut(storage) {
            Some(bucket) => bucket.objects.insert(key.clone(), object.clone()),
            None => return object,
        };
        match &before {
            Some(old) => self.reindex(storage, key, old, &object),
            None => {
                let uid = path::text(&object, &["metadata", "uid"]);
                self.by_uid.insert(uid.into(), (storage, key.clone()));
                self.ownerless.remove(uid);
                for owner in owners(&object) {
                    self.link(owner, storage, key);
                }
            }
        }
        self.note_waiting(storage, key, &object);
        self.tell(storage, What::Put, object.clone(), before);
        object
    }

    /// Removes an object under the next version and tells watchers.
    pub(crate) fn remove(&mut self, storage: Storage, key: &Key) -> Option<Arc<Value>> {
        let before = self.buckets.get_mut(storage)?.objects.remove(key)?;
        self.version += 1;
        let mut last = (*before).clone();
        path::set(
            &mut last,
            &["metadata", "resourceVersion"],
            self.version.to_string().into(),
        );
        let last = Arc::new(last);
        let uid = path::text(&last, &["metadata", "uid"]);
        self.by_uid.remove(uid);
        self.waiting.remove(uid);
        for owner in owners(&last) {
            self.unlink(owner, storage, key);
        }
        if self.dependents.contains_key(uid) {
            self.ownerless.insert(uid.into());
            self.remind();
        }
        if Some(storage) == self.namespaces {
            self.ending.remove(&key.name);
        }
        if self.ending.contains(&key.namespace) {
            self.remind();
        }
        self.tell(storage, What::Removed, last.clone(), Some(before));
        Some(last)
    }

    fn reindex(&mut self, storage: Storage, key: &Key, old: &Value, new: &Value) {
        let same = path::get(old, &["metadata", "ownerReferences"])
            == path::get(new, &["metadata", "ownerReferences"]);
        if same {
            return;
        }
        for owner in owners(old) {
            self.unlink(owner, storage, key);
        }
        for owner in owners(new) {
            self.link(owner, storage, key);
        }
    }

    fn link(&mut self, owner: &str, storage: Storage, key: &Key) {
        self.dependents
            .entry(owner.into())
            .or_default()
            .insert((storage, key.clone()));
        if !self.by_uid.contains_key(owner) && self.ownerless.insert(owner.into()) {
            self.remind();
        }
    }

    fn unlink(&mut self, owner: &str, storage: Storage, key: &Key) {
        if let Some(set) = self.dependents.get_mut(owner) {
            set.remove(&(storage, key.clone()));
            if set.is_empty() {
                self.dependents.remove(owner);
                self.ownerless.remove(owner);
            }
        }
        if self.waiting.contains(owner) {
            self.remind();
        }
    }

    /// Remembers objects whose removal needs somebody to follow up.
    fn note_waiting(&mut self, storage: Storage, key: &Key, object: &Value) {
        if path::get(object, &["metadata", "deletionTimestamp"]).is_none() {
            return;
        }
        let finalizers = path::get(object, &["metadata", "finalizers"]).and_then(Value::as_array);
        let waits = finalizers
            .into_iter()
            .flatten()
            .any(|f| f == crate::remove::FOREGROUND || f == crate::remove::ORPHAN);
        let uid = path::text(object, &["metadata", "uid"]);
        if waits {
            if self.waiting.insert(uid.into()) {
                self.remind();
            }
        } else {
            self.waiting.remove(uid);
        }
        if Some(storage) == self.namespaces && self.ending.insert(key.name.clone()) {
            self.remind();
        }
    }

    fn remind(&self) {
        self.chores
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Uids that are named as owners and do not exist.
    pub(crate) fn ownerless(&self) -> Vec<String> {
        self.ownerless.iter().map(ToString::to_string).collect()
    }

    /// Uids of objects that wait for their dependents.
    pub(crate) fn waiting_owners(&self) -> Vec<String> {
        self.waiting.iter().map(ToString::to_string).collect()
    }

    /// Namespaces that go.
    pub(crate) fn ending_namespaces(&self) -> Vec<String> {
        self.ending.iter().cloned().collect()
    }

    fn tell(
        &mut self,
        storage: Storage,
        what: What,
        object: Arc<Value>,
        before: Option<Arc<Value>>,
    ) {
        let (version, keep) = (self.version, self.keep);
        if let Some(bucket) = self.buckets.get_mut(storage) {
            bucket.record(
                Change {
                    version,
                    what,
                    object,
                    before,
                    text: OnceLock::new(),
                },
                keep,
            );
        }
    }
}

/// The uids of an object's owners.
pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    path::get(object, &["metadata", "ownerReferences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|owner| owner.get("uid")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::SequentialAddresses;
    use serde_json::json;

    fn named(name: &str, value: i64) -> Value {
        json!({"metadata": {"namespace": "a", "name": name, "uid": name}, "value": value})
    }

    #[test]
    fn an_earlier_version_can_be_read_until_it_is_compacted() {
        let mut state = State::new(0, 3, Arc::new(SequentialAddresses::default()));
        let key = |name| Key::new("a", name);
        state.put(0, &key("x"), named("x", 1));
        let then = state.version;
        state.put(0, &key("x"), named("x", 2));
        state.put(0, &key("y"), named("y", 1));
        state.remove(0, &key("x"));
        let names = |state: &State| {
            let bucket = state.bucket(0)?;
            let at = bucket.at(then, Some("a"))?;
            Some(at.values().map(|v| v["value"].clone()).collect::<Vec<_>>())
        };
        assert_eq!(names(&state), Some(vec![json!(1)]));
        state.put(0, &key("z"), named("z", 1));
        assert_eq!(names(&state), None);
        assert_eq!(state.find("x"), None);
        assert_eq!(state.find("z"), Some(&(0, key("z"))));
    }

    #[test]
    fn dependents_follow_owner_references() {
        let mut state = State::new(0, 10, Arc::new(SequentialAddresses::default()));
        let mut object = named("x", 1);
        path::set(
            &mut object,
            &["metadata", "ownerReferences"],
            json!([{"uid": "o1"}]),
        );
        let key = Key::new("a", "x");
        state.put(0, &key, object.clone());
        assert_eq!(state.dependents("o1"), [(0, key.clone())]);
        path::set(
            &mut object,
            &["metadata", "ownerReferences"],
            json!([{"uid": "o2"}]),
        );
        state.put(0, &key, object);
        assert_eq!(
            (state.dependents("o1"), state.dependents("o2")),
            (vec![], vec![(0, key.clone())])
        );
        state.remove(0, &key);
        assert_eq!(state.dependents("o2"), []);
    }
}
