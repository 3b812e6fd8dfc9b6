//! The courses a run can take, the gates on its way, and what people can ask of it.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_rollout::{
    Affinity, Backends, Course, Ending, HookKind, Phase, Piece, Plan, Request, Scaler, Step,
    Traffic, Verb, decide, explain,
};

use crate::world::{Quality, World, split, weighted};

/// A world at rest with a strategy of its own.
fn with(change: impl FnOnce(&mut weir_rollout::Strategy)) -> World {
    let mut world = World::initialised();
    change(&mut world.strategy);
    world
}

/// Each way traffic was sent, in order, without repeats.
fn walked(world: &mut World) -> Vec<Traffic> {
    let mut seen: Vec<Traffic> = Vec::new();
    for _ in 0..600 {
        if let Some(Backends::Split(to)) = &world.route
            && seen.last() != Some(to)
        {
            seen.push(to.clone());
        }
        match world.step(None) {
            Plan::Wait { until, .. } => world.now = until.max(world.now),
            Plan::Hold { until: None, .. } if world.turn.is_some() => return seen,
            Plan::Hold { .. } => world.cluster(),
            Plan::Rest { .. } | Plan::Refuse { .. } => return seen,
            _ => {}
        }
    }
    panic!("no rest: {:#?}", world.observe());
}

fn canary(weight: u8) -> Traffic {
    Traffic::canary(weight)
}

fn asks(kinds: &[HookKind]) -> BTreeSet<HookKind> {
    kinds.iter().copied().collect()
}

fn request(verb: Verb, token: &str) -> Request {
    Request {
        verb,
        token: token.to_owned(),
        by: Some("ann".to_owned()),
    }
}

#[test]
fn matching_requests_go_to_the_canary_for_all_iterations() {
    let mut world = with(|s| s.course = Course::Matched { iterations: 2 });
    world.push(2);
    let matched = Traffic {
        matched: true,
        ..canary(100)
    };
    assert_eq!(walked(&mut world), [canary(0), matched, canary(0)]);
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(
        world.events,
        [
            "New revision detected! Scaling up app.demo",
            "Starting canary analysis for app.demo",
            "Advance app.demo canary iteration 1/2",
            "Advance app.demo canary iteration 2/2",
            "Copying app.demo template spec to app-primary.demo",
            "Routing all traffic to primary",
            "Promotion completed! Scaling down app.demo",
        ]
    );
}

#[test]
fn blue_green_switches_once_after_its_iterations() {
    for (mirror, routed) in [(false, true), (true, true), (false, false)] {
        let mut world = World::new();
        world.strategy.course = Course::BlueGreen {
            iterations: 2,
            mirror,
        };
        world.strategy.routed = routed;
        world.settle();
        world.push(2);
        let copies = Traffic {
            mirror: true,
            ..canary(0)
        };
        let expected = match (mirror, routed) {
            (true, _) => vec![canary(0), copies, canary(100), canary(0)],
            (false, true) => vec![canary(0), canary(100), canary(0)],
            (false, false) => vec![],
        };
        assert_eq!(walked(&mut world), expected);
        assert_eq!(world.phase(), "Succeeded");
        let switch = if mirror {
            "Stop traffic mirroring and route all traffic to canary"
        } else {
            "Routing all traffic to canary"
        };
        assert_eq!(world.events.iter().any(|e| e == switch), routed);
    }
}

#[test]
fn r14_a_mirrored_step_is_one_step_and_ends() {
    let mut world = with(|s| {
        s.course = Course::Weighted {
            steps: vec![Step::at(50)],
            mirror: true,
        };
    });
    world.push(2);
    let copies = Traffic {
        mirror: true,
        ..canary(0)
    };
    assert_eq!(
        walked(&mut world),
        [canary(0), copies, canary(50), canary(0)]
    );
    assert_eq!(world.state().history[0].ending, Some(Ending::Promoted));
}

