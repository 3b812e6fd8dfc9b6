//! Owns evictions: a pod is removed only if no disruption budget forbids it, and the budget counts
//! the disruption before the pod goes.

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::path;

use crate::call::{Call, DeleteOptions, Part, stamp};
use crate::controllers::disruption::tell_allowed;
use crate::controllers::pods::is_ready;
use crate::objects::{self, How};
use crate::refusal::{Cause, Refusal, ResourceName};
use crate::registry::Resource;
use crate::remove;
use crate::selector::Selector;
use crate::state::State;

/// Evictions that a budget may wait for at once.
const PENDING: usize = 2000;
const FORBIDDEN: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// What an eviction comes to.
pub(crate) enum Evicted {
    /// The pod is gone or goes.
    Yes,
    /// It has more budgets than one, which an eviction cannot ask.
    Ambiguous,
}

/// Removes a pod unless its budget forbids it.
pub(crate) fn evict(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
    call: &mut Call,
) -> Result<Evicted, Refusal> {
    let pod = objects::get(state, resource, namespace, name)?;
    let phase = path::text(&pod, &["status", "phase"]);
    let going = path::get(&pod, &["metadata", "deletionTimestamp"]).is_some();
    // These disturb nobody any more, or not yet.
    let free = going || matches!(phase, "Succeeded" | "Failed" | "Pending");
    if !free {
        let budgets = budgets_of(state, namespace.unwrap_or_default(), &pod);
        match budgets.as_slice() {
            [] => {}
            [budget] => ask(state, budget, &pod, call)?,
            _ => return Ok(Evicted::Ambiguous),
        }
    }
    if !call.dry_run {
        mark(state, resource, namespace, name, call)?;
    }
    remove::delete_unasked(state, resource, namespace, name, options, call)?;
    Ok(Evicted::Yes)
}

fn budgets_of(state: &State, namespace: &str, pod: &Value) -> Vec<Value> {
    let Some(budgets) = state.registry.get("policy", "v1", "poddisruptionbudgets") else {
        return Vec::new();
    };
    let all = state.range(budgets.storage, Some(namespace));
    all.map(|(_, budget)| budget)
        .filter(|budget| {
            let selector = path::get(budget, &["spec", "selector"]);
            Selector::from_object(selector).is_some_and(|s| s.matches(pod))
        })
        .map(|budget| (*budget).clone())
        .collect()
}

fn number(of: &Value, field: &str) -> i64 {
    path::get(of, &["status", field])
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Asks a budget for one disruption, and counts it.
fn ask(state: &mut State, budget: &Value, pod: &Value, call: &mut Call) -> Result<(), Refusal> {
    let name = path::text(budget, &["metadata", "name"]);
    let (healthy, wanted) = (
        number(budget, "currentHealthy"),
        number(budget, "desiredHealthy"),
    );
    if !is_ready(pod) {
        let policy = path::text(budget, &["spec", "unhealthyPodEvictionPolicy"]);
        // A pod that is not well is not counted, so nothing is lost with it.
        if policy == "AlwaysAllow" || (healthy >= wanted && wanted > 0) {
            return Ok(());
        }
    }
    let too_many = |message: String, after: u32| Refusal::TooManyRequests {
        message: FORBIDDEN.to_owned(),
        cause: Cause {
            reason: "DisruptionBudget",
            message,
            field: String::new(),
        },
        after,
    };
    let forbidden = |why: &str| Refusal::Forbidden {
        resource: ResourceName {
            group: "policy".to_owned(),
            plural: "poddisruptionbudget".to_owned(),
        },
        name: name.to_owned(),
        why: why.to_owned(),
        causes: Vec::new(),
    };
    let generation = path::get(budget, &["metadata", "generation"]).and_then(Value::as_i64);
    if number(budget, "observedGeneration") < generation.unwrap_or_default() {
        let message =
            format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(message, 10));
    }
    let spare = number(budget, "disruptionsAllowed");
    if spare < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let pending = path::get(budget, &["status", "disruptedPods"]).and_then(Value::as_object);
    if pending.map_or(0, serde_json::Map::len) > PENDING {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if spare == 0 {
        let message = format!(
            "The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
        );
        return Err(too_many(message, 0));
    }
    if call.dry_run {
        return Ok(());
    }
    count(state, budget, pod, spare - 1, call)
}

fn count(
    state: &mut State,
    budget: &Value,
    pod: &Value,
    spare: i64,
    call: &mut Call,
) -> Result<(), Refusal> {
    let text = |of: &Value, field| path::text(of, &["metadata", field]).to_owned();
    let mut new = budget.clone();
    path::set(&mut new, &["status", "disruptionsAllowed"], spare.into());
    let at = ["status", "disruptedPods", &text(pod, "name")];
    path::set(&mut new, &at, stamp(call.now).into());
    if spare == 0 {
        let now: Timestamp = call.now;
        if let Some(status) = path::get_mut(&mut new, &["status"]) {
            tell_allowed(status, now);
        }
    }
    let resource = state
        .registry
        .get("policy", "v1", "poddisruptionbudgets")
        .cloned()
        .ok_or(Refusal::NoResource)?;
    let namespace = text(budget, "namespace");
    let name = text(budget, "name");
    let part = Part::Status;
    objects::update(state, &resource, Some(&namespace), &name, part, new, call).map(|_| ())
}

/// Says on the pod why it goes.
fn mark(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    call: &mut Call,
) -> Result<(), Refusal> {
    let old = objects::get(state, resource, namespace, name)?;
    let mut new = (*old).clone();
    let all = path::get(&old, &["status", "conditions"]).and_then(Value::as_array);
    let mut all = all.cloned().unwrap_or_default();
    all.retain(|c| path::text(c, &["type"]) != "DisruptionTarget");
    all.push(
        json!({"type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": stamp(call.now), "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting"}),
    );
    path::set(&mut new, &["status", "conditions"], all.into());
    let how = How {
        recorded: Part::Eviction,
        ..How::of(Part::Status)
    };
    objects::replace(state, resource, namespace, &old, new, how, call).map(|_| ())
}
