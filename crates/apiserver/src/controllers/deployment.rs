//! Owns Deployment: one replica set for each pod template, rolled from the old to the new within
//! the bounds, and a status that says how far it is. The arithmetic is in `plan`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use weir_object::{Key, path};

use super::plan::{self, Bounds, Set};
use super::source::{Queue, Seen, controller_key, is_going, name_of, namespace_of, number, uid_of};
use super::status::{self, Facts};
use super::world::World;
use super::{Control, DEPLOYMENTS, On, PODS, REPLICA_SETS, pods};
use crate::random::{fnv32, safe_encode};
use crate::refusal::Refusal;
use crate::selector::Selector;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const ROLLBACK: &str = "deprecated.deployment.rollback.to";
const HASH: &str = "pod-template-hash";
const COMPONENT: &str = "deployment-controller";
/// Annotations that stay with the deployment.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    ROLLBACK,
];
/// How long the list of a set's earlier revisions may become.
const HISTORY_LENGTH: usize = 2000;

/// The controller.
pub(crate) struct Deployments;

impl Control for Deployments {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Deployment, Seen::Put(object)) => queue.add(crate::state::key_of(object)),
            (On::ReplicaSet, Seen::Put(set) | Seen::Gone(set)) => {
                pods::wake(world, queue, On::Deployment, "Deployment", set);
            }
            (On::ReplicaSet | On::Pod, Seen::All) => {
                queue.add_all(&world.store.list(&DEPLOYMENTS, None, &Selector::default()).0);
            }
            // Only the last pod's end matters here: it lets a recreated deployment go on.
            (On::Pod, Seen::Gone(pod)) => {
                if let Some(key) = controller_key(pod, "ReplicaSet")
                    && let Some(set) = world.store.get(&REPLICA_SETS, &key.namespace, &key.name)
                    && let Some(key) = controller_key(&set, "Deployment")
                {
                    queue.add(key);
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        if let Some(wait) = sync(world, key)? {
            queue.after(wait, key.clone());
        }
        Ok(())
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
        name: name_of(set).to_owned(),
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
fn sets_of(world: &World, deployment: &Value) -> Result<Sets, Refusal> {
    let Some(selector) = Selector::from_object(path::get(deployment, &["spec", "selector"])) else {
        return Ok((None, Vec::new()));
    };
    let reference = pods::owner_of(deployment, "apps/v1", "Deployment");
    let mut all = pods::claim(
        world,
        deployment,
        &reference,
        On::ReplicaSet,
        &REPLICA_SETS,
        &selector,
    )?;
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
fn sync(world: &mut World, key: &Key) -> Result<Option<Duration>, Refusal> {
    let Some(live) = world.store.get(&DEPLOYMENTS, &key.namespace, &key.name) else {
        return Ok(None);
    };
    if Selector::from_object(path::get(&live, &["spec", "selector"]))
        .is_some_and(|s| s.is_everything())
    {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        world.warning(COMPONENT, &live, "SelectingAll", message);
        return Ok(None);
    }
    let (mut new, old) = sets_of(world, &live)?;
    let mut facts = Facts::default();
    let paused = path::get(&live, &["spec", "paused"]) == Some(&Value::Bool(true));
    if is_going(&live) {
        return status::write(world, &live, new.as_ref(), &old, &facts);
    }
    let bounds = bounds(&live);
    if !paused && let Some(wanted) = annotation(&live, ROLLBACK) {
        let wanted = wanted.to_owned();
        return roll_back(world, &live, &wanted, new.as_ref(), &old).map(|()| None);
    }
    let all = || new.iter().chain(&old);
    let scaled = all().any(|set| {
        number(set, &["spec", "replicas"]) > 0
            && annotation(set, DESIRED).is_some_and(|was| was != bounds.replicas.to_string())
    });
    if paused || scaled {
        resize(world, &live, new.as_ref(), &old, bounds)?;
        let (new, old) = sets_of(world, &live)?;
        return status::write(world, &live, new.as_ref(), &old, &facts);
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
        new = Some(annotate(world, &live, set, facts.revision, bounds)?);
    } else {
        facts.revision = next;
        // The old pods of a recreated deployment end before the first new one starts.
        let recreate = path::text(&live, &["spec", "strategy", "type"]) == "Recreate";
        let size = if recreate {
            0
        } else {
            plan::new_size(0, total(&old), bounds)
        };
        match create(world, &live, next, size, bounds)? {
            Some(set) => {
                facts.created = true;
                new = Some(set);
            }
            None => facts.collided = true,
        }
    }
    if let Some(set) = &new {
        if path::text(&live, &["spec", "strategy", "type"]) == "Recreate" {
            recreate(world, &live, set, &old, bounds)?;
        } else {
            roll(world, &live, set, &old, bounds)?;
        }
    }
    let (new, old) = sets_of(world, &live)?;
    if let Some(new) = &new
        && status::is_complete(&live, new, &old)
    {
        forget(world, &live, &old)?;
    }
    status::write(world, &live, new.as_ref(), &old, &facts)
}

fn total(sets: &[Arc<Value>]) -> i64 {
    sets.iter()
        .map(|set| number(set, &["spec", "replicas"]))
        .sum()
}

/// Moves the new set up first, and the old ones down only when it has its size for now.
fn roll(
    world: &mut World,
    deployment: &Value,
    new: &Arc<Value>,
    old: &[Arc<Value>],
    bounds: Bounds,
) -> Result<(), Refusal> {
    let is = number(new, &["spec", "replicas"]);
    let wanted = plan::new_size(is, is + total(old), bounds);
    if wanted != is {
        return scale(world, deployment, new, wanted, bounds);
    }
    let others: Vec<Set> = old.iter().map(|set| as_set(set)).collect();
    for (name, size) in plan::old_sizes(&as_set(new), &others, bounds) {
        if let Some(set) = old
            .iter()
            .find(|s| path::text(s, &["metadata", "name"]) == name)
        {
            scale(world, deployment, set, size, bounds)?;
        }
    }
    Ok(())
}

/// Ends all old pods before the first new one.
fn recreate(
    world: &mut World,
    deployment: &Value,
    new: &Arc<Value>,
    old: &[Arc<Value>],
    bounds: Bounds,
) -> Result<(), Refusal> {
    for set in old
        .iter()
        .filter(|set| number(set, &["spec", "replicas"]) > 0)
    {
        scale(world, deployment, set, 0, bounds)?;
    }
    let running = old.iter().any(|set| {
        let pods = world
            .store
            .owned(path::text(set, &["metadata", "uid"]), &PODS);
        pods.iter()
            .any(|p| !matches!(path::text(p, &["status", "phase"]), "Succeeded" | "Failed"))
    });
    if running || number(new, &["spec", "replicas"]) == bounds.replicas {
        return Ok(());
    }
    scale(world, deployment, new, bounds.replicas, bounds)
}

/// Follows a changed size without moving the rollout on.
fn resize(
    world: &mut World,
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
            Some(set) => scale(world, deployment, set, bounds.replicas, bounds),
            None => Ok(()),
        };
    }
    let newest_first: Vec<Set> = active.iter().rev().map(|set| as_set(set)).collect();
    let sizes = plan::proportional(&newest_first, bounds);
    for set in active {
        let name = name_of(set);
        let size = sizes.iter().find(|(n, _)| n == name).map(|(_, size)| *size);
        scale(
            world,
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
    world: &mut World,
    deployment: &Value,
    set: &Value,
    replicas: i64,
    bounds: Bounds,
) -> Result<(), Refusal> {
    let was = number(set, &["spec", "replicas"]);
    let noted = sizes_of(bounds)
        .iter()
        .all(|(key, value)| annotation(set, key) == Some(value));
    if was == replicas && noted {
        return Ok(());
    }
    let mut annotations = Map::new();
    for (key, value) in sizes_of(bounds) {
        annotations.insert(key.to_owned(), value.into());
    }
    let patch = json!({
        "metadata": {"uid": uid_of(set), "annotations": annotations},
        "spec": {"replicas": replicas},
    });
    let (namespace, name) = (namespace_of(deployment), name_of(set));
    world.store.patch(&REPLICA_SETS, namespace, name, patch)?;
    if was != replicas {
        let way = if replicas > was { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {name} from {was} to {replicas}");
        world.normal(COMPONENT, deployment, "ScalingReplicaSet", &message);
    }
    Ok(())
}

fn copied(deployment: &Value) -> Map<String, Value> {
    let all = path::get(deployment, &["metadata", "annotations"]).and_then(Value::as_object);
    let mut out = all.cloned().unwrap_or_default();
    out.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    out
}

/// Keeps the new set's revision and the deployment's annotations on it.
fn annotate(
    world: &mut World,
    deployment: &Value,
    set: &Arc<Value>,
    revision: i64,
    bounds: Bounds,
) -> Result<Arc<Value>, Refusal> {
    let mut wanted = copied(deployment);
    let own = annotation(set, REVISION).and_then(|text| text.parse::<i64>().ok());
    if own.is_none_or(|own| own < revision) {
        wanted.insert(REVISION.to_owned(), revision.to_string().into());
        // A set that is taken again remembers what it was before.
        if let Some(own) = own {
            let mut past: Vec<String> = annotation(set, HISTORY)
                .into_iter()
                .flat_map(|text| text.split(','))
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect();
            past.push(own.to_string());
            while past.len() > 1 && past.join(",").len() > HISTORY_LENGTH {
                past.remove(0);
            }
            wanted.insert(HISTORY.to_owned(), past.join(",").into());
        }
    }
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
    let (namespace, name) = (namespace_of(deployment), name_of(set));
    world.store.patch(&REPLICA_SETS, namespace, name, patch)
}

/// Makes the set of the current template. `None` is a name that another template has.
fn create(
    world: &mut World,
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
            "name": name, "namespace": namespace_of(deployment),
            "labels": path::get(&template, &["metadata", "labels"]), "annotations": annotations,
            "ownerReferences": [pods::owner_of(deployment, "apps/v1", "Deployment")],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    let patience = number(deployment, &["spec", "minReadySeconds"]);
    if patience > 0 {
        path::set(&mut object, &["spec", "minReadySeconds"], patience.into());
    }
    match world.store.create(&REPLICA_SETS, object) {
        Ok(set) => {
            if replicas > 0 {
                let name = name_of(&set);
                let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                world.normal(COMPONENT, deployment, "ScalingReplicaSet", &message);
            }
            Ok(Some(set))
        }
        Err(Refusal::AlreadyExists { .. }) => Ok(None),
        Err(refusal) => {
            let message = format!("Failed to create new replica set \"{name}\": {refusal}");
            status::write_failure(world, deployment, &message)?;
            world.warning(COMPONENT, deployment, "ReplicaSetCreateError", &message);
            Err(refusal)
        }
    }
}

/// Takes the template of an earlier revision, when an annotation asks for it.
fn roll_back(
    world: &mut World,
    deployment: &Value,
    wanted: &str,
    new: Option<&Arc<Value>>,
    old: &[Arc<Value>],
) -> Result<(), Refusal> {
    let mut wanted: i64 = wanted.parse().unwrap_or_default();
    if wanted == 0 {
        // The last revision but one.
        let mut all: Vec<i64> = old.iter().chain(new).map(|set| revision(set)).collect();
        all.sort_unstable();
        wanted = all.iter().rev().nth(1).copied().unwrap_or_default();
    }
    let mut object = deployment.clone();
    path::remove(&mut object, &["metadata", "annotations", ROLLBACK]);
    let set = old.iter().chain(new).find(|set| revision(set) == wanted);
    let name = name_of(deployment);
    match set {
        _ if wanted == 0 => {
            let message = "Unable to find last revision.";
            world.warning(
                COMPONENT,
                deployment,
                "DeploymentRollbackRevisionNotFound",
                message,
            );
        }
        None => {
            let message = "Unable to find the revision to rollback to.";
            world.warning(
                COMPONENT,
                deployment,
                "DeploymentRollbackRevisionNotFound",
                message,
            );
        }
        Some(set) if template(set) == template(deployment) => {
            let message = format!(
                "The rollback revision contains the same template as current deployment \"{name}\""
            );
            world.warning(
                COMPONENT,
                deployment,
                "DeploymentRollbackTemplateUnchanged",
                &message,
            );
        }
        Some(set) => {
            path::set(&mut object, &["spec", "template"], template(set));
            let message = format!("Rolled back deployment \"{name}\" to revision {wanted}");
            world.normal(COMPONENT, deployment, "DeploymentRollback", &message);
        }
    }
    world.store.update(&DEPLOYMENTS, object).map(|_| ())
}

/// Removes old empty sets beyond the limit.
fn forget(world: &mut World, deployment: &Value, old: &[Arc<Value>]) -> Result<(), Refusal> {
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
            let namespace = namespace_of(deployment);
            world.store.delete(&REPLICA_SETS, namespace, name_of(set))?;
        }
    }
    Ok(())
}
