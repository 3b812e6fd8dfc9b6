//! Owns the way from a good verdict to the primary serving it: copy the stored template, wait until
//! the primary runs exactly that, give traffic back, scale the target down. A primary that does not
//! come up on it is put back on what it ran before.

use super::{Way, act, after, bake, gate, hold, not_ready};
use crate::{Alert, Decision, Effect, Ending, Event, HookKind, Phase, Plan, Run, Source};

pub(super) fn promoting(way: &Way<'_>) -> Plan {
    let (o, state, target) = (way.o, way.state, way.target);
    let run = way.run();
    let restoring = run.decision == Decision::Restore;
    let changed = target.revision.id != run.revision;
    // The target's pods are changing to something nobody measured, or are gone. The primary has
    // pods, old or new, and both were measured: it takes the traffic while it rolls.
    if state.canary_weight > 0 && (changed || target.available == 0) && way.primary_available() {
        let mut run = run;
        run.in_force_since = None;
        return way.record(
            run,
            |state| state.canary_weight = 0,
            vec![Event::normal("Routing all traffic to primary")],
        );
    }
    if o.primary.is_some()
        && let Some(plan) = way.keep_traffic()
    {
        return plan;
    }
    if let Some(plan) = way.keep_generated_services() {
        return plan;
    }
    let primary = if restoring {
        match way.keep_primary() {
            Ok(primary) => primary,
            Err(plan) => return plan,
        }
    } else {
        if !o.records.run {
            if changed {
                return restore(
                    way,
                    run,
                    "the stored template of the analysed revision is gone",
                );
            }
            return act(Effect::StoreTemplate {
                revision: run.revision,
                digest: run.digest,
                source: Source::Target,
            });
        }
        let Some(primary) = &o.primary else {
            let replicas = way.primary_replicas();
            return act(Effect::CreatePrimary {
                revision: run.revision,
                replicas,
            });
        };
        if primary.runs_run == Some(false) {
            return act(Effect::ReplacePrimaryTemplate {
                revision: run.revision,
            });
        }
        primary
    };
    if let Some(plan) = way.keep_services().or_else(|| way.keep_traffic()) {
        return plan;
    }
    if let Some((why, exceeded)) = not_ready(&primary.readiness) {
        if !(exceeded || way.overdue()) {
            return way.wait_for(format!("the primary to be ready: {why}"));
        }
        if restoring {
            return hold_on_canary(way, run, why);
        }
        return restore(way, run, &format!("primary not ready: {why}"));
    }
    if restoring {
        return failed(way, run);
    }
    // The primary can serve, so there is no deadline to pass here: nothing would be safer.
    if let Some(why) = way.not_in_force() {
        return hold(why);
    }
    give_back(way, run)
}

/// The primary runs exactly what was analysed and is ready: its traffic comes back, all at once or
/// in steps an interval apart.
fn give_back(way: &Way<'_>, mut run: Run) -> Plan {
    let (o, weight) = (way.o, way.state.canary_weight);
    let step = o.strategy.promotion_step;
    // Matching requests go back all at once: their weight is not everybody's.
    if weight == 0 || step == 0 || run.matched || o.strategy.skip_analysis {
        let events = if weight > 0 {
            vec![Event::normal("Routing all traffic to primary")]
        } else {
            vec![]
        };
        return finalising_from(way, run, events);
    }
    if run.decision == Decision::GiveBack {
        let Some(since) = run.in_force_since else {
            run.in_force_since = Some(o.now);
            return way.record(run, |_| {}, vec![]);
        };
        let due = after(since, o.strategy.interval);
        if o.now < due {
            let why = format!("the next step back at weight {weight}");
            return Plan::Wait { until: due, why };
        }
    }
    let next = weight.saturating_sub(step);
    let event = Event::normal(format!(
        "Advance {} primary weight {}",
        way.subject(),
        100 - next.min(100)
    ));
    if next == 0 {
        return finalising_from(way, run, vec![event]);
    }
    run.decision = Decision::GiveBack;
    run.in_force_since = None;
    way.record(run, |state| state.canary_weight = next, vec![event])
}

