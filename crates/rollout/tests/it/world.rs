//! A cluster small enough to reason about: what a canary can see and change, as plain fields.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use weir_rollout::{
    Answer, Apex, Backend, Backends, Check, Course, Effect, Event, Evidence, HookKind, HookResult,
    InForce, Judge, Limits, Measurement, Observation, Piece, Plan, Position, Primary, Readiness,
    Reading, Records, Refusal, Request, Revision, Route, Rule, Scaler, Source, State, Step,
    Strategy, Target, Traffic, decide,
};

/// How a revision's pods behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    /// They come up and pass.
    Good,
    /// They come up and are out of range.
    Faulty,
    /// They never come up.
    Broken,
}

#[derive(Clone, Debug)]
pub(crate) struct Pods {
    pub(crate) revision: u32,
    pub(crate) replicas: u32,
    pub(crate) ready: bool,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a world is a list of facts")]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) strategy: Strategy,
    pub(crate) suspended: bool,
    pub(crate) deleting: bool,
    pub(crate) finalizer: bool,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) state: Option<State>,
    pub(crate) target: Option<Pods>,
    pub(crate) claimed: bool,
    pub(crate) primary: Option<Pods>,
    pub(crate) scaler: Option<Scaler>,
    pub(crate) stored: BTreeSet<u32>,
    pub(crate) services: Piece,
    pub(crate) apex: Apex,
    pub(crate) route: Option<Backends>,
    pub(crate) in_force: bool,
    pub(crate) quality: BTreeMap<u32, Quality>,
    pub(crate) provider_up: bool,
    pub(crate) traffic: bool,
    /// What was found out since the last record; a crash loses it.
    pub(crate) evidence: Evidence,
    /// Kinds of hooks that refuse; all others agree, but for the one that would roll back.
    pub(crate) closed: BTreeSet<HookKind>,
    /// Every question that was asked, with the point it was asked at.
    pub(crate) asked: Vec<(HookKind, String)>,
    pub(crate) requests: Vec<Request>,
    pub(crate) turn: Option<String>,
    /// How many requests the canary has answered at its step.
    pub(crate) served: f64,
    pub(crate) events: Vec<String>,
    /// Revisions that passed at the last weight.
    pub(crate) passed: BTreeSet<u32>,
    /// Where the last passing round was measured, for the current run.
    pub(crate) passed_at: Option<(String, Position)>,
}

pub(crate) fn revision(n: u32) -> Revision {
    Revision {
        id: format!("v1:{n}"),
        digest: format!("sha256:{n}"),
    }
}

pub(crate) fn number(id: &str) -> u32 {
    id.trim_start_matches("v1:")
        .parse()
        .expect("a revision of this world")
}

pub(crate) fn strategy() -> Strategy {
    Strategy {
        course: weighted(&[10, 50]),
        routed: true,
        promotion_step: 0,
        limits: Limits::all(2),
        interval: Duration::from_secs(10),
        longest_window: Duration::from_secs(30),
        progress_deadline: Duration::from_mins(10),
        skip_analysis: false,
        hooks: BTreeSet::new(),
        affinity: None,
        bake: None,
        rollback_window: 0,
    }
}

pub(crate) fn weighted(weights: &[u8]) -> Course {
    Course::Weighted {
        steps: weights.iter().copied().map(Step::at).collect(),
        mirror: false,
    }
}

/// A route that splits by weight.
#[expect(clippy::unnecessary_wraps, reason = "a world may be without a route")]
pub(crate) fn split(weight: u8) -> Option<Backends> {
    Some(Backends::Split(Traffic::canary(weight)))
}

