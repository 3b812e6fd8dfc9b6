//! HTTPRoutes as clients of a Gateway see them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir_object::{Key, Object};
use weir_runtime::Write;

use crate::stage::{HTTP_ROUTE, Stage, gateway};

const GATEWAYS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway, namespace: demo}
spec:
  gatewayClassName: sandbox
  listeners: [{name: http, protocol: HTTP, port: 8080}]
";

/// A route of host `app.example.com` with these rules, once it is in force.
async fn route(stage: &Stage, rules: Value) -> (String, String, String) {
    let object = Object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "app", "namespace": "demo"},
        "spec": {"parentRefs": [{"name": "gateway"}], "hostnames": ["app.example.com"], "rules": rules},
    }));
    let fields = Write::Apply {
        fields: object,
        force: true,
    };
    let key = Key::new("demo", "app");
    stage
        .api
        .write(&HTTP_ROUTE, &key, fields)
        .await
        .expect("applied");
    stage.condition(&HTTP_ROUTE, "app", "Accepted").await
}

pub(crate) async fn stage() -> Stage {
    let stage = Stage::start().await;
    stage.apply(GATEWAYS).await;
    stage.backend("demo", "primary", &[("primary-1", "")]).await;
    stage.backend("demo", "canary", &[("canary-1", "")]).await;
    stage
}

fn to(service: &str, weight: u32) -> Value {
    json!({"name": service, "port": 80, "weight": weight})
}

#[tokio::test(start_paused = true)]
async fn weights_are_kept_exactly_and_invalid_backends_get_their_share_of_500() {
    let stage = stage().await;
    let rules = json!([
        {"matches": [{"path": {"value": "/broken"}}], "backendRefs": [to("primary", 50), to("gone", 50)]},
        {"matches": [{"path": {"value": "/none"}}]},
        {"matches": [{"path": {"value": "/zero"}}], "backendRefs": [to("primary", 0)]},
        {"backendRefs": [to("primary", 90), to("canary", 10)]},
    ]);
    assert_eq!(route(&stage, rules).await.0, "True");
    let count = async |path: &str, requests: u32| {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..requests {
            let answer = stage.get("app.example.com", path).await;
            let name = if answer.status == 200 {
                answer.backend().to_owned()
            } else {
                answer.status.to_string()
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    };
    let shares = |pairs: &[(&str, u32)]| -> BTreeMap<String, u32> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    };
    assert_eq!(
        count("/", 200).await,
        shares(&[("canary-1", 20), ("primary-1", 180)])
    );
    assert_eq!(
        count("/broken", 10).await,
        shares(&[("500", 5), ("primary-1", 5)])
    );
    assert_eq!(count("/none", 2).await, shares(&[("500", 2)]));
    assert_eq!(count("/zero", 2).await, shares(&[("500", 2)]));
    let (status, reason, message) = stage.condition(&HTTP_ROUTE, "app", "ResolvedRefs").await;
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "BackendNotFound")
    );
    assert!(message.contains("demo/gone"), "{message}");
    // What is mended is in force at once.
    stage.backend("demo", "gone", &[("gone-1", "")]).await;
    stage
        .until("the reference is resolved", async |stage| {
            stage.condition(&HTTP_ROUTE, "app", "ResolvedRefs").await.0 == "True"
        })
        .await;
    assert_eq!(
        count("/broken", 10).await,
        shares(&[("gone-1", 5), ("primary-1", 5)])
    );
}

