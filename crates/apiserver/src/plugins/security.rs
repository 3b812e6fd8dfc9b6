//! Owns the Pod Security Standards at the door: which level a namespace's labels ask for, and what
//! of a pod or template violates it.

use serde_json::{Value, json};
use weir_object::path;

use super::Asked;
use super::security_checks::{Level, violations};
use crate::call::{Call, Part};
use crate::refusal::{Cause, Refusal};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// A level and the version of its rules.
#[derive(Clone, PartialEq)]
struct Policy {
    level: Level,
    version: String,
}

impl Policy {
    fn name(&self) -> String {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        format!("{level}:{}", self.version)
    }
}

/// What a namespace asks for in a mode. A label that cannot be read asks for the strictest.
fn policy(labels: &Value, mode: &str) -> Policy {
    let text = |key: &str| labels.get(format!("{PREFIX}{key}")).and_then(Value::as_str);
    let level = match text(mode) {
        None | Some("privileged") => Level::Privileged,
        Some("baseline") => Level::Baseline,
        Some(_) => Level::Restricted,
    };
    let version = text(&format!("{mode}-version"))
        .filter(|v| is_version(v))
        .unwrap_or("latest");
    Policy {
        level,
        version: version.to_owned(),
    }
}

fn is_version(text: &str) -> bool {
    text == "latest"
        || text
            .strip_prefix("v1.")
            .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
}

/// The labels of a namespace must be words that mean something.
fn labels(asked: &Asked<'_>, namespace: &Value) -> Result<(), Refusal> {
    let labels = path::get(namespace, &["metadata", "labels"]).unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let field = |key: &str| format!("metadata.labels[{key}]");
        let key = format!("{PREFIX}{mode}");
        if let Some(level) = labels.get(&key).and_then(Value::as_str)
            && !matches!(level, "privileged" | "baseline" | "restricted")
        {
            let detail = "must be one of privileged, baseline, restricted";
            causes.push(Cause::invalid(field(&key), &level.into(), detail));
        }
        let key = format!("{key}-version");
        if let Some(version) = labels.get(&key).and_then(Value::as_str)
            && !is_version(version)
        {
            let detail = "must be \"latest\" or \"v1.x\"";
            causes.push(Cause::invalid(field(&key), &version.into(), detail));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Refusal::Invalid {
        group: String::new(),
        kind: asked.resource.kind.kind.to_string(),
        name: path::text(namespace, &["metadata", "name"]).to_owned(),
        causes,
    })
}

/// The pod in an object: its metadata and spec, and whether it is a pod itself.
fn pod_of(asked: &Asked<'_>, object: &Value) -> Option<(Value, Value, bool)> {
    let at: &[&str] = match asked.resource.kind.kind.as_ref() {
        "Pod" => &[],
        "PodTemplate" => &["template"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        "Deployment"
        | "ReplicaSet"
        | "DaemonSet"
        | "StatefulSet"
        | "Job"
        | "ReplicationController" => &["spec", "template"],
        _ => return None,
    };
    let template = path::get(object, at)?;
    Some((
        template.get("metadata")?.clone(),
        template.get("spec")?.clone(),
        at.is_empty(),
    ))
}

/// Refuses pods that violate what is enforced, and warns of what is to be warned of.
pub(super) fn judge(asked: &Asked<'_>, object: &Value, call: &mut Call) -> Result<(), Refusal> {
    if asked.part != Part::Whole || asked.resource.custom.is_some() {
        return Ok(());
    }
    if asked.resource.is("", "Namespace") {
        return labels(asked, object);
    }
    let Some(namespace) = asked.namespace else {
        return Ok(());
    };
    let Some((meta, spec, is_pod)) = pod_of(asked, object) else {
        return Ok(());
    };
    if is_pod && asked.old.is_some_and(|old| !significant(old, object)) {
        return Ok(());
    }
    let Some(namespace) = asked.find("", "namespaces", "", namespace) else {
        return Ok(());
    };
    let labels = path::get(&namespace, &["metadata", "labels"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    let (enforce, warn) = (policy(&labels, "enforce"), policy(&labels, "warn"));
    if is_pod {
        let found = violations(enforce.level, &meta, &spec);
        if !found.is_empty() {
            let why = format!(
                "violates PodSecurity \"{}\": {}",
                enforce.name(),
                found.join(", ")
            );
            return Err(asked.forbid(object, why));
        }
    }
    let found = violations(warn.level, &meta, &spec);
    if !found.is_empty() {
        call.warn(format!(
            "would violate PodSecurity \"{}\": {}",
            warn.name(),
            found.join(", ")
        ));
    }
    Ok(())
}

/// Whether an update of a pod changes what the standards look at.
fn significant(old: &Value, new: &Value) -> bool {
    let relevant = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for field in ["tolerations", "activeDeadlineSeconds"] {
            path::remove(&mut spec, &[field]);
        }
        let annotations = path::get(pod, &["metadata", "annotations"]).and_then(Value::as_object);
        let security: Vec<(String, Value)> = annotations
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.contains("apparmor") || key.contains("seccomp"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        (spec, security)
    };
    relevant(old) != relevant(new)
}
