//! Owns the Services around a Canary: how the generated ones look, and what is borrowed of one that
//! a user owns (its selector, nothing else). Pure: values in, values out.

use serde_json::{Map, Value, json};
use weir_api::IntOrString;
use weir_api::canary::{Service, ServiceMetadata};
use weir_object::{Object, path};
use weir_rollout::{Apex, Backend, Piece};

use crate::deployment::{Label, is_owned, other_owners, owner};
use crate::names::Names;

/// Annotation on a user's Service while its selector is borrowed: what the selector was.
const ORIGINAL: &str = "flagger.kubernetes.io/original-configuration";

/// Which of the three Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one users call.
    Apex,
    /// In front of the primary's pods.
    Primary,
    /// In front of the target's pods.
    Canary,
}

/// What the Services are made from.
pub(crate) struct Maker<'a> {
    pub(crate) canary: &'a Object,
    pub(crate) spec: &'a Service,
    pub(crate) names: &'a Names,
    pub(crate) label: &'a Label,
    /// The target's pod template, whose ports may be wanted.
    pub(crate) template: Option<&'a Value>,
}

/// Containers that a mesh puts beside the application.
const SIDECARS: [&str; 2] = ["istio-proxy", "envoy"];

impl Maker<'_> {
    pub(crate) fn name(&self, role: Role) -> &str {
        match role {
            Role::Apex => &self.names.apex,
            Role::Primary => &self.names.apex_primary,
            Role::Canary => &self.names.apex_canary,
        }
    }

    fn metadata(&self, role: Role) -> Option<&ServiceMetadata> {
        match role {
            Role::Apex => self.spec.apex.as_ref(),
            Role::Primary => self.spec.primary.as_ref(),
            Role::Canary => self.spec.canary.as_ref(),
        }
    }

    /// The selector that leads there.
    pub(crate) fn selector(&self, to: Backend) -> Value {
        let value = match to {
            Backend::Primary => self.label.primary_value(),
            Backend::Target => self.label.value.clone(),
        };
        Value::Object(Map::from_iter([(self.label.key.clone(), value.into())]))
    }

    fn leads(role: Role) -> Backend {
        match role {
            Role::Apex | Role::Primary => Backend::Primary,
            Role::Canary => Backend::Target,
        }
    }

    /// A generated Service.
    pub(crate) fn generated(&self, role: Role) -> Object {
        let (mut labels, mut annotations) = marks(self.metadata(role));
        // What somebody else keeps is not set either.
        if let Some(keys) = &self.spec.unmanaged_metadata {
            labels.retain(|key, _| !keys.labels.contains(key));
            annotations.retain(|key, _| !keys.annotations.contains(key));
        }
        labels.insert(self.label.key.clone(), self.name(role).into());
        let target_port = match &self.spec.target_port {
            None | Some(IntOrString::Int(0)) => json!(self.spec.port),
            Some(IntOrString::Int(number)) => json!(number),
            Some(IntOrString::Text(name)) => json!(name),
        };
        let mut port = json!({
            "name": self.spec.port_name.as_deref().filter(|n| !n.is_empty()).unwrap_or("http"),
            "port": self.spec.port,
            "protocol": "TCP",
            "targetPort": target_port,
        });
        if let Some(protocol) = self.spec.app_protocol.as_deref().filter(|p| !p.is_empty()) {
            port["appProtocol"] = protocol.into();
        }
        let mut ports = vec![port];
        ports.extend(self.discovered());
        let mut spec = json!({
            "type": "ClusterIP",
            "selector": self.selector(Self::leads(role)),
            "ports": ports,
        });
        if self.spec.headless {
            spec["clusterIP"] = "None".into();
        }
        if let Some(distribution) = &self.spec.traffic_distribution {
            spec["trafficDistribution"] = json!(distribution);
        }
        Object(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name(role),
                "namespace": self.names.namespace,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [owner(self.canary)],
            },
            "spec": spec,
        }))
    }

    /// The ports of the target's containers beside the one that is named, where they are wanted. Of
    /// those with one name or number the first is taken: a Service can't have two.
    fn discovered(&self) -> Vec<Value> {
        let mut out: Vec<Value> = Vec::new();
        if !self.spec.port_discovery {
            return out;
        }
        let containers = self
            .template
            .and_then(|t| path::get(t, &["spec", "containers"]))
            .and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            let name = path::text(container, &["name"]);
            if SIDECARS.contains(&name) {
                continue;
            }
            let ports = container.get("ports").and_then(Value::as_array);
            for (i, port) in ports.into_iter().flatten().enumerate() {
                let number = port.get("containerPort").and_then(Value::as_i64);
                let Some(number) = number.and_then(|n| i32::try_from(n).ok()) else {
                    continue;
                };
                let named = path::text(port, &["name"]);
                let main = match &self.spec.target_port {
                    None | Some(IntOrString::Int(0)) => number == self.spec.port,
                    Some(IntOrString::Int(target)) => i64::from(number) == *target,
                    Some(IntOrString::Text(target)) => named == target,
                };
                let name = if named.is_empty() {
                    format!("tcp-{name}-{i}")
                } else {
                    named.to_owned()
                };
                let main_name = self.spec.port_name.as_deref().filter(|n| !n.is_empty());
                let taken = number == self.spec.port
                    || name == main_name.unwrap_or("http")
                    || out
                        .iter()
                        .any(|p| p["port"] == number || p["name"] == *name);
                if main || taken {
                    continue;
                }
                out.push(json!({"name": name, "port": number, "protocol": "TCP",
                    "targetPort": number}));
            }
        }
        out
    }

    /// Whether the Service of this role is as it should be.
    pub(crate) fn piece(&self, role: Role, live: Option<&Object>) -> Piece {
        let Some(live) = live else {
            return Piece::Absent;
        };
        let selects = live.get(&["spec", "selector"]) == Some(&self.selector(Self::leads(role)));
        let current =
            selects && (!is_owned(live, self.canary) || within(&self.generated(role).0, &live.0));
        if current {
            Piece::Current
        } else {
            Piece::Differs
        }
    }

    /// Where the apex Service leads. `target_labels` are those of the target's pods.
    pub(crate) fn apex(&self, live: Option<&Object>, target_labels: Option<&Value>) -> Apex {
        let Some(service) = live else {
            return Apex::Absent;
        };
        if self.piece(Role::Apex, live) == Piece::Current {
            return Apex::Primary;
        }
        let selector = service.get(&["spec", "selector"]);
        let selects_target = match (selector, target_labels) {
            (Some(Value::Object(wanted)), Some(labels)) if !wanted.is_empty() => wanted
                .iter()
                .all(|(key, value)| path::get(labels, &[key]) == Some(value)),
            _ => false,
        };
        if selects_target && !is_owned(service, self.canary) {
            Apex::Target
        } else {
            Apex::Other
        }
    }

    /// The JSON patch that borrows a user's Service: its selector, and a note of what it was.
    pub(crate) fn borrow(&self, live: &Object, to: Backend) -> Value {
        let mut ops = vec![unchanged(live)];
        if to == Backend::Primary && live.annotation(ORIGINAL).is_none() {
            let selector = live.get(&["spec", "selector"]).cloned().unwrap_or_default();
            let note = json!({"selector": selector}).to_string();
            ops.extend(annotate(live, ORIGINAL, &note));
        }
        ops.push(json!({"op": "add", "path": "/spec/selector", "value": self.selector(to)}));
        Value::Array(ops)
    }

    /// The JSON patch that lets go of the apex Service: it selects the target's pods, as it did
    /// before where that is known, and no longer goes with the Canary.
    pub(crate) fn release(&self, live: &Object) -> Value {
        let original = live
            .annotation(ORIGINAL)
            .and_then(|note| serde_json::from_str::<Value>(note).ok())
            .and_then(|note| note.get("selector").cloned())
            .filter(|selector| selector.as_object().is_some_and(|s| !s.is_empty()))
            .filter(|selector| *selector != self.selector(Backend::Primary));
        let selector = original.unwrap_or_else(|| self.selector(Backend::Target));
        let mut ops = vec![unchanged(live)];
        ops.push(json!({"op": "add", "path": "/spec/selector", "value": selector}));
        ops.extend(let_go(live, self.canary));
        if live.annotation(ORIGINAL).is_some() {
            let at = format!("/metadata/annotations/{}", escape(ORIGINAL));
            ops.push(json!({"op": "remove", "path": at}));
        }
        Value::Array(ops)
    }
}

