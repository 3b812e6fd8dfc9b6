//! The world of these tests: API server, Git server and registry in memory, on a virtual clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use weir_api::{git_repository, image_policy, image_repository, image_update_automation};
use weir_apiserver::ApiServer;
use weir_git::{Git, Reference, Remote};
use weir_object::{Key, Kind, Object};
use weir_oci::{Access, Credentials, ImageBuild, ImageReference, Oci};
use weir_runtime::http::{Http, HttpError, Request, Response, Transport, masked};
use weir_runtime::kinds::{CRD, EVENT, NAMESPACE, SECRET};
use weir_runtime::{Context, Secret, SharedClock, Store, VirtualClock, WatchOf, Write};
use weir_sandbox::MemoryNet;
use weir_sandbox::gitserver::{GitServer, GitServerOptions};
use weir_sandbox::registry::{Registry, RegistryOptions};

pub(crate) const REPOSITORY: Kind = image_repository::KIND;
pub(crate) const POLICY: Kind = image_policy::KIND;
pub(crate) const AUTOMATION: Kind = image_update_automation::KIND;
pub(crate) const SOURCE: Kind = git_repository::KIND;
pub(crate) const IMAGE: &str = "registry.sandbox:5000/demo/app";
pub(crate) const URL: &str = "http://git.sandbox:3000/config.git";

type Before = Box<dyn Fn(&Request) + Send + Sync>;

/// The network, with an outage switch, a count, and something to do before a push.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) net: MemoryNet,
    pub(crate) down: Arc<AtomicBool>,
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) before_push: Arc<Mutex<Option<Before>>>,
}

#[async_trait::async_trait]
impl Transport for Gate {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            let (url, what) = (masked(&request.url), "the network is down".to_owned());
            return Err(HttpError::Connect { url, what });
        }
        if request.url.path().ends_with("git-receive-pack")
            && let Some(before) = &*self.before_push.lock().expect("a lock")
        {
            before(&request);
        }
        self.net.send(request).await
    }
}

pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) server: GitServer,
    pub(crate) gate: Gate,
    pub(crate) clock: SharedClock,
    pub(crate) context: Context,
    stores: BTreeMap<String, Arc<Store>>,
    changed: Arc<Notify>,
    login: Option<(String, Secret)>,
    _dir: tempfile::TempDir,
}

/// A world whose registry asks for this login, where there is one.
pub(crate) async fn mk_world(login: Option<(&str, &str)>) -> World {
    let epoch = Timestamp::from_second(1_700_000_000).expect("in range");
    let clock: SharedClock = Arc::new(VirtualClock::starting_at(epoch));
    let now = clock.clone();
    let api = ApiServer::new(weir_apiserver::Options {
        now: Arc::new(move || now.now()),
        seed: 1,
    });
    let dir = tempfile::tempdir().expect("a directory");
    let server = GitServer::new(dir.path(), GitServerOptions::default());
    server.create("config.git").expect("a repository");
    let login = login.map(|(user, password)| (user.to_owned(), Secret::new(password)));
    let registry = Registry::new(RegistryOptions {
        credentials: login.clone(),
        ..RegistryOptions::default()
    });
    let gate = Gate::default();
    gate.net.listen("git.sandbox", 3000, server.router());
    gate.net.listen("registry.sandbox", 5000, registry.router());
    let context = mk_context(&api, &gate, &clock);
    for crd in weir_api::crds() {
        let crd = Object(crd);
        let key = crd.key();
        let written = context.api.write(&CRD, &key, Write::Create(crd)).await;
        written.expect("a definition");
    }
    let changed = Arc::new(Notify::new());
    let mut world = World {
        api,
        server,
        gate,
        clock,
        context,
        stores: BTreeMap::new(),
        changed,
        login,
        _dir: dir,
    };
    world.follow();
    world.namespace("demo", json!({})).await;
    world.run();
    world
}

