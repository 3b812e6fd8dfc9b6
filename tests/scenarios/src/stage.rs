//! Owns the stage on which a scenario plays.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir::controllers::{self, Role};
use weir::leaders::{self, Seats, Standings};
use weir_apiserver::ApiServer;
use weir_object::{Key, Kind, Object};
use weir_runtime::http::Request;
use weir_runtime::kinds::{DAEMON_SET, DEPLOYMENT, EVENT, HTTP_ROUTE};
use weir_runtime::lease::{LEASE, Terms};
use weir_runtime::{ApiClient, Caches, Context, Gate, SharedClock, VirtualClock, Write};
use weir_sandbox::{Load, Sandbox};

use crate::faults::{Faults, Faulty};

/// Where and when a scenario plays: any fixed moment will do.
const EPOCH: i64 = 1_900_000_000;
/// The most virtual time any one fact is waited for.
const PATIENCE: Duration = Duration::from_mins(15);

/// Weir and the sandbox, in memory.
pub struct Stage {
    sandbox: Sandbox,
    clock: SharedClock,
    api: ApiClient,
    dir: tempfile::TempDir,
    faults: Faults,
    process: Option<Process>,
}

struct Process {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// One of several Weirs that share their work out by Leases.
pub struct Replica {
    /// Who it is in its Leases.
    pub identity: String,
    /// The faults between it and the API.
    pub faults: Faults,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Replica {
    /// Ends it where it stands, as a killed process would.
    pub async fn kill(self) {
        self.task.abort();
        self.stop.cancel();
        // Aborted on purpose.
        let _ = self.task.await;
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(self) {
        self.stop.cancel();
        let ended = self.task.await.expect("no panic");
        ended.expect("it ends well");
    }

    /// Waits until it ended by itself; says why.
    pub async fn ended(&mut self) -> String {
        let ended = (&mut self.task).await.expect("no panic");
        ended.expect_err("nobody asked it to end")
    }
}

/// The namespace of the controllers themselves.
pub const HOME: &str = "default";

/// The example's manifests that live in Git, changed by `edit`.
pub fn app_manifests(edit: impl Fn(&str, String) -> String) -> Vec<(String, Vec<u8>)> {
    let files = [
        (
            "app/kustomization.yaml",
            include_str!("../../../examples/canary/weighted/app/kustomization.yaml"),
        ),
        (
            "app/deployment.yaml",
            include_str!("../../../examples/canary/weighted/app/deployment.yaml"),
        ),
        (
            "app/canary.yaml",
            include_str!("../../../examples/canary/weighted/app/canary.yaml"),
        ),
    ];
    let edited =
        |(path, text): (&str, &str)| (path.to_owned(), edit(path, text.to_owned()).into_bytes());
    files.into_iter().map(edited).collect()
}

impl Stage {
    /// A sandbox with Weir's controllers running in it, and nothing else yet.
    pub async fn set() -> Self {
        let mut stage = Self::empty().await;
        stage.start_controllers();
        stage
    }

    /// A sandbox without controllers.
    pub async fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let epoch = jiff::Timestamp::from_second(EPOCH).expect("in range");
        let clock: SharedClock = Arc::new(VirtualClock::starting_at(epoch));
        let options = weir_sandbox::Options::memory(dir.path(), clock.clone(), 7);
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        let artifacts = controllers::artifacts(&dir.path().join("artifacts"), clock.clone())
            .expect("artifacts");
        sandbox
            .serve("artifacts.sandbox", 9091, artifacts.router())
            .await
            .expect("served");
        let client = sandbox.client();
        let caches = Caches::new(client.clone(), CancellationToken::new());
        let api = ApiClient::new(client, caches, "kubectl");
        Self {
            sandbox,
            clock,
            api,
            dir,
            faults: Faults::default(),
            process: None,
        }
    }

    /// The first act: version 1.0.0 is in the registry, the configuration in Git, the cluster's
    /// objects applied, the Canary initialised.
    pub async fn with_app() -> Self {
        Self::with_app_edited(|_, text| text).await
    }

    /// The same with the files in Git changed by `edit`.
    pub async fn with_app_edited(edit: impl Fn(&str, String) -> String) -> Self {
        let stage = Self::set().await;
        stage.deploy(edit).await;
        stage
            .until("the Canary is initialised", async |s| {
                s.phase().await == "Initialized"
            })
            .await;
        stage
    }

    /// Puts version 1.0.0 into the registry, the configuration into Git and the cluster's objects
    /// into the API.
    pub async fn deploy(&self, edit: impl Fn(&str, String) -> String) {
        self.push_image("1.0.0", "0").await;
        self.push(app_manifests(edit), "Deploy the application")
            .await;
        self.apply_cluster().await;
    }

    /// What a process works with, against the API with these faults.
    fn context(&self, faults: &Faults, stop: &CancellationToken) -> Context {
        let service = Faulty::new(self.sandbox.server().clone(), faults.clone());
        let client = kube::Client::new(service, "default");
        let (http, clock) = (self.sandbox.http(), self.clock.clone());
        let mut context = Context::new(client, http, clock, stop.clone());
        context.gate = Gate::watching(&context.caches, HOME);
        context
    }

    fn wiring() -> controllers::Options {
        controllers::Options {
            artifact_base_url: "http://artifacts.sandbox:9091".to_owned(),
            canary: weir_canary::Options {
                min_analysis_interval: Duration::from_secs(1),
                metrics_server: "http://prometheus.sandbox:9090".to_owned(),
                ..weir_canary::Options::default()
            },
            tenancy: controllers::Tenancy::default(),
        }
    }

    /// Starts a Weir that works only while it holds the Lease of a role. All share their artifacts.
    pub fn start_replica(&self, name: &str) -> Replica {
        let stop = CancellationToken::new();
        let faults = Faults::default();
        let context = self.context(&faults, &stop);
        let artifacts =
            controllers::artifacts(&self.dir.path().join("artifacts"), self.clock.clone())
                .expect("artifacts");
        let seats = Seats {
            roles: Role::ALL.to_vec(),
            namespace: HOME.to_owned(),
            identity: leaders::identity(name),
            terms: Terms::default(),
            artifacts: None,
        };
        let identity = seats.identity.clone();
        let task = tokio::spawn(async move {
            let standings = Standings::default();
            let played = leaders::play(
                &context,
                Some(&artifacts),
                &Self::wiring(),
                &seats,
                &standings,
            )
            .await;
            played.map_err(|why| why.to_string())
        });
        Replica {
            identity,
            faults,
            stop,
            task,
        }
    }

    /// Who holds the Lease of a role.
    pub async fn holder(&self, role: Role) -> String {
        let key = Key::new(HOME, role.lease(""));
        let lease = self.api.get(&LEASE, &key).await.expect("the API answers");
        let lease = lease.unwrap_or_default();
        lease.text(&["spec", "holderIdentity"]).to_owned()
    }

    /// Starts Weir's controllers in a "process" of their own.
    pub fn start_controllers(&mut self) {
        let stop = CancellationToken::new();
        let crash = CancellationToken::new();
        self.faults.crash_by(crash.clone());
        let context = self.context(&self.faults, &stop);
        let artifacts =
            controllers::artifacts(&self.dir.path().join("artifacts"), self.clock.clone())
                .expect("artifacts");
        let options = Self::wiring();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let running = controllers::start(&context, &Role::ALL, Some(&artifacts), &options);
            tokio::select! {
                () = running.stopped() => {}
                // A crash: everything is dropped where it stands.
                () = crash.cancelled() => stopped.cancel(),
            }
        });
        self.process = Some(Process { stop, task });
    }

