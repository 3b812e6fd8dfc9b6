//! Owns running pods: one supervisor for each pod pulls its image, starts it, asks whether it is
//! ready, starts it again when it ends, and ends it when the pod is deleted. The supervisor alone
//! writes the pod's status, so there is no precondition on it.
//!
//! Images of the sandbox's own registry run: as processes on loopback, as routers of the sample
//! application in memory. Any other image is simulated: the pod is ready and nothing listens; where
//! it is to run to its end, it ends well after a second, or as its annotations say.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_apiserver::ApiServer;
use weir_object::{Key, Object};
use weir_runtime::http::Http;
use weir_runtime::kinds::{EVENT, POD};
use weir_runtime::queue::Backoff;
use weir_runtime::{
    ApiClient, Context, Controller, ControllerOptions, EventKind, Outcome, Projection, Reconciler,
    Recorder, SharedClock, Store, WatchOf, Write,
};

use crate::addresses::Addresses;
use crate::images::{Image, Images};
use crate::logs::Logs;
use crate::network::{Network, Served};
use crate::probe::Probe;
use crate::process::{Process, Start};

/// What all supervisors share.
pub(crate) struct Node {
    pub(crate) server: ApiServer,
    pub(crate) api: ApiClient,
    pub(crate) events: Recorder,
    pub(crate) http: Http,
    pub(crate) clock: SharedClock,
    pub(crate) network: Network,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) images: Images,
    pub(crate) logs: Arc<Logs>,
    /// All supervisors, so that the sandbox's end can wait for theirs.
    pub(crate) tracker: TaskTracker,
}

/// The name of the one node.
pub(crate) const NODE: &str = "sandbox";
/// Between two questions to a container that is not ready yet.
const STARTING: Duration = Duration::from_millis(100);
/// Between a pod's deletion and the signal to its process, so that endpoints lose it first.
const DRAIN: Duration = Duration::from_millis(300);
/// After a container's end.
const RESTART: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_mins(1),
};

pub(crate) struct Kubelet {
    store: Arc<Store>,
    node: Arc<Node>,
    /// The supervised pods: their uid, and what stops them.
    running: Mutex<HashMap<Key, (String, CancellationToken)>>,
}

impl Kubelet {
    pub(crate) fn controller(context: &Context, node: Arc<Node>) -> Controller {
        let of = WatchOf::projected(&POD, Projection::Text);
        let store = context.caches.watch(of.clone());
        let reconciler = Self {
            store,
            node,
            running: Mutex::default(),
        };
        Controller::over(
            context,
            "sandbox-kubelet",
            of,
            reconciler,
            ControllerOptions::default(),
        )
    }
}

#[async_trait::async_trait]
impl Reconciler for Kubelet {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let pod = self.store.get(key);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let live = pod
            .as_ref()
            .filter(|p| !p.is_deleting())
            .map(|p| p.uid().to_owned());
        if running
            .get(key)
            .is_some_and(|(uid, _)| Some(uid) != live.as_ref())
            && let Some((_, stop)) = running.remove(key)
        {
            stop.cancel();
        }
        let Some(pod) = pod else { return Outcome::Wait };
        if pod.is_deleting() {
            // A pod that was never started has no supervisor to take it away.
            if pod.text(&["status", "podIP"]).is_empty() {
                let (node, key, uid) = (self.node.clone(), key.clone(), pod.uid().to_owned());
                self.node
                    .tracker
                    .spawn(async move { node.remove(&key, &uid).await });
            }
        } else if !running.contains_key(key)
            && !matches!(pod.text(&["status", "phase"]), "Succeeded" | "Failed")
            && !awaits_another(&pod)
        {
            let stop = CancellationToken::new();
            running.insert(key.clone(), (pod.uid().to_owned(), stop.clone()));
            let node = self.node.clone();
            self.node
                .tracker
                .spawn(async move { node.supervise(pod, stop).await });
        }
        Outcome::Wait
    }
}

/// Whether another scheduler is to find a node for the pod.
fn awaits_another(pod: &Object) -> bool {
    let scheduler = pod.text(&["spec", "schedulerName"]);
    pod.text(&["spec", "nodeName"]).is_empty() && !matches!(scheduler, "" | "default-scheduler")
}

/// The annotations that say how a simulated container ends.
const EXIT_CODE: &str = "sandbox.weir.dev/exit-code";
const RUN_SECONDS: &str = "sandbox.weir.dev/run-seconds";