fn mk_context(api: &ApiServer, gate: &Gate, clock: &SharedClock) -> Context {
    let client = kube::Client::new(api.service(), "default");
    let http = Http::new(gate.clone());
    Context::new(client, http, clock.clone(), CancellationToken::new())
}

impl World {
    fn follow(&mut self) {
        for kind in [&REPOSITORY, &POLICY, &AUTOMATION] {
            let store = self.context.caches.watch(WatchOf::all(kind));
            let notify = self.changed.clone();
            store.on_change(move |_| notify.notify_one());
            self.stores.insert(kind.kind.to_string(), store);
        }
    }

    fn run(&self) {
        let options = weir_image::Options::default();
        for controller in weir_image::reflector(&self.context, &options) {
            tokio::spawn(controller.run());
        }
        tokio::spawn(weir_image::automation(&self.context, &options).run());
    }

    /// Stops all controllers and starts new ones, which remember nothing.
    pub(crate) async fn restart(&mut self) {
        self.context.stop.cancel();
        tokio::time::sleep(Duration::from_secs(30)).await;
        self.context = mk_context(&self.api, &self.gate, &self.clock);
        self.follow();
        self.run();
    }

    pub(crate) async fn namespace(&self, name: &str, labels: Value) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels}});
        self.write(&NAMESPACE, Write::Create(Object(object))).await;
    }

    async fn write(&self, kind: &Kind, write: Write) {
        let key = match &write {
            Write::Create(object) => object.key(),
            _ => panic!("only creations"),
        };
        let written = self.context.api.write(kind, &key, write).await;
        written.unwrap_or_else(|e| panic!("{e}"));
    }

    pub(crate) async fn create(&self, kind: &Kind, key: &Key, spec: Value) {
        let object = json!({"apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": {"namespace": key.namespace, "name": key.name,
                "labels": {"name": key.name}}, "spec": spec});
        self.write(kind, Write::Create(Object(object))).await;
    }

    pub(crate) async fn secret(&self, name: &str, data: Value) {
        let object = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "demo", "name": name}, "stringData": data});
        self.write(&SECRET, Write::Create(Object(object))).await;
    }

    pub(crate) async fn patch(&self, kind: &Kind, key: &Key, patch: Value) {
        let written = self.context.api.write(kind, key, Write::Merge(patch)).await;
        written.unwrap_or_else(|e| panic!("{e}"));
    }

    pub(crate) async fn ask(&self, kind: &Kind, key: &Key, when: &str) {
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": when}}});
        self.patch(kind, key, patch).await;
    }

    /// The three objects and their source, as most tests want them.
    pub(crate) async fn story(&self) {
        self.create(
            &SOURCE,
            &key("config"),
            json!({"url": URL, "interval": "1h", "ref": {"branch": "main"}}),
        )
        .await;
        self.create(
            &REPOSITORY,
            &key("app"),
            json!({"image": IMAGE, "interval": "1h", "insecure": true}),
        )
        .await;
        self.create(
            &POLICY,
            &key("app"),
            json!({"imageRepositoryRef": {"name": "app"},
            "policy": {"semver": {"range": "1.x"}}}),
        )
        .await;
        self.create(&AUTOMATION, &key("auto"), automation(&json!({})))
            .await;
    }

    /// Pushes an image under a tag, and returns its digest.
    pub(crate) async fn image(&self, tag: &str) -> String {
        self.image_of(tag, tag).await
    }

    /// The same with other content under the tag.
    pub(crate) async fn image_of(&self, tag: &str, content: &str) -> String {
        let oci = Oci::new(Http::new(self.gate.net.clone()));
        let credentials = match self.login.clone() {
            Some((username, password)) => Credentials::Basic { username, password },
            None => Credentials::None,
        };
        let access = Access {
            insecure: true,
            credentials,
            ..Access::default()
        };
        let image = ImageBuild {
            cmd: vec![content.to_owned()],
            ..ImageBuild::default()
        };
        let image = image.build().expect("an image");
        let to = ImageReference::parse(IMAGE).expect("a name").with_tag(tag);
        oci.push_image(&to, &image, &access).await.expect("pushed")
    }

    /// Commits files straight into the bare repository.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        commit_to(&self.server, branch, files)
    }

    /// A branch's commits, the last first, as (id, author, message, parents).
    pub(crate) fn history(&self, branch: &str) -> Vec<(String, String, String)> {
        let path = self.server.create("config.git").expect("a path");
        let repo = git2::Repository::open_bare(path).expect("a repository");
        let mut walk = repo.revwalk().expect("a walk");
        if walk.push_ref(&format!("refs/heads/{branch}")).is_err() {
            return Vec::new();
        }
        walk.map(|oid| {
            let commit = repo.find_commit(oid.expect("an id")).expect("a commit");
            let author = commit.author();
            let who = format!(
                "{} <{}> {}",
                author.name().unwrap_or_default(),
                author.email().unwrap_or_default(),
                author.when().seconds()
            );
            let message = commit.message().unwrap_or_default().to_owned();
            (commit.id().to_string(), who, message)
        })
        .collect()
    }

    /// A file of a branch, with its mode.
    pub(crate) fn file(&self, branch: &str, path: &str) -> (String, i32) {
        let at = self.server.create("config.git").expect("a path");
        let repo = git2::Repository::open_bare(at).expect("a repository");
        let oid = repo
            .refname_to_id(&format!("refs/heads/{branch}"))
            .expect("a branch");
        let tree = repo
            .find_commit(oid)
            .and_then(|c| c.tree())
            .expect("a tree");
        let entry = tree.get_path(std::path::Path::new(path)).expect("a file");
        let blob = repo.find_blob(entry.id()).expect("a blob");
        (
            String::from_utf8_lossy(blob.content()).into_owned(),
            entry.filemode(),
        )
    }

    /// Waits, in virtual time, until the object is as `wanted`.
    pub(crate) async fn until(
        &self,
        kind: &Kind,
        key: &Key,
        what: &str,
        wanted: impl Fn(&Object) -> bool,
    ) -> Object {
        let store = &self.stores[&*kind.kind];
        let waiting = async {
            loop {
                if let Some(object) = store.get(key).filter(|o| wanted(o)) {
                    return (*object).clone();
                }
                self.changed.notified().await;
            }
        };
        let done = tokio::time::timeout(Duration::from_mins(10), waiting).await;
        done.unwrap_or_else(|e| {
            let status = store.get(key).map(|object| object.0["status"].clone());
            panic!("{what}: {e}: {status:#?}")
        })
    }

    pub(crate) async fn ready(&self, kind: &Kind, key: &Key) -> Object {
        self.until(kind, key, "ready", |o| ready(o).0 == "True")
            .await
    }

    /// Waits until the object is not ready for this reason, and returns the sentence.
    pub(crate) async fn failed(&self, kind: &Kind, key: &Key, reason: &str) -> String {
        let object = self
            .until(kind, key, reason, |o| {
                ready(o).0 == "False" && ready(o).1 == reason
            })
            .await;
        ready(&object).2.to_owned()
    }

    pub(crate) async fn chosen(&self, tag: &str) -> Object {
        self.until(&POLICY, &key("app"), tag, |o| {
            o.text(&["status", "latestRef", "tag"]) == tag && ready(o).0 == "True"
        })
        .await
    }

    /// Waits for the automation to have pushed what is in `branch` now, other than `than`.
    pub(crate) async fn pushed(&self, than: &str) -> Object {
        self.until(&AUTOMATION, &key("auto"), "a push", |o| {
            let commit = o.text(&["status", "lastPushCommit"]);
            !commit.is_empty() && commit != than
        })
        .await
    }

    /// All events so far, as `source type reason: message`.
    pub(crate) async fn events(&self) -> Vec<String> {
        // The writer has its turn whenever everybody else waits.
        self.idle().await;
        let all = self
            .context
            .api
            .list(&EVENT, Some("demo"), "")
            .await
            .expect("events");
        all.iter()
            .map(|e| {
                format!(
                    "{} {} {}: {}",
                    e.text(&["source", "component"]),
                    e.text(&["type"]),
                    e.text(&["reason"]),
                    e.text(&["message"])
                )
            })
            .collect()
    }

    pub(crate) async fn told(&self, event: &str) {
        let events = self.events().await;
        assert!(
            events.iter().any(|text| text.contains(event)),
            "{event}: {events:#?}"
        );
    }

    /// Lets everything that waits for an event have its turn; no interval passes.
    pub(crate) async fn idle(&self) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// A branch's tip, read over the wire.
    pub(crate) async fn tip(&self, branch: &str) -> String {
        let git = Git::new(Http::new(self.gate.net.clone()));
        let remote = Remote::new(URL).expect("a remote");
        let head = git.head(&remote, &Reference::Branch(branch.into())).await;
        head.expect("a head").oid
    }
}

