//! Owns the autoscaler: how the primary's is made from the target's, and how the target's is stopped
//! while the target is at zero. Pure: values in, values out; no field that this does not know is lost.

use serde_json::{Map, Value, json};
use weir_api::canary::{AutoscalerKind, AutoscalerReference};
use weir_api::names::TOOLKIT;
use weir_object::{Kind, Object, path};
use weir_rollout::{Piece, Scaler};

use crate::deployment::owner;
use crate::names::Names;
use crate::service::{unchanged, within};

/// HorizontalPodAutoscaler, in the version it is made in.
pub(crate) static HPA: Kind = Kind::namespaced(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
);

/// KEDA's ScaledObject.
pub(crate) static SCALED_OBJECT: Kind =
    Kind::namespaced("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");

/// Annotation that makes KEDA keep a number of pods.
const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";

/// What the primary's autoscaler is made from.
pub(crate) struct Maker<'a> {
    pub(crate) canary: &'a Object,
    pub(crate) asked: &'a AutoscalerReference,
    pub(crate) names: &'a Names,
}

impl Maker<'_> {
    pub(crate) fn kind(&self) -> &'static Kind {
        match self.asked.kind {
            AutoscalerKind::HorizontalPodAutoscaler => &HPA,
            AutoscalerKind::ScaledObject => &SCALED_OBJECT,
        }
    }

    /// The name of the primary's.
    pub(crate) fn name(&self) -> String {
        format!("{}-primary", self.asked.name)
    }

    /// The primary's, from the target's.
    pub(crate) fn made(&self, source: &Object) -> Object {
        let mut spec = source.get(&["spec"]).cloned().unwrap_or_default();
        let primary = self.names.primary.as_str();
        path::set(&mut spec, &["scaleTargetRef", "name"], primary.into());
        let scaled = self.asked.kind == AutoscalerKind::ScaledObject;
        let (min, max) = if scaled {
            ("minReplicaCount", "maxReplicaCount")
        } else {
            ("minReplicas", "maxReplicas")
        };
        if let Some(replicas) = &self.asked.primary_scaler_replicas {
            for (field, value) in [(min, replicas.min_replicas), (max, replicas.max_replicas)] {
                if let Some(value) = value {
                    spec[field] = value.into();
                }
            }
        }
        if scaled {
            self.queries(&mut spec);
            let at = ["advanced", "horizontalPodAutoscalerConfig", "name"];
            if let Some(name) = path::get(&spec, &at).and_then(Value::as_str) {
                let name = format!("{name}-primary");
                path::set(&mut spec, &at, name.into());
            }
        }
        let mut metadata = json!({
            "name": self.name(),
            "namespace": self.names.namespace,
            "ownerReferences": [owner(self.canary)],
        });
        let labels = kept(source, "labels");
        if !labels.is_empty() {
            metadata["labels"] = Value::Object(labels);
        }
        let annotations = kept(source, "annotations");
        if scaled && !annotations.is_empty() {
            metadata["annotations"] = Value::Object(annotations);
        }
        Object(json!({
            "apiVersion": self.kind().api_version(),
            "kind": self.kind().kind,
            "metadata": metadata,
            "spec": spec,
        }))
    }

    /// The primary's questions, where the target's ask for the target by name.
    fn queries(&self, spec: &mut Value) {
        let own = &self.asked.primary_scaler_queries;
        let triggers = path::get_mut(spec, &["triggers"]).and_then(Value::as_array_mut);
        for trigger in triggers.into_iter().flatten() {
            let name = path::text(trigger, &["name"]).to_owned();
            let at = ["metadata", "query"];
            let Some(query) = path::get(trigger, &at).and_then(Value::as_str) else {
                continue;
            };
            let query = if own.is_empty() {
                primary_query(query, &self.names.target, &self.names.primary)
            } else {
                own.get(&name).cloned().unwrap_or_else(|| query.to_owned())
            };
            path::set(trigger, &at, query.into());
        }
    }

    /// What is to be decided from.
    pub(crate) fn facts(&self, source: Option<&Object>, live: Option<&Object>) -> Option<Scaler> {
        let source = source?;
        let number = |field: &str| {
            let value = source.get(&["spec", field]).and_then(Value::as_u64);
            value.and_then(|v| u32::try_from(v).ok())
        };
        let scaled = self.asked.kind == AutoscalerKind::ScaledObject;
        let (min, max) = if scaled {
            ("minReplicaCount", "maxReplicaCount")
        } else {
            ("minReplicas", "maxReplicas")
        };
        let wanted = self.made(source);
        let piece = match live {
            None => Piece::Absent,
            Some(live) => {
                let same = |at: &str| {
                    let wanted = wanted.get(&[at]).unwrap_or(&Value::Null);
                    live.get(&[at]).is_some_and(|live| within(wanted, live))
                };
                if same("spec") && same("metadata") {
                    Piece::Current
                } else {
                    Piece::Differs
                }
            }
        };
        Some(Scaler {
            primary: piece,
            min: number(min).unwrap_or(1).max(1),
            max: number(max),
            paused: scaled.then(|| source.annotation(PAUSED) == Some("0")),
        })
    }

    /// The JSON patch that stops the target's autoscaler at zero, or lets it go on.
    pub(crate) fn pause(source: &Object, paused: bool) -> Value {
        let mut ops = vec![unchanged(source)];
        let at = format!("/metadata/annotations/{}", PAUSED.replace('/', "~1"));
        if paused {
            let annotations = source.get(&["metadata", "annotations"]);
            if annotations.is_none_or(Value::is_null) {
                ops.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
            }
            ops.push(json!({"op": "add", "path": at, "value": "0"}));
        } else if source.annotation(PAUSED).is_some() {
            ops.push(json!({"op": "remove", "path": at}));
        }
        Value::Array(ops)
    }
}

