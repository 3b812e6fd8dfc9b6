//! Owns the time between runs, and the way down after one: the primary serves what is promoted, the
//! target is at zero, and a new revision starts a run.

use super::{Way, act, gate, hold, not_ready, refuse, waiting};
use crate::{Decision, Effect, Event, HookKind, Phase, Plan, Run};

pub(super) fn decide(way: &Way<'_>) -> Plan {
    let (o, state, target) = (way.o, way.state, way.target);
    // Traffic first: after a failed run this is the rollback itself, and it waits for nothing.
    if o.primary.is_some()
        && let Some(plan) = way.keep_traffic()
    {
        return plan;
    }
    let primary = match way.keep_primary() {
        Ok(primary) => primary,
        Err(plan) => return plan,
    };
    if let Some(plan) = way.keep_services().or_else(|| way.keep_traffic()) {
        return plan;
    }
    let revision = Some(target.revision.id.as_str());
    if revision != state.last_promoted_spec.as_deref() {
        // Compared with what was taken up in a run, never with what was only seen: a new revision
        // is new until its run is recorded.
        if revision != state.last_applied_spec.as_deref() {
            return refuse(o).unwrap_or_else(|| take_up(way));
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
    if let Some(down) = way.keep_down() {
        // Pods that may still get requests are not taken away.
        return way.not_in_force().map_or(down, hold);
    }
    if let Some(plan) = owed(way) {
        return plan;
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

/// A new revision: it starts when it is its turn and whoever has to agree does.
pub(super) fn take_up(way: &Way<'_>) -> Plan {
    if let Some(why) = &way.o.turn {
        return hold(why.clone());
    }
    if !way.o.strategy.asks(HookKind::ConfirmRollout) {
        return way.start(false, vec![]);
    }
    // The run does not exist yet, so the question belongs to the revision.
    let point = format!("{}/start", way.target.revision.id);
    match gate::ask(way, HookKind::ConfirmRollout, &point) {
        Err(plan) => plan,
        Ok(answer) if answer.all() => way.start(false, answer.events(&way.subject())),
        Ok(answer) => waiting::begin(way, answer.events(&way.subject())),
    }
}

/// What hooks are still to be told of the last run, now that its end is in force.
pub(super) fn owed(way: &Way<'_>) -> Option<Plan> {
    let mut run = way.run();
    let kind = run.owed.first().copied()?;
    if !way.o.strategy.asks(kind) {
        run.owed.clear();
        return Some(way.record(run, |_| {}, vec![]));
    }
    let point = way.point();
    Some(match gate::ask_in(way, kind, &point, Phase::Failed) {
        Err(plan) => plan,
        Ok(answer) => {
            run.owed.retain(|k| *k != kind);
            run.rounds += 1;
            way.record(run, |_| {}, answer.events(&way.subject()))
        }
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
