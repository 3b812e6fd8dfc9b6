//! What the listeners of a Gateway let in, and what is said of them.

use serde_json::json;
use weir_object::Key;
use weir_runtime::Propagation;
use weir_runtime::http::Request;
use weir_runtime::kinds::GATEWAY;

use crate::gateway::stage;
use crate::stage::HTTP_ROUTE;

#[tokio::test(start_paused = true)]
async fn listeners_let_in_whom_they_say_and_count_them() {
    let stage = stage().await;
    stage.apply("
apiVersion: v1
kind: Namespace
metadata: {name: guest, labels: {may: 'yes'}}
---
apiVersion: v1
kind: Namespace
metadata: {name: stranger}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: many, namespace: demo}
spec:
  gatewayClassName: sandbox
  listeners:
    - {name: own, protocol: HTTP, port: 8081, hostname: own.example.com}
    - {name: wide, protocol: HTTP, port: 8081, hostname: '*.example.com', allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {may: 'yes'}}}}}
    - {name: grpc, protocol: HTTP, port: 8082, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}}
    - {name: tls, protocol: TLS, port: 8083}
    - {name: twin, protocol: HTTP, port: 8080}
").await;
    for namespace in ["guest", "stranger"] {
        stage
            .backend(namespace, "app", &[(&format!("{namespace}-1"), "")])
            .await;
    }
    let routes = [
        ("guest", "a", "wide", "", "Accepted"),
        ("guest", "b", "own", "", "NotAllowedByListeners"),
        ("stranger", "c", "wide", "", "NotAllowedByListeners"),
        ("demo", "d", "own", "", "Accepted"),
        (
            "demo",
            "e",
            "own",
            "other.example.com",
            "NoMatchingListenerHostname",
        ),
        ("demo", "f", "absent", "", "NoMatchingParent"),
        ("demo", "g", "grpc", "", "NotAllowedByListeners"),
        ("demo", "h", "tls", "", "NotAllowedByListeners"),
    ];
    for (namespace, name, section, host, _) in routes {
        let service = if namespace == "demo" {
            "primary"
        } else {
            "app"
        };
        let hosts = if host.is_empty() {
            String::new()
        } else {
            format!("hostnames: [{host}],")
        };
        stage.apply(&format!("
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{parentRefs: [{{name: many, namespace: demo, sectionName: {section}}}], {hosts} rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]}}
")).await;
    }
    for (namespace, name, _, _, reason) in routes {
        let key = Key::new(namespace, name);
        stage
            .until(&format!("route {name} says {reason}"), async |stage| {
                let route = stage
                    .api
                    .get(&HTTP_ROUTE, &key)
                    .await
                    .expect("answered")
                    .expect("there");
                route.text(&["status", "parents", "0", "conditions", "0", "reason"]) == reason
            })
            .await;
    }
    let ask = async |host: &str| {
        let url = url::Url::parse("http://gateway.sandbox:8081/").expect("a URL");
        let answer = stage
            .send(Request::get(url).header(http::header::HOST, host))
            .await;
        (answer.status, answer.backend().to_owned())
    };
    assert_eq!(ask("own.example.com").await, (200, "primary-1".into()));
    assert_eq!(ask("x.example.com").await, (200, "guest-1".into()));
    assert_eq!(ask("example.org").await.0, 404);
    // The host of a listener is not another's, even where that has no route for it.
    let own = Key::new("demo", "d");
    stage
        .api
        .delete(&HTTP_ROUTE, &own, None, Propagation::Background)
        .await
        .expect("deleted");
    stage
        .until("the route is gone", async |_| {
            ask("own.example.com").await.0 == 404
        })
        .await;
    let gateway = stage
        .api
        .get(&GATEWAY, &Key::new("demo", "many"))
        .await
        .expect("answered")
        .expect("there");
    let listener = |i: usize| {
        let at = |path: &str| {
            gateway
                .0
                .pointer(&format!("/status/listeners/{i}{path}"))
                .cloned()
                .unwrap_or_default()
        };
        let accepted = at("/conditions")
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["type"] == "Accepted")
            .map(|c| c["reason"].clone());
        (at("/attachedRoutes"), accepted.unwrap_or_default())
    };
    stage
        .until("the count follows", async |stage| {
            let gateway = stage
                .api
                .get(&GATEWAY, &Key::new("demo", "many"))
                .await
                .expect("answered")
                .expect("there");
            gateway.0.pointer("/status/listeners/0/attachedRoutes") == Some(&json!(0))
        })
        .await;
    assert_eq!(listener(1), (json!(1), json!("Accepted")));
    assert_eq!(listener(3), (json!(0), json!("UnsupportedProtocol")));
    assert_eq!(listener(4), (json!(0), json!("PortUnavailable")));
    assert_eq!(
        gateway.text(&["status", "conditions", "0", "reason"]),
        "ListenersNotValid"
    );
}
