//! Owns custom kinds: definitions, validation, defaults, pruning, the status apart.

use serde_json::{Value, json};
use weir_apiserver::ApiServer;

use crate::support::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GATES: &str = "/apis/demo.io/v1/namespaces/default/gates";

pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gates.demo.io"},
        "spec": {
            "group": "demo.io", "scope": "Namespaced",
            "names": {"plural": "gates", "kind": "Gate", "shortNames": ["gt"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Width", "type": "integer", "jsonPath": ".spec.width"},
                    {"name": "Ready", "type": "string",
                        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "required": ["width"], "properties": {
                        "width": {"type": "integer", "minimum": 1},
                        "mode": {"type": "string", "enum": ["fast", "slow"], "default": "slow"},
                        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                    "status": {"type": "object", "properties": {
                        "conditions": {"type": "array", "items": {"type": "object", "properties": {
                            "type": {"type": "string"}, "status": {"type": "string"}}}}}}
                }}}
            }]
        }
    })
}

fn gate(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "demo.io/v1", "kind": "Gate", "metadata": {"name": name}, "spec": spec})
}

async fn with_gates() -> ApiServer {
    let server = server();
    let made = post(&server, DEFINITIONS, &definition()).await;
    assert_eq!(made.code, 201, "{}", made.body);
    server
}

#[tokio::test]
async fn a_definition_is_established_and_served() {
    let server = with_gates().await;
    let live = get(&server, &format!("{DEFINITIONS}/gates.demo.io"))
        .await
        .body;
    let conditions = live["status"]["conditions"].as_array().expect("conditions");
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "Established" && c["status"] == "True")
    );
    assert_eq!(live["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(
        live["status"]["acceptedNames"]["listKind"],
        json!("GateList")
    );
    let list = get(&server, "/apis/demo.io/v1").await.body;
    assert_eq!(list["resources"][0]["shortNames"], json!(["gt"]));
    assert_eq!(list["resources"][1]["name"], json!("gates/status"));
    let document = get(&server, "/openapi/v3/apis/demo.io/v1").await.body;
    let schema = &document["components"]["schemas"]["io.demo.v1.Gate"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["width"]["minimum"],
        json!(1)
    );
    let mut wrong = definition();
    wrong["metadata"]["name"] = json!("gate.demo.io");
    wrong["spec"]["versions"][0]["storage"] = json!(false);
    let refused = post(&server, DEFINITIONS, &wrong).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.body["details"]["causes"].as_array().map(Vec::len),
        Some(3)
    );
}

/// Observed on Kubernetes 1.34.2.
#[tokio::test]
async fn finalizers_of_custom_objects_need_no_domain() {
    let server = with_gates().await;
    let mut object = gate("a", &json!({"width": 2}));
    for (finalizers, warnings) in [
        (vec!["x/y", "orphan"], vec![]),
        (
            vec!["x/y", "orphan", "a"],
            vec![
                "299 - \"metadata.finalizers: \\\"a\\\": prefer a domain-qualified finalizer name \
                 to avoid accidental conflicts with other finalizer writers\"",
            ],
        ),
        (
            vec!["a", "finalizers.fluxcd.io"],
            vec![
                "299 - \"metadata.finalizers: \\\"finalizers.fluxcd.io\\\": prefer a \
                 domain-qualified finalizer name including a path (/) to avoid accidental \
                 conflicts with other finalizer writers\"",
            ],
        ),
    ] {
        object["metadata"]["finalizers"] = json!(finalizers);
        let exists = get(&server, &format!("{GATES}/a")).await.code == 200;
        let made = if exists {
            put(&server, &format!("{GATES}/a"), &object).await
        } else {
            post(&server, GATES, &object).await
        };
        assert!(made.code < 300, "{}", made.body);
        assert_eq!(made.warnings, warnings, "{finalizers:?}");
        object = made.body;
    }
    object["metadata"]["finalizers"] = json!(["a b"]);
    let refused = put(&server, &format!("{GATES}/a"), &object).await;
    let field = &refused.body["details"]["causes"][0]["field"];
    assert_eq!((refused.code, field), (422, &json!("metadata.finalizers")));
}

