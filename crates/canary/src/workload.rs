//! Owns what differs between the kinds that can be released: where the pod template is, how many pods
//! there are to be, whether a rollout is through, and how pods are taken away and brought back. Pure:
//! values in, values out.
//!
//! A Service that is released stands for pods that somebody else runs: what changes is where it leads.
//! Its revision is its spec, less what the API server assigns; nothing is taken away between runs.
//!
//! A DaemonSet has no number of pods: it is parked by a node selector that no node meets. The selector
//! is never part of a revision, so a parked target is the same revision as one that runs, and what is
//! made from it is never parked itself.

use serde_json::{Value, json};
use weir_api::canary::{Spec, TargetKind};
use weir_object::{Kind, Object, path};
use weir_rollout::{PARKED, Readiness};
use weir_runtime::Write;
use weir_runtime::kinds::{DAEMON_SET, DEPLOYMENT, SERVICE};

use crate::deployment::{self, count, owner, replicas};
use crate::service::{escape, marks, unchanged};

const AT: &str = "/spec/template/spec/nodeSelector";
const SELECTOR: [&str; 5] = ["spec", "template", "spec", "nodeSelector", PARKED];

/// A kind that can be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Deployment,
    DaemonSet,
    Service,
}

impl Workload {
    /// That of a target.
    pub(crate) fn of(spec: &Spec) -> Self {
        match spec.target_ref.kind {
            TargetKind::DaemonSet => Self::DaemonSet,
            TargetKind::Deployment => Self::Deployment,
            TargetKind::Service => Self::Service,
        }
    }

    /// The same by the kind's name; any other is taken for a Deployment.
    pub(crate) fn of_kind(kind: &str) -> Self {
        match kind {
            "DaemonSet" => Self::DaemonSet,
            "Service" => Self::Service,
            _ => Self::Deployment,
        }
    }

    pub(crate) fn kind(self) -> &'static Kind {
        static DEPLOYMENTS: Kind = DEPLOYMENT;
        static DAEMON_SETS: Kind = DAEMON_SET;
        static SERVICES: Kind = SERVICE;
        match self {
            Self::Service => &SERVICES,
            Self::Deployment => &DEPLOYMENTS,
            Self::DaemonSet => &DAEMON_SETS,
        }
    }

    /// The fields that come from the live target at creation and at each promotion, beside the
    /// template.
    pub(crate) fn followed(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &[
                "minReadySeconds",
                "progressDeadlineSeconds",
                "revisionHistoryLimit",
                "strategy",
            ],
            Self::DaemonSet => &["minReadySeconds", "revisionHistoryLimit", "updateStrategy"],
            Self::Service => &[],
        }
    }

    /// What a revision is of: the pod template as it is when pods are to run, or a Service's spec.
    pub(crate) fn template(self, object: &Object) -> Option<Value> {
        if self == Self::Service {
            return object.get(&["spec"]).map(service_spec);
        }
        let mut template = object.get(&["spec", "template"])?.clone();
        if self == Self::DaemonSet {
            path::remove(&mut template, &["spec", "nodeSelector", PARKED]);
        }
        Some(template)
    }

    /// How many pods are asked for. One stands for as many as there are nodes for.
    pub(crate) fn replicas(self, object: &Object) -> u32 {
        match self {
            Self::Deployment => replicas(object),
            Self::DaemonSet => u32::from(object.get(&SELECTOR).is_none()),
            Self::Service => 1,
        }
    }

    /// Whether pods can be taken away and brought back.
    pub(crate) fn scales(self) -> bool {
        self != Self::Service
    }

    /// How many pods are able to serve.
    pub(crate) fn available(self, object: &Object) -> u32 {
        match self {
            Self::Deployment => count(object, &["status", "availableReplicas"]),
            Self::DaemonSet => count(object, &["status", "numberAvailable"]),
            Self::Service => 1,
        }
    }

    /// Whether a rollout is through: all pods updated, and `threshold` percent available.
    pub(crate) fn readiness(self, object: &Object, threshold: u32) -> Readiness {
        match self {
            Self::Deployment => deployment::readiness(object, threshold),
            Self::DaemonSet => daemon_set_readiness(object, threshold),
            Self::Service => Readiness::Ready,
        }
    }

    /// The write by which this many pods are asked for; as many as now where it is not said. It is
    /// bound to the version that was read.
    pub(crate) fn scaled(self, live: &Object, to: Option<u32>) -> Write {
        let to = to.unwrap_or_else(|| self.replicas(live));
        match self {
            Self::Deployment => Write::Apply {
                fields: Object(json!({
                    "apiVersion": live.api_version(),
                    "kind": live.kind(),
                    "metadata": {
                        "name": live.name(),
                        "namespace": live.namespace(),
                        "resourceVersion": live.resource_version(),
                    },
                    "spec": {"replicas": to},
                })),
                force: true,
            },
            // A node selector has one owner as a whole: an apply of one label would drop the others.
            Self::DaemonSet => Write::Json(Value::Array(parking(live, to == 0))),
            Self::Service => Write::Json(json!([unchanged(live)])),
        }
    }

    /// Whether `manager` co-owns what pods are taken away by, or need not.
    pub(crate) fn is_claimed(self, live: &Object, manager: &str) -> bool {
        if self != Self::Deployment {
            return true;
        }
        let managers = live.get(&["metadata", "managedFields"]);
        let managers = managers.and_then(Value::as_array);
        managers.into_iter().flatten().any(|entry| {
            entry["manager"].as_str() == Some(manager)
                && entry["fieldsV1"]["f:spec"].get("f:replicas").is_some()
        })
    }

    /// What of a target makes it impossible to release, with the field.
    pub(crate) fn fault(self, target: &Object) -> Option<String> {
        let service_type = target.text(&["spec", "type"]);
        if self == Self::Service && service_type == "ExternalName" {
            return Some(
                "the Service's `spec.type` is ExternalName, which no traffic can be shared by; give \
                 it a selector"
                    .to_owned(),
            );
        }
        let strategy = target.text(&["spec", "updateStrategy", "type"]);
        (self == Self::DaemonSet && !matches!(strategy, "" | "RollingUpdate")).then(|| {
            format!(
                "the DaemonSet's `spec.updateStrategy.type` is {strategy}, so its pods would not \
                 follow; set it to RollingUpdate"
            )
        })
    }
}