/// Commits files to a branch of the server's repository.
pub(crate) fn commit_to(server: &GitServer, branch: &str, files: &[(&str, &str)]) -> String {
    let path = server.create("config.git").expect("a path");
    let repo = git2::Repository::open_bare(path).expect("a repository");
    let reference = format!("refs/heads/{branch}");
    let parent = repo
        .refname_to_id(&reference)
        .ok()
        .map(|oid| repo.find_commit(oid).expect("a commit"));
    let empty = repo
        .treebuilder(None)
        .and_then(|b| b.write())
        .expect("a tree");
    let base = parent
        .as_ref()
        .map_or_else(|| repo.find_tree(empty), git2::Commit::tree)
        .expect("a tree");
    let mut update = git2::build::TreeUpdateBuilder::new();
    for (path, text) in files {
        let blob = repo.blob(text.as_bytes()).expect("a blob");
        let mode = if path.ends_with("run.yaml") {
            git2::FileMode::BlobExecutable
        } else {
            git2::FileMode::Blob
        };
        update.upsert(*path, blob, mode);
    }
    let tree = update.create_updated(&repo, &base).expect("a tree");
    let tree = repo.find_tree(tree).expect("a tree");
    let who = git2::Signature::new("Ann", "ann@example.com", &git2::Time::new(1, 0));
    let who = who.expect("a name");
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    let oid = repo.commit(Some(&reference), &who, &who, "by hand", &tree, &parents);
    oid.expect("a commit").to_string()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("demo", name)
}

