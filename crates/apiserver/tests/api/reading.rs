//! Owns lists, tables and discovery.

use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn lists_select_and_come_in_consistent_pages() {
    let server = server();
    for i in 0..5 {
        let mut body = config_map(&format!("m{i}"), &json!({}));
        body["metadata"]["labels"] = json!({"odd": (i % 2 == 1).to_string()});
        post(&server, MAPS, &body).await;
    }
    let names = |answer: &Answer| -> Vec<String> {
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|i| {
                i["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(
        names(&get(&server, &format!("{MAPS}?labelSelector=odd%3Dtrue")).await),
        ["m1", "m3"]
    );
    let by_field = format!("{MAPS}?fieldSelector=metadata.name%3Dm2");
    assert_eq!(names(&get(&server, &by_field).await), ["m2"]);
    assert_eq!(
        get(&server, &format!("{MAPS}?fieldSelector=data.x%3D1"))
            .await
            .code,
        400
    );
    let first = get(&server, &format!("{MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["m0", "m1"]);
    assert_eq!(first.body["metadata"]["remainingItemCount"], json!(3));
    // What changes between pages does not show in them.
    delete(&server, &format!("{MAPS}/m2"), &Value::Null).await;
    post(&server, MAPS, &config_map("m25", &json!({}))).await;
    let token = first.body["metadata"]["continue"]
        .as_str()
        .expect("a token")
        .to_owned();
    let second = get(&server, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(
        second.body["metadata"]["resourceVersion"],
        first.body["metadata"]["resourceVersion"]
    );
    assert_eq!(
        names(&get(&server, MAPS).await),
        ["m0", "m1", "m25", "m3", "m4"]
    );
    let version = first.body["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version");
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(
        names(&get(&server, &exact).await),
        ["m0", "m1", "m2", "m3", "m4"]
    );
    assert_eq!(
        get(&server, &format!("{MAPS}?continue=nonsense"))
            .await
            .code,
        400
    );
    let future = get(&server, &format!("{MAPS}?resourceVersion=99999")).await;
    assert_eq!(
        (future.code, &future.body["reason"]),
        (504, &json!("Timeout"))
    );
    assert_eq!(
        get(&server, "/api/v1/configmaps").await.body["items"]
            .as_array()
            .map(Vec::len),
        Some(5)
    );
}

#[tokio::test]
async fn tables_and_metadata_are_shown_when_asked_for() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({"x": "1"}))).await;
    let table = get_as(
        &server,
        MAPS,
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )
    .await;
    assert_eq!(table.body["kind"], json!("Table"));
    let columns: Vec<_> = table.body["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(columns, [json!("Name"), json!("Data"), json!("Age")]);
    assert_eq!(table.body["rows"][0]["cells"], json!(["a", "1", "0s"]));
    assert_eq!(
        table.body["rows"][0]["object"]["kind"],
        json!("PartialObjectMetadata")
    );
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = get_as(&server, MAPS, partial).await.body;
    assert_eq!(
        (
            &list["kind"],
            &list["items"][0]["metadata"]["name"],
            list["items"][0].get("data")
        ),
        (&json!("PartialObjectMetadataList"), &json!("a"), None)
    );
    assert_eq!(get_as(&server, MAPS, "text/html").await.code, 406);
}

#[tokio::test]
async fn discovery_tells_of_everything_in_both_forms() {
    let server = server();
    let core = get(&server, "/api/v1").await.body;
    let pods = core["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|r| r["name"] == json!("pods"));
    assert_eq!(
        pods,
        Some(
            &json!({"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": ["po"], "categories": ["all"]})
        )
    );
    let aggregated =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let groups = get_as(&server, "/apis", aggregated).await.body;
    assert_eq!(groups["kind"], json!("APIGroupDiscoveryList"));
    assert_eq!(
        get(&server, "/version").await.body["gitVersion"],
        json!("v1.34.2")
    );
    for path in ["/healthz", "/readyz", "/livez", "/readyz/ping"] {
        assert_eq!(get(&server, path).await.body, json!("ok"));
    }
    assert_eq!(
        get(&server, "/apis/apps").await.body["preferredVersion"]["version"],
        json!("v1")
    );
    let lost = get(&server, "/apis/none/v1").await;
    assert_eq!(
        lost.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "the server could not find the requested resource", "reason": "NotFound",
            "details": {}, "code": 404})
    );
    let index = get(&server, "/openapi/v3").await.body;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a path")
        .to_owned();
    let document = get(&server, &url).await.body;
    let spec = &document["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"];
    assert_eq!(spec["properties"]["replicas"], json!({"type": "integer"}));
    assert_eq!(get(&server, "/openapi/v2").await.code, 200);
    assert_eq!(get(&server, "/elsewhere").await.code, 404);
}
