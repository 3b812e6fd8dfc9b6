//! Every transition by whole value: one observation in, one plan out.

use std::time::Duration;

use jiff::Timestamp;
use weir_rollout::{
    Backend, Decision, Effect, Ending, Event, Phase, Plan, Run, Source, State, Status, Summary,
    Traffic, decide, summarise,
};

use crate::world::World;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

fn act(effect: Effect) -> Plan {
    Plan::Act {
        effects: vec![effect],
        events: vec![],
    }
}

fn record(state: State, events: &[&str]) -> Plan {
    let events = events.iter().map(|e| Event::normal(*e)).collect();
    Plan::Record {
        state: Box::new(state),
        events,
    }
}

/// One step, without what other tests look at: alerts and the history.
fn step(world: &mut World) -> Plan {
    match world.step(None) {
        Plan::Record {
            mut state,
            mut events,
        } => {
            for event in &mut events {
                event.alert = None;
            }
            state.history.clear();
            state.previous.clear();
            state.primary_replicas = None;
            Plan::Record { state, events }
        }
        other => other,
    }
}

#[test]
fn the_way_to_initialised_in_its_order() {
    let mut world = World::new();
    let mut plans = Vec::new();
    loop {
        let plan = world.step(None);
        let text = match &plan {
            Plan::Act { effects, .. } => format!("{:?}", effects[0]),
            Plan::Record { state, .. } => format!("Record {}", state.phase.as_str()),
            Plan::Hold { waiting_for, .. } => {
                world.cluster();
                format!("Hold {waiting_for}")
            }
            Plan::Rest { .. } => break,
            other => panic!("unexpected {other:?}"),
        };
        plans.push(text.split(" {").next().unwrap_or_default().to_owned());
    }
    assert_eq!(
        plans,
        [
            "AddFinalizer",
            "ClaimReplicas",
            "Record Initializing",
            "StoreTemplate",
            "ApplyServices",
            "CreatePrimary",
            "Hold the primary to be ready: 0 of 2 available",
            "PointApex",
            "Route",
            "Hold the gateway has not answered",
            "Record Initialized",
            "ScaleTarget",
        ]
    );
}

fn idle_state(world: &World) -> State {
    let mut state = world.state();
    state.history.clear();
    state.primary_replicas = None;
    assert_eq!(
        state,
        State {
            phase: Phase::Initialized,
            last_applied_spec: Some("v1:1".into()),
            last_promoted_spec: Some("v1:1".into()),
            last_transition_time: Some(at(0)),
            run: Some(Run {
                revision: "v1:1".into(),
                digest: "sha256:1".into(),
                decision: Decision::Finish,
                idle: Phase::Initialized,
                started: Some(at(0)),
                ended: Some(at(0)),
                ending: Some(Ending::Initialized),
                ..Run::default()
            }),
            ..State::default()
        }
    );
    state
}

fn started(seconds: i64) -> State {
    State {
        phase: Phase::Progressing,
        last_applied_spec: Some("v1:2".into()),
        last_promoted_spec: Some("v1:1".into()),
        last_transition_time: Some(at(seconds)),
        run: Some(Run {
            revision: "v1:2".into(),
            digest: "sha256:2".into(),
            decision: Decision::ScaleUp,
            idle: Phase::Initialized,
            started: Some(at(seconds)),
            clean_from: Some(at(0)),
            ..Run::default()
        }),
        ..State::default()
    }
}