#[tokio::test]
async fn custom_objects_are_pruned_defaulted_and_validated() {
    let server = with_gates().await;
    let made = post(
        &server,
        GATES,
        &gate("a", &json!({"width": 2, "odd": 1, "open": {"x": 1}})),
    )
    .await;
    assert_eq!(
        made.body["spec"],
        json!({"width": 2, "open": {"x": 1}, "mode": "slow"})
    );
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"spec.odd\\\"\""]);
    assert_eq!(made.body["metadata"]["generation"], json!(1));
    let bad = post(
        &server,
        GATES,
        &gate("b", &json!({"width": 0, "mode": "odd"})),
    )
    .await;
    assert_eq!(
        bad.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Gate.demo.io \"b\" is invalid: [spec.width: Invalid value: 0: spec.width in \
                        body should be greater than or equal to 1, spec.mode: Unsupported value: \
                        \"odd\": supported values: \"fast\", \"slow\"]",
            "reason": "Invalid",
            "details": {"name": "b", "group": "demo.io", "kind": "Gate", "causes": [
                {"reason": "FieldValueInvalid", "message": "Invalid value: 0: spec.width in body \
                    should be greater than or equal to 1", "field": "spec.width"},
                {"reason": "FieldValueNotSupported", "message": "Unsupported value: \"odd\": \
                    supported values: \"fast\", \"slow\"", "field": "spec.mode"}]},
            "code": 422})
    );
    let absent = post(
        &server,
        GATES,
        &json!({"apiVersion": "demo.io/v1", "kind": "Gate", "metadata": {"name": "c"}}),
    )
    .await;
    assert_eq!(
        absent.body["message"],
        json!("Gate.demo.io \"c\" is invalid: spec: Required value")
    );
    let strict = format!("{GATES}?fieldValidation=Strict");
    assert_eq!(
        post(&server, &strict, &gate("d", &json!({"width": 1, "odd": 1})))
            .await
            .code,
        400
    );
    let unversioned = put(
        &server,
        &format!("{GATES}/a"),
        &gate("a", &json!({"width": 3})),
    )
    .await;
    assert_eq!(unversioned.code, 422);
    let strategic = patch(
        &server,
        &format!("{GATES}/a"),
        "strategic-merge",
        &json!({}),
    )
    .await;
    assert_eq!(strategic.code, 415);
}

