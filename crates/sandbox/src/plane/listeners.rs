//! Owns what a Gateway's listeners are: which of them can be served, which stand in each other's
//! way, and which routes they let in. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use weir_apiserver::Selector;
use weir_object::{Key, Object};

use super::CONTROLLER;
use crate::proxy::matching::host_fit;
use crate::proxy::model::RouteKind;
use crate::proxy::reading::items;

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Says {
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Says {
    pub(crate) fn yes(reason: &'static str) -> Self {
        Self {
            status: "True",
            reason,
            message: String::new(),
        }
    }

    pub(crate) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: "False",
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// One listener and what is said of it.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) hostname: Option<String>,
    pub(crate) kinds: Vec<RouteKind>,
    from: From,
    pub(crate) accepted: Says,
    pub(crate) resolved: Says,
    pub(crate) conflicted: Says,
    /// The routes that are attached.
    pub(crate) routes: Vec<(RouteKind, Key)>,
}

#[derive(Clone, Debug)]
enum From {
    All,
    Same,
    Chosen(Option<Selector>),
}

impl Listener {
    /// Whether it is to be on the network.
    pub(crate) fn serves(&self) -> bool {
        self.accepted.is_true() && !self.conflicted.is_true()
    }

    /// Whether routes of a namespace may attach.
    pub(crate) fn admits(&self, namespace: &Object, gateway: &str) -> bool {
        match &self.from {
            From::All => true,
            From::Same => namespace.name() == gateway,
            From::Chosen(selector) => selector.as_ref().is_some_and(|s| s.matches(&namespace.0)),
        }
    }
}

/// Whose gateway it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Ours: the class names us, or does not exist.
    Ours,
    /// Another controller's, which does not run here.
    Other(String),
}

/// Whose gateway this is, by its class.
pub(crate) fn owner(gateway: &Object, classes: &[Arc<Object>]) -> Owner {
    let name = gateway.text(&["spec", "gatewayClassName"]);
    let class = classes.iter().find(|c| c.name() == name);
    match class.map(|c| c.text(&["spec", "controllerName"])) {
        None | Some(CONTROLLER) => Owner::Ours,
        Some(other) => Owner::Other(other.to_owned()),
    }
}

/// The listeners of a gateway. `ports` are those that older gateways hold; the ones taken here are
/// added.
pub(crate) fn read(gateway: &Object, ports: &mut BTreeMap<u16, Key>) -> Vec<Listener> {
    let mut out: Vec<Listener> = Vec::new();
    for listener in items(gateway.get(&["spec", "listeners"])) {
        let mut read = one(listener);
        if read.accepted.is_true() {
            let key = gateway.key();
            let holder = ports.entry(read.port).or_insert_with(|| key.clone());
            if *holder != key {
                let what = format!("gateway `{holder}` has port {}", read.port);
                read.accepted = Says::no("PortUnavailable", what);
            }
        }
        let hostname = read.hostname.clone();
        let same = |other: &&mut Listener| other.port == read.port && other.hostname == hostname;
        let http = read.accepted.is_true();
        for other in out
            .iter_mut()
            .filter(same)
            .filter(|o| o.accepted.is_true() && http)
        {
            let what = format!("port {} has two listeners of one host name", read.port);
            let conflict = Says {
                status: "True",
                reason: "HostnameConflict",
                message: what,
            };
            other.conflicted = conflict.clone();
            read.conflicted = conflict;
        }
        out.push(read);
    }
    out
}

fn one(listener: &Value) -> Listener {
    let text = |k: &str| listener[k].as_str().unwrap_or_default();
    let protocol = text("protocol");
    let port = listener["port"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok());
    let mut accepted = Says::yes("Accepted");
    let mut kinds = vec![RouteKind::Http, RouteKind::Grpc];
    if protocol != "HTTP" {
        let what = format!("protocol `{protocol}` is not served here, only HTTP");
        accepted = Says::no("UnsupportedProtocol", what);
        kinds.clear();
    } else if port.is_none() {
        accepted = Says::no("PortUnavailable", "the listener has no usable port");
    }
    let mut resolved = Says::yes("ResolvedRefs");
    let allowed = &listener["allowedRoutes"];
    let wanted: Vec<&Value> = items(allowed.get("kinds")).collect();
    if !wanted.is_empty() && !kinds.is_empty() {
        let of = |wanted: &Value| {
            let group = wanted["group"]
                .as_str()
                .unwrap_or("gateway.networking.k8s.io");
            match (group, wanted["kind"].as_str().unwrap_or_default()) {
                ("gateway.networking.k8s.io", "HTTPRoute") => Some(RouteKind::Http),
                ("gateway.networking.k8s.io", "GRPCRoute") => Some(RouteKind::Grpc),
                _ => None,
            }
        };
        kinds = wanted.iter().filter_map(|w| of(w)).collect();
        if let Some(bad) = wanted.iter().find(|w| of(w).is_none()) {
            let kind = bad["kind"].as_str().unwrap_or_default();
            let what = format!("routes of kind `{kind}` are not known here");
            resolved = Says::no("InvalidRouteKinds", what);
        }
    }
    let from = match allowed["namespaces"]["from"].as_str() {
        Some("All") => From::All,
        Some("Selector") => {
            From::Chosen(Selector::from_object(allowed["namespaces"].get("selector")))
        }
        _ => From::Same,
    };
    let hostname = listener["hostname"].as_str().filter(|h| !h.is_empty());
    Listener {
        name: text("name").to_owned(),
        port: port.unwrap_or_default(),
        hostname: hostname.map(str::to_ascii_lowercase),
        kinds,
        from,
        accepted,
        resolved,
        conflicted: Says::no("NoConflicts", ""),
        routes: Vec::new(),
    }
}

/// Whether two patterns of host names have a host in common.
pub(crate) fn meet(a: &str, b: &str) -> bool {
    match (a.strip_prefix("*."), b.strip_prefix("*.")) {
        (Some(x), Some(y)) => x == y || host_fit(a, y).is_some() || host_fit(b, x).is_some(),
        (Some(_), None) => host_fit(a, b).is_some(),
        (None, _) => host_fit(b, a).is_some(),
    }
}

/// Whether two sets of host names have a host in common; an empty set means all.
pub(crate) fn any_meet(a: &[String], b: &[String]) -> bool {
    a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| meet(a, b)))
}
