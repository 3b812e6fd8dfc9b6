//! Owns DaemonSet: one pod on each node that it chooses, replaced when the template changes, within
//! the bounds of its strategy.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::daemon_nodes::{node_of, pin, runs_on, tolerations};
use super::history::{self, Style};
use super::source::{Queue, Seen, is_going, name_of, namespace_of, number, uid_of};
use super::world::World;
use super::{Control, DAEMON_SETS, On, PODS, plan, pods};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

const COMPONENT: &str = "daemonset-controller";
const HASH: &str = "controller-revision-hash";
const STYLE: Style = Style {
    kind: "DaemonSet",
    label: HASH,
};
/// Pods made or removed in one look.
const BURST: usize = 250;
/// Between the removals of pods that fail again and again on one node.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_mins(15);

/// The controller.
#[derive(Default)]
pub(crate) struct DaemonSets {
    nodes: BTreeMap<String, Arc<Value>>,
    /// When a pod last failed on a node, and how long the next one waits.
    failed: HashMap<String, (Timestamp, Duration)>,
}

impl Control for DaemonSets {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        let all = || world.store.list(&DAEMON_SETS, None, &Selector::default()).0;
        match (on, seen) {
            (On::DaemonSet, Seen::Put(set)) => queue.add(key_of(set)),
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                pods::wake(world, queue, On::DaemonSet, "DaemonSet", pod);
            }
            (On::Node, Seen::Put(node)) => {
                // A node's heartbeat changes nothing here.
                let matters = |n: &Value| {
                    let taints = path::get(n, &["spec"]).cloned();
                    (path::get(n, &["metadata", "labels"]).cloned(), taints)
                };
                let old = self.nodes.insert(name_of(node).to_owned(), node.clone());
                if old.is_none_or(|old| matters(&old) != matters(node)) {
                    queue.add_all(&all());
                }
            }
            (On::Node, Seen::Gone(node)) => {
                self.nodes.remove(name_of(node));
                queue.add_all(&all());
            }
            (On::Node, Seen::All) => self.nodes.clear(),
            (On::Pod, Seen::All) => queue.add_all(&all()),
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(set) = world.store.get(&DAEMON_SETS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let Some(selector) = Selector::from_object(path::get(&set, &["spec", "selector"])) else {
            return Ok(());
        };
        if selector.is_everything() {
            let message =
                "This daemon set is selecting all pods. A non-empty selector is required.";
            world.warning(COMPONENT, &set, "SelectingAll", message);
            return Ok(());
        }
        if is_going(&set) {
            return Ok(());
        }
        let revisions = history::of(world, &set, &STYLE)?;
        let (current, old) = current_of(world, &set, &revisions)?;
        let hash = path::text(&current, &["metadata", "labels", HASH]).to_owned();
        let now = world.now();
        let mut look = Look {
            world,
            queue,
            failed: &mut self.failed,
            nodes: &self.nodes,
            set: &set,
            selector: &selector,
            hash: &hash,
            now,
        };
        let outcome = look.update();
        let alive = look.write_status()?;
        outcome?;
        history::forget(
            world,
            &set,
            &old,
            |r| {
                alive
                    .iter()
                    .any(|h| h == path::text(r, &["metadata", "labels", HASH]))
            },
            |_| true,
        )
    }
}

/// The revision of the set as it is, and the others in order.
fn current_of(
    world: &World,
    set: &Arc<Value>,
    all: &[Arc<Value>],
) -> Result<(Arc<Value>, Vec<Arc<Value>>), Refusal> {
    let data = history::data_of(set);
    let (same, old): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|r| history::holds(r, &data));
    let next = old.iter().map(|r| number(r, &["revision"])).max();
    let next = next.unwrap_or_default() + 1;
    let current = match same.last() {
        Some(current) if number(current, &["revision"]) < next => {
            history::renumber(world, current, next)?
        }
        Some(current) => current.clone(),
        None => {
            let was = number(set, &["status", "collisionCount"]);
            let mut collisions = was;
            let current = history::create(world, set, &STYLE, &data, next, &mut collisions)?;
            if collisions != was {
                let status = json!({"status": {"collisionCount": collisions}});
                let (namespace, name) = (namespace_of(set), name_of(set));
                world
                    .store
                    .patch_status(&DAEMON_SETS, namespace, name, status)?;
            }
            current
        }
    };
    Ok((current, old))
}

