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

#[tokio::test]
async fn what_is_refused_is_refused_before_it_is_looked_at() {
    let server = server();
    let base = "/api/v1/namespaces/auth";
    let text = |verb: &str, resource: &str, group: &str| {
        format!(
            "User \"jane\" cannot {verb} resource \"{resource}\" in API group \"{group}\" in the \
             namespace \"auth\""
        )
    };
    let cases = [
        (Method::GET, "/pods/x", "pods \"x\"", "get", "pods"),
        (Method::GET, "/pods?watch=1", "pods", "watch", "pods"),
        (Method::POST, "/pods", "pods", "create", "pods"),
        (Method::PUT, "/pods/x", "pods \"x\"", "update", "pods"),
        (Method::PATCH, "/pods/x", "pods \"x\"", "patch", "pods"),
        (Method::DELETE, "/pods/x", "pods \"x\"", "delete", "pods"),
        (Method::DELETE, "/pods", "pods", "deletecollection", "pods"),
        (Method::GET, "/pods/x/log", "pods \"x\"", "get", "pods/log"),
        (
            Method::POST,
            "/pods/x/eviction",
            "pods \"x\"",
            "create",
            "pods/eviction",
        ),
        (
            Method::GET,
            "/pods?fieldSelector=metadata.name%3Dzed",
            "pods \"zed\"",
            "list",
            "pods",
        ),
        (
            Method::GET,
            "/pods?limit=x&watch=true",
            "pods",
            "watch",
            "pods",
        ),
        (Method::OPTIONS, "/pods", "pods", "", "pods"),
        (Method::GET, "/pods/x%22y", "pods \"x\\\"y\"", "get", "pods"),
    ];
    for (method, path, what, verb, resource) in cases {
        let path = format!("{base}{path}");
        let headers = [("content-type", "foo/bar")];
        let body = json!("not an object");
        let answer = ask(&server, Some(jane()), method, &path, &headers, &body).await;
        let expected = format!("{what} is forbidden: {}", text(verb, resource, ""));
        assert_eq!(said(&answer), (403, expected), "{path}");
    }
    let missing = as_jane(
        &server,
        Method::GET,
        "/apis/none.io/v1/namespaces/auth/foos",
        &Value::Null,
    )
    .await;
    let why = format!(
        "foos.none.io is forbidden: {}",
        text("list", "foos", "none.io")
    );
    assert_eq!(said(&missing), (403, why));
    let odd = as_jane(&server, Method::GET, "/a%3Cb%3E&c", &Value::Null).await;
    assert_eq!(
        odd.1,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "forbidden: User \"jane\" cannot get path \"/a&lt;b&gt;&amp;c\"",
            "reason": "Forbidden", "details": {}, "code": 403})
    );
    let yaml = [("accept", "application/yaml")];
    let path = format!("{base}/pods/x");
    let answer = ask(
        &server,
        Some(jane()),
        Method::GET,
        &path,
        &yaml,
        &Value::Null,
    )
    .await;
    let start = "apiVersion: v1\ncode: 403\ndetails:\n  kind: pods\n  name: x\nkind: Status\n";
    assert!(
        answer
            .1
            .as_str()
            .is_some_and(|text| text.starts_with(start)),
        "{answer:?}"
    );
    // Whoever is known may discover, and is told what is not there.
    assert_eq!(
        as_jane(&server, Method::GET, "/apis/none.io/v1", &Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(
        as_jane(&server, Method::GET, "/api/v1", &Value::Null)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn nobody_sees_more_than_health_and_version() {
    let server = server();
    for (path, code) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/healthz/ping", 403),
        ("/", 403),
        ("/api", 403),
        ("/apis/apps/v1", 403),
        ("/openapi/v3", 403),
        ("/openid/v1/jwks", 403),
        ("/metrics", 403),
    ] {
        let nobody = Some((*User::anonymous()).clone());
        let answer = ask(&server, nobody, Method::GET, path, &[], &Value::Null).await;
        assert_eq!(answer.0, code, "{path}");
        if code == 403 {
            let why = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
            assert_eq!(said(&answer).1, why);
        }
    }
}

/// Bindings and roles that let jane, bob, pat and sue write what the tests try.
async fn writers(server: &ApiServer) {
    let rbac = "rbac.authorization.k8s.io";
    let write = json!(["create", "update", "get", "patch"]);
    for (user, verbs) in [("jane", json!(["*"])), ("bob", write.clone())] {
        let role = json!({"metadata": {"name": user}, "rules": [
            {"verbs": verbs, "apiGroups": [rbac], "resources": ["roles", "rolebindings"]}]});
        assert_eq!(post(server, ROLES, &role).await.code, 201);
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": user},
            "subjects": [{"kind": "User", "apiGroup": rbac, "name": user}]});
        assert_eq!(post(server, BINDINGS, &binding).await.code, 201);
    }
    let role = json!({"metadata": {"name": "sue"}, "rules": [{"verbs": write,
        "apiGroups": [rbac], "resources": ["clusterroles", "clusterrolebindings"]}]});
    assert_eq!(post(server, CLUSTER_ROLES, &role).await.code, 201);
    let binding = json!({"metadata": {"name": "sue"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "sue"},
        "subjects": [{"kind": "User", "apiGroup": rbac, "name": "sue"}]});
    assert_eq!(post(server, CLUSTER_BINDINGS, &binding).await.code, 201);
    let big = json!({"metadata": {"name": "big"}, "rules": [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]});
    assert_eq!(post(server, ROLES, &big).await.code, 201);
}