/// Labels or annotations that are the user's own, less what pauses: a primary is never paused.
fn kept(source: &Object, field: &str) -> Map<String, Value> {
    let all = source.get(&["metadata", field]).and_then(Value::as_object);
    let marks = |key: &str| {
        key.contains(TOOLKIT)
            || key == PAUSED
            || key == "kubectl.kubernetes.io/last-applied-configuration"
    };
    all.into_iter()
        .flatten()
        .filter(|(key, _)| !marks(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A query about the target, asked about the primary. The target's name is replaced where it stands
/// for itself, not where it is a part of the primary's.
fn primary_query(query: &str, target: &str, primary: &str) -> String {
    const HOLE: &str = "\u{0}";
    query
        .replace(primary, HOLE)
        .replace(&format!("{target}-canary"), HOLE)
        .replace(target, HOLE)
        .replace(HOLE, primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::sample("c", "app", "app")
    }

    fn with<T>(asked: Value, run: impl FnOnce(&Maker<'_>) -> T) -> T {
        let canary = Object(
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "c", "namespace": "demo", "uid": "u1"}}),
        );
        run(&Maker {
            canary: &canary,
            asked: &serde_json::from_value(asked).expect("a reference"),
            names: &names(),
        })
    }

    #[test]
    fn an_hpa_by_its_whole_value() {
        let source = Object(json!({
            "metadata": {"name": "app", "namespace": "demo", "labels": {"team": "a",
                "kustomize.toolkit.fluxcd.io/name": "x"}},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "minReplicas": 2, "maxReplicas": 4, "unknownToMost": {"kept": true}},
        }));
        let asked = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "name": "app", "primaryScalerReplicas": {"minReplicas": 3}});
        with(asked, |maker| {
            let made = maker.made(&source);
            assert_eq!(
                made.0,
                json!({
                    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                    "metadata": {
                        "name": "app-primary", "namespace": "demo", "labels": {"team": "a"},
                        "ownerReferences": [{
                            "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "c",
                            "uid": "u1", "controller": true, "blockOwnerDeletion": true}],
                    },
                    "spec": {"scaleTargetRef":
                            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app-primary"},
                        "minReplicas": 3, "maxReplicas": 4, "unknownToMost": {"kept": true}},
                })
            );
            let facts = |live: Option<&Object>| maker.facts(Some(&source), live).expect("facts");
            assert_eq!(
                facts(Some(&made)),
                Scaler {
                    primary: Piece::Current,
                    min: 2,
                    max: Some(4),
                    paused: None
                }
            );
            let mut edited = made.clone();
            edited.set(&["spec", "maxReplicas"], 9.into());
            assert_eq!(facts(Some(&edited)).primary, Piece::Differs);
            assert_eq!(facts(None).primary, Piece::Absent);
        });
    }

    #[test]
    fn r18_a_scaled_object_keeps_what_is_unknown_and_a_primary_is_never_paused() {
        let source = Object(json!({
            "metadata": {"name": "so", "namespace": "demo", "resourceVersion": "5",
                "annotations": {PAUSED: "0", "scaledobject.keda.sh/transfer-hpa-ownership": "true"}},
            "spec": {
                "scaleTargetRef": {"name": "app"}, "minReplicaCount": 0, "cooldownPeriod": 30,
                "advanced": {"horizontalPodAutoscalerConfig": {"name": "app"}},
                "triggers": [
                    {"type": "prometheus", "name": "rate", "metadata":
                        {"query": "sum(rate(x{pod=~\"app-.*\",svc=\"app-canary\"}[1m]))"}},
                    {"type": "cron", "metadata": {"start": "0"}},
                ],
            },
        }));
        let asked = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "so"});
        with(asked.clone(), |maker| {
            let made = maker.made(&source);
            assert_eq!(
                made.get(&["metadata", "annotations"]),
                Some(&json!({"scaledobject.keda.sh/transfer-hpa-ownership": "true"}))
            );
            assert_eq!(
                made.get(&["spec"]),
                Some(&json!({
                    "scaleTargetRef": {"name": "app-primary"}, "minReplicaCount": 0,
                    "cooldownPeriod": 30,
                    "advanced": {"horizontalPodAutoscalerConfig": {"name": "app-primary"}},
                    "triggers": [
                        {"type": "prometheus", "name": "rate", "metadata": {"query":
                            "sum(rate(x{pod=~\"app-primary-.*\",svc=\"app-primary\"}[1m]))"}},
                        {"type": "cron", "metadata": {"start": "0"}},
                    ],
                }))
            );
            let facts = maker.facts(Some(&source), None).expect("facts");
            assert_eq!((facts.min, facts.paused), (1, Some(true)));
            assert_eq!(
                Maker::pause(&source, false),
                json!([
                    {"op": "test", "path": "/metadata/resourceVersion", "value": "5"},
                    {"op": "remove",
                     "path": "/metadata/annotations/autoscaling.keda.sh~1paused-replicas"},
                ])
            );
        });
        let mut asked = asked;
        asked["primaryScalerQueries"] = json!({"rate": "own"});
        with(asked, |maker| {
            let made = maker.made(&source);
            let at = ["spec", "triggers", "0", "metadata", "query"];
            assert_eq!(made.text(&at), "own");
        });
    }
}
