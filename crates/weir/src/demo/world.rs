//! Owns the world in which the story takes place: the sandbox on loopback, Weir's controllers
//! beside it in the same process, and the hands of a person in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use weir_object::{Key, Kind, Object};
use weir_runtime::http::Request;
use weir_runtime::kinds::EVENT;
use weir_runtime::{Context, Store, SystemClock, WatchOf};
use weir_sandbox::{Load, ProxyMetrics, Sandbox};

use super::manifests::{CLUSTER, CONFIG};
use crate::controllers;

/// One version of the application.
pub(super) struct Version {
    /// Its tag and what it says it is.
    pub(super) tag: &'static str,
    /// The share of requests it fails.
    pub(super) error_rate: &'static str,
}

/// A commit that was pushed.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) revision: String,
    pub(super) diff: String,
    pub(super) by_automation: bool,
}

pub(super) struct World {
    sandbox: Sandbox,
    context: Context,
    running: controllers::Running,
    canaries: Arc<Store>,
    kustomizations: Arc<Store>,
    events: Arc<Store>,
    kubeconfig: PathBuf,
    app: Vec<u8>,
    stop: CancellationToken,
    dir: tempfile::TempDir,
}

/// The address of the artifact server in the sandbox.
const ARTIFACTS: (&str, u16) = ("source-controller.sandbox", 9091);

impl World {
    pub(super) async fn start(min_analysis_interval: Duration) -> anyhow::Result<Self> {
        let app = sample_application()?;
        let dir = tempfile::Builder::new().prefix("weir-demo-").tempdir()?;
        let sandbox = Sandbox::start(weir_sandbox::Options::loopback(dir.path())).await?;
        let kubeconfig = sandbox.write_kubeconfig(dir.path())?;
        let stop = CancellationToken::new();
        let context = Context::new(
            sandbox.client(),
            sandbox.http(),
            Arc::new(SystemClock),
            stop.clone(),
        );
        let artifacts =
            controllers::artifacts(&dir.path().join("artifacts"), context.clock.clone())?;
        sandbox
            .serve(ARTIFACTS.0, ARTIFACTS.1, artifacts.router())
            .await?;
        let running = controllers::start(
            &context,
            &controllers::Role::ALL,
            Some(&artifacts),
            &controllers::Options {
                artifact_base_url: format!("http://{}:{}", ARTIFACTS.0, ARTIFACTS.1),
                canary: weir_canary::Options {
                    min_analysis_interval,
                    metrics_server: "http://prometheus.sandbox:9090".to_owned(),
                    ..weir_canary::Options::default()
                },
                tenancy: controllers::Tenancy::default(),
            },
        );
        let watch = |kind: &Kind| context.caches.watch(WatchOf::all(kind));
        let canaries = watch(&weir_api::canary::KIND);
        let kustomizations = watch(&weir_api::kustomization::KIND);
        let events = watch(&EVENT);
        Ok(Self {
            sandbox,
            context,
            running,
            canaries,
            kustomizations,
            events,
            kubeconfig,
            app,
            stop,
            dir,
        })
    }