async fn by(
    server: &ApiServer,
    user: &str,
    method: Method,
    path: &str,
    body: &Value,
) -> (u16, String) {
    let user = Some(User::new(user, ["system:authenticated"]));
    let kind = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let headers = [("content-type", kind)];
    said(&ask(server, user, method, path, &headers, body).await)
}

fn grants(what: &str, user: &str, lines: &str) -> (u16, String) {
    let rbac = "rbac.authorization.k8s.io";
    let (plural, name) = what.split_once(' ').unwrap_or((what, ""));
    let name = if name.is_empty() {
        String::new()
    } else {
        format!(" \"{name}\"")
    };
    (
        403,
        format!(
            "{plural}.{rbac}{name} is forbidden: user \"{user}\" \
             (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not \
             currently held:\n{lines}"
        ),
    )
}

fn bound(name: &str, kind: &str, role: &str) -> Value {
    json!({"metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}})
}

#[tokio::test]
async fn roles_grant_only_what_their_writer_has() {
    let server = server();
    writers(&server).await;
    let role = json!({"metadata": {"name": "r1"}, "rules": [
        {"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "pods/log"]},
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"]},
        {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}]});
    let lines = "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\"]}\n\
        {APIGroups:[\"\"], Resources:[\"pods/log\"], Verbs:[\"get\" \"list\"]}\n\
        {APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"a\"], Verbs:[\"get\"]}\n\
        {APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"b\"], Verbs:[\"get\"]}\n\
        {APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n\
        {APIGroups:[\"apps\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\"]}\n\
        {APIGroups:[\"apps\"], Resources:[\"pods/log\"], Verbs:[\"get\" \"list\"]}";
    let answer = by(&server, "bob", Method::POST, ROLES, &role).await;
    assert_eq!(answer, grants("roles r1", "bob", lines));
    assert_eq!(by(&server, "jane", Method::POST, ROLES, &role).await.0, 201);
    let pods = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let unnamed = json!({"metadata": {"generateName": "r1"}, "rules": pods});
    let line = "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}";
    let answer = by(&server, "bob", Method::POST, ROLES, &unnamed).await;
    assert_eq!(answer, grants("roles", "bob", line));

    let rule = |verb: &str| {
        json!({"metadata": {"name": "r2"}, "rules": [{"verbs": [verb],
            "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}]})
    };
    assert_eq!(
        by(&server, "bob", Method::POST, ROLES, &rule("create"))
            .await
            .0,
        201
    );
    let r2 = format!("{ROLES}/r2");
    let line =
        "{APIGroups:[\"rbac.authorization.k8s.io\"], Resources:[\"roles\"], Verbs:[\"delete\"]}";
    let answer = by(&server, "bob", Method::PUT, &r2, &rule("delete")).await;
    assert_eq!(answer, grants("roles r2", "bob", line));

    // A change of what grants nothing needs the rights too, but for what garbage collection needs.
    let big = format!("{ROLES}/big");
    let line = "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let answer = by(&server, "bob", Method::PATCH, &big, &labels).await;
    assert_eq!(answer, grants("roles big", "bob", line));
    let finalizers = json!({"metadata": {"finalizers": ["a.b/c"]}});
    assert_eq!(
        by(&server, "bob", Method::PATCH, &big, &finalizers).await.0,
        200
    );

    let gathering = |rules: &Value| {
        json!({"metadata": {"name": "g"}, "rules": rules, "aggregationRule":
            {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}})
    };
    let answer = by(
        &server,
        "sue",
        Method::POST,
        CLUSTER_ROLES,
        &gathering(&json!([])),
    )
    .await;
    let why = "clusterroles.rbac.authorization.k8s.io \"g\" is forbidden: must have cluster-admin \
               privileges to use the aggregationRule";
    assert_eq!(answer, (403, why.to_owned()));
    let urls = gathering(&json!([{"verbs": ["get"], "nonResourceURLs": ["/x", "/y/*"]}]));
    let answer = by(&server, "sue", Method::POST, CLUSTER_ROLES, &urls).await;
    let lines = "{NonResourceURLs:[\"/x\"], Verbs:[\"get\"]}\n{NonResourceURLs:[\"/y/*\"], Verbs:[\"get\"]}";
    assert_eq!(answer, grants("clusterroles g", "sue", lines));
}

#[tokio::test]
async fn bindings_bind_only_what_their_writer_has() {
    let server = server();
    writers(&server).await;
    let all = "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}";
    let secrets = "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    let bob = async |kind, role| {
        by(
            &server,
            "bob",
            Method::POST,
            BINDINGS,
            &bound("b1", kind, role),
        )
        .await
    };
    assert_eq!(
        bob("Role", "big").await,
        grants("rolebindings b1", "bob", secrets)
    );
    assert_eq!(
        bob("ClusterRole", "cluster-admin").await,
        grants("rolebindings b1", "bob", all)
    );
    let missing = "rolebindings.rbac.authorization.k8s.io \"none\" not found";
    assert_eq!(bob("Role", "none").await, (404, missing.to_owned()));
    assert_eq!(bob("ClusterRole", "none").await, (404, missing.to_owned()));
    assert_eq!(bob("Role", "bob").await.0, 201);
    // Who may bind any role of a kind need not hold it.
    let big = bound("b2", "Role", "big");
    assert_eq!(
        by(&server, "jane", Method::POST, BINDINGS, &big).await.0,
        201
    );
    let admin = bound("b4", "ClusterRole", "cluster-admin");
    let answer = by(&server, "sue", Method::POST, CLUSTER_BINDINGS, &admin).await;
    assert_eq!(answer, grants("clusterrolebindings b4", "sue", all));
}

#[tokio::test]
async fn an_apply_that_creates_needs_both_rights() {
    let server = server();
    let maps =
        |verbs: &[&str]| json!([{"verbs": verbs, "apiGroups": [""], "resources": ["configmaps"]}]);
    grant(&server, "patcher", &maps(&["patch"])).await;
    let path = format!("{}/one?fieldManager=x", crate::support::MAPS);
    let headers = [("content-type", "application/apply-patch+yaml")];
    let config = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}});
    let apply = async || {
        ask(
            &server,
            Some(jane()),
            Method::PATCH,
            &path,
            &headers,
            &config,
        )
        .await
    };
    let why = "configmaps \"one\" is forbidden: User \"jane\" cannot create resource \
               \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!(said(&apply().await), (403, why.to_owned()));
    grant(&server, "creator", &maps(&["create"])).await;
    assert_eq!(apply().await.0, 201);
}

#[tokio::test]
async fn roles_gather_the_rules_of_others() {
    tokio::time::pause();
    let server = server();
    tokio::spawn(server.run_controllers());
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let rule =
        |resource: &str| json!({"verbs": ["get"], "apiGroups": ["x.io"], "resources": [resource]});
    let label = "rbac.authorization.k8s.io/aggregate-to-view";
    let role = |name: &str, resource: &str| json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": [rule(resource)]});
    let count = async |name: &str| {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let role = crate::support::get(&server, &format!("{CLUSTER_ROLES}/{name}"))
            .await
            .body;
        let rules = role["rules"].as_array().expect("rules");
        (rules.contains(&rule("a")), rules.contains(&rule("b")))
    };
    assert_eq!(count("view").await, (false, false));
    post(&server, CLUSTER_ROLES, &role("aa", "a")).await;
    post(&server, CLUSTER_ROLES, &role("bb", "b")).await;
    // Through view into edit into admin.
    for name in ["view", "edit", "admin"] {
        assert_eq!(count(name).await, (true, true), "{name}");
    }
    crate::support::delete(&server, &format!("{CLUSTER_ROLES}/aa"), &Value::Null).await;
    assert_eq!(count("admin").await, (false, true));
}

#[tokio::test]
async fn malformed_roles_and_bindings_are_invalid() {
    let server = server();
    let of = async |path: &str, body: Value| {
        let answer = post(&server, path, &body).await;
        (
            answer.code,
            answer.body["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let rules = json!([{}, {"verbs": ["get"], "nonResourceURLs": ["/x", "/y"]}]);
    let text = "Role.rbac.authorization.k8s.io \"a\" is invalid: [rules[0].verbs: Required value: \
                verbs must contain at least one value, rules[0].apiGroups: Required value: resource \
                rules must supply at least one api group, rules[0].resources: Required value: \
                resource rules must supply at least one resource, rules[1].nonResourceURLs: Invalid \
                value: [\"/x\",\"/y\"]: namespaced rules cannot apply to non-resource URLs]";
    let role = json!({"metadata": {"name": "a"}, "rules": rules});
    assert_eq!(of(ROLES, role).await, (422, text.to_owned()));
    let text = "ClusterRoleBinding.rbac.authorization.k8s.io \"a\" is invalid: [roleRef.kind: \
                Unsupported value: \"Role\": supported values: \"ClusterRole\", roleRef.name: Invalid \
                value: \"..\": may not be '..', subjects[0].namespace: Required value]";
    let binding = json!({"metadata": {"name": "a"}, "roleRef": {"kind": "Role", "name": ".."},
        "subjects": [{"kind": "ServiceAccount", "name": "a"}]});
    assert_eq!(of(CLUSTER_BINDINGS, binding).await, (422, text.to_owned()));
    let text = "RoleBinding.rbac.authorization.k8s.io \"b\" is invalid: roleRef: Invalid value: \
                {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"y\"}: cannot \
                change roleRef";
    assert_eq!(of(BINDINGS, bound("b", "Role", "x")).await.0, 201);
    let (path, other) = (format!("{BINDINGS}/b"), bound("b", "Role", "y"));
    let changed = crate::support::put(&server, &path, &other).await;
    assert_eq!(changed.body["message"], text);
}

/// A role without rules says null, which nobody owns: a later apply is no conflict.
#[tokio::test]
async fn a_role_without_rules_can_be_given_some() {
    let server = server();
    let role = post(&server, ROLES, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!((role.code, &role.body["rules"]), (201, &Value::Null));
    assert!(
        role.body
            .as_object()
            .is_some_and(|map| map.contains_key("rules"))
    );
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let config = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "a"}, "rules": rules});
    let path = format!("{ROLES}/a?fieldManager=x");
    let applied = crate::support::patch(&server, &path, "apply", &config).await;
    assert_eq!((applied.code, &applied.body["rules"]), (200, &rules));
    let none = json!({"rules": []});
    let path = format!("{ROLES}/a");
    let emptied = crate::support::patch(&server, &path, "merge", &none).await;
    assert_eq!((emptied.code, &emptied.body["rules"]), (200, &Value::Null));
}
