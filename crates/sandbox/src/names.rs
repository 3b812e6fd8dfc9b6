//! Owns names: the sandbox's own servers, and services as `name.namespace[.svc[.cluster.local]]`.
//! It looks at the API's objects, so a name is good as soon as its Service is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use weir_object::{Key, Object};
use weir_runtime::http::Resolve;
use weir_runtime::kinds::{ENDPOINT_SLICE, SERVICE};
use weir_runtime::{Caches, Store, WatchOf};

/// The names of one sandbox.
pub struct Names {
    own: RwLock<HashMap<String, Ipv4Addr>>,
    services: Arc<Store>,
    slices: Arc<Store>,
    turn: AtomicUsize,
}

impl Names {
    /// Names that follow the services seen by `caches`.
    pub fn new(caches: &Caches) -> Self {
        Self {
            own: RwLock::default(),
            services: caches.watch(WatchOf::all(&SERVICE)),
            slices: caches.watch(WatchOf::all(&ENDPOINT_SLICE)),
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
        let Some(object) = self.services.get(&Key::new(namespace, service)) else {
            return Vec::new();
        };
        let ports = object.get(&["spec", "ports"]).and_then(Value::as_array);
        let Some(name) = ports.into_iter().flatten().find_map(|p| {
            (p["port"].as_u64() == Some(u64::from(port)))
                .then(|| p["name"].as_str().unwrap_or_default().to_owned())
        }) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for slice in self.slices.list_in(namespace) {
            if slice.label("kubernetes.io/service-name") != Some(service) {
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
                let addresses = endpoint["addresses"].as_array().into_iter().flatten();
                let first = addresses
                    .filter_map(Value::as_str)
                    .find_map(|a| a.parse().ok());
                out.extend(first.map(|address: IpAddr| (address, target)));
            }
        }
        out.sort_unstable();
        out
    }
}

/// The key of the service that `name.namespace[.svc[.cluster.local]]` stands for.
fn service_key(host: &str) -> Option<Key> {
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
