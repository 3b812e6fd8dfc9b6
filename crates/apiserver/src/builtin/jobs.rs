//! Owns the rules of Job and CronJob, and the labels by which a Job knows its pods.

use serde_json::{Value, json};
use weir_object::path;

use super::checks::{At, Checks, flag, int, list, of, text};
use super::{cron, names, pod};
use crate::selector::Selector;

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";

/// Gives a Job the selector and labels of its own pods.
pub(super) fn begin(job: &mut Value) {
    if flag(of(job, "spec"), "manualSelector") {
        return;
    }
    let meta = of(job, "metadata");
    let uid = of(meta, "uid").clone();
    let name = of(meta, "name").clone();
    let labels = ["spec", "template", "metadata", "labels"];
    for (key, value) in [
        ("job-name", &name),
        (NAME, &name),
        ("controller-uid", &uid),
        (UID, &uid),
    ] {
        let given = path::get(job, &labels).is_some_and(|l| l.get(key).is_some());
        if !given {
            path::set(job, &[labels.as_slice(), &[key]].concat(), value.clone());
        }
    }
    path::set(job, &["spec", "selector", "matchLabels", UID], uid);
}

/// A Job without labels shows those of its pods once it is kept.
pub(super) fn finish(job: &mut Value) {
    let labels = ["spec", "template", "metadata", "labels"];
    let given = path::get(job, &["metadata", "labels"]).and_then(Value::as_object);
    if given.is_none_or(serde_json::Map::is_empty)
        && let Some(labels) = path::get(job, &labels).cloned()
    {
        path::set(job, &["metadata", "labels"], labels);
    }
}

/// A Job.
pub(super) fn job(job: &Value, checks: &mut Checks) {
    generated_selector(job, checks);
    whole_spec(job, checks);
}

/// The spec with its selector.
fn whole_spec(job: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(job, "spec");
    let selector = of(spec, "selector");
    if selector.is_null() {
        checks.required(at.field("selector"), "");
    } else {
        checks.selector(at.field("selector"), selector);
    }
    let template = of(spec, "template");
    let fits = !selector.is_null()
        && Selector::from_object(Some(selector)).is_some_and(|s| s.matches(template));
    if !fits {
        let mut labels = of(of(template, "metadata"), "labels").clone();
        sort(&mut labels);
        let at = at.field("template");
        let at = at.field("metadata");
        let detail = "`selector` does not match template `labels`";
        checks.invalid(at.field("labels"), &labels, detail);
    }
    job_spec(spec, at, checks);
}

/// Labels as refusals show them.
fn sort(labels: &mut Value) {
    if let Value::Object(map) = labels {
        map.sort_keys();
    }
}

/// A selector that was not chosen by hand is the server's.
fn generated_selector(job: &Value, checks: &mut Checks) {
    let spec = of(job, "spec");
    if flag(spec, "manualSelector") {
        return;
    }
    let at = At::root("spec");
    let meta = of(job, "metadata");
    let template_labels = of(of(of(spec, "template"), "metadata"), "labels");
    let at_labels = at.field("template");
    let at_labels = at_labels.field("metadata");
    let at_labels = at_labels.field("labels");
    let mut good = true;
    for (key, wanted) in [
        ("controller-uid", text(meta, "uid")),
        (UID, text(meta, "uid")),
        ("job-name", text(meta, "name")),
        (NAME, text(meta, "name")),
    ] {
        let given = text(template_labels, key);
        if given.is_empty() {
            checks.required(at_labels.key(key), &format!("must be '{wanted}'"));
            good = false;
        } else if given != wanted {
            let detail = format!("must be '{wanted}'");
            let mut shown = template_labels.clone();
            sort(&mut shown);
            checks.invalid(at_labels.key(key), &shown, &detail);
            good = false;
        }
    }
    let wanted = json!({"matchLabels": {UID: of(meta, "uid")}});
    let selector = of(spec, "selector");
    if good && *selector != wanted {
        checks.invalid(
            at.field("selector"),
            selector,
            "`selector` not auto-generated",
        );
    }
}

fn job_spec(spec: &Value, at: At<'_>, checks: &mut Checks) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        checks.not_negative(at, spec, field);
    }
    let managed = text(spec, "managedBy");
    if !managed.is_empty() {
        for (value, fault) in names::domain_path(managed) {
            checks.wrong(at.field("managedBy"), &value, &fault);
        }
    }
    let mode = text(spec, "completionMode");
    let indexed = mode == "Indexed";
    checks.one_of_if(at.field("completionMode"), mode, &["NonIndexed", "Indexed"]);
    if indexed && int(spec, "completions").is_none() {
        let detail = "when completion mode is Indexed";
        checks.required(at.field("completions"), detail);
    }
    if !indexed {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = int(spec, field) {
                checks.invalid(
                    at.field(field),
                    &number.into(),
                    "requires indexed completion mode",
                );
            }
        }
    }
    let policy = of(spec, "podFailurePolicy");
    if !policy.is_null() {
        failure_policy(spec, policy, at.field("podFailurePolicy"), checks);
    }
    let success = of(spec, "successPolicy");
    if !success.is_null() && !indexed {
        let rules: Vec<Value> = list(success, "rules")
            .iter()
            .map(|rule| json!({"SucceededIndexes": of(rule, "succeededIndexes"), "SucceededCount": of(rule, "succeededCount")}))
            .collect();
        let detail = "requires indexed completion mode";
        checks.invalid(at.field("successPolicy"), &json!({"Rules": rules}), detail);
    }
    let replacement = text(spec, "podReplacementPolicy");
    if !policy.is_null() && replacement != "Failed" {
        checks.one_of_if(at.field("podReplacementPolicy"), replacement, &["Failed"]);
    } else {
        let known = ["Failed", "TerminatingOrFailed"];
        checks.one_of_if(at.field("podReplacementPolicy"), replacement, &known);
    }
    let at = at.field("template");
    let template = of(spec, "template");
    pod::check_template(template, at, checks);
    let at = at.field("spec");
    let restart = text(of(template, "spec"), "restartPolicy");
    match restart {
        "Never" => {}
        "OnFailure" if policy.is_null() => {}
        "OnFailure" => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            checks.wrong(at.field("restartPolicy"), restart, detail);
        }
        "" | "Always" => {
            let detail = "valid values: \"OnFailure\", \"Never\"";
            checks.required(at.field("restartPolicy"), detail);
        }
        other => checks.unsupported(
            at.field("restartPolicy"),
            &other.into(),
            &["OnFailure", "Never"],
        ),
    }
}

