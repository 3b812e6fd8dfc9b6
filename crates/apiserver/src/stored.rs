//! Owns the form in which an object is kept: compact JSON text, with what like objects repeat kept
//! once, and a bounded memory of the trees that were read last.
//! It refuses to say where objects are (`state`) and what they mean.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Map, Value};
use weir_object::{Key, path};

use crate::registry::Storage;

/// Where an object is within its kind, in the order in which lists show it: that of the texts
/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Place {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(&*self.namespace, &*self.name)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&*self.namespace, &*other.namespace);
        let spaces = if a == b {
            Ordering::Equal
        } else {
            a.bytes().chain([b'/']).cmp(b.bytes().chain([b'/']))
        };
        spaces.then_with(|| self.name.as_bytes().cmp(other.name.as_bytes()))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The type header of objects.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) api_version: Box<str>,
    /// `{"kind":…,"apiVersion":…`, open for the rest.
    text: Box<[u8]>,
}

/// Text, with parts that other objects have too.
#[derive(Debug, Default)]
struct Text {
    own: Box<[u8]>,
    /// Parts and where in `own` they go, in order.
    shared: Box<[(u32, Arc<[u8]>)]>,
}

impl Text {
    fn len(&self) -> usize {
        self.own.len()
            + self
                .shared
                .iter()
                .map(|(_, part)| part.len())
                .sum::<usize>()
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        let mut parts = self.shared.iter();
        let mut pending: Option<&[u8]> = None;
        let mut over = false;
        std::iter::from_fn(move || {
            if let Some(part) = pending.take() {
                return Some(part);
            }
            if over {
                return None;
            }
            if let Some((at, part)) = parts.next() {
                let own = self.own.get(from..*at as usize).unwrap_or_default();
                from = *at as usize;
                pending = Some(part);
                Some(own)
            } else {
                over = true;
                Some(self.own.get(from..).unwrap_or_default())
            }
        })
    }
}

/// An object as it is kept.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) storage: Storage,
    pub(crate) place: Place,
    pub(crate) version: u64,
    pub(crate) head: Arc<Head>,
    /// Keys and values in turn, each followed by a NUL.
    labels: Option<Arc<str>>,
    /// All but the type header, from the comma after it on.
    text: Text,
    /// The tree, while somebody holds it.
    tree: Mutex<Weak<Value>>,
    /// The tree of an object that nests deeper than the reader of texts allows.
    pinned: Option<Arc<Value>>,
}

/// Deeper objects are kept as trees.
const READABLE_DEPTH: usize = 100;

impl Stored {
    /// The same, with its tree held for good.
    pub(crate) fn pin(mut self, tree: Arc<Value>) -> Self {
        self.pinned = Some(tree);
        self
    }

    /// The length of its text.
    pub(crate) fn len(&self) -> usize {
        self.head.text.len() + self.text.len()
    }

    /// Writes the object.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head.text);
        self.text.pieces().for_each(|p| out.extend_from_slice(p));
    }

    /// Writes the object without its type header.
    pub(crate) fn write_untyped(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for piece in self.text.pieces() {
            let piece = match piece {
                [b',', rest @ ..] if first => rest,
                all => all,
            };
            first = false;
            out.extend_from_slice(piece);
        }
    }

    /// The whole text.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.write(&mut out);
        out
    }

    /// The tree, if somebody holds it.
    fn held(&self) -> Option<Arc<Value>> {
        if let Some(pinned) = &self.pinned {
            return Some(pinned.clone());
        }
        let tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        tree.upgrade()
    }

    /// The tree, for one use.
    pub(crate) fn read(&self) -> Arc<Value> {
        if let Some(tree) = self.held() {
            return tree;
        }
        // What was written by this room can be read.
        let tree: Arc<Value> = Arc::new(serde_json::from_slice(&self.to_vec()).unwrap_or_default());
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&tree);
        tree
    }

    /// The tree, which is likely to be read again soon.
    pub(crate) fn value(&self, recent: &Recent) -> Arc<Value> {
        if let Some(tree) = self.held() {
            return tree;
        }
        let tree = self.read();
        recent.note(tree.clone(), self.len());
        tree
    }

    /// Labels by key.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let mut words = self.labels.as_deref()?.split('\0');
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == key {
                return Some(value);
            }
        }
        None
    }
}