    /// Ends the controllers where they stand, as a killed process would.
    pub async fn kill_controllers(&mut self) {
        if let Some(process) = self.process.take() {
            process.task.abort();
            process.stop.cancel();
            // Aborted on purpose.
            let _ = process.task.await;
        }
    }

    /// The plan of faults between the controllers and the API.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The API server.
    pub fn server(&self) -> &ApiServer {
        self.sandbox.server()
    }

    /// A client with a person's rights.
    pub fn api(&self) -> &ApiClient {
        &self.api
    }

    /// The sandbox.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Pushes a version of the sample application.
    pub async fn push_image(&self, tag: &str, error_rate: &str) {
        let env = [("APP_VERSION", tag), ("ERROR_RATE", error_rate)];
        let files = [("demoapp", tag.as_bytes())];
        let pushed = self
            .sandbox
            .push_image("demo/app", tag, &files, &env, &["/demoapp"])
            .await;
        pushed.expect("the image is pushed");
    }

    /// Pushes files to the configuration repository; says the revision.
    pub async fn push(&self, files: Vec<(String, Vec<u8>)>, message: &str) -> String {
        self.sandbox
            .push_git("config.git", "main", &files, message)
            .await
            .expect("pushed")
    }

    /// Applies the example's cluster objects.
    pub async fn apply_cluster(&self) {
        for (file, text) in [
            (
                "namespace.yaml",
                include_str!("../../../examples/canary/weighted/cluster/namespace.yaml"),
            ),
            (
                "gateway.yaml",
                include_str!("../../../examples/canary/weighted/cluster/gateway.yaml"),
            ),
            (
                "source.yaml",
                include_str!("../../../examples/canary/weighted/cluster/source.yaml"),
            ),
            (
                "images.yaml",
                include_str!("../../../examples/canary/weighted/cluster/images.yaml"),
            ),
        ] {
            self.sandbox.apply(file, text).await.expect("applied");
        }
    }

