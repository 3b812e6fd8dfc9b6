//! Owns what all controllers share: the store, the clock, the Events they leave, and small indices
//! kept from watches, so that one change does not need a list of everything: pods by their labels,
//! selectors of what selects pods, and objects that nobody controls.
//!
//! An index may be behind the store. Whoever uses it reads the object again before acting.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, Kind, path};

use super::recorder::{Recorder, Told};
use super::source::{Seen, controller_ref};
use super::{On, PODS};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::server::Inner;
use crate::state::key_of;
use crate::store::Store;

/// What controllers see and act on.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<Inner>,
    recorder: Recorder,
    labels: Labels,
    selectors: BTreeMap<On, Selectors>,
    orphans: BTreeMap<On, BTreeSet<Key>>,
}

/// Kinds whose selectors choose pods.
const SELECTING: [On; 8] = [
    On::Service,
    On::ReplicaSet,
    On::ReplicationController,
    On::StatefulSet,
    On::DaemonSet,
    On::Job,
    On::DisruptionBudget,
    On::Deployment,
];
/// Kinds that a controller may adopt.
const ADOPTED: [On; 3] = [On::Pod, On::ReplicaSet, On::ControllerRevision];

impl World {
    pub(crate) fn new(store: Store, clock: Arc<Inner>) -> Self {
        Self {
            store,
            clock,
            recorder: Recorder::new(),
            labels: Labels::default(),
            selectors: BTreeMap::new(),
            orphans: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes a change into the indices. Answers with the labels that a pod had before.
    pub(crate) fn note(&mut self, on: On, seen: &Seen) -> Option<Value> {
        if ADOPTED.contains(&on) {
            let orphans = self.orphans.entry(on).or_default();
            match seen {
                Seen::Put(object) if controller_ref(object).is_none() => {
                    orphans.insert(key_of(object));
                }
                Seen::Put(object) | Seen::Gone(object) | Seen::Left(object) => {
                    orphans.remove(&key_of(object));
                }
                Seen::All => orphans.clear(),
            }
        }
        if SELECTING.contains(&on) {
            self.selectors.entry(on).or_default().note(on, seen);
        }
        if on == On::Pod {
            return self.labels.note(seen);
        }
        None
    }

    /// The pods of a namespace that a selector chooses, in order of their names.
    pub(crate) fn pods(&self, namespace: &str, selector: &Selector) -> Vec<Arc<Value>> {
        let mut names = self.labels.chosen(namespace, selector);
        names.sort_unstable();
        names
            .into_iter()
            .filter_map(|name| self.store.get(&PODS, namespace, name))
            .filter(|pod| selector.matches(pod))
            .collect()
    }

    /// What of a kind selects an object with these labels.
    pub(crate) fn selecting(&self, on: On, namespace: &str, labels: &Value) -> Vec<Key> {
        let face = json!({"metadata": {"labels": labels}});
        let all = self.selectors.get(&on).and_then(|s| s.0.get(namespace));
        all.into_iter()
            .flatten()
            .filter(|(_, selector)| selector.matches(&face))
            .map(|(name, _)| Key::new(namespace, name.as_str()))
            .collect()
    }

    /// The objects of a namespace that nobody controls and a selector chooses.
    pub(crate) fn orphans(
        &self,
        on: On,
        kind: &Kind,
        namespace: &str,
        selector: &Selector,
    ) -> Vec<Arc<Value>> {
        let start = Key::new(namespace, "");
        let keys = self.orphans.get(&on).into_iter().flat_map(|all| {
            all.range(start.clone()..)
                .take_while(|key| key.namespace == namespace)
        });
        keys.filter_map(|key| self.store.get(kind, namespace, &key.name))
            .filter(|object| controller_ref(object).is_none() && selector.matches(object))
            .collect()
    }

    /// Leaves a `Normal` Event.
    pub(crate) fn normal(&mut self, component: &str, about: &Value, reason: &str, message: &str) {
        self.event(component, "Normal", about, reason, message);
    }

    /// Leaves a `Warning` Event.
    pub(crate) fn warning(&mut self, component: &str, about: &Value, reason: &str, message: &str) {
        self.event(component, "Warning", about, reason, message);
    }

    fn event(
        &mut self,
        component: &str,
        kind: &'static str,
        about: &Value,
        reason: &str,
        message: &str,
    ) {
        let told = Told {
            component,
            kind,
            reason,
            message,
        };
        let now = self.now();
        self.recorder.tell(&self.store, now, about, told);
    }
}

/// Whether a refusal only says that the namespace is going, which needs no Event.
pub(crate) fn is_ending(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Forbidden { causes, .. }
        if causes.iter().any(|c| c.reason == "NamespaceTerminating"))
}

/// Pods by their labels: pods of one template share one entry.
#[derive(Default)]
struct Labels {
    by_namespace: BTreeMap<String, BTreeMap<String, Group>>,
    of: HashMap<Key, String>,
}

struct Group {
    /// Something with these labels, for selectors.
    face: Value,
    names: BTreeSet<String>,
}

impl Labels {
    fn note(&mut self, seen: &Seen) -> Option<Value> {
        let (pod, there) = match seen {
            Seen::Put(pod) => (pod, true),
            Seen::Gone(pod) | Seen::Left(pod) => (pod, false),
            Seen::All => {
                *self = Self::default();
                return None;
            }
        };
        let key = key_of(pod);
        let labels = path::get(pod, &["metadata", "labels"]);
        let text = labels.map(weir_object::canonical).unwrap_or_default();
        if there && self.of.get(&key) == Some(&text) {
            return None;
        }
        let mut before = self.remove(&key);
        if !there {
            // What is gone is told with the labels that it had.
            before = None;
        }
        if there {
            let groups = self.by_namespace.entry(key.namespace.clone()).or_default();
            let group = groups.entry(text.clone()).or_insert_with(|| Group {
                face: json!({"metadata": {"labels": labels}}),
                names: BTreeSet::new(),
            });
            group.names.insert(key.name.clone());
            self.of.insert(key, text);
        }
        before
    }

