//! Owns the time between runs, and the way down after one: the primary serves what is promoted, the
//! target is at zero, and a new revision starts a run.

use super::{Way, act, hold, not_ready, refuse};
use crate::{Decision, Effect, Event, Phase, Plan, Run};

pub(super) fn decide(way: &Way<'_>) -> Plan {
    let (o, state, target) = (way.o, way.state, way.target);
    // Traffic first: after a failed run this is the rollback itself, and it waits for nothing.
    if o.primary.is_some()
        && let Some(plan) = way.keep_weight()
    {
        return plan;
    }
    let primary = match way.keep_primary() {
        Ok(primary) => primary,
        Err(plan) => return plan,
    };
    if let Some(plan) = way.keep_services().or_else(|| way.keep_weight()) {
        return plan;
    }
    let revision = Some(target.revision.id.as_str());
    if revision != state.last_promoted_spec.as_deref() {
        // Compared with what was taken up in a run, never with what was only seen: a new revision
        // is new until its run is recorded.
        if revision != state.last_applied_spec.as_deref() {
            return refuse(o).unwrap_or_else(|| way.start(false));
        }
    } else if state.phase == Phase::Failed && state.canary_weight == 0 {
        return back_at_promoted(way);
    }
    if state.canary_weight > 0 {
        // The last promotion left traffic on the canary, because the primary had nothing to serve.
        return match not_ready(&primary.readiness) {
            None => take_back(way),
            Some((why, _)) => hold(format!("the primary to be ready again: {why}")),
        };
    }
    if target.replicas > 0 {
        // Pods that may still get requests are not taken away.
        return match way.not_in_force() {
            Some(why) => hold(why),
            None => act(Effect::ScaleTarget { replicas: 0 }),
        };
    }
    if o.records.stale {
        return act(Effect::PruneTemplates);
    }
    refuse(o).unwrap_or_else(|| Plan::Rest {
        why: match state.phase {
            Phase::Failed => "the last run was rolled back; a new revision starts the next".into(),
            _ => "the primary runs what is promoted; a new revision starts a run".into(),
        },
    })
}

/// The target went back to what is promoted: there is nothing left that failed.
fn back_at_promoted(way: &Way<'_>) -> Plan {
    let run = way.run();
    let idle = idle_phase(&run);
    let applied = way.target.revision.id.clone();
    let event = format!("{} is back at the promoted revision", way.target_name());
    way.record(
        run,
        |state| {
            state.phase = idle;
            state.last_applied_spec = Some(applied);
        },
        vec![Event::normal(event)],
    )
}

fn take_back(way: &Way<'_>) -> Plan {
    let mut run = way.run();
    run.decision = Decision::RollBack;
    run.ended = Some(way.o.now);
    way.record(
        run,
        |state| state.canary_weight = 0,
        vec![Event::normal("Routing all traffic to primary")],
    )
}

pub(super) fn idle_phase(run: &Run) -> Phase {
    if run.idle == Phase::Succeeded {
        Phase::Succeeded
    } else {
        Phase::Initialized
    }
}
