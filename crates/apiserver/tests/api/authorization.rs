//! Owns the tests of who may do what. The expected answers are those of a real API server 1.34.2.

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weir_apiserver::{ApiServer, User};

use crate::support::{post, server};

pub(crate) const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
pub(crate) const BINDINGS: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
pub(crate) const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
pub(crate) const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// A request with headers and perhaps a user; the status and the body.
pub(crate) async fn ask(
    server: &ApiServer,
    user: Option<User>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (u16, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", "test/1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let mut request = request
        .body(Full::new(bytes::Bytes::from(bytes)))
        .expect("a request");
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    let response = server.service().oneshot(request).await.expect("infallible");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("infallible");
    let bytes = bytes.to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (code, body)
}

pub(crate) fn jane() -> User {
    User::new("jane", ["dev", "system:authenticated"])
}

pub(crate) async fn as_jane(
    server: &ApiServer,
    method: Method,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    ask(server, Some(jane()), method, path, &[], body).await
}

/// What a refusal says.
fn said(answer: &(u16, Value)) -> (u16, String) {
    (
        answer.0,
        answer.1["message"].as_str().unwrap_or_default().to_owned(),
    )
}

/// Gives the group `dev` rules in the namespace `default`.
pub(crate) async fn grant(server: &ApiServer, name: &str, rules: &Value) {
    let role = json!({"metadata": {"name": name}, "rules": rules});
    assert_eq!(post(server, ROLES, &role).await.code, 201);
    let binding = json!({"metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "dev"}]});
    assert_eq!(post(server, BINDINGS, &binding).await.code, 201);
}

#[tokio::test]
async fn who_is_not_allowed_is_told_what_and_where() {
    let server = server();
    let pods = "/api/v1/namespaces/default/pods";
    let answer = as_jane(&server, Method::GET, pods, &Value::Null).await;
    assert_eq!(
        answer,
        (
            403,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API \
                            group \"\" in the namespace \"default\"",
                "reason": "Forbidden", "details": {"kind": "pods"}, "code": 403})
        )
    );
    grant(
        &server,
        "read",
        &json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]),
    )
    .await;
    assert_eq!(
        as_jane(&server, Method::GET, pods, &Value::Null).await.0,
        200
    );
    let answer = as_jane(&server, Method::GET, "/api/v1/pods", &Value::Null).await;
    let why = "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" at \
               the cluster scope";
    assert_eq!(said(&answer), (403, why.to_owned()));
}
