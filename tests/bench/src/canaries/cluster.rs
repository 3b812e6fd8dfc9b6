//! Owns the cluster: an API in this process or another's, and what makes Deployments ready and
//! accepts routes in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::stream;
use kube::config::KubeConfigOptions;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_apiserver::{ApiServer, Options};
use weir_object::{Kind, Object};
use weir_runtime::kinds::{CONFIG_MAP, CRD, DEPLOYMENT, HTTP_ROUTE, NAMESPACE};
use weir_runtime::{ApiClient, Caches, Change, Projection, Store, WatchOf, Write};
use weir_sandbox::ApiPort;

use crate::prometheus::Prometheus;
use crate::{Line, manifests, say};

const CANARY: Kind = weir_api::canary::KIND;

/// Requests of this program under way at once.
const AT_ONCE: usize = 64;

/// What a route says: the canary's weight, and since when.
type Weights = Arc<Mutex<HashMap<usize, (u64, Instant)>>>;

pub(crate) struct Cluster {
    api: ApiClient,
    caches: Caches,
    canaries: Arc<Store>,
    weights: Weights,
    kubeconfig: PathBuf,
    /// The API in this process, while it is one.
    _port: Option<ApiPort>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn of(line: &Line) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let kubeconfig = directory.path().join("kubeconfig");
        let mut port = None;
        let text = match &line.kubeconfig {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("`{}` cannot be read", path.display()))?,
            None => {
                let server = ApiServer::new(Options {
                    now: Arc::new(jiff::Timestamp::now),
                    seed: 1,
                });
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                let served = ApiPort::serve(server, listener)?;
                let text = served.kubeconfig().expose().to_owned();
                port = Some(served);
                text
            }
        };
        std::fs::write(&kubeconfig, text)?;
        let read = kube::config::Kubeconfig::read_from(&kubeconfig)?;
        let config =
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let client = kube::Client::try_from(config)?;
        let caches = Caches::new(client.clone(), CancellationToken::new());
        let api = ApiClient::new(client, caches.clone(), "bench");
        for crd in weir_api::crds().into_iter().chain(weir_api::gateway_crds()) {
            let crd = Object(crd);
            let write = Write::Apply {
                fields: crd.clone(),
                force: true,
            };
            api.write(&CRD, &crd.key(), write).await?;
        }
        // What is defined is served a moment later.
        for kind in [&CANARY, &HTTP_ROUTE] {
            served(&api, kind).await?;
        }
        for name in manifests::namespaces(line.idle) {
            let meta = json!({"metadata": {"name": name}});
            create(&api, &NAMESPACE, meta).await?;
        }
        let canaries = caches.watch(WatchOf::all(&CANARY));
        canaries.synced().await;
        Ok(Self {
            api,
            caches,
            canaries,
            weights: Weights::default(),
            kubeconfig,
            _port: port,
            _directory: directory,
        })
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on Deployments become ready and routes are accepted.
    pub(crate) fn behave(&self) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        for (kind, says) in [
            (&DEPLOYMENT, ready as fn(&Object) -> Option<Value>),
            (&HTTP_ROUTE, accepted),
        ] {
            let (api, slots, weights) = (self.api.clone(), slots.clone(), self.weights.clone());
            let kind = kind.clone();
            let of = WatchOf::projected(&kind, Projection::Text);
            self.caches.watch(of).on_change(move |change: &Change| {
                let Some(object) = change.after.clone() else {
                    return;
                };
                if kind == HTTP_ROUTE {
                    note(&weights, &object);
                }
                let Some(status) = says(&object) else { return };
                let (api, slots, kind) = (api.clone(), slots.clone(), kind.clone());
                tokio::spawn(async move {
                    let _slot = slots.acquire().await;
                    // It may be changed by now; that change asks again.
                    let _ = api
                        .write_status(&kind, &object.key(), Write::Merge(status))
                        .await;
                });
            });
        }
    }

    /// Makes the Deployments and their Canaries.
    pub(crate) async fn deploy(
        &self,
        count: usize,
        interval: u64,
        prometheus: &Prometheus,
    ) -> anyhow::Result<()> {
        let hooks = prometheus.url();
        let made = stream::iter(0..count).map(|number| async move {
            create(
                &self.api,
                &DEPLOYMENT,
                manifests::deployment(number, "app:1"),
            )
            .await?;
            create(
                &self.api,
                &CANARY,
                manifests::canary(number, interval, hooks),
            )
            .await
        });
        let mut made = made.buffer_unordered(AT_ONCE);
        while let Some(one) = made.next().await {
            one?;
        }
        Ok(())
    }

    /// Pushes a new version to the first so many, one after the other with a pause.
    pub(crate) async fn push(&self, count: usize, pause: Duration) -> anyhow::Result<()> {
        let mut next = tokio::time::interval(pause);
        for number in 0..count {
            next.tick().await;
            let object = Object(manifests::deployment(number, "app:2"));
            let containers = object.get(&["spec", "template", "spec", "containers"]);
            let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
            self.api
                .write(&DEPLOYMENT, &object.key(), Write::Merge(patch))
                .await?;
        }
        Ok(())
    }

    /// Each Canary's name and phase.
    pub(crate) fn phases(&self) -> Vec<(String, String)> {
        let all = self.canaries.list();
        let phase = |c: &Arc<Object>| c.text(&["status", "phase"]).to_owned();
        all.iter()
            .map(|c| (c.name().to_owned(), phase(c)))
            .collect()
    }

    /// The canary's share in the route.
    pub(crate) fn weight(&self, number: usize) -> u64 {
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        weights.get(&number).map_or(0, |(weight, _)| *weight)
    }

    /// Since when the canary has no share.
    pub(crate) fn back_at(&self, number: usize) -> Option<Instant> {
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        weights
            .get(&number)
            .filter(|(w, _)| *w == 0)
            .map(|(_, at)| *at)
    }

    /// The newest resourceVersion, which each write raises.
    pub(crate) async fn version(&self) -> anyhow::Result<f64> {
        let probe = Object(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "probe", "namespace": "default"},
            "data": {"at": format!("{:?}", Instant::now())}}));
        let key = probe.key();
        let write = Write::Apply {
            fields: probe,
            force: true,
        };
        let written = self.api.write(&CONFIG_MAP, &key, write).await?;
        Ok(written.resource_version().parse().unwrap_or_default())
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut told = Instant::now();
        while !holds(self) {
            if began.elapsed() > limit {
                bail!("not after {limit:?}: {what}");
            }
            if told.elapsed() > Duration::from_secs(15) {
                told = Instant::now();
                let mut counts: HashMap<String, usize> = HashMap::new();
                for (_, phase) in self.phases() {
                    *counts.entry(phase).or_default() += 1;
                }
                say(&format!("{what}? {counts:?}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

async fn served(api: &ApiClient, kind: &Kind) -> anyhow::Result<()> {
    for _ in 0..300 {
        if api.list(kind, None, "").await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{kind} is not served 30 s after it was defined")
}

async fn create(api: &ApiClient, kind: &Kind, mut object: Value) -> anyhow::Result<()> {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = json!(kind.kind);
    let object = Object(object);
    let written = api
        .write(kind, &object.key(), Write::Create(object.clone()))
        .await;
    match written {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_already_exists() => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// The status that makes a Deployment ready.
fn ready(object: &Object) -> Option<Value> {
    let generation = object.generation();
    let observed = object
        .get(&["status", "observedGeneration"])
        .and_then(Value::as_i64);
    let wanted = object
        .get(&["spec", "replicas"])
        .and_then(Value::as_u64)
        .unwrap_or(1);
    (observed != Some(generation)).then(|| {
        json!({"status": {"observedGeneration": generation, "replicas": wanted,
            "updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted}})
    })
}

/// The status that accepts a route.
fn accepted(object: &Object) -> Option<Value> {
    let at = [
        "status",
        "parents",
        "0",
        "conditions",
        "0",
        "observedGeneration",
    ];
    let seen = object.get(&at).and_then(Value::as_i64);
    (seen != Some(object.generation())).then(|| {
        json!({"status": {"parents": [{
            "controllerName": "bench/gateway",
            "parentRef": object.get(&["spec", "parentRefs", "0"]),
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted",
                "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z",
                "observedGeneration": object.generation()}],
        }]}})
    })
}

/// Takes down what a route says once it is in force.
fn note(weights: &Weights, route: &Object) {
    if accepted(route).is_some() {
        return;
    }
    let at = ["spec", "rules", "0", "backendRefs", "1", "weight"];
    let weight = route.get(&at).and_then(Value::as_u64).unwrap_or_default();
    if let Some(number) = manifests::number(route.name()) {
        let mut weights = weights.lock().unwrap_or_else(PoisonError::into_inner);
        let held = weights.entry(number).or_insert((weight, Instant::now()));
        if held.0 != weight {
            *held = (weight, Instant::now());
        }
    }
}
