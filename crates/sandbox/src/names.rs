//! Owns names: the sandbox's own servers, and services as `name.namespace[.svc[.cluster.local]]`.
//! It looks at the API's objects, so a name is good as soon as its Service is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use weir_object::{Key, Object};
use weir_runtime::http::Resolve;
use weir_runtime::kinds::{ENDPOINT_SLICE, POD, SERVICE};
use weir_runtime::{Caches, Projection, Store, WatchOf};

use crate::proxy::model::Destination;

/// The names of one sandbox.
pub struct Names {
    own: RwLock<HashMap<String, Ipv4Addr>>,
    services: Arc<Store>,
    slices: Arc<Store>,
    pods: Arc<Store>,
    turn: AtomicUsize,
}

/// A ready endpoint of a service, and the pod behind it where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) at: (IpAddr, u16),
    pod: Option<Arc<Object>>,
}

/// What a pod belongs to, as a mesh names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) app: String,
    pub(crate) version: String,
}

impl Endpoint {
    /// The workload behind the endpoint: the Deployment of a ReplicaSet's pod, else the pod's
    /// owner, else the pod itself.
    pub(crate) fn workload(&self) -> Option<Workload> {
        let pod = self.pod.as_ref()?;
        let owners = pod.get(&["metadata", "ownerReferences"]);
        let owners = owners.and_then(Value::as_array).into_iter().flatten();
        let owner = owners.into_iter().find(|o| o["controller"] == true);
        let owned = owner.and_then(|o| o["name"].as_str());
        let hash = pod.label("pod-template-hash");
        let name = match (owned, hash) {
            (Some(set), Some(hash)) => set
                .strip_suffix(hash)
                .and_then(|n| n.strip_suffix('-'))
                .unwrap_or(set),
            (Some(owner), None) => owner,
            (None, _) => pod.name(),
        };
        let label = |names: [&str; 2]| names.iter().find_map(|n| pod.label(n)).unwrap_or_default();
        Some(Workload {
            namespace: pod.namespace().to_owned(),
            name: name.to_owned(),
            app: label(["app", "app.kubernetes.io/name"]).to_owned(),
            version: label(["version", "app.kubernetes.io/version"]).to_owned(),
        })
    }
}

impl Names {
    /// Names that follow the services seen by `caches`.
    pub fn new(caches: &Caches) -> Self {
        Self {
            own: RwLock::default(),
            services: caches.watch(WatchOf::all(&SERVICE)),
            slices: caches.watch(WatchOf::all(&ENDPOINT_SLICE)),
            pods: caches.watch(WatchOf::projected(&POD, Projection::Text)),
            turn: AtomicUsize::new(0),
        }
    }

    /// Gives a name to one of the sandbox's own servers.
    pub fn name(&self, name: &str, address: Ipv4Addr) {
        self.own
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), address);
    }

    /// The service that a host name or a service address stands for.
    fn service(&self, host: &str) -> Option<Arc<Object>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_string();
            return self
                .services
                .list()
                .into_iter()
                .find(|s| s.text(&["spec", "clusterIP"]) == address);
        }
        self.services.get(&service_key(host)?)
    }

    /// A ready endpoint behind `host:port`: the addresses take turns.
    pub fn endpoint(&self, host: &str, port: u16) -> Option<(IpAddr, u16)> {
        let own = self
            .own
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .copied();
        if let Some(address) = own {
            return Some((address.into(), port));
        }
        let service = self.service(host)?;
        let endpoints = self.ready(service.namespace(), service.name(), port);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        endpoints.get(turn % endpoints.len().max(1)).copied()
    }

    /// All ready endpoints of a service's port, in a stable order.
    pub fn ready(&self, namespace: &str, service: &str, port: u16) -> Vec<(IpAddr, u16)> {
        let to = Destination {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            port,
            ..Destination::default()
        };
        self.endpoints(&to).into_iter().map(|e| e.at).collect()
    }

    /// The service that a name or an address stands for, if there is one.
    pub(crate) fn service_of(&self, host: &str) -> Option<Key> {
        self.service(host).map(|s| s.key())
    }

    /// Whether a destination's port says that it speaks HTTP/2 without TLS.
    pub(crate) fn speaks_two(&self, to: &Destination) -> bool {
        let service = self.services.get(&Key::new(&*to.namespace, &*to.service));
        let port = service.as_ref().and_then(|s| port_of(s, to.port));
        port.is_some_and(|port| {
            let name = port["name"].as_str().unwrap_or_default();
            let protocol = match port["appProtocol"].as_str() {
                Some(protocol) => protocol,
                None => name.split('-').next().unwrap_or_default(),
            };
            matches!(protocol, "kubernetes.io/h2c" | "grpc" | "http2")
        })
    }

    /// All ready endpoints of a destination, in a stable order.
    pub(crate) fn endpoints(&self, to: &Destination) -> Vec<Endpoint> {
        let Some(service) = self.services.get(&Key::new(&*to.namespace, &*to.service)) else {
            return Vec::new();
        };
        let Some(port) = port_of(&service, to.port) else {
            return Vec::new();
        };
        let name = port["name"].as_str().unwrap_or_default();
        let mut out = Vec::new();
        for slice in self.slices.list_in(&to.namespace) {
            if slice.label("kubernetes.io/service-name") != Some(&to.service) {
                continue;
            }
            let ports = slice
                .get(&["ports"])
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let target = ports
                .filter(|p| p["name"].as_str().unwrap_or_default() == name)
                .find_map(|p| p["port"].as_u64());
            let Some(target) = target.and_then(|t| u16::try_from(t).ok()) else {
                continue;
            };
            let endpoints = slice.get(&["endpoints"]).and_then(Value::as_array);
            for endpoint in endpoints.into_iter().flatten() {
                if endpoint["conditions"]["ready"].as_bool() == Some(false) {
                    continue;
                }
                let reference = &endpoint["targetRef"];
                let pod = reference["name"]
                    .as_str()
                    .filter(|_| reference["kind"] == "Pod");
                let pod = pod.and_then(|name| self.pods.get(&Key::new(&*to.namespace, name)));
                let bears = |(name, value): (&String, &String)| {
                    pod.as_ref().is_some_and(|p| p.label(name) == Some(value))
                };
                if !to.labels.iter().all(bears) {
                    continue;
                }
                let addresses = endpoint["addresses"].as_array().into_iter().flatten();
                let first = addresses
                    .filter_map(Value::as_str)
                    .find_map(|a| a.parse().ok());
                out.extend(first.map(|address: IpAddr| Endpoint {
                    at: (address, target),
                    pod: pod.clone(),
                }));
            }
        }
        out.sort_unstable_by_key(|e| e.at);
        out
    }
}

