//! Owns what must hold at each moment of a run, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use weir_apiserver::Store;
use weir_object::path;
use weir_runtime::kinds::{DEPLOYMENT, HTTP_ROUTE};

use crate::provider::Evidence;
use crate::world::{image, weight};

/// The rules, and where they were broken.
pub(crate) struct Rules {
    store: Store,
    evidence: Evidence,
    /// The weights at which a revision has to pass before it is promoted.
    weights: BTreeSet<u64>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    weight: u64,
    /// What the target ran, and how many of its pods served, at the write before. Between a look
    /// and a write the world can change, and no write can be made to depend on another object.
    target: (String, u64),
    /// Images the primary may run: the first, and what passed.
    allowed: BTreeSet<String>,
    broken: Vec<String>,
    writes: BTreeMap<String, u64>,
}

impl Rules {
    pub(crate) fn new(store: Store, evidence: Evidence, weights: &[u64]) -> Self {
        let mut seen = Seen::default();
        seen.allowed.insert("app:1".to_owned());
        Self {
            store,
            evidence,
            weights: weights.iter().copied().collect(),
            seen: Mutex::new(seen),
        }
    }

    /// The story begins: what was written before does not count.
    pub(crate) fn begin(&self) {
        self.lock().writes.clear();
    }

    /// Images that may be promoted without a verdict.
    pub(crate) fn allow(&self, image: &str) {
        self.lock().allowed.insert(image.to_owned());
    }

    /// Looks at the world right after a write.
    pub(crate) fn look(&self, what: &str) {
        let mut seen = self.lock();
        *seen.writes.entry(kind_of(what)).or_default() += 1;
        let passed = |image: &str, at: &BTreeSet<u64>| {
            let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
            evidence.get(image).is_some_and(|found| at.is_subset(found))
        };
        let target = self.store.get(&DEPLOYMENT, "demo", "app");
        if let Some(primary) = self.store.get(&DEPLOYMENT, "demo", "app-primary") {
            let runs = image(&primary);
            // Before anything was promoted there is nothing to compare with.
            if !self.promoted() {
                seen.allowed.insert(runs.clone());
            }
            if !seen.allowed.contains(&runs) {
                if passed(&runs, &self.weights) {
                    seen.allowed.insert(runs);
                } else {
                    let text = format!("{what}: the primary runs {runs}, which never passed");
                    seen.broken.push(text);
                }
            }
        }
        if let Some(route) = self.store.get(&HTTP_ROUTE, "demo", "app") {
            let sum = sum(&route);
            if sum != 100 && sum != 1 {
                seen.broken
                    .push(format!("{what}: the weights sum to {sum}"));
            }
        }
        let now = weight(&self.store);
        let available = target
            .as_ref()
            .and_then(|t| path::get(t, &["status", "availableReplicas"]))
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let runs = target.map(|t| image(&t)).unwrap_or_default();
        if now > seen.weight {
            if available == 0 && seen.target.1 == 0 {
                seen.broken
                    .push(format!("{what}: weight {now} without a pod"));
            }
            let before = BTreeSet::from([seen.weight]);
            if seen.weight > 0 && !passed(&runs, &before) && !passed(&seen.target.0, &before) {
                let before = seen.weight;
                let text = format!("{what}: {runs} went on from {before} to {now} without a pass");
                seen.broken.push(text);
            }
        }
        seen.weight = now;
        seen.target = (runs, available);
    }

    fn promoted(&self) -> bool {
        let canary = self.store.get(&crate::world::CANARY, "demo", "app");
        canary.is_some_and(|c| !path::text(&c, &["status", "lastPromotedSpec"]).is_empty())
    }

    /// What was broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// How many writes of each kind were made, by method and resource.
    pub(crate) fn writes(&self) -> BTreeMap<String, u64> {
        self.lock().writes.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `METHOD resource` of a write.
fn kind_of(what: &str) -> String {
    let (method, at) = what.split_once(' ').unwrap_or_default();
    let resource = at
        .split('/')
        .skip_while(|p| *p != "namespaces")
        .nth(2)
        .unwrap_or(at);
    format!("{method} {resource}")
}

fn sum(route: &Value) -> u64 {
    let backends = path::get(route, &["spec", "rules", "0", "backendRefs"]);
    let weights = backends.and_then(Value::as_array).into_iter().flatten();
    weights.map(|b| b["weight"].as_u64().unwrap_or(1)).sum()
}
