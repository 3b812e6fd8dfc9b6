//! Owns following changes: what a selection sees of a bucket's history, in order and without
//! gaps. A follower that falls behind the history is told so (410) and holds nobody up.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use weir_object::path;

use crate::convert;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::selector::Selector;
use crate::server::Inner;
use crate::state::{Change, State, What};

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
    pub(crate) object: Arc<Value>,
    /// The change whose common text this notice is, if it is.
    shared: Option<Arc<Change>>,
}

impl Notice {
    pub(crate) fn new(word: Word, object: Arc<Value>) -> Self {
        Self {
            word,
            object,
            shared: None,
        }
    }

    /// The event as one line of JSON; common ones are written once for all followers.
    pub(crate) fn line(&self) -> Bytes {
        let write = || {
            let mut out = Vec::with_capacity(1024);
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(self.word.text().as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            // Writing a value to memory cannot fail.
            let _ = serde_json::to_writer(&mut out, &*self.object);
            out.extend_from_slice(b"}\n");
            Bytes::from(out)
        };
        match &self.shared {
            Some(change) => change.text.get_or_init(write).clone(),
            None => write(),
        }
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

    fn seen(&self, change: &Arc<Change>) -> Option<Notice> {
        if let Some(namespace) = &self.namespace
            && path::text(&change.object, &["metadata", "namespace"]) != namespace
        {
            return None;
        }
        let everything = self.selector.is_everything();
        let matched = |object: Option<&Arc<Value>>| {
            object.is_some_and(|object| everything || self.selector.matches(object))
        };
        let (was, is) = match change.what {
            What::Put => (
                matched(change.before.as_ref()),
                matched(Some(&change.object)),
            ),
            What::Removed => (matched(change.before.as_ref()), false),
        };
        let word = match (was, is) {
            (false, false) => return None,
            (false, true) => Word::Added,
            (true, true) => Word::Modified,
            (true, false) => Word::Deleted,
        };
        // What left the selection is shown as it was while in it, at the version of leaving.
        let left = change.what == What::Put && word == Word::Deleted;
        let object = match (&change.before, left) {
            (Some(before), true) => {
                let mut last = (**before).clone();
                let version = change.version.to_string();
                path::set(&mut last, &["metadata", "resourceVersion"], version.into());
                Arc::new(last)
            }
            _ => change.object.clone(),
        };
        let entered = word == Word::Added && change.before.is_some();
        let common = !left && !entered && !self.resource.converts(&object);
        Some(Notice {
            word,
            object: convert::outward(&self.resource, &object),
            shared: common.then(|| change.clone()),
        })
    }
}

/// A bookmark at a version.
pub(crate) fn bookmark(resource: &Resource, version: u64, initial_end: bool) -> Notice {
    let mut object = json!({
        "kind": resource.kind.kind, "apiVersion": resource.api_version,
        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
    });
    if initial_end {
        path::set(
            &mut object,
            &["metadata", "annotations"],
            json!({"k8s.io/initial-events-end": "true"}),
        );
    }
    Notice::new(Word::Bookmark, Arc::new(object))
}
