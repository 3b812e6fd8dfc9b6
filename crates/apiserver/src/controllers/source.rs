//! Owns what all controllers wait on: followed kinds that survive a lost history, and a queue of
//! keys that are due now or later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::Value;
use tokio::time::Instant;
use weir_object::{Key, Kind, path};

use crate::selector::Selector;
use crate::store::{Event, Store, Watch};

/// What a source tells.
#[derive(Debug)]
pub(crate) enum Seen {
    Put(Arc<Value>),
    Gone(Arc<Value>),
    /// Changes were lost; everything is to be looked at again.
    All,
}

/// One followed kind.
pub(crate) struct Source {
    store: Store,
    kind: Kind,
    watch: Option<Watch>,
}

impl Source {
    pub(crate) fn new(store: &Store, kind: Kind) -> Self {
        Self {
            store: store.clone(),
            watch: None,
            kind,
        }
    }

    /// The next change. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            let Some(watch) = &mut self.watch else {
                let everything = Selector::default();
                match self.store.watch(&self.kind, None, &everything, None) {
                    Ok(watch) => self.watch = Some(watch),
                    // Built-in kinds are always served.
                    Err(_) => std::future::pending::<()>().await,
                }
                return Seen::All;
            };
            match watch.next().await {
                Some(Ok(Event::Deleted(object))) => return Seen::Gone(object),
                Some(Ok(event)) => return Seen::Put(event.object().clone()),
                Some(Err(_)) | None => self.watch = None,
            }
        }
    }

    /// What can be told without waiting.
    pub(crate) fn ready(&mut self) -> Option<Seen> {
        self.next().now_or_never()
    }
}

/// Keys to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: BTreeSet<Key>,
    later: BTreeMap<Instant, BTreeSet<Key>>,
}

impl Queue {
    pub(crate) fn add(&mut self, key: Key) {
        self.due.insert(key);
    }

    pub(crate) fn add_all(&mut self, objects: &[Arc<Value>]) {
        self.due
            .extend(objects.iter().map(|o| crate::state::key_of(o)));
    }

    /// Looks at the key again after a while.
    pub(crate) fn after(&mut self, wait: Duration, key: Key) {
        self.later
            .entry(Instant::now() + wait)
            .or_default()
            .insert(key);
    }

    /// Waits for the next timer; for ever when there is none.
    pub(crate) async fn timer(&mut self) {
        match self.later.keys().next().copied() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
        let now = Instant::now();
        while let Some(entry) = self.later.first_entry() {
            if *entry.key() > now {
                break;
            }
            self.due.extend(entry.remove());
        }
    }

    pub(crate) fn take(&mut self) -> Option<Key> {
        self.due.pop_first()
    }
}

/// The owner that controls an object, if it is of this kind: its name and uid.
pub(crate) fn controller<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let owners = path::get(object, &["metadata", "ownerReferences"])?.as_array()?;
    let owner = owners
        .iter()
        .find(|o| o.get("controller") == Some(&Value::Bool(true)))?;
    (path::text(owner, &["kind"]) == kind)
        .then(|| (path::text(owner, &["name"]), path::text(owner, &["uid"])))
}

/// The key of the controlling owner of a kind.
pub(crate) fn controller_key(object: &Value, kind: &str) -> Option<Key> {
    let (name, _) = controller(object, kind)?;
    Some(Key::new(
        path::text(object, &["metadata", "namespace"]),
        name,
    ))
}

/// The number at a path, 0 where there is none.
pub(crate) fn number(object: &Value, at: &[&str]) -> i64 {
    path::get(object, at)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Whether deletion was asked for.
pub(crate) fn is_going(object: &Value) -> bool {
    path::get(object, &["metadata", "deletionTimestamp"]).is_some()
}
