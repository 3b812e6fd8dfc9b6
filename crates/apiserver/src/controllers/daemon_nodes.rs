//! Owns which nodes a DaemonSet runs on: node names, selectors, affinity, taints and what its pods
//! tolerate. Pure.

use serde_json::{Value, json};
use weir_object::path;

use super::source::{items, name_of};

/// Taints that the pods of every daemon set tolerate, with their effects.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// What the pods of a set tolerate.
pub(crate) fn tolerations(spec: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = items(spec, &["tolerations"]).cloned().collect();
    let host = path::get(spec, &["hostNetwork"]) == Some(&Value::Bool(true));
    let network = [("node.kubernetes.io/network-unavailable", "NoSchedule")];
    let extra = network.iter().filter(|_| host);
    for (key, effect) in TOLERATED.iter().chain(extra) {
        let new = json!({"key": key, "operator": "Exists", "effect": effect});
        let same = all.iter().position(|t| {
            path::text(t, &["key"]) == *key
                && path::text(t, &["effect"]) == *effect
                && path::text(t, &["operator"]) == "Exists"
        });
        match same.and_then(|at| all.get_mut(at)) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }
    all
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |of: &Value, field: &str| path::text(of, &[field]).to_owned();
    let effect = text(toleration, "effect");
    if !effect.is_empty() && effect != text(taint, "effect") {
        return false;
    }
    let key = text(toleration, "key");
    if !key.is_empty() && key != text(taint, "key") {
        return false;
    }
    match text(toleration, "operator").as_str() {
        "Exists" => true,
        "" | "Equal" => text(toleration, "value") == text(taint, "value"),
        _ => false,
    }
}

/// Whether a node has a taint of these effects that is not tolerated.
fn repels(node: &Value, tolerations: &[Value], effects: &[&str]) -> bool {
    items(node, &["spec", "taints"])
        .filter(|taint| effects.contains(&path::text(taint, &["effect"])))
        .any(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

fn expression(value: Option<&str>, need: &Value) -> bool {
    let values = || items(need, &["values"]).filter_map(Value::as_str);
    let number = |text: &str| text.parse::<i64>().ok();
    match path::text(need, &["operator"]) {
        "In" => value.is_some_and(|v| values().any(|o| o == v)),
        "NotIn" => value.is_none_or(|v| values().all(|o| o != v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value.and_then(number) > values().next().and_then(number),
        "Lt" => {
            let (is, limit) = (value.and_then(number), values().next().and_then(number));
            is.is_some() && limit.is_some() && is < limit
        }
        _ => false,
    }
}

fn term(node: &Value, term: &Value) -> bool {
    let (labels, fields) = (
        items(term, &["matchExpressions"]),
        items(term, &["matchFields"]),
    );
    let mut any = false;
    let mut all = true;
    for need in labels {
        any = true;
        let key = path::text(need, &["key"]);
        let value = path::get(node, &["metadata", "labels", key]).and_then(Value::as_str);
        all &= expression(value, need);
    }
    for need in fields {
        any = true;
        let name = path::text(need, &["key"]) == "metadata.name";
        all &= expression(name.then(|| name_of(node)), need);
    }
    // A term that asks for nothing chooses nothing.
    any && all
}

/// Whether a node is one that a pod asks for.
fn is_wanted(node: &Value, spec: &Value) -> bool {
    let named = path::text(spec, &["nodeName"]);
    if !named.is_empty() && named != name_of(node) {
        return false;
    }
    let selector = path::get(spec, &["nodeSelector"]).and_then(Value::as_object);
    let labels = |key: &str| path::get(node, &["metadata", "labels", key]);
    if !selector
        .into_iter()
        .flatten()
        .all(|(key, value)| labels(key) == Some(value))
    {
        return false;
    }
    let required = [
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ];
    match path::get(spec, &required) {
        None => true,
        Some(required) => items(required, &["nodeSelectorTerms"]).any(|t| term(node, t)),
    }
}

/// Whether a set runs on a node, and whether a pod that is there may stay.
pub(crate) fn runs_on(node: &Value, set: &Value) -> (bool, bool) {
    let empty = Value::Null;
    let spec = path::get(set, &["spec", "template", "spec"]).unwrap_or(&empty);
    if !is_wanted(node, spec) {
        return (false, false);
    }
    let tolerations = tolerations(spec);
    if repels(node, &tolerations, &["NoExecute", "NoSchedule"]) {
        return (false, !repels(node, &tolerations, &["NoExecute"]));
    }
    (true, true)
}

/// Binds a pod to a node, whatever other nodes its affinity names.
pub(crate) fn pin(pod: &mut Value, node: &str) {
    let only = json!({"nodeSelectorTerms": [{"matchFields":
        [{"key": "metadata.name", "operator": "In", "values": [node]}]}]});
    let at = [
        "spec",
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ];
    path::set(pod, &at, only);
}

/// The node that a pod runs on or is bound for.
pub(crate) fn node_of(pod: &Value) -> Option<&str> {
    let named = path::text(pod, &["spec", "nodeName"]);
    if !named.is_empty() {
        return Some(named);
    }
    let at = [
        "spec",
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms",
    ];
    items(pod, &at)
        .flat_map(|term| items(term, &["matchFields"]))
        .filter(|need| path::text(need, &["key"]) == "metadata.name")
        .find_map(|need| items(need, &["values"]).next()?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: &Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    #[test]
    fn nodes_are_chosen_by_selector_affinity_and_taints() {
        let node = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "size": "5"}},
            "spec": {"taints": [{"key": "own", "value": "x", "effect": "NoSchedule"}]}});
        let tolerate = json!([{"key": "own", "operator": "Equal", "value": "x"}]);
        let affinity = |operator: &str, values: &Value| {
            json!({"tolerations": tolerate, "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "size", "operator": operator, "values": values}]}]}}}})
        };
        let cases = [
            (json!({}), (false, true)),
            (json!({"tolerations": tolerate}), (true, true)),
            (
                json!({"tolerations": tolerate, "nodeSelector": {"disk": "hdd"}}),
                (false, false),
            ),
            (
                json!({"tolerations": tolerate, "nodeName": "n2"}),
                (false, false),
            ),
            (affinity("Gt", &json!(["4"])), (true, true)),
            (affinity("Lt", &json!(["4"])), (false, false)),
            (affinity("NotIn", &json!(["4"])), (true, true)),
            (affinity("Exists", &json!([])), (true, true)),
        ];
        for (spec, runs) in cases {
            assert_eq!(runs_on(&node, &set(&spec)), runs, "{spec}");
        }
    }

    #[test]
    fn a_node_that_is_cordoned_or_lost_keeps_its_daemons() {
        let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}});
        assert_eq!(runs_on(&node, &set(&json!({}))), (true, true));
    }

    #[test]
    fn a_pinned_pod_names_its_node() {
        let mut pod = json!({"spec": {}});
        assert_eq!(node_of(&pod), None);
        pin(&mut pod, "n1");
        assert_eq!(node_of(&pod), Some("n1"));
    }
}
