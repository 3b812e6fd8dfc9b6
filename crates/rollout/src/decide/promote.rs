//! Owns the way from a good verdict to the primary serving it: copy the stored template, wait until
//! the primary runs exactly that, give traffic back, scale the target down. A primary that does not
//! come up on it is put back on what it ran before.

use super::{Way, act, after, hold, not_ready};
use crate::{Decision, Effect, Ending, Event, Phase, Plan, Run, Source};

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
        && let Some(plan) = way.keep_weight()
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
            let replicas = target.replicas.max(1);
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
    if let Some(plan) = way.keep_services().or_else(|| way.keep_weight()) {
        return plan;
    }
    if let Some((why, exceeded)) = not_ready(&primary.readiness) {
        if !(exceeded || way.overdue()) {
            return way.wait_for(format!("the primary to be ready: {why}"));
        }
        if restoring {
            return hold_on_canary(way, run, why);
        }
        return restore(way, run, why);
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
    if weight == 0 || step == 0 || o.strategy.skip_analysis {
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
    way.record(
        run,
        |state| {
            state.phase = Phase::Finalising;
            state.canary_weight = 0;
            // From here on a lost primary comes back as this.
            state.last_promoted_spec = Some(promoted);
        },
        events,
    )
}

pub(super) fn finalising(way: &Way<'_>) -> Plan {
    let (target, mut run) = (way.target, way.run());
    if way.o.primary.is_some()
        && let Some(plan) = way.keep_weight()
    {
        return plan;
    }
    if let Err(plan) = way.keep_primary() {
        return plan;
    }
    if let Some(plan) = way.keep_services().or_else(|| way.keep_weight()) {
        return plan;
    }
    if let Some(why) = way.not_in_force() {
        return hold(why);
    }
    // A target that already moved on keeps its pods for the next run.
    if target.revision.id == run.revision && target.replicas > 0 {
        return act(Effect::ScaleTarget { replicas: 0 });
    }
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::Promoted);
    run.idle = Phase::Succeeded;
    run.reason = None;
    let event = if way.o.strategy.skip_analysis {
        format!(
            "Promotion completed! Canary analysis was skipped for {}",
            way.target_name()
        )
    } else {
        format!("Promotion completed! Scaling down {}", way.target_name())
    };
    way.record(
        run,
        |state| state.phase = Phase::Succeeded,
        vec![Event::normal(event)],
    )
}

/// The primary did not come up on what was analysed: it goes back to what it ran before. Traffic
/// stays on the canary meanwhile, which passed.
fn restore(way: &Way<'_>, mut run: Run, why: &str) -> Plan {
    run.decision = Decision::Restore;
    run.reason = Some(format!("primary not ready: {why}"));
    let event = format!(
        "Promotion of {} failed, primary not ready: {why}",
        way.target_name()
    );
    way.record(run, |_| {}, vec![Event::warning(event)])
}

fn failed(way: &Way<'_>, mut run: Run) -> Plan {
    run.decision = Decision::RollBack;
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::RolledBack);
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
fn hold_on_canary(way: &Way<'_>, mut run: Run, why: &str) -> Plan {
    run.decision = Decision::HoldOnCanary;
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::RolledBack);
    let event = format!(
        "Promotion of {} failed and the primary did not come back: {why}. Traffic stays where it \
         is; push a revision whose pods become ready",
        way.target_name()
    );
    way.record(
        run,
        |state| state.phase = Phase::Failed,
        vec![Event::warning(event)],
    )
}
