//! Owns what is seen of a Canary: its objects from the caches, reduced to the facts a decision is
//! made from. It reads and never writes.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use weir_api::canary::{AutoscalerKind, Service, Spec};
use weir_api::names::{CANARY_FINALIZER, ask};
use weir_api::{Canary, DecodeFailure};
use weir_object::{Key, Kind, Object};
use weir_rollout::{
    Apex, Backends, Cookies, Evidence, Observation, Piece, Primary, Records, Refusal, Request,
    Revision, Route, State, Target, Verb,
};
use weir_runtime::kinds::{
    CONFIG_MAP, CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, HTTP_ROUTE, SECRET, SERVICE,
};
use weir_runtime::{Context, Projection, Store, WatchOf};

use crate::configs::{Config, Digests, kept_name};
use crate::contents::Configs;
use crate::deployment::{Label, baseline_template, is_owned, runs};
use crate::names::Names;
use crate::scaler::{HPA, SCALED_OBJECT};
use crate::service::Role;
use crate::workload::Workload;
use crate::{Options, accept, route, scaler, service, status, template};

/// The caches a Canary is seen through.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) canaries: Arc<Store>,
    pub(crate) deployments: Arc<Store>,
    pub(crate) daemon_sets: Arc<Store>,
    pub(crate) services: Arc<Store>,
    pub(crate) routes: Arc<Store>,
    pub(crate) revisions: Arc<Store>,
    pub(crate) templates: Arc<Store>,
    pub(crate) providers: Arc<Store>,
    /// Autoscalers of both kinds.
    pub(crate) hpas: Arc<Store>,
    pub(crate) scaled: Arc<Store>,
    /// ConfigMaps and Secrets, without what they hold.
    pub(crate) maps: Arc<Store>,
    pub(crate) secrets: Arc<Store>,
}

impl Stores {
    pub(crate) fn of(context: &Context) -> Self {
        let watch = |kind| context.caches.watch(around(kind));
        Self {
            canaries: context.caches.watch(own(context)),
            deployments: watch(&DEPLOYMENT),
            daemon_sets: watch(&DAEMON_SET),
            services: watch(&SERVICE),
            routes: watch(&HTTP_ROUTE),
            revisions: watch(&CONTROLLER_REVISION),
            templates: watch(accept::METRIC_TEMPLATE),
            providers: watch(&weir_api::alert_provider::KIND),
            hpas: watch(&HPA),
            scaled: watch(&SCALED_OBJECT),
            maps: context.caches.watch(metadata_of(&CONFIG_MAP)),
            secrets: context.caches.watch(metadata_of(&SECRET)),
        }
    }

    /// Those of a kind that can be released.
    pub(crate) fn workloads(&self, kind: Workload) -> &Store {
        match kind {
            Workload::Deployment => &self.deployments,
            Workload::DaemonSet => &self.daemon_sets,
            Workload::Service => &self.services,
        }
    }
}

/// A watch of the Canaries that are worked on here.
pub(crate) fn own(context: &Context) -> WatchOf {
    WatchOf {
        projection: Projection::Text,
        ..context.own(&weir_api::canary::KIND)
    }
}

/// A watch of a kind that stands around Canaries. There are many objects for each, and all but a few
/// rest: they are kept as text.
pub(crate) fn around(kind: &Kind) -> WatchOf {
    WatchOf::projected(kind, Projection::Text)
}

/// A watch of what objects are called and in which version they are.
pub(crate) fn metadata_of(kind: &Kind) -> WatchOf {
    WatchOf::projected(kind, Projection::Metadata)
}

