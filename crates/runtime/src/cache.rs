//! Owns the shared watch caches: one watch for each kind, namespace, selector and projection,
//! however many reconcilers look at it, and following it. `managedFields` are cut off at decode. It
//! refuses to hold Secrets: ask for those when needed.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use weir_object::{Kind, Object, ObjectRef, path};

use crate::metrics::Requests;
use crate::queue::Backoff;
use crate::store::project;
use crate::{ApiFailure, Refusal, Store, WatchOf};

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

    /// What is watched and not yet complete, a sentence for each kind. A kind that the API server does not serve is
    /// not waited for: whoever needs it works once it is there.
    pub fn incomplete(&self) -> Vec<String> {
        let stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let unserved = |store: &Store| store.unserved.load(Ordering::Relaxed);
        let waiting = stores.values().filter(|s| !s.is_synced() && !unserved(s));
        let mut kinds: Vec<String> = waiting
            .map(|store| match store.denied() {
                Some(why) => format!("the watch of {} is not complete: {why}", store.of.kind),
                None => format!("the watch of {} is not complete", store.of.kind),
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
