//! VirtualServices and DestinationRules as callers in the mesh see them: by the service's name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::{Key, Kind, Object};
use weir_runtime::Write;
use weir_runtime::http::Request;

use crate::stage::{Answer, Stage};

const VIRTUAL_SERVICE: Kind = Kind::namespaced(
    "networking.istio.io",
    "v1",
    "VirtualService",
    "virtualservices",
);

async fn stage() -> Stage {
    let stage = Stage::start().await;
    let both = [
        ("blue-1", "app=app,version=blue"),
        ("green-1", "app=app,version=green"),
    ];
    stage.backend("demo", "app", &both).await;
    stage
        .backend("demo", "primary", &[("primary-1", "app=primary")])
        .await;
    stage
        .backend("demo", "canary", &[("canary-1", "app=canary")])
        .await;
    stage
}

/// A VirtualService of host `app` with these routes, once it is looked at.
async fn routes(stage: &Stage, http: Value) -> (String, String, String) {
    let object = Object(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "app", "namespace": "demo"},
        "spec": {"hosts": ["app"], "gateways": ["mesh"], "http": http},
    }));
    let fields = Write::Apply {
        fields: object,
        force: true,
    };
    let key = Key::new("demo", "app");
    stage
        .api
        .write(&VIRTUAL_SERVICE, &key, fields)
        .await
        .expect("applied");
    stage.condition(&VIRTUAL_SERVICE, "app", "Reconciled").await
}

fn asked(path: &str) -> Request {
    Request::get(url::Url::parse(&format!("http://app.demo{path}")).expect("a URL"))
}

async fn get(stage: &Stage, path: &str) -> Answer {
    stage.send(asked(path)).await
}

async fn counts(stage: &Stage, path: &str, requests: u32) -> BTreeMap<String, u32> {
    let mut out = BTreeMap::new();
    for _ in 0..requests {
        let answer = get(stage, path).await;
        let name = if answer.status == 200 {
            answer.backend().to_owned()
        } else {
            answer.status.to_string()
        };
        *out.entry(name).or_default() += 1;
    }
    out
}

fn shares(pairs: &[(&str, u32)]) -> BTreeMap<String, u32> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

fn to(host: &str) -> Value {
    json!([{"destination": {"host": host}}])
}

