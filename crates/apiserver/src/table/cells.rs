//! Owns which kind's cells are made where, and the cells of kinds that are told in few words.

use jiff::Timestamp;
use serde_json::Value;
use weir_object::path;

use super::row::{Row, or_none, selector};
use super::{age, autoscaling, network, pods, storage, workloads};
use crate::registry::Resource;

/// The cells of an object, the name's first.
pub(super) fn of(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let row = Row { object, now };
    let kind = &resource.kind;
    let mut out = vec![row.text(&["metadata", "name"]).into()];
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "Pod") => out.extend(pods::pod(&row)),
        ("", "PodTemplate") => {
            out.extend(row.containers(&["template", "spec", "containers"]));
            out.push(row.labels(&["template", "metadata", "labels"]));
        }
        ("", "Node") => out.extend(pods::node(&row)),
        ("", "ReplicationController") | ("apps" | "batch", _) => {
            out.extend(workloads::cells(&kind.kind, &row));
        }
        ("autoscaling", "Scale") => {
            out.extend([
                row.number(&["spec", "replicas"]).into(),
                row.number(&["status", "replicas"]).into(),
                row.age(),
            ]);
        }
        ("autoscaling", _) => {
            let whole = crate::convert::scaler_v2(object);
            out.extend(autoscaling::scaler(&Row {
                object: &whole,
                now,
            }));
        }
        ("", "Service" | "Endpoints") | ("discovery.k8s.io" | "networking.k8s.io", _) => {
            out.extend(network::cells(&kind.kind, &row));
        }
        ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => {
            storage::cells(&kind.kind, &row, &mut out);
        }
        ("" | "events.k8s.io", "Event") => out = event(&row),
        ("", "Namespace") => out.extend([row.text(&["status", "phase"]).into(), row.age()]),
        ("", "ConfigMap") => {
            let size = row.size(&["data"]) + row.size(&["binaryData"]);
            out.extend([size.into(), row.age()]);
        }
        ("", "Secret") => out.extend([
            row.text(&["type"]).into(),
            row.size(&["data"]).into(),
            row.age(),
        ]),
        ("", "ServiceAccount") => out.extend([row.list(&["secrets"]).len().into(), row.age()]),
        ("", "ResourceQuota") => out.extend(quota(&row)),
        ("policy", "PodDisruptionBudget") => out.extend(budget(&row)),
        ("coordination.k8s.io", "Lease") => {
            out.extend([row.text(&["spec", "holderIdentity"]).into(), row.age()]);
        }
        ("scheduling.k8s.io", "PriorityClass") => out.extend([
            row.number(&["value"]).into(),
            row.truth(&["globalDefault"]).into(),
            row.age(),
            row.text(&["preemptionPolicy"]).into(),
        ]),
        ("node.k8s.io", "RuntimeClass") => {
            out.extend([row.text(&["handler"]).into(), row.age()]);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            out.extend(binding(&row));
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => out.extend(signing(&row)),
        ("admissionregistration.k8s.io", kind) => out.extend(admission(kind, &row)),
        ("apiregistration.k8s.io", "APIService") => out.extend(api_service(&row)),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => out.extend(flow_schema(&row)),
        ("flowcontrol.apiserver.k8s.io", _) => out.extend(priority_level(&row)),
        ("resource.k8s.io", "ResourceClaim") => out.extend([claim(&row).into(), row.age()]),
        ("resource.k8s.io", "ResourceSlice") => out.extend([
            row.text(&["spec", "nodeName"]).into(),
            row.text(&["spec", "driver"]).into(),
            row.text(&["spec", "pool", "name"]).into(),
            row.age(),
        ]),
        ("resource.k8s.io", _) => out.push(row.age()),
        // Kinds without a printer of their own show when they were made.
        _ => out.push(row.text(&["metadata", "creationTimestamp"]).into()),
    }
    out
}

