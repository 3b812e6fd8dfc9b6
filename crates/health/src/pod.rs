//! Owns the rule of a Pod, and which failures of one are final.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use weir_object::Object;

use crate::conditions::{Condition, conditions};
use crate::{Health, health};

/// How long a pod may wait for a node before that counts as a failure. Autoscalers need a moment.
const SCHEDULE_WINDOW: SignedDuration = SignedDuration::from_secs(15);

pub(crate) fn pod(object: &Object, now: Timestamp) -> Result<Health, Health> {
    let conditions = conditions(object)?;
    match object.text(&["status", "phase"]) {
        // A pod that ended is as asked; whether the end was good is its owner's matter.
        "Succeeded" | "Failed" => Ok(Health::Current),
        "Running" => {
            if conditions.iter().any(|c| c.is("Ready", "True")) {
                return Ok(Health::Current);
            }
            let looping = crash_looping(object);
            if looping.is_empty() {
                return Ok(Health::in_progress(
                    "PodRunningNotReady",
                    "pod runs but is not ready",
                ));
            }
            Ok(Health::failed(
                "ContainerCrashLooping",
                format!("containers crash again and again: {}", looping.join(", ")),
            ))
        }
        "Pending" if is_unschedulable(&conditions) => {
            let created = object
                .text(&["metadata", "creationTimestamp"])
                .parse::<Timestamp>();
            if created.is_ok_and(|created| now.duration_since(created) < SCHEDULE_WINDOW) {
                return Ok(Health::in_progress(
                    "PodNotScheduled",
                    "pod waits for a node",
                ));
            }
            Ok(Health::failed(
                "PodUnschedulable",
                "no node can take the pod",
            ))
        }
        "Pending" => Ok(Health::in_progress("PodPending", "pod is about to start")),
        "" => Ok(Health::in_progress(
            "PodNotObserved",
            "pod was not yet seen by a node",
        )),
        phase => Err(Health::Unknown {
            message: format!("`{phase}` is not a phase of a pod"),
        }),
    }
}

/// Whether the pod fails its workload: not while it is being replaced, nor while a node may come.
pub(crate) fn has_failed_for_good(pod: &Object, now: Timestamp) -> bool {
    let transient =
        pod.is_deleting() || conditions(pod).is_ok_and(|conditions| is_unschedulable(&conditions));
    !transient && matches!(health(pod, now), Health::Failed { .. })
}

fn is_unschedulable(conditions: &[Condition<'_>]) -> bool {
    conditions
        .iter()
        .any(|c| c.is("PodScheduled", "False") && c.reason == "Unschedulable")
}

fn crash_looping(object: &Object) -> Vec<&str> {
    let statuses = object
        .get(&["status", "containerStatuses"])
        .and_then(Value::as_array);
    statuses
        .into_iter()
        .flatten()
        .filter(|status| {
            weir_object::path::text(status, &["state", "waiting", "reason"]) == "CrashLoopBackOff"
        })
        .filter_map(|status| status.get("name")?.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health_with_pods;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn now() -> Timestamp {
        NOW.parse().expect("a time")
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best with values"
    )]
    fn a_pod(created: &str, status: Value) -> Object {
        Object(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "x", "creationTimestamp": created}, "status": status,
        }))
    }

    fn of(status: Value) -> Health {
        health(&a_pod("2026-01-01T00:00:00Z", status), now())
    }

    fn crashing() -> Value {
        json!({"phase": "Running", "containerStatuses": [
            {"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {"name": "side", "state": {"running": {}}},
        ]})
    }

    fn unschedulable() -> Value {
        json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]})
    }

    #[test]
    fn phases() {
        assert_eq!(
            of(json!({})),
            Health::in_progress("PodNotObserved", "pod was not yet seen by a node")
        );
        assert_eq!(
            of(json!({"phase": "Pending"})),
            Health::in_progress("PodPending", "pod is about to start")
        );
        assert_eq!(
            of(json!({"phase": "Running"})),
            Health::in_progress("PodRunningNotReady", "pod runs but is not ready")
        );
        let ready =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(of(ready), Health::Current);
        assert_eq!(of(json!({"phase": "Succeeded"})), Health::Current);
        assert_eq!(of(json!({"phase": "Failed"})), Health::Current);
        assert_eq!(
            of(json!({"phase": "Dreaming"})),
            Health::Unknown {
                message: "`Dreaming` is not a phase of a pod".to_owned()
            }
        );
    }

    #[test]
    fn a_crash_loop_is_a_failure() {
        assert_eq!(
            of(crashing()),
            Health::failed(
                "ContainerCrashLooping",
                "containers crash again and again: app"
            )
        );
    }

    #[test]
    fn a_node_is_awaited_for_a_while() {
        let at = |created| health(&a_pod(created, unschedulable()), now());
        assert_eq!(
            at("2026-01-01T00:00:46Z"),
            Health::in_progress("PodNotScheduled", "pod waits for a node")
        );
        let failed = Health::failed("PodUnschedulable", "no node can take the pod");
        assert_eq!(at("2026-01-01T00:00:45Z"), failed);
        assert_eq!(at("not a time"), failed);
    }

    #[test]
    fn failed_pods_fail_their_workload_early() {
        let set = |ready| {
            Object(json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x"},
                "spec": {"replicas": 1},
                "status": {"replicas": 1, "fullyLabeledReplicas": 1,
                    "availableReplicas": ready, "readyReplicas": ready},
            }))
        };
        let pod = |status| a_pod("2026-01-01T00:00:00Z", status);
        let deleting = {
            let mut pod = pod(crashing());
            pod.set(&["metadata", "deletionTimestamp"], json!(NOW));
            pod
        };
        let of = |ready, pods: &[Object]| health_with_pods(&set(ready), pods, now());
        let waiting = Health::in_progress("LessAvailable", "Available: 0/1");
        assert_eq!(of(0, &[]), waiting);
        assert_eq!(of(0, &[deleting, pod(unschedulable())]), waiting);
        assert_eq!(
            of(0, &[pod(crashing())]),
            Health::failed("PodsFailed", "1 pod has failed")
        );
        assert_eq!(
            of(0, &[pod(crashing()), pod(crashing())]),
            Health::failed("PodsFailed", "2 pods have failed")
        );
        assert_eq!(of(1, &[pod(crashing())]), Health::Current);
    }
}
