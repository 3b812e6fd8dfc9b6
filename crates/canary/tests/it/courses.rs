//! The courses of a run on a route of the Gateway API, and without one.

use serde_json::{Value, json};
use weir_runtime::kinds::HTTP_ROUTE;

use crate::stage::{CANARY, Says, Stage, canary};

/// A Canary whose analysis is this one, less its steps.
fn judged(analysis: &Value) -> Value {
    let mut canary = canary();
    let here = canary["spec"]["analysis"].as_object_mut().expect("a map");
    for field in ["stepWeight", "maxWeight"] {
        here.remove(field);
    }
    for (field, value) in analysis.as_object().expect("a map") {
        here.insert(field.clone(), value.clone());
    }
    canary
}

async fn initialised(canary: Value) -> Stage {
    let stage = Stage::set();
    stage.deploy_with(canary);
    stage
        .until("initialised", |s| {
            s.phase() == "Initialized" && s.replicas("app") == "0"
        })
        .await;
    stage
}

/// Each shape that the route's rules took until the run ended, in order.
async fn shapes(stage: &Stage, end: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..20_000 {
        let shape = shape(&stage.get(&HTTP_ROUTE, "app"));
        if seen.last() != Some(&shape) {
            seen.push(shape);
        }
        if stage.phase() == end && stage.replicas("app") == "0" {
            return seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never {end}: {:#}", stage.get(&CANARY, "app"));
}

/// `primary/canary` of each rule, with what its matches and filters are about.
fn shape(route: &Value) -> String {
    let rules = route["spec"]["rules"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of = |rule: &Value| {
        let weights: Vec<String> = rule["backendRefs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|b| b["weight"].to_string())
            .collect();
        let mut out = weights.join("/");
        if let Some(name) = rule["matches"][0]["headers"][0]["name"].as_str() {
            out = format!("{name} {out}");
        }
        if rule["filters"][0]["type"] == "RequestMirror" {
            out.push_str(" copied");
        }
        out
    };
    rules.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[tokio::test(start_paused = true)]
async fn an_ab_test_leads_matching_requests_alone() {
    let analysis =
        json!({"iterations": 2, "match": [{"headers": {"x-user": {"exact": "insider"}}}]});
    let stage = initialised(judged(&analysis)).await;
    stage.push("app:2");
    assert_eq!(
        shapes(&stage, "Succeeded").await,
        ["100/0", "x-user 0/100, 100", "100/0"]
    );
    assert_eq!(stage.image("app-primary"), "app:2");
    stage.is_silent().await;
    stage.says(Says::Value("0"));
    stage.push("app:3");
    assert_eq!(
        shapes(&stage, "Failed").await,
        ["100/0", "x-user 0/100, 100", "100/0"]
    );
    assert_eq!(stage.image("app-primary"), "app:2");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn blue_green_copies_requests_and_then_switches() {
    let stage = initialised(judged(&json!({"iterations": 2, "mirror": true}))).await;
    stage.push("app:2");
    assert_eq!(
        shapes(&stage, "Succeeded").await,
        ["100/0", "100/0 copied", "0/100", "100/0"]
    );
    assert_eq!(stage.image("app-primary"), "app:2");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn r14_a_mirrored_weighted_run_comes_to_its_end() {
    let stage = initialised(judged(&json!({"stepWeights": [50], "mirror": true}))).await;
    stage.push("app:2");
    assert_eq!(
        shapes(&stage, "Succeeded").await,
        ["100/0", "100/0 copied", "50/50", "100/0"]
    );
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn users_stay_at_a_side_by_a_cookie_and_forget_it_afterwards() {
    let analysis = json!({"stepWeights": [50], "sessionAffinity": {"cookieName": "side"}});
    let stage = initialised(judged(&analysis)).await;
    stage.push("app:2");
    assert_eq!(
        shapes(&stage, "Succeeded").await,
        ["100/0", "Cookie 0/100, 50/50", "Cookie 100/0, 100/0"]
    );
    let status = stage.get(&CANARY, "app")["status"].clone();
    let previous = status["previousSessionAffinityCookie"].as_str();
    assert!(previous.is_some_and(|c| c.starts_with("side=")), "{status}");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_route_a_revision_is_judged_unseen() {
    let mut canary = judged(&json!({"iterations": 3}));
    canary["spec"]["provider"] = "kubernetes".into();
    canary["spec"]["service"]
        .as_object_mut()
        .expect("a map")
        .remove("gatewayRefs");
    let stage = initialised(canary).await;
    stage.push("app:2");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    assert!(stage.get(&HTTP_ROUTE, "app").is_null());
    stage.is_silent().await;
    stage.says(Says::Value("0"));
    stage.push("app:3");
    stage.until("rolled back", |s| s.phase() == "Failed").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn steps_hold_and_wait_for_a_person() {
    let analysis = json!({"steps": [
        {"weight": 10, "hold": "2m"}, {"weight": 50, "manual": true}]});
    let stage = initialised(judged(&analysis)).await;
    stage.push("app:2");
    stage.until("the first", |s| s.weight() == "10").await;
    tokio::time::sleep(std::time::Duration::from_secs(115)).await;
    assert_eq!(stage.weight(), "10");
    stage.until("the second", |s| s.weight() == "50").await;
    tokio::time::sleep(std::time::Duration::from_mins(30)).await;
    assert_eq!(stage.weight(), "50");
    stage.ask("promote", "a");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
}

#[tokio::test(start_paused = true)]
async fn a_bake_takes_a_promoted_revision_back() {
    let stage = initialised(judged(&json!({"stepWeights": [50], "bakeTime": "5m"}))).await;
    stage.push("app:2");
    stage
        .until("the bake", |s| {
            s.phase() == "Finalising" && s.replicas("app") == "0"
        })
        .await;
    stage.says(Says::Value("0"));
    stage.until("taken back", |s| s.phase() == "Failed").await;
    stage
        .until("served", |s| s.image("app-primary") == "app:1")
        .await;
    stage.is_silent().await;
    stage.says(Says::Value("100"));
    stage.push("app:3");
    stage.until("promoted", |s| s.phase() == "Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:3");
}