/// One look at a set.
struct Look<'a> {
    world: &'a mut World,
    queue: &'a mut Queue,
    failed: &'a mut HashMap<String, (Timestamp, Duration)>,
    nodes: &'a BTreeMap<String, Arc<Value>>,
    set: &'a Arc<Value>,
    selector: &'a Selector,
    hash: &'a str,
    now: Timestamp,
}

/// Pods by the node that they run on or are bound for.
type ByNode = BTreeMap<String, Vec<Arc<Value>>>;

impl Look<'_> {
    fn by_node(&self) -> Result<ByNode, Refusal> {
        let reference = pods::owner_of(self.set, "apps/v1", "DaemonSet");
        let (on, kind) = (On::Pod, &PODS);
        let all = pods::claim(self.world, self.set, &reference, on, kind, self.selector)?;
        let mut out = ByNode::new();
        for pod in all {
            if let Some(node) = node_of(&pod) {
                out.entry(node.to_owned()).or_default().push(pod);
            }
        }
        for all in out.values_mut() {
            // Scheduled pods first, then the oldest.
            all.sort_by_key(|pod| {
                let born = path::text(pod, &["metadata", "creationTimestamp"]).to_owned();
                let waits = path::text(pod, &["spec", "nodeName"]).is_empty();
                (waits, born, name_of(pod).to_owned())
            });
        }
        Ok(out)
    }

    fn is_new(&self, pod: &Value) -> bool {
        path::text(pod, &["metadata", "labels", HASH]) == self.hash
    }

    fn is_available(&self, pod: &Value) -> bool {
        let patience = number(self.set, &["spec", "minReadySeconds"]);
        pods::is_available(pod, patience, self.now)
    }

    fn update(&mut self) -> Result<(), Refusal> {
        let by_node = self.by_node()?;
        let (mut create, mut delete) = (Vec::new(), Vec::new());
        for (name, node) in self.nodes {
            let there = by_node.get(name).map(Vec::as_slice);
            self.manage(node, there, &mut create, &mut delete);
        }
        // Pods bound for nodes that are gone would wait for ever.
        for (node, all) in &by_node {
            if !self.nodes.contains_key(node) {
                let waiting = all
                    .iter()
                    .filter(|p| path::text(p, &["spec", "nodeName"]).is_empty());
                delete.extend(waiting.map(|p| name_of(p).to_owned()));
            }
        }
        let acted = !create.is_empty() || !delete.is_empty();
        self.act(&create, &delete)?;
        // What was just made or removed is seen first.
        if !acted && path::text(self.set, &["spec", "updateStrategy", "type"]) != "OnDelete" {
            self.roll(by_node)?;
        }
        Ok(())
    }

    /// What one node lacks or has too much of.
    fn manage(
        &mut self,
        node: &Value,
        there: Option<&[Arc<Value>]>,
        create: &mut Vec<String>,
        delete: &mut Vec<String>,
    ) {
        let (runs, stays) = runs_on(node, self.set);
        let Some(there) = there else {
            if runs {
                create.push(name_of(node).to_owned());
            }
            return;
        };
        let live = there.iter().filter(|p| !is_going(p));
        if !stays {
            delete.extend(live.map(|p| name_of(p).to_owned()));
            return;
        }
        let mut running: Vec<&Arc<Value>> = Vec::new();
        for pod in live {
            match path::text(pod, &["status", "phase"]) {
                "Failed" => self.replace_failed(node, pod, delete),
                "Succeeded" => {
                    let message = format!(
                        "Found succeeded daemon pod {}/{} on node {}, will try to delete it",
                        namespace_of(pod),
                        name_of(pod),
                        name_of(node)
                    );
                    self.world
                        .normal(COMPONENT, self.set, "SucceededDaemonPod", &message);
                    delete.push(name_of(pod).to_owned());
                }
                _ => running.push(pod),
            }
        }
        if self.surge(1) == 0 {
            delete.extend(running.iter().skip(1).map(|p| name_of(p).to_owned()));
            return;
        }
        if running.len() <= 1 {
            if running.is_empty() && runs {
                create.push(name_of(node).to_owned());
            }
            return;
        }
        let mut news = running.iter().filter(|p| self.is_new(p));
        let mut olds = running.iter().filter(|p| !self.is_new(p));
        let (new, old) = (news.next(), olds.next());
        delete.extend(news.chain(olds).map(|p| name_of(p).to_owned()));
        if let (Some(new), Some(old)) = (new, old)
            && (!pods::is_ready(old) || self.is_available(new))
        {
            delete.push(name_of(old).to_owned());
        }
    }

    fn replace_failed(&mut self, node: &Value, pod: &Value, delete: &mut Vec<String>) {
        let generation = number(self.set, &["status", "observedGeneration"]);
        let key = format!("{}/{generation}/{}", uid_of(self.set), name_of(node));
        let last = self.failed.get(&key).copied();
        if let Some((at, wait)) = last {
            let passed = self.now.as_millisecond() - at.as_millisecond();
            let passed = Duration::from_millis(u64::try_from(passed).unwrap_or_default());
            if let Some(left) = wait.checked_sub(passed).filter(|left| !left.is_zero()) {
                self.queue.after(left, key_of(self.set));
                return;
            }
        }
        let wait = last.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LAST_WAIT));
        if self.failed.len() >= 4096 {
            self.failed.clear();
        }
        self.failed.insert(key, (self.now, wait));
        let message = format!(
            "Found failed daemon pod {}/{} on node {}, will try to kill it",
            namespace_of(pod),
            name_of(pod),
            name_of(node)
        );
        self.world
            .warning(COMPONENT, self.set, "FailedDaemonPod", &message);
        delete.push(name_of(pod).to_owned());
    }

    fn act(&mut self, create: &[String], delete: &[String]) -> Result<(), Refusal> {
        for node in create.iter().take(BURST) {
            let pod = self.new_pod(node);
            pods::create(self.world, COMPONENT, self.set, pod)?;
        }
        for name in delete.iter().take(BURST) {
            pods::delete(self.world, COMPONENT, self.set, name)?;
        }
        Ok(())
    }

    fn new_pod(&self, node: &str) -> Value {
        let mut pod = pods::pod_of(self.set, "apps/v1", "DaemonSet");
        path::set(&mut pod, &["metadata", "labels", HASH], self.hash.into());
        let generation = [
            "metadata",
            "annotations",
            "deprecated.daemonset.template.generation",
        ];
        let generation = path::text(self.set, &generation);
        if !generation.is_empty() {
            let at = ["metadata", "labels", "pod-template-generation"];
            path::set(&mut pod, &at, generation.into());
        }
        let empty = Value::Null;
        let all = tolerations(pod.get("spec").unwrap_or(&empty));
        path::set(&mut pod, &["spec", "tolerations"], all.into());
        pin(&mut pod, node);
        pod
    }

    fn strategy(&self, field: &str) -> Option<&Value> {
        path::get(
            self.set,
            &["spec", "updateStrategy", "rollingUpdate", field],
        )
    }

    fn surge(&self, wanted: i64) -> i64 {
        if path::text(self.set, &["spec", "updateStrategy", "type"]) == "OnDelete" {
            return 0;
        }
        plan::resolve(self.strategy("maxSurge"), wanted, true)
    }

    /// Replaces pods of earlier revisions as far as the bounds allow now.
    fn roll(&mut self, by_node: ByNode) -> Result<(), Refusal> {
        let wanted: Vec<&String> = self
            .nodes
            .iter()
            .filter(|(_, node)| runs_on(node, self.set).0)
            .map(|(name, _)| name)
            .collect();
        let count = wanted.len() as i64;
        let surge = self.surge(count);
        let one = json!(1);
        let unavailable = self.strategy("maxUnavailable").unwrap_or(&one);
        let mut unavailable = plan::resolve(Some(unavailable), count, true);
        if count > 0 && surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let mut all: BTreeMap<String, Vec<Arc<Value>>> = by_node;
        for name in wanted {
            all.entry(name.clone()).or_default();
        }
        if surge == 0 {
            self.roll_down(&all, unavailable)
        } else {
            self.roll_over(&all, surge, count)
        }
    }

    /// The new and the old pod of a node; `None` when there are more of a kind.
    #[expect(
        clippy::type_complexity,
        reason = "a pair of what may be there, if it is clear"
    )]
    fn pair<'p>(
        &self,
        there: &'p [Arc<Value>],
    ) -> Option<(Option<&'p Arc<Value>>, Option<&'p Arc<Value>>)> {
        let live = there.iter().filter(|p| !is_going(p));
        let (new, old): (Vec<_>, Vec<_>) = live.partition(|p| self.is_new(p));
        (new.len() <= 1 && old.len() <= 1).then(|| (new.first().copied(), old.first().copied()))
    }

    /// Removes old pods and lets the next look make new ones.
    fn roll_down(&mut self, all: &ByNode, most: i64) -> Result<(), Refusal> {
        let mut missing = 0;
        let (mut allowed, mut candidates) = (Vec::new(), Vec::new());
        for there in all.values() {
            match self.pair(there) {
                None | Some((None, None) | (Some(_), Some(_))) => missing += 1,
                Some((Some(new), None)) => missing += i64::from(!self.is_available(new)),
                Some((None, Some(old))) if !self.is_available(old) => {
                    allowed.push(name_of(old).to_owned());
                    missing += 1;
                }
                Some((None, Some(old))) => {
                    if missing < most {
                        candidates.push(name_of(old).to_owned());
                    }
                }
            }
        }
        let room = usize::try_from(most - missing).unwrap_or_default();
        allowed.extend(candidates.into_iter().take(room));
        self.act(&[], &allowed)
    }

    /// Makes new pods beside old ones, and removes the old when the new are available.
    fn roll_over(&mut self, all: &ByNode, most: i64, wanted: i64) -> Result<(), Refusal> {
        let (mut surging, mut available) = (0, 0);
        let (mut delete, mut leaving) = (Vec::new(), Vec::new());
        let (mut allowed, mut candidates) = (Vec::new(), Vec::new());
        for (name, there) in all {
            let Some((new, old)) = self.pair(there) else {
                surging += 1;
                continue;
            };
            let shown = old.or(new);
            available += i64::from(shown.is_some_and(|p| self.is_available(p)));
            let Some(old) = old else { continue };
            let old_name = name_of(old).to_owned();
            match new {
                Some(new) if self.is_available(new) => delete.push(old_name),
                Some(_) => surging += 1,
                None => {
                    let runs = self.nodes.get(name).is_some_and(|n| runs_on(n, self.set).0);
                    match (runs, self.is_available(old)) {
                        (false, false) => delete.push(old_name),
                        (false, true) => leaving.push(old_name),
                        (true, false) => allowed.push(name.clone()),
                        (true, true) => {
                            if surging < most {
                                candidates.push(name.clone());
                            }
                        }
                    }
                }
            }
        }
        let spare = usize::try_from(available - wanted).unwrap_or_default();
        delete.extend(leaving.into_iter().take(spare));
        let room = usize::try_from(most - surging).unwrap_or_default();
        allowed.extend(candidates.into_iter().take(room));
        self.act(&allowed, &delete)
    }

    /// Writes the status if it changed; answers with the hashes of all pods.
    fn write_status(&mut self) -> Result<Vec<String>, Refusal> {
        let by_node = self.by_node()?;
        let patience = number(self.set, &["spec", "minReadySeconds"]);
        let (mut wanted, mut current, mut misplaced) = (0, 0, 0);
        let (mut ready, mut available, mut updated) = (0, 0, 0);
        for (name, node) in self.nodes {
            let first = by_node.get(name).and_then(|all| all.first());
            if !runs_on(node, self.set).0 {
                misplaced += i64::from(first.is_some());
                continue;
            }
            wanted += 1;
            let Some(pod) = first else { continue };
            current += 1;
            updated += i64::from(self.is_new(pod));
            match pods::until_available(pod, patience, self.now) {
                None => {}
                Some(0) => {
                    ready += 1;
                    available += 1;
                }
                Some(left) => {
                    ready += 1;
                    let left = Duration::from_millis(left);
                    self.queue.after(left, key_of(self.set));
                }
            }
        }
        // The newest form: a collision may have been counted meanwhile.
        let (namespace, name) = (namespace_of(self.set), name_of(self.set));
        let hashes = by_node.values().flatten();
        let hashes = hashes.map(|p| path::text(p, &["metadata", "labels", HASH]).to_owned());
        let hashes: Vec<String> = hashes.collect();
        let Some(live) = self.world.store.get(&DAEMON_SETS, namespace, name) else {
            return Ok(hashes);
        };
        let mut status = json!({
            "currentNumberScheduled": current, "numberMisscheduled": misplaced,
            "desiredNumberScheduled": wanted, "numberReady": ready,
        });
        for (field, value) in [
            (
                "observedGeneration",
                number(self.set, &["metadata", "generation"]),
            ),
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", wanted - available),
            (
                "collisionCount",
                number(&live, &["status", "collisionCount"]),
            ),
        ] {
            if value != 0 {
                path::set(&mut status, &[field], value.into());
            }
        }
        if let Some(conditions) = path::get(&live, &["status", "conditions"]) {
            path::set(&mut status, &["conditions"], conditions.clone());
        }
        if live.get("status") != Some(&status) {
            let mut new = (*live).clone();
            path::set(&mut new, &["status"], status);
            self.world.store.update_status(&DAEMON_SETS, new)?;
        }
        Ok(hashes)
    }
}
