//! Owns removal: finalizers, grace, preconditions, owners and namespaces.

use serde_json::{Value, json};

use crate::support::*;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let server = server();
    let mut body = config_map("a", &json!({}));
    body["metadata"]["finalizers"] = json!(["demo.io/hold"]);
    post(&server, MAPS, &body).await;
    let path = format!("{MAPS}/a");
    let going = delete(&server, &path, &Value::Null).await;
    assert_eq!(going.code, 200);
    assert_eq!(
        going.body["metadata"]["deletionTimestamp"],
        json!("2026-01-02T03:04:05Z")
    );
    let more = json!({"metadata": {"finalizers": ["demo.io/hold", "demo.io/more"]}});
    let refused = patch(&server, &path, "merge", &more).await;
    assert_eq!(
        refused.body["message"],
        json!(
            "ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be \
               added if the object is being deleted, found new finalizers []string{\"demo.io/more\"}"
        )
    );
    let last = patch(
        &server,
        &path,
        "merge",
        &json!({"metadata": {"finalizers": []}}),
    )
    .await;
    assert_eq!(last.code, 200, "{}", last.body);
    assert_eq!(get(&server, &path).await.code, 404);
}

#[tokio::test]
async fn preconditions_and_dry_runs_protect() {
    let server = server();
    let made = post(&server, MAPS, &config_map("a", &json!({}))).await.body;
    let path = format!("{MAPS}/a");
    let other = delete(&server, &path, &json!({"preconditions": {"uid": "x"}})).await;
    assert_eq!(
        (other.code, &other.body["reason"]),
        (409, &json!("Conflict"))
    );
    assert_eq!(
        delete(&server, &format!("{path}?dryRun=All"), &Value::Null)
            .await
            .code,
        200
    );
    let uid = made["metadata"]["uid"].clone();
    let gone = delete(&server, &path, &json!({"preconditions": {"uid": uid}})).await;
    assert_eq!(
        gone.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": uid}})
    );
}

#[tokio::test]
async fn pods_on_a_node_get_their_grace() {
    let server = server();
    post(&server, PODS, &pod("free")).await;
    assert_eq!(
        delete(&server, &format!("{PODS}/free"), &Value::Null)
            .await
            .code,
        200
    );
    assert_eq!(get(&server, &format!("{PODS}/free")).await.code, 404);
    post(&server, PODS, &pod("bound")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"},
        "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(
        post(&server, &format!("{PODS}/bound/binding"), &binding)
            .await
            .code,
        201
    );
    assert_eq!(
        post(&server, &format!("{PODS}/bound/binding"), &binding)
            .await
            .code,
        409
    );
    let path = format!("{PODS}/bound");
    let going = delete(&server, &path, &Value::Null).await.body;
    assert_eq!(
        going["metadata"]["deletionTimestamp"],
        json!("2026-01-02T03:04:35Z")
    );
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], json!(30));
    assert_eq!(
        delete(
            &server,
            &format!("{path}?gracePeriodSeconds=0"),
            &Value::Null
        )
        .await
        .code,
        200
    );
    assert_eq!(get(&server, &path).await.code, 404);
    let moved = patch(
        &server,
        &path,
        "merge",
        &json!({"spec": {"nodeName": "n2"}}),
    )
    .await;
    assert_eq!(moved.code, 404);
}

async fn family(server: &weir_apiserver::ApiServer) -> Value {
    let owner = post(server, MAPS, &config_map("owner", &json!({})))
        .await
        .body;
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true});
    let mut child = config_map("child", &json!({}));
    child["metadata"]["ownerReferences"] = json!([reference]);
    let child = post(server, MAPS, &child).await.body;
    let mut grandchild = config_map("grandchild", &json!({}));
    grandchild["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
        "name": "child", "uid": child["metadata"]["uid"], "blockOwnerDeletion": true}]);
    post(server, MAPS, &grandchild).await;
    owner
}

