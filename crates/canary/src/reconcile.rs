//! Owns the loop: observe, decide, record or act, again, until there is something to wait for.
//!
//! # Guarantees
//! A state is stored before any effect it calls for, with the resourceVersion it was decided from;
//! events are told after the write they tell of. A restart at any point goes on from what is stored.
//! A measurement is judged on a fresh observation, so that a push during it is seen.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;
use weir_api::names::FLAGGER;
use weir_object::{Key, Object};
use weir_rollout::{
    Answer, Backend, Effect, Event, Evidence, Measurement, Observation, Phase, Plan, State, Status,
    Summary, decide, summarise,
};
use weir_runtime::kinds::{
    CONFIG_MAP, CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, HTTP_ROUTE, SECRET, SERVICE,
};
use weir_runtime::{
    ApiClient, Change, Context, Controller, ControllerOptions, EventKind, Outcome, Projection,
    Reconciler, Recorder, SharedClock, patch_status,
};

use crate::act::Actor;
use crate::configs::{Config, references};
use crate::contents::Contents;
use crate::failure::Failure;
use crate::fights::Fights;
use crate::hooks::{Asker, Everybody, Question, Teller, Told, anybody, details};
use crate::index::{Around, Index};
use crate::measure::Measurer;
use crate::observe::{Facts, Stores, around, metadata_of, own, turn};
use crate::scaler::{HPA, SCALED_OBJECT};
use crate::telemetry::Telemetry;
use crate::workload::Workload;
use crate::{Options, accept, status};

/// The reason of every event about a Canary, as people filter by it.
const REASON: &str = "Synced";

/// How many decisions one pass may take before it lets others have their turn.
const ROUNDS: usize = 64;

/// How often a Canary that waits for its turn looks whether it has come.
const TURN: Duration = Duration::from_secs(5);

/// The controller of Canaries: its watches are open when this returns, and it works when it is run.
pub fn controller(context: &Context, options: Options) -> Controller {
    let stores = Stores::of(context);
    let api = context.api.with_manager(FLAGGER);
    let run = ControllerOptions {
        workers: options.workers,
        ..ControllerOptions::default()
    };
    let asker = Asker {
        http: context.http.clone(),
        api: api.clone(),
    };
    let everybody = Everybody {
        event_webhook: options.event_webhook.clone(),
        channel: options.notifier.clone(),
        cluster: options.cluster_name.clone(),
        same_namespace: options.no_cross_namespace_refs,
    };
    let reconciler = Canaries {
        teller: Teller::start(&asker, &stores.providers, &everybody, &context.metrics),
        contents: Contents::new(api.clone()),
        asker,
        everybody,
        actor: Actor {
            api: api.clone(),
            options: options.clone(),
        },
        measurer: Measurer {
            http: context.http.clone(),
            api: api.clone(),
            templates: stores.templates.clone(),
            metrics_server: options.metrics_server.clone(),
            timeout: options.query_timeout,
        },
        telemetry: Telemetry::new(&context.metrics, &options.mesh_provider),
        events: context.events.named(FLAGGER),
        clock: context.clock.clone(),
        stores: stores.clone(),
        api,
        options,
        fights: Fights::default(),
        places: Mutex::new(()),
    };
    let index = Index::of(&stores.canaries);
    let about = |around: Around| {
        let index = index.clone();
        move |change: &Change| index.concerned(around, &change.key)
    };
    let refers = |make: fn(String) -> Config| {
        let stores = stores.clone();
        move |change: &Change| {
            let name = change.key.name.clone();
            let source = name.strip_suffix("-primary").unwrap_or(&name).to_owned();
            let wanted = [make(name), make(source)];
            let here = stores.canaries.list_in(&change.key.namespace);
            let concerned = here.iter().filter(|canary| {
                let key = Key::new(canary.namespace(), target(canary));
                let kind = canary.text(&["spec", "targetRef", "kind"]);
                let target = stores.workloads(Workload::of_kind(kind)).get(&key);
                let template = target.as_ref().and_then(|t| t.get(&["spec", "template"]));
                let found = template.map(references).unwrap_or_default();
                wanted.iter().any(|config| found.contains(config))
            });
            concerned.map(|c| c.key()).collect()
        }
    };
    let canaries = stores.canaries.clone();
    Controller::over(context, "canary", own(context), reconciler, run)
        .managed_by(FLAGGER)
        .freezes()
        .also(around(&DEPLOYMENT), about(Around::Workload))
        .also(around(&DAEMON_SET), about(Around::Workload))
        .also(around(&SERVICE), about(Around::Service))
        .perhaps(around(&HTTP_ROUTE), about(Around::Service))
        .also(around(&HPA), about(Around::Scaler))
        .perhaps(around(&SCALED_OBJECT), about(Around::Scaler))
        .also(metadata_of(&CONFIG_MAP), refers(Config::Map))
        .also(metadata_of(&SECRET), refers(Config::Secret))
        .owns(&CONTROLLER_REVISION, Projection::Text)
        .also(around(accept::METRIC_TEMPLATE), move |change| {
            let all = canaries.list();
            all.iter()
                .filter(|c| measures_by(c, &change.key))
                .map(|c| c.key())
                .collect()
        })
}

