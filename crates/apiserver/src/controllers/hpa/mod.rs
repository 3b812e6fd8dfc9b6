//! Owns HorizontalPodAutoscaler: every fifteen seconds each one compares what its target's pods use
//! with what is wanted, and writes the target's size through its scale. What it remembers of the
//! past is lost at an end, as is usual; then it decides anew.

mod limits;
mod measure;
mod replicas;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path, split_api_version};

use super::source::{Queue, Seen, items, namespace_of, number};
use super::world::World;
use super::{Control, On, SCALERS};
use crate::call::{Call, stamp};
use crate::objects;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::scale;
use crate::selector::Selector;
use crate::state::key_of;
use limits::{Change, Memory, Range, Rules, normalize, normalize_by};

const COMPONENT: &str = "horizontal-pod-autoscaler";
/// Between two looks at one scaler.
const PERIOD: Duration = Duration::from_secs(15);

/// The controller.
#[derive(Default)]
pub(crate) struct Scalers {
    memory: HashMap<Key, Memory>,
    /// What each scaler's target selects, to tell when two have the same pods.
    selectors: BTreeMap<Key, Selector>,
}

impl Control for Scalers {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn note(&mut self, _: &World, queue: &mut Queue, on: On, seen: &Seen) {
        match (on, seen) {
            (On::Scaler, Seen::Put(scaler)) => queue.after(PERIOD, key_of(scaler)),
            (On::Scaler, Seen::Gone(scaler)) => {
                let key = key_of(scaler);
                self.memory.remove(&key);
                self.selectors.remove(&key);
            }
            _ => {}
        }
    }

    fn sync(&mut self, world: &mut World, queue: &mut Queue, key: &Key) -> Result<(), Refusal> {
        let Some(scaler) = world.store.get(&SCALERS, &key.namespace, &key.name) else {
            return Ok(());
        };
        queue.after(PERIOD, key.clone());
        let conditions = items(&scaler, &["status", "conditions"]).cloned().collect();
        let now = world.now();
        let memory = self.memory.entry(key.clone()).or_default();
        let mut look = Look {
            world,
            scaler: &scaler,
            conditions,
            selectors: &mut self.selectors,
            memory,
            now,
        };
        let status = look.run();
        if scaler.get("status") == Some(&status) {
            return Ok(());
        }
        let mut new = (*scaler).clone();
        path::set(&mut new, &["status"], status);
        match world.store.update_status(&SCALERS, new) {
            // It changed meanwhile; the next look is soon enough.
            Ok(_) | Err(Refusal::Conflict { .. } | Refusal::NotFound { .. }) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }
}

/// A metric that could not be used: the reason for conditions, the cause as told by the event, and
/// as told in the list of failures.
struct Bad {
    reason: &'static str,
    cause: String,
    listed: String,
}

/// What one metric asks for.
struct Good {
    replicas: i64,
    name: String,
    status: Value,
}

struct Look<'a> {
    world: &'a mut World,
    scaler: &'a Arc<Value>,
    conditions: Vec<Value>,
    selectors: &'a mut BTreeMap<Key, Selector>,
    memory: &'a mut Memory,
    now: Timestamp,
}

/// The resource of a target, and its scale.
struct Target {
    resource: Arc<Resource>,
    scale: Value,
}

