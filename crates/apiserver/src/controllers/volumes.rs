//! Owns volumes and claims: each claim gets a volume at once, one that is there and fits or a new
//! one of its class; a volume goes with its claim if its policy says so; and neither goes while it
//! is used. It refuses to wait for a pod before it binds, whatever the class says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, Kind, path};

use super::quantity::Quantity;
use super::source::{Queue, Seen, is_going, items, name_of, namespace_of, uid_of};
use super::world::World;
use super::{CLAIMS, CLASSES, Control, On, VOLUMES};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

const COMPONENT: &str = "persistentvolume-controller";
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED: &str = "pv.kubernetes.io/provisioned-by";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const PROVISIONERS: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    path::text(object, &["metadata", "annotations", key])
}

/// Binds claims to volumes.
#[derive(Default)]
pub(crate) struct Binder {
    /// Volumes that no claim has.
    free: BTreeSet<String>,
    /// Claims without a volume.
    waiting: BTreeSet<Key>,
}

impl Control for Binder {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, _: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Claim, Seen::Put(claim)) => {
                let key = key_of(claim);
                if annotation(claim, COMPLETED).is_empty() {
                    self.waiting.insert(key.clone());
                } else {
                    self.waiting.remove(&key);
                }
                queue.add(key);
            }
            (On::Claim, Seen::Gone(claim)) => {
                self.waiting.remove(&key_of(claim));
                let volume = path::text(claim, &["spec", "volumeName"]);
                if !volume.is_empty() {
                    queue.add(Key::new("", volume));
                }
            }
            (On::Volume, Seen::Put(volume)) => {
                let name = name_of(volume).to_owned();
                if path::get(volume, &["spec", "claimRef"]).is_none() {
                    self.free.insert(name.clone());
                    self.wake(queue);
                } else {
                    self.free.remove(&name);
                }
                queue.add(Key::new("", name));
            }
            (On::Volume, Seen::Gone(volume)) => {
                self.free.remove(name_of(volume));
                if let Some(claim) = claim_of(volume) {
                    queue.add(claim);
                }
            }
            (On::Class, Seen::Put(_)) => self.wake(queue),
            (On::Claim, Seen::All) => self.waiting.clear(),
            (On::Volume, Seen::All) => self.free.clear(),
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        if key.namespace.is_empty() {
            return match world.store.get(&VOLUMES, "", &key.name) {
                Some(volume) => sync_volume(world, queue, &volume),
                None => Ok(()),
            };
        }
        let Some(claim) = world.store.get(&CLAIMS, &key.namespace, &key.name) else {
            return Ok(());
        };
        if !annotation(&claim, COMPLETED).is_empty() {
            return keep_bound(world, &claim);
        }
        if is_going(&claim) {
            return Ok(());
        }
        self.bind(world, &claim)
    }
}

/// The claim that a volume is for.
fn claim_of(volume: &Value) -> Option<Key> {
    let reference = path::get(volume, &["spec", "claimRef"])?;
    let text = |field| path::text(reference, &[field]);
    Some(Key::new(text("namespace"), text("name")))
}

/// Whether a volume is for a claim: by uid, or by name before it is bound.
fn is_for(volume: &Value, claim: &Value) -> bool {
    let uid = path::text(volume, &["spec", "claimRef", "uid"]);
    claim_of(volume) == Some(key_of(claim)) && (uid.is_empty() || uid == uid_of(claim))
}

fn set_status(
    world: &World,
    kind: &Kind,
    object: &Arc<Value>,
    status: Value,
) -> Result<(), Refusal> {
    if object.get("status") == Some(&status) {
        return Ok(());
    }
    let mut new = (**object).clone();
    path::set(&mut new, &["status"], status);
    world.store.update_status(kind, new).map(|_| ())
}

