//! Services as targets: somebody else runs the pods, and what is released is where the Service leads.

use serde_json::{Value, json};
use weir_api::metric_template;
use weir_object::{Object, path};
use weir_runtime::kinds::{HTTP_ROUTE, SERVICE};

use crate::stage::{CANARY, Says, Stage, canary};

fn service(version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "app", "namespace": "demo", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "app", "version": version},
            "ports": [{"name": "http", "port": 9898, "targetPort": "http"}]},
    })
}

fn push(stage: &Stage, version: &str) {
    stage
        .store
        .as_manager("kustomize-controller")
        .apply(&SERVICE, service(version))
        .expect("applied");
}

fn leads(stage: &Stage, name: &str) -> String {
    stage.text(&SERVICE, name, &["spec", "selector", "version"])
}

fn asked() -> Value {
    let mut object = canary();
    let target = json!({"apiVersion": "v1", "kind": "Service", "name": "app"});
    path::set(&mut object, &["spec", "targetRef"], target);
    let metrics = json!([{"name": "ok", "interval": "10s", "thresholdRange": {"min": 99},
        "templateRef": {"name": "ok"}}]);
    path::set(&mut object, &["spec", "analysis", "metrics"], metrics);
    object
}

async fn deployed() -> Stage {
    let stage = Stage::set();
    push(&stage, "1");
    let template = json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate",
        "metadata": {"name": "ok", "namespace": "demo"},
        "spec": {"provider": {"type": "prometheus", "address": "http://prometheus:9090"},
            "query": "ok"}});
    stage.create(&metric_template::KIND, template);
    stage.create(&CANARY, asked());
    stage
        .until("initialised", |s| s.phase() == "Initialized")
        .await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_service_is_promoted_and_rolled_back() {
    let stage = deployed().await;
    let versions = |stage: &Stage| ["app", "app-canary", "app-primary"].map(|n| leads(stage, n));
    assert_eq!(versions(&stage), ["1", "1", "1"]);
    stage.is_silent().await;

    push(&stage, "2");
    stage.until("weight 40", |s| s.weight() == "40").await;
    assert_eq!(versions(&stage), ["2", "2", "1"]);
    let before = Object(stage.get(&SERVICE, "app-primary"));
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(versions(&stage), ["2", "2", "2"]);
    // It is the same object, with its address, and still the Canary's.
    let after = Object(stage.get(&SERVICE, "app-primary"));
    for at in [
        &["metadata", "uid"][..],
        &["metadata", "ownerReferences"],
        &["spec", "clusterIP"],
    ] {
        assert_eq!(before.get(at), after.get(at), "{at:?}");
    }
    assert_eq!(stage.weight(), "0");
    stage.is_silent().await;

    stage.says(Says::Value("42"));
    push(&stage, "3");
    stage.until("rolled back", |s| s.phase() == "Failed").await;
    assert_eq!(versions(&stage), ["3", "3", "2"]);
    assert_eq!(stage.weight(), "0");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_leads_elsewhere_or_is_gone_comes_back() {
    let stage = deployed().await;
    let store = &stage.store;
    let elsewhere = json!({"spec": {"selector": {"version": "9"}, "sessionAffinity": "ClientIP"}});
    store
        .patch(&SERVICE, "demo", "app-primary", elsewhere)
        .expect("patched");
    stage
        .until("it leads back", |s| leads(s, "app-primary") == "1")
        .await;
    let affinity = stage.text(&SERVICE, "app-primary", &["spec", "sessionAffinity"]);
    assert_eq!(affinity, "None");
    store
        .delete_now(&SERVICE, "demo", "app-primary")
        .expect("deleted");
    stage
        .until("it is back", |s| leads(s, "app-primary") == "1")
        .await;
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn deletion_leads_traffic_to_the_service_itself() {
    let stage = deployed().await;
    let before = stage.get(&SERVICE, "app");
    stage.store.delete(&CANARY, "demo", "app").expect("asked");
    stage
        .until("the Canary is gone", |s| s.get(&CANARY, "app").is_null())
        .await;
    assert_eq!(stage.get(&SERVICE, "app"), before, "it was never touched");
    let at = ["spec", "rules", "0", "backendRefs"];
    let route = Object(stage.get(&HTTP_ROUTE, "app"));
    let backends = route.get(&at).and_then(Value::as_array).cloned();
    let names: Vec<Value> = (backends.unwrap_or_default().iter())
        .map(|b| b["name"].clone())
        .collect();
    assert_eq!(names, ["app"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_the_canarys_name_that_is_somebody_elses_is_left_alone() {
    let stage = Stage::set();
    push(&stage, "1");
    let mut other = service("9");
    path::set(&mut other, &["metadata", "name"], "app-canary".into());
    stage.create(&SERVICE, other);
    stage.create(&CANARY, asked());
    stage
        .until("refused", |s| {
            s.ready() == ("False".into(), "Invalid".into())
        })
        .await;
    assert_eq!(leads(&stage, "app-canary"), "9");
    assert!(stage.get(&SERVICE, "app-primary").is_null());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_counts_pods_is_refused() {
    let stage = Stage::set();
    push(&stage, "1");
    let mut object = asked();
    let metrics = json!([{"name": "request-success-rate", "thresholdRange": {"min": 99}}]);
    path::set(&mut object, &["spec", "analysis", "metrics"], metrics);
    stage.create(&CANARY, object);
    stage
        .until("refused", |s| {
            s.ready() == ("False".into(), "Unsupported".into())
        })
        .await;
    assert!(stage.get(&SERVICE, "app-primary").is_null());
}
