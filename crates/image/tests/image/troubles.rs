//! What stands in the way is told, where and with what to do, and heals.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use weir_object::Key;

use crate::world::{
    self, AUTOMATION, IMAGE, POLICY, REPOSITORY, SOURCE, automation, commit_to, conditions, key,
    manifest, mk_world, ready,
};

#[tokio::test(start_paused = true)]
async fn who_is_always_too_late_tells_and_tries_again() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("0.9.0"))]);
    let (server, count) = (world.server.clone(), AtomicUsize::new(0));
    *world.gate.before_push.lock().expect("a lock") = Some(Box::new(move |request| {
        if request.method == "POST" {
            let name = format!("theirs-{}.yaml", count.fetch_add(1, Ordering::Relaxed));
            commit_to(&server, "main", &[(&name, "a: 1\n")]);
        }
    }));
    world.story().await;
    let message = world
        .failed(&AUTOMATION, &key("auto"), "GitOperationFailed")
        .await;
    assert!(message.contains("was rejected"), "{message}");
    *world.gate.before_push.lock().expect("a lock") = None;
    world.pushed("").await;
    assert_eq!(world.file("main", "app.yaml").0, manifest("1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_read_are_told_and_the_others_go_on() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    let broken = format!("a: [\n{}", manifest("0.9.0"));
    world.commit(
        "main",
        &[("a.yaml", &broken), ("b.yaml", &manifest("0.9.0"))],
    );
    world.story().await;
    world.pushed("").await;
    assert_eq!(world.file("main", "a.yaml").0, broken);
    assert_eq!(world.file("main", "b.yaml").0, manifest("1.0.0"));
    world
        .told("Warning UpdateFailed: `a.yaml` holds a marker and was left as it is: line ")
        .await;
    let auto = key("auto");
    let message = world.failed(&AUTOMATION, &auto, "UpdateFailed").await;
    assert!(
        message.contains("`a.yaml`") && message.ends_with("remove the marker"),
        "{message}"
    );
    world.commit("main", &[("a.yaml", &manifest("0.9.0"))]);
    world.ask(&AUTOMATION, &auto, "mended").await;
    world.ready(&AUTOMATION, &auto).await;
    assert_eq!(world.file("main", "a.yaml").0, manifest("1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_scan_is_told_and_heals() {
    let world = mk_world(Some(("ann", "hush"))).await;
    world.image("1.0.0").await;
    let spec = json!({"image": IMAGE, "interval": "1h", "insecure": true,
        "secretRef": {"name": "pull"}});
    let app = key("app");
    world.create(&REPOSITORY, &app, spec).await;
    let message = world
        .failed(&REPOSITORY, &app, "AuthenticationFailed")
        .await;
    assert_eq!(
        message,
        "the Secret `demo/pull` of `spec.secretRef` was not found; create it"
    );
    let login = |password: &str| {
        let auths =
            json!({"auths": {"registry.sandbox:5000": {"username": "ann", "password": password}}});
        json!({".dockerconfigjson": auths.to_string()})
    };
    world.secret("pull", login("wrong")).await;
    let object = world
        .until(&REPOSITORY, &app, "refused", |o| {
            ready(o).2.contains("refused access")
        })
        .await;
    assert_eq!(ready(&object).1, "AuthenticationFailed");
    assert_eq!(conditions(&object), ["Ready=False", "Reconciling=True"]);
    assert!(!object.0.to_string().contains("wrong"));
    world
        .patch(
            &weir_runtime::kinds::SECRET,
            &key("pull"),
            json!({"stringData": login("hush"), "data": null}),
        )
        .await;
    world.ready(&REPOSITORY, &app).await;
    assert!(world.events().await.iter().all(|e| !e.contains("hush")));

    world.gate.down.store(true, Ordering::Relaxed);
    world.ask(&REPOSITORY, &app, "1").await;
    let message = world.failed(&REPOSITORY, &app, "ReadOperationFailed").await;
    assert!(message.contains("cannot be reached"), "{message}");
    world.told("Warning ReadOperationFailed: scan of ").await;
    world.gate.down.store(false, Ordering::Relaxed);
    world.ready(&REPOSITORY, &app).await;

    for (patch, reason, what) in [
        (
            json!({"image": format!("{IMAGE}:1")}),
            "ImageURLInvalid",
            "`spec.image`",
        ),
        (
            json!({"image": IMAGE, "exclusionList": ["("]}),
            "Failed",
            "`spec.exclusionList`",
        ),
        (
            json!({"exclusionList": null, "provider": "aws"}),
            "Unsupported",
            "`spec.provider`",
        ),
    ] {
        world.patch(&REPOSITORY, &app, json!({"spec": patch})).await;
        let message = world.failed(&REPOSITORY, &app, reason).await;
        assert!(message.contains(what), "{message}");
        let object = world
            .until(&REPOSITORY, &app, "stalled", |o| ready(o).1 == reason)
            .await;
        assert_eq!(conditions(&object), ["Ready=False", "Stalled=True"]);
        world.told(&format!("Warning {reason}: ")).await;
    }
    world
        .patch(&REPOSITORY, &app, json!({"spec": {"provider": "generic"}}))
        .await;
    world.ready(&REPOSITORY, &app).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_policy_is_told_and_heals() {
    let world = mk_world(None).await;
    let app = key("app");
    world
        .create(
            &POLICY,
            &app,
            json!({"imageRepositoryRef": {"name": "app"},
        "policy": {"semver": {"range": "2.x"}}}),
        )
        .await;
    let message = world.failed(&POLICY, &app, "DependencyNotReady").await;
    assert!(message.contains("`demo/app` was not found"), "{message}");
    world.gate.down.store(true, Ordering::Relaxed);
    world
        .create(
            &REPOSITORY,
            &app,
            json!({"image": IMAGE, "interval": "1h", "insecure": true}),
        )
        .await;
    let object = world
        .until(&POLICY, &app, "waiting", |o| ready(o).2.contains("no tags"))
        .await;
    assert_eq!(conditions(&object), ["Ready=False", "Reconciling=True"]);
    world.image("1.0.0").await;
    world.gate.down.store(false, Ordering::Relaxed);
    let message = world
        .until(&POLICY, &app, "no match", |o| ready(o).1 == "Failed")
        .await;
    assert!(
        ready(&message).2.contains("in the range `2.x`"),
        "{message:?}"
    );
    world
        .patch(
            &POLICY,
            &app,
            json!({"spec": {"policy": {"semver": {"range": "1.x"}}}}),
        )
        .await;
    world.chosen("1.0.0").await;
    for (patch, what) in [
        (
            json!({"policy": {"semver": {"range": "one"}}}),
            "`spec.policy.semver.range`",
        ),
        (
            json!({"policy": {"semver": {"range": "1.x"}}, "filterTags": {"pattern": "("}}),
            "`spec.filterTags.pattern`",
        ),
        (
            json!({"policy": {"semver": null}, "filterTags": null}),
            "`spec.policy`",
        ),
    ] {
        world.patch(&POLICY, &app, json!({"spec": patch})).await;
        let object = world
            .until(&POLICY, &app, "stalled", |o| ready(o).2.contains(what))
            .await;
        assert_eq!(ready(&object).1, "InvalidPolicy");
        assert_eq!(conditions(&object), ["Ready=False", "Stalled=True"]);
        // No failure takes an image back.
        assert_eq!(object.text(&["status", "latestRef", "tag"]), "1.0.0");
    }
    world
        .patch(
            &POLICY,
            &app,
            json!({"spec": {"policy": {"alphabetical": {"order": "asc"}}}}),
        )
        .await;
    world.ready(&POLICY, &app).await;
}

#[tokio::test(start_paused = true)]
async fn a_scan_is_lent_only_to_whom_it_is_lent() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.namespace("team", json!({"kind": "blue"})).await;
    let (app, theirs) = (key("app"), Key::new("team", "app"));
    world
        .create(
            &REPOSITORY,
            &app,
            json!({"image": IMAGE, "interval": "1h", "insecure": true}),
        )
        .await;
    world
        .create(
            &POLICY,
            &theirs,
            json!({"imageRepositoryRef": {"name": "app", "namespace": "demo"},
        "policy": {"semver": {"range": "*"}}}),
        )
        .await;
    let message = world.failed(&POLICY, &theirs, "AccessDenied").await;
    assert!(message.contains("`spec.accessFrom`"), "{message}");
    let lend = |kind: &str| {
        json!({"spec": {"accessFrom": {"namespaceSelectors": [
        {"matchLabels": {"kind": kind}}]}}})
    };
    world.patch(&REPOSITORY, &app, lend("blue")).await;
    world.ready(&POLICY, &theirs).await;
    world.patch(&REPOSITORY, &app, lend("red")).await;
    world.failed(&POLICY, &theirs, "AccessDenied").await;
    let red = json!({"metadata": {"labels": {"kind": "red"}}});
    world
        .patch(&weir_runtime::kinds::NAMESPACE, &Key::new("", "team"), red)
        .await;
    world.ready(&POLICY, &theirs).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_an_automation_is_told_and_heals() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    let auto = key("auto");
    world
        .create(&AUTOMATION, &auto, automation(&json!({})))
        .await;
    let message = world
        .failed(&AUTOMATION, &auto, "SourceManagerFailed")
        .await;
    assert!(message.contains("`demo/config` was not found"), "{message}");
    world
        .create(
            &SOURCE,
            &key("config"),
            json!({"url": world::URL, "interval": "1h",
        "ref": {"branch": "main"}}),
        )
        .await;
    let message = world.failed(&AUTOMATION, &auto, "GitOperationFailed").await;
    assert!(message.contains("is empty"), "{message}");
    world.commit("dev", &[("app.yaml", &manifest("0.9.0"))]);
    let object = world
        .until(&AUTOMATION, &auto, "no branch", |o| {
            ready(o).2.contains("branch `main` was not found")
        })
        .await;
    assert_eq!(conditions(&object), ["Ready=False", "Reconciling=True"]);
    world.commit("main", &[("app.yaml", &manifest("0.9.0"))]);
    world.ready(&AUTOMATION, &auto).await;
    for (patch, reason, what) in [
        (
            json!({"update": {"path": "nowhere"}}),
            "UpdateFailed",
            "`nowhere`",
        ),
        (
            json!({"update": {"path": "../x"}}),
            "Failed",
            "`spec.update.path`",
        ),
        (
            json!({"update": null, "git": {"commit": {"signingKey": {"secretRef": {"name": "k"}}}}}),
            "Unsupported",
            "`spec.git.commit.signingKey`",
        ),
        (
            json!({"git": {"commit": {"signingKey": null, "messageTemplate": "{{ if }}"}}}),
            "Failed",
            "`spec.git.commit.messageTemplate`",
        ),
    ] {
        world
            .patch(&AUTOMATION, &auto, json!({"spec": patch}))
            .await;
        let message = world.failed(&AUTOMATION, &auto, reason).await;
        assert!(message.contains(what), "{message}");
        world
            .told(&format!("image-automation-controller Warning {reason}: "))
            .await;
    }
    // What a template does with the data is known only when there is something to say.
    world
        .patch(
            &AUTOMATION,
            &auto,
            json!({"spec": {"git": {"commit": {"messageTemplate": "{{ .Nope }}"}}}}),
        )
        .await;
    world.ready(&AUTOMATION, &auto).await;
    world
        .create(
            &REPOSITORY,
            &key("app"),
            json!({"image": IMAGE, "interval": "1h", "insecure": true}),
        )
        .await;
    world
        .create(
            &POLICY,
            &key("app"),
            json!({"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "1.x"}}}),
        )
        .await;
    let message = world.failed(&AUTOMATION, &auto, "UpdateFailed").await;
    assert!(
        message.contains("`spec.git.commit.messageTemplate` cannot be rendered"),
        "{message}"
    );
    assert_eq!(world.history("main").len(), 1);
    world
        .patch(
            &AUTOMATION,
            &auto,
            json!({"spec": {"git": {"commit": {"messageTemplate": null}}}}),
        )
        .await;
    world.pushed("").await;
}

#[tokio::test(start_paused = true)]
async fn suspended_objects_rest_and_deleted_ones_go() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("1.0.0"))]);
    world.story().await;
    world.chosen("1.0.0").await;
    world.ready(&AUTOMATION, &key("auto")).await;
    world.idle().await;
    world
        .patch(&REPOSITORY, &key("app"), json!({"spec": {"suspend": true}}))
        .await;
    world.image("1.1.0").await;
    world.ask(&REPOSITORY, &key("app"), "now").await;
    world
        .until(&REPOSITORY, &key("app"), "seen", |o| {
            o.text(&["status", "lastHandledReconcileAt"]) == "now"
        })
        .await;
    world.idle().await;
    world.chosen("1.0.0").await;
    world
        .patch(
            &AUTOMATION,
            &key("auto"),
            json!({"spec": {"suspend": true}}),
        )
        .await;
    world
        .patch(
            &REPOSITORY,
            &key("app"),
            json!({"spec": {"suspend": false}}),
        )
        .await;
    world.ask(&REPOSITORY, &key("app"), "again").await;
    world.chosen("1.1.0").await;
    world.idle().await;
    assert_eq!(world.history("main").len(), 1);
    world
        .patch(
            &AUTOMATION,
            &key("auto"),
            json!({"spec": {"suspend": false}}),
        )
        .await;
    world.pushed("").await;
    // A finalizer that another controller put on is released.
    let held = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
    for (kind, name) in [
        (&REPOSITORY, "app"),
        (&POLICY, "app"),
        (&AUTOMATION, "auto"),
    ] {
        world.patch(kind, &key(name), held.clone()).await;
        let object = world
            .context
            .api
            .get(kind, &key(name))
            .await
            .expect("read")
            .expect("there");
        let (api, key, uid) = (&world.context.api, key(name), object.uid());
        let background = weir_runtime::Propagation::Background;
        let gone = api.delete(kind, &key, Some(uid), background).await;
        gone.expect("deleted");
        world.idle().await;
        assert_eq!(world.context.api.get(kind, &key).await.expect("read"), None);
    }
}
