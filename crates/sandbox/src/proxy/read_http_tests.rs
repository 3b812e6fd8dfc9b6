//! Owns the cases of reading HTTPRoutes. It refuses servers: values in, values out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use weir_object::Key;

use super::*;
use crate::proxy::matching::{Asked, Chosen, choose};

fn service(namespace: &str, name: &str) -> (Key, Arc<Object>) {
    let object = json!({"metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": [{"port": 80}]}});
    (Key::new(namespace, name), Arc::new(Object(object)))
}

fn refs() -> Refs {
    let services: BTreeMap<_, _> = [
        service("n", "app"),
        service("m", "far"),
        service("m", "other"),
    ]
    .into_iter()
    .collect();
    let grant = json!({"metadata": {"namespace": "m", "name": "g"}, "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "n"}],
        "to": [{"group": "", "kind": "Service", "name": "far"}],
    }});
    Refs {
        services,
        grants: vec![Arc::new(Object(grant))],
    }
}

fn route(name: &str, created: &str, spec: &Value) -> Arc<Route> {
    let meta = json!({"name": name, "namespace": "n", "creationTimestamp": created});
    let object = Object(json!({"metadata": meta, "spec": spec}));
    Arc::new(read(&object, &refs()).expect("supported").0)
}

fn asked<'a>(path: &'a str, query: &'a str, headers: &'a http::HeaderMap) -> Asked<'a> {
    Asked {
        method: "GET",
        host: "app.example.com",
        path,
        query,
        headers,
        port: 80,
    }
}

#[test]
fn the_most_specific_match_wins() {
    let path = |kind: &str, value: &str| json!({"type": kind, "value": value});
    let route = route(
        "r",
        "",
        &json!({"hostnames": ["app.example.com", "*.wild.org"], "rules": [
            {"backendRefs": [{"name": "app", "port": 80}]},
            {"matches": [{"path": path("PathPrefix", "/api")}]},
            {"matches": [{"path": path("Exact", "/api/x")}]},
            {"matches": [{"path": {"value": "/api"}, "headers": [{"name": "X-Who", "value": "me"}]}]},
            {"matches": [{"queryParams": [{"name": "v", "value": "2"}]}]},
            {"matches": [{"path": path("RegularExpression", "/re/[0-9]+")}]},
            {"matches": [{"path": path("PathPrefix", "/api"), "method": "DELETE"}]},
            {"matches": [{"path": path("PathPrefix", "/api/long"),
                "headers": [{"name": "x-who", "type": "RegularExpression", "value": "a.*|b.*"}]}]},
        ]}),
    );
    let none = http::HeaderMap::new();
    let mut me = http::HeaderMap::new();
    me.insert("x-who", http::HeaderValue::from_static("me"));
    let mut bob = http::HeaderMap::new();
    bob.insert("x-who", http::HeaderValue::from_static("bob"));
    let rule = |asked: &Asked<'_>| choose(std::slice::from_ref(&route), asked).map(|(_, c)| c.rule);
    assert_eq!(rule(&asked("/", "", &none)), Some(0));
    assert_eq!(rule(&asked("/apiary", "", &none)), Some(0));
    assert_eq!(rule(&asked("/api/y", "", &none)), Some(1));
    assert_eq!(rule(&asked("/api/x", "", &none)), Some(2));
    assert_eq!(rule(&asked("/", "v=2", &none)), Some(4));
    assert_eq!(rule(&asked("/re/12", "", &none)), Some(5));
    assert_eq!(rule(&asked("/re/12/x", "", &none)), Some(0));
    assert_eq!(rule(&asked("/api", "", &me)), Some(3));
    assert_eq!(rule(&asked("/api/long", "", &bob)), Some(7));
    let delete = Asked {
        method: "DELETE",
        ..asked("/api", "", &me)
    };
    assert_eq!(rule(&delete), Some(6), "a method goes before headers");
    let at = |host| {
        let there = Asked {
            host,
            ..asked("/", "", &none)
        };
        rule(&there).is_some()
    };
    assert!(at("APP.example.com") && at("a.wild.org") && at("a.b.wild.org"));
    assert!(!at("wild.org") && !at("other") && !at(""));
}

#[test]
fn between_routes_the_host_then_the_match_then_the_age_then_the_name_decides() {
    let rules = json!([{"matches": [{"path": {"value": "/"}}]}]);
    let make = |name: &str, created: &str, host: &str| {
        route(name, created, &json!({"hostnames": [host], "rules": rules}))
    };
    let none = http::HeaderMap::new();
    let best = |routes: &[Arc<Route>]| {
        let (found, chosen) = choose(routes, &asked("/", "", &none)).expect("a route");
        assert_eq!(
            chosen,
            Chosen {
                rule: 0,
                found: Some(0)
            }
        );
        found.name.clone()
    };
    let exact = make("exact", "2024-01-02T00:00:00Z", "app.example.com");
    let wild = make("wild", "2024-01-01T00:00:00Z", "*.example.com");
    assert_eq!(best(&[wild.clone(), exact.clone()]), "exact");
    let older = make("older", "2024-01-01T00:00:00Z", "app.example.com");
    assert_eq!(best(&[exact.clone(), older.clone(), wild]), "older");
    let twin = make("a-twin", "2024-01-02T00:00:00Z", "app.example.com");
    assert_eq!(best(&[exact.clone(), twin.clone()]), "a-twin");
    assert_eq!(best(&[twin, exact]), "a-twin");
}

#[test]
fn references_that_lead_nowhere_are_told_with_their_reason() {
    let spec = json!({"rules": [{"backendRefs": [
        {"name": "app", "port": 80},
        {"name": "gone", "port": 80},
        {"name": "app", "port": 81},
        {"name": "far", "namespace": "m", "port": 80},
        {"name": "other", "namespace": "m", "port": 80},
        {"name": "x", "kind": "Bucket", "group": "storage.example", "port": 80},
    ]}]});
    let object = Object(json!({"metadata": {"name": "r", "namespace": "n"}, "spec": spec}));
    let (route, unresolved) = read(&object, &refs()).expect("supported");
    let reasons: Vec<&str> = unresolved.iter().map(|u| u.reason).collect();
    let expected = [
        "BackendNotFound",
        "BackendNotFound",
        "RefNotPermitted",
        "InvalidKind",
    ];
    assert_eq!(reasons, expected);
    let Action::Forward(backends) = &route.rules[0].action else {
        panic!("it forwards");
    };
    let broken: Vec<bool> = backends.iter().map(|b| b.broken.is_some()).collect();
    assert_eq!(broken, [false, true, true, false, true, true]);
}

#[test]
fn what_is_not_done_is_told() {
    let told = |rule: Value| {
        let object = Object(json!({"metadata": {"name": "r", "namespace": "n"},
            "spec": {"rules": [rule]}}));
        read(&object, &refs()).map(|_| ()).map_err(|e| e.field)
    };
    for (rule, field) in [
        (
            json!({"filters": [{"type": "ExtensionRef"}]}),
            "spec.rules[0].filters[0]",
        ),
        (
            json!({"sessionPersistence": {"type": "Cookie"}}),
            "spec.rules[0].sessionPersistence",
        ),
        (
            json!({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}),
            "spec.rules[0].matches[0].path",
        ),
        (
            json!({"timeouts": {"request": "soon"}}),
            "spec.rules[0].timeouts.request",
        ),
        (
            json!({"matches": [{"path": {"type": "Exact", "value": "/a"}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"path":
                    {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}]}),
            "spec.rules[0].filters",
        ),
    ] {
        assert_eq!(told(rule.clone()), Err(field.to_owned()), "{rule}");
    }
}
