//! What goes wrong around a release: restarts, refusals, silence, other people's hands.

use std::time::Duration;

use serde_json::json;
use weir_runtime::kinds::{DEPLOYMENT, HTTP_ROUTE};
use weir_scenarios::{Fault, Stage, app_manifests};

#[tokio::test(start_paused = true)]
async fn a_restart_at_each_step_loses_and_repeats_nothing() {
    let mut stage = Stage::with_app().await;
    let users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    let mut weights = Vec::new();
    for weight in [20, 40, 60] {
        stage
            .until(&format!("weight {weight} is in force"), async |s| {
                s.weight().await == weight
            })
            .await;
        weights.push(stage.route().await);
        // When the controllers are killed at this step
        stage.kill_controllers().await;
        stage.pass(Duration::from_secs(30)).await;
        assert_eq!(
            stage.route().await,
            (100 - weight, weight),
            "traffic stays as it is meanwhile"
        );
        stage.start_controllers();
    }
    // Then the run goes on from the same step to its end
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(weights, [(80, 20), (60, 40), (40, 60)]);
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
    assert_eq!(users.report().failed, 0);
    let commits = stage.events("ImageUpdateAutomation", "app").await;
    let pushed = commits.iter().filter(|e| e.contains("1.1.0")).count();
    assert!(
        pushed <= 1,
        "one commit at the most tells of the tag: {commits:#?}"
    );
}