    fn remove(&mut self, key: &Key) -> Option<Value> {
        let text = self.of.remove(key)?;
        let groups = self.by_namespace.get_mut(&key.namespace)?;
        let group = groups.get_mut(&text)?;
        group.names.remove(&key.name);
        let labels = path::get(&group.face, &["metadata", "labels"]).cloned();
        if group.names.is_empty() {
            groups.remove(&text);
            if groups.is_empty() {
                self.by_namespace.remove(&key.namespace);
            }
        }
        labels
    }

    fn chosen(&self, namespace: &str, selector: &Selector) -> Vec<&str> {
        let groups = self.by_namespace.get(namespace).into_iter().flatten();
        groups
            .filter(|(_, group)| selector.matches(&group.face))
            .flat_map(|(_, group)| group.names.iter().map(String::as_str))
            .collect()
    }
}

/// The selectors of one kind, by namespace and name.
#[derive(Default)]
struct Selectors(BTreeMap<String, BTreeMap<String, Selector>>);

impl Selectors {
    fn note(&mut self, on: On, seen: &Seen) {
        match seen {
            Seen::Put(object) => {
                let key = key_of(object);
                match pod_selector(on, object) {
                    Some(selector) => {
                        let names = self.0.entry(key.namespace).or_default();
                        names.insert(key.name, selector);
                    }
                    None => self.remove(&key),
                }
            }
            Seen::Gone(object) | Seen::Left(object) => self.remove(&key_of(object)),
            Seen::All => self.0.clear(),
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(names) = self.0.get_mut(&key.namespace) {
            names.remove(&key.name);
            if names.is_empty() {
                self.0.remove(&key.namespace);
            }
        }
    }
}

/// How an object chooses pods; `None` when it chooses none.
pub(crate) fn pod_selector(on: On, object: &Value) -> Option<Selector> {
    let selector = path::get(object, &["spec", "selector"]);
    if !matches!(on, On::Service | On::ReplicationController) {
        return Selector::from_object(selector);
    }
    if on == On::Service && path::text(object, &["spec", "type"]) == "ExternalName" {
        return None;
    }
    let pairs = selector?.as_object()?;
    if pairs.is_empty() {
        return None;
    }
    let pairs: Option<Vec<(&str, &str)>> = pairs
        .iter()
        .map(|(k, v)| Some((k.as_str(), v.as_str()?)))
        .collect();
    Some(Selector::labels(pairs?))
}