fn target(canary: &Object) -> String {
    canary.text(&["spec", "targetRef", "name"]).to_owned()
}

fn measures_by(canary: &Object, template: &Key) -> bool {
    let metrics = canary
        .get(&["spec", "analysis", "metrics"])
        .and_then(Value::as_array);
    metrics.into_iter().flatten().any(|metric| {
        let text = |field| metric["templateRef"][field].as_str().unwrap_or_default();
        let namespace = match text("namespace") {
            "" => canary.namespace(),
            namespace => namespace,
        };
        text("name") == template.name && namespace == template.namespace
    })
}

/// The reconciler of Canaries.
struct Canaries {
    stores: Stores,
    actor: Actor,
    measurer: Measurer,
    contents: Contents,
    asker: Asker,
    teller: Teller,
    everybody: Everybody,
    telemetry: Telemetry,
    events: Recorder,
    clock: SharedClock,
    api: ApiClient,
    options: Options,
    fights: Fights,
    /// Held while a run starts, where only so many may run.
    places: Mutex<()>,
}

/// Whether recording `next` starts a run.
fn starts(before: Option<&State>, next: &State) -> bool {
    let idle = |phase| matches!(phase, Phase::Initialized | Phase::Succeeded | Phase::Failed);
    next.phase == Phase::Progressing
        && before.is_some_and(|s| idle(s.phase) || s.phase == Phase::Waiting)
}

#[async_trait::async_trait]
impl Reconciler for Canaries {
    async fn reconcile(&self, key: &Key) -> Outcome {
        self.telemetry.count(
            &key.namespace,
            self.stores.canaries.count_in(&key.namespace),
        );
        let mut evidence = Evidence::default();
        for _ in 0..ROUNDS {
            let Some(canary) = self.stores.canaries.get(key) else {
                self.telemetry.forget(key);
                self.fights.over(key);
                return Outcome::Wait;
            };
            match self.round(canary.clone(), evidence.clone()).await {
                Ok(Next::Measured(round)) => evidence.measurement = Some(round),
                Ok(Next::Answered(answer)) => evidence.answers.push(answer),
                // What was found out is part of what was recorded now.
                Ok(Next::Recorded) => evidence = Evidence::default(),
                Ok(Next::Again) => {}
                Ok(Next::Undone(effects)) => return self.undone(&canary, &effects).await,
                Ok(Next::Wait(outcome)) => return outcome,
                Err(failure) => return self.failed(&canary, &failure).await,
            }
        }
        // More changes than one pass is for; the next goes on where this one stopped, after a wait that
        // grows if it comes to that again.
        Outcome::Retry("more changes than one pass is for".to_owned())
    }
}

/// What follows a round.
enum Next {
    Again,
    Undone(Vec<Effect>),
    Recorded,
    Measured(Measurement),
    Answered(Answer),
    Wait(Outcome),
}

