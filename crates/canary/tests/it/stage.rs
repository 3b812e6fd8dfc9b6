//! The stage: server, cluster, Prometheus, and the controller as a process that can end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weir_apiserver::{ApiServer, Event, Options, Selector, Store};
use weir_object::{Kind, path};
use weir_runtime::http::{Http, HttpError, Request, Response, Transport};
use weir_runtime::kinds::{CRD, DAEMON_SET, DEPLOYMENT, EVENT, HTTP_ROUTE, NAMESPACE};
use weir_runtime::{Context, SharedClock, VirtualClock};

pub(crate) const CANARY: Kind = weir_api::canary::KIND;

/// What Prometheus answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Says {
    /// This value.
    Value(&'static str),
    /// No series.
    Nothing,
    /// No answer.
    Down,
}

#[derive(Clone)]
struct Prometheus(Arc<Mutex<Told>>);

struct Told {
    says: Says,
    asked: usize,
    /// Done while a query is under way.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    /// Paths of hooks that say no; all others say yes.
    closed: BTreeSet<String>,
    /// What hooks were asked: path, idempotency key, body.
    called: Vec<(String, String, Value)>,
}

impl Told {
    fn hook(&mut self, request: &Request) -> Response {
        let path = request.url.path().to_owned();
        let key = request.headers.get("idempotency-key");
        let key = key.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let body = serde_json::from_slice(&request.body).expect("JSON");
        self.called.push((path.clone(), key.to_owned(), body));
        let status = if self.closed.contains(&path) {
            http::StatusCode::FORBIDDEN
        } else {
            http::StatusCode::OK
        };
        Response::full(status, http::HeaderMap::new(), "")
    }
}

#[async_trait::async_trait]
impl Transport for Prometheus {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        if request.url.path() == "/hang" {
            tokio::time::sleep(request.timeout).await;
            let (url, timeout) = (request.url.to_string(), request.timeout);
            return Err(HttpError::Timeout { url, timeout });
        }
        if request.url.host_str() == Some("hooks") {
            return Ok(self.0.lock().expect("lock").hook(&request));
        }
        let (says, meanwhile) = {
            let mut told = self.0.lock().expect("lock");
            told.asked += 1;
            (told.says.clone(), told.meanwhile.take())
        };
        if let Some(meanwhile) = meanwhile {
            meanwhile();
            // Long enough for the watch to tell of it.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let result = match says {
            Says::Value(value) => json!([{"metric": {}, "value": [0.0, value]}]),
            Says::Nothing => json!([]),
            Says::Down => {
                let (url, what) = (request.url.to_string(), "refused".to_owned());
                return Err(HttpError::Connect { url, what });
            }
        };
        let data = json!({"resultType": "vector", "result": result});
        let body = json!({"status": "success", "data": data}).to_string();
        Ok(Response::full(
            http::StatusCode::OK,
            http::HeaderMap::new(),
            body,
        ))
    }
}

pub(crate) struct Stage {
    pub(crate) store: Store,
    server: ApiServer,
    clock: SharedClock,
    prometheus: Prometheus,
    broken: Arc<Mutex<BTreeSet<String>>>,
    controller: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
}

