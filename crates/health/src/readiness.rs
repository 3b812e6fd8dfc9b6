//! Owns what a canary asks of a Deployment before it moves any traffic: rolled out, and enough of it
//! available. Stricter than [`crate::health()`] in time, laxer in count.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use weir_object::Object;

use crate::conditions::{Condition, conditions, number};

/// Whether a Deployment can take the traffic that is meant for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// Not yet; look again when it changes.
    Waiting {
        /// What is awaited.
        message: String,
        /// When waiting ends in [`Readiness::Failed`] without any change of the Deployment. Set a
        /// timer for it.
        until: Option<Timestamp>,
    },
    /// It did not become ready in time.
    Failed {
        /// What was awaited in vain.
        message: String,
    },
}

impl Readiness {
    /// Whether it can take its traffic.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

/// Whether `deployment` can take its traffic at `now`.
///
/// `percent` of the updated replicas must be available; part replicas are rounded down. Two deadlines
/// count: the Deployment's own, by its condition, and `deadline`, since it was last seen below its
/// minimum.
pub fn deployment_ready(
    deployment: &Object,
    percent: i64,
    deadline: Duration,
    now: Timestamp,
) -> Readiness {
    let waiting = |message: String| Readiness::Waiting {
        message,
        until: None,
    };
    let observed = deployment
        .get(&["status", "observedGeneration"])
        .and_then(Value::as_i64);
    if observed.unwrap_or_default() < deployment.generation() {
        return waiting(
            "waiting for rollout to finish: observed deployment generation less than desired \
             generation"
                .to_owned(),
        );
    }
    let conditions = match conditions(deployment) {
        Ok(conditions) => conditions,
        Err(odd) => return waiting(format!("waiting for a readable status: {}", odd.message())),
    };
    let progress = conditions.iter().find(|c| c.kind == "Progressing");
    if progress.is_some_and(|c| c.reason == "ProgressDeadlineExceeded") {
        return Readiness::Failed {
            message: format!(
                "deployment {:?} exceeded its progress deadline",
                deployment.name()
            ),
        };
    }
    let Some(message) = missing(deployment, percent) else {
        return Readiness::Ready;
    };
    let until = progress.and_then(|_| expiry(&conditions, deadline));
    if until.is_some_and(|until| until < now) {
        return Readiness::Failed { message };
    }
    Readiness::Waiting { message, until }
}

/// What the counts lack, in the order in which a rollout provides it.
fn missing(deployment: &Object, percent: i64) -> Option<String> {
    let status = |field: &str| number(deployment, &["status", field], 0);
    let wanted = number(deployment, &["spec", "replicas"], 1);
    let updated = status("updatedReplicas");
    if updated < wanted {
        return Some(format!(
            "waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated"
        ));
    }
    let old = status("replicas").saturating_sub(updated);
    if old > 0 {
        return Some(format!(
            "waiting for rollout to finish: {old} old replicas are pending termination"
        ));
    }
    let enough = updated.saturating_mul(percent) / 100;
    let available = status("availableReplicas");
    if available < enough {
        return Some(format!(
            "waiting for rollout to finish: {available} of {enough} (readyThreshold {percent}%) \
             updated replicas are available"
        ));
    }
    None
}

/// When patience ends: `deadline` after the Deployment was last seen to fall below its minimum.
fn expiry(conditions: &[Condition<'_>], deadline: Duration) -> Option<Timestamp> {
    let available = conditions.iter().find(|c| c.kind == "Available")?;
    if available.status != "False" || available.reason != "MinimumReplicasUnavailable" {
        return None;
    }
    let since: Timestamp = available.last_update_time.parse().ok()?;
    since.checked_add(deadline).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn deployment(status: &Value) -> Object {
        Object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "app-primary", "generation": 2},
            "spec": {"replicas": 3}, "status": status,
        }))
    }

    fn of(status: &Value, percent: i64, now: &str) -> Readiness {
        deployment_ready(
            &deployment(status),
            percent,
            Duration::from_mins(1),
            at(now),
        )
    }

    fn counts(updated: i64, replicas: i64, available: i64) -> Value {
        json!({"observedGeneration": 2, "updatedReplicas": updated, "replicas": replicas,
            "availableReplicas": available})
    }

    fn waiting(what: &str) -> Readiness {
        let message = format!("waiting for rollout to finish: {what}");
        Readiness::Waiting {
            message,
            until: None,
        }
    }

    const NOW: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn counts_decide() {
        assert_eq!(
            of(&json!({"observedGeneration": 1}), 100, NOW),
            waiting("observed deployment generation less than desired generation")
        );
        assert_eq!(
            of(&counts(1, 3, 3), 100, NOW),
            waiting("1 out of 3 new replicas have been updated")
        );
        assert_eq!(
            of(&counts(3, 4, 3), 100, NOW),
            waiting("1 old replicas are pending termination")
        );
        assert_eq!(
            of(&counts(3, 3, 2), 100, NOW),
            waiting("2 of 3 (readyThreshold 100%) updated replicas are available")
        );
        assert_eq!(of(&counts(3, 3, 3), 100, NOW), Readiness::Ready);
        // Two thirds of three, rounded down, is one.
        assert_eq!(of(&counts(3, 3, 1), 66, NOW), Readiness::Ready);
        assert_eq!(of(&counts(3, 3, 0), 0, NOW), Readiness::Ready);
    }

    #[test]
    fn its_own_deadline_is_final() {
        let status = json!({"observedGeneration": 2, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
        let message = "deployment \"app-primary\" exceeded its progress deadline".to_owned();
        assert_eq!(of(&status, 100, NOW), Readiness::Failed { message });
    }

    #[test]
    fn patience_ends_at_the_deadline_and_not_before() {
        let mut status = counts(3, 3, 0);
        status["conditions"] = json!([
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
                "lastUpdateTime": "2026-01-01T00:00:00Z"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        ]);
        let message = "waiting for rollout to finish: 0 of 3 (readyThreshold 100%) updated \
                       replicas are available"
            .to_owned();
        let until = Some(at("2026-01-01T00:01:00Z"));
        assert_eq!(
            of(&status, 100, "2026-01-01T00:01:00Z"),
            Readiness::Waiting {
                message: message.clone(),
                until
            }
        );
        assert_eq!(
            of(&status, 100, "2026-01-01T00:01:01Z"),
            Readiness::Failed { message }
        );
        // Enough are available all the same.
        status["availableReplicas"] = json!(3);
        assert_eq!(of(&status, 100, "2026-01-01T00:01:01Z"), Readiness::Ready);
    }

    #[test]
    fn an_odd_status_is_waited_for() {
        let status = json!({"observedGeneration": 2, "conditions": 7});
        assert!(matches!(
            of(&status, 100, NOW),
            Readiness::Waiting { until: None, .. }
        ));
    }
}