/// The maps that tests made; the one that every namespace gets is not among them.
async fn names(server: &weir_apiserver::ApiServer) -> Vec<String> {
    let items = get(server, MAPS).await.body["items"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    items
        .iter()
        .map(|i| {
            i["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

/// Lets the controllers act on what was written.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dependents_follow_their_owner_or_are_let_go() {
    for (policy, left) in [
        ("Background", Vec::new()),
        ("Foreground", Vec::new()),
        ("Orphan", vec!["child".to_owned(), "grandchild".to_owned()]),
    ] {
        let server = server();
        let controllers = tokio::spawn(server.run_controllers());
        family(&server).await;
        settle().await;
        assert_eq!(names(&server).await, ["child", "grandchild", "owner"]);
        delete(
            &server,
            &format!("{MAPS}/owner"),
            &json!({"propagationPolicy": policy}),
        )
        .await;
        settle().await;
        assert_eq!(names(&server).await, left, "{policy}");
        controllers.abort();
    }
}

#[tokio::test]
async fn an_owner_in_the_foreground_waits_for_held_dependents() {
    let server = server();
    let controllers = tokio::spawn(server.run_controllers());
    family(&server).await;
    let hold = json!({"metadata": {"finalizers": ["demo.io/hold"]}});
    patch(&server, &format!("{MAPS}/child"), "merge", &hold).await;
    delete(
        &server,
        &format!("{MAPS}/owner"),
        &json!({"propagationPolicy": "Foreground"}),
    )
    .await;
    settle().await;
    assert_eq!(names(&server).await, ["child", "owner"]);
    patch(
        &server,
        &format!("{MAPS}/child"),
        "merge",
        &json!({"metadata": {"finalizers": null}}),
    )
    .await;
    settle().await;
    assert_eq!(names(&server).await, Vec::<String>::new());
    controllers.abort();
}

#[tokio::test]
async fn a_dependent_of_nobody_goes() {
    let server = server();
    let controllers = tokio::spawn(server.run_controllers());
    let mut child = config_map("child", &json!({}));
    child["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "never"}]);
    assert_eq!(post(&server, MAPS, &child).await.code, 201);
    settle().await;
    assert_eq!(names(&server).await, Vec::<String>::new());
    controllers.abort();
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let server = server();
    let controllers = tokio::spawn(server.run_controllers());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    post(&server, "/api/v1/namespaces", &namespace).await;
    let maps = "/api/v1/namespaces/n/configmaps";
    let mut held = config_map("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["demo.io/hold"]);
    post(&server, maps, &held).await;
    post(&server, maps, &config_map("free", &json!({}))).await;
    let going = delete(&server, "/api/v1/namespaces/n", &Value::Null).await;
    assert_eq!(going.body["status"]["phase"], json!("Terminating"));
    let kept = delete(&server, "/api/v1/namespaces/default", &Value::Null).await;
    assert_eq!(
        (kept.code, &kept.body["message"]),
        (
            403,
            &json!("namespaces \"default\" is forbidden: this namespace may not be deleted")
        )
    );
    settle().await;
    assert_eq!(get(&server, &format!("{maps}/free")).await.code, 404);
    let refused = post(&server, maps, &config_map("late", &json!({}))).await;
    assert_eq!(
        (
            refused.code,
            &refused.body["details"]["causes"][0]["reason"]
        ),
        (403, &json!("NamespaceTerminating"))
    );
    patch(
        &server,
        &format!("{maps}/held"),
        "merge",
        &json!({"metadata": {"finalizers": null}}),
    )
    .await;
    settle().await;
    assert_eq!(get(&server, "/api/v1/namespaces/n").await.code, 404);
    controllers.abort();
}

#[tokio::test]
async fn collections_are_removed_by_selection() {
    let server = server();
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut body = config_map(name, &json!({}));
        body["metadata"]["labels"] = json!({"app": app});
        post(&server, MAPS, &body).await;
    }
    let gone = delete(
        &server,
        &format!("{MAPS}?labelSelector=app%3Dx"),
        &Value::Null,
    )
    .await;
    assert_eq!(
        (gone.code, gone.body["items"].as_array().map(Vec::len)),
        (200, Some(2))
    );
    assert_eq!(names(&server).await, ["b"]);
}
