//! Owns the HTTPRoute: how a generated one looks, what is borrowed of one a user owns (the backends
//! of the rules that lead to the Canary's Services; other rules stay as they are), how traffic is
//! read back, and whether the data plane has taken it over. Pure: values in, values out.

use serde_json::{Map, Value, json};
use weir_api::canary::{Analysis, GatewayReference, Service};
use weir_object::{Object, path};
use weir_rollout::{Backends, Cookies, InForce, Route, Traffic};

use crate::deployment::{is_owned, owner};
use crate::names::Names;
use crate::rules::Rules;
use crate::service::{let_go, marks, unchanged, within};

/// What the route is made from.
pub(crate) struct Maker<'a> {
    pub(crate) canary: &'a Object,
    pub(crate) spec: &'a Service,
    pub(crate) analysis: &'a Analysis,
    pub(crate) names: &'a Names,
}

/// Where the managed rules are to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// To primary and canary.
    Split(Traffic),
    /// To the apex Service.
    Apex,
}

impl Maker<'_> {
    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules {
            service: self.spec,
            analysis: self.analysis,
            names: self.names,
        }
    }

    fn backends(&self, lead: &Lead, port: &Value) -> Value {
        match lead {
            Lead::Split(to) => {
                let canary = u32::from(to.canary.min(100));
                json!([
                    backend(&self.names.apex_primary, port, 100 - canary),
                    backend(&self.names.apex_canary, port, canary),
                ])
            }
            Lead::Apex => json!([backend(&self.names.apex, port, 1)]),
        }
    }

    /// The rules of a generated route.
    fn generated_rules(&self, lead: &Lead) -> Vec<Value> {
        match lead {
            Lead::Split(to) => self.rules().of(to),
            Lead::Apex => {
                let mut rules = self.rules().of(&Traffic::canary(0));
                for rule in &mut rules {
                    rule["backendRefs"] = self.backends(lead, &self.spec.port.into());
                }
                rules
            }
        }
    }

    /// The generated route.
    pub(crate) fn generated(&self, lead: &Lead) -> Object {
        let (labels, annotations) = marks(self.spec.apex.as_ref());
        let mut spec = json!({
            "parentRefs": self.spec.gateway_refs.iter().map(parent).collect::<Vec<_>>(),
        });
        if !self.spec.hosts.is_empty() {
            spec["hostnames"] = json!(self.spec.hosts);
        }
        spec["rules"] = self.generated_rules(lead).into();
        let mut metadata = json!({
            "name": self.names.apex,
            "namespace": self.names.namespace,
            "annotations": annotations,
            "ownerReferences": [owner(self.canary)],
        });
        if !labels.is_empty() {
            metadata["labels"] = Value::Object(labels);
        }
        Object(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": metadata,
            "spec": spec,
        }))
    }

    /// Whether a backend is one of the Canary's three Services.
    fn is_ours(&self, backend: &Value) -> bool {
        let kind = path::text(backend, &["kind"]);
        let namespace = path::text(backend, &["namespace"]);
        let name = path::text(backend, &["name"]);
        path::text(backend, &["group"]).is_empty()
            && (kind.is_empty() || kind == "Service")
            && (namespace.is_empty() || namespace == self.names.namespace)
            && [
                &self.names.apex,
                &self.names.apex_primary,
                &self.names.apex_canary,
            ]
            .iter()
            .any(|ours| *ours == name)
    }

    /// The rules that lead to one of the Canary's Services, by index.
    pub(crate) fn managed<'a>(&self, live: &'a Object) -> Vec<(usize, &'a Value)> {
        rules(live)
            .enumerate()
            .filter(|(_, rule)| backend_refs(rule).any(|b| self.is_ours(b)))
            .collect()
    }

    fn weights(&self, rule: &Value) -> Backends {
        let refs: Vec<&Value> = backend_refs(rule).collect();
        let weight = |b: &Value| match b.get("weight") {
            None | Some(Value::Null) => Some(1),
            Some(weight) => weight.as_u64().and_then(|w| u32::try_from(w).ok()),
        };
        match refs.as_slice() {
            [one] if path::text(one, &["name"]) == self.names.apex => Backends::Apex,
            [primary, canary]
                if path::text(primary, &["name"]) == self.names.apex_primary
                    && path::text(canary, &["name"]) == self.names.apex_canary =>
            {
                match (weight(primary), weight(canary).map(u8::try_from)) {
                    (Some(primary), Some(Ok(canary))) if primary + u32::from(canary) == 100 => {
                        Backends::Split(Traffic::canary(canary))
                    }
                    _ => Backends::Other,
                }
            }
            _ => Backends::Other,
        }
    }

    /// Where a generated route leads, by the shape of its rules: the last one tells the shares, and
    /// two of which the last leads to the primary alone are those of matching requests.
    fn led(&self, managed: &[(usize, &Value)], cookies: Option<&Cookies>) -> Backends {
        let Some((_, last)) = managed.last() else {
            return Backends::Other;
        };
        let alone = backend_refs(last).count() == 1
            && backend_refs(last).all(|b| path::text(b, &["name"]) == self.names.apex_primary);
        let (tells, matched) = match managed {
            [(_, first), _] if alone => (*first, true),
            _ => (*last, false),
        };
        match self.weights(tells) {
            Backends::Split(to) => Backends::Split(Traffic {
                mirror: !matched && self.copies(tells),
                matched: matched && to.canary > 0,
                cookies: cookies.cloned(),
                ..to
            }),
            other => other,
        }
    }

    /// Whether a rule copies requests to the canary.
    fn copies(&self, rule: &Value) -> bool {
        let filters = rule.get("filters").and_then(Value::as_array);
        filters.into_iter().flatten().any(|f| {
            path::text(f, &["requestMirror", "backendRef", "name"]) == self.names.apex_canary
        })
    }

    /// What the route says, with the cookies it should know. Rules that disagree are as good as
    /// none.
    pub(crate) fn observed(&self, live: Option<&Object>, cookies: Option<&Cookies>) -> Route {
        let Some(live) = live else {
            return Route::Absent;
        };
        let managed = self.managed(live);
        let (backends, current) = if is_owned(live, self.canary) {
            let backends = self.led(&managed, cookies);
            let lead = match &backends {
                Backends::Split(to) => Lead::Split(to.clone()),
                Backends::Apex | Backends::Other => Lead::Apex,
            };
            let current = within(&self.generated(&lead).0, &live.0);
            (backends, current)
        } else {
            let mut found = managed.iter().map(|(_, rule)| self.weights(rule));
            let backends = match found.next() {
                Some(first) if found.all(|other| other == first) => first,
                _ => Backends::Other,
            };
            (backends, true)
        };
        Route::Present {
            backends,
            current,
            in_force: in_force(live),
        }
    }

    /// The JSON patch that makes the managed rules of a user's route lead there, or that lets go of
    /// a generated one.
    pub(crate) fn borrow(&self, live: &Object, lead: &Lead) -> Value {
        let mut ops = vec![unchanged(live)];
        if is_owned(live, self.canary) {
            let rules = self.generated_rules(lead);
            ops.push(json!({"op": "add", "path": "/spec/rules", "value": rules}));
        } else {
            for (index, rule) in self.managed(live) {
                let port = backend_refs(rule)
                    .find(|b| self.is_ours(b))
                    .and_then(|b| b.get("port"))
                    .cloned()
                    .unwrap_or_else(|| self.spec.port.into());
                let at = format!("/spec/rules/{index}/backendRefs");
                ops.push(json!({"op": "add", "path": at, "value": self.backends(lead, &port)}));
            }
        }
        if *lead == Lead::Apex {
            ops.extend(let_go(live, self.canary));
        }
        Value::Array(ops)
    }
}

