//! The story itself, and what a person does in the middle of it.

use std::time::Duration;

use serde_json::json;
use weir_api::canary::KIND as CANARY;
use weir_api::image_update_automation::KIND as AUTOMATION;
use weir_runtime::kinds::{DEPLOYMENT, HTTP_ROUTE, SERVICE};
use weir_scenarios::{Stage, app_manifests};

#[tokio::test(start_paused = true)]
async fn a_good_version_is_promoted_and_a_faulty_one_rolled_back() {
    // Given an application with users
    let stage = Stage::with_app().await;
    assert_eq!(stage.answer().await, "1.0.0");
    let users = stage.users(20);

    // When a good version is pushed to the registry
    stage.push_image("1.1.0", "0").await;

    // Then it goes through Git to all users, step by step
    for weight in [20, 40, 60] {
        stage
            .until(&format!("weight {weight} is in force"), async |s| {
                s.weight().await == weight
            })
            .await;
        assert_eq!(stage.route().await, (100 - weight, weight));
    }
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(
        (stage.tag("app").await, stage.tag("app-primary").await),
        ("1.1.0".into(), "1.1.0".into())
    );
    assert_eq!(
        (stage.answer().await, stage.route().await),
        ("1.1.0".into(), (100, 0))
    );
    assert_eq!(users.report().failed, 0, "no user saw a failure");

    // When a faulty version is pushed
    let before = users.report();
    stage.push_image("1.2.0", "0.5").await;

    // Then it is rolled back, and users saw no more failures than the canary's share
    stage
        .until("it is rolled back", async |s| s.phase().await == "Failed")
        .await;
    assert_eq!(
        (stage.tag("app").await, stage.tag("app-primary").await),
        ("1.2.0".into(), "1.1.0".into())
    );
    assert_eq!(
        (stage.answer().await, stage.route().await),
        ("1.1.0".into(), (100, 0))
    );
    let after = users.report();
    let (failed, total) = (after.failed - before.failed, after.total - before.total);
    assert!(
        failed > 0 && failed as f64 <= total as f64 * 0.2,
        "{failed} of {total}"
    );
    let events = stage.events("Canary", "app").await;
    let halted = |e: &String| e.starts_with("Halt app.demo advancement success rate");
    assert!(events.iter().any(halted), "{events:#?}");
    assert!(
        events
            .iter()
            .any(|e| e.starts_with("Canary failed! Scaling down")),
        "{events:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_revision_in_the_middle_of_a_run_restarts_the_analysis() {
    let stage = Stage::with_app().await;
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the run is at 40 %", async |s| s.weight().await == 40)
        .await;

    // When another version comes before the first one is judged
    stage.push_image("1.1.1", "0").await;

    // Then the analysis restarts from the first step, and only the second is promoted
    stage
        .until("traffic is back", async |s| {
            s.tag("app").await == "1.1.1" && s.weight().await < 40
        })
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.0.0");
    stage
        .until("the run begins anew", async |s| s.weight().await == 20)
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.0.0");
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.1");
    let restarts = stage.events("Canary", "app").await;
    assert!(
        restarts
            .iter()
            .any(|e| e.contains("Restarting analysis for app.demo")),
        "{restarts:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_push_during_the_last_check_is_not_promoted_unanalysed() {
    let stage = Stage::with_app().await;
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the last step is in force", async |s| {
            s.weight().await == 60
        })
        .await;

    // When, while the last check is awaited, the target changes to a faulty version
    let patch = json!({"spec": {"template": {"spec": {"containers": [{
        "name": "app", "image": "registry.sandbox:5000/demo/app:1.2.0",
        "ports": [{"name": "http", "containerPort": 9898, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2}}]}}}});
    stage.push_image("1.2.0", "0.5").await;
    stage.patch(&DEPLOYMENT, "app", patch).await;

    // Then the primary never runs it
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    stage
        .until("the run ends", async |s| {
            let tag = s.tag("app-primary").await;
            seen.borrow_mut().insert(tag);
            matches!(s.phase().await.as_str(), "Failed" | "Succeeded")
        })
        .await;
    assert!(!seen.borrow().contains("1.2.0"), "{:?}", seen.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_canary_leaves_everything_as_it_is() {
    let stage = Stage::with_app().await;
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the run is at 20 %", async |s| s.weight().await == 20)
        .await;

    // When it is suspended (in Git, which owns the object)
    let suspend = |path: &str, text: String| match path {
        "app/canary.yaml" => text.replacen(
            "spec:\n  provider:",
            "spec:\n  suspend: true\n  provider:",
            1,
        ),
        "app/deployment.yaml" => text.replace("app:1.0.0", "app:1.1.0"),
        _ => text,
    };
    stage.push(app_manifests(suspend), "Suspend").await;
    stage
        .until("it is suspended", async |s| {
            s.canary().await.get(&["spec", "suspend"]) == Some(&json!(true))
        })
        .await;
    let (weight, phase) = (stage.weight().await, stage.phase().await);
    stage.pass(Duration::from_mins(5)).await;
    assert_eq!((stage.weight().await, stage.phase().await), (weight, phase));

    // When it is resumed
    let resume = |path: &str, text: String| match path {
        "app/deployment.yaml" => text.replace("app:1.0.0", "app:1.1.0"),
        _ => text,
    };
    stage.push(app_manifests(resume), "Resume").await;

    // Then it goes on to the end
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_canary_leaves_the_application_serving() {
    let stage = Stage::with_app().await;
    let users = stage.users(20);

    // When the Canary is removed from Git
    let without = app_manifests(|path, text| match path {
        "app/kustomization.yaml" => text.replace("  - canary.yaml\n", ""),
        _ => text,
    });
    stage.push(without, "Remove the Canary").await;
    stage
        .until("it is gone", async |s| {
            s.get(&CANARY, "app").await.is_none()
        })
        .await;

    // Then the target serves before the primary goes, and the apex Service leads to it
    stage
        .until("the primary is gone", async |s| {
            s.get(&DEPLOYMENT, "app-primary").await.is_none()
        })
        .await;
    let target = stage
        .get(&DEPLOYMENT, "app")
        .await
        .expect("the target stays");
    assert_eq!(
        target.get(&["status", "readyReplicas"]),
        Some(&json!(2)),
        "{}",
        target.0
    );
    if let Some(service) = stage.get(&SERVICE, "app").await {
        assert_eq!(service.text(&["spec", "selector", "app"]), "app");
    }
    assert_eq!(
        users.report().failed,
        0,
        "no user saw a failure before the route went"
    );
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_others_in_a_route_are_kept() {
    // Given a route of the team's own, with a rule that is not the canary's
    let stage = Stage::set().await;
    stage.push_image("1.0.0", "0").await;
    stage.apply_cluster().await;
    stage
        .sandbox()
        .apply(
            "route.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: other, namespace: demo}\nspec: {ports: [{port: 80}]}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {name: app, namespace: demo, labels: {team: own}}\n\
             spec:\n  parentRefs: [{name: gateway, namespace: demo}]\n  hostnames: [app.example.com]\n  rules:\n\
             \x20 - backendRefs: [{name: app-primary, port: 9898, weight: 100}, {name: app-canary, port: 9898, weight: 0}]\n\
             \x20 - matches: [{path: {type: PathPrefix, value: /other}}]\n    backendRefs: [{name: other, port: 80}]\n\
             ---\napiVersion: v1\nkind: Service\nmetadata: {name: other, namespace: demo}\nspec: {ports: [{port: 80}]}\n",
        )
        .await
        .expect("applied");
    stage.push(app_manifests(|_, text| text), "Deploy").await;
    stage
        .until("the Canary is initialised", async |s| {
            s.phase().await == "Initialized"
        })
        .await;
    let _users = stage.users(20);

    // When a version is released
    stage.push_image("1.1.0", "0").await;
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;

    // Then the other rule and the labels are as they were
    let route = stage
        .get(&HTTP_ROUTE, "app")
        .await
        .expect("the route stays");
    assert_eq!(route.label("team"), Some("own"));
    let other = ["spec", "rules", "1", "backendRefs", "0", "name"];
    assert_eq!(route.text(&other), "other", "{}", route.0);
}

#[tokio::test(start_paused = true)]
async fn suspended_image_automation_commits_nothing() {
    let stage = Stage::with_app().await;
    stage
        .patch(&AUTOMATION, "app", json!({"spec": {"suspend": true}}))
        .await;
    stage.push_image("1.1.0", "0").await;
    stage.pass(Duration::from_mins(5)).await;
    assert_eq!(
        (stage.tag("app").await, stage.phase().await),
        ("1.0.0".into(), "Initialized".into())
    );
    stage
        .patch(&AUTOMATION, "app", json!({"spec": {"suspend": false}}))
        .await;
    stage
        .until("the new tag is applied", async |s| {
            s.tag("app").await == "1.1.0"
        })
        .await;
}
