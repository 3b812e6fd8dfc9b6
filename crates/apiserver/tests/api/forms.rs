//! Owns the forms of answers, and which doors there are: accepted types, odd paths, odd bodies.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::*;

const TABLE: &str = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIALS: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn ask(
    server: &weir_apiserver::ApiServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let answer = send_with(server, method, path, headers, body.as_bytes().to_vec()).await;
    let code = answer.status().as_u16();
    let bytes = answer
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    (code, String::from_utf8_lossy(&bytes).into_owned())
}

async fn accepted(server: &weir_apiserver::ApiServer, path: &str, accept: &str) -> (u16, Value) {
    let (code, text) = ask(server, Method::GET, path, &[("accept", accept)], "").await;
    (code, serde_json::from_str(&text).unwrap_or(Value::Null))
}

#[tokio::test]
async fn forms_of_lists_and_of_objects_are_not_each_others() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    let (code, body) = accepted(&server, MAPS, PARTIAL).await;
    assert_eq!(code, 406);
    assert_eq!(
        body["message"],
        "you requested PartialObjectMetadata, but the requested object is a list \
         (*core.ConfigMapList)"
    );
    let (code, body) = accepted(&server, &format!("{MAPS}/a"), PARTIALS).await;
    assert_eq!(code, 406);
    assert_eq!(
        body["message"],
        "you requested PartialObjectMetadataList, but the requested object is not a list \
         (*core.ConfigMap)"
    );
    let (code, body) = accepted(&server, MAPS, TABLE).await;
    assert_eq!((code, &body["kind"]), (200, &json!("Table")));
    assert_eq!(body["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(
        body["rows"][0]["object"]["apiVersion"],
        "meta.k8s.io/v1beta1"
    );
}

#[tokio::test]
async fn built_in_kinds_take_whole_names_of_types_only() {
    let server = server();
    let (code, body) = accepted(&server, MAPS, "application/*").await;
    assert_eq!(code, 406);
    let message = body["message"].as_str().expect("text");
    assert!(
        message.ends_with("application/vnd.kubernetes.protobuf;stream=watch"),
        "{message}"
    );
    let (code, body) = accepted(&server, &format!("{MAPS}/a"), "text/plain").await;
    assert_eq!(code, 406);
    let message = body["message"].as_str().expect("text");
    assert!(
        message.ends_with("application/vnd.kubernetes.protobuf"),
        "{message}"
    );
    assert_eq!(accepted(&server, MAPS, "text/plain, */*").await.0, 200);
}

#[tokio::test]
async fn an_object_ends_with_a_line_as_a_list_does() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    for path in [
        MAPS.to_owned(),
        format!("{MAPS}/a"),
        format!("{MAPS}/a?watch=1"),
    ] {
        let (code, text) = ask(&server, Method::GET, &path, &[], "").await;
        assert_eq!(code, 200);
        assert!(
            text.ends_with("}\n") && text.trim_end().lines().count() == 1,
            "{text}"
        );
    }
}

