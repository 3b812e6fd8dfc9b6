//! Owns what a Deployment says of itself: counts, the conditions Available and Progressing, and
//! the deadline after which a rollout counts as stuck.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::path;

use super::DEPLOYMENTS;
use super::deployment::{REVISION, bounds};
use super::pods;
use super::source::{name_of, number};
use super::world::World;
use crate::call::stamp;
use crate::refusal::Refusal;

/// What one look at a deployment did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// The new replica set was there.
    pub(crate) found: bool,
    /// The new replica set was made.
    pub(crate) created: bool,
    /// Its name belongs to another template.
    pub(crate) collided: bool,
    pub(crate) revision: i64,
}

fn sum<'a>(sets: impl Iterator<Item = &'a Arc<Value>>, at: &[&str]) -> i64 {
    sets.map(|set| number(set, at)).sum()
}

/// Whether all pods are of the new template and available, and no old one is left.
pub(crate) fn is_complete(deployment: &Value, new: &Arc<Value>, old: &[Arc<Value>]) -> bool {
    let wanted = bounds(deployment).replicas;
    let all = || old.iter().chain(std::iter::once(new));
    number(new, &["status", "replicas"]) == wanted
        && sum(all(), &["status", "replicas"]) == wanted
        && sum(all(), &["status", "availableReplicas"]) == wanted
        && number(new, &["spec", "replicas"]) == wanted
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let all = status.get("conditions")?.as_array()?;
    all.iter().find(|c| path::text(c, &["type"]) == kind)
}