fn set_phase(world: &World, kind: &Kind, object: &Arc<Value>, phase: &str) -> Result<(), Refusal> {
    let mut status = object.get("status").cloned().unwrap_or_else(|| json!({}));
    if path::text(&status, &["phase"]) != phase {
        path::set(&mut status, &["phase"], phase.into());
        if kind.kind == VOLUMES.kind {
            let now = crate::call::stamp(world.now());
            path::set(&mut status, &["lastPhaseTransitionTime"], now.into());
        }
    }
    set_status(world, kind, object, status)
}

/// What a volume is in, by the claim that it is for.
fn sync_volume(world: &mut World, queue: &mut Queue, volume: &Arc<Value>) -> Result<(), Refusal> {
    let Some(key) = claim_of(volume) else {
        return set_phase(world, &VOLUMES, volume, "Available");
    };
    let claim = world.store.get(&CLAIMS, &key.namespace, &key.name);
    let uid = path::text(volume, &["spec", "claimRef", "uid"]);
    if uid.is_empty() {
        queue.add(key);
        return set_phase(world, &VOLUMES, volume, "Available");
    }
    match claim.filter(|c| uid_of(c) == uid) {
        Some(claim) if path::text(&claim, &["spec", "volumeName"]) == name_of(volume) => {
            set_phase(world, &VOLUMES, volume, "Bound")
        }
        Some(_) => {
            queue.add(key);
            Ok(())
        }
        None => {
            set_phase(world, &VOLUMES, volume, "Released")?;
            let policy = path::text(volume, &["spec", "persistentVolumeReclaimPolicy"]);
            let made_here = !annotation(volume, PROVISIONED).is_empty();
            if policy != "Delete" || !made_here || is_going(volume) {
                return Ok(());
            }
            match world.store.delete(&VOLUMES, "", name_of(volume)) {
                Err(Refusal::NotFound { .. }) => Ok(()),
                other => other,
            }
        }
    }
}

/// A claim that was bound stays so while its volume is there.
fn keep_bound(world: &mut World, claim: &Arc<Value>) -> Result<(), Refusal> {
    let name = path::text(claim, &["spec", "volumeName"]);
    let volume = world.store.get(&VOLUMES, "", name);
    let lost = match (&volume, name) {
        (_, "") => {
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        }
        (None, _) => "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        (Some(volume), _) => {
            let uid = path::text(volume, &["spec", "claimRef", "uid"]);
            if uid.is_empty() || uid == uid_of(claim) {
                return finish(world, volume, claim);
            }
            "Two claims are bound to the same volume, this one is bound incorrectly"
        }
    };
    if path::text(claim, &["status", "phase"]) == "Lost" {
        return Ok(());
    }
    let reason = if volume.is_some() && !name.is_empty() {
        "ClaimMisbound"
    } else {
        "ClaimLost"
    };
    set_status(world, &CLAIMS, claim, json!({"phase": "Lost"}))?;
    world.warning(COMPONENT, claim, reason, lost);
    Ok(())
}

/// Ties a volume and a claim to each other, in an order that can be taken up at any point.
fn finish(world: &World, volume: &Arc<Value>, claim: &Arc<Value>) -> Result<(), Refusal> {
    let mut new = (**volume).clone();
    let reference = path::get(&new, &["spec", "claimRef"]).cloned();
    if reference.is_none() {
        let at = ["metadata", "annotations", BY_CONTROLLER];
        path::set(&mut new, &at, "yes".into());
    }
    if path::text(volume, &["spec", "claimRef", "uid"]) != uid_of(claim) {
        let reference = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "namespace": namespace_of(claim), "name": name_of(claim), "uid": uid_of(claim),
            "resourceVersion": path::text(claim, &["metadata", "resourceVersion"])});
        path::set(&mut new, &["spec", "claimRef"], reference);
    }
    let volume = if new == **volume {
        volume.clone()
    } else {
        world.store.update(&VOLUMES, new)?
    };
    set_phase(world, &VOLUMES, &volume, "Bound")?;
    let mut new = (**claim).clone();
    if path::text(claim, &["spec", "volumeName"]).is_empty() {
        path::set(&mut new, &["spec", "volumeName"], name_of(&volume).into());
        let at = ["metadata", "annotations", BY_CONTROLLER];
        path::set(&mut new, &at, "yes".into());
    }
    let at = ["metadata", "annotations", COMPLETED];
    path::set(&mut new, &at, "yes".into());
    let claim = if new == **claim {
        claim.clone()
    } else {
        world.store.update(&CLAIMS, new)?
    };
    let mut status = claim.get("status").cloned().unwrap_or_else(|| json!({}));
    path::set(&mut status, &["phase"], "Bound".into());
    for (field, at) in [("accessModes", "accessModes"), ("capacity", "capacity")] {
        if let Some(value) = path::get(&volume, &["spec", at]) {
            path::set(&mut status, &[field], value.clone());
        }
    }
    set_status(world, &CLAIMS, &claim, status)
}