/// An event, in either of its forms.
fn event(row: &Row<'_>) -> Vec<Value> {
    let either = |old: &[&'static str], new: &[&'static str]| {
        let text = row.text(old);
        if text.is_empty() { row.text(new) } else { text }
    };
    let first = either(&["firstTimestamp"], &["deprecatedFirstTimestamp"]);
    let first = if first.is_empty() {
        row.text(&["eventTime"])
    } else {
        first
    };
    let last = either(&["lastTimestamp"], &["deprecatedLastTimestamp"]);
    let mut last = age(if last.is_empty() { first } else { last }, row.now);
    let count = row
        .get(&["count"])
        .or_else(|| row.get(&["deprecatedCount"]));
    let mut count = count.and_then(Value::as_i64).unwrap_or_default().max(1);
    if row.get(&["series"]).is_some() {
        last = age(row.text(&["series", "lastObservedTime"]), row.now);
        count = row.number(&["series", "count"]);
    }
    let of = |field| either(&["involvedObject", field], &["regarding", field]);
    let target = match (of("kind").to_lowercase(), of("name")) {
        (kind, "") => kind,
        (kind, name) => format!("{kind}/{name}"),
    };
    let part = |field, other: &[&'static str]| {
        let text = either(&["source", field], &["deprecatedSource", field]);
        if text.is_empty() {
            row.text(other)
        } else {
            text
        }
    };
    let component = match part("component", &["reportingComponent"]) {
        "" => row.text(&["reportingController"]),
        text => text,
    };
    let host = part("host", &["reportingInstance"]);
    let source = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    vec![
        last.into(),
        row.text(&["type"]).into(),
        row.text(&["reason"]).into(),
        target.into(),
        of("fieldPath").into(),
        source.into(),
        either(&["message"], &["note"]).trim().into(),
        age(first, row.now).into(),
        count.into(),
        row.text(&["metadata", "name"]).into(),
    ]
}

fn quota(row: &Row<'_>) -> [Value; 3] {
    let hard = row.get(&["status", "hard"]).and_then(Value::as_object);
    let mut names: Vec<&String> = hard.into_iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for name in names {
        let amount = |of: &str| match row.text(&["status", of, name]) {
            "" => "0",
            text => text,
        };
        let text = format!("{name}: {}/{}", amount("used"), amount("hard"));
        if name.starts_with("limits.") {
            limits.push(text);
        } else {
            requests.push(text);
        }
    }
    [
        requests.join(", ").into(),
        limits.join(", ").into(),
        row.age(),
    ]
}

fn budget(row: &Row<'_>) -> [Value; 4] {
    let bound = |field| -> Value {
        row.get(&["spec", field])
            .map_or_else(|| "N/A".to_owned(), super::row::plain)
            .into()
    };
    [
        bound("minAvailable"),
        bound("maxUnavailable"),
        row.number(&["status", "disruptionsAllowed"]).into(),
        row.age(),
    ]
}

