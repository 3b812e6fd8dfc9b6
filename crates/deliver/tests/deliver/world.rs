//! A cluster in memory, artifacts in memory, a virtual clock, and the controller over them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weir_api::{git_repository, kustomization};
use weir_apiserver::ApiServer;
use weir_artifact::{Ignore, archive};
use weir_object::{Key, Kind, Object};
use weir_runtime::http::{Http, HttpError, Request, Response, Transport};
use weir_runtime::kinds::{CONFIG_MAP, CRD, EVENT, NAMESPACE};
use weir_runtime::{Context, SharedClock, Store, VirtualClock, WatchOf};

/// Artifacts by path.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<HashMap<String, Bytes>>>);

#[async_trait::async_trait]
impl Transport for Net {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let held = self
            .0
            .lock()
            .expect("a lock")
            .get(request.url.path())
            .cloned();
        let status = if held.is_some() {
            http::StatusCode::OK
        } else {
            http::StatusCode::NOT_FOUND
        };
        Ok(Response::full(
            status,
            http::HeaderMap::new(),
            held.unwrap_or_default(),
        ))
    }
}

pub(crate) struct World {
    pub(crate) api: ApiServer,
    clock: SharedClock,
    net: Net,
    stop: CancellationToken,
    store: Arc<Store>,
    setup: Setup,
}

/// How the controller is started.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) options: weir_deliver::Options,
    /// The label selector of its Kustomizations.
    pub(crate) shard: String,
    /// Who the process is, where it is not somebody who may do everything.
    pub(crate) user: Option<&'static str>,
}

/// A manifest of a ConfigMap.
pub(crate) fn config(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: demo}}\ndata: {{v: '{value}'}}\n"
    )
}