#[tokio::test(start_paused = true)]
async fn traffic_to_a_service_follows_its_virtual_service() {
    let stage = stage().await;
    assert_eq!(
        counts(&stage, "/", 10).await,
        shares(&[("blue-1", 5), ("green-1", 5)])
    );
    let split = json!([
        {"destination": {"host": "primary"}, "weight": 95},
        {"destination": {"host": "canary.demo.svc.cluster.local", "port": {"number": 80}}, "weight": 5},
    ]);
    assert_eq!(routes(&stage, json!([{"route": split}])).await.0, "True");
    assert_eq!(
        counts(&stage, "/", 200).await,
        shares(&[("primary-1", 190), ("canary-1", 10)])
    );
    // Other services are as they were, and every form of the name is the same host.
    let other = Request::get(url::Url::parse("http://canary.demo/").expect("a URL"));
    assert_eq!(stage.send(other).await.backend(), "canary-1");
    let long = Request::get(url::Url::parse("http://app.demo.svc.cluster.local/").expect("a URL"));
    assert!(stage.send(long).await.backend() != "blue-1");
    stage
        .api
        .delete(
            &VIRTUAL_SERVICE,
            &Key::new("demo", "app"),
            None,
            weir_runtime::Propagation::Background,
        )
        .await
        .expect("deleted");
    stage
        .until("the route is gone", async |stage| {
            get(stage, "/").await.backend().starts_with("blue")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn matches_are_tried_in_order_and_all_of_one_must_hold() {
    let stage = stage().await;
    let http = json!([
        {"match": [{"uri": {"exact": "/exact"}, "method": {"exact": "GET"}}], "route": to("canary")},
        {"match": [{"headers": {"x-debug": {}}, "withoutHeaders": {"x-not": {"exact": "1"}}}], "route": to("canary")},
        {"match": [{"uri": {"regex": "/v[0-9]+/.*"}}, {"queryParams": {"beta": {"prefix": "y"}}}], "route": to("canary")},
        {"match": [{"uri": {"prefix": "/Case"}, "ignoreUriCase": true}], "route": to("canary")},
        {"match": [{"authority": {"prefix": "app.demo.svc"}}], "route": to("canary")},
        {"match": [{"headers": {"cookie": {"regex": "^(.*?;)?(type=insider)(;.*)?$"}}}], "route": to("canary")},
        {"route": to("primary")},
    ]);
    assert_eq!(routes(&stage, http).await.0, "True");
    let canary = |path: &'static str, headers: &'static [(&'static str, &'static str)]| {
        let mut request = asked(path);
        for (name, value) in headers {
            request
                .headers
                .insert(*name, http::HeaderValue::from_static(value));
        }
        let stage = &stage;
        async move { stage.send(request).await.backend() == "canary-1" }
    };
    assert!(canary("/exact", &[]).await && !canary("/exact/x", &[]).await);
    assert!(canary("/", &[("x-debug", "")]).await);
    assert!(!canary("/", &[("x-debug", "a"), ("x-not", "1")]).await);
    assert!(canary("/v12/x", &[]).await && !canary("/av12/x", &[]).await);
    assert!(canary("/?beta=yes", &[]).await && !canary("/?beta=no", &[]).await);
    assert!(canary("/cAsEs", &[]).await);
    assert!(canary("/", &[("host", "app.demo.svc")]).await);
    assert!(!canary("/", &[("cookie", "a=b; type=insider; c=d")]).await);
    assert!(canary("/", &[("cookie", "a=b;type=insider;c=d")]).await);
    assert!(!canary("/", &[]).await);
}

#[tokio::test(start_paused = true)]
async fn subsets_choose_endpoints_by_label() {
    let stage = stage().await;
    let http = json!([{"route": [
        {"destination": {"host": "app", "subset": "blue"}, "weight": 3},
        {"destination": {"host": "app", "subset": "green"}, "weight": 1},
    ]}]);
    assert_eq!(routes(&stage, http).await.0, "True");
    assert_eq!(
        counts(&stage, "/", 4).await,
        shares(&[("500", 4)]),
        "there are no subsets yet"
    );
    let object = stage
        .api
        .get(&VIRTUAL_SERVICE, &Key::new("demo", "app"))
        .await
        .expect("answered")
        .expect("there");
    let messages = object
        .get(&["status", "validationMessages"])
        .and_then(Value::as_array)
        .expect("messages");
    assert!(
        messages.len() == 2 && messages.iter().all(|m| m["type"]["code"] == "IST0101"),
        "{messages:?}"
    );
    stage
        .apply(
            "
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {name: app, namespace: demo}
spec:
  host: app
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}
  subsets:
    - {name: blue, labels: {version: blue}}
    - {name: green, labels: {version: green}}
",
        )
        .await;
    stage
        .until("the subsets are known", async |stage| {
            get(stage, "/").await.status == 200
        })
        .await;
    let counted = counts(&stage, "/", 40).await;
    assert_eq!(counted, shares(&[("blue-1", 30), ("green-1", 10)]));
    // What the rule asks for beside subsets is told.
    stage
        .until("a warning", async |stage| {
            stage
                .warnings("app")
                .await
                .iter()
                .any(|w| w.contains("spec.trafficPolicy"))
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_changed_redirected_and_answered_on_the_way() {
    let stage = stage().await;
    let http = json!([
        {"match": [{"uri": {"prefix": "/old"}}], "route": to("primary"),
         "rewrite": {"uri": "/new", "authority": "inside.example"},
         "headers": {"request": {"set": {"x-a": "1"}, "remove": ["x-b"]}, "response": {"add": {"x-c": "2"}}}},
        {"match": [{"uri": {"prefix": "/users/"}}], "route": to("primary"),
         "rewrite": {"uriRegexRewrite": {"match": "^/users/([^/]+)/(.*)$", "rewrite": "/\\2/of/\\1"}}},
        {"match": [{"uri": {"exact": "/moved"}}], "redirect": {"uri": "/there", "authority": "example.org"}},
        {"match": [{"uri": {"exact": "/teapot"}}], "directResponse": {"status": 418, "body": {"string": "short"}}},
        {"route": [{"destination": {"host": "primary"}, "headers": {"request": {"set": {"x-own": "primary"}}}}]},
    ]);
    assert_eq!(routes(&stage, http).await.0, "True");
    let mut request = asked("/older?q=1");
    request
        .headers
        .insert("x-b", http::HeaderValue::from_static("gone"));
    let answer = stage.send(request).await;
    assert_eq!(answer.headers["x-c"], "2");
    let seen = stage.log.of("primary-1").pop().expect("asked");
    assert_eq!(
        (seen.target.as_str(), seen.headers["host"].as_str()),
        ("/newer?q=1", "inside.example")
    );
    assert_eq!(
        (seen.headers["x-a"].as_str(), seen.headers.get("x-b")),
        ("1", None)
    );
    get(&stage, "/users/ann/photos").await;
    assert_eq!(
        stage.log.of("primary-1").pop().expect("asked").target,
        "/photos/of/ann"
    );
    let moved = get(&stage, "/moved").await;
    assert_eq!(
        (moved.status, moved.headers["location"].as_str()),
        (301, "http://example.org/there")
    );
    let teapot = get(&stage, "/teapot").await;
    assert_eq!((teapot.status, teapot.text.as_str()), (418, "short"));
    get(&stage, "/").await;
    assert_eq!(
        stage.log.of("primary-1").pop().expect("asked").headers["x-own"],
        "primary"
    );
}

#[tokio::test(start_paused = true)]
async fn faults_befall_their_exact_share_and_the_metrics_tell() {
    let stage = stage().await;
    let http = json!([{
        "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 12.5}},
            "delay": {"fixedDelay": "2s", "percentage": {"value": 25.0}}},
        "route": to("primary"),
    }]);
    assert_eq!(routes(&stage, http).await.0, "True");
    let (mut aborted, mut delayed) = (0, 0);
    for _ in 0..80 {
        let before = tokio::time::Instant::now();
        aborted += u32::from(get(&stage, "/").await.status == 503);
        delayed += u32::from(before.elapsed() >= Duration::from_secs(2));
    }
    assert_eq!((aborted, delayed), (10, 20));
    let text = stage.sandbox.proxy().exposition();
    let sum = |wanted: &[&str]| -> u64 {
        let lines = text
            .lines()
            .filter(|l| l.starts_with("istio_requests_total{"));
        let lines = lines.filter(|l| wanted.iter().all(|w| l.contains(w)));
        lines
            .map(|l| {
                l.rsplit(' ')
                    .next()
                    .expect("a value")
                    .parse::<u64>()
                    .expect("a number")
            })
            .sum()
    };
    assert_eq!(
        sum(&[
            "reporter=\"source\"",
            "response_code=\"503\"",
            "response_flags=\"FI\""
        ]),
        10
    );
    assert_eq!(
        sum(&["reporter=\"destination\""]),
        70,
        "what was aborted reached nobody"
    );
    assert_eq!(
        sum(&[
            "reporter=\"destination\"",
            "destination_workload=\"primary-1\"",
            "destination_workload_namespace=\"demo\"",
            "destination_service=\"primary.demo.svc.cluster.local\"",
            "response_code=\"200\""
        ]),
        70
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_as_asked() {
    let stage = stage().await;
    let retry = |on: &str| json!({"attempts": 2, "retryOn": on, "perTryTimeout": "2s"});
    let http = json!([
        {"match": [{"uri": {"prefix": "/once"}}], "retries": retry("gateway-error"), "route": to("primary")},
        {"match": [{"uri": {"prefix": "/status"}}], "retries": retry("5xx"), "route": to("primary")},
        {"match": [{"uri": {"prefix": "/slow"}}], "retries": retry("gateway-error"), "timeout": "5s", "route": to("primary")},
        {"match": [{"uri": {"prefix": "/off"}}], "retries": {"attempts": 0}, "route": to("primary")},
        {"route": to("primary")},
    ]);
    assert_eq!(routes(&stage, http).await.0, "True");
    let asked_times = async |path: &str, body: usize| {
        let before = stage.log.of("primary-1").len();
        let mut request = asked(path);
        request.method = http::Method::POST;
        request.body = vec![b'x'; body].into();
        let status = stage.send(request).await.status;
        let seen = stage.log.of("primary-1");
        assert!(
            seen.iter().skip(before).all(|s| s.body == body),
            "each attempt brings the body"
        );
        (status, seen.len() - before)
    };
    assert_eq!(asked_times("/once/503", 100).await, (200, 2));
    assert_eq!(
        asked_times("/once/500", 100).await,
        (500, 1),
        "500 is no gateway's error"
    );
    assert_eq!(asked_times("/status/500", 100).await, (500, 3));
    assert_eq!(asked_times("/status/404", 0).await, (404, 1));
    assert_eq!(
        asked_times("/status/503", 2 << 20).await,
        (503, 1),
        "too long to be kept"
    );
    let before = tokio::time::Instant::now();
    assert_eq!(asked_times("/slow/9", 10).await, (504, 3));
    assert_eq!(before.elapsed().as_secs(), 5, "the whole is bounded");
}

#[tokio::test(start_paused = true)]
async fn mirrors_of_the_mesh_are_marked_and_shared() {
    let stage = stage().await;
    let http = json!([{"route": to("primary"), "mirror": {"host": "canary"}, "mirrorPercentage": {"value": 50.0}}]);
    assert_eq!(routes(&stage, http).await.0, "True");
    assert_eq!(counts(&stage, "/", 10).await, shares(&[("primary-1", 10)]));
    stage
        .until("the copies came", async |stage| {
            stage.log.of("canary-1").len() == 5
        })
        .await;
    assert!(stage.log.of("canary-1").iter().all(
        |s| s.headers["host"] == "app.demo-shadow:80" || s.headers["host"] == "app.demo-shadow"
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_done_is_told_and_not_in_force() {
    let stage = stage().await;
    for (http, field) in [
        (
            json!([{"delegate": {"name": "other"}}]),
            "spec.http[0].delegate",
        ),
        (
            json!([{"match": [{"sourceLabels": {"a": "b"}}], "route": to("canary")}]),
            "spec.http[0].match[0].sourceLabels",
        ),
        (
            json!([{"route": to("canary"), "retries": {"attempts": 1, "retryOn": "retriable-headers"}}]),
            "spec.http[0].retries.retryOn",
        ),
        (
            json!([{"route": to("canary"), "timeout": "soon"}]),
            "spec.http[0].timeout",
        ),
    ] {
        let (status, _, message) = routes(&stage, http).await;
        assert_eq!(status, "False");
        assert!(message.contains(field), "{message}");
        assert!(get(&stage, "/").await.backend() != "canary-1");
        stage
            .until("a warning", async |stage| {
                stage
                    .warnings("app")
                    .await
                    .iter()
                    .any(|w| w.contains(field))
            })
            .await;
    }
    // Of two for one host the older one stays.
    assert_eq!(
        routes(&stage, json!([{"route": to("canary")}])).await.0,
        "True"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage
        .apply(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: late, namespace: demo}
spec: {hosts: [app.demo.svc.cluster.local], http: [{route: [{destination: {host: primary}}]}]}
",
        )
        .await;
    let (status, _, message) = stage
        .condition(&VIRTUAL_SERVICE, "late", "Reconciled")
        .await;
    assert!(
        status == "False" && message.contains("demo/app"),
        "{message}"
    );
    assert_eq!(get(&stage, "/").await.backend(), "canary-1");
}
