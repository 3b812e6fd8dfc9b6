//! Owns the tests of who is asking. The expected answers are those of a real API server 1.34.2.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use weir_apiserver::{ApiServer, User};

use crate::authorization::{CLUSTER_BINDINGS, CLUSTER_ROLES, ask};
use crate::support::{moving, post, server};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const TOKENS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

async fn admin(server: &ApiServer, method: Method, path: &str, body: &Value) -> (u16, Value) {
    ask(server, None, method, path, &[], body).await
}

async fn who(server: &ApiServer, headers: &[(&str, &str)]) -> (u16, Value) {
    let (code, body) = ask(server, None, Method::POST, WHO, headers, &json!({})).await;
    let shown = if code == 201 {
        body["status"]["userInfo"].clone()
    } else {
        body["message"].clone()
    };
    (code, shown)
}

async fn account(server: &ApiServer, name: &str) -> Value {
    let made = post(server, ACCOUNTS, &json!({"metadata": {"name": name}})).await;
    assert_eq!(made.code, 201);
    made.body["metadata"]["uid"].clone()
}

async fn token(server: &ApiServer, account: &str, spec: &Value) -> String {
    let path = format!("{ACCOUNTS}/{account}/token");
    let (code, body) = admin(server, Method::POST, &path, &json!({"spec": spec})).await;
    assert_eq!(code, 201, "{body}");
    body["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    serde_json::from_slice(&bytes.expect("base64")).expect("JSON")
}

#[tokio::test]
async fn a_caller_is_told_who_they_are() {
    let server = server();
    let (code, body) = admin(&server, Method::POST, WHO, &json!({})).await;
    assert_eq!(
        (code, body),
        (
            201,
            json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
                "metadata": {"creationTimestamp": "2026-01-02T03:04:05Z"},
                "status": {"userInfo": {"username": "kubernetes-admin", "uid": "admin",
                    "groups": ["system:masters", "system:authenticated"]}}})
        )
    );
    let user = User::new("jane", ["system:authenticated"]);
    let path = "/api/v1/namespaces";
    let answer = ask(&server, Some(user), Method::GET, path, &[], &Value::Null).await;
    assert_eq!(answer.0, 403);
}

#[tokio::test]
async fn headers_make_a_caller_somebody_else() {
    let server = server();
    let authenticated = "system:authenticated";
    assert_eq!(
        who(&server, &[("Impersonate-User", "jane")]).await,
        (201, json!({"username": "jane", "groups": [authenticated]}))
    );
    let account = ("Impersonate-User", "system:serviceaccount:auth:imp");
    let name = account.1;
    assert_eq!(
        who(&server, &[account]).await,
        (
            201,
            json!({"username": name, "groups": ["system:serviceaccounts",
                "system:serviceaccounts:auth", authenticated]})
        )
    );
    assert_eq!(
        who(&server, &[account, ("Impersonate-Group", "g")]).await,
        (
            201,
            json!({"username": name, "groups": ["g", authenticated]})
        )
    );
    let all = [
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "system:authenticated"),
        ("Impersonate-Uid", "77"),
        ("Impersonate-Extra-Foo%2fBar", "v"),
        ("Impersonate-Extra-Foo%2fBar", "w"),
    ];
    assert_eq!(
        who(&server, &all).await,
        (
            201,
            json!({"username": "jane", "uid": "77", "groups": [authenticated],
                "extra": {"foo/bar": ["v", "w"]}})
        )
    );
    let nobody = "selfsubjectreviews.authentication.k8s.io is forbidden: User \"system:anonymous\" \
                  cannot create resource \"selfsubjectreviews\" in API group \
                  \"authentication.k8s.io\" at the cluster scope";
    assert_eq!(
        who(&server, &[("Impersonate-User", "system:anonymous")]).await,
        (403, json!(nobody))
    );
    let headers = [
        ("Impersonate-Extra-Foo%2fBar", "v"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Uid", "3"),
    ];
    let answer = ask(
        &server,
        None,
        Method::GET,
        "/api/v1/pods",
        &headers,
        &Value::Null,
    )
    .await;
    let text = "Internal Server Error: \"/api/v1/pods\": requested [{Group  dev    } {UserExtra  v  \
                authentication.k8s.io/v1  foo/bar} {UID  3  authentication.k8s.io/v1  }] without \
                impersonating a user\n";
    assert_eq!(answer, (500, json!(text)));
}