#[test]
fn a_faulty_revision_of_each_course_is_rolled_back() {
    for course in [
        weighted(&[20]),
        Course::Matched { iterations: 3 },
        Course::BlueGreen {
            iterations: 3,
            mirror: true,
        },
    ] {
        let mut world = with(|s| s.course = course);
        world.quality.insert(2, Quality::Faulty);
        world.push(2);
        let seen = walked(&mut world);
        assert_eq!(seen.last(), Some(&canary(0)));
        assert!(!seen.contains(&canary(100)), "users were spared: {seen:?}");
        assert_eq!(world.phase(), "Failed");
        assert_eq!(world.state().history[0].ending, Some(Ending::RolledBack));
    }
}

#[test]
fn the_events_and_hooks_of_a_run_in_their_known_order() {
    use HookKind as H;
    let all = [
        H::ConfirmRollout,
        H::PreRollout,
        H::Rollout,
        H::ConfirmTrafficIncrease,
        H::ConfirmPromotion,
        H::PostRollout,
        H::Rollback,
    ];
    let mut world = with(|s| {
        s.course = weighted(&[100]);
        s.promotion_step = 50;
        s.hooks = asks(&all);
    });
    world.push(2);
    world.settle();
    assert_eq!(
        world.events,
        [
            "Confirm-rollout check h passed",
            "New revision detected! Scaling up app.demo",
            "Starting canary analysis for app.demo",
            "Pre-rollout check h passed",
            "Confirm-traffic-increase check h passed",
            "Advance app.demo canary weight 100",
            "Confirm-traffic-increase check h passed",
            "Confirm-promotion check h passed",
            "Copying app.demo template spec to app-primary.demo",
            "Advance app.demo primary weight 50",
            "Advance app.demo primary weight 100",
            "Post-rollout check h passed",
            "Promotion completed! Scaling down app.demo",
        ]
    );
    let asked: Vec<HookKind> = world.asked.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        asked,
        [
            H::ConfirmRollout,
            H::Rollback,
            H::PreRollout,
            H::ConfirmTrafficIncrease,
            H::Rollback,
            H::Rollout,
            H::ConfirmTrafficIncrease,
            H::ConfirmPromotion,
            H::PostRollout,
        ]
    );
    let points: BTreeSet<_> = world.asked.iter().collect();
    assert_eq!(
        points.len(),
        world.asked.len(),
        "each question has its point"
    );
}

#[test]
fn a_closed_gate_waits_and_an_open_one_lets_go_on() {
    use HookKind as H;
    for (kind, phase, told) in [
        (
            H::ConfirmRollout,
            "Waiting",
            "Halt app.demo advancement waiting for approval h",
        ),
        (
            H::ConfirmTrafficIncrease,
            "Progressing",
            "Halt app.demo advancement waiting for traffic increase approval h",
        ),
        (
            H::ConfirmPromotion,
            "WaitingPromotion",
            "Halt app.demo advancement waiting for promotion approval h",
        ),
    ] {
        let mut world = with(|s| s.hooks = asks(&[kind]));
        world.closed.insert(kind);
        world.push(2);
        for _ in 0..120 {
            match world.step(None) {
                Plan::Wait { until, .. } => world.now = until,
                Plan::Hold { .. } => world.cluster(),
                _ => {}
            }
        }
        assert_eq!(world.phase(), phase);
        let times = world.events.iter().filter(|e| *e == told).count();
        assert_eq!(times, 1, "{told} is told once: {:?}", world.events);
        assert!(world.asked.len() > 3, "and asked again and again");
        assert_eq!(world.state().failed_checks, 0, "waiting is no failure");
        world.closed.clear();
        world.settle();
        assert_eq!(world.phase(), "Succeeded");
    }
}

