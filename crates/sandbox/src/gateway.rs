//! Owns the gateway controller: it puts Gateways on the network, puts HTTPRoutes in force in the
//! proxy, and says on each object's status what it did, with the generation it did it for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use weir_object::{Key, Object};
use weir_runtime::kinds::{GATEWAY, HTTP_ROUTE};
use weir_runtime::{
    Change, Context, Controller, ControllerOptions, Outcome, Reconciler, SharedClock, Store,
    WatchOf, patch_status,
};

use crate::network::{Network, Served};
use crate::proxy::Proxy;
use crate::routes::Route;

/// The controller name in statuses.
const CONTROLLER: &str = "weir.dev/sandbox-gateway";

/// Puts Gateways on the network.
pub(crate) struct Gateways {
    pub(crate) api: weir_runtime::ApiClient,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: SharedClock,
    pub(crate) network: Network,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) address: IpAddr,
    pub(crate) served: Mutex<HashMap<(Key, u16), Served>>,
}

impl Gateways {
    pub(crate) fn controller(
        context: &Context,
        network: Network,
        proxy: Arc<Proxy>,
        address: IpAddr,
    ) -> Controller {
        let reconciler = Self {
            api: context.api.with_manager(CONTROLLER),
            store: context.caches.watch(WatchOf::all(&GATEWAY)),
            clock: context.clock.clone(),
            network,
            proxy,
            address,
            served: Mutex::default(),
        };
        Controller::new(
            context,
            "sandbox-gateway",
            &GATEWAY,
            reconciler,
            ControllerOptions::default(),
        )
    }

    /// Serves one listener; says why not where it can't.
    async fn listen(&self, key: &Key, listener: &Value) -> Result<u16, String> {
        let protocol = listener["protocol"].as_str().unwrap_or_default();
        if protocol != "HTTP" {
            return Err(format!(
                "protocol `{protocol}` is not served here, only HTTP"
            ));
        }
        let port = listener["port"]
            .as_u64()
            .and_then(|p| u16::try_from(p).ok());
        let port = port.ok_or("the listener has no usable port")?;
        let id = (key.clone(), port);
        if self
            .served
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&id)
        {
            return Ok(port);
        }
        let router = self.proxy.router(key.clone());
        let served = self.network.serve(self.address, port, router).await;
        let served = served.map_err(|e| format!("{}:{port} cannot be bound: {e}", self.address))?;
        self.served
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, served);
        Ok(port)
    }
}

#[async_trait::async_trait]
impl Reconciler for Gateways {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(gateway) = self.store.get(key) else {
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            served.retain(|(owner, _), _| owner != key);
            return Outcome::Wait;
        };
        let mut listeners = Vec::new();
        let mut ports = Vec::new();
        let mut failure = None;
        let spec = gateway
            .get(&["spec", "listeners"])
            .and_then(Value::as_array);
        for listener in spec.into_iter().flatten() {
            let done = self.listen(key, listener).await;
            let name = listener["name"].as_str().unwrap_or_default();
            let (status, reason, message) = match &done {
                Ok(_) => ("True", "Programmed", String::new()),
                Err(why) => ("False", "Invalid", why.clone()),
            };
            let condition = |kind: &str| self.condition(&gateway, kind, status, reason, &message);
            listeners.push(json!({
                "name": name,
                "attachedRoutes": 0,
                "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
                "conditions": [condition("Accepted"), condition("Programmed")],
            }));
            match done {
                Ok(port) => ports.push(port),
                Err(why) => failure = Some(why),
            }
        }
        let served = |id: &(Key, u16)| id.0 != *key || ports.contains(&id.1);
        self.served
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|id, _| served(id));
        let (status, reason) = if failure.is_none() {
            ("True", "Programmed")
        } else {
            ("False", "Invalid")
        };
        let message = failure.clone().unwrap_or_default();
        let status = json!({
            "addresses": [{"type": "IPAddress", "value": self.address.to_string()}],
            "conditions": [
                self.condition(&gateway, "Accepted", "True", "Accepted", ""),
                self.condition(&gateway, "Programmed", status, reason, &message),
            ],
            "listeners": listeners,
        });
        match patch_status(&self.api, &GATEWAY, &gateway, &status).await {
            Err(failure) => Outcome::Retry(failure.to_string()),
            Ok(_) => failure.map_or(Outcome::Wait, Outcome::Retry),
        }
    }
}

impl Gateways {
    fn condition(
        &self,
        object: &Object,
        kind: &str,
        status: &str,
        reason: &str,
        message: &str,
    ) -> Value {
        let earlier = object
            .get(&["status", "conditions"])
            .and_then(Value::as_array);
        condition(
            earlier,
            object,
            (kind, status, reason, message),
            &self.clock,
        )
    }
}

