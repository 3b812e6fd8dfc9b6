//! Owns the world of one run: server, cluster, metrics server and hooks, the controllers as
//! processes that can end, and the hands from outside.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weir_apiserver::{ApiServer, Options, Store};
use weir_object::{Kind, path};
use weir_runtime::http::Http;
use weir_runtime::kinds::{CONFIG_MAP, CRD, DEPLOYMENT, HTTP_ROUTE, NAMESPACE};
use weir_runtime::{Clock, Context, SharedClock, VirtualClock};

use crate::cluster;
use crate::faults::{Fault, Faults, Faulty, Look};
use crate::provider::{Evidence, Outside};
use crate::rules::Rules;

pub(crate) const CANARY: Kind = weir_api::canary::KIND;

/// Where and when a run plays: any fixed moment will do.
const EPOCH: i64 = 1_900_000_000;

/// A clock that can jump.
struct Jumping {
    clock: VirtualClock,
    ahead: AtomicI64,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let ahead = jiff::SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        self.clock
            .now()
            .checked_add(ahead)
            .unwrap_or(Timestamp::MAX)
    }
}

/// A controller as a process.
struct Process {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// The world of one run.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) faults: Faults,
    pub(crate) faulty: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) called: Arc<Mutex<Vec<String>>>,
    pub(crate) rules: Arc<Rules>,
    server: ApiServer,
    clock: SharedClock,
    jumps: Arc<Jumping>,
    evidence: Evidence,
    crash: CancellationToken,
    process: Option<Process>,
}

/// The image of a Deployment.
pub(crate) fn image(object: &Value) -> String {
    let at = ["spec", "template", "spec", "containers", "0", "image"];
    path::text(object, &at).to_owned()
}

/// The canary's weight on the route.
pub(crate) fn weight(store: &Store) -> u64 {
    let route = store.get(&HTTP_ROUTE, "demo", "app");
    let at = ["spec", "rules", "0", "backendRefs", "1", "weight"];
    route
        .as_ref()
        .and_then(|r| path::get(r, &at))
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

impl World {
    /// A cluster without anything in it but the definitions.
    pub(crate) fn new(weights: &[u64]) -> anyhow::Result<Self> {
        let epoch = Timestamp::from_second(EPOCH)?;
        let jumps = Arc::new(Jumping {
            clock: VirtualClock::starting_at(epoch),
            ahead: AtomicI64::new(0),
        });
        let clock: SharedClock = jumps.clone();
        let wall = clock.clone();
        let server = ApiServer::new(Options {
            now: Arc::new(move || wall.now()),
            seed: 1,
        });
        let store = server.store();
        let ours = |crd: &Value| path::text(crd, &["spec", "group"]) == "flagger.app";
        let crds = weir_api::crds().into_iter().filter(ours);
        for crd in crds.chain(weir_api::gateway_crds()) {
            make(&store, &CRD, crd)?;
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
        make(&store, &NAMESPACE, namespace)?;
        tokio::spawn(cluster::pods(store.as_manager("kube-controller-manager")));
        tokio::spawn(cluster::gateway(store.as_manager("gateway")));
        let evidence = Evidence::default();
        Ok(Self {
            rules: Arc::new(Rules::new(store.clone(), evidence.clone(), weights)),
            store,
            faults: Faults::default(),
            faulty: Arc::default(),
            called: Arc::default(),
            server,
            clock,
            jumps,
            evidence,
            crash: CancellationToken::new(),
            process: None,
        })
    }

    /// Puts a fault at a position from now on; `back` is the image a user goes back to.
    pub(crate) fn plan(&self, fault: Option<(Fault, u64)>, back: &'static str) {
        if fault.is_some_and(|(fault, _)| fault == Fault::PrimaryEdited) {
            // It runs until it is put right, which is not the controller's doing.
            self.rules.allow(EVIL);
        }
        let (store, jumps) = (self.store.clone(), self.jumps.clone());
        let hand = move |fault: &Fault, path: &str| match fault {
            Fault::Push | Fault::PushDuringQuery => push(&store, "app:3"),
            Fault::Revert => push(&store, back),
            Fault::ClockAhead => drop(jumps.ahead.fetch_add(300, Ordering::Relaxed)),
            Fault::ClockBack => drop(jumps.ahead.fetch_sub(300, Ordering::Relaxed)),
            Fault::Conflict => touch(&store, path),
            Fault::PodsFail => pods_fail(&store),
            Fault::PrimaryEdited => edit_primary(&store),
            Fault::PrimaryDeleted => {
                // It may not be there yet.
                let store = store.as_manager("kubectl");
                let _ = store.delete(&DEPLOYMENT, "demo", "app-primary");
            }
            _ => {}
        };
        self.faults.plan(fault, Arc::new(hand));
    }

    /// Starts a controller. The first has the faults in its way, any other has none.
    fn process(&self, faults: &Faults, crash: CancellationToken) -> Process {
        let stop = CancellationToken::new();
        let rules = self.rules.clone();
        let look: Look = Arc::new(move |what| rules.look(what));
        let service = Faulty {
            server: self.server.clone(),
            faults: faults.clone(),
            look,
            past: Arc::default(),
        };
        let client = kube::Client::new(service, "default");
        let http = Http::new(Outside {
            store: self.store.clone(),
            faults: faults.clone(),
            faulty: self.faulty.clone(),
            evidence: self.evidence.clone(),
            called: self.called.clone(),
        });
        let context = Context::new(client, http, self.clock.clone(), stop.clone());
        let options = weir_canary::Options {
            min_analysis_interval: Duration::from_secs(1),
            ..weir_canary::Options::default()
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = weir_canary::controller(&context, options).run() => {}
                () = crash.cancelled() => stopped.cancel(),
            }
        });
        Process { stop, task }
    }

    pub(crate) fn start(&mut self) {
        self.crash = CancellationToken::new();
        self.faults.crash_by(self.crash.clone());
        self.process = Some(self.process(&self.faults, self.crash.clone()));
    }

    /// Ends the process and starts one whose positions are counted from 1.
    pub(crate) async fn fresh(&mut self) {
        if let Some(process) = self.process.take() {
            process.task.abort();
            process.stop.cancel();
            // Aborted on purpose.
            let _ = process.task.await;
        }
        self.faults = Faults::default();
        self.rules.begin();
        self.start();
        // It has read what there is before the story goes on.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// Starts the process again a second after it crashed, if it did; and lets a stalled one go on
    /// after a second leader worked for half a minute. Returns when neither can come any more.
    pub(crate) async fn keep_alive(&mut self) {
        loop {
            tokio::select! {
                () = self.crash.cancelled() => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    self.start();
                }
                () = self.faults.stalled.notified() => {
                    let second = self.process(&Faults::default(), CancellationToken::new());
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    self.faults.go_on.notify_one();
                    // The first learns that it leads no longer.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if let Some(first) = self.process.replace(second) {
                        first.task.abort();
                        first.stop.cancel();
                    }
                }
            }
        }
    }

    /// Deployment and Canary, as Git's applier leaves them.
    pub(crate) fn deploy(&self, canary: Value) -> anyhow::Result<()> {
        configure(&self.store, "1");
        let git = self.store.as_manager("kustomize-controller");
        let applied = git.apply(&DEPLOYMENT, deployment("app:1"));
        applied.map_err(|e| anyhow::anyhow!("{e:?}"))?;
        make(&self.store.as_manager("kubectl"), &CANARY, canary)
    }

    pub(crate) fn phase(&self) -> String {
        self.store
            .get(&CANARY, "demo", "app")
            .map(|c| path::text(&c, &["status", "phase"]).to_owned())
            .unwrap_or_default()
    }

    pub(crate) fn breaks(&self, image: &str) {
        let mut faulty = self.faulty.lock().unwrap_or_else(PoisonError::into_inner);
        faulty.insert(image.to_owned());
    }
}

