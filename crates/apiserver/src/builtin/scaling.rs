//! Owns the rules of HorizontalPodAutoscaler and PodDisruptionBudget.

use serde_json::{Value, json};
use weir_schema::Quantity;

use super::checks::{At, Checks, int, list, of, text};
use super::names;

/// A HorizontalPodAutoscaler, in any version: the rules are those of v2.
pub(super) fn autoscaler(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    let least = int(spec, "minReplicas");
    let most = int(spec, "maxReplicas").unwrap_or_default();
    if let Some(least) = least.filter(|least| *least < 1) {
        let detail = "must be greater than or equal to 1";
        checks.invalid(at.field("minReplicas"), &least.into(), detail);
    }
    if most < 1 {
        checks.invalid(
            at.field("maxReplicas"),
            &most.into(),
            "must be greater than 0",
        );
    }
    if least.is_some_and(|least| most < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        checks.invalid(at.field("maxReplicas"), &most.into(), detail);
    }
    target_ref(
        of(spec, "scaleTargetRef"),
        at.field("scaleTargetRef"),
        checks,
    );
    let metrics = list(spec, "metrics");
    for (i, metric) in metrics.iter().enumerate() {
        let at = at.field("metrics");
        metric_rules(metric, at.index(i), checks);
    }
    if least == Some(0)
        && !metrics
            .iter()
            .any(|m| matches!(text(m, "type"), "Object" | "External"))
    {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        checks.forbidden(at.field("metrics"), detail);
    }
    let behavior = of(spec, "behavior");
    for name in ["scaleUp", "scaleDown"] {
        let rules = of(behavior, name);
        if !rules.is_null() {
            let at = at.field("behavior");
            scaling_rules(rules, at.field(name), checks);
        }
    }
}

fn target_ref(target: &Value, at: At<'_>, checks: &mut Checks) {
    object_ref(target, at, checks);
    let version = text(target, "apiVersion");
    if version.is_empty() {
        checks.wrong(
            at.field("apiVersion"),
            version,
            "apiVersion must specify API group",
        );
    }
}

fn object_ref(target: &Value, at: At<'_>, checks: &mut Checks) {
    for field in ["kind", "name"] {
        match text(target, field) {
            "" => checks.required(at.field(field), ""),
            value => checks.faults(at.field(field), value, names::path_segment(value)),
        }
    }
}

const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];

fn metric_rules(metric: &Value, at: At<'_>, checks: &mut Checks) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        checks.required(at.field("type"), "must specify a metric source type");
    }
    let known = [
        "ContainerResource",
        "External",
        "Object",
        "Pods",
        "Resource",
    ];
    // The server tells this twice.
    checks.one_of(at.field("type"), kind, &known);
    checks.one_of(at.field("type"), kind, &known);
    for (name, field) in SOURCES {
        let source = of(metric, field);
        if source.is_null() {
            continue;
        }
        if kind == name {
            source_rules(name, source, at.field(field), checks);
        } else {
            let detail = "must populate the given metric source only";
            checks.forbidden(at.field(field), detail);
        }
    }
    if let Some((_, field)) = SOURCES.iter().find(|(name, _)| *name == kind)
        && of(metric, field).is_null()
    {
        let detail = "must populate information for the given metric source";
        checks.required(at.field(field), detail);
    }
}

fn source_rules(kind: &str, source: &Value, at: At<'_>, checks: &mut Checks) {
    let target = of(source, "target");
    let has = |field| !of(target, field).is_null();
    match kind {
        "Object" => {
            object_ref(
                of(source, "describedObject"),
                at.field("describedObject"),
                checks,
            );
            identifier(source, at, checks);
            target_rules(target, at.field("target"), checks);
            if !has("value") && !has("averageValue") {
                let detail = "must set either a target value for metric or a per-pod target";
                checks.required(at.field("target").field("averageValue"), detail);
            }
        }
        "Pods" => {
            identifier(source, at, checks);
            target_rules(target, at.field("target"), checks);
            if Quantity::of(of(target, "averageValue")).is_none_or(|q| q.nanos <= 0) {
                let detail = "must specify a positive target averageValue";
                checks.required(at.field("target").field("averageValue"), detail);
            }
        }
        "External" => {
            identifier(source, at, checks);
            target_rules(target, at.field("target"), checks);
            if !has("value") && !has("averageValue") {
                let detail = "must set either a target value for metric or a per-pod target";
                checks.required(at.field("target").field("averageValue"), detail);
            }
            if has("value") && has("averageValue") {
                let detail = "may not set both a target value for metric and a per-pod target";
                checks.forbidden(at.field("target").field("value"), detail);
            }
        }
        _ => {
            if text(source, "name").is_empty() {
                checks.required(at.field("name"), "must specify a resource name");
            }
            if kind == "ContainerResource" && text(source, "container").is_empty() {
                checks.required(at.field("container"), "must specify a container");
            }
            target_rules(target, at.field("target"), checks);
            let at = at.field("target");
            if !has("averageUtilization") && !has("averageValue") {
                let detail = "must set either a target raw value or a target utilization";
                checks.required(at.field("averageUtilization"), detail);
            }
            if has("averageUtilization") && has("averageValue") {
                let detail = "may not set both a target raw value and a target utilization";
                checks.forbidden(at.field("averageValue"), detail);
            }
        }
    }
}