/// Labels and annotations of a generated object. The two annotations keep the toolkit's own
/// controllers away from it.
pub(crate) fn marks(
    configured: Option<&ServiceMetadata>,
) -> (Map<String, Value>, Map<String, Value>) {
    let copy = |map: Option<&std::collections::BTreeMap<String, String>>| -> Map<String, Value> {
        map.into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone().into()))
            .collect()
    };
    let labels = copy(configured.map(|m| &m.labels));
    let mut annotations = copy(configured.map(|m| &m.annotations));
    annotations.insert(
        "kustomize.toolkit.fluxcd.io/reconcile".to_owned(),
        "disabled".into(),
    );
    annotations.insert(
        "helm.toolkit.fluxcd.io/driftDetection".to_owned(),
        "disabled".into(),
    );
    (labels, annotations)
}

/// The precondition of a JSON patch: nobody wrote in between.
pub(crate) fn unchanged(live: &Object) -> Value {
    json!({"op": "test", "path": "/metadata/resourceVersion", "value": live.resource_version()})
}

/// The operations that end the Canary's ownership.
pub(crate) fn let_go(live: &Object, canary: &Object) -> Option<Value> {
    is_owned(live, canary).then(|| {
        let others = other_owners(live, canary);
        json!({"op": "add", "path": "/metadata/ownerReferences", "value": others})
    })
}

