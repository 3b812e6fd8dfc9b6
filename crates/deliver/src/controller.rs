//! Owns putting the reconciler together: which changes elsewhere ask for which Kustomization.

use std::sync::Arc;

use weir_api::names::KUSTOMIZE_CONTROLLER;
use weir_api::{canary, git_repository, kustomization::KIND};
use weir_artifact::Limits;
use weir_cluster::Applier;
use weir_object::{Key, Object, ObjectRef};
use weir_runtime::{Change, Context, Controller, ControllerOptions, Projection, Store, WatchOf};

use crate::pass::{Kustomizations, source_of};

/// How Kustomizations are worked on.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kustomizations worked on at once; one that waits for health counts.
    pub workers: usize,
    /// Bounds of an artifact.
    pub limits: Limits,
    /// The ServiceAccount, in the Kustomization's namespace, that is acted as where a Kustomization
    /// names none; the process's own account where this is not set.
    pub default_service_account: Option<String>,
    /// Whether a source must stand in the Kustomization's own namespace.
    pub no_cross_namespace_refs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 16,
            limits: Limits::default(),
            default_service_account: None,
            no_cross_namespace_refs: false,
        }
    }
}

/// The controller of Kustomization.
pub fn controller(context: &Context, options: Options) -> Controller {
    let store = context.caches.watch(context.own(&KIND));
    // What a Kustomization depends on may be another shard's.
    let all = context.caches.watch(WatchOf::all(&KIND));
    let canaries = context.caches.watch(all_canaries());
    let sources = context.caches.watch(WatchOf::all(&git_repository::KIND));
    let api = context.api.with_manager(KUSTOMIZE_CONTROLLER);
    let reconciler = Kustomizations {
        applier: Applier::new(api.clone(), context.caches.clone(), context.clock.clone()),
        api,
        events: context.events.named(KUSTOMIZE_CONTROLLER),
        clock: context.clock.clone(),
        http: context.http.clone(),
        store: store.clone(),
        all,
        sources,
        canaries,
        limits: options.limits,
        default_account: options.default_service_account,
        no_cross_namespace_refs: options.no_cross_namespace_refs,
    };
    let settings = ControllerOptions {
        workers: options.workers,
        ..ControllerOptions::default()
    };
    let (by_source, by_dependency, by_canary) = (store.clone(), store.clone(), store);
    Controller::new(context, "kustomization", &KIND, reconciler, settings)
        .managed_by(KUSTOMIZE_CONTROLLER)
        .freezes()
        .also(WatchOf::all(&git_repository::KIND), move |change| {
            of_source(change, &by_source)
        })
        .also(WatchOf::all(&KIND), move |change| {
            of_dependency(change, &by_dependency)
        })
        .perhaps(all_canaries(), move |change| of_canary(change, &by_canary))
}

/// A watch of all Canaries, as what works on them has it, so that both share one.
fn all_canaries() -> WatchOf {
    WatchOf::projected(&canary::KIND, Projection::Text)
}

fn text<'a>(object: Option<&'a Arc<Object>>, path: &[&str]) -> &'a str {
    object.map_or("", |o| o.text(path))
}

fn keys(store: &Store, asks: impl Fn(&Object) -> bool) -> Vec<Key> {
    store
        .list()
        .iter()
        .filter(|o| asks(o))
        .map(|o| o.key())
        .collect()
}

/// A new artifact asks for those that are built from it.
fn of_source(change: &Change, store: &Store) -> Vec<Key> {
    let artifact = |o| {
        let field = |name| text(o, &["status", "artifact", name]);
        (field("revision"), field("digest"))
    };
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    if artifact(before) == artifact(after) && before.is_some() == after.is_some() {
        return Vec::new();
    }
    let kind = git_repository::KIND.kind;
    keys(store, |o| {
        source_of(o) == (kind.to_string(), change.key.clone())
    })
}

/// A Kustomization that became ready, or stopped being so, asks for those that stand on it.
fn of_dependency(change: &Change, store: &Store) -> Vec<Key> {
    let ready = |o: Option<&Arc<Object>>| {
        o.map(|o| {
            (
                is_ready(o),
                o.text(&["status", "lastAppliedRevision"]).to_owned(),
            )
        })
    };
    if ready(change.before.as_ref()) == ready(change.after.as_ref()) {
        return Vec::new();
    }
    keys(store, |o| {
        let dependencies = o.get(&["spec", "dependsOn"]).and_then(|d| d.as_array());
        dependencies.into_iter().flatten().any(|d| {
            let namespace = d["namespace"].as_str().unwrap_or(o.namespace());
            (namespace, d["name"].as_str().unwrap_or_default())
                == (change.key.namespace.as_str(), change.key.name.as_str())
        })
    })
}

/// Whether a Kustomization is ready at its present generation.
pub(crate) fn is_ready(object: &Object) -> bool {
    let conditions = object
        .get(&["status", "conditions"])
        .and_then(|c| c.as_array());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Ready");
    let observed = object
        .get(&["status", "observedGeneration"])
        .and_then(serde_json::Value::as_i64);
    observed == Some(object.generation()) && ready.is_some_and(|c| c["status"] == "True")
}

/// A Canary that begins or ceases to borrow asks for those that applied what it borrows from.
fn of_canary(change: &Change, store: &Store) -> Vec<Key> {
    let borrows = |o: Option<&Arc<Object>>| {
        let set = |field| !text(o, &["status", field]).is_empty();
        (set("phase"), set("lastPromotedSpec"))
    };
    if borrows(change.before.as_ref()) == borrows(change.after.as_ref()) {
        return Vec::new();
    }
    let Some(canary) = change.after.as_ref().or(change.before.as_ref()) else {
        return Vec::new();
    };
    let target = |field: &str| canary.text(&["spec", "targetRef", field]).to_owned();
    let target = ObjectRef {
        api_version: target("apiVersion"),
        kind: target("kind"),
        namespace: canary.namespace().to_owned(),
        name: target("name"),
    };
    let id = weir_cluster::Entry { object: target }.id();
    keys(store, |o| {
        let entries = o
            .get(&["status", "inventory", "entries"])
            .and_then(|e| e.as_array());
        entries
            .into_iter()
            .flatten()
            .any(|e| e["id"].as_str() == Some(&id))
    })
}