impl Stage {
    /// A cluster with the definitions and a controller, and nothing else.
    pub(crate) fn set() -> Self {
        let epoch = jiff::Timestamp::from_second(1_900_000_000).expect("in range");
        let clock: SharedClock = Arc::new(VirtualClock::starting_at(epoch));
        let wall = clock.clone();
        let server = ApiServer::new(Options {
            now: Arc::new(move || wall.now()),
            seed: 1,
        });
        let store = server.store();
        for crd in weir_api::crds().into_iter().chain(weir_api::gateway_crds()) {
            store.create(&CRD, crd).expect("a definition");
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
        store.create(&NAMESPACE, namespace).expect("a namespace");
        let told = Told {
            says: Says::Value("100"),
            asked: 0,
            meanwhile: None,
            closed: BTreeSet::new(),
            called: Vec::new(),
        };
        let broken: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let cluster = store.as_manager("kube-controller-manager");
        let (half, tenth) = (Duration::from_millis(500), Duration::from_millis(100));
        let faulty = Arc::clone(&broken);
        let ready = move |object: &Value| pods(object, &faulty);
        tokio::spawn(behave(cluster.clone(), DEPLOYMENT, half, ready));
        tokio::spawn(behave(cluster, DAEMON_SET, half, daemons));
        let proxy = store.as_manager("gateway");
        tokio::spawn(behave(proxy, HTTP_ROUTE, tenth, gateway));
        let prometheus = Prometheus(Arc::new(Mutex::new(told)));
        let mut stage = Self {
            store,
            server,
            clock,
            prometheus,
            broken,
            controller: None,
        };
        stage.start();
        stage
    }

    /// Starts the controller.
    pub(crate) fn start(&mut self) {
        let stop = CancellationToken::new();
        let client = kube::Client::new(self.server.service(), "default");
        let http = Http::new(self.prometheus.clone());
        let context = Context::new(client, http, self.clock.clone(), stop.clone());
        let options = weir_canary::Options {
            min_analysis_interval: Duration::from_secs(1),
            ..weir_canary::Options::default()
        };
        let task = tokio::spawn(async move {
            weir_canary::controller(&context, options).run().await;
        });
        self.controller = Some((stop, task));
    }

    /// Starts one more beside it, which ends with the test.
    pub(crate) fn start_another(&mut self) {
        let first = self.controller.take();
        self.start();
        self.controller = first;
    }

    /// Ends the controller where it stands.
    pub(crate) async fn kill(&mut self) {
        if let Some((stop, task)) = self.controller.take() {
            task.abort();
            stop.cancel();
            // Aborted on purpose.
            let _ = task.await;
        }
    }

    pub(crate) fn says(&self, says: Says) {
        self.prometheus.0.lock().expect("lock").says = says;
    }

    pub(crate) fn asked(&self) -> usize {
        self.prometheus.0.lock().expect("lock").asked
    }

    /// A hook says no from now on, or yes again.
    pub(crate) fn closes(&self, path: &str, closed: bool) {
        let mut told = self.prometheus.0.lock().expect("lock");
        if closed {
            told.closed.insert(path.to_owned());
        } else {
            told.closed.remove(path);
        }
    }

    /// What hooks were asked so far.
    pub(crate) fn called(&self) -> Vec<(String, String, Value)> {
        self.prometheus.0.lock().expect("lock").called.clone()
    }

    /// Asks something of the Canary, as a person would.
    pub(crate) fn ask(&self, verb: &str, token: &str) {
        let mut canary = self.get(&CANARY, "app");
        for (name, value) in [(verb, token), ("requested-by", "ann")] {
            let at = format!("canary.weir.dev/{name}");
            path::set(&mut canary, &["metadata", "annotations", &at], value.into());
        }
        let asked = self.store.as_manager("kubectl").update(&CANARY, canary);
        asked.expect("asked");
    }

    pub(crate) fn during_a_query(&self, act: impl FnOnce() + Send + 'static) {
        self.prometheus.0.lock().expect("lock").meanwhile = Some(Box::new(act));
    }

    /// Pods of this image never come up from now on.
    pub(crate) fn breaks(&self, image: &str) {
        self.broken.lock().expect("lock").insert(image.to_owned());
    }

    pub(crate) fn create(&self, kind: &Kind, object: Value) {
        self.store
            .as_manager("kubectl")
            .create(kind, object)
            .expect("created");
    }

    /// The same with a Canary of one's own.
    pub(crate) fn deploy_with(&self, canary: Value) {
        self.store
            .as_manager("kustomize-controller")
            .apply(&DEPLOYMENT, deployment("app:1"))
            .expect("applied");
        self.create(&CANARY, canary);
    }

    /// Deployment and Canary, as Git's applier leaves them.
    pub(crate) fn deploy(&self) {
        self.store
            .as_manager("kustomize-controller")
            .apply(&DEPLOYMENT, deployment("app:1"))
            .expect("applied");
        self.create(&CANARY, canary());
    }

    /// A new image in Git; the borrowed field is left out.
    pub(crate) fn push(&self, image: &str) {
        push(&self.store, image);
    }

    pub(crate) fn get(&self, kind: &Kind, name: &str) -> Value {
        self.store
            .get(kind, "demo", name)
            .map_or(Value::Null, |o| (*o).clone())
    }

    pub(crate) fn text(&self, kind: &Kind, name: &str, at: &[&str]) -> String {
        match path::get(&self.get(kind, name), at) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    pub(crate) fn phase(&self) -> String {
        self.text(&CANARY, "app", &["status", "phase"])
    }

    pub(crate) fn image(&self, deployment: &str) -> String {
        self.text(
            &DEPLOYMENT,
            deployment,
            &["spec", "template", "spec", "containers", "0", "image"],
        )
    }

    pub(crate) fn replicas(&self, deployment: &str) -> String {
        self.text(&DEPLOYMENT, deployment, &["spec", "replicas"])
    }

    pub(crate) fn weight(&self) -> String {
        let at = ["spec", "rules", "0", "backendRefs", "1", "weight"];
        self.text(&HTTP_ROUTE, "app", &at)
    }

    pub(crate) fn ready(&self) -> (String, String) {
        let canary = self.get(&CANARY, "app");
        let all = path::get(&canary, &["status", "conditions"])
            .and_then(Value::as_array)
            .cloned();
        let ready = all
            .into_iter()
            .flatten()
            .find(|c| c["type"] == "Ready")
            .unwrap_or_default();
        (
            path::text(&ready, &["status"]).to_owned(),
            path::text(&ready, &["reason"]).to_owned(),
        )
    }

    /// The messages of the events about the Canary.
    pub(crate) fn events(&self) -> Vec<String> {
        let (events, _) = self.store.list(&EVENT, Some("demo"), &Selector::default());
        events
            .iter()
            .map(|e| path::text(e, &["message"]).to_owned())
            .collect()
    }

    /// Waits, in virtual time, until it is so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "never: {what}\n{:#}\n{:#?}",
            self.get(&CANARY, "app"),
            self.events()
        );
    }

