//! Owns the state machine: one function from an observation to a plan, a file per stretch of the
//! way. What holds everywhere is here: who goes first, what every running stretch keeps in place,
//! and how long it may stand still.

mod idle;
mod initialize;
mod progress;
mod promote;
mod release;

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    Apex, Backend, Backends, Decision, Effect, Ending, Event, InForce, Observation, Phase, Piece,
    Plan, Primary, Readiness, Revision, Route, Run, Source, State, Target, Weights,
};

/// Decides what comes next.
///
/// The order of the first questions is the order of importance: giving back what was borrowed comes
/// before everything, a finalizer before anything is borrowed, and a suspended canary moves nothing.
pub fn decide(o: &Observation) -> Plan {
    if o.deleting {
        return release::decide(o);
    }
    if o.suspended {
        return Plan::Rest {
            why: "the Canary is suspended".to_owned(),
        };
    }
    let Some(target) = o.target.as_ref().filter(|t| !t.deleting) else {
        return without_target(o);
    };
    let Some(state) = o.state.as_ref().filter(|s| s.phase != Phase::New) else {
        return initialize::begin(o, target);
    };
    if !o.finalizer {
        return act(Effect::AddFinalizer);
    }
    let way = Way { o, target, state };
    match state.phase {
        Phase::New | Phase::Initializing => initialize::decide(&way),
        Phase::Failed if state.last_promoted_spec.is_none() => initialize::failed(&way),
        Phase::Initialized | Phase::Succeeded | Phase::Failed => idle::decide(&way),
        Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion => progress::decide(&way),
        Phase::Promoting => promote::promoting(&way),
        Phase::Finalising => promote::finalising(&way),
        // The deletion was undone by nobody we know; the primary is what serves, so start from it.
        Phase::Terminating | Phase::Terminated => initialize::begin(o, target),
    }
}

/// There is nothing to analyse. A share of traffic that still goes to the target is taken off it;
/// the primary goes on serving.
fn without_target(o: &Observation) -> Plan {
    let missing = hold("the target, which does not exist");
    let Some(state) = o.state.as_ref().filter(|s| s.last_promoted_spec.is_some()) else {
        return missing;
    };
    if state.canary_weight > 0 {
        let mut next = state.clone();
        next.phase = Phase::Failed;
        next.canary_weight = 0;
        next.last_transition_time = Some(o.now);
        let mut run = next.run.unwrap_or_default();
        run.decision = Decision::RollBack;
        run.ended = Some(o.now);
        run.ending = Some(Ending::RolledBack);
        run.reason = Some("the target was deleted during the run".to_owned());
        next.run = Some(run);
        let text = format!(
            "Canary failed! The target of {}.{} was deleted",
            o.name, o.namespace
        );
        return Plan::Record {
            state: Box::new(next),
            events: vec![Event::warning(text)],
        };
    }
    match &o.route {
        Route::Present {
            backends: Backends::Split(weights),
            ..
        } if weights.canary > 0 => act(Effect::SetWeight { canary: 0 }),
        _ => missing,
    }
}

/// What every stretch is decided from.
struct Way<'a> {
    o: &'a Observation,
    target: &'a Target,
    state: &'a State,
}

