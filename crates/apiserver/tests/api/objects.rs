//! Owns create, read, update and patch.

use http::Method;
use serde_json::{Value, json};

use crate::support::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn what_is_created_can_be_read_listed_and_is_refused_twice() {
    let server = server();
    let made = post(&server, MAPS, &config_map("a", &json!({"x": "1"}))).await;
    assert_eq!(made.code, 201);
    let uid = made.body["metadata"]["uid"].clone();
    assert_eq!(
        made.body,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1"},
            "metadata": {
                "name": "a", "namespace": "default", "uid": uid, "resourceVersion": "6",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "managedFields": [{"manager": "test", "operation": "Update", "apiVersion": "v1",
                    "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:data": {".": {}, "f:x": {}}}}]
            }
        })
    );
    assert_eq!(get(&server, &format!("{MAPS}/a")).await.body, made.body);
    let mut item = made.body.clone();
    item.as_object_mut()
        .expect("a map")
        .retain(|k, _| k != "kind" && k != "apiVersion");
    assert_eq!(
        get(&server, MAPS).await.body,
        json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "6"},
            "items": [item]})
    );
    let again = post(&server, MAPS, &config_map("a", &json!({}))).await;
    assert_eq!(
        again.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "configmaps \"a\" already exists", "reason": "AlreadyExists",
            "details": {"name": "a", "kind": "configmaps"}, "code": 409})
    );
    let absent = get(&server, &format!("{MAPS}/b")).await;
    assert_eq!(
        (absent.code, &absent.body["message"]),
        (404, &json!("configmaps \"b\" not found"))
    );
    let nowhere = post(
        &server,
        "/api/v1/namespaces/no/configmaps",
        &config_map("a", &json!({})),
    )
    .await;
    assert_eq!(
        nowhere.body["message"],
        json!("namespaces \"no\" not found")
    );
}

#[tokio::test]
async fn names_are_generated_and_checked() {
    let server = server();
    let mut body = config_map("", &json!({}));
    body["metadata"] = json!({"generateName": "job-"});
    let made = post(&server, MAPS, &body).await;
    let name = made.body["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
    let bad = post(&server, MAPS, &config_map("Not_Good", &json!({}))).await;
    assert_eq!((bad.code, &bad.body["reason"]), (422, &json!("Invalid")));
    assert_eq!(
        bad.body["details"]["causes"][0]["field"],
        json!("metadata.name")
    );
    let none = post(
        &server,
        MAPS,
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}),
    )
    .await;
    assert_eq!(none.code, 422);
}

#[tokio::test]
async fn a_stale_version_is_a_conflict_and_no_change_is_no_write() {
    let server = server();
    let made = post(&server, MAPS, &config_map("a", &json!({"x": "1"})))
        .await
        .body;
    let path = format!("{MAPS}/a");
    let same = put(&server, &path, &made).await;
    assert_eq!((same.code, &same.body), (200, &made));
    let mut new = made.clone();
    new["data"]["x"] = json!("2");
    let written = put(&server, &path, &new).await.body;
    assert_ne!(
        written["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    let stale = put(&server, &path, &new).await;
    assert_eq!(
        stale.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Operation cannot be fulfilled on configmaps \"a\": the object has been \
                        modified; please apply your changes to the latest version and try again",
            "reason": "Conflict", "details": {"name": "a", "kind": "configmaps"}, "code": 409})
    );
    let mut other = made.clone();
    other["metadata"]["resourceVersion"] = json!("");
    other["metadata"]["uid"] = json!("another");
    assert_eq!(put(&server, &path, &other).await.code, 409);
    let dry = put(
        &server,
        &format!("{path}?dryRun=All"),
        &config_map("a", &json!({"x": "9"})),
    )
    .await;
    assert_eq!((dry.code, &dry.body["data"]["x"]), (200, &json!("9")));
    assert_eq!(get(&server, &path).await.body, written);
}

