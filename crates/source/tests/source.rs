//! GitRepository against a real API server, Git server and artifact store, all in memory and on a
//! virtual clock. The sandbox's Git server is compiled in by path, so that this room does not depend
//! on a floor above it.

#[path = "../../sandbox/src/gitserver/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a module of another crate, used in part"
)]
mod gitserver;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::StreamExt as _;
use gitserver::{GitServer, GitServerOptions};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use weir_api::git_repository::KIND;
use weir_apiserver::ApiServer;
use weir_artifact::{Limits, Retention, Storage, fetch_and_extract};
use weir_git::Git;
use weir_object::{Key, Object};
use weir_runtime::http::{BodyStream, Http, HttpError, Request, Response, Transport};
use weir_runtime::kinds::{CRD, EVENT, NAMESPACE, SECRET};
use weir_runtime::{Context, SharedClock, Store, VirtualClock, WatchOf, Write};

/// Routers by host, with a switch for an outage.
#[derive(Clone)]
struct Net {
    git: Router,
    artifacts: Arc<Mutex<Router>>,
    down: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl Transport for Net {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        if self.down.load(Ordering::Relaxed) {
            let url = weir_runtime::http::masked(&request.url);
            return Err(HttpError::Connect {
                url,
                what: "the network is down".into(),
            });
        }
        let router = match host.as_str() {
            "git.sandbox" => self.git.clone(),
            _ => self.artifacts.lock().expect("a lock").clone(),
        };
        let mut sent = http::Request::builder()
            .method(request.method)
            .uri(&request.url[url::Position::BeforePath..])
            .body(Body::from(request.body))
            .expect("a request");
        *sent.headers_mut() = request.headers;
        let (parts, body) = router.oneshot(sent).await.expect("infallible").into_parts();
        let body = body.into_data_stream().map(|chunk| {
            chunk.map_err(|e| HttpError::Broken {
                url: "memory".into(),
                what: e.to_string(),
            })
        });
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: BodyStream::new(body),
        })
    }
}

struct World {
    api: ApiServer,
    server: GitServer,
    net: Net,
    clock: SharedClock,
    context: Context,
    storage: Storage,
    store: Arc<Store>,
    changed: Arc<Notify>,
    dirs: Vec<tempfile::TempDir>,
}

fn key() -> Key {
    Key::new("demo", "config")
}

async fn mk_world(credentials: Option<(&str, &str)>) -> World {
    let clock: SharedClock = Arc::new(VirtualClock::starting_at(
        Timestamp::from_second(1_700_000_000).expect("in range"),
    ));
    let now = clock.clone();
    let api = ApiServer::new(weir_apiserver::Options {
        now: Arc::new(move || now.now()),
        seed: 1,
    });
    let dir = tempfile::tempdir().expect("a directory");
    let credentials = credentials.map(|(u, p)| (u.to_owned(), weir_runtime::Secret::new(p)));
    let options = GitServerOptions {
        credentials,
        ..GitServerOptions::default()
    };
    let server = GitServer::new(dir.path(), options);
    server.create("config.git").expect("a repository");
    let net = Net {
        git: server.router(),
        artifacts: Arc::new(Mutex::new(Router::new())),
        down: Arc::default(),
    };
    let (context, storage, root) = start(&api, &net, &clock);
    for crd in weir_api::crds() {
        let crd = Object(crd);
        context
            .api
            .write(&CRD, &crd.key(), Write::Create(crd))
            .await
            .expect("a definition");
    }
    let demo =
        Object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
    context
        .api
        .write(&NAMESPACE, &demo.key(), Write::Create(demo))
        .await
        .expect("a namespace");
    let (store, changed) = watch(&context);
    run(&context, &storage);
    World {
        api,
        server,
        net,
        clock,
        context,
        storage,
        store,
        changed,
        dirs: vec![dir, root],
    }
}

fn start(api: &ApiServer, net: &Net, clock: &SharedClock) -> (Context, Storage, tempfile::TempDir) {
    let client = kube::Client::new(api.service(), "default");
    let http = Http::new(net.clone());
    let context = Context::new(client, http, clock.clone(), CancellationToken::new());
    let root = tempfile::tempdir().expect("a directory");
    let storage = Storage::new(root.path(), Retention::default(), clock.clone()).expect("a store");
    *net.artifacts.lock().expect("a lock") = storage.router();
    (context, storage, root)
}

