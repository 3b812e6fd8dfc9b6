//! Owns the two faces of a HorizontalPodAutoscaler. It is kept in version 2; what version 1 has no
//! field for, it carries in annotations, so that nothing is lost on the way there and back.

use serde_json::{Map, Value, json};
use weir_object::path;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const STATUSES: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const ANNOTATIONS: [&str; 4] = [METRICS, STATUSES, CONDITIONS, BEHAVIOR];

/// A field of version 1, where version 2 has it, and whether version 1 always shows it.
type Row = (&'static str, &'static [&'static str], bool);

const METRIC_NAME: &[&str] = &["metric", "name"];
const SELECTOR: &[&str] = &["metric", "selector"];

/// The kinds of metrics: the word, the field, and the rows as wanted and as found.
const KINDS: [(&str, &str, &[Row], &[Row]); 5] = [
    (
        "Object",
        "object",
        &[
            ("target", &["describedObject"], false),
            ("metricName", METRIC_NAME, false),
            ("targetValue", &["target", "value"], true),
            ("selector", SELECTOR, false),
            ("averageValue", &["target", "averageValue"], false),
        ],
        &[
            ("target", &["describedObject"], false),
            ("metricName", METRIC_NAME, false),
            ("currentValue", &["current", "value"], true),
            ("selector", SELECTOR, false),
            ("averageValue", &["current", "averageValue"], false),
        ],
    ),
    (
        "Pods",
        "pods",
        &[
            ("metricName", METRIC_NAME, false),
            ("targetAverageValue", &["target", "averageValue"], true),
            ("selector", SELECTOR, false),
        ],
        &[
            ("metricName", METRIC_NAME, false),
            ("currentAverageValue", &["current", "averageValue"], true),
            ("selector", SELECTOR, false),
        ],
    ),
    (
        "Resource",
        "resource",
        &[
            ("name", &["name"], false),
            (
                "targetAverageUtilization",
                &["target", "averageUtilization"],
                false,
            ),
            ("targetAverageValue", &["target", "averageValue"], false),
        ],
        &[
            ("name", &["name"], false),
            (
                "currentAverageUtilization",
                &["current", "averageUtilization"],
                false,
            ),
            ("currentAverageValue", &["current", "averageValue"], true),
        ],
    ),
    (
        "ContainerResource",
        "containerResource",
        &[
            ("name", &["name"], false),
            (
                "targetAverageUtilization",
                &["target", "averageUtilization"],
                false,
            ),
            ("targetAverageValue", &["target", "averageValue"], false),
            ("container", &["container"], false),
        ],
        &[
            ("name", &["name"], false),
            (
                "currentAverageUtilization",
                &["current", "averageUtilization"],
                false,
            ),
            ("currentAverageValue", &["current", "averageValue"], true),
            ("container", &["container"], false),
        ],
    ),
    (
        "External",
        "external",
        &[
            ("metricName", METRIC_NAME, false),
            ("metricSelector", SELECTOR, false),
            ("targetValue", &["target", "value"], false),
            ("targetAverageValue", &["target", "averageValue"], false),
        ],
        &[
            ("metricName", METRIC_NAME, false),
            ("metricSelector", SELECTOR, false),
            ("currentValue", &["current", "value"], true),
            ("currentAverageValue", &["current", "averageValue"], false),
        ],
    ),
];

fn list<'a>(of: &'a Value, p: &[&str]) -> &'a [Value] {
    path::get(of, p)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn annotation(name: &str) -> [&str; 3] {
    ["metadata", "annotations", name]
}

/// The use of the processor that version 1 has a field for.
fn processor<'a>(metric: &'a Value, part: &str) -> Option<&'a Value> {
    let is = path::text(metric, &["type"]) == "Resource"
        && path::text(metric, &["resource", "name"]) == "cpu";
    let percent = path::get(metric, &["resource", part, "averageUtilization"]);
    percent.filter(|value| is && !value.is_null())
}

/// A metric as version 1 has it.
fn older(metric: &Value, wanted: bool) -> Value {
    let word = path::text(metric, &["type"]);
    let mut out = Map::new();
    out.insert("type".to_owned(), word.into());
    if let Some((_, field, spec, status)) = KINDS.iter().find(|(kind, ..)| *kind == word) {
        let mut part = Map::new();
        for (name, at, always) in if wanted { *spec } else { *status } {
            let found = metric.get(*field).and_then(|of| path::get(of, at));
            match found.filter(|value| !value.is_null()) {
                Some(value) => {
                    part.insert((*name).to_owned(), value.clone());
                }
                None if *always => {
                    part.insert((*name).to_owned(), "0".into());
                }
                None => {}
            }
        }
        out.insert((*field).to_owned(), part.into());
    }
    Value::Object(out)
}