    /// Ends everything it started; its files go with it.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.running.stopped().await;
        self.sandbox.stop().await;
        if let Err(e) = self.dir.close() {
            tracing::warn!(%e, "temporary files were left behind");
        }
    }

    /// Pushes a version of the sample application as an image.
    pub(super) async fn push_image(&self, version: &Version) -> anyhow::Result<()> {
        let env = [
            ("APP_VERSION", version.tag),
            ("ERROR_RATE", version.error_rate),
        ];
        self.sandbox
            .push_image(
                "demo/app",
                version.tag,
                &[("demoapp", &self.app)],
                &env,
                &["/demoapp"],
            )
            .await
            .with_context(|| format!("image demo/app:{} could not be pushed", version.tag))?;
        Ok(())
    }

    /// Pushes the configuration; says its revision.
    pub(super) async fn push_config(&self) -> anyhow::Result<String> {
        let files: Vec<(String, Vec<u8>)> = CONFIG
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        Ok(self
            .sandbox
            .push_git("config.git", "main", &files, "Deploy the application")
            .await?)
    }

    /// Applies what is applied once.
    pub(super) async fn apply_cluster(&self) -> anyhow::Result<()> {
        for (file, text) in CLUSTER {
            self.sandbox.apply(file, text).await?;
        }
        Ok(())
    }

    /// Waits for a fact.
    pub(super) async fn until(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        // Marked after the chronicle was told of a change, so what it knows counts too.
        let mut canaries = self.canaries.changes();
        let mut kustomizations = self.kustomizations.changes();
        let mut events = self.events.changes();
        let waited = tokio::time::timeout(limit, async {
            while !holds() {
                let changed = tokio::select! {
                    changed = canaries.changed() => changed,
                    changed = kustomizations.changed() => changed,
                    changed = events.changed() => changed,
                };
                if changed.is_err() {
                    bail!("the watches ended");
                }
            }
            Ok(())
        });
        waited
            .await
            .map_err(|_| anyhow!("waited {limit:?} for {what}"))?
    }

    /// Asks the application through the gateway; says the version that answered.
    pub(super) async fn answer(&self, host: &str) -> anyhow::Result<String> {
        let request =
            Request::get(self.sandbox.gateway_url(8080)?).header(http::header::HOST, host);
        let response = self.sandbox.http().send(request).await?;
        let status = response.status;
        let body: Value = response
            .json(64 << 10)
            .await
            .with_context(|| format!("status {status}"))?;
        Ok(body["version"].as_str().unwrap_or_default().to_owned())
    }

    /// Starts the users.
    pub(super) fn load(&self, host: &str, rate: u32) -> anyhow::Result<Load> {
        Ok(Load::start(
            self.sandbox.http(),
            self.sandbox.gateway_url(8080)?,
            host,
            rate,
        ))
    }

    pub(super) fn canary(&self) -> Option<Arc<Object>> {
        self.canaries.get(&Key::new("demo", "app"))
    }

    /// The revision that was last applied.
    pub(super) fn applied_revision(&self) -> String {
        let object = self.kustomizations.get(&Key::new("demo", "app"));
        object.map_or(String::new(), |k| {
            k.text(&["status", "lastAppliedRevision"]).to_owned()
        })
    }

    pub(super) fn proxy(&self) -> ProxyMetrics {
        self.sandbox.proxy()
    }

    /// Calls `tell` for each event, and again each time that it repeats.
    pub(super) fn on_event(&self, tell: impl Fn(&Object) + Send + Sync + 'static) {
        let count = |event: &Object| event.get(&["count"]).and_then(Value::as_u64).unwrap_or(1);
        self.events.on_change(move |change| {
            let earlier = change.before.as_ref().map_or(0, |event| count(event));
            if let Some(event) = change.after.as_ref().filter(|event| count(event) > earlier) {
                tell(event);
            }
        });
    }

    /// Calls `tell` for each change of the Canary.
    pub(super) fn on_canary(&self, tell: impl Fn(&Object) + Send + Sync + 'static) {
        self.canaries.on_change(move |change| {
            if let Some(canary) = &change.after {
                tell(canary);
            }
        });
    }

    /// Calls `tell` for each commit that is pushed.
    pub(super) fn on_commit(&self, tell: impl Fn(&Commit) + Send + 'static) {
        let mut pushes = self.sandbox.git().pushes();
        let root = self.sandbox.git_root();
        tokio::spawn(async move {
            while let Ok(push) = pushes.recv().await {
                match read_commit(&root.join(&push.repository), &push.new) {
                    Ok(commit) => tell(&commit),
                    Err(e) => tracing::warn!(%e, "a pushed commit cannot be read"),
                }
            }
        });
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) fn gateway(&self) -> String {
        self.sandbox.gateway_address(8080)
    }

    pub(super) fn git_url(&self) -> String {
        self.sandbox.git_address("config.git")
    }

    /// The conditions that are not as they should be, for a story that ended badly.
    pub(super) fn diagnosis(&self) -> Vec<String> {
        let mut out = Vec::new();
        for kind in [
            &weir_api::git_repository::KIND,
            &weir_api::kustomization::KIND,
            &weir_api::image_repository::KIND,
            &weir_api::image_policy::KIND,
            &weir_api::image_update_automation::KIND,
            &weir_api::canary::KIND,
        ] {
            for object in self.context.caches.watch(WatchOf::all(kind)).list() {
                let conditions = object
                    .get(&["status", "conditions"])
                    .and_then(Value::as_array);
                let ready = conditions
                    .into_iter()
                    .flatten()
                    .find(|c| c["type"] == "Ready");
                let (status, message) = ready.map_or(("Unknown", "no Ready condition"), |c| {
                    (
                        c["status"].as_str().unwrap_or_default(),
                        c["message"].as_str().unwrap_or_default(),
                    )
                });
                let phase = object.text(&["status", "phase"]);
                out.push(format!(
                    "{} Ready={status} {phase} {message}",
                    object.reference()
                ));
            }
        }
        out
    }
}

/// The sample application's program, which is built beside this one.
fn sample_application() -> anyhow::Result<Vec<u8>> {
    let own = std::env::current_exe().context("where this program lies is not known")?;
    let dir = own.parent().unwrap_or(Path::new("."));
    // Tests run from a directory below the programs.
    let found = [dir.join("demoapp"), dir.join("../demoapp")]
        .into_iter()
        .find(|p| p.is_file());
    let path = found.with_context(|| {
        format!(
            "the sample application `{}` is missing; build it with `make demo`",
            dir.join("demoapp").display()
        )
    })?;
    std::fs::read(&path).with_context(|| format!("`{}` cannot be read", path.display()))
}

fn read_commit(repository: &Path, id: &str) -> anyhow::Result<Commit> {
    let repository = git2::Repository::open_bare(repository)?;
    let commit = repository.find_commit(git2::Oid::from_str(id)?)?;
    let parent = commit.parents().next();
    let before = parent.as_ref().map(git2::Commit::tree).transpose()?;
    let mut options = git2::DiffOptions::new();
    options.context_lines(0);
    let diff =
        repository.diff_tree_to_tree(before.as_ref(), Some(&commit.tree()?), Some(&mut options))?;
    let mut text = String::new();
    diff.print(git2::DiffFormat::Patch, |_, _, line| {
        let content = String::from_utf8_lossy(line.content());
        match line.origin() {
            origin @ ('+' | '-') => {
                text.push(origin);
                text.push_str(&content);
            }
            'F' => text.extend(
                content
                    .lines()
                    .filter(|l| l.starts_with("+++"))
                    .map(|l| format!("{l}\n")),
            ),
            _ => {}
        }
        true
    })?;
    let by_automation = commit
        .author()
        .email()
        .is_ok_and(|e| e == "automation@example.com");
    Ok(Commit {
        revision: format!("main@sha1:{id}"),
        diff: text,
        by_automation,
    })
}
