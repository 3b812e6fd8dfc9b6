//! Owns the answer and the order in which rules are asked: deletion, observed generation, standard
//! conditions, the kind's own rule, the `Ready` condition.

use jiff::Timestamp;
use serde_json::Value;
use weir_object::Object;

use crate::conditions::conditions;
use crate::{kinds, pod, workloads};

/// Whether an object is as its spec asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Current,
    /// Not yet; its controller is at work, or will be.
    InProgress {
        /// One word for programs.
        reason: String,
        /// A sentence for people.
        message: String,
    },
    /// It is not, and it will not become so by itself.
    Failed {
        /// One word for programs.
        reason: String,
        /// A sentence for people.
        message: String,
    },
    /// It is being deleted.
    Terminating,
    /// There is no such object. Only callers that looked can know; no rule gives this answer.
    NotFound,
    /// Its status has a shape that cannot be judged.
    Unknown {
        /// What cannot be read.
        message: String,
    },
}

impl Health {
    /// The word that people know, such as `InProgress`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::InProgress { .. } => "InProgress",
            Self::Failed { .. } => "Failed",
            Self::Terminating => "Terminating",
            Self::NotFound => "NotFound",
            Self::Unknown { .. } => "Unknown",
        }
    }

    /// The sentence for people; empty where the word says all.
    pub fn message(&self) -> &str {
        match self {
            Self::InProgress { message, .. }
            | Self::Failed { message, .. }
            | Self::Unknown { message } => message,
            Self::Current | Self::Terminating | Self::NotFound => "",
        }
    }

    /// Whether the object is as asked.
    pub fn is_current(&self) -> bool {
        *self == Self::Current
    }

    pub(crate) fn in_progress(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InProgress {
            reason: reason.into(),
            message: message.into(),
        }
    }

    pub(crate) fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// The health of an object. `now` matters only to a Pod that waits for a node.
pub fn health(object: &Object, now: Timestamp) -> Health {
    judge(object, now).unwrap_or_else(|known| known)
}

/// The health of a workload, looking at its pods while it is in progress: a pod that failed for good
/// fails the workload before its deadline does. `pods` are those that its selector chooses.
pub fn health_with_pods(object: &Object, pods: &[Object], now: Timestamp) -> Health {
    let own = health(object, now);
    if !matches!(own, Health::InProgress { .. }) {
        return own;
    }
    let failed = pods
        .iter()
        .filter(|pod| pod::has_failed_for_good(pod, now))
        .count();
    match failed {
        0 => own,
        1 => Health::failed("PodsFailed", "1 pod has failed"),
        n => Health::failed("PodsFailed", format!("{n} pods have failed")),
    }
}

/// `Err` is an answer found early; it keeps the rules below free of nesting.
fn judge(object: &Object, now: Timestamp) -> Result<Health, Health> {
    let (group, _) = weir_object::split_api_version(object.api_version());
    // A Job says nothing by its generation, and its conditions are its own.
    if (group, object.kind()) == ("batch", "Job") {
        return kinds::job(object);
    }
    generic(object)?;
    match (group, object.kind()) {
        ("apps" | "extensions", "Deployment") => workloads::deployment(object),
        ("apps" | "extensions", "ReplicaSet") => workloads::replica_set(object),
        ("apps" | "extensions", "DaemonSet") => workloads::daemon_set(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("", "Pod") => pod::pod(object, now),
        ("", "Service") => kinds::service(object),
        ("", "PersistentVolumeClaim") => kinds::claim(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => kinds::definition(object),
        ("", "Secret" | "ConfigMap") | ("batch", "CronJob") | ("policy", "PodDisruptionBudget") => {
            Ok(Health::Current)
        }
        _ => ready(object),
    }
}

/// What can be said of any kind: `Err` with the answer, or nothing.
fn generic(object: &Object) -> Result<(), Health> {
    if object.is_deleting() {
        return Err(Health::Terminating);
    }
    let generation = whole(object, &["metadata", "generation"])?;
    let observed = whole(object, &["status", "observedGeneration"])?;
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return Err(Health::in_progress(
            "LatestGenerationNotObserved",
            format!(
                "{} is at generation {generation}, but its controller has seen {observed}",
                object.kind()
            ),
        ));
    }
    for condition in conditions(object)? {
        if condition.is("Reconciling", "True") {
            return Err(Health::in_progress(condition.reason, condition.message));
        }
        if condition.is("Stalled", "True") {
            return Err(Health::failed(condition.reason, condition.message));
        }
    }
    Ok(())
}

/// The whole number at `path`, where there is one. Anything else there cannot be judged.
fn whole(object: &Object, path: &[&str]) -> Result<Option<i64>, Health> {
    match object.get(path) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| Health::Unknown {
            message: format!("`{}` is not a whole number", path.join(".")),
        }),
    }
}

