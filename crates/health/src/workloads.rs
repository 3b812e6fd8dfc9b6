//! Owns the rules of kinds that run pods: their counts must agree with what is asked.

use weir_object::Object;

use crate::Health;
use crate::conditions::{conditions, number};

/// What the Deployment controller reads for "no deadline".
const NO_DEADLINE: i64 = i32::MAX as i64;

/// `Err` when fewer than `wanted` are there.
fn at_least(reason: &str, what: &str, have: i64, wanted: i64) -> Result<(), Health> {
    if have >= wanted {
        return Ok(());
    }
    Err(Health::in_progress(
        reason,
        format!("{what}: {have}/{wanted}"),
    ))
}

/// `Err` when old pods are still there.
fn no_extra(have: i64, wanted: i64) -> Result<(), Health> {
    if have <= wanted {
        return Ok(());
    }
    Err(Health::in_progress(
        "ExtraPods",
        format!("Pending termination: {}", have - wanted),
    ))
}

pub(crate) fn deployment(object: &Object) -> Result<Health, Health> {
    let status = |field: &str| number(object, &["status", field], 0);
    let deadline = number(object, &["spec", "progressDeadlineSeconds"], NO_DEADLINE);
    // Without a deadline the controller never says that it makes progress.
    let mut progressed = deadline == NO_DEADLINE;
    let mut available = false;
    for condition in conditions(object)? {
        if condition.kind == "Progressing" {
            if condition.reason == "ProgressDeadlineExceeded" {
                let message = match condition.message {
                    "" => "progress deadline exceeded",
                    told => told,
                };
                return Ok(Health::failed(condition.reason, message));
            }
            progressed |=
                condition.status == "True" && condition.reason == "NewReplicaSetAvailable";
        }
        available |= condition.is("Available", "True");
    }
    let wanted = number(object, &["spec", "replicas"], 1);
    at_least("LessReplicas", "Replicas", status("replicas"), wanted)?;
    at_least("LessUpdated", "Updated", status("updatedReplicas"), wanted)?;
    no_extra(status("replicas"), wanted)?;
    let updated = status("updatedReplicas");
    at_least(
        "LessAvailable",
        "Available",
        status("availableReplicas"),
        updated,
    )?;
    at_least("LessReady", "Ready", status("readyReplicas"), wanted)?;
    if !progressed {
        return Ok(Health::in_progress(
            "ReplicaSetNotAvailable",
            "the new ReplicaSet is not available",
        ));
    }
    if !available {
        return Ok(Health::in_progress(
            "DeploymentNotAvailable",
            "the Deployment is not available",
        ));
    }
    Ok(Health::Current)
}

pub(crate) fn replica_set(object: &Object) -> Result<Health, Health> {
    if let Some(failure) = conditions(object)?
        .iter()
        .find(|c| c.is("ReplicaFailure", "True"))
    {
        let message = match failure.message {
            "" => "pods cannot be made",
            told => told,
        };
        return Ok(Health::in_progress("ReplicaFailure", message));
    }
    let status = |field: &str| number(object, &["status", field], 0);
    let wanted = number(object, &["spec", "replicas"], 1);
    at_least(
        "LessLabelled",
        "Labelled",
        status("fullyLabeledReplicas"),
        wanted,
    )?;
    at_least(
        "LessAvailable",
        "Available",
        status("availableReplicas"),
        wanted,
    )?;
    at_least("LessReady", "Ready", status("readyReplicas"), wanted)?;
    no_extra(status("replicas"), wanted)?;
    Ok(Health::Current)
}