#[test]
fn a_refusing_check_counts_and_ends_the_run() {
    for kind in [HookKind::PreRollout, HookKind::Rollout] {
        let mut world = with(|s| s.hooks = asks(&[kind, HookKind::PostRollout]));
        world.closed.insert(kind);
        world.push(2);
        world.settle();
        assert_eq!(world.phase(), "Failed", "{kind:?}");
        assert_eq!(world.state().failed_checks, 2);
        let last = world.asked.last().map(|(kind, _)| *kind);
        assert_eq!(last, Some(HookKind::PostRollout), "told of the end too");
        assert!(world.state().run.is_some_and(|r| r.owed.is_empty()));
    }
}

#[test]
fn a_check_that_fails_while_a_promotion_waits_still_rolls_back() {
    let mut world = with(|s| s.hooks = asks(&[HookKind::ConfirmPromotion]));
    world.closed.insert(HookKind::ConfirmPromotion);
    world.push(2);
    world.until("the gate", |w, _| w.phase() == "WaitingPromotion");
    world.quality.insert(2, Quality::Faulty);
    world.settle();
    assert_eq!(world.phase(), "Failed");
    assert_eq!(world.route, split(0));
}

#[test]
fn r07_a_rollback_hook_is_heard_while_waiting_and_while_progressing() {
    for phase in ["Waiting", "Progressing"] {
        let kinds = [HookKind::ConfirmRollout, HookKind::Rollback];
        let mut world = with(|s| s.hooks = asks(&kinds));
        if phase == "Waiting" {
            world.closed.insert(HookKind::ConfirmRollout);
        }
        world.push(2);
        world.until(phase, |w, _| {
            w.phase() == phase && (phase == "Waiting" || w.state().canary_weight > 0)
        });
        world.closed.insert(HookKind::Rollback);
        world.settle();
        assert_eq!(world.phase(), "Failed");
        assert_eq!(world.route, split(0));
        assert!(world.events.contains(&"Rollback check h passed".to_owned()));
    }
}

#[test]
fn r08_every_ending_alerts() {
    let severities = |world: &mut World| {
        let mut found = Vec::new();
        for _ in 0..400 {
            match world.step(None) {
                Plan::Record { events, .. } => {
                    found.extend(
                        events
                            .into_iter()
                            .filter_map(|e| e.alert)
                            .map(|a| a.message),
                    );
                }
                Plan::Wait { until, .. } => world.now = until.max(world.now),
                Plan::Hold { until, .. } => {
                    let before = format!("{:?}", world.observe());
                    world.cluster();
                    if format!("{:?}", world.observe()) == before
                        && let Some(until) = until
                    {
                        world.now = until;
                    }
                }
                Plan::Rest { .. } => break,
                _ => {}
            }
        }
        found
    };
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Broken);
    world.push(2);
    assert_eq!(
        severities(&mut world),
        [
            "New revision detected, progressing canary analysis.",
            "Progress deadline exceeded canary deployment not ready: 0 of 2 available",
        ]
    );
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Faulty);
    world.push(2);
    assert_eq!(
        severities(&mut world),
        [
            "New revision detected, progressing canary analysis.",
            "Failed checks threshold reached 2",
        ]
    );
    world.push(3);
    assert_eq!(
        severities(&mut world),
        [
            "New revision detected, progressing canary analysis.",
            "Canary analysis completed successfully, promotion finished.",
        ]
    );
}

