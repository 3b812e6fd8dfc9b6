//! Owns which routes are in force where: attachment to listeners and services by the Gateway API's
//! rules. Pure: everything in, one table and all verdicts out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use weir_object::{Key, Object};

use super::listeners::{self, Listener, Owner, Says, any_meet};
use super::mesh;
use crate::proxy::model::{Route, RouteKind, Unsupported};
use crate::proxy::reading::{Refs, Unresolved, items};
use crate::proxy::{ListenerRoutes, Table, read_grpc, read_http};

/// Everything that the decision is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) classes: Vec<Arc<Object>>,
    pub(crate) gateways: Vec<Arc<Object>>,
    pub(crate) http: Vec<Arc<Object>>,
    pub(crate) grpc: Vec<Arc<Object>>,
    pub(crate) namespaces: Vec<Arc<Object>>,
    pub(crate) virtuals: Vec<Arc<Object>>,
    pub(crate) rules: Vec<Arc<Object>>,
    pub(crate) refs: Refs,
}

/// What is said of each object.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// `Err` holds the controller whose gateway it is instead.
    pub(crate) gateways: HashMap<Key, Result<Vec<Listener>, String>>,
    pub(crate) routes: HashMap<(RouteKind, Key), Vec<Parent>>,
    pub(crate) virtuals: HashMap<Key, mesh::Verdict>,
    pub(crate) rules: HashMap<Key, mesh::Verdict>,
}

/// What is said of a route at one of its parents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(crate) reference: Value,
    pub(crate) accepted: Says,
    pub(crate) resolved: Says,
}

struct Candidate {
    kind: RouteKind,
    object: Arc<Object>,
    read: Result<(Arc<Route>, Vec<Unresolved>), Unsupported>,
    hostnames: Vec<String>,
}

/// By gateway and the number of its listener: the kinds and host names that are there.
type Attached = BTreeMap<(Key, usize), Vec<(RouteKind, Vec<String>)>>;

/// Decides everything anew.
pub(crate) fn decide(world: &World) -> (Table, Decision) {
    let (mut table, mut decision) = (Table::default(), Decision::default());
    let mut gateways: Vec<&Arc<Object>> = world.gateways.iter().collect();
    gateways.sort_by_key(|g| age(g));
    let mut ports = BTreeMap::new();
    for gateway in gateways {
        let verdict = match listeners::owner(gateway, &world.classes) {
            Owner::Ours => {
                let read = listeners::read(gateway, &mut ports);
                // Those without routes count too: they keep their hosts from the others.
                for listener in read.iter().filter(|l| l.serves()) {
                    let at = (gateway.key(), listener.port);
                    table.gateways.entry(at).or_default().push(ListenerRoutes {
                        hostname: listener.hostname.clone(),
                        routes: Vec::new(),
                    });
                }
                Ok(read)
            }
            Owner::Other(controller) => Err(controller),
        };
        decision.gateways.insert(gateway.key(), verdict);
    }
    let mut routes: Vec<Candidate> = Vec::new();
    for (kind, objects) in [
        (RouteKind::Http, &world.http),
        (RouteKind::Grpc, &world.grpc),
    ] {
        routes.extend(objects.iter().map(|o| candidate(kind, o, &world.refs)));
    }
    // Of two that cannot be together the older one stays, so the oldest goes first.
    routes.sort_by_key(|r| age(&r.object));
    let mut attached = Attached::new();
    for route in &routes {
        let mut parents = Vec::new();
        for reference in items(route.object.get(&["spec", "parentRefs"])) {
            let accepted = match parent_kind(reference) {
                ParentKind::Gateway => {
                    let key = parent_key(route, reference);
                    let Some(Ok(listeners)) = decision.gateways.get_mut(&key) else {
                        continue;
                    };
                    at_gateway(
                        world,
                        route,
                        reference,
                        &key,
                        listeners,
                        &mut attached,
                        &mut table,
                    )
                }
                ParentKind::Service => at_service(world, route, reference, &mut table),
                ParentKind::Other => continue,
            };
            parents.push(Parent {
                reference: reference.clone(),
                accepted,
                resolved: resolved(&route.read),
            });
        }
        decision
            .routes
            .insert((route.kind, route.object.key()), parents);
    }
    let (mesh, virtuals, rules) = mesh::decide(&world.virtuals, &world.rules, &world.refs);
    table.mesh.hosts = mesh;
    decision.virtuals = virtuals;
    decision.rules = rules;
    (table, decision)
}

/// What objects are ordered by: the oldest first, then by name.
pub(crate) fn age(object: &Object) -> (String, Key) {
    let created = object.text(&["metadata", "creationTimestamp"]).to_owned();
    (created, object.key())
}

fn candidate(kind: RouteKind, object: &Arc<Object>, refs: &Refs) -> Candidate {
    let read = match kind {
        RouteKind::Grpc => read_grpc::read(object, refs),
        _ => read_http::read(object, refs),
    };
    Candidate {
        kind,
        object: object.clone(),
        read: read.map(|(route, unresolved)| (Arc::new(route), unresolved)),
        hostnames: read_http::named(object, kind).hostnames,
    }
}

enum ParentKind {
    Gateway,
    Service,
    Other,
}

