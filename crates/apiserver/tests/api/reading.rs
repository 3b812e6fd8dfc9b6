//! Owns lists, tables and discovery.

use serde_json::{Value, json};
use weir_apiserver::{ApiServer, Options, Tuning};

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

/// The names of a list's items.
fn names(answer: &Answer) -> Vec<String> {
    let items = answer.body["items"].as_array().cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    items
        .iter()
        .map(|i| {
            format!(
                "{}/{}",
                text(&i["metadata"]["namespace"]),
                text(&i["metadata"]["name"])
            )
        })
        .collect()
}

fn token(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn versions_and_pages_go_together_as_the_api_has_it() {
    let server = server();
    for name in ["a", "b", "c"] {
        post(&server, MAPS, &config_map(name, &json!({}))).await;
    }
    let count = async |query: &str| {
        let answer = get(&server, &format!("{MAPS}?{query}")).await;
        (
            answer.code,
            names(&answer).len(),
            answer.body["metadata"]["remainingItemCount"].as_u64(),
        )
    };
    assert_eq!(count("limit=1").await, (200, 1, Some(2)));
    // Any version is all of it.
    assert_eq!(count("limit=1&resourceVersion=0").await, (200, 3, None));
    // A version and a limit mean exactly that version.
    assert_eq!(count("limit=1&resourceVersion=7").await, (200, 1, Some(1)));
    let newer = "limit=1&resourceVersion=7&resourceVersionMatch=NotOlderThan";
    assert_eq!(count(newer).await, (200, 1, Some(2)));
    assert_eq!(count("limit=1&labelSelector=!x").await, (200, 1, None));
    assert_eq!(count("limit=-1").await, (200, 3, None));
    let go_on = token("{\"v\":\"meta.k8s.io/v1\",\"rv\":-1,\"start\":\"/a\\u0000\"}");
    assert_eq!(
        count(&format!("limit=1&continue={go_on}")).await,
        (200, 1, Some(1))
    );
    for (query, code, message) in [
        (
            "limit=x",
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "resourceVersion=-1",
            400,
            "invalid resource version: resourceVersion: Invalid value: \"-1\": \
             strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            "resourceVersion=99",
            504,
            "Timeout: Too large resource version: 99, current: 8",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=Foo",
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: \
             resourceVersionMatch is forbidden unless resourceVersion is provided, \
             resourceVersionMatch: Unsupported value: \"Foo\": supported values: \"Exact\", \
             \"NotOlderThan\", \"\"]",
        ),
        (
            "sendInitialEvents=true",
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: \
             sendInitialEvents is forbidden for list",
        ),
        (
            "continue=x",
            400,
            "invalid continue token: continue key is not valid: illegal base64 data at input byte 0",
        ),
        (
            &format!("continue={go_on}&resourceVersion=5"),
            400,
            "specifying resource version is not allowed when using continue",
        ),
        (
            &format!("continue={}", token("{\"v\":\"v2\"}")),
            400,
            "invalid continue token: continue key is not valid: server does not recognize this \
             encoded version v2",
        ),
        (
            &format!(
                "continue={}",
                token("{\"v\":\"meta.k8s.io/v1\",\"rv\":1,\"start\":\"../a\"}")
            ),
            400,
            "invalid continue token: continue key is not valid: ../a",
        ),
    ] {
        let answer = get(&server, &format!("{MAPS}?{query}")).await;
        let told = (
            answer.code,
            answer.body["message"].as_str().unwrap_or_default(),
        );
        assert_eq!(told, (code, message), "{query}");
    }
}

#[tokio::test]
async fn a_list_whose_version_is_forgotten_can_be_gone_on_with() {
    let server = ApiServer::with(
        Options::default(),
        Tuning {
            history: 2,
            ..Tuning::default()
        },
    );
    for name in ["a", "b", "c", "d"] {
        post(&server, MAPS, &config_map(name, &json!({}))).await;
    }
    let first = get(&server, &format!("{MAPS}?limit=2")).await.body;
    let next = first["metadata"]["continue"].as_str().expect("a token");
    for name in ["b5", "e", "f"] {
        post(&server, MAPS, &config_map(name, &json!({}))).await;
    }
    let stale = get(&server, &format!("{MAPS}?limit=2&continue={next}")).await;
    assert_eq!(
        (stale.code, &stale.body["reason"]),
        (410, &json!("Expired"))
    );
    let loose = stale.body["metadata"]["continue"]
        .as_str()
        .expect("a token");
    let rest = get(&server, &format!("{MAPS}?limit=9&continue={loose}")).await;
    assert_eq!(
        names(&rest),
        [
            "default/b5",
            "default/c",
            "default/d",
            "default/e",
            "default/f"
        ]
    );
    let exact = get(
        &server,
        &format!("{MAPS}?resourceVersion=6&resourceVersionMatch=Exact"),
    )
    .await;
    assert_eq!(
        (exact.code, &exact.body["message"]),
        (
            410,
            &json!("The resourceVersion for the provided list is too old.")
        )
    );
}

#[tokio::test]
async fn lists_of_all_namespaces_are_in_the_order_of_keys_and_page_through() {
    let server = server();
    for namespace in ["a", "a-b"] {
        let body =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        post(&server, "/api/v1/namespaces", &body).await;
        for name in ["y", "x"] {
            let path = format!("/api/v1/namespaces/{namespace}/configmaps");
            post(&server, &path, &config_map(name, &json!({}))).await;
        }
    }
    let whole = names(&get(&server, "/api/v1/configmaps").await);
    assert_eq!(whole, ["a-b/x", "a-b/y", "a/x", "a/y"]);
    let (mut paged, mut next) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = get(
            &server,
            &format!("/api/v1/configmaps?limit=1&continue={next}"),
        )
        .await;
        paged.extend(names(&page));
        next = page.body["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    assert_eq!((paged, next), (whole, String::new()));
}

#[tokio::test]
async fn a_long_list_comes_whole() {
    let server = server();
    let filler = "x".repeat(1000);
    for i in 0..500 {
        post(
            &server,
            MAPS,
            &config_map(&format!("m{i:03}"), &json!({"x": filler})),
        )
        .await;
    }
    let all = get(&server, MAPS).await;
    let items = all.body["items"].as_array().expect("a list");
    assert_eq!(items.len(), 500);
    assert!(
        items
            .iter()
            .all(|item| item["data"]["x"] == json!(filler) && item.get("kind").is_none())
    );
}

#[tokio::test]
async fn each_kind_is_selected_by_its_own_fields() {
    let server = server();
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {"template": template}});
    assert_eq!(post(&server, jobs, &job).await.code, 201);
    let count = async |path: &str| names(&get(&server, path).await).len();
    assert_eq!(
        count(&format!("{jobs}?fieldSelector=status.successful%3D0")).await,
        1
    );
    assert_eq!(
        count(&format!("{jobs}?fieldSelector=status.successful%3D1")).await,
        0
    );
    let namespaces = "/api/v1/namespaces?fieldSelector=status.phase%3DActive";
    assert_eq!(count(namespaces).await, 4);
    for (path, message) in [
        (
            "/api/v1/nodes?fieldSelector=metadata.namespace%3Dx",
            "field label not supported: metadata.namespace",
        ),
        (
            "/apis/apps/v1/replicasets?fieldSelector=status.replicas%3D1",
            "\"status.replicas\" is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\"",
        ),
        (
            "/apis/batch/v1/jobs?fieldSelector=status.x%3D1",
            "field label \"status.x\" not supported for Job",
        ),
        (
            "/api/v1/events?fieldSelector=regarding.name%3D1",
            "field label not supported: regarding.name",
        ),
        (
            "/api/v1/pods?fieldSelector=metadata.name",
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
        ),
        (
            "/api/v1/pods?fieldSelector=metadata.name%3Da%3Db",
            "invalid field selector: unescaped character in value: 61",
        ),
        (
            "/api/v1/pods?fieldSelector=metadata.name%3Da%5Cx",
            "invalid field selector: invalid escape sequence: \\x",
        ),
    ] {
        let answer = get(&server, path).await;
        let told = (
            answer.code,
            answer.body["message"].as_str().unwrap_or_default(),
        );
        assert_eq!(told, (400, message), "{path}");
    }
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
    assert_eq!(table.body["rows"][0]["cells"], json!(["a", 1, "0s"]));
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
            "shortNames": ["po"], "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8="})
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
    let lost = get(&server, "/apis/apps/v9").await;
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
    assert_eq!(spec["properties"]["replicas"]["type"], json!("integer"));
    assert_eq!(get(&server, "/openapi/v2").await.code, 200);
    assert_eq!(get(&server, "/elsewhere").await.code, 404);
}