/// The trees that were read or written last.
#[derive(Debug)]
pub(crate) struct Recent {
    ring: Mutex<Ring>,
    room: usize,
}

#[derive(Debug, Default)]
struct Ring {
    trees: VecDeque<(usize, Arc<Value>)>,
    held: usize,
}

/// Trees kept, and the text that they stand for: a tree takes about eight times its text.
const TREES: usize = 2048;
pub(crate) const ROOM: usize = 1024 * 1024;

impl Recent {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            ring: Mutex::default(),
            room,
        }
    }

    pub(crate) fn note(&self, tree: Arc<Value>, size: usize) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.trees.push_back((size, tree));
        ring.held += size;
        // Dropped after the lock is.
        let mut gone = Vec::new();
        while ring.trees.len() > TREES || (ring.held > self.room && ring.trees.len() > 1) {
            let Some((size, tree)) = ring.trees.pop_front() else {
                break;
            };
            ring.held -= size;
            gone.push(tree);
        }
        drop(ring);
    }
}

/// Texts that many objects have in common, kept once while any of them lives.
#[derive(Debug)]
pub(crate) struct Common {
    hasher: RandomState,
    words: HashMap<u64, Weak<str>>,
    parts: HashMap<u64, Weak<[u8]>>,
    heads: HashMap<(Box<str>, Box<str>), Arc<Head>>,
    /// Hashes of texts met once, by their low bits.
    met: Box<[u64]>,
    /// The number of entries at which the dead are swept out.
    sweep_at: usize,
}

/// Texts met once that are remembered.
const MET: usize = 4096;
/// Shorter parts are not worth it.
const WORTH: usize = 64;

impl Default for Common {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            words: HashMap::new(),
            parts: HashMap::new(),
            heads: HashMap::new(),
            met: vec![0; MET].into(),
            sweep_at: 1024,
        }
    }
}

impl Common {
    /// A short text, kept once.
    pub(crate) fn word(&mut self, text: &str) -> Arc<str> {
        let hash = self.hasher.hash_one(text);
        let known = self.words.get(&hash).and_then(Weak::upgrade);
        if let Some(known) = known {
            // Two texts of one hash are not shared.
            return if &*known == text { known } else { text.into() };
        }
        let new: Arc<str> = text.into();
        self.words.insert(hash, Arc::downgrade(&new));
        self.sweep();
        new
    }

