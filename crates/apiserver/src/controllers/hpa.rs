//! Owns HorizontalPodAutoscaler: every fifteen seconds each one compares what its target's pods use
//! with what is wanted, and writes the target's size through its scale. What it remembers of the
//! past is lost at an end, as is usual; then it decides anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path, split_api_version};

use super::hpa_replicas::{
    Change, Goal, Memory, Proposal, Range, Rules, Sample, group, is_close, normalize, normalize_by,
    propose,
};
use super::quantity::{Form, Quantity};
use super::source::{Queue, Seen, items, name_of, namespace_of, number, selector_text};
use super::world::World;
use super::{Control, On, SCALERS, pods};
use crate::call::{Call, stamp};
use crate::objects;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::scale;
use crate::selector::Selector;
use crate::state::key_of;

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
    fn status(&self, current: Option<i64>, desired: i64, metrics: Value, scaled: bool) -> Value {
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
                return self.status(current.and_then(Value::as_i64), was, metrics, false);
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
            return self.status(Some(current), current, metrics, false);
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
                    return self.status(Some(current), was, metrics, false);
                }
            }
        };
        if wanted == current {
            return self.status(Some(current), current, metrics, false);
        }
        if let Err(why) = self.rescale(&target, wanted) {
            let message = format!("New size: {wanted}; reason: {reason}; error: {why}");
            self.warning("FailedRescale", &message);
            let message =
                format!("the HPA controller was unable to update the target scale: {why}");
            self.condition("AbleToScale", "False", "FailedUpdateScale", &message);
            return self.status(Some(current), was, metrics, false);
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        self.condition("AbleToScale", "True", "SucceededRescale", &message);
        let message = format!("New size: {wanted}; reason: {reason}");
        self.world
            .normal(COMPONENT, self.scaler, "SuccessfulRescale", &message);
        self.remember(current, wanted);
        self.status(Some(current), wanted, metrics, true)
    }

    /// The size after limits, and why it changes.
    fn decide(&mut self, range: Range, wanted: i64, metric: &str) -> (i64, String) {
        let reason = if wanted > range.current {
            format!("{metric} above target")
        } else if wanted < range.current {
            "All metrics below target".to_owned()
        } else {
            String::new()
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
            |mut live| {
                path::set(&mut live, &["spec", "replicas"], replicas.into());
                Ok(live)
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

    fn metric(
        &self,
        spec: &Value,
        current: i64,
        shown: i64,
        selector: &Selector,
    ) -> Result<Good, Bad> {
        let none = Value::Null;
        let kind = path::text(spec, &["type"]);
        let field = match kind {
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            "Pods" => "pods",
            "Object" => "object",
            "External" => "external",
            _ => {
                let cause = format!("unknown metric source type \"{kind}\"");
                return Err(Bad {
                    reason: "InvalidMetricSourceType",
                    listed: cause.clone(),
                    cause,
                });
            }
        };
        let source = spec.get(field).unwrap_or(&none);
        let name = match kind {
            "Resource" | "ContainerResource" => path::text(source, &["name"]),
            _ => path::text(source, &["metric", "name"]),
        };
        let bad = |reason, prefix: String| {
            move |cause: String| Bad {
                reason,
                listed: format!("{prefix}: {cause}"),
                cause,
            }
        };
        match kind {
            "Resource" => {
                let prefix = format!("failed to get {name} resource metric value");
                self.resource(source, name, None, current, selector)
                    .map_err(bad("FailedGetResourceMetric", prefix))
            }
            "ContainerResource" => {
                let container = path::text(source, &["container"]);
                let prefix = format!("failed to get {container} container metric value");
                self.resource(source, name, Some(container), current, selector)
                    .map_err(bad("FailedGetContainerResourceMetric", prefix))
            }
            "Pods" => self.of_pods(source, name, current, selector).map_err(bad(
                "FailedGetPodsMetric",
                "failed to get pods metric value".to_owned(),
            )),
            "Object" => self
                .of_object(source, name, current, shown, selector)
                .map_err(bad(
                    "FailedGetObjectMetric",
                    "failed to get object metric value".to_owned(),
                )),
            _ => {
                let prefix = format!("failed to get {name} external metric value");
                self.of_external(source, name, current, shown, selector)
                    .map_err(bad("FailedGetExternalMetric", prefix))
            }
        }
    }

    /// A metric of processor or memory.
    fn resource(
        &self,
        source: &Value,
        name: &str,
        container: Option<&str>,
        current: i64,
        selector: &Selector,
    ) -> Result<Good, String> {
        let average = path::get(source, &["target", "averageValue"]);
        let percent = path::get(source, &["target", "averageUtilization"]);
        let what = if average.is_some() {
            "usage"
        } else {
            "utilization"
        };
        let failed = |why: String| format!("failed to get {name} {what}: {why}");
        let pods = self.world.pods(namespace_of(self.scaler), selector);
        let samples = self
            .samples(&pods, name, container)
            .map_err(|why| failed(format!("unable to get metrics for resource {name}: {why}")))?;
        if pods.is_empty() {
            let why = "no pods returned by selector while calculating replica count";
            return Err(failed(why.to_owned()));
        }
        let groups = group(pods.iter().map(|p| &**p), &samples, name == "cpu", self.now);
        let form = if name == "memory" {
            Form::Binary
        } else {
            Form::Decimal
        };
        let (proposal, metric) = if let Some(average) = average {
            let goal = Goal::Average(milli(average));
            let proposal = propose(current, samples, &groups, &goal).map_err(failed)?;
            (proposal, format!("{name} resource"))
        } else if let Some(percent) = percent.and_then(Value::as_i64) {
            let requests = requests(&pods, name, container).map_err(failed)?;
            let goal = Goal::Utilization {
                percent,
                requests: &requests,
            };
            let proposal = propose(current, samples, &groups, &goal).map_err(failed)?;
            let kind = if container.is_some() {
                " container"
            } else {
                ""
            };
            let metric = format!("{name}{kind} resource utilization (percentage of request)");
            (proposal, metric)
        } else {
            return Err(
                "invalid resource metric source: neither an average utilization target nor an \
                 average value (usage) target was set"
                    .to_owned(),
            );
        };
        let Proposal {
            replicas,
            percent: is,
            average,
        } = proposal;
        let quantity = Quantity {
            milli: average.into(),
            form,
        };
        let mut shown = json!({"averageValue": quantity.text()});
        if percent.is_some() && path::get(source, &["target", "averageValue"]).is_none() {
            path::set(&mut shown, &["averageUtilization"], is.into());
        }
        let status = match container {
            None => json!({"type": "Resource", "resource": {"name": name, "current": shown}}),
            Some(container) => json!({"type": "ContainerResource", "containerResource":
                {"name": name, "container": container, "current": shown}}),
        };
        Ok(Good {
            replicas,
            name: metric,
            status,
        })
    }

    fn samples(
        &self,
        pods: &[Arc<Value>],
        name: &str,
        container: Option<&str>,
    ) -> Result<BTreeMap<String, Sample>, String> {
        let api = "resource metrics API";
        let Some(metrics) = &self.world.clock.metrics else {
            return Err(format!(
                "unable to fetch metrics from {api}: the server could not find the requested \
                 resource (get pods.metrics.k8s.io)"
            ));
        };
        let namespace = namespace_of(self.scaler);
        let sample = |pod: &Arc<Value>| {
            let usage = metrics.resource(namespace, name_of(pod), container)?;
            let value = match name {
                "cpu" => usage.cpu_millis,
                "memory" => usage.memory_bytes.saturating_mul(1000),
                _ => return None,
            };
            let window = i64::try_from(usage.window.as_secs()).unwrap_or(i64::MAX);
            Some((name_of(pod).to_owned(), Sample { value, window }))
        };
        let out: BTreeMap<String, Sample> = pods.iter().filter_map(sample).collect();
        if out.is_empty() {
            return Err(format!("no metrics returned from {api}"));
        }
        Ok(out)
    }

    fn of_pods(
        &self,
        source: &Value,
        name: &str,
        current: i64,
        selector: &Selector,
    ) -> Result<Good, String> {
        let failed = |why: String| format!("unable to get metric {name}: {why}");
        let metrics = self.custom().map_err(failed)?;
        let namespace = namespace_of(self.scaler);
        let pods = self.world.pods(namespace, selector);
        let window = 0;
        let samples: BTreeMap<String, Sample> = pods
            .iter()
            .filter_map(|pod| {
                let value = metrics.pod_metric(namespace, name_of(pod), name)?;
                Some((name_of(pod).to_owned(), Sample { value, window }))
            })
            .collect();
        if samples.is_empty() {
            return Err(failed(
                "no metrics returned from custom metrics API".to_owned(),
            ));
        }
        let groups = group(pods.iter().map(|p| &**p), &samples, false, self.now);
        let none = Value::Null;
        let wanted = path::get(source, &["target", "averageValue"]).unwrap_or(&none);
        let proposal = propose(current, samples, &groups, &Goal::Average(milli(wanted)))?;
        let status = json!({"type": "Pods", "pods": {"metric": source.get("metric"),
            "current": {"averageValue": decimal(proposal.average)}}});
        Ok(Good {
            replicas: proposal.replicas,
            name: format!("pods metric {name}"),
            status,
        })
    }

    fn custom(&self) -> Result<&Arc<dyn super::metrics::MetricsSource>, String> {
        self.world.clock.metrics.as_ref().ok_or_else(|| {
            "unable to fetch metrics from custom metrics API: no custom metrics API \
             (custom.metrics.k8s.io) registered"
                .to_owned()
        })
    }

    fn of_object(
        &self,
        source: &Value,
        name: &str,
        current: i64,
        shown: i64,
        selector: &Selector,
    ) -> Result<Good, String> {
        let described = |field| path::text(source, &["describedObject", field]);
        let (kind, object) = (described("kind"), described("name"));
        let namespace = namespace_of(self.scaler);
        let value = self.custom().and_then(|metrics| {
            let value = metrics.object_metric(namespace, kind, object, name);
            value.ok_or_else(|| {
                "unable to fetch metrics from custom metrics API: no metrics were returned"
                    .to_owned()
            })
        });
        let value = value.map_err(|why| {
            format!("unable to get metric {name}: {kind} on {namespace} {object}/{why}")
        })?;
        let (replicas, current) = self.whole(source, value, current, shown, selector)?;
        let status = json!({"type": "Object", "object": {"metric": source.get("metric"),
            "describedObject": source.get("describedObject"), "current": current}});
        Ok(Good {
            replicas,
            name: format!("{kind} metric {name}"),
            status,
        })
    }

    fn of_external(
        &self,
        source: &Value,
        name: &str,
        current: i64,
        shown: i64,
        selector: &Selector,
    ) -> Result<Good, String> {
        let namespace = namespace_of(self.scaler);
        let value = match &self.world.clock.metrics {
            None => Err(format!(
                "unable to fetch metrics from external metrics API: the server could not find the \
                 requested resource (get {name}.external.metrics.k8s.io)"
            )),
            Some(metrics) => metrics
                .external_metric(namespace, name)
                .ok_or_else(|| "no metrics returned from external metrics API".to_owned()),
        };
        let listed = selector_text(path::get(source, &["metric", "selector"]));
        let value = value.map_err(|why| {
            let cause = format!("unable to get external metric {namespace}/{name}/{listed}: {why}");
            if path::get(source, &["target", "averageValue"]).is_some() {
                format!("failed to get {name} external metric: {cause}")
            } else {
                format!("failed to get external metric {name}: {cause}")
            }
        })?;
        let (replicas, current) = self.whole(source, value, current, shown, selector)?;
        let status = json!({"type": "External", "external": {"metric": source.get("metric"),
            "current": current}});
        Ok(Good {
            replicas,
            name: format!("external metric {name}({listed})"),
            status,
        })
    }

    /// A metric of something that is not a pod: as a whole, or shared by the pods.
    fn whole(
        &self,
        source: &Value,
        value: i64,
        current: i64,
        shown: i64,
        selector: &Selector,
    ) -> Result<(i64, Value), String> {
        if let Some(average) = path::get(source, &["target", "averageValue"]) {
            let wanted = milli(average);
            let ratio = value as f64 / (wanted as f64 * shown as f64);
            let replicas = if is_close(ratio) {
                shown
            } else {
                (value as f64 / wanted as f64)
                    .ceil()
                    .min(f64::from(i32::MAX)) as i64
            };
            let each = (value as f64 / shown.max(1) as f64).ceil() as i64;
            return Ok((replicas, json!({"averageValue": decimal(each)})));
        }
        let none = Value::Null;
        let wanted = milli(path::get(source, &["target", "value"]).unwrap_or(&none));
        let ratio = value as f64 / wanted as f64;
        let now = json!({"value": decimal(value)});
        if current == 0 {
            return Ok((ratio.ceil() as i64, now));
        }
        if is_close(ratio) {
            return Ok((current, now));
        }
        let pods = self.world.pods(namespace_of(self.scaler), selector);
        if pods.is_empty() {
            let why = "unable to calculate ready pods: no pods returned by selector while \
                       calculating replica count";
            return Err(why.to_owned());
        }
        let ready = pods
            .iter()
            .filter(|p| path::text(p, &["status", "phase"]) == "Running" && pods::is_ready(p));
        Ok(((ratio * ready.count() as f64).ceil() as i64, now))
    }
}

fn decimal(milli: i64) -> String {
    Quantity::decimal(milli.into()).text()
}

fn milli(value: &Value) -> i64 {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let quantity = Quantity::parse(&text).map_or(0, |q| q.milli);
    i64::try_from(quantity).unwrap_or(i64::MAX)
}

/// What each pod requests of a resource.
fn requests(
    pods: &[Arc<Value>],
    name: &str,
    only: Option<&str>,
) -> Result<BTreeMap<String, i64>, String> {
    let mut out = BTreeMap::new();
    for pod in pods {
        let whole = path::get(pod, &["spec", "resources", "requests", name]);
        if let (None, Some(request)) = (only, whole) {
            out.insert(name_of(pod).to_owned(), milli(request));
            continue;
        }
        let beside = items(pod, &["spec", "initContainers"])
            .filter(|c| path::text(c, &["restartPolicy"]) == "Always");
        let mut sum = 0_i64;
        for container in items(pod, &["spec", "containers"]).chain(beside) {
            let own = path::text(container, &["name"]);
            if only.is_some_and(|only| only != own) {
                continue;
            }
            let Some(request) = path::get(container, &["resources", "requests", name]) else {
                return Err(format!(
                    "missing request for {name} in container {own} of Pod {}",
                    name_of(pod)
                ));
            };
            sum = sum.saturating_add(milli(request));
        }
        out.insert(name_of(pod).to_owned(), sum);
    }
    Ok(out)
}
