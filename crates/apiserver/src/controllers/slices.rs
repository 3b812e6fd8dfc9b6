//! Owns EndpointSlices: the addresses of the pods that a Service selects, with their readiness,
//! grouped by the ports that its named ports mean on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::pods::{is_finished, is_ready, owner_of};
use super::source::{Queue, Seen, is_going, name_of, namespace_of};
use super::triggers::{TRIGGERED, Triggers};
use super::world::{World, is_ending, pod_selector};
use super::{Control, On, SERVICES, SLICES};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;
use crate::store::Store;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in one slice.
const SLICE: usize = 100;

/// The controller.
#[derive(Default)]
pub(crate) struct Slices(Triggers);

impl Control for Slices {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            // The slices have an owner and go with it.
            (On::Service, Seen::Put(object)) => queue.add(key_of(object)),
            (On::Slice, Seen::Put(slice) | Seen::Gone(slice)) => {
                let name = path::text(slice, &["metadata", "labels", SERVICE_NAME]);
                let manager = path::text(slice, &["metadata", "labels", MANAGED_BY]);
                if !name.is_empty() && manager == MANAGER {
                    queue.add(Key::new(namespace_of(slice), name));
                }
            }
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                note_pod(world, queue, pod);
            }
            (On::Pod | On::Slice, Seen::All) => {
                queue.add_all(&world.store.list(&SERVICES, None, &Selector::default()).0);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, _: &mut Queue, key: &Key) -> Result<(), Refusal> {
        sync(world, &mut self.0, key)
    }
}

/// Wakes the Services that a pod belongs to.
pub(crate) fn note_pod(world: &World, queue: &mut Queue, pod: &Value) {
    if let Some(labels) = path::get(pod, &["metadata", "labels"]) {
        for key in world.selecting(On::Service, namespace_of(pod), labels) {
            queue.add(key);
        }
    }
}

/// The slices of a Service.
fn existing(store: &Store, service: &Value) -> Vec<Arc<Value>> {
    let name = name_of(service);
    let namespace = namespace_of(service);
    let selector = Selector::labels([(SERVICE_NAME, name), (MANAGED_BY, MANAGER)]);
    store.list(&SLICES, Some(namespace), &selector).0
}