fn failure_policy(spec: &Value, policy: &Value, at: At<'_>, checks: &mut Checks) {
    let _ = spec;
    let at = at.field("rules");
    for (i, rule) in list(policy, "rules").iter().enumerate() {
        let at = at.index(i);
        let known = ["Count", "FailIndex", "FailJob", "Ignore"];
        match text(rule, "action") {
            "" => checks.required(
                at.field("action"),
                "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
            ),
            action => checks.one_of(at.field("action"), action, &known),
        }
        let (codes, conditions) = (of(rule, "onExitCodes"), list(rule, "onPodConditions"));
        if !codes.is_null() && !conditions.is_empty() {
            let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
            checks.causes.push(omitted(at, detail));
        }
        if codes.is_null() && conditions.is_empty() {
            let detail = "specifying one of OnExitCodes and OnPodConditions is required";
            checks.causes.push(omitted(at, detail));
        }
    }
}

/// A value that is not shown.
fn omitted(at: At<'_>, detail: &str) -> crate::refusal::Cause {
    crate::refusal::Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {detail}"),
        field: at.into(),
    }
}

/// What may change of a Job.
pub(super) fn job_change(old: &Value, new: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let (a, b) = (of(old, "spec"), of(new, "spec"));
    // The server judges the spec of a change twice.
    whole_spec(new, checks);
    let suspended = flag(a, "suspend") && int(of(old, "status"), "active").unwrap_or_default() == 0;
    let elastic =
        text(b, "completionMode") == "Indexed" && int(b, "completions") == int(b, "parallelism");
    if !elastic {
        checks.fixed(
            at.field("completions"),
            of(a, "completions"),
            of(b, "completions"),
        );
    }
    checks.fixed(at.field("selector"), of(a, "selector"), of(b, "selector"));
    if !suspended {
        checks.fixed(at.field("template"), of(a, "template"), of(b, "template"));
    }
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        checks.fixed(at.field(field), of(a, field), of(b, field));
    }
}

/// A CronJob.
pub(super) fn cron_job(object: &Value, old: Option<&Value>, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    let schedule = text(spec, "schedule");
    let before = old.map(|old| text(of(old, "spec"), "schedule"));
    if schedule.is_empty() {
        checks.required(at.field("schedule"), "");
    } else if before != Some(schedule) {
        if let Err(fault) = cron::check(schedule) {
            checks.wrong(at.field("schedule"), schedule, &fault);
        }
        if schedule.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            checks.wrong(at.field("schedule"), schedule, detail);
        }
    }
    checks.not_negative(at, spec, "startingDeadlineSeconds");
    let known = ["Allow", "Forbid", "Replace"];
    match text(spec, "concurrencyPolicy") {
        "" => checks.required(at.field("concurrencyPolicy"), ""),
        policy => checks.one_of(at.field("concurrencyPolicy"), policy, &known),
    }
    checks.not_negative(at, spec, "successfulJobsHistoryLimit");
    checks.not_negative(at, spec, "failedJobsHistoryLimit");
    let zone = of(spec, "timeZone");
    if let Some(zone) = zone.as_str() {
        time_zone(zone, at.field("timeZone"), checks);
    }
    let at = at.field("jobTemplate");
    let at = at.field("spec");
    let job = of(of(spec, "jobTemplate"), "spec");
    job_spec(job, at, checks);
    let selector = of(job, "selector");
    if !selector.is_null() {
        checks.invalid(
            at.field("selector"),
            selector,
            "`selector` will be auto-generated",
        );
    }
    if flag(job, "manualSelector") {
        checks.unsupported(at.field("manualSelector"), &true.into(), &["nil", "false"]);
    }
    let name = text(of(object, "metadata"), "name");
    if old.is_none() && name.len() > 52 {
        let at = At::root("metadata");
        checks.wrong(at.field("name"), name, "must be no more than 52 characters");
    }
}

fn time_zone(zone: &str, at: At<'_>, checks: &mut Checks) {
    if zone.is_empty() {
        checks.wrong(at, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        let detail =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        checks.wrong(at, zone, detail);
    } else if jiff::tz::TimeZone::get(zone).is_err() {
        checks.wrong(at, zone, &format!("unknown time zone {zone}"));
    }
}
