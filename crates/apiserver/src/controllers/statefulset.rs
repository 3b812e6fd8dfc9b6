//! Owns StatefulSet: pods with names that last, made in order and removed in reverse, moved from
//! one revision to the next from the highest number down to the partition.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::history::{self, Style};
use super::source::{Queue, Seen, is_going, items, name_of, namespace_of, number, uid_of};
use super::stateful_claims as claims;
use super::world::World;
use super::{Control, On, PODS, STATEFUL_SETS, pods};
use crate::refusal::Refusal;
use crate::selector::Selector;
use crate::state::key_of;

pub(crate) const COMPONENT: &str = "statefulset-controller";
const STYLE: Style = Style {
    kind: "StatefulSet",
    label: "controller.kubernetes.io/hash",
};
const REVISION: &str = "controller-revision-hash";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// Pods of one set; more are refused to be counted to.
const MOST: i64 = 100_000;

/// The controller.
pub(crate) struct StatefulSets;

impl Control for StatefulSets {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::StatefulSet, Seen::Put(set)) => queue.add(key_of(set)),
            (On::Pod, Seen::Put(pod) | Seen::Gone(pod) | Seen::Left(pod)) => {
                pods::wake(world, queue, On::StatefulSet, "StatefulSet", pod);
            }
            // A claim that went lets a pod be made that waited for that.
            (On::Claim, Seen::Gone(claim)) => {
                if let Some(labels) = path::get(claim, &["metadata", "labels"]) {
                    for key in world.selecting(On::StatefulSet, namespace_of(claim), labels) {
                        queue.add(key);
                    }
                }
            }
            (On::Pod, Seen::All) => {
                queue.add_all(
                    &world
                        .store
                        .list(&STATEFUL_SETS, None, &Selector::default())
                        .0,
                );
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(set) = world.store.get(&STATEFUL_SETS, &key.namespace, &key.name) else {
            return Ok(());
        };
        let Some(selector) = Selector::from_object(path::get(&set, &["spec", "selector"])) else {
            return Ok(());
        };
        let reference = pods::owner_of(&set, "apps/v1", "StatefulSet");
        let mut all = pods::claim(world, &set, &reference, On::Pod, &PODS, &selector)?;
        all.retain(|pod| parent(name_of(pod)).is_some_and(|(name, _)| name == name_of(&set)));
        let revisions = history::of(world, &set, &STYLE)?;
        let Revisions {
            current,
            update,
            collisions,
        } = revisions_of(world, &set, &revisions)?;
        let mut step = Step {
            world,
            set: &set,
            current: &current,
            update: &update,
            now: Timestamp::UNIX_EPOCH,
            wait: None,
        };
        step.now = step.world.now();
        let mut status = step.begin(collisions);
        let outcome = step.run(&all, &mut status);
        if let Some(wait) = step.wait {
            queue.after(wait, key.clone());
        }
        write_status(world, &set, status)?;
        outcome?;
        let live = |revision: &Value| {
            let name = name_of(revision);
            name == name_of(&current)
                || name == name_of(&update)
                || all.iter().any(|pod| revision_of(pod) == name)
        };
        // Only what is not alive counts against the limit.
        history::forget(world, &set, &revisions, |_| false, |r| !live(r))
    }
}

/// The set's name and the number in a pod's name.
pub(crate) fn parent(pod: &str) -> Option<(&str, i64)> {
    let (name, number) = pod.rsplit_once('-')?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = number.parse().ok()?;
    digits.then_some((name, number))
}

fn ordinal(pod: &Value) -> i64 {
    parent(name_of(pod)).map_or(-1, |(_, number)| number)
}

fn revision_of(pod: &Value) -> &str {
    path::text(pod, &["metadata", "labels", REVISION])
}

/// The first number of a set, and the one after its last.
pub(crate) fn range(set: &Value) -> (i64, i64) {
    let first = number(set, &["spec", "ordinals", "start"]);
    let replicas = path::get(set, &["spec", "replicas"]).and_then(Value::as_i64);
    (first, first + replicas.unwrap_or(1).clamp(0, MOST))
}

struct Revisions {
    current: Arc<Value>,
    update: Arc<Value>,
    collisions: i64,
}

