//! Owns the tests of published schemas and of discovery: what `kubectl explain` and
//! `kubectl api-resources` read.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{get, get_as, post, send_with, server};

const APPS: &str = "/openapi/v3/apis/apps/v1";

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    &document["components"]["schemas"][name]
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["w"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "description": "A widget.", "properties": {
                    "spec": {"type": "object", "description": "What is wanted.", "properties": {
                        "inner": {"type": "object", "x-kubernetes-embedded-resource": true,
                            "x-kubernetes-preserve-unknown-fields": true},
                        "maybe": {"type": "string", "nullable": true}}}}}}}]}
    })
}

async fn define(server: &weir_apiserver::ApiServer) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = post(server, path, &definition()).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

#[tokio::test(start_paused = true)]
async fn built_in_types_are_explained_with_words_values_and_defaults() {
    let server = server();
    let document = get(&server, APPS).await.body;
    let strategy = schema(&document, "io.k8s.api.apps.v1.DeploymentStrategy");
    let kind = &strategy["properties"]["type"];
    assert_eq!(kind["enum"], json!(["Recreate", "RollingUpdate"]));
    let words = kind["description"].as_str().expect("words");
    assert!(words.starts_with("Type of deployment. Can be \"Recreate\" or \"RollingUpdate\"."));
    assert!(words.ends_with("Possible enum values:\n - `\"Recreate\"`\n - `\"RollingUpdate\"`"));
    let spec = schema(&document, "io.k8s.api.apps.v1.DeploymentSpec");
    assert_eq!(spec["required"], json!(["selector", "template"]));
    assert_eq!(spec["properties"]["replicas"]["format"], "int32");
    assert_eq!(
        spec["properties"]["strategy"]["x-kubernetes-patch-strategy"],
        "retainKeys"
    );
    let containers = &schema(&document, "io.k8s.api.core.v1.PodSpec")["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let deployment = schema(&document, "io.k8s.api.apps.v1.Deployment");
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let patch = &document["paths"][path]["patch"];
    let parameters: Vec<&str> = patch["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert_eq!(
        parameters,
        ["dryRun", "fieldManager", "fieldValidation", "force"]
    );
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    // Every reference leads somewhere.
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .expect("schemas")
    {
        let text = schema.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let to = reference.split('"').next().expect("a name");
            assert!(
                document["components"]["schemas"].get(to).is_some(),
                "{name} names {to}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_explained_in_its_own_words() {
    let server = server();
    define(&server).await;
    let document = get(&server, "/openapi/v3/apis/example.com/v1").await.body;
    let widget = schema(&document, "com.example.v1.Widget");
    assert_eq!(widget["description"], "A widget.");
    assert_eq!(
        widget["properties"]["spec"]["description"],
        "What is wanted."
    );
    let inner = &widget["properties"]["spec"]["properties"]["inner"];
    assert_eq!(inner["required"], json!(["kind", "apiVersion"]));
    let words = widget["properties"]["kind"]["description"].as_str();
    assert!(words.is_some_and(|words| words.starts_with("Kind is a string value")));
    let list = schema(&document, "com.example.v1.WidgetList");
    assert_eq!(list["description"], "WidgetList is a list of Widget");
    let paths: Vec<&String> = document["paths"]
        .as_object()
        .expect("paths")
        .keys()
        .collect();
    assert_eq!(
        paths,
        [
            "/apis/example.com/v1/namespaces/{namespace}/widgets",
            "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}",
            "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/status",
            "/apis/example.com/v1/widgets",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn documents_are_found_by_their_hash_and_kept_until_something_changes() {
    let server = server();
    let address = |index: &Value, path: &str| {
        let url = index["paths"][path]["serverRelativeURL"].as_str();
        url.expect("an address").to_owned()
    };
    let index = get(&server, "/openapi/v3").await.body;
    let apps = address(&index, "apis/apps/v1");
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        send_with(&server, Method::GET, path, headers, Vec::new()).await
    };
    let found = ask(&apps, &[]).await;
    assert_eq!(found.headers()["cache-control"], "public, immutable");
    let tag = found.headers()["etag"].to_str().expect("text").to_owned();
    assert_eq!(ask(&apps, &[("if-none-match", &tag)]).await.status(), 304);
    let moved = ask(&format!("{APPS}?hash=old"), &[]).await;
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (301, &http::HeaderValue::from_str(&apps).expect("text"))
    );
    assert_eq!(
        ask("/openapi/v3/apis/example.com/v1", &[]).await.status(),
        404
    );
    define(&server).await;
    let after = get(&server, "/openapi/v3").await.body;
    assert_eq!(address(&after, "apis/apps/v1"), apps);
    let first = address(&after, "apis/example.com/v1");
    let mut changed = definition();
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "Other.".into();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
    let put = crate::support::patch(&server, path, "merge", &changed).await;
    assert_eq!(put.code, 200, "{}", put.body);
    let last = get(&server, "/openapi/v3").await.body;
    assert_ne!(address(&last, "apis/example.com/v1"), first);
}

#[tokio::test(start_paused = true)]
async fn the_older_document_has_all_types_in_both_forms() {
    let server = server();
    define(&server).await;
    let document = get(&server, "/openapi/v2").await.body;
    let definitions = document["definitions"].as_object().expect("definitions");
    for name in ["io.k8s.api.apps.v1.Deployment", "com.example.v1.Widget"] {
        assert!(definitions.contains_key(name), "{name}");
    }
    // What may be null or anything has no type in the older form.
    let spec = &document["definitions"]["com.example.v1.Widget"]["properties"]["spec"];
    assert_eq!(spec["properties"]["maybe"], json!({}));
    assert_eq!(spec["properties"]["inner"].get("type"), None);
    let port = &document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(port["type"], "string");
    let spec = &document["definitions"]["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
    assert_eq!(
        spec["$ref"],
        "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    );
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = send_with(
        &server,
        Method::GET,
        "/openapi/v2",
        &[("accept", accept)],
        vec![],
    )
    .await;
    let content = answer.headers()["content-type"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        content,
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("infallible")
        .to_bytes();
    assert!(body.starts_with(b"\x0a\x032.0"));
}

#[tokio::test(start_paused = true)]
async fn discovery_tells_parts_hashes_and_groups_as_the_real_server_does() {
    let server = server();
    define(&server).await;
    let list = get(&server, "/apis/apps/v1").await.body;
    let find = |list: &Value, name: &str| {
        let all = list["resources"].as_array().expect("resources");
        all.iter()
            .find(|r| r["name"] == name)
            .cloned()
            .expect("listed")
    };
    assert_eq!(
        find(&list, "deployments"),
        json!({"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": ["deploy"], "categories": ["all"], "storageVersionHash": "8aSe+NMegvE="})
    );
    assert_eq!(
        find(&list, "deployments/scale"),
        json!({"name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling",
            "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]})
    );
    let custom = get(&server, "/apis/example.com/v1").await.body;
    assert_eq!(
        find(&custom, "widgets")["verbs"],
        json!([
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch"
        ])
    );
    let core = get(&server, "/api/v1").await.body;
    assert_eq!(core.get("apiVersion"), None);
    assert_eq!(find(&core, "bindings")["verbs"], json!(["create"]));
    assert_eq!(find(&core, "pods/log")["kind"], "Pod");
    let groups = get(&server, "/apis").await.body;
    let groups: Vec<&str> = groups["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .filter_map(|g| g["name"].as_str())
        .collect();
    assert_eq!(
        groups[..3],
        ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    );
    assert_eq!(
        groups[groups.len() - 2..],
        ["flowcontrol.apiserver.k8s.io", "example.com"]
    );
    let autoscaling = get(&server, "/apis/autoscaling").await.body;
    assert_eq!(autoscaling["preferredVersion"]["version"], "v2");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = get_as(&server, "/apis", accept).await.body;
    let of = |name: &str| {
        let items = all["items"].as_array().expect("items");
        items
            .iter()
            .find(|i| i["metadata"]["name"] == name)
            .cloned()
            .expect("a group")
    };
    let kind = |group: &str| of(group)["versions"][0]["resources"][0]["responseKind"].clone();
    assert_eq!(
        kind("apps"),
        json!({"group": "", "version": "", "kind": "ControllerRevision"})
    );
    assert_eq!(
        kind("example.com"),
        json!({"group": "example.com", "version": "v1", "kind": "Widget"})
    );
    let old = get_as(&server, "/apis", &accept.replace("v=v2", "v=v2beta1")).await;
    assert_eq!(old.code, 406);
    for (path, code) in [
        ("/apis/nothing", 404),
        ("/apis/apps/v2", 404),
        ("/api/v2", 404),
        ("/healthz/nothing", 404),
        ("/healthz/ping", 200),
        ("/readyz", 200),
    ] {
        assert_eq!(get(&server, path).await.code, code, "{path}");
    }
    let statuses = get(&server, "/api/v1/componentstatuses").await;
    assert_eq!(statuses.body["items"], json!([]));
    assert_eq!(
        statuses.warnings,
        ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]
    );
    let verbose = get(&server, "/readyz?verbose&exclude=ping").await.body;
    assert_eq!(
        verbose,
        "[+]ping excluded: ok\n[+]log ok\nreadyz check passed\n"
    );
}
