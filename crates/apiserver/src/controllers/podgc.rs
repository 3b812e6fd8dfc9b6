//! Owns the end of pods that no kubelet will end: those of nodes that are gone, and those that are
//! going and were never placed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::pods::is_finished;
use super::source::{Queue, Seen, is_going, name_of, namespace_of};
use super::world::World;
use super::{Control, NODES, On, PODS};
use crate::call::stamp;
use crate::refusal::Refusal;
use crate::state::key_of;

/// After a node went, in case it comes back.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The controller.
#[derive(Default)]
pub(crate) struct Orphaned {
    by_node: BTreeMap<String, BTreeSet<Key>>,
    nodes: BTreeMap<Key, String>,
}

impl Control for Orphaned {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Pod, Seen::Put(pod)) => {
                let key = key_of(pod);
                self.forget(&key);
                let node = path::text(pod, &["spec", "nodeName"]);
                if node.is_empty() {
                    if is_going(pod) {
                        queue.add(key);
                    }
                    return;
                }
                self.nodes.insert(key.clone(), node.to_owned());
                let all = self.by_node.entry(node.to_owned()).or_default();
                // One look for each node is enough to know whether it is there.
                let first = all.is_empty();
                all.insert(key.clone());
                if first && world.store.get(&NODES, "", node).is_none() {
                    queue.after(QUARANTINE, key);
                }
            }
            (On::Pod, Seen::Gone(pod)) => self.forget(&key_of(pod)),
            (On::Pod, Seen::All) => {
                self.by_node.clear();
                self.nodes.clear();
            }
            (On::Node, Seen::Gone(node)) => {
                for key in self.by_node.get(name_of(node)).into_iter().flatten() {
                    queue.after(QUARANTINE, key.clone());
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(pod) = world.store.get(&PODS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let node = path::text(&pod, &["spec", "nodeName"]);
        if node.is_empty() {
            if is_going(&pod) {
                return end(world, &pod);
            }
            return Ok(());
        }
        if world.store.get(&NODES, "", node).is_some() {
            return Ok(());
        }
        // All that were on the node go together.
        for other in self.by_node.get(node).into_iter().flatten() {
            if other != key {
                queue.add(other.clone());
            }
        }
        if super::pods::condition(&pod, "DisruptionTarget")
            .is_none_or(|c| path::text(c, &["reason"]) != "DeletionByPodGC")
        {
            mark(world, &pod)?;
        }
        self.forget(key);
        end(world, &pod)
    }
}

impl Orphaned {
    fn forget(&mut self, key: &Key) {
        if let Some(node) = self.nodes.remove(key)
            && let Some(all) = self.by_node.get_mut(&node)
        {
            all.remove(key);
            if all.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }
}

/// Says why the pod goes, and that it has failed.
fn mark(world: &World, pod: &Value) -> Result<(), Refusal> {
    let mut new = pod.clone();
    if !is_finished(pod) {
        path::set(&mut new, &["status", "phase"], "Failed".into());
    }
    let all = path::get(pod, &["status", "conditions"]).and_then(Value::as_array);
    let mut all = all.cloned().unwrap_or_default();
    all.retain(|c| path::text(c, &["type"]) != "DisruptionTarget");
    all.push(
        json!({"type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": stamp(world.now()), "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists"}),
    );
    path::set(&mut new, &["status", "conditions"], all.into());
    world.store.update_status(&PODS, new).map(|_| ())
}

fn end(world: &World, pod: &Value) -> Result<(), Refusal> {
    match world
        .store
        .delete_now(&PODS, namespace_of(pod), name_of(pod))
    {
        Err(Refusal::NotFound { .. }) => Ok(()),
        other => other,
    }
}