fn watch(context: &Context) -> (Arc<Store>, Arc<Notify>) {
    let store = context.caches.watch(WatchOf::all(&KIND));
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    store.on_change(move |_| notify.notify_one());
    (store, changed)
}

fn run(context: &Context, storage: &Storage) {
    let git = Git::new(context.http.clone());
    let options = weir_source::Options::new(storage.clone(), "http://artifacts:9790/", git);
    tokio::spawn(weir_source::controller(context, options).run());
}

impl World {
    /// Commits files straight into the bare repository.
    fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        let path = self.server.create("config.git").expect("a path");
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
            update.upsert(*path, blob, git2::FileMode::Blob);
        }
        let tree = update.create_updated(&repo, &base).expect("a tree");
        let tree = repo.find_tree(tree).expect("a tree");
        let who = git2::Signature::new("Ann", "ann@example.com", &git2::Time::new(1, 0));
        let who = who.expect("a name");
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let oid = repo.commit(Some(&reference), &who, &who, message, &tree, &parents);
        oid.expect("a commit").to_string()
    }

    fn tag(&self, name: &str, oid: &str) {
        let path = self.server.create("config.git").expect("a path");
        let repo = git2::Repository::open_bare(path).expect("a repository");
        let object = repo.revparse_single(oid).expect("an object");
        repo.tag_lightweight(name, &object, false).expect("a tag");
    }

    async fn create(&self, spec: Value) {
        let mut object = Object(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "config", "namespace": "demo",
                "annotations": {"event.toolkit.fluxcd.io/team": "blue"}},
            "spec": {"url": "http://git.sandbox:3000/config.git", "interval": "1m",
                "ref": {"branch": "main"}},
        }));
        for (name, value) in spec.as_object().expect("a map") {
            object.set(&["spec", name], value.clone());
        }
        self.context
            .api
            .write(&KIND, &key(), Write::Create(object))
            .await
            .expect("created");
    }

    async fn patch(&self, patch: Value) {
        self.context
            .api
            .write(&KIND, &key(), Write::Merge(patch))
            .await
            .expect("patched");
    }

    /// Waits, in virtual time, until the object is as `wanted`.
    async fn until(&self, what: &str, wanted: impl Fn(&Object) -> bool) -> Object {
        let waiting = async {
            loop {
                if let Some(object) = self.store.get(&key()).filter(|o| wanted(o)) {
                    return (*object).clone();
                }
                self.changed.notified().await;
            }
        };
        match tokio::time::timeout(Duration::from_hours(1), waiting).await {
            Ok(object) => object,
            Err(late) => {
                let object = self.store.get(&key()).expect("the object");
                panic!("{what}: {late}: {:#}", object.0["status"])
            }
        }
    }

    async fn ready(&self, oid: &str) -> Object {
        self.until(&format!("ready at {oid}"), |o| {
            condition(o, "Ready")["status"] == "True" && revision(o) == format!("main@sha1:{oid}")
        })
        .await
    }

    async fn failed(&self, reason: &str) -> Object {
        self.until(reason, |o| {
            condition(o, "Ready")["status"] == "False" && condition(o, "Ready")["reason"] == reason
        })
        .await
    }

    /// All events so far, as `type reason: message`, with the notes on them.
    async fn events(&self) -> Vec<(String, Value)> {
        // The writer has its turn whenever everybody else waits.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let all = self
            .context
            .api
            .list(&EVENT, Some("demo"), "")
            .await
            .expect("events");
        all.iter()
            .map(|e| {
                let text = format!(
                    "{} {}: {}",
                    e.text(&["type"]),
                    e.text(&["reason"]),
                    e.text(&["message"])
                );
                (text, e.0["metadata"]["annotations"].clone())
            })
            .collect()
    }

    async fn told(&self, event: &str) -> bool {
        self.events()
            .await
            .iter()
            .any(|(text, _)| text.contains(event))
    }

    async fn content(&self, object: &Object) -> Vec<String> {
        let artifact = &object.0["status"]["artifact"];
        let dest = tempfile::tempdir().expect("a directory");
        let (url, digest) = (artifact["url"].as_str(), artifact["digest"].as_str());
        let (url, digest) = (url.expect("a url"), digest.expect("a digest"));
        let http = &self.context.http;
        fetch_and_extract(http, url, digest, dest.path(), &Limits::default())
            .await
            .expect("fetched");
        let mut names: Vec<String> = std::fs::read_dir(dest.path())
            .expect("a directory")
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }
}

