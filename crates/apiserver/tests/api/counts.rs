//! Owns statuses and scales: what counts may say, and how a custom kind's parts answer.

use http::Method;
use serde_json::{Value, json};
use weir_apiserver::ApiServer;

use crate::support::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const POOLS: &str = "/apis/demo.io/v1/namespaces/default/pools";

async fn with_pools() -> ApiServer {
    let server = server();
    let count = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "pools.demo.io"},
        "spec": {
            "group": "demo.io", "scope": "Namespaced",
            "names": {"plural": "pools", "kind": "Pool"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": count, "status": count}}}
            }]
        }
    });
    assert_eq!(post(&server, DEFINITIONS, &definition).await.code, 201);
    server
}

fn pool(spec: &Value) -> Value {
    json!({"apiVersion": "demo.io/v1", "kind": "Pool", "metadata": {"name": "p"}, "spec": spec})
}

fn messages(answer: &Answer) -> Vec<String> {
    let causes = answer.body["details"]["causes"].as_array();
    causes
        .expect("causes")
        .iter()
        .map(|c| {
            format!(
                "{}: {}",
                c["field"].as_str().expect("a field"),
                c["message"]
            )
        })
        .collect()
}

#[tokio::test]
async fn counts_of_a_built_in_status_are_judged_and_the_spec_is_not() {
    let server = server();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "registry.test/a:1"}]}}}});
    assert_eq!(post(&server, path, &deployment).await.code, 201);
    let status = format!("{path}/web/status");
    let write = async |status_of: Value| {
        patch(&server, &status, "merge", &json!({"status": status_of})).await
    };
    let refused = write(json!({"unavailableReplicas": -1})).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    assert_eq!(
        messages(&refused),
        ["status.unavailableReplicas: \"Invalid value: -1: must be greater than or equal to 0\""]
    );
    let refused = write(json!({"replicas": 1, "readyReplicas": 1, "availableReplicas": 2})).await;
    assert_eq!(
        messages(&refused),
        [
            "status.availableReplicas: \"Invalid value: 2: cannot be greater than status.replicas\"",
            "status.availableReplicas: \"Invalid value: 2: cannot be greater than readyReplicas\""
        ]
    );
    assert_eq!(write(json!({"collisionCount": 3})).await.code, 200);
    let refused = write(json!({"collisionCount": 2})).await;
    assert_eq!(
        messages(&refused),
        ["status.collisionCount: \"Invalid value: 2: cannot be decremented\""]
    );
}

#[tokio::test]
async fn counts_that_a_definition_names_are_judged_as_those_of_a_scale() {
    let server = with_pools().await;
    let refused = post(&server, POOLS, &pool(&json!({"replicas": -2}))).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    assert_eq!(
        messages(&refused),
        [".spec.replicas: \"Invalid value: -2: should be a non-negative integer\""]
    );
    let refused = post(&server, POOLS, &pool(&json!("text"))).await;
    assert!(
        messages(&refused).iter().any(|m| m.contains(
            ".spec.replicas accessor error: text is of the type string, expected map[string]interface{}"
        )),
        "{}",
        refused.body
    );
    assert_eq!(post(&server, POOLS, &pool(&json!({}))).await.code, 201);
    let unscaled = get(&server, &format!("{POOLS}/p/scale")).await;
    assert_eq!(unscaled.code, 500);
    assert_eq!(
        unscaled.body["message"],
        "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist"
    );
}

#[tokio::test]
async fn a_custom_part_refuses_a_method_in_the_words_of_its_server() {
    let server = with_pools().await;
    assert_eq!(post(&server, POOLS, &pool(&json!({}))).await.code, 201);
    let refused = post(&server, &format!("{POOLS}/p/status"), &pool(&json!({}))).await;
    assert_eq!(refused.code, 405);
    assert_eq!(
        refused.body["message"],
        "create is not supported on resources of kind \"pools.demo.io\""
    );
    let nowhere = "/apis/none.io/v1/namespaces/default/pools";
    let refused = post(&server, nowhere, &pool(&json!({}))).await;
    assert_eq!(
        (refused.code, refused.body),
        (404, json!("404 page not found\n"))
    );
}

#[tokio::test]
async fn another_kind_in_a_custom_object_is_an_invalid_one() {
    let server = with_pools().await;
    let mut other = pool(&json!({}));
    other["kind"] = "Lake".into();
    let refused = post(&server, POOLS, &other).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    assert_eq!(
        refused.body["message"],
        "Lake.demo.io \"p\" is invalid: kind: Invalid value: \"Lake\": must be Pool"
    );
}

#[tokio::test]
async fn lists_of_custom_objects_say_that_nothing_follows() {
    let server = with_pools().await;
    let list = get(&server, POOLS).await.body;
    assert_eq!(list["metadata"]["continue"], "", "{list}");
    let built_in = get(&server, "/api/v1/namespaces/default/secrets")
        .await
        .body;
    assert_eq!(built_in["metadata"].get("continue"), None, "{built_in}");
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = get_as(&server, POOLS, accept).await.body;
    assert_eq!(partial.get("items"), Some(&Value::Null), "{partial}");
}

#[tokio::test]
async fn who_writes_through_a_scale_owns_the_replicas_without_a_time() {
    let server = with_pools().await;
    assert_eq!(
        post(&server, POOLS, &pool(&json!({"replicas": 1})))
            .await
            .code,
        201
    );
    let scaled = patch(
        &server,
        &format!("{POOLS}/p/scale"),
        "merge",
        &json!({"spec": {"replicas": 4}}),
    )
    .await;
    assert_eq!(scaled.code, 200, "{}", scaled.body);
    let live = get(&server, &format!("{POOLS}/p")).await.body;
    let entries = live["metadata"]["managedFields"]
        .as_array()
        .expect("entries");
    let entry = entries.iter().find(|e| e["subresource"] == "scale");
    let entry = entry.unwrap_or_else(|| panic!("no entry of the scale in {live}"));
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(entry.get("time"), None, "{entry}");
}

#[tokio::test]
async fn a_scale_is_shown_as_a_table_of_its_own() {
    let server = server();
    let path = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "registry.test/a:1"}]}}}});
    assert_eq!(post(&server, path, &set).await.code, 201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = get_as(&server, &format!("{path}/r/scale"), accept)
        .await
        .body;
    let names: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"], json!(["r", 3, 0, "0s"]));
}

#[tokio::test]
async fn null_is_no_merge_patch_and_a_json_patch_of_nothing() {
    let server = with_pools().await;
    assert_eq!(post(&server, POOLS, &pool(&json!({}))).await.code, 201);
    let path = format!("{POOLS}/p");
    let send = async |content| raw(&server, Method::PATCH, &path, content, b" null ").await;
    let refused = send("application/merge-patch+json").await;
    assert_eq!(refused.code, 400, "{}", refused.body);
    assert_eq!(refused.body["message"], "Invalid JSON Patch");
    assert_eq!(send("application/json-patch+json").await.code, 200);
}
