//! Owns the time of the change that a Service's endpoints follow: the earliest of the changes that
//! were not there at the last look. What it remembers may be lost; then a Service counts as new.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use weir_object::{Key, path};

use super::pods::condition;
use super::source::name_of;

/// When the endpoints' sources last changed.
pub(crate) const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

#[derive(Default)]
struct Known {
    service: String,
    pods: BTreeMap<String, String>,
}

/// What was seen of each Service.
#[derive(Default)]
pub(crate) struct Triggers(HashMap<Key, Known>);

impl Triggers {
    /// The time to tell, if anything changed. Times are text: equal in length, they order alike.
    pub(crate) fn look(
        &mut self,
        key: &Key,
        service: &Value,
        pods: &[Arc<Value>],
    ) -> Option<String> {
        let born = path::text(service, &["metadata", "creationTimestamp"]).to_owned();
        let now: BTreeMap<String, String> = pods
            .iter()
            .filter_map(|pod| {
                let ready = condition(pod, "Ready")?;
                let at = path::text(ready, &["lastTransitionTime"]);
                (!at.is_empty()).then(|| (name_of(pod).to_owned(), at.to_owned()))
            })
            .collect();
        let Some(known) = self.0.get_mut(key) else {
            let known = Known {
                service: born.clone(),
                pods: now,
            };
            self.0.insert(key.clone(), known);
            return Some(born);
        };
        let changed = now
            .iter()
            .filter(|(name, at)| known.pods.get(*name).is_none_or(|was| was < *at))
            .map(|(_, at)| at);
        let newer = (known.service < born).then_some(&born);
        let earliest = changed.chain(newer).min().cloned();
        *known = Known {
            service: born,
            pods: now,
        };
        earliest
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}