#[tokio::test]
async fn every_part_of_another_identity_needs_leave() {
    let server = server();
    let rbac = "rbac.authorization.k8s.io";
    account(&server, "imp").await;
    let secret = token(&server, "imp", &json!({})).await;
    let secret = format!("Bearer {secret}");
    let role = json!({"metadata": {"name": "imp"}, "rules": [
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}]});
    post(&server, CLUSTER_ROLES, &role).await;
    let jane = ("Impersonate-User", "jane");
    let with = async |headers: &[(&str, &str)]| {
        let mut all = vec![("Authorization", secret.as_str())];
        all.extend(headers);
        let (code, body) = ask(
            &server,
            None,
            Method::GET,
            "/api/v1/pods",
            &all,
            &Value::Null,
        )
        .await;
        (
            code,
            body["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let refused = |what: &str, resource: &str, group: &str, place: &str| {
        let why = format!(
            "{what} is forbidden: User \"system:serviceaccount:default:imp\" cannot impersonate \
             resource \"{resource}\" in API group \"{group}\" {place}"
        );
        (403, why)
    };
    let cluster = "at the cluster scope";
    assert_eq!(
        with(&[jane]).await,
        refused("users \"jane\"", "users", "", cluster)
    );
    let binding = json!({"metadata": {"name": "imp"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "imp"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "imp"}]});
    post(&server, CLUSTER_BINDINGS, &binding).await;
    let why = "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" at \
               the cluster scope";
    assert_eq!(with(&[jane]).await, (403, why.to_owned()));
    let authentication = "authentication.k8s.io";
    assert_eq!(
        with(&[("Impersonate-User", "system:serviceaccount:auth:x")]).await,
        refused(
            "serviceaccounts \"x\"",
            "serviceaccounts",
            "",
            "in the namespace \"auth\""
        )
    );
    assert_eq!(
        with(&[jane, ("Impersonate-Group", "g1")]).await,
        refused("groups \"g1\"", "groups", "", cluster)
    );
    assert_eq!(
        with(&[jane, ("Impersonate-Uid", "u1")]).await,
        refused(
            "uids.authentication.k8s.io \"u1\"",
            "uids",
            authentication,
            cluster
        )
    );
    assert_eq!(
        with(&[jane, ("Impersonate-Extra-Scopes", "x/y")]).await,
        refused(
            "userextras.authentication.k8s.io \"x/y\"",
            "userextras/scopes",
            authentication,
            cluster
        )
    );
}

#[tokio::test]
async fn a_service_account_is_known_by_its_token() {
    let server = server();
    let uid = account(&server, "robot").await;
    let path = format!("{ACCOUNTS}/robot/token");
    let (code, mut body) = admin(&server, Method::POST, &path, &json!({})).await;
    assert_eq!(code, 201);
    let secret = body["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    body["status"]["token"] = "TOKEN".into();
    let expected = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": "robot", "namespace": "default", "uid": uid,
            "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 3600,
            "boundObjectRef": null},
        "status": {"token": "TOKEN", "expirationTimestamp": "2026-01-02T04:04:05Z"}});
    body["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("managedFields");
    assert_eq!(body, expected);
    let claims = claims(&secret);
    let id = claims["jti"].as_str().expect("an id");
    let name = "system:serviceaccount:default:robot";
    let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    let now = now.as_second();
    assert_eq!(
        claims,
        json!({"aud": ["https://kubernetes.default.svc"], "exp": now + 3600, "iat": now,
            "iss": "https://kubernetes.default.svc", "jti": id, "nbf": now, "sub": name,
            "kubernetes.io": {"namespace": "default",
                "serviceaccount": {"name": "robot", "uid": uid}}})
    );
    let user = json!({"username": name, "uid": uid, "groups": ["system:serviceaccounts",
        "system:serviceaccounts:default", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [format!("JTI={id}")]}});
    let header = format!("Bearer {secret}");
    assert_eq!(
        who(&server, &[("Authorization", &header)]).await,
        (201, user.clone())
    );
    let review = async |spec: Value| {
        admin(&server, Method::POST, TOKENS, &json!({"spec": spec}))
            .await
            .1["status"]
            .clone()
    };
    let issuer = "https://kubernetes.default.svc";
    assert_eq!(
        review(json!({"token": secret})).await,
        json!({"authenticated": true, "user": user, "audiences": [issuer]})
    );
    let elsewhere = "[invalid bearer token, token audiences [\"https://kubernetes.default.svc\"] is \
                     invalid for the target audiences [\"a\"]]";
    assert_eq!(
        review(json!({"token": secret, "audiences": ["a"]})).await,
        json!({"user": {}, "error": elsewhere})
    );
    let forged = json!({"user": {},
        "error": "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]"});
    assert_eq!(review(json!({"token": format!("{secret}x")})).await, forged);
    for strange in ["abc", "a.b.c", ".."] {
        let nothing = json!({"user": {}, "error": "invalid bearer token"});
        assert_eq!(review(json!({"token": strange})).await, nothing);
    }
    let (code, body) = admin(&server, Method::POST, TOKENS, &json!({"spec": {}})).await;
    let none = "token is required for TokenReview in authentication";
    assert_eq!((code, &body["message"]), (400, &json!(none)));

    // Another account of the same name is not the same.
    let path = format!("{ACCOUNTS}/robot");
    assert_eq!(
        admin(&server, Method::DELETE, &path, &Value::Null).await.0,
        200
    );
    let gone = "[invalid bearer token, serviceaccounts \"robot\" not found]";
    assert_eq!(
        review(json!({"token": secret})).await,
        json!({"user": {}, "error": gone})
    );
    let new = account(&server, "robot").await;
    let (new, old) = (new.as_str().expect("a uid"), uid.as_str().expect("a uid"));
    let other =
        format!("[invalid bearer token, service account UID ({new}) does not match claim ({old})]");
    assert_eq!(
        review(json!({"token": secret})).await,
        json!({"user": {}, "error": other})
    );
    let with = [("Authorization", header.as_str())];
    let answer = ask(&server, None, Method::GET, "/healthz", &with, &Value::Null);
    assert_eq!(
        answer.await,
        (
            401,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Unauthorized", "reason": "Unauthorized", "code": 401})
        )
    );
}

