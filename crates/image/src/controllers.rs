//! Owns putting the three reconcilers together with their watches and queues. What one of them
//! changes asks the next one at once: tags for policies, policies for automations.

use std::time::Duration;

use weir_api::names::{IMAGE_AUTOMATION_CONTROLLER, IMAGE_REFLECTOR_CONTROLLER};
use weir_api::{git_repository, image_policy, image_repository, image_update_automation};
use weir_git::Git;
use weir_object::{Key, Kind, Object};
use weir_oci::Oci;
use weir_runtime::kinds::NAMESPACE;
use weir_runtime::{Change, Context, Controller, ControllerOptions, Projection, Store, WatchOf};

use crate::automation::reconcile::{Automations, source_of};
use crate::policy::reconcile::{Policies, repository_of};
use crate::repository::reconcile::Repositories;
use crate::subject::Desk;
use crate::tags::Tags;

/// How the reconcilers of images run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects of each kind worked on at once.
    pub workers: usize,
    /// How long a retry of a failed pass waits at most.
    pub longest_retry: Duration,
    /// Git, where its limits are shared with others; by default it has its own.
    pub git: Option<Git>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 4,
            longest_retry: Duration::from_mins(15),
            git: None,
        }
    }
}

/// The controllers of ImageRepository, ImagePolicy and ImageUpdateAutomation.
pub fn controllers(context: &Context, options: Options) -> Vec<Controller> {
    let mut settings = ControllerOptions {
        workers: options.workers,
        ..ControllerOptions::default()
    };
    settings.backoff.most = options.longest_retry;
    let tags = Tags::default();
    let git = options.git.unwrap_or_else(|| Git::new(context.http.clone()));
    vec![
        repositories(context, &tags, settings),
        policies(context, &tags, settings),
        automations(context, git, settings),
    ]
}

fn desk(context: &Context, kind: &Kind, name: &'static str) -> Desk {
    Desk {
        kind: kind.clone(),
        api: context.api.with_manager(name),
        events: context.events.named(name),
        clock: context.clock.clone(),
    }
}

fn repositories(context: &Context, tags: &Tags, settings: ControllerOptions) -> Controller {
    let kind = image_repository::KIND;
    let reconciler = Repositories {
        desk: desk(context, &kind, IMAGE_REFLECTOR_CONTROLLER),
        store: context.caches.watch(WatchOf::all(&kind)),
        oci: Oci::new(context.http.clone()),
        tags: tags.clone(),
    };
    Controller::new(context, "imagerepository", &kind, reconciler, settings)
}

fn policies(context: &Context, tags: &Tags, settings: ControllerOptions) -> Controller {
    let kind = image_policy::KIND;
    let store = context.caches.watch(WatchOf::all(&kind));
    let namespaces = WatchOf {
        projection: Projection::Metadata,
        ..WatchOf::all(&NAMESPACE)
    };
    let reconciler = Policies {
        desk: desk(context, &kind, IMAGE_REFLECTOR_CONTROLLER),
        store: store.clone(),
        repositories: context.caches.watch(WatchOf::all(&image_repository::KIND)),
        namespaces: context.caches.watch(namespaces.clone()),
        tags: tags.clone(),
    };
    let (by_repository, by_tags) = (store.clone(), store.clone());
    let controller = Controller::new(context, "imagepolicy", &kind, reconciler, settings)
        .also(WatchOf::all(&image_repository::KIND), move |change| {
            if !differ(change, &[&["spec"], &["status", "lastScanResult"]]) {
                return Vec::new();
            }
            keys(&by_repository, |policy| repository_of(policy) == change.key)
        })
        .also(namespaces, move |change| {
            let labels = |object: &Object| object.labels().cloned();
            if change.before.as_deref().map(labels) == change.after.as_deref().map(labels) {
                return Vec::new();
            }
            keys(&store, |policy| {
                policy.namespace() == change.key.name
                    && repository_of(policy).namespace != change.key.name
            })
        });
    // The tags of a restart may be those that the status tells of already.
    let queue = controller.queue();
    tags.on_change(move |repository| {
        for key in keys(&by_tags, |policy| repository_of(policy) == *repository) {
            queue.add(key);
        }
    });
    controller
}

fn automations(context: &Context, git: Git, settings: ControllerOptions) -> Controller {
    let kind = image_update_automation::KIND;
    let store = context.caches.watch(WatchOf::all(&kind));
    let reconciler = Automations {
        desk: desk(context, &kind, IMAGE_AUTOMATION_CONTROLLER),
        store: store.clone(),
        sources: context.caches.watch(WatchOf::all(&git_repository::KIND)),
        policies: context.caches.watch(WatchOf::all(&image_policy::KIND)),
        git,
    };
    let by_policy = store.clone();
    Controller::new(context, "imageupdateautomation", &kind, reconciler, settings)
        .also(WatchOf::all(&image_policy::KIND), move |change| {
            if !differ(change, &[&["metadata", "labels"], &["status", "latestRef"]]) {
                return Vec::new();
            }
            keys(&by_policy, |automation| {
                automation.namespace() == change.key.namespace
            })
        })
        .also(WatchOf::all(&git_repository::KIND), move |change| {
            if !differ(change, &[&["spec"], &["status", "artifact", "revision"]]) {
                return Vec::new();
            }
            keys(&store, |automation| source_of(automation) == change.key)
        })
}

/// Whether one of the fields is not what it was, or the object came or went.
fn differ(change: &Change, fields: &[&[&str]]) -> bool {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => fields.iter().any(|f| before.get(f) != after.get(f)),
        _ => true,
    }
}

fn keys(store: &Store, wanted: impl Fn(&Object) -> bool) -> Vec<Key> {
    let all = store.list();
    let all = all.iter().filter(|object| wanted(object));
    all.map(|object| object.key()).collect()
}