/// A manifest of a Deployment.
pub(crate) fn deployment(app: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app, namespace: demo}}\nspec:\n  \
         replicas: 2\n  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    metadata: \
         {{labels: {{app: {app}}}}}\n    spec: {{containers: [{{name: c, image: {image}}}]}}\n"
    )
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let start = Timestamp::from_second(1_700_000_000).expect("in range");
        let clock: SharedClock = Arc::new(VirtualClock::starting_at(start));
        let now = clock.clone();
        let options = weir_apiserver::Options {
            now: Arc::new(move || now.now()),
            seed: 1,
        };
        let api = ApiServer::new(options);
        for definition in weir_api::crds() {
            api.store().create(&CRD, definition).expect("a definition");
        }
        let demo = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
        api.store().create(&NAMESPACE, demo).expect("a namespace");
        let net = Net::default();
        let (store, stop) = Self::start(&api, &net, &clock, &setup);
        if setup.user.is_none() {
            store.synced().await;
        }
        Self {
            api,
            clock,
            net,
            stop,
            store,
            setup,
        }
    }

    fn start(
        api: &ApiServer,
        net: &Net,
        clock: &SharedClock,
        setup: &Setup,
    ) -> (Arc<Store>, CancellationToken) {
        let stop = CancellationToken::new();
        let user = setup.user;
        let service = tower::ServiceBuilder::new()
            .map_request(move |mut request: http::Request<kube::client::Body>| {
                if let Some(user) = user {
                    let user = http::HeaderValue::from_static(user);
                    request.headers_mut().insert("impersonate-user", user);
                }
                request
            })
            .service(api.service());
        let client = kube::Client::new(service, "default");
        let mut context = Context::new(client, Http::new(net.clone()), clock.clone(), stop.clone());
        context.shard.clone_from(&setup.shard);
        tokio::spawn(weir_deliver::controller(&context, setup.options.clone()).run());
        (
            context.caches.watch(WatchOf::all(&kustomization::KIND)),
            stop,
        )
    }

    /// Lets the built-in kinds behave: without it nothing rolls out, and deleted namespaces stay.
    pub(crate) fn behave(&self) {
        tokio::spawn(self.api.run_controllers());
    }

    /// Stops the controller, as a crash would between two writes, and starts another one.
    pub(crate) async fn restart(&mut self) {
        self.stop.cancel();
        (self.store, self.stop) = Self::start(&self.api, &self.net, &self.clock, &self.setup);
        self.store.synced().await;
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Stores an artifact of these files and lets the source `name` have it.
    pub(crate) fn push(&self, name: &str, revision: &str, files: &[(&str, &str)]) {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let at = dir.path().join(path);
            std::fs::create_dir_all(at.parent().expect("a parent")).expect("made");
            std::fs::write(at, text).expect("written");
        }
        let mut bytes = Vec::new();
        let packed = archive(dir.path(), &Ignore::nothing(), &mut bytes).expect("packed");
        self.net
            .0
            .lock()
            .expect("a lock")
            .insert(format!("/{name}/{revision}"), bytes.into());
        self.point(name, revision, &packed.digest.to_string());
    }

    /// Lets the source `name` have an artifact, stored or not.
    pub(crate) fn point(&self, name: &str, revision: &str, digest: &str) {
        let store = self.api.store();
        let kind = &git_repository::KIND;
        if store.get(kind, "demo", name).is_none() {
            let source = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": name, "namespace": "demo"},
                "spec": {"url": "http://git/x.git", "interval": "1m"}});
            store.create(kind, source).expect("a source");
        }
        let artifact = json!({"status": {"artifact": {
            "path": "x", "url": format!("http://artifacts/{name}/{revision}"),
            "revision": revision, "digest": digest, "lastUpdateTime": "2023-11-14T22:13:20Z"}}});
        store
            .patch_status(kind, "demo", name, artifact)
            .expect("an artifact");
    }

    /// Creates a Kustomization of the source `config`, with `spec` over the usual one.
    pub(crate) fn kustomization(&self, name: &str, spec: Value) {
        let mut object = Object(json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization", "metadata": {"name": name, "namespace": "demo"},
            "spec": {"interval": "10m", "retryInterval": "1m", "prune": true,
                "sourceRef": {"kind": "GitRepository", "name": "config"}}}));
        let Value::Object(fields) = spec else {
            panic!("a spec is a map, not {spec}")
        };
        for (field, value) in fields {
            object.set(&["spec", &field], value);
        }
        self.api
            .store()
            .create(&kustomization::KIND, object.0)
            .expect("created");
    }

    pub(crate) fn patch(&self, name: &str, patch: Value) {
        self.api
            .store()
            .patch(&kustomization::KIND, "demo", name, patch)
            .expect("patched");
    }

    /// Waits, in virtual time, until the Kustomization is as `wanted`.
    pub(crate) async fn until(&self, name: &str, wanted: impl Fn(&Object) -> bool) -> Object {
        let key = Key::new("demo", name);
        let mut changes = self.store.changes();
        let waiting = async {
            loop {
                if let Some(object) = self.store.get(&key).filter(|o| wanted(o)) {
                    return (*object).clone();
                }
                changes.changed().await.expect("a store");
            }
        };
        let late = tokio::time::timeout(Duration::from_hours(2), waiting).await;
        late.unwrap_or_else(|_| panic!("{:#}", self.store.get(&key).expect("the object").0))
    }

    pub(crate) async fn ready(&self, name: &str, revision: &str) -> Object {
        self.until(name, |o| {
            condition(o, "Ready")["status"] == "True"
                && condition(o, "Ready")["observedGeneration"] == o.generation()
                && o.text(&["status", "lastAppliedRevision"]) == revision
        })
        .await
    }

    pub(crate) async fn failed(&self, name: &str, reason: &str) -> String {
        let object = self
            .until(name, |o| {
                condition(o, "Ready")["status"] == "False"
                    && condition(o, "Ready")["reason"] == reason
            })
            .await;
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the Kustomization is gone.
    pub(crate) async fn gone(&self, name: &str) {
        let key = Key::new("demo", name);
        let mut changes = self.store.changes();
        let waiting = async {
            while self.store.get(&key).is_some() {
                changes.changed().await.expect("a store");
            }
        };
        tokio::time::timeout(Duration::from_hours(2), waiting)
            .await
            .expect("gone");
    }

    pub(crate) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Object> {
        self.api
            .store()
            .get(kind, namespace, name)
            .map(|o| Object((*o).clone()))
    }

    /// The value in a ConfigMap, empty where there is none.
    pub(crate) fn value(&self, name: &str) -> String {
        let found = self.get(&CONFIG_MAP, "demo", name);
        found
            .map(|o| o.text(&["data", "v"]).to_owned())
            .unwrap_or_default()
    }

    /// All events so far, as `type reason: message`.
    pub(crate) async fn events(&self) -> Vec<String> {
        // The writer has its turn whenever everybody else waits.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let selector = weir_apiserver::Selector::default();
        let (all, _) = self.api.store().list(&EVENT, Some("demo"), &selector);
        let line = |e: &Arc<Value>| {
            let text = |f: &str| e[f].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", text("type"), text("reason"), text("message"))
        };
        all.iter().map(line).collect()
    }
}

pub(crate) fn condition<'a>(object: &'a Object, kind: &str) -> &'a Value {
    let all = object
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .find(|c| c["type"] == kind)
        .unwrap_or(&Value::Null)
}

/// The ids in the inventory.
pub(crate) fn inventory(object: &Object) -> Vec<&str> {
    let all = object
        .get(&["status", "inventory", "entries"])
        .and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|e| e["id"].as_str())
        .collect()
}

/// The managers that have applied a field, given as the keys of `fieldsV1`.
pub(crate) fn appliers(object: &Object, field: &[&str]) -> Vec<String> {
    let all = object
        .get(&["metadata", "managedFields"])
        .and_then(Value::as_array);
    let owns = |e: &&Value| {
        let path: Vec<String> = field.iter().map(|f| format!("f:{f}")).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        e["operation"] == "Apply" && weir_object::path::get(&e["fieldsV1"], &path).is_some()
    };
    let name = |e: &Value| e["manager"].as_str().unwrap_or_default().to_owned();
    all.into_iter().flatten().filter(owns).map(name).collect()
}