/// Fields of a Service that the API server assigns, and that no two Services can share.
const ASSIGNED: [&str; 5] = [
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "healthCheckNodePort",
];

/// A Service's spec less what the API server assigns; that it has no address of its own is kept.
fn service_spec(spec: &Value) -> Value {
    let mut out = spec.clone();
    let headless = path::text(spec, &["clusterIP"]) == "None";
    for field in ASSIGNED {
        path::remove(&mut out, &[field]);
    }
    if headless {
        path::set(&mut out, &["clusterIP"], "None".into());
    }
    let ports = path::get_mut(&mut out, &["ports"]).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        path::remove(port, &["nodePort"]);
    }
    out
}

/// A Service that leads where a stored spec says.
pub(crate) fn service(canary: &Object, name: &str, spec: &Value) -> Object {
    let (labels, annotations) = marks(None);
    Object(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": canary.namespace(),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner(canary)],
        },
        "spec": spec,
    }))
}

/// The JSON patch that makes a live Service lead where a stored spec says. What the API server
/// assigned stays, and so does whose it is.
pub(crate) fn lead(live: &Object, spec: &Value) -> Value {
    let mut ops = vec![unchanged(live)];
    let fields = |value: Option<&Value>| -> Vec<String> {
        let map = value.and_then(Value::as_object);
        map.into_iter().flatten().map(|(k, _)| k.clone()).collect()
    };
    for field in fields(live.get(&["spec"])) {
        if spec.get(&field).is_none() && !ASSIGNED.contains(&field.as_str()) {
            ops.push(json!({"op": "remove", "path": format!("/spec/{field}")}));
        }
    }
    for field in fields(Some(spec)) {
        if !ASSIGNED.contains(&field.as_str()) {
            let at = format!("/spec/{field}");
            ops.push(json!({"op": "add", "path": at, "value": spec[&field]}));
        }
    }
    Value::Array(ops)
}

/// The JSON patch that parks a DaemonSet or lets it run.
fn parking(live: &Object, park: bool) -> Vec<Value> {
    let labels = live.get(&SELECTOR[..4]).and_then(Value::as_object);
    let parked = labels.is_some_and(|labels| labels.contains_key(PARKED));
    let mut ops = vec![unchanged(live)];
    let key = format!("{AT}/{}", escape(PARKED));
    if park && labels.is_none() {
        ops.push(json!({"op": "add", "path": AT, "value": {PARKED: "true"}}));
    } else if park {
        ops.push(json!({"op": "add", "path": key, "value": "true"}));
    } else if parked && labels.is_some_and(|labels| labels.len() == 1) {
        ops.push(json!({"op": "remove", "path": AT}));
    } else if parked {
        ops.push(json!({"op": "remove", "path": key}));
    }
    ops
}

