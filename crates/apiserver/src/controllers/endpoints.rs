//! Owns Endpoints, the older face of a Service's pods: one object of the Service's name, its
//! addresses grouped by ports. It refuses those that somebody else keeps for a Service without a
//! selector.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::pods::{is_finished, is_ready};
use super::slices::{note_pod, ports};
use super::source::{Queue, Seen, is_going, items, name_of, namespace_of, uid_of};
use super::triggers::{TRIGGERED, Triggers};
use super::world::{World, is_ending, pod_selector};
use super::{Control, ENDPOINTS, On, SERVICES};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses in one object.
const CAPACITY: usize = 1000;

/// The controller.
#[derive(Default)]
pub(crate) struct Endpoints(Triggers);

impl Control for Endpoints {
    fn name(&self) -> &'static str {
        MANAGER
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Service | On::Endpoints, Seen::Put(object) | Seen::Gone(object)) => {
                queue.add(key_of(object));
            }
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                note_pod(world, queue, pod);
            }
            (On::Pod | On::Endpoints, Seen::All) => {
                queue.add_all(&world.store.list(&SERVICES, None, &Selector::default()).0);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, _: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let old = world.store.get(&ENDPOINTS, &key.namespace, &key.name);
        let Some(service) = world.store.get(&SERVICES, &key.namespace, &key.name) else {
            self.0.forget(key);
            // Objects that elect a leader carry this annotation and have no Service.
            let leader = [
                "metadata",
                "annotations",
                "control-plane.alpha.kubernetes.io/leader",
            ];
            return match old {
                Some(old) if path::get(&old, &leader).is_none() => {
                    match world.store.delete(&ENDPOINTS, &key.namespace, &key.name) {
                        Err(Refusal::NotFound { .. }) => Ok(()),
                        other => other,
                    }
                }
                _ => Ok(()),
            };
        };
        let Some(selector) = pod_selector(On::Service, &service) else {
            return Ok(());
        };
        if is_going(&service) {
            return Ok(());
        }
        let pods = world.pods(&key.namespace, &selector);
        let trigger = self.0.look(key, &service, &pods);
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for pod in &pods {
            let Some(address) = address(&service, pod) else {
                continue;
            };
            let ports = legacy_ports(&service, pod);
            let headless = path::text(&service, &["spec", "clusterIP"]) == "None";
            let without = items(&service, &["spec", "ports"]).next().is_none();
            if ports.is_empty() && !(headless && without) {
                continue;
            }
            let group = groups
                .entry(json!(ports).to_string())
                .or_insert_with(|| Group::new(ports));
            let anyway = path::get(&service, &["spec", "publishNotReadyAddresses"])
                == Some(&Value::Bool(true));
            if anyway || is_ready(pod) {
                group.ready.push(address);
            } else {
                group.unready.push(address);
            }
        }
        let (subsets, over) = subsets(groups);
        write(world, &service, old.as_deref(), subsets, over, trigger)
    }
}

struct Group {
    ports: Vec<Value>,
    ready: Vec<(IpAddr, Value)>,
    unready: Vec<(IpAddr, Value)>,
}

impl Group {
    fn new(ports: Vec<Value>) -> Self {
        Self {
            ports,
            ready: Vec::new(),
            unready: Vec::new(),
        }
    }
}

fn address(service: &Value, pod: &Value) -> Option<(IpAddr, Value)> {
    let ip = path::text(pod, &["status", "podIP"]);
    let at: IpAddr = ip.parse().ok()?;
    let anyway =
        path::get(service, &["spec", "publishNotReadyAddresses"]) == Some(&Value::Bool(true));
    if is_finished(pod) || (is_going(pod) && !anyway) {
        return None;
    }
    let mut out = json!({"ip": ip, "targetRef": {"kind": "Pod", "namespace": namespace_of(pod),
        "name": name_of(pod), "uid": uid_of(pod)}});
    let node = path::text(pod, &["spec", "nodeName"]);
    if !node.is_empty() {
        path::set(&mut out, &["nodeName"], node.into());
    }
    let host = path::text(pod, &["spec", "hostname"]);
    if !host.is_empty() && path::text(pod, &["spec", "subdomain"]) == name_of(service) {
        path::set(&mut out, &["hostname"], host.into());
    }
    Some((at, out))
}

