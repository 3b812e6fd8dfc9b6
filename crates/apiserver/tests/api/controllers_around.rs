//! Owns the controllers around the workloads: Events, budgets and evictions, quotas, Endpoints,
//! owners. What statuses and events say is what a
//! real controller manager of 1.34 says at the same steps.

use http::Method;
use serde_json::{Value, json};

use crate::objects::deployment;
use crate::stage::Stage;
use crate::support::{MAPS, config_map, delete, post, send_with};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

#[tokio::test(start_paused = true)]
async fn a_rollout_leaves_the_events_that_describe_shows() {
    let stage = Stage::new();
    stage.post(DEPLOYMENTS, &deployment("web", 2)).await;
    for pod in stage.pods() {
        stage.ready(&pod).await;
    }
    let web = format!("{DEPLOYMENTS}/web");
    stage.patch(&web, &image("app:2")).await;
    for _ in 0..4 {
        for pod in stage.pods() {
            if stage.pod(&pod)["status"]["phase"] == "Pending" {
                stage.ready(&pod).await;
            }
        }
    }
    stage.patch(&web, &json!({"spec": {"replicas": 3}})).await;
    assert_eq!(
        stage.events("Deployment"),
        [
            "Normal ScalingReplicaSet Scaled up replica set web-* from 0 to 2",
            "Normal ScalingReplicaSet Scaled up replica set web-* from 0 to 1",
            "Normal ScalingReplicaSet Scaled down replica set web-* from 2 to 1",
            "Normal ScalingReplicaSet Scaled up replica set web-* from 1 to 2",
            "Normal ScalingReplicaSet Scaled down replica set web-* from 1 to 0",
            "Normal ScalingReplicaSet Scaled up replica set web-* from 2 to 3",
        ]
    );
    let sets = stage.events("ReplicaSet");
    assert_eq!(sets[0], "Normal SuccessfulCreate Created pod: web-*-*");
    assert!(sets.contains(&"Normal SuccessfulDelete Deleted pod: web-*-*".to_owned()));
    let events = stage.get("/api/v1/namespaces/default/events").await;
    let items = events["items"].as_array().cloned().unwrap_or_default();
    let event = items
        .iter()
        .find(|e| e["involvedObject"]["kind"] == "Deployment")
        .expect("an event");
    assert_eq!(
        event["source"],
        json!({"component": "deployment-controller"})
    );
    assert_eq!(event["reportingComponent"], json!("deployment-controller"));
    assert_eq!(event["reportingInstance"], json!(""));
    assert_eq!(event["involvedObject"]["apiVersion"], json!("apps/v1"));
    assert!(!event["involvedObject"]["resourceVersion"].is_null());
    assert_eq!(event["firstTimestamp"], event["lastTimestamp"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_by_annotation_takes_the_earlier_template_and_remembers() {
    let stage = Stage::new();
    stage.post(DEPLOYMENTS, &deployment("web", 1)).await;
    let web = format!("{DEPLOYMENTS}/web");
    stage.patch(&web, &image("app:2")).await;
    let undo = json!({"metadata": {"annotations": {"deprecated.deployment.rollback.to": "1"}}});
    stage.patch(&web, &undo).await;
    let live = stage.get(&web).await;
    assert_eq!(
        live["spec"]["template"]["spec"]["containers"][0]["image"],
        json!("app:1")
    );
    assert_eq!(
        live["metadata"]["annotations"],
        json!({"deployment.kubernetes.io/revision": "3"})
    );
    assert!(stage.events("Deployment").contains(
        &"Normal DeploymentRollback Rolled back deployment \"web\" to revision 1".to_owned()
    ));
    let sets = stage
        .get("/apis/apps/v1/namespaces/default/replicasets")
        .await;
    let items = sets["items"].as_array().cloned().unwrap_or_default();
    let history: Vec<&Value> = items
        .iter()
        .map(|s| &s["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"])
        .filter(|h| !h.is_null())
        .collect();
    assert_eq!(history, [&json!("1")]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_made_are_told_on_the_set_and_the_deployment() {
    let stage = Stage::new();
    let mut body = deployment("web", 1);
    // No pod may have this name, since a label would be too long for its host name... but a label
    // value that is not one is refused for each pod that is made from the template.
    body["spec"]["template"]["metadata"]["annotations"] = json!({"bad key!": "x"});
    let answer = post(&stage.server, DEPLOYMENTS, &body).await;
    if answer.code == 422 {
        // The template is checked already where it is written; then there is nothing to see here.
        return;
    }
    crate::removal::settle().await;
    let status = stage.status(&format!("{DEPLOYMENTS}/web")).await;
    let kinds: Vec<&Value> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| &c["type"])
        .collect();
    assert!(kinds.contains(&&json!("ReplicaFailure")), "{status}");
    assert!(stage.events("ReplicaSet")[0].starts_with("Warning FailedCreate Error creating: "));
}

fn budget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": spec})
}

async fn evict(stage: &Stage, pod: &str) -> (u16, Option<String>, Value) {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
    let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
    let headers = [("content-type", "application/json")];
    let response = send_with(
        &stage.server,
        Method::POST,
        &path,
        &headers,
        body.to_string().into_bytes(),
    )
    .await;
    let after = response.headers().get("retry-after");
    let after = after.map(|v| v.to_str().expect("text").to_owned());
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await;
    let bytes = bytes.expect("infallible").to_bytes();
    crate::removal::settle().await;
    (code, after, serde_json::from_slice(&bytes).expect("JSON"))
}

#[tokio::test(start_paused = true)]
async fn a_budget_counts_and_evictions_honour_it() {
    let stage = Stage::new();
    stage.post(DEPLOYMENTS, &deployment("web", 2)).await;
    let selector = json!({"matchLabels": {"app": "web"}});
    stage
        .post(
            BUDGETS,
            &budget("web", &json!({"minAvailable": 1, "selector": selector})),
        )
        .await;
    let none = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "none"}}});
    stage.post(BUDGETS, &budget("none", &none)).await;
    let condition = |allowed: bool| {
        json!([{"type": "DisruptionAllowed", "status": if allowed { "True" } else { "False" },
            "reason": if allowed { "SufficientPods" } else { "InsufficientPods" }, "message": "",
            "observedGeneration": 1}])
    };
    assert_eq!(
        stage.status(&format!("{BUDGETS}/none")).await,
        json!({"conditions": condition(false), "currentHealthy": 0, "desiredHealthy": 0,
            "disruptionsAllowed": 0, "expectedPods": 0, "observedGeneration": 1})
    );
    assert_eq!(
        stage.events("PodDisruptionBudget"),
        ["Normal NoPods No matching pods found x2"]
    );
    let web = format!("{BUDGETS}/web");
    let pods = stage.pods();
    stage.ready(&pods[0]).await;
    assert_eq!(
        stage.status(&web).await,
        json!({"conditions": condition(false), "currentHealthy": 1, "desiredHealthy": 1,
            "disruptionsAllowed": 0, "expectedPods": 2, "observedGeneration": 1})
    );
    let (code, after, body) = evict(&stage, &pods[0]).await;
    assert_eq!((code, after), (429, None));
    assert_eq!(
        body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Cannot evict pod as it would violate the pod's disruption budget.",
            "reason": "TooManyRequests", "details": {"causes": [{"reason": "DisruptionBudget",
                "message": "The disruption budget web needs 1 healthy pods and has 1 currently"}]},
            "code": 429})
    );
    stage.ready(&pods[1]).await;
    assert_eq!(
        stage.status(&web).await,
        json!({"conditions": condition(true), "currentHealthy": 2, "desiredHealthy": 1,
            "disruptionsAllowed": 1, "expectedPods": 2, "observedGeneration": 1})
    );
    stage.store.bind("default", &pods[1], "n1").expect("there");
    let (code, _, body) = evict(&stage, &pods[1]).await;
    assert_eq!((code, &body["status"]), (201, &json!("Success")));
    let pod = stage.pod(&pods[1]);
    let mark = pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "DisruptionTarget")
        .expect("the mark");
    assert_eq!(
        (&mark["reason"], &mark["message"]),
        (
            &json!("EvictionByEvictionAPI"),
            &json!("Eviction API: evicting")
        )
    );
    assert_eq!(evict(&stage, &pods[0]).await.0, 429);
}

