//! From a tag to a commit, whatever happens in between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use weir_runtime::Write;

use crate::world::{
    AUTOMATION, IMAGE, POLICY, REPOSITORY, SOURCE, automation, commit_to, conditions, key,
    manifest, mk_world, ready,
};

#[tokio::test(start_paused = true)]
async fn a_new_tag_becomes_a_pushed_commit_by_events_alone() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.image("1.0.0.sig").await;
    world.commit(
        "main",
        &[
            ("app/app.yaml", &manifest("1.0.0")),
            ("run.yaml", &manifest("0.9.0")),
        ],
    );
    let start = tokio::time::Instant::now();
    world.story().await;
    let object = world.pushed("").await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );

    // The first commit mends what was behind; only those bytes change, and modes stay.
    let history = world.history("main");
    assert_eq!(history.len(), 2);
    let (commit, who, message) = &history[0];
    assert!(who.starts_with("Bot <bot@example.com> 17000000"), "{who}");
    assert_eq!(message, "Update from image update automation");
    assert_eq!(
        world.file("main", "run.yaml"),
        (manifest("1.0.0"), 0o100_755)
    );
    assert_eq!(
        world.file("main", "app/app.yaml"),
        (manifest("1.0.0"), 0o100_644)
    );
    let status = &object.0["status"];
    assert_eq!(status["lastPushCommit"], **commit);
    assert_eq!(
        status["observedSourceRevision"],
        format!("main@sha1:{commit}")
    );
    assert_eq!(
        status["observedPolicies"]["app"],
        json!({"name": IMAGE, "tag": "1.0.0"})
    );
    assert_eq!(status["observedGeneration"], 1);
    assert!(status["lastPushTime"].is_string() && status["lastAutomationRunTime"].is_string());
    assert_eq!(
        ready(&object),
        ("True", "Succeeded", "repository up-to-date")
    );
    assert_eq!(conditions(&object), ["Ready=True"]);
    let short = &commit[..7];
    world
        .told(&format!(
            "image-automation-controller Normal Succeeded: pushed commit '{short}' to branch 'main'\n\
             Update from image update automation"
        ))
        .await;

    let repository = world.ready(&REPOSITORY, &key("app")).await;
    let status = &repository.0["status"];
    assert_eq!(status["canonicalImageName"], IMAGE);
    assert_eq!(status["lastScanResult"]["tagCount"], 1);
    assert_eq!(status["lastScanResult"]["latestTags"], json!(["1.0.0"]));
    assert_eq!(status["observedExclusionList"], json!(["^.*\\.sig$"]));
    let found = ready(&repository).2;
    assert!(
        found.starts_with("successful scan: found 1 tags with checksum "),
        "{found}"
    );
    world
        .told(&format!(
            "image-reflector-controller Normal Succeeded: {found}"
        ))
        .await;
    let policy = world.chosen("1.0.0").await;
    assert_eq!(
        ready(&policy).2,
        format!("Latest image tag for {IMAGE} resolved to 1.0.0")
    );

    // A new tag: the scan is asked for, and all else follows.
    world.image("1.1.0").await;
    let start = tokio::time::Instant::now();
    world.ask(&REPOSITORY, &key("app"), "now").await;
    let object = world.pushed(commit).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(world.file("main", "app/app.yaml").0, manifest("1.1.0"));
    assert_eq!(
        world.tip("main").await,
        object.0["status"]["lastPushCommit"]
    );
    let policy = world.chosen("1.1.0").await;
    assert_eq!(policy.0["status"]["observedPreviousRef"]["tag"], "1.0.0");
    let said = format!("Latest image tag for {IMAGE} resolved to 1.1.0 (previously {IMAGE}:1.0.0)");
    assert_eq!(ready(&policy).2, said);
    world
        .told(&format!(
            "image-reflector-controller Normal Succeeded: {said}"
        ))
        .await;
    let repository = world.ready(&REPOSITORY, &key("app")).await;
    assert_eq!(repository.0["status"]["lastHandledReconcileAt"], "now");
    assert_eq!(
        repository.0["status"]["lastScanResult"]["latestTags"],
        json!(["1.1.0", "1.0.0"])
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_no_commit_and_no_write() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("1.0.0"))]);
    world.story().await;
    let before = world.ready(&AUTOMATION, &key("auto")).await;
    world
        .until(&AUTOMATION, &key("auto"), "compared", |o| {
            o.0["status"]["observedPolicies"]["app"]["tag"] == "1.0.0"
        })
        .await;
    assert_eq!(before.0["status"]["lastPushCommit"], Value::Null);
    world.idle().await;
    let before = world.ready(&AUTOMATION, &key("auto")).await;
    let policy = world.ready(&POLICY, &key("app")).await;
    let events = world.events().await.len();
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!(world.ready(&AUTOMATION, &key("auto")).await, before);
    assert_eq!(world.ready(&POLICY, &key("app")).await, policy);
    assert_eq!(world.events().await.len(), events);
    assert_eq!(world.history("main").len(), 1);
    // The scan says when it was made, and nothing else.
    let repository = world.ready(&REPOSITORY, &key("app")).await;
    assert_ne!(
        repository.0["status"]["lastScanResult"]["scanTime"],
        "2023-11-14T22:13:20Z"
    );
    // A request is answered.
    world.ask(&AUTOMATION, &key("auto"), "now").await;
    world
        .until(&AUTOMATION, &key("auto"), "handled", |o| {
            o.text(&["status", "lastHandledReconcileAt"]) == "now"
        })
        .await;
    world.told("Normal Succeeded: repository up-to-date").await;
    assert_eq!(world.history("main").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_push_in_between_is_kept_and_followed() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("0.9.0"))]);
    let (server, count) = (world.server.clone(), AtomicUsize::new(0));
    *world.gate.before_push.lock().expect("a lock") = Some(Box::new(move |request| {
        // Somebody is faster, twice, right before the pack is sent.
        if request.method == "POST" && count.fetch_add(1, Ordering::Relaxed) < 2 {
            let name = format!("theirs-{}.yaml", count.load(Ordering::Relaxed));
            commit_to(&server, "main", &[(&name, "a: 1\n")]);
        }
    }));
    world.story().await;
    world.pushed("").await;
    let messages: Vec<String> = world.history("main").into_iter().map(|(.., m)| m).collect();
    let expected = [
        "Update from image update automation",
        "by hand",
        "by hand",
        "by hand",
    ];
    assert_eq!(messages, expected, "theirs are kept, ours is last and once");
    assert_eq!(world.file("main", "app.yaml").0, manifest("1.0.0"));
    assert_eq!(world.file("main", "theirs-2.yaml").0, "a: 1\n");
}