fn finalising_from(way: &Way<'_>, mut run: Run, events: Vec<Event>) -> Plan {
    run.decision = Decision::Finish;
    run.in_force_since = None;
    let promoted = run.revision.clone();
    run.before = way.promoted().map(str::to_owned);
    let kept = way.o.strategy.rollback_window.max(1);
    way.record(
        run,
        |state| {
            state.phase = Phase::Finalising;
            state.canary_weight = 0;
            // From here on a lost primary comes back as this.
            if let Some(before) = state.last_promoted_spec.replace(promoted.clone()) {
                state.previous.insert(0, before);
            }
            state.previous.retain(|r| *r != promoted);
            state.previous.dedup();
            state.previous.truncate(kept);
        },
        events,
    )
}

pub(super) fn finalising(way: &Way<'_>) -> Plan {
    let mut run = way.run();
    if way.o.primary.is_some()
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
    if let Some(why) = way.not_in_force() {
        return hold(why);
    }
    if let Some(plan) = bake::scale_down(way, &run).or_else(|| bake::decide(way)) {
        return plan;
    }
    let mut events = Vec::new();
    if way.o.strategy.asks(HookKind::PostRollout) {
        match gate::ask_in(way, HookKind::PostRollout, &way.point(), Phase::Succeeded) {
            Err(plan) => return plan,
            Ok(answer) => events = answer.events(&way.subject()),
        }
    }
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::Promoted);
    run.idle = Phase::Succeeded;
    run.rounds += 1;
    // Why nothing was analysed, where nothing was.
    run.reason.clone_from(&run.unanalysed);
    let (event, alert) = if way.o.strategy.skip_analysis || run.unanalysed.is_some() {
        (
            format!(
                "Promotion completed! Canary analysis was skipped for {}",
                way.target_name()
            ),
            "Canary analysis was skipped, promotion finished.",
        )
    } else {
        (
            format!("Promotion completed! Scaling down {}", way.target_name()),
            "Canary analysis completed successfully, promotion finished.",
        )
    };
    events.push(Event::normal(event).alerting(Alert::info(alert)));
    way.record(run, |state| state.phase = Phase::Succeeded, events)
}

/// The primary did not come up on what was analysed: it goes back to what it ran before. Traffic
/// stays on the canary meanwhile, which passed.
pub(super) fn restore(way: &Way<'_>, mut run: Run, why: &str) -> Plan {
    run.decision = Decision::Restore;
    run.reason = Some(why.to_owned());
    let event = format!("Promotion of {} failed, {why}", way.target_name());
    let alert = format!("Promotion failed, {why}");
    way.record(
        run,
        |_| {},
        vec![Event::warning(event).alerting(Alert::error(alert))],
    )
}

fn failed(way: &Way<'_>, run: Run) -> Plan {
    let why = run.reason.clone();
    let mut run = way.ended(run, Ending::RolledBack, why);
    run.decision = Decision::RollBack;
    let event = format!("Canary failed! Scaling down {}", way.subject());
    way.record(
        run,
        |state| {
            state.phase = Phase::Failed;
            state.canary_weight = 0;
        },
        vec![Event::warning(event)],
    )
}

/// Neither revision comes up on the primary. The canary passed and serves: all it has stays on it.
fn hold_on_canary(way: &Way<'_>, run: Run, why: &str) -> Plan {
    let reason = run.reason.clone();
    let mut run = way.ended(run, Ending::RolledBack, reason);
    run.decision = Decision::HoldOnCanary;
    let event = format!(
        "Promotion of {} failed and the primary did not come back: {why}. Traffic stays where it \
         is; push a revision whose pods become ready",
        way.target_name()
    );
    way.record(
        run,
        |state| state.phase = Phase::Failed,
        vec![Event::warning(event.clone()).alerting(Alert::error(event))],
    )
}