/// A started container.
enum Running {
    Process(Box<Process>),
    Memory(#[expect(dead_code, reason = "held so that the router stays")] Served),
    Simulated,
    /// It ends by itself, with a code.
    Ending(Instant, i64),
}

/// Whether a container that ended with a code is started again.
fn restarts(pod: &Object, code: i64) -> bool {
    match pod.text(&["spec", "restartPolicy"]) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// How a container runs of which there is no image.
fn simulated(pod: &Object) -> Running {
    let said = |key| {
        pod.annotation(key)
            .and_then(|text| text.parse::<u32>().ok())
    };
    if !matches!(pod.text(&["spec", "restartPolicy"]), "Never" | "OnFailure")
        && said(RUN_SECONDS).is_none()
    {
        return Running::Simulated;
    }
    let seconds = said(RUN_SECONDS).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds.into());
    Running::Ending(end, said(EXIT_CODE).unwrap_or_default().into())
}

/// The value of a field of a pod: a path, or a label or annotation by its key.
fn field<'a>(pod: &'a Object, path: &str) -> &'a str {
    if let Some((list, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        let mut steps: Vec<&str> = list.split('.').collect();
        steps.push(key);
        return pod.text(&steps);
    }
    pod.text(&path.split('.').collect::<Vec<_>>())
}

impl Running {
    /// Waits for its end; says how it ended.
    async fn ended(&mut self) -> i64 {
        match self {
            Self::Process(process) => process
                .ended()
                .await
                .and_then(|s| s.code())
                .map_or(137, i64::from),
            Self::Memory(_) | Self::Simulated => std::future::pending().await,
            Self::Ending(at, code) => {
                tokio::time::sleep_until(*at).await;
                *code
            }
        }
    }
}

