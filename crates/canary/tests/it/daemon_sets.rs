//! DaemonSets: released like Deployments, and parked by a node selector in between.

use serde_json::{Value, json};
use weir_object::{Object, path};
use weir_runtime::kinds::DAEMON_SET;

use crate::stage::{CANARY, Says, Stage, canary, deployment};

const PARKED: &str = "flagger.app/scale-to-zero";

fn daemon_set(image: &str) -> Value {
    let mut object = deployment(image);
    object["kind"] = "DaemonSet".into();
    path::remove(&mut object, &["spec", "replicas"]);
    path::set(
        &mut object,
        &["spec", "template", "spec", "nodeSelector"],
        json!({"disk": "ssd"}),
    );
    object
}

/// Applies as the applier of a Kustomization does: what a Canary has set in the node selector, which has
/// one owner, is sent along.
fn push(stage: &Stage, image: &str) {
    let mut object = daemon_set(image);
    if parked(stage, "app") {
        let at = ["spec", "template", "spec", "nodeSelector", PARKED];
        path::set(&mut object, &at, "true".into());
    }
    stage
        .store
        .as_manager("kustomize-controller")
        .apply(&DAEMON_SET, object)
        .expect("applied");
}

/// A Canary of it.
fn asked() -> Value {
    let mut object = canary();
    let kind = ["spec", "targetRef", "kind"];
    path::set(&mut object, &kind, "DaemonSet".into());
    object
}

async fn deployed() -> Stage {
    let stage = Stage::set();
    push(&stage, "app:1");
    stage.create(&CANARY, asked());
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && parked(s, "app")
        })
        .await;
    stage
}

fn selector(stage: &Stage, name: &str) -> Value {
    let at = ["spec", "template", "spec", "nodeSelector"];
    Object(stage.get(&DAEMON_SET, name))
        .get(&at)
        .cloned()
        .unwrap_or_default()
}

fn parked(stage: &Stage, name: &str) -> bool {
    selector(stage, name).get(PARKED).is_some()
}

fn image(stage: &Stage, name: &str) -> String {
    let at = ["spec", "template", "spec", "containers", "0", "image"];
    stage.text(&DAEMON_SET, name, &at)
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_is_promoted_and_rolled_back() {
    let stage = deployed().await;
    assert_eq!(selector(&stage, "app-primary"), json!({"disk": "ssd"}));
    stage.is_silent().await;
    // Git's applier goes on applying, and that is no change.
    push(&stage, "app:1");
    stage.is_silent().await;
    assert!(parked(&stage, "app"));

    push(&stage, "app:2");
    stage.until("weight 40", |s| s.weight() == "40").await;
    assert!(!parked(&stage, "app"));
    stage
        .until("promoted", |s| s.phase() == "Succeeded" && parked(s, "app"))
        .await;
    assert_eq!(image(&stage, "app-primary"), "app:2");
    assert_eq!(selector(&stage, "app-primary"), json!({"disk": "ssd"}));
    stage.is_silent().await;

    stage.says(Says::Value("42"));
    push(&stage, "app:3");
    stage
        .until("rolled back", |s| s.phase() == "Failed" && parked(s, "app"))
        .await;
    assert_eq!(
        (image(&stage, "app-primary"), stage.weight()),
        ("app:2".into(), "0".into())
    );
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn r12_a_primary_that_is_made_again_is_not_parked() {
    let stage = deployed().await;
    let store = &stage.store;
    store
        .delete_now(&DAEMON_SET, "demo", "app-primary")
        .expect("deleted");
    stage
        .until("it is back", |s| image(s, "app-primary") == "app:1")
        .await;
    assert_eq!(selector(&stage, "app-primary"), json!({"disk": "ssd"}));
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn r18_parking_and_deletion_lose_no_field_and_deletion_gives_the_pods_back() {
    let stage = deployed().await;
    let mut before = stage.get(&DAEMON_SET, "app");
    path::remove(
        &mut before,
        &["spec", "template", "spec", "nodeSelector", PARKED],
    );
    stage.store.delete(&CANARY, "demo", "app").expect("asked");
    stage
        .until("the Canary is gone", |s| s.get(&CANARY, "app").is_null())
        .await;
    assert!(!parked(&stage, "app"));
    let after = stage.get(&DAEMON_SET, "app");
    assert_eq!(before["spec"], after["spec"]);
    assert_eq!(after["status"]["numberAvailable"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_whose_pods_do_not_follow_is_refused() {
    let stage = Stage::set();
    let mut object = daemon_set("app:1");
    object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    stage.create(&DAEMON_SET, object);
    stage.create(&CANARY, asked());
    stage
        .until("refused", |s| {
            s.ready() == ("False".into(), "Invalid".into())
        })
        .await;
    assert!(stage.get(&DAEMON_SET, "app-primary").is_null());
}
