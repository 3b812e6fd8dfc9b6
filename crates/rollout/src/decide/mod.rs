//! Owns the state machine: one function from an observation to a plan, a file per stretch of the
//! way. What holds everywhere is here: who goes first, what every running stretch keeps in place,
//! and how long it may stand still.

mod bake;
mod gate;
mod idle;
mod initialize;
mod progress;
mod promote;
mod release;
mod requests;
mod waiting;

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    Alert, Apex, Backend, Backends, Cookies, Decision, Effect, Ending, Event, HISTORY, HookKind,
    InForce, Observation, Past, Phase, Piece, Plan, Position, Primary, Readiness, Revision, Route,
    Run, Source, State, Target, Traffic,
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
    if let Some(plan) = requests::decide(&way) {
        return plan;
    }
    match state.phase {
        Phase::New | Phase::Initializing => initialize::decide(&way),
        Phase::Failed if state.last_promoted_spec.is_none() => initialize::failed(&way),
        Phase::Initialized | Phase::Succeeded | Phase::Failed => idle::decide(&way),
        Phase::Waiting => waiting::decide(&way),
        Phase::Progressing | Phase::WaitingPromotion => progress::decide(&way),
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
    if state.canary_weight > 0 || state.position().mirror {
        let mut run = state.run.clone().unwrap_or_default();
        run.decision = Decision::RollBack;
        run.mirror = false;
        run.ended = Some(o.now);
        run.ending = Some(Ending::RolledBack);
        run.reason = Some("the target was deleted during the run".to_owned());
        let text = format!(
            "Canary failed! The target of {}.{} was deleted",
            o.name, o.namespace
        );
        return record(
            o,
            state,
            run,
            |state| {
                state.phase = Phase::Failed;
                state.canary_weight = 0;
            },
            vec![Event::warning(text.clone()).alerting(Alert::error(text))],
        );
    }
    match &o.route {
        Route::Present {
            backends: Backends::Split(traffic),
            ..
        } if traffic.canary > 0 || traffic.mirror => act(Effect::Route {
            to: traffic_of(o, state),
        }),
        _ => missing,
    }
}

/// The next state: what is given, at this time. What follows from it alone is settled here: the
/// cookies that belong to the weight, and the run's place in the history once it ended.
fn record(
    o: &Observation,
    before: &State,
    run: Run,
    change: impl FnOnce(&mut State),
    events: Vec<Event>,
) -> Plan {
    let mut state = before.clone();
    state.run = Some(run);
    state.last_transition_time = Some(o.now);
    change(&mut state);
    cookies(o, &mut state);
    if let Some(primary) = o.primary.as_ref().filter(|p| p.replicas > 0) {
        state.primary_replicas = Some(primary.replicas);
    }
    if let Some(run) = state.run.as_ref().filter(|r| r.ended.is_some()) {
        let known = |past: &Past| past.started == run.started && past.revision == run.revision;
        if !state.history.iter().any(known) {
            let past = past(&state, run);
            remember(&mut state, past);
        }
    }
    Plan::Record {
        state: Box::new(state),
        events,
    }
}

fn past(state: &State, run: &Run) -> Past {
    Past {
        revision: run.revision.clone(),
        started: run.started,
        ended: run.ended,
        ending: run.ending,
        reason: run.reason.clone(),
        weights: run.weights.clone(),
        iterations: state.iterations,
        rounds: run.rounds,
        failed_checks: state.failed_checks,
        readings: run.readings.clone(),
    }
}

fn remember(state: &mut State, past: Past) {
    state.history.insert(0, past);
    state.history.truncate(HISTORY);
}