fn storage(object: &Value, at: &[&str]) -> i128 {
    Quantity::parse(path::text(object, at)).map_or(0, |q| q.milli)
}

/// Why a volume does not fit a claim.
fn misfit(volume: &Value, claim: &Value) -> Option<&'static str> {
    let wanted = storage(claim, &["spec", "resources", "requests", "storage"]);
    if storage(volume, &["spec", "capacity", "storage"]) < wanted {
        return Some("requested PV is too small");
    }
    let class = |o| path::text(o, &["spec", "storageClassName"]).to_owned();
    if class(volume) != class(claim) {
        return Some("storageClassName does not match");
    }
    let mode = |o| match path::text(o, &["spec", "volumeMode"]) {
        "" => "Filesystem".to_owned(),
        mode => mode.to_owned(),
    };
    if mode(volume) != mode(claim) {
        return Some("incompatible volumeMode");
    }
    let modes: Vec<&Value> = items(volume, &["spec", "accessModes"]).collect();
    let fits = items(claim, &["spec", "accessModes"]).all(|mode| modes.contains(&mode));
    (!fits).then_some("incompatible accessMode")
}

impl Binder {
    fn wake(&self, queue: &mut Queue) {
        for claim in &self.waiting {
            queue.add(claim.clone());
        }
    }

    fn bind(&self, world: &mut World, claim: &Arc<Value>) -> Result<(), Refusal> {
        let wanted = path::text(claim, &["spec", "volumeName"]);
        if !wanted.is_empty() {
            return bind_wanted(world, claim, wanted);
        }
        if let Some(volume) = self.find(world, claim) {
            return finish(world, &volume, claim);
        }
        let class = path::get(claim, &["spec", "storageClassName"]);
        let Some(class) = class.and_then(Value::as_str) else {
            let all = world.store.list(&CLASSES, None, &Selector::default()).0;
            // The newest of several defaults is taken.
            let default = all
                .iter()
                .filter(|c| annotation(c, DEFAULT_CLASS) == "true")
                .max_by_key(|c| path::text(c, &["metadata", "creationTimestamp"]).to_owned());
            if let Some(default) = default {
                let mut new = (**claim).clone();
                path::set(
                    &mut new,
                    &["spec", "storageClassName"],
                    name_of(default).into(),
                );
                return world.store.update(&CLAIMS, new).map(|_| ());
            }
            return tell_none(world, claim);
        };
        if class.is_empty() {
            return tell_none(world, claim);
        }
        let Some(class) = world.store.get(&CLASSES, "", class) else {
            let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
            world.warning(COMPONENT, claim, "ProvisioningFailed", &message);
            return Ok(());
        };
        provision(world, claim, &class)
    }

    /// The smallest volume that fits and is free, or is kept for the claim.
    fn find(&self, world: &World, claim: &Value) -> Option<Arc<Value>> {
        let made = format!("pvc-{}", uid_of(claim));
        let own = world.store.get(&VOLUMES, "", &made);
        if let Some(own) = own.filter(|v| is_for(v, claim)) {
            return Some(own);
        }
        let selector = path::get(claim, &["spec", "selector"]);
        let selector = match selector {
            Some(selector) => Selector::from_object(Some(selector))?,
            None => Selector::default(),
        };
        let free = self.free.iter();
        let fitting = free
            .filter_map(|name| world.store.get(&VOLUMES, "", name))
            .filter(|v| path::get(v, &["spec", "claimRef"]).is_none() && !is_going(v))
            .filter(|v| selector.matches(v) && misfit(v, claim).is_none());
        fitting.min_by_key(|v| storage(v, &["spec", "capacity", "storage"]))
    }
}