impl Canaries {
    /// One observation, one decision, and what it calls for.
    async fn round(&self, canary: Arc<Object>, evidence: Evidence) -> Result<Next, Failure> {
        let mut facts = match Facts::gather(&self.stores, &self.options, canary.clone()) {
            Ok(facts) => facts,
            Err(unreadable) => {
                let says = says(Status::False, "Invalid", unreadable.to_string());
                self.tell_conditions(&canary, None, &[says]).await?;
                return Ok(Next::Wait(Outcome::Wait));
            }
        };
        if self.options.config_tracking {
            facts.configs = self.contents.resolve(&self.stores, &facts).await?;
        }
        // Whole milliseconds: finer than any interval, and readable in a status.
        let now = self.clock.now();
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        // Asked only before the first step: from then on the canary owns what it applied.
        let unclaimed = facts.state.is_none() && !facts.canary.is_deleting();
        let claimed = !unclaimed || self.actor.claimed(&facts).await?;
        let o = facts.observation(&self.stores, &self.options, now, claimed, evidence);
        let plan = decide(&o);
        tracing::debug!(canary = %facts.canary.key(), ?plan, "decided");
        match plan {
            Plan::Record {
                ref state,
                ref events,
            } => {
                self.fights.over(&facts.canary.key());
                let before = facts.state.as_ref();
                // Two that start at the same moment would both find a free place.
                let limited = starts(before, state) && self.options.max_running.is_some();
                let _place = if limited {
                    let place = self.places.lock().await;
                    if let Some(why) = turn(&self.stores, &self.options, &facts.canary) {
                        return Ok(Next::Wait(Outcome::Retry(why)));
                    }
                    Some(place)
                } else {
                    None
                };
                let conditions = summarise(&o, state, &plan);
                let tracking = self.options.config_tracking;
                let tracked = tracking.then_some(&facts.configs.target);
                let next = status::compose(&facts.canary, Some(state), tracked, &conditions, now);
                let kind = &weir_api::canary::KIND;
                let written = patch_status(&self.api, kind, &facts.canary, &next).await?;
                self.tell(&written, &facts, &o, events);
                self.telemetry.stands(&facts.names, state);
                if before.map(|s| s.phase) != Some(state.phase)
                    && state.last_promoted_spec.is_some()
                {
                    let skipped = o.strategy.skip_analysis
                        || state.run.as_ref().is_some_and(|r| r.unanalysed.is_some());
                    let course = &o.strategy.course;
                    self.telemetry
                        .ended(&facts.names, state.phase, course, skipped);
                }
                Ok(Next::Recorded)
            }
            Plan::Act { effects, events } => {
                if self.fights.contested(&facts.canary.key(), &effects, now) {
                    return Ok(Next::Undone(effects));
                }
                for effect in &effects {
                    self.actor.perform(&facts, effect).await?;
                }
                self.fights.did(&facts.canary.key(), &effects, now);
                self.tell(&facts.canary, &facts, &o, &events);
                // Replies to removals are not fed back; their watch event goes on from here.
                let removed =
                    |e: &Effect| matches!(e, Effect::RemoveFinalizer | Effect::PruneTemplates);
                if effects.iter().any(removed) {
                    return Ok(Next::Wait(Outcome::Wait));
                }
                Ok(Next::Again)
            }
            Plan::Measure {
                revision,
                point,
                of,
                count_since,
            } => {
                let (spec, names) = (&facts.spec, &facts.names);
                let measured = match of {
                    Backend::Target => names.clone(),
                    Backend::Primary => names.of_primary(),
                };
                let begun = tokio::time::Instant::now();
                let round = self
                    .measurer
                    .measure(spec, &measured, now, (revision, point), count_since)
                    .await;
                self.telemetry.took(names, begun.elapsed());
                self.telemetry.measured(names, &round);
                Ok(Next::Measured(round))
            }
            Plan::Ask {
                kind,
                point,
                revision,
                phase,
            } => {
                let question = Question {
                    kind,
                    point,
                    revision,
                    phase,
                };
                let asked = self.asker.ask(&facts.canary, &facts.spec, question).await;
                Ok(Next::Answered(asked))
            }
            Plan::Wait { until, .. } => {
                self.fights.rests(&facts.canary.key(), now);
                self.settle(&facts, &o, &plan).await?;
                Ok(Next::Wait(Outcome::After(self.clock.until(until))))
            }
            Plan::Hold { until, .. } => {
                self.settle(&facts, &o, &plan).await?;
                Ok(Next::Wait(match until {
                    Some(until) => Outcome::After(self.clock.until(until)),
                    None if o.turn.is_some() => Outcome::After(TURN),
                    None => Outcome::Wait,
                }))
            }
            Plan::Rest { .. } | Plan::Refuse { .. } => {
                self.fights.rests(&facts.canary.key(), now);
                self.settle(&facts, &o, &plan).await?;
                Ok(Next::Wait(Outcome::Wait))
            }
        }
    }

