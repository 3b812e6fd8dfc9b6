//! Owns what a ResourceQuota says is used: pods and what they request, objects by count, storage.
//! It refuses to enforce anything; that is admission's work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::pods::is_finished;
use super::quantity::Quantity;
use super::source::{Queue, Seen, is_going, items, namespace_of};
use super::world::World;
use super::{CLAIMS, Control, On, PODS, QUOTAS, SERVICES};
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::selector::Selector;
use crate::state::key_of;

/// Kinds that nobody follows are counted again this often.
const RESYNC: Duration = Duration::from_mins(5);

/// The controller.
#[derive(Default)]
pub(crate) struct Quotas {
    /// The quotas of each namespace.
    known: BTreeMap<String, BTreeSet<String>>,
    /// What each pod of those namespaces uses.
    pods: BTreeMap<Key, Use>,
}

/// What one pod takes of a quota, and which scopes it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    amounts: BTreeMap<String, Quantity>,
    ends: bool,
    best_effort: bool,
    priority: String,
    across: bool,
}

impl Control for Quotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Quota, Seen::Put(quota)) => {
                let key = key_of(quota);
                let names = self.known.entry(key.namespace.clone()).or_default();
                if names.is_empty() {
                    let all = world
                        .store
                        .list(&PODS, Some(&key.namespace), &Selector::default());
                    self.pods
                        .extend(all.0.iter().map(|p| (key_of(p), use_of(p))));
                }
                names.insert(key.name.clone());
                queue.add(key);
            }
            (On::Quota, Seen::Gone(quota)) => {
                let key = key_of(quota);
                if let Some(names) = self.known.get_mut(&key.namespace) {
                    names.remove(&key.name);
                    if names.is_empty() {
                        self.known.remove(&key.namespace);
                        self.pods.retain(|pod, _| pod.namespace != key.namespace);
                    }
                }
            }
            (On::Quota, Seen::All) => {
                self.known.clear();
                self.pods.clear();
            }
            (_, Seen::Put(object) | Seen::Gone(object)) => {
                let namespace = namespace_of(object);
                if !self.known.contains_key(namespace) {
                    return;
                }
                if on == On::Pod {
                    let key = key_of(object);
                    let new = matches!(seen, Seen::Put(_)).then(|| use_of(object));
                    let same = self.pods.get(&key) == new.as_ref();
                    match new {
                        Some(new) => self.pods.insert(key, new),
                        None => self.pods.remove(&key),
                    };
                    if same {
                        return;
                    }
                }
                for name in self.known.get(namespace).into_iter().flatten() {
                    queue.add(Key::new(namespace, name.as_str()));
                }
            }
            (_, Seen::All | Seen::Left(_)) => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(quota) = world.store.get(&QUOTAS, &key.namespace, &key.name) else {
            return Ok(());
        };
        queue.after(RESYNC, key.clone());
        let hard = path::get(&quota, &["spec", "hard"]).cloned();
        let hard = hard.unwrap_or_else(|| json!({}));
        let mut used = json!({});
        for name in hard.as_object().into_iter().flatten().map(|(name, _)| name) {
            let amount = self.used(world, &quota, name);
            path::set(&mut used, &[name], amount.text().into());
        }
        let status = json!({"hard": hard, "used": used});
        if quota.get("status") == Some(&status) {
            return Ok(());
        }
        let mut new = (*quota).clone();
        path::set(&mut new, &["status"], status);
        world.store.update_status(&QUOTAS, new).map(|_| ())
    }
}

impl Quotas {
    fn used(&self, world: &World, quota: &Value, name: &str) -> Quantity {
        let namespace = namespace_of(quota);
        let count = |n: usize| Quantity::decimal(n as i128 * 1000);
        if let Some(resource) = name.strip_prefix("count/") {
            return count(objects(world, namespace, resource));
        }
        let counted = match name {
            "services"
            | "configmaps"
            | "secrets"
            | "persistentvolumeclaims"
            | "replicationcontrollers"
            | "resourcequotas" => Some(objects(world, namespace, name)),
            "services.loadbalancers" => Some(services(world, namespace, &["LoadBalancer"])),
            "services.nodeports" => Some(services(world, namespace, &["LoadBalancer", "NodePort"])),
            _ => None,
        };
        if let Some(counted) = counted {
            return count(counted);
        }
        if name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/") {
            return storage(world, namespace, name);
        }
        let start = Key::new(namespace, "");
        self.pods
            .range(start..)
            .take_while(|(key, _)| key.namespace == namespace)
            .filter(|(_, used)| in_scope(quota, used))
            .filter_map(|(_, used)| used.amounts.get(name))
            .fold(Quantity::ZERO, |sum, amount| sum.add(*amount))
    }
}

/// The objects of a resource such as `deployments.apps` in a namespace.
fn objects(world: &World, namespace: &str, name: &str) -> usize {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    let state = world.clock.read();
    let of = |r: &&std::sync::Arc<Resource>| r.kind.plural == plural && r.kind.group == group;
    let storage = state.registry.iter().find(of).map(|r| r.storage);
    storage.map_or(0, |storage| state.all(storage, Some(namespace)).count())
}

