//! Owns the gateway controllers: they put Gateways on the network, let routes come into force, and
//! say on each object's status what was done, with the generation it was done for. What is right is
//! decided in `plane`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use weir_object::{Key, Kind, Object};
use weir_runtime::kinds::{GATEWAY, HTTP_ROUTE};
use weir_runtime::{
    ApiClient, Context, Controller, ControllerOptions, EventKind, Outcome, Reconciler, Recorder,
    SharedClock, patch_status,
};

use crate::network::{Network, Served};
use crate::plane::listeners::{Listener, Says};
use crate::plane::{CONTROLLER, GATEWAY_CLASS, GRPC_ROUTE, Plane};
use crate::proxy::model::RouteKind;
use crate::proxy::{Entry, Proxy};

/// What this data plane does beyond the core, as the Gateway API names it.
const FEATURES: [&str; 23] = [
    "GRPCRoute",
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
];

/// All controllers of the Gateway API.
pub(crate) fn controllers(
    context: &Context,
    plane: &Arc<Plane>,
    network: &Network,
    proxy: &Arc<Proxy>,
    address: IpAddr,
) -> Vec<Controller> {
    let say = Say {
        api: context.api.with_manager(CONTROLLER),
        clock: context.clock.clone(),
        events: context.events.named("sandbox-gateway"),
        plane: plane.clone(),
    };
    let gateways = Gateways {
        say: say.clone(),
        network: network.clone(),
        proxy: proxy.clone(),
        address,
        served: Mutex::default(),
        binding: tokio::sync::Mutex::default(),
    };
    let options = ControllerOptions::default;
    let route = |kind: &Kind, route: RouteKind| Routes {
        say: say.clone(),
        kind: kind.clone(),
        route,
    };
    let http = route(&HTTP_ROUTE, RouteKind::Http);
    let grpc = route(&GRPC_ROUTE, RouteKind::Grpc);
    let classes = Classes { say: say.clone() };
    let all = [
        (
            Controller::new(context, "sandbox-gateway", &GATEWAY, gateways, options()),
            &GATEWAY,
        ),
        (
            Controller::new(context, "sandbox-routes", &HTTP_ROUTE, http, options()),
            &HTTP_ROUTE,
        ),
        (
            Controller::new(context, "sandbox-grpc-routes", &GRPC_ROUTE, grpc, options()),
            &GRPC_ROUTE,
        ),
        (
            Controller::new(
                context,
                "sandbox-classes",
                &GATEWAY_CLASS,
                classes,
                options(),
            ),
            &GATEWAY_CLASS,
        ),
    ];
    all.into_iter()
        .map(|(controller, own)| plane.follow(controller, own))
        .collect()
}

/// What all of them say their verdicts with.
#[derive(Clone)]
pub(crate) struct Say {
    pub(crate) api: ApiClient,
    pub(crate) clock: SharedClock,
    pub(crate) events: Recorder,
    pub(crate) plane: Arc<Plane>,
}

