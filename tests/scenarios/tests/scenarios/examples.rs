//! Every example of a Canary, applied as it is and driven to a promotion and to a rollback.

use weir_scenarios::{Stage, app_manifests};

/// What is different about an example.
#[derive(Default)]
struct Example {
    canary: &'static str,
    /// What stands beside it in Git.
    beside: Option<(&'static str, &'static str)>,
    /// What stands in Git instead of the Deployment.
    instead: Option<&'static str>,
    /// The most of all requests that may fail in the rollback, in percent.
    failing: u64,
}

async fn deploy(stage: &Stage, example: &Example) {
    stage.push_image("1.0.0", "0").await;
    let mut files = app_manifests(|path, text| match (path, example.beside) {
        ("app/canary.yaml", _) => example.canary.to_owned(),
        ("app/deployment.yaml", _) => example.instead.map_or(text, str::to_owned),
        ("app/kustomization.yaml", Some((name, _))) => format!("{text}  - {name}\n"),
        _ => text,
    });
    if let Some((name, text)) = example.beside {
        files.push((format!("app/{name}"), text.as_bytes().to_vec()));
    }
    stage.push(files, "Deploy the application").await;
    stage.apply_cluster().await;
    stage
        .until("the Canary is initialised", async |s| {
            s.phase().await == "Initialized"
        })
        .await;
}

/// Plays it: a good version is promoted, and a faulty one is rolled back.
async fn plays(example: Example) {
    plays_on(Stage::set().await, example).await;
}

async fn plays_on(stage: Stage, example: Example) {
    deploy(&stage, &example).await;
    let users = stage.users(20);
    let insiders = stage.users_of("insider", 10);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
    assert_eq!(users.report().failed + insiders.report().failed, 0);

    let before = users.report();
    stage.push_image("1.2.0", "0.5").await;
    stage
        .until("it is rolled back", async |s| s.phase().await == "Failed")
        .await;
    stage
        .until("traffic is at the primary", async |s| {
            s.route().await == (100, 0) && s.replicas("app").await == 0
        })
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
    assert_eq!(stage.answer().await, "1.1.0");
    let after = users.report();
    let (failed, total) = (after.failed - before.failed, after.total - before.total);
    assert!(
        failed * 100 <= total * example.failing,
        "{failed} of {total} users' requests failed"
    );
}

#[tokio::test(start_paused = true)]
async fn steps() {
    plays(Example {
        canary: include_str!("../../../../examples/canary/steps/canary.yaml"),
        failing: 10,
        ..Example::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn mirrored() {
    plays(Example {
        canary: include_str!("../../../../examples/canary/mirrored/canary.yaml"),
        failing: 0,
        ..Example::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ab() {
    plays(Example {
        canary: include_str!("../../../../examples/canary/ab/canary.yaml"),
        failing: 0,
        ..Example::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bluegreen() {
    plays(Example {
        canary: include_str!("../../../../examples/canary/bluegreen/canary.yaml"),
        failing: 0,
        ..Example::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn gated() {
    let stage = Stage::set().await;
    let asked = stage.gate("gate.sandbox").await;
    let example = Example {
        canary: include_str!("../../../../examples/canary/gated/canary.yaml"),
        failing: 20,
        ..Example::default()
    };
    plays_on(stage, example).await;
    let asked = asked.lock().expect("lock");
    for path in ["/approved", "/smoke-test", "/promotion", "/report"] {
        assert!(
            asked.iter().any(|a| a == path),
            "{path} is not in {asked:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn daemonset() {
    plays(Example {
        canary: include_str!("../../../../examples/canary/daemonset/canary.yaml"),
        instead: Some(include_str!(
            "../../../../examples/canary/daemonset/daemonset.yaml"
        )),
        failing: 20,
        ..Example::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hpa() {
    plays(Example {
        canary: include_str!("../../../../examples/canary/hpa/canary.yaml"),
        beside: Some((
            "hpa.yaml",
            include_str!("../../../../examples/canary/hpa/hpa.yaml"),
        )),
        failing: 20,
        ..Example::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keda() {
    let stage = Stage::set().await;
    let definition = serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {"group": "keda.sh", "scope": "Namespaced",
            "names": {"plural": "scaledobjects", "singular": "scaledobject",
                "kind": "ScaledObject", "listKind": "ScaledObjectList"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec":
                    {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
    let text = definition.to_string();
    let applied = stage.sandbox().apply("definition.yaml", &text).await;
    applied.expect("applied");
    let example = Example {
        canary: include_str!("../../../../examples/canary/keda/canary.yaml"),
        beside: Some((
            "scaledobject.yaml",
            include_str!("../../../../examples/canary/keda/scaledobject.yaml"),
        )),
        failing: 20,
        ..Example::default()
    };
    plays_on(stage, example).await;
}