/// An automation's spec with parts of `git` replaced, and others beside it.
pub(crate) fn automation(change: &Value) -> Value {
    let mut spec = json!({"sourceRef": {"kind": "GitRepository", "name": "config"}, "interval": "1h",
        "git": {"commit": {"author": {"name": "Bot", "email": "bot@example.com"}}}});
    for (name, value) in change.as_object().expect("a map") {
        if name == "git" {
            for (name, value) in value.as_object().expect("a map") {
                spec["git"][name] = value.clone();
            }
        } else {
            spec[name] = value.clone();
        }
    }
    spec
}

/// Status, reason and message of `Ready`.
pub(crate) fn ready(object: &Object) -> (&str, &str, &str) {
    let all = object
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    let found = all.into_iter().flatten().find(|c| c["type"] == "Ready");
    let text = |name: &str| found.and_then(|c| c[name].as_str()).unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

pub(crate) fn conditions(object: &Object) -> Vec<String> {
    let all = object
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .map(|c| {
            format!(
                "{}={}",
                c["type"].as_str().unwrap_or_default(),
                c["status"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

/// A manifest with the tag of the image marked.
pub(crate) fn manifest(tag: &str) -> String {
    format!(
        "# the app\r\napiVersion: apps/v1\r\nkind: Deployment\r\nmetadata: {{name: app,  namespace: demo}}\r\n\
         \r\nimage: {IMAGE}:{tag} # {{\"$imagepolicy\": \"demo:app\"}}\r\n"
    )
}
