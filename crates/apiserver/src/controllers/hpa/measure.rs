//! Owns what one metric of a scaler asks for: where it is measured, what is wrong when it is not, and
//! how its status shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::path;

use super::replicas::{Goal, Proposal, Sample, group, is_close, propose};
use super::{Bad, Good, Look};
use crate::controllers::metrics::MetricsSource;
use crate::controllers::pods;
use crate::controllers::quantity::{Form, Quantity};
use crate::controllers::source::{items, name_of, namespace_of, selector_text};
use crate::selector::Selector;

impl Look<'_> {
    pub(super) fn metric(
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

    fn custom(&self) -> Result<&Arc<dyn MetricsSource>, String> {
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