#[tokio::test(start_paused = true)]
async fn a_restart_scans_again_and_repeats_nothing() {
    let mut world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("0.9.0"))]);
    world.story().await;
    world.pushed("").await;
    world.idle().await;
    let policy = world.chosen("1.0.0").await;
    // A tag that came while nobody looked is found at the start, not at the interval.
    world.restart().await;
    world.idle().await;
    assert_eq!(world.chosen("1.0.0").await.0["status"], policy.0["status"]);
    assert_eq!(world.history("main").len(), 2);
    world.image("1.2.0").await;
    world.restart().await;
    world.chosen("1.2.0").await;
    world.idle().await;
    assert_eq!(world.file("main", "app.yaml").0, manifest("1.2.0"));
    assert_eq!(world.history("main").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_push_and_status_repeats_nothing() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("0.9.0"))]);
    world.story().await;
    world.pushed("").await;
    world.idle().await;
    // The status as it would be without the last write.
    let status = json!({"status": {"lastPushCommit": null, "observedSourceRevision": null,
        "observedPolicies": null, "conditions": null}});
    let api = &world.context.api;
    let written = api
        .write_status(&AUTOMATION, &key("auto"), Write::Merge(status))
        .await;
    written.expect("patched");
    world.ask(&AUTOMATION, &key("auto"), "now").await;
    let object = world.ready(&AUTOMATION, &key("auto")).await;
    assert_eq!(ready(&object).2, "repository up-to-date");
    assert_eq!(world.history("main").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn messages_paths_branches_and_selectors() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit(
        "main",
        &[
            ("in/app.yaml", &manifest("0.9.0")),
            ("out/app.yaml", &manifest("0.9.0")),
        ],
    );
    world.story().await;
    world.create(&AUTOMATION, &key("other"), automation(&json!({
        "update": {"strategy": "Setters", "path": "./in"},
        "policySelector": {"matchLabels": {"name": "app"}},
        "git": {
            "commit": {"author": {"email": "o@example.com"}, "messageTemplateValues": {"who": "ann"},
                "messageTemplate": "{{ .AutomationObject }} for {{ .Values.who }}\n\n{{ range .Changed.Changes }}{{ .OldValue }} -> {{ .NewValue }}{{ end }}\n"},
            "push": {"branch": "updates", "refspec": "HEAD:refs/heads/staging"},
        },
    }))).await;
    world.create(&AUTOMATION, &key("none"), automation(&json!({
        "policySelector": {"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["app"]}]},
    }))).await;
    world.pushed("").await;
    let done = world
        .until(&AUTOMATION, &key("other"), "pushed", |o| {
            !o.text(&["status", "lastPushCommit"]).is_empty()
        })
        .await;
    world.ready(&AUTOMATION, &key("none")).await;
    let commit = done.text(&["status", "lastPushCommit"]);
    let (oid, who, message) = &world.history("updates")[0];
    assert_eq!(
        (oid.as_str(), world.history("staging")[0].0.as_str()),
        (commit, commit)
    );
    assert!(who.starts_with("o@example.com <o@example.com>"), "{who}");
    assert_eq!(
        message,
        &format!("demo/other for ann\n\n{IMAGE}:0.9.0 -> {IMAGE}:1.0.0\n")
    );
    let revision = done.text(&["status", "observedSourceRevision"]);
    assert!(revision.starts_with("main@sha1:"), "{revision}");
    world
        .told(&format!(
            "pushed commit '{}' to branch 'updates' and refspecs 'HEAD:refs/heads/staging'",
            &commit[..7]
        ))
        .await;

    // The branch goes on from where it is; nothing of it is overwritten.
    world.image("1.1.0").await;
    world.ask(&REPOSITORY, &key("app"), "now").await;
    let next = world
        .until(&AUTOMATION, &key("other"), "pushed again", |o| {
            o.text(&["status", "lastPushCommit"]) != commit
        })
        .await;
    let history = world.history("updates");
    assert_eq!(history[0].0, next.text(&["status", "lastPushCommit"]));
    assert_eq!(history[1].0, commit);
    assert_eq!(world.file("updates", "in/app.yaml").0, manifest("1.1.0"));
    assert_eq!(world.history("staging")[0].0, history[0].0);
}

#[tokio::test(start_paused = true)]
async fn a_digest_is_reflected_once_or_again_and_again() {
    let world = mk_world(None).await;
    let first = world.image("1.0.0").await;
    let app = key("app");
    world
        .create(
            &REPOSITORY,
            &app,
            json!({"image": IMAGE, "interval": "1h", "insecure": true}),
        )
        .await;
    world.create(&POLICY, &app, json!({"imageRepositoryRef": {"name": "app"},
        "policy": {"semver": {"range": "*"}}, "digestReflectionPolicy": "Always", "interval": "1m"})).await;
    let object = world.chosen("1.0.0").await;
    assert_eq!(object.text(&["status", "latestRef", "digest"]), first);
    let said = format!("Latest image tag for {IMAGE} resolved to 1.0.0 with digest {first}");
    assert_eq!(ready(&object).2, said);
    // The tag is moved: the new digest is seen at the next look.
    let moved = world.image_of("1.0.0", "other").await;
    assert_ne!(first, moved);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let object = world.chosen("1.0.0").await;
    assert_eq!(object.text(&["status", "latestRef", "digest"]), moved);
    let second = world.image("1.0.1").await;
    world.ask(&REPOSITORY, &app, "1").await;
    let object = world.chosen("1.0.1").await;
    assert_eq!(object.text(&["status", "latestRef", "digest"]), second);
    assert_eq!(
        object.text(&["status", "observedPreviousRef", "digest"]),
        moved
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_somebody_else_is_looked_at_when_the_source_sees_it() {
    let world = mk_world(None).await;
    world.image("1.0.0").await;
    world.commit("main", &[("app.yaml", &manifest("1.0.0"))]);
    world.story().await;
    world.chosen("1.0.0").await;
    world.ready(&AUTOMATION, &key("auto")).await;
    world.idle().await;
    let oid = world.commit("main", &[("app.yaml", &manifest("0.8.0"))]);
    let artifact = json!({"status": {"artifact": {"path": "p", "url": "http://a/p", "digest": "sha256:0",
        "revision": format!("main@sha1:{oid}"), "lastUpdateTime": "2023-11-14T22:13:20Z"}}});
    let (api, config) = (&world.context.api, key("config"));
    let written = api
        .write_status(&SOURCE, &config, Write::Merge(artifact))
        .await;
    written.expect("patched");
    world.pushed("").await;
    assert_eq!(world.file("main", "app.yaml").0, manifest("1.0.0"));
}
