//! Owns a run from the new revision to its verdict: scale up, walk the weights, measure each one
//! while it is in force, and end in a copy, a rollback or an abort.

use std::cmp::max;

use super::{Way, act, after, idle, not_ready};
use crate::{
    Decision, Effect, Ending, Event, Limits, Measurement, Phase, Plan, Run, Source, judge,
};

pub(super) fn decide(way: &Way<'_>) -> Plan {
    let (o, state, target) = (way.o, way.state, way.target);
    let run = way.run();
    // What the target is now comes before anything that was measured: a push during the last check
    // starts again, and going back to what is promoted ends the run.
    if Some(target.revision.id.as_str()) == way.promoted() {
        return abort(way, run);
    }
    if target.revision.id != run.revision {
        return way.start(true);
    }
    if let Some(refusal) = &o.refusal {
        let why = format!("`{}` can't be done: {}", refusal.field, refusal.message);
        return roll_back(
            way,
            run,
            &why,
            vec![Event::warning(refusal.message.clone())],
        );
    }
    // What will be promoted is stored before its first request, while the target still has it.
    if !o.records.run {
        return act(Effect::StoreTemplate {
            revision: run.revision,
            digest: run.digest,
            source: Source::Target,
        });
    }
    // A canary without a pod gets no traffic, whatever else has to be put right.
    if state.canary_weight > 0 && target.available == 0 && way.primary_available() {
        return retreat(way, run);
    }
    let primary = match way.keep_primary() {
        Ok(primary) => primary,
        Err(plan) => return plan,
    };
    if let Some(plan) = way.keep_services().or_else(|| way.keep_weight()) {
        return plan;
    }
    if target.replicas == 0 {
        return act(Effect::ScaleTarget {
            replicas: primary.replicas.max(1),
        });
    }
    if let Some((why, exceeded)) = not_ready(&target.readiness) {
        if exceeded || way.overdue() {
            let why = format!("canary {} not ready: {why}", target.kind.to_lowercase());
            return roll_back(way, run, &why, vec![Event::warning(capital(&why))]);
        }
        return way.wait_for(format!("the canary to be ready: {why}"));
    }
    if let Some(why) = way.not_in_force() {
        if way.overdue() {
            return roll_back(way, run, &why, vec![Event::warning(capital(&why))]);
        }
        return way.wait_for(why);
    }
    if o.strategy.skip_analysis {
        return copy(way, run, 0, vec![]);
    }
    if state.canary_weight == 0 {
        return first_step(way, run);
    }
    let Some(in_force_since) = run.in_force_since else {
        let mut run = run;
        run.in_force_since = Some(o.now);
        return way.record(run, |_| {}, vec![]);
    };
    let last = max(in_force_since, run.measured_at.unwrap_or(in_force_since));
    let mut due = after(last, o.strategy.interval);
    if let Some(clean_from) = run.clean_from {
        due = max(due, after(clean_from, o.strategy.longest_window));
    }
    if o.now < due {
        let why = format!("the next measurement at weight {}", state.canary_weight);
        return Plan::Wait { until: due, why };
    }
    match &o.measurement {
        Some(m) if m.revision == run.revision && m.weight == state.canary_weight => {
            verdict(way, run, m)
        }
        _ => Plan::Measure {
            revision: run.revision,
            weight: state.canary_weight,
        },
    }
}

fn first_step(way: &Way<'_>, run: Run) -> Plan {
    let mut events = Vec::new();
    if run.weights.is_empty() {
        events.push(Event::normal(format!(
            "Starting canary analysis for {}",
            way.target_name()
        )));
    }
    advance(way, run, events)
}

/// To the next weight, or to the copy where there is none.
fn advance(way: &Way<'_>, mut run: Run, mut events: Vec<Event>) -> Plan {
    let at = way.state.canary_weight;
    let Some(weight) = way.o.strategy.next_step(at) else {
        return copy(way, run, at, events);
    };
    run.decision = Decision::Weigh;
    run.weights.push(weight);
    run.in_force_since = None;
    run.measured_at = None;
    events.push(Event::normal(format!(
        "Advance {} canary weight {weight}",
        way.subject()
    )));
    way.record(run, |state| state.canary_weight = weight, events)
}