impl Look<'_> {
    fn millis(&self) -> i64 {
        self.now.as_millisecond()
    }

    fn condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let time = stamp(self.now);
        let old = self
            .conditions
            .iter_mut()
            .find(|c| path::text(c, &["type"]) == kind);
        let since = old
            .as_ref()
            .filter(|c| path::text(c, &["status"]) == status)
            .map_or(time, |c| path::text(c, &["lastTransitionTime"]).to_owned());
        let new = json!({"type": kind, "status": status, "lastTransitionTime": since,
            "reason": reason, "message": message});
        match old {
            Some(old) => *old = new,
            None => self.conditions.push(new),
        }
    }

    fn warning(&mut self, reason: &str, message: &str) {
        self.world.warning(COMPONENT, self.scaler, reason, message);
    }

    /// The status as it is now; `scaled` marks the time.
    fn status(&self, current: Option<i64>, desired: i64, metrics: &Value, scaled: bool) -> Value {
        let mut out = json!({"desiredReplicas": desired, "currentMetrics": metrics});
        if let Some(current) = current.filter(|c| *c != 0) {
            path::set(&mut out, &["currentReplicas"], current.into());
        }
        let last = path::get(self.scaler, &["status", "lastScaleTime"]).cloned();
        let last = if scaled {
            Some(stamp(self.now).into())
        } else {
            last
        };
        if let Some(last) = last {
            path::set(&mut out, &["lastScaleTime"], last);
        }
        path::set(&mut out, &["conditions"], self.conditions.clone().into());
        if let Some(seen) = path::get(self.scaler, &["status", "observedGeneration"]) {
            path::set(&mut out, &["observedGeneration"], seen.clone());
        }
        out
    }

    fn run(&mut self) -> Value {
        let was = number(self.scaler, &["status", "desiredReplicas"]);
        let target = match self.target() {
            Ok(target) => target,
            Err(why) => {
                self.warning("FailedGetScale", &why);
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {why}"
                );
                self.condition("AbleToScale", "False", "FailedGetScale", &message);
                let current = path::get(self.scaler, &["status", "currentReplicas"]);
                let metrics = path::get(self.scaler, &["status", "currentMetrics"]);
                let metrics = metrics.cloned().unwrap_or_default();
                return self.status(current.and_then(Value::as_i64), was, &metrics, false);
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        self.condition("AbleToScale", "True", "SucceededGetScale", message);
        let current = number(&target.scale, &["spec", "replicas"]);
        if self.memory.wanted.is_empty() {
            self.memory.wanted.push((self.millis(), current));
        }
        let least = path::get(self.scaler, &["spec", "minReplicas"]).and_then(Value::as_i64);
        let range = Range {
            current,
            least: least.unwrap_or(1),
            most: number(self.scaler, &["spec", "maxReplicas"]),
        };
        let mut metrics = Value::Null;
        let (wanted, reason) = if current == 0 && range.least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.condition("ScalingActive", "False", "ScalingDisabled", message);
            return self.status(Some(current), current, &metrics, false);
        } else if current > range.most {
            let why = "Current number of replicas above Spec.MaxReplicas";
            (range.most, why.to_owned())
        } else if current < range.least {
            let why = "Current number of replicas below Spec.MinReplicas";
            (range.least, why.to_owned())
        } else {
            let (outcome, statuses) = self.measure(&target.scale);
            metrics = statuses;
            match outcome {
                Ok((replicas, name)) => self.decide(range, replicas, &name),
                Err(why) => {
                    self.warning("FailedComputeMetricsReplicas", &why);
                    return self.status(Some(current), was, &metrics, false);
                }
            }
        };
        if wanted == current {
            return self.status(Some(current), current, &metrics, false);
        }
        if let Err(why) = self.rescale(&target, wanted) {
            let message = format!("New size: {wanted}; reason: {reason}; error: {why}");
            self.warning("FailedRescale", &message);
            let message =
                format!("the HPA controller was unable to update the target scale: {why}");
            self.condition("AbleToScale", "False", "FailedUpdateScale", &message);
            return self.status(Some(current), was, &metrics, false);
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        self.condition("AbleToScale", "True", "SucceededRescale", &message);
        let message = format!("New size: {wanted}; reason: {reason}");
        self.world
            .normal(COMPONENT, self.scaler, "SuccessfulRescale", &message);
        self.remember(current, wanted);
        self.status(Some(current), wanted, &metrics, true)
    }

    /// The size after limits, and why it changes.
    fn decide(&mut self, range: Range, wanted: i64, metric: &str) -> (i64, String) {
        let reason = match wanted.cmp(&range.current) {
            Ordering::Greater => format!("{metric} above target"),
            Ordering::Less => "All metrics below target".to_owned(),
            Ordering::Equal => String::new(),
        };
        let now = self.millis();
        let normal = match path::get(self.scaler, &["spec", "behavior"]) {
            Some(behavior) => {
                let (up, down) = (Rules::up(behavior), Rules::down(behavior));
                normalize_by(self.memory, now, range, wanted, &up, &down)
            }
            None => normalize(self.memory, now, range, wanted),
        };
        self.condition("AbleToScale", "True", normal.able.0, normal.able.1);
        let limited = if normal.limited { "True" } else { "False" };
        self.condition("ScalingLimited", limited, normal.why.0, normal.why.1);
        (normal.replicas, reason)
    }

    fn remember(&mut self, was: i64, is: i64) {
        let Some(behavior) = path::get(self.scaler, &["spec", "behavior"]) else {
            return;
        };
        let now = self.millis();
        let (changes, longest) = if is > was {
            (&mut self.memory.ups, Rules::up(behavior).longest())
        } else {
            (&mut self.memory.downs, Rules::down(behavior).longest())
        };
        changes.retain(|c| c.at >= now - longest * 1000);
        changes.push(Change {
            at: now,
            by: (is - was).abs(),
        });
    }

    /// The target's scale, whatever its kind.
    fn target(&self) -> Result<Target, String> {
        let reference = |field| path::text(self.scaler, &["spec", "scaleTargetRef", field]);
        let (group, _) = split_api_version(reference("apiVersion"));
        let (kind, name) = (reference("kind"), reference("name"));
        let state = self.world.clock.read();
        let all: Vec<Arc<Resource>> = state
            .registry
            .iter()
            .filter(|r| r.is(group, kind))
            .cloned()
            .collect();
        let mut first = None;
        for resource in all {
            let namespace = resource
                .kind
                .namespaced
                .then_some(namespace_of(self.scaler));
            let found = objects::get(&state, &resource, namespace, name)
                .and_then(|object| scale::read(&resource, &object));
            match found {
                Ok(scale) => return Ok(Target { resource, scale }),
                Err(refusal) => first = first.or(Some(refusal.to_string())),
            }
        }
        Err(first.unwrap_or_else(|| format!("no matches for kind \"{kind}\" in group \"{group}\"")))
    }

    fn rescale(&self, target: &Target, replicas: i64) -> Result<(), String> {
        let name = path::text(self.scaler, &["spec", "scaleTargetRef", "name"]);
        let resource = &target.resource;
        let namespace = resource
            .kind
            .namespaced
            .then_some(namespace_of(self.scaler));
        let mut call = Call::new("kube-controller-manager", self.now);
        let mut state = self.world.clock.write();
        scale::write(
            &mut state,
            resource,
            namespace,
            name,
            &mut call,
            |live, _| {
                let mut scale = (*live).clone();
                path::set(&mut scale, &["spec", "replicas"], replicas.into());
                Ok(scale)
            },
        )
        .map(|_| ())
        .map_err(|refusal| refusal.to_string())
    }

    /// What the metrics ask for together, and their status.
    fn measure(&mut self, scale: &Value) -> (Result<(i64, String), String>, Value) {
        let text = path::text(scale, &["status", "selector"]).to_owned();
        let selector = match self.selector(&text) {
            Ok(selector) => selector,
            Err(why) => return (Err(why), Value::Null),
        };
        let scaler = self.scaler.clone();
        let specs: Vec<&Value> = items(&scaler, &["spec", "metrics"]).collect();
        let current = number(scale, &["spec", "replicas"]);
        let shown = number(scale, &["status", "replicas"]);
        // A metric that could not be measured has an empty status.
        let mut statuses = vec![json!({"type": ""}); specs.len()];
        let mut best: Option<(i64, String)> = None;
        let mut bad: Vec<Bad> = Vec::new();
        for (spec, status) in specs.iter().zip(&mut statuses) {
            match self.metric(spec, current, shown, &selector) {
                Ok(good) => {
                    *status = good.status;
                    if best
                        .as_ref()
                        .is_none_or(|(r, _)| *r == 0 || good.replicas > *r)
                    {
                        best = Some((good.replicas, good.name));
                    }
                }
                Err(failure) => {
                    self.warning(failure.reason, &failure.cause);
                    bad.push(failure);
                }
            }
        }
        let statuses = Value::Array(statuses);
        let shrinks = best
            .as_ref()
            .is_none_or(|(replicas, _)| *replicas < current);
        if let Some(first) = bad.first()
            && (bad.len() >= specs.len() || shrinks)
        {
            let message = format!(
                "the HPA was unable to compute the replica count: {}",
                first.cause
            );
            let why = format!(
                "invalid metrics ({} invalid out of {}), first error is: {}",
                bad.len(),
                specs.len(),
                first.listed
            );
            self.condition("ScalingActive", "False", first.reason, &message);
            return (Err(why), statuses);
        }
        let (replicas, name) = best.unwrap_or_default();
        let message =
            format!("the HPA was able to successfully calculate a replica count from {name}");
        self.condition("ScalingActive", "True", "ValidMetricFound", &message);
        (Ok((replicas, name)), statuses)
    }

    fn selector(&mut self, text: &str) -> Result<Selector, String> {
        if text.is_empty() {
            let why = "selector is required";
            self.warning("SelectorRequired", why);
            let message = "the HPA target's scale is missing a selector";
            self.condition("ScalingActive", "False", "InvalidSelector", message);
            return Err(why.to_owned());
        }
        let selector = Selector::parse(text, "").map_err(|refusal| {
            let why = format!(
                "couldn't convert selector into a corresponding internal selector object: {refusal}"
            );
            self.warning("InvalidSelector", &why);
            self.condition("ScalingActive", "False", "InvalidSelector", &why);
            why
        })?;
        let own = key_of(self.scaler);
        self.selectors.insert(own.clone(), selector.clone());
        let namespace = namespace_of(self.scaler);
        let pods = self.world.pods(namespace, &selector);
        let start = Key::new(namespace, "");
        let others: Vec<String> = self
            .selectors
            .range(start..)
            .take_while(|(key, _)| key.namespace == namespace)
            .filter(|(_, selector)| pods.iter().any(|pod| selector.matches(pod)))
            .map(|(key, _)| format!("{}/{}", key.namespace, key.name))
            .collect();
        if others.len() > 1 {
            let why = format!(
                "pods by selector {text} are controlled by multiple HPAs: [{}]",
                others.join(" ")
            );
            self.warning("AmbiguousSelector", &why);
            self.condition("ScalingActive", "False", "AmbiguousSelector", &why);
            return Err(why);
        }
        Ok(selector)
    }
}