/// A run's cookie is made with its first share and forgotten with its last. It follows from the
/// run, so that it is the same however often it is made.
fn cookies(o: &Observation, state: &mut State) {
    let Some(affinity) = &o.strategy.affinity else {
        state.session_affinity_cookie = None;
        state.primary_session_affinity_cookie = None;
        return;
    };
    if state.canary_weight == 0 {
        if let Some(cookie) = state.session_affinity_cookie.take() {
            state.previous_session_affinity_cookie = Some(cookie);
        }
        return;
    }
    let run = state.run.as_ref();
    let started = run.and_then(|r| r.started).map(Timestamp::as_millisecond);
    let of = run.map_or("", |r| r.digest.as_str());
    let make = |name: &str| {
        let seed = format!("{}/{}/{name}/{of}/{started:?}", o.namespace, o.name);
        let hash = weir_object::digest(&serde_json::Value::String(seed));
        let letters: String = hash
            .bytes()
            .skip("sha256:".len())
            .take(20)
            .collect::<Vec<_>>()
            .chunks(2)
            .filter_map(|pair| {
                let pair = std::str::from_utf8(pair).ok()?;
                let byte = u8::from_str_radix(pair, 16).ok()?;
                Some(char::from(b'a' + byte % 26))
            })
            .collect();
        format!("{name}={letters}")
    };
    let ours = |cookie: &Option<String>, name: &str| {
        let named = |c: &String| c.split_once('=').is_some_and(|(n, _)| n == name);
        cookie.as_ref().is_some_and(named)
    };
    if !ours(&state.session_affinity_cookie, &affinity.cookie) {
        state.session_affinity_cookie = Some(make(&affinity.cookie));
    }
    match &affinity.primary_cookie {
        Some(name) if !ours(&state.primary_session_affinity_cookie, name) => {
            state.primary_session_affinity_cookie = Some(make(name));
        }
        Some(_) => {}
        None => state.primary_session_affinity_cookie = None,
    }
}

