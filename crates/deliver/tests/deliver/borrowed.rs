//! What a Canary borrows of an object that a Kustomization applies.

use serde_json::json;
use weir_api::canary;
use weir_runtime::kinds::DEPLOYMENT;

use crate::MINUTE;
use crate::world::{World, appliers, deployment};

#[tokio::test(start_paused = true)]
async fn what_a_canary_borrows_is_left_out_and_let_go() {
    let world = World::new().await;
    world.push(
        "config",
        "main@sha1:1",
        &[("d.yaml", &deployment("x", "i"))],
    );
    world.kustomization("apps", json!({}));
    world.ready("apps", "main@sha1:1").await;
    let store = world.api.store();
    let live = || world.get(&DEPLOYMENT, "demo", "app").expect("there");
    assert_eq!(
        appliers(&live(), &["spec", "replicas"]),
        ["kustomize-controller"]
    );
    let object = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": "app", "namespace": "demo"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"port": 80}, "analysis": {"interval": "1m", "threshold": 1, "stepWeight": 10, "maxWeight": 50}}});
    store.create(&canary::KIND, object).expect("created");
    // The canary co-owns first, and only then says that it has taken up the target.
    let replicas = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "demo"}, "spec": {"replicas": 2}});
    store
        .as_manager("flagger")
        .apply(&DEPLOYMENT, replicas.clone())
        .expect("applied");
    store
        .patch_status(
            &canary::KIND,
            "demo",
            "app",
            json!({"status": {"phase": "Initializing"}}),
        )
        .expect("patched");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(appliers(&live(), &["spec", "replicas"]), ["flagger"]);
    assert_eq!(live().0["spec"]["replicas"], 2);
    let mut none = replicas;
    none["spec"]["replicas"] = json!(0);
    store
        .as_manager("flagger")
        .apply(&DEPLOYMENT, none)
        .expect("applied");
    world.push(
        "config",
        "main@sha1:2",
        &[("d.yaml", &deployment("x", "j"))],
    );
    world.ready("apps", "main@sha1:2").await;
    assert_eq!(live().0["spec"]["replicas"], 0);
    assert_eq!(
        live().0["spec"]["template"]["spec"]["containers"][0]["image"],
        "j"
    );
    // Without the Canary it is Git's again.
    store
        .delete_now(&canary::KIND, "demo", "app")
        .expect("deleted");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(live().0["spec"]["replicas"], 2);
    world.stop();
}
