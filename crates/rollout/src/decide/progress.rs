//! Owns a run from the new revision to its verdict: scale up, walk the weights, measure each one
//! while it is in force, and end in a copy, a rollback or an abort.

use std::cmp::max;

use super::{Way, act, after, gate, gather, idle, not_ready};
use crate::{
    Alert, Answer, Backend, Decision, Effect, Ending, Event, HookKind, Limits, Measurement, Phase,
    Plan, Position, Run, Source, judge,
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
        return way.start(true, vec![]);
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
    if let Some(plan) = way.keep_services().or_else(|| way.keep_traffic()) {
        return plan;
    }
    // Enough for where it stands, or for the first step.
    let first = o
        .strategy
        .course
        .next(Position::default(), o.strategy.routed);
    let share = max(state.canary_weight, first.map_or(0, |p| p.weight));
    if let Some(plan) = way.keep_up(primary, share) {
        return plan;
    }
    if let Some((why, exceeded)) = not_ready(&target.readiness) {
        if exceeded || way.overdue() {
            let why = format!("canary {} not ready: {why}", target.kind.to_lowercase());
            return deadline(way, run, &why);
        }
        return way.wait_for(format!("the canary to be ready: {why}"));
    }
    if let Some(why) = way.not_in_force() {
        if way.overdue() {
            return deadline(way, run, &why);
        }
        return way.wait_for(why);
    }
    if o.strategy.skip_analysis || run.unanalysed.is_some() {
        return copy(way, run, state.canary_weight, vec![]);
    }
    let at = state.position();
    if at == Position::default() {
        return before_traffic(way, run);
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
    // Whoever lets a step go on that only waits for that need not wait for the interval.
    if o.now < due {
        let why = format!("the next measurement at {}", stand(at));
        return Plan::Wait { until: due, why };
    }
    let point = way.point();
    match ask_round(way, &point) {
        Err(plan) => return plan,
        Ok(Asked::Agreed) => {}
        Ok(Asked::RollBack(answer)) => {
            let events = answer.events(&way.subject());
            return called_back(way, run, events);
        }
        Ok(Asked::Refused(answer)) => {
            let events = answer.events(&way.subject());
            return refused(way, run, events);
        }
    }
    match o.evidence.measurement(&point) {
        Some(measurement) => verdict(way, run, measurement),
        None => Plan::Measure {
            revision: run.revision,
            point,
            of: Backend::Target,
            count_since: (o.strategy.course.step(at))
                .filter(|s| s.min_requests > 0)
                .and(Some(in_force_since)),
        },
    }
}

/// Where a run stands, in words.
fn stand(at: Position) -> String {
    match at {
        Position {
            iterations: n @ 1..,
            weight: 0,
            ..
        } => format!("iteration {n}, without users"),
        Position {
            iterations: n @ 1..,
            ..
        } => format!("iteration {n}"),
        Position { mirror: true, .. } => "copies of requests".to_owned(),
        Position { weight, .. } => format!("weight {weight}"),
    }
}

/// What the hooks of a round came to.
enum Asked<'a> {
    Agreed,
    RollBack(&'a Answer),
    Refused(&'a Answer),
}

/// Asks the hooks that go with every round.
fn ask_round<'a>(way: &Way<'a>, point: &str) -> Result<Asked<'a>, Plan> {
    let strategy = &way.o.strategy;
    if strategy.asks(HookKind::Rollback) {
        let answer = gate::ask(way, HookKind::Rollback, point)?;
        if answer.any() {
            return Ok(Asked::RollBack(answer));
        }
    }
    // Before the first traffic there is another kind for it.
    if way.state.position() != Position::default() && strategy.asks(HookKind::Rollout) {
        let answer = gate::ask(way, HookKind::Rollout, point)?;
        if !answer.all() {
            return Ok(Asked::Refused(answer));
        }
    }
    Ok(Asked::Agreed)
}

/// A hook asked for the rollback.
fn called_back(way: &Way<'_>, run: Run, mut events: Vec<Event>) -> Plan {
    events.push(
        Event::warning(format!(
            "Rolling back {} manual webhook invoked",
            way.subject()
        ))
        .alerting(Alert::warn("Rolling back manual webhook invoked")),
    );
    roll_back(way, run, "a rollback hook agreed", events)
}

/// A hook refused: that is a failed check.
fn refused(way: &Way<'_>, mut run: Run, events: Vec<Event>) -> Plan {
    run.measured_at = Some(way.o.now);
    run.rounds += 1;
    run.reason = Some(gather(&events));
    let failed = way.state.failed_checks + 1;
    spend(way, run, failed, events)
}

