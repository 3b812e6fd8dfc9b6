//! Hooks, alerts and what people ask for, as the controller meets them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_api::alert_provider;
use weir_runtime::kinds::SECRET;

use crate::stage::{CANARY, Says, Stage, canary};

const KINDS: [&str; 8] = [
    "confirm-rollout",
    "pre-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "post-rollout",
    "rollback",
    "event",
];

/// A Canary with one hook of each kind.
fn hooked() -> Value {
    let mut canary = canary();
    let hooks = KINDS.map(|kind| {
        json!({"name": kind, "type": kind, "url": format!("http://hooks/{kind}"), "timeout": "5s",
            "metadata": {"team": "a"}})
    });
    canary["spec"]["analysis"]["webhooks"] = json!(hooks);
    canary
}

async fn stage() -> Stage {
    let stage = Stage::set();
    stage.closes("/rollback", true);
    stage.deploy_with(hooked());
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_hook_is_asked_and_told_what_it_is_asked() {
    let stage = stage().await;
    stage.push("app:2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    stage.is_silent().await;
    let called = stage.called();
    let asked: BTreeSet<_> = called.iter().map(|(path, ..)| path.as_str()).collect();
    let wanted: Vec<String> = KINDS.map(|kind| format!("/{kind}")).into();
    assert_eq!(asked, wanted.iter().map(String::as_str).collect());
    let (_, key, body) = called
        .iter()
        .find(|(path, ..)| path == "/confirm-promotion")
        .expect("asked");
    assert_eq!(
        (&body["type"], &body["hook"], &body["id"]),
        (
            &json!("confirm-promotion"),
            &json!("confirm-promotion"),
            &json!(key)
        )
    );
    assert_eq!(
        (
            &body["name"],
            &body["namespace"],
            &body["phase"],
            &body["metadata"]
        ),
        (
            &json!("app"),
            &json!("demo"),
            &json!("Progressing"),
            &json!({"team": "a"})
        )
    );
    let last = called.iter().rfind(|(path, ..)| path == "/post-rollout");
    assert_eq!(
        last.map(|(.., body)| &body["phase"]),
        Some(&json!("Succeeded"))
    );
    let questions: Vec<_> = called
        .iter()
        .filter(|(path, ..)| path != "/event")
        .collect();
    let keys: BTreeSet<_> = questions.iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys.len(), questions.len(), "each question has its own key");
    let told = called.iter().filter(|(path, ..)| path == "/event");
    let told: Vec<_> = told
        .map(|(.., body)| {
            body["metadata"]["eventMessage"]
                .as_str()
                .unwrap_or_default()
        })
        .collect();
    assert!(
        told.contains(&"Promotion completed! Scaling down app.demo"),
        "{told:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_closed_keeps_a_revision_out_until_it_opens() {
    let stage = stage().await;
    stage.closes("/confirm-rollout", true);
    stage.push("app:2");
    stage.until("waiting", |s| s.phase() == "Waiting").await;
    tokio::time::sleep(std::time::Duration::from_mins(3)).await;
    assert_eq!(
        (stage.phase().as_str(), stage.replicas("app").as_str()),
        ("Waiting", "0")
    );
    assert_eq!(stage.ready().0, "True");
    stage.closes("/confirm-rollout", false);
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
}

#[tokio::test(start_paused = true)]
async fn a_restart_asks_the_same_question_with_the_same_key() {
    let mut stage = stage().await;
    stage.closes("/confirm-promotion", true);
    stage.push("app:2");
    stage
        .until("waiting", |s| s.phase() == "WaitingPromotion")
        .await;
    for _ in 0..20 {
        stage.kill().await;
        stage.start();
        tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    }
    stage.closes("/confirm-promotion", false);
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    stage.kill().await;
    stage.start();
    stage.is_silent().await;
    let posts = stage.called();
    let posts = posts.iter().filter(|(path, ..)| path == "/post-rollout");
    assert_eq!(
        posts.map(|(_, key, _)| key).collect::<BTreeSet<_>>().len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn alerts_go_to_each_place_that_wants_them() {
    let stage = Stage::set();
    stage.create(
        &SECRET,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat", "namespace": "demo"},
            "data": {"address": "aHR0cDovL2hvb2tzL3RlYW0="}}),
    );
    for (name, spec) in [
        (
            "team",
            json!({"type": "slack", "secretRef": {"name": "chat"}}),
        ),
        (
            "oncall",
            json!({"type": "msteams", "address": "http://hooks/oncall"}),
        ),
    ] {
        stage.create(
            &alert_provider::KIND,
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider",
                "metadata": {"name": name, "namespace": "demo"}, "spec": spec}),
        );
    }
    let mut canary = canary();
    canary["spec"]["analysis"]["alerts"] = json!([
        {"name": "all", "providerRef": {"name": "team"}},
        {"name": "errors", "severity": "error", "providerRef": {"name": "oncall"}},
        {"name": "nowhere", "providerRef": {"name": "missing"}},
    ]);
    stage.deploy_with(canary);
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage.says(Says::Value("0"));
    stage.push("app:2");
    stage.until("rolled back", |s| s.phase() == "Failed").await;
    stage.is_silent().await;
    let called = stage.called();
    let said = |path: &str, at: &str| -> Vec<String> {
        let here = called.iter().filter(|(p, ..)| p == path);
        here.map(|(.., body)| {
            body.pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
    };
    assert_eq!(
        said("/team", "/attachments/0/text"),
        [
            "New Deployment detected, initialization completed.",
            "New revision detected, progressing canary analysis.",
            "Failed checks threshold reached 2",
        ]
    );
    assert_eq!(
        said("/oncall", "/sections/0/activityTitle"),
        ["Failed checks threshold reached 2"]
    );
    let routing = called[0].2.pointer("/attachments/0/fields/3/value");
    assert_eq!(routing, Some(&json!("Weight step: 20 max: 40")));
}

#[tokio::test(start_paused = true)]
async fn what_people_ask_for_acts_once_and_says_who_asked() {
    let stage = Stage::set();
    stage.deploy();
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage.push("app:2");
    stage.until("a weight", |s| s.weight() == "20").await;
    stage.ask("abort", "one");
    stage.until("aborted", |s| s.phase() == "Failed").await;
    stage.is_silent().await;
    let status = stage.get(&CANARY, "app")["status"].clone();
    assert_eq!(status["requests"][0]["by"], "ann");
    assert_eq!(status["history"][0]["reason"], "aborted by ann");
    assert_eq!(
        (stage.weight().as_str(), stage.image("app-primary").as_str()),
        ("0", "app:1")
    );
    stage.ask("retry", "one");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    stage.ask("rollback", "one");
    stage
        .until("back", |s| s.image("app-primary") == "app:1")
        .await;
    stage.is_silent().await;
    assert_eq!(stage.phase(), "Failed");
    assert_eq!(stage.image("app"), "app:2", "Git keeps its say");
}
