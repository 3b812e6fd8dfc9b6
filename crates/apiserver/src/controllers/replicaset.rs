//! Owns ReplicaSet and ReplicationController: as many pods as wanted, the least useful removed
//! first, and a status that counts them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::{Key, Kind, path};

use super::source::{Queue, Seen, is_going, items, name_of, number};
use super::world::{World, pod_selector};
use super::{Control, On, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, pods};
use crate::call::stamp;
use crate::refusal::Refusal;
use crate::selector::Selector;

/// Pods made or removed for one set in one go.
const BURST: usize = 500;

/// The controller of one of the two kinds.
pub(crate) struct Replicas {
    component: &'static str,
    on: On,
    kind: Kind,
    api_version: &'static str,
    /// The versions that this controller wrote last: seeing them again is no news.
    written: HashMap<Key, String>,
}

impl Replicas {
    pub(crate) fn sets() -> Self {
        Self {
            component: "replicaset-controller",
            on: On::ReplicaSet,
            kind: REPLICA_SETS,
            api_version: "apps/v1",
            written: HashMap::new(),
        }
    }

    pub(crate) fn controllers() -> Self {
        Self {
            component: "replication-controller",
            on: On::ReplicationController,
            kind: REPLICATION_CONTROLLERS,
            api_version: "v1",
            written: HashMap::new(),
        }
    }
}

impl Control for Replicas {
    fn name(&self) -> &'static str {
        self.component
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (on, Seen::Put(set)) if on == self.on => {
                let key = crate::state::key_of(set);
                let version = path::text(set, &["metadata", "resourceVersion"]);
                if self.written.get(&key).is_none_or(|own| own != version) {
                    queue.add(key);
                }
            }
            (on, Seen::Gone(set)) if on == self.on => {
                self.written.remove(&crate::state::key_of(set));
            }
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                pods::wake(world, queue, self.on, &self.kind.kind, pod);
            }
            (On::Pod, Seen::All) => {
                queue.add_all(&world.store.list(&self.kind, None, &Selector::default()).0);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(set) = world.store.get(&self.kind, &key.namespace, &key.name) else {
            return Ok(());
        };
        let Some(selector) = pod_selector(self.on, &set) else {
            return Ok(());
        };
        let reference = pods::owner_of(&set, self.api_version, &self.kind.kind);
        let mut all = pods::claim(world, &set, &reference, On::Pod, &PODS, &selector)?;
        all.retain(|pod| pods::is_active(pod));
        let outcome = if is_going(&set) {
            Ok(())
        } else {
            self.manage(world, &set, &mut all)
        };
        self.write_status(world, queue, &set, &all, outcome.as_ref().err())?;
        outcome
    }
}

impl Replicas {
    /// Makes what is missing, removes what is too much.
    fn manage(
        &self,
        world: &mut World,
        set: &Value,
        all: &mut Vec<Arc<Value>>,
    ) -> Result<(), Refusal> {
        let wanted = path::get(set, &["spec", "replicas"]).and_then(Value::as_i64);
        let wanted = usize::try_from(wanted.unwrap_or(1)).unwrap_or_default();
        if all.len() < wanted {
            for _ in 0..(wanted - all.len()).min(BURST) {
                let pod = pods::pod_of(set, self.api_version, &self.kind.kind);
                all.push(pods::create(world, self.component, set, pod)?);
            }
        } else if all.len() > wanted {
            all.sort_by(|a, b| pods::by_usefulness(a, b));
            let many = (all.len() - wanted).min(BURST);
            for pod in all.drain(..many) {
                pods::delete(world, self.component, set, name_of(&pod))?;
            }
        }
        Ok(())
    }

    fn write_status(
        &mut self,
        world: &World,
        queue: &mut Queue,
        set: &Arc<Value>,
        all: &[Arc<Value>],
        failure: Option<&Refusal>,
    ) -> Result<(), Refusal> {
        let now = world.now();
        let patience = number(set, &["spec", "minReadySeconds"]);
        let (mut ready, mut available) = (0_i64, 0_i64);
        for pod in all {
            match pods::until_available(pod, patience, now) {
                None => {}
                Some(left) => {
                    ready += 1;
                    if left == 0 {
                        available += 1;
                    } else {
                        queue.after(Duration::from_millis(left), crate::state::key_of(set));
                    }
                }
            }
        }
        let template = path::get(set, &["spec", "template", "metadata", "labels"]);
        let template = template.and_then(Value::as_object);
        let labelled = all.iter().filter(|pod| {
            let mut wanted = template.into_iter().flatten();
            wanted.all(|(key, value)| path::get(pod, &["metadata", "labels", key]) == Some(value))
        });
        let labelled = labelled.count();
        let mut status = json!({"replicas": all.len()});
        let mut put = |field: &str, value: i64| {
            if value != 0 {
                path::set(&mut status, &[field], value.into());
            }
        };
        put("fullyLabeledReplicas", labelled as i64);
        put("readyReplicas", ready);
        put("availableReplicas", available);
        put(
            "observedGeneration",
            number(set, &["metadata", "generation"]),
        );
        let conditions = conditions(set, failure, all.len(), &stamp(now));
        if !conditions.is_empty() {
            path::set(&mut status, &["conditions"], conditions.into());
        }
        if set.get("status") == Some(&status) {
            return Ok(());
        }
        let mut new = (**set).clone();
        path::set(&mut new, &["status"], status);
        // Pods that were just made or removed do not change the set, so the version still holds.
        let new = world.store.update_status(&self.kind, new)?;
        let version = path::text(&new, &["metadata", "resourceVersion"]).to_owned();
        self.written.insert(crate::state::key_of(set), version);
        Ok(())
    }
}

/// The set says when its pods cannot be made or removed, until they can.
fn conditions(set: &Value, failure: Option<&Refusal>, is: usize, now: &str) -> Vec<Value> {
    let mut all: Vec<Value> = items(set, &["status", "conditions"]).cloned().collect();
    let told = all
        .iter()
        .any(|c| path::text(c, &["type"]) == "ReplicaFailure");
    match failure {
        Some(refusal) if !told => {
            let wanted = number(set, &["spec", "replicas"]);
            let missing = (is as i64) < wanted;
            let reason = if missing {
                "FailedCreate"
            } else {
                "FailedDelete"
            };
            all.push(json!({"type": "ReplicaFailure", "status": "True",
                "lastTransitionTime": now, "reason": reason, "message": refusal.to_string()}));
        }
        None if told => all.retain(|c| path::text(c, &["type"]) != "ReplicaFailure"),
        _ => {}
    }
    all
}