#[test]
fn a_run_by_whole_values() {
    let mut world = World::initialised();
    idle_state(&world);
    world.pass_time(100);
    world.push(2);
    let scaling = "New revision detected! Scaling up app.demo";
    assert_eq!(step(&mut world), record(started(100), &[scaling]));
    let store = Effect::StoreTemplate {
        revision: "v1:2".into(),
        digest: "sha256:2".into(),
        source: Source::Target,
    };
    assert_eq!(step(&mut world), act(store));
    assert_eq!(step(&mut world), act(Effect::ScaleTarget { replicas: 2 }));
    let waiting_for = "the canary to be ready: 0 of 2 available".to_owned();
    assert_eq!(
        step(&mut world),
        Plan::Hold {
            waiting_for,
            until: Some(at(700))
        }
    );
    world.cluster();
    world.pass_time(1);

    let mut state = started(100);
    let weigh = |state: &mut State, weight: u8, seconds: i64| {
        state.canary_weight = weight;
        state.last_transition_time = Some(at(seconds));
        let run = state.run.as_mut().expect("a run");
        run.decision = Decision::Weigh;
        run.weights.push(weight);
        run.in_force_since = None;
        run.measured_at = None;
        run.prepared = true;
        run.rounds += 1;
    };
    weigh(&mut state, 10, 101);
    assert_eq!(
        step(&mut world),
        record(
            state.clone(),
            &[
                "Starting canary analysis for app.demo",
                "Advance app.demo canary weight 10"
            ]
        )
    );
    assert_eq!(
        step(&mut world),
        act(Effect::Route {
            to: Traffic::canary(10)
        })
    );
    let waiting_for = "the gateway has not answered".to_owned();
    assert_eq!(
        step(&mut world),
        Plan::Hold {
            waiting_for,
            until: Some(at(701))
        }
    );
    world.cluster();
    state.run.as_mut().expect("a run").in_force_since = Some(at(101));
    assert_eq!(step(&mut world), record(state.clone(), &[]));
    let why = "the next measurement at weight 10".to_owned();
    assert_eq!(
        step(&mut world),
        Plan::Wait {
            until: at(111),
            why
        }
    );
    world.pass_time(10);
    assert_eq!(
        step(&mut world),
        Plan::Measure {
            revision: "v1:2".into(),
            point: "100000/1".into(),
            of: Backend::Target,
            count_since: None,
        }
    );
    let readings = world
        .evidence
        .measurement
        .as_ref()
        .map(|m| vec![m.checks[0].reading.clone()]);
    weigh(&mut state, 50, 111);
    state.run.as_mut().expect("a run").readings = readings.expect("a round");
    assert_eq!(
        step(&mut world),
        record(state.clone(), &["Advance app.demo canary weight 50"])
    );
    step(&mut world);
    world.cluster();
    step(&mut world);
    world.pass_time(10);
    step(&mut world);

    state.phase = Phase::Promoting;
    state.last_transition_time = Some(at(121));
    let run = state.run.as_mut().expect("a run");
    run.decision = Decision::Copy;
    run.confirmed = true;
    let copying = "Copying app.demo template spec to app-primary.demo";
    assert_eq!(step(&mut world), record(state.clone(), &[copying]));
    assert_eq!(
        step(&mut world),
        act(Effect::ReplacePrimaryTemplate {
            revision: "v1:2".into()
        })
    );
    let waiting_for = "the primary to be ready: 0 of 2 available".to_owned();
    assert_eq!(
        step(&mut world),
        Plan::Hold {
            waiting_for,
            until: Some(at(721))
        }
    );
    world.cluster();
    state.phase = Phase::Finalising;
    state.canary_weight = 0;
    state.last_promoted_spec = Some("v1:2".into());
    let run = state.run.as_mut().expect("a run");
    run.decision = Decision::Finish;
    run.before = Some("v1:1".into());
    assert_eq!(
        step(&mut world),
        record(state.clone(), &["Routing all traffic to primary"])
    );
    assert_eq!(
        step(&mut world),
        act(Effect::Route {
            to: Traffic::canary(0)
        })
    );
    let waiting_for = "the gateway has not answered".to_owned();
    assert_eq!(
        step(&mut world),
        Plan::Hold {
            waiting_for,
            until: None
        }
    );
    world.cluster();
    assert_eq!(step(&mut world), act(Effect::ScaleTarget { replicas: 0 }));
    state.phase = Phase::Succeeded;
    let run = state.run.as_mut().expect("a run");
    run.rounds += 1;
    (run.ended, run.ending, run.idle) = (Some(at(121)), Some(Ending::Promoted), Phase::Succeeded);
    assert_eq!(
        step(&mut world),
        record(state, &["Promotion completed! Scaling down app.demo"])
    );
    assert_eq!(world.state().previous, ["v1:1"], "its template is kept");
    assert!(matches!(step(&mut world), Plan::Rest { .. }));
}

#[test]
fn ready_is_about_safety_and_promoted_about_the_run() {
    let mut world = World::initialised();
    let says = |world: &World| -> Vec<(Status, String)> {
        let o = world.observe();
        summarise(&o, &world.state(), &decide(&o))
            .into_iter()
            .map(|Summary { status, reason, .. }| (status, reason))
            .collect()
    };
    let both = |ready: (Status, &str), promoted: (Status, &str)| {
        vec![
            (ready.0, ready.1.to_owned()),
            (promoted.0, promoted.1.to_owned()),
        ]
    };
    assert_eq!(
        says(&world),
        both((Status::True, "Initialized"), (Status::True, "Initialized"))
    );
    world.push(2);
    world.until("a weight", |w, _| w.state().canary_weight == 10);
    assert_eq!(
        says(&world),
        both(
            (Status::True, "Progressing"),
            (Status::Unknown, "Progressing")
        )
    );
    world.primary.as_mut().expect("a primary").ready = false;
    assert_eq!(
        says(&world),
        both(
            (Status::False, "PrimaryNotReady"),
            (Status::Unknown, "Progressing")
        )
    );
    world.target = None;
    assert_eq!(
        says(&world)[0],
        (Status::False, "TargetNotFound".to_owned())
    );
}

#[test]
fn state_survives_its_json_and_reads_what_others_wrote() {
    let mut world = World::initialised();
    world.push(2);
    world.settle();
    let state = world.state();
    let json = serde_json::to_value(&state).expect("serialises");
    assert_eq!(json["phase"], "Succeeded");
    assert_eq!(json["canaryWeight"], 0);
    assert_eq!(
        serde_json::from_value::<State>(json).expect("reads back"),
        state
    );
    let foreign = serde_json::json!({
        "phase": "Succeeded", "lastAppliedSpec": "95b8f8bc", "lastPromotedSpec": "95b8f8bc",
        "trackedConfigs": {}, "conditions": [], "canaryWeight": 0, "failedChecks": 0,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    });
    let read: State = serde_json::from_value(foreign).expect("reads");
    assert_eq!((read.phase, read.run), (Phase::Succeeded, None));
}

#[test]
fn patience_is_measured_from_the_last_step() {
    let mut world = World::initialised();
    world.push(2);
    world.until("pods", |_, plan| matches!(plan, Plan::Hold { .. }));
    let Plan::Hold {
        until: Some(until), ..
    } = decide(&world.observe())
    else {
        panic!("it has a deadline");
    };
    let since = world.state().last_transition_time.expect("recorded");
    assert_eq!(
        until,
        since
            .checked_add(Duration::from_mins(10))
            .expect("in range")
    );
}
