//! Owns the objects of one kind and the bounded history of their changes, which watches and reads
//! of earlier versions live on. It refuses to know other kinds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::stored::{Place, Stored};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Put,
    Removed,
}

/// One entry of a bucket's history. The objects are those of the bucket, not copies.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) what: What,
    /// The object after the change; its last form when it was removed.
    pub(crate) object: Arc<Stored>,
    pub(crate) before: Option<Arc<Stored>>,
    /// When it happened, for reads that are to be behind by a time.
    pub(crate) at: Instant,
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<Place, Arc<Stored>>,
    history: VecDeque<Change>,
    /// History up to and including this version is gone.
    pub(crate) compacted: u64,
    /// Wakes watchers; holds the version of the last change.
    signal: watch::Sender<u64>,
    /// The kind is not served any more: watchers end.
    pub(crate) closed: bool,
}

impl Bucket {
    /// An empty bucket. What is asked of it before `compacted` is not known.
    pub(crate) fn new(version: u64, compacted: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            compacted,
            signal: watch::Sender::new(version),
            closed: false,
        }
    }

    /// Objects of one namespace, or all, in the order of lists; those from a place on, if one is
    /// given.
    pub(crate) fn range(
        &self,
        namespace: Option<&str>,
        from: Option<&Place>,
    ) -> impl Iterator<Item = &Arc<Stored>> {
        let start = namespace.map(|ns| Place::new(ns, ""));
        let from = match (&start, from) {
            (Some(start), Some(from)) => Bound::Included(from.max(start)),
            (None, Some(from)) => Bound::Included(from),
            (Some(start), None) => Bound::Included(start),
            (None, None) => Bound::Unbounded,
        };
        let within = start.as_ref().map(|start| start.namespace.clone());
        self.objects
            .range::<Place, _>((from, Bound::Unbounded))
            .take_while(move |(place, _)| within.as_ref().is_none_or(|ns| place.namespace == *ns))
            .map(|(_, object)| object)
    }

    /// The changes after a version, or `None` when they are not kept any more.
    pub(crate) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        if version < self.compacted {
            return None;
        }
        let start = self.history.partition_point(|c| c.version <= version);
        Some(self.history.range(start..))
    }

    /// What was there at an earlier version, or `None` when that is not known any more.
    pub(crate) fn at(&self, version: u64, namespace: Option<&str>) -> Option<Vec<Arc<Stored>>> {
        let mut undone: HashMap<&Place, Option<&Arc<Stored>>> = HashMap::new();
        for change in self.since(version)? {
            if namespace.is_none_or(|ns| *change.object.place.namespace == *ns) {
                let place = &change.object.place;
                undone.entry(place).or_insert(change.before.as_ref());
            }
        }
        let mut out: BTreeMap<&Place, &Arc<Stored>> = self
            .range(namespace, None)
            .map(|object| (&object.place, object))
            .collect();
        for (place, before) in undone {
            match before {
                Some(object) => out.insert(place, object),
                None => out.remove(place),
            };
        }
        Some(out.into_values().cloned().collect())
    }

    /// The version before the last so many changes; `None` where there were fewer.
    pub(crate) fn behind(&self, changes: usize) -> Option<u64> {
        let at = self.history.len().checked_sub(changes.max(1))?;
        self.history.get(at).map(|c| c.version.saturating_sub(1))
    }

    /// The version at an earlier time; `None` where nothing happened since.
    pub(crate) fn as_of(&self, time: Instant) -> Option<u64> {
        let at = self.history.partition_point(|c| c.at <= time);
        self.history.get(at).map(|c| c.version.saturating_sub(1))
    }

    /// The version of the last change.
    pub(crate) fn last(&self) -> u64 {
        *self.signal.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.signal.subscribe()
    }

    pub(crate) fn record(&mut self, change: Change, keep: usize) {
        let version = change.version;
        self.history.push_back(change);
        while self.history.len() > keep {
            if let Some(old) = self.history.pop_front() {
                self.compacted = old.version;
            }
        }
        self.signal.send_replace(version);
    }

    /// Ends all watches and forgets the history.
    pub(crate) fn close(&mut self, version: u64) {
        self.closed = true;
        self.history = VecDeque::new();
        self.compacted = version;
        self.signal.send_replace(version);
    }
}
