//! Owns the rules of the smaller kinds: events, leases, quotas, limits, nodes, namespaces and
//! classes.

use serde_json::{Value, json};
use weir_schema::Quantity;

use super::checks::{At, Checks, int, list, members, of, text};
use super::{names, pod};
use crate::refusal::Cause;

/// An Event of either group. Those without a time of their own are judged as of old.
pub(super) fn event(object: &Value, checks: &mut Checks) {
    let own = text(of(object, "metadata"), "namespace");
    let involved = of(object, "involvedObject");
    let namespace = text(involved, "namespace");
    let legacy = of(object, "eventTime").is_null();
    let at = At::root("involvedObject");
    // An event about what is in no namespace belongs to the default one.
    let cluster = namespace.is_empty() && own == "default";
    if namespace != own && !cluster {
        checks.wrong(
            at.field("namespace"),
            namespace,
            "does not match event.namespace",
        );
    }
    if legacy {
        return;
    }
    let controller = text(object, "reportingComponent");
    if controller.is_empty() {
        checks.required(At::root("reportingComponent"), "");
    }
    checks.faults(
        At::root("reportingComponent"),
        controller,
        names::qualified(controller),
    );
    for field in ["reportingInstance", "action", "reason"] {
        if text(object, field).is_empty() {
            checks.required(At::root(field), "");
        }
    }
    for field in ["reportingInstance", "action", "reason"] {
        if text(object, field).len() > 128 {
            checks.causes.push(Cause::too_long(At::root(field), 128));
        }
    }
    if text(object, "message").len() > 1024 {
        checks
            .causes
            .push(Cause::too_long(At::root("message"), 1024));
    }
}

/// A Lease.
pub(super) fn lease(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    if let Some(seconds) = int(spec, "leaseDurationSeconds").filter(|s| *s <= 0) {
        let detail = "must be greater than 0";
        checks.invalid(at.field("leaseDurationSeconds"), &seconds.into(), detail);
    }
    checks.not_negative(at, spec, "leaseTransitions");
    let strategy = text(spec, "strategy");
    if !strategy.is_empty() {
        checks.faults(at.field("strategy"), strategy, names::qualified(strategy));
    }
}

/// The largest value that a user may give to a priority class.
const HIGHEST: i64 = 1_000_000_000;

/// A PriorityClass.
pub(super) fn priority_class(object: &Value, checks: &mut Checks) {
    let name = text(of(object, "metadata"), "name");
    let value = int(object, "value").unwrap_or_default();
    if name.starts_with("system-") {
        if !matches!(name, "system-node-critical" | "system-cluster-critical") {
            let at = At::root("metadata");
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: \
                 {name} is not a known system priority class"
            );
            checks.forbidden(at.field("name"), &detail);
        }
    } else if value > HIGHEST {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        checks.forbidden(At::root("value"), &detail);
    }
    let policy = text(object, "preemptionPolicy");
    let known = ["PreemptLowerPriority", "Never"];
    checks.one_of_if(At::root("preemptionPolicy"), policy, &known);
}

/// What may change of a PriorityClass.
pub(super) fn priority_class_change(old: &Value, new: &Value, checks: &mut Checks) {
    if int(old, "value") != int(new, "value") {
        checks.forbidden(At::root("value"), "may not be changed in an update.");
    }
    let at = At::root("preemptionPolicy");
    checks.fixed(at, of(old, "preemptionPolicy"), of(new, "preemptionPolicy"));
}

