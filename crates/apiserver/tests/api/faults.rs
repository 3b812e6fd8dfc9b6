//! Faults by plan: what clients see, what was done all the same, and that it repeats by seed.

use std::time::Duration;

use http::{Method, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use weir_apiserver::{ApiBody, ApiServer, FaultPlan};

use crate::support::{get, moving, post, send_with, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn plan(server: &ApiServer, text: &str) {
    let plan = FaultPlan::parse("faults.yaml", text).expect("a plan");
    server.faults().set(plan).expect("set");
}

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}})
}

async fn set(server: &ApiServer, name: &str, value: &str) {
    let body = map(name, value).to_string().into_bytes();
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{MAPS}/{name}?fieldManager=setter&force=true");
    let answer = send_with(server, Method::PATCH, &path, &headers, body).await;
    assert!(answer.status().is_success(), "{answer:?}");
}

fn value(answer: &Value) -> &str {
    answer["data"]["v"].as_str().unwrap_or_default()
}

async fn send(server: &ApiServer, method: Method, path: &str, body: &Value) -> Response<ApiBody> {
    send_with(
        server,
        method,
        path,
        &[("content-type", "application/json")],
        body.to_string().into_bytes(),
    )
    .await
}

/// The rest of a watch: its events as `TYPE name=value`, and whether it was cut.
async fn events(body: &mut ApiBody, at_most: usize) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    while out.len() < at_most {
        let frame = match tokio::time::timeout(Duration::from_secs(30), body.frame()).await {
            Err(_) | Ok(None) => return (out, false),
            Ok(Some(Err(_))) => return (out, true),
            Ok(Some(Ok(frame))) => frame.into_data().expect("data"),
        };
        for line in frame.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let event: Value = serde_json::from_slice(line).expect("JSON");
            let name = event["object"]["metadata"]["name"]
                .as_str()
                .unwrap_or_default();
            out.push(format!(
                "{} {name}={}",
                event["type"].as_str().unwrap_or_default(),
                value(&event["object"])
            ));
        }
    }
    (out, false)
}

