//! Autoscalers: the primary has one of its own, and the target's rests while the target does.

use serde_json::{Value, json};
use weir_object::Kind;
use weir_runtime::kinds::CRD;

use crate::stage::{CANARY, Stage, canary};

const HPA: Kind = Kind::namespaced(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
);
const SCALED_OBJECT: Kind =
    Kind::namespaced("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");

fn scaled(kind: &str, version: &str) -> Value {
    let mut canary = canary();
    canary["spec"]["autoscalerRef"] = json!({"apiVersion": version, "kind": kind, "name": "app"});
    canary
}

#[tokio::test(start_paused = true)]
async fn the_primary_has_an_hpa_that_follows_the_targets() {
    let stage = Stage::set();
    stage.deploy_with(scaled("HorizontalPodAutoscaler", "autoscaling/v2"));
    stage
        .until("refused", |s| {
            s.ready() == ("False".into(), "Invalid".into())
        })
        .await;
    assert_eq!(stage.replicas("app"), "2", "nothing moved");
    stage.create(
        &HPA,
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "app", "namespace": "demo"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "minReplicas": 2, "maxReplicas": 4,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80}}}]}}),
    );
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    let spec = |s: &Stage| s.get(&HPA, "app-primary")["spec"].clone();
    assert_eq!(spec(&stage)["scaleTargetRef"]["name"], "app-primary");
    assert_eq!(spec(&stage)["metrics"][0]["resource"]["name"], "cpu");
    stage.is_silent().await;
    let more = json!({"spec": {"maxReplicas": 9}});
    let git = stage.store.as_manager("kustomize-controller");
    git.patch(&HPA, "demo", "app", more).expect("patched");
    stage
        .until("followed", |s| spec(s)["maxReplicas"] == 9)
        .await;
    stage.push("app:2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn r12_a_scaled_object_rests_with_the_target_and_loses_nothing() {
    let stage = Stage::set();
    stage.create(
        &CRD,
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "scaledobjects.keda.sh"},
            "spec": {"group": "keda.sh", "scope": "Namespaced",
                "names": {"plural": "scaledobjects", "singular": "scaledobject",
                    "kind": "ScaledObject", "listKind": "ScaledObjectList"},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec":
                        {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}}),
    );
    stage.create(
        &SCALED_OBJECT,
        json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "app", "namespace": "demo"},
            "spec": {"scaleTargetRef": {"name": "app"}, "maxReplicaCount": 5, "newest": {"field": 1},
                "triggers": [{"type": "prometheus", "metadata": {"query": "rate(app)"}}]}}),
    );
    stage.deploy_with(scaled("ScaledObject", "keda.sh/v1alpha1"));
    let paused = |s: &Stage| {
        let at = [
            "metadata",
            "annotations",
            "autoscaling.keda.sh/paused-replicas",
        ];
        s.text(&SCALED_OBJECT, "app", &at)
    };
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    assert_eq!(paused(&stage), "0");
    let primary = stage.get(&SCALED_OBJECT, "app-primary");
    assert_eq!(
        primary["spec"]["triggers"][0]["metadata"]["query"],
        "rate(app-primary)"
    );
    assert_eq!(primary["spec"]["newest"], json!({"field": 1}));
    assert!(primary["metadata"]["annotations"].is_null());
    stage.push("app:2");
    stage.until("a weight", |s| s.weight() == "20").await;
    assert_eq!(paused(&stage), "");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(paused(&stage), "0");
    assert_eq!(
        stage.get(&SCALED_OBJECT, "app")["spec"]["newest"],
        json!({"field": 1})
    );
    stage.is_silent().await;
    let store = stage.store.as_manager("kubectl");
    store.delete(&CANARY, "demo", "app").expect("deleted");
    stage
        .until("given back", |s| s.get(&CANARY, "app").is_null())
        .await;
    assert_eq!(
        (paused(&stage).as_str(), stage.replicas("app").as_str()),
        ("", "2")
    );
}
