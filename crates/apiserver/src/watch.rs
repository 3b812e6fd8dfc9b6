//! Owns following changes: what a selection sees of a bucket's history, in order and without
//! gaps. A follower that falls behind the history is told so (410) and holds nobody up.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use weir_object::path;

use crate::bucket::{Change, What};
use crate::convert;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::selector::Selector;
use crate::server::Inner;
use crate::state::State;
use crate::stored::{Recent, Stored};
use crate::typed::{self, Kept};

/// The word of a watch event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl Word {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

/// One event for one follower.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) word: Word,
    what: Shown,
}

/// What an event shows.
#[derive(Clone, Debug)]
enum Shown {
    /// A kept object, whose text all followers share.
    Kept(Arc<Stored>),
    /// Something made for this event.
    Made(Arc<Value>),
}

impl Notice {
    /// An event with an object of its own.
    pub(crate) fn new(word: Word, object: Arc<Value>) -> Self {
        let what = Shown::Made(object);
        Self { word, what }
    }

    /// An event that shows a kept object.
    pub(crate) fn kept(word: Word, stored: Arc<Stored>) -> Self {
        let what = Shown::Kept(stored);
        Self { word, what }
    }

    /// The object, as the resource shows it.
    pub(crate) fn object(&self, resource: &Resource, recent: &Recent) -> Arc<Value> {
        match &self.what {
            Shown::Kept(stored) => convert::shown(resource, stored, recent),
            Shown::Made(object) => object.clone(),
        }
    }

    /// Writes the event as one line of JSON.
    pub(crate) fn write(&self, resource: &Resource, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(self.word.text().as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match &self.what {
            Shown::Kept(stored) => convert::write(resource, stored, true, out),
            // Writing a value to memory cannot fail.
            Shown::Made(object) => {
                let _ = serde_json::to_writer(&mut *out, &**object);
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Why a follower gets no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It fell behind what is kept.
    Expired(Refusal),
    /// The kind is not served any more.
    Closed,
}

/// Where a follower stands.
pub(crate) struct Feed {
    inner: Arc<Inner>,
    pub(crate) resource: Arc<Resource>,
    namespace: Option<String>,
    selector: Selector,
    position: u64,
    signal: watch::Receiver<u64>,
    recent: Arc<Recent>,
}

/// Changes looked at in one go.
const BATCH: usize = 512;

impl Feed {
    /// Follows from a version. The lock is held by the caller, so that a list and the feed after
    /// it see the same instant.
    pub(crate) fn open(
        inner: Arc<Inner>,
        state: &State,
        resource: Arc<Resource>,
        namespace: Option<String>,
        selector: Selector,
        from: u64,
    ) -> Result<Self, End> {
        let bucket = state.bucket(resource.storage).ok_or(End::Closed)?;
        let signal = bucket.subscribe();
        let feed = Self {
            inner,
            resource,
            namespace,
            selector,
            position: from,
            signal,
            recent: state.recent.clone(),
        };
        if bucket.since(from).is_none() {
            return Err(feed.expired(bucket.compacted));
        }
        Ok(feed)
    }

    fn expired(&self, compacted: u64) -> End {
        End::Expired(Refusal::Expired {
            message: format!("too old resource version: {} ({compacted})", self.position),
            next: None,
        })
    }

    /// What is new, or an empty batch.
    pub(crate) fn poll(&mut self) -> Result<Vec<Notice>, End> {
        self.signal.borrow_and_update();
        let inner = self.inner.clone();
        let state = inner.read();
        let bucket = state.bucket(self.resource.storage).ok_or(End::Closed)?;
        if bucket.closed {
            return Err(End::Closed);
        }
        let Some(changes) = bucket.since(self.position) else {
            return Err(self.expired(bucket.compacted));
        };
        let mut out = Vec::new();
        let (mut position, mut looked) = (self.position, 0);
        for change in changes {
            if looked == BATCH {
                // Come back for the rest at once.
                self.signal.mark_changed();
                self.position = position;
                return Ok(out);
            }
            looked += 1;
            position = change.version;
            out.extend(self.seen(change));
        }
        // All of this kind was seen, so the feed stands at the newest version of all.
        self.position = state.version.max(position);
        Ok(out)
    }

    /// Waits for something new.
    pub(crate) async fn next(&mut self) -> Result<Vec<Notice>, End> {
        loop {
            let batch = self.poll()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.signal.changed().await.map_err(|_| End::Closed)?;
        }
    }

    /// The version up to which everything was told.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn seen(&self, change: &Change) -> Option<Notice> {
        if let Some(namespace) = &self.namespace
            && *change.object.place.namespace != **namespace
        {
            return None;
        }
        let recent = &self.recent;
        let matched = |object: &Arc<Stored>| self.selector.selects(object, || object.value(recent));
        let was = change.before.as_ref().is_some_and(matched);
        let is = change.what == What::Put && matched(&change.object);
        let word = match (was, is) {
            (false, false) => return None,
            (false, true) => Word::Added,
            (true, true) => Word::Modified,
            (true, false) => Word::Deleted,
        };
        // What left the selection is shown as it was while in it, at the version of leaving.
        match &change.before {
            Some(before) if change.what == What::Put && word == Word::Deleted => {
                let mut last = (*before.read()).clone();
                let version = change.version.to_string();
                path::set(&mut last, &["metadata", "resourceVersion"], version.into());
                let last = convert::outward(&self.resource, &Arc::new(last));
                Some(Notice::new(word, last))
            }
            _ => Some(Notice::kept(word, change.object.clone())),
        }
    }
}

/// A bookmark at a version: an object of the kind in which nothing else is said.
pub(crate) fn bookmark(resource: &Resource, version: u64, initial_end: bool) -> Notice {
    let mut object = json!({
        "kind": resource.kind.kind, "apiVersion": resource.api_version,
        "metadata": {"resourceVersion": version.to_string()},
    });
    if initial_end {
        path::set(
            &mut object,
            &["metadata", "annotations"],
            json!({"k8s.io/initial-events-end": "true"}),
        );
    }
    if let Some(go) = resource.go {
        // These have a number of replicas where the API's own types let it be absent.
        let counted = ["Deployment", "ReplicaSet", "StatefulSet"];
        if counted.iter().any(|kind| resource.is("apps", kind)) {
            path::set(&mut object, &["spec", "replicas"], 0.into());
        }
        typed::settle(&mut object, go, Kept::Protobuf);
    }
    Notice::new(Word::Bookmark, Arc::new(object))
}