fn daemon_set_readiness(object: &Object, threshold: u32) -> Readiness {
    if let Some(waiting) = deployment::unobserved(object) {
        return waiting;
    }
    let of = |field| count(object, &["status", field]);
    let wanted = of("desiredNumberScheduled");
    let needed = u64::from(wanted) * u64::from(threshold.min(100)) / 100;
    let (updated, available) = (of("updatedNumberScheduled"), of("numberAvailable"));
    if object.get(&SELECTOR).is_some() {
        Readiness::Ready
    } else if wanted == 0 {
        Readiness::Waiting("no node is to run a pod of it".to_owned())
    } else if updated < wanted {
        Readiness::Waiting(format!("{updated} of {wanted} pods are updated"))
    } else if u64::from(available) < needed {
        Readiness::Waiting(format!("{available} of {wanted} pods are available"))
    } else {
        Readiness::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon_set() -> Object {
        Object(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "d", "namespace": "demo", "generation": 2, "resourceVersion": "7"},
            "spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}},
            "status": {"observedGeneration": 2, "desiredNumberScheduled": 4,
                "updatedNumberScheduled": 4, "numberAvailable": 3},
        }))
    }

    #[test]
    fn a_parked_daemon_set_is_the_same_revision() {
        let workload = Workload::DaemonSet;
        let runs = daemon_set();
        let mut parked = runs.clone();
        parked.set(&SELECTOR, "true".into());
        assert_eq!(
            (workload.replicas(&runs), workload.replicas(&parked)),
            (1, 0)
        );
        assert_eq!(workload.template(&runs), workload.template(&parked));
    }

    #[test]
    fn parking_leaves_other_labels_alone() {
        let key = "/spec/template/spec/nodeSelector/flagger.app~1scale-to-zero";
        let version = json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"});
        let written = |live: &Object, to| match Workload::DaemonSet.scaled(live, Some(to)) {
            Write::Json(ops) => ops,
            other => panic!("{other:?}"),
        };
        let mut live = daemon_set();
        let park = json!({"op": "add", "path": key, "value": "true"});
        assert_eq!(written(&live, 0), json!([version, park]));
        assert_eq!(written(&live, 1), json!([version]));
        live.set(&SELECTOR, "true".into());
        let go_on = json!({"op": "remove", "path": key});
        assert_eq!(written(&live, 3), json!([version, go_on]));
        live.remove(&SELECTOR[..4]);
        let alone = json!({"op": "add", "path": AT, "value": {PARKED: "true"}});
        assert_eq!(written(&live, 0), json!([version, alone]));
        live.set(&SELECTOR, "true".into());
        let go_on = json!({"op": "remove", "path": AT});
        assert_eq!(written(&live, 1), json!([version, go_on]));
    }

    #[test]
    fn what_a_service_was_assigned_is_no_revision_and_stays() {
        let ports = |node_port: u32| json!([{"port": 80, "nodePort": node_port}]);
        let live = Object(json!({"metadata": {"resourceVersion": "7"}, "spec": {
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "selector": {"app": "a"},
            "externalName": "x", "ports": ports(30001)}}));
        let stored = Workload::Service.template(&live).expect("a spec");
        let mut other = live.clone();
        other.set(&["spec", "clusterIP"], "10.0.0.2".into());
        other.set(&["spec", "ports"], ports(30002));
        assert_eq!(Workload::Service.template(&other), Some(stored));
        let wanted = json!({"selector": {"app": "b"}, "ports": [{"port": 80}]});
        assert_eq!(
            lead(&live, &wanted),
            json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "remove", "path": "/spec/externalName"},
                {"op": "add", "path": "/spec/selector", "value": {"app": "b"}},
                {"op": "add", "path": "/spec/ports", "value": [{"port": 80}]},
            ])
        );
        let headless = Object(json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}));
        let kept = Workload::Service.template(&headless);
        assert_eq!(kept, Some(json!({"clusterIP": "None"})));
    }

    #[test]
    fn readiness_by_what_status_says() {
        let waiting = |text: &str| Readiness::Waiting(text.to_owned());
        let with = |at: &[&str], value: Value, threshold: u32| {
            let mut object = daemon_set();
            object.set(at, value);
            Workload::DaemonSet.readiness(&object, threshold)
        };
        let status = |field: &'static str| ["status", field];
        assert_eq!(
            with(&["metadata", "generation"], 3.into(), 100),
            waiting("its current generation is not observed yet")
        );
        assert_eq!(
            with(&status("updatedNumberScheduled"), 1.into(), 100),
            waiting("1 of 4 pods are updated")
        );
        assert_eq!(
            with(&["note"], 0.into(), 100),
            waiting("3 of 4 pods are available")
        );
        assert_eq!(with(&["note"], 0.into(), 75), Readiness::Ready);
        assert_eq!(
            with(&status("desiredNumberScheduled"), 0.into(), 100),
            waiting("no node is to run a pod of it")
        );
        assert_eq!(with(&SELECTOR, "true".into(), 100), Readiness::Ready);
    }
}
