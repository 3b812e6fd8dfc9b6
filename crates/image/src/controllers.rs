//! Owns putting the three reconcilers together: their watches, and which change wakes whom.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use weir_api::names::{IMAGE_AUTOMATION_CONTROLLER, IMAGE_REFLECTOR_CONTROLLER};
use weir_api::{git_repository, image_policy, image_repository, image_update_automation};
use weir_git::Git;
use weir_object::{Key, Kind, Object};
use weir_oci::Oci;
use weir_runtime::kinds::NAMESPACE;
use weir_runtime::{Change, Context, Controller, ControllerOptions, Projection, Store, WatchOf};

use crate::desk::Desk;
use crate::policy::ImagePolicies;
use crate::repository::ImageRepositories;
use crate::tags::TagStore;
use crate::update::ImageUpdateAutomations;

/// How images are scanned, chosen and written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects of each kind worked on at once.
    pub workers: usize,
    /// How long a retry after a failure waits at most; the first waits 750 ms, each next twice as
    /// long.
    pub longest_retry: Duration,
    /// Refuses references to other namespaces.
    pub no_cross_namespace_refs: bool,
    /// How often an update is tried in one pass when somebody else pushed in between.
    pub push_attempts: u32,
    /// Git, where its limits are shared with others; by default it has its own.
    pub git: Option<Git>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 4,
            longest_retry: Duration::from_mins(15),
            no_cross_namespace_refs: false,
            push_attempts: 5,
            git: None,
        }
    }
}

fn desk(context: &Context, kind: Kind, manager: &'static str) -> Desk {
    Desk {
        api: context.api.with_manager(manager),
        events: context.events.named(manager),
        clock: context.clock.clone(),
        kind,
    }
}

fn settings(options: &Options) -> ControllerOptions {
    let mut settings = ControllerOptions {
        workers: options.workers,
        ..ControllerOptions::default()
    };
    settings.backoff.most = options.longest_retry;
    settings
}

/// The controllers of ImageRepository and ImagePolicy, which share what was scanned.
pub fn reflector(context: &Context, options: &Options) -> [Controller; 2] {
    let watch = |kind: &Kind| context.caches.watch(WatchOf::all(kind));
    let namespaces = WatchOf::projected(&NAMESPACE, Projection::Metadata);
    let own = |kind: &Kind| context.caches.watch(context.own(kind));
    let repositories = watch(&image_repository::KIND);
    let policies = own(&image_policy::KIND);
    let settings = settings(options);
    let tags = Arc::new(TagStore::default());
    let oci = Oci::new(context.http.clone());
    let scan = Controller::new(
        context,
        "imagerepository",
        &image_repository::KIND,
        ImageRepositories {
            desk: desk(context, image_repository::KIND, IMAGE_REFLECTOR_CONTROLLER),
            store: own(&image_repository::KIND),
            tags: tags.clone(),
            oci: oci.clone(),
        },
        settings,
    )
    .managed_by(IMAGE_REFLECTOR_CONTROLLER);

    let (of_repository, of_namespace) = (policies.clone(), policies.clone());
    let choose = Controller::new(
        context,
        "imagepolicy",
        &image_policy::KIND,
        ImagePolicies {
            desk: desk(context, image_policy::KIND, IMAGE_REFLECTOR_CONTROLLER),
            store: policies.clone(),
            repositories,
            namespaces: context.caches.watch(namespaces.clone()),
            tags: tags.clone(),
            oci,
            no_cross_namespace_refs: options.no_cross_namespace_refs,
        },
        settings,
    )
    .managed_by(IMAGE_REFLECTOR_CONTROLLER)
    .also(WatchOf::all(&image_repository::KIND), move |change| {
        if differs(change, &["spec"]) {
            refer_to(&of_repository, "imageRepositoryRef", &change.key)
        } else {
            Vec::new()
        }
    })
    .also(namespaces, move |change| {
        // Who may use another namespace's scan is told by the labels of one's own.
        if differs(change, &["metadata", "labels"]) {
            keys(&of_namespace.list_in(&change.key.name))
        } else {
            Vec::new()
        }
    });
    let (queue, of_scan) = (choose.queue(), policies.clone());
    tags.on_scan(move |repository| {
        for key in refer_to(&of_scan, "imageRepositoryRef", repository) {
            queue.add(key);
        }
    });
    [scan, choose]
}

/// The controller of ImageUpdateAutomation.
pub fn automation(context: &Context, options: &Options) -> Controller {
    let watch = |kind: &Kind| context.caches.watch(WatchOf::all(kind));
    let policies = watch(&image_policy::KIND);
    let automations = context
        .caches
        .watch(context.own(&image_update_automation::KIND));
    let (of_policy, of_source) = (automations.clone(), automations.clone());
    let git = options
        .git
        .clone()
        .unwrap_or_else(|| Git::new(context.http.clone()));
    Controller::new(
        context,
        "imageupdateautomation",
        &image_update_automation::KIND,
        ImageUpdateAutomations {
            desk: desk(
                context,
                image_update_automation::KIND,
                IMAGE_AUTOMATION_CONTROLLER,
            ),
            store: automations,
            policies,
            sources: watch(&git_repository::KIND),
            git,
            no_cross_namespace_refs: options.no_cross_namespace_refs,
            attempts: options.push_attempts.max(1),
        },
        settings(options),
    )
    .managed_by(IMAGE_AUTOMATION_CONTROLLER)
    .freezes()
    .also(WatchOf::all(&image_policy::KIND), move |change| {
        let (chosen, labels) = (["status", "latestRef"], ["metadata", "labels"]);
        if differs(change, &chosen) || differs(change, &labels) {
            keys(&of_policy.list_in(&change.key.namespace))
        } else {
            Vec::new()
        }
    })
    .also(WatchOf::all(&git_repository::KIND), move |change| {
        let revision = ["status", "artifact", "revision"];
        if differs(change, &["spec"]) || differs(change, &revision) {
            refer_to(&of_source, "sourceRef", &change.key)
        } else {
            Vec::new()
        }
    })
}

/// Whether a part of the object changed, appeared or went.
fn differs(change: &Change, path: &[&str]) -> bool {
    let part = |object: &Option<Arc<Object>>| {
        object
            .as_ref()
            .map(|object| object.get(path).cloned().unwrap_or(Value::Null))
    };
    part(&change.before) != part(&change.after)
}

fn keys(objects: &[Arc<Object>]) -> Vec<Key> {
    objects.iter().map(|object| object.key()).collect()
}

/// The objects whose reference in `spec.<field>` leads to `target`.
fn refer_to(store: &Store, field: &str, target: &Key) -> Vec<Key> {
    let refers = |object: &&Arc<Object>| {
        let namespace = match object.text(&["spec", field, "namespace"]) {
            "" => object.namespace(),
            namespace => namespace,
        };
        namespace == target.namespace && object.text(&["spec", field, "name"]) == target.name
    };
    store
        .list()
        .iter()
        .filter(refers)
        .map(|object| object.key())
        .collect()
}