pub(crate) fn daemon_set(object: &Object) -> Result<Health, Health> {
    // Elsewhere a missing generation is let pass; here it means that the controller has not acted.
    for (path, reason) in [
        (["metadata", "generation"], "NoGeneration"),
        (["status", "observedGeneration"], "NoObservedGeneration"),
    ] {
        if object
            .get(&path)
            .and_then(serde_json::Value::as_i64)
            .is_none()
        {
            return Ok(Health::in_progress(
                reason,
                format!("`{}` is not set", path.join(".")),
            ));
        }
    }
    let status = |field: &str| number(object, &["status", field], 0);
    let wanted = number(object, &["status", "desiredNumberScheduled"], -1);
    if wanted == -1 {
        return Ok(Health::in_progress(
            "NoDesiredNumber",
            "`status.desiredNumberScheduled` is not set",
        ));
    }
    at_least(
        "LessCurrent",
        "Current",
        status("currentNumberScheduled"),
        wanted,
    )?;
    at_least(
        "LessUpdated",
        "Updated",
        status("updatedNumberScheduled"),
        wanted,
    )?;
    at_least(
        "LessAvailable",
        "Available",
        status("numberAvailable"),
        wanted,
    )?;
    at_least("LessReady", "Ready", status("numberReady"), wanted)?;
    Ok(Health::Current)
}