    /// Nothing is written any more, whatever time passes.
    pub(crate) async fn is_silent(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = self.store.version();
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(
            self.store.version(),
            before,
            "an idle Canary writes nothing"
        );
    }
}

pub(crate) fn push(store: &Store, image: &str) {
    let mut object = deployment(image);
    path::remove(&mut object, &["spec", "replicas"]);
    store
        .as_manager("kustomize-controller")
        .apply(&DEPLOYMENT, object)
        .expect("applied");
}

pub(crate) fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "demo", "labels": {"app": "app"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": [{"name": "app", "image": image,
                    "ports": [{"containerPort": 9898, "name": "http"}]}]},
            },
        },
    })
}

pub(crate) fn canary() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": "app", "namespace": "demo"},
        "spec": {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"port": 9898, "targetPort": "http",
                "gatewayRefs": [{"name": "gateway", "namespace": "demo"}]},
            "analysis": {
                "interval": "10s", "threshold": 2, "stepWeight": 20, "maxWeight": 40,
                "metrics": [{"name": "request-success-rate", "interval": "10s",
                    "thresholdRange": {"min": 99}}],
            },
        },
    })
}

/// What the cluster does by itself: each new state of a kind's objects gets the status that `says` names,
/// a while later; none where there is nothing to say.
async fn behave(
    store: Store,
    kind: Kind,
    after: Duration,
    says: impl Fn(&Value) -> Option<Value> + Send,
) {
    let mut watch = store
        .watch(&kind, None, &Selector::default(), None)
        .expect("a watch");
    while let Some(Ok(event)) = watch.next().await {
        let (Event::Added(object) | Event::Modified(object)) = event else {
            continue;
        };
        if says(&object).is_none() {
            continue;
        }
        tokio::time::sleep(after).await;
        let Some(status) = says(&object) else {
            continue;
        };
        let name = path::text(&object, &["metadata", "name"]);
        let namespace = path::text(&object, &["metadata", "namespace"]);
        // It may be gone by now.
        let _ = store.patch_status(&kind, namespace, name, json!({"status": status}));
    }
}

/// Makes a Deployment as ready as its image lets it be.
fn pods(object: &Value, broken: &Mutex<BTreeSet<String>>) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    if object["status"]["observedGeneration"] == *generation {
        return None;
    }
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let image = object["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    let broken = broken.lock().expect("lock");
    let works = !broken.contains(image.unwrap_or_default());
    let available = if works { wanted } else { 0 };
    Some(
        json!({"observedGeneration": generation, "replicas": wanted, "updatedReplicas": wanted,
            "readyReplicas": available, "availableReplicas": available}),
    )
}

/// Makes a DaemonSet ready on three nodes, or on none where it wants a label that no node has.
fn daemons(object: &Value) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    if object["status"]["observedGeneration"] == *generation {
        return None;
    }
    let selector = &object["spec"]["template"]["spec"]["nodeSelector"];
    let parked = selector.get("flagger.app/scale-to-zero").is_some();
    let pods = if parked { 0 } else { 3 };
    Some(
        json!({"observedGeneration": generation, "desiredNumberScheduled": pods,
        "currentNumberScheduled": pods, "numberMisscheduled": 0, "updatedNumberScheduled": pods,
        "numberReady": pods, "numberAvailable": pods}),
    )
}

/// Accepts a route.
fn gateway(object: &Value) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    let seen = &object["status"]["parents"][0]["conditions"][0]["observedGeneration"];
    if seen == generation {
        return None;
    }
    Some(json!({"parents": [{
        "controllerName": "test/gateway",
        "parentRef": object["spec"]["parentRefs"][0],
        "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted",
            "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z",
            "observedGeneration": generation}],
    }]}))
}