const QUOTA: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
];
const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// A ResourceQuota.
pub(super) fn quota(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    let hard = of(spec, "hard");
    let standard = QUOTA.get(..19).unwrap_or_default();
    for (name, value) in members(hard) {
        let at = at.field("hard");
        pod::resource_name(name, at.key(name), standard, "quota", checks);
        pod::amount(name, value, at.key(name), checks);
    }
    let scopes: Vec<&str> = list(spec, "scopes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let shown = of(spec, "scopes");
    let has = |scope: &str| scopes.contains(&scope);
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            checks.invalid(at.field("scopes"), shown, "unsupported scope");
        }
        for (name, _) in members(hard) {
            let only_pods = *scope == "BestEffort" && name != "pods";
            let compute = ["cpu", "memory", "ephemeral-storage"];
            let known = name == "pods"
                || compute.iter().any(|c| {
                    name.trim_start_matches("requests.")
                        .trim_start_matches("limits.")
                        == *c
                });
            if only_pods || !known && SCOPES.contains(scope) && standard.contains(&name.as_str()) {
                checks.invalid(
                    at.field("scopes"),
                    shown,
                    "unsupported scope applied to resource",
                );
            }
        }
    }
    if (has("BestEffort") && has("NotBestEffort")) || (has("Terminating") && has("NotTerminating"))
    {
        checks.invalid(at.field("scopes"), shown, "conflicting scopes");
    }
    let at = at.field("scopeSelector");
    let at = at.field("matchExpressions");
    for rule in list(of(spec, "scopeSelector"), "matchExpressions") {
        let scope = text(rule, "scopeName");
        if !SCOPES.contains(&scope) {
            checks.wrong(at.field("scopeName"), scope, "unsupported scope");
        }
        let values = list(rule, "values");
        match text(rule, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                checks.required(at.field("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector";
                checks.invalid(at.field("values"), of(rule, "values"), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => checks.wrong(at.field("operator"), other, "not a valid selector operator"),
        }
    }
}

/// What may change of a ResourceQuota.
pub(super) fn quota_change(old: &Value, new: &Value, checks: &mut Checks) {
    let (a, b) = (of(of(old, "spec"), "scopes"), of(of(new, "spec"), "scopes"));
    let at = At::root("spec");
    checks.fixed(at.field("scopes"), a, b);
}

/// A LimitRange.
pub(super) fn limit_range(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let at = at.field("limits");
    let mut seen = Vec::new();
    for (i, limit) in list(of(object, "spec"), "limits").iter().enumerate() {
        let at = at.index(i);
        let kind = text(limit, "type");
        let faults = names::qualified(kind);
        let known = ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind);
        if faults.is_empty() && !kind.contains('/') && !known {
            let detail = "must be a standard limit type or fully qualified";
            checks.wrong(at.field("type"), kind, detail);
        }
        checks.faults(at.field("type"), kind, faults);
        if seen.contains(&kind) {
            checks.duplicate(at.field("type"), &kind.into());
        }
        seen.push(kind);
        if kind == "Pod" {
            for field in ["default", "defaultRequest"] {
                if !of(limit, field).is_null() {
                    checks.forbidden(at.field(field), "may not be specified when `type` is 'Pod'");
                }
            }
        }
        if kind == "PersistentVolumeClaim"
            && of(of(limit, "min"), "storage").is_null()
            && of(of(limit, "max"), "storage").is_null()
        {
            let detail =
                "either minimum or maximum storage value is required, but neither was provided";
            checks.required(at.field("limits"), detail);
        }
        limit_amounts(limit, at, checks);
    }
}

fn limit_amounts(limit: &Value, at: At<'_>, checks: &mut Checks) {
    let mut names: Vec<&String> = Vec::new();
    for field in [
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
    ] {
        for (name, _) in members(of(limit, field)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.sort();
    for name in names {
        let amount = |field| Quantity::of(of(of(limit, field), name));
        let (min, max) = (amount("min"), amount("max"));
        let (request, default) = (amount("defaultRequest"), amount("default"));
        let ratio = amount("maxLimitRequestRatio");
        let mut over = |field: &str,
                        shown: Quantity,
                        low: (&str, Option<Quantity>),
                        high: (&str, Option<Quantity>)| {
            if let (Some(a), Some(b)) = (low.1, high.1)
                && a > b
            {
                let at = at.field(field);
                let detail = format!("{} value {a} is greater than {} value {b}", low.0, high.0);
                checks.wrong(at.key(name), &shown.to_string(), &detail);
            }
        };
        if let Some(min) = min {
            over("min", min, ("min", Some(min)), ("max", max));
        }
        if let Some(request) = request {
            over(
                "defaultRequest",
                request,
                ("min", min),
                ("default request", Some(request)),
            );
            over(
                "defaultRequest",
                request,
                ("default request", Some(request)),
                ("max", max),
            );
            over(
                "defaultRequest",
                request,
                ("default request", Some(request)),
                ("default limit", default),
            );
        }
        if let Some(default) = default {
            over(
                "default",
                min.unwrap_or(default),
                ("min", min),
                ("default", Some(default)),
            );
            over(
                "default",
                max.unwrap_or(default),
                ("default", Some(default)),
                ("max", max),
            );
        }
        if let Some(ratio) = ratio.filter(|r| *r < Quantity::whole(1)) {
            let at = at.field("maxLimitRequestRatio");
            let detail = format!("ratio {ratio} is less than 1");
            checks.wrong(at.key(name), &ratio.to_string(), &detail);
        }
    }
}

/// A Namespace. Which of its finalizers is wrong is said where they alone are written.
pub(super) fn namespace(object: &Value, finalizing: bool, checks: &mut Checks) {
    let spec = At::root("spec");
    let finalizers = spec.field("finalizers");
    for (i, name) in list(of(object, "spec"), "finalizers").iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        let at = if finalizing {
            finalizers.index(i)
        } else {
            finalizers
        };
        checks.faults(at, name, names::qualified(name));
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            checks.wrong(at, name, detail);
        }
    }
}

/// A Node.
pub(super) fn node(object: &Value, checks: &mut Checks) {
    let spec = of(object, "spec");
    let at = At::root("metadata");
    let at = at.field("taints");
    let mut seen = Vec::new();
    for (i, taint) in list(spec, "taints").iter().enumerate() {
        let at = at.index(i);
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        checks.faults(at.field("key"), key, names::qualified(key));
        let value = text(taint, "value");
        if let Some(fault) = names::label_value(value).first() {
            checks.wrong(at.field("value"), value, fault);
        }
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        checks.one_of(at.field("effect"), effect, &known);
        if seen.contains(&(key, effect)) {
            let shown = json!({"Key": key, "Value": value, "Effect": effect, "TimeAdded": of(taint, "timeAdded")});
            let mut cause = Cause::duplicate(at, &shown);
            cause
                .message
                .push_str(": taints must be unique by key and effect pair");
            checks.causes.push(cause);
        }
        seen.push((key, effect));
    }
    let at = At::root("spec");
    let ranges: Vec<&str> = list(spec, "podCIDRs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let one = text(spec, "podCIDR");
    let ranges = if ranges.is_empty() && !one.is_empty() {
        vec![one]
    } else {
        ranges
    };
    for (i, range) in ranges.iter().enumerate() {
        checks.faults(at.field("podCIDRs").index(i), range, names::cidr(range));
    }
}

/// What may change of a Node.
pub(super) fn node_change(old: &Value, new: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let (a, b) = (of(old, "spec"), of(new, "spec"));
    if !list(a, "podCIDRs").is_empty() && of(a, "podCIDRs") != of(b, "podCIDRs") {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        checks.forbidden(at.field("podCIDRs"), detail);
    }
    if !text(a, "providerID").is_empty() && text(a, "providerID") != text(b, "providerID") {
        let detail = "node updates may not change providerID except from \"\" to valid";
        checks.forbidden(at.field("providerID"), detail);
    }
}

/// A RuntimeClass.
pub(super) fn runtime_class(object: &Value, checks: &mut Checks) {
    let handler = text(object, "handler");
    checks.faults(At::root("handler"), handler, names::label(handler));
    let at = At::root("scheduling");
    checks.labels(
        at.field("nodeSelector"),
        of(of(object, "scheduling"), "nodeSelector"),
    );
}
