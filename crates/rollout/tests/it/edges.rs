//! The edges of the older controller that are known to hurt, each with the right behaviour here.

use weir_rollout::{Backends, Effect, Ending, Phase, Plan, Refusal, State, decide};

use crate::world::{Pods, Quality, World, revision, split};

fn ending(world: &World) -> Option<Ending> {
    world.state().run.and_then(|r| r.ending)
}

fn weights(world: &World) -> Vec<u8> {
    world.state().run.map(|r| r.weights).unwrap_or_default()
}

#[test]
fn story_a_good_revision_is_promoted_and_tells_so() {
    let mut world = World::initialised();
    world.push(2);
    world.settle();
    assert_eq!(
        world.events,
        [
            "New revision detected! Scaling up app.demo",
            "Starting canary analysis for app.demo",
            "Advance app.demo canary weight 10",
            "Advance app.demo canary weight 50",
            "Copying app.demo template spec to app-primary.demo",
            "Routing all traffic to primary",
            "Promotion completed! Scaling down app.demo",
        ]
    );
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(
        (ending(&world), weights(&world)),
        (Some(Ending::Promoted), vec![10, 50])
    );
    assert_eq!(world.primary.map(|p| p.revision), Some(2));
    assert_eq!(world.target.map(|p| p.replicas), Some(0));
}

#[test]
fn story_a_faulty_revision_is_rolled_back_and_tells_why() {
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Faulty);
    world.push(2);
    world.settle();
    assert_eq!(
        world.events,
        [
            "New revision detected! Scaling up app.demo",
            "Starting canary analysis for app.demo",
            "Advance app.demo canary weight 10",
            "Halt app.demo advancement success rate 50.00% < 99%",
            "Halt app.demo advancement success rate 50.00% < 99%",
            "Rolling back app.demo failed checks threshold reached 2",
            "Canary failed! Scaling down app.demo",
        ]
    );
    let run = world.state().run.expect("a run");
    assert_eq!(
        run.reason.as_deref(),
        Some("Halt app.demo advancement success rate 50.00% < 99%")
    );
    assert_eq!(
        (run.ending, run.weights),
        (Some(Ending::RolledBack), vec![10])
    );
    assert_eq!(world.primary.map(|p| p.revision), Some(1));
    assert_eq!(world.route, split(0));
    assert_eq!(world.target.map(|p| p.replicas), Some(0));
}

#[test]
fn r01_a_revision_after_a_failure_is_never_lost() {
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Faulty);
    world.push(2);
    world.settle();
    assert_eq!(world.phase(), "Failed");
    // The primary is unwell just when the fix arrives; whatever happens in between, nothing that
    // was only seen is recorded as taken up.
    world.push(3);
    world.primary = None;
    for _ in 0..5 {
        world.step(Some(0));
        assert_ne!(world.state().last_applied_spec.as_deref(), Some("v1:3"));
    }
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.primary.map(|p| p.revision), Some(3));
}

#[test]
fn r02_going_back_to_the_promoted_revision_aborts() {
    for from in ["Initialized", "Succeeded"] {
        let mut world = World::initialised();
        let mut back = 1;
        if from == "Succeeded" {
            world.push(2);
            world.settle();
            back = 2;
        }
        world.push(3);
        world.until("weight 50", |w, _| {
            w.state().canary_weight == 50 && w.in_force
        });
        world.push(back);
        let plan = world.step(None);
        assert!(matches!(plan, Plan::Record { .. }));
        assert_eq!((world.phase(), world.state().canary_weight), (from, 0));
        world.settle();
        assert_eq!(world.phase(), from);
        assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(back));
        assert_eq!(ending(&world), Some(Ending::Aborted));
        // The same revision again is a new run.
        world.push(3);
        world.settle();
        assert_eq!(world.primary.map(|p| p.revision), Some(3));
    }
}

#[test]
fn r04_a_failed_first_deployment_takes_nothing_down_and_the_next_push_heals_it() {
    let mut world = World::new();
    world.quality.insert(1, Quality::Broken);
    let before = world.target.clone();
    world.settle();
    assert_eq!(world.phase(), "Failed");
    assert_eq!(ending(&world), Some(Ending::NeverReady));
    // Neither the target nor what leads to it was touched.
    assert_eq!(world.target.map(|p| p.replicas), before.map(|p| p.replicas));
    assert_eq!(
        (world.route.clone(), world.apex),
        (None, weir_rollout::Apex::Absent)
    );
    world.target = Some(Pods {
        revision: 2,
        replicas: 2,
        ready: true,
    });
    world.settle();
    assert_eq!(world.phase(), "Initialized");
    assert_eq!(world.primary.map(|p| p.revision), Some(2));
}

