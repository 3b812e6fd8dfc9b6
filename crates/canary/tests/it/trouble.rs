//! Trouble: pushes at the wrong moment, restarts at every step, no data, hands on the objects, and
//! what can't be done.

use std::time::Duration;

use serde_json::json;
use weir_api::alert_provider;
use weir_runtime::kinds::{DEPLOYMENT, HTTP_ROUTE, SERVICE};

use crate::stage::{CANARY, Says, Stage, canary, deployment, push};

async fn initialised() -> Stage {
    let stage = Stage::set();
    stage.deploy();
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage
}

#[tokio::test(start_paused = true)]
async fn r10_a_push_during_the_last_query_is_analysed_before_it_is_promoted() {
    let stage = initialised().await;
    stage.push("app:2");
    stage.until("the last weight", |s| s.weight() == "40").await;
    let store = stage.store.clone();
    stage.during_a_query(move || push(&store, "app:3"));
    stage
        .until("restarted", |s| {
            s.events()
                .iter()
                .any(|e| e.starts_with("New revision detected! Restarting"))
        })
        .await;
    assert_eq!(stage.image("app-primary"), "app:1");
    let asked = stage.asked();
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:3");
    assert!(stage.asked() >= asked + 2, "measured at both weights");
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_any_moment_goes_on_where_it_was() {
    for (last, faulty) in [("Succeeded", false), ("Failed", true)] {
        let mut stage = initialised().await;
        if faulty {
            stage.says(Says::Value("0"));
        }
        stage.push("app:2");
        // Prime-ish steps, so that every stretch is hit somewhere.
        for step in 0u64.. {
            tokio::time::sleep(Duration::from_millis(170 + 130 * (step % 7))).await;
            stage.kill().await;
            stage.start();
            if stage.phase() == last && stage.replicas("app") == "0" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1900)).await;
            assert!(step < 200, "no end: {:#}", stage.get(&CANARY, "app"));
        }
        let expected = if faulty { "app:1" } else { "app:2" };
        assert_eq!(
            (stage.image("app-primary").as_str(), stage.weight().as_str()),
            (expected, "0")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_data_and_no_answer_are_told_apart_and_neither_is_a_pass() {
    for (says, text) in [
        (
            Says::Nothing,
            "Rolling back app.demo checks without data threshold reached 2",
        ),
        (
            Says::Down,
            "Rolling back app.demo metric provider failures threshold reached 2",
        ),
    ] {
        let stage = initialised().await;
        stage.says(says);
        stage.push("app:2");
        stage.until("rolled back", |s| s.phase() == "Failed").await;
        stage
            .until(text, |s| s.events().iter().any(|e| e == text))
            .await;
        assert_eq!(stage.image("app-primary"), "app:1");
    }
}

#[tokio::test(start_paused = true)]
async fn r04_a_failed_first_deployment_is_healed_by_the_next_push() {
    let stage = Stage::set();
    stage.breaks("app:1");
    stage.deploy();
    stage.until("failed", |s| s.phase() == "Failed").await;
    assert_eq!(
        stage.ready(),
        ("False".into(), "InitializationFailed".into())
    );
    assert_eq!(stage.replicas("app"), "2");
    assert!(stage.get(&SERVICE, "app").is_null() && stage.get(&HTTP_ROUTE, "app").is_null());
    stage.push("app:2");
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    assert_eq!(stage.image("app-primary"), "app:2");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_supported_is_refused_before_anything_moves() {
    let stage = Stage::set();
    stage
        .store
        .apply(&DEPLOYMENT, deployment("app:1"))
        .expect("applied");
    let mut asks = canary();
    asks["spec"]["service"]["meshName"] = "mesh".into();
    stage.create(&CANARY, asks);
    stage
        .until("refused", |s| {
            s.ready() == ("False".into(), "Unsupported".into())
        })
        .await;
    stage
        .until("told", |s| {
            s.events().iter().any(|e| e.contains("service.meshName"))
        })
        .await;
    assert_eq!(stage.phase(), "");
    assert!(stage.get(&DEPLOYMENT, "app-primary").is_null());
    assert_eq!(stage.replicas("app"), "2");
    let finalizers = stage.text(&CANARY, "app", &["metadata", "finalizers"]);
    assert!(finalizers.is_empty(), "{finalizers}");
    // Taken out, it goes on.
    let without = json!({"spec": {"service": {"meshName": null}}});
    stage
        .store
        .patch(&CANARY, "demo", "app", without)
        .expect("patched");
    stage
        .until("initialised", |s| s.phase() == "Initialized")
        .await;
}

#[tokio::test(start_paused = true)]
async fn hands_on_generated_objects_are_put_right_and_the_target_keeps_its_owner() {
    let stage = initialised().await;
    let edit = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": "app:evil"}]}}}});
    stage
        .store
        .patch(&DEPLOYMENT, "demo", "app-primary", edit)
        .expect("patched");
    stage
        .until("put right", |s| s.image("app-primary") == "app:1")
        .await;
    let selector = json!({"spec": {"selector": {"app": "app"}}});
    stage
        .store
        .patch(&SERVICE, "demo", "app", selector)
        .expect("patched");
    stage
        .until("put right", |s| {
            s.text(&SERVICE, "app", &["spec", "selector", "app"]) == "app-primary"
        })
        .await;
    stage
        .store
        .delete(&DEPLOYMENT, "demo", "app-primary")
        .expect("deleted");
    stage
        .until("made again", |s| s.image("app-primary") == "app:1")
        .await;
    let managed = stage.text(&DEPLOYMENT, "app", &["metadata", "managedFields"]);
    assert!(
        managed.contains("kustomize-controller") && managed.contains("flagger"),
        "{managed}"
    );
    stage
        .until("at rest", |s| {
            s.ready() == ("True".into(), "Initialized".into())
        })
        .await;
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn suspended_nothing_moves_and_going_back_aborts() {
    let stage = initialised().await;
    stage.push("app:2");
    stage.until("a weight", |s| s.weight() == "20").await;
    stage
        .store
        .patch(&CANARY, "demo", "app", json!({"spec": {"suspend": true}}))
        .expect("patched");
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(
        (stage.weight(), stage.phase()),
        ("20".into(), "Progressing".into())
    );
    stage.push("app:1");
    stage
        .store
        .patch(&CANARY, "demo", "app", json!({"spec": {"suspend": false}}))
        .expect("patched");
    stage
        .until("aborted", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    assert_eq!(
        (stage.image("app-primary"), stage.weight()),
        ("app:1".into(), "0".into())
    );
}

#[tokio::test(start_paused = true)]
async fn r27_two_that_work_at_once_take_no_step_twice() {
    let mut stage = initialised().await;
    stage.start_another();
    stage.push("app:2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    let past = stage.get(&CANARY, "app")["status"]["history"][0].clone();
    assert_eq!(past["weights"], json!([20, 40]));
    assert_eq!(stage.image("app-primary"), "app:2");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn r24_a_fraction_is_refused_where_it_is_written_and_blinds_nobody() {
    let stage = initialised().await;
    let mut other = canary();
    other["metadata"]["name"] = "other".into();
    other["spec"]["analysis"]["threshold"] = json!(1.5);
    let refused = stage.store.create(&CANARY, other);
    assert!(refused.is_err(), "{refused:?}");
    stage.push("app:2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
}

/// The same objects under another name.
fn named(object: &serde_json::Value, name: &str) -> serde_json::Value {
    let text = object
        .to_string()
        .replace(r#""app""#, &format!(r#""{name}""#));
    let mut object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // The key of the label keeps its name.
    for at in [
        &["spec", "selector", "matchLabels"][..],
        &["spec", "template", "metadata", "labels"],
    ] {
        if weir_object::path::get(&object, at).is_some() {
            weir_object::path::set(&mut object, at, json!({"app": name}));
        }
    }
    object
}

#[tokio::test(start_paused = true)]
async fn r23_what_hangs_elsewhere_does_not_delay_a_rollback() {
    let stage = Stage::set();
    // Fifty Canaries whose hooks never answer, and alerts to where nobody listens.
    stage.create(
        &alert_provider::KIND,
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider",
            "metadata": {"name": "silent", "namespace": "demo"},
            "spec": {"type": "slack", "address": "http://hooks/hang"}}),
    );
    let git = stage.store.as_manager("kustomize-controller");
    let alerts = json!([{"name": "a", "providerRef": {"name": "silent"}}]);
    for n in 0..50 {
        let name = format!("hung-{n}");
        git.apply(&DEPLOYMENT, named(&deployment("app:1"), &name))
            .expect("applied");
        let mut hung = named(&canary(), &name);
        hung["spec"]["analysis"]["webhooks"] = json!([{"name": "h", "type": "confirm-rollout", "url": "http://hooks/hang", "timeout": "60s"}]);
        stage.create(&CANARY, hung);
    }
    let mut own = canary();
    own["spec"]["analysis"]["alerts"] = alerts;
    stage.deploy_with(own);
    stage
        .until("all are initialised", |s| {
            let phase = |name: &str| s.text(&CANARY, name, &["status", "phase"]);
            phase("app") == "Initialized"
                && (0..50).all(|n| phase(&format!("hung-{n}")) == "Initialized")
        })
        .await;
    for n in 0..50 {
        let mut next = named(&deployment("app:2"), &format!("hung-{n}"));
        weir_object::path::remove(&mut next, &["spec", "replicas"]);
        git.apply(&DEPLOYMENT, next).expect("applied");
    }
    stage.push("app:2");
    stage.until("a weight", |s| s.weight() == "20").await;
    stage.says(Says::Value("0"));
    // The window that proves it bad.
    let asked = stage.asked();
    stage
        .until("the second bad round", |s| s.asked() == asked + 2)
        .await;
    let proved = tokio::time::Instant::now();
    stage
        .until("traffic is back, in force", |s| {
            let route = s.get(&HTTP_ROUTE, "app");
            let seen = &route["status"]["parents"][0]["conditions"][0]["observedGeneration"];
            s.weight() == "0" && *seen == route["metadata"]["generation"]
        })
        .await;
    let took = proved.elapsed();
    assert!(took <= Duration::from_secs(2), "{took:?} of virtual time");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_undoes_what_is_done_is_told_of_and_not_fought() {
    let stage = initialised().await;
    let store = stage.store.clone();
    // Whatever is set is changed at once.
    tokio::spawn(async move {
        let all = weir_apiserver::Selector::default();
        let mut watch = store.watch(&DEPLOYMENT, None, &all, None).expect("a watch");
        let hand = store.as_manager("webhook");
        while let Some(Ok(event)) = watch.next().await {
            let object = event.object();
            let at = ["spec", "template", "metadata", "labels", "injected"];
            let ours = object["metadata"]["name"] == "app-primary";
            if ours && weir_object::path::get(object, &at).is_none() {
                let patch =
                    json!({"spec": {"template": {"metadata": {"labels": {"injected": "yes"}}}}});
                hand.patch(&DEPLOYMENT, "demo", "app-primary", patch)
                    .expect("patched");
            }
        }
    });
    stage
        .until("it says so", |s| {
            s.ready() == ("False".into(), "Contested".into())
        })
        .await;
    assert!(
        stage
            .events()
            .iter()
            .any(|e| e.contains("is undone each time"))
    );
    let before = stage.store.version();
    tokio::time::sleep(Duration::from_mins(30)).await;
    let writes = stage.store.version() - before;
    assert!(writes < 200, "{writes} writes in half an hour are a fight");
}