impl Way<'_> {
    /// `name.namespace` of the Canary.
    fn subject(&self) -> String {
        format!("{}.{}", self.o.name, self.o.namespace)
    }

    /// `name.namespace` of the target.
    fn target_name(&self) -> String {
        format!("{}.{}", self.target.name, self.o.namespace)
    }

    fn promoted(&self) -> Option<&str> {
        self.state.last_promoted_spec.as_deref()
    }

    /// The run, or an empty one whose revision is nothing: it then counts as changed.
    fn run(&self) -> Run {
        self.state.run.clone().unwrap_or_default()
    }

    /// When standing still since the last recorded step has lasted too long.
    fn deadline(&self) -> Timestamp {
        let since = self.state.last_transition_time.unwrap_or(self.o.now);
        after(since, self.o.strategy.progress_deadline)
    }

    fn overdue(&self) -> bool {
        self.o.now >= self.deadline()
    }

    /// Waits for the cluster, until the deadline.
    fn wait_for(&self, waiting_for: impl Into<String>) -> Plan {
        Plan::Hold {
            waiting_for: waiting_for.into(),
            until: Some(self.deadline()),
        }
    }

    /// The next state: what is given, at this time.
    fn record(&self, run: Run, change: impl FnOnce(&mut State), events: Vec<Event>) -> Plan {
        let mut state = self.state.clone();
        state.run = Some(run);
        state.last_transition_time = Some(self.o.now);
        change(&mut state);
        Plan::Record {
            state: Box::new(state),
            events,
        }
    }

    /// The Services in front of canary and primary, and the apex. The two come first: a route or an
    /// apex that leads to a Service that is not there serves nobody.
    fn keep_services(&self) -> Option<Plan> {
        self.keep_generated_services().or_else(|| {
            (self.o.apex != Apex::Primary).then(|| {
                act(Effect::PointApex {
                    to: Backend::Primary,
                })
            })
        })
    }

    fn keep_generated_services(&self) -> Option<Plan> {
        let current = [self.o.canary_service, self.o.primary_service];
        current
            .iter()
            .any(|p| *p != Piece::Current)
            .then(|| act(Effect::ApplyServices))
    }

    /// The primary exists and runs what is promoted. It comes from the stored template, never from
    /// the target, unless the target is at that very revision.
    fn keep_primary(&self) -> Result<&Primary, Plan> {
        let Some(promoted) = self.promoted() else {
            return Err(hold("nothing was promoted yet"));
        };
        let primary = self.o.primary.as_ref();
        if !self.o.records.promoted {
            let at_target = self.target.revision.id == promoted;
            let from = |revision: &Revision, source| {
                act(Effect::StoreTemplate {
                    revision: revision.id.clone(),
                    digest: revision.digest.clone(),
                    source,
                })
            };
            return Err(match primary {
                Some(primary) if primary.baseline.id == promoted => {
                    from(&primary.baseline, Source::Primary)
                }
                _ if at_target => from(&self.target.revision, Source::Target),
                // The stored template is gone and the primary is not at it: what serves is the best
                // that is known.
                Some(primary) => {
                    let baseline = primary.baseline.id.clone();
                    self.record(
                        self.run(),
                        |s| s.last_promoted_spec = Some(baseline),
                        vec![],
                    )
                }
                None => hold("the primary and the stored template it came from are both gone"),
            });
        }
        match primary {
            None => Err(act(Effect::CreatePrimary {
                revision: promoted.to_owned(),
                replicas: self.target.replicas.max(1),
            })),
            Some(primary) if primary.runs_promoted == Some(false) => {
                Err(act(Effect::ReplacePrimaryTemplate {
                    revision: promoted.to_owned(),
                }))
            }
            Some(primary) => Ok(primary),
        }
    }

    /// The route is there and at the recorded weight.
    fn keep_weight(&self) -> Option<Plan> {
        let weight = self.state.canary_weight;
        (!self.route_at(weight)).then(|| act(Effect::SetWeight { canary: weight }))
    }

    fn route_at(&self, weight: u8) -> bool {
        match &self.o.route {
            Route::Absent => false,
            Route::Present {
                backends, current, ..
            } => *current && *backends == Backends::Split(Weights::canary(weight)),
        }
    }

    /// Why the route is not in force, if it isn't.
    fn not_in_force(&self) -> Option<String> {
        match &self.o.route {
            Route::Absent => Some("the route does not exist yet".to_owned()),
            Route::Present {
                in_force: InForce::Yes,
                ..
            } => None,
            Route::Present {
                in_force: InForce::No(why) | InForce::Unknown(why),
                ..
            } => Some(why.clone()),
        }
    }

    fn primary_available(&self) -> bool {
        self.o.primary.as_ref().is_some_and(|p| p.available > 0)
    }

    /// A run from the target's live revision, which starts or replaces the one before.
    ///
    /// Traffic goes off the target first, because its pods now change to something nobody has
    /// measured; only where the primary has no pod at all it stays, since the alternative is an
    /// outage.
    fn start(&self, restart: bool) -> Plan {
        let before = self.run();
        let weight = if self.primary_available() {
            0
        } else {
            self.state.canary_weight
        };
        let mut run = Run::start(&self.target.revision, Source::Target, self.o.now);
        run.decision = Decision::ScaleUp;
        run.idle = match self.state.phase {
            phase @ (Phase::Initialized | Phase::Succeeded) => phase,
            _ if before.idle == Phase::New => Phase::Initialized,
            _ => before.idle,
        };
        // The revision before may have had traffic until now.
        run.clean_from = if restart {
            Some(self.o.now)
        } else {
            before.ended
        };
        let what = if restart {
            "Restarting analysis for"
        } else {
            "Scaling up"
        };
        let event = format!("New revision detected! {what} {}", self.target_name());
        let applied = self.target.revision.id.clone();
        self.record(
            run,
            |state| {
                state.phase = Phase::Progressing;
                state.failed_checks = 0;
                state.iterations = 0;
                state.canary_weight = weight;
                state.last_applied_spec = Some(applied);
            },
            vec![Event::normal(event)],
        )
    }
}

fn act(effect: Effect) -> Plan {
    Plan::Act {
        effects: vec![effect],
        events: vec![],
    }
}

/// Waits for the cluster, however long it takes: nothing would be safer.
fn hold(waiting_for: impl Into<String>) -> Plan {
    Plan::Hold {
        waiting_for: waiting_for.into(),
        until: None,
    }
}

fn refuse(o: &Observation) -> Option<Plan> {
    o.refusal.as_ref().map(|refusal| Plan::Refuse {
        reason: refusal.reason.to_owned(),
        field: refusal.field.clone(),
        message: refusal.message.clone(),
    })
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

fn not_ready(readiness: &Readiness) -> Option<(&str, bool)> {
    match readiness {
        Readiness::Ready => None,
        Readiness::Waiting(why) => Some((why, false)),
        Readiness::Exceeded(why) => Some((why, true)),
    }
}