#[test]
fn r05_a_failed_promotion_puts_the_primary_back_and_the_next_push_heals_it() {
    let mut world = World::initialised();
    world.push(2);
    world.until("the copy", |w, _| {
        w.primary.as_ref().is_some_and(|p| p.revision == 2)
    });
    // The canary passed, the primary does not come up on the same revision.
    world.quality.insert(2, Quality::Broken);
    world.until(
        "the failure",
        |w, plan| matches!(plan, Plan::Hold { until: Some(until), .. } if *until > w.now),
    );
    world.pass_time(600);
    world.target.as_mut().expect("a target").ready = true;
    world.until(
        "traffic stays on the canary while it is put back",
        |w, _| w.primary.as_ref().is_some_and(|p| p.revision == 1),
    );
    assert_eq!(world.route, split(50));
    world.settle();
    assert_eq!((world.phase(), world.state().canary_weight), ("Failed", 0));
    assert_eq!(world.route, split(0));
    world.push(3);
    world.settle();
    assert_eq!(world.primary.map(|p| p.revision), Some(3));
}

#[test]
fn r05_where_neither_revision_comes_up_traffic_stays_on_the_canary() {
    let mut world = World::initialised();
    world.push(2);
    world.until("the copy", |w, _| {
        w.primary.as_ref().is_some_and(|p| p.revision == 2)
    });
    for n in [1, 2] {
        world.quality.insert(n, Quality::Broken);
    }
    for _ in 0..20 {
        world.step(None);
        world.pass_time(200);
    }
    assert_eq!((world.phase(), world.state().canary_weight), ("Failed", 50));
    assert!(matches!(
        decide(&world.observe()),
        Plan::Hold { until: None, .. }
    ));
    // The fix is analysed and promoted.
    world.push(3);
    world.settle();
    assert_eq!(
        (world.phase(), world.state().canary_weight),
        ("Succeeded", 0)
    );
    assert_eq!(world.primary.map(|p| p.revision), Some(3));
}

#[test]
fn r06_an_unhealthy_primary_does_not_block_its_fix() {
    let mut world = World::initialised();
    world.quality.insert(1, Quality::Broken);
    world.primary.as_mut().expect("a primary").ready = false;
    world.push(2);
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.primary.map(|p| p.revision), Some(2));
}

#[test]
fn r10_a_push_during_the_last_check_starts_again() {
    let mut world = World::initialised();
    world.push(2);
    world.until("the last check", |w, plan| {
        w.evidence.measurement.is_none()
            && w.state().canary_weight == 50
            && matches!(plan, Plan::Measure { .. })
    });
    world.step(None);
    assert!(world.evidence.measurement.is_some());
    world.push(3);
    world.step(None);
    let state = world.state();
    assert_eq!((world.phase(), state.canary_weight), ("Progressing", 0));
    assert_eq!(state.run.map(|r| r.revision), Some("v1:3".to_owned()));
    assert_eq!(
        world.events.last().map(String::as_str),
        Some("New revision detected! Restarting analysis for app.demo")
    );
    world.settle();
    assert_eq!(world.primary.map(|p| p.revision), Some(3));
}

#[test]
fn r10_a_push_after_the_verdict_is_not_what_is_copied() {
    let mut world = World::initialised();
    world.push(2);
    world.until("the copy", |w, _| w.phase() == "Promoting");
    world.push(3);
    // The share that reaches the target's changing pods goes back at once.
    world.step(None);
    assert_eq!(world.state().canary_weight, 0);
    world.until("the end of the run", |w, _| w.phase() == "Succeeded");
    assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(2));
    world.settle();
    assert_eq!(world.primary.map(|p| p.revision), Some(3));
}

#[test]
fn r11_a_deleted_primary_comes_back_from_what_was_promoted() {
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Faulty);
    world.push(2);
    world.settle();
    world.primary = None;
    world.settle();
    assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(1));
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn r11_a_primary_that_is_found_is_the_baseline_and_the_target_is_compared_with_it() {
    let mut world = World::new();
    world.primary = Some(Pods {
        revision: 7,
        replicas: 2,
        ready: true,
    });
    world.until("initialised", |w, _| w.phase() == "Initialized");
    assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(7));
    world.settle();
    assert_eq!(
        (world.phase(), world.passed.contains(&1)),
        ("Succeeded", true)
    );
}

