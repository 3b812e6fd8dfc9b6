//! Owns the tests of what single built-in kinds demand and derive, as a real server was seen to
//! answer.

use serde_json::{Value, json};

use crate::support::*;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn service(name: &str, spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().expect("fields") {
        object["spec"][field] = value.clone();
    }
    object
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or_default()
}

fn causes(answer: &Answer) -> Vec<&str> {
    let all = answer.body["details"]["causes"].as_array();
    let fields = all.into_iter().flatten();
    fields
        .map(|cause| cause["field"].as_str().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn a_second_service_of_a_name_is_judged_before_it_is_told_to_be_there() {
    let server = server();
    let first = post(&server, SERVICES, &service("web", &json!({}))).await;
    assert_eq!(first.code, 201);
    let wrong = service("web", &json!({"internalTrafficPolicy": "Nope"}));
    let wrong = post(&server, SERVICES, &wrong).await;
    assert_eq!(wrong.code, 422, "{}", wrong.body);
    assert!(message(&wrong).starts_with("Service \"web\" is invalid: spec.internalTrafficPolicy"));
    let again = post(&server, SERVICES, &service("web", &json!({}))).await;
    assert_eq!(message(&again), "services \"web\" already exists");
    // Neither took from the first one what it has.
    let asked = json!({"clusterIP": first.body["spec"]["clusterIP"]});
    for name in ["web", "other"] {
        let taken = post(&server, SERVICES, &service(name, &asked)).await;
        assert_eq!(taken.code, 422, "{}", taken.body);
        assert!(message(&taken).starts_with(&format!("Service \"{name}\" is invalid")));
        assert!(message(&taken).ends_with("provided IP is already allocated"));
    }
}

#[tokio::test]
async fn a_status_says_the_rest_of_what_it_says() {
    let server = server();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "app", "image": "x"}]}});
    assert_eq!(post(&server, PODS, &pod).await.code, 201);
    let at = format!("{PODS}/a/status");
    for ip in ["10.1.1.1", "10.1.1.2"] {
        let told = json!({"status": {"podIP": ip}});
        let answer = patch(&server, &at, "merge", &told).await;
        assert_eq!(answer.body["status"]["podIPs"], json!([{"ip": ip}]));
    }
    for (kind, mode) in [("LoadBalancer", json!("VIP")), ("ClusterIP", Value::Null)] {
        let name = kind.to_lowercase();
        let body = service(&name, &json!({"type": kind}));
        assert_eq!(post(&server, SERVICES, &body).await.code, 201);
        let told = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let at = format!("{SERVICES}/{name}/status");
        let answer = patch(&server, &at, "merge", &told).await;
        let point = &answer.body["status"]["loadBalancer"]["ingress"][0];
        assert_eq!(point["ipMode"], mode, "{}", answer.body);
    }
}

#[tokio::test]
async fn what_single_kinds_refuse_is_told_in_the_real_words() {
    let server = server();
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {
        "activeDeadlineSeconds": 5, "containers": [{"name": "app", "image": "x"}]}});
    for (path, body, told) in [
        (
            "/apis/apps/v1/namespaces/default/daemonsets",
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a"},
                "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}}),
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in \
             DaemonSet is not Supported",
        ),
        (
            "/apis/apps/v1/namespaces/default/controllerrevisions",
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {"name": "a"}, "data": {"a": 1}, "revision": -1}),
            "revision: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/api/v1/namespaces/default/limitranges",
            json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "a"},
                "spec": {"limits": [{"type": "Nope"}]}}),
            "spec.limits[0].type: Invalid value: \"Nope\": must be a standard limit type or fully \
             qualified",
        ),
        (
            PODS,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a",
                "annotations": {"kubernetes.io/config.mirror": "x"}},
                "spec": {"containers": [{"name": "app", "image": "x"}]}}),
            "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set \
             spec.nodeName if mirror pod annotation is set",
        ),
    ] {
        let answer = post(&server, path, &body).await;
        assert_eq!(answer.code, 422, "{}", answer.body);
        assert!(message(&answer).ends_with(told), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_pod_does_not_become_the_mirror_of_another() {
    let server = server();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "app", "image": "x"}]}});
    assert_eq!(post(&server, PODS, &pod).await.code, 201);
    let mark = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
    let at = format!("{PODS}/a");
    let answer = patch(&server, &at, "merge", &mark).await;
    assert!(
        message(&answer).contains("may not add mirror pod annotation"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_changed_role_is_judged_twice_and_a_daemon_sets_selector_first() {
    let server = server();
    let merge = "merge";
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "a"}, "rules": []});
    assert_eq!(post(&server, roles, &role).await.code, 201);
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]});
    let answer = patch(&server, &format!("{roles}/a"), merge, &rules).await;
    assert_eq!(causes(&answer), ["rules[0].verbs", "rules[0].verbs"]);
    assert_eq!(message(&answer).matches("must contain").count(), 1);
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    assert_eq!(post(&server, sets, &set).await.code, 201);
    let other = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}});
    let answer = patch(&server, &format!("{sets}/a"), merge, &other).await;
    let wanted = ["spec.selector", "spec.template.metadata.labels"];
    assert_eq!(causes(&answer), wanted);
}

#[tokio::test]
async fn nobody_owns_what_a_request_for_a_token_leaves_open() {
    let server = server();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}});
    assert_eq!(post(&server, accounts, &account).await.code, 201);
    let answer = post(&server, &format!("{accounts}/a/token"), &json!({})).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    let owned = &answer.body["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(*owned, json!({"f:spec": {"f:expirationSeconds": {}}}));
}

#[tokio::test]
async fn a_patched_object_that_cannot_be_read_is_shown_in_the_order_of_its_type() {
    let server = server();
    assert_eq!(
        post(&server, MAPS, &config_map("a", &json!({}))).await.code,
        201
    );
    let wrong = json!({"binaryData": {"c": "not base64!"}});
    let at = format!("{MAPS}/a");
    let answer = patch(&server, &at, "merge", &wrong).await;
    let order = ["uid", "resourceVersion", "creationTimestamp"].map(|field| {
        let quoted = format!("\\\"{field}\\\"");
        message(&answer).find(&quoted)
    });
    assert!(
        order.is_sorted() && order.iter().all(Option::is_some),
        "{}",
        answer.body
    );
}
