//! Owns the controllers of volumes and namespaces. What statuses and events say is what a real
//! controller manager of 1.34 says at the same steps.

use serde_json::{Value, json};
use weir_apiserver::Tuning;

use crate::stage::Stage;
use crate::support::config_map;

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

fn claim(name: &str, class: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_class_waits_and_gets_the_default_one_when_there_is_one() {
    let stage = Stage::new();
    let mut body = claim("c", &Value::Null);
    body["spec"]
        .as_object_mut()
        .expect("a map")
        .remove("storageClassName");
    stage.post(CLAIMS, &body).await;
    let c = format!("{CLAIMS}/c");
    assert_eq!(stage.status(&c).await, json!({"phase": "Pending"}));
    let told = stage.events("PersistentVolumeClaim");
    assert!(
        told[0].starts_with(
            "Normal FailedBinding no persistent volumes available for this claim and no storage class is set"
        ),
        "{told:?}"
    );
    stage.post(CLAIMS, &claim("odd", &json!("nope"))).await;
    assert!(
        stage.events("PersistentVolumeClaim")[1].starts_with(
            "Warning ProvisioningFailed storageclass.storage.k8s.io \"nope\" not found"
        )
    );
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "example.com/disk", "volumeBindingMode": "WaitForFirstConsumer"});
    stage.post(CLASSES, &class).await;
    assert_eq!(
        stage.status(&c).await,
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}})
    );
    let live = stage.get(&c).await;
    let uid = live["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(live["spec"]["volumeName"], json!(format!("pvc-{uid}")));
    assert_eq!(live["spec"]["storageClassName"], json!("standard"));
    assert_eq!(
        live["metadata"]["annotations"],
        json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
            "volume.beta.kubernetes.io/storage-provisioner": "example.com/disk",
            "volume.kubernetes.io/storage-provisioner": "example.com/disk"})
    );
    let volume = stage.get(&format!("{VOLUMES}/pvc-{uid}")).await;
    assert_eq!(volume["status"]["phase"], json!("Bound"));
    assert_eq!(volume["spec"]["claimRef"]["uid"], json!(uid));
    assert_eq!(
        volume["spec"]["persistentVolumeReclaimPolicy"],
        json!("Delete")
    );
    assert_eq!(
        volume["metadata"]["finalizers"],
        json!(["kubernetes.io/pv-protection"])
    );
    stage.delete(&c).await;
    assert_eq!(
        stage.get(&format!("{VOLUMES}/pvc-{uid}")).await["reason"],
        json!("NotFound")
    );
}

#[tokio::test(start_paused = true)]
async fn the_smallest_volume_that_fits_is_bound_and_kept_while_it_is_used() {
    let stage = Stage::new();
    for (name, size) in [("large", "10Gi"), ("small", "512Mi"), ("right", "2Gi")] {
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "",
                "hostPath": {"path": "/x"}}});
        stage.post(VOLUMES, &volume).await;
        let phase = stage.get(&format!("{VOLUMES}/{name}")).await["status"]["phase"].clone();
        assert_eq!(phase, json!("Available"));
    }
    stage.post(CLAIMS, &claim("c", &json!(""))).await;
    let c = format!("{CLAIMS}/c");
    assert_eq!(stage.get(&c).await["spec"]["volumeName"], json!("right"));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "c:1"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    stage.post("/api/v1/namespaces/default/pods", &pod).await;
    stage.delete(&c).await;
    let going = stage.get(&c).await;
    assert!(!going["metadata"]["deletionTimestamp"].is_null());
    let ended = stage.store.delete_now(&crate::stage::POD, "default", "p");
    ended.expect("there");
    assert_eq!(stage.get(&c).await["reason"], json!("NotFound"));
    let right = stage.get(&format!("{VOLUMES}/right")).await;
    assert_eq!(right["status"]["phase"], json!("Released"));
}

#[tokio::test(start_paused = true)]
async fn every_namespace_has_an_account_and_a_certificate_and_gets_them_back() {
    let stage = Stage::with(Tuning {
        root_ca: "a certificate".to_owned(),
        ..Tuning::default()
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    stage.post("/api/v1/namespaces", &namespace).await;
    let account = "/api/v1/namespaces/n/serviceaccounts/default";
    let map = "/api/v1/namespaces/n/configmaps/kube-root-ca.crt";
    assert_eq!(stage.get(account).await["kind"], json!("ServiceAccount"));
    let live = stage.get(map).await;
    assert_eq!(live["data"], json!({"ca.crt": "a certificate"}));
    assert_eq!(
        live["metadata"]["annotations"]["kubernetes.io/description"],
        json!(
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
               endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
               guaranteed across distributions of Kubernetes clusters."
        )
    );
    stage.delete(account).await;
    stage
        .patch(map, &json!({"data": {"ca.crt": "forged"}}))
        .await;
    assert_eq!(stage.get(account).await["kind"], json!("ServiceAccount"));
    assert_eq!(
        stage.get(map).await["data"],
        json!({"ca.crt": "a certificate"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_ends_says_what_is_left_and_pods_go_first() {
    let stage = Stage::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    stage.post("/api/v1/namespaces", &namespace).await;
    let hold = json!(["demo.io/hold"]);
    let mut map = config_map("held", &json!({}));
    map["metadata"]["finalizers"] = hold.clone();
    stage.post("/api/v1/namespaces/n/configmaps", &map).await;
    stage
        .post(
            "/api/v1/namespaces/n/configmaps",
            &config_map("free", &json!({})),
        )
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": hold},
        "spec": {"containers": [{"name": "c", "image": "c:1"}]}});
    stage.post("/api/v1/namespaces/n/pods", &pod).await;
    stage.delete("/api/v1/namespaces/n").await;
    let messages = |status: &Value| -> Vec<String> {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.map(|c| {
            let text = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {} {}",
                text("type"),
                text("status"),
                text("reason"),
                text("message")
            )
        })
        .collect()
    };
    let fine = [
        "NamespaceDeletionDiscoveryFailure False ResourcesDiscovered All resources successfully discovered",
        "NamespaceDeletionGroupVersionParsingFailure False ParsedGroupVersions All legacy kube types \
         successfully parsed",
        "NamespaceDeletionContentFailure False ContentDeleted All content successfully deleted, may be \
         waiting on finalization",
    ];
    let with = |kind: &str| {
        vec![
            fine[0].to_owned(),
            fine[1].to_owned(),
            fine[2].to_owned(),
            format!(
                "NamespaceContentRemaining True SomeResourcesRemain Some resources are remaining: {kind}. \
                 has 1 resource instances"
            ),
            "NamespaceFinalizersRemaining True SomeFinalizersRemain Some content in the namespace has \
             finalizers remaining: demo.io/hold in 1 resource instances"
                .to_owned(),
        ]
    };
    let status = stage.status("/api/v1/namespaces/n").await;
    assert_eq!(status["phase"], json!("Terminating"));
    assert_eq!(messages(&status), with("pods"));
    assert_eq!(
        stage.get("/api/v1/namespaces/n/configmaps/free").await["kind"],
        json!("ConfigMap")
    );
    let release = json!({"metadata": {"finalizers": null}});
    stage.patch("/api/v1/namespaces/n/pods/p", &release).await;
    assert_eq!(
        messages(&stage.status("/api/v1/namespaces/n").await),
        with("configmaps")
    );
    stage
        .patch("/api/v1/namespaces/n/configmaps/held", &release)
        .await;
    assert_eq!(
        stage.get("/api/v1/namespaces/n").await["reason"],
        json!("NotFound")
    );
}