#[tokio::test]
async fn the_status_is_written_apart() {
    let server = with_gates().await;
    let mut body = gate("a", &json!({"width": 1}));
    body["status"] = json!({"conditions": []});
    let made = post(&server, GATES, &body).await.body;
    assert_eq!(made.get("status"), None);
    let path = format!("{GATES}/a");
    let change = json!({"spec": {"width": 9}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let status = patch(&server, &format!("{path}/status"), "merge", &change)
        .await
        .body;
    assert_eq!(
        (&status["spec"]["width"], &status["metadata"]["generation"]),
        (&json!(1), &json!(1))
    );
    let whole = patch(
        &server,
        &path,
        "merge",
        &json!({"spec": {"width": 9}, "status": null}),
    )
    .await
    .body;
    assert_eq!(whole["metadata"]["generation"], json!(2));
    assert_eq!(whole["status"]["conditions"][0]["type"], json!("Ready"));
    let table = get_as(
        &server,
        GATES,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    .await
    .body;
    assert_eq!(table["rows"][0]["cells"], json!(["a", 9, "True", "0s"]));
    let managers: Vec<(Value, Value)> = whole["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| (m["operation"].clone(), m["subresource"].clone()))
        .collect();
    assert_eq!(
        managers,
        [
            (json!("Update"), Value::Null),
            (json!("Update"), json!("status"))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn removing_a_definition_removes_its_objects_and_ends_watches() {
    let server = with_gates().await;
    post(&server, GATES, &gate("a", &json!({"width": 1}))).await;
    let mut held = gate("b", &json!({"width": 1}));
    held["metadata"]["finalizers"] = json!(["demo.io/hold"]);
    post(&server, GATES, &held).await;
    let mut body = watch(&server, &format!("{GATES}?watch=1")).await;
    lines(&mut body).await;
    let path = format!("{DEFINITIONS}/gates.demo.io");
    let going = delete(&server, &path, &Value::Null).await;
    assert!(going.body["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(get(&server, &format!("{GATES}/a")).await.code, 404);
    assert_eq!(get(&server, &path).await.code, 200);
    patch(
        &server,
        &format!("{GATES}/b"),
        "merge",
        &json!({"metadata": {"finalizers": null}}),
    )
    .await;
    assert_eq!(get(&server, &path).await.code, 404);
    assert_eq!(get(&server, GATES).await.code, 404);
    assert_eq!(lines(&mut body).await.len(), 0);
    assert_eq!(post(&server, DEFINITIONS, &definition()).await.code, 201);
    assert_eq!(get(&server, GATES).await.body["items"], json!([]));
}

#[tokio::test]
async fn an_apply_that_leaves_a_null_is_refused() {
    let server = with_gates().await;
    let path = format!("{GATES}/g?fieldManager=");
    let with = |open: Value| gate("g", &json!({"width": 2, "open": open}));
    post(&server, GATES, &with(json!({"a": "first"}))).await;
    let forced = format!("{path}two&force=true");
    let taken = patch(&server, &forced, "apply", &with(json!({"a": "second"}))).await;
    assert_eq!(taken.code, 200, "{}", taken.body);
    // The creator still owns `open`, in which nothing is left.
    let dropped = gate("g", &json!({"width": 2}));
    let refused = patch(&server, &format!("{path}two"), "apply", &dropped).await;
    assert_eq!(
        (refused.code, &refused.body["message"]),
        (
            422,
            &json!(
                "Gate.demo.io \"g\" is invalid: spec.open: Invalid value: \"null\": \
                 spec.open in body must be of type object: \"null\""
            )
        )
    );
    // A null that is sent in a patch of another sort goes.
    let merged = json!({"spec": {"open": null}});
    let merged = patch(&server, &format!("{path}two"), "merge", &merged).await;
    assert_eq!((merged.code, merged.body["spec"].get("open")), (200, None));
}

#[tokio::test]
async fn a_definition_without_versions_says_so() {
    let server = server();
    let mut empty = definition();
    empty["spec"]["versions"] = json!([]);
    let refused = post(&server, DEFINITIONS, &empty).await;
    assert_eq!(
        refused.body["details"]["causes"][0]["message"],
        json!("Invalid value: []: must have exactly one version marked as storage version")
    );
}

#[tokio::test]
async fn operations_of_custom_kinds_are_named_in_letters() {
    let server = server();
    let mut dashed = definition();
    dashed["metadata"]["name"] = json!("gates.my-demo.io");
    dashed["spec"]["group"] = json!("my-demo.io");
    post(&server, DEFINITIONS, &dashed).await;
    let document = get(&server, "/openapi/v3/apis/my-demo.io/v1").await.body;
    let path = "/apis/my-demo.io/v1/namespaces/{namespace}/gates";
    let many = &document["paths"][path];
    assert_eq!(
        many["delete"]["operationId"],
        json!("deleteMyDemoIoV1CollectionNamespacedGate")
    );
    let names: Vec<&str> = many["delete"]["parameters"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert!(
        names.contains(&"watch") && !names.contains(&"dryRun"),
        "{names:?}"
    );
    let one = &document["paths"][format!("{path}/{{name}}")]["get"]["parameters"][0];
    assert_eq!(one["name"], json!("resourceVersion"));
}