/// A Canary's objects at one moment.
pub(crate) struct Facts {
    pub(crate) canary: Arc<Object>,
    pub(crate) spec: Spec,
    pub(crate) service: Service,
    pub(crate) names: Names,
    pub(crate) label: Option<Label>,
    pub(crate) workload: Workload,
    pub(crate) target: Option<Arc<Object>>,
    /// What the target is a revision of now: its pod template, or a Service's spec.
    pub(crate) live_template: Option<Value>,
    pub(crate) primary: Option<Arc<Object>>,
    pub(crate) apex: Option<Arc<Object>>,
    pub(crate) apex_primary: Option<Arc<Object>>,
    pub(crate) apex_canary: Option<Arc<Object>>,
    pub(crate) route: Option<Arc<Object>>,
    pub(crate) records: Vec<Arc<Object>>,
    pub(crate) state: Option<State>,
    pub(crate) configs: Configs,
    /// The target's autoscaler, and the primary's.
    pub(crate) scaler: Option<Arc<Object>>,
    pub(crate) primary_scaler: Option<Arc<Object>>,
}

impl Facts {
    /// Gathers them. A Canary that can't be read is a failure of its own alone.
    pub(crate) fn gather(
        stores: &Stores,
        options: &Options,
        canary: Arc<Object>,
    ) -> Result<Self, DecodeFailure> {
        let spec = Canary::from_object_without_status(&canary)?.spec;
        let names = Names::of(&canary.key(), &spec);
        let workload = Workload::of(&spec);
        let workloads = stores.workloads(workload);
        let target = workloads.get(&names.key(&names.target));
        let service = |name: &str| stores.services.get(&names.key(name));
        let records = stores
            .revisions
            .list_named(&names.namespace, &format!("{}-", names.canary));
        let scaler = |suffix: &str| {
            let asked = spec.autoscaler_ref.as_ref()?;
            let store = match asked.kind {
                AutoscalerKind::HorizontalPodAutoscaler => &stores.hpas,
                AutoscalerKind::ScaledObject => &stores.scaled,
            };
            store.get(&names.key(&format!("{}{suffix}", asked.name)))
        };
        Ok(Self {
            scaler: scaler(""),
            primary_scaler: scaler("-primary"),
            service: spec.service.clone().unwrap_or_default(),
            label: target
                .as_ref()
                .filter(|_| workload != Workload::Service)
                .and_then(|t| Label::of(t, &options.selector_labels)),
            primary: workloads.get(&names.key(&names.primary)),
            live_template: target.as_ref().and_then(|t| workload.template(t)),
            workload,
            apex: service(&names.apex),
            apex_primary: service(&names.apex_primary),
            apex_canary: service(&names.apex_canary),
            route: stores.routes.get(&names.key(&names.apex)),
            records: template::of_canary(records, &canary),
            state: status::read(&canary),
            configs: Configs::default(),
            canary,
            spec,
            names,
            target,
        })
    }

    pub(crate) fn services<'a>(&'a self, label: &'a Label) -> service::Maker<'a> {
        let (canary, spec) = (&*self.canary, &self.service);
        service::Maker {
            canary,
            spec,
            names: &self.names,
            label,
            template: self.live_template.as_ref(),
        }
    }

