//! Owns the tests of questions about rights. The expected answers are those of a real API server
//! 1.34.2.

use http::Method;
use serde_json::{Value, json};
use weir_apiserver::ApiServer;

use crate::authorization::{BINDINGS, as_jane, ask, grant};
use crate::support::{post, server};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

async fn review(server: &ApiServer, kind: &str, body: &Value) -> (u16, Value) {
    let path = format!("{REVIEWS}/{kind}");
    ask(server, None, Method::POST, &path, &[], body).await
}

#[tokio::test]
async fn reviews_say_whether_and_through_what() {
    let server = server();
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    grant(&server, "reader", &rules).await;
    let attributes = |verb: &str| json!({"namespace": "default", "verb": verb, "resource": "pods"});
    let body =
        json!({"spec": {"user": "x", "groups": ["dev"], "resourceAttributes": attributes("get")}});
    let (code, answer) = review(&server, "subjectaccessreviews", &body).await;
    assert_eq!(
        (code, &answer["status"], &answer["spec"]),
        (
            201,
            &json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"reader/default\" \
                    of Role \"reader\" to Group \"dev\""}),
            &body["spec"]
        )
    );
    assert_eq!(
        answer["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:groups": {}, "f:resourceAttributes":
            {".": {}, "f:namespace": {}, "f:resource": {}, "f:verb": {}}, "f:user": {}}})
    );
    let dangling = json!({"metadata": {"name": "dangling"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gone"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "x"}]});
    post(&server, BINDINGS, &dangling).await;
    let body = json!({"spec": {"user": "x", "resourceAttributes": attributes("delete")}});
    let (_, answer) = review(&server, "subjectaccessreviews", &body).await;
    let why = "RBAC: role.rbac.authorization.k8s.io \"gone\" not found";
    assert_eq!(answer["status"], json!({"allowed": false, "reason": why}));
    let local = "namespaces/default/localsubjectaccessreviews";
    let (_, answer) = review(&server, local, &body).await;
    assert_eq!(answer["status"]["allowed"], false);
    assert_eq!(answer["metadata"]["namespace"], "default");
    let own = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}});
    let (code, answer) = review(&server, "selfsubjectaccessreviews", &own).await;
    assert_eq!((code, &answer["status"]), (201, &json!({"allowed": true})));
    let path = format!("{REVIEWS}/selfsubjectaccessreviews");
    let (_, answer) = as_jane(&server, Method::POST, &path, &own).await;
    assert_eq!(answer["status"], json!({"allowed": false}));
    for (method, path, code) in [
        (Method::GET, "subjectaccessreviews", 405),
        (Method::GET, "subjectaccessreviews/x", 404),
        (Method::POST, "localsubjectaccessreviews", 404),
        (Method::POST, "namespaces/default/subjectaccessreviews", 404),
    ] {
        let path = format!("{REVIEWS}/{path}");
        assert_eq!(
            ask(&server, None, method, &path, &[], &own).await.0,
            code,
            "{path}"
        );
    }
}

#[tokio::test]
async fn reviews_that_ask_nothing_are_invalid() {
    let server = server();
    let of = async |kind: &str, body: Value| {
        let (code, answer) = review(&server, kind, &body).await;
        (
            code,
            answer["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let invalid = |text: &str| {
        (
            422,
            format!(".authorization.k8s.io \"\" is invalid: {text}"),
        )
    };
    let pods = json!({"verb": "get", "namespace": "b"});
    assert_eq!(
        of("selfsubjectaccessreviews", json!({"spec": {}})).await,
        invalid(
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or \
             resourceAttributes must be specified"
        )
    );
    let both =
        json!({"spec": {"resourceAttributes": pods, "nonResourceAttributes": {"verb": "get"}}});
    assert_eq!(
        of("selfsubjectaccessreviews", both).await,
        invalid(
            "spec.nonResourceAttributes: Invalid value: {\"Path\":\"\",\"Verb\":\"get\"}: cannot be \
             specified in combination with resourceAttributes"
        )
    );
    assert_eq!(
        of(
            "subjectaccessreviews",
            json!({"spec": {"resourceAttributes": pods}})
        )
        .await,
        invalid("spec.user: Invalid value: \"\": at least one of user or group must be specified")
    );
    let local = "namespaces/default/localsubjectaccessreviews";
    assert_eq!(
        of(
            local,
            json!({"spec": {"user": "a", "resourceAttributes": pods}})
        )
        .await,
        invalid(
            "spec.resourceAttributes.namespace: Invalid value: \"b\": must match metadata.namespace"
        )
    );
    let url = json!({"verb": "get", "path": "/"});
    assert_eq!(
        of(
            local,
            json!({"spec": {"user": "a", "nonResourceAttributes": url}})
        )
        .await,
        invalid(
            "spec.nonResourceAttributes: Invalid value: {\"Path\":\"/\",\"Verb\":\"get\"}: \
             disallowed on this kind of request"
        )
    );
    let named = json!({"metadata": {"name": "x"}, "spec": {"resourceAttributes": {"verb": "get"}}});
    let (code, text) = of("selfsubjectaccessreviews", named).await;
    assert_eq!(code, 422);
    assert!(
        text.contains("metadata: Invalid value: {\"name\":\"x\",\"managedFields\":[{"),
        "{text}"
    );
    assert!(text.ends_with(": must be empty"), "{text}");
    let of_field = |selector: Value| json!({"spec": {"user": "a", "resourceAttributes": {"verb": "list", "fieldSelector": selector}}});
    let at = "spec.resourceAttributes.fieldSelector";
    assert_eq!(
        of("subjectaccessreviews", of_field(json!({"rawSelector": ""}))).await,
        invalid(&format!(
            "{at}.requirements: Required value: when {at} is specified, requirements or \
             rawSelector is required"
        ))
    );
    let needs = json!({"requirements": [{"key": "x", "operator": "In", "values": ["y"]},
        {"key": "x", "operator": "Odd", "values": ["y"]}]});
    let (_, answer) = review(&server, "subjectaccessreviews", &of_field(needs)).await;
    assert_eq!(
        answer["status"],
        json!({"allowed": false,
            "evaluationError": format!("{at} partially ignored due to parse error")})
    );
}

#[tokio::test]
async fn all_rules_of_a_user_can_be_listed() {
    let server = server();
    let rules = json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"],
        "resourceNames": ["web"]}]);
    grant(&server, "reader", &rules).await;
    let path = format!("{REVIEWS}/selfsubjectrulesreviews");
    let body = json!({"spec": {"namespace": "default"}});
    let (code, answer) = as_jane(&server, Method::POST, &path, &body).await;
    assert_eq!(code, 201);
    let health = json!(["/healthz", "/livez", "/readyz", "/version", "/version/"]);
    assert_eq!(
        answer,
        json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1",
            "metadata": {}, "spec": {}, "status": {
                "resourceRules": [
                    {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
                        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
                    {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"],
                        "resources": ["selfsubjectreviews"]},
                    {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"],
                        "resourceNames": ["web"]}],
                "nonResourceRules": [
                    {"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*",
                        "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
                        "/version/"]},
                    {"verbs": ["get"], "nonResourceURLs": health}],
                "incomplete": false}})
    );
    let (code, answer) = as_jane(&server, Method::POST, &path, &json!({"spec": {}})).await;
    assert_eq!(
        (code, &answer["message"]),
        (400, &json!("no namespace on request"))
    );
}
