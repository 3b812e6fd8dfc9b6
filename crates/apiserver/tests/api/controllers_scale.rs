//! Owns the autoscaler. What statuses and events say is what a real controller manager of 1.34 says
//! at the same steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_apiserver::{MetricsSource, Tuning, Usage};

use crate::objects::deployment;
use crate::stage::Stage;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

/// What all pods use, and other measurements by name.
#[derive(Default)]
struct Given {
    cpu: Mutex<Option<i64>>,
    other: Mutex<BTreeMap<String, i64>>,
}

impl MetricsSource for Given {
    fn resource(&self, _: &str, _: &str, _: Option<&str>) -> Option<Usage> {
        let cpu = *self.cpu.lock().expect("no panic");
        cpu.map(|cpu| Usage::new(cpu, 64 << 20))
    }

    fn pod_metric(&self, _: &str, _: &str, metric: &str) -> Option<i64> {
        self.other.lock().expect("no panic").get(metric).copied()
    }

    fn external_metric(&self, _: &str, metric: &str) -> Option<i64> {
        self.other.lock().expect("no panic").get(metric).copied()
    }
}

fn scaler(spec: &Value) -> Value {
    let mut body = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 5, "metrics": [{"type": "Resource", "resource":
                {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    body
}

fn requesting(replicas: i64) -> Value {
    let mut web = deployment("web", replicas);
    web["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m"}});
    web
}

fn words(status: &Value) -> Vec<String> {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.map(|c| {
        let text = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("type"), text("status"), text("reason"))
    })
    .collect()
}

async fn ready_all(stage: &Stage) {
    for pod in stage.pods() {
        if stage.pod(&pod)["status"]["phase"] == "Pending" {
            stage.ready(&pod).await;
        }
    }
}

async fn size(stage: &Stage) -> Value {
    stage.get(&format!("{DEPLOYMENTS}/web")).await["spec"]["replicas"].clone()
}

