//! Owns Deployment: one replica set for each pod template, rolled from the old to the new within
//! the bounds, and a status that says how far it is. The arithmetic is in `plan`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use weir_object::{Key, path};

use super::plan::{self, Bounds, Set};
use super::replicaset::owner_of;
use super::source::{Queue, Seen, Source, controller, controller_key, is_going, number};
use super::status::{self, Facts};
use super::{DEPLOYMENTS, PODS, REPLICA_SETS};
use crate::random::{fnv32, safe_encode};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::server::Inner;
use crate::store::Store;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
/// Annotations that stay with the deployment.
const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAXIMUM,
];

/// Runs the controller until dropped.
pub(crate) async fn run(store: Store, clock: Arc<Inner>) {
    let mut deployments = Source::new(&store, DEPLOYMENTS);
    let mut sets = Source::new(&store, REPLICA_SETS);
    let mut pods = Source::new(&store, PODS);
    let mut queue = Queue::default();
    loop {
        tokio::select! {
            seen = deployments.next() => note(&store, &mut queue, &seen),
            seen = sets.next() => note_set(&store, &mut queue, &seen),
            seen = pods.next() => note_pod(&store, &mut queue, &seen),
            () = queue.timer() => {}
        }
        while let Some(seen) = deployments.ready() {
            note(&store, &mut queue, &seen);
        }
        while let Some(seen) = sets.ready() {
            note_set(&store, &mut queue, &seen);
        }
        while let Some(seen) = pods.ready() {
            note_pod(&store, &mut queue, &seen);
        }
        while let Some(key) = queue.take() {
            match sync(&store, &clock, &key) {
                Ok(Some(wait)) => queue.after(wait, key),
                Ok(None) => {}
                Err(refusal) => {
                    tracing::debug!(%key, %refusal, "the rollout is tried again");
                    if refusal.is_retryable() {
                        queue.after(Duration::from_millis(50), key);
                    }
                }
            }
        }
    }
}

fn note(store: &Store, queue: &mut Queue, seen: &Seen) {
    match seen {
        Seen::Put(object) => queue.add(crate::state::key_of(object)),
        Seen::Gone(_) => {}
        Seen::All => queue.add_all(&store.list(&DEPLOYMENTS, None, &Selector::default()).0),
    }
}

fn note_set(store: &Store, queue: &mut Queue, seen: &Seen) {
    match seen {
        Seen::Put(set) | Seen::Gone(set) => {
            if let Some(key) = controller_key(set, "Deployment") {
                queue.add(key);
            } else if path::get(set, &["metadata", "ownerReferences"]).is_none() {
                // A set without an owner may be adopted.
                let namespace = path::text(set, &["metadata", "namespace"]);
                let (all, _) = store.list(&DEPLOYMENTS, Some(namespace), &Selector::default());
                for deployment in all {
                    let selector = path::get(&deployment, &["spec", "selector"]);
                    if Selector::from_object(selector).is_some_and(|s| s.matches(set)) {
                        queue.add(crate::state::key_of(&deployment));
                    }
                }
            }
        }
        Seen::All => note(store, queue, &Seen::All),
    }
}

/// Only the last pod's end matters here: it lets a recreated deployment go on.
fn note_pod(store: &Store, queue: &mut Queue, seen: &Seen) {
    let Seen::Gone(pod) = seen else { return };
    let Some(key) = controller_key(pod, "ReplicaSet") else {
        return;
    };
    if let Some(set) = store.get(&REPLICA_SETS, &key.namespace, &key.name)
        && let Some(key) = controller_key(&set, "Deployment")
    {
        queue.add(key);
    }
}

/// The bounds of a deployment's rolling update.
pub(crate) fn bounds(deployment: &Value) -> Bounds {
    let replicas = path::get(deployment, &["spec", "replicas"])
        .and_then(Value::as_i64)
        .unwrap_or(1);
    if path::text(deployment, &["spec", "strategy", "type"]) == "Recreate" {
        return Bounds {
            replicas,
            surge: 0,
            unavailable: 0,
        };
    }
    let field = |name| path::get(deployment, &["spec", "strategy", "rollingUpdate", name]);
    let quarter = json!("25%");
    let surge = plan::resolve(Some(field("maxSurge").unwrap_or(&quarter)), replicas, true);
    let unavailable = plan::resolve(
        Some(field("maxUnavailable").unwrap_or(&quarter)),
        replicas,
        false,
    );
    // Both may round to nothing; then one pod may be missing, or the rollout would never start.
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable.min(replicas)
    };
    Bounds {
        replicas,
        surge,
        unavailable,
    }
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    path::get(object, &["metadata", "annotations", key])?.as_str()
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn as_set(set: &Value) -> Set {
    Set {
        name: path::text(set, &["metadata", "name"]).to_owned(),
        replicas: number(set, &["spec", "replicas"]),
        available: number(set, &["status", "availableReplicas"]),
        max: annotation(set, MAXIMUM)
            .and_then(|t| t.parse().ok())
            .unwrap_or_default(),
    }
}

