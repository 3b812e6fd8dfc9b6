//! Owns the time after a promotion: for as long as a Canary asks for, the primary is measured as the
//! canary was, and a revision that turns bad is taken back.

use super::{Way, after};
use crate::{Alert, Backend, Decision, Ending, Event, Phase, Plan, Run, judge};

/// What baking asks for; `None` where it is over or not wanted.
pub(super) fn decide(way: &Way<'_>) -> Option<Plan> {
    let (o, mut run) = (way.o, way.run());
    let bake = o.strategy.bake.filter(|b| !b.is_zero())?;
    // Nothing to go back to, nothing that was measured, or a newer revision that may be the fix.
    if run.before.is_none()
        || run.unanalysed.is_some()
        || o.strategy.skip_analysis
        || way.target.revision.id != run.revision
    {
        return None;
    }
    if run.decision != Decision::Bake {
        run.decision = Decision::Bake;
        run.in_force_since = Some(o.now);
        run.measured_at = None;
        run.no_data_checks = 0;
        run.provider_failures = 0;
        run.reason = None;
        return Some(way.record(run, |state| state.failed_checks = 0, vec![]));
    }
    let since = run.in_force_since.unwrap_or(o.now);
    let end = after(since, bake);
    let last = run.measured_at.unwrap_or(since).max(since);
    // The last round is at the end of the time, and it counts.
    let due = after(last, o.strategy.interval).min(end);
    if run.measured_at.is_some_and(|at| at >= end) {
        return None;
    }
    if o.now < due {
        return Some(Plan::Wait {
            until: due,
            why: format!("the promoted revision to be measured again, until {end}"),
        });
    }
    let point = way.point();
    let Some(measurement) = o.evidence.measurement(&point) else {
        return Some(Plan::Measure {
            revision: run.revision,
            point,
            of: Backend::Primary,
            count_since: None,
        });
    };
    let round = judge(&way.subject(), measurement);
    run.measured_at = Some(measurement.at);
    run.rounds += 1;
    run.readings = measurement
        .checks
        .iter()
        .map(|c| c.reading.clone())
        .collect();
    let failed = way.state.failed_checks + u32::from(round.failed);
    run.no_data_checks += u32::from(round.no_data);
    run.provider_failures += u32::from(round.provider_failed);
    // Without traffic or without a provider nothing is proved, and what serves was promoted on
    // proof: only checks that failed take it back.
    if failed >= o.strategy.limits.failed {
        let why = super::gather(&round.events);
        return Some(go_back(way, run, &why, round.events));
    }
    Some(way.record(run, |state| state.failed_checks = failed, round.events))
}

/// The revision before is to serve again: its template is stored, and the primary is brought to it.
pub(super) fn go_back(way: &Way<'_>, run: Run, why: &str, mut events: Vec<Event>) -> Plan {
    let before = run.before.clone();
    let mut run = way.ended(run, Ending::RolledBack, Some(why.to_owned()));
    // A run that was told of as promoted ends once more, as another entry of the history.
    if way.state.phase != Phase::Finalising {
        run.started = Some(way.o.now);
        run.owed.clear();
    }
    run.decision = Decision::RollBack;
    let text = format!(
        "Rolling back {} to the revision promoted before: {why}",
        way.subject()
    );
    events.push(Event::warning(text.clone()).alerting(Alert::error(text)));
    let given_up = way.promoted().map(str::to_owned);
    way.record(
        run,
        |state| {
            state.phase = Phase::Failed;
            state.canary_weight = 0;
            // What Git still asks for is known, and is not to be taken up again by itself.
            state.last_applied_spec = Some(way.target.revision.id.clone());
            if let Some(before) = before {
                state.previous.retain(|r| *r != before);
                state.last_promoted_spec = Some(before);
            }
            if let Some(given_up) = given_up {
                state.previous.retain(|r| *r != given_up);
            }
        },
        events,
    )
}

/// Takes the target down once what it ran is promoted; its pods serve nobody any more.
pub(super) fn scale_down(way: &Way<'_>, run: &Run) -> Option<Plan> {
    // A target that already moved on keeps its pods for the next run.
    (way.target.revision.id == run.revision)
        .then(|| way.keep_down())
        .flatten()
}