#[tokio::test(start_paused = true)]
async fn shares_of_a_budget_are_of_what_controls_the_pods() {
    let stage = Stage::new();
    stage.post(DEPLOYMENTS, &deployment("web", 4)).await;
    let selector = json!({"matchLabels": {"app": "web"}});
    let half = json!({"maxUnavailable": "50%", "selector": selector});
    stage.post(BUDGETS, &budget("web", &half)).await;
    let web = format!("{BUDGETS}/web");
    let status = stage.status(&web).await;
    assert_eq!(
        (&status["expectedPods"], &status["desiredHealthy"]),
        (&json!(4), &json!(2))
    );
    stage
        .patch(&format!("{DEPLOYMENTS}/web"), &image("app:2"))
        .await;
    // Two replica sets of one deployment count once.
    assert_eq!(stage.status(&web).await["expectedPods"], json!(4));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare",
        "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}});
    // It has no controller, and no set adopts it for want of a hash.
    stage.post("/api/v1/namespaces/default/pods", &pod).await;
    let told = stage.events("PodDisruptionBudget");
    assert!(
        told.iter()
            .any(|e| e.starts_with("Warning UnmanagedPods Pods selected by this")),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_quota_says_what_is_used() {
    let stage = Stage::new();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "5", "requests.cpu": "2", "limits.memory": "1Gi", "configmaps": "10",
            "count/deployments.apps": "5", "services": "3"}}});
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    stage.post(quotas, &quota).await;
    let mut web = deployment("web", 2);
    web["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "128Mi"}});
    stage.post(DEPLOYMENTS, &web).await;
    let q = format!("{quotas}/q");
    let used = json!({"pods": "2", "requests.cpu": "500m", "limits.memory": "256Mi", "configmaps": "1",
        "count/deployments.apps": "1", "services": "0"});
    assert_eq!(stage.status(&q).await["used"], used);
    assert_eq!(stage.status(&q).await["hard"], quota["spec"]["hard"]);
    let pod = stage.pods()[0].clone();
    stage.end(&pod, "Succeeded", 0).await;
    let live = stage.status(&q).await["used"].clone();
    // One has ended and is replaced.
    assert_eq!(
        (&live["pods"], &live["requests.cpu"]),
        (&json!("2"), &json!("500m"))
    );
    stage
        .patch(
            &format!("{DEPLOYMENTS}/web"),
            &json!({"spec": {"replicas": 0}}),
        )
        .await;
    let live = stage.status(&q).await["used"].clone();
    assert_eq!(
        (&live["pods"], &live["requests.cpu"]),
        (&json!("0"), &json!("0"))
    );
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_kept_beside_slices() {
    let stage = Stage::new();
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "labels": {"x": "z"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "None", "ports": [
            {"name": "http", "port": 80, "targetPort": "http"}]}});
    stage
        .post("/api/v1/namespaces/default/services", &service)
        .await;
    let path = "/api/v1/namespaces/default/endpoints/web";
    let empty = stage.get(path).await;
    assert_eq!(
        empty["metadata"]["labels"],
        json!({"x": "z", "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            "service.kubernetes.io/headless": ""})
    );
    assert_eq!(
        empty["metadata"]["annotations"],
        json!({"endpoints.kubernetes.io/last-change-trigger-time":
            empty["metadata"]["creationTimestamp"]})
    );
    assert_eq!(empty.get("subsets"), None);
    stage.post(DEPLOYMENTS, &deployment("web", 2)).await;
    stage.pass(5).await;
    let pods = stage.pods();
    for pod in &pods {
        stage.ready(pod).await;
    }
    let live = stage.get(path).await;
    let at = stage.now();
    assert_eq!(
        live["metadata"]["annotations"],
        json!({"endpoints.kubernetes.io/last-change-trigger-time": at})
    );
    assert_eq!(
        live["subsets"][0]["ports"],
        json!([{"name": "http", "port": 9898, "protocol": "TCP"}])
    );
    assert_eq!(
        live["subsets"][0]["addresses"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        live["subsets"][0]["addresses"][0]["targetRef"]["kind"],
        json!("Pod")
    );
    let slices = stage
        .get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")
        .await;
    assert_eq!(
        slices["items"][0]["metadata"]["annotations"],
        json!({"endpoints.kubernetes.io/last-change-trigger-time": at})
    );
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let kind = crate::stage::POD;
    let told = stage
        .store
        .patch_status(&kind, "default", &pods[0], unready);
    told.expect("there");
    let live = stage.get(path).await;
    assert_eq!(
        live["subsets"][0]["notReadyAddresses"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    stage
        .delete("/api/v1/namespaces/default/services/web")
        .await;
    assert_eq!(stage.get(path).await["reason"], json!("NotFound"));
}

#[tokio::test(start_paused = true)]
async fn an_owner_in_another_namespace_owns_nothing() {
    let stage = Stage::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    stage.post("/api/v1/namespaces", &namespace).await;
    let owner = stage
        .post(
            "/api/v1/namespaces/n/configmaps",
            &config_map("owner", &json!({})),
        )
        .await;
    let mut child = config_map("child", &json!({}));
    let uid = owner["metadata"]["uid"].clone();
    child["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]);
    stage.post(MAPS, &child).await;
    assert_eq!(
        stage.get(&format!("{MAPS}/child")).await["reason"],
        json!("NotFound")
    );
    let uid = uid.as_str().expect("text");
    let events = stage.get("/api/v1/namespaces/default/events").await;
    assert_eq!(
        events["items"][0]["message"],
        json!(format!(
            "ownerRef [v1/ConfigMap, namespace: default, name: owner, uid: {uid}] does not exist in \
             namespace \"default\""
        ))
    );
    assert_eq!(
        events["items"][0]["reason"],
        json!("OwnerRefInvalidNamespace")
    );
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_go() {
    let stage = Stage::new();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    stage.post("/api/v1/nodes", &node).await;
    stage.post(DEPLOYMENTS, &deployment("web", 2)).await;
    let first = stage.pods();
    for pod in &first {
        stage.store.bind("default", pod, "n1").expect("there");
        stage.ready(pod).await;
    }
    stage.delete("/api/v1/nodes/n1").await;
    stage.pass(39).await;
    assert_eq!(stage.pods(), first);
    stage.pass(2).await;
    let rest = stage.pods();
    assert!(
        rest.len() == 2 && rest.iter().all(|p| !first.contains(p)),
        "{rest:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replication_controller_keeps_its_pods() {
    let stage = Stage::new();
    let controller = json!({"apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {"name": "rc"}, "spec": {"replicas": 2, "selector": {"app": "rc"},
            "template": {"metadata": {"labels": {"app": "rc"}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]}}}});
    let path = "/api/v1/namespaces/default/replicationcontrollers";
    stage.post(path, &controller).await;
    let pods = stage.pods();
    stage.ready(&pods[0]).await;
    assert_eq!(
        stage.status(&format!("{path}/rc")).await,
        json!({"replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 1, "availableReplicas": 1,
            "observedGeneration": 1})
    );
    // A pod that loses the label is let go and replaced, and taken back when it has it again.
    let pod = format!("/api/v1/namespaces/default/pods/{}", pods[0]);
    stage
        .patch(&pod, &json!({"metadata": {"labels": {"app": "other"}}}))
        .await;
    assert_eq!(stage.pods().len(), 3);
    assert_eq!(
        stage.get(&pod).await["metadata"].get("ownerReferences"),
        None
    );
    stage
        .patch(&pod, &json!({"metadata": {"labels": {"app": "rc"}}}))
        .await;
    assert_eq!(stage.pods().len(), 2);
    let orphan = json!({"propagationPolicy": "Orphan"});
    delete(&stage.server, &format!("{path}/rc"), &orphan).await;
    crate::removal::settle().await;
    assert_eq!(stage.pods().len(), 2);
}