    pub(crate) fn scalers(&self) -> Option<scaler::Maker<'_>> {
        Some(scaler::Maker {
            canary: &self.canary,
            asked: self.spec.autoscaler_ref.as_ref()?,
            names: &self.names,
        })
    }

    pub(crate) fn routes(&self) -> route::Maker<'_> {
        route::Maker {
            canary: &self.canary,
            spec: &self.service,
            analysis: &self.spec.analysis,
            names: &self.names,
        }
    }

    /// Whether the primary has a pod that serves.
    pub(crate) fn primary_serves(&self) -> bool {
        let primary = self.primary.as_ref();
        primary.is_some_and(|p| self.workload.available(p) > 0)
    }

    /// The cookies the route should know, by what is recorded.
    fn cookies(&self) -> Cookies {
        let state = self.state.as_ref();
        Cookies {
            canary: state.and_then(|s| s.session_affinity_cookie.clone()),
            previous: state.and_then(|s| s.previous_session_affinity_cookie.clone()),
            primary: state.and_then(|s| s.primary_session_affinity_cookie.clone()),
        }
    }

    /// The template that the primary was made from, as far as its own tells.
    pub(crate) fn baseline(&self) -> Option<Value> {
        let template = self.workload.template(self.primary.as_ref()?)?;
        if self.workload == Workload::Service {
            return Some(template);
        }
        let is_copy = |config: &Config| self.configs.is_copy(config);
        Some(baseline_template(&template, self.label.as_ref()?, is_copy))
    }

    /// The digests of the configuration the primary was made with.
    pub(crate) fn baseline_configs(&self) -> Digests {
        let primary = self.primary.as_ref();
        let template = primary.and_then(|p| p.get(&["spec", "template"]));
        template
            .map(|t| self.configs.baseline(t))
            .unwrap_or_default()
    }

    /// The revision that the target asks for.
    fn target_revision(&self) -> Revision {
        let template = self.live_template.as_ref().unwrap_or(&Value::Null);
        Revision::with(template, &self.configs.target)
    }

    /// Whether the configuration that a stored template refers to is kept with it.
    fn are_kept(&self, stores: &Stores, stored: template::Stored<'_>) -> bool {
        stored.configs().iter().all(|(id, digest)| {
            let Some(config) = Config::of_id(id).filter(|_| !digest.is_empty()) else {
                return true;
            };
            let store = match config {
                Config::Map(_) => &stores.maps,
                Config::Secret(_) => &stores.secrets,
            };
            let name = kept_name(&self.names.canary, stored.revision, &config);
            store.get(&self.names.key(&name)).is_some()
        })
    }

    /// The pieces around a Service that is released: the canary's leads where the target does now, the
    /// primary's is the primary, and the apex is the target itself.
    fn led(&self) -> (Piece, Piece, Apex) {
        let apex = if self.canary.is_deleting() {
            Apex::Target
        } else {
            Apex::Primary
        };
        let canary = match (self.apex_canary.as_deref(), &self.live_template) {
            (None, _) => Piece::Absent,
            (Some(live), wanted) if self.workload.template(live) == *wanted => Piece::Current,
            _ => Piece::Differs,
        };
        (canary, Piece::Current, apex)
    }

    /// What of the Canary can't be done, beside what its spec alone tells.
    fn refusal(&self, stores: &Stores, options: &Options, routed: bool) -> Option<Refusal> {
        let invalid = |field: &str, message: String| Refusal {
            reason: "Invalid",
            field: field.to_owned(),
            message,
        };
        if options.no_cross_namespace_refs
            && let Some(refusal) = accept::abroad(&self.spec, &self.names.namespace)
        {
            return Some(refusal);
        }
        if self.target.is_some() && self.label.is_none() && self.workload != Workload::Service {
            return Some(invalid(
                "targetRef",
                format!(
                    "the target's `spec.selector.matchLabels` must contain one of {:?}, so that \
                     its pods can be told from the primary's",
                    options.selector_labels
                ),
            ));
        }
        if self
            .primary
            .as_ref()
            .is_some_and(|p| !is_owned(p, &self.canary))
        {
            let message = format!(
                "{} {} is there already and does not belong to this Canary; rename it",
                self.workload.kind().kind,
                self.names.primary
            );
            return Some(invalid("targetRef", message));
        }
        let foreign = self.apex_canary.as_ref();
        if self.workload == Workload::Service && foreign.is_some_and(|s| !is_owned(s, &self.canary))
        {
            let message = format!(
                "Service {} is there already and does not belong to this Canary; rename it",
                self.names.apex_canary
            );
            return Some(invalid("targetRef", message));
        }
        let fault = self.target.as_ref().and_then(|t| self.workload.fault(t));
        if let Some(fault) = fault {
            return Some(invalid("targetRef", fault));
        }
        if let Some(asked) = &self.spec.autoscaler_ref {
            let name = &asked.name;
            if self.scaler.is_none() {
                let message = format!(
                    "{:?} {name} does not exist; create it or correct the name",
                    asked.kind
                );
                return Some(invalid("autoscalerRef", message));
            }
            let live = self.primary_scaler.as_ref();
            if live.is_some_and(|live| !is_owned(live, &self.canary)) {
                let message = format!(
                    "{:?} {name}-primary is there already and does not belong to this Canary; \
                     rename it",
                    asked.kind
                );
                return Some(invalid("autoscalerRef", message));
            }
        }
        if let Some(taken) = &self.configs.taken {
            let message = format!(
                "{taken} is there already and does not belong to this Canary, whose primary needs \
                 the name; rename it"
            );
            return Some(invalid("targetRef", message));
        }
        if !routed {
            return accept::templates(&self.spec, &self.names.namespace, |key: &Key| {
                stores.templates.get(key)
            });
        }
        if let Some(refusal) = self.routes().rules().refusal() {
            return Some(refusal);
        }
        let lent = self.route.as_ref().filter(|r| !is_owned(r, &self.canary));
        let analysis = &self.spec.analysis;
        let more = [
            ("analysis.match", !analysis.matches.is_empty()),
            ("analysis.mirror", analysis.mirror),
            (
                "analysis.sessionAffinity",
                analysis.session_affinity.is_some(),
            ),
        ];
        if lent.is_some()
            && let Some((field, _)) = more.into_iter().find(|(_, asked)| *asked)
        {
            return Some(Refusal {
                reason: weir_api::names::reason::UNSUPPORTED,
                field: field.to_owned(),
                message: format!(
                    "HTTPRoute {} is a user's, of which only weights are borrowed; remove it, so \
                     that the Canary makes its own, or remove the field",
                    self.names.apex
                ),
            });
        }
        if let Some(live) = lent
            && self.routes().managed(live).is_empty()
        {
            let message = format!(
                "HTTPRoute {0} is there already and none of its rules leads to Service {0}; add \
                 that backend to the rule whose traffic is to be shared",
                self.names.apex
            );
            return Some(invalid("service", message));
        }
        accept::templates(&self.spec, &self.names.namespace, |key: &Key| {
            stores.templates.get(key)
        })
    }

    /// The observation. `claimed` says whether the target's replicas are co-owned, which the caches
    /// don't tell.
    pub(crate) fn observation(
        &self,
        stores: &Stores,
        options: &Options,
        now: Timestamp,
        claimed: bool,
        evidence: Evidence,
    ) -> Observation {
        let (strategy, refusal) = accept::strategy(&self.spec, options);
        let refusal = refusal.or_else(|| self.refusal(stores, options, strategy.routed));
        let analysis = &self.spec.analysis;
        let percent = |p: Option<i64>| u32::try_from(p.unwrap_or(100)).unwrap_or(100);
        let run = self
            .state
            .as_ref()
            .and_then(|s| s.run.as_ref())
            .map(|r| r.revision.as_str());
        let promoted = self
            .state
            .as_ref()
            .and_then(|s| s.last_promoted_spec.as_deref());
        // Without what it refers to, a stored template is half of a revision.
        let stored = |revision: Option<&str>| {
            let found = template::find(&self.records, revision?)?;
            self.are_kept(stores, found).then_some(found)
        };
        let earlier: &[String] = self.state.as_ref().map_or(&[], |s| &s.previous);
        let previous = earlier.iter().filter(|id| stored(Some(id)).is_some());
        let previous = previous.cloned().collect();
        let stale = self.records.iter().any(|o| {
            let id = o.text(&["data", "revision"]);
            !template::is_needed(self.state.as_ref(), id)
        });
        let target = self.target.as_ref().map(|object| Target {
            kind: self.workload.kind().kind.to_string(),
            name: object.name().to_owned(),
            revision: self.target_revision(),
            scales: self.workload.scales(),
            replicas: self.workload.replicas(object),
            claimed,
            available: self.workload.available(object),
            readiness: self
                .workload
                .readiness(object, percent(analysis.canary_ready_threshold)),
            deleting: object.is_deleting(),
        });
        // One that is going serves no longer; a new one can be made when it is gone.
        let primary = self.primary.as_ref().and_then(|object| {
            if self.label.is_none() && self.workload != Workload::Service {
                return None;
            }
            let runs = |revision| {
                let stored = stored(revision)?;
                let same = match &self.label {
                    Some(label) => runs(object, stored, label),
                    None => self.workload.template(object).as_ref() == Some(stored.template),
                };
                Some(self.configs.hold(&stored.configs()) && same)
            };
            Some(Primary {
                name: object.name().to_owned(),
                replicas: self.workload.replicas(object),
                available: self.workload.available(object),
                readiness: self
                    .workload
                    .readiness(object, percent(analysis.primary_ready_threshold)),
                runs_promoted: runs(promoted),
                runs_run: runs(run),
                baseline: Revision::with(
                    &self.baseline().unwrap_or_default(),
                    &self.baseline_configs(),
                ),
            })
        });
        let (canary_service, primary_service, apex) = match &self.label {
            None if self.workload == Workload::Service => self.led(),
            None => (Piece::Absent, Piece::Absent, Apex::Other),
            Some(label) => {
                let maker = self.services(label);
                let labels = self
                    .target
                    .as_ref()
                    .and_then(|t| t.get(&["spec", "template", "metadata", "labels"]));
                (
                    maker.piece(Role::Canary, self.apex_canary.as_deref()),
                    maker.piece(Role::Primary, self.apex_primary.as_deref()),
                    maker.apex(self.apex.as_deref(), labels),
                )
            }
        };
        let cookies = strategy.affinity.as_ref().map(|_| self.cookies());
        // Without one of its own, a route of that name is somebody else's.
        let mut route = if strategy.routed {
            let live = self.route.as_deref();
            self.routes().observed(live, cookies.as_ref())
        } else {
            Route::Absent
        };
        // A route that still goes with the Canary is not let go of yet.
        if let (Route::Present { backends, .. }, Some(live)) = (&mut route, &self.route)
            && *backends == Backends::Apex
            && is_owned(live, &self.canary)
        {
            *backends = Backends::Other;
        }
        Observation {
            now,
            name: self.names.canary.clone(),
            namespace: self.names.namespace.clone(),
            strategy,
            refusal,
            suspended: self.spec.suspend,
            deleting: self.canary.is_deleting(),
            finalizer: self.canary.finalizers().any(|f| f == CANARY_FINALIZER),
            state: self.state.clone(),
            target,
            primary,
            scaler: self
                .scalers()
                .and_then(|m| m.facts(self.scaler.as_deref(), self.primary_scaler.as_deref())),
            records: Records {
                promoted: stored(promoted).is_some(),
                run: stored(run).is_some(),
                previous,
                stale,
            },
            canary_service,
            primary_service,
            apex,
            route,
            requests: requests(&self.canary),
            turn: turn(stores, options, &self.canary),
            evidence,
        }
    }
}

