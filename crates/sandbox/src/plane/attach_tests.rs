//! Owns the cases of which routes a listener takes. It refuses servers: values in, values out.

use serde_json::json;

use super::*;

fn object(kind: &str, name: &str, created: &str, spec: Value) -> Arc<Object> {
    let mut out = json!({"kind": kind, "metadata": {
        "name": name, "namespace": "demo", "creationTimestamp": created,
    }});
    out["spec"] = spec;
    Arc::new(Object(out))
}

fn gateway(class: &str) -> Arc<Object> {
    let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP"}]);
    let spec = json!({"gatewayClassName": class, "listeners": listeners});
    object("Gateway", "g", "2024-01-01T00:00:00Z", spec)
}

fn route(kind: &str, name: &str, created: &str, hosts: &Value, parent: &Value) -> Arc<Object> {
    object(
        kind,
        name,
        created,
        json!({"parentRefs": [parent], "hostnames": hosts, "rules": []}),
    )
}

fn reason(decision: &Decision, kind: RouteKind, name: &str) -> Vec<&'static str> {
    let parents = &decision.routes[&(kind, Key::new("demo", name))];
    parents.iter().map(|p| p.accepted.reason).collect()
}

#[test]
fn of_two_kinds_of_routes_for_one_host_the_older_stays() {
    let parent = json!({"name": "g"});
    let world = World {
        gateways: vec![gateway("any")],
        http: vec![
            route(
                "HTTPRoute",
                "old",
                "2024-01-01T00:00:00Z",
                &json!(["a.example.com"]),
                &parent,
            ),
            route(
                "HTTPRoute",
                "new",
                "2024-03-01T00:00:00Z",
                &json!(["b.example.com"]),
                &parent,
            ),
            route(
                "HTTPRoute",
                "aside",
                "2024-04-01T00:00:00Z",
                &json!(["c.example.org"]),
                &parent,
            ),
        ],
        grpc: vec![
            route(
                "GRPCRoute",
                "wide",
                "2024-02-01T00:00:00Z",
                &json!(["*.example.com"]),
                &parent,
            ),
            route(
                "GRPCRoute",
                "free",
                "2024-02-01T00:00:00Z",
                &json!(["b.example.com"]),
                &parent,
            ),
        ],
        ..World::default()
    };
    let (table, decision) = decide(&world);
    assert_eq!(reason(&decision, RouteKind::Http, "old"), ["Accepted"]);
    assert_eq!(
        reason(&decision, RouteKind::Grpc, "wide"),
        ["HostnameConflict"]
    );
    assert_eq!(reason(&decision, RouteKind::Grpc, "free"), ["Accepted"]);
    assert_eq!(
        reason(&decision, RouteKind::Http, "new"),
        ["HostnameConflict"]
    );
    assert_eq!(reason(&decision, RouteKind::Http, "aside"), ["Accepted"]);
    let listeners = &table.gateways[&(Key::new("demo", "g"), 80)];
    let names: Vec<&str> = listeners[0]
        .routes
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["old", "free", "aside"]);
}

#[test]
fn a_route_may_have_a_service_for_its_parent() {
    let service = object("Service", "app", "", json!({"ports": [{"port": 80}]}));
    let parent =
        |name: &str, port: u16| json!({"group": "", "kind": "Service", "name": name, "port": port});
    let made = "2024-01-01T00:00:00Z";
    let world = World {
        http: vec![
            route("HTTPRoute", "mesh", made, &json!([]), &parent("app", 80)),
            route("HTTPRoute", "port", made, &json!([]), &parent("app", 81)),
            route("HTTPRoute", "gone", made, &json!([]), &parent("other", 80)),
        ],
        refs: Refs {
            services: [(service.key(), service)].into_iter().collect(),
            grants: Vec::new(),
        },
        ..World::default()
    };
    let (table, decision) = decide(&world);
    assert_eq!(reason(&decision, RouteKind::Http, "mesh"), ["Accepted"]);
    assert_eq!(
        reason(&decision, RouteKind::Http, "port"),
        ["NoMatchingParent"]
    );
    assert_eq!(
        reason(&decision, RouteKind::Http, "gone"),
        ["NoMatchingParent"]
    );
    let routes = &table.mesh.services[&Key::new("demo", "app")];
    assert_eq!(routes.len(), 1);
}

#[test]
fn gateways_of_other_controllers_are_left_alone() {
    let class = object(
        "GatewayClass",
        "theirs",
        "",
        json!({"controllerName": "example.com/other"}),
    );
    let world = World {
        classes: vec![class],
        gateways: vec![gateway("theirs")],
        http: vec![route(
            "HTTPRoute",
            "r",
            "",
            &json!([]),
            &json!({"name": "g"}),
        )],
        ..World::default()
    };
    let (table, decision) = decide(&world);
    let verdict = decision.gateways[&Key::new("demo", "g")].as_ref().err();
    assert_eq!(verdict.map(String::as_str), Some("example.com/other"));
    assert_eq!(reason(&decision, RouteKind::Http, "r"), [""; 0]);
    assert!(table.gateways.is_empty());
}
