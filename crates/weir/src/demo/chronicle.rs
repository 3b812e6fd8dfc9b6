//! Owns what is told while it happens: events of the reconcilers, commits with their differences,
//! weights with the share of requests that the proxy really sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use weir_object::Object;
use weir_sandbox::ProxyMetrics;

use super::narrator::{About, Narrator};
use super::world::World;

/// Follows the world and tells what it sees.
pub(crate) struct Chronicle(Arc<Mutex<Page>>);

/// What was seen since the last version was pushed; commits are of the whole story.
#[derive(Default)]
struct Page {
    began: bool,
    /// The run's last event was told.
    ended: bool,
    weights: Vec<u64>,
    weight: u64,
    counted: BTreeMap<String, u64>,
    reason: String,
    commits: Vec<String>,
}

/// The sources of events that are told, with what their words are about.
const TOLD: [(&str, About); 5] = [
    ("source-controller", About::Source),
    ("image-reflector-controller", About::Source),
    ("image-automation-controller", About::Source),
    ("kustomize-controller", About::Cluster),
    ("flagger", About::Canary),
];

impl Chronicle {
    /// Begins to tell.
    pub(crate) fn follow(world: &World, narrator: Arc<Narrator>) -> Self {
        let page = Arc::new(Mutex::new(Page::default()));
        let (own, teller) = (page.clone(), narrator.clone());
        world.on_event(move |event| tell_event(event, &teller, &mut lock(&own)));
        let (own, teller, proxy) = (page.clone(), narrator.clone(), world.proxy());
        world.on_canary(move |canary| tell_canary(canary, &teller, &proxy, &mut lock(&own)));
        let own = page.clone();
        world.on_commit(move |commit| {
            if commit.by_automation {
                narrator.fact(
                    About::Source,
                    &format!("image automation committed {}", commit.revision),
                );
                narrator.diff(&commit.diff);
                lock(&own).commits.push(commit.revision.clone());
            }
        });
        Self(page)
    }

    /// A new version is about to be pushed.
    pub(crate) fn turn_page(&self) {
        let mut page = lock(&self.0);
        let (commits, counted) = (
            std::mem::take(&mut page.commits),
            std::mem::take(&mut page.counted),
        );
        *page = Page {
            counted,
            commits,
            ..Page::default()
        };
    }

    /// Whether a run began since.
    pub(crate) fn began(&self) -> bool {
        lock(&self.0).began
    }

    /// Whether its end was told.
    pub(crate) fn ended(&self) -> bool {
        lock(&self.0).ended
    }

    /// The weights that were in force since, in their order.
    pub(crate) fn weights(&self) -> Vec<u64> {
        lock(&self.0).weights.clone()
    }

    /// The last reason given against the version.
    pub(crate) fn reason(&self) -> String {
        lock(&self.0).reason.clone()
    }

    /// The commits of image automation.
    pub(crate) fn commits(&self) -> Vec<String> {
        lock(&self.0).commits.clone()
    }
}

fn lock(page: &Mutex<Page>) -> std::sync::MutexGuard<'_, Page> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_event(event: &Object, narrator: &Narrator, page: &mut Page) {
    let source = event.text(&["source", "component"]);
    let Some((_, about)) = TOLD.iter().find(|(name, _)| *name == source) else {
        return;
    };
    let (kind, name) = (
        event.text(&["involvedObject", "kind"]),
        event.text(&["involvedObject", "name"]),
    );
    let message = event.text(&["message"]).trim();
    let warning = event.text(&["type"]) == "Warning";
    let last = ["Promotion completed!", "Canary failed!"];
    page.ended |= kind == "Canary" && last.iter().any(|text| message.starts_with(text));
    if warning && kind == "Canary" && message.starts_with("Halt") {
        message.clone_into(&mut page.reason);
    }
    let about = if warning && kind != "Canary" {
        About::Trouble
    } else {
        *about
    };
    // An event of several objects has a line for each; a commit's has the whole message.
    let lines = if kind == "Kustomization" {
        usize::MAX
    } else {
        1
    };
    for line in message.lines().take(lines) {
        narrator.fact(about, &format!("{kind}/{name}: {line}"));
    }
}

fn tell_canary(canary: &Object, narrator: &Narrator, proxy: &ProxyMetrics, page: &mut Page) {
    let phase = canary.text(&["status", "phase"]);
    page.began |= matches!(phase, "Progressing" | "Promoting" | "Finalising");
    let weight = canary
        .get(&["status", "canaryWeight"])
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if weight == page.weight {
        return;
    }
    let now = proxy.by_service();
    let since = |service: &str| {
        now.get(service).copied().unwrap_or_default()
            - page.counted.get(service).copied().unwrap_or_default()
    };
    let (to_canary, to_primary) = (since("app-canary"), since("app-primary"));
    let total = to_canary + to_primary;
    if page.weight > 0 && total > 0 {
        let share = 100.0 * to_canary as f64 / total as f64;
        narrator.fact(
            About::Traffic,
            &format!("at weight {} the proxy sent {to_canary} of {total} requests to the canary ({share:.1} %)", page.weight),
        );
    }
    page.counted = now;
    page.weight = weight;
    if weight > 0 && phase == "Progressing" {
        page.weights.push(weight);
    }
}