pub(crate) fn stateful_set(object: &Object) -> Result<Health, Health> {
    // With OnDelete the user rolls the pods, so nothing is awaited.
    if object.text(&["spec", "updateStrategy", "type"]) == "OnDelete" {
        return Ok(Health::Current);
    }
    let status = |field: &str| number(object, &["status", field], 0);
    let wanted = number(object, &["spec", "replicas"], 1);
    at_least("LessReplicas", "Replicas", status("replicas"), wanted)?;
    at_least("LessReady", "Ready", status("readyReplicas"), wanted)?;
    no_extra(status("replicas"), wanted)?;
    let partition = number(
        object,
        &["spec", "updateStrategy", "rollingUpdate", "partition"],
        -1,
    );
    if partition != -1 {
        let updated = wanted.saturating_sub(partition);
        at_least(
            "PartitionRollout",
            "Updated",
            status("updatedReplicas"),
            updated,
        )?;
        return Ok(Health::Current);
    }
    at_least("LessCurrent", "Current", status("currentReplicas"), wanted)?;
    let revision = |field: &str| object.text(&["status", field]).to_owned();
    if revision("currentRevision") != revision("updateRevision") {
        return Ok(Health::in_progress(
            "RevisionMismatch",
            "the updated revision is not the current one yet",
        ));
    }
    Ok(Health::Current)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::health;

    fn of(kind: &str, spec: &Value, status: &Value) -> Health {
        let object = Object(json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": "x", "generation": 1}, "spec": spec, "status": status,
        }));
        health(&object, Timestamp::UNIX_EPOCH)
    }

    /// The good status, with one field changed after another: each change has its own answer.
    fn each(kind: &str, spec: &Value, good: &Value, cases: &[(&str, Value, &str, &str)]) {
        assert_eq!(of(kind, spec, good), Health::Current, "{kind}");
        for (field, value, reason, message) in cases {
            let mut status = Object(good.clone());
            status.set(&[field], value.clone());
            let answer = of(kind, spec, &status.0);
            assert_eq!(
                answer,
                Health::in_progress(*reason, *message),
                "{kind} {field}"
            );
        }
    }

    #[test]
    fn deployments() {
        let spec = json!({"replicas": 2, "progressDeadlineSeconds": 600});
        let progressing =
            |reason| json!({"type": "Progressing", "status": "True", "reason": reason});
        let available = json!({"type": "Available", "status": "True"});
        let good = json!({
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
            "availableReplicas": 2,
            "conditions": [progressing("NewReplicaSetAvailable"), available],
        });
        each(
            "Deployment",
            &spec,
            &good,
            &[
                ("replicas", json!(1), "LessReplicas", "Replicas: 1/2"),
                ("replicas", json!(3), "ExtraPods", "Pending termination: 1"),
                ("updatedReplicas", json!(1), "LessUpdated", "Updated: 1/2"),
                (
                    "availableReplicas",
                    json!(0),
                    "LessAvailable",
                    "Available: 0/2",
                ),
                ("readyReplicas", json!(1), "LessReady", "Ready: 1/2"),
                (
                    "conditions",
                    json!([progressing("ReplicaSetUpdated"), available]),
                    "ReplicaSetNotAvailable",
                    "the new ReplicaSet is not available",
                ),
                (
                    "conditions",
                    json!([progressing("NewReplicaSetAvailable")]),
                    "DeploymentNotAvailable",
                    "the Deployment is not available",
                ),
            ],
        );
        assert_eq!(
            of("Deployment", &json!({}), &json!({})),
            Health::in_progress("LessReplicas", "Replicas: 0/1")
        );
        let late = json!({"conditions": [{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "message": "too late"}]});
        assert_eq!(
            of("Deployment", &spec, &late),
            Health::failed("ProgressDeadlineExceeded", "too late")
        );
        // Without a deadline nobody says that there was progress.
        let mut quiet = Object(good);
        quiet.set(&["conditions"], json!([available]));
        assert_eq!(
            of("Deployment", &json!({"replicas": 2}), &quiet.0),
            Health::Current
        );
    }

    #[test]
    fn replica_sets() {
        let good = json!({
            "observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            "fullyLabeledReplicas": 2,
        });
        let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "no quota"}]);
        each(
            "ReplicaSet",
            &json!({"replicas": 2}),
            &good,
            &[
                (
                    "fullyLabeledReplicas",
                    json!(1),
                    "LessLabelled",
                    "Labelled: 1/2",
                ),
                (
                    "availableReplicas",
                    json!(1),
                    "LessAvailable",
                    "Available: 1/2",
                ),
                ("readyReplicas", json!(1), "LessReady", "Ready: 1/2"),
                ("replicas", json!(4), "ExtraPods", "Pending termination: 2"),
                ("conditions", failure, "ReplicaFailure", "no quota"),
            ],
        );
    }

    #[test]
    fn daemon_sets() {
        let good = json!({
            "observedGeneration": 1, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 3, "numberReady": 3,
        });
        each(
            "DaemonSet",
            &json!({}),
            &good,
            &[
                (
                    "currentNumberScheduled",
                    json!(2),
                    "LessCurrent",
                    "Current: 2/3",
                ),
                (
                    "updatedNumberScheduled",
                    json!(2),
                    "LessUpdated",
                    "Updated: 2/3",
                ),
                (
                    "numberAvailable",
                    json!(2),
                    "LessAvailable",
                    "Available: 2/3",
                ),
                ("numberReady", json!(2), "LessReady", "Ready: 2/3"),
                (
                    "desiredNumberScheduled",
                    Value::Null,
                    "NoDesiredNumber",
                    "`status.desiredNumberScheduled` is not set",
                ),
                (
                    "observedGeneration",
                    Value::Null,
                    "NoObservedGeneration",
                    "`status.observedGeneration` is not set",
                ),
            ],
        );
    }

    #[test]
    fn stateful_sets() {
        let good = json!({
            "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "currentReplicas": 3,
            "updatedReplicas": 3, "currentRevision": "a", "updateRevision": "a",
        });
        each(
            "StatefulSet",
            &json!({"replicas": 3}),
            &good,
            &[
                ("replicas", json!(2), "LessReplicas", "Replicas: 2/3"),
                ("readyReplicas", json!(2), "LessReady", "Ready: 2/3"),
                ("replicas", json!(4), "ExtraPods", "Pending termination: 1"),
                ("currentReplicas", json!(2), "LessCurrent", "Current: 2/3"),
                (
                    "updateRevision",
                    json!("b"),
                    "RevisionMismatch",
                    "the updated revision is not the current one yet",
                ),
            ],
        );
        let partition =
            json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        each(
            "StatefulSet",
            &partition,
            &json!({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 2, "updateRevision": "b"}),
            &[(
                "updatedReplicas",
                json!(1),
                "PartitionRollout",
                "Updated: 1/2",
            )],
        );
        let by_hand = json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}});
        assert_eq!(of("StatefulSet", &by_hand, &json!({})), Health::Current);
    }
}