fn parent_kind(reference: &Value) -> ParentKind {
    let group = reference["group"]
        .as_str()
        .unwrap_or("gateway.networking.k8s.io");
    match (group, reference["kind"].as_str().unwrap_or("Gateway")) {
        ("gateway.networking.k8s.io", "Gateway") => ParentKind::Gateway,
        ("", "Service") => ParentKind::Service,
        _ => ParentKind::Other,
    }
}

fn parent_key(route: &Candidate, reference: &Value) -> Key {
    let namespace = reference["namespace"].as_str();
    Key::new(
        namespace.unwrap_or(route.object.namespace()),
        reference["name"].as_str().unwrap_or_default(),
    )
}

fn at_gateway(
    world: &World,
    route: &Candidate,
    reference: &Value,
    gateway: &Key,
    listeners: &mut [Listener],
    attached: &mut Attached,
    table: &mut Table,
) -> Says {
    let section = reference["sectionName"].as_str().filter(|s| !s.is_empty());
    let port = reference["port"].as_u64();
    let mut named: Vec<usize> = Vec::new();
    for (i, listener) in listeners.iter().enumerate() {
        let fits = section.is_none_or(|s| s == listener.name)
            && port.is_none_or(|p| p == u64::from(listener.port));
        if fits {
            named.push(i);
        }
    }
    if named.is_empty() {
        let what = format!("gateway `{gateway}` has no listener of this name or port");
        return Says::no("NoMatchingParent", what);
    }
    let unknown = Object(serde_json::json!({"metadata": {"name": route.object.namespace()}}));
    let namespace = world
        .namespaces
        .iter()
        .find(|n| n.name() == route.object.namespace())
        .map_or(&unknown, |n| n);
    let admitted =
        |l: &Listener| l.kinds.contains(&route.kind) && l.admits(namespace, &gateway.namespace);
    named.retain(|i| listeners.get(*i).is_some_and(admitted));
    if named.is_empty() {
        let what = format!(
            "no listener of gateway `{gateway}` takes {}s of namespace `{}`",
            route.kind.name(),
            route.object.namespace()
        );
        return Says::no("NotAllowedByListeners", what);
    }
    let meets = |l: &Listener| any_meet(&route.hostnames, l.hostname.as_slice());
    named.retain(|i| listeners.get(*i).is_some_and(meets));
    if named.is_empty() {
        let what = "no listener has a host name in common with the route";
        return Says::no("NoMatchingListenerHostname", what);
    }
    let (read, _) = match &route.read {
        Ok(read) => read,
        Err(unsupported) => return Says::no("UnsupportedValue", unsupported.to_string()),
    };
    // Routes of the two kinds do not share a host on a listener; the older one has it.
    let clashes = |i: &usize| {
        let others = attached.get(&(gateway.clone(), *i)).into_iter().flatten();
        others
            .filter(|(kind, _)| *kind != route.kind)
            .any(|(_, hostnames)| any_meet(hostnames, &route.hostnames))
    };
    if named.iter().any(clashes) {
        let what = "an older route of the other kind has a host name of this one";
        return Says::no("HostnameConflict", what);
    }
    for i in named {
        let Some(listener) = listeners.get_mut(i) else {
            continue;
        };
        let here = attached.entry((gateway.clone(), i)).or_default();
        here.push((route.kind, route.hostnames.clone()));
        let of_port = table.gateways.get_mut(&(gateway.clone(), listener.port));
        let places = of_port.into_iter().flatten();
        for place in places.filter(|p| p.hostname == listener.hostname) {
            if !place.routes.iter().any(|r| Arc::ptr_eq(r, read)) {
                place.routes.push(read.clone());
            }
        }
        let me = |(kind, key): &(RouteKind, Key)| *kind == route.kind && *key == route.object.key();
        if listener.routes.iter().any(me) {
            continue;
        }
        listener.routes.push((route.kind, route.object.key()));
    }
    Says::yes("Accepted")
}

fn at_service(world: &World, route: &Candidate, reference: &Value, table: &mut Table) -> Says {
    let key = parent_key(route, reference);
    if key.namespace != route.object.namespace() {
        let what = "a route for callers of one namespace only: callers have no namespace here";
        return Says::no("UnsupportedValue", what);
    }
    let port = reference["port"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok());
    let there = match port {
        Some(port) => world.refs.has_port(&key, port) == Some(true),
        None => world.refs.services.contains_key(&key),
    };
    if !there {
        return Says::no(
            "NoMatchingParent",
            format!("there is no such port of service `{key}`"),
        );
    }
    match &route.read {
        Err(unsupported) => Says::no("UnsupportedValue", unsupported.to_string()),
        Ok((read, _)) => {
            // At a service the host names of a route do not count.
            let bare = Arc::new(Route {
                hostnames: Vec::new(),
                ..(**read).clone()
            });
            let routes = table.mesh.services.entry(key).or_default();
            routes.push((port, bare));
            Says::yes("Accepted")
        }
    }
}

fn resolved(read: &Result<(Arc<Route>, Vec<Unresolved>), Unsupported>) -> Says {
    let Ok((_, unresolved)) = read else {
        // Nothing was looked up.
        return Says::yes("ResolvedRefs");
    };
    match unresolved.first() {
        None => Says::yes("ResolvedRefs"),
        Some(first) => {
            let all: Vec<&str> = unresolved.iter().map(|u| u.message.as_str()).collect();
            Says::no(first.reason, all.join("; "))
        }
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