/// Why a container does not run: the reason and message that its status shows.
struct Waiting(&'static str, String);

/// What came of following a container.
enum Followed {
    /// It ended, with a code.
    Ended(i64),
    /// The pod ends.
    Stopped,
    /// It stays as it is until the pod ends, and nobody need ask it.
    Settled,
}

impl Node {
    /// Keeps a pod from its start to its removal. What brings it up is on the heap and goes with
    /// the object once the pod has settled, so that a quiet pod costs little.
    async fn supervise(&self, pod: Arc<Object>, stop: CancellationToken) {
        let (key, uid) = (pod.key(), pod.uid().to_owned());
        let Some(address) = Box::pin(self.bring_up(&pod, &stop)).await else {
            return;
        };
        drop(pod);
        stop.cancelled().await;
        self.addresses.release_pod(address);
        self.logs.forget(&uid);
        Box::pin(self.remove(&key, &uid)).await;
    }

    /// Runs a pod until it settles or is to end; answers its address unless the pod is over.
    async fn bring_up(&self, pod: &Object, stop: &CancellationToken) -> Option<Ipv4Addr> {
        // A pod that is on no node would be gone at once when deleted, with its container running.
        if pod.text(&["spec", "nodeName"]).is_empty() {
            let bound = self.server.store().bind(pod.namespace(), pod.name(), NODE);
            if let Err(refusal) = bound {
                tracing::debug!(%refusal, pod = %pod.key(), "not bound: the pod went meanwhile");
                return None;
            }
            self.tell_scheduled(pod);
        }
        let address = loop {
            if let Some(address) = self.addresses.pod() {
                break address;
            }
            self.waiting(pod, None, "NoAddress", "all pod addresses are taken", 0)
                .await;
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        };
        let mut ends: u32 = 0;
        let mut waits: u32 = 0;
        while !stop.is_cancelled() {
            let wait = match self.start(pod, address).await {
                Ok(running) => {
                    waits = 0;
                    let code = match self.watch(pod, address, running, ends, stop).await {
                        Followed::Ended(code) => code,
                        Followed::Stopped | Followed::Settled => break,
                    };
                    if !restarts(pod, code) {
                        self.ended(pod, address, code, ends).await;
                        self.addresses.release_pod(address);
                        return None;
                    }
                    ends += 1;
                    let message = format!("the container ended with code {code}");
                    self.events
                        .publish(pod, EventKind::Warning, "BackOff", &message, &[]);
                    self.waiting(pod, Some(address), "CrashLoopBackOff", &message, ends)
                        .await;
                    RESTART.after(ends)
                }
                Err(Waiting(reason, message)) => {
                    waits += 1;
                    self.events
                        .publish(pod, EventKind::Warning, "Failed", &message, &[]);
                    self.waiting(pod, Some(address), reason, &message, ends)
                        .await;
                    RESTART.after(waits)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Some(address)
    }

    /// Starts the pod's first container; the sandbox runs no others.
    async fn start(&self, pod: &Object, address: Ipv4Addr) -> Result<Running, Waiting> {
        let empty = Value::Null;
        let container = pod.get(&["spec", "containers", "0"]).unwrap_or(&empty);
        let reference = container["image"].as_str().unwrap_or_default();
        let begin = || {
            let name = container["name"].as_str().unwrap_or_default();
            self.logs.begin(pod.uid(), name)
        };
        if !Images::is_own(reference) {
            begin();
            return Ok(simulated(pod));
        }
        let image = self.images.pull(reference).await;
        let image = image.map_err(|why| Waiting("ErrImagePull", why))?;
        let env = Self::environment(pod, container, &image, address)?;
        let strings = |field: &str, otherwise: &[String]| match container[field].as_array() {
            Some(items) => items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            None => otherwise.to_vec(),
        };
        match &self.network {
            Network::Loopback => {
                let mut command: Vec<String> = strings("command", &image.entrypoint);
                command.extend(strings("args", &image.cmd));
                let start = Start {
                    root: image.root.clone(),
                    command,
                    env,
                    log: begin(),
                };
                let process = Process::start(&start);
                let process = process.map_err(|e| Waiting("RunContainerError", e.to_string()))?;
                Ok(Running::Process(Box::new(process)))
            }
            // A router has no end, so a pod that is to have one is simulated.
            Network::Memory(_) if !restarts(pod, 0) => {
                begin();
                Ok(simulated(pod))
            }
            network @ Network::Memory(_) => {
                let find = |name: &str| {
                    env.iter()
                        .rev()
                        .find(|(k, _)| k == name)
                        .map(|(_, v)| v.clone())
                };
                let settings = weir_demoapp::Settings::read(find);
                let settings = settings.map_err(|e| Waiting("RunContainerError", e.to_string()))?;
                let port = settings.port;
                begin();
                let served = network
                    .serve(address.into(), port, weir_demoapp::router(settings))
                    .await;
                let served = served.map_err(|e| Waiting("RunContainerError", e.to_string()))?;
                Ok(Running::Memory(served))
            }
        }
    }

    /// The image's environment, then the container's, then what the sandbox adds.
    fn environment(
        pod: &Object,
        container: &Value,
        image: &Image,
        address: Ipv4Addr,
    ) -> Result<Vec<(String, String)>, Waiting> {
        let mut env = image.env.clone();
        for (i, variable) in container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            let value = match (
                &variable["value"],
                &variable["valueFrom"]["fieldRef"]["fieldPath"],
            ) {
                (Value::String(text), _) => text.clone(),
                (_, Value::String(path)) => match path.as_str() {
                    "status.podIP" => address.to_string(),
                    other => field(pod, other).to_owned(),
                },
                (Value::Null, Value::Null) if variable["valueFrom"].is_null() => String::new(),
                _ => {
                    let message =
                        format!("env[{i}] `{name}`: only a value or a fieldRef is known here");
                    return Err(Waiting("CreateContainerConfigError", message));
                }
            };
            env.push((name, value));
        }
        env.push(("HOSTNAME".to_owned(), pod.name().to_owned()));
        env.push(("BIND_ADDRESS".to_owned(), address.to_string()));
        Ok(env)
    }

    /// Follows a running container.
    async fn watch(
        &self,
        pod: &Object,
        address: Ipv4Addr,
        mut running: Running,
        ends: u32,
        stop: &CancellationToken,
    ) -> Followed {
        let empty = Value::Null;
        let container = pod.get(&["spec", "containers", "0"]).unwrap_or(&empty);
        let probe = Probe::of(container, IpAddr::from(address));
        let since = self.stamp();
        let mut shown = None;
        let mut failures = 0;
        loop {
            let ready = probe.ask(&self.http).await;
            failures = if ready { 0 } else { failures + 1 };
            let ready = ready || (shown == Some(true) && failures < probe.failures);
            if shown != Some(ready) {
                self.running(pod, address, ready, &since, ends).await;
                shown = Some(ready);
            }
            if matches!(running, Running::Simulated) && probe.asks_nothing() {
                return Followed::Settled;
            }
            let wait = if ready {
                probe.period
            } else {
                STARTING.min(probe.period)
            };
            tokio::select! {
                () = stop.cancelled() => break,
                code = running.ended() => return Followed::Ended(code),
                () = tokio::time::sleep(wait) => {}
            }
        }
        tokio::time::sleep(DRAIN).await;
        if let Running::Process(process) = running {
            let grace = pod
                .get(&["spec", "terminationGracePeriodSeconds"])
                .and_then(Value::as_u64);
            process
                .stop(Duration::from_secs(grace.unwrap_or(30).min(30)))
                .await;
        }
        Followed::Stopped
    }

    async fn running(&self, pod: &Object, address: Ipv4Addr, ready: bool, since: &str, ends: u32) {
        let state = json!({"running": {"startedAt": since}});
        self.report(pod, Some(address), "Running", state, ready, ends)
            .await;
    }

    /// The pod is over. It stays until somebody removes it.
    async fn ended(&self, pod: &Object, address: Ipv4Addr, code: i64, ends: u32) {
        let (phase, reason) = if code == 0 {
            ("Succeeded", "Completed")
        } else {
            ("Failed", "Error")
        };
        let now = self.stamp();
        let state = json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": now,
            "finishedAt": now}});
        self.report(pod, Some(address), phase, state, false, ends)
            .await;
    }

    /// Says where the pod was placed, in the words of a scheduler.
    fn tell_scheduled(&self, pod: &Object) {
        let now = self.clock.now();
        let name = format!("{}.{:x}", pod.name(), now.as_nanosecond());
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": pod.namespace()},
            "involvedObject": {"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(),
                "uid": pod.uid(), "apiVersion": "v1", "resourceVersion": pod.resource_version()},
            "reason": "Scheduled", "type": "Normal", "action": "Binding",
            "message": format!("Successfully assigned {}/{} to {NODE}", pod.namespace(), pod.name()),
            "source": {}, "reportingComponent": "default-scheduler",
            "reportingInstance": format!("default-scheduler-{NODE}"),
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        });
        let store = self.server.store().as_manager("kube-scheduler");
        if let Err(refusal) = store.create(&EVENT, event) {
            tracing::debug!(%refusal, pod = %pod.key(), "the placement was not told");
        }
    }

    async fn waiting(
        &self,
        pod: &Object,
        address: Option<Ipv4Addr>,
        reason: &str,
        message: &str,
        ends: u32,
    ) {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        self.report(pod, address, "Pending", state, false, ends)
            .await;
    }

    async fn report(
        &self,
        pod: &Object,
        address: Option<Ipv4Addr>,
        phase: &str,
        state: Value,
        ready: bool,
        restarts: u32,
    ) {
        let now = self.stamp();
        let live = self.server.store().get(&POD, pod.namespace(), pod.name());
        let live =
            live.filter(|live| weir_object::path::text(live, &["metadata", "uid"]) == pod.uid());
        let was = |at: &[&str]| {
            live.as_ref()
                .and_then(|live| weir_object::path::get(live, at))
        };
        let over = matches!(phase, "Succeeded" | "Failed");
        // A condition keeps the time of its last change.
        let condition = |kind: &str, is: bool| {
            let status = if is { "True" } else { "False" };
            let all = was(&["status", "conditions"]).and_then(Value::as_array);
            let same = all
                .into_iter()
                .flatten()
                .find(|c| c["type"] == kind && c["status"] == status);
            let since = same.map_or(json!(now), |c| c["lastTransitionTime"].clone());
            let mut out = json!({"type": kind, "status": status, "lastTransitionTime": since});
            if over && !is {
                let reason = if phase == "Failed" {
                    "PodFailed"
                } else {
                    "PodCompleted"
                };
                out["reason"] = json!(reason);
            }
            out
        };
        let start = was(&["status", "startTime"]).cloned().unwrap_or(json!(now));
        let qos = was(&["status", "qosClass"]).cloned();
        let containers = pod.get(&["spec", "containers"]).and_then(Value::as_array);
        let statuses: Vec<Value> = containers
            .into_iter()
            .flatten()
            .map(|c| {
                json!({
                    "name": c["name"], "image": c["image"], "imageID": "", "state": state,
                    "lastState": {}, "ready": ready, "started": ready, "restartCount": restarts,
                })
            })
            .collect();
        let mut status = json!({
            "phase": phase,
            "hostIP": self.addresses.own(1).to_string(),
            "startTime": start,
            "qosClass": qos.unwrap_or(json!("BestEffort")),
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", ready), condition("Ready", ready),
            ],
            "containerStatuses": statuses,
        });
        if let Some(address) = address {
            status["podIP"] = json!(address.to_string());
            status["podIPs"] = json!([{"ip": address.to_string()}]);
        }
        for attempt in 1..=5 {
            let body = json!({"status": status});
            match self
                .api
                .write_status(&POD, &pod.key(), Write::Merge(body))
                .await
            {
                Ok(_) => return,
                Err(failure) if failure.is_not_found() => return,
                Err(failure) => tracing::warn!(%failure, attempt, "pod status not written"),
            }
            tokio::time::sleep(STARTING * attempt).await;
        }
    }

    async fn remove(&self, key: &Key, uid: &str) {
        for attempt in 1..=5 {
            match self.api.delete_now(&POD, key, uid).await {
                Ok(_) => return,
                // Another pod of this name is there by now.
                Err(failure) if failure.is_conflict() => return,
                Err(failure) => tracing::warn!(%failure, attempt, "pod not removed"),
            }
            tokio::time::sleep(STARTING * attempt).await;
        }
    }

    fn stamp(&self) -> String {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}