/// What a condition is to say.
struct Word {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// Sets a condition. `touch` is progress, which restarts the deadline.
fn set(status: &mut Value, word: &Word, now: Timestamp, touch: bool) {
    let now = stamp(now);
    let was = condition(status, word.kind).cloned();
    let same = was.as_ref().is_some_and(|c| {
        path::text(c, &["status"]) == word.status && path::text(c, &["reason"]) == word.reason
    });
    if same && !touch {
        return;
    }
    let transition = was
        .as_ref()
        .filter(|c| path::text(c, &["status"]) == word.status)
        .map_or(now.as_str(), |c| path::text(c, &["lastTransitionTime"]))
        .to_owned();
    let new = json!({
        "type": word.kind, "status": word.status, "lastUpdateTime": now,
        "lastTransitionTime": transition, "reason": word.reason, "message": word.message,
    });
    let all = status.get("conditions").and_then(Value::as_array).cloned();
    let mut all = all.unwrap_or_default();
    all.retain(|c| path::text(c, &["type"]) != word.kind);
    all.push(new);
    path::set(status, &["conditions"], all.into());
}

/// Says that the new set could not be made.
pub(crate) fn write_failure(
    world: &World,
    deployment: &Value,
    message: &str,
) -> Result<(), Refusal> {
    let mut object = deployment.clone();
    let mut status = object.get("status").cloned().unwrap_or_else(|| json!({}));
    let word = Word {
        kind: "Progressing",
        status: "False",
        reason: "ReplicaSetCreateError",
        message: message.to_owned(),
    };
    set(&mut status, &word, world.now(), false);
    path::set(&mut object, &["status"], status);
    if object == *deployment {
        return Ok(());
    }
    world.store.update_status(&DEPLOYMENTS, object).map(|_| ())
}

/// Takes over from the sets that pods cannot be made.
fn replica_failure(
    status: &mut Value,
    new: Option<&Arc<Value>>,
    old: &[Arc<Value>],
    now: Timestamp,
) {
    let told = new
        .into_iter()
        .chain(old)
        .find_map(|set| pods::condition(set, "ReplicaFailure"));
    if let Some(told) = told {
        let reason = match path::text(told, &["reason"]) {
            "FailedDelete" => "FailedDelete",
            _ => "FailedCreate",
        };
        let word = Word {
            kind: "ReplicaFailure",
            status: "True",
            reason,
            message: path::text(told, &["message"]).to_owned(),
        };
        set(status, &word, now, false);
    } else if condition(status, "ReplicaFailure").is_some() {
        let all = status.get("conditions").and_then(Value::as_array).cloned();
        let mut all = all.unwrap_or_default();
        all.retain(|c| path::text(c, &["type"]) != "ReplicaFailure");
        path::set(status, &["conditions"], all.into());
    }
}

/// Writes the status if it changed; answers when the deadline is.
pub(crate) fn write(
    world: &World,
    deployment: &Arc<Value>,
    new: Option<&Arc<Value>>,
    old: &[Arc<Value>],
    facts: &Facts,
) -> Result<Option<Duration>, Refusal> {
    let now = world.now();
    let was = deployment.get("status").cloned().unwrap_or_default();
    let mut status = counts(deployment, new, old, &was);
    if facts.collided {
        let count = number(&was, &["collisionCount"]) + 1;
        path::set(&mut status, &["collisionCount"], count.into());
    }
    pause(deployment, &was, &mut status, now);
    let bounds = bounds(deployment);
    let available = number(&status, &["availableReplicas"]) >= bounds.replicas - bounds.unavailable;
    let word = if available {
        Word {
            kind: "Available",
            status: "True",
            reason: "MinimumReplicasAvailable",
            message: "Deployment has minimum availability.".to_owned(),
        }
    } else {
        Word {
            kind: "Available",
            status: "False",
            reason: "MinimumReplicasUnavailable",
            message: "Deployment does not have minimum availability.".to_owned(),
        }
    };
    set(&mut status, &word, now, false);
    let wait = progress(deployment, new, old, facts, &was, &mut status, now);
    replica_failure(&mut status, new, old, now);
    let mut object = (**deployment).clone();
    if facts.revision > 0 {
        path::set(
            &mut object,
            &["metadata", "annotations", REVISION],
            facts.revision.to_string().into(),
        );
    }
    path::set(&mut object, &["status"], status);
    if object != **deployment {
        world.store.update_status(&DEPLOYMENTS, object)?;
    }
    Ok(wait)
}

fn counts(deployment: &Value, new: Option<&Arc<Value>>, old: &[Arc<Value>], was: &Value) -> Value {
    let all = || old.iter().chain(new);
    let available = sum(all(), &["status", "availableReplicas"]);
    let missing = sum(all(), &["spec", "replicas"]) - available;
    let mut status = json!({});
    for (field, value) in [
        (
            "observedGeneration",
            number(deployment, &["metadata", "generation"]),
        ),
        ("replicas", sum(all(), &["status", "replicas"])),
        (
            "updatedReplicas",
            new.map_or(0, |set| number(set, &["status", "replicas"])),
        ),
        ("readyReplicas", sum(all(), &["status", "readyReplicas"])),
        ("availableReplicas", available),
        ("unavailableReplicas", missing.max(0)),
        ("collisionCount", number(was, &["collisionCount"])),
    ] {
        if value != 0 {
            path::set(&mut status, &[field], value.into());
        }
    }
    if let Some(conditions) = was.get("conditions") {
        path::set(&mut status, &["conditions"], conditions.clone());
    }
    status
}

/// The largest number stands for no deadline.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// Says, before all else, that the rollout is paused or goes on. What timed out stays so.
fn pause(deployment: &Value, was: &Value, status: &mut Value, now: Timestamp) {
    let deadline = path::get(deployment, &["spec", "progressDeadlineSeconds"]);
    if deadline
        .and_then(Value::as_i64)
        .is_none_or(|seconds| seconds >= NO_DEADLINE)
    {
        return;
    }
    let reason = condition(was, "Progressing").map_or("", |c| path::text(c, &["reason"]));
    let paused = path::get(deployment, &["spec", "paused"]) == Some(&Value::Bool(true));
    let (reason, message) = match (paused, reason) {
        (_, "ProgressDeadlineExceeded") | (true, "DeploymentPaused") => return,
        (true, _) => ("DeploymentPaused", "Deployment is paused"),
        (false, "DeploymentPaused") => ("DeploymentResumed", "Deployment is resumed"),
        (false, _) => return,
    };
    let word = Word {
        kind: "Progressing",
        status: "Unknown",
        reason,
        message: message.to_owned(),
    };
    set(status, &word, now, false);
}

/// Says how the rollout goes, and when it would count as stuck.
fn progress(
    deployment: &Value,
    new: Option<&Arc<Value>>,
    old: &[Arc<Value>],
    facts: &Facts,
    was: &Value,
    status: &mut Value,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = path::get(deployment, &["spec", "progressDeadlineSeconds"])?.as_i64()?;
    if deadline >= NO_DEADLINE {
        return None;
    }
    let name = new.map(|set| name_of(set).to_owned());
    let subject = match &name {
        Some(name) => format!("ReplicaSet \"{name}\""),
        None => format!("Deployment \"{}\"", name_of(deployment)),
    };
    let word = |status, reason, message| Word {
        kind: "Progressing",
        status,
        reason,
        message,
    };
    let reason = condition(was, "Progressing").map(|c| path::text(c, &["reason"]).to_owned());
    let paused = path::get(deployment, &["spec", "paused"]) == Some(&Value::Bool(true));
    if paused {
        return None;
    }
    let named = name.clone().unwrap_or_default();
    if facts.created {
        let message = format!("Created new replica set \"{named}\"");
        set(
            status,
            &word("True", "NewReplicaSetCreated", message),
            now,
            true,
        );
    } else if facts.found && reason.is_none() {
        let message = format!("Found new replica set \"{named}\"");
        set(
            status,
            &word("True", "FoundNewReplicaSet", message),
            now,
            true,
        );
    }
    let settled = reason.as_deref() == Some("NewReplicaSetAvailable")
        && number(status, &["replicas"]) == number(status, &["updatedReplicas"]);
    if settled && !facts.created {
        return None;
    }
    if new.is_some_and(|new| is_complete(deployment, new, old)) {
        let message = format!("{subject} has successfully progressed.");
        set(
            status,
            &word("True", "NewReplicaSetAvailable", message),
            now,
            false,
        );
        return None;
    }
    let grew = |field: &str| number(status, &[field]) > number(was, &[field]);
    let others = |s: &Value| number(s, &["replicas"]) - number(s, &["updatedReplicas"]);
    if grew("updatedReplicas")
        || grew("readyReplicas")
        || grew("availableReplicas")
        || others(status) < others(was)
    {
        let message = format!("{subject} is progressing.");
        set(
            status,
            &word("True", "ReplicaSetUpdated", message),
            now,
            true,
        );
    }
    let current = condition(status, "Progressing")?;
    if path::text(current, &["reason"]) == "ProgressDeadlineExceeded" {
        return None;
    }
    let since: Timestamp = path::text(current, &["lastUpdateTime"]).parse().ok()?;
    let left = since.as_second() + deadline - now.as_second();
    if left < 0 {
        let message = format!("{subject} has timed out progressing.");
        set(
            status,
            &word("False", "ProgressDeadlineExceeded", message),
            now,
            false,
        );
        return None;
    }
    // One second more, since times are kept in whole seconds.
    Some(Duration::from_secs(
        u64::try_from(left).unwrap_or_default() + 1,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused_after(reason: &str, paused: bool) -> Value {
        let deployment = json!({"spec": {"paused": paused, "progressDeadlineSeconds": 600}});
        let was =
            json!({"conditions": [{"type": "Progressing", "status": "True", "reason": reason}]});
        let mut status = was.clone();
        pause(&deployment, &was, &mut status, Timestamp::UNIX_EPOCH);
        status["conditions"][0]["reason"].clone()
    }

    #[test]
    fn a_pause_is_told_unless_the_rollout_timed_out() {
        assert_eq!(
            paused_after("NewReplicaSetAvailable", true),
            "DeploymentPaused"
        );
        assert_eq!(
            paused_after("ProgressDeadlineExceeded", true),
            "ProgressDeadlineExceeded"
        );
        assert_eq!(paused_after("DeploymentPaused", false), "DeploymentResumed");
        assert_eq!(
            paused_after("ReplicaSetUpdated", false),
            "ReplicaSetUpdated"
        );
    }
}
