//! Owns the defaults of the kinds that make pods.

use serde_json::{Value, json};

use super::{inner, is_empty, items, keep_or, or, part, pod, put, text};

pub(super) fn deployment(object: &mut Value) {
    part(object, "spec", |spec| {
        pod::template(spec);
        keep_or(spec, "replicas", json!(1));
        part(spec, "strategy", |strategy| {
            or(strategy, "type", json!("RollingUpdate"));
            if text(strategy, "type") == "RollingUpdate" {
                part(strategy, "rollingUpdate", |rolling| {
                    keep_or(rolling, "maxUnavailable", json!("25%"));
                    keep_or(rolling, "maxSurge", json!("25%"));
                });
            }
        });
        keep_or(spec, "revisionHistoryLimit", json!(10));
        keep_or(spec, "progressDeadlineSeconds", json!(600));
    });
}

pub(super) fn daemon_set(object: &mut Value) {
    part(object, "spec", |spec| {
        pod::template(spec);
        part(spec, "updateStrategy", |strategy| {
            or(strategy, "type", json!("RollingUpdate"));
            if text(strategy, "type") == "RollingUpdate" {
                part(strategy, "rollingUpdate", |rolling| {
                    keep_or(rolling, "maxUnavailable", json!(1));
                    keep_or(rolling, "maxSurge", json!(0));
                });
            }
        });
        keep_or(spec, "revisionHistoryLimit", json!(10));
    });
}

pub(super) fn stateful_set(object: &mut Value) {
    part(object, "spec", |spec| {
        pod::template(spec);
        or(spec, "podManagementPolicy", json!("OrderedReady"));
        part(spec, "updateStrategy", |strategy| {
            if text(strategy, "type").is_empty() {
                put(strategy, "type", json!("RollingUpdate"));
                part(strategy, "rollingUpdate", |_| {});
            }
            if text(strategy, "type") == "RollingUpdate" {
                inner(strategy, "rollingUpdate", |rolling| {
                    keep_or(rolling, "partition", json!(0));
                });
            }
        });
        part(spec, "persistentVolumeClaimRetentionPolicy", |policy| {
            or(policy, "whenDeleted", json!("Retain"));
            or(policy, "whenScaled", json!("Retain"));
        });
        keep_or(spec, "replicas", json!(1));
        keep_or(spec, "revisionHistoryLimit", json!(10));
        for claim in items(spec, "volumeClaimTemplates") {
            pod::claim_spec(claim.get_mut("spec"));
            part(claim, "status", |status| {
                or(status, "phase", json!("Pending"));
            });
            // The typed claim names itself.
            or(claim, "apiVersion", json!("v1"));
            or(claim, "kind", json!("PersistentVolumeClaim"));
        }
    });
    part(object, "status", |status| {
        keep_or(status, "availableReplicas", json!(0));
    });
}

pub(super) fn replica_set(object: &mut Value) {
    part(object, "spec", |spec| {
        pod::template(spec);
        keep_or(spec, "replicas", json!(1));
    });
}

pub(super) fn replication_controller(object: &mut Value) {
    part(object, "spec", |spec| {
        if spec.get("template").is_some_and(Value::is_object) {
            pod::template(spec);
        }
        keep_or(spec, "replicas", json!(1));
    });
    let labels = weir_object::path::get(object, &["spec", "template", "metadata", "labels"]);
    if let Some(labels) = labels.cloned() {
        part(object, "spec", |spec| {
            if is_empty(spec, "selector") {
                put(spec, "selector", labels.clone());
            }
        });
        inherit_labels(object, labels);
    }
}

fn inherit_labels(object: &mut Value, labels: Value) {
    part(object, "metadata", |metadata| {
        if is_empty(metadata, "labels") {
            put(metadata, "labels", labels);
        }
    });
}

pub(super) fn job(object: &mut Value) {
    part(object, "spec", job_spec);
    let labels = weir_object::path::get(object, &["spec", "template", "metadata", "labels"]);
    if let Some(labels) = labels.cloned() {
        inherit_labels(object, labels);
    }
}

/// A job of its own gets counts and modes; one within a cron job only its pod template.
fn job_spec(spec: &mut Value) {
    pod::template(spec);
    let unset = |name: &str, spec: &Value| spec.get(name).is_none_or(Value::is_null);
    if unset("completions", spec) && unset("parallelism", spec) {
        put(spec, "completions", json!(1));
    }
    keep_or(spec, "parallelism", json!(1));
    let limit = if unset("backoffLimitPerIndex", spec) {
        6
    } else {
        i32::MAX
    };
    keep_or(spec, "backoffLimit", json!(limit));
    keep_or(spec, "completionMode", json!("NonIndexed"));
    keep_or(spec, "suspend", json!(false));
    let replacement = if unset("podFailurePolicy", spec) {
        "TerminatingOrFailed"
    } else {
        "Failed"
    };
    keep_or(spec, "podReplacementPolicy", json!(replacement));
    keep_or(spec, "manualSelector", json!(false));
    inner(spec, "podFailurePolicy", |policy| {
        for rule in items(policy, "rules") {
            items(rule, "onPodConditions").for_each(|on| or(on, "status", json!("True")));
        }
    });
}

pub(super) fn cron_job(object: &mut Value) {
    part(object, "spec", |spec| {
        or(spec, "concurrencyPolicy", json!("Allow"));
        keep_or(spec, "suspend", json!(false));
        keep_or(spec, "successfulJobsHistoryLimit", json!(3));
        keep_or(spec, "failedJobsHistoryLimit", json!(1));
        part(spec, "jobTemplate", |template| {
            part(template, "spec", pod::template);
        });
    });
}
