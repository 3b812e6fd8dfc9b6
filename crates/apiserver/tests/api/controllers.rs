//! Owns the built-in controllers: rollouts, replicas, endpoints, the end of events.

use std::time::Duration;

use serde_json::{Value, json};
use weir_apiserver::{ApiServer, Selector, Store};
use weir_object::Kind;

use crate::objects::deployment;
use crate::removal::settle;
use crate::support::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const POD: Kind = Kind::namespaced("", "v1", "Pod", "pods");
const SET: Kind = Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets");
const SLICE: Kind = Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");

/// Makes pods whose image is not `bad` ready, one round after the other, until nothing changes.
async fn kubelet(server: &ApiServer) {
    let store = server.store();
    for _ in 0..40 {
        settle().await;
        let before = store.version();
        for (i, pod) in pods(&store).into_iter().enumerate() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            if pod["spec"]["containers"][0]["image"] == "bad" || pod["status"]["phase"] == "Running"
            {
                continue;
            }
            let now = server_now(&store);
            let status = json!({"status": {"phase": "Running", "podIP": format!("127.1.0.{}", i + 1),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]}});
            store
                .patch_status(&POD, "default", name, status)
                .expect("there");
        }
        settle().await;
        if store.version() == before {
            return;
        }
    }
    panic!("the controllers do not come to rest");
}

fn server_now(store: &Store) -> Value {
    // A new object carries the server's time.
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"generateName": "probe-", "namespace": "default"}});
    let kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
    let made = store.create(&kind, probe).expect("valid");
    made["metadata"]["creationTimestamp"].clone()
}

fn pods(store: &Store) -> Vec<Value> {
    store
        .list(&POD, Some("default"), &Selector::default())
        .0
        .iter()
        .map(|p| (**p).clone())
        .collect()
}

fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let all = object["status"]["conditions"]
        .as_array()
        .expect("conditions");
    let one = all
        .iter()
        .find(|c| c["type"] == kind)
        .expect("the condition");
    (
        one["status"].as_str().unwrap_or_default(),
        one["reason"].as_str().unwrap_or_default(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_deployment_becomes_available_and_rolls() {
    let server = moving();
    let controllers = tokio::spawn(server.run_controllers());
    post(&server, DEPLOYMENTS, &deployment("web", 3)).await;
    settle().await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        condition(&web, "Available"),
        ("False", "MinimumReplicasUnavailable")
    );
    assert_eq!(web["status"]["unavailableReplicas"], json!(3));
    kubelet(&server).await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        condition(&web, "Available"),
        ("True", "MinimumReplicasAvailable")
    );
    assert_eq!(
        condition(&web, "Progressing"),
        ("True", "NewReplicaSetAvailable")
    );
    let mut status = web["status"].clone();
    status
        .as_object_mut()
        .expect("a map")
        .shift_remove("conditions");
    assert_eq!(
        status,
        json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
            "availableReplicas": 3})
    );
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        json!("1")
    );
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}}});
    patch(
        &server,
        &format!("{DEPLOYMENTS}/web"),
        "strategic-merge",
        &image,
    )
    .await;
    kubelet(&server).await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        json!("2")
    );
    assert_eq!(
        (
            &web["status"]["updatedReplicas"],
            &web["status"]["replicas"]
        ),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        web["status"]["observedGeneration"],
        web["metadata"]["generation"]
    );
    let images: Vec<Value> = pods(&server.store())
        .iter()
        .map(|p| p["spec"]["containers"][0]["image"].clone())
        .collect();
    assert_eq!(images, vec![json!("app:2"); 3]);
    let sets = server.store().list(&SET, None, &Selector::default()).0;
    assert_eq!(sets.len(), 2);
    // Going back to the first template takes its set again.
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:1"}]}}}});
    patch(
        &server,
        &format!("{DEPLOYMENTS}/web"),
        "strategic-merge",
        &image,
    )
    .await;
    kubelet(&server).await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        json!("3")
    );
    assert_eq!(
        server
            .store()
            .list(&SET, None, &Selector::default())
            .0
            .len(),
        2
    );
    delete(&server, &format!("{DEPLOYMENTS}/web"), &Value::Null).await;
    settle().await;
    assert_eq!(pods(&server.store()), Vec::<Value>::new());
    controllers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stuck_rollout_keeps_the_old_pods_and_passes_its_deadline() {
    let server = moving();
    let controllers = tokio::spawn(server.run_controllers());
    let mut body = deployment("web", 4);
    body["spec"]["progressDeadlineSeconds"] = json!(60);
    post(&server, DEPLOYMENTS, &body).await;
    kubelet(&server).await;
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "bad"}]}}}});
    patch(
        &server,
        &format!("{DEPLOYMENTS}/web"),
        "strategic-merge",
        &image,
    )
    .await;
    kubelet(&server).await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    // A quarter of four may be missing, and a quarter may be too many.
    assert_eq!(web["status"]["availableReplicas"], json!(3));
    assert_eq!(web["status"]["replicas"], json!(5));
    assert_eq!(
        condition(&web, "Progressing"),
        ("True", "ReplicaSetUpdated")
    );
    tokio::time::sleep(Duration::from_secs(62)).await;
    settle().await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        condition(&web, "Progressing"),
        ("False", "ProgressDeadlineExceeded")
    );
    controllers.abort();
}

