//! Owns the rules of what keeps pods running: Deployment, ReplicaSet, StatefulSet, DaemonSet and
//! ReplicationController.

use serde_json::{Value, json};

use super::checks::{At, Checks, int, list, of, text};
use super::{names, pod, storage};
use crate::selector::Selector;

/// Whether a selector can be used.
fn usable(selector: &Value) -> bool {
    let mut checks = Checks::default();
    checks.selector(At::root(""), selector);
    checks.causes.is_empty()
}

fn is_empty(selector: &Value) -> bool {
    let empty = |name| match of(selector, name) {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    empty("matchLabels") && empty("matchExpressions")
}

/// The selector, and whether it selects the template's pods.
fn selects(spec: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let template = of(spec, "template");
    let selector = of(spec, "selector");
    let fits = !selector.is_null()
        && Selector::from_object(Some(selector)).is_some_and(|s| s.matches(template));
    let chooses = selector.is_null() || !is_empty(selector);
    if usable(selector) && chooses && !fits {
        let labels = of(of(template, "metadata"), "labels");
        let at = at.field("template");
        let at = at.field("metadata");
        let detail = "`selector` does not match template `labels`";
        checks.invalid(at.field("labels"), labels, detail);
    }
}

fn restart_always(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let policy = text(of(of(spec, "template"), "spec"), "restartPolicy");
    let at = at.field("template");
    let at = at.field("spec");
    if policy != "Always" {
        checks.one_of(at.field("restartPolicy"), policy, &["Always"]);
    }
}

fn no_deadline(kind: &str, spec: &Value, at: At<'_>, checks: &mut Checks) {
    if !of(of(of(spec, "template"), "spec"), "activeDeadlineSeconds").is_null() {
        let at = at.field("template");
        let at = at.field("spec");
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        checks.forbidden(at.field("activeDeadlineSeconds"), &detail);
    }
}

/// A selector that must be there and select something.
fn needed_selector(kind: &str, selector: &Value, at: At<'_>, checks: &mut Checks) {
    if selector.is_null() {
        checks.required(at.field("selector"), "");
        return;
    }
    checks.selector(at.field("selector"), selector);
    if is_empty(selector) {
        let detail = format!("empty selector is invalid for {kind}");
        checks.invalid(at.field("selector"), selector, &detail);
    }
}

/// The selector of a Deployment or ReplicaSet, and its template.
fn selector_and_template(spec: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let selector = of(spec, "selector");
    needed_selector("deployment", selector, at, checks);
    if usable(selector) {
        selects(spec, checks);
        pod::check_template(of(spec, "template"), at.field("template"), checks);
        restart_always(spec, at, checks);
        no_deadline("ReplicaSet", spec, at, checks);
    } else {
        checks.invalid(at.field("selector"), selector, "invalid label selector");
    }
}

/// A Deployment.
pub(super) fn deployment(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    checks.not_negative(at, spec, "replicas");
    selector_and_template(spec, checks);
    deployment_strategy(of(spec, "strategy"), at.field("strategy"), checks);
    checks.not_negative(at, spec, "minReadySeconds");
    checks.not_negative(at, spec, "revisionHistoryLimit");
    if let Some(deadline) = int(spec, "progressDeadlineSeconds") {
        checks.not_negative(at, spec, "progressDeadlineSeconds");
        if deadline <= int(spec, "minReadySeconds").unwrap_or_default() {
            let detail = "must be greater than minReadySeconds";
            checks.invalid(
                at.field("progressDeadlineSeconds"),
                &deadline.into(),
                detail,
            );
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.trim_end_matches('%').parse::<i64>() == Ok(0),
        _ => false,
    }
}

fn deployment_strategy(strategy: &Value, at: At<'_>, checks: &mut Checks) {
    let rolling = of(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "Recreate" => {
            if !rolling.is_null() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                checks.forbidden(at.field("rollingUpdate"), detail);
            }
        }
        "RollingUpdate" => {
            let at = at.field("rollingUpdate");
            let (down, up) = (of(rolling, "maxUnavailable"), of(rolling, "maxSurge"));
            checks.count_or_percent(at.field("maxUnavailable"), down);
            checks.count_or_percent(at.field("maxSurge"), up);
            if is_nothing(down) && is_nothing(up) {
                let detail = "may not be 0 when `maxSurge` is 0";
                checks.invalid(at.field("maxUnavailable"), down, detail);
            }
            checks.within_whole(at.field("maxUnavailable"), down);
        }
        kind => {
            let shown = json!({"Type": kind, "RollingUpdate": null});
            checks.unsupported(at, &shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

/// A ReplicaSet.
pub(super) fn replica_set(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    checks.not_negative(at, spec, "replicas");
    checks.not_negative(at, spec, "minReadySeconds");
    selector_and_template(spec, checks);
}

/// A ReplicationController.
pub(super) fn replication_controller(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    checks.not_negative(at, spec, "minReadySeconds");
    let (selector, template) = (of(spec, "selector"), of(spec, "template"));
    let pairs = selector.as_object();
    if pairs.is_none_or(serde_json::Map::is_empty) {
        checks.required(at.field("selector"), "");
    }
    checks.not_negative(at, spec, "replicas");
    if template.is_null() {
        checks.required(at.field("template"), "");
        return;
    }
    let labels = of(of(template, "metadata"), "labels");
    let fits = |(key, value): (&String, &Value)| of(labels, key) == value;
    if pairs.is_some_and(|pairs| !pairs.is_empty() && !pairs.iter().all(fits)) {
        let at = at.field("template");
        let at = at.field("metadata");
        let detail = "`selector` does not match template `labels`";
        checks.invalid(at.field("labels"), labels, detail);
    }
    pod::check_template(template, at.field("template"), checks);
    restart_always(spec, at, checks);
    no_deadline("ReplicaSet", spec, at, checks);
}

/// A ControllerRevision.
pub(super) fn controller_revision(object: &Value, checks: &mut Checks) {
    if let Some(number) = int(object, "revision").filter(|n| *n < 0) {
        let detail = "must be greater than or equal to 0";
        checks.invalid(At::root("revision"), &number.into(), detail);
    }
    if of(object, "data").is_null() {
        checks.required(At::root("data"), "data is mandatory");
    }
}

/// A DaemonSet.
pub(super) fn daemon_set(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    let selector = of(spec, "selector");
    checks.selector(at.field("selector"), selector);
    selects(spec, checks);
    if !selector.is_null() && is_empty(selector) {
        let detail = "empty selector is invalid for daemonset";
        checks.invalid(at.field("selector"), selector, detail);
    }
    pod::check_template(of(spec, "template"), at.field("template"), checks);
    restart_always(spec, at, checks);
    no_deadline("DaemonSet", spec, at, checks);
    checks.not_negative(at, spec, "minReadySeconds");
    daemon_strategy(
        of(spec, "updateStrategy"),
        at.field("updateStrategy"),
        checks,
    );
    checks.not_negative(at, spec, "revisionHistoryLimit");
}

fn daemon_strategy(strategy: &Value, at: At<'_>, checks: &mut Checks) {
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = of(strategy, "rollingUpdate");
            let at = at.field("rollingUpdate");
            let (down, up) = (of(rolling, "maxUnavailable"), of(rolling, "maxSurge"));
            checks.count_or_percent(at.field("maxUnavailable"), down);
            checks.within_whole(at.field("maxUnavailable"), down);
            checks.count_or_percent(at.field("maxSurge"), up);
            checks.within_whole(at.field("maxSurge"), up);
            match (is_nothing(down), is_nothing(up)) {
                (true, true) => {
                    let detail = "cannot be 0 when maxSurge is 0";
                    checks.required(at.field("maxUnavailable"), detail);
                }
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    checks.invalid(at.field("maxSurge"), up, detail);
                }
                _ => {}
            }
        }
        kind => {
            let shown = json!({"Type": kind, "RollingUpdate": null});
            checks.unsupported(at, &shown, &["RollingUpdate", "OnDelete"]);
        }
    }
}

/// A StatefulSet.
pub(super) fn stateful_set(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    match text(spec, "podManagementPolicy") {
        "" => checks.required(at.field("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            checks.wrong(at.field("podManagementPolicy"), other, detail);
        }
    }
    stateful_strategy(
        of(spec, "updateStrategy"),
        at.field("updateStrategy"),
        checks,
    );
    let policy = of(spec, "persistentVolumeClaimRetentionPolicy");
    if !policy.is_null() {
        let at = at.field("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            checks.one_of(at.field(field), text(policy, field), &["Retain", "Delete"]);
        }
    }
    checks.not_negative(at, spec, "replicas");
    checks.not_negative(at, spec, "minReadySeconds");
    let ordinals = of(spec, "ordinals");
    checks.not_negative(at.field("ordinals"), ordinals, "start");
    let selector = of(spec, "selector");
    needed_selector("statefulset", selector, at, checks);
    if usable(selector) {
        selects(spec, checks);
        let template = stateful_template(spec);
        let at = at.field("template");
        pod::check_template(&template, at, checks);
        // The server judges these twice.
        pod::check_template_meta(&template, at, checks);
    } else {
        checks.invalid(at.field("selector"), selector, "");
    }
    restart_always(spec, at, checks);
    no_deadline("StatefulSet", spec, at, checks);
    let service = text(spec, "serviceName");
    if !service.is_empty() {
        checks.faults(at.field("serviceName"), service, names::label(service));
    }
    let at = at.field("volumeClaimTemplates");
    for (i, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
        let at = at.index(i);
        storage::claim_spec(of(claim, "spec"), at.field("spec"), checks);
    }
}

/// The template as its pods will have it: their names are the set's, and claims are volumes.
fn stateful_template(spec: &Value) -> Value {
    let mut template = of(spec, "template").clone();
    let claims: Vec<Value> = list(spec, "volumeClaimTemplates")
        .iter()
        .map(|claim| of(of(claim, "metadata"), "name"))
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    if let Some(Value::Object(inner)) = template.get_mut("spec") {
        inner.shift_remove("subdomain");
        inner.shift_remove("hostname");
        if !claims.is_empty() {
            let own = inner
                .get("volumes")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let named = |v: &Value| claims.iter().any(|c| of(c, "name") == of(v, "name"));
            let rest: Vec<Value> = own.into_iter().filter(|v| !named(v)).collect();
            inner.insert(
                "volumes".to_owned(),
                claims.iter().cloned().chain(rest).collect(),
            );
        }
    }
    template
}

fn stateful_strategy(strategy: &Value, at: At<'_>, checks: &mut Checks) {
    let rolling = of(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "" => checks.required(at, ""),
        "OnDelete" => {
            if !rolling.is_null() {
                let shown = json!({"Partition": of(rolling, "partition"), "MaxUnavailable": of(rolling, "maxUnavailable")});
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                checks.invalid(at.field("rollingUpdate"), &shown, detail);
            }
        }
        "RollingUpdate" => {
            checks.not_negative(at.field("rollingUpdate"), rolling, "partition");
        }
        kind => {
            let shown = json!({"Type": kind, "RollingUpdate": null});
            checks.invalid(at, &shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

/// What may change of a StatefulSet.
pub(super) fn stateful_set_change(old: &Value, new: &Value, checks: &mut Checks) {
    let fixed = |object: &Value| {
        let mut spec = of(object, "spec").clone();
        if let Value::Object(map) = &mut spec {
            for field in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                map.shift_remove(field);
            }
        }
        spec
    };
    if fixed(old) != fixed(new) {
        checks.forbidden(
            At::root("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden",
        );
    }
}
