//! Owns the controllers of StatefulSet and DaemonSet. What statuses and events say is what a real
//! controller manager of 1.34 says at the same steps.

use serde_json::{Value, json};

use crate::stage::Stage;

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const DAEMONS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

fn set(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"serviceName": "db", "replicas": replicas, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [
                {"name": "db", "image": "db:1", "args": ["a<b>&c"],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": {"l": "m"}},
                "spec": {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}}}}]}})
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "db", "image": image,
        "args": ["a<b>&c"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}}}})
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|i| {
            i["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_grows_in_order_rolls_backwards_and_shrinks() {
    let stage = Stage::new();
    stage.post(SETS, &set(2)).await;
    let db = format!("{SETS}/db");
    // The names of revisions are hashes of what they hold, equal to those of the real controller.
    assert_eq!(
        stage.status(&db).await,
        json!({"availableReplicas": 0, "collisionCount": 0, "currentReplicas": 1,
            "currentRevision": "db-9dff8fd54", "observedGeneration": 1, "replicas": 1,
            "updateRevision": "db-9dff8fd54", "updatedReplicas": 1})
    );
    let pod = stage.pod("db-0");
    assert_eq!(
        pod["metadata"]["labels"],
        json!({"app": "db", "apps.kubernetes.io/pod-index": "0",
            "controller-revision-hash": "db-9dff8fd54", "statefulset.kubernetes.io/pod-name": "db-0"})
    );
    assert_eq!(pod["metadata"]["generateName"], json!("db-"));
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&json!("db-0"), &json!("db"))
    );
    assert_eq!(
        pod["spec"]["volumes"][0],
        json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}})
    );
    let claim = stage.get(&format!("{CLAIMS}/data-db-0")).await;
    assert_eq!(claim["metadata"]["labels"], json!({"app": "db", "l": "m"}));
    assert_eq!(
        claim["metadata"]["finalizers"],
        json!(["kubernetes.io/pvc-protection"])
    );
    assert_eq!(claim["metadata"].get("ownerReferences"), None);
    let revision = stage.get(&format!("{REVISIONS}/db-9dff8fd54")).await;
    assert_eq!(
        revision["metadata"]["labels"],
        json!({"app": "db", "controller.kubernetes.io/hash": "9dff8fd54"})
    );
    assert_eq!(revision["revision"], json!(1));
    assert_eq!(
        revision["data"]["spec"]["template"]["$patch"],
        json!("replace")
    );
    assert_eq!(stage.pods(), ["db-0"]);
    stage.ready("db-0").await;
    assert_eq!(
        stage.status(&db).await,
        json!({"availableReplicas": 1, "collisionCount": 0, "currentReplicas": 2,
            "currentRevision": "db-9dff8fd54", "observedGeneration": 1, "readyReplicas": 1,
            "replicas": 2, "updateRevision": "db-9dff8fd54", "updatedReplicas": 2})
    );
    stage.ready("db-1").await;
    stage.patch(&db, &image("db:2")).await;
    assert_eq!(
        stage.status(&db).await,
        json!({"availableReplicas": 1, "collisionCount": 0, "currentReplicas": 1,
            "currentRevision": "db-9dff8fd54", "observedGeneration": 2, "readyReplicas": 1,
            "replicas": 2, "updateRevision": "db-987cd8b7f", "updatedReplicas": 1})
    );
    stage.ready("db-1").await;
    assert_eq!(
        stage.status(&db).await,
        json!({"availableReplicas": 1, "collisionCount": 0, "currentRevision": "db-9dff8fd54",
            "observedGeneration": 2, "readyReplicas": 1, "replicas": 2,
            "updateRevision": "db-987cd8b7f", "updatedReplicas": 2})
    );
    stage.ready("db-0").await;
    let done = json!({"availableReplicas": 2, "collisionCount": 0, "currentReplicas": 2,
        "currentRevision": "db-987cd8b7f", "observedGeneration": 2, "readyReplicas": 2,
        "replicas": 2, "updateRevision": "db-987cd8b7f", "updatedReplicas": 2});
    assert_eq!(stage.status(&db).await, done);
    stage.patch(&db, &json!({"spec": {"replicas": 1}})).await;
    assert_eq!(stage.pods(), ["db-0"]);
    assert_eq!(names(&stage.get(CLAIMS).await), ["data-db-0", "data-db-1"]);
    assert_eq!(
        stage.events("StatefulSet"),
        [
            "Normal SuccessfulCreate create Claim data-db-0 Pod db-0 in StatefulSet db success",
            "Normal SuccessfulCreate create Pod db-0 in StatefulSet db successful x2",
            "Normal SuccessfulCreate create Claim data-db-1 Pod db-1 in StatefulSet db success",
            "Normal SuccessfulCreate create Pod db-1 in StatefulSet db successful x2",
            "Normal SuccessfulDelete delete Pod db-1 in StatefulSet db successful x2",
            "Normal SuccessfulDelete delete Pod db-0 in StatefulSet db successful",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_keeps_the_lower_pods_and_a_revision_that_is_taken_back_is_renumbered() {
    let mut stage = Stage::new();
    let mut body = set(3);
    body["spec"]["podManagementPolicy"] = json!("Parallel");
    body["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    stage.post(SETS, &body).await;
    assert_eq!(stage.pods(), ["db-0", "db-1", "db-2"]);
    for pod in stage.pods() {
        stage.ready(&pod).await;
    }
    let db = format!("{SETS}/db");
    stage.patch(&db, &image("db:2")).await;
    stage.ready("db-2").await;
    let images = |stage: &Stage| -> Vec<String> {
        let image = |name: &String| {
            let pod = stage.pod(name);
            pod["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        stage.pods().iter().map(image).collect()
    };
    assert_eq!(images(&stage), ["db:1", "db:1", "db:2"]);
    let status = stage.status(&db).await;
    assert_eq!(
        (&status["currentReplicas"], &status["updatedReplicas"]),
        (&json!(2), &json!(1))
    );
    // A pod below the partition that is lost comes back at the old revision, also after an end.
    stage.restart();
    stage.delete("/api/v1/namespaces/default/pods/db-1").await;
    assert_eq!(images(&stage), ["db:1", "db:1", "db:2"]);
    stage.ready("db-1").await;
    stage.patch(&db, &image("db:1")).await;
    stage.ready("db-2").await;
    assert_eq!(images(&stage), ["db:1", "db:1", "db:1"]);
    let all = stage.get(REVISIONS).await;
    let mut numbers: Vec<(String, Value)> = names(&all)
        .into_iter()
        .zip(all["items"].as_array().into_iter().flatten())
        .map(|(name, revision)| (name, revision["revision"].clone()))
        .collect();
    numbers.sort_by_key(|(_, number)| number.as_i64());
    assert_eq!(
        numbers,
        [
            ("db-987cd8b7f".to_owned(), json!(2)),
            ("db-9dff8fd54".to_owned(), json!(3))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn pods_are_counted_available_after_their_patience_and_replaced_on_delete_only() {
    let stage = Stage::new();
    let mut body = set(2);
    body["spec"]["minReadySeconds"] = json!(10);
    body["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    stage.post(SETS, &body).await;
    let db = format!("{SETS}/db");
    stage.ready("db-0").await;
    assert_eq!(stage.pods(), ["db-0"]);
    assert_eq!(stage.status(&db).await["availableReplicas"], json!(0));
    stage.pass(10).await;
    assert_eq!(stage.pods(), ["db-0", "db-1"]);
    assert_eq!(stage.status(&db).await["availableReplicas"], json!(1));
    stage.ready("db-1").await;
    stage.pass(10).await;
    stage.patch(&db, &image("db:2")).await;
    assert_eq!(stage.status(&db).await["updatedReplicas"], Value::Null);
    stage.delete("/api/v1/namespaces/default/pods/db-0").await;
    assert_eq!(stage.status(&db).await["updatedReplicas"], json!(1));
}

#[tokio::test(start_paused = true)]
async fn claims_go_with_pods_and_sets_as_the_policy_says() {
    let stage = Stage::new();
    let mut body = set(2);
    body["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    stage.post(SETS, &body).await;
    let db = format!("{SETS}/db");
    stage.ready("db-0").await;
    stage.ready("db-1").await;
    let owner =
        stage.get(&format!("{CLAIMS}/data-db-1")).await["metadata"]["ownerReferences"].clone();
    assert_eq!(
        (&owner[0]["kind"], &owner[0]["controller"]),
        (&json!("StatefulSet"), &json!(true))
    );
    stage.patch(&db, &json!({"spec": {"replicas": 1}})).await;
    assert_eq!(names(&stage.get(CLAIMS).await), ["data-db-0"]);
    stage.delete(&db).await;
    assert_eq!(names(&stage.get(CLAIMS).await), Vec::<String>::new());
    assert_eq!(stage.pods(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn pods_that_ended_are_made_again() {
    let stage = Stage::new();
    stage.post(SETS, &set(1)).await;
    stage.ready("db-0").await;
    let first = stage.pod("db-0")["metadata"]["uid"].clone();
    stage.end("db-0", "Failed", 1).await;
    assert_ne!(stage.pod("db-0")["metadata"]["uid"], first);
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"n": name}}})
}

fn daemon() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ds"},
        "spec": {"selector": {"matchLabels": {"app": "ds"}},
            "template": {"metadata": {"labels": {"app": "ds"}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]}}}})
}

async fn bind_all(stage: &Stage) {
    for name in stage.pods() {
        let pod = stage.pod(&name);
        if pod["spec"]["nodeName"].is_null() {
            let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            let node = &terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
            let node = node.as_str().expect("a node");
            stage.store.bind("default", &name, node).expect("there");
            stage.ready(&name).await;
        }
    }
}

/// Lets kubelets end what is going.
async fn end_all(stage: &Stage) {
    for name in stage.pods() {
        if !stage.pod(&name)["metadata"]["deletionTimestamp"].is_null() {
            let ended = stage.store.delete_now(&crate::stage::POD, "default", &name);
            ended.expect("there");
        }
    }
    crate::removal::settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_runs_once_on_each_node_and_rolls_within_its_bounds() {
    let stage = Stage::new();
    let ds = format!("{DAEMONS}/ds");
    stage.post(DAEMONS, &daemon()).await;
    assert_eq!(
        stage.status(&ds).await,
        json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
            "numberReady": 0, "observedGeneration": 1})
    );
    for name in ["n1", "n2", "n3"] {
        stage.post("/api/v1/nodes", &node(name)).await;
    }
    assert_eq!(
        stage.status(&ds).await,
        json!({"currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberMisscheduled": 0,
            "numberReady": 0, "numberUnavailable": 3, "observedGeneration": 1,
            "updatedNumberScheduled": 3})
    );
    let first = stage.pod(&stage.pods()[0]);
    let keys: Vec<&Value> = first["spec"]["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| &t["key"])
        .collect();
    assert_eq!(
        keys,
        [
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
            "node.kubernetes.io/disk-pressure",
            "node.kubernetes.io/memory-pressure",
            "node.kubernetes.io/pid-pressure",
            "node.kubernetes.io/unschedulable"
        ]
    );
    bind_all(&stage).await;
    let ready = json!({"currentNumberScheduled": 3, "desiredNumberScheduled": 3,
        "numberAvailable": 3, "numberMisscheduled": 0, "numberReady": 3, "observedGeneration": 1,
        "updatedNumberScheduled": 3});
    assert_eq!(stage.status(&ds).await, ready);
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "c:2"}]}}}});
    stage.patch(&ds, &image).await;
    for step in 1..=3 {
        // One may be missing at a time.
        let going = stage.pods();
        let going = going
            .iter()
            .filter(|p| !stage.pod(p)["metadata"]["deletionTimestamp"].is_null());
        assert_eq!(going.count(), 1, "step {step}");
        end_all(&stage).await;
        assert_eq!(stage.status(&ds).await["numberAvailable"], json!(2));
        bind_all(&stage).await;
        assert_eq!(
            stage.status(&ds).await["updatedNumberScheduled"],
            json!(step)
        );
    }
    assert_eq!(stage.status(&ds).await["numberAvailable"], json!(3));
    let revisions = stage.get(REVISIONS).await;
    assert_eq!(names(&revisions).len(), 2);
    assert!(!revisions["items"][0]["metadata"]["labels"]["controller-revision-hash"].is_null());
    stage.delete("/api/v1/nodes/n3").await;
    assert_eq!(stage.status(&ds).await["desiredNumberScheduled"], json!(2));
}