fn binding(row: &Row<'_>) -> [Value; 5] {
    let (mut users, mut groups, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    for subject in row.list(&["subjects"]) {
        let name = path::text(subject, &["name"]).to_owned();
        match path::text(subject, &["kind"]) {
            "ServiceAccount" => {
                let namespace = path::text(subject, &["namespace"]);
                accounts.push(format!("{namespace}/{name}"));
            }
            "User" => users.push(name),
            "Group" => groups.push(name),
            _ => {}
        }
    }
    let role = format!(
        "{}/{}",
        row.text(&["roleRef", "kind"]),
        row.text(&["roleRef", "name"])
    );
    [
        role.into(),
        row.age(),
        users.join(", ").into(),
        groups.join(", ").into(),
        accounts.join(", ").into(),
    ]
}

fn signing(row: &Row<'_>) -> [Value; 5] {
    let has = |kind: &str| {
        row.list(&["status", "conditions"])
            .iter()
            .any(|c| path::text(c, &["type"]) == kind)
    };
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !row.text(&["status", "certificate"]).is_empty() {
        status.push_str(",Issued");
    }
    let asked = row
        .get(&["spec", "expirationSeconds"])
        .and_then(Value::as_i64);
    [
        row.age(),
        row.text_or(&["spec", "signerName"], "<none>"),
        row.text(&["spec", "username"]).into(),
        asked
            .map_or_else(|| "<none>".to_owned(), super::age::human)
            .into(),
        status.into(),
    ]
}

fn admission(kind: &str, row: &Row<'_>) -> Vec<Value> {
    match kind {
        "ValidatingAdmissionPolicy" => {
            let kind = row.get(&["spec", "paramKind"]).map(|of| {
                let text = |field| path::text(of, &[field]);
                format!("{}/{}", text("apiVersion"), text("kind"))
            });
            vec![
                row.list(&["spec", "validations"]).len().into(),
                kind.unwrap_or_else(|| "<unset>".to_owned()).into(),
                row.age(),
            ]
        }
        "ValidatingAdmissionPolicyBinding" => vec![
            row.text(&["spec", "policyName"]).into(),
            parameter(row).into(),
            row.age(),
        ],
        _ => vec![row.list(&["webhooks"]).len().into(), row.age()],
    }
}

/// Which parameters a binding names.
fn parameter(row: &Row<'_>) -> String {
    let Some(of) = row.get(&["spec", "paramRef"]) else {
        return "<unset>".to_owned();
    };
    match (path::text(of, &["namespace"]), path::text(of, &["name"])) {
        (_, "") => match of.get("selector").filter(|s| !s.is_null()) {
            Some(by) => go_selector(by),
            None => "<unset>".to_owned(),
        },
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

/// A selector as Go prints the structure.
fn go_selector(of: &Value) -> String {
    let labels = of.get("matchLabels").and_then(Value::as_object);
    let mut labels: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}: {},", v.as_str().unwrap_or_default()))
        .collect();
    labels.sort();
    let expressions = of.get("matchExpressions").and_then(Value::as_array);
    let expressions: Vec<String> = expressions
        .into_iter()
        .flatten()
        .map(|e| {
            let values = e.get("values").and_then(Value::as_array);
            let values: Vec<&str> = values
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                path::text(e, &["key"]),
                path::text(e, &["operator"]),
                values.join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.concat(),
        expressions.concat()
    )
}

fn api_service(row: &Row<'_>) -> [Value; 3] {
    let service = row.get(&["spec", "service"]).map(|of| {
        let text = |field| path::text(of, &[field]);
        format!("{}/{}", text("namespace"), text("name"))
    });
    let available = row
        .list(&["status", "conditions"])
        .iter()
        .find(|c| path::text(c, &["type"]) == "Available");
    let available = available.map_or_else(
        || "Unknown".to_owned(),
        |c| match (path::text(c, &["status"]), path::text(c, &["reason"])) {
            (status @ "True", _) | (status, "") => status.to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    [
        service.unwrap_or_else(|| "Local".to_owned()).into(),
        available.into(),
        row.age(),
    ]
}

fn flow_schema(row: &Row<'_>) -> [Value; 5] {
    let dangling = row
        .list(&["status", "conditions"])
        .iter()
        .find(|c| path::text(c, &["type"]) == "Dangling");
    [
        row.text(&["spec", "priorityLevelConfiguration", "name"])
            .into(),
        row.number(&["spec", "matchingPrecedence"]).into(),
        row.text_or(&["spec", "distinguisherMethod", "type"], "<none>"),
        row.age(),
        dangling.map_or("?", |c| path::text(c, &["status"])).into(),
    ]
}

fn priority_level(row: &Row<'_>) -> [Value; 6] {
    let none = || Value::from("<none>");
    let number = |p: &[&str]| row.get(p).cloned().unwrap_or_else(|| 0.into());
    let limited = row.get(&["spec", "limited"]).is_some();
    let queuing = ["spec", "limited", "limitResponse", "queuing"];
    let queues = row.get(&queuing).is_some();
    let of = |field| {
        let [a, b, c, d] = queuing;
        if queues {
            number(&[a, b, c, d, field])
        } else {
            none()
        }
    };
    [
        row.text(&["spec", "type"]).into(),
        if limited {
            number(&["spec", "limited", "nominalConcurrencyShares"])
        } else {
            none()
        },
        of("queues"),
        of("handSize"),
        of("queueLengthLimit"),
        row.age(),
    ]
}

fn claim(row: &Row<'_>) -> String {
    let mut states = Vec::new();
    let deleted = row.is_deleted();
    if deleted {
        states.push("deleted");
    }
    if row.get(&["status", "allocation"]).is_none() {
        if !deleted {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if !row.list(&["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

/// A selector that selects nothing when it is left out, without a word for it.
pub(super) fn bare_selector(row: &Row<'_>, p: &[&str]) -> Value {
    match selector(row.get(p)).as_str() {
        "<error>" => "<invalid>".into(),
        text => text.into(),
    }
}

/// A name, or the word for none.
pub(super) fn named(text: &str) -> Value {
    or_none(text.to_owned())
}