#[tokio::test(start_paused = true)]
async fn headers_are_changed_both_ways_for_rules_and_for_backends() {
    let stage = stage().await;
    let change = |kind: &str, field: &str, tag: &str| {
        json!({"type": kind, field: {
            "set": [{"name": "x-set", "value": tag}],
            "add": [{"name": "x-add", "value": tag}],
            "remove": ["x-remove"],
        }})
    };
    let request = change("RequestHeaderModifier", "requestHeaderModifier", "rule");
    let response = change("ResponseHeaderModifier", "responseHeaderModifier", "rule");
    let own = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier":
        {"set": [{"name": "x-backend", "value": "canary"}]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x-from-backend"]}}]);
    let rules = json!([{
        "filters": [request, response],
        "backendRefs": [{"name": "canary", "port": 80, "filters": own}],
    }]);
    assert_eq!(route(&stage, rules).await.0, "True");
    let mut request = gateway("app.example.com", "/x?y=1");
    for (name, value) in [
        ("x-set", "a"),
        ("x-add", "b"),
        ("x-remove", "c"),
        ("connection", "x-hop"),
        ("x-hop", "d"),
    ] {
        request
            .headers
            .insert(name, http::HeaderValue::from_static(value));
    }
    let answer = stage.send(request).await;
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    assert_eq!(
        (header("x-set"), header("x-add"), header("x-from-backend")),
        (Some("rule"), Some("rule"), None)
    );
    let seen = stage.log.of("canary-1").pop().expect("asked");
    let header = |name: &str| seen.headers.get(name).map(String::as_str);
    assert_eq!(seen.target, "/x?y=1");
    assert_eq!(header("x-set"), Some("rule"));
    assert_eq!(header("x-add"), Some("b,rule"));
    assert_eq!(header("x-backend"), Some("canary"));
    assert_eq!(header("host"), Some("app.example.com"));
    assert_eq!(
        (header("x-remove"), header("connection"), header("x-hop")),
        (None, None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn paths_and_hosts_are_rewritten_and_redirected() {
    let stage = stage().await;
    let rewrite = |path: Value| json!([{"type": "URLRewrite", "urlRewrite": {"hostname": "inside.example", "path": path}}]);
    let redirect = |to: Value| json!([{"type": "RequestRedirect", "requestRedirect": to}]);
    let rules = json!([
        {"matches": [{"path": {"value": "/one"}}], "backendRefs": [to("primary", 1)],
         "filters": rewrite(json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/two"}))},
        {"matches": [{"path": {"value": "/full"}}], "backendRefs": [to("primary", 1)],
         "filters": rewrite(json!({"type": "ReplaceFullPath", "replaceFullPath": "/all"}))},
        {"matches": [{"path": {"value": "/moved"}}],
         "filters": redirect(json!({"hostname": "new.example", "statusCode": 301, "path":
            {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/at"}}))},
        {"matches": [{"path": {"value": "/safe"}}], "filters": redirect(json!({"scheme": "https"}))},
        {"backendRefs": [to("primary", 1)]},
    ]);
    assert_eq!(route(&stage, rules).await.0, "True");
    let target = async |path: &str| {
        assert_eq!(stage.get("app.example.com", path).await.status, 200);
        let seen = stage.log.of("primary-1").pop().expect("asked");
        (seen.target.clone(), seen.headers["host"].clone())
    };
    let inside = |path: &str| (path.to_owned(), "inside.example".to_owned());
    assert_eq!(target("/one/x?q=1").await, inside("/two/x?q=1"));
    assert_eq!(target("/full/x").await, inside("/all"));
    let moved = stage.get("app.example.com:8080", "/moved/x?q=1").await;
    assert_eq!(
        (moved.status, moved.headers["location"].as_str()),
        (301, "http://new.example:8080/at/x?q=1")
    );
    let safe = stage.get("app.example.com:8080", "/safe").await;
    assert_eq!(
        (safe.status, safe.headers["location"].as_str()),
        (302, "https://app.example.com/safe")
    );
    // A backend's own redirect is the client's to follow.
    let own = stage.get("app.example.com", "/location").await;
    assert_eq!(own.status, 302);
    assert_eq!(stage.log.of("primary-1").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn mirrors_get_their_share_whole_and_nobody_waits_for_them() {
    let stage = stage().await;
    stage.backend("demo", "shadow", &[("shadow-1", "")]).await;
    let mirror = json!([{"type": "RequestMirror", "requestMirror":
        {"backendRef": {"name": "shadow", "port": 80}, "fraction": {"numerator": 1, "denominator": 4}}}]);
    let rules = json!([
        {"matches": [{"path": {"value": "/slow"}}], "backendRefs": [to("primary", 1)],
         "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}},
            {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/status/200"}}}]},
        {"backendRefs": [to("primary", 1)], "filters": mirror},
    ]);
    assert_eq!(route(&stage, rules).await.0, "True");
    let post = |path: &str, body: Vec<u8>| {
        let mut request = gateway("app.example.com", path);
        request.method = http::Method::POST;
        request.body = body.into();
        request
    };
    for _ in 0..40 {
        let answer = stage.send(post("/", vec![b'x'; 1000])).await;
        assert_eq!((answer.status, answer.backend()), (200, "primary-1"));
    }
    stage
        .until("all copies came", async |stage| {
            stage.log.of("shadow-1").len() == 10
        })
        .await;
    assert!(
        stage
            .log
            .of("shadow-1")
            .iter()
            .all(|s| s.body == 1000 && s.method == "POST")
    );
    // A mirror that takes its time delays nobody.
    let slow = axum::Router::new().fallback(|| async {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    });
    stage.listen("10.9.0.4", slow);
    let before = tokio::time::Instant::now();
    let answer = stage.send(post("/slow/mirror", vec![b'x'; 10])).await;
    assert_eq!((answer.status, before.elapsed().as_secs()), (200, 0));
    // A body past the limit is passed on, and not copied.
    let answer = stage.send(post("/slow/large", vec![b'x'; 3 << 20])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        stage.log.of("primary-1").pop().map(|s| s.body),
        Some(3 << 20)
    );
    stage
        .until("the copy is left out", async |stage| {
            stage
                .sandbox
                .proxy()
                .exposition()
                .contains("outcome=\"too large\"} 1")
        })
        .await;
    assert_eq!(stage.log.of("shadow-1").len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_answered_with_504() {
    let stage = stage().await;
    let rules = json!([
        {"matches": [{"path": {"value": "/slow/4"}}], "timeouts": {"request": "3s"}, "backendRefs": [to("primary", 1)]},
        {"matches": [{"path": {"value": "/slow/5"}}], "timeouts": {"request": "10s", "backendRequest": "2s"}, "backendRefs": [to("primary", 1)]},
        {"matches": [{"path": {"value": "/slow/30"}}], "timeouts": {"request": "0s"}, "backendRefs": [to("primary", 1)]},
        {"matches": [{"path": {"value": "/trickle"}}], "timeouts": {"request": "5s"}, "backendRefs": [to("primary", 1)]},
        {"backendRefs": [to("primary", 1)]},
    ]);
    assert_eq!(route(&stage, rules).await.0, "True");
    for (path, status) in [
        ("/slow/4", 504),
        ("/slow/5", 504),
        ("/slow/1", 200),
        ("/slow/16", 504),
    ] {
        assert_eq!(
            stage.get("app.example.com", path).await.status,
            status,
            "{path}"
        );
    }
    let patient = gateway("app.example.com", "/slow/30").timeout(std::time::Duration::from_mins(2));
    assert_eq!(stage.send(patient).await.status, 200);
    // An answer that has begun is cut off.
    let cut = gateway("app.example.com", "/trickle").timeout(std::time::Duration::from_mins(2));
    let cut = stage.send(cut).await;
    assert!(
        cut.status == 200 && cut.text.contains("time is over"),
        "{cut:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn services_of_other_namespaces_need_a_grant() {
    let stage = stage().await;
    stage
        .apply("{apiVersion: v1, kind: Namespace, metadata: {name: far}}")
        .await;
    stage.backend("far", "app", &[("far-1", "")]).await;
    let rules = json!([{"backendRefs": [{"name": "app", "namespace": "far", "port": 80}]}]);
    route(&stage, rules).await;
    let told = stage.condition(&HTTP_ROUTE, "app", "ResolvedRefs").await;
    assert_eq!(
        (told.0.as_str(), told.1.as_str()),
        ("False", "RefNotPermitted")
    );
    assert_eq!(stage.get("app.example.com", "/").await.status, 500);
    stage
        .apply(
            "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: far}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: demo}]
  to: [{group: '', kind: Service}]
",
        )
        .await;
    stage
        .until("the grant counts", async |stage| {
            stage.get("app.example.com", "/").await.status == 200
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn other_origins_are_answered() {
    let stage = stage().await;
    let rules = json!([{"backendRefs": [to("primary", 1)], "filters": [{"type": "CORS", "cors": {
        "allowOrigins": ["https://*.example.com"], "allowMethods": ["GET", "PUT"], "exposeHeaders": ["x-from-backend"]}}]}]);
    assert_eq!(route(&stage, rules).await.0, "True");
    let ask = |method: http::Method, origin: &'static str| {
        let mut request = gateway("app.example.com", "/");
        request.method = method;
        request
            .headers
            .insert("origin", http::HeaderValue::from_static(origin));
        let put = http::HeaderValue::from_static("PUT");
        request.headers.insert("access-control-request-method", put);
        request
    };
    let before = stage
        .send(ask(http::Method::OPTIONS, "https://a.example.com"))
        .await;
    assert_eq!(
        (
            before.status,
            before.headers["access-control-allow-methods"].as_str()
        ),
        (200, "GET, PUT")
    );
    assert_eq!(stage.log.of("primary-1").len(), 0, "the proxy answers");
    let after = stage
        .send(ask(http::Method::GET, "https://a.example.com"))
        .await;
    assert_eq!(
        after.headers["access-control-allow-origin"],
        "https://a.example.com"
    );
    assert_eq!(
        after.headers["access-control-expose-headers"],
        "x-from-backend"
    );
    let foreign = stage
        .send(ask(http::Method::GET, "https://example.org"))
        .await;
    assert_eq!(
        (
            foreign.status,
            foreign.headers.get("access-control-allow-origin")
        ),
        (200, None)
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_route_asks_for_in_vain_is_told_and_not_in_force() {
    let stage = stage().await;
    assert_eq!(
        route(&stage, json!([{"backendRefs": [to("primary", 1)]}]))
            .await
            .0,
        "True"
    );
    assert_eq!(stage.get("app.example.com", "/").await.status, 200);
    let filter =
        json!([{"type": "ExtensionRef", "extensionRef": {"group": "a", "kind": "B", "name": "c"}}]);
    let (status, reason, message) = route(
        &stage,
        json!([{"filters": filter, "backendRefs": [to("primary", 1)]}]),
    )
    .await;
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "UnsupportedValue")
    );
    assert!(message.contains("spec.rules[0].filters[0]"), "{message}");
    assert_eq!(stage.get("app.example.com", "/").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_leads_back_to_the_proxy_is_refused() {
    let stage = stage().await;
    stage.backend("demo", "loop", &[("loop-1", "")]).await;
    // The pod's place is taken by a program that passes every request on to the gateway.
    let http = stage.sandbox.http();
    let back = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let http = http.clone();
        async move {
            let mut again = gateway("app.example.com", "/");
            again.headers.extend(request.headers().clone());
            let answer = http.send(again).await.expect("answered");
            (answer.status, answer.text(1 << 16).await.expect("a body"))
        }
    });
    stage.listen("10.9.0.4", back);
    assert_eq!(
        route(&stage, json!([{"backendRefs": [to("loop", 1)]}]))
            .await
            .0,
        "True"
    );
    let answer = stage.get("app.example.com", "/").await;
    assert_eq!(answer.status, 508, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_is_exported_as_histograms() {
    let stage = stage().await;
    assert_eq!(
        route(&stage, json!([{"backendRefs": [to("primary", 1)]}]))
            .await
            .0,
        "True"
    );
    for path in ["/", "/slow/1", "/status/503"] {
        stage.get("app.example.com", path).await;
    }
    let text = stage.sandbox.proxy().exposition();
    let series = |code: u16, le: &str| {
        format!(
            "gateway_request_duration_seconds_bucket{{gateway_namespace=\"demo\",gateway=\"gateway\",\
             route_kind=\"HTTPRoute\",route_namespace=\"demo\",route=\"app\",service_namespace=\"demo\",\
             service=\"primary\",code=\"{code}\",le=\"{le}\"}}"
        )
    };
    for line in [
        format!("{} 1", series(200, "0.5")),
        format!("{} 2", series(200, "+Inf")),
        format!("{} 1", series(503, "+Inf")),
        "proxy_requests_total{route=\"demo/app\",service=\"primary\",code=\"200\"} 2".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert_eq!(stage.sandbox.proxy().by_service()["primary"], 3);
}