#[test]
fn a_step_holds_waits_for_a_person_and_for_enough_requests() {
    let mut world = with(|s| {
        s.course = Course::Weighted {
            steps: vec![
                Step {
                    hold: Some(Duration::from_secs(95)),
                    ..Step::at(10)
                },
                Step {
                    manual: true,
                    min_requests: 500,
                    ..Step::at(50)
                },
            ],
            mirror: false,
        };
    });
    world.push(2);
    world.until("the first weight", |w, _| w.state().canary_weight == 10);
    let began = world.now;
    world.until("the second", |w, _| w.state().canary_weight == 50);
    assert!(world.now.as_second() - began.as_second() >= 95);
    world.served = 20.0;
    for _ in 0..30 {
        match world.step(None) {
            Plan::Wait { until, .. } => world.now = until,
            Plan::Hold { .. } => world.cluster(),
            _ => {}
        }
    }
    let reason = world.state().run.and_then(|r| r.reason);
    assert_eq!(
        reason.as_deref(),
        Some("20 of 500 requests were seen at weight 50")
    );
    world.served = 600.0;
    world.until("the person", |w, _| {
        w.state().run.and_then(|r| r.reason).as_deref()
            == Some("it waits at weight 50 to be let go on")
    });
    assert_eq!(world.phase(), "Progressing");
    world.requests = vec![request(Verb::Promote, "1")];
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    let handled = world.state().requests;
    assert_eq!(
        (handled[0].verb, handled[0].outcome.as_str(), handled.len()),
        (Verb::Promote, "approved", 1)
    );
}

#[test]
fn too_few_requests_for_the_whole_deadline_end_the_run() {
    let mut world = with(|s| {
        s.course = Course::Weighted {
            steps: vec![Step {
                min_requests: 10,
                ..Step::at(10)
            }],
            mirror: false,
        };
    });
    world.served = 9.0;
    world.push(2);
    world.settle();
    assert_eq!(world.phase(), "Failed");
    let reason = world.state().history[0].reason.clone();
    assert_eq!(
        reason.as_deref(),
        Some("9 of 10 requests were seen at weight 10")
    );
}

#[test]
fn a_pause_keeps_the_weight_and_still_rolls_back() {
    let mut world = World::initialised();
    world.push(2);
    world.until("a weight", |w, _| w.state().canary_weight == 10);
    world.requests = vec![request(Verb::Pause, "1")];
    for _ in 0..40 {
        match world.step(None) {
            Plan::Wait { until, .. } => world.now = until,
            Plan::Hold { .. } => world.cluster(),
            _ => {}
        }
    }
    assert_eq!(
        (world.phase(), world.state().canary_weight),
        ("Progressing", 10)
    );
    let mut resumed = world.clone();
    resumed.requests.push(request(Verb::Resume, "1"));
    resumed.settle();
    assert_eq!(resumed.phase(), "Succeeded");
    world.quality.insert(2, Quality::Faulty);
    world.settle();
    assert_eq!((world.phase(), world.route.clone()), ("Failed", split(0)));
}

#[test]
fn each_request_acts_once() {
    let mut world = World::initialised();
    world.requests = vec![request(Verb::Abort, "1"), request(Verb::Rollback, "1")];
    world.settle();
    assert_eq!(world.phase(), "Initialized");
    assert_eq!(world.events.len(), 2, "{:?}", world.events);
    world.push(2);
    world.settle();
    assert_eq!(world.phase(), "Succeeded", "an old request is spent");
    world.requests = vec![request(Verb::Abort, "2")];
    world.push(3);
    world.until("the request is known", |w, _| {
        w.state().requests.iter().any(|h| h.token == "2")
    });
}

#[test]
fn an_abort_ends_a_run_wherever_it_stands() {
    for (phase, last) in [
        ("Progressing", "v1:1"),
        ("Promoting", "v1:1"),
        ("Finalising", "v1:1"),
    ] {
        let mut world = World::initialised();
        world.push(2);
        world.until(phase, |w, _| {
            w.phase() == phase && (phase != "Progressing" || w.state().canary_weight > 0)
        });
        world.requests = vec![request(Verb::Abort, "1")];
        world.settle();
        assert_eq!(world.phase(), "Failed", "aborted while {phase}");
        assert_eq!(world.state().last_promoted_spec.as_deref(), Some(last));
        assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(1));
        assert_eq!(world.route, split(0));
        world.requests.push(request(Verb::Retry, "1"));
        world.settle();
        assert_eq!(world.phase(), "Succeeded", "and tried again after {phase}");
        assert_eq!(world.state().last_promoted_spec.as_deref(), Some("v1:2"));
    }
}

