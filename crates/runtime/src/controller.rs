//! Owns the loop around a reconciler: which keys are asked for and when, how many at once, what
//! happens after success, failure and panic.
//!
//! # Flow
//! 1. Changes of the reconciler's own kind put their key in the queue; changes of other kinds are
//!    mapped to keys by [`Controller::also`].
//! 2. A worker takes a key once all caches are complete, and calls [`Reconciler::reconcile`].
//! 3. [`Outcome`] decides when the key comes again; any change brings it back earlier.
//!
//! # Guarantees
//! A [frozen](Controller::freezes) reconciliation is dropped where it stands, as a crash would, and
//! comes again when work goes on. One key is never worked on by two workers. A panic is contained, told, and backed off like a
//! failure. Stopping waits for the work in hand, at most [`ControllerOptions::grace`].

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use weir_object::{Key, Kind, Object};

use crate::blocked;
use crate::queue::{Backoff, Queue};
use crate::{
    ApiClient, Caches, Change, Context, Gate, Metrics, Projection, SharedClock, Store, WatchOf,
};

/// When a key is to come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Only when something changes.
    Wait,
    /// When something changes, or after this time.
    After(Duration),
    /// After a back-off that grows with each failure in a row. The text goes to the log.
    Retry(String),
}

/// Makes one object as it should be.
#[async_trait::async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Reconciles the object of this name, which may be gone. Everything it needs is read from
    /// caches; failures are recorded on the object and returned as [`Outcome::Retry`].
    async fn reconcile(&self, key: &Key) -> Outcome;
}

/// How a controller runs.
#[derive(Clone, Copy, Debug)]
pub struct ControllerOptions {
    /// Workers, so objects worked on at once.
    pub workers: usize,
    /// Back-off after failures.
    pub backoff: Backoff,
    /// The most one reconciliation may take before it is dropped and retried.
    pub limit: Duration,
    /// How long work in hand may go on after a stop.
    pub grace: Duration,
}

impl Default for ControllerOptions {
    fn default() -> Self {
        Self {
            workers: 4,
            backoff: Backoff::default(),
            limit: Duration::from_hours(1),
            grace: Duration::from_secs(20),
        }
    }
}

/// A reconciler with its watches, ready to run.
pub struct Controller {
    name: &'static str,
    kind: Kind,
    caches: Caches,
    metrics: Metrics,
    stop: tokio_util::sync::CancellationToken,
    /// The context's gate, and the one that this controller's work has to pass.
    gates: (Gate, Gate),
    queue: Arc<Queue<Key>>,
    stores: Vec<Arc<Store>>,
    /// Of kinds that a cluster need not have.
    optional: Vec<Arc<Store>>,
    reconciler: Arc<dyn Reconciler>,
    options: ControllerOptions,
    /// Who tells that the work cannot begin.
    api: ApiClient,
    clock: SharedClock,
}

impl Controller {
    /// A controller of the context's objects of `kind`, which are watched whole; a change of their
    /// status alone does not ask for work, since this process wrote it.
    pub fn new(
        context: &Context,
        name: &'static str,
        kind: &Kind,
        reconciler: impl Reconciler,
        options: ControllerOptions,
    ) -> Self {
        Self::over(context, name, context.own(kind), reconciler, options)
    }

    /// The same, over a watch that keeps as much of its own objects as `of` says.
    pub fn over(
        context: &Context,
        name: &'static str,
        of: WatchOf,
        reconciler: impl Reconciler,
        options: ControllerOptions,
    ) -> Self {
        let queue = Arc::new(Queue::new(options.backoff));
        let kind = of.kind.clone();
        let store = context.caches.watch(of);
        let own = queue.clone();
        store.on_change(move |change| {
            if asks_for_work(change) {
                own.add(change.key.clone());
            }
        });
        let controller = Self {
            name,
            kind,
            caches: context.caches.clone(),
            metrics: context.metrics.clone(),
            stop: context.stop.clone(),
            gates: (context.gate.clone(), Gate::default()),
            queue,
            stores: vec![store.clone()],
            optional: Vec::new(),
            reconciler: Arc::new(reconciler),
            options,
            api: context.api.clone(),
            clock: context.clock.clone(),
        };
        for object in store.list() {
            controller.queue.add(object.key());
        }
        controller
    }

