//! Owns the tests of tables: what `kubectl get` shows of each kind.

use serde_json::{Value, json};

use crate::support::{Answer, get_as, patch, post, server};

const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
const DEFAULT: &str = "/api/v1/namespaces/default";

async fn table(server: &weir_apiserver::ApiServer, path: &str) -> Answer {
    get_as(server, path, TABLE).await
}

fn names(table: &Value) -> Vec<String> {
    let columns = table["columnDefinitions"].as_array().expect("columns");
    let name = |c: &Value| c["name"].as_str().expect("a name").to_owned();
    columns.iter().map(name).collect()
}

fn cells(table: &Value) -> Vec<Value> {
    let rows = table["rows"].as_array().expect("rows");
    rows.iter().map(|row| row["cells"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pod_says_in_one_word_what_its_containers_are_at() {
    let server = server();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "initContainers": [{"name": "i", "image": "i"}, {"name": "s", "image": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}],
        "readinessGates": [{"conditionType": "x/y"}]}});
    let made = post(&server, &format!("{DEFAULT}/pods"), &pod).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let path = format!("{DEFAULT}/pods/p");
    let mut show = Vec::new();
    let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    for status in [
        json!({"phase": "Pending"}),
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 2,
            "state": {"terminated": {"exitCode": 3}},
            "lastState": {"terminated": {"exitCode": 3, "finishedAt": "2026-01-02T03:03:05Z"}}}]}),
        json!({"phase": "Running", "conditions": [{"type": "Initialized", "status": "True"}, {"type": "x/y", "status": "True"}],
            "initContainerStatuses": [{"name": "i", "state": done},
                {"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}},
                {"name": "b", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
        json!({"phase": "Failed", "reason": "Evicted"}),
    ] {
        let status = json!({"status": status});
        let set = patch(&server, &format!("{path}/status"), "merge", &status).await;
        assert_eq!(set.code, 200, "{}", set.body);
        let table = table(&server, &path).await.body;
        let row = &table["rows"][0];
        let text = |i: usize| row["cells"][i].as_str().expect("a text").to_owned();
        show.push([text(1), text(2), text(3), text(8)].join(" "));
        if status["status"]["phase"] == "Failed" {
            assert_eq!(row["conditions"][0]["reason"], "Failed");
        }
        let clear = json!([{"op": "remove", "path": "/status"}]);
        patch(&server, &format!("{path}/status"), "json", &clear).await;
    }
    assert_eq!(
        show,
        [
            "0/3 Pending 0 0/1",
            "0/3 Init:ImagePullBackOff 0 0/1",
            "0/3 Init:ExitCode:3 2 (60s ago) 0/1",
            "2/3 CrashLoopBackOff 1 1/1",
            "0/3 Evicted 0 0/1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn workloads_and_services_show_what_the_real_printers_show() {
    let server = server();
    let template = json!({"metadata": {"labels": {"a": "d", "x": "y"}},
        "spec": {"containers": [{"name": "a", "image": "b"}, {"name": "c", "image": "d"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 3, "template": template, "selector": {"matchLabels": {"a": "d"},
            "matchExpressions": [{"key": "x", "operator": "In", "values": ["z", "y"]}]}}});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(post(&server, path, &deployment).await.code, 201);
    let shown = table(&server, path).await.body;
    assert_eq!(
        names(&shown),
        [
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            "Containers",
            "Images",
            "Selector"
        ]
    );
    assert_eq!(
        cells(&shown),
        [json!([
            "d",
            "0/3",
            0,
            0,
            "0s",
            "a,c",
            "b,d",
            "a=d,x in (y,z)"
        ])]
    );
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {
        "clusterIP": "None", "selector": {"b": "2", "a": "1"},
        "ports": [{"name": "x", "port": 80}, {"name": "y", "port": 53, "protocol": "UDP"}]}});
    let path = &format!("{DEFAULT}/services");
    assert_eq!(post(&server, path, &service).await.code, 201);
    assert_eq!(
        cells(&table(&server, path).await.body),
        [json!([
            "s",
            "ClusterIP",
            "None",
            "<none>",
            "80/TCP,53/UDP",
            "0s",
            "a=1,b=2"
        ])]
    );
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"},
        "spec": {"rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}], "tls": [{"hosts": ["a"]}]}});
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    assert_eq!(post(&server, path, &ingress).await.code, 201);
    assert_eq!(
        cells(&table(&server, path).await.body),
        [json!([
            "i",
            "<none>",
            "a,b,c + 1 more...",
            "",
            "80, 443",
            "0s"
        ])]
    );
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_shows_its_metrics_in_both_versions() {
    let server = server();
    let v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let made = post(&server, v1, &scaler).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["spec"]["targetCPUUtilizationPercentage"], 70);
    let metrics = get_as(&server, &format!("{v2}/h"), "application/json")
        .await
        .body;
    assert_eq!(
        metrics["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 70}}}])
    );
    for path in [v1, v2] {
        assert_eq!(
            cells(&table(&server, path).await.body),
            [json!([
                "h",
                "Deployment/web",
                "cpu: <unknown>/70%",
                "1",
                3,
                0,
                "0s"
            ])]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_definitions_columns_follow_their_types() {
    let server = server();
    let column =
        |name: &str, kind: &str, at: &str| json!({"name": name, "type": kind, "jsonPath": at});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "additionalPrinterColumns": [
                    column("Size", "integer", ".spec.size"), column("Ratio", "number", ".spec.ratio"),
                    column("Flag", "boolean", ".spec.flag"), column("Text", "string", ".spec.object"),
                    column("First", "string", ".spec.list[*]"), column("When", "date", ".spec.when"),
                    column("Bad", "date", ".spec.bad"), column("None", "string", ".spec.none")]}]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = post(&server, path, &definition).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"size": 3.7, "ratio": 2.5, "flag": true, "object": {"a": [1]}, "list": ["x", "z"],
            "when": "2026-01-01T03:04:05Z", "bad": "soon"}});
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    assert_eq!(post(&server, path, &widget).await.code, 201);
    let shown = table(&server, path).await.body;
    assert_eq!(
        cells(&shown),
        [json!([
            "w",
            3,
            2.5,
            true,
            "{\"a\":[1]}",
            "x",
            "24h",
            "<invalid>",
            null
        ])]
    );
    assert_eq!(
        shown["columnDefinitions"][1]["description"],
        "Custom resource definition column (in JSONPath format): .spec.size"
    );
}

#[tokio::test(start_paused = true)]
async fn rows_carry_as_much_of_the_object_as_asked() {
    let server = server();
    let path = "/api/v1/namespaces/default";
    let with = |what: &str| format!("{path}?includeObject={what}");
    let object = table(&server, path).await.body["rows"][0]["object"].clone();
    assert_eq!(object["kind"], "PartialObjectMetadata");
    let object = table(&server, &with("Object")).await.body["rows"][0]["object"].clone();
    assert_eq!(object["kind"], "Namespace");
    assert!(object.get("status").is_some());
    let object = table(&server, &with("None")).await.body["rows"][0]["object"].clone();
    assert_eq!(object, Value::Null);
    let odd = table(&server, &with("Foo")).await;
    assert_eq!(
        odd.body["message"],
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": must be \
         'Metadata', 'Object', 'None', or empty"
    );
}