fn backend(name: &str, port: &Value, weight: u32) -> Value {
    json!({"group": "", "kind": "Service", "name": name, "port": port, "weight": weight})
}

fn rules(route: &Object) -> impl Iterator<Item = &Value> {
    route
        .get(&["spec", "rules"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn backend_refs(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("backendRefs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A Gateway as the route names it, with what the API would fill in.
fn parent(reference: &GatewayReference) -> Value {
    let mut out = Map::new();
    let group = reference
        .group
        .as_deref()
        .unwrap_or("gateway.networking.k8s.io");
    out.insert("group".to_owned(), group.into());
    out.insert(
        "kind".to_owned(),
        reference.kind.as_deref().unwrap_or("Gateway").into(),
    );
    if let Some(namespace) = &reference.namespace {
        out.insert("namespace".to_owned(), namespace.clone().into());
    }
    out.insert("name".to_owned(), reference.name.clone().into());
    if let Some(section) = &reference.section_name {
        out.insert("sectionName".to_owned(), section.clone().into());
    }
    if let Some(port) = reference.port {
        out.insert("port".to_owned(), port.into());
    }
    Value::Object(out)
}

/// Whether every parent has accepted the route's current generation.
fn in_force(route: &Object) -> InForce {
    let parents: Vec<&Value> = route
        .get(&["spec", "parentRefs"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let name = route.name();
    if parents.is_empty() {
        return InForce::No(format!("HTTPRoute {name} hangs on no Gateway"));
    }
    let statuses: Vec<&Value> = route
        .get(&["status", "parents"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    for parent in parents {
        let gateway = path::text(parent, &["name"]);
        let mut accepted = false;
        for status in &statuses {
            let about = status.get("parentRef").unwrap_or(&Value::Null);
            if !same_parent(parent, about, route.namespace()) {
                continue;
            }
            for kind in ["Accepted", "ResolvedRefs"] {
                match condition(status, kind, route.generation()) {
                    Some((true, _)) => accepted |= kind == "Accepted",
                    Some((false, why)) => {
                        let text = format!("HTTPRoute {name} is refused by {gateway}: {why}");
                        return InForce::No(text);
                    }
                    None => {}
                }
            }
        }
        if !accepted {
            let text = format!("HTTPRoute {name} to be accepted by {gateway}");
            return InForce::Unknown(text);
        }
    }
    InForce::Yes
}

/// A condition that speaks of this generation: whether it holds, and why not.
fn condition(status: &Value, kind: &str, generation: i64) -> Option<(bool, String)> {
    let all = status.get("conditions").and_then(Value::as_array);
    let found = all
        .into_iter()
        .flatten()
        .find(|c| path::text(c, &["type"]) == kind)?;
    let observed = found
        .get("observedGeneration")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if observed < generation {
        return None;
    }
    match path::text(found, &["status"]) {
        "True" => Some((true, String::new())),
        "False" => {
            let text = |field| path::text(found, &[field]);
            Some((
                false,
                format!("{} {}", text("reason"), text("message"))
                    .trim()
                    .to_owned(),
            ))
        }
        _ => None,
    }
}

fn same_parent(a: &Value, b: &Value, namespace: &str) -> bool {
    let text = |v: &Value, field: &str, default: &str| match path::text(v, &[field]) {
        "" => default.to_owned(),
        text => text.to_owned(),
    };
    [
        ("group", "gateway.networking.k8s.io"),
        ("kind", "Gateway"),
        ("namespace", namespace),
        ("name", ""),
        ("sectionName", ""),
    ]
    .iter()
    .all(|(field, default)| text(a, field, default) == text(b, field, default))
        && a.get("port").and_then(Value::as_u64) == b.get("port").and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary() -> Object {
        Object(
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "c", "namespace": "demo", "uid": "u1"}}),
        )
    }

    fn split(canary: u8) -> Lead {
        Lead::Split(Traffic::canary(canary))
    }

    fn with<T>(run: impl FnOnce(&Maker<'_>) -> T) -> T {
        let names = Names::sample("c", "app", "app");
        let spec = Service {
            port: 9898,
            hosts: vec!["app.example.com".into()],
            timeout: Some("10s".into()),
            gateway_refs: vec![GatewayReference {
                name: "gateway".into(),
                namespace: Some("demo".into()),
                ..GatewayReference::default()
            }],
            ..Service::default()
        };
        run(&Maker {
            canary: &canary(),
            spec: &spec,
            analysis: &Analysis::default(),
            names: &names,
        })
    }

    fn accept(route: &mut Object, generation: i64, status: &str) {
        route.set(
            &["status", "parents"],
            json!([{
                "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway",
                    "name": "gateway", "namespace": "demo"},
                "conditions": [{"type": "Accepted", "status": status, "reason": "R",
                    "message": "m", "observedGeneration": generation}],
            }]),
        );
    }

    #[test]
    fn a_generated_route_by_its_whole_value() {
        let expected = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {
                "name": "app", "namespace": "demo",
                "annotations": {
                    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
                    "helm.toolkit.fluxcd.io/driftDetection": "disabled",
                },
                "ownerReferences": [{
                    "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "c",
                    "uid": "u1", "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway",
                    "namespace": "demo", "name": "gateway"}],
                "hostnames": ["app.example.com"],
                "rules": [{
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "app-primary", "port": 9898,
                            "weight": 70},
                        {"group": "", "kind": "Service", "name": "app-canary", "port": 9898,
                            "weight": 30},
                    ],
                    "timeouts": {"request": "10s"},
                }],
            },
        });
        with(|maker| assert_eq!(maker.generated(&split(30)).0, expected));
    }

    #[test]
    fn weights_are_read_back_and_in_force_only_when_accepted_for_this_generation() {
        with(|maker| {
            let mut live = maker.generated(&split(30));
            live.set(&["metadata", "generation"], 4.into());
            let present = |in_force| Route::Present {
                backends: Backends::Split(Traffic::canary(30)),
                current: true,
                in_force,
            };
            let waiting = "HTTPRoute app to be accepted by gateway".to_owned();
            assert_eq!(
                maker.observed(Some(&live), None),
                present(InForce::Unknown(waiting.clone()))
            );
            accept(&mut live, 3, "True");
            assert_eq!(
                maker.observed(Some(&live), None),
                present(InForce::Unknown(waiting))
            );
            accept(&mut live, 4, "True");
            assert_eq!(maker.observed(Some(&live), None), present(InForce::Yes));
            accept(&mut live, 4, "False");
            let refused = "HTTPRoute app is refused by gateway: R m".to_owned();
            assert_eq!(
                maker.observed(Some(&live), None),
                present(InForce::No(refused))
            );
            assert_eq!(maker.observed(None, None), Route::Absent);
            live.set(&["spec", "hostnames"], json!(["other.example.com"]));
            assert!(matches!(
                maker.observed(Some(&live), None),
                Route::Present { current: false, .. }
            ));
        });
    }

    #[test]
    fn a_users_route_keeps_its_other_rules() {
        let live = Object(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "app", "namespace": "demo", "resourceVersion": "5"},
            "spec": {
                "parentRefs": [{"name": "gateway"}],
                "rules": [
                    {"matches": [{"path": {"value": "/docs"}}],
                     "backendRefs": [{"name": "docs", "port": 80}]},
                    {"filters": [{"type": "RequestHeaderModifier"}],
                     "backendRefs": [{"name": "app", "port": 8080}]},
                ],
            },
        }));
        with(|maker| {
            assert!(matches!(
                maker.observed(Some(&live), None),
                Route::Present {
                    backends: Backends::Apex,
                    current: true,
                    ..
                }
            ));
            assert_eq!(
                maker.borrow(&live, &split(10)),
                json!([
                    {"op": "test", "path": "/metadata/resourceVersion", "value": "5"},
                    {"op": "add", "path": "/spec/rules/1/backendRefs", "value": [
                        {"group": "", "kind": "Service", "name": "app-primary", "port": 8080,
                            "weight": 90},
                        {"group": "", "kind": "Service", "name": "app-canary", "port": 8080,
                            "weight": 10},
                    ]},
                ])
            );
        });
    }

    #[test]
    fn rules_that_disagree_and_weights_that_are_missing_are_no_panic() {
        with(|maker| {
            let mut live = maker.generated(&split(30));
            live.remove(&["spec", "rules", "0", "backendRefs", "1", "weight"]);
            assert!(matches!(
                maker.observed(Some(&live), None),
                Route::Present {
                    backends: Backends::Other,
                    ..
                }
            ));
            live.set(&["spec", "rules"], json!("odd"));
            assert!(matches!(
                maker.observed(Some(&live), None),
                Route::Present {
                    backends: Backends::Other,
                    current: false,
                    ..
                }
            ));
        });
    }
}