#[tokio::test]
async fn paths_lead_where_the_layers_of_the_api_lead_them() {
    let server = server();
    for path in ["/apis/nothing.example.com/v1/things", "//api/v1/configmaps"] {
        let (code, text) = ask(&server, Method::GET, path, &[], "").await;
        assert_eq!(
            (code, text.as_str()),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    for path in [
        "/apis/apps/v9/deployments",
        "/api//v1/pods",
        "/api/v1/namespaces/a//pods",
    ] {
        let answer = get(&server, path).await;
        assert_eq!(
            (answer.code, &answer.body["kind"]),
            (404, &json!("Status")),
            "{path}"
        );
    }
    let everywhere = get(&server, "/api/v1/namespaces//configmaps").await;
    assert_eq!(everywhere.body["kind"], "ConfigMapList");
    for (path, code) in [
        (MAPS, 405),
        ("/version", 405),
        ("/apis/apps/v1", 405),
        ("/apis/apps", 200),
        ("/healthz", 200),
    ] {
        assert_eq!(
            ask(&server, Method::HEAD, path, &[], "").await,
            (code, String::new()),
            "{path}"
        );
    }
    let answer = get(&server, "/api/v1/componentstatuses/nothing").await;
    assert_eq!(
        answer.body["message"],
        "componentstatus \"nothing\" not found"
    );
    assert_eq!(answer.warnings.len(), 1);
}

#[tokio::test]
async fn keys_written_twice_in_yaml_are_told_by_line() {
    let server = server();
    let headers = [("content-type", "application/yaml")];
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, name: b}\ndata:\n  k: a\n  k: b\nx: y\n";
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let (code, text) = ask(&server, Method::POST, &strict, &headers, body).await;
    assert_eq!(code, 400);
    let status: Value = serde_json::from_str(&text).expect("a status");
    assert_eq!(
        status["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
         yaml: unmarshal errors:\n  line 3: key \"name\" already set in map\n  line 6: key \"k\" \
         already set in map, unknown field \"x\""
    );
    let answer = send_with(
        &server,
        Method::POST,
        MAPS,
        &headers,
        body.as_bytes().to_vec(),
    )
    .await;
    assert_eq!(answer.status(), 201);
    let told: Vec<_> = answer.headers().get_all("warning").iter().collect();
    assert_eq!(
        told,
        [
            r#"299 - "line 3: key \"name\" already set in map""#,
            r#"299 - "line 6: key \"k\" already set in map""#,
            r#"299 - "unknown field \"x\"""#,
        ]
    );
    let (code, text) = ask(&server, Method::POST, MAPS, &headers, "a: &me [*me]\n").await;
    assert_eq!(code, 400);
    assert!(
        text.contains("yaml: anchor 'me' value contains itself"),
        "{text}"
    );
}

#[tokio::test]
async fn odd_bodies_and_tokens_are_refused_in_the_words_of_the_api() {
    let server = server();
    for (api_version, kind, words) in [
        (
            "a/b/c",
            "ConfigMap",
            "unexpected GroupVersion string: a/b/c (",
        ),
        (
            "v1",
            "ConfigMapList",
            "converting (v1.ConfigMapList) to (core.ConfigMap): unknown",
        ),
        (
            "v1",
            "Status",
            "converting (v1.Status) to (core.ConfigMap): unknown conversion",
        ),
    ] {
        let body = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        let answer = post(&server, MAPS, &body).await;
        let message = answer.body["message"].as_str().expect("text");
        assert!(answer.code == 400 && message.contains(words), "{message}");
    }
    for (token, words) in [
        (
            "nonsense",
            "invalid character '\\u009e' looking for beginning of value",
        ),
        (
            "bm90IGpzb24",
            "invalid character 'o' in literal null (expecting 'u')",
        ),
    ] {
        let answer = get(&server, &format!("{MAPS}?continue={token}")).await;
        let message = answer.body["message"].as_str().expect("text");
        assert!(answer.code == 400 && message.ends_with(words), "{message}");
    }
    let unnamed = "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: x-}}";
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{MAPS}/x?fieldManager=me");
    let (code, text) = ask(&server, Method::PATCH, &path, &headers, unnamed).await;
    assert!(
        code == 400 && text.contains("(x based on URL) was undeterminable"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_finalizer_goes_with_the_object() {
    let server = server();
    let mut map = config_map("a", &json!({}));
    map["metadata"]["finalizers"] = json!(["weir.test/f"]);
    let made = post(&server, MAPS, &map).await.body;
    let from = made["metadata"]["resourceVersion"].as_str().expect("text");
    let mut body = watch(&server, &format!("{MAPS}?watch=1&resourceVersion={from}")).await;
    delete(&server, &format!("{MAPS}/a"), &Value::Null).await;
    let none = json!({"metadata": {"finalizers": null}});
    let last = patch(&server, &format!("{MAPS}/a"), "merge", &none).await;
    assert_eq!(
        (last.code, &last.body["metadata"]["finalizers"]),
        (200, &Value::Null)
    );
    let events = lines(&mut body).await;
    let words: Vec<_> = events
        .iter()
        .map(|e| e["type"].as_str().expect("text"))
        .collect();
    assert_eq!(words, ["MODIFIED", "DELETED"]);
    assert_eq!(
        events[1]["object"]["metadata"]["finalizers"],
        json!(["weir.test/f"])
    );
    assert_eq!(get(&server, &format!("{MAPS}/a")).await.code, 404);
}