/// A service's port of this number.
fn port_of(service: &Object, number: u16) -> Option<&Value> {
    let ports = service.get(&["spec", "ports"]).and_then(Value::as_array);
    ports
        .into_iter()
        .flatten()
        .find(|p| p["port"].as_u64() == Some(u64::from(number)))
}

/// The name of a service in full.
pub(crate) fn full_name(service: &Key) -> String {
    format!("{}.{}.svc.cluster.local", service.name, service.namespace)
}

/// The key of the service that `name.namespace[.svc[.cluster.local]]` stands for.
pub(crate) fn service_key(host: &str) -> Option<Key> {
    let mut parts = host.trim_end_matches('.').split('.');
    let (name, namespace) = (parts.next()?, parts.next()?);
    let rest: Vec<&str> = parts.collect();
    matches!(rest.as_slice(), [] | ["svc"] | ["svc", "cluster", "local"])
        .then(|| Key::new(namespace, name))
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        let own = self
            .own
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied();
        if let Some(address) = own {
            return Some(vec![address.into()]);
        }
        let service = self.service(name)?;
        service
            .text(&["spec", "clusterIP"])
            .parse()
            .ok()
            .map(|address| vec![address])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_belong_to_the_deployment_behind_their_replica_set() {
        let of = |labels: Value, owner: Option<(&str, &str)>| {
            let owners =
                owner.map(|(kind, name)| json!([{"kind": kind, "name": name, "controller": true}]));
            let pod = json!({"metadata": {"namespace": "demo", "name": "app-7d9-x2b4z", "labels": labels,
                "ownerReferences": owners}});
            let endpoint = Endpoint {
                at: (IpAddr::from([127, 0, 0, 1]), 80),
                pod: Some(Arc::new(Object(pod))),
            };
            endpoint.workload().map(|w| (w.name, w.app, w.version))
        };
        let told =
            |name: &str, app: &str, version: &str| Some((name.into(), app.into(), version.into()));
        let hashed = json!({"pod-template-hash": "7d9", "app": "shop", "version": "v2"});
        assert_eq!(
            of(hashed, Some(("ReplicaSet", "app-7d9"))),
            told("app", "shop", "v2")
        );
        assert_eq!(
            of(json!({}), Some(("StatefulSet", "db"))),
            told("db", "", "")
        );
        assert_eq!(of(json!({}), None), told("app-7d9-x2b4z", "", ""));
    }

    #[test]
    fn service_names_are_read() {
        for host in [
            "app.demo",
            "app.demo.svc",
            "app.demo.svc.cluster.local",
            "app.demo.svc.cluster.local.",
        ] {
            assert_eq!(service_key(host), Some(Key::new("demo", "app")), "{host}");
        }
        for host in ["app", "app.example.com", "a.b.svc.other"] {
            assert_eq!(service_key(host), None, "{host}");
        }
    }
}
