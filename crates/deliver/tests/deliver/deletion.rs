//! What becomes of the objects when a Kustomization goes.

use serde_json::json;
use weir_api::kustomization;
use weir_runtime::kinds::CONFIG_MAP;

use crate::MINUTE;
use crate::world::{World, config};

#[tokio::test(start_paused = true)]
async fn deletion_takes_away_what_is_ours_and_nothing_else() {
    let world = World::new().await;
    let annotated = |name: &str, annotation: &str| {
        config(name, "1").replace(
            "namespace: demo}",
            &format!("namespace: demo, annotations: {{{annotation}}}}}"),
        )
    };
    world.push(
        "config",
        "main@sha1:1",
        &[
            ("a.yaml", &config("a", "1")),
            (
                "b.yaml",
                &annotated("b", "kustomize.toolkit.fluxcd.io/prune: Disabled"),
            ),
            ("c.yaml", &config("c", "1")),
        ],
    );
    world.kustomization("apps", json!({}));
    world.ready("apps", "main@sha1:1").await;
    let taken = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "else"}}});
    let store = world.api.store();
    store
        .patch(&CONFIG_MAP, "demo", "c", taken)
        .expect("patched");
    // A field that can't be delivered any more must not make orphans.
    world.patch("apps", json!({"spec": {"patches": [{"patch": "x"}]}}));
    world.failed("apps", "Unsupported").await;
    store
        .delete(&kustomization::KIND, "demo", "apps")
        .expect("deleted");
    world.gone("apps").await;
    assert_eq!(world.get(&CONFIG_MAP, "demo", "a"), None);
    assert_eq!(
        (world.value("b"), world.value("c")),
        ("1".into(), "1".into())
    );
}

#[tokio::test(start_paused = true)]
async fn deletion_policies_are_honoured() {
    let world = World::new().await;
    world.push(
        "config",
        "main@sha1:1",
        &[
            ("o/a.yaml", &config("o", "1")),
            ("s/s.yaml", &config("s", "1")),
            (
                "w/w.yaml",
                &config("w", "1").replace(
                    "namespace: demo}",
                    "namespace: demo, finalizers: [example.com/hold]}",
                ),
            ),
        ],
    );
    world.kustomization("orphan", json!({"path": "o", "deletionPolicy": "Orphan"}));
    world.kustomization("suspended", json!({"path": "s"}));
    world.kustomization(
        "waiting",
        json!({"path": "w", "deletionPolicy": "WaitForTermination", "timeout": "10m"}),
    );
    let store = world.api.store();
    for name in ["orphan", "suspended", "waiting"] {
        world.ready(name, "main@sha1:1").await;
        if name == "suspended" {
            world.patch(name, json!({"spec": {"suspend": true}}));
        }
        store
            .delete(&kustomization::KIND, "demo", name)
            .expect("deleted");
    }
    world.gone("orphan").await;
    world.gone("suspended").await;
    assert_eq!(
        (world.value("o"), world.value("s")),
        ("1".into(), "1".into())
    );
    tokio::time::sleep(MINUTE * 5).await;
    assert!(world.get(&kustomization::KIND, "demo", "waiting").is_some());
    store
        .patch(
            &CONFIG_MAP,
            "demo",
            "w",
            json!({"metadata": {"finalizers": null}}),
        )
        .expect("patched");
    world.gone("waiting").await;
    assert_eq!(world.get(&CONFIG_MAP, "demo", "w"), None);
}