fn verdict(way: &Way<'_>, mut run: Run, measurement: &Measurement) -> Plan {
    let round = judge(&way.subject(), measurement);
    run.measured_at = Some(measurement.at);
    run.readings = measurement
        .checks
        .iter()
        .map(|c| c.reading.clone())
        .collect();
    if round.passed() {
        run.reason = None;
        return advance(way, run, round.events);
    }
    let failed = way.state.failed_checks + u32::from(round.failed);
    run.no_data_checks += u32::from(round.no_data);
    run.provider_failures += u32::from(round.provider_failed);
    let reason = round
        .events
        .iter()
        .map(|e| e.message.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    run.reason = Some(reason);
    spend(way, run, failed, round.events)
}

/// Records a bad round, and ends the run where one of the three limits is reached.
fn spend(way: &Way<'_>, run: Run, failed: u32, mut events: Vec<Event>) -> Plan {
    let limits: Limits = way.o.strategy.limits;
    let reached = [
        (failed, limits.failed, "failed checks threshold"),
        (
            run.no_data_checks,
            limits.no_data,
            "checks without data threshold",
        ),
        (
            run.provider_failures,
            limits.provider,
            "metric provider failures threshold",
        ),
    ]
    .into_iter()
    .find(|(count, limit, _)| count >= limit);
    if let Some((_, limit, what)) = reached {
        let text = format!("Rolling back {} {what} reached {limit}", way.subject());
        events.push(Event::warning(text));
        let why = run.reason.clone().unwrap_or_default();
        let mut plan = roll_back(way, run, &why, events);
        if let Plan::Record { state, .. } = &mut plan {
            state.failed_checks = failed;
        }
        return plan;
    }
    way.record(run, |state| state.failed_checks = failed, events)
}

/// Takes traffic off a canary that has no pod left, and counts it as a failed check.
fn retreat(way: &Way<'_>, mut run: Run) -> Plan {
    let why = format!(
        "Halt {} advancement canary has no pod ready, routing all traffic to primary",
        way.subject()
    );
    run.decision = Decision::ScaleUp;
    run.in_force_since = None;
    run.measured_at = None;
    run.reason = Some(why.clone());
    let failed = way.state.failed_checks + 1;
    let mut plan = spend(way, run, failed, vec![Event::warning(why)]);
    if let Plan::Record { state, .. } = &mut plan {
        state.canary_weight = 0;
    }
    plan
}

/// Everything was in its range at every weight: the stored template goes to the primary. Traffic
/// stays as it is meanwhile, because the primary's pods are about to be replaced.
fn copy(way: &Way<'_>, mut run: Run, weight: u8, mut events: Vec<Event>) -> Plan {
    run.decision = Decision::Copy;
    run.in_force_since = None;
    events.push(Event::normal(format!(
        "Copying {} template spec to {}-primary.{}",
        way.target_name(),
        way.target.name,
        way.o.namespace
    )));
    way.record(
        run,
        |state| {
            state.phase = Phase::Promoting;
            state.canary_weight = weight;
        },
        events,
    )
}

fn roll_back(way: &Way<'_>, mut run: Run, why: &str, mut events: Vec<Event>) -> Plan {
    run.decision = Decision::RollBack;
    run.reason = Some(why.to_owned());
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::RolledBack);
    events.push(Event::warning(format!(
        "Canary failed! Scaling down {}",
        way.subject()
    )));
    way.record(
        run,
        |state| {
            state.phase = Phase::Failed;
            state.canary_weight = 0;
        },
        events,
    )
}

fn abort(way: &Way<'_>, mut run: Run) -> Plan {
    run.decision = Decision::Abort;
    run.ended = Some(way.o.now);
    run.ending = Some(Ending::Aborted);
    run.reason = Some("the target went back to the promoted revision".to_owned());
    let phase = idle::idle_phase(&run);
    let applied = way.target.revision.id.clone();
    let event = format!(
        "{} is back at the promoted revision, analysis aborted. Scaling down {}",
        way.target_name(),
        way.subject()
    );
    way.record(
        run,
        |state| {
            state.phase = phase;
            state.canary_weight = 0;
            state.failed_checks = 0;
            state.last_applied_spec = Some(applied);
        },
        vec![Event::normal(event)],
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