    /// A part of a text, from its second time on.
    fn part(&mut self, text: &[u8]) -> Option<Arc<[u8]>> {
        if text.len() < WORTH {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.parts.get(&hash).and_then(Weak::upgrade) {
            return (&*known == text).then_some(known);
        }
        let slot = self.met.get_mut(hash as usize % MET)?;
        if *slot != hash {
            *slot = hash;
            return None;
        }
        let new: Arc<[u8]> = text.into();
        self.parts.insert(hash, Arc::downgrade(&new));
        self.sweep();
        Some(new)
    }

    fn head(&mut self, api_version: &str, kind: &str) -> Arc<Head> {
        let at = (api_version.into(), kind.into());
        let head = self
            .heads
            .entry(at)
            .or_insert_with_key(|(api_version, kind)| {
                let quoted = |text: &str| Value::from(text).to_string();
                let text = format!(
                    "{{\"kind\":{},\"apiVersion\":{}",
                    quoted(kind),
                    quoted(api_version)
                );
                Arc::new(Head {
                    api_version: api_version.clone(),
                    text: text.into_bytes().into(),
                })
            });
        head.clone()
    }

    fn sweep(&mut self) {
        if self.words.len() + self.parts.len() < self.sweep_at {
            return;
        }
        self.words.retain(|_, word| word.strong_count() > 0);
        self.parts.retain(|_, part| part.strong_count() > 0);
        self.heads.retain(|_, head| Arc::strong_count(head) > 1);
        self.sweep_at = 2 * (self.words.len() + self.parts.len()) + 1024;
    }

    /// An object as it is kept; the tree is held by the caller.
    pub(crate) fn store(
        &mut self,
        storage: Storage,
        place: Place,
        version: u64,
        tree: &Arc<Value>,
    ) -> Stored {
        let text = |field| tree.get(field).and_then(Value::as_str).unwrap_or_default();
        let labels = path::get(tree, &["metadata", "labels"])
            .and_then(Value::as_object)
            .filter(|labels| !labels.is_empty())
            .map(|labels| self.word(&label_text(labels)));
        Stored {
            storage,
            place,
            version,
            head: self.head(text("apiVersion"), text("kind")),
            labels,
            text: self.text(tree),
            tree: Mutex::new(Arc::downgrade(tree)),
            pinned: (depth(tree) > READABLE_DEPTH).then(|| tree.clone()),
        }
    }

    fn text(&mut self, tree: &Value) -> Text {
        let mut out = Writer {
            own: Vec::with_capacity(1024),
            shared: Vec::new(),
            common: self,
        };
        for (name, value) in tree.as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                ("kind" | "apiVersion", _) => {}
                ("metadata", Value::Object(meta)) => {
                    out.name(true, name);
                    out.metadata(meta);
                }
                (_, Value::Object(fields)) => {
                    out.name(true, name);
                    out.map(fields, Writer::whole);
                }
                _ => {
                    out.name(true, name);
                    out.plain(value);
                }
            }
        }
        out.own.push(b'}');
        Text {
            own: out.own.into(),
            shared: out.shared.into(),
        }
    }
}

fn label_text(labels: &Map<String, Value>) -> String {
    let mut out = String::with_capacity(64);
    for (key, value) in labels {
        // Neither has a NUL: both are checked before they get here.
        if let Some(value) = value.as_str().filter(|v| !v.contains('\0')) {
            out.extend([key.as_str(), "\0", value, "\0"]);
        }
    }
    out
}

fn depth(value: &Value) -> usize {
    // The depth of what is read is limited by its reader.
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Writes a text and finds what it shares.
struct Writer<'a> {
    own: Vec<u8>,
    shared: Vec<(u32, Arc<[u8]>)>,
    common: &'a mut Common,
}