fn bind_wanted(world: &mut World, claim: &Arc<Value>, name: &str) -> Result<(), Refusal> {
    let Some(volume) = world.store.get(&VOLUMES, "", name) else {
        return set_phase(world, &CLAIMS, claim, "Pending");
    };
    if claim_of(&volume).is_some() && !is_for(&volume, claim) {
        let message = format!("volume \"{name}\" already bound to a different claim.");
        world.warning(COMPONENT, claim, "FailedBinding", &message);
        return Ok(());
    }
    if claim_of(&volume).is_none()
        && let Some(why) = misfit(&volume, claim)
    {
        let message = format!("Cannot bind to requested volume \"{name}\": {why}");
        world.warning(COMPONENT, claim, "VolumeMismatch", &message);
        return Ok(());
    }
    finish(world, &volume, claim)
}

fn tell_none(world: &mut World, claim: &Arc<Value>) -> Result<(), Refusal> {
    let message = "no persistent volumes available for this claim and no storage class is set";
    world.normal(COMPONENT, claim, "FailedBinding", message);
    set_phase(world, &CLAIMS, claim, "Pending")
}

/// Makes a volume of a class for a claim, as the class's provisioner would.
fn provision(world: &mut World, claim: &Arc<Value>, class: &Value) -> Result<(), Refusal> {
    let provisioner = path::text(class, &["provisioner"]);
    let mut claim = claim.clone();
    if annotation(&claim, PROVISIONERS[1]) != provisioner {
        let mut new = (*claim).clone();
        for key in PROVISIONERS {
            let at = ["metadata", "annotations", key];
            path::set(&mut new, &at, provisioner.into());
        }
        claim = world.store.update(&CLAIMS, new)?;
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' \
             or manually by the system administrator. If volume creation is delayed, please verify \
             that the provisioner is running and correctly registered."
        );
        world.normal(COMPONENT, &claim, "ExternalProvisioning", &message);
    }
    if provisioner == "kubernetes.io/no-provisioner" {
        return Ok(());
    }
    let name = format!("pvc-{}", uid_of(&claim));
    let policy = match path::text(class, &["reclaimPolicy"]) {
        "" => "Delete",
        policy => policy,
    };
    let spec = |field| path::get(&claim, &["spec", field]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED: provisioner}},
        "spec": {
            "capacity": {"storage": path::get(&claim, &["spec", "resources", "requests", "storage"])},
            "accessModes": spec("accessModes"), "volumeMode": spec("volumeMode"),
            "persistentVolumeReclaimPolicy": policy, "storageClassName": name_of(class),
            "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1",
                "namespace": namespace_of(&claim), "name": name_of(&claim), "uid": uid_of(&claim),
                "resourceVersion": path::text(&claim, &["metadata", "resourceVersion"])},
            "hostPath": {"path": format!("/var/lib/volumes/{name}"), "type": "DirectoryOrCreate"},
        },
    });
    let volume = match world.store.create(&VOLUMES, volume) {
        Ok(volume) => {
            let message = format!("Successfully provisioned volume {name}");
            world.normal(provisioner, &claim, "ProvisioningSucceeded", &message);
            volume
        }
        Err(Refusal::AlreadyExists { .. }) => match world.store.get(&VOLUMES, "", &name) {
            Some(volume) => volume,
            None => return Ok(()),
        },
        Err(refusal) => {
            let message = format!(
                "failed to provision volume with StorageClass \"{}\": {refusal}",
                name_of(class)
            );
            world.warning(provisioner, &claim, "ProvisioningFailed", &message);
            return Err(refusal);
        }
    };
    finish(world, &volume, &claim)
}

