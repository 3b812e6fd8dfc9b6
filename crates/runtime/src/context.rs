//! Owns what every reconciler is handed: the ways to observe, to act, and to tell.

use tokio_util::sync::CancellationToken;
use weir_object::Kind;

use crate::http::Http;
use crate::{ApiClient, Caches, Gate, Metrics, Recorder, SharedClock, WatchOf};

/// Everything a reconciler stands on. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server. Take [`ApiClient::with_manager`] for the reconciler's own field manager.
    pub api: ApiClient,
    /// The shared watches.
    pub caches: Caches,
    /// The one HTTP seam.
    pub http: Http,
    /// The wall clock.
    pub clock: SharedClock,
    /// Events. Take [`Recorder::named`] for the reconciler's own source name.
    pub events: Recorder,
    /// Metrics.
    pub metrics: Metrics,
    /// The label selector of the objects that this process works on; all of them when empty.
    /// What they refer to may be any.
    pub shard: String,
    /// What frozen work has to pass; open unless it is set.
    pub gate: Gate,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
}

impl Context {
    /// The objects of a kind that this process works on, whole.
    pub fn own(&self, kind: &Kind) -> WatchOf {
        WatchOf::all(kind).selected(&self.shard)
    }

    /// A context over one client. Needs a tokio runtime, since it starts the event writer.
    pub fn new(
        client: kube::Client,
        http: Http,
        clock: SharedClock,
        stop: CancellationToken,
    ) -> Self {
        let caches = Caches::new(client.clone(), stop.clone());
        Self::over(caches, client, http, clock, stop)
    }

    /// A context over caches that are there already, so that nothing is kept twice.
    pub fn over(
        caches: Caches,
        client: kube::Client,
        http: Http,
        clock: SharedClock,
        stop: CancellationToken,
    ) -> Self {
        let api = ApiClient::new(client, caches.clone(), "weir");
        let metrics = Metrics::counting(caches.requests());
        let events = Recorder::start(api.clone(), clock.clone());
        Self {
            api,
            caches,
            http,
            clock,
            events,
            metrics,
            shard: String::new(),
            gate: Gate::default(),
            stop,
        }
    }
}
