//! Owns the cells of what runs pods: deployments, sets and jobs.

use jiff::Timestamp;
use serde_json::Value;
use weir_object::{path, split_api_version};

use super::age;
use super::age::human;
use super::cells::bare_selector;
use super::row::{Row, capital};

const CONTAINERS: [&str; 4] = ["spec", "template", "spec", "containers"];

/// The cells after the name.
pub(super) fn cells(kind: &str, row: &Row<'_>) -> Vec<Value> {
    let status = |field| -> Value { row.number(&["status", field]).into() };
    let wanted = row.number(&["spec", "replicas"]);
    let ready = row.number(&["status", "readyReplicas"]);
    let mut out: Vec<Value> = Vec::new();
    match kind {
        "Deployment" => {
            out.push(format!("{ready}/{wanted}").into());
            out.extend([status("updatedReplicas"), status("availableReplicas")]);
            out.push(row.age());
            out.extend(row.containers(&CONTAINERS));
            out.push(bare_selector(row, &["spec", "selector"]));
        }
        "ReplicaSet" | "ReplicationController" => {
            out.extend([wanted.into(), status("replicas"), ready.into(), row.age()]);
            out.extend(row.containers(&CONTAINERS));
            out.push(if kind == "ReplicaSet" {
                row.selector(&["spec", "selector"])
            } else {
                row.labels(&["spec", "selector"])
            });
        }
        "StatefulSet" => {
            out.extend([format!("{ready}/{wanted}").into(), row.age()]);
            out.extend(row.containers(&CONTAINERS));
        }
        "DaemonSet" => {
            out.extend(
                [
                    "desiredNumberScheduled",
                    "currentNumberScheduled",
                    "numberReady",
                    "updatedNumberScheduled",
                    "numberAvailable",
                ]
                .map(status),
            );
            out.push(row.labels(&["spec", "template", "spec", "nodeSelector"]));
            out.push(row.age());
            out.extend(row.containers(&CONTAINERS));
            out.push(row.selector(&["spec", "selector"]));
        }
        "ControllerRevision" => {
            out.extend([controller(row), row.number(&["revision"]).into(), row.age()]);
        }
        "Job" => {
            out.extend(job(row));
            out.extend(row.containers(&CONTAINERS));
            out.push(row.selector(&["spec", "selector"]));
        }
        "CronJob" => {
            let last = row.text(&["status", "lastScheduleTime"]);
            let suspended = row.get(&["spec", "suspend"]).and_then(Value::as_bool);
            out.extend([
                row.text(&["spec", "schedule"]).into(),
                row.text_or(&["spec", "timeZone"], "<none>"),
                suspended.map_or("<unset>", capital).into(),
                row.list(&["status", "active"]).len().into(),
                if last.is_empty() {
                    "<none>".into()
                } else {
                    age(last, row.now).into()
                },
                row.age(),
            ]);
            let of = [
                "spec",
                "jobTemplate",
                "spec",
                "template",
                "spec",
                "containers",
            ];
            out.extend(row.containers(&of));
            out.push(row.selector(&["spec", "jobTemplate", "spec", "selector"]));
        }
        _ => out.push(row.age()),
    }
    out
}

/// Whose revision it is.
fn controller(row: &Row<'_>) -> Value {
    let owners = row.list(&["metadata", "ownerReferences"]);
    let owner = owners
        .iter()
        .find(|o| o.get("controller") == Some(&Value::Bool(true)));
    let Some(owner) = owner else {
        return "<none>".into();
    };
    let (group, _) = split_api_version(path::text(owner, &["apiVersion"]));
    let kind = path::text(owner, &["kind"]).to_lowercase();
    let kind = if group.is_empty() {
        kind
    } else {
        format!("{kind}.{group}")
    };
    format!("{kind}/{}", path::text(owner, &["name"])).into()
}

fn job(row: &Row<'_>) -> [Value; 4] {
    let done = row.number(&["status", "succeeded"]);
    let wanted = row.get(&["spec", "completions"]).and_then(Value::as_i64);
    let at_once = row.number(&["spec", "parallelism"]);
    let completions = match wanted {
        Some(wanted) => format!("{done}/{wanted}"),
        None if at_once > 1 => format!("{done}/1 of {at_once}"),
        None => format!("{done}/1"),
    };
    let time = |field| row.text(&["status", field]).parse::<Timestamp>().ok();
    let duration = match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human(end.unwrap_or(row.now).as_second() - start.as_second()),
    };
    let state = if row.holds("Complete") {
        "Complete"
    } else if row.holds("Failed") {
        "Failed"
    } else if row.is_deleted() {
        "Terminating"
    } else if row.holds("Suspended") {
        "Suspended"
    } else if row.holds("FailureTarget") {
        "FailureTarget"
    } else if row.holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    [state.into(), completions.into(), duration.into(), row.age()]
}
