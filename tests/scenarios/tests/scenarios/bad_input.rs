//! Wrong input ends in a condition that says what, where and what to do; everything else goes on.

use serde_json::{Value, json};
use weir_api::canary::KIND as CANARY;
use weir_api::git_repository::KIND as GIT_REPOSITORY;
use weir_api::image_policy::KIND as IMAGE_POLICY;
use weir_api::image_repository::KIND as IMAGE_REPOSITORY;
use weir_api::kustomization::KIND as KUSTOMIZATION;
use weir_object::{Key, Kind};
use weir_runtime::Write;
use weir_runtime::kinds::CRD;
use weir_scenarios::{Stage, app_manifests};

/// Changes an object and waits until it is not ready, with a message that has all of `words`.
async fn refused(stage: &Stage, kind: &Kind, name: &str, patch: Value, words: &[&str]) {
    stage.patch(kind, name, patch).await;
    let what = format!("{kind} `{name}` is not ready and tells of {words:?}");
    stage
        .until(&what, async |s| {
            let (status, message) = s.ready(kind, name).await;
            status == "False" && words.iter().all(|w| message.contains(w))
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn wrong_sources_say_what_is_wrong_and_heal() {
    let stage = Stage::with_app().await;
    let good =
        json!({"spec": {"url": "http://git.sandbox:3000/config.git", "ref": {"branch": "main"}}});
    for (patch, words) in [
        (
            json!({"spec": {"url": "http://git.sandbox:3000/other.git"}}),
            vec!["other.git"],
        ),
        (
            json!({"spec": {"url": "http://nowhere.sandbox:3000/config.git"}}),
            vec!["nowhere.sandbox"],
        ),
        (
            json!({"spec": {"ref": {"branch": "absent"}}}),
            vec!["absent"],
        ),
        (
            json!({"spec": {"secretRef": {"name": "absent"}}}),
            vec!["absent"],
        ),
    ] {
        refused(&stage, &GIT_REPOSITORY, "config", patch, &words).await;
        // The application goes on meanwhile.
        assert_eq!(stage.answer().await, "1.0.0");
        stage
            .patch(
                &GIT_REPOSITORY,
                "config",
                json!({"spec": {"secretRef": null}}),
            )
            .await;
        stage.patch(&GIT_REPOSITORY, "config", good.clone()).await;
        let healed = async |s: &Stage| s.ready(&GIT_REPOSITORY, "config").await.0 == "True";
        stage.until("it is healed", healed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_paths_and_manifests_say_what_is_wrong_and_heal() {
    let stage = Stage::with_app().await;
    refused(
        &stage,
        &KUSTOMIZATION,
        "app",
        json!({"spec": {"path": "./absent"}}),
        &["absent"],
    )
    .await;
    stage
        .patch(&KUSTOMIZATION, "app", json!({"spec": {"path": "./app"}}))
        .await;
    for (from, to, words) in [
        ("replicas: 2", "replicas: [", vec!["deployment.yaml"]),
        (
            "containerPort: 9898",
            "containerPort: many",
            vec!["Deployment", "containerPort"],
        ),
        ("kind: Deployment", "kind: Deploymint", vec!["Deploymint"]),
    ] {
        let broken = app_manifests(|_, text| text.replace(from, to));
        stage.push(broken, "A mistake").await;
        let what = format!("Kustomization `app` tells of {words:?}");
        stage
            .until(&what, async |s| {
                let (status, message) = s.ready(&KUSTOMIZATION, "app").await;
                status == "False" && words.iter().all(|w| message.contains(w))
            })
            .await;
        assert_eq!(stage.answer().await, "1.0.0");
    }
    stage
        .push(app_manifests(|_, text| text + "\n"), "Mended")
        .await;
    stage
        .until("it is healed", async |s| {
            s.ready(&KUSTOMIZATION, "app").await.0 == "True"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn wrong_images_and_policies_say_what_is_wrong() {
    let stage = Stage::with_app().await;
    let range = json!({"spec": {"policy": {"semver": {"range": "not a range"}}}});
    refused(&stage, &IMAGE_POLICY, "app", range, &["not a range"]).await;
    let range = json!({"spec": {"policy": {"semver": {"range": ">=9.0.0"}}}});
    refused(&stage, &IMAGE_POLICY, "app", range, &[">=9.0.0"]).await;
    let image = json!({"spec": {"image": "registry.sandbox:5000/demo/absent"}});
    refused(&stage, &IMAGE_REPOSITORY, "app", image, &["demo/absent"]).await;
    assert_eq!(stage.answer().await, "1.0.0");
}

#[tokio::test(start_paused = true)]
async fn wrong_canaries_say_what_is_wrong_and_move_nothing() {
    let stage = Stage::with_app().await;
    let _users = stage.users(20);
    for (patch, words) in [
        (json!({"spec": {"provider": "istio"}}), vec!["provider"]),
        (
            json!({"spec": {"analysis": {"webhooks": [{"name": "x", "url": "x/"}]}}}),
            vec!["webhooks"],
        ),
        (
            json!({"spec": {"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "x"}}}),
            vec!["autoscalerRef"],
        ),
    ] {
        let stage = Stage::with_app().await;
        refused(&stage, &CANARY, "app", patch, &words).await;
        assert_eq!(
            (stage.answer().await, stage.route().await),
            ("1.0.0".into(), (100, 0))
        );
    }
    // A query that cannot be evaluated is a provider's failure: it never counts as a pass.
    let stage = Stage::with_app_edited(|path, text| match path {
        "app/canary.yaml" => text.replace("100 * sum(", "100 * no_such_function("),
        _ => text,
    })
    .await;
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("it is rolled back", async |s| s.phase().await == "Failed")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.0.0");
    let events = stage.events("Canary", "app").await;
    assert!(
        events
            .iter()
            .any(|e| e.contains("error-share") && e.contains("no_such_function")),
        "{events:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_malformed_object_never_stops_the_others() {
    let stage = Stage::with_app().await;
    // Given a Canary that the definition does not admit, put there under a laxer one
    let lax = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = Key::new("", "canaries.flagger.app");
    let before = stage
        .api()
        .get(&CRD, &definition)
        .await
        .expect("answered")
        .expect("installed");
    let schema = ["spec", "versions", "0", "schema", "openAPIV3Schema"];
    let mut laxer = before.clone();
    laxer.set(&schema, lax);
    let replaced = stage
        .api()
        .write(&CRD, &definition, Write::Replace(laxer))
        .await;
    let version = replaced.expect("replaced").resource_version().to_owned();
    let odd = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": "odd", "namespace": "demo"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "odd"},
                 "service": {"port": 80}, "analysis": {"interval": "1m", "threshold": "many", "stepWeight": 10}},
    });
    let store = stage.server().store();
    store.create(&CANARY, odd).expect("created");
    let mut strict = before;
    strict.set(&["metadata", "resourceVersion"], json!(version));
    let replaced = stage
        .api()
        .write(&CRD, &definition, Write::Replace(strict))
        .await;
    replaced.expect("replaced");
    // When a release goes its way beside it
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    // Then it is not disturbed, and the odd one says what it lacks
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    let (status, message) = stage.ready(&CANARY, "odd").await;
    assert!(
        status == "False" && message.contains("spec.analysis.threshold"),
        "{status} {message}"
    );
}