fn annotate(live: &Object, key: &str, value: &str) -> Vec<Value> {
    let mut ops = Vec::new();
    if live
        .get(&["metadata", "annotations"])
        .is_none_or(Value::is_null)
    {
        ops.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    let at = format!("/metadata/annotations/{}", escape(key));
    ops.push(json!({"op": "add", "path": at, "value": value}));
    ops
}

/// A key as a step of a JSON pointer.
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Whether everything in `wanted` is in `live` too. Lists must have the same length; selectors and
/// owner references are part of what is wanted like anything else.
pub(crate) fn within(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|l| within(value, l))),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(w, l)| within(w, l))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => wanted == live,
    }
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

    fn with<T>(run: impl FnOnce(&Maker<'_>) -> T) -> T {
        let names = Names::sample("c", "app", "web");
        let spec = Service {
            name: Some("web".into()),
            port: 80,
            target_port: Some(IntOrString::Text("http".into())),
            app_protocol: Some("http".into()),
            apex: Some(ServiceMetadata {
                labels: [("team".to_owned(), "a".to_owned())].into(),
                ..ServiceMetadata::default()
            }),
            ..Service::default()
        };
        let label = Label {
            key: "app".into(),
            value: "app".into(),
        };
        run(&Maker {
            canary: &canary(),
            spec: &spec,
            names: &names,
            label: &label,
            template: None,
        })
    }

    #[test]
    fn a_generated_service_by_its_whole_value() {
        let expected = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "web", "namespace": "demo",
                "labels": {"team": "a", "app": "web"},
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
                "type": "ClusterIP",
                "selector": {"app": "app-primary"},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http",
                    "appProtocol": "http"}],
            },
        });
        with(|maker| {
            assert_eq!(maker.generated(Role::Apex).0, expected);
            let canary = maker.generated(Role::Canary);
            assert_eq!(
                canary.get(&["spec", "selector"]),
                Some(&json!({"app": "app"}))
            );
            assert_eq!(canary.name(), "web-canary");
            let mut live = maker.generated(Role::Apex);
            live.set(&["spec", "clusterIP"], "10.0.0.1".into());
            assert_eq!(maker.piece(Role::Apex, Some(&live)), Piece::Current);
            live.set(&["spec", "ports", "0", "port"], 81.into());
            assert_eq!(maker.piece(Role::Apex, Some(&live)), Piece::Differs);
        });
    }

    #[test]
    fn r19_ports_of_containers_are_found_and_none_is_there_twice() {
        let template = json!({"spec": {"containers": [
            {"name": "app", "ports": [
                {"containerPort": 9898, "name": "http"}, {"containerPort": 9797, "name": "metrics"},
                {"containerPort": 80}, {"containerPort": 7000}, {"containerPort": 9797}]},
            {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
        ]}});
        with(|maker| {
            let spec = Service {
                port_discovery: true,
                unmanaged_metadata: Some(weir_api::canary::MetadataKeys {
                    labels: vec!["team".into()],
                    annotations: vec![],
                }),
                ..maker.spec.clone()
            };
            let maker = Maker {
                canary: maker.canary,
                spec: &spec,
                names: maker.names,
                label: maker.label,
                template: Some(&template),
            };
            let made = maker.generated(Role::Apex);
            let ports = made.get(&["spec", "ports"]).and_then(Value::as_array);
            let found: Vec<_> = (ports.into_iter().flatten())
                .map(|p| (p["name"].clone(), p["port"].clone()))
                .collect();
            assert_eq!(
                found,
                [
                    (json!("http"), json!(80)),
                    (json!("metrics"), json!(9797)),
                    (json!("tcp-app-3"), json!(7000)),
                ]
            );
            assert_eq!(made.label("team"), None, "somebody else keeps it");
        });
    }

    #[test]
    fn a_users_service_lends_its_selector_and_gets_it_back() {
        let mut live = Object(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "demo", "resourceVersion": "7"},
            "spec": {"selector": {"app": "app", "tier": "x"}, "ports": [{"port": 8080}]},
        }));
        let labels = json!({"app": "app", "tier": "x", "more": "y"});
        with(|maker| {
            assert_eq!(maker.apex(Some(&live), Some(&labels)), Apex::Target);
            assert_eq!(
                maker.borrow(&live, Backend::Primary),
                json!([
                    {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                    {"op": "add", "path": "/metadata/annotations", "value": {}},
                    {"op": "add",
                     "path": "/metadata/annotations/flagger.kubernetes.io~1original-configuration",
                     "value": "{\"selector\":{\"app\":\"app\",\"tier\":\"x\"}}"},
                    {"op": "add", "path": "/spec/selector", "value": {"app": "app-primary"}},
                ])
            );
            let note = "{\"selector\":{\"app\":\"app\",\"tier\":\"x\"}}";
            live.set(&["metadata", "annotations", ORIGINAL], note.into());
            live.set(&["spec", "selector"], json!({"app": "app-primary"}));
            assert_eq!(maker.apex(Some(&live), Some(&labels)), Apex::Primary);
            let release = maker.release(&live);
            assert_eq!(release[1]["value"], json!({"app": "app", "tier": "x"}));
            assert_eq!(release[2]["op"], "remove");
        });
    }

    #[test]
    fn a_generated_apex_is_let_go_of_on_release() {
        with(|maker| {
            let mut live = maker.generated(Role::Apex);
            live.set(&["metadata", "resourceVersion"], "9".into());
            let labels = json!({"app": "app"});
            let release = maker.release(&live);
            assert_eq!(
                release,
                json!([
                    {"op": "test", "path": "/metadata/resourceVersion", "value": "9"},
                    {"op": "add", "path": "/spec/selector", "value": {"app": "app"}},
                    {"op": "add", "path": "/metadata/ownerReferences", "value": []},
                ])
            );
            live.set(&["spec", "selector"], json!({"app": "app"}));
            assert_eq!(maker.apex(Some(&live), Some(&labels)), Apex::Other);
            live.remove(&["metadata", "ownerReferences"]);
            assert_eq!(maker.apex(Some(&live), Some(&labels)), Apex::Target);
        });
    }
}