/// What people ask for, by the annotations of the Canary.
fn requests(canary: &Object) -> Vec<Request> {
    let text = |name: &str| canary.text(&["metadata", "annotations", name]);
    let by = Some(text(ask::BY)).filter(|by| !by.is_empty());
    Verb::ALL
        .iter()
        .map(|verb| (*verb, text(&annotation(*verb))))
        .filter(|(_, token)| !token.is_empty())
        .map(|(verb, token)| Request {
            verb,
            // Longer tokens than anyone needs are not kept in the status.
            token: token.chars().take(128).collect(),
            by: by.map(|by| by.chars().take(256).collect()),
        })
        .collect()
}

/// The annotation that asks for a verb.
pub fn annotation(verb: Verb) -> String {
    format!("{}/{}", ask::GROUP, verb.as_str())
}

/// Why a new run has to wait, if as many as may run do.
pub(crate) fn turn(stores: &Stores, options: &Options, canary: &Object) -> Option<String> {
    let most = options.max_running.filter(|most| *most > 0)?;
    let runs = |c: &Arc<Object>| {
        let phase = c.text(&["status", "phase"]);
        let running = ["Progressing", "WaitingPromotion", "Promoting", "Finalising"];
        c.key() != canary.key() && running.contains(&phase)
    };
    let others = stores.canaries.list().iter().filter(|c| runs(c)).count();
    (others >= most).then(|| format!("its turn: {others} canaries run, and no more may at once"))
}