fn identifier(source: &Value, at: At<'_>, checks: &mut Checks) {
    let at = at.field("metric");
    match text(of(source, "metric"), "name") {
        "" => checks.required(at.field("name"), "must specify a metric name"),
        name => checks.faults(at.field("name"), name, names::path_segment(name)),
    }
}

fn target_rules(target: &Value, at: At<'_>, checks: &mut Checks) {
    let kind = text(target, "type");
    if kind.is_empty() {
        checks.required(at.field("type"), "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        checks.wrong(at.field("type"), kind, detail);
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = Quantity::of(of(target, field)).filter(|q| q.nanos <= 0) {
            checks.wrong(at.field(field), &amount.to_string(), "must be positive");
        }
    }
    if let Some(share) = int(target, "averageUtilization").filter(|n| *n < 1) {
        checks.invalid(
            at.field("averageUtilization"),
            &share.into(),
            "must be greater than 0",
        );
    }
}

fn scaling_rules(rules: &Value, at: At<'_>, checks: &mut Checks) {
    let window = int(rules, "stabilizationWindowSeconds");
    if let Some(window) = window.filter(|n| *n < 0) {
        let detail = "must be greater than or equal to zero";
        checks.invalid(
            at.field("stabilizationWindowSeconds"),
            &window.into(),
            detail,
        );
    }
    if let Some(window) = int(rules, "stabilizationWindowSeconds").filter(|n| *n > 3600) {
        let detail = "must be less than or equal to 3600";
        checks.invalid(
            at.field("stabilizationWindowSeconds"),
            &window.into(),
            detail,
        );
    }
    let policy = text(rules, "selectPolicy");
    checks.one_of_if(
        at.field("selectPolicy"),
        policy,
        &["Disabled", "Max", "Min"],
    );
    let at = at.field("policies");
    let policies = list(rules, "policies");
    if policies.is_empty() {
        checks.required(at, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let at = at.index(i);
        checks.one_of(at.field("type"), text(policy, "type"), &["Percent", "Pods"]);
        for (field, limit) in [("value", i64::MAX), ("periodSeconds", 1800)] {
            let number = int(policy, field).unwrap_or_default();
            if number <= 0 {
                checks.invalid(at.field(field), &number.into(), "must be greater than zero");
            } else if number > limit {
                let detail = format!("must be less than or equal to {limit}");
                checks.invalid(at.field(field), &number.into(), &detail);
            }
        }
    }
}

/// A PodDisruptionBudget.
pub(super) fn budget(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    let (least, most) = (of(spec, "minAvailable"), of(spec, "maxUnavailable"));
    if !least.is_null() && !most.is_null() {
        let shown = json!({"MinAvailable": least, "Selector": of(spec, "selector"), "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": of(spec, "unhealthyPodEvictionPolicy")});
        checks.invalid(
            at,
            &shown,
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let value = of(spec, field);
        if !value.is_null() {
            checks.count_or_percent(at.field(field), value);
            checks.within_whole(at.field(field), value);
        }
    }
    checks.selector(at.field("selector"), of(spec, "selector"));
    let policy = text(spec, "unhealthyPodEvictionPolicy");
    let known = ["AlwaysAllow", "IfHealthyBudget"];
    checks.one_of_if(at.field("unhealthyPodEvictionPolicy"), policy, &known);
}
