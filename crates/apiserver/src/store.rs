//! Owns the same objects for parts of this process: the rules are those of the HTTP face, without
//! its text. It refuses to skip validation.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use weir_object::Kind;

use crate::call::{Call, DeleteOptions, Part, Propagation};
use crate::convert;
use crate::objects;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::remove::{self, Removed};
use crate::selector::Selector;
use crate::server::Inner;
use crate::state::State;
use crate::stored::{Recent, Stored};
use crate::watch::{End, Feed, Notice, Word};
use crate::write::PatchKind;

/// Direct access to a server's objects. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    manager: Arc<str>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}

/// One change that a [`Watch`] saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object appeared, or entered the selection.
    Added(Arc<Value>),
    /// The object changed.
    Modified(Arc<Value>),
    /// The object went, or left the selection.
    Deleted(Arc<Value>),
}

impl Event {
    /// The object, in its last form if it went.
    pub fn object(&self) -> &Arc<Value> {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object) => object,
        }
    }
}

/// A stream of changes. It ends with a refusal when it fell behind the kept history.
pub struct Watch {
    resource: Arc<Resource>,
    recent: Arc<Recent>,
    feed: Option<Feed>,
    ready: VecDeque<Notice>,
    end: Option<Refusal>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// The next change. `Err` comes once and last; `None` when the kind is not served any more.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, Refusal>> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                let object = notice.object(&self.resource, &self.recent);
                return Some(Ok(match notice.word {
                    Word::Deleted => Event::Deleted(object),
                    Word::Modified => Event::Modified(object),
                    _ => Event::Added(object),
                }));
            }
            if let Some(refusal) = self.end.take() {
                return Some(Err(refusal));
            }
            match self.feed.as_mut()?.next().await {
                Ok(batch) => self.ready.extend(batch),
                Err(End::Closed) => self.feed = None,
                Err(End::Expired(refusal)) => {
                    self.feed = None;
                    self.end = Some(refusal);
                }
            }
        }
    }
}