#[tokio::test]
async fn patches_of_all_kinds_change_objects() {
    let server = server();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let made = post(&server, deployments, &deployment("web", 2)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["metadata"]["generation"], json!(1));
    let path = format!("{deployments}/web");
    let merged = patch(&server, &path, "merge", &json!({"spec": {"replicas": 3}})).await;
    assert_eq!(
        (
            &merged.body["spec"]["replicas"],
            &merged.body["metadata"]["generation"]
        ),
        (&json!(3), &json!(2))
    );
    let operations = json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]);
    assert_eq!(
        patch(&server, &path, "json", &operations).await.body["spec"]["replicas"],
        json!(4)
    );
    let strategic = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "env": [{"name": "A", "value": "1"}]}]}}}});
    let patched = patch(&server, &path, "strategic-merge", &strategic)
        .await
        .body;
    let container = &patched["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["env"][0]["name"]),
        (&json!("app:1"), &json!("A"))
    );
    // The status is not touched through the object, nor the spec through the status.
    let sneaky = patch(&server, &path, "merge", &json!({"status": {"replicas": 9}}))
        .await
        .body;
    assert_eq!(
        sneaky["metadata"]["resourceVersion"],
        patched["metadata"]["resourceVersion"]
    );
    let both = json!({"spec": {"replicas": 1}, "status": {"replicas": 9}});
    let status = patch(&server, &format!("{path}/status"), "merge", &both)
        .await
        .body;
    assert_eq!(
        (&status["spec"]["replicas"], &status["status"]["replicas"]),
        (&json!(4), &json!(9))
    );
    assert_eq!(
        status["metadata"]["generation"],
        patched["metadata"]["generation"]
    );
    let failing = json!([{"op": "test", "path": "/spec/replicas", "value": 1}]);
    assert_eq!(patch(&server, &path, "json", &failing).await.code, 422);
    assert_eq!(
        patch(&server, &path, "json", &json!({"op": "x"}))
            .await
            .code,
        400
    );
    assert_eq!(
        patch(&server, &path, "unheard-of", &json!({})).await.code,
        415
    );
    let scaled = patch(
        &server,
        &format!("{path}/scale"),
        "merge",
        &json!({"spec": {"replicas": 7}}),
    )
    .await;
    assert_eq!(scaled.body["spec"], json!({"replicas": 7}));
    assert_eq!(
        scaled.body["status"],
        json!({"replicas": 9, "selector": "app=web"})
    );
}

pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "app:1",
                    "ports": [{"name": "http", "containerPort": 9898}]}]}}
        }
    })
}

#[tokio::test]
async fn unknown_fields_are_dropped_warned_of_or_refused() {
    let server = server();
    let mut body = deployment("a", 1);
    body["spec"]["odd"] = json!(1);
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let strict = post(
        &server,
        &format!("{deployments}?fieldValidation=Strict"),
        &body,
    )
    .await;
    assert_eq!(
        (strict.code, &strict.body["message"]),
        (
            400,
            &json!(
                "Deployment in version \"v1\" cannot be handled as a Deployment: strict \
                    decoding error: unknown field \"spec.odd\""
            )
        )
    );
    let warned = post(&server, deployments, &body).await;
    assert_eq!(
        warned.warnings,
        ["299 - \"unknown field \\\"spec.odd\\\"\""]
    );
    assert_eq!(warned.body["spec"].get("odd"), None);
    body["metadata"]["name"] = json!("b");
    let ignored = post(
        &server,
        &format!("{deployments}?fieldValidation=Ignore"),
        &body,
    )
    .await;
    assert_eq!((ignored.code, ignored.warnings.len()), (201, 0));
    body["spec"]["replicas"] = json!("many");
    let typed = post(&server, deployments, &body).await;
    assert_eq!(typed.code, 400);
}