/// The pods are ready and have no traffic yet.
fn before_traffic(way: &Way<'_>, mut run: Run) -> Plan {
    if let Some(until) = way.next_round(&run) {
        let why = "the hooks before the first traffic to be asked again".to_owned();
        return Plan::Wait { until, why };
    }
    let point = way.point();
    match ask_round(way, &point) {
        Err(plan) => return plan,
        Ok(Asked::RollBack(answer)) => {
            return called_back(way, run, answer.events(&way.subject()));
        }
        Ok(_) => {}
    }
    let mut events = Vec::new();
    if run.weights.is_empty() && !run.prepared {
        events.push(Event::normal(format!(
            "Starting canary analysis for {}",
            way.target_name()
        )));
    }
    if way.o.strategy.asks(HookKind::PreRollout) && !run.prepared {
        let answer = match gate::ask(way, HookKind::PreRollout, &point) {
            Err(plan) => return plan,
            Ok(answer) => answer,
        };
        events.extend(answer.events(&way.subject()));
        if !answer.all() {
            return refused(way, run, events);
        }
    }
    run.prepared = true;
    advance(way, run, events)
}

/// The current stand is done with: to the next one, or to the copy where there is none, unless
/// somebody has to agree first.
fn advance(way: &Way<'_>, run: Run, mut events: Vec<Event>) -> Plan {
    let (o, at) = (way.o, way.state.position());
    if run.paused.is_some() {
        return stay(way, run, "it is paused", events, None);
    }
    if let Some(step) = o.strategy.course.step(at).filter(|_| !run.approved) {
        let since = run.in_force_since.unwrap_or(o.now);
        if let Some(until) = step.hold.map(|hold| after(since, hold))
            && o.now < until
        {
            let why = format!("it holds at weight {} until {until}", at.weight);
            return stay(way, run, &why, events, None);
        }
        if step.manual {
            let why = format!("it waits at weight {} to be let go on", at.weight);
            let alert = Alert::warn("Canary is waiting for approval.");
            return stay(way, run, &why, events, Some(alert));
        }
    }
    let next = o.strategy.course.next(at, o.strategy.routed);
    let point = way.point();
    let weighted = o.strategy.course.iterations().is_none();
    if weighted && !at.mirror && o.strategy.asks(HookKind::ConfirmTrafficIncrease) {
        match gate::ask(way, HookKind::ConfirmTrafficIncrease, &point) {
            Err(plan) => return plan,
            Ok(answer) => {
                let told = answer.events(&way.subject());
                if !answer.all() {
                    return wait_for_gate(way, run, events, told, Phase::Progressing);
                }
                events.extend(told);
            }
        }
    }
    let mut run = run;
    if o.strategy.course.decides(at, next) && !run.confirmed {
        if o.strategy.asks(HookKind::ConfirmPromotion) {
            match gate::ask(way, HookKind::ConfirmPromotion, &point) {
                Err(plan) => return plan,
                Ok(answer) => {
                    let told = answer.events(&way.subject());
                    if !answer.all() {
                        return wait_for_gate(way, run, events, told, Phase::WaitingPromotion);
                    }
                    events.extend(told);
                }
            }
        }
        run.confirmed = true;
    }
    // Capacity before traffic.
    if let (Some(next), Some(primary)) = (next, &o.primary)
        && let Some(plan) = way.keep_up(primary, next.weight)
    {
        return plan;
    }
    match next {
        Some(next) => go_to(way, run, next, events),
        None => copy(way, run, at.weight, events),
    }
}

fn go_to(way: &Way<'_>, mut run: Run, next: Position, mut events: Vec<Event>) -> Plan {
    let at = way.state.position();
    let course = &way.o.strategy.course;
    run.decision = Decision::Weigh;
    if next.weight > 0 && run.weights.last() != Some(&next.weight) {
        run.weights.push(next.weight);
    }
    run.in_force_since = None;
    run.measured_at = None;
    run.approved = false;
    run.rounds += 1;
    run.reason = None;
    run.mirror = next.mirror;
    run.matched = next.matched;
    events.push(Event::normal(match course.iterations() {
        None => format!("Advance {} canary weight {}", way.subject(), next.weight),
        Some(_) if next.iterations == at.iterations && at.mirror => {
            "Stop traffic mirroring and route all traffic to canary".to_owned()
        }
        Some(_) if next.iterations == at.iterations => "Routing all traffic to canary".to_owned(),
        Some(all) => format!(
            "Advance {} canary iteration {}/{all}",
            way.subject(),
            next.iterations
        ),
    }));
    way.record(
        run,
        |state| {
            state.phase = Phase::Progressing;
            state.canary_weight = next.weight;
            state.iterations = next.iterations;
        },
        events,
    )
}

