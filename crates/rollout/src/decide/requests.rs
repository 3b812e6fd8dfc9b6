//! Owns what comes of a person's request. Each token acts once: what came of it is recorded together
//! with the state it leads to, and a request that can't be met is recorded as that.

use super::{Way, bake, progress, promote, waiting};
use crate::{Ending, Event, Handled, Phase, Plan, Request, Verb};

/// The first request that was not handled yet, if there is one.
pub(super) fn decide(way: &Way<'_>) -> Option<Plan> {
    let request = Verb::ALL.iter().find_map(|verb| {
        way.o.requests.iter().find(|r| {
            let handled = |h: &Handled| h.verb == r.verb && h.token == r.token;
            r.verb == *verb && !way.state.requests.iter().any(handled)
        })
    })?;
    let (plan, outcome) = meet(way, request);
    Some(note(way, request, plan, outcome))
}

/// The state that meets a request, and what came of it in words.
fn meet(way: &Way<'_>, request: &Request) -> (Option<Plan>, &'static str) {
    let state = way.state;
    let who = || match &request.by {
        Some(by) => format!("by {by}"),
        None => "on request".to_owned(),
    };
    let running = matches!(state.phase, Phase::Progressing | Phase::WaitingPromotion);
    let waits = state.phase == Phase::Waiting;
    let mut run = way.run();
    match request.verb {
        Verb::Pause if running => {
            run.paused = Some(way.o.now);
            (Some(way.record(run, |_| {}, vec![])), "paused")
        }
        Verb::Resume if run.paused.is_some() => {
            run.paused = None;
            (Some(way.record(run, |_| {}, vec![])), "resumed")
        }
        Verb::Promote if waits => (Some(way.start(false, vec![])), "started"),
        Verb::Promote if running => {
            run.approved = true;
            run.paused = None;
            (Some(way.record(run, |_| {}, vec![])), "approved")
        }
        Verb::PromoteFull if waits || running => {
            if waits {
                let mut plan = way.start(false, vec![]);
                if let Plan::Record { state, .. } = &mut plan
                    && let Some(run) = &mut state.run
                {
                    run.unanalysed = Some(format!("promoted {}", who()));
                }
                return (Some(plan), "the analysis is skipped");
            }
            run.unanalysed = Some(format!("promoted {}", who()));
            run.paused = None;
            let plan = way.record(run, |_| {}, vec![]);
            (Some(plan), "the analysis is ended")
        }
        Verb::Abort if waits => {
            let plan = waiting::given_up(way, &format!("aborted {}", who()), vec![]);
            (Some(plan), "aborted")
        }
        Verb::Abort if running => {
            let why = format!("aborted {}", who());
            let event = Event::warning(format!("Rolling back {} {why}", way.subject()));
            (
                Some(progress::roll_back(way, run, &why, vec![event])),
                "aborted",
            )
        }
        Verb::Abort if state.phase == Phase::Promoting => {
            let why = format!("aborted {}", who());
            (Some(promote::restore(way, run, &why)), "aborted")
        }
        Verb::Abort if state.phase == Phase::Finalising && run.before.is_some() => {
            let why = format!("aborted {}", who());
            (Some(bake::go_back(way, run, &why, vec![])), "aborted")
        }
        Verb::Retry if failed_revision(way) => (Some(way.start(false, vec![])), "started"),
        Verb::Rollback => roll_back(way, &who()),
        _ => (None, "there was nothing to do"),
    }
}

/// Whether the target is at the revision whose run failed.
fn failed_revision(way: &Way<'_>) -> bool {
    let revision = Some(way.target.revision.id.as_str());
    way.state.phase == Phase::Failed
        && way.promoted().is_some()
        && revision == way.state.last_applied_spec.as_deref()
        && revision != way.promoted()
}

/// Back to what was promoted before: its stored template goes to the primary. The target keeps the
/// revision Git gives it, which is now one that failed.
fn roll_back(way: &Way<'_>, who: &str) -> (Option<Plan>, &'static str) {
    if !matches!(way.state.phase, Phase::Succeeded | Phase::Failed) {
        return (None, "a rollback is for a run that ended; abort this one");
    }
    let stored = |id: &&String| way.o.records.previous.contains(id);
    let Some(previous) = way.state.previous.iter().find(stored).cloned() else {
        return (None, "no earlier revision is stored");
    };
    let mut run = way.run();
    run.before = Some(previous);
    let why = format!("rolled back {who}");
    (Some(bake::go_back(way, run, &why, vec![])), "rolled back")
}

/// The same plan with the request noted as handled.
fn note(way: &Way<'_>, request: &Request, plan: Option<Plan>, outcome: &str) -> Plan {
    let mut events = Vec::new();
    let plan = plan.unwrap_or_else(|| {
        events.push(Event::warning(format!(
            "Request {} for {}: {outcome}",
            request.verb.as_str(),
            way.subject()
        )));
        let run = way.run();
        let since = way.state.last_transition_time;
        let run_before = way.state.run.clone();
        way.record(
            run,
            |state| {
                state.run = run_before;
                state.last_transition_time = since;
            },
            vec![],
        )
    });
    match plan {
        Plan::Record {
            mut state,
            events: mut told,
        } => {
            state.requests.retain(|h| h.verb != request.verb);
            state.requests.push(Handled {
                verb: request.verb,
                token: request.token.clone(),
                by: request.by.clone(),
                at: Some(way.o.now),
                outcome: outcome.to_owned(),
            });
            // A run that a person ended says so, also where it ended on its way.
            if let Some(run) = &mut state.run
                && run.ending == Some(Ending::RolledBack)
                && run.reason.is_none()
            {
                run.reason = Some(outcome.to_owned());
            }
            told.extend(events);
            Plan::Record {
                state,
                events: told,
            }
        }
        other => other,
    }
}