/// Plays one release to its end, with a crash after write `crash` where one is given; says how many
/// writes the controllers made meanwhile.
async fn release(error_rate: &str, ends: &str, crash: Option<u64>) -> u64 {
    let mut stage = Stage::with_app().await;
    let users = stage.users(20);
    let before = stage.faults().writes();
    if let Some(write) = crash {
        stage.faults().plan(write, 1, Fault::CrashAfter);
    }
    stage.push_image("1.1.0", error_rate).await;
    let ended = async |s: &Stage| s.faults().crashed() || s.phase().await == ends;
    stage.until("the crash, or the end", ended).await;
    if crash.is_some() {
        stage.faults().clear();
        stage.kill_controllers().await;
        stage.start_controllers();
    }
    let ended = async |s: &Stage| s.phase().await == ends;
    stage.until("the end", ended).await;
    let writes = stage.faults().writes() - before;
    let at = format!("after write {crash:?}");
    let primary = if ends == "Succeeded" {
        "1.1.0"
    } else {
        "1.0.0"
    };
    // A state is recorded before what it calls for is done.
    stage
        .until(&format!("traffic is at the primary {at}"), async |s| {
            s.route().await == (100, 0)
        })
        .await;
    assert_eq!(stage.tag("app-primary").await, primary, "{at}");
    stage
        .until("the target is at rest", async |s| {
            s.replicas("app").await == 0
        })
        .await;
    let report = users.report();
    if ends == "Succeeded" {
        assert_eq!(report.failed, 0, "{at}");
    } else {
        assert!(report.failed * 5 <= report.total, "{at}: {report:?}");
    }
    writes
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_of_a_promotion_ends_the_same() {
    let writes = release("0", "Succeeded", None).await;
    assert!(writes > 10, "{writes}");
    for write in 1..=writes {
        release("0", "Succeeded", Some(write)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_of_a_rollback_ends_the_same() {
    let writes = release("0.5", "Failed", None).await;
    assert!(writes > 10, "{writes}");
    for write in 1..=writes {
        release("0.5", "Failed", Some(write)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refused_writes_delay_but_do_not_change_the_end() {
    let stage = Stage::with_app().await;
    let users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the run is at 20 %", async |s| s.weight().await == 20)
        .await;
    // When the API refuses the next six writes
    stage.faults().plan(1, 6, Fault::Refuse);
    // Then the run still ends well
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
    assert_eq!((stage.route().await, users.report().failed), ((100, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn without_measurements_nothing_is_promoted() {
    // Given no users, so that no check has anything to look at
    let stage = Stage::with_app().await;
    stage.push_image("1.1.0", "0").await;
    // Then the run does not end well, and says why
    stage
        .until("it is rolled back", async |s| s.phase().await == "Failed")
        .await;
    assert_eq!(
        (stage.tag("app-primary").await, stage.answer().await),
        ("1.0.0".into(), "1.0.0".into())
    );
    let events = stage.events("Canary", "app").await;
    assert!(
        events.iter().any(|e| e.contains("no values found")),
        "{events:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_foreign_change_of_the_weights_is_put_right() {
    let stage = Stage::with_app().await;
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the run is at 20 %", async |s| s.weight().await == 20)
        .await;
    // When somebody sends all traffic to the canary by hand
    let rules = stage
        .get(&HTTP_ROUTE, "app")
        .await
        .expect("a route")
        .get(&["spec", "rules"])
        .cloned();
    let mut rules = rules.expect("rules");
    rules[0]["backendRefs"][0]["weight"] = json!(0);
    rules[0]["backendRefs"][1]["weight"] = json!(100);
    stage
        .patch(&HTTP_ROUTE, "app", json!({"spec": {"rules": rules}}))
        .await;
    // Then it is put right, and the run goes on to its end
    stage
        .until("it is put right", async |s| s.route().await.1 <= 60)
        .await;
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
}

#[tokio::test(start_paused = true)]
async fn a_conflicting_edit_of_the_target_is_undone_from_git() {
    let stage = Stage::with_app().await;
    // When somebody scales the target by hand between two runs
    stage
        .patch(&DEPLOYMENT, "app", json!({"spec": {"replicas": 3}}))
        .await;
    let _users = stage.users(20);
    // Then a release still goes its way, and afterwards the target is at rest again
    stage.push_image("1.1.0", "0").await;
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    let target = stage.get(&DEPLOYMENT, "app").await.expect("the target");
    assert_eq!(
        target.get(&["spec", "replicas"]),
        Some(&json!(0)),
        "{}",
        target.0
    );
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_deploy_heals_with_the_next_good_push() {
    // Given a first version whose image does not exist
    let missing = |path: &str, text: String| match path {
        "app/deployment.yaml" => text
            .replace("app:1.0.0 #", "app:0.9.0 #")
            .replace("\"$imagepolicy\"", "\"none\""),
        _ => text,
    };
    let stage = Stage::set().await;
    stage.push_image("1.0.0", "0").await;
    stage
        .push(app_manifests(missing), "Deploy a missing version")
        .await;
    stage.apply_cluster().await;
    stage.pass(Duration::from_mins(3)).await;
    assert_ne!(stage.phase().await, "Initialized");

    // When a good version is pushed
    stage
        .push(
            app_manifests(|_, text| text),
            "Deploy a version that exists",
        )
        .await;

    // Then the application comes up
    stage
        .until("the Canary is initialised", async |s| {
            matches!(s.phase().await.as_str(), "Initialized" | "Succeeded")
        })
        .await;
    stage
        .until("it answers", async |s| s.answer().await == "1.0.0")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.0.0");
}

#[tokio::test(start_paused = true)]
async fn a_revision_after_a_failed_one_is_never_lost() {
    // R1: a revision that comes after a failed run is analysed, whatever happens meanwhile.
    let mut stage = Stage::with_app().await;
    let _users = stage.users(20);
    stage.push_image("1.1.0", "0.5").await;
    stage
        .until("it is rolled back", async |s| s.phase().await == "Failed")
        .await;
    stage.push_image("1.1.1", "0").await;
    stage
        .until("it is applied", async |s| s.tag("app").await == "1.1.1")
        .await;
    stage.kill_controllers().await;
    stage.start_controllers();
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
    assert_eq!(stage.tag("app-primary").await, "1.1.1");
}