#[test]
fn a_full_promotion_skips_the_analysis_and_says_so() {
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Faulty);
    world.push(2);
    world.until("a weight", |w, _| w.state().canary_weight == 10);
    world.requests = vec![request(Verb::PromoteFull, "1")];
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    let past = world.state().history[0].clone();
    assert_eq!(past.reason.as_deref(), Some("promoted by ann"));
    let told = "Promotion completed! Canary analysis was skipped for app.demo";
    assert!(world.events.contains(&told.to_owned()));
}

#[test]
fn a_rollback_brings_the_revision_before_back_and_git_may_move_on() {
    let mut world = World::initialised();
    world.push(2);
    world.settle();
    world.requests = vec![request(Verb::Rollback, "1")];
    world.settle();
    assert_eq!(world.phase(), "Failed");
    assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(1));
    assert_eq!(world.target.as_ref().map(|p| p.replicas), Some(0));
    let past = &world.state().history[0];
    assert_eq!(
        (past.revision.as_str(), past.reason.as_deref()),
        ("v1:2", Some("rolled back by ann"))
    );
    world.push(3);
    world.settle();
    assert_eq!(world.state().last_promoted_spec.as_deref(), Some("v1:3"));
}

#[test]
fn a_revision_that_was_promoted_recently_needs_no_new_analysis() {
    let mut world = with(|s| s.rollback_window = 1);
    world.push(2);
    world.settle();
    // Nothing can be measured, and nothing has to be.
    world.traffic = false;
    world.push(1);
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.state().last_promoted_spec.as_deref(), Some("v1:1"));
    assert_eq!(world.state().history[0].weights, Vec::<u8>::new());
    world.push(3);
    world.settle();
    assert_eq!(world.phase(), "Failed", "a new one is analysed");
}

#[test]
fn a_promoted_revision_that_turns_bad_while_it_bakes_is_taken_back() {
    for faulty in [false, true] {
        let mut world = with(|s| s.bake = Some(Duration::from_mins(1)));
        world.push(2);
        world.until("the bake", |w, _| {
            w.state()
                .run
                .is_some_and(|r| r.decision == weir_rollout::Decision::Bake)
        });
        assert_eq!(
            (world.phase(), world.route.clone()),
            ("Finalising", split(0))
        );
        let began = world.now;
        if faulty {
            world.quality.insert(2, Quality::Faulty);
        }
        world.settle();
        let (phase, serves) = if faulty {
            ("Failed", 1)
        } else {
            ("Succeeded", 2)
        };
        assert_eq!(world.phase(), phase);
        assert_eq!(world.primary.as_ref().map(|p| p.revision), Some(serves));
        if !faulty {
            assert_eq!(world.now.as_second() - began.as_second(), 60);
        }
    }
}

