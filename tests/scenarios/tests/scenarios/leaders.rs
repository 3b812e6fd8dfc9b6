//! Several Weirs, other controllers of the same kinds, and the emergency stop.

use std::time::Duration;

use serde_json::json;
use weir::controllers::Role;
use weir_object::{Key, Object};
use weir_runtime::kinds::{CONFIG_MAP, DEPLOYMENT};
use weir_runtime::lease::LEASE;
use weir_runtime::{PAUSE, Propagation, Write};
use weir_scenarios::{Fault, HOME, Replica, Stage, app_manifests};

/// An application that one of two replicas has brought up.
async fn with_replicas() -> (Stage, Vec<Replica>) {
    let stage = Stage::empty().await;
    let replicas = vec![stage.start_replica("one"), stage.start_replica("two")];
    stage.deploy(|_, text| text).await;
    stage
        .until("the Canary is initialised", async |s| {
            s.phase().await == "Initialized"
        })
        .await;
    (stage, replicas)
}

/// The replica that plays the role, and the others.
async fn leader_of(stage: &Stage, role: Role, replicas: Vec<Replica>) -> (Replica, Vec<Replica>) {
    let holder = stage.holder(role).await;
    let (mut leading, others): (Vec<_>, Vec<_>) =
        replicas.into_iter().partition(|r| r.identity == holder);
    (leading.pop().expect("a replica leads"), others)
}

#[tokio::test(start_paused = true)]
async fn a_leader_killed_in_the_middle_of_a_step_is_followed_from_the_same_step() {
    let (stage, replicas) = with_replicas().await;
    let users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the run is at 40 %", async |s| s.weight().await == 40)
        .await;

    // When the leader is killed
    let (leader, others) = leader_of(&stage, Role::Canary, replicas).await;
    let killed = leader.identity.clone();
    leader.kill().await;

    // Then the other goes on from there; no step is taken back or left out
    let weights = std::cell::RefCell::new(vec![40]);
    stage
        .until("it is promoted", async |s| {
            let (weight, phase) = (s.route().await.1, s.phase().await);
            let mut weights = weights.borrow_mut();
            if weights.last() != Some(&weight) {
                weights.push(weight);
            }
            phase == "Succeeded"
        })
        .await;
    assert_eq!(weights.into_inner(), [40, 60, 0]);
    assert_eq!(stage.tag("app-primary").await, "1.1.0");
    assert_eq!(users.report().failed, 0, "no request was lost by it");
    let holder = stage.holder(Role::Canary).await;
    assert_ne!(holder, killed);
    assert_eq!(holder, others[0].identity);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_leader_lets_go_so_that_nobody_waits_for_its_lease_to_end() {
    let (stage, replicas) = with_replicas().await;
    let (leader, others) = leader_of(&stage, Role::Kustomize, replicas).await;
    let start = tokio::time::Instant::now();
    leader.end().await;
    let wanted = others[0].identity.clone();
    stage
        .until("the other leads", async |s| {
            s.holder(Role::Kustomize).await == wanted
        })
        .await;
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "a Lease lasts 15 s: {:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_renewals_are_refused_stops_before_another_may_lead() {
    let (stage, replicas) = with_replicas().await;
    let (mut leader, others) = leader_of(&stage, Role::Canary, replicas).await;

    // When nothing that it writes is done any more
    leader.faults.plan(1, 10_000, Fault::Refuse);
    let why = leader.ended().await;
    assert!(why.contains("a lease was lost"), "{why}");

    // Then it has ended while its Lease was still its own, and the other goes on
    assert_eq!(stage.holder(Role::Canary).await, leader.identity);
    let wanted = others[0].identity.clone();
    stage
        .until("the other leads", async |s| {
            s.holder(Role::Canary).await == wanted
        })
        .await;
    stage.push_image("1.1.0", "0").await;
    let _users = stage.users(20);
    stage
        .until("it is promoted", async |s| s.phase().await == "Succeeded")
        .await;
}

/// A Lease as another controller of the same kinds would write it.
fn foreign(namespace: &str, role: Role, second: u64) -> Object {
    let name = role.lease("");
    Object(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"holderIdentity": "older-controller-1", "leaseDurationSeconds": 35,
            "renewTime": format!("2030-03-17T17:46:{:02}.000000Z", second % 60)},
    }))
}

async fn renew(stage: &Stage, namespace: &str, role: Role, seconds: u64) {
    let key = Key::new(namespace, role.lease(""));
    for second in (0..seconds).step_by(5) {
        let fields = foreign(namespace, role, second);
        let write = Write::Apply {
            fields,
            force: true,
        };
        stage
            .api()
            .write(&LEASE, &key, write)
            .await
            .expect("written");
        stage.pass(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_beside_a_running_controller_of_the_same_kinds() {
    for namespace in [HOME, "kube-public"] {
        // Given another controller that renews its Lease, in this namespace or in another
        let stage = Stage::empty().await;
        renew(&stage, namespace, Role::Canary, 5).await;

        // When Weir is started, and the other one goes on for ten minutes
        let _replica = stage.start_replica("one");
        stage.deploy(|_, text| text).await;
        renew(&stage, namespace, Role::Canary, 600).await;

        // Then the kinds of its role are untouched, and all others are worked on
        assert_eq!(stage.phase().await, "", "{namespace}");
        assert_eq!(stage.tag("app").await, "1.0.0", "{namespace}");

        // When the other one is gone, Weir takes over
        stage
            .until("the Canary is initialised", async |s| {
                s.phase().await == "Initialized"
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_freezes_applies_and_canaries_and_leaves_traffic_as_it_is() {
    let stage = Stage::with_app().await;
    let users = stage.users(20);
    stage.push_image("1.1.0", "0").await;
    stage
        .until("the run is at 40 %", async |s| s.weight().await == 40)
        .await;

    // When everything is paused, and meanwhile Git changes
    let key = Key::new(HOME, PAUSE);
    let fields = Object(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": PAUSE, "namespace": HOME}, "data": {"paused": "true"}}));
    let write = Write::Apply {
        fields,
        force: true,
    };
    let api = stage.api();
    api.write(&CONFIG_MAP, &key, write).await.expect("written");
    stage.pass(Duration::from_secs(1)).await;
    let route = stage.route().await;
    let writes = stage.faults().writes();
    let edit = |path: &str, text: String| match path {
        "app/deployment.yaml" => {
            text.replacen("metadata:", "metadata:\n  annotations: {note: new}", 1)
        }
        _ => text,
    };
    stage.push(app_manifests(edit), "Change the pods").await;
    stage.pass(Duration::from_mins(5)).await;

    // Then nothing moved but the source, which only looks
    assert_eq!((stage.route().await, stage.weight().await), (route, 40));
    assert_eq!(stage.phase().await, "Progressing");
    let log = stage.faults().log();
    let since = log.get(writes as usize..).unwrap_or_default();
    let moves = |line: &&String| {
        !(line.contains("gitrepositories")
            || line.contains("imagerepositories")
            || line.contains("imagepolicies")
            || line.contains("/events"))
    };
    assert_eq!(since.iter().filter(moves).count(), 0, "{since:#?}");
    assert_eq!(users.report().failed, 0);

    // When it is resumed, the run goes on to its end
    let resumed = api
        .delete(&CONFIG_MAP, &key, None, Propagation::Background)
        .await;
    assert!(resumed.expect("deleted"));
    stage
        .until("the run ends", async |s| s.phase().await == "Succeeded")
        .await;
    let app = stage.get(&DEPLOYMENT, "app").await.expect("it is there");
    assert_eq!(app.annotation("note"), Some("new"));
}