impl Writer<'_> {
    fn name(&mut self, comma: bool, name: &str) {
        if comma {
            self.own.push(b',');
        }
        // Writing to memory cannot fail, here and below.
        let _ = serde_json::to_writer(&mut self.own, name);
        self.own.push(b':');
    }

    fn plain(&mut self, value: &Value) {
        let _ = serde_json::to_writer(&mut self.own, value);
    }

    /// A value that others may have as a whole.
    fn whole(&mut self, _: &str, value: &Value) {
        let from = self.own.len();
        self.plain(value);
        let Some(part) = self.common.part(self.own.get(from..).unwrap_or_default()) else {
            return;
        };
        if let Ok(at) = u32::try_from(from) {
            self.own.truncate(from);
            self.shared.push((at, part));
        }
    }

    fn map(&mut self, fields: &Map<String, Value>, mut each: impl FnMut(&mut Self, &str, &Value)) {
        self.own.push(b'{');
        for (i, (name, value)) in fields.iter().enumerate() {
            self.name(i > 0, name);
            each(self, name, value);
        }
        self.own.push(b'}');
    }

    fn metadata(&mut self, meta: &Map<String, Value>) {
        self.map(meta, |out, name, value| match (name, value) {
            ("managedFields", Value::Array(entries)) => {
                out.own.push(b'[');
                for (i, entry) in entries.iter().enumerate() {
                    if i > 0 {
                        out.own.push(b',');
                    }
                    match entry {
                        Value::Object(fields) => out.map(fields, |out, name, value| {
                            if name == "fieldsV1" {
                                out.whole(name, value);
                            } else {
                                out.plain(value);
                            }
                        }),
                        other => out.plain(other),
                    }
                }
                out.own.push(b']');
            }
            ("labels" | "annotations" | "ownerReferences", _) => out.whole(name, value),
            _ => out.plain(value),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept(common: &mut Common, object: Value) -> Stored {
        common.store(0, Place::new("a", "x"), 1, &Arc::new(object))
    }

    fn pod(name: &str) -> Value {
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"app": "web", "tier": "front"},
                "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:containers":
                    {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:imagePullPolicy": {}}}}}}]},
            "spec": {"containers": [{"name": "c", "image": "registry.example/a/long/name:v1.2.3",
                "terminationMessagePath": "/dev/termination-log"}], "hostname": name},
        })
    }

    #[test]
    fn what_is_kept_reads_as_what_was_given() {
        let mut common = Common::default();
        for object in [
            pod("a"),
            pod("b"),
            pod("c"),
            json!({"kind": "K", "apiVersion": "g/v1"}),
            json!({"kind": "K\"", "apiVersion": "g/v1", "x": [1, null, {"é\n": -1.5}], "spec": 3}),
            json!({"metadata": {}, "kind": "K", "data": {}, "apiVersion": "v1"}),
        ] {
            let stored = kept(&mut common, object.clone());
            assert_eq!(*stored.read(), object);
            assert_eq!(stored.to_vec().len(), stored.len());
            let mut untyped = Vec::new();
            stored.write_untyped(&mut untyped);
            let mut bare = object;
            bare.as_object_mut()
                .map(|o| (o.remove("kind"), o.remove("apiVersion")));
            assert_eq!(serde_json::from_slice::<Value>(&untyped).ok(), Some(bare));
        }
    }

    #[test]
    fn like_objects_share_what_is_equal_from_the_second_on() {
        let mut common = Common::default();
        let first = kept(&mut common, pod("a"));
        let second = kept(&mut common, pod("b"));
        let third = kept(&mut common, pod("c"));
        assert_eq!(first.text.shared.len(), 0);
        assert_eq!((second.text.shared.len(), third.text.shared.len()), (2, 2));
        assert!(third.text.own.len() * 2 < first.text.own.len());
        assert!(
            third
                .text
                .shared
                .iter()
                .zip(&second.text.shared)
                .all(|((_, a), (_, b))| Arc::ptr_eq(a, b))
        );
        assert_eq!(
            (third.label("app"), third.label("web")),
            (Some("web"), None)
        );
    }

    #[test]
    fn trees_are_forgotten_when_there_is_no_room() {
        let mut common = Common::default();
        let recent = Recent::new(4096);
        let kept: Vec<Stored> = (0..40)
            .map(|i| kept(&mut common, pod(&format!("p{i}"))))
            .collect();
        for stored in &kept {
            stored.value(&recent);
        }
        let held = kept.iter().filter(|s| s.held().is_some()).count();
        assert!((1..40).contains(&held), "{held}");
        assert!(kept.last().is_some_and(|s| s.held().is_some()));
    }

    #[test]
    fn deep_objects_are_kept_too() {
        let mut deep = json!(1);
        for _ in 0..300 {
            deep = json!([deep]);
        }
        let object = json!({"kind": "K", "apiVersion": "v1", "spec": {"deep": deep}});
        let stored = kept(&mut Common::default(), object.clone());
        assert_eq!(*stored.read(), object);
    }

    #[test]
    fn places_are_in_the_order_of_their_whole_texts() {
        let mut places =
            [("a", "z"), ("a-b", "y"), ("a", "b"), ("b", "")].map(|(s, n)| Place::new(s, n));
        places.sort();
        assert_eq!(
            places.map(|p| p.key().to_string()).join(" "),
            "a-b/y a/b a/z b/"
        );
    }
}