#[tokio::test(start_paused = true)]
async fn sizes_are_followed_and_pods_are_replaced() {
    let server = moving();
    let controllers = tokio::spawn(server.run_controllers());
    post(&server, DEPLOYMENTS, &deployment("web", 2)).await;
    kubelet(&server).await;
    let path = format!("{DEPLOYMENTS}/web");
    patch(
        &server,
        &format!("{path}/scale"),
        "merge",
        &json!({"spec": {"replicas": 5}}),
    )
    .await;
    kubelet(&server).await;
    assert_eq!(
        get(&server, &path).await.body["status"]["readyReplicas"],
        json!(5)
    );
    let name = pods(&server.store())[0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    server
        .store()
        .delete(&POD, "default", &name)
        .expect("there");
    settle().await;
    assert_eq!(pods(&server.store()).len(), 5);
    patch(&server, &path, "merge", &json!({"spec": {"replicas": 0}})).await;
    kubelet(&server).await;
    assert_eq!(pods(&server.store()).len(), 0);
    assert_eq!(
        get(&server, &path).await.body["status"].get("replicas"),
        None
    );
    controllers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_recreated_deployment_ends_the_old_pods_first() {
    let server = moving();
    let controllers = tokio::spawn(server.run_controllers());
    let mut body = deployment("web", 2);
    body["spec"]["strategy"] = json!({"type": "Recreate"});
    post(&server, DEPLOYMENTS, &body).await;
    kubelet(&server).await;
    let store = server.store();
    for pod in pods(&store) {
        store
            .bind(
                "default",
                pod["metadata"]["name"].as_str().unwrap_or_default(),
                "n1",
            )
            .expect("there");
    }
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}}});
    patch(
        &server,
        &format!("{DEPLOYMENTS}/web"),
        "strategic-merge",
        &image,
    )
    .await;
    kubelet(&server).await;
    let all = pods(&store);
    assert!(
        all.iter()
            .all(|p| p["metadata"]["deletionTimestamp"].is_string()),
        "{all:?}"
    );
    for pod in all {
        store
            .delete_now(
                &POD,
                "default",
                pod["metadata"]["name"].as_str().unwrap_or_default(),
            )
            .expect("there");
    }
    kubelet(&server).await;
    let web = get(&server, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        (
            &web["status"]["updatedReplicas"],
            &web["status"]["availableReplicas"]
        ),
        (&json!(2), &json!(2))
    );
    controllers.abort();
}

#[tokio::test(start_paused = true)]
async fn ready_pods_become_endpoints() {
    let server = moving();
    let controllers = tokio::spawn(server.run_controllers());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    post(&server, "/api/v1/namespaces/default/services", &service).await;
    settle().await;
    let store = server.store();
    let slices = |store: &Store| store.list(&SLICE, Some("default"), &Selector::default()).0;
    // As the real controller writes it, a slice without endpoints has no list rather than an empty
    // one.
    assert_eq!(
        (slices(&store).len(), &slices(&store)[0]["endpoints"]),
        (1, &Value::Null)
    );
    post(&server, DEPLOYMENTS, &deployment("web", 2)).await;
    kubelet(&server).await;
    let all = slices(&store);
    assert_eq!(all.len(), 1);
    assert_eq!(
        all[0]["ports"],
        json!([{"name": "http", "port": 9898, "protocol": "TCP"}])
    );
    assert_eq!(
        all[0]["metadata"]["labels"]["kubernetes.io/service-name"],
        json!("web")
    );
    let ready: Vec<_> = all[0]["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| (e["addresses"][0].clone(), e["conditions"]["ready"].clone()))
        .collect();
    assert_eq!(
        ready,
        [
            (json!("127.1.0.1"), json!(true)),
            (json!("127.1.0.2"), json!(true))
        ]
    );
    let name = pods(&store)[0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    store
        .patch_status(&POD, "default", &name, unready)
        .expect("there");
    settle().await;
    assert_eq!(
        slices(&store)[0]["endpoints"][0]["conditions"]["ready"],
        json!(false)
    );
    delete(
        &server,
        "/api/v1/namespaces/default/services/web",
        &Value::Null,
    )
    .await;
    settle().await;
    assert_eq!(slices(&store).len(), 0);
    controllers.abort();
}

#[tokio::test(start_paused = true)]
async fn events_end_after_their_time() {
    let server = moving();
    let controllers = tokio::spawn(server.run_controllers());
    let events = "/api/v1/namespaces/default/events";
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Hi", "type": "Normal"});
    post(&server, events, &event).await;
    settle().await;
    tokio::time::sleep(Duration::from_mins(30)).await;
    patch(
        &server,
        &format!("{events}/e"),
        "merge",
        &json!({"count": 2}),
    )
    .await;
    settle().await;
    tokio::time::sleep(Duration::from_secs(1801)).await;
    assert_eq!(get(&server, &format!("{events}/e")).await.code, 200);
    tokio::time::sleep(Duration::from_secs(1801)).await;
    settle().await;
    assert_eq!(get(&server, &format!("{events}/e")).await.code, 404);
    controllers.abort();
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_worlds() {
    let mut worlds = Vec::new();
    for _ in 0..2 {
        let server = moving();
        let controllers = tokio::spawn(server.run_controllers());
        post(&server, DEPLOYMENTS, &deployment("web", 3)).await;
        kubelet(&server).await;
        worlds.push(pods(&server.store()));
        controllers.abort();
    }
    assert_eq!(worlds[0], worlds[1]);
}