fn revisions_of(world: &World, set: &Value, all: &[Arc<Value>]) -> Result<Revisions, Refusal> {
    let mut collisions = number(set, &["status", "collisionCount"]);
    let data = history::data_of(set);
    let next = all.last().map_or(0, |r| number(r, &["revision"])) + 1;
    let same = all.iter().rev().find(|r| history::holds(r, &data));
    let update = match same {
        Some(same)
            if all
                .last()
                .is_some_and(|last| name_of(last) == name_of(same)) =>
        {
            same.clone()
        }
        // An earlier template is taken back.
        Some(same) => history::renumber(world, same, next)?,
        None => history::create(world, set, &STYLE, &data, next, &mut collisions)?,
    };
    let named = path::text(set, &["status", "currentRevision"]);
    let current = all.iter().find(|r| name_of(r) == named);
    Ok(Revisions {
        current: current.unwrap_or(&update).clone(),
        update,
        collisions,
    })
}

/// One place of a set: the pod there, or the one to be made.
enum Place {
    There(Arc<Value>),
    Missing(Value),
}

impl Place {
    fn pod(&self) -> &Value {
        match self {
            Self::There(pod) => pod,
            Self::Missing(pod) => pod,
        }
    }
}

/// Whether the set can go on in this look.
#[derive(PartialEq)]
enum Go {
    On,
    Wait,
}

/// One look at a set.
struct Step<'a> {
    world: &'a mut World,
    set: &'a Arc<Value>,
    current: &'a Value,
    update: &'a Value,
    now: Timestamp,
    wait: Option<Duration>,
}

