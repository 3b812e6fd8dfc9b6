//! Everybody owns something: Git the replicas, a Service and a route of two rules, an autoscaler the
//! pods, a person a stray edit. Nobody fights, and afterwards it is quiet.

use std::time::Duration;

use serde_json::{Value, json};
use weir_api::canary::KIND as CANARY;
use weir_api::kustomization::KIND as KUSTOMIZATION;
use weir_object::Kind;
use weir_runtime::kinds::{DEPLOYMENT, HTTP_ROUTE, SERVICE};
use weir_scenarios::{Stage, app_manifests};

const HPA: Kind = Kind::namespaced(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
);

/// What Git holds beside the example: a Service, a route with somebody else's rule, an autoscaler.
const BESIDE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: app, labels: {team: own}}
spec:
  selector: {app: app}
  ports: [{name: http, port: 9898, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: docs}
spec: {ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app, labels: {team: own}}
spec:
  parentRefs: [{name: gateway, namespace: demo}]
  hostnames: [app.example.com]
  rules:
    - matches: [{path: {type: PathPrefix, value: /docs}}]
      backendRefs: [{name: docs, port: 80}]
    - backendRefs: [{name: app, port: 9898}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: app}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  minReplicas: 3
  maxReplicas: 5
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
";

async fn stage() -> Stage {
    let stage = Stage::set().await;
    stage.push_image("1.0.0", "0").await;
    let mut files = app_manifests(|path, text| {
        match path {
        "app/kustomization.yaml" => format!("{text}  - beside.yaml\n"),
        "app/deployment.yaml" => text.replace("replicas: 2", "replicas: 3"),
        "app/canary.yaml" => text.replacen(
            "  progressDeadlineSeconds: 60\n",
            "  autoscalerRef:\n    apiVersion: autoscaling/v2\n    kind: HorizontalPodAutoscaler\n    \
             name: app\n  progressDeadlineSeconds: 60\n",
            1,
        ),
        _ => text,
    }
    });
    files.push(("app/beside.yaml".to_owned(), BESIDE.as_bytes().to_vec()));
    stage.push(files, "Deploy").await;
    stage.apply_cluster().await;
    // Drift is looked for all the time.
    let interval = json!({"spec": {"interval": "10s"}});
    stage.patch(&KUSTOMIZATION, "app", interval).await;
    stage
        .until("the Canary is initialised", async |s| {
            s.phase().await == "Initialized"
        })
        .await;
    stage
}

/// The version of everything that somebody could fight about.
async fn versions(stage: &Stage) -> Vec<String> {
    let mut out = Vec::new();
    for (kind, name) in [
        (&DEPLOYMENT, "app"),
        (&DEPLOYMENT, "app-primary"),
        (&SERVICE, "app"),
        (&SERVICE, "app-primary"),
        (&SERVICE, "app-canary"),
        (&HTTP_ROUTE, "app"),
        (&HPA, "app"),
        (&HPA, "app-primary"),
        (&CANARY, "app"),
    ] {
        let object = stage.get(kind, name).await.unwrap_or_default();
        out.push(format!("{kind:?} {name} {}", object.resource_version()));
    }
    out
}

/// Three intervals of the Kustomization in which nobody writes to any of them.
async fn silent(stage: &Stage) {
    stage.pass(Duration::from_secs(15)).await;
    let before = versions(stage).await;
    stage.pass(Duration::from_secs(35)).await;
    assert_eq!(versions(stage).await, before);
}

async fn others_are_kept(stage: &Stage) {
    let route = stage.get(&HTTP_ROUTE, "app").await.expect("a route");
    assert_eq!(route.label("team"), Some("own"));
    let first = ["spec", "rules", "0", "backendRefs", "0", "name"];
    assert_eq!(route.text(&first), "docs", "{}", route.0);
    let service = stage.get(&SERVICE, "app").await.expect("a Service");
    assert_eq!(service.label("team"), Some("own"));
    assert_eq!(
        service.get(&["spec", "selector"]),
        Some(&json!({"app": "app-primary"}))
    );
    let template = |o: &weir_object::Object| {
        let mut template = o.get(&["spec", "template"]).cloned().unwrap_or_default();
        if let Some(labels) = template.pointer_mut("/metadata/labels/app") {
            *labels = Value::Null;
        }
        template
    };
    let primary = stage
        .get(&DEPLOYMENT, "app-primary")
        .await
        .expect("a primary");
    assert_eq!(primary.get(&["spec", "replicas"]), Some(&json!(3)));
    let target = stage.get(&DEPLOYMENT, "app").await.expect("a target");
    if stage.phase().await != "Failed" {
        assert_eq!(
            template(&primary),
            template(&target),
            "less the label, they are one"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_fights_over_a_promotion_and_a_rollback() {
    let stage = stage().await;
    let users = stage.users(20);
    silent(&stage).await;

    // When somebody edits the primary by hand
    let mut primary = stage
        .get(&DEPLOYMENT, "app-primary")
        .await
        .expect("a primary");
    let at = ["spec", "template", "spec", "containers", "0", "env"];
    let mut env = primary
        .get(&at)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    env.push(json!({"name": "STRAY", "value": "x"}));
    primary.set(&at, json!(env));
    let containers = primary
        .get(&["spec", "template", "spec", "containers"])
        .cloned();
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    stage.patch(&DEPLOYMENT, "app-primary", patch).await;
    // Then it is put right
    stage
        .until("the stray variable is gone", async |s| {
            let primary = s.get(&DEPLOYMENT, "app-primary").await.unwrap_or_default();
            !primary.0.to_string().contains("STRAY")
        })
        .await;

    // When a good version is released
    stage.push_image("1.1.0", "0").await;
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    stage
        .until("the target is at rest", async |s| {
            s.replicas("app").await == 0
        })
        .await;
    // Then everybody has what is theirs, and nobody writes
    silent(&stage).await;
    others_are_kept(&stage).await;
    assert_eq!(users.report().failed, 0);

    // And the same after a faulty one
    stage.push_image("1.2.0", "0.5").await;
    stage
        .until("it is rolled back", async |s| s.phase().await == "Failed")
        .await;
    stage
        .until("the target is at rest", async |s| {
            s.replicas("app").await == 0
        })
        .await;
    silent(&stage).await;
    others_are_kept(&stage).await;
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
}
