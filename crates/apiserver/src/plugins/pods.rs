//! Owns what plug-ins decide of single pods: priority, tolerations and runtime.

use serde_json::{Value, json};
use weir_object::path;

use super::Asked;
use crate::refusal::Refusal;

/// The value behind a pod's priority class.
pub(super) fn priority(asked: &Asked<'_>, pod: &mut Value) -> Result<(), Refusal> {
    if !asked.creates("", "Pod") {
        return Ok(());
    }
    let name = path::text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() {
        let all = asked.all("scheduling.k8s.io", "v1", "priorityclasses", None);
        all.into_iter()
            .find(|class| class.get("globalDefault") == Some(&Value::Bool(true)))
    } else {
        let found = asked.find("scheduling.k8s.io", "priorityclasses", "", &name);
        if found.is_none() {
            let why = format!("no PriorityClass with name {name} was found");
            return Err(asked.forbid(pod, why));
        }
        found
    };
    let value = class
        .as_deref()
        .and_then(|c| c.get("value"))
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let policy = class
        .as_deref()
        .map(|c| path::text(c, &["preemptionPolicy"]))
        .unwrap_or_default();
    let policy = if policy.is_empty() {
        "PreemptLowerPriority"
    } else {
        policy
    };
    if name.is_empty()
        && let Some(class) = &class
    {
        let name = path::text(class, &["metadata", "name"]);
        path::set(pod, &["spec", "priorityClassName"], name.into());
    }
    if let Some(given) = path::get(pod, &["spec", "priority"]).and_then(Value::as_i64)
        && given != value
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        );
        return Err(asked.forbid(pod, why));
    }
    path::set(pod, &["spec", "priority"], value.into());
    let given = path::text(pod, &["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority \
             admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(asked.forbid(pod, why));
    }
    path::set(pod, &["spec", "preemptionPolicy"], policy.into());
    Ok(())
}

/// A pod stays five minutes on a node that went away.
pub(super) fn tolerations(asked: &Asked<'_>, pod: &mut Value) {
    if asked.part != crate::call::Part::Whole || !asked.resource.is("", "Pod") {
        return;
    }
    let given = path::get(pod, &["spec", "tolerations"])
        .and_then(Value::as_array)
        .cloned();
    let mut all = given.unwrap_or_default();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = |t: &Value| {
            let (own, effect) = (path::text(t, &["key"]), path::text(t, &["effect"]));
            (own == key || own.is_empty()) && matches!(effect, "NoExecute" | "")
        };
        if !all.iter().any(tolerated) {
            all.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    path::set(pod, &["spec", "tolerations"], all.into());
}

/// A runtime class must be there, and says what a pod costs beside its containers.
pub(super) fn runtime_class(asked: &Asked<'_>, pod: &mut Value) -> Result<(), Refusal> {
    if !asked.creates("", "Pod") {
        return Ok(());
    }
    let name = path::text(pod, &["spec", "runtimeClassName"]).to_owned();
    let mut overhead = None;
    if !name.is_empty() {
        let Some(class) = asked.find("node.k8s.io", "runtimeclasses", "", &name) else {
            let why = format!("pod rejected: RuntimeClass \"{name}\" not found");
            return Err(asked.forbid(pod, why));
        };
        overhead = path::get(&class, &["overhead", "podFixed"]).cloned();
    }
    let given = path::get(pod, &["spec", "overhead"])
        .filter(|o| o.as_object().is_some_and(|o| !o.is_empty()));
    match (given, overhead) {
        (Some(_), None) => Err(asked.forbid(
            pod,
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        )),
        (Some(given), Some(wanted)) if *given != wanted => Err(asked.forbid(
            pod,
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        )),
        (None, Some(wanted)) => {
            path::set(pod, &["spec", "overhead"], wanted);
            Ok(())
        }
        _ => Ok(()),
    }
}