/// A good round that does not lead on yet: measured again after an interval. Why is told once.
fn stay(
    way: &Way<'_>,
    mut run: Run,
    why: &str,
    mut events: Vec<Event>,
    alert: Option<Alert>,
) -> Plan {
    if way.run().reason.as_deref() != Some(why) {
        let event = Event::normal(format!("Halt {} advancement: {why}", way.subject()));
        events.push(match alert {
            Some(alert) => event.alerting(alert),
            None => event,
        });
    }
    run.reason = Some(why.to_owned());
    run.measured_at = Some(way.o.now);
    run.rounds += 1;
    way.record(run, |_| {}, events)
}

/// A gate is closed: the round counts, the checks go on, and the gate is asked again with the next.
fn wait_for_gate(
    way: &Way<'_>,
    mut run: Run,
    mut events: Vec<Event>,
    told: Vec<Event>,
    phase: Phase,
) -> Plan {
    let why = gather(&told);
    if way.run().reason.as_ref() != Some(&why) {
        events.extend(told);
    }
    run.reason = Some(why);
    run.measured_at = Some(way.o.now);
    run.rounds += 1;
    way.record(run, |state| state.phase = phase, events)
}

fn verdict(way: &Way<'_>, mut run: Run, measurement: &Measurement) -> Plan {
    let round = judge(&way.subject(), measurement);
    run.readings = measurement
        .checks
        .iter()
        .map(|c| c.reading.clone())
        .collect();
    if round.passed() {
        if let Some(why) = too_few(way, measurement) {
            return undecided(way, run, &why);
        }
        return advance(way, run, round.events);
    }
    run.measured_at = Some(measurement.at);
    run.rounds += 1;
    let failed = way.state.failed_checks + u32::from(round.failed);
    run.no_data_checks += u32::from(round.no_data);
    run.provider_failures += u32::from(round.provider_failed);
    run.reason = Some(gather(&round.events));
    spend(way, run, failed, round.events)
}

/// Why the step's requests are too few to judge by, if they are.
fn too_few(way: &Way<'_>, measurement: &Measurement) -> Option<String> {
    let step = way.o.strategy.course.step(way.state.position())?;
    let seen = measurement.requests.unwrap_or_default();
    // Counts are far below 2^53.
    (seen < step.min_requests as f64).then(|| {
        format!(
            "{seen:.0} of {} requests were seen at weight {}",
            step.min_requests, step.weight
        )
    })
}

/// Nothing is wrong and too little is known. That ends the run only when the step has lasted for
/// the whole deadline.
fn undecided(way: &Way<'_>, run: Run, why: &str) -> Plan {
    let since = run.in_force_since.unwrap_or(way.o.now);
    if way.o.now >= after(since, way.o.strategy.progress_deadline) {
        return deadline(way, run, why);
    }
    let mut run = run;
    run.reason = Some(why.to_owned());
    run.measured_at = Some(way.o.now);
    run.rounds += 1;
    way.record(run, |_| {}, vec![])
}

/// The run stood still for too long.
fn deadline(way: &Way<'_>, run: Run, why: &str) -> Plan {
    let event = Event::warning(capital(why))
        .alerting(Alert::error(format!("Progress deadline exceeded {why}")).detailed());
    roll_back(way, run, why, vec![event])
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
        let alert = Alert::error(format!("{} reached {limit}", capital(what))).detailed();
        events.push(Event::warning(text).alerting(alert));
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
    run.matched = false;
    run.rounds += 1;
    run.reason = Some(why.clone());
    let failed = way.state.failed_checks + 1;
    let mut plan = spend(way, run, failed, vec![Event::warning(why)]);
    if let Plan::Record { state, .. } = &mut plan {
        state.canary_weight = 0;
        state.iterations = 0;
    }
    plan
}

/// Everything was in its range at every weight: the stored template goes to the primary. Traffic
/// stays as it is meanwhile, because the primary's pods are about to be replaced.
fn copy(way: &Way<'_>, mut run: Run, weight: u8, mut events: Vec<Event>) -> Plan {
    run.decision = Decision::Copy;
    run.in_force_since = None;
    run.mirror = false;
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

pub(super) fn roll_back(way: &Way<'_>, run: Run, why: &str, mut events: Vec<Event>) -> Plan {
    let mut run = way.ended(run, Ending::RolledBack, Some(why.to_owned()));
    run.decision = Decision::RollBack;
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

fn abort(way: &Way<'_>, run: Run) -> Plan {
    let why = "the target went back to the promoted revision".to_owned();
    let mut run = way.ended(run, Ending::Aborted, Some(why));
    run.decision = Decision::Abort;
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
            state.last_applied_spec = Some(applied);
        },
        vec![Event::normal(event.clone()).alerting(Alert::info(event))],
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