    /// Nothing moves: what the conditions say is brought up to date, and nothing else is written.
    async fn settle(&self, facts: &Facts, o: &Observation, plan: &Plan) -> Result<(), Failure> {
        let state = facts.state.clone().unwrap_or_default();
        self.telemetry.stands(&facts.names, &state);
        let conditions = summarise(o, &state, plan);
        self.tell_conditions(&facts.canary, facts.state.as_ref(), &conditions)
            .await
    }

    async fn tell_conditions(
        &self,
        canary: &Object,
        state: Option<&weir_rollout::State>,
        conditions: &[Summary],
    ) -> Result<(), Failure> {
        // A Canary without its finalizer is going; there is nobody left to read.
        if canary.is_deleting() && canary.finalizers().next().is_none() {
            return Ok(());
        }
        let next = status::compose(canary, state, None, conditions, self.clock.now());
        let news = status::changed(canary, &next, "Ready");
        let written = patch_status(&self.api, &weir_api::canary::KIND, canary, &next).await?;
        let ready = conditions.iter().find(|c| c.kind == "Ready");
        if let Some(ready) = ready.filter(|r| news && r.status == Status::False) {
            self.publish(&written, &[Event::warning(ready.message.clone())]);
        } else if news && ready.is_some_and(|r| r.reason == "Suspended") {
            let text = "skipping canary run as object is suspended";
            self.publish(&written, &[Event::normal(text)]);
        }
        Ok(())
    }

    /// Tells of events: in the cluster, to hooks that listen, and to people.
    fn tell(&self, canary: &Object, facts: &Facts, o: &Observation, events: &[Event]) {
        self.publish(canary, events);
        let mut shared = None;
        for event in events {
            if !anybody(&facts.spec, event, &self.everybody) {
                continue;
            }
            let (canary, spec) = shared
                .get_or_insert_with(|| (Arc::new(canary.clone()), Arc::new(facts.spec.clone())));
            self.teller.tell(Told {
                details: details(spec, &facts.names.namespace, &o.strategy),
                canary: canary.clone(),
                spec: spec.clone(),
                event: event.clone(),
                at: o.now,
            });
        }
    }

    fn publish(&self, canary: &Object, events: &[Event]) {
        for event in events {
            let kind = if event.warning {
                EventKind::Warning
            } else {
                EventKind::Normal
            };
            self.events
                .publish(canary, kind, REASON, &event.message, &[]);
        }
    }

    /// What was done is undone each time, by an admission webhook for example. Doing it again at once
    /// would be a fight without an end.
    async fn undone(&self, canary: &Object, effects: &[Effect]) -> Outcome {
        let what = effects.iter().map(Effect::says).collect::<Vec<_>>();
        let text = format!(
            "{} is undone each time: somebody else, an admission webhook for example, changes what \
             this Canary keeps; exempt the objects that it generates",
            what.join(", ")
        );
        self.publish(canary, &[Event::warning(text.clone())]);
        let says = says(Status::False, "Contested", text.clone());
        let state = status::read(canary);
        if let Err(e) = self.tell_conditions(canary, state.as_ref(), &[says]).await {
            tracing::debug!(canary = %canary.key(), %e, "the fight could not be recorded");
        }
        Outcome::Retry(text)
    }

    /// An effect did not happen. Whoever wrote in between is no news; everything else is told.
    async fn failed(&self, canary: &Object, failure: &Failure) -> Outcome {
        let text = failure.to_string();
        let raced = match failure {
            Failure::Moved(_) => true,
            Failure::Api(api) => api.is_conflict() || api.is_already_exists(),
        };
        if !raced {
            self.publish(canary, &[Event::warning(text.clone())]);
        }
        if failure.needs_a_person() {
            let says = says(Status::False, "ReconciliationFailed", text.clone());
            // If this fails too there is nothing more to say it with; the retry comes anyway.
            let state = status::read(canary);
            if let Err(e) = self.tell_conditions(canary, state.as_ref(), &[says]).await {
                tracing::debug!(canary = %canary.key(), %e, "the failure could not be recorded");
            }
        }
        Outcome::Retry(text)
    }
}

fn says(status: Status, reason: &str, message: String) -> Summary {
    Summary {
        kind: "Ready",
        status,
        reason: reason.to_owned(),
        message,
    }
}