#[tokio::test(start_paused = true)]
async fn without_a_metrics_api_a_scaler_says_so() {
    let stage = Stage::new();
    stage.post(DEPLOYMENTS, &requesting(2)).await;
    stage.post(SCALERS, &scaler(&json!({}))).await;
    let mut missing = scaler(&json!({}));
    missing["metadata"]["name"] = json!("missing");
    missing["spec"]["scaleTargetRef"]["name"] = json!("nope");
    stage.post(SCALERS, &missing).await;
    stage.pass(14).await;
    assert_eq!(
        stage.events("HorizontalPodAutoscaler"),
        Vec::<String>::new()
    );
    stage.pass(2).await;
    let cause = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to \
                 fetch metrics from resource metrics API: the server could not find the requested \
                 resource (get pods.metrics.k8s.io)";
    assert_eq!(
        stage.status(&format!("{SCALERS}/web")).await,
        json!({"conditions": [
            {"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale",
                "message": "the HPA controller was able to get the target's current scale"},
            {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric",
                "message": format!("the HPA was unable to compute the replica count: {cause}")}],
            "currentMetrics": [{"type": ""}], "currentReplicas": 2, "desiredReplicas": 0})
    );
    let status = stage.status(&format!("{SCALERS}/missing")).await;
    assert_eq!(
        status["conditions"],
        json!([{"type": "AbleToScale", "status": "False", "reason": "FailedGetScale",
            "message": "the HPA controller was unable to get the target's current scale: \
                deployments.apps \"nope\" not found"}])
    );
    assert_eq!(
        stage.events("HorizontalPodAutoscaler"),
        [
            "Warning FailedGetScale deployments.apps \"nope\" not found".to_owned(),
            format!("Warning FailedGetResourceMetric {cause}"),
            format!(
                "Warning FailedComputeMetricsReplicas invalid metrics (1 invalid out of 1), first \
                 error is: failed to get cpu resource metric value: {cause}"
            ),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn sizes_follow_what_pods_use() {
    let given = Arc::new(Given::default());
    let stage = Stage::with(Tuning {
        metrics: Some(given.clone()),
        ..Tuning::default()
    });
    stage.post(DEPLOYMENTS, &requesting(2)).await;
    ready_all(&stage).await;
    stage.pass(60).await;
    stage.post(SCALERS, &scaler(&json!({}))).await;
    let set = |cpu| *given.cpu.lock().expect("no panic") = Some(cpu);
    set(100);
    stage.pass(16).await;
    assert_eq!(size(&stage).await, json!(4));
    let web = format!("{SCALERS}/web");
    let status = stage.status(&web).await;
    assert_eq!(
        words(&status),
        [
            "AbleToScale True SucceededRescale",
            "ScalingActive True ValidMetricFound",
            "ScalingLimited False DesiredWithinRange"
        ]
    );
    assert_eq!(
        status["currentMetrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 100, "averageValue": "100m"}}}])
    );
    assert_eq!(
        (&status["currentReplicas"], &status["desiredReplicas"]),
        (&json!(2), &json!(4))
    );
    assert!(!stage.get(&web).await["status"]["lastScaleTime"].is_null());
    ready_all(&stage).await;
    // Within a tenth of the target nothing changes; far above it the maximum is the end.
    set(53);
    stage.pass(60).await;
    assert_eq!(size(&stage).await, json!(4));
    set(500);
    stage.pass(16).await;
    assert_eq!(size(&stage).await, json!(5));
    assert_eq!(
        words(&stage.status(&web).await)[2],
        "ScalingLimited True TooManyReplicas"
    );
    ready_all(&stage).await;
    // Sizes shrink only when nothing higher was asked for in five minutes.
    set(10);
    stage.pass(60).await;
    assert_eq!(size(&stage).await, json!(5));
    assert_eq!(
        words(&stage.status(&web).await)[0],
        "AbleToScale True ScaleDownStabilized"
    );
    stage.pass(300).await;
    assert_eq!(size(&stage).await, json!(1));
    assert_eq!(
        stage.events("HorizontalPodAutoscaler"),
        [
            "Normal SuccessfulRescale New size: 4; reason: cpu resource utilization (percentage of \
             request) above target",
            "Normal SuccessfulRescale New size: 5; reason: cpu resource utilization (percentage of \
             request) above target",
            "Normal SuccessfulRescale New size: 1; reason: All metrics below target",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn custom_and_external_metrics_and_behaviors_count() {
    let given = Arc::new(Given::default());
    let stage = Stage::with(Tuning {
        metrics: Some(given.clone()),
        ..Tuning::default()
    });
    stage.post(DEPLOYMENTS, &requesting(2)).await;
    ready_all(&stage).await;
    let set = |name: &str, value: i64| {
        given
            .other
            .lock()
            .expect("no panic")
            .insert(name.to_owned(), value)
    };
    set("requests", 20_000);
    set("queue", 30_000);
    let spec = json!({"maxReplicas": 20,
        "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "requests"},
                "target": {"type": "AverageValue", "averageValue": "10"}}},
            {"type": "External", "external": {"metric": {"name": "queue"},
                "target": {"type": "AverageValue", "averageValue": "3"}}}],
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
            "scaleDown": {"selectPolicy": "Disabled"}}});
    stage.post(SCALERS, &scaler(&spec)).await;
    stage.pass(16).await;
    // The queue asks for ten, one a minute is allowed.
    assert_eq!(size(&stage).await, json!(3));
    let status = stage.status(&format!("{SCALERS}/web")).await;
    assert_eq!(words(&status)[2], "ScalingLimited True ScaleUpLimit");
    assert_eq!(
        status["currentMetrics"],
        json!([
            {"type": "Pods", "pods": {"metric": {"name": "requests"}, "current": {"averageValue": "20"}}},
            {"type": "External", "external": {"metric": {"name": "queue"},
                "current": {"averageValue": "15"}}}])
    );
    stage.pass(45).await;
    assert_eq!(size(&stage).await, json!(3));
    stage.pass(30).await;
    assert_eq!(size(&stage).await, json!(4));
    set("requests", 0);
    set("queue", 0);
    stage.pass(600).await;
    assert_eq!(size(&stage).await, json!(4));
}

#[tokio::test(start_paused = true)]
async fn a_size_out_of_bounds_is_brought_back_and_none_stays_none() {
    let stage = Stage::new();
    stage.post(DEPLOYMENTS, &requesting(9)).await;
    stage.post(SCALERS, &scaler(&json!({}))).await;
    stage.pass(16).await;
    assert_eq!(size(&stage).await, json!(5));
    stage
        .patch(
            &format!("{DEPLOYMENTS}/web"),
            &json!({"spec": {"replicas": 0}}),
        )
        .await;
    stage.pass(30).await;
    assert_eq!(size(&stage).await, json!(0));
    let status = stage.status(&format!("{SCALERS}/web")).await;
    assert_eq!(words(&status)[1], "ScalingActive False ScalingDisabled");
    assert_eq!(
        stage.events("HorizontalPodAutoscaler"),
        [
            "Normal SuccessfulRescale New size: 5; reason: Current number of replicas above \
          Spec.MaxReplicas"
        ]
    );
}