fn services(world: &World, namespace: &str, kinds: &[&str]) -> usize {
    let (all, _) = world
        .store
        .list(&SERVICES, Some(namespace), &Selector::default());
    all.iter()
        .filter(|s| kinds.contains(&path::text(s, &["spec", "type"])))
        .count()
}

/// Claims and the storage that they request, of one class or all.
fn storage(world: &World, namespace: &str, name: &str) -> Quantity {
    let (all, _) = world
        .store
        .list(&CLAIMS, Some(namespace), &Selector::default());
    let (class, field) = match name.split_once(".storageclass.storage.k8s.io/") {
        Some((class, field)) => (Some(class), field),
        None => (None, name),
    };
    let own = all.iter().filter(|claim| {
        class.is_none_or(|class| path::text(claim, &["spec", "storageClassName"]) == class)
    });
    if field == "persistentvolumeclaims" {
        return Quantity::decimal(own.count() as i128 * 1000);
    }
    let at = ["spec", "resources", "requests", "storage"];
    own.filter_map(|claim| Quantity::parse(path::text(claim, &at)))
        .fold(Quantity::ZERO, Quantity::add)
}

fn in_scope(quota: &Value, used: &Use) -> bool {
    let is = |scope: &str, need: Option<&Value>| match scope {
        "Terminating" => used.ends,
        "NotTerminating" => !used.ends,
        "BestEffort" => used.best_effort,
        "NotBestEffort" => !used.best_effort,
        "CrossNamespacePodAffinity" => used.across,
        "PriorityClass" => {
            let none = Value::Null;
            let need = need.unwrap_or(&none);
            let listed = items(need, &["values"]).any(|v| v.as_str() == Some(&used.priority));
            match path::text(need, &["operator"]) {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => used.priority.is_empty(),
                _ => !used.priority.is_empty(),
            }
        }
        _ => false,
    };
    items(quota, &["spec", "scopes"])
        .filter_map(Value::as_str)
        .all(|scope| is(scope, None))
        && items(quota, &["spec", "scopeSelector", "matchExpressions"])
            .all(|need| is(path::text(need, &["scopeName"]), Some(need)))
}

/// The largest of what the containers need one after the other and all at once.
fn totals(pod: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let amounts = |container: &Value| -> Vec<(String, Quantity)> {
        let all = path::get(container, &["resources", list]).and_then(Value::as_object);
        all.into_iter()
            .flatten()
            .filter_map(|(name, value)| {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                Some((name.clone(), Quantity::parse(&text)?))
            })
            .collect()
    };
    let mut out: BTreeMap<String, Quantity> = BTreeMap::new();
    let beside = |c: &&Value| path::text(c, &["restartPolicy"]) == "Always";
    let first = items(pod, &["spec", "initContainers"]);
    let all = items(pod, &["spec", "containers"]).chain(first.filter(beside));
    for (name, amount) in all.flat_map(amounts) {
        let sum = out.entry(name).or_insert(Quantity::ZERO);
        *sum = sum.add(amount);
    }
    let alone = items(pod, &["spec", "initContainers"]).filter(|c| !beside(c));
    for (name, amount) in alone.flat_map(amounts) {
        let sum = out.entry(name).or_insert(Quantity::ZERO);
        if amount.milli > sum.milli {
            *sum = amount;
        }
    }
    // What is set for the pod as a whole stands for the sum.
    if let Some(whole) = path::get(pod, &["spec", "resources"]) {
        out.extend(amounts(&json!({"resources": whole})));
    }
    out
}

fn use_of(pod: &Value) -> Use {
    let mut amounts = BTreeMap::new();
    let grace = path::get(pod, &["metadata", "deletionGracePeriodSeconds"]);
    // A pod that is long past its end counts no more, even if it is still there.
    let over = is_finished(pod) || (is_going(pod) && grace.and_then(Value::as_i64) == Some(0));
    if !over {
        amounts.insert("pods".to_owned(), Quantity::decimal(1000));
        for (name, amount) in totals(pod, "requests") {
            if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                amounts.insert(name.clone(), amount);
            }
            amounts.insert(format!("requests.{name}"), amount);
        }
        for (name, amount) in totals(pod, "limits") {
            amounts.insert(format!("limits.{name}"), amount);
        }
    }
    let deadline = path::get(pod, &["spec", "activeDeadlineSeconds"]);
    let affinity = ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = |field| items(pod, &["spec", "affinity", kind, field]);
        let plain = terms("requiredDuringSchedulingIgnoredDuringExecution");
        let weighed = terms("preferredDuringSchedulingIgnoredDuringExecution")
            .filter_map(|t| t.get("podAffinityTerm"));
        plain.chain(weighed).any(|term| {
            items(term, &["namespaces"]).next().is_some() || term.get("namespaceSelector").is_some()
        })
    });
    Use {
        amounts,
        ends: deadline.is_some(),
        best_effort: path::text(pod, &["status", "qosClass"]) == "BestEffort",
        priority: path::text(pod, &["spec", "priorityClassName"]).to_owned(),
        across: affinity,
    }
}