impl World {
    /// A target that was just applied, at revision 1, and its Canary.
    pub(crate) fn new() -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH,
            strategy: strategy(),
            suspended: false,
            deleting: false,
            finalizer: false,
            refusal: None,
            state: None,
            target: Some(Pods {
                revision: 1,
                replicas: 2,
                ready: true,
            }),
            claimed: false,
            primary: None,
            scaler: None,
            stored: BTreeSet::new(),
            services: Piece::Absent,
            apex: Apex::Absent,
            route: None,
            in_force: false,
            quality: BTreeMap::new(),
            provider_up: true,
            traffic: true,
            evidence: Evidence::default(),
            closed: BTreeSet::new(),
            asked: Vec::new(),
            requests: Vec::new(),
            turn: None,
            served: 1000.0,
            events: Vec::new(),
            passed: BTreeSet::new(),
            passed_at: None,
        }
    }

    /// The same after it was taken up and has come to rest.
    pub(crate) fn initialised() -> Self {
        let mut world = Self::new();
        world.settle();
        assert_eq!(world.phase(), "Initialized");
        world.events.clear();
        world
    }

    pub(crate) fn phase(&self) -> &'static str {
        self.state().phase.as_str()
    }

    pub(crate) fn state(&self) -> State {
        self.state.clone().unwrap_or_default()
    }

    pub(crate) fn quality(&self, n: u32) -> Quality {
        self.quality.get(&n).copied().unwrap_or(Quality::Good)
    }

    pub(crate) fn push(&mut self, n: u32) {
        if let Some(target) = &mut self.target
            && target.revision != n
        {
            target.revision = n;
            target.ready = target.replicas == 0;
        }
    }

    /// What the cluster does by itself: pods come up if they can, the route comes in force.
    pub(crate) fn cluster(&mut self) {
        let quality = self.quality.clone();
        let good = |n: &u32| quality.get(n) != Some(&Quality::Broken);
        for pods in [&mut self.target, &mut self.primary].into_iter().flatten() {
            pods.ready = good(&pods.revision);
        }
        self.in_force = true;
    }

    pub(crate) fn pass_time(&mut self, seconds: u64) {
        self.now = self
            .now
            .checked_add(Duration::from_secs(seconds))
            .expect("in range");
    }

    pub(crate) fn observe(&self) -> Observation {
        let run = self.state().run.map(|r| r.revision);
        let previous = self.state().previous;
        let promoted = self.state().last_promoted_spec;
        // Another controller's name for a revision is none of this world's.
        let named = |id: &str| id.trim_start_matches("v1:").parse().ok();
        let stored = |id: &Option<String>| {
            let number = id.as_deref().and_then(named);
            number.is_some_and(|n: u32| self.stored.contains(&n))
        };
        let readiness = |pods: &Pods| match (pods.ready, self.quality(pods.revision)) {
            (true, _) => Readiness::Ready,
            (false, _) => Readiness::Waiting("0 of 2 available".to_owned()),
        };
        let available = |pods: &Pods| if pods.ready { pods.replicas } else { 0 };
        Observation {
            now: self.now,
            name: "app".to_owned(),
            namespace: "demo".to_owned(),
            strategy: self.strategy.clone(),
            refusal: self.refusal.clone(),
            suspended: self.suspended,
            deleting: self.deleting,
            finalizer: self.finalizer,
            state: self.state.clone(),
            target: self.target.as_ref().map(|pods| Target {
                kind: "Deployment".to_owned(),
                name: "app".to_owned(),
                revision: revision(pods.revision),
                replicas: pods.replicas,
                scales: true,
                claimed: self.claimed,
                available: available(pods),
                readiness: readiness(pods),
                deleting: false,
            }),
            primary: self.primary.as_ref().map(|pods| Primary {
                name: "app-primary".to_owned(),
                replicas: pods.replicas,
                available: available(pods),
                readiness: readiness(pods),
                runs_promoted: stored(&promoted)
                    .then(|| promoted.as_deref().map(number) == Some(pods.revision)),
                runs_run: stored(&run).then(|| run.as_deref().map(number) == Some(pods.revision)),
                baseline: revision(pods.revision),
            }),
            scaler: self.scaler.clone(),
            records: Records {
                promoted: stored(&promoted),
                run: stored(&run),
                previous: (previous.iter())
                    .filter(|id| self.stored.contains(&number(id)))
                    .cloned()
                    .collect(),
                stale: self.stored.iter().any(|n| {
                    let id = Some(revision(*n).id);
                    id != run && id != promoted && !previous.contains(&revision(*n).id)
                }),
            },
            canary_service: self.services,
            primary_service: self.services,
            apex: self.apex,
            route: match self.route.clone() {
                None => Route::Absent,
                Some(backends) => Route::Present {
                    backends,
                    current: true,
                    in_force: if self.in_force {
                        InForce::Yes
                    } else {
                        InForce::Unknown("the gateway has not answered".to_owned())
                    },
                },
            },
            requests: self.requests.clone(),
            turn: self.turn.clone(),
            evidence: self.evidence.clone(),
        }
    }

    /// One decision and what follows from it. `crash` stops after that many effects.
    pub(crate) fn step(&mut self, crash: Option<usize>) -> Plan {
        let observation = self.observe();
        let plan = decide(&observation);
        match &plan {
            Plan::Record { state, events } => {
                self.check_record(state);
                self.evidence = Evidence::default();
                self.state = Some((**state).clone());
                self.tell(events);
            }
            Plan::Act { effects, events } => {
                for effect in effects.iter().take(crash.unwrap_or(usize::MAX)) {
                    self.check_effect(effect);
                    self.apply(effect);
                }
                self.tell(events);
            }
            Plan::Measure {
                revision,
                point,
                of,
                ..
            } => self.measure(revision, point, *of),
            Plan::Ask { kind, point, .. } => self.ask(*kind, point),
            Plan::Wait { until, .. }
            | Plan::Hold {
                until: Some(until), ..
            } => {
                assert!(
                    *until > self.now,
                    "whoever waits, waits for what is to come: {plan:?}"
                );
            }
            _ => {}
        }
        plan
    }

    fn tell(&mut self, events: &[Event]) {
        self.events.extend(events.iter().map(|e| e.message.clone()));
    }

    fn ask(&mut self, kind: HookKind, point: &str) {
        assert!(
            self.evidence.answer(kind, point).is_none(),
            "nothing is asked twice at one point"
        );
        self.asked.push((kind, point.to_owned()));
        let passed = (kind == HookKind::Rollback) == self.closed.contains(&kind);
        self.evidence.answers.push(Answer {
            kind,
            point: point.to_owned(),
            results: vec![HookResult {
                name: "h".to_owned(),
                passed,
                error: if passed { "" } else { "no" }.to_owned(),
                muted: false,
            }],
        });
    }

    fn measure(&mut self, id: &str, point: &str, of: Backend) {
        let pods = match of {
            Backend::Target => &self.target,
            Backend::Primary => &self.primary,
        };
        let live = pods.as_ref().map_or(0, |t| t.revision);
        let reading = if !self.provider_up {
            Reading::ProviderFailed {
                name: "m".into(),
                message: "Prometheus query failed".into(),
            }
        } else if !self.traffic {
            Reading::NoData {
                name: "m".into(),
                message: "no values found".into(),
            }
        } else {
            let value = if self.quality(live) == Quality::Good {
                100.0
            } else {
                50.0
            };
            Reading::Value {
                name: "m".into(),
                value,
                warnings: vec![],
            }
        };
        if matches!(reading, Reading::Value { value, .. } if value > 99.0) && live == number(id) {
            let at = self.state().position();
            self.passed_at = Some((id.to_owned(), at));
            let next = self.strategy.course.next(at, self.strategy.routed);
            if next.is_none() {
                self.passed.insert(live);
            }
        }
        self.evidence.measurement = Some(Measurement {
            at: self.now,
            revision: id.to_owned(),
            point: point.to_owned(),
            requests: Some(self.served),
            checks: vec![Check {
                name: "m".to_owned(),
                judge: Judge::SuccessRate,
                rule: Rule {
                    min: Some(99.0),
                    max: None,
                },
                reading,
            }],
        });
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::AddFinalizer => self.finalizer = true,
            Effect::RemoveFinalizer => self.finalizer = false,
            Effect::ClaimReplicas => self.claimed = true,
            Effect::StoreTemplate {
                revision, source, ..
            } => {
                let live = match source {
                    Source::Target => &self.target,
                    Source::Primary => &self.primary,
                };
                if live
                    .as_ref()
                    .is_some_and(|p| p.revision == number(revision))
                {
                    self.stored.insert(number(revision));
                }
            }
            Effect::PruneTemplates => {
                let state = self.state();
                let keep = [state.run.map(|r| r.revision), state.last_promoted_spec];
                self.stored.retain(|n| {
                    let id = revision(*n).id;
                    state.previous.contains(&id) || keep.contains(&Some(id))
                });
            }
            Effect::ApplyServices => self.services = Piece::Current,
            Effect::PointApex {
                to: Backend::Primary,
            } => self.apex = Apex::Primary,
            Effect::PointApex {
                to: Backend::Target,
            } => self.apex = Apex::Target,
            Effect::CreatePrimary { revision, replicas } => {
                assert!(
                    self.stored.contains(&number(revision)),
                    "made from a stored template"
                );
                self.primary = Some(Pods {
                    revision: number(revision),
                    replicas: *replicas,
                    ready: false,
                });
            }
            Effect::ReplacePrimaryTemplate { revision } => {
                assert!(
                    self.stored.contains(&number(revision)),
                    "made from a stored template"
                );
                if let Some(primary) = &mut self.primary {
                    primary.revision = number(revision);
                    primary.ready = false;
                }
            }
            Effect::ScaleTarget { replicas } => {
                if let Some(target) = &mut self.target {
                    // More pods of the same do not take away those there are.
                    let more = target.replicas > 0 && *replicas > target.replicas;
                    target.ready = *replicas == 0 || (more && target.ready);
                    target.replicas = *replicas;
                }
            }
            Effect::ApplyScaler => {
                if let Some(scaler) = &mut self.scaler {
                    scaler.primary = Piece::Current;
                }
            }
            Effect::PauseScaler { paused } => {
                if let Some(scaler) = &mut self.scaler {
                    scaler.paused = Some(*paused);
                }
            }
            Effect::Route { to } => {
                let next = Some(Backends::Split(to.clone()));
                self.in_force &= self.route == next;
                self.route = next;
            }
            Effect::ReleaseRoute => {
                self.route = Some(Backends::Apex);
                self.in_force = false;
            }
        }
    }

    /// What may never be recorded.
    fn check_record(&self, next: &State) {
        let before = self.state();
        let (from, to) = (before.position(), next.position());
        let rises = to.weight > from.weight || to.iterations > from.iterations;
        if next.phase.as_str() == "Progressing" && rises {
            let run = next.run.as_ref().expect("a run under way").revision.clone();
            assert!(
                from == Position::default() || self.passed_at == Some((run, from)),
                "a step is taken only after a pass at the step before"
            );
            assert!(
                self.target.as_ref().is_some_and(|t| t.ready),
                "pods before traffic"
            );
            assert!(
                self.in_force || !self.strategy.routed,
                "one weight in force before the next"
            );
        }
        assert!(next.canary_weight <= 100);
    }

    /// What may never be done.
    fn check_effect(&self, effect: &Effect) {
        match effect {
            Effect::CreatePrimary { revision, .. }
            | Effect::ReplacePrimaryTemplate { revision } => {
                let promoted = self.state().last_promoted_spec;
                assert!(
                    promoted.is_none()
                        || promoted.as_ref() == Some(revision)
                        || self.strategy.skip_analysis
                        || self.state().run.is_some_and(|r| r.unanalysed.is_some())
                        || self.passed.contains(&number(revision)),
                    "only what passed reaches the primary: {revision}"
                );
            }
            Effect::ScaleTarget { replicas: 0 } => {
                if !self.strategy.routed {
                    return;
                }
                assert!(
                    matches!(&self.route, Some(Backends::Split(to)) if to.canary == 0 && !to.mirror)
                );
                assert!(
                    self.in_force,
                    "pods that may get requests are not taken away"
                );
                assert_eq!(self.apex, Apex::Primary);
            }
            Effect::Route { to } if to.canary < 100 => {
                assert!(
                    self.primary.is_some(),
                    "a route leads to a primary that exists"
                );
            }
            _ => {}
        }
    }

    /// Lets decisions, cluster and time go on until nothing is left to do. Returns the last plan.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..400 {
            let plan = self.step(None);
            match &plan {
                Plan::Rest { .. } | Plan::Refuse { .. } => return plan,
                Plan::Wait { until, .. } => self.now = (*until).max(self.now),
                Plan::Hold { until, .. } => {
                    let before = format!("{:?}", self.observe());
                    self.cluster();
                    if format!("{:?}", self.observe()) == before {
                        match until {
                            Some(until) => self.now = (*until).max(self.now),
                            None => return plan,
                        }
                    }
                }
                _ => {}
            }
        }
        panic!("no rest after 400 steps: {:#?}", self.observe());
    }

    /// Goes on until a plan fits.
    pub(crate) fn until(&mut self, what: &str, fits: impl Fn(&World, &Plan) -> bool) {
        for _ in 0..400 {
            let plan = decide(&self.observe());
            if fits(self, &plan) {
                return;
            }
            match self.step(None) {
                Plan::Wait { until, .. } => self.now = until.max(self.now),
                Plan::Hold { .. } => self.cluster(),
                _ => {}
            }
        }
        panic!("never came to {what}: {:#?}", self.observe());
    }
}
