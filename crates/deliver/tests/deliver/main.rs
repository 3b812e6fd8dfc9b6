//! Kustomization against a real API server in memory, on a virtual clock.

mod borrowed;
mod deletion;
mod tenants;
mod world;

use std::time::Duration;

use serde_json::json;
use weir_object::Kind;
use weir_runtime::kinds::{CONFIG_MAP, DEPLOYMENT, NAMESPACE};
use world::{World, appliers, condition, config, deployment, inventory};

const THING: Kind = Kind::cluster("example.com", "v1", "Thing", "things");

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn a_revision_is_applied_and_the_next_one_prunes_what_left() {
    let world = World::new().await;
    let (a, b) = (config("a", "1"), config("b", "1"));
    world.push(
        "config",
        "main@sha1:1",
        &[
            ("apps/a.yaml", &a),
            ("apps/b.yaml", &b),
            ("c.yaml", "no: object"),
        ],
    );
    let labels = json!({"labels": {"team": "blue"}, "annotations": {"note": "x"}});
    world.kustomization("apps", json!({"path": "./apps", "commonMetadata": labels}));
    let object = world.ready("apps", "main@sha1:1").await;
    assert_eq!(
        inventory(&object),
        ["demo_a__ConfigMap", "demo_b__ConfigMap"]
    );
    assert_eq!(object.0["status"]["inventory"]["entries"][0]["v"], "v1");
    assert_eq!(
        condition(&object, "Ready")["reason"],
        "ReconciliationSucceeded"
    );
    assert_eq!(
        condition(&object, "Ready")["message"],
        "Applied revision: main@sha1:1"
    );
    assert_eq!(
        object.0["status"]["conditions"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(object.0["status"]["history"][0]["totalReconciliations"], 1);
    let live = world.get(&CONFIG_MAP, "demo", "a").expect("applied");
    assert_eq!(
        live.0["metadata"]["labels"],
        json!({"team": "blue", "kustomize.toolkit.fluxcd.io/name": "apps",
            "kustomize.toolkit.fluxcd.io/namespace": "demo"})
    );
    assert_eq!(appliers(&live, &["data", "v"]), ["kustomize-controller"]);

    let a = config("a", "2");
    world.push("config", "main@sha1:2", &[("apps/a.yaml", &a)]);
    let object = world.ready("apps", "main@sha1:2").await;
    assert_eq!(inventory(&object), ["demo_a__ConfigMap"]);
    assert_eq!(
        (world.value("a"), world.get(&CONFIG_MAP, "demo", "b")),
        ("2".into(), None)
    );
    let events = world.events().await;
    for expected in [
        "Normal Progressing: ConfigMap/demo/a created\nConfigMap/demo/b created",
        "Normal Progressing: ConfigMap/demo/a configured",
        "Normal Progressing: ConfigMap/demo/b deleted",
    ] {
        assert!(
            events.iter().any(|e| e == expected),
            "{expected}: {events:#?}"
        );
    }
    assert!(
        events.iter().any(|e| e.ends_with("next run in 10m0s")),
        "{events:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_changes_nothing_writes_nothing_and_drift_is_mended() {
    let world = World::new().await;
    world.push(
        "config",
        "main@sha1:1",
        &[
            ("a.yaml", &config("a", "1")),
            ("d.yaml", &deployment("x", "i")),
        ],
    );
    world.kustomization("apps", json!({}));
    world.ready("apps", "main@sha1:1").await;
    world.events().await;
    tokio::time::sleep(MINUTE).await;
    let version = world.api.store().version();
    tokio::time::sleep(MINUTE * 35).await;
    assert_eq!(world.api.store().version(), version);

    let store = world.api.store();
    store
        .patch(
            &CONFIG_MAP,
            "demo",
            "a",
            json!({"data": {"v": "9", "mine": "y"}}),
        )
        .expect("patched");
    store.delete(&DEPLOYMENT, "demo", "app").expect("deleted");
    tokio::time::sleep(MINUTE * 11).await;
    let live = world.get(&CONFIG_MAP, "demo", "a").expect("there");
    assert_eq!(
        live.0["data"],
        json!({"v": "1", "mine": "y"}),
        "what Git does not say is left alone"
    );
    assert!(world.get(&DEPLOYMENT, "demo", "app").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_fails_says_why_and_others_go_on() {
    let world = World::new().await;
    let good = config("a", "1");
    world.push(
        "config",
        "main@sha1:1",
        &[
            ("good/a.yaml", good.as_str()),
            ("yaml/a.yaml", "a: ["),
            (
                "field/kustomization.yaml",
                "resources: []\nnamePrefix: x-\n",
            ),
            (
                "kind/a.yaml",
                "apiVersion: v9\nkind: Odd\nmetadata: {name: x, namespace: demo}\n",
            ),
            (
                "place/a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
            ),
            (
                "invalid/a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Ä, namespace: demo}\n",
            ),
            (
                "invalid/b.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y, namespace: none}\n",
            ),
        ],
    );
    for (name, expected) in [
        (
            "absent",
            (
                "ArtifactFailed",
                "kustomization path `./absent`: directory `absent` does not exist",
            ),
        ),
        ("../up", ("BuildFailed", "leads out of the source")),
        ("yaml", ("BuildFailed", "`yaml/a.yaml` line 1")),
        (
            "field",
            (
                "BuildFailed",
                "`field/kustomization.yaml` line 2, field `namePrefix`: this field is not built here",
            ),
        ),
        (
            "kind",
            (
                "ReconciliationFailed",
                "Odd/demo/x: the cluster has no kind `Odd` in `v9`",
            ),
        ),
        (
            "place",
            ("ReconciliationFailed", "ConfigMap/x: no namespace is given"),
        ),
        (
            "invalid",
            ("ReconciliationFailed", "ConfigMap/none/y dry-run failed: "),
        ),
    ] {
        let object = name.replace("../", "");
        world.kustomization(&object, json!({"path": name}));
        let message = world.failed(&object, expected.0).await;
        assert!(message.contains(expected.1), "{name}: {message}");
        let events = world.events().await;
        assert!(
            events.contains(&format!("Warning {}: {message}", expected.0)),
            "{events:#?}"
        );
    }
    world.kustomization("good", json!({"path": "good"}));
    world.ready("good", "main@sha1:1").await;

    // The artifact: no source, not there, not what was promised.
    let of = |name: &str| json!({"sourceRef": {"kind": "GitRepository", "name": name}});
    world.kustomization("none", of("other"));
    assert!(
        world
            .failed("none", "ArtifactFailed")
            .await
            .contains("GitRepository `demo/other` not found")
    );
    let sum = format!("sha256:{}", "0".repeat(64));
    world.point("other", "main@sha1:1", &sum);
    let told = |text: &'static str| {
        move |o: &weir_object::Object| {
            condition(o, "Ready")["message"]
                .as_str()
                .is_some_and(|m| m.contains(text))
        }
    };
    world
        .until("none", told("was not found; its source stores it again"))
        .await;
    world.push("other", "main@sha1:2", &[("b.yaml", &config("b", "1"))]);
    world.point("other", "main@sha1:2", &sum);
    world.until("none", told("it was not used")).await;
    world.push("other", "main@sha1:3", &[("b.yaml", &config("b", "3"))]);
    let object = world.ready("none", "main@sha1:3").await;
    assert_eq!(condition(&object, "Reconciling"), &json!(null));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_supported_stalls_by_name_and_applies_nothing() {
    let world = World::new().await;
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    for (name, spec) in [
        ("patches", json!({"patches": [{"patch": "x"}]})),
        (
            "postBuild",
            json!({"postBuild": {"substitute": {"a": "b"}}}),
        ),
        (
            "sourceRef.kind",
            json!({"sourceRef": {"kind": "Bucket", "name": "config"}}),
        ),
    ] {
        let object = name.to_ascii_lowercase().replace('.', "-");
        world.kustomization(&object, spec);
        let message = world.failed(&object, "Unsupported").await;
        assert!(message.contains(&format!("`spec.{name}`")), "{message}");
        let stalled = world
            .until(&object, |o| condition(o, "Stalled")["status"] == "True")
            .await;
        assert_eq!(stalled.0["status"]["observedGeneration"], 1);
    }
    assert_eq!(world.value("a"), "");
    world.patch("patches", json!({"spec": {"patches": null}}));
    let object = world.ready("patches", "main@sha1:1").await;
    assert_eq!(condition(&object, "Stalled"), &json!(null));
}

#[tokio::test(start_paused = true)]
async fn dependencies_are_waited_for_by_their_events() {
    let world = World::new().await;
    world.push(
        "config",
        "main@sha1:1",
        &[("a/a.yaml", "a: ["), ("b/b.yaml", &config("b", "1"))],
    );
    world.kustomization(
        "b",
        json!({"path": "b", "dependsOn": [{"name": "a"}], "retryInterval": "1h"}),
    );
    assert_eq!(
        world.failed("b", "DependencyNotReady").await,
        "dependency `demo/a` not found"
    );
    world.kustomization("a", json!({"path": "a"}));
    world.failed("a", "BuildFailed").await;
    world
        .until("b", |o| {
            condition(o, "Ready")["message"] == "dependency `demo/a` is not ready"
        })
        .await;
    let started = tokio::time::Instant::now();
    world.push(
        "config",
        "main@sha1:2",
        &[
            ("a/a.yaml", &config("a", "2")),
            ("b/b.yaml", &config("b", "2")),
        ],
    );
    world.ready("b", "main@sha1:2").await;
    assert!(started.elapsed() < MINUTE, "by event and not by timer");
    // The next revision goes through both in order.
    world.push(
        "config",
        "main@sha1:3",
        &[
            ("a/a.yaml", &config("a", "3")),
            ("b/b.yaml", &config("b", "3")),
        ],
    );
    world.ready("b", "main@sha1:3").await;
    assert_eq!(world.value("a"), "3");
}

fn healthy(world: &World) {
    let live = world.get(&DEPLOYMENT, "demo", "app").expect("applied");
    let status = json!({"status": {"observedGeneration": live.generation(), "replicas": 2,
        "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "x"},
            {"type": "Available", "status": "True", "reason": "x", "message": "x"}]}});
    world
        .api
        .store()
        .patch_status(&DEPLOYMENT, "demo", "app", status)
        .expect("patched");
}

#[tokio::test(start_paused = true)]
async fn health_is_waited_for_and_a_newer_revision_ends_the_wait() {
    let world = World::new().await;
    world.push(
        "config",
        "main@sha1:1",
        &[
            ("d.yaml", &deployment("x", "broken")),
            ("c.yaml", &config("c", "1")),
        ],
    );
    world.kustomization("apps", json!({"wait": true, "timeout": "5m"}));
    world
        .until("apps", |o| condition(o, "Healthy")["status"] == "Unknown")
        .await;
    tokio::time::sleep(MINUTE).await;
    world.push(
        "config",
        "main@sha1:2",
        &[
            ("d.yaml", &deployment("x", "works")),
            ("c.yaml", &config("c", "2")),
        ],
    );
    world.until("apps", |_| world.value("c") == "2").await;
    assert_eq!(
        condition(&world.until("apps", |_| true).await, "Ready")["status"],
        "Unknown"
    );
    let unhealthy = world.failed("apps", "HealthCheckFailed").await;
    assert!(
        unhealthy.starts_with("health check failed after 5m0s: timeout waiting for: [Deployment/demo/app status: 'InProgress'"),
        "{unhealthy}"
    );
    let object = world
        .until("apps", |o| condition(o, "Healthy")["status"] == "False")
        .await;
    assert_eq!(
        object.text(&["status", "lastAttemptedRevision"]),
        "main@sha1:2"
    );
    assert_eq!(object.get(&["status", "lastAppliedRevision"]), None);
    healthy(&world);
    let object = world.ready("apps", "main@sha1:2").await;
    assert_eq!(condition(&object, "Healthy")["reason"], "Succeeded");
    let events = world.events().await;
    assert!(
        events
            .iter()
            .any(|e| e.starts_with("Normal Progressing: Health check passed in")),
        "{events:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn definitions_namespaces_and_what_stands_on_them_go_in_one_pass() {
    let world = World::new().await;
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\nspec:\n  group: example.com\n  scope: Cluster\n  names: {kind: Thing, plural: things, singular: thing}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n";
    let files = [
        (
            "a.yaml",
            "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\nspec: {x: 1}\n",
        ),
        (
            "b.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
        ),
        (
            "c.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: fresh}\n",
        ),
        ("d.yaml", definition),
    ];
    world.push("config", "main@sha1:1", &files);
    world.kustomization("apps", json!({"targetNamespace": "fresh"}));
    let object = world.ready("apps", "main@sha1:1").await;
    assert_eq!(
        inventory(&object),
        [
            "_things.example.com_apiextensions.k8s.io_CustomResourceDefinition",
            "_fresh__Namespace",
            "fresh_x__ConfigMap",
            "_one_example.com_Thing",
        ]
    );
    let version = world
        .get(&THING, "", "one")
        .expect("applied")
        .resource_version()
        .to_owned();
    // What the build calls `fresh/one` is the same object; it must not be taken for a stale one.
    world.push("config", "main@sha1:2", &files);
    world.ready("apps", "main@sha1:2").await;
    assert_eq!(
        world
            .get(&THING, "", "one")
            .expect("still there")
            .resource_version(),
        version
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_changed_is_made_anew_only_when_asked() {
    let world = World::new().await;
    world.push(
        "config",
        "main@sha1:1",
        &[("d.yaml", &deployment("x", "i"))],
    );
    world.kustomization("apps", json!({}));
    world.ready("apps", "main@sha1:1").await;
    let uid = |world: &World| {
        world
            .get(&DEPLOYMENT, "demo", "app")
            .expect("there")
            .uid()
            .to_owned()
    };
    let first = uid(&world);
    world.push(
        "config",
        "main@sha1:2",
        &[("d.yaml", &deployment("y", "i"))],
    );
    let message = world.failed("apps", "ReconciliationFailed").await;
    assert!(
        message.starts_with("Deployment/demo/app dry-run failed: ")
            && message.contains("immutable"),
        "{message}"
    );
    assert_eq!(uid(&world), first);
    world.patch("apps", json!({"spec": {"force": true}}));
    world.ready("apps", "main@sha1:2").await;
    assert_ne!(uid(&world), first);
}

#[tokio::test(start_paused = true)]
async fn objects_say_how_they_are_to_be_treated() {
    let world = World::new().await;
    let with = |name: &str, annotation: &str, value: &str| {
        config(name, value).replace(
            "namespace: demo}",
            &format!(
                "namespace: demo, annotations: {{kustomize.toolkit.fluxcd.io/{annotation}}}}}"
            ),
        )
    };
    let push = |revision: &str, value: &str| {
        world.push(
            "config",
            revision,
            &[
                ("a.yaml", &with("once", "ssa: IfNotPresent", value)),
                ("b.yaml", &with("ignored", "ssa: Ignore", value)),
                ("c.yaml", &config("off", value)),
            ],
        );
    };
    push("main@sha1:1", "1");
    world.kustomization("apps", json!({}));
    world.ready("apps", "main@sha1:1").await;
    let off =
        json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}}});
    world
        .api
        .store()
        .patch(&CONFIG_MAP, "demo", "off", off)
        .expect("patched");
    push("main@sha1:2", "2");
    let object = world.ready("apps", "main@sha1:2").await;
    assert_eq!(
        ["once", "ignored", "off"].map(|n| world.value(n)),
        ["1", "", "1"]
    );
    assert_eq!(inventory(&object).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_intent_orphans_nothing() {
    let mut world = World::new().await;
    world.behave();
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization("apps", json!({}));
    world.ready("apps", "main@sha1:1").await;
    // The second stage fails after the first was applied: the record holds both, old and new.
    let fresh = "apiVersion: v1\nkind: Namespace\nmetadata: {name: fresh}\n";
    let odd = "apiVersion: v9\nkind: Odd\nmetadata: {name: x, namespace: demo}\n";
    world.push(
        "config",
        "main@sha1:2",
        &[
            ("n.yaml", fresh),
            ("b.yaml", &config("b", "1")),
            ("o.yaml", odd),
        ],
    );
    world.failed("apps", "ReconciliationFailed").await;
    let object = world.until("apps", |o| inventory(o).len() == 4).await;
    assert!(inventory(&object).contains(&"demo_a__ConfigMap"));
    assert!(world.get(&NAMESPACE, "", "fresh").is_some());
    world.restart().await;
    // The next revision takes away what the failed one had made, and what the first one had.
    world.push("config", "main@sha1:3", &[("b.yaml", &config("b", "1"))]);
    let object = world.ready("apps", "main@sha1:3").await;
    assert_eq!(inventory(&object), ["demo_b__ConfigMap"]);
    assert_eq!(world.value("a"), "");
    tokio::time::sleep(MINUTE).await;
    assert!(world.get(&NAMESPACE, "", "fresh").is_none());
}

#[tokio::test(start_paused = true)]
async fn suspended_ones_rest_and_requests_are_honoured() {
    let world = World::new().await;
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization("apps", json!({"interval": "10h"}));
    world.ready("apps", "main@sha1:1").await;
    world.patch("apps", json!({"spec": {"suspend": true}}));
    tokio::time::sleep(MINUTE).await;
    world.push("config", "main@sha1:2", &[("a.yaml", &config("a", "2"))]);
    tokio::time::sleep(MINUTE * 60).await;
    assert_eq!(world.value("a"), "1");
    world.patch("apps", json!({"spec": {"suspend": false}}));
    world.ready("apps", "main@sha1:2").await;
    world
        .api
        .store()
        .patch(&CONFIG_MAP, "demo", "a", json!({"data": {"v": "9"}}))
        .expect("patched");
    let request = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    world.patch("apps", request);
    world
        .until("apps", |o| {
            o.text(&["status", "lastHandledReconcileAt"]) == "now"
        })
        .await;
    assert_eq!(world.value("a"), "2");
}