#[test]
fn r13_deletion_gives_back_before_the_primary_goes() {
    for phase in ["Initialized", "Progressing", "Promoting", "Failed"] {
        let mut world = World::initialised();
        if phase == "Failed" {
            world.quality.insert(2, Quality::Faulty);
        }
        if phase != "Initialized" {
            world.push(2);
        }
        world.until(phase, |w, _| w.phase() == phase);
        world.deleting = true;
        world.until("the end", |w, _| {
            let free = !w.finalizer;
            let target = w.target.as_ref().expect("a target");
            assert!(!free || (target.ready && target.replicas > 0));
            assert!(!free || w.route == Some(Backends::Apex));
            free
        });
        assert_eq!(world.apex, weir_rollout::Apex::Target);
        assert_eq!(
            world.events.last().map(String::as_str),
            Some("Terminated canary app.demo"),
            "{phase}"
        );
    }
}

#[test]
fn r14_stepwise_promotion_ends_whatever_the_weight() {
    let mut world = World::initialised();
    world.strategy.promotion_step = 20;
    world.push(2);
    world.settle();
    assert_eq!(
        world
            .events
            .iter()
            .filter(|e| e.contains("primary weight"))
            .collect::<Vec<_>>(),
        [
            "Advance app.demo primary weight 70",
            "Advance app.demo primary weight 90",
            "Advance app.demo primary weight 100",
        ]
    );
    // The weight is already back when promotion begins.
    let mut world = World::initialised();
    world.strategy.promotion_step = 20;
    world.push(2);
    world.until("the copy", |w, _| w.phase() == "Promoting");
    if let Some(state) = &mut world.state {
        state.canary_weight = 0;
    }
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn r28_no_data_and_a_silent_provider_are_counted_apart() {
    for (provider_up, traffic, expected) in [
        (
            true,
            false,
            "Rolling back app.demo checks without data threshold reached 2",
        ),
        (
            false,
            true,
            "Rolling back app.demo metric provider failures threshold reached 2",
        ),
    ] {
        let mut world = World::initialised();
        (world.provider_up, world.traffic) = (provider_up, traffic);
        world.push(2);
        world.settle();
        assert_eq!(world.phase(), "Failed");
        assert_eq!(world.state().failed_checks, 0);
        assert!(
            world.events.iter().any(|e| e == expected),
            "{:?}",
            world.events
        );
    }
}

#[test]
fn windows_that_reach_into_another_revisions_traffic_do_not_count() {
    let mut world = World::initialised();
    world.push(2);
    world.until("weight 50", |w, _| w.state().canary_weight == 50);
    world.push(3);
    world.step(None);
    let restarted = world.now;
    world.until("the first measurement", |_, plan| {
        matches!(plan, Plan::Measure { .. })
    });
    assert!(world.now.duration_since(restarted).as_secs() >= 30);
}

#[test]
fn a_weight_is_measured_only_once_it_was_in_force_for_the_interval() {
    let mut world = World::initialised();
    world.push(2);
    world.until("the weight", |w, _| w.state().canary_weight == 10);
    world.in_force = false;
    world.pass_time(300);
    world.step(None);
    assert!(matches!(decide(&world.observe()), Plan::Hold { .. }));
    world.cluster();
    world.step(None);
    let since = world.now;
    assert_eq!(
        world.state().run.and_then(|r| r.in_force_since),
        Some(since)
    );
    match decide(&world.observe()) {
        Plan::Wait { until, .. } => assert_eq!(until.duration_since(since).as_secs(), 10),
        other => panic!("measured too early: {other:?}"),
    }
}

#[test]
fn a_canary_that_loses_its_pods_loses_its_traffic_at_once() {
    let mut world = World::initialised();
    world.push(2);
    world.until("in force", |w, _| {
        w.state().canary_weight == 50 && w.in_force
    });
    world.target.as_mut().expect("a target").ready = false;
    world.step(None);
    world.step(None);
    assert_eq!(world.route, split(0));
    assert_eq!(world.state().failed_checks, 1);
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn a_canary_that_never_comes_up_is_rolled_back_at_the_deadline() {
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Broken);
    world.push(2);
    let start = world.now;
    world.settle();
    assert_eq!((world.phase(), weights(&world)), ("Failed", vec![]));
    assert_eq!(world.now.duration_since(start).as_secs(), 600);
}

#[test]
fn skipped_analysis_still_waits_for_pods_on_both_sides() {
    let mut world = World::initialised();
    world.strategy.skip_analysis = true;
    world.push(2);
    world.settle();
    assert_eq!(
        world.events,
        [
            "New revision detected! Scaling up app.demo",
            "Copying app.demo template spec to app-primary.demo",
            "Promotion completed! Canary analysis was skipped for app.demo",
        ]
    );
}

#[test]
fn suspended_nothing_moves() {
    let mut world = World::initialised();
    world.push(2);
    world.until("weight 10", |w, _| {
        w.state().canary_weight == 10 && w.in_force
    });
    world.suspended = true;
    let before = world.state();
    world.push(3);
    assert!(matches!(world.settle(), Plan::Rest { .. }));
    assert_eq!(world.state(), before);
    world.suspended = false;
    world.settle();
    assert_eq!(world.primary.map(|p| p.revision), Some(3));
}

#[test]
fn what_is_not_supported_moves_nothing_and_ends_a_run_safely() {
    let refusal = Refusal {
        reason: "Unsupported",
        field: "analysis.webhooks".to_owned(),
        message: "webhooks are not supported".to_owned(),
    };
    let mut world = World::new();
    world.refusal = Some(refusal.clone());
    assert!(matches!(world.step(None), Plan::Refuse { .. }));
    assert!(!world.finalizer && !world.claimed && world.state.is_none());

    let mut world = World::initialised();
    world.push(2);
    world.until("weight 50", |w, _| w.state().canary_weight == 50);
    world.refusal = Some(refusal);
    world.settle();
    assert_eq!((world.phase(), world.state().canary_weight), ("Failed", 0));
    assert_eq!(world.route, split(0));
}

#[test]
fn a_hand_on_the_route_or_the_primary_is_put_right() {
    let mut world = World::initialised();
    world.route = Some(Backends::Other);
    world.primary.as_mut().expect("a primary").revision = 9;
    world.settle();
    assert_eq!(world.route, split(0));
    assert_eq!(world.primary.map(|p| p.revision), Some(1));
}

#[test]
fn a_target_that_goes_during_a_run_takes_its_share_of_traffic_along() {
    let mut world = World::initialised();
    world.push(2);
    world.until("weight 50", |w, _| {
        w.state().canary_weight == 50 && w.in_force
    });
    world.target = None;
    assert!(matches!(world.settle(), Plan::Hold { .. }));
    assert_eq!(world.route, split(0));
}

#[test]
fn stored_templates_nothing_needs_are_removed() {
    let mut world = World::initialised();
    for n in 2..6 {
        world.push(n);
        world.settle();
    }
    // The one before the current can be gone back to.
    assert_eq!(world.stored.into_iter().collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_stored_template_that_is_lost_is_stored_again_or_the_primary_is_the_baseline() {
    let mut world = World::initialised();
    world.stored.clear();
    let plan = decide(&world.observe());
    let expected = Effect::StoreTemplate {
        revision: revision(1).id,
        digest: revision(1).digest,
        source: weir_rollout::Source::Primary,
    };
    assert_eq!(
        plan,
        Plan::Act {
            effects: vec![expected],
            events: vec![]
        }
    );
    world.settle();
    assert!(world.stored.contains(&1));
}

/// A canary that another controller ran: its names for revisions mean nothing here.
fn taken_over(phase: Phase, target: u32) -> World {
    let mut world = World::initialised();
    let mut state = State {
        phase,
        last_applied_spec: Some("95b8f8bc".to_owned()),
        last_promoted_spec: Some("95b8f8bc".to_owned()),
        ..State::default()
    };
    if phase == Phase::Progressing {
        state.canary_weight = 20;
        state.last_promoted_spec = Some("4cb74184589".to_owned());
        world.route = split(20);
    }
    world.stored.clear();
    world.state = Some(state);
    world.push(target);
    world
}

#[test]
fn r03_taking_over_adopts_what_is_equal_and_analyses_what_is_not() {
    let mut world = taken_over(Phase::Succeeded, 1);
    world.settle();
    assert_eq!(world.events, Vec::<String>::new(), "nothing is rolled");
    assert_eq!(world.state().last_promoted_spec.as_deref(), Some("v1:1"));

    let mut world = taken_over(Phase::Succeeded, 2);
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.state().history[0].weights, [10, 50]);

    let mut world = taken_over(Phase::Failed, 2);
    world.settle();
    assert_eq!(world.phase(), "Failed", "what was given up stays given up");
    assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(1));
    world.push(3);
    world.settle();
    assert_eq!(world.phase(), "Succeeded");

    let mut world = taken_over(Phase::Progressing, 2);
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.state().history[0].weights, [10, 50], "from the start");
}

#[test]
fn r11_a_deleted_primary_comes_back_with_as_many_pods() {
    let mut world = World::initialised();
    world.primary.as_mut().expect("a primary").replicas = 5;
    world.push(2);
    world.settle();
    world.primary = None;
    world.settle();
    assert_eq!(world.primary.as_ref().map(|p| p.replicas), Some(5));
}
