//! Owns the way from nothing to a primary that serves. The target is not touched before traffic is
//! on the primary, so a first deployment that never comes up takes nothing down; the next push
//! replaces what is being tried.

use super::{Way, act, hold, not_ready, refuse};
use crate::{
    Alert, Decision, Effect, Ending, Event, Observation, Phase, Plan, Run, Source, State, Target,
};

/// Takes the canary up. The finalizer comes before anything is borrowed, and the target's replicas
/// are co-owned before the phase says so: the phase is what makes the applier leave them out.
pub(super) fn begin(o: &Observation, target: &Target) -> Plan {
    if let Some(refused) = refuse(o) {
        return refused;
    }
    if !o.finalizer {
        return act(Effect::AddFinalizer);
    }
    if !target.claimed {
        return act(Effect::ClaimReplicas);
    }
    // A primary that is found is the baseline; the target is compared with it, not copied over it.
    let mut run = match &o.primary {
        Some(primary) => Run::start(&primary.baseline, Source::Primary, o.now),
        None => Run::start(&target.revision, Source::Target, o.now),
    };
    run.idle = Phase::Initialized;
    let state = State {
        phase: Phase::Initializing,
        last_applied_spec: Some(run.revision.clone()),
        last_transition_time: Some(o.now),
        run: Some(run),
        ..State::default()
    };
    Plan::Record {
        state: Box::new(state),
        events: vec![],
    }
}

pub(super) fn decide(way: &Way<'_>) -> Plan {
    let (o, target) = (way.o, way.target);
    if let Some(refused) = refuse(o) {
        return refused;
    }
    let run = way.run();
    if run.source == Source::Target && target.revision.id != run.revision {
        return restart(way);
    }
    if !o.records.run {
        if run.source == Source::Primary
            && o.primary
                .as_ref()
                .is_none_or(|p| p.baseline.id != run.revision)
        {
            return restart(way);
        }
        return act(Effect::StoreTemplate {
            revision: run.revision,
            digest: run.digest,
            source: run.source,
        });
    }
    if let Some(plan) = way.keep_generated_services() {
        return plan;
    }
    let Some(primary) = &o.primary else {
        return act(Effect::CreatePrimary {
            revision: run.revision,
            replicas: target.replicas.max(1),
        });
    };
    if primary.runs_run == Some(false) {
        return act(Effect::ReplacePrimaryTemplate {
            revision: run.revision,
        });
    }
    if let Some((why, exceeded)) = not_ready(&primary.readiness) {
        if exceeded || way.overdue() {
            return never_ready(way, run, why);
        }
        return way.wait_for(format!("the primary to be ready: {why}"));
    }
    // Only now is anything led to the primary: it can serve.
    if let Some(plan) = way.keep_services().or_else(|| way.keep_traffic()) {
        return plan;
    }
    if let Some(why) = way.not_in_force() {
        return hold(why);
    }
    initialized(way, run)
}

/// The first deployment did not come up. The target stays as it is.
pub(super) fn failed(way: &Way<'_>) -> Plan {
    let o = way.o;
    if let Some(refused) = refuse(o) {
        return refused;
    }
    if way.target.revision.id != way.run().revision {
        return restart(way);
    }
    match &o.primary {
        Some(primary) => match not_ready(&primary.readiness) {
            // It came up after all.
            None => restart(way),
            Some((why, _)) => hold(format!("the primary to be ready, or a new revision: {why}")),
        },
        None => restart(way),
    }
}

/// Tries the target's live revision. What was tried before never served, so it is simply replaced.
fn restart(way: &Way<'_>) -> Plan {
    let mut run = Run::start(&way.target.revision, Source::Target, way.o.now);
    run.idle = Phase::Initialized;
    let applied = run.revision.clone();
    way.record(
        run,
        |state| {
            state.phase = Phase::Initializing;
            state.canary_weight = 0;
            state.last_applied_spec = Some(applied);
        },
        vec![],
    )
}

fn never_ready(way: &Way<'_>, mut run: Run, why: &str) -> Plan {
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::NeverReady);
    run.reason = Some(format!("primary not ready: {why}"));
    let event = format!(
        "Initialization of {} failed, primary not ready: {why}. The target was left as it is; push \
         a revision whose pods become ready",
        way.subject()
    );
    way.record(
        run,
        |state| state.phase = Phase::Failed,
        vec![Event::warning(event.clone()).alerting(Alert::error(event).detailed())],
    )
}

/// Traffic is on the primary. Recording this is what allows the target to be scaled down.
fn initialized(way: &Way<'_>, mut run: Run) -> Plan {
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::Initialized);
    run.decision = Decision::Finish;
    let promoted = run.revision.clone();
    let event = format!("Initialization done! {}", way.subject());
    let alert = format!(
        "New {} detected, initialization completed.",
        way.target.kind
    );
    way.record(
        run,
        |state| {
            state.phase = Phase::Initialized;
            state.failed_checks = 0;
            state.canary_weight = 0;
            state.last_promoted_spec = Some(promoted.clone());
            state.last_applied_spec = Some(promoted);
        },
        vec![Event::normal(event).alerting(Alert::info(alert).detailed())],
    )
}
