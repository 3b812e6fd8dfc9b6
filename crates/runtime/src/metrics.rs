//! Owns the process's metrics: a registry that rooms register into, and the series every
//! reconciler has, under the names that existing dashboards know. No globals.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels of `gotk_reconcile_duration_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    kind: String,
    name: String,
    namespace: String,
}

/// Labels of `controller_runtime_reconcile_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    controller: String,
    result: String,
}

/// Labels of `workqueue_depth`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
}

/// Labels of `rest_client_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) code: u16,
}

/// Requests to the API server, by method and code. The code is 0 where no answer came.
pub(crate) type Requests = Family<Asked, Counter>;

/// The metrics of a process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    durations: Family<Reconciled, Histogram>,
    results: Family<Ended, Counter>,
    depth: Family<Named, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh registry with the shared series in it.
    pub fn new() -> Self {
        Self::counting(&Requests::default())
    }

    /// The same, with the requests that are counted elsewhere.
    pub(crate) fn counting(requests: &Requests) -> Self {
        let buckets = || {
            Histogram::new([
                0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
            ])
        };
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        let results = Family::<Ended, Counter>::default();
        let depth = Family::<Named, Gauge>::default();
        let mut registry = Registry::default();
        registry.register(
            "gotk_reconcile_duration_seconds",
            "The duration in seconds of a reconciliation",
            durations.clone(),
        );
        // The encoder appends `_total`.
        registry.register(
            "controller_runtime_reconcile",
            "How reconciliations ended, by controller",
            results.clone(),
        );
        registry.register(
            "rest_client_requests",
            "Requests to the API server by method and code, without watches",
            requests.clone(),
        );
        registry.register(
            "workqueue_depth",
            "Keys waiting, by controller",
            depth.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            durations,
            results,
            depth,
        }
    }

    /// Lets a room register its own series.
    pub fn register(&self, with: impl FnOnce(&mut Registry)) {
        with(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All series as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = encode(&mut out, &registry);
        out
    }

    pub(crate) fn reconciled(
        &self,
        controller: &str,
        kind: &str,
        key: &weir_object::Key,
        result: &str,
        took: Duration,
    ) {
        let labels = Reconciled {
            kind: kind.to_owned(),
            name: key.name.clone(),
            namespace: key.namespace.clone(),
        };
        self.durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        let ended = Ended {
            controller: controller.to_owned(),
            result: result.to_owned(),
        };
        self.results.get_or_create(&ended).inc();
    }

    pub(crate) fn depth(&self, controller: &str, waiting: usize) {
        let labels = Named {
            name: controller.to_owned(),
        };
        self.depth.get_or_create(&labels).set(waiting as i64);
    }

    pub(crate) fn forget(&self, kind: &str, key: &weir_object::Key) {
        self.durations.remove(&Reconciled {
            kind: kind.to_owned(),
            name: key.name.clone(),
            namespace: key.namespace.clone(),
        });
    }
}
