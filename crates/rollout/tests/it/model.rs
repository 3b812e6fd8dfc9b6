//! Random schedules: pushes, failing pods, hands on routes and primaries, crashes between a decision
//! and its effects, lost measurements. The world itself asserts what may never be recorded or done;
//! here it is asserted that everything comes to rest in the right place.

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

use weir_rollout::{
    Backends, Course, Evidence, HookKind, Plan, Request, Step, Traffic, Verb, decide,
};

use crate::world::{Quality, World, split, weighted};

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Step,
    CrashedStep,
    Cluster,
    Time(u64),
    Push(u32),
    TargetFails,
    PrimaryFails,
    DeletePrimary,
    EditPrimary(u32),
    Route(u8),
    RouteGone,
    LoseMeasurement,
    Suspend(bool),
    LoseTemplates,
    Provider(bool),
    Hook(HookKind, bool),
    Ask(Verb, u8),
    Served(u16),
}

pub(crate) const HOOKS: [HookKind; 7] = [
    HookKind::ConfirmRollout,
    HookKind::PreRollout,
    HookKind::Rollout,
    HookKind::ConfirmTrafficIncrease,
    HookKind::ConfirmPromotion,
    HookKind::PostRollout,
    HookKind::Rollback,
];

fn hook() -> impl Strategy<Value = HookKind> {
    prop::sample::select(HOOKS.to_vec())
}