/// The pod template less the hash, for comparison.
fn template(object: &Value) -> Value {
    let mut template = path::get(object, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    path::remove(&mut template, &["metadata", "labels", HASH]);
    for field in ["labels", "annotations"] {
        let empty = path::get(&template, &["metadata", field])
            .is_some_and(|v| v.as_object().is_some_and(Map::is_empty));
        if empty {
            path::remove(&mut template, &["metadata", field]);
        }
    }
    template
}

/// The set of the current template, and the others.
type Sets = (Option<Arc<Value>>, Vec<Arc<Value>>);

/// The sets of a deployment, adopted ones included: the one of the current template, and the
/// others with the oldest first.
fn sets_of(store: &Store, deployment: &Value) -> Result<Sets, Refusal> {
    let uid = path::text(deployment, &["metadata", "uid"]);
    let namespace = path::text(deployment, &["metadata", "namespace"]);
    let mut all: Vec<Arc<Value>> = store.owned(uid, &REPLICA_SETS);
    all.retain(|set| controller(set, "Deployment").is_some_and(|(_, of)| of == uid));
    if !is_going(deployment)
        && let Some(selector) = Selector::from_object(path::get(deployment, &["spec", "selector"]))
    {
        for set in store.list(&REPLICA_SETS, Some(namespace), &selector).0 {
            if path::get(&set, &["metadata", "ownerReferences"]).is_none() && !is_going(&set) {
                let name = path::text(&set, &["metadata", "name"]);
                let patch = json!({"metadata": {"uid": path::get(&set, &["metadata", "uid"]),
                    "ownerReferences": [owner_of(deployment, "apps/v1", "Deployment")]}});
                all.push(store.patch(&REPLICA_SETS, namespace, name, patch)?);
            }
        }
    }
    all.sort_by_key(|set| {
        let text = |field| path::text(set, &["metadata", field]).to_owned();
        (text("creationTimestamp"), revision(set), text("name"))
    });
    let wanted = template(deployment);
    let new = all
        .iter()
        .position(|set| template(set) == wanted)
        .map(|i| all.remove(i));
    Ok((new, all))
}

/// One look at a deployment; answers when to look again.
fn sync(store: &Store, clock: &Inner, key: &Key) -> Result<Option<Duration>, Refusal> {
    let Some(live) = store.get(&DEPLOYMENTS, &key.namespace, &key.name) else {
        return Ok(None);
    };
    let (mut new, old) = sets_of(store, &live)?;
    let mut facts = Facts::default();
    let paused = path::get(&live, &["spec", "paused"]) == Some(&Value::Bool(true));
    if is_going(&live) {
        return status::write(store, clock, &live, new.as_ref(), &old, &facts);
    }
    let bounds = bounds(&live);
    let all = || new.iter().chain(&old);
    let scaled = all().any(|set| {
        number(set, &["spec", "replicas"]) > 0
            && annotation(set, DESIRED).is_some_and(|was| was != bounds.replicas.to_string())
    });
    if paused || scaled {
        resize(store, &live, new.as_ref(), &old, bounds)?;
        let (new, old) = sets_of(store, &live)?;
        return status::write(store, clock, &live, new.as_ref(), &old, &facts);
    }
    let next = old
        .iter()
        .map(|set| revision(set))
        .max()
        .unwrap_or_default()
        + 1;
    if let Some(set) = &new {
        facts.found = true;
        facts.revision = revision(set).max(next);
        new = Some(annotate(store, &live, set, facts.revision, bounds)?);
    } else {
        facts.revision = next;
        // The old pods of a recreated deployment end before the first new one starts.
        let recreate = path::text(&live, &["spec", "strategy", "type"]) == "Recreate";
        let size = if recreate {
            0
        } else {
            plan::new_size(0, total(&old), bounds)
        };
        match create(store, &live, next, size, bounds)? {
            Some(set) => {
                facts.created = true;
                new = Some(set);
            }
            None => facts.collided = true,
        }
    }
    if let Some(set) = &new {
        if path::text(&live, &["spec", "strategy", "type"]) == "Recreate" {
            recreate(store, &live, set, &old, bounds)?;
        } else {
            roll(store, &live, set, &old, bounds)?;
        }
    }
    let (new, old) = sets_of(store, &live)?;
    if let Some(new) = &new
        && status::is_complete(&live, new, &old)
    {
        forget(store, &live, &old)?;
    }
    status::write(store, clock, &live, new.as_ref(), &old, &facts)
}

fn total(sets: &[Arc<Value>]) -> i64 {
    sets.iter()
        .map(|set| number(set, &["spec", "replicas"]))
        .sum()
}

/// Moves the new set up first, and the old ones down only when it has its size for now.
fn roll(
    store: &Store,
    deployment: &Value,
    new: &Arc<Value>,
    old: &[Arc<Value>],
    bounds: Bounds,
) -> Result<(), Refusal> {
    let is = number(new, &["spec", "replicas"]);
    let wanted = plan::new_size(is, is + total(old), bounds);
    if wanted != is {
        return scale(store, deployment, new, wanted, bounds);
    }
    let others: Vec<Set> = old.iter().map(|set| as_set(set)).collect();
    for (name, size) in plan::old_sizes(&as_set(new), &others, bounds) {
        if let Some(set) = old
            .iter()
            .find(|s| path::text(s, &["metadata", "name"]) == name)
        {
            scale(store, deployment, set, size, bounds)?;
        }
    }
    Ok(())
}

/// Ends all old pods before the first new one.
fn recreate(
    store: &Store,
    deployment: &Value,
    new: &Arc<Value>,
    old: &[Arc<Value>],
    bounds: Bounds,
) -> Result<(), Refusal> {
    for set in old
        .iter()
        .filter(|set| number(set, &["spec", "replicas"]) > 0)
    {
        scale(store, deployment, set, 0, bounds)?;
    }
    let running = old.iter().any(|set| {
        let pods = store.owned(path::text(set, &["metadata", "uid"]), &PODS);
        pods.iter()
            .any(|p| !matches!(path::text(p, &["status", "phase"]), "Succeeded" | "Failed"))
    });
    if running || number(new, &["spec", "replicas"]) == bounds.replicas {
        return Ok(());
    }
    scale(store, deployment, new, bounds.replicas, bounds)
}

/// Follows a changed size without moving the rollout on.
fn resize(
    store: &Store,
    deployment: &Value,
    new: Option<&Arc<Value>>,
    old: &[Arc<Value>],
    bounds: Bounds,
) -> Result<(), Refusal> {
    let all: Vec<&Arc<Value>> = old.iter().chain(new).collect();
    let active: Vec<&Arc<Value>> = all
        .iter()
        .copied()
        .filter(|set| number(set, &["spec", "replicas"]) > 0)
        .collect();
    if active.len() <= 1 {
        // With nothing active the newest set takes all.
        return match active.first().copied().or(all.last().copied()) {
            Some(set) => scale(store, deployment, set, bounds.replicas, bounds),
            None => Ok(()),
        };
    }
    let newest_first: Vec<Set> = active.iter().rev().map(|set| as_set(set)).collect();
    let sizes = plan::proportional(&newest_first, bounds);
    for set in active {
        let name = path::text(set, &["metadata", "name"]);
        let size = sizes.iter().find(|(n, _)| n == name).map(|(_, size)| *size);
        scale(
            store,
            deployment,
            set,
            size.unwrap_or_else(|| number(set, &["spec", "replicas"])),
            bounds,
        )?;
    }
    Ok(())
}

fn sizes_of(bounds: Bounds) -> [(&'static str, String); 2] {
    [
        (DESIRED, bounds.replicas.to_string()),
        (MAXIMUM, (bounds.replicas + bounds.surge).to_string()),
    ]
}

/// Writes a set's size, and the deployment's beside it.
fn scale(
    store: &Store,
    deployment: &Value,
    set: &Value,
    replicas: i64,
    bounds: Bounds,
) -> Result<(), Refusal> {
    let mut annotations = Map::new();
    for (key, value) in sizes_of(bounds) {
        annotations.insert(key.to_owned(), value.into());
    }
    let patch = json!({
        "metadata": {"uid": path::get(set, &["metadata", "uid"]), "annotations": annotations},
        "spec": {"replicas": replicas},
    });
    let namespace = path::text(deployment, &["metadata", "namespace"]);
    store
        .patch(
            &REPLICA_SETS,
            namespace,
            path::text(set, &["metadata", "name"]),
            patch,
        )
        .map(|_| ())
}

fn copied(deployment: &Value) -> Map<String, Value> {
    let all = path::get(deployment, &["metadata", "annotations"]).and_then(Value::as_object);
    let mut out = all.cloned().unwrap_or_default();
    out.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    out
}

/// Keeps the new set's revision and the deployment's annotations on it.
fn annotate(
    store: &Store,
    deployment: &Value,
    set: &Arc<Value>,
    revision: i64,
    bounds: Bounds,
) -> Result<Arc<Value>, Refusal> {
    let mut wanted = copied(deployment);
    wanted.insert(REVISION.to_owned(), revision.to_string().into());
    for (key, value) in sizes_of(bounds) {
        wanted.insert(key.to_owned(), value.into());
    }
    let same = wanted
        .iter()
        .all(|(key, value)| annotation(set, key) == value.as_str());
    let patience = number(deployment, &["spec", "minReadySeconds"]);
    if same && number(set, &["spec", "minReadySeconds"]) == patience {
        return Ok(set.clone());
    }
    let patch = json!({"metadata": {"annotations": wanted}, "spec": {"minReadySeconds": patience}});
    let namespace = path::text(deployment, &["metadata", "namespace"]);
    store.patch(
        &REPLICA_SETS,
        namespace,
        path::text(set, &["metadata", "name"]),
        patch,
    )
}

/// Makes the set of the current template. `None` is a name that another template has.
fn create(
    store: &Store,
    deployment: &Value,
    revision: i64,
    replicas: i64,
    bounds: Bounds,
) -> Result<Option<Arc<Value>>, Refusal> {
    let mut template = path::get(deployment, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    let collisions = number(deployment, &["status", "collisionCount"]);
    let text = format!("{}{collisions}", weir_object::canonical(&template));
    let hash = safe_encode(&fnv32(text.as_bytes()).to_string());
    let name = format!("{}-{hash}", path::text(deployment, &["metadata", "name"]));
    path::set(
        &mut template,
        &["metadata", "labels", HASH],
        hash.clone().into(),
    );
    let mut selector = path::get(deployment, &["spec", "selector"])
        .cloned()
        .unwrap_or_default();
    path::set(&mut selector, &["matchLabels", HASH], hash.into());
    let mut annotations = copied(deployment);
    annotations.insert(REVISION.to_owned(), revision.to_string().into());
    for (key, value) in sizes_of(bounds) {
        annotations.insert(key.to_owned(), value.into());
    }
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": path::text(deployment, &["metadata", "namespace"]),
            "labels": path::get(&template, &["metadata", "labels"]), "annotations": annotations,
            "ownerReferences": [owner_of(deployment, "apps/v1", "Deployment")],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    let patience = number(deployment, &["spec", "minReadySeconds"]);
    if patience > 0 {
        path::set(&mut object, &["spec", "minReadySeconds"], patience.into());
    }
    match store.create(&REPLICA_SETS, object) {
        Ok(set) => Ok(Some(set)),
        Err(Refusal::AlreadyExists { .. }) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Removes old empty sets beyond the limit.
fn forget(store: &Store, deployment: &Value, old: &[Arc<Value>]) -> Result<(), Refusal> {
    let limit = path::get(deployment, &["spec", "revisionHistoryLimit"]).and_then(Value::as_u64);
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(usize::MAX);
    if old.len() <= limit {
        return Ok(());
    }
    let mut oldest: Vec<&Arc<Value>> = old.iter().collect();
    oldest.sort_by_key(|set| revision(set));
    for set in oldest.into_iter().take(old.len() - limit) {
        let empty = number(set, &["spec", "replicas"]) == 0
            && number(set, &["status", "replicas"]) == 0
            && number(set, &["status", "observedGeneration"])
                >= number(set, &["metadata", "generation"]);
        if empty && !is_going(set) {
            let namespace = path::text(deployment, &["metadata", "namespace"]);
            store.delete(
                &REPLICA_SETS,
                namespace,
                path::text(set, &["metadata", "name"]),
            )?;
        }
    }
    Ok(())
}