fn make(store: &Store, kind: &Kind, object: Value) -> anyhow::Result<()> {
    let made = store.create(kind, object);
    made.map(drop).map_err(|e| anyhow::anyhow!("{e:?}"))
}

/// A new image in Git. The applier leaves the borrowed field out once a Canary says that it is.
pub(crate) fn push(store: &Store, image: &str) {
    let mut object = deployment(image);
    let canary = store.get(&CANARY, "demo", "app");
    if canary.is_some_and(|c| !path::text(&c, &["status", "phase"]).is_empty()) {
        path::remove(&mut object, &["spec", "replicas"]);
    }
    // It may be gone by now.
    let _ = store
        .as_manager("kustomize-controller")
        .apply(&DEPLOYMENT, object);
}

/// The settings that the application's pods read.
pub(crate) fn configure(store: &Store, value: &str) {
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "demo"}, "data": {"level": value}});
    // Nothing else writes them.
    let _ = store
        .as_manager("kustomize-controller")
        .apply(&CONFIG_MAP, settings);
}

/// Somebody changes what nobody owns, of the object at a path, if it is there.
fn touch(store: &Store, at: &str) {
    let mut parts = at.split('/').skip_while(|p| *p != "namespaces").skip(2);
    let (Some(plural), Some(name)) = (parts.next(), parts.next()) else {
        return;
    };
    let kinds = [
        &CANARY,
        &DEPLOYMENT,
        &HTTP_ROUTE,
        &weir_runtime::kinds::SERVICE,
        &weir_runtime::kinds::CONTROLLER_REVISION,
        &CONFIG_MAP,
    ];
    let Some(kind) = kinds.into_iter().find(|k| k.plural == plural) else {
        return;
    };
    let Some(object) = store.get(kind, "demo", name) else {
        return;
    };
    let mut object = (*object).clone();
    path::set(
        &mut object,
        &["metadata", "annotations", "touched.example.com/by"],
        "somebody".into(),
    );
    // It may have changed meanwhile: then it was touched all the same.
    let _ = store.as_manager("kubectl-edit").update(kind, object);
}

/// What somebody puts into the primary.
const EVIL: &str = "app:evil";

fn edit_primary(store: &Store) {
    let Some(object) = store.get(&DEPLOYMENT, "demo", "app-primary") else {
        return;
    };
    let mut object = (*object).clone();
    let at = ["spec", "template", "spec", "containers", "0", "image"];
    path::set(&mut object, &at, EVIL.into());
    // It may have changed meanwhile: then nothing was edited.
    let _ = store.as_manager("kubectl-edit").update(&DEPLOYMENT, object);
}

/// The canary's pods fail, and come back five seconds later.
fn pods_fail(store: &Store) {
    let Some(object) = store.get(&DEPLOYMENT, "demo", "app") else {
        return;
    };
    cluster::ready(store, &object, false);
    let store = store.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        if let Some(object) = store.get(&DEPLOYMENT, "demo", "app") {
            cluster::ready(&store, &object, true);
        }
    });
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "demo", "labels": {"app": "app"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": [{"name": "app", "image": image,
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                    "ports": [{"containerPort": 9898, "name": "http"}]}]},
            },
        },
    })
}