impl Step<'_> {
    fn begin(&self, collisions: i64) -> Value {
        json!({
            "observedGeneration": number(self.set, &["metadata", "generation"]),
            "currentRevision": name_of(self.current),
            "updateRevision": name_of(self.update),
            "collisionCount": collisions,
        })
    }

    fn patience(&self) -> i64 {
        number(self.set, &["spec", "minReadySeconds"])
    }

    fn is_running(pod: &Value) -> bool {
        path::text(pod, &["status", "phase"]) == "Running" && pods::is_ready(pod)
    }

    fn is_available(&mut self, pod: &Value) -> bool {
        match pods::until_available(pod, self.patience(), self.now) {
            Some(0) => true,
            Some(left) => {
                let left = Duration::from_millis(left);
                self.wait = Some(self.wait.map_or(left, |w| w.min(left)));
                false
            }
            None => false,
        }
    }

    fn is_healthy(&mut self, pod: &Value) -> bool {
        self.is_available(pod) && !is_going(pod)
    }

    fn count<'v>(&mut self, status: &mut Value, all: impl Iterator<Item = &'v Value>) {
        let (mut replicas, mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0, 0);
        for pod in all {
            if path::text(pod, &["status", "phase"]).is_empty() {
                continue;
            }
            replicas += 1;
            if Self::is_running(pod) {
                ready += 1;
                if self.is_available(pod) {
                    available += 1;
                }
            }
            if !is_going(pod) {
                let revision = revision_of(pod);
                current += i64::from(revision == name_of(self.current));
                updated += i64::from(revision == name_of(self.update));
            }
        }
        for (field, value) in [
            ("replicas", replicas),
            ("readyReplicas", ready),
            ("availableReplicas", available),
            ("currentReplicas", current),
            ("updatedReplicas", updated),
        ] {
            path::set(status, &[field], value.into());
        }
    }

    /// Does what can be done now; `status` is right in each case.
    fn run(&mut self, all: &[Arc<Value>], status: &mut Value) -> Result<(), Refusal> {
        self.count(status, all.iter().map(|pod| &**pod));
        if is_going(self.set) {
            return Ok(());
        }
        let (first, end) = range(self.set);
        let mut places: Vec<Place> = (first..end)
            .map(|ordinal| Place::Missing(self.new_pod(ordinal)))
            .collect();
        let mut condemned: Vec<Arc<Value>> = Vec::new();
        for pod in all {
            let at = usize::try_from(ordinal(pod) - first).ok();
            match at.and_then(|at| places.get_mut(at)) {
                Some(place) => *place = Place::There(pod.clone()),
                None => condemned.push(pod.clone()),
            }
        }
        condemned.sort_by_key(|pod| std::cmp::Reverse(ordinal(pod)));
        let mut unhealthy = None;
        for place in &places {
            if !self.is_healthy(place.pod()) {
                unhealthy.get_or_insert_with(|| name_of(place.pod()).to_owned());
            }
        }
        for pod in condemned.iter().rev() {
            if !self.is_healthy(pod) {
                unhealthy.get_or_insert_with(|| name_of(pod).to_owned());
            }
        }
        let monotonic = path::text(self.set, &["spec", "podManagementPolicy"]) != "Parallel";
        let outcome = self.settle(&mut places, &condemned, unhealthy.as_deref(), monotonic);
        let shown = places.iter().map(Place::pod);
        self.count(status, shown.chain(condemned.iter().map(|pod| &**pod)));
        if outcome? == Go::Wait
            || path::text(self.set, &["spec", "updateStrategy", "type"]) == "OnDelete"
        {
            return Ok(());
        }
        self.roll(&places, status)
    }

    /// Brings each place to life, then takes away what is too much.
    fn settle(
        &mut self,
        places: &mut [Place],
        condemned: &[Arc<Value>],
        unhealthy: Option<&str>,
        monotonic: bool,
    ) -> Result<Go, Refusal> {
        for place in &mut *places {
            if self.place(place, monotonic)? == Go::Wait && monotonic {
                return Ok(Go::Wait);
            }
        }
        for pod in condemned {
            if !claims::match_policy(self.world, self.set, pod) {
                claims::keep_policy(self.world, self.set, pod)?;
            }
        }
        for pod in condemned {
            let name = name_of(pod);
            if is_going(pod) {
                if monotonic {
                    return Ok(Go::Wait);
                }
                continue;
            }
            let ready = Self::is_running(pod) && self.is_available(pod);
            if monotonic && !ready && unhealthy != Some(name) {
                return Ok(Go::Wait);
            }
            self.delete(pod)?;
            if monotonic {
                return Ok(Go::Wait);
            }
        }
        Ok(Go::On)
    }

    fn place(&mut self, place: &mut Place, monotonic: bool) -> Result<Go, Refusal> {
        if let Place::There(pod) = place
            && pods::is_finished(pod)
        {
            if !is_going(pod) {
                let pod = pod.clone();
                self.delete(&pod)?;
            }
            return Ok(Go::Wait);
        }
        if let Place::Missing(pod) = place {
            let pod = pod.clone();
            if claims::is_stale(self.world, self.set, &pod) {
                return Ok(Go::Wait);
            }
            let made = self.create(pod)?;
            *place = Place::There(made);
            if monotonic {
                return Ok(Go::Wait);
            }
        }
        let Place::There(pod) = &*place else {
            return Ok(Go::Wait);
        };
        let pod = pod.clone();
        if path::text(&pod, &["status", "phase"]) == "Pending" {
            claims::create_missing(self.world, self.set, &pod)?;
            claims::keep_policy(self.world, self.set, &pod)?;
        }
        let ready = Self::is_running(&pod) && self.is_available(&pod);
        if monotonic && (is_going(&pod) || !ready) {
            return Ok(Go::Wait);
        }
        self.mend(&pod)?;
        Ok(Go::On)
    }

    /// Keeps a pod's identity and its claims' owners.
    fn mend(&mut self, pod: &Value) -> Result<(), Refusal> {
        let label = |key: &str| path::text(pod, &["metadata", "labels", key]).to_owned();
        let index = ordinal(pod).to_string();
        let known = label(POD_NAME) == name_of(pod) && label(POD_INDEX) == index;
        let owned = claims::match_policy(self.world, self.set, pod);
        if known && owned {
            return Ok(());
        }
        if !owned {
            claims::keep_policy(self.world, self.set, pod)?;
        }
        let patch = json!({"metadata": {"uid": uid_of(pod),
            "labels": {POD_NAME: name_of(pod), POD_INDEX: index}}});
        let (namespace, name) = (namespace_of(pod), name_of(pod));
        let outcome = self.world.store.patch(&PODS, namespace, name, patch);
        self.tell("update", "Update", name, outcome.as_ref().err());
        outcome.map(|_| ())
    }

    /// Removes the highest pod of an earlier revision, once all above it are well.
    fn roll(&mut self, places: &[Place], status: &mut Value) -> Result<(), Refusal> {
        let partition = number(
            self.set,
            &["spec", "updateStrategy", "rollingUpdate", "partition"],
        );
        for (at, place) in places.iter().enumerate().rev() {
            if (at as i64) < partition {
                break;
            }
            let pod = place.pod();
            if revision_of(pod) != name_of(self.update) && !is_going(pod) {
                self.delete(pod)?;
                let left = number(status, &["currentReplicas"]) - 1;
                path::set(status, &["currentReplicas"], left.into());
                return Ok(());
            }
            if !self.is_healthy(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The pod of a number, at the revision it is to have now.
    fn new_pod(&self, ordinal: i64) -> Value {
        let set = self.set;
        let (first, _) = range(set);
        let strategy = path::get(set, &["spec", "updateStrategy"]);
        let rolling = strategy.and_then(|s| s.get("rollingUpdate"));
        let rolls = strategy.is_some_and(|s| path::text(s, &["type"]) == "RollingUpdate");
        let old = match rolling {
            None => rolls && ordinal < first + number(set, &["status", "currentReplicas"]),
            Some(rolling) => ordinal < first + number(rolling, &["partition"]),
        };
        let revision = if old { self.current } else { self.update };
        let mut pod = pods::pod_of(&history::apply(set, revision), "apps/v1", "StatefulSet");
        let name = format!("{}-{ordinal}", name_of(set));
        let meta = |field| ["metadata", "labels", field];
        path::set(&mut pod, &meta(REVISION), name_of(revision).into());
        path::set(&mut pod, &meta(POD_NAME), name.clone().into());
        path::set(&mut pod, &meta(POD_INDEX), ordinal.to_string().into());
        path::set(&mut pod, &["metadata", "name"], name.clone().into());
        path::set(&mut pod, &["spec", "hostname"], name.into());
        let service = path::text(set, &["spec", "serviceName"]);
        if !service.is_empty() {
            path::set(&mut pod, &["spec", "subdomain"], service.into());
        }
        let templates: Vec<&str> = items(set, &["spec", "volumeClaimTemplates"])
            .map(name_of)
            .collect();
        let mut volumes: Vec<Value> = templates
            .iter()
            .map(|template| {
                let claim = claims::name(set, template, ordinal);
                json!({"name": template, "persistentVolumeClaim": {"claimName": claim}})
            })
            .collect();
        volumes.extend(
            items(&pod, &["spec", "volumes"])
                .filter(|v| !templates.contains(&path::text(v, &["name"])))
                .cloned(),
        );
        if !volumes.is_empty() {
            path::set(&mut pod, &["spec", "volumes"], volumes.into());
        }
        pod
    }

    fn create(&mut self, pod: Value) -> Result<Arc<Value>, Refusal> {
        let name = name_of(&pod).to_owned();
        if let Err(refusal) = claims::create_missing(self.world, self.set, &pod) {
            self.tell("create", "Create", &name, Some(&refusal));
            return Err(refusal);
        }
        let outcome = self.world.store.create(&PODS, pod);
        if matches!(outcome, Err(Refusal::AlreadyExists { .. })) {
            return outcome;
        }
        if let Ok(pod) = &outcome {
            claims::keep_policy(self.world, self.set, pod)?;
        }
        self.tell("create", "Create", &name, outcome.as_ref().err());
        outcome
    }

    fn delete(&mut self, pod: &Value) -> Result<(), Refusal> {
        let (namespace, name) = (namespace_of(pod), name_of(pod));
        let outcome = match self.world.store.delete(&PODS, namespace, name) {
            Err(Refusal::NotFound { .. }) => return Ok(()),
            other => other,
        };
        self.tell("delete", "Delete", name, outcome.as_ref().err());
        outcome
    }

    fn tell(&mut self, verb: &str, word: &str, pod: &str, failure: Option<&Refusal>) {
        let set = name_of(self.set);
        match failure {
            None => {
                let message = format!("{verb} Pod {pod} in StatefulSet {set} successful");
                let reason = format!("Successful{word}");
                self.world.normal(COMPONENT, self.set, &reason, &message);
            }
            Some(refusal) => {
                let message =
                    format!("{verb} Pod {pod} in StatefulSet {set} failed error: {refusal}");
                let reason = format!("Failed{word}");
                self.world.warning(COMPONENT, self.set, &reason, &message);
            }
        }
    }
}

/// Writes the status if it changed; a roll-out that is through makes its revision the current one.
fn write_status(world: &World, set: &Arc<Value>, mut status: Value) -> Result<(), Refusal> {
    let wanted = path::get(set, &["spec", "replicas"]).and_then(Value::as_i64);
    let wanted = wanted.unwrap_or(1);
    let rolls = path::text(set, &["spec", "updateStrategy", "type"]) == "RollingUpdate";
    let all = ["updatedReplicas", "readyReplicas", "replicas"];
    if rolls && all.iter().all(|field| number(&status, &[field]) == wanted) {
        let (replicas, revision) = (
            number(&status, &["updatedReplicas"]),
            path::text(&status, &["updateRevision"]).to_owned(),
        );
        path::set(&mut status, &["currentReplicas"], replicas.into());
        path::set(&mut status, &["currentRevision"], revision.into());
    }
    // Of the counts only these two are written when they are nothing.
    for field in ["readyReplicas", "currentReplicas", "updatedReplicas"] {
        if number(&status, &[field]) == 0 {
            path::remove(&mut status, &[field]);
        }
    }
    if let Some(conditions) = path::get(set, &["status", "conditions"]) {
        path::set(&mut status, &["conditions"], conditions.clone());
    }
    if set.get("status") == Some(&status) {
        return Ok(());
    }
    let mut new = (**set).clone();
    path::set(&mut new, &["status"], status);
    world.store.update_status(&STATEFUL_SETS, new).map(|_| ())
}
