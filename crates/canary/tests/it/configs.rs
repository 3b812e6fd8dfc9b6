//! ConfigMaps and Secrets of a target: they are part of its revisions.

use serde_json::{Value, json};
use weir_apiserver::Selector;
use weir_object::path;
use weir_runtime::kinds::{CONFIG_MAP, DEPLOYMENT, SECRET};

use crate::stage::{CANARY, Says, Stage, canary, deployment};

fn settings(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "demo"},
        "data": {"level": value}, "binaryData": {"b": "AAE="}})
}

/// A Deployment that reads a ConfigMap and a Secret, and one that asks to be left alone.
fn configured(image: &str) -> Value {
    let mut object = deployment(image);
    let from = json!([
        {"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "token"}},
        {"configMapRef": {"name": "shared"}}]);
    let at = ["spec", "template", "spec", "containers", "0", "envFrom"];
    path::set(&mut object, &at, from);
    object
}

async fn initialised() -> Stage {
    let stage = Stage::set();
    stage.create(&CONFIG_MAP, settings("1"));
    stage.create(
        &SECRET,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "demo"},
            "type": "Opaque", "data": {"t": "YQ=="}}),
    );
    stage.create(
        &CONFIG_MAP,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared",
            "namespace": "demo", "annotations": {"flagger.app/config-tracking": "disabled"}},
            "data": {"a": "b"}}),
    );
    let git = stage.store.as_manager("kustomize-controller");
    git.apply(&DEPLOYMENT, configured("app:1"))
        .expect("applied");
    stage.create(&CANARY, canary());
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage
}

fn set(stage: &Stage, value: &str) {
    let git = stage.store.as_manager("kustomize-controller");
    git.patch(
        &CONFIG_MAP,
        "demo",
        "settings",
        json!({"data": {"level": value}}),
    )
    .expect("patched");
}

fn level(stage: &Stage, name: &str) -> String {
    stage.text(&CONFIG_MAP, name, &["data", "level"])
}

fn names(stage: &Stage) -> Vec<String> {
    let from = stage.get(&DEPLOYMENT, "app-primary");
    let at = ["spec", "template", "spec", "containers", "0", "envFrom"];
    let all = path::get(&from, &at).and_then(Value::as_array).cloned();
    all.into_iter()
        .flatten()
        .map(|f| {
            let holder = f.get("configMapRef").or_else(|| f.get("secretRef"));
            holder.map_or(String::new(), |h| path::text(h, &["name"]).to_owned())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_primary_has_copies_and_a_change_of_content_is_a_run() {
    let stage = initialised().await;
    assert_eq!(
        names(&stage),
        ["settings-primary", "token-primary", "shared"]
    );
    assert_eq!(level(&stage, "settings-primary"), "1");
    let copy = stage.get(&CONFIG_MAP, "settings-primary");
    assert_eq!(copy["binaryData"], json!({"b": "AAE="}));
    let tracked = stage.get(&CANARY, "app")["status"]["trackedConfigs"].clone();
    let ids: Vec<_> = tracked
        .as_object()
        .expect("a map")
        .keys()
        .cloned()
        .collect();
    assert_eq!(ids, ["configmap/settings", "secret/token"]);
    stage.is_silent().await;

    set(&stage, "2");
    stage.until("a weight", |s| s.weight() == "20").await;
    assert_eq!(level(&stage, "settings-primary"), "1", "users are spared");
    let mark = |s: &Stage| {
        let at = ["spec", "template", "metadata", "annotations", "flagger-id"];
        s.text(&DEPLOYMENT, "app-primary", &at)
    };
    let before = mark(&stage);
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(level(&stage, "settings-primary"), "2");
    assert_ne!(mark(&stage), before, "its pods are new");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_content_that_fails_never_reaches_the_primary_and_going_back_needs_no_run() {
    let stage = initialised().await;
    stage.says(Says::Value("0"));
    set(&stage, "bad");
    stage.until("rolled back", |s| s.phase() == "Failed").await;
    assert_eq!(level(&stage, "settings-primary"), "1");
    set(&stage, "1");
    stage.until("at rest", |s| s.phase() == "Initialized").await;
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_content_during_a_run_is_another_revision() {
    let stage = initialised().await;
    set(&stage, "2");
    stage.until("the last weight", |s| s.weight() == "40").await;
    set(&stage, "3");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(level(&stage, "settings-primary"), "3");
    let told = stage.events();
    assert!(
        told.iter().any(|e| e.contains("Restarting analysis")),
        "{told:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn r11_a_lost_or_edited_copy_comes_back_as_it_was_promoted() {
    let stage = initialised().await;
    set(&stage, "2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    stage.says(Says::Value("0"));
    set(&stage, "bad");
    stage.until("rolled back", |s| s.phase() == "Failed").await;
    let store = stage.store.as_manager("kubectl");
    store
        .delete(&CONFIG_MAP, "demo", "settings-primary")
        .expect("deleted");
    store
        .delete(&DEPLOYMENT, "demo", "app-primary")
        .expect("deleted");
    stage
        .until("back", |s| {
            level(s, "settings-primary") == "2" && s.image("app-primary") == "app:1"
        })
        .await;
    let edit = json!({"data": {"level": "edited", "more": "x"}});
    store
        .patch(&CONFIG_MAP, "demo", "settings-primary", edit)
        .expect("patched");
    stage
        .until("as it was", |s| {
            s.get(&CONFIG_MAP, "settings-primary")["data"] == json!({"level": "2"})
        })
        .await;
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_brings_the_content_back_too_and_what_nothing_needs_goes() {
    let stage = initialised().await;
    for value in ["2", "3", "4"] {
        set(&stage, value);
        stage
            .until(value, |s| {
                s.phase() == "Succeeded" && level(s, "settings-primary") == value
            })
            .await;
    }
    stage.is_silent().await;
    let kept = |stage: &Stage| {
        let (all, _) = stage
            .store
            .list(&CONFIG_MAP, Some("demo"), &Selector::default());
        all.iter().filter(|o| o["immutable"] == true).count()
    };
    assert_eq!(kept(&stage), 2, "of the promoted one and of the one before");
    stage.ask("rollback", "a");
    stage
        .until("back", |s| level(s, "settings-primary") == "3")
        .await;
    stage.is_silent().await;
    assert_eq!(level(&stage, "settings"), "4", "Git keeps its say");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_somebody_elses_is_not_taken() {
    let stage = Stage::set();
    stage.create(&CONFIG_MAP, settings("1"));
    let mut other = settings("theirs");
    other["metadata"]["name"] = "settings-primary".into();
    stage.create(&CONFIG_MAP, other);
    let git = stage.store.as_manager("kustomize-controller");
    git.apply(&DEPLOYMENT, configured("app:1"))
        .expect("applied");
    stage.create(&CANARY, canary());
    stage
        .until("refused", |s| {
            s.ready() == ("False".into(), "Invalid".into())
        })
        .await;
    assert_eq!(level(&stage, "settings-primary"), "theirs");
    assert_eq!(stage.replicas("app"), "2");
}
