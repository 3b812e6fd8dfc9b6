//! Owns what a canary says of itself to a person: what it does now, what it waits for, what comes
//! next, and why the last run ended. It tells only what is recorded and what was decided.

use crate::{Course, Ending, Observation, Phase, Plan, Position, State};

/// Sentences for people, the most important first.
pub fn explain(o: &Observation, plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    let empty = State::default();
    let state = o.state.as_ref().unwrap_or(&empty);
    out.push(now(o, state));
    out.extend(waits(plan));
    if let Some(run) = &state.run
        && run.ended.is_none()
    {
        if let Some(why) = &run.unanalysed {
            out.push(format!("Nothing is analysed: {why}."));
        }
        if let Some(paused) = run.paused {
            out.push(format!(
                "It was paused at {paused}; checks go on, and `weir canary resume` lets it go on."
            ));
        }
        if let Some(why) = &run.reason {
            out.push(format!("The last round: {why}."));
        }
        let limits = o.strategy.limits;
        out.push(format!(
            "Of {} failed checks {} are spent, of {} without data {}, of {} failures of a provider \
             {}.",
            limits.failed,
            state.failed_checks,
            limits.no_data,
            run.no_data_checks,
            limits.provider,
            run.provider_failures
        ));
        out.extend(next(o, state));
    }
    out.extend(last(state));
    for handled in &state.requests {
        let by = handled.by.as_deref().unwrap_or("somebody");
        let at = handled.at.map(|t| format!(" at {t}")).unwrap_or_default();
        out.push(format!(
            "The last {} was asked for by {by}{at}: {}.",
            handled.verb.as_str(),
            handled.outcome
        ));
    }
    out
}

fn now(o: &Observation, state: &State) -> String {
    let subject = format!("Canary {}.{}", o.name, o.namespace);
    let revision = state.run.as_ref().map_or("", |r| r.revision.as_str());
    let at = state.position();
    let weight = at.weight;
    match state.phase {
        Phase::New => format!("{subject} was not taken up yet."),
        Phase::Initializing => format!("{subject} makes its primary from revision {revision}."),
        Phase::Initialized | Phase::Succeeded => {
            format!("{subject} serves what is promoted; a new revision starts a run.")
        }
        Phase::Waiting => format!("{subject} waits for approval to analyse revision {revision}."),
        Phase::Progressing if at == Position::default() => {
            format!("{subject} brings revision {revision} up; it has no traffic yet.")
        }
        Phase::Progressing if at.mirror => {
            format!("{subject} sends copies of requests to revision {revision}.")
        }
        Phase::Progressing if at.matched => {
            format!("{subject} sends matching requests to revision {revision}.")
        }
        Phase::Progressing if at.weight == 0 => {
            format!("{subject} judges revision {revision} without users.")
        }
        Phase::Progressing => {
            format!("{subject} sends {weight}% of traffic to revision {revision}.")
        }
        Phase::WaitingPromotion => {
            format!("{subject} waits for approval to promote revision {revision}.")
        }
        Phase::Promoting => format!("{subject} brings revision {revision} to the primary."),
        Phase::Finalising => format!("{subject} has promoted revision {revision} and tidies up."),
        Phase::Failed if weight > 0 => format!(
            "{subject} failed, and {weight}% of traffic stays on the canary, because the primary \
             has nothing to serve with."
        ),
        Phase::Failed if state.last_promoted_spec.is_none() => {
            format!("{subject} could not bring its first revision up; the target is as it was.")
        }
        Phase::Failed => format!("{subject} serves what is promoted; revision {revision} failed."),
        Phase::Terminating | Phase::Terminated => {
            format!("{subject} is being deleted and gives back what it borrowed.")
        }
    }
}

fn waits(plan: &Plan) -> Option<String> {
    Some(match plan {
        Plan::Refuse { field, message, .. } => {
            format!("It can't do what `{field}` says: {message}.")
        }
        Plan::Rest { .. } => return None,
        Plan::Hold { waiting_for, until } => match until {
            Some(until) => format!("It waits for {waiting_for}, until {until}."),
            None => format!("It waits for {waiting_for}."),
        },
        Plan::Wait { until, why } => format!("It waits for {why}, at {until}."),
        Plan::Record { .. } | Plan::Act { .. } => "It is about to take a step.".to_owned(),
        Plan::Measure { .. } => "It is about to measure.".to_owned(),
        Plan::Ask { kind, .. } => format!("It is about to ask its {} hooks.", kind.as_str()),
    })
}

fn next(o: &Observation, state: &State) -> Option<String> {
    if !matches!(state.phase, Phase::Progressing | Phase::WaitingPromotion) {
        return None;
    }
    let at = state.position();
    Some(match o.strategy.course.next(at, o.strategy.routed) {
        None => "If the next round is good, the revision is promoted.".to_owned(),
        Some(next) => match o.strategy.course {
            Course::Weighted { .. } if next.mirror => "Then it gets copies of requests.".to_owned(),
            Course::Weighted { .. } => {
                format!(
                    "If the next round is good, its weight becomes {}.",
                    next.weight
                )
            }
            _ if next.iterations == at.iterations => {
                "If the next round is good, it gets all traffic.".to_owned()
            }
            _ => format!(
                "If the next round is good, iteration {} of {} begins.",
                next.iterations,
                o.strategy.course.iterations().unwrap_or_default()
            ),
        },
    })
}

fn last(state: &State) -> Option<String> {
    let past = state.history.first()?;
    let how = match past.ending? {
        Ending::Initialized => "became the first that serves",
        Ending::Promoted => "was promoted",
        Ending::RolledBack => "was rolled back",
        Ending::Aborted => "was aborted",
        Ending::Superseded => "was superseded",
        Ending::NeverReady => "never became ready",
    };
    let at = past.ended.map(|t| format!(" at {t}")).unwrap_or_default();
    let why = match &past.reason {
        Some(why) => format!(": {why}"),
        None => String::new(),
    };
    Some(format!("Revision {} {how}{at}{why}.", past.revision))
}