fn sync(world: &World, triggers: &mut Triggers, key: &Key) -> Result<(), Refusal> {
    let store = &world.store;
    let Some(service) = store.get(&SERVICES, &key.namespace, &key.name) else {
        triggers.forget(key);
        return Ok(());
    };
    if is_going(&service) {
        return Ok(());
    }
    let mut old = existing(store, &service);
    let Some(selector) = pod_selector(On::Service, &service) else {
        // Slices of a Service without a selector are somebody else's.
        return Ok(());
    };
    let mut groups: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    let pods = world.pods(&key.namespace, &selector);
    let trigger = triggers.look(key, &service, &pods);
    for pod in &pods {
        let Some(endpoint) = endpoint(&service, pod) else {
            continue;
        };
        let ports = ports(&service, pod);
        groups
            .entry(ports.to_string())
            .or_insert_with(|| (ports, Vec::new()))
            .1
            .push(endpoint);
    }
    if groups.is_empty() {
        // A Service without endpoints still has one slice, which says so.
        groups.insert(String::new(), (json!([]), Vec::new()));
    }
    for (ports, endpoints) in groups.into_values() {
        let chunks: Vec<&[Value]> = if endpoints.is_empty() {
            vec![&[]]
        } else {
            endpoints.chunks(SLICE).collect()
        };
        for chunk in chunks {
            // A slice with the same ports is changed; an empty one serves any ports.
            let at = old
                .iter()
                .position(|s| s.get("ports").is_some_and(|own| *own == ports))
                .or_else(|| {
                    old.iter().position(|s| {
                        s.get("ports")
                            .and_then(Value::as_array)
                            .is_none_or(Vec::is_empty)
                    })
                });
            let reused = at.map(|i| old.remove(i));
            write(store, &service, reused, &ports, chunk, trigger.as_deref())?;
        }
    }
    // What is left over held pods that are gone. The last slice is emptied above, not removed.
    for slice in old {
        let name = name_of(&slice);
        match store.delete(&SLICES, &key.namespace, name) {
            Ok(()) | Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

fn endpoint(service: &Value, pod: &Value) -> Option<Value> {
    let address = path::text(pod, &["status", "podIP"]);
    if address.is_empty() || is_finished(pod) {
        return None;
    }
    let anyway =
        path::get(service, &["spec", "publishNotReadyAddresses"]) == Some(&Value::Bool(true));
    let (serving, terminating) = (is_ready(pod), is_going(pod));
    let mut out = json!({
        "addresses": [address],
        "conditions": {"ready": anyway || (serving && !terminating), "serving": serving,
            "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": path::get(pod, &["metadata", "namespace"]),
            "name": path::get(pod, &["metadata", "name"]), "uid": path::get(pod, &["metadata", "uid"])},
    });
    let node = path::text(pod, &["spec", "nodeName"]);
    if !node.is_empty() {
        path::set(&mut out, &["nodeName"], node.into());
    }
    // A pod that has a name of its own in the Service's domain is reached by it.
    let host = path::text(pod, &["spec", "hostname"]);
    if !host.is_empty() && path::text(pod, &["spec", "subdomain"]) == name_of(service) {
        path::set(&mut out, &["hostname"], host.into());
    }
    Some(out)
}

/// The ports of a Service on a pod; those that it does not have are left out.
pub(crate) fn ports(service: &Value, pod: &Value) -> Value {
    let wanted = path::get(service, &["spec", "ports"]).and_then(Value::as_array);
    let containers = path::get(pod, &["spec", "containers"]).and_then(Value::as_array);
    let by_name = |name: &str, protocol: &str| {
        containers
            .into_iter()
            .flatten()
            .flat_map(|c| {
                c.get("ports")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
            })
            .find(|p| {
                let of = p.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
                path::text(p, &["name"]) == name && of == protocol
            })
            .and_then(|p| p.get("containerPort").cloned())
    };
    let mut out = Vec::new();
    for port in wanted.into_iter().flatten() {
        let protocol = port
            .get("protocol")
            .and_then(Value::as_str)
            .unwrap_or("TCP");
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => by_name(name, protocol),
            Some(number @ Value::Number(_)) => Some(number.clone()),
            _ => port.get("port").cloned(),
        };
        let Some(number) = number else { continue };
        let mut entry =
            json!({"name": path::text(port, &["name"]), "port": number, "protocol": protocol});
        if let Some(app) = port.get("appProtocol") {
            path::set(&mut entry, &["appProtocol"], app.clone());
        }
        out.push(entry);
    }
    out.into()
}

fn write(
    store: &Store,
    service: &Value,
    old: Option<Arc<Value>>,
    ports: &Value,
    endpoints: &[Value],
    trigger: Option<&str>,
) -> Result<(), Refusal> {
    let name = name_of(service);
    let mut labels = path::get(service, &["metadata", "labels"])
        .cloned()
        .unwrap_or(json!({}));
    path::set(&mut labels, &[SERVICE_NAME], name.into());
    path::set(&mut labels, &[MANAGED_BY], MANAGER.into());
    if path::text(service, &["spec", "clusterIP"]) == "None" {
        path::set(&mut labels, &["service.kubernetes.io/headless"], "".into());
    }
    // The real controller writes lists that are empty as none.
    let list = |list: &[Value]| {
        if list.is_empty() {
            Value::Null
        } else {
            json!(list)
        }
    };
    let endpoints = list(endpoints);
    let ports = list(ports.as_array().map(Vec::as_slice).unwrap_or_default());
    let at = ["metadata", "annotations", TRIGGERED];
    let Some(old) = old else {
        let mut object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{name}-"),
                "namespace": namespace_of(service),
                "labels": labels, "ownerReferences": [owner_of(service, "v1", "Service")],
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        });
        if let Some(trigger) = trigger {
            path::set(&mut object, &at, trigger.into());
        }
        return match store.create(&SLICES, object) {
            Err(refusal) if is_ending(&refusal) => Ok(()),
            other => other.map(|_| ()),
        };
    };
    let mut new = (*old).clone();
    path::set(&mut new, &["metadata", "labels"], labels);
    path::set(&mut new, &["endpoints"], endpoints);
    path::set(&mut new, &["ports"], ports);
    if new == *old {
        return Ok(());
    }
    match trigger {
        Some(trigger) => path::set(&mut new, &at, trigger.into()),
        None => {
            path::remove(&mut new, &at);
        }
    }
    store.update(&SLICES, new).map(|_| ())
}