/// A metric as version 2 has it.
fn newer(metric: &Value, wanted: bool) -> Value {
    let word = path::text(metric, &["type"]);
    let mut out = json!({"type": word});
    let Some((_, field, spec, status)) = KINDS.iter().find(|(kind, ..)| *kind == word) else {
        return out;
    };
    for (name, at, _) in if wanted { *spec } else { *status } {
        let found = metric.get(*field).and_then(|of| of.get(*name));
        if let Some(value) = found.filter(|value| !value.is_null()) {
            let at: Vec<&str> = std::iter::once(*field).chain(at.iter().copied()).collect();
            path::set(&mut out, &at, value.clone());
        }
    }
    if wanted {
        let has = |part| path::get(&out, &[field, "target", part]).is_some();
        let kind = match word {
            "Object" if !has("averageValue") => "Value",
            "External" if has("value") => "Value",
            "Resource" | "ContainerResource" if has("averageUtilization") => "Utilization",
            _ => "AverageValue",
        };
        path::set(&mut out, &[field, "target", "type"], kind.into());
    }
    out
}

const RULES: [(&str, &str); 2] = [("scaleUp", "ScaleUp"), ("scaleDown", "ScaleDown")];
const RULE: [(&str, &str); 4] = [
    ("stabilizationWindowSeconds", "StabilizationWindowSeconds"),
    ("selectPolicy", "SelectPolicy"),
    ("policies", "Policies"),
    ("tolerance", "Tolerance"),
];
const POLICY: [(&str, &str); 3] = [
    ("type", "Type"),
    ("value", "Value"),
    ("periodSeconds", "PeriodSeconds"),
];

/// A map with its fields under other names. Go's own names are written even for what is not there.
fn named(of: &Value, names: &[(&str, &str)], to_go: bool) -> Value {
    let mut out = Map::new();
    for (ours, go) in names {
        let (from, to) = if to_go { (ours, go) } else { (go, ours) };
        let value = of.get(*from).cloned().unwrap_or_default();
        if to_go || !value.is_null() {
            out.insert((*to).to_owned(), value);
        }
    }
    Value::Object(out)
}

fn behavior(of: &Value, to_go: bool) -> Value {
    let mut out = named(of, &RULES, to_go);
    for (ours, go) in RULES {
        let (rules, policies) = if to_go {
            (go, "Policies")
        } else {
            (ours, "policies")
        };
        let Some(rule) = out.get_mut(rules).filter(|rule| rule.is_object()) else {
            continue;
        };
        let mut new = named(rule, &RULE, to_go);
        if let Some(Value::Array(each)) = new.get_mut(policies) {
            for policy in each {
                *policy = named(policy, &POLICY, to_go);
            }
        }
        *rule = new;
    }
    out
}

/// Version 1 of an autoscaler kept in version 2.
pub(super) fn to_v1(object: &mut Value) {
    forget(object);
    let metrics = list(object, &["spec", "metrics"]).to_vec();
    let found = list(object, &["status", "currentMetrics"]).to_vec();
    let mut notes: Vec<(&str, Value)> = Vec::new();
    let wanted = metrics.iter().find_map(|m| processor(m, "target")).cloned();
    let others: Vec<Value> = metrics
        .iter()
        .filter(|m| processor(m, "target").is_none())
        .map(|m| older(m, true))
        .collect();
    if !others.is_empty() {
        notes.push((METRICS, others.into()));
    }
    if !found.is_empty() {
        let all: Vec<Value> = found.iter().map(|m| older(m, false)).collect();
        notes.push((STATUSES, all.into()));
    }
    let conditions = path::remove(object, &["status", "conditions"]);
    if let Some(Value::Array(conditions)) = conditions.filter(|c| c != &json!([])) {
        notes.push((CONDITIONS, conditions.into()));
    }
    let rules = path::remove(object, &["spec", "behavior"]);
    if let Some(rules) = rules.filter(|rules| !rules.is_null()) {
        notes.push((BEHAVIOR, behavior(&rules, true)));
    }
    for (name, value) in notes {
        path::set(object, &annotation(name), value.to_string().into());
    }
    path::remove(object, &["spec", "metrics"]);
    path::remove(object, &["status", "currentMetrics"]);
    if let Some(percent) = wanted {
        path::set(object, &["spec", "targetCPUUtilizationPercentage"], percent);
    }
    if let Some(percent) = found.iter().find_map(|m| processor(m, "current")) {
        let at = ["status", "currentCPUUtilizationPercentage"];
        path::set(object, &at, percent.clone());
    }
    if object.get("status").is_some_and(Value::is_object) {
        for field in ["currentReplicas", "desiredReplicas"] {
            if path::get(object, &["status", field]).is_none() {
                path::set(object, &["status", field], 0.into());
            }
        }
    }
    path::set(object, &["apiVersion"], "autoscaling/v1".into());
}

