//! Owns EndpointSlices: the addresses of the pods that a Service selects, with their readiness,
//! grouped by the ports that its named ports mean on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::replicaset::{is_ready, owner_of};
use super::source::{Queue, Seen, Source, is_going};
use super::{PODS, SERVICES, SLICES};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::store::Store;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in one slice.
const SLICE: usize = 100;

/// Runs the controller until dropped.
pub(crate) async fn run(store: Store) {
    let mut services = Source::new(&store, SERVICES);
    let mut pods = Source::new(&store, PODS);
    let mut slices = Source::new(&store, SLICES);
    let mut queue = Queue::default();
    // Which pods are known by which labels: a pod that changes them leaves its old services.
    let mut labels: BTreeMap<Key, Value> = BTreeMap::new();
    loop {
        tokio::select! {
            seen = services.next() => note(&store, &mut queue, &seen),
            seen = pods.next() => note_pod(&store, &mut queue, &mut labels, &seen),
            seen = slices.next() => note_slice(&store, &mut queue, &seen),
            () = queue.timer() => {}
        }
        while let Some(seen) = services.ready() {
            note(&store, &mut queue, &seen);
        }
        while let Some(seen) = pods.ready() {
            note_pod(&store, &mut queue, &mut labels, &seen);
        }
        while let Some(seen) = slices.ready() {
            note_slice(&store, &mut queue, &seen);
        }
        while let Some(key) = queue.take() {
            if let Err(refusal) = sync(&store, &key) {
                tracing::debug!(%key, %refusal, "endpoints are tried again");
                if refusal.is_retryable() {
                    queue.after(Duration::from_millis(50), key);
                }
            }
        }
    }
}

fn note(store: &Store, queue: &mut Queue, seen: &Seen) {
    match seen {
        Seen::Put(object) => queue.add(crate::state::key_of(object)),
        // The slices have an owner and go with it.
        Seen::Gone(_) => {}
        Seen::All => queue.add_all(&store.list(&SERVICES, None, &Selector::default()).0),
    }
}

fn note_slice(store: &Store, queue: &mut Queue, seen: &Seen) {
    match seen {
        Seen::Put(slice) | Seen::Gone(slice) => {
            let name = path::text(slice, &["metadata", "labels", SERVICE_NAME]);
            if !name.is_empty() && path::text(slice, &["metadata", "labels", MANAGED_BY]) == MANAGER
            {
                queue.add(Key::new(
                    path::text(slice, &["metadata", "namespace"]),
                    name,
                ));
            }
        }
        Seen::All => note(store, queue, &Seen::All),
    }
}

fn note_pod(store: &Store, queue: &mut Queue, labels: &mut BTreeMap<Key, Value>, seen: &Seen) {
    let (pod, gone) = match seen {
        Seen::Put(pod) => (pod, false),
        Seen::Gone(pod) => (pod, true),
        Seen::All => {
            labels.clear();
            return note(store, queue, &Seen::All);
        }
    };
    let key = crate::state::key_of(pod);
    let now = path::get(pod, &["metadata", "labels"])
        .cloned()
        .unwrap_or_default();
    let before = if gone {
        labels.remove(&key)
    } else {
        labels.insert(key.clone(), now.clone())
    };
    let faces = [Some(now.clone()), before.filter(|b| *b != now)];
    let (services, _) = store.list(&SERVICES, Some(&key.namespace), &Selector::default());
    for service in services {
        let Some(selector) = selector_of(&service) else {
            continue;
        };
        let selected = faces
            .iter()
            .flatten()
            .any(|labels| selector.matches(&json!({"metadata": {"labels": labels}})));
        if selected {
            queue.add(crate::state::key_of(&service));
        }
    }
}

fn selector_of(service: &Value) -> Option<Selector> {
    let pairs = path::get(service, &["spec", "selector"])?.as_object()?;
    if pairs.is_empty() || path::text(service, &["spec", "type"]) == "ExternalName" {
        return None;
    }
    let pairs: Option<Vec<(&str, &str)>> = pairs
        .iter()
        .map(|(k, v)| Some((k.as_str(), v.as_str()?)))
        .collect();
    Some(Selector::labels(pairs?))
}

/// The slices of a Service.
fn existing(store: &Store, service: &Value) -> Vec<Arc<Value>> {
    let name = path::text(service, &["metadata", "name"]);
    let namespace = path::text(service, &["metadata", "namespace"]);
    let selector = Selector::labels([(SERVICE_NAME, name), (MANAGED_BY, MANAGER)]);
    store.list(&SLICES, Some(namespace), &selector).0
}

fn sync(store: &Store, key: &Key) -> Result<(), Refusal> {
    let Some(service) = store.get(&SERVICES, &key.namespace, &key.name) else {
        return Ok(());
    };
    if is_going(&service) {
        return Ok(());
    }
    let mut old = existing(store, &service);
    let Some(selector) = selector_of(&service) else {
        // Slices of a Service without a selector are somebody else's.
        return Ok(());
    };
    let mut groups: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for pod in store.list(&PODS, Some(&key.namespace), &selector).0 {
        let Some(endpoint) = endpoint(&service, &pod) else {
            continue;
        };
        let ports = ports(&service, &pod);
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
                .position(|s| s.get("ports") == Some(&ports))
                .or_else(|| {
                    old.iter().position(|s| {
                        s.get("ports")
                            .and_then(Value::as_array)
                            .is_none_or(Vec::is_empty)
                    })
                });
            let reused = at.map(|i| old.remove(i));
            write(store, &service, reused, &ports, chunk)?;
        }
    }
    // What is left over held pods that are gone. The last slice is emptied above, not removed.
    for slice in old {
        let name = path::text(&slice, &["metadata", "name"]);
        match store.delete(&SLICES, &key.namespace, name) {
            Ok(()) | Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

fn endpoint(service: &Value, pod: &Value) -> Option<Value> {
    let address = path::text(pod, &["status", "podIP"]);
    if address.is_empty()
        || matches!(
            path::text(pod, &["status", "phase"]),
            "Succeeded" | "Failed"
        )
    {
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
    Some(out)
}

/// The ports of a Service on a pod; those that it does not have are left out.
fn ports(service: &Value, pod: &Value) -> Value {
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
) -> Result<(), Refusal> {
    let name = path::text(service, &["metadata", "name"]);
    let mut labels = path::get(service, &["metadata", "labels"])
        .cloned()
        .unwrap_or(json!({}));
    path::set(&mut labels, &[SERVICE_NAME], name.into());
    path::set(&mut labels, &[MANAGED_BY], MANAGER.into());
    if path::text(service, &["spec", "clusterIP"]) == "None" {
        path::set(&mut labels, &["service.kubernetes.io/headless"], "".into());
    }
    let Some(old) = old else {
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{name}-"),
                "namespace": path::text(service, &["metadata", "namespace"]),
                "labels": labels, "ownerReferences": [owner_of(service, "v1", "Service")],
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        });
        return store.create(&SLICES, object).map(|_| ());
    };
    let mut new = (*old).clone();
    path::set(&mut new, &["metadata", "labels"], labels);
    path::set(&mut new, &["endpoints"], endpoints.into());
    path::set(&mut new, &["ports"], ports.clone());
    if new == *old {
        return Ok(());
    }
    store.update(&SLICES, new).map(|_| ())
}
