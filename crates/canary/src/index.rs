//! Owns which Canaries a change elsewhere concerns, without looking at all of them: by the names of the
//! workloads, Services and autoscalers around each, as they are derived from its spec.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_object::{Key, Object};
use weir_runtime::{Change, Store};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Around {
    /// The target or its primary.
    Workload,
    /// A Service, or the route of that name.
    Service,
    /// An autoscaler.
    Scaler,
}

/// Seldom more than one each.
type Names = BTreeMap<(Around, Key), Vec<Key>>;

/// The Canaries by what is around them. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Index(Arc<Mutex<Names>>);

impl Index {
    /// One that follows the Canaries of a store.
    pub(crate) fn of(canaries: &Store) -> Self {
        let index = Self::default();
        let follower = index.clone();
        canaries.on_change(move |change| follower.follow(change));
        for canary in canaries.list() {
            index.add(&canary);
        }
        index
    }

    fn follow(&self, change: &Change) {
        if let Some(before) = &change.before {
            self.remove(before);
        }
        if let Some(after) = &change.after {
            self.add(after);
        }
    }

    fn add(&self, canary: &Object) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names(canary) {
            let held = all.entry(name).or_default();
            if !held.contains(&canary.key()) {
                held.push(canary.key());
            }
        }
    }

    fn remove(&self, canary: &Object) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names(canary) {
            if let Some(held) = all.get_mut(&name) {
                held.retain(|key| *key != canary.key());
                if held.is_empty() {
                    all.remove(&name);
                }
            }
        }
    }

    /// The Canaries that the object of this name is around.
    pub(crate) fn concerned(&self, around: Around, key: &Key) -> Vec<Key> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get(&(around, key.clone()));
        held.into_iter().flatten().cloned().collect()
    }
}

/// What is around a Canary, by kind and name.
fn names(canary: &Object) -> Vec<(Around, Key)> {
    let target = canary.text(&["spec", "targetRef", "name"]);
    let apex = match canary.text(&["spec", "service", "name"]) {
        "" => target,
        name => name,
    };
    let scaler = canary.text(&["spec", "autoscalerRef", "name"]);
    let mut out = Vec::new();
    for (around, name, suffixes) in [
        (Around::Workload, target, &["", "-primary"][..]),
        (Around::Service, apex, &["", "-primary", "-canary"]),
        (Around::Scaler, scaler, &["", "-primary"]),
    ] {
        if !name.is_empty() {
            let key = |suffix| Key::new(canary.namespace(), format!("{name}{suffix}"));
            out.extend(suffixes.iter().map(|suffix| (around, key(suffix))));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_object::Kind;

    fn canary(name: &str, target: &str, service: &str) -> Arc<Object> {
        Arc::new(Object(
            json!({"metadata": {"name": name, "namespace": "demo"},
            "spec": {"targetRef": {"name": target}, "service": {"name": service}}}),
        ))
    }

    #[test]
    fn a_change_concerns_those_that_it_is_around() {
        let kind: Kind = weir_api::canary::KIND;
        let held = [canary("one", "app", ""), canary("two", "app", "web")];
        let store = Store::holding(&kind, held.iter().map(|c| (**c).clone()).collect());
        let index = Index::of(&store);
        let found = |around, name: &str| -> Vec<String> {
            let keys = index.concerned(around, &Key::new("demo", name));
            keys.into_iter().map(|k| k.name).collect()
        };
        assert_eq!(found(Around::Workload, "app-primary"), ["one", "two"]);
        assert_eq!(found(Around::Service, "web-canary"), ["two"]);
        assert_eq!(found(Around::Service, "app"), ["one"]);
        assert!(found(Around::Scaler, "app").is_empty());
        let other = Key::new("other", "app");
        assert!(index.concerned(Around::Workload, &other).is_empty());
        // It names another target now, and then it is gone.
        let change = |before, after| {
            let key = Key::new("demo", "one");
            index.follow(&Change { key, before, after });
        };
        let later = canary("one", "api", "");
        change(Some(held[0].clone()), Some(later.clone()));
        assert_eq!(found(Around::Workload, "app"), ["two"]);
        assert_eq!(found(Around::Workload, "api"), ["one"]);
        change(Some(later), None);
        assert!(found(Around::Workload, "api").is_empty());
    }
}