/// Puts HTTPRoutes in force.
pub(crate) struct Routes {
    api: weir_runtime::ApiClient,
    store: Arc<Store>,
    gateways: Arc<Store>,
    clock: SharedClock,
    proxy: Arc<Proxy>,
}

impl Routes {
    pub(crate) fn controller(context: &Context, proxy: Arc<Proxy>) -> Controller {
        let routes = context.caches.watch(WatchOf::all(&HTTP_ROUTE));
        let reconciler = Self {
            api: context.api.with_manager(CONTROLLER),
            store: routes.clone(),
            gateways: context.caches.watch(WatchOf::all(&GATEWAY)),
            clock: context.clock.clone(),
            proxy,
        };
        let of_gateway = move |change: &Change| {
            let refers = |route: &Arc<Object>| parents(route).any(|(_, g)| g == change.key);
            routes
                .list()
                .iter()
                .filter(|r| refers(r))
                .map(|r| r.key())
                .collect()
        };
        Controller::new(
            context,
            "sandbox-routes",
            &HTTP_ROUTE,
            reconciler,
            ControllerOptions::default(),
        )
        .also(WatchOf::all(&GATEWAY), of_gateway)
    }
}

/// The route's parent references to Gateways, each with the gateway's key.
fn parents(route: &Object) -> impl Iterator<Item = (&Value, Key)> {
    let references = route.get(&["spec", "parentRefs"]).and_then(Value::as_array);
    references.into_iter().flatten().filter_map(|r| {
        let kind = r["kind"].as_str().unwrap_or("Gateway");
        let namespace = r["namespace"].as_str().unwrap_or(route.namespace());
        (kind == "Gateway").then(|| {
            (
                r,
                Key::new(namespace, r["name"].as_str().unwrap_or_default()),
            )
        })
    })
}

#[async_trait::async_trait]
impl Reconciler for Routes {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let Some(object) = self.store.get(key) else {
            self.proxy.put(key, &[], None);
            return Outcome::Wait;
        };
        let read = Route::read(&object);
        let known = |(_, gateway): &(&Value, Key)| self.gateways.get(gateway).is_some();
        let mine: Vec<(&Value, Key)> = parents(&object).filter(known).collect();
        let gateways: Vec<Key> = mine.iter().map(|(_, gateway)| gateway.clone()).collect();
        // In force first, said afterwards: who reads Accepted may rely on it.
        self.proxy.put(key, &gateways, read.as_ref().ok().cloned());
        let accepted = match &read {
            Ok(_) => ("True", "Accepted", String::new()),
            Err(why) => ("False", "UnsupportedValue", why.to_string()),
        };
        let others = |status: &&Value| status["controllerName"].as_str() != Some(CONTROLLER);
        let earlier = object.get(&["status", "parents"]).and_then(Value::as_array);
        let mut statuses: Vec<Value> = earlier
            .into_iter()
            .flatten()
            .filter(others)
            .cloned()
            .collect();
        for (reference, _) in &mine {
            let before = earlier.into_iter().flatten().find(|p| {
                p["controllerName"].as_str() == Some(CONTROLLER) && p["parentRef"] == **reference
            });
            let before = before.and_then(|p| p["conditions"].as_array());
            let is = |kind, (status, reason, message): (&str, &str, &str)| {
                condition(
                    before,
                    &object,
                    (kind, status, reason, message),
                    &self.clock,
                )
            };
            statuses.push(json!({
                "parentRef": reference,
                "controllerName": CONTROLLER,
                "conditions": [
                    is("Accepted", (accepted.0, accepted.1, &accepted.2)),
                    is("ResolvedRefs", ("True", "ResolvedRefs", "")),
                ],
            }));
        }
        match patch_status(
            &self.api,
            &HTTP_ROUTE,
            &object,
            &json!({"parents": statuses}),
        )
        .await
        {
            Ok(_) => Outcome::Wait,
            Err(failure) => Outcome::Retry(failure.to_string()),
        }
    }
}

/// A condition whose transition time is kept while its status stays.
fn condition(
    earlier: Option<&Vec<Value>>,
    object: &Object,
    (kind, status, reason, message): (&str, &str, &str, &str),
    clock: &SharedClock,
) -> Value {
    let same = earlier
        .into_iter()
        .flatten()
        .find(|c| c["type"].as_str() == Some(kind) && c["status"].as_str() == Some(status));
    let now = || json!(clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": object.generation(),
        "lastTransitionTime": same.map_or_else(now, |c| c["lastTransitionTime"].clone()),
    })
}