/// Adds or removes a finalizer.
fn protect(
    world: &World,
    kind: &Kind,
    object: &Value,
    finalizer: &str,
    used: bool,
) -> Result<(), Refusal> {
    let mut all: Vec<Value> = items(object, &["metadata", "finalizers"])
        .cloned()
        .collect();
    let has = all.iter().any(|f| f == finalizer);
    if is_going(object) {
        if !has || used {
            return Ok(());
        }
        all.retain(|f| f != finalizer);
    } else {
        if has {
            return Ok(());
        }
        all.push(finalizer.into());
    }
    let mut new = object.clone();
    if all.is_empty() {
        path::remove(&mut new, &["metadata", "finalizers"]);
    } else {
        path::set(&mut new, &["metadata", "finalizers"], all.into());
    }
    match world.store.update(kind, new) {
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Keeps claims while pods use them.
#[derive(Default)]
pub(crate) struct ClaimProtection {
    users: BTreeMap<Key, BTreeSet<String>>,
    of: BTreeMap<Key, Vec<Key>>,
}

impl ClaimProtection {
    fn forget(&mut self, pod: &Key, queue: &mut Queue) {
        for claim in self.of.remove(pod).unwrap_or_default() {
            if let Some(users) = self.users.get_mut(&claim) {
                users.remove(&pod.name);
                if users.is_empty() {
                    self.users.remove(&claim);
                    queue.add(claim);
                }
            }
        }
    }
}

impl Control for ClaimProtection {
    fn name(&self) -> &'static str {
        "persistentvolumeclaim-protection-controller"
    }

    fn note(&mut self, _: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Claim, Seen::Put(claim)) => queue.add(key_of(claim)),
            (On::Pod, Seen::Put(pod)) => {
                let key = key_of(pod);
                // A pod that no kubelet has seen does not use anything yet.
                if path::text(pod, &["spec", "nodeName"]).is_empty() || self.of.contains_key(&key) {
                    return;
                }
                let claims: Vec<Key> = items(pod, &["spec", "volumes"])
                    .map(|v| path::text(v, &["persistentVolumeClaim", "claimName"]))
                    .filter(|name| !name.is_empty())
                    .map(|name| Key::new(namespace_of(pod), name))
                    .collect();
                if claims.is_empty() {
                    return;
                }
                for claim in &claims {
                    let users = self.users.entry(claim.clone()).or_default();
                    users.insert(key.name.clone());
                }
                self.of.insert(key, claims);
            }
            (On::Pod, Seen::Gone(pod)) => self.forget(&key_of(pod), queue),
            (On::Pod, Seen::All) => {
                self.users.clear();
                self.of.clear();
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, _: &mut Queue, key: &Key) -> Result<(), Refusal> {
        match world.store.get(&CLAIMS, &key.namespace, &key.name) {
            Some(claim) => {
                let used = self.users.contains_key(key);
                protect(world, &CLAIMS, &claim, "kubernetes.io/pvc-protection", used)
            }
            None => Ok(()),
        }
    }
}

/// Keeps volumes while claims have them.
pub(crate) struct VolumeProtection;

impl Control for VolumeProtection {
    fn name(&self) -> &'static str {
        "persistentvolume-protection-controller"
    }

    fn note(&mut self, _: &World, queue: &mut Queue, on: On, seen: &Seen) {
        if let (On::Volume, Seen::Put(volume)) = (on, seen) {
            queue.add(key_of(volume));
        }
    }

    fn sync(&mut self, world: &mut World, _: &mut Queue, key: &Key) -> Result<(), Refusal> {
        match world.store.get(&VOLUMES, "", &key.name) {
            Some(volume) => {
                let used = path::text(&volume, &["status", "phase"]) == "Bound";
                protect(
                    world,
                    &VOLUMES,
                    &volume,
                    "kubernetes.io/pv-protection",
                    used,
                )
            }
            None => Ok(()),
        }
    }
}
