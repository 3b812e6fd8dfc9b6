//! Owns the rules of scheduling: affinity, spreading and tolerations.

use serde_json::Value;

use crate::builtin::checks::{At, Checks, int, list, of, text};
use crate::builtin::names;

/// The affinities of a pod.
pub(super) fn check(affinity: &Value, at: At<'_>, checks: &mut Checks) {
    let node = of(affinity, "nodeAffinity");
    {
        let at = at.field("nodeAffinity");
        let required = of(node, "requiredDuringSchedulingIgnoredDuringExecution");
        if !required.is_null() {
            node_selector(
                required,
                at.field("requiredDuringSchedulingIgnoredDuringExecution"),
                checks,
            );
        }
        let at = at.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in list(node, "preferredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .enumerate()
        {
            let at = at.index(i);
            weight(term, at, checks);
            node_term(of(term, "preference"), at.field("preference"), checks);
        }
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let of_pods = of(affinity, name);
        let at = at.field(name);
        {
            let at = at.field("requiredDuringSchedulingIgnoredDuringExecution");
            for (i, term) in list(of_pods, "requiredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .enumerate()
            {
                pod_term(term, at.index(i), checks);
            }
        }
        let at = at.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in list(of_pods, "preferredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .enumerate()
        {
            let at = at.index(i);
            weight(term, at, checks);
            pod_term(
                of(term, "podAffinityTerm"),
                at.field("podAffinityTerm"),
                checks,
            );
        }
    }
}

fn weight(term: &Value, at: At<'_>, checks: &mut Checks) {
    let weight = int(term, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        checks.invalid(
            at.field("weight"),
            &weight.into(),
            "must be in the range 1-100",
        );
    }
}

/// Terms of which one must fit a node.
pub(crate) fn node_selector(selector: &Value, at: At<'_>, checks: &mut Checks) {
    let at = at.field("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        checks.required(at, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, at.index(i), checks);
    }
}

fn node_term(term: &Value, at: At<'_>, checks: &mut Checks) {
    let at = at.field("matchExpressions");
    for (i, rule) in list(term, "matchExpressions").iter().enumerate() {
        let at = at.index(i);
        let values = list(rule, "values");
        match text(rule, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                checks.required(at.field("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                checks.forbidden(at.field("values"), detail);
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                checks.required(at.field("values"), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => checks.wrong(at.field("operator"), other, "not a valid selector operator"),
        }
        let key = text(rule, "key");
        checks.faults(at.field("key"), key, names::qualified(key));
    }
}

fn pod_term(term: &Value, at: At<'_>, checks: &mut Checks) {
    for name in ["labelSelector", "namespaceSelector"] {
        checks.selector(at.field(name), of(term, name));
    }
    for name in list(term, "namespaces") {
        let name = name.as_str().unwrap_or_default();
        checks.faults(at.field("namespace"), name, names::label(name));
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        checks.required(at.field("topologyKey"), "can not be empty");
    }
    checks.faults(at.field("topologyKey"), key, names::qualified(key));
}

/// How pods spread.
pub(super) fn check_spread(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let constraints = list(spec, "topologySpreadConstraints");
    for (i, constraint) in constraints.iter().enumerate() {
        let item = at.index(i);
        let skew = int(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            checks.invalid(
                item.field("maxSkew"),
                &skew.into(),
                "must be greater than zero",
            );
        }
        let (key, when) = (
            text(constraint, "topologyKey"),
            text(constraint, "whenUnsatisfiable"),
        );
        if key.is_empty() {
            checks.required(item.field("topologyKey"), "can not be empty");
        }
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        checks.one_of(item.field("whenUnsatisfiable"), when, &known);
        let rest = constraints.get(i + 1..).unwrap_or_default();
        let again =
            |c: &&Value| text(c, "topologyKey") == key && text(c, "whenUnsatisfiable") == when;
        if rest.iter().any(|c| again(&c)) {
            let pair = format!("{{{key}, {when}}}");
            checks.duplicate(item.field("{topologyKey, whenUnsatisfiable}"), &pair.into());
        }
        if let Some(domains) = int(constraint, "minDomains") {
            if domains <= 0 {
                let detail = "must be greater than zero";
                checks.invalid(item.field("minDomains"), &domains.into(), detail);
            }
            if when != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
                );
                checks.invalid(item.field("minDomains"), &domains.into(), &detail);
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            checks.one_of_if(
                item.field(field),
                text(constraint, field),
                &["Honor", "Ignore"],
            );
        }
        checks.selector(item.field("labelSelector"), of(constraint, "labelSelector"));
    }
}

/// What a pod tolerates.
pub(super) fn check_tolerations(spec: &Value, at: At<'_>, checks: &mut Checks) {
    for (i, toleration) in list(spec, "tolerations").iter().enumerate() {
        let at = at.index(i);
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        let (value, effect) = (text(toleration, "value"), text(toleration, "effect"));
        if !key.is_empty() {
            checks.faults(at.field("key"), key, names::qualified(key));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            checks.wrong(at.field("operator"), operator, detail);
        }
        if int(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            checks.wrong(at.field("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let faults = names::label_value(value);
                if let Some(fault) = faults.first() {
                    let all = if faults.len() > 1 {
                        faults.join(";")
                    } else {
                        fault.clone()
                    };
                    checks.wrong(at.field("operator"), value, &all);
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                checks.wrong(at.field("operator"), value, detail);
            }
            "Exists" => {}
            other => checks.one_of(at.field("operator"), other, &["Equal", "Exists"]),
        }
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        checks.one_of_if(at.field("effect"), effect, &known);
    }
}
