//! Owns the rules of what controllers write of built-in kinds: counts are not negative, and parts
//! are not greater than the whole. A write of the status is judged by these and not by the rules
//! of what is wanted.

use serde_json::Value;

use super::checks::{At, Checks, int, of};

/// The rules of one kind's status.
struct Counts {
    /// Counts, in the order in which they are judged.
    all: &'static [&'static str],
    /// Those that are part of `replicas`.
    parts: &'static [&'static str],
    /// How the ready ones are called where more are available than ready; empty: nothing is said.
    ready: &'static str,
    /// Whether collisions are counted up only.
    collisions: bool,
}

const NONE: Counts = Counts {
    all: &[],
    parts: &[],
    ready: "",
    collisions: false,
};

fn counts(group: &str, kind: &str) -> Option<Counts> {
    Some(match (group, kind) {
        ("apps", "Deployment") => Counts {
            all: &[
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "collisionCount",
            ],
            parts: &["updatedReplicas", "readyReplicas", "availableReplicas"],
            ready: "readyReplicas",
            collisions: true,
        },
        ("apps", "StatefulSet") => Counts {
            all: &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ],
            parts: &[
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
            ],
            ready: "status.readyReplicas",
            collisions: true,
        },
        ("apps", "ReplicaSet") | ("", "ReplicationController") => Counts {
            all: &[
                "replicas",
                "fullyLabeledReplicas",
                "readyReplicas",
                "availableReplicas",
                "observedGeneration",
            ],
            parts: &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
            ready: "readyReplicas",
            ..NONE
        },
        ("apps", "DaemonSet") => Counts {
            all: &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            collisions: true,
            ..NONE
        },
        ("batch", "Job") => Counts {
            all: &["active", "succeeded", "failed", "ready", "terminating"],
            ..NONE
        },
        ("policy", "PodDisruptionBudget") => Counts {
            all: &[
                "disruptionsAllowed",
                "currentHealthy",
                "desiredHealthy",
                "expectedPods",
            ],
            ..NONE
        },
        ("autoscaling", "HorizontalPodAutoscaler") => Counts {
            all: &["currentReplicas", "desiredReplicas"],
            ..NONE
        },
        _ => return None,
    })
}

/// Judges a status; says whether the kind has rules of its own for it.
pub(super) fn check(
    group: &str,
    kind: &str,
    old: &Value,
    new: &Value,
    checks: &mut Checks,
) -> bool {
    let Some(counts) = counts(group, kind) else {
        return false;
    };
    let (before, status) = (of(old, "status"), of(new, "status"));
    let root = At::root("status");
    let count = |name: &str| int(status, name).unwrap_or_default();
    for name in counts.all {
        checks.not_negative(root, status, name);
    }
    for name in counts.parts.iter().filter(|n| count(n) > count("replicas")) {
        let detail = "cannot be greater than status.replicas";
        checks.invalid(root.field(name), &count(name).into(), detail);
    }
    let available = count("availableReplicas");
    if !counts.ready.is_empty() && available > count("readyReplicas") {
        let detail = format!("cannot be greater than {}", counts.ready);
        checks.invalid(root.field("availableReplicas"), &available.into(), &detail);
    }
    let fewer = int(before, "collisionCount")
        .is_some_and(|before| int(status, "collisionCount").is_none_or(|now| now < before));
    if counts.collisions && fewer {
        let collisions = count("collisionCount").into();
        let detail = "cannot be decremented";
        checks.invalid(root.field("collisionCount"), &collisions, detail);
    }
    true
}
