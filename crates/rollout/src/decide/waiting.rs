//! Owns the time in which a new revision waits for approval: the primary serves, the target stays
//! at zero, and the hooks are asked again each interval.

use super::{Way, gate, idle};
use crate::{Decision, Ending, Event, HookKind, Phase, Plan};

/// The new revision has to wait.
pub(super) fn begin(way: &Way<'_>, events: Vec<Event>) -> Plan {
    let mut run = way.new_run();
    let before = way.run();
    run.decision = Decision::Approve;
    run.clean_from = if way.state.phase == Phase::Waiting {
        before.clean_from
    } else {
        before.ended
    };
    run.measured_at = Some(way.o.now);
    run.rounds = 1;
    run.reason = Some("it waits for approval".to_owned());
    let applied = way.target.revision.id.clone();
    way.record(
        run,
        |state| {
            state.phase = Phase::Waiting;
            state.failed_checks = 0;
            state.iterations = 0;
            state.last_applied_spec = Some(applied);
        },
        events,
    )
}

pub(super) fn decide(way: &Way<'_>) -> Plan {
    let (o, target) = (way.o, way.target);
    if o.primary.is_some()
        && let Some(plan) = way.keep_traffic()
    {
        return plan;
    }
    if let Err(plan) = way.keep_primary() {
        return plan;
    }
    if let Some(plan) = way.keep_services().or_else(|| way.keep_traffic()) {
        return plan;
    }
    if Some(target.revision.id.as_str()) == way.promoted() {
        return withdrawn(way);
    }
    // Another revision is another question.
    if target.revision.id != way.run().revision {
        return idle::take_up(way);
    }
    if let Some(refusal) = super::refuse(o) {
        return refusal;
    }
    let mut run = way.run();
    if let Some(until) = way.next_round(&run) {
        let why = "the hooks to be asked for approval again".to_owned();
        return Plan::Wait { until, why };
    }
    let point = way.point();
    if o.strategy.asks(HookKind::Rollback) {
        match gate::ask(way, HookKind::Rollback, &point) {
            Err(plan) => return plan,
            Ok(answer) if answer.any() => {
                return given_up(way, "a rollback hook agreed", answer.events(&way.subject()));
            }
            Ok(_) => {}
        }
    }
    if !o.strategy.asks(HookKind::ConfirmRollout) {
        return way.start(false, vec![]);
    }
    match gate::ask(way, HookKind::ConfirmRollout, &point) {
        Err(plan) => plan,
        Ok(answer) if answer.all() => way.start(false, answer.events(&way.subject())),
        Ok(_) => {
            // Told once, when the wait began.
            run.rounds += 1;
            run.measured_at = Some(o.now);
            way.record(run, |_| {}, vec![])
        }
    }
}

/// The target went back to what is promoted before its new revision was approved.
fn withdrawn(way: &Way<'_>) -> Plan {
    let mut run = way.run();
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::Aborted);
    run.decision = Decision::Abort;
    run.reason = Some("the target went back to the promoted revision".to_owned());
    let phase = idle::idle_phase(&run);
    let applied = way.target.revision.id.clone();
    let event = format!("{} is back at the promoted revision", way.target_name());
    way.record(
        run,
        |state| {
            state.phase = phase;
            state.last_applied_spec = Some(applied);
        },
        vec![Event::normal(event)],
    )
}

/// The revision is not taken up.
pub(super) fn given_up(way: &Way<'_>, why: &str, mut events: Vec<Event>) -> Plan {
    let mut run = way.run();
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::RolledBack);
    run.decision = Decision::RollBack;
    run.reason = Some(why.to_owned());
    events.push(Event::warning(format!(
        "Canary failed! Scaling down {}",
        way.subject()
    )));
    way.record(run, |state| state.phase = Phase::Failed, events)
}