/// Version 2 of an autoscaler given in version 1.
pub(super) fn to_v2(object: &mut Value) {
    let note = |name: &str| -> Option<Value> {
        serde_json::from_str(path::text(object, &annotation(name))).ok()
    };
    let (metrics, found) = (note(METRICS), note(STATUSES));
    let (conditions, rules) = (note(CONDITIONS), note(BEHAVIOR));
    forget(object);
    let target = path::remove(object, &["spec", "targetCPUUtilizationPercentage"]);
    let mut all: Vec<Value> = Vec::new();
    if let Some(Value::Array(others)) = metrics {
        all.extend(others.iter().map(|m| newer(m, true)));
    }
    if let Some(percent) = target.filter(|percent| !percent.is_null()) {
        all.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}}));
    }
    if !all.is_empty() {
        path::set(object, &["spec", "metrics"], all.into());
    }
    if let Some(rules) = rules.filter(Value::is_object) {
        path::set(object, &["spec", "behavior"], behavior(&rules, false));
    }
    let current = path::remove(object, &["status", "currentCPUUtilizationPercentage"]);
    let current = current.filter(|percent| !percent.is_null());
    match (found, current) {
        (Some(Value::Array(found)), _) => {
            let all: Vec<Value> = found.iter().map(|m| newer(m, false)).collect();
            path::set(object, &["status", "currentMetrics"], all.into());
        }
        (_, Some(percent)) => {
            let metric = json!([{"type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}]);
            path::set(object, &["status", "currentMetrics"], metric);
        }
        _ => {}
    }
    if let Some(conditions) = conditions.filter(Value::is_array) {
        path::set(object, &["status", "conditions"], conditions);
    }
    path::set(object, &["apiVersion"], "autoscaling/v2".into());
}

/// Drops the annotations that carry fields, which are made anew each time.
fn forget(object: &mut Value) {
    let before = path::get(object, &["metadata", "annotations"]).is_some();
    for name in ANNOTATIONS {
        path::remove(object, &annotation(name));
    }
    let empty = path::get(object, &["metadata", "annotations"]).is_none_or(|a| a == &json!({}));
    if before && empty {
        path::remove(object, &["metadata", "annotations"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_to_version_1_and_back() {
        let mut object = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "annotations": {"own": "x"}},
            "spec": {"maxReplicas": 5, "metrics": [
                {"type": "Resource", "resource": {"name": "memory",
                    "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "1k"}}},
                {"type": "Object", "object": {
                    "describedObject": {"kind": "Ingress", "name": "x", "apiVersion": "networking.k8s.io/v1"},
                    "metric": {"name": "rps"}, "target": {"type": "Value", "value": "10"}}},
                {"type": "External", "external": {"metric": {"name": "q"},
                    "target": {"type": "Value", "value": "30"}}},
                {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                    "target": {"type": "Utilization", "averageUtilization": 50}}},
                {"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 60}}},
            ], "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}}},
            "status": {"currentReplicas": 1, "desiredReplicas": 2,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageValue": "5m", "averageUtilization": 7}}}]},
        });
        let before = object.clone();
        to_v1(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 60);
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 7);
        let notes = &object["metadata"]["annotations"];
        assert_eq!(
            notes[BEHAVIOR],
            "{\"ScaleUp\":{\"StabilizationWindowSeconds\":0,\"SelectPolicy\":\"Max\",\"Policies\":\
             [{\"Type\":\"Pods\",\"Value\":4,\"PeriodSeconds\":15}],\"Tolerance\":null},\
             \"ScaleDown\":null}"
        );
        assert_eq!(
            notes[METRICS],
            "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageValue\":\"1Gi\"}},\
             {\"type\":\"Pods\",\"pods\":{\"metricName\":\"rps\",\"targetAverageValue\":\"1k\",\
             \"selector\":{\"matchLabels\":{\"a\":\"b\"}}}},\
             {\"type\":\"Object\",\"object\":{\"target\":{\"kind\":\"Ingress\",\"name\":\"x\",\
             \"apiVersion\":\"networking.k8s.io/v1\"},\"metricName\":\"rps\",\"targetValue\":\"10\"}},\
             {\"type\":\"External\",\"external\":{\"metricName\":\"q\",\"targetValue\":\"30\"}},\
             {\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\
             \"targetAverageUtilization\":50,\"container\":\"c\"}}]"
        );
        to_v2(&mut object);
        assert_eq!(object, before);
    }
}