    /// Its work passes the context's gate: it changes workloads, traffic or repositories.
    #[must_use]
    pub fn freezes(mut self) -> Self {
        self.gates.1 = self.gates.0.clone();
        self
    }

    /// The field manager under which it tells that it may not watch what it needs.
    #[must_use]
    pub fn managed_by(mut self, manager: &'static str) -> Self {
        self.api = self.api.with_manager(manager);
        self
    }

    /// Also asks for the keys that `map` names when an object of another kind changes.
    #[must_use]
    pub fn also(
        mut self,
        of: WatchOf,
        map: impl Fn(&Change) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        let store = self.caches.watch(of);
        let queue = self.queue.clone();
        store.on_change(move |change| {
            for key in map(change) {
                queue.add(key);
            }
        });
        self.stores.push(store);
        self
    }

    /// The same for a kind that a cluster need not have: the controller starts without it, and sees
    /// its objects once there are any.
    #[must_use]
    pub fn perhaps(
        self,
        of: WatchOf,
        map: impl Fn(&Change) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        let mut controller = self.also(of, map);
        if let Some(store) = controller.stores.pop() {
            controller.optional.push(store);
        }
        controller
    }

    /// Also asks for the owner (of this controller's kind) when an owned object changes.
    #[must_use]
    pub fn owns(self, kind: &Kind, projection: Projection) -> Self {
        let (owner, group) = (self.kind.kind.to_string(), self.kind.group.to_string());
        let of = WatchOf {
            projection,
            ..WatchOf::all(kind)
        };
        self.also(of, move |change| {
            let object = change.after.as_ref().or(change.before.as_ref());
            object
                .map(|o| owners(o, &owner, &group))
                .unwrap_or_default()
        })
    }

    /// Waits until a watch is as far as the work needs it; meanwhile objects are told when it may not
    /// be. `false` when the context was stopped first.
    async fn await_watch(&self, store: &Store, far: impl Future<Output = ()>) -> bool {
        tokio::pin!(far);
        loop {
            tokio::select! {
                () = &mut far => return true,
                () = self.stop.cancelled() => return false,
                () = tokio::time::sleep(DENIED) => {
                    if let Some(why) = store.denied() {
                        let objects = self.stores[0].list();
                        blocked::tell(&self.api, &self.kind, &objects, &why, self.clock.now()).await;
                    }
                }
            }
        }
    }

    /// The queue, for asking by hand.
    pub fn queue(&self) -> Arc<Queue<Key>> {
        self.queue.clone()
    }

    /// Runs until the context is stopped and the work in hand is done.
    pub async fn run(self) {
        for store in &self.stores {
            if !self.await_watch(store, store.synced()).await {
                return;
            }
        }
        for store in &self.optional {
            if !self.await_watch(store, store.settled()).await {
                return;
            }
        }
        let mut workers = JoinSet::new();
        for _ in 0..self.options.workers.max(1) {
            workers.spawn(
                Worker {
                    name: self.name,
                    kind: self.kind.kind.to_string(),
                    queue: self.queue.clone(),
                    own: self.stores[0].clone(),
                    reconciler: self.reconciler.clone(),
                    metrics: self.metrics.clone(),
                    gate: self.gates.1.clone(),
                    stop: self.stop.clone(),
                    limit: self.options.limit,
                }
                .work(),
            );
        }
        self.stop.cancelled().await;
        self.queue.close();
        let drained = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.options.grace, drained)
            .await
            .is_err()
        {
            tracing::warn!(
                controller = self.name,
                "work in hand was cut off at the stop"
            );
        }
    }
}

/// Between two looks whether a watch that is not complete may not be.
const DENIED: Duration = Duration::from_secs(10);

/// What one worker stands on.
struct Worker {
    name: &'static str,
    kind: String,
    queue: Arc<Queue<Key>>,
    own: Arc<Store>,
    reconciler: Arc<dyn Reconciler>,
    metrics: Metrics,
    gate: Gate,
    stop: tokio_util::sync::CancellationToken,
    limit: Duration,
}