#[tokio::test]
async fn requests_for_tokens_are_checked() {
    let server = server();
    let uid = account(&server, "imp").await;
    let uid = uid.as_str().expect("a uid");
    let path = format!("{ACCOUNTS}/imp/token");
    let of = async |body: Value| {
        let (code, answer) = admin(&server, Method::POST, &path, &body).await;
        (
            code,
            answer["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let seconds = |n: i64| json!({"spec": {"expirationSeconds": n}});
    let bad = |n: i64, how: &str| {
        let text = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
             value: {n}: may not specify a duration {how}"
        );
        (422, text)
    };
    assert_eq!(of(seconds(599)).await, bad(599, "less than 10 minutes"));
    assert_eq!(of(seconds(-1)).await, bad(-1, "less than 10 minutes"));
    assert_eq!(
        of(seconds(4_294_967_297)).await,
        bad(4_294_967_297, "larger than 2^32 seconds")
    );
    assert_eq!(of(seconds(4_294_967_296)).await.0, 201);
    let text = "TokenRequest.authentication.k8s.io \"imp\" is invalid: metadata.name: Invalid value: \
                \"y\": must match the service account name if specified";
    assert_eq!(
        of(json!({"metadata": {"name": "y"}})).await,
        (422, text.to_owned())
    );
    let text =
        "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(
        of(json!({"metadata": {"namespace": "y"}})).await,
        (400, text.to_owned())
    );
    let text = format!(
        "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"imp\": the UID in the \
         token request (x) does not match the UID of the service account ({uid})"
    );
    assert_eq!(of(json!({"metadata": {"uid": "x"}})).await, (409, text));
    let to = |kind: &str, version: &str, name: &str| json!({"spec": {"boundObjectRef": {"kind": kind, "apiVersion": version, "name": name}}});
    assert_eq!(
        of(to("Pod", "v1", "no")).await,
        (404, "pods \"no\" not found".to_owned())
    );
    assert_eq!(
        of(to("Secret", "v1", "no")).await,
        (404, "secrets \"no\" not found".to_owned())
    );
    let text = "cannot bind token to object of type /v1, Kind=ConfigMap";
    assert_eq!(
        of(to("ConfigMap", "v1", "no")).await,
        (400, text.to_owned())
    );
    let text = "cannot bind token to object of type apps/v1, Kind=Deployment";
    assert_eq!(
        of(to("Deployment", "apps/v1", "no")).await,
        (400, text.to_owned())
    );
    let missing = format!("{ACCOUNTS}/none/token");
    let (code, answer) = admin(&server, Method::POST, &missing, &json!({})).await;
    assert_eq!(
        (code, &answer["message"]),
        (404, &json!("serviceaccounts \"none\" not found"))
    );
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(admin(&server, method, &path, &Value::Null).await.0, 405);
    }
}