#[tokio::test]
async fn rules_of_built_in_kinds_hold() {
    let server = server();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let mut bad = deployment("a", 1);
    bad["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let refused = post(&server, deployments, &bad).await;
    assert_eq!(
        refused.body["message"],
        json!(
            "Deployment.apps \"a\" is invalid: spec.template.metadata.labels: Invalid value: \
               {\"app\":\"other\"}: `selector` does not match template `labels`"
        )
    );
    post(&server, deployments, &deployment("a", 1)).await;
    let moved = json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}});
    assert_eq!(
        patch(&server, &format!("{deployments}/a"), "merge", &moved)
            .await
            .code,
        422
    );
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"k": "v"}});
    let secret = post(&server, "/api/v1/namespaces/default/secrets", &secret)
        .await
        .body;
    assert_eq!(
        (&secret["data"], &secret["type"]),
        (&json!({"k": "dg=="}), &json!("Opaque"))
    );
    assert_eq!(secret.get("stringData"), None);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}});
    let service = post(&server, "/api/v1/namespaces/default/services", &service)
        .await
        .body;
    assert_eq!(service["spec"]["clusterIP"], json!("10.96.0.1"));
    assert_eq!(
        service["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])
    );
    let data = json!({"metadata": {"name": "x"}, "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}});
    assert_eq!(post(&server, MAPS, &data).await.code, 400);
    let wrong = json!({"metadata": {"name": "x"}, "apiVersion": "v1", "kind": "Secret"});
    assert_eq!(post(&server, MAPS, &wrong).await.code, 400);
    let elsewhere = json!({"metadata": {"name": "x", "namespace": "kube-system"}, "apiVersion": "v1", "kind": "ConfigMap"});
    assert_eq!(post(&server, MAPS, &elsewhere).await.code, 400);
}

#[tokio::test]
async fn bad_bodies_are_refused_without_harm() {
    let server = server();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"metadata\": 1}",
        "{\"metadata\": []}",
    ] {
        let answer = raw(
            &server,
            Method::POST,
            MAPS,
            "application/json",
            body.as_bytes(),
        )
        .await;
        assert!(matches!(answer.code, 400 | 422), "{body}: {}", answer.body);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        raw(
            &server,
            Method::POST,
            MAPS,
            "application/json",
            deep.as_bytes()
        )
        .await
        .code,
        400
    );
    let large = vec![b' '; 4 * 1024 * 1024];
    let answer = raw(&server, Method::POST, MAPS, "application/json", &large).await;
    assert_eq!(
        (answer.code, &answer.body["reason"]),
        (413, &json!("RequestEntityTooLarge"))
    );
    assert_eq!(
        raw(
            &server,
            Method::POST,
            MAPS,
            "application/vnd.kubernetes.protobuf",
            b"k8s"
        )
        .await
        .code,
        400
    );
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata: {a: b}\n";
    assert_eq!(
        raw(&server, Method::POST, MAPS, "application/yaml", yaml)
            .await
            .code,
        201
    );
    assert_eq!(
        raw(&server, Method::TRACE, MAPS, "application/json", b"")
            .await
            .code,
        405
    );
    assert_eq!(
        get(&server, "/api/v1/namespaces/default/configmaps/a/b/c")
            .await
            .code,
        404
    );
    assert_eq!(
        get(&server, "/api/v1/namespaces/default/namespaces")
            .await
            .code,
        404
    );
    assert_eq!(get(&server, "/api/v1/configmaps/a").await.code, 404);
}

#[tokio::test]
async fn events_have_two_faces() {
    let server = server();
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"}, "message": "hello", "reason": "Hi", "type": "Normal"});
    let made = post(&server, "/api/v1/namespaces/default/events", &event).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let other = get(
        &server,
        "/apis/events.k8s.io/v1/namespaces/default/events/e",
    )
    .await
    .body;
    assert_eq!(
        (
            &other["apiVersion"],
            &other["note"],
            &other["regarding"]["name"],
            other.get("message")
        ),
        (
            &json!("events.k8s.io/v1"),
            &json!("hello"),
            &json!("p"),
            None
        )
    );
    let selected = "/api/v1/events?fieldSelector=involvedObject.name%3Dp,type%3DNormal";
    assert_eq!(
        get(&server, selected).await.body["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "n"},
        "regarding": {"kind": "Pod", "name": "p"}, "note": "new", "reason": "Hi", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Go", "reportingController": "c",
        "reportingInstance": "i"});
    let made = post(
        &server,
        "/apis/events.k8s.io/v1/namespaces/default/events",
        &new,
    )
    .await;
    assert_eq!(
        (made.code, &made.body["note"]),
        (201, &json!("new")),
        "{}",
        made.body
    );
    let core = get(&server, "/api/v1/namespaces/default/events/n")
        .await
        .body;
    assert_eq!(
        (&core["message"], &core["reportingComponent"]),
        (&json!("new"), &json!("c"))
    );
}

#[tokio::test]
async fn finalizers_of_custom_kinds_need_no_domain() {
    let server = server();
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "plains.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "plains", "kind": "Plain"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]},
    });
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(post(&server, crds, &definition).await.code, 201);
    let meta = json!({"name": "a", "finalizers": ["finalizers.example.com"]});
    let plain = json!({"apiVersion": "example.com/v1", "kind": "Plain", "metadata": meta});
    let plains = "/apis/example.com/v1/namespaces/default/plains";
    assert_eq!(post(&server, plains, &plain).await.code, 201);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta});
    assert_eq!(post(&server, MAPS, &map).await.code, 422);
}