/// Where traffic is to go by what is recorded.
fn traffic_of(o: &Observation, state: &State) -> Traffic {
    let Position {
        weight,
        mirror,
        matched,
        ..
    } = state.position();
    Traffic {
        canary: weight,
        mirror,
        matched,
        cookies: o.strategy.affinity.as_ref().map(|_| Cookies {
            canary: state.session_affinity_cookie.clone(),
            previous: state.previous_session_affinity_cookie.clone(),
            primary: state.primary_session_affinity_cookie.clone(),
        }),
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
        record(self.o, self.state, run, change, events)
    }

    /// The point of the run at which something is found out: what is found counts for it alone, and
    /// a question that is asked again after a crash is asked at the same point.
    fn point(&self) -> String {
        let run = self.state.run.as_ref();
        let started = run.and_then(|r| r.started).unwrap_or(self.o.now);
        let rounds = run.map_or(0, |r| r.rounds);
        format!("{}/{rounds}", started.as_millisecond())
    }

    /// When the next round is due, one interval after the last one.
    fn next_round(&self, run: &Run) -> Option<Timestamp> {
        let due = after(run.measured_at?, self.o.strategy.interval);
        (self.o.now < due).then_some(due)
    }

    /// The Services in front of canary and primary, and the apex. The two come first: a route or an
    /// apex that leads to a Service that is not there serves nobody.
    fn keep_services(&self) -> Option<Plan> {
        let scaler = self.o.scaler.as_ref();
        if scaler.is_some_and(|s| s.primary != Piece::Current) {
            return Some(act(Effect::ApplyScaler));
        }
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

    /// The target is at zero, and nothing scales it up again.
    fn keep_down(&self) -> Option<Plan> {
        if self.paused() == Some(false) {
            return Some(act(Effect::PauseScaler { paused: true }));
        }
        (self.target.scales && self.target.replicas > 0)
            .then(|| act(Effect::ScaleTarget { replicas: 0 }))
    }

    /// The target has pods: enough for a share of traffic, as many as the primary serves it with.
    /// An autoscaler adds to them what traffic asks for, and its minimum is there before any.
    fn keep_up(&self, primary: &Primary, share: u8) -> Option<Plan> {
        if self.paused() == Some(true) {
            return Some(act(Effect::PauseScaler { paused: false }));
        }
        let serving = primary.replicas.max(1);
        let Some(scaler) = &self.o.scaler else {
            let replicas = serving;
            return (self.target.replicas == 0).then(|| act(Effect::ScaleTarget { replicas }));
        };
        let needed = u64::from(serving) * u64::from(share.min(100));
        let needed = u32::try_from(needed.div_ceil(100)).unwrap_or(u32::MAX);
        let most = scaler.max.unwrap_or(u32::MAX).max(scaler.min);
        let replicas = needed.clamp(scaler.min, most);
        (self.target.replicas < replicas).then(|| act(Effect::ScaleTarget { replicas }))
    }

    /// How many pods a primary that is made anew gets.
    fn primary_replicas(&self) -> u32 {
        let before = self.state.primary_replicas;
        before.unwrap_or(self.target.replicas).max(1)
    }

    fn paused(&self) -> Option<bool> {
        self.o.scaler.as_ref().and_then(|s| s.paused)
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
                    let seen = self.state.last_applied_spec.as_deref();
                    // Another controller's name for a revision can't be compared with ours. What it
                    // gave up stays given up until Git changes.
                    let given_up = self.state.phase == Phase::Failed
                        && seen.is_some_and(|id| !Revision::is_id(id));
                    let applied = given_up.then(|| self.target.revision.id.clone());
                    self.record(
                        self.run(),
                        |s| {
                            s.last_promoted_spec = Some(baseline);
                            if applied.is_some() {
                                s.last_applied_spec = applied;
                            }
                        },
                        vec![],
                    )
                }
                None => hold("the primary and the stored template it came from are both gone"),
            });
        }
        match primary {
            None => Err(act(Effect::CreatePrimary {
                revision: promoted.to_owned(),
                replicas: self.primary_replicas(),
            })),
            Some(primary) if primary.runs_promoted == Some(false) => {
                Err(act(Effect::ReplacePrimaryTemplate {
                    revision: promoted.to_owned(),
                }))
            }
            Some(primary) => Ok(primary),
        }
    }

    /// The route is there and sends traffic where it is recorded to go.
    fn keep_traffic(&self) -> Option<Plan> {
        if !self.o.strategy.routed {
            return None;
        }
        let to = traffic_of(self.o, self.state);
        let there = match &self.o.route {
            Route::Present {
                backends: Backends::Split(traffic),
                current,
                ..
            } => *current && *traffic == to,
            Route::Absent | Route::Present { .. } => false,
        };
        (!there).then(|| act(Effect::Route { to }))
    }

    /// Why the route is not in force, if it isn't.
    fn not_in_force(&self) -> Option<String> {
        if !self.o.strategy.routed {
            return None;
        }
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
    fn start(&self, restart: bool, mut events: Vec<Event>) -> Plan {
        let weight = if self.primary_available() {
            0
        } else {
            self.state.canary_weight
        };
        let before = self.run();
        let mut run = self.new_run();
        run.decision = Decision::ScaleUp;
        // The revision before may have had traffic until now.
        run.clean_from = if restart {
            Some(self.o.now)
        } else if self.state.phase == Phase::Waiting {
            before.clean_from
        } else {
            before.ended
        };
        run.matched = weight > 0 && before.matched;
        if self.state.previous.contains(&run.revision) && self.o.strategy.rollback_window > 0 {
            run.unanalysed = Some("it was promoted before".to_owned());
        }
        let what = if restart {
            "Restarting analysis for"
        } else {
            "Scaling up"
        };
        let event = format!("New revision detected! {what} {}", self.target_name());
        events.push(Event::normal(event).alerting(
            Alert::info("New revision detected, progressing canary analysis.").detailed(),
        ));
        let applied = self.target.revision.id.clone();
        let superseded = restart.then(|| {
            let mut past = past(self.state, &before);
            past.ended = Some(self.o.now);
            past.ending = Some(Ending::Superseded);
            past.reason = Some(format!("superseded by {applied}"));
            past
        });
        self.record(
            run,
            |state| {
                state.phase = Phase::Progressing;
                state.failed_checks = 0;
                state.iterations = 0;
                state.canary_weight = weight;
                state.last_applied_spec = Some(applied);
                if let Some(past) = superseded {
                    remember(state, past);
                }
            },
            events,
        )
    }

    /// A run of the target's live revision, with what is to be known of the time before it.
    fn new_run(&self) -> Run {
        let before = self.run();
        let mut run = Run::start(&self.target.revision, Source::Target, self.o.now);
        run.idle = match self.state.phase {
            phase @ (Phase::Initialized | Phase::Succeeded) => phase,
            _ if before.idle == Phase::New => Phase::Initialized,
            _ => before.idle,
        };
        run
    }

    /// The run as it ends, with what is still owed to hooks.
    fn ended(&self, mut run: Run, ending: Ending, why: Option<String>) -> Run {
        run.ended = Some(self.o.now);
        run.ending = Some(ending);
        run.reason = why;
        run.mirror = false;
        run.paused = None;
        if self.o.strategy.asks(HookKind::PostRollout) {
            run.owed = vec![HookKind::PostRollout];
        }
        run
    }
}

/// What a round told, as one reason.
fn gather(events: &[Event]) -> String {
    let texts: Vec<&str> = events.iter().map(|e| e.message.as_str()).collect();
    texts.join("; ")
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
