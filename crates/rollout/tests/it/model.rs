//! Random schedules: pushes, failing pods, hands on routes and primaries, crashes between a decision
//! and its effects, lost measurements. The world itself asserts what may never be recorded or done;
//! here it is asserted that everything comes to rest in the right place.

use proptest::prelude::*;
use weir_rollout::{Backends, Plan, Weights, decide};

use crate::world::{Quality, World};

#[derive(Clone, Debug)]
enum Action {
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
    ]
}

fn play(world: &mut World, action: &Action) {
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
                world.route = Some(Backends::Split(Weights::canary(*weight)));
            }
        }
        Action::RouteGone => world.route = None,
        Action::LoseMeasurement => world.measured = None,
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
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_comes_to_rest_and_promotes_only_what_passed(
        actions in prop::collection::vec(action(), 20..160),
        qualities in prop::collection::vec(0u8..4, 6),
        skip in prop::bool::weighted(0.1),
        promotion_step in prop_oneof![Just(0u8), Just(30u8)],
    ) {
        let mut world = World::new();
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
        world.suspended = false;
        world.provider_up = true;
        world.measured = None;
        world.cluster();
        let last = world.settle();

        // A fixed point: nothing more is decided, whatever time passes.
        world.pass_time(100_000);
        let again = decide(&world.observe());
        prop_assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&last));

        let state = world.state();
        let target = world.target.clone().expect("a target");
        if let Some(promoted) = state.last_promoted_spec.as_deref() {
            let primary = world.primary.clone().expect("a primary");
            prop_assert_eq!(format!("v1:{}", primary.revision), promoted);
            let live = format!("v1:{}", target.revision);
            // The live revision was promoted, or its run has a verdict that says why not.
            prop_assert!(
                promoted == live
                    || (state.last_applied_spec.as_deref() == Some(&live)
                        && world.phase() == "Failed"),
                "{} is lost: {:#?}", live, state
            );
            if state.canary_weight == 0 {
                prop_assert_eq!(world.route, Some(Backends::Split(Weights::canary(0))));
                prop_assert_eq!(target.replicas, 0);
                prop_assert!(matches!(last, Plan::Rest { .. }), "{:?}", last);
            }
        } else {
            prop_assert_eq!(world.phase(), "Failed");
            prop_assert_eq!(target.replicas, 2);
        }
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
                    world.measured = None;
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
