//! The story: a first deployment, a good revision, a faulty one, and the end.

use serde_json::json;
use weir_apiserver::Selector;
use weir_runtime::kinds::{CONTROLLER_REVISION, DEPLOYMENT, HTTP_ROUTE, SERVICE};

use crate::stage::{CANARY, Says, Stage};

#[tokio::test(start_paused = true)]
async fn a_good_revision_is_promoted_a_faulty_one_rolled_back() {
    let stage = Stage::set();
    stage.deploy();
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    assert_eq!(
        (stage.image("app-primary"), stage.replicas("app-primary")),
        ("app:1".into(), "2".into())
    );
    assert_eq!(
        stage.text(&SERVICE, "app", &["spec", "selector", "app"]),
        "app-primary"
    );
    assert_eq!(
        stage.text(&SERVICE, "app-canary", &["spec", "selector", "app"]),
        "app"
    );
    assert_eq!(stage.weight(), "0");
    stage.is_silent().await;

    stage.push("app:2");
    stage.until("weight 40", |s| s.weight() == "40").await;
    assert_eq!(stage.ready(), ("True".into(), "Progressing".into()));
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(
        (stage.image("app-primary"), stage.replicas("app")),
        ("app:2".into(), "0".into())
    );
    let weights = json!([20, 40]);
    assert_eq!(
        stage.text(&CANARY, "app", &["status", "run", "weights"]),
        weights.to_string()
    );
    assert_eq!(
        stage.text(&CANARY, "app", &["status", "lastPromotedSpec"]),
        stage.text(&CANARY, "app", &["status", "lastAppliedSpec"])
    );
    stage.is_silent().await;

    stage.says(Says::Value("42"));
    stage.push("app:3");
    stage
        .until("rolled back", |s| {
            s.phase() == "Failed" && s.replicas("app") == "0"
        })
        .await;
    assert_eq!(
        (stage.image("app-primary"), stage.weight()),
        ("app:2".into(), "0".into())
    );
    assert_eq!(stage.ready(), ("True".into(), "Failed".into()));
    stage.is_silent().await;
    let events = stage.events();
    for text in [
        "Initialization done! app.demo",
        "New revision detected! Scaling up app.demo",
        "Starting canary analysis for app.demo",
        "Advance app.demo canary weight 20",
        "Advance app.demo canary weight 40",
        "Copying app.demo template spec to app-primary.demo",
        "Routing all traffic to primary",
        "Promotion completed! Scaling down app.demo",
        "Halt app.demo advancement success rate 42.00% < 99%",
        "Rolling back app.demo failed checks threshold reached 2",
        "Canary failed! Scaling down app.demo",
    ] {
        assert!(events.iter().any(|e| e == text), "{text}: {events:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn deletion_gives_back_what_was_borrowed_before_the_primary_goes() {
    let stage = Stage::set();
    stage.deploy();
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage
        .store
        .delete(&CANARY, "demo", "app")
        .expect("asked for");
    stage
        .until("gone", |s| s.get(&CANARY, "app").is_null())
        .await;
    assert_eq!(stage.replicas("app"), "2");
    assert_eq!(
        stage.text(&DEPLOYMENT, "app", &["status", "availableReplicas"]),
        "2"
    );
    assert_eq!(
        stage.text(&SERVICE, "app", &["spec", "selector", "app"]),
        "app"
    );
    let backends = ["spec", "rules", "0", "backendRefs"];
    assert_eq!(
        stage.text(&HTTP_ROUTE, "app", &backends),
        json!([{"group": "", "kind": "Service", "name": "app", "port": 9898, "weight": 1}])
            .to_string()
    );
    // What leads to the target no longer goes with the Canary.
    for kind in [&SERVICE, &HTTP_ROUTE] {
        let owners = stage.text(kind, "app", &["metadata", "ownerReferences"]);
        assert!(owners.is_empty() || owners == "[]", "{owners}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_users_service_and_route_lend_what_is_needed_and_keep_the_rest() {
    let stage = Stage::set();
    stage.create(
        &SERVICE,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "app", "namespace": "demo"},
            "spec": {"selector": {"app": "app"}, "ports": [{"name": "web", "port": 9898}]},
        }),
    );
    stage.create(
        &HTTP_ROUTE,
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "app", "namespace": "demo"},
            "spec": {"parentRefs": [{"name": "gateway"}], "rules": [
                {"backendRefs": [{"name": "app", "port": 9898}]},
                {"matches": [{"path": {"type": "PathPrefix", "value": "/docs"}}],
                 "backendRefs": [{"name": "docs", "port": 80}]}]},
        }),
    );
    stage.deploy();
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage.push("app:2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    let other = stage.get(&HTTP_ROUTE, "app")["spec"]["rules"][1]["backendRefs"].clone();
    assert_eq!(
        (other[0]["name"].as_str(), other.as_array().map(Vec::len)),
        (Some("docs"), Some(1))
    );
    assert_eq!(
        stage.text(&SERVICE, "app", &["spec", "ports", "0", "name"]),
        "web"
    );
    assert_eq!(
        stage.text(&SERVICE, "app", &["spec", "selector", "app"]),
        "app-primary"
    );
    stage.is_silent().await;
    stage
        .store
        .delete(&CANARY, "demo", "app")
        .expect("asked for");
    stage
        .until("gone", |s| s.get(&CANARY, "app").is_null())
        .await;
    assert_eq!(
        stage.text(&SERVICE, "app", &["spec", "selector"]),
        r#"{"app":"app"}"#
    );
    let rule = &stage.get(&HTTP_ROUTE, "app")["spec"]["rules"][0]["backendRefs"];
    assert_eq!(
        (rule[0]["name"].as_str(), rule.as_array().map(Vec::len)),
        (Some("app"), Some(1))
    );
}

#[tokio::test(start_paused = true)]
async fn stored_templates_are_those_that_are_needed() {
    let stage = Stage::set();
    stage.deploy();
    stage
        .until("initialised", |s| s.phase() == "Initialized")
        .await;
    for image in ["app:2", "app:3"] {
        stage.push(image);
        stage
            .until(image, |s| {
                s.phase() == "Succeeded" && s.image("app-primary") == image
            })
            .await;
    }
    stage.is_silent().await;
    let (stored, _) = stage
        .store
        .list(&CONTROLLER_REVISION, Some("demo"), &Selector::default());
    // The promoted one, and the one before it, which can be gone back to.
    assert_eq!(stored.len(), 2);
}
