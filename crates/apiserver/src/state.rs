//! Owns the objects: one counter of versions, a bucket for each kind, and indices by uid and owner.
//! Writers hold the lock, so each request is atomic.
//! It refuses rules: what may be written is decided before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use weir_object::{Key, path};

use crate::addresses::Addresses;
use crate::authorize::Bindings;
use crate::bucket::{Bucket, Change, What};
use crate::persist::Journal;
use crate::random::Random;
use crate::registry::{Registry, Storage};
use crate::stored::{Common, Place, ROOM, Recent, Stored};

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
    by_uid: HashMap<Uid, Arc<Stored>>,
    dependents: HashMap<Uid, BTreeSet<(Storage, Place)>>,
    common: Common,
    pub(crate) recent: Arc<Recent>,
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
    /// Admission policies, compiled.
    pub(crate) policies: crate::policy::Cache,
    pub(crate) addresses: Arc<dyn Addresses>,
    keep: usize,
    /// Where changes go that outlive the process.
    pub(crate) journal: Option<Journal>,
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
            // Nothing was ever forgotten of a bucket that starts empty.
            buckets: (0..storages).map(|_| Bucket::new(1, 0)).collect(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
            common: Common::default(),
            recent: Arc::new(Recent::new(ROOM)),
            random: Random::new(seed),
            policies: crate::policy::Cache::default(),
            addresses,
            keep: keep.max(1),
            journal: None,
        }
    }

    /// A new bucket for a kind that a definition brought.
    pub(crate) fn open(&mut self) -> Storage {
        self.buckets.push(Bucket::new(self.version, 0));
        self.buckets.len() - 1
    }

    /// Ends the watches of a kind that is not served any more.
    pub(crate) fn close(&mut self, storage: Storage) {
        let version = self.version;
        if let Some(bucket) = self.buckets.get_mut(storage) {
            bucket.close(version);
        }
    }

    pub(crate) fn bucket(&self, storage: Storage) -> Option<&Bucket> {
        self.buckets.get(storage)
    }

    /// An object as it is kept.
    pub(crate) fn stored(&self, storage: Storage, key: &Key) -> Option<&Arc<Stored>> {
        let place = Place::new(&key.namespace, &key.name);
        self.buckets.get(storage)?.objects.get(&place)
    }

    pub(crate) fn get(&self, storage: Storage, key: &Key) -> Option<Arc<Value>> {
        let stored = self.stored(storage, key)?;
        Some(stored.value(&self.recent))
    }

    pub(crate) fn contains(&self, storage: Storage, key: &Key) -> bool {
        self.stored(storage, key).is_some()
    }

    /// Objects of one namespace, or all, as they are kept.
    pub(crate) fn all<'a>(
        &'a self,
        storage: Storage,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> {
        self.buckets
            .get(storage)
            .into_iter()
            .flat_map(move |b| b.range(namespace, None))
    }

    /// Objects of one namespace, or all.
    pub(crate) fn range<'a>(
        &'a self,
        storage: Storage,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (Key, Arc<Value>)> + 'a {
        self.all(storage, namespace)
            .map(|stored| (stored.place.key(), stored.read()))
    }

    /// Where the object of a uid is.
    pub(crate) fn find(&self, text: &str) -> Option<(Storage, Key)> {
        let stored = self.by_uid.get(&uid(text))?;
        Some((stored.storage, stored.place.key()))
    }

    /// The objects that name a uid as an owner.
    pub(crate) fn dependents(&self, text: &str) -> Vec<(Storage, Key)> {
        let set = self.dependents.get(&uid(text)).into_iter().flatten();
        set.map(|(storage, place)| (*storage, place.key()))
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
        let place = match self.stored(storage, key) {
            Some(old) => old.place.clone(),
            None => Place {
                namespace: self.common.word(&key.namespace),
                name: key.name.as_str().into(),
            },
        };
        let stored = self.common.store(storage, place, version, &object);
        self.recent.note(object.clone(), stored.len());
        let stored = Arc::new(stored);
        self.keep(stored.clone(), &object);
        self.note_waiting(storage, key, &object);
        object
    }

    /// Takes in objects that were there before all versions; nobody watches yet.
    pub(crate) fn begin(&mut self, objects: &[Arc<Stored>]) {
        for stored in objects {
            let tree = stored.read();
            let own = path::text(&tree, &["metadata", "uid"]);
            if let Some(bucket) = self.buckets.get_mut(stored.storage) {
                self.by_uid.insert(uid(own), stored.clone());
                bucket.objects.insert(stored.place.clone(), stored.clone());
            }
        }
    }

    /// Takes in an object that was there before all versions.
    pub(crate) fn begin_one(&mut self, storage: Storage, key: &Key, object: Value) {
        let place = Place {
            namespace: self.common.word(&key.namespace),
            name: key.name.as_str().into(),
        };
        let stored = self.common.store(storage, place, 1, &Arc::new(object));
        self.begin(&[Arc::new(stored)]);
    }

    /// Puts an object in its bucket and the indices, and tells watchers.
    fn keep(&mut self, stored: Arc<Stored>, object: &Value) {
        let (storage, place) = (stored.storage, stored.place.clone());
        let Some(bucket) = self.buckets.get_mut(storage) else {
            return;
        };
        let before = bucket.objects.insert(place.clone(), stored.clone());
        self.note(storage, &place, Some(&stored));
        let own = path::text(object, &["metadata", "uid"]);
        self.by_uid.insert(uid(own), stored.clone());
        match &before {
            Some(old) => {
                let old = old.value(&self.recent);
                self.reindex(storage, &place, &old, object);
            }
            None => {
                self.ownerless.remove(own);
                for owner in owners(object) {
                    self.link(owner, storage, &place);
                }
            }
        }
        self.tell(What::Put, stored, before);
    }

    /// Removes an object under the next version and tells watchers.
    pub(crate) fn remove(&mut self, storage: Storage, key: &Key) -> Option<Arc<Value>> {
        let place = Place::new(&key.namespace, &key.name);
        let before = self.buckets.get_mut(storage)?.objects.remove(&place)?;
        self.version += 1;
        let mut last = (*before.read()).clone();
        path::set(
            &mut last,
            &["metadata", "resourceVersion"],
            self.version.to_string().into(),
        );
        let last = Arc::new(last);
        let own = path::text(&last, &["metadata", "uid"]);
        self.by_uid.remove(&uid(own));
        self.waiting.remove(own);
        for owner in owners(&last) {
            self.unlink(owner, storage, &place);
        }
        if self.dependents.contains_key(&uid(own)) {
            self.ownerless.insert(own.into());
            self.remind();
        }
        if Some(storage) == self.namespaces {
            self.ending.remove(&key.name);
        }
        if self.ending.contains(&key.namespace) {
            self.remind();
        }
        let place = before.place.clone();
        self.note(storage, &place, None);
        let stored = self.common.store(storage, place, self.version, &last);
        self.recent.note(last.clone(), stored.len());
        self.tell(What::Removed, Arc::new(stored), Some(before));
        Some(last)
    }

    fn note(&self, storage: Storage, place: &Place, object: Option<&Arc<Stored>>) {
        let Some(journal) = &self.journal else {
            return;
        };
        let Some(kind) = self.registry.kind_of(storage) else {
            return;
        };
        let at = (kind.into(), place.clone());
        journal.note(at, object.cloned(), self.version, self.random.position());
    }

    /// Puts an object back that was saved, at the version it has.
    pub(crate) fn restore(&mut self, storage: Storage, object: Value) {
        let object = Arc::new(object);
        let key = key_of(&object);
        let version = path::text(&object, &["metadata", "resourceVersion"]);
        let version = version.parse().unwrap_or_default();
        let place = Place {
            namespace: self.common.word(&key.namespace),
            name: key.name.as_str().into(),
        };
        let stored = Arc::new(self.common.store(storage, place.clone(), version, &object));
        if let Some(bucket) = self.buckets.get_mut(storage) {
            bucket.objects.insert(place.clone(), stored.clone());
        }
        let own = path::text(&object, &["metadata", "uid"]);
        self.by_uid.insert(uid(own), stored);
        self.ownerless.remove(own);
        for owner in owners(&object) {
            self.link(owner, storage, &place);
        }
        self.note_waiting(storage, &key, &object);
    }

    /// Goes on from a version, of which nothing earlier is known.
    pub(crate) fn resume(&mut self, version: u64, random: Random) {
        self.version = version;
        self.random = random;
        for bucket in &mut self.buckets {
            let objects = std::mem::take(&mut bucket.objects);
            *bucket = Bucket::new(version, version);
            bucket.objects = objects;
        }
    }

    fn reindex(&mut self, storage: Storage, place: &Place, old: &Value, new: &Value) {
        let same = path::get(old, &["metadata", "ownerReferences"])
            == path::get(new, &["metadata", "ownerReferences"]);
        if same {
            return;
        }
        for owner in owners(old) {
            self.unlink(owner, storage, place);
        }
        for owner in owners(new) {
            self.link(owner, storage, place);
        }
    }

    fn link(&mut self, owner: &str, storage: Storage, place: &Place) {
        self.dependents
            .entry(uid(owner))
            .or_default()
            .insert((storage, place.clone()));
        // An owner in another namespace is none.
        let there = self
            .find(owner)
            .is_some_and(|(_, key)| key.namespace.is_empty() || *key.namespace == *place.namespace);
        if !there && self.ownerless.insert(owner.into()) {
            self.remind();
        }
    }

    fn unlink(&mut self, owner: &str, storage: Storage, place: &Place) {
        let id = uid(owner);
        if let Some(set) = self.dependents.get_mut(&id) {
            set.remove(&(storage, place.clone()));
            if set.is_empty() {
                self.dependents.remove(&id);
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

    fn tell(&mut self, what: What, object: Arc<Stored>, before: Option<Arc<Stored>>) {
        let (version, keep) = (object.version, self.keep);
        if let Some(bucket) = self.buckets.get_mut(object.storage) {
            let change = Change {
                version,
                what,
                object,
                before,
                at: tokio::time::Instant::now(),
            };
            bucket.record(change, keep);
        }
    }
}

/// A uid as a number: its own bits, or those of a hash where a client made one up.
type Uid = u128;

fn uid(text: &str) -> Uid {
    let digits = || text.bytes().filter(|b| *b != b'-');
    let own = digits().count() == 32
        && text.len() == 36
        && digits().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if own {
        return digits().fold(0, |n, b| {
            (n << 4) | u128::from(char::from(b).to_digit(16).unwrap_or_default())
        });
    }
    // FNV-1a of 128 bits.
    text.bytes()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |h, b| {
            (h ^ u128::from(b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        })
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
            Some(
                at.iter()
                    .map(|v| v.read()["value"].clone())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(&state), Some(vec![json!(1)]));
        state.put(0, &key("z"), named("z", 1));
        assert_eq!(names(&state), None);
        assert_eq!(state.find("x"), None);
        assert_eq!(state.find("z"), Some((0, key("z"))));
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
