//! Owns the end: what was borrowed is given back before the primary goes. The target is scaled up
//! and ready before anything leads to it, and the primary serves until then.

use super::{act, after, hold, not_ready};
use crate::{
    Apex, Backend, Backends, Decision, Effect, Event, InForce, Observation, Phase, Plan, Route,
    State,
};

pub(super) fn decide(o: &Observation) -> Plan {
    let subject = format!("{}.{}", o.name, o.namespace);
    if !o.finalizer {
        return Plan::Rest {
            why: "the Canary is going".to_owned(),
        };
    }
    let done = Plan::Act {
        effects: vec![Effect::RemoveFinalizer],
        events: vec![Event::normal(format!("Terminated canary {subject}"))],
    };
    // Nothing was borrowed, or there is nobody left to give it back to.
    let Some(state) = o.state.as_ref().filter(|s| s.phase != Phase::New) else {
        return done;
    };
    let Some(target) = o.target.as_ref().filter(|t| !t.deleting) else {
        return done;
    };
    if state.phase != Phase::Terminating {
        let mut next: State = state.clone();
        next.phase = Phase::Terminating;
        next.last_transition_time = Some(o.now);
        let mut run = next.run.unwrap_or_default();
        run.decision = Decision::Release;
        next.run = Some(run);
        let event = Event::normal(format!("Terminating canary {subject}"));
        return Plan::Record {
            state: Box::new(next),
            events: vec![event],
        };
    }
    // Before the primary served, the target was never touched.
    if state.last_promoted_spec.is_none() && o.apex != Apex::Primary {
        return done;
    }
    if o.scaler.as_ref().is_some_and(|s| s.paused == Some(true)) {
        return act(Effect::PauseScaler { paused: false });
    }
    if target.replicas == 0 {
        let replicas = o.primary.as_ref().map(|p| p.replicas);
        let replicas = replicas.or(state.primary_replicas).unwrap_or(1).max(1);
        return act(Effect::ScaleTarget { replicas });
    }
    if let Some((why, _)) = not_ready(&target.readiness) {
        return hold(format!(
            "the target to be ready before the primary goes: {why}"
        ));
    }
    if o.apex != Apex::Target {
        return act(Effect::PointApex {
            to: Backend::Target,
        });
    }
    // A Gateway that never answers must not keep the Canary for ever.
    let since = state.last_transition_time.unwrap_or(o.now);
    let deadline = after(since, o.strategy.progress_deadline);
    match &o.route {
        Route::Absent => done,
        Route::Present {
            backends: Backends::Apex,
            in_force,
            ..
        } => match in_force {
            InForce::Yes => done,
            InForce::No(_) | InForce::Unknown(_) if o.now >= deadline => done,
            InForce::No(why) | InForce::Unknown(why) => Plan::Hold {
                waiting_for: why.clone(),
                until: Some(deadline),
            },
        },
        Route::Present { .. } => act(Effect::ReleaseRoute),
    }
}