fn condition<'a>(object: &'a Object, kind: &str) -> &'a Value {
    let all = object
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    let found = all.into_iter().flatten().find(|c| c["type"] == kind);
    found.unwrap_or(&Value::Null)
}

fn revision(object: &Object) -> &str {
    object.text(&["status", "artifact", "revision"])
}

#[tokio::test(start_paused = true)]
async fn a_push_becomes_an_artifact_and_the_next_one_a_newer_one() {
    let world = mk_world(None).await;
    let subject = "first commit, with a subject that goes on for more than fifty characters";
    let first = world.commit("main", &[("a.yaml", "a"), ("x.png", "x")], subject);
    world.create(json!({})).await;
    let object = world.ready(&first).await;
    assert_eq!(world.content(&object).await, ["a.yaml"]);
    let status = &object.0["status"];
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        status["artifact"]["url"],
        format!("http://artifacts:9790/gitrepository/demo/config/{first}.tar.gz")
    );
    let stored = format!("stored artifact for revision 'main@sha1:{first}'");
    for kind in ["Ready", "ArtifactInStorage"] {
        assert_eq!(condition(&object, kind)["message"], stored);
        assert_eq!(condition(&object, kind)["reason"], "Succeeded");
    }
    assert_eq!(status["conditions"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        object.finalizers().collect::<Vec<_>>(),
        ["finalizers.fluxcd.io"]
    );
    let events = world.events().await;
    let (_, notes) = events
        .iter()
        .find(|(text, _)| {
            text == "Normal NewArtifact: stored artifact for commit \
                     'first commit, with a subject that goes on for more...'"
        })
        .unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(
        notes["source.toolkit.fluxcd.io/revision"],
        format!("main@sha1:{first}")
    );
    assert_eq!(notes["team"], "blue");

    let second = world.commit("main", &[("b.yaml", "b")], "second");
    let object = world.ready(&second).await;
    assert_eq!(world.content(&object).await, ["a.yaml", "b.yaml"]);
    // Whoever still reads the old one may do so for a while.
    let old = world
        .storage
        .root()
        .join(format!("gitrepository/demo/config/{first}.tar.gz"));
    assert!(old.is_file());
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert!(!old.exists());
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_changes_nothing_writes_nothing() {
    let world = mk_world(None).await;
    let oid = world.commit("main", &[("a.yaml", "a")], "first");
    world.create(json!({})).await;
    let before = world.ready(&oid).await;
    let events = world.events().await.len();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(world.store.get(&key()).map(|o| (*o).clone()), Some(before));
    assert_eq!(world.events().await.len(), events);
    // A request is answered, and nothing else changes.
    world
        .patch(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}))
        .await;
    world
        .until("handled", |o| {
            o.text(&["status", "lastHandledReconcileAt"]) == "now"
        })
        .await;
    let said = format!("no changes since last reconciliation: observed revision 'main@sha1:{oid}'");
    assert!(
        world
            .told(&format!("Normal GitOperationSucceeded: {said}"))
            .await
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_and_heals() {
    let world = mk_world(None).await;
    world.create(json!({})).await;
    world.failed("EmptyGitRepository").await;
    let oid = world.commit("main", &[("a.yaml", "a")], "first");
    world.ready(&oid).await;

    world
        .patch(json!({"spec": {"ref": {"branch": "mian"}}}))
        .await;
    let object = world.failed("GitOperationFailed").await;
    let message = "failed to checkout and determine revision: branch `mian` was not found in \
                   `http://git.sandbox:3000/config.git`; check its spelling, or push it";
    for kind in ["Ready", "FetchFailed", "Reconciling"] {
        assert_eq!(condition(&object, kind)["message"], message);
    }
    assert_eq!(
        condition(&object, "Reconciling")["reason"],
        "ProgressingWithRetry"
    );
    assert_eq!(
        revision(&object),
        format!("main@sha1:{oid}"),
        "the artifact stays"
    );
    assert_eq!(
        object.0["status"]["observedGeneration"], 1,
        "the new spec is not done with"
    );
    assert!(
        world
            .told("Warning GitOperationFailed: failed to checkout")
            .await
    );
    world
        .patch(json!({"spec": {"ref": {"branch": "main"}}}))
        .await;
    world
        .until("observed", |o| o.0["status"]["observedGeneration"] == 3)
        .await;
    world.ready(&oid).await;
    assert!(
        world
            .told("Normal Succeeded: stored artifact for revision")
            .await
    );

    world.net.down.store(true, Ordering::Relaxed);
    let object = world.failed("GitOperationFailed").await;
    assert!(
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap_or("")
            .contains("cannot be reached")
    );
    world.net.down.store(false, Ordering::Relaxed);
    world.ready(&oid).await;
    world
        .patch(json!({"spec": {"url": "http://git.sandbox:3000/other.git"}}))
        .await;
    let object = world.failed("GitOperationFailed").await;
    assert!(
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap_or("")
            .contains("no repository was found")
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_is_stalled_until_it_changes() {
    let world = mk_world(None).await;
    let oid = world.commit("main", &[("a.yaml", "a")], "first");
    world.create(json!({"recurseSubmodules": true})).await;
    let object = world.failed("Unsupported").await;
    let message = "`spec.recurseSubmodules` is not supported by this version; remove it to go on";
    assert_eq!(condition(&object, "Stalled")["message"], message);
    assert_eq!(object.0["status"]["observedGeneration"], 1);
    assert!(world.told(&format!("Warning Unsupported: {message}")).await);
    world
        .patch(json!({"spec": {"recurseSubmodules": null, "url": "ssh://git@git.sandbox/x"}}))
        .await;
    world.failed("URLInvalid").await;
    world
        .patch(json!({"spec": {"url": "http://git.sandbox:3000/config.git"}}))
        .await;
    let object = world.ready(&oid).await;
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
}

#[tokio::test(start_paused = true)]
async fn credentials_come_from_the_secret() {
    let world = mk_world(Some(("ann", "hush"))).await;
    let oid = world.commit("main", &[("a.yaml", "a")], "first");
    world.create(json!({"secretRef": {"name": "git"}})).await;
    let object = world.failed("AuthenticationFailed").await;
    assert!(
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap_or("")
            .contains("`demo/git`")
    );
    let secret = |password: &str| {
        Object(json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "git", "namespace": "demo"},
            "stringData": {"username": "ann", "password": password}}))
    };
    let wrong = secret("wr0ng");
    let created = world
        .context
        .api
        .write(&SECRET, &wrong.key(), Write::Create(wrong))
        .await;
    created.expect("a secret");
    let object = world
        .until("refused", |o| {
            condition(o, "Ready")["message"]
                .as_str()
                .unwrap_or("")
                .contains("refused access")
        })
        .await;
    assert_eq!(
        condition(&object, "FetchFailed")["reason"],
        "AuthenticationFailed"
    );
    let right = json!({"stringData": {"password": "hush"}});
    world
        .context
        .api
        .write(&SECRET, &Key::new("demo", "git"), Write::Merge(right))
        .await
        .expect("a secret");
    world.ready(&oid).await;
    let all = format!("{:?} {:?}", world.events().await, world.store.get(&key()));
    assert!(!all.contains("wr0ng") && !all.contains("hush"));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_source_rests() {
    let world = mk_world(None).await;
    let first = world.commit("main", &[("a.yaml", "a")], "first");
    world.create(json!({})).await;
    world.ready(&first).await;
    world.patch(json!({"spec": {"suspend": true}})).await;
    let second = world.commit("main", &[("a.yaml", "b")], "second");
    tokio::time::sleep(Duration::from_mins(10)).await;
    let object = world.store.get(&key()).expect("the object");
    assert_eq!(revision(&object), format!("main@sha1:{first}"));
    assert_eq!(world.content(&object).await, ["a.yaml"]);
    world.patch(json!({"spec": {"suspend": false}})).await;
    world.ready(&second).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_with_an_empty_disk_the_artifact_is_made_again() {
    let mut world = mk_world(None).await;
    let oid = world.commit("main", &[("a.yaml", "a")], "first");
    world.create(json!({})).await;
    let before = world.ready(&oid).await;
    world.context.stop.cancel();
    let (context, storage, root) = start(&world.api, &world.net, &world.clock);
    (world.store, world.changed) = watch(&context);
    run(&context, &storage);
    (world.context, world.storage) = (context, storage);
    world.dirs.push(root);
    let path = before.text(&["status", "artifact", "path"]).to_owned();
    let moved = before.0["status"]["artifact"]["lastUpdateTime"].clone();
    let waiting = async {
        while !world.storage.root().join(&path).is_file() {
            world.changed.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(5), waiting)
        .await
        .expect("made again");
    let after = world.ready(&oid).await;
    assert_eq!(
        after.0["status"]["artifact"]["digest"],
        before.0["status"]["artifact"]["digest"]
    );
    assert_eq!(world.content(&after).await, ["a.yaml"]);
    assert!(moved.is_string());

    // A file with other bytes is never served.
    let at = world.storage.root().join(&path);
    std::fs::write(&at, "rotten").expect("written");
    world
        .patch(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "1"}}}))
        .await;
    world
        .until("handled", |o| {
            o.text(&["status", "lastHandledReconcileAt"]) == "1"
        })
        .await;
    let after = world.ready(&oid).await;
    assert_eq!(world.content(&after).await, ["a.yaml"]);
    assert!(world.told("Warning ArtifactVerificationFailed: ").await);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_source_leaves_nothing() {
    let world = mk_world(None).await;
    let oid = world.commit("main", &[("a.yaml", "a")], "first");
    world.create(json!({})).await;
    world.ready(&oid).await;
    let home = world.storage.root().join("gitrepository/demo/config");
    assert!(home.is_dir());
    let deleted = world
        .context
        .api
        .delete(&KIND, &key(), None, weir_runtime::Propagation::Background)
        .await;
    assert_eq!(deleted, Ok(true));
    let gone = async {
        while world.store.get(&key()).is_some() {
            world.changed.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(5), gone)
        .await
        .expect("gone");
    assert!(!home.exists());
}

#[tokio::test(start_paused = true)]
async fn rules_and_ranges_choose_what_is_stored() {
    let world = mk_world(None).await;
    let first = world.commit("main", &[("a.yaml", "a"), ("b.md", "b")], "first");
    world.create(json!({"ignore": "*.md"})).await;
    let object = world.ready(&first).await;
    assert_eq!(world.content(&object).await, ["a.yaml"]);
    assert_eq!(object.0["status"]["observedIgnore"], "*.md");
    world.patch(json!({"spec": {"ignore": "*.txt"}})).await;
    let object = world
        .until("new rules", |o| o.0["status"]["observedIgnore"] == "*.txt")
        .await;
    assert_eq!(revision(&object), format!("main@sha1:{first}"));
    assert_eq!(world.content(&object).await, ["a.yaml", "b.md"]);

    world.tag("v1.0.0", &first);
    let second = world.commit("main", &[("c.yaml", "c")], "second");
    world.tag("v1.1.0", &second);
    world.tag("v2.0.0", &second);
    world
        .patch(json!({"spec": {"ref": {"semver": "1.x", "branch": null}}}))
        .await;
    world
        .until("the highest", |o| {
            revision(o) == format!("v1.1.0@sha1:{second}")
        })
        .await;
    world
        .patch(json!({"spec": {"ref": {"semver": "~3"}}}))
        .await;
    let object = world.failed("GitOperationFailed").await;
    assert!(
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap_or("")
            .contains("`~3`")
    );
    world
        .patch(json!({"spec": {"ref": {"semver": null, "commit": first}}}))
        .await;
    world
        .until("a commit", |o| revision(o) == format!("sha1:{first}"))
        .await;
}