    /// Users begin to send requests; they stop when the value is dropped.
    pub fn users(&self, per_second: u32) -> Load {
        let url = self.sandbox.gateway_url(8080).expect("a URL");
        Load::start(self.sandbox.http(), url, "app.example.com", per_second)
    }

    /// Serves a hook that agrees to everything, and keeps the paths it was asked by.
    pub async fn gate(&self, host: &str) -> Arc<std::sync::Mutex<Vec<String>>> {
        let asked: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let kept = asked.clone();
        let router = axum::Router::new().fallback(move |uri: http::Uri| async move {
            kept.lock().expect("lock").push(uri.path().to_owned());
            "yes"
        });
        let served = self.sandbox.serve(host, 80, router).await;
        served.expect("served");
        asked
    }

    /// Users of a group, which their requests name in the header `x-group`.
    pub fn users_of(&self, group: &str, per_second: u32) -> Load {
        let url = self.sandbox.gateway_url(8080).expect("a URL");
        let header = http::HeaderName::from_static("x-group");
        let header = Some((header, group.to_owned()));
        let http = self.sandbox.http();
        Load::with(http, url, "app.example.com", per_second, header)
    }

    /// Waits, in virtual time, until something is so.
    pub async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self).await {
            let late = start.elapsed() > PATIENCE;
            let picture = if late {
                self.picture().await
            } else {
                String::new()
            };
            assert!(
                !late,
                "waited {PATIENCE:?} of virtual time until {what}\n{picture}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The object of this name in namespace `demo`.
    pub async fn get(&self, kind: &Kind, name: &str) -> Option<Object> {
        self.api
            .get(kind, &Key::new("demo", name))
            .await
            .expect("the API answers")
    }

    /// Changes an object by merge patch, as `kubectl patch` would.
    pub async fn patch(&self, kind: &Kind, name: &str, patch: Value) -> Object {
        self.api
            .write(kind, &Key::new("demo", name), Write::Merge(patch))
            .await
            .expect("patched")
    }

    /// The Canary.
    pub async fn canary(&self) -> Object {
        self.get(&weir_api::canary::KIND, "app")
            .await
            .unwrap_or_default()
    }

    /// The Canary's phase.
    pub async fn phase(&self) -> String {
        self.canary().await.text(&["status", "phase"]).to_owned()
    }

    /// The weight in the Canary's status.
    pub async fn weight(&self) -> u64 {
        self.canary()
            .await
            .get(&["status", "canaryWeight"])
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    /// The weights of the route, primary first.
    pub async fn route(&self) -> (u64, u64) {
        let route = self.get(&HTTP_ROUTE, "app").await.unwrap_or_default();
        let weight = |i: &str| {
            let path = ["spec", "rules", "0", "backendRefs", i, "weight"];
            route.get(&path).and_then(Value::as_u64).unwrap_or_default()
        };
        (weight("0"), weight("1"))
    }

    /// The image that a Deployment's template names.
    pub async fn image(&self, workload: &str) -> String {
        let object = self.workload(workload).await;
        object
            .text(&["spec", "template", "spec", "containers", "0", "image"])
            .to_owned()
    }

    /// The tag of that image.
    pub async fn tag(&self, deployment: &str) -> String {
        self.image(deployment)
            .await
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The Deployment or else the DaemonSet of this name.
    async fn workload(&self, name: &str) -> Object {
        match self.get(&DEPLOYMENT, name).await {
            Some(object) => object,
            None => self.get(&DAEMON_SET, name).await.unwrap_or_default(),
        }
    }

    /// The pods that a workload asks for; a DaemonSet for one on each node, or none while it is parked.
    pub async fn replicas(&self, workload: &str) -> u64 {
        let object = self.workload(workload).await;
        if object.kind() == DAEMON_SET.kind {
            let at = [
                "spec",
                "template",
                "spec",
                "nodeSelector",
                "flagger.app/scale-to-zero",
            ];
            return u64::from(object.get(&at).is_none());
        }
        let replicas = object.get(&["spec", "replicas"]);
        replicas.and_then(Value::as_u64).unwrap_or_default()
    }

    /// The version that answers a user, or the status that came instead.
    pub async fn answer(&self) -> String {
        let url = self.sandbox.gateway_url(8080).expect("a URL");
        let request = Request::get(url).header(http::header::HOST, "app.example.com");
        match self.sandbox.http().send(request).await {
            Ok(response) if response.status.is_success() => {
                let body: Value = response.json(1 << 16).await.expect("JSON");
                body["version"].as_str().unwrap_or_default().to_owned()
            }
            Ok(response) => response.status.as_u16().to_string(),
            Err(e) => e.to_string(),
        }
    }

    /// The `Ready` condition of an object: its status and message.
    pub async fn ready(&self, kind: &Kind, name: &str) -> (String, String) {
        let object = self.get(kind, name).await.unwrap_or_default();
        condition(&object, "Ready")
    }

    /// The messages of all events about an object of namespace `demo`, oldest first.
    pub async fn events(&self, kind: &str, name: &str) -> Vec<String> {
        let mut events = self
            .api
            .list(&EVENT, Some("demo"), "")
            .await
            .expect("the API answers");
        events.retain(|e| {
            e.text(&["involvedObject", "kind"]) == kind
                && e.text(&["involvedObject", "name"]) == name
        });
        events.sort_by_key(|e| e.resource_version().parse::<u64>().unwrap_or_default());
        events
            .iter()
            .map(|e| e.text(&["message"]).to_owned())
            .collect()
    }

    /// What a person would look at when a scenario goes wrong.
    pub async fn picture(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        for kind in [
            &weir_api::git_repository::KIND,
            &weir_api::kustomization::KIND,
            &weir_api::image_repository::KIND,
            &weir_api::image_policy::KIND,
            &weir_api::image_update_automation::KIND,
            &weir_api::canary::KIND,
            &DEPLOYMENT,
            &HTTP_ROUTE,
        ] {
            for object in self.api.list(kind, None, "").await.unwrap_or_default() {
                let status = object
                    .get(&["status"])
                    .cloned()
                    .unwrap_or_else(|| json!(null));
                let _ = writeln!(out, "{}: {status}", object.reference());
            }
        }
        for event in self.events("Canary", "app").await {
            let _ = writeln!(out, "event: {event}");
        }
        out
    }
}

/// A condition's status and message.
fn condition(object: &Object, kind: &str) -> (String, String) {
    let conditions = object
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|c| c["type"] == kind);
    let text = |k: &str| {
        found.map_or(String::new(), |c| {
            c[k].as_str().unwrap_or_default().to_owned()
        })
    };
    (text("status"), text("message"))
}
