//! Owns the series about Canaries, under the names that dashboards know. A Canary's series go with
//! it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use weir_object::Key;
use weir_rollout::{Course, Measurement, Phase, Reading, State};
use weir_runtime::Metrics;

use crate::names::Names;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Info {
    version: &'static str,
    mesh_provider: String,
}

/// The buckets that are known for it, in seconds.
fn buckets() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Workload {
    workload: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InNamespace {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Measured {
    name: String,
    namespace: String,
    metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    name: String,
    namespace: String,
    deployment_strategy: &'static str,
    analysis_status: &'static str,
}

/// A Canary's names and those of the metrics it was measured by.
type Known = (Names, BTreeSet<String>);

/// The series about Canaries.
#[derive(Clone)]
pub(crate) struct Telemetry {
    total: Family<InNamespace, Gauge>,
    status: Family<Named, Gauge>,
    weight: Family<Workload, Gauge>,
    analysis: Family<Measured, Gauge<f64, AtomicU64>>,
    successes: Family<Ended, Counter>,
    failures: Family<Ended, Counter>,
    rounds: Family<Named, Histogram, fn() -> Histogram>,
    /// What each Canary's series are called.
    known: Arc<Mutex<HashMap<Key, Known>>>,
}

impl Telemetry {
    /// Registers the series. `provider` is what moves traffic where a Canary does not say.
    pub(crate) fn new(metrics: &Metrics, provider: &str) -> Self {
        let own = Self {
            total: Family::default(),
            status: Family::default(),
            weight: Family::default(),
            analysis: Family::default(),
            successes: Family::default(),
            failures: Family::default(),
            rounds: Family::new_with_constructor(buckets),
            known: Arc::default(),
        };
        let info: Family<Info, Gauge> = Family::default();
        info.get_or_create(&Info {
            version: env!("CARGO_PKG_VERSION"),
            mesh_provider: provider.to_owned(),
        })
        .set(1);
        metrics.register(|registry| {
            registry.register("flagger_info", "The version that runs", info);
            registry.register(
                "flagger_canary_duration_seconds",
                "How long a round of a run took to find out and decide",
                own.rounds.clone(),
            );
            registry.register(
                "flagger_canary_total",
                "Canaries, by namespace",
                own.total.clone(),
            );
            registry.register(
                "flagger_canary_status",
                "The last known state of a Canary: 0 running, 1 well, 2 failed",
                own.status.clone(),
            );
            registry.register(
                "flagger_canary_weight",
                "A workload's share of traffic, in percent",
                own.weight.clone(),
            );
            registry.register(
                "flagger_canary_metric_analysis",
                "The last value of a Canary's metric",
                own.analysis.clone(),
            );
            // The encoder appends `_total`.
            registry.register(
                "flagger_canary_successes",
                "Promotions, by Canary",
                own.successes.clone(),
            );
            registry.register(
                "flagger_canary_failures",
                "Failed runs, by Canary",
                own.failures.clone(),
            );
        });
        own
    }

    /// Tells how long a round of measurements or questions took.
    pub(crate) fn took(&self, names: &Names, time: Duration) {
        self.know(names, None);
        let round = self.rounds.get_or_create(&named(names));
        round.observe(time.as_secs_f64());
    }

    /// Tells how many Canaries a namespace has.
    pub(crate) fn count(&self, namespace: &str, canaries: usize) {
        let labels = InNamespace {
            namespace: namespace.to_owned(),
        };
        self.total
            .get_or_create(&labels)
            .set(i64::try_from(canaries).unwrap_or(i64::MAX));
    }

    /// Tells where a Canary stands.
    pub(crate) fn stands(&self, names: &Names, state: &State) {
        self.know(names, None);
        let status = match state.phase {
            Phase::Progressing => 0,
            Phase::Failed => 2,
            _ => 1,
        };
        self.status.get_or_create(&named(names)).set(status);
        let canary = i64::from(state.canary_weight);
        for (workload, weight) in [(&names.target, canary), (&names.primary, 100 - canary)] {
            let labels = weighed(workload, names);
            self.weight.get_or_create(&labels).set(weight);
        }
    }

    fn know(&self, names: &Names, metric: Option<&str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known
            .entry(names.key(&names.canary))
            .or_insert_with(|| (names.clone(), BTreeSet::new()));
        entry.1.extend(metric.map(str::to_owned));
    }

    /// Counts a run that ended.
    pub(crate) fn ended(&self, names: &Names, phase: Phase, course: &Course, skipped: bool) {
        let labels = ended(names, course.name(), skipped);
        match phase {
            Phase::Succeeded => drop(self.successes.get_or_create(&labels).inc()),
            Phase::Failed => drop(self.failures.get_or_create(&labels).inc()),
            _ => {}
        }
    }

    /// Tells what was measured. Durations are in seconds.
    pub(crate) fn measured(&self, names: &Names, measurement: &Measurement) {
        for check in &measurement.checks {
            if let Reading::Value { value, .. } = &check.reading {
                let value = match check.judge {
                    weir_rollout::Judge::Duration => value / 1000.0,
                    _ => *value,
                };
                let labels = measured(check.name.clone(), names);
                self.know(names, Some(&check.name));
                self.analysis.get_or_create(&labels).set(value);
            }
        }
    }

    /// Removes the series of a Canary that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        let Some((names, metrics)) = known else {
            return;
        };
        self.status.remove(&named(&names));
        self.rounds.remove(&named(&names));
        for workload in [&names.target, &names.primary] {
            self.weight.remove(&weighed(workload, &names));
        }
        for metric in metrics {
            self.analysis.remove(&measured(metric, &names));
        }
        for course in ["canary", "ab-testing", "blue-green"] {
            for skipped in [true, false] {
                let labels = ended(&names, course, skipped);
                self.successes.remove(&labels);
                self.failures.remove(&labels);
            }
        }
    }
}

fn weighed(workload: &str, names: &Names) -> Workload {
    Workload {
        workload: workload.to_owned(),
        namespace: names.namespace.clone(),
    }
}

fn measured(metric: String, names: &Names) -> Measured {
    Measured {
        name: names.target.clone(),
        namespace: names.namespace.clone(),
        metric,
    }
}

fn ended(names: &Names, course: &'static str, skipped: bool) -> Ended {
    Ended {
        name: names.target.clone(),
        namespace: names.namespace.clone(),
        deployment_strategy: course,
        analysis_status: if skipped { "skipped" } else { "completed" },
    }
}

fn named(names: &Names) -> Named {
    Named {
        name: names.canary.clone(),
        namespace: names.namespace.clone(),
    }
}