/// The ports as Endpoints write them: a port without a name has no name.
fn legacy_ports(service: &Value, pod: &Value) -> Vec<Value> {
    let Value::Array(mut all) = ports(service, pod) else {
        return Vec::new();
    };
    for port in &mut all {
        if path::text(port, &["name"]).is_empty() {
            path::remove(port, &["name"]);
        }
    }
    all
}

/// The groups as subsets, and whether some addresses had to be left out.
fn subsets(groups: BTreeMap<String, Group>) -> (Vec<Value>, bool) {
    let (mut room, mut over) = (CAPACITY, false);
    let mut groups: Vec<Group> = groups.into_values().collect();
    // Ready addresses are kept before those that are not.
    for group in &mut groups {
        group.ready.sort_by_key(|(ip, _)| *ip);
        over |= group.ready.len() > room;
        group.ready.truncate(room);
        room -= group.ready.len();
    }
    for group in &mut groups {
        group.unready.sort_by_key(|(ip, _)| *ip);
        over |= group.unready.len() > room;
        group.unready.truncate(room);
        room -= group.unready.len();
    }
    let plain = |list: Vec<(IpAddr, Value)>| -> Vec<Value> {
        list.into_iter().map(|(_, address)| address).collect()
    };
    let all = groups.into_iter().map(|group| {
        let mut out = json!({});
        for (field, list) in [
            ("addresses", plain(group.ready)),
            ("notReadyAddresses", plain(group.unready)),
            ("ports", group.ports),
        ] {
            if !list.is_empty() {
                path::set(&mut out, &[field], list.into());
            }
        }
        out
    });
    (all.collect(), over)
}

fn write(
    world: &mut World,
    service: &Value,
    old: Option<&Value>,
    subsets: Vec<Value>,
    over: bool,
    trigger: Option<String>,
) -> Result<(), Refusal> {
    let mut labels = path::get(service, &["metadata", "labels"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    path::remove(&mut labels, &[HEADLESS]);
    if path::text(service, &["spec", "clusterIP"]) == "None" {
        path::set(&mut labels, &[HEADLESS], "".into());
    }
    path::set(&mut labels, &[MANAGED_BY], MANAGER.into());
    let mut new = old.cloned().unwrap_or_else(|| {
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {
            "name": name_of(service), "namespace": namespace_of(service)}})
    });
    if subsets.is_empty() {
        path::remove(&mut new, &["subsets"]);
    } else {
        path::set(&mut new, &["subsets"], subsets.into());
    }
    path::set(&mut new, &["metadata", "labels"], labels);
    let capacity = ["metadata", "annotations", OVER];
    if over {
        path::set(&mut new, &capacity, "truncated".into());
    } else {
        path::remove(&mut new, &capacity);
    }
    if old == Some(&new) {
        return Ok(());
    }
    let at = ["metadata", "annotations", TRIGGERED];
    match trigger {
        Some(time) => path::set(&mut new, &at, time.into()),
        None => {
            path::remove(&mut new, &at);
        }
    }
    let outcome = if old.is_some() {
        world.store.update(&ENDPOINTS, new.clone())
    } else {
        world.store.create(&ENDPOINTS, new.clone())
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(refusal) if is_ending(&refusal) => Ok(()),
        Err(refusal) => {
            let (reason, what) = if old.is_some() {
                ("FailedToUpdateEndpoint", "Failed to update endpoint")
            } else {
                (
                    "FailedToCreateEndpoint",
                    "Failed to create endpoint for service",
                )
            };
            let (namespace, name) = (namespace_of(service), name_of(service));
            let message = format!("{what} {namespace}/{name}: {refusal}");
            world.warning(MANAGER, &new, reason, &message);
            Err(refusal)
        }
    }
}