#[tokio::test]
async fn errors_are_statuses_and_nothing_is_done() {
    let server = server();
    plan(&server, "
rules:
  - {name: busy, match: {verbs: [create], resources: [configmaps]}, when: {nth: 1}, error: {code: 429}}
  - {match: {verbs: [create], resources: [configmaps]}, when: {nth: 1}, error: {code: 409, message: not now}}
  - {match: {verbs: [create], resources: [configmaps]}, when: {nth: 1}, error: {code: 503, retryAfter: 7}}
  - {match: {verbs: [create], resources: [configmaps]}, when: {nth: 1}, error: {code: 504}}
");
    let busy = send(&server, Method::POST, MAPS, &map("a", "1")).await;
    assert_eq!(
        (busy.status().as_u16(), &busy.headers()["retry-after"]),
        (429, &http::HeaderValue::from(1))
    );
    let told = post(&server, MAPS, &map("a", "1")).await;
    let message = (
        told.body["reason"].as_str(),
        told.body["message"].as_str(),
        told.body["code"].as_u64(),
    );
    assert_eq!(message, (Some("Conflict"), Some("not now"), Some(409)));
    let told = post(&server, MAPS, &map("a", "1")).await;
    assert_eq!(
        (told.code, &told.body["details"]),
        (503, &json!({"retryAfterSeconds": 7}))
    );
    assert_eq!(
        post(&server, MAPS, &map("a", "1")).await.body["reason"],
        "Timeout"
    );
    assert_eq!(get(&server, &format!("{MAPS}/a")).await.code, 404);
    assert_eq!(post(&server, MAPS, &map("a", "1")).await.code, 201);
    let counts: Vec<(String, u64, u64)> = server
        .faults()
        .counts()
        .into_iter()
        .map(|c| (c.name, c.matched, c.fired))
        .collect();
    let count = |name: &str, matched| (name.to_owned(), matched, 1);
    // A rule counts the requests that came as far as it.
    assert_eq!(
        counts,
        [
            count("busy", 5),
            count("rules[1]", 4),
            count("rules[2]", 3),
            count("rules[3]", 2)
        ]
    );
    assert_eq!(server.faults().fired(), 4);
}

#[tokio::test]
async fn a_write_may_be_done_though_the_client_does_not_hear_of_it() {
    let server = server();
    plan(&server, "
rules:
  - {match: {verbs: [create], names: [], resources: [configmaps]}, when: {nth: 1}, ambiguous: timeout}
  - {match: {verbs: [update]}, ambiguous: cut}
  - {match: {verbs: [delete]}, ambiguous: storage}
");
    let told = post(&server, MAPS, &map("a", "1")).await;
    assert_eq!(
        (told.code, told.body["reason"].as_str()),
        (504, Some("Timeout"))
    );
    let path = format!("{MAPS}/a");
    assert_eq!(value(&get(&server, &path).await.body), "1");
    let cut = send(&server, Method::PUT, &path, &map("a", "2")).await;
    assert!(cut.into_body().collect().await.is_err());
    assert_eq!(value(&get(&server, &path).await.body), "2");
    let lost = send(&server, Method::DELETE, &path, &Value::Null).await;
    assert_eq!(lost.status().as_u16(), 500);
    assert_eq!(get(&server, &path).await.code, 404);
}

#[tokio::test]
async fn a_connection_may_be_cut_before_anything_is_done() {
    let server = server();
    plan(
        &server,
        "rules: [{match: {verbs: [create, list], resources: [configmaps]}, when: {count: 2}, drop: {}}]",
    );
    for method in [Method::POST, Method::GET] {
        let cut = send(&server, method, MAPS, &map("a", "1")).await;
        assert!(cut.into_body().collect().await.is_err());
    }
    assert_eq!(get(&server, &format!("{MAPS}/a")).await.code, 404);
    assert_eq!(post(&server, MAPS, &map("a", "1")).await.code, 201);
}

#[tokio::test(start_paused = true)]
async fn delays_add_up_and_the_times_of_a_plan_are_the_servers() {
    let server = moving();
    plan(
        &server,
        "
rules:
  - {match: {verbs: [read]}, delay: 2s}
  - {match: {verbs: [list]}, delay: 3s}
  - {match: {verbs: [get]}, when: {after: 1m, until: '2026-01-02T03:06:05Z'}, error: {code: 500}}
",
    );
    let took = async |path: &str| {
        let before = tokio::time::Instant::now();
        let code = get(&server, path).await.code;
        (code, before.elapsed().as_secs())
    };
    assert_eq!(took(MAPS).await, (200, 5));
    let one = "/api/v1/namespaces/default";
    assert_eq!(took(one).await, (200, 2));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(took(one).await, (500, 2));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(took(one).await, (200, 2));
    server.faults().clear();
    assert_eq!(took(MAPS).await, (200, 0));
}

#[tokio::test(start_paused = true)]
async fn reads_may_be_behind_by_changes_or_by_time() {
    let server = moving();
    for value in ["1", "2", "3"] {
        set(&server, "a", value).await;
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let one = format!("{MAPS}/a");
    let list = async || {
        let list = get(&server, MAPS).await.body;
        let version = list["metadata"]["resourceVersion"]
            .as_str()
            .expect("a version")
            .to_owned();
        let items = list["items"].as_array().expect("items");
        (
            items
                .first()
                .map(|i| value(i).to_owned())
                .unwrap_or_default(),
            version,
        )
    };
    let newest = list().await;
    for (stale, seen) in [
        ("changes: 1", "2"),
        ("changes: 2", "1"),
        ("age: 15s", "2"),
        ("age: 25s", "1"),
        ("age: 5s", "3"),
    ] {
        plan(
            &server,
            &format!("rules: [{{match: {{resources: [configmaps]}}, stale: {{{stale}}}}}]"),
        );
        assert_eq!(value(&get(&server, &one).await.body), seen, "{stale}");
        let (listed, version) = list().await;
        assert_eq!(listed, seen, "{stale}");
        assert_eq!(
            version == newest.1,
            seen == "3",
            "the version is that of what is shown"
        );
        // Who asks for a version gets it.
        let path = format!(
            "{MAPS}?resourceVersion={}&resourceVersionMatch=Exact",
            newest.1
        );
        assert_eq!(value(&get(&server, &path).await.body["items"][0]), "3");
    }
    // Before it was made it is not there, and what is written is written on what is.
    plan(
        &server,
        "rules: [{match: {resources: [configmaps]}, stale: {changes: 3}}]",
    );
    assert_eq!(get(&server, &one).await.code, 404);
    assert_eq!(post(&server, MAPS, &map("a", "4")).await.code, 409);
}

#[tokio::test(start_paused = true)]
async fn watches_lag_by_events_or_by_time() {
    let server = moving();
    set(&server, "a", "1").await;
    let watch = async |more: &str| {
        let path = format!("{MAPS}?watch=true{more}");
        send_with(&server, Method::GET, &path, &[], Vec::new())
            .await
            .into_body()
    };
    let streaming =
        "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    plan(
        &server,
        "rules: [{match: {verbs: [watch]}, stale: {changes: 1}}]",
    );
    let mut body = watch(streaming).await;
    // What was there from the start is not held back.
    let (first, _) = events(&mut body, 2).await;
    assert!(
        first[0] == "ADDED a=1" || first[0].starts_with("ADDED kube-root"),
        "{first:?}"
    );
    assert!(first.iter().any(|e| e.starts_with("BOOKMARK")), "{first:?}");
    set(&server, "a", "2").await;
    assert_eq!(events(&mut body, 1).await, (vec![], false), "held back");
    set(&server, "a", "3").await;
    assert_eq!(events(&mut body, 1).await.0, ["MODIFIED a=2"]);

    plan(
        &server,
        "rules: [{match: {verbs: [watch]}, stale: {age: 10s}}]",
    );
    let version = get(&server, MAPS).await.body["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version")
        .to_owned();
    let mut body = watch(&format!("&resourceVersion={version}")).await;
    let begin = tokio::time::Instant::now();
    let both = async {
        set(&server, "a", "4").await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        set(&server, "a", "5").await;
    };
    let seen = async {
        let mut out = Vec::new();
        for _ in 0..2 {
            let (event, _) = events(&mut body, 1).await;
            out.push((event[0].clone(), begin.elapsed().as_secs()));
        }
        out
    };
    let ((), seen) = tokio::join!(both, seen);
    assert_eq!(
        seen,
        [
            ("MODIFIED a=4".to_owned(), 10),
            ("MODIFIED a=5".to_owned(), 14)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn watches_break_off_after_some_events() {
    let server = moving();
    let version = get(&server, MAPS).await.body["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version")
        .to_owned();
    plan(
        &server,
        "rules: [{match: {verbs: [watch]}, when: {count: 1}, drop: {events: 2}}]",
    );
    let watch = async || {
        let path = format!("{MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=5");
        send_with(&server, Method::GET, &path, &[], Vec::new())
            .await
            .into_body()
    };
    let mut body = watch().await;
    for value in ["1", "2", "3"] {
        set(&server, "a", value).await;
    }
    let seen = events(&mut body, 9).await;
    assert_eq!(
        seen,
        (
            vec!["ADDED a=1".to_owned(), "MODIFIED a=2".to_owned()],
            true
        )
    );
    let again = events(&mut watch().await, 9).await;
    assert_eq!(
        (again.0.len(), again.1),
        (3, false),
        "the next watch is whole"
    );
}

#[tokio::test]
async fn rules_look_at_who_asks_and_for_what() {
    let server = server();
    plan(&server, "
rules:
  - {name: agent, match: {userAgents: ['weir/*'], verbs: [write]}, error: {code: 500}}
  - {name: manager, match: {managers: [flagger], namespaces: [default]}, error: {code: 500}}
  - {name: sub, match: {groups: [apps], resources: [deployments], subresources: [status]}, error: {code: 500}}
  - {name: name, match: {names: ['*-primary'], subresources: ['']}, error: {code: 500}}
  - {name: user, match: {users: ['system:serviceaccount:*']}, error: {code: 500}}
");
    let code = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        send_with(&server, method, path, headers, b"{}".to_vec())
            .await
            .status()
            .as_u16()
    };
    let fired = || -> Vec<u64> {
        server
            .faults()
            .counts()
            .into_iter()
            .map(|c| c.fired)
            .collect()
    };
    assert_eq!(
        code(Method::GET, MAPS, &[("user-agent", "weir/1")]).await,
        200
    );
    assert_eq!(fired(), [0, 0, 0, 0, 0]);
    // The support's own agent comes first, so the manager tells who asks here.
    let managed = format!("{MAPS}?fieldManager=flagger");
    assert_eq!(
        code(
            Method::POST,
            &managed,
            &[("content-type", "application/json")]
        )
        .await,
        500
    );
    assert_eq!(fired(), [0, 1, 0, 0, 0]);
    let status = "/apis/apps/v1/namespaces/default/deployments/app/status";
    assert_eq!(code(Method::GET, status, &[]).await, 500);
    assert_eq!(fired(), [0, 1, 1, 0, 0]);
    assert_eq!(
        code(
            Method::GET,
            "/apis/apps/v1/namespaces/default/deployments/app-primary",
            &[]
        )
        .await,
        500
    );
    assert_eq!(
        code(
            Method::GET,
            "/apis/apps/v1/namespaces/default/deployments/app",
            &[]
        )
        .await,
        404
    );
    assert_eq!(fired(), [0, 1, 1, 1, 0]);
    // What names no resource is never struck.
    assert_eq!(code(Method::GET, "/version", &[]).await, 200);
}

#[tokio::test]
async fn who_is_not_meant_is_spared_and_not_counted() {
    use tower::ServiceExt as _;
    let server = server();
    plan(&server, "rules: [{error: {code: 500}}]");
    let request = http::Request::get(MAPS)
        .body(String::new())
        .expect("a request");
    let spared = server.service().without_faults().oneshot(request).await;
    assert_eq!(spared.expect("infallible").status().as_u16(), 200);
    assert_eq!(server.faults().counts()[0].matched, 0);
    assert_eq!(get(&server, MAPS).await.code, 500);
}

#[tokio::test]
async fn chance_repeats_with_the_seed_and_comes_near_its_measure() {
    let run = async |seed: u64| {
        let server = server();
        plan(
            &server,
            &format!(
                "seed: {seed}\nrules: [{{when: {{probability: 0.25}}, error: {{code: 500}}}}]"
            ),
        );
        let mut struck = Vec::new();
        for _ in 0..400 {
            struck.push(get(&server, MAPS).await.code == 500);
        }
        struck
    };
    let (one, again, other) = (run(1).await, run(1).await, run(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    for run in [one, other] {
        let count = run.iter().filter(|s| **s).count();
        assert!((70..=130).contains(&count), "{count} of 400");
    }
}