#[tokio::test(start_paused = true)]
async fn a_surging_daemon_starts_the_new_pod_before_the_old_one_ends() {
    let stage = Stage::new();
    stage.post("/api/v1/nodes", &node("n1")).await;
    let mut body = daemon();
    body["spec"]["updateStrategy"] = json!({"type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    stage.post(DAEMONS, &body).await;
    bind_all(&stage).await;
    let ds = format!("{DAEMONS}/ds");
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "c:2"}]}}}});
    stage.patch(&ds, &image).await;
    assert_eq!(stage.pods().len(), 2);
    let going = |stage: &Stage| {
        let all = stage.pods();
        let going = all
            .iter()
            .filter(|p| !stage.pod(p)["metadata"]["deletionTimestamp"].is_null());
        going.count()
    };
    assert_eq!(going(&stage), 0);
    bind_all(&stage).await;
    assert_eq!(going(&stage), 1);
    end_all(&stage).await;
    let status = stage.status(&ds).await;
    assert_eq!(
        (
            &status["updatedNumberScheduled"],
            &status["numberAvailable"]
        ),
        (&json!(1), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_fails_is_replaced_with_growing_patience() {
    let stage = Stage::new();
    stage.post("/api/v1/nodes", &node("n1")).await;
    stage.post(DAEMONS, &daemon()).await;
    let first = stage.pods();
    stage.end(&first[0], "Failed", 1).await;
    let second = stage.pods();
    assert_ne!(first, second);
    stage.end(&second[0], "Failed", 1).await;
    assert_eq!(stage.pods(), second);
    stage.pass(2).await;
    assert_ne!(stage.pods(), second);
    let events = stage.events("DaemonSet");
    assert_eq!(
        events[1],
        "Warning FailedDaemonPod Found failed daemon pod default/ds-* on node n1, will try to kill it"
    );
}