impl Say {
    /// A condition whose transition time is kept while its status stays.
    pub(crate) fn condition(
        &self,
        earlier: Option<&Value>,
        object: &Object,
        kind: &str,
        says: &Says,
    ) -> Value {
        let earlier = earlier.and_then(Value::as_array).into_iter().flatten();
        let mut same = earlier.filter(|c| {
            c["type"].as_str() == Some(kind) && c["status"].as_str() == Some(says.status)
        });
        let since = same.next().map(|c| c["lastTransitionTime"].clone());
        let now = || json!(self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        json!({
            "type": kind,
            "status": says.status,
            "reason": says.reason,
            "message": says.message,
            "observedGeneration": object.generation(),
            "lastTransitionTime": since.unwrap_or_else(now),
        })
    }

    pub(crate) async fn status(&self, kind: &Kind, object: &Object, status: &Value) -> Outcome {
        match patch_status(&self.api, kind, object, status).await {
            Ok(_) => Outcome::Wait,
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

/// Puts Gateways on the network.
struct Gateways {
    say: Say,
    network: Network,
    proxy: Arc<Proxy>,
    address: IpAddr,
    served: Mutex<HashMap<u16, (Key, Served)>>,
    /// Held while ports are opened and closed, so that a port that changes hands is closed first.
    binding: tokio::sync::Mutex<()>,
}

impl Gateways {
    /// Makes this gateway's ports those that are served for it; says which could not be bound.
    async fn serve(&self, key: &Key, ports: &[u16]) -> BTreeMap<u16, String> {
        let _alone = self.binding.lock().await;
        let missing: Vec<u16> = {
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            served.retain(|port, (owner, _)| owner != key || ports.contains(port));
            let missing = ports.iter().filter(|p| !served.contains_key(p));
            missing.copied().collect()
        };
        let mut failures = BTreeMap::new();
        for port in missing {
            let router = self.proxy.router(Entry::Gateway(key.clone(), port));
            match self.network.serve(self.address, port, router).await {
                Ok(open) => {
                    let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
                    served.insert(port, (key.clone(), open));
                }
                Err(e) => {
                    let what = format!("{}:{port} cannot be bound: {e}", self.address);
                    failures.insert(port, what);
                }
            }
        }
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            if let Some((owner, _)) = served.get(port).filter(|(owner, _)| owner != key) {
                failures.insert(*port, format!("gateway `{owner}` still has port {port}"));
            }
        }
        failures
    }

    /// Why the addresses that a gateway asks for cannot be had.
    fn addresses(&self, gateway: &Object) -> Option<String> {
        let asked = gateway
            .get(&["spec", "addresses"])
            .and_then(Value::as_array);
        let own = self.address.to_string();
        let other = asked?.iter().find(|a| {
            let value = a["value"].as_str().unwrap_or_default();
            !value.is_empty() && value != own
        })?;
        let value = other["value"].as_str().unwrap_or_default();
        Some(format!(
            "address `{value}` is not the sandbox's, which is {own}"
        ))
    }
}

#[async_trait::async_trait]
impl Reconciler for Gateways {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let decision = self.say.plane.refresh();
        let verdict = decision.gateways.get(key);
        let Some(gateway) = self.say.plane.store(&GATEWAY).get(key) else {
            self.serve(key, &[]).await;
            return Outcome::Wait;
        };
        let listeners = match verdict {
            // It came after the decision; the queue asks again.
            None => return Outcome::Retry("the gateway is not decided yet".to_owned()),
            Some(Ok(listeners)) => listeners,
            Some(Err(controller)) => {
                self.serve(key, &[]).await;
                let what = format!(
                    "the class belongs to controller `{controller}`, which does not run here; use \
                     the class `sandbox`, or leave the class's object out"
                );
                self.say
                    .events
                    .publish(&gateway, EventKind::Warning, "NotServed", &what, &[]);
                return Outcome::Wait;
            }
        };
        let refused = self.addresses(&gateway);
        let mut ports: Vec<u16> = listeners
            .iter()
            .filter(|l| l.serves() && refused.is_none())
            .map(|l| l.port)
            .collect();
        ports.sort_unstable();
        ports.dedup();
        let failures = self.serve(key, &ports).await;
        let status = self.status(&gateway, listeners, &failures, refused.as_deref());
        match self.say.status(&GATEWAY, &gateway, &status).await {
            Outcome::Wait => match failures.into_values().next() {
                Some(failure) => Outcome::Retry(failure),
                None => Outcome::Wait,
            },
            other => other,
        }
    }
}

impl Gateways {
    fn status(
        &self,
        gateway: &Object,
        listeners: &[Listener],
        failures: &BTreeMap<u16, String>,
        refused: Option<&str>,
    ) -> Value {
        let before = gateway
            .get(&["status", "listeners"])
            .and_then(Value::as_array);
        let of = |listener: &Listener| {
            let programmed = match failures.get(&listener.port) {
                _ if !listener.serves() || refused.is_some() => {
                    Says::no("Invalid", "the listener is not served")
                }
                Some(failure) => Says::no("Invalid", failure.clone()),
                None => Says::yes("Programmed"),
            };
            let earlier = before.into_iter().flatten();
            let earlier = earlier
                .into_iter()
                .find(|l| l["name"].as_str() == Some(&listener.name));
            let earlier = earlier.and_then(|l| l.get("conditions"));
            let is = |kind, says| self.say.condition(earlier, gateway, kind, says);
            let kinds: Vec<Value> = listener
                .kinds
                .iter()
                .map(|k| json!({"group": "gateway.networking.k8s.io", "kind": k.name()}))
                .collect();
            json!({
                "name": listener.name,
                "attachedRoutes": listener.routes.len(),
                "supportedKinds": kinds,
                "conditions": [
                    is("Accepted", &listener.accepted),
                    is("Conflicted", &listener.conflicted),
                    is("Programmed", &programmed),
                    is("ResolvedRefs", &listener.resolved),
                ],
            })
        };
        let valid = listeners.iter().filter(|l| l.serves()).count();
        let bad: Vec<&str> = listeners
            .iter()
            .filter(|l| !l.serves())
            .map(|l| l.name.as_str())
            .collect();
        let what = format!("listeners that are not valid: {}", bad.join(", "));
        let accepted = match (valid, bad.is_empty()) {
            (_, true) => Says::yes("Accepted"),
            (0, false) => Says::no("ListenersNotValid", what),
            (_, false) => Says {
                message: what,
                ..Says::yes("ListenersNotValid")
            },
        };
        let programmed = match (refused, failures.values().next()) {
            (Some(refused), _) => Says::no("AddressNotUsable", refused),
            (None, Some(failure)) => Says::no("Invalid", failure.clone()),
            (None, None) if valid == 0 => Says::no("Invalid", "no listener can be served"),
            (None, None) => Says::yes("Programmed"),
        };
        let earlier = gateway.get(&["status", "conditions"]);
        json!({
            "addresses": [{"type": "IPAddress", "value": self.address.to_string()}],
            "conditions": [
                self.say.condition(earlier, gateway, "Accepted", &accepted),
                self.say.condition(earlier, gateway, "Programmed", &programmed),
            ],
            "listeners": listeners.iter().map(of).collect::<Vec<_>>(),
        })
    }
}

/// Says what became of routes.
struct Routes {
    say: Say,
    kind: Kind,
    route: RouteKind,
}

#[async_trait::async_trait]
impl Reconciler for Routes {
    async fn reconcile(&self, key: &Key) -> Outcome {
        // In force first, said afterwards: who reads Accepted may rely on it.
        let decision = self.say.plane.refresh();
        let Some(object) = self.say.plane.store(&self.kind).get(key) else {
            return Outcome::Wait;
        };
        let Some(parents) = decision.routes.get(&(self.route, key.clone())) else {
            return Outcome::Retry("the route is not decided yet".to_owned());
        };
        let earlier = object.get(&["status", "parents"]).and_then(Value::as_array);
        let others = |status: &&Value| status["controllerName"].as_str() != Some(CONTROLLER);
        let mut statuses: Vec<Value> = earlier
            .into_iter()
            .flatten()
            .filter(others)
            .cloned()
            .collect();
        for parent in parents {
            let mine = |p: &&Value| {
                p["controllerName"].as_str() == Some(CONTROLLER)
                    && p["parentRef"] == parent.reference
            };
            let before = earlier.into_iter().flatten().find(mine);
            let before = before.and_then(|p| p.get("conditions"));
            let is = |kind, says| self.say.condition(before, &object, kind, says);
            statuses.push(json!({
                "parentRef": parent.reference,
                "controllerName": CONTROLLER,
                "conditions": [is("Accepted", &parent.accepted), is("ResolvedRefs", &parent.resolved)],
            }));
        }
        if statuses.is_empty() && earlier.is_none() {
            return Outcome::Wait;
        }
        let status = json!({"parents": statuses});
        self.say.status(&self.kind, &object, &status).await
    }
}

/// Accepts the classes that name this controller.
struct Classes {
    say: Say,
}

#[async_trait::async_trait]
impl Reconciler for Classes {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(class) = self.say.plane.store(&GATEWAY_CLASS).get(key) else {
            return Outcome::Wait;
        };
        if class.text(&["spec", "controllerName"]) != CONTROLLER {
            return Outcome::Wait;
        }
        let accepted = if class.get(&["spec", "parametersRef"]).is_some() {
            Says::no(
                "InvalidParameters",
                "the sandbox's class takes no parameters",
            )
        } else {
            Says::yes("Accepted")
        };
        let earlier = class.get(&["status", "conditions"]);
        let features = FEATURES.map(|name| json!({"name": name}));
        let status = json!({
            "conditions": [self.say.condition(earlier, &class, "Accepted", &accepted)],
            "supportedFeatures": features,
        });
        self.say.status(&GATEWAY_CLASS, &class, &status).await
    }
}
