//! Owns the cells of pods, which tell in one word what their containers are at, and of nodes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use weir_object::path;

use super::age;
use super::cells::named;
use super::row::Row;

/// What the containers of a pod come to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// When a container last ended before it was started again.
    ended: Option<Timestamp>,
}

/// The cells after the name.
pub(super) fn pod(row: &Row<'_>) -> Vec<Value> {
    let summary = summarize(row);
    let restarts = match summary.ended {
        Some(ended) if summary.restarts != 0 => {
            let ago = age(&ended.to_string(), row.now);
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    };
    let ip = row.list(&["status", "podIPs"]).first();
    vec![
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        row.age(),
        named(ip.map_or("", |ip| path::text(ip, &["ip"]))),
        row.text_or(&["spec", "nodeName"], "<none>"),
        row.text_or(&["status", "nominatedNodeName"], "<none>"),
        gates(row),
    ]
}

/// The word for pods that are over, which clients may leave out.
pub(super) fn completion(object: &Value) -> Option<(&'static str, &'static str)> {
    match path::text(object, &["status", "phase"]) {
        "Succeeded" => Some(("Succeeded", "The pod has completed successfully.")),
        "Failed" => Some(("Failed", "The pod failed.")),
        _ => None,
    }
}

fn gates(row: &Row<'_>) -> Value {
    let gates = row.list(&["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates
        .iter()
        .filter(|gate| row.holds(path::text(gate, &["conditionType"])))
        .count();
    format!("{open}/{}", gates.len()).into()
}

fn number(of: &Value, p: &[&str]) -> i64 {
    path::get(of, p).and_then(Value::as_i64).unwrap_or_default()
}

fn ended(status: &Value) -> Option<Timestamp> {
    path::text(status, &["lastState", "terminated", "finishedAt"])
        .parse()
        .ok()
}

fn state<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    path::get(status, &["state", name]).filter(|state| !state.is_null())
}

/// How a container ended, when it did not say why.
fn ending(terminated: &Value) -> String {
    match number(terminated, &["signal"]) {
        0 => format!("ExitCode:{}", number(terminated, &["exitCode"])),
        signal => format!("Signal:{signal}"),
    }
}

fn summarize(row: &Row<'_>) -> Summary {
    let phase = row.text(&["status", "phase"]);
    let own = row.text(&["status", "reason"]);
    let mut out = Summary {
        reason: if own.is_empty() { phase } else { own }.to_owned(),
        ready: 0,
        total: row.list(&["spec", "containers"]).len(),
        restarts: 0,
        ended: None,
    };
    for condition in row.list(&["status", "conditions"]) {
        if path::text(condition, &["type"]) == "PodScheduled"
            && path::text(condition, &["reason"]) == "SchedulingGated"
        {
            "SchedulingGated".clone_into(&mut out.reason);
        }
    }
    let first = row.list(&["spec", "initContainers"]);
    let sidecar = |name: &str| {
        first.iter().any(|c| {
            path::text(c, &["name"]) == name && path::text(c, &["restartPolicy"]) == "Always"
        })
    };
    out.total += first
        .iter()
        .filter(|c| sidecar(path::text(c, &["name"])))
        .count();
    let (mut sidecar_restarts, mut sidecar_ended) = (0, None);
    let mut starting = false;
    for (i, status) in row
        .list(&["status", "initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let restarts = number(status, &["restartCount"]);
        let is_sidecar = sidecar(path::text(status, &["name"]));
        out.restarts += restarts;
        out.ended = out.ended.max(ended(status));
        if is_sidecar {
            sidecar_restarts += restarts;
            sidecar_ended = sidecar_ended.max(ended(status));
        }
        let terminated = state(status, "terminated");
        if terminated.is_some_and(|t| number(t, &["exitCode"]) == 0) {
            continue;
        }
        if is_sidecar && status.get("started") == Some(&Value::Bool(true)) {
            out.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
            continue;
        }
        let waiting = path::text(status, &["state", "waiting", "reason"]);
        out.reason = match terminated {
            Some(terminated) => match path::text(terminated, &["reason"]) {
                "" => format!("Init:{}", ending(terminated)),
                reason => format!("Init:{reason}"),
            },
            None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
            None => format!("Init:{i}/{}", first.len()),
        };
        starting = true;
        break;
    }
    if !starting || row.holds("Initialized") {
        out.restarts = sidecar_restarts;
        out.ended = sidecar_ended;
        let mut running = false;
        for status in row.list(&["status", "containerStatuses"]).iter().rev() {
            out.restarts += number(status, &["restartCount"]);
            out.ended = out.ended.max(ended(status));
            let waiting = path::text(status, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut out.reason);
            } else if let Some(terminated) = state(status, "terminated") {
                out.reason = match path::text(terminated, &["reason"]) {
                    "" => ending(terminated),
                    reason => reason.to_owned(),
                };
            } else if status.get("ready") == Some(&Value::Bool(true))
                && state(status, "running").is_some()
            {
                running = true;
                out.ready += 1;
            }
        }
        if out.reason == "Completed" && running {
            let word = if row.holds("Ready") {
                "Running"
            } else {
                "NotReady"
            };
            word.clone_into(&mut out.reason);
        }
    }
    if row.is_deleted() {
        if own == "NodeLost" {
            "Unknown".clone_into(&mut out.reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut out.reason);
        }
    }
    out
}

/// The cells of a node after its name.
pub(super) fn node(row: &Row<'_>) -> Vec<Value> {
    let ready = row
        .list(&["status", "conditions"])
        .iter()
        .rev()
        .find(|c| path::text(c, &["type"]) == "Ready");
    let mut status = match ready.map(|c| path::text(c, &["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if row.truth(&["spec", "unschedulable"]) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = row.get(&["metadata", "labels"]).and_then(Value::as_object);
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    let address = |kind: &str| {
        let all = row.list(&["status", "addresses"]);
        let found = all.iter().find(|a| path::text(a, &["type"]) == kind);
        named(found.map_or("", |a| path::text(a, &["address"])))
    };
    let info = |field| row.text_or(&["status", "nodeInfo", field], "<unknown>");
    vec![
        status.into(),
        named(&roles.into_iter().collect::<Vec<_>>().join(",")),
        row.age(),
        row.text(&["status", "nodeInfo", "kubeletVersion"]).into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}