#[tokio::test]
async fn what_is_wrong_with_metadata_is_told_as_often_as_it_is_judged() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    post(&server, DEPLOYMENTS, &deployment("web", 1)).await;
    let wrong =
        json!({"metadata": {"uid": "other", "labels": {"no!": "x"}, "finalizers": ["plain"]}});
    for (path, expected) in [
        (format!("{MAPS}/a"), "LULULDLD"),
        (format!("{DEPLOYMENTS}/web"), "LULULD"),
    ] {
        let refused = patch(&server, &path, "merge", &wrong).await;
        let causes = refused.body["details"]["causes"].as_array();
        let told: String = causes
            .expect("causes")
            .iter()
            .map(|cause| match cause["field"].as_str() {
                Some("metadata.labels") => "L",
                Some("metadata.uid") => "U",
                Some("metadata.finalizers[0]") => "D",
                other => other.unwrap_or("?"),
            })
            .collect();
        assert_eq!((refused.code, told.as_str()), (422, expected), "{path}");
    }
}

#[tokio::test]
async fn a_patch_to_another_kind_is_read_as_that_kind() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({"k": "plain"}))).await;
    let other = json!({"kind": "Secret"});
    let refused = patch(&server, &format!("{MAPS}/a"), "merge", &other).await;
    let message = refused.body["message"].as_str().unwrap_or_default();
    assert!(
        message.ends_with("illegal base64 data at input byte 4"),
        "{message}"
    );
}

#[tokio::test]
async fn unknown_fields_of_a_strategic_patch_are_told_in_order() {
    let server = server();
    post(&server, DEPLOYMENTS, &deployment("web", 1)).await;
    let patched = json!({"spec": {"template": {"spec": {"zz": 1, "containers":
        [{"name": "app", "yy": 1, "ports": [{"containerPort": 80, "xx": 1}]}]}}, "aa": 1}});
    let answer = patch(
        &server,
        &format!("{DEPLOYMENTS}/web"),
        "strategic-merge",
        &patched,
    )
    .await;
    let mut sorted = answer.warnings.clone();
    sorted.sort();
    assert_eq!(
        answer.warnings.len(),
        4,
        "{} {:?}",
        answer.body,
        answer.warnings
    );
    assert_eq!(answer.warnings, sorted);
}