/// Kinds without a rule of their own: the `Ready` condition, and without one it counts as current.
fn ready(object: &Object) -> Result<Health, Health> {
    for condition in conditions(object)? {
        if condition.kind != "Ready" {
            continue;
        }
        match condition.status {
            "True" => return Ok(Health::Current),
            "False" | "Unknown" => {
                return Ok(Health::in_progress(condition.reason, condition.message));
            }
            _ => {}
        }
    }
    Ok(Health::Current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best with values"
    )]
    fn of(api_version: &str, kind: &str, rest: Value) -> Health {
        let mut object =
            Object(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}));
        for (key, value) in rest.as_object().cloned().unwrap_or_default() {
            object.set(&[&key], value);
        }
        health(&object, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn deletion_comes_before_everything() {
        let deleting = json!({
            "metadata": {"name": "x", "generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"observedGeneration": 1},
        });
        assert_eq!(of("example.com/v1", "Thing", deleting), Health::Terminating);
    }

    #[test]
    fn a_generation_must_have_been_seen() {
        let stale = json!({
            "metadata": {"generation": 2},
            "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert_eq!(
            of("example.com/v1", "Thing", stale),
            Health::in_progress(
                "LatestGenerationNotObserved",
                "Thing is at generation 2, but its controller has seen 1"
            )
        );
        let first = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}});
        assert_eq!(of("example.com/v1", "Thing", first).as_str(), "InProgress");
    }

    #[test]
    fn standard_conditions_come_before_ready() {
        let with = |kind: &str| {
            let conditions = json!([
                {"type": "Ready", "status": "True", "reason": "Fine", "message": "fine"},
                {"type": kind, "status": "True", "reason": "Why", "message": "because"},
            ]);
            of(
                "example.com/v1",
                "Thing",
                json!({"status": {"conditions": conditions}}),
            )
        };
        assert_eq!(with("Reconciling"), Health::in_progress("Why", "because"));
        assert_eq!(with("Stalled"), Health::failed("Why", "because"));
        assert_eq!(with("Other"), Health::Current);
    }

    #[test]
    fn ready_decides_for_unknown_kinds() {
        let with = |status: &str| {
            let conditions =
                json!([{"type": "Ready", "status": status, "reason": "Why", "message": "because"}]);
            of(
                "example.com/v1",
                "Thing",
                json!({"status": {"conditions": conditions}}),
            )
        };
        assert_eq!(with("True"), Health::Current);
        assert_eq!(with("False"), Health::in_progress("Why", "because"));
        assert_eq!(with("Unknown"), Health::in_progress("Why", "because"));
        assert_eq!(with("Odd"), Health::Current);
        assert_eq!(
            of("v1", "Namespace", json!({"status": {"phase": "Active"}})),
            Health::Current
        );
    }

    #[test]
    fn odd_shapes_are_unknown_and_say_where() {
        let unknown = |message: &str| Health::Unknown {
            message: message.to_owned(),
        };
        assert_eq!(
            of("v1", "Pod", json!({"status": {"conditions": "none"}})),
            unknown(
                "`status.conditions` is not what conditions look like; its controller must mend it"
            )
        );
        assert_eq!(
            of(
                "example.com/v1",
                "Thing",
                json!({"metadata": {"generation": "one"}})
            ),
            unknown("`metadata.generation` is not a whole number")
        );
        assert_eq!(
            of("example.com/v1", "Thing", json!({"status": []})).as_str(),
            "Unknown"
        );
        assert_eq!(
            health(&Object(json!(null)), Timestamp::UNIX_EPOCH),
            Health::Current
        );
    }
}