impl Worker {
    async fn work(self) {
        let Self {
            name,
            queue,
            metrics,
            ..
        } = &self;
        while let Some(key) = queue.take().await {
            tokio::select! {
                () = self.gate.open() => {}
                () = self.stop.cancelled() => return,
            }
            metrics.depth(name, queue.depth().0);
            let started = Instant::now();
            let outcome = self.reconcile(&key).await;
            let result = match &outcome {
                Outcome::Wait => {
                    queue.done(&key, None);
                    "success"
                }
                Outcome::After(wait) => {
                    queue.done(&key, Some(*wait));
                    "requeue_after"
                }
                Outcome::Retry(why) => {
                    let wait = queue.failed(&key);
                    tracing::warn!(controller = name, %key, why, ?wait, "reconciliation failed");
                    "error"
                }
            };
            metrics.reconciled(name, &self.kind, &key, result, started.elapsed());
            if self.own.get(&key).is_none() {
                queue.forget(&key);
                metrics.forget(&self.kind, &key);
            }
        }
    }

    async fn reconcile(&self, key: &Key) -> Outcome {
        let (task, at) = (self.reconciler.clone(), key.clone());
        // A task of its own, so that a panic in one object's work ends neither worker nor process.
        // It ends with the worker: a stopped process does nothing more.
        let mut task =
            AbortOnDropHandle::new(tokio::spawn(async move { task.reconcile(&at).await }));
        tokio::select! {
            // What is done meanwhile counts, also when both are so at once.
            biased;
            ended = tokio::time::timeout(self.limit, &mut task) => match ended {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(e)) => Outcome::Retry(format!("the reconciliation ended abnormally: {e}")),
                Err(_) => {
                    Outcome::Retry(format!("the reconciliation took more than {:?}", self.limit))
                }
            },
            // Every write leaves a state from which work goes on, so it may end after any.
            () = self.gate.freeze() => Outcome::After(Duration::ZERO),
        }
    }
}

/// Whether a change of an own object asks for work: creation, deletion, and any change outside of
/// `status` and `resourceVersion`.
fn asks_for_work(change: &Change) -> bool {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let outside = |o: &Object| {
                let mut rest = Object(o.0.clone());
                rest.remove(&["status"]);
                rest.remove(&["metadata", "resourceVersion"]);
                rest
            };
            outside(before) != outside(after)
        }
        _ => true,
    }
}

fn owners(object: &Object, kind: &str, group: &str) -> Vec<Key> {
    let references = object
        .get(&["metadata", "ownerReferences"])
        .and_then(|r| r.as_array());
    references
        .into_iter()
        .flatten()
        .filter(|r| {
            let api_version = r["apiVersion"].as_str().unwrap_or_default();
            r["kind"].as_str() == Some(kind)
                && weir_object::split_api_version(api_version).0 == group
        })
        .filter_map(|r| Some(Key::new(object.namespace(), r["name"].as_str()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(before: serde_json::Value, after: serde_json::Value) -> Change {
        let object = |v| Some(Arc::new(Object(v)));
        Change {
            key: Key::default(),
            before: object(before),
            after: object(after),
        }
    }

    #[test]
    fn a_status_change_alone_asks_for_nothing() {
        let base = json!({"metadata": {"resourceVersion": "1"}, "spec": {"a": 1}, "status": {}});
        let mut status = base.clone();
        status["status"] = json!({"x": 1});
        status["metadata"]["resourceVersion"] = json!("2");
        assert!(!asks_for_work(&change(base.clone(), status)));
        let mut annotated = base.clone();
        annotated["metadata"]["annotations"] = json!({"reconcile.fluxcd.io/requestedAt": "now"});
        assert!(asks_for_work(&change(base, annotated)));
    }

    #[test]
    fn owners_are_found_by_group_and_kind() {
        let owned = Object(json!({"metadata": {"namespace": "n", "ownerReferences": [
            {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "c"},
            {"apiVersion": "other/v1", "kind": "Canary", "name": "d"}]}}));
        assert_eq!(
            owners(&owned, "Canary", "flagger.app"),
            [Key::new("n", "c")]
        );
    }
}