fn course() -> impl Strategy<Value = Course> {
    prop_oneof![
        3 => Just(weighted(&[10, 50])),
        1 => Just(Course::Weighted {
            steps: vec![
                Step { hold: Some(Duration::from_secs(35)), ..Step::at(20) },
                Step { min_requests: 100, ..Step::at(100) },
            ],
            mirror: true,
        }),
        1 => (1u32..4).prop_map(|iterations| Course::Matched { iterations }),
        2 => (1u32..4, any::<bool>())
            .prop_map(|(iterations, mirror)| Course::BlueGreen { iterations, mirror }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => Just(Action::Step),
        2 => Just(Action::CrashedStep),
        6 => Just(Action::Cluster),
        5 => (1u64..40).prop_map(Action::Time),
        2 => (1u32..6).prop_map(Action::Push),
        1 => Just(Action::TargetFails),
        1 => Just(Action::PrimaryFails),
        1 => Just(Action::DeletePrimary),
        1 => (1u32..6).prop_map(Action::EditPrimary),
        1 => (0u8..=100).prop_map(Action::Route),
        1 => Just(Action::RouteGone),
        1 => Just(Action::LoseMeasurement),
        1 => any::<bool>().prop_map(Action::Suspend),
        1 => Just(Action::LoseTemplates),
        1 => any::<bool>().prop_map(Action::Provider),
        2 => (hook(), any::<bool>()).prop_map(|(kind, closed)| Action::Hook(kind, closed)),
        2 => (prop::sample::select(Verb::ALL.to_vec()), 0u8..4)
            .prop_map(|(verb, token)| Action::Ask(verb, token)),
        1 => (0u16..200).prop_map(Action::Served),
    ]
}

pub(crate) fn play(world: &mut World, action: &Action) {
    match action {
        Action::Step => {
            world.step(None);
        }
        Action::CrashedStep => {
            world.step(Some(0));
        }
        Action::Cluster => world.cluster(),
        Action::Time(seconds) => world.pass_time(*seconds),
        Action::Push(n) => world.push(*n),
        Action::TargetFails => {
            if let Some(target) = &mut world.target {
                target.ready = target.replicas == 0;
            }
        }
        Action::PrimaryFails => {
            if let Some(primary) = &mut world.primary {
                primary.ready = false;
            }
        }
        Action::DeletePrimary => world.primary = None,
        Action::EditPrimary(n) => {
            // Anything but a revision that was never analysed by accident of numbering.
            if let Some(primary) = &mut world.primary {
                primary.revision = 90 + n;
            }
        }
        Action::Route(weight) => {
            if world.route.is_some() {
                world.route = Some(Backends::Split(Traffic {
                    mirror: *weight == 1,
                    matched: *weight > 90,
                    ..Traffic::canary(*weight)
                }));
            }
        }
        Action::RouteGone => world.route = None,
        Action::LoseMeasurement => world.evidence = Evidence::default(),
        Action::Suspend(suspended) => world.suspended = *suspended,
        Action::LoseTemplates => {
            let state = world.state();
            let run = state.run.map(|r| r.revision);
            // The run's only: with the promoted one gone and the primary edited at the same time,
            // the edited primary is all that is left, which is another test's matter.
            if run != state.last_promoted_spec
                && let Some(run) = run
            {
                world.stored.remove(&crate::world::number(&run));
            }
        }
        Action::Provider(up) => world.provider_up = *up,
        Action::Hook(kind, true) => drop(world.closed.insert(*kind)),
        Action::Hook(kind, false) => drop(world.closed.remove(kind)),
        Action::Ask(verb, token) => {
            world.requests.retain(|r| r.verb != *verb);
            world.requests.push(Request {
                verb: *verb,
                token: token.to_string(),
                by: None,
            });
        }
        Action::Served(requests) => world.served = f64::from(*requests),
    }
}

/// Nothing hinders any more: everything comes to rest. Says the last plan.
pub(crate) fn let_rest(world: &mut World) -> Plan {
    world.suspended = false;
    world.provider_up = true;
    world.closed = BTreeSet::new();
    world.served = 1000.0;
    if let Course::Weighted { steps, .. } = &mut world.strategy.course {
        for step in steps {
            step.manual = false;
        }
    }
    // Whoever paused has to let it go on.
    world.requests = vec![Request {
        verb: Verb::Resume,
        token: "last".into(),
        by: None,
    }];
    world.evidence = Evidence::default();
    world.cluster();
    world.settle()
}

/// What is not as it has to be at rest.
pub(crate) fn wrong_at_rest(world: &mut World, last: &Plan) -> Option<String> {
    // A fixed point: nothing more is decided, whatever time passes.
    world.pass_time(100_000);
    let again = decide(&world.observe());
    if std::mem::discriminant(&again) != std::mem::discriminant(last) {
        return Some(format!("it is not at rest: {again:?}"));
    }
    let state = world.state();
    let target = world.target.clone()?;
    let Some(promoted) = state.last_promoted_spec.as_deref() else {
        let safe = world.phase() == "Failed" && target.replicas == 2;
        return (!safe).then(|| format!("the first deployment was touched: {state:#?}"));
    };
    let Some(primary) = world.primary.clone() else {
        return Some("there is no primary".to_owned());
    };
    if format!("v1:{}", primary.revision) != promoted {
        return Some(format!(
            "the primary runs {}, not {promoted}",
            primary.revision
        ));
    }
    // The live revision was promoted, or its run has a verdict that says why not.
    let live = format!("v1:{}", target.revision);
    let judged = state.last_applied_spec.as_deref() == Some(&live) && world.phase() == "Failed";
    if promoted != live && !judged {
        return Some(format!("{live} is lost: {state:#?}"));
    }
    if state.canary_weight == 0 {
        if world.strategy.routed && world.route != split(0) {
            return Some(format!("traffic goes to {:?}", world.route));
        }
        if target.replicas != 0 || !matches!(last, Plan::Rest { .. }) {
            return Some(format!("{} pods are left, and {last:?}", target.replicas));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_comes_to_rest_and_promotes_only_what_passed(
        actions in prop::collection::vec(action(), 20..160),
        qualities in prop::collection::vec(0u8..4, 6),
        skip in prop::bool::weighted(0.1),
        promotion_step in prop_oneof![Just(0u8), Just(30u8)],
        course in course(),
        hooks in prop::collection::btree_set(hook(), 0..4),
        (routed, bake, window) in (prop::bool::weighted(0.8), any::<bool>(), 0usize..3),
    ) {
        let mut world = World::new();
        world.strategy.routed = routed || course.iterations().is_none();
        world.strategy.course = course;
        world.strategy.hooks = hooks;
        world.strategy.bake = bake.then_some(Duration::from_secs(45));
        world.strategy.rollback_window = window;
        for (n, quality) in qualities.iter().enumerate().skip(2) {
            let quality = match quality {
                0 => Quality::Faulty,
                1 => Quality::Broken,
                _ => Quality::Good,
            };
            world.quality.insert(u32::try_from(n).expect("small"), quality);
        }
        world.strategy.skip_analysis = skip;
        world.strategy.promotion_step = promotion_step;
        for action in &actions {
            play(&mut world, action);
        }
        let last = let_rest(&mut world);

        prop_assert_eq!(wrong_at_rest(&mut world, &last), None);
    }

    #[test]
    fn a_crash_before_any_step_changes_nothing_in_the_end(at in 0usize..40, faulty in any::<bool>()) {
        let run = |crash: Option<usize>| {
            let mut world = World::initialised();
            if faulty {
                world.quality.insert(2, Quality::Faulty);
            }
            world.push(2);
            for n in 0..60 {
                // A crash loses what was only in memory: the effects of this step and the round.
                let plan = world.step((crash == Some(n)).then_some(0));
                if crash == Some(n) {
                    world.evidence = Evidence::default();
                }
                match plan {
                    Plan::Wait { until, .. } => world.now = until,
                    Plan::Hold { .. } => world.cluster(),
                    _ => {}
                }
            }
            world
        };
        let (plain, crashed) = (run(None), run(Some(at)));
        prop_assert_eq!(plain.phase(), crashed.phase());
        prop_assert_eq!(
            plain.state().run.map(|r| (r.weights, r.ending)),
            crashed.state().run.map(|r| (r.weights, r.ending))
        );
        prop_assert_eq!(plain.route, crashed.route);
        prop_assert_eq!(plain.primary.map(|p| p.revision), crashed.primary.map(|p| p.revision));
    }
}