impl Store {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            manager: "weir".into(),
        }
    }

    /// The same store, writing under another field manager.
    #[must_use]
    pub fn as_manager(&self, manager: &str) -> Self {
        Self {
            inner: self.inner.clone(),
            manager: manager.into(),
        }
    }

    /// The newest version given out.
    pub fn version(&self) -> u64 {
        self.inner.read().version
    }

    fn resource(state: &State, kind: &Kind) -> Result<Arc<Resource>, Refusal> {
        state
            .registry
            .get(&kind.group, &kind.version, &kind.plural)
            .cloned()
            .ok_or(Refusal::NoResource)
    }

    fn write<T>(
        &self,
        kind: &Kind,
        act: impl FnOnce(&mut State, &Resource, &mut Call) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut call = Call::new(&self.manager, self.inner.now());
        let mut state = self.inner.write();
        let resource = Self::resource(&state, kind)?;
        act(&mut state, &resource, &mut call)
    }

    /// One object. The namespace is empty for cluster-scoped kinds, here and below.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let state = self.inner.read();
        let resource = Self::resource(&state, kind).ok()?;
        objects::get(&state, &resource, scope(&resource, namespace), name).ok()
    }

    /// All selected objects of a namespace, or of all, and the version of the answer.
    pub fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> (Vec<Arc<Value>>, u64) {
        let state = self.inner.read();
        let Ok(resource) = Self::resource(&state, kind) else {
            return (Vec::new(), state.version);
        };
        let kept: Vec<Arc<Stored>> = state
            .all(resource.storage, namespace)
            .filter(|stored| selector.selects(stored, || stored.read()))
            .cloned()
            .collect();
        let (version, recent) = (state.version, state.recent.clone());
        // Reading texts needs no lock.
        drop(state);
        let shown = |stored: &Arc<Stored>| convert::shown(&resource, stored, &recent);
        (kept.iter().map(shown).collect(), version)
    }

    /// The objects of a kind that name `uid` as an owner.
    pub(crate) fn owned(&self, uid: &str, kind: &Kind) -> Vec<Arc<Value>> {
        let state = self.inner.read();
        let Ok(resource) = Self::resource(&state, kind) else {
            return Vec::new();
        };
        let keys = state
            .dependents(uid)
            .into_iter()
            .filter(|(s, _)| *s == resource.storage);
        keys.filter_map(|(storage, key)| state.get(storage, &key))
            .collect()
    }

    /// Creates an object; its namespace is the one it names.
    pub fn create(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let namespace = namespace_of(&object);
        self.write(kind, |state, resource, call| {
            let namespace = scope(resource, &namespace);
            objects::create(state, resource, namespace, object, call)
        })
    }

    /// Replaces an object, the status apart where the kind has one. A resourceVersion in it is a
    /// precondition.
    pub fn update(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        self.replace(kind, object, Part::Whole)
    }

    /// Replaces an object's status.
    pub fn update_status(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        self.replace(kind, object, Part::Status)
    }

    fn replace(&self, kind: &Kind, object: Value, part: Part) -> Result<Arc<Value>, Refusal> {
        let namespace = namespace_of(&object);
        let name = weir_object::path::text(&object, &["metadata", "name"]).to_owned();
        self.write(kind, |state, resource, call| {
            let namespace = scope(resource, &namespace);
            objects::update(state, resource, namespace, &name, part, object, call)
        })
    }

    /// Applies a JSON merge patch.
    pub fn patch(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.merge(kind, namespace, name, Part::Whole, patch)
    }

    /// Applies a JSON merge patch to the status.
    pub fn patch_status(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.merge(kind, namespace, name, Part::Status, patch)
    }

    fn merge(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        part: Part,
        patch: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.write(kind, |state, resource, call| {
            let namespace = scope(resource, namespace);
            let kind = PatchKind::Merge;
            objects::patch(state, resource, namespace, name, part, kind, patch, call)
                .map(|(o, _)| o)
        })
    }

    /// Applies a configuration on the server's side, taking fields from others.
    pub fn apply(&self, kind: &Kind, config: Value) -> Result<Arc<Value>, Refusal> {
        let namespace = namespace_of(&config);
        let name = weir_object::path::text(&config, &["metadata", "name"]).to_owned();
        self.write(kind, |state, resource, call| {
            call.force = true;
            let (namespace, kind) = (scope(resource, &namespace), PatchKind::Apply);
            objects::patch(
                state,
                resource,
                namespace,
                &name,
                Part::Whole,
                kind,
                config,
                call,
            )
            .map(|(object, _)| object)
        })
    }

    /// Puts a pod on a node, as a scheduler does.
    pub fn bind(&self, namespace: &str, pod: &str, node: &str) -> Result<Arc<Value>, Refusal> {
        let kind = Kind::namespaced("", "v1", "Pod", "pods");
        self.write(&kind, |state, resource, call| {
            objects::bind(state, resource, Some(namespace), pod, node, call)
        })
    }

    /// Asks for an object's removal; its dependents go in the background.
    pub fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        self.remove(kind, namespace, name, &DeleteOptions::default())
    }

    /// Removes a pod without waiting for its grace, as a kubelet does at the end.
    pub fn delete_now(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        let options = DeleteOptions {
            grace: Some(0),
            ..DeleteOptions::default()
        };
        self.remove(kind, namespace, name, &options)
    }

    /// Asks for an object's removal after that of its dependents.
    pub fn delete_foreground(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        let propagation = Some(Propagation::Foreground);
        self.remove(
            kind,
            namespace,
            name,
            &DeleteOptions {
                propagation,
                ..DeleteOptions::default()
            },
        )
    }

    pub(crate) fn remove(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Refusal> {
        self.write(kind, |state, resource, call| {
            let namespace = scope(resource, namespace);
            let removed = remove::delete(state, resource, namespace, name, options, call)?;
            match removed {
                Removed::Gone(_) | Removed::Waiting(_) => Ok(()),
            }
        })
    }

    /// Follows selected objects. Without a version the watch first tells what is there.
    pub fn watch(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
        from: Option<u64>,
    ) -> Result<Watch, Refusal> {
        let state = self.inner.read();
        let resource = Self::resource(&state, kind)?;
        let mut ready = VecDeque::new();
        if from.is_none() {
            for stored in state.all(resource.storage, namespace) {
                if selector.selects(stored, || stored.read()) {
                    ready.push_back(Notice::kept(Word::Added, stored.clone()));
                }
            }
        }
        let feed = Feed::open(
            self.inner.clone(),
            &state,
            resource.clone(),
            namespace.map(str::to_owned),
            selector.clone(),
            from.unwrap_or(state.version),
        );
        match feed {
            Ok(feed) => Ok(Watch {
                resource,
                recent: state.recent.clone(),
                feed: Some(feed),
                ready,
                end: None,
            }),
            Err(End::Closed) => Err(Refusal::NoResource),
            Err(End::Expired(refusal)) => Err(refusal),
        }
    }
}

fn scope<'a>(resource: &Resource, namespace: &'a str) -> Option<&'a str> {
    resource.kind.namespaced.then_some(namespace)
}

fn namespace_of(object: &Value) -> String {
    weir_object::path::text(object, &["metadata", "namespace"]).to_owned()
}