#[test]
fn a_run_waits_for_its_turn() {
    let mut world = World::initialised();
    world.turn = Some("its turn: 2 canaries run".to_owned());
    world.push(2);
    walked(&mut world);
    assert_eq!(world.phase(), "Initialized");
    world.turn = None;
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn r22_cookies_follow_from_the_run_and_go_with_it() {
    let mut world = with(|s| {
        s.affinity = Some(Affinity {
            cookie: "side".to_owned(),
            primary_cookie: Some("main".to_owned()),
        });
    });
    world.push(2);
    world.until("a weight", |w, _| w.state().canary_weight == 10);
    let first = world.state();
    let cookie = first.session_affinity_cookie.clone().expect("a cookie");
    assert_eq!((cookie.get(..5), cookie.len()), (Some("side="), 15));
    world.until("the next", |w, _| w.state().canary_weight == 50);
    assert_eq!(world.state().session_affinity_cookie, Some(cookie.clone()));
    world.settle();
    let after = world.state();
    assert_eq!(after.session_affinity_cookie, None);
    assert_eq!(after.previous_session_affinity_cookie, Some(cookie.clone()));
    world.push(3);
    world.until("a weight", |w, _| w.state().canary_weight == 10);
    assert_ne!(world.state().session_affinity_cookie, Some(cookie));
}

#[test]
fn the_history_tells_of_each_run_and_is_bounded() {
    let mut world = World::initialised();
    world.quality.insert(2, Quality::Faulty);
    world.push(2);
    world.settle();
    world.push(3);
    world.until("a weight", |w, _| w.state().canary_weight == 10);
    world.push(4);
    world.settle();
    let told: Vec<_> = (world.state().history.iter())
        .map(|p| (p.revision.clone(), p.ending))
        .collect();
    let of = |n: &str, ending| (format!("v1:{n}"), Some(ending));
    assert_eq!(
        told,
        [
            of("4", Ending::Promoted),
            of("3", Ending::Superseded),
            of("2", Ending::RolledBack),
            of("1", Ending::Initialized),
        ]
    );
    for n in 5..25 {
        world.push(n);
        world.settle();
    }
    assert_eq!(world.state().history.len(), weir_rollout::HISTORY);
}

#[test]
fn what_happens_is_told_in_sentences() {
    let mut world = World::initialised();
    let says = |world: &World| {
        let o = world.observe();
        explain(&o, &decide(&o))
    };
    world.push(2);
    world.until("a wait", |w, plan| {
        w.state().canary_weight == 10 && matches!(plan, Plan::Wait { .. })
    });
    assert_eq!(
        says(&world),
        [
            "Canary app.demo sends 10% of traffic to revision v1:2.",
            "It waits for the next measurement at weight 10, at 1970-01-01T00:00:30Z.",
            "Of 2 failed checks 0 are spent, of 2 without data 0, of 2 failures of a provider 0.",
            "If the next round is good, its weight becomes 50.",
            "Revision v1:1 became the first that serves at 1970-01-01T00:00:00Z.",
        ]
    );
    world.settle();
    assert_eq!(
        says(&world)[..1],
        ["Canary app.demo serves what is promoted; a new revision starts a run.".to_owned()]
    );
    assert_eq!(Phase::Waiting.as_str(), "Waiting");
}

#[test]
fn an_autoscaled_canary_has_the_pods_for_a_share_before_it_gets_it() {
    let mut world = World::new();
    world.scaler = Some(Scaler {
        primary: Piece::Absent,
        min: 2,
        max: Some(8),
        paused: Some(false),
    });
    world.settle();
    let scaler = world.scaler.clone().expect("a scaler");
    assert_eq!(
        (scaler.primary, scaler.paused),
        (Piece::Current, Some(true))
    );
    // The primary was scaled up by its own.
    world.primary.as_mut().expect("a primary").replicas = 20;
    world.push(2);
    let mut seen = Vec::new();
    for _ in 0..400 {
        let pods = world.target.clone().expect("a target");
        let at = (world.state().canary_weight, pods.replicas);
        if seen.last() != Some(&at) {
            seen.push(at);
        }
        match world.step(None) {
            Plan::Wait { until, .. } => world.now = until,
            Plan::Hold { .. } => world.cluster(),
            Plan::Rest { .. } => break,
            _ => {}
        }
    }
    assert_eq!(
        seen,
        [(0, 0), (0, 2), (10, 2), (10, 8), (50, 8), (0, 8), (0, 0)],
        "of 20 pods, 2 carry a tenth; half would need 10, and 8 are the most there may be"
    );
    assert_eq!(world.scaler.and_then(|s| s.paused), Some(true));
}

#[test]
fn deletion_lets_the_autoscaler_go_on() {
    let mut world = World::new();
    world.scaler = Some(Scaler {
        primary: Piece::Absent,
        min: 1,
        max: None,
        paused: Some(false),
    });
    world.settle();
    world.deleting = true;
    world.settle();
    assert_eq!(world.scaler.and_then(|s| s.paused), Some(false));
    assert_eq!(world.target.map(|t| t.replicas), Some(2));
}