#[tokio::test]
async fn a_bound_token_lives_with_its_object() {
    let server = server();
    account(&server, "imp").await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let pods = "/api/v1/namespaces/default/pods";
    post(&server, secrets, &json!({"metadata": {"name": "s"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "imp",
        "nodeName": "n", "containers": [{"name": "c", "image": "x"}]}});
    let pod = post(&server, pods, &pod).await;
    assert_eq!(pod.code, 201, "{}", pod.body);
    let to = |kind: &str, name: &str| json!({"kind": kind, "apiVersion": "v1", "name": name});
    let of_secret = token(
        &server,
        "imp",
        &json!({"boundObjectRef": to("Secret", "s")}),
    )
    .await;
    let spec = json!({"boundObjectRef": to("Pod", "p"), "expirationSeconds": 3607});
    let of_pod = token(&server, "imp", &spec).await;
    let own = claims(&of_pod);
    let uid = &pod.body["metadata"]["uid"];
    assert_eq!(
        own["kubernetes.io"]["pod"],
        json!({"name": "p", "uid": uid})
    );
    assert_eq!(own["kubernetes.io"]["node"], json!({"name": "n"}));
    let since = |field: &Value| {
        field.as_i64().unwrap_or_default() - own["iat"].as_i64().unwrap_or_default()
    };
    assert_eq!(
        (
            since(&own["exp"]),
            since(&own["kubernetes.io"]["warnafter"])
        ),
        (365 * 24 * 3600, 3607)
    );
    let header = format!("Bearer {of_pod}");
    let (code, user) = who(&server, &[("Authorization", &header)]).await;
    assert_eq!(code, 201);
    assert_eq!(
        user["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["p"])
    );
    assert_eq!(
        user["extra"]["authentication.kubernetes.io/node-name"],
        json!(["n"])
    );
    let header = format!("Bearer {of_secret}");
    assert_eq!(who(&server, &[("Authorization", &header)]).await.0, 201);
    admin(
        &server,
        Method::DELETE,
        &format!("{secrets}/s"),
        &Value::Null,
    )
    .await;
    assert_eq!(
        who(&server, &[("Authorization", &header)]).await,
        (401, json!("Unauthorized"))
    );
}

#[tokio::test]
async fn a_token_ends_and_belongs_to_one_server() {
    tokio::time::pause();
    let server = moving();
    account(&server, "imp").await;
    let secret = token(&server, "imp", &json!({"expirationSeconds": 600})).await;
    let header = format!("Bearer {secret}");
    let with = [("Authorization", header.as_str())];
    tokio::time::sleep(std::time::Duration::from_secs(659)).await;
    assert_eq!(who(&server, &with).await.0, 201);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(who(&server, &with).await.0, 401);
    let review = json!({"spec": {"token": secret}});
    let (_, answer) = admin(&server, Method::POST, TOKENS, &review).await;
    let ended = "[invalid bearer token, service account token has expired]";
    assert_eq!(answer["status"]["error"], json!(ended));
    // The same seed and names, another key.
    let other = moving();
    account(&other, "imp").await;
    let own = token(&other, "imp", &json!({})).await;
    let fresh = token(&server, "imp", &json!({})).await;
    for (server, token, code) in [
        (&other, &own, 201),
        (&server, &fresh, 201),
        (&other, &fresh, 401),
    ] {
        let header = format!("Bearer {token}");
        assert_eq!(who(server, &[("Authorization", &header)]).await.0, code);
    }
}

#[tokio::test]
async fn a_fixed_token_stands_for_its_user() {
    let server = server();
    server.accept_token("open sesame", (*User::admin()).clone());
    server.accept_token("s3cret", User::new("jane", ["system:authenticated"]));
    let jane = json!({"username": "jane", "groups": ["system:authenticated"]});
    assert_eq!(
        who(&server, &[("Authorization", "Bearer s3cret")]).await,
        (201, jane.clone())
    );
    assert_eq!(
        who(&server, &[("Authorization", "Bearer s3cre")]).await.0,
        401
    );
    // What this process says of a caller goes before what the caller says.
    let user = Arc::new(User::new("pat", ["system:authenticated"]));
    let headers = [("Authorization", "Bearer nonsense")];
    let (code, body) = ask(
        &server,
        Some((*user).clone()),
        Method::POST,
        WHO,
        &headers,
        &json!({}),
    )
    .await;
    assert_eq!(
        (code, &body["status"]["userInfo"]["username"]),
        (201, &json!("pat"))
    );
}
