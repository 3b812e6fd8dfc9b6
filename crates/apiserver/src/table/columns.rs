//! Owns the columns of built-in kinds. It refuses what a definition can say itself.

use jiff::Timestamp;
use serde_json::Value;
use weir_object::path;

use super::age;
use crate::registry::Resource;

type Columns = &'static [(&'static str, &'static str, i64)];

/// The columns after the name.
pub(crate) fn columns(resource: &Resource) -> Columns {
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Pod") => &[
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "string", 0),
            ("Age", "string", 0),
            ("IP", "string", 1),
            ("Node", "string", 1),
            ("Nominated Node", "string", 1),
            ("Readiness Gates", "string", 1),
        ],
        ("apps", "Deployment") => &[
            ("Ready", "string", 0),
            ("Up-to-date", "string", 0),
            ("Available", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        ("apps", "ReplicaSet") => &[
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        ("apps", "StatefulSet") => &[
            ("Ready", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
        ],
        ("apps", "DaemonSet") => &[
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Up-to-date", "integer", 0),
            ("Available", "integer", 0),
            ("Node Selector", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        ("batch", "Job") => &[
            ("Status", "string", 0),
            ("Completions", "string", 0),
            ("Duration", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        ("", "Service") => &[
            ("Type", "string", 0),
            ("Cluster-IP", "string", 0),
            ("External-IP", "string", 0),
            ("Port(s)", "string", 0),
            ("Age", "string", 0),
            ("Selector", "string", 1),
        ],
        ("", "Namespace") => &[("Status", "string", 0), ("Age", "string", 0)],
        ("", "Node") => &[
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
        ],
        ("", "ConfigMap") => &[("Data", "string", 0), ("Age", "string", 0)],
        ("", "Secret") => &[
            ("Type", "string", 0),
            ("Data", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "ServiceAccount") => &[("Secrets", "string", 0), ("Age", "string", 0)],
        ("" | "events.k8s.io", "Event") => &[
            ("Last Seen", "string", 0),
            ("Type", "string", 0),
            ("Reason", "string", 0),
            ("Object", "string", 0),
            ("Subobject", "string", 1),
            ("Source", "string", 1),
            ("Message", "string", 0),
            ("First Seen", "string", 1),
            ("Count", "string", 1),
            ("Name", "string", 1),
        ],
        ("coordination.k8s.io", "Lease") => &[("Holder", "string", 0), ("Age", "string", 0)],
        ("discovery.k8s.io", "EndpointSlice") => &[
            ("AddressType", "string", 0),
            ("Ports", "string", 0),
            ("Endpoints", "string", 0),
            ("Age", "string", 0),
        ],
        ("networking.k8s.io", "Ingress") => &[
            ("Class", "string", 0),
            ("Hosts", "string", 0),
            ("Address", "string", 0),
            ("Ports", "string", 0),
            ("Age", "string", 0),
        ],
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            &[("Created At", "date", 0)]
        }
        ("rbac.authorization.k8s.io", _) => &[("Role", "string", 0), ("Age", "string", 0)],
        _ => &[("Age", "string", 0)],
    }
}

struct Reader<'a> {
    object: &'a Value,
    now: Timestamp,
}

impl Reader<'_> {
    fn text(&self, p: &[&str]) -> &str {
        path::text(self.object, p)
    }

    fn number(&self, p: &[&str]) -> i64 {
        path::get(self.object, p)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    fn list(&self, p: &[&str]) -> &[Value] {
        path::get(self.object, p)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn or_none(&self, p: &[&str]) -> Value {
        none(self.text(p).to_owned())
    }

    fn since(&self, p: &[&str]) -> Value {
        age(self.text(p), self.now).into()
    }

    fn age(&self) -> Value {
        self.since(&["metadata", "creationTimestamp"])
    }

    fn containers(&self, p: &[&str], field: &str) -> Value {
        let names: Vec<&str> = self
            .list(p)
            .iter()
            .map(|c| path::text(c, &[field]))
            .collect();
        names.join(",").into()
    }

    fn selector(&self, p: &[&str]) -> Value {
        let pairs = path::get(self.object, p).and_then(Value::as_object);
        let mut pairs: Vec<String> = pairs
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        pairs.sort();
        none(pairs.join(","))
    }
}

fn none(text: String) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

/// The cells after the name.
pub(crate) fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let r = Reader { object, now };
    let template = ["spec", "template", "spec", "containers"];
    let status = |field| -> Value { r.number(&["status", field]).into() };
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Pod") => pod(&r),
        ("apps", "Deployment") => vec![
            format!(
                "{}/{}",
                r.number(&["status", "readyReplicas"]),
                r.number(&["spec", "replicas"])
            )
            .into(),
            status("updatedReplicas").to_string().into(),
            status("availableReplicas").to_string().into(),
            r.age(),
            r.containers(&template, "name"),
            r.containers(&template, "image"),
            r.selector(&["spec", "selector", "matchLabels"]),
        ],
        ("apps", "ReplicaSet") => vec![
            r.number(&["spec", "replicas"]).into(),
            status("replicas"),
            status("readyReplicas"),
            r.age(),
            r.containers(&template, "name"),
            r.containers(&template, "image"),
            r.selector(&["spec", "selector", "matchLabels"]),
        ],
        ("apps", "StatefulSet") => vec![
            format!(
                "{}/{}",
                r.number(&["status", "readyReplicas"]),
                r.number(&["spec", "replicas"])
            )
            .into(),
            r.age(),
            r.containers(&template, "name"),
            r.containers(&template, "image"),
        ],
        ("apps", "DaemonSet") => vec![
            status("desiredNumberScheduled"),
            status("currentNumberScheduled"),
            status("numberReady"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
            r.selector(&["spec", "template", "spec", "nodeSelector"]),
            r.age(),
            r.containers(&template, "name"),
            r.containers(&template, "image"),
            r.selector(&["spec", "selector", "matchLabels"]),
        ],
        ("batch", "Job") => job(&r),
        ("", "Service") => service(&r),
        ("", "Namespace") => vec![r.text(&["status", "phase"]).into(), r.age()],
        ("", "Node") => node(&r),
        ("", "ConfigMap") => vec![count(&r, &["data", "binaryData"]), r.age()],
        ("", "Secret") => vec![r.text(&["type"]).into(), count(&r, &["data"]), r.age()],
        ("", "ServiceAccount") => vec![r.list(&["secrets"]).len().to_string().into(), r.age()],
        ("" | "events.k8s.io", "Event") => event(&r),
        ("coordination.k8s.io", "Lease") => {
            vec![r.text(&["spec", "holderIdentity"]).into(), r.age()]
        }
        ("discovery.k8s.io", "EndpointSlice") => slice(&r),
        ("networking.k8s.io", "Ingress") => {
            let hosts: Vec<&str> = r
                .list(&["spec", "rules"])
                .iter()
                .map(|h| path::text(h, &["host"]))
                .collect();
            let hosts = hosts
                .into_iter()
                .filter(|h| !h.is_empty())
                .collect::<Vec<_>>()
                .join(",");
            vec![
                r.or_none(&["spec", "ingressClassName"]),
                if hosts.is_empty() {
                    "*".into()
                } else {
                    hosts.into()
                },
                "".into(),
                if r.list(&["spec", "tls"]).is_empty() {
                    "80".into()
                } else {
                    "80, 443".into()
                },
                r.age(),
            ]
        }
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            vec![r.text(&["metadata", "creationTimestamp"]).into()]
        }
        ("rbac.authorization.k8s.io", _) => vec![
            format!(
                "{}/{}",
                r.text(&["roleRef", "kind"]),
                r.text(&["roleRef", "name"])
            )
            .into(),
            r.age(),
        ],
        _ => vec![r.age()],
    }
}

fn count(r: &Reader<'_>, fields: &[&str]) -> Value {
    let size = |field: &&str| {
        r.object
            .get(*field)
            .and_then(Value::as_object)
            .map_or(0, serde_json::Map::len)
    };
    fields.iter().map(size).sum::<usize>().to_string().into()
}

fn pod(r: &Reader<'_>) -> Vec<Value> {
    let statuses = r.list(&["status", "containerStatuses"]);
    let total = r.list(&["spec", "containers"]).len();
    let ready = statuses
        .iter()
        .filter(|s| s.get("ready") == Some(&Value::Bool(true)))
        .count();
    let restarts: i64 = statuses
        .iter()
        .filter_map(|s| s.get("restartCount").and_then(Value::as_i64))
        .sum();
    let mut reason = r.text(&["status", "phase"]);
    if !r.text(&["status", "reason"]).is_empty() {
        reason = r.text(&["status", "reason"]);
    }
    for status in statuses.iter().rev() {
        for state in ["waiting", "terminated"] {
            let text = path::text(status, &["state", state, "reason"]);
            if !text.is_empty() {
                reason = text;
            }
        }
    }
    if path::get(r.object, &["metadata", "deletionTimestamp"]).is_some() {
        reason = "Terminating";
    }
    vec![
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.to_string().into(),
        r.age(),
        r.or_none(&["status", "podIP"]),
        r.or_none(&["spec", "nodeName"]),
        r.or_none(&["status", "nominatedNodeName"]),
        "<none>".into(),
    ]
}

fn job(r: &Reader<'_>) -> Vec<Value> {
    let template = ["spec", "template", "spec", "containers"];
    let done = |kind: &str| {
        r.list(&["status", "conditions"])
            .iter()
            .any(|c| path::text(c, &["type"]) == kind && path::text(c, &["status"]) == "True")
    };
    let state = match (done("Complete"), done("Failed")) {
        (true, _) => "Complete",
        (_, true) => "Failed",
        _ => "Running",
    };
    let wanted = path::get(r.object, &["spec", "completions"])
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let duration = match (
        r.text(&["status", "startTime"]),
        r.text(&["status", "completionTime"]),
    ) {
        ("", _) => String::new(),
        (start, "") => age(start, r.now),
        (start, end) => end
            .parse::<Timestamp>()
            .map(|end| age(start, end))
            .unwrap_or_default(),
    };
    vec![
        state.into(),
        format!("{}/{wanted}", r.number(&["status", "succeeded"])).into(),
        duration.into(),
        r.age(),
        r.containers(&template, "name"),
        r.containers(&template, "image"),
        r.selector(&["spec", "selector", "matchLabels"]),
    ]
}

fn service(r: &Reader<'_>) -> Vec<Value> {
    let kind = r.text(&["spec", "type"]);
    let external = match kind {
        "LoadBalancer" => {
            let at = r.list(&["status", "loadBalancer", "ingress"]);
            let ips: Vec<&str> = at.iter().map(|i| path::text(i, &["ip"])).collect();
            if ips.is_empty() {
                "<pending>".to_owned()
            } else {
                ips.join(",")
            }
        }
        "ExternalName" => r.text(&["spec", "externalName"]).to_owned(),
        _ => "<none>".to_owned(),
    };
    let ports: Vec<String> = r
        .list(&["spec", "ports"])
        .iter()
        .map(|p| {
            let number = p.get("port").and_then(Value::as_i64).unwrap_or_default();
            let node = p.get("nodePort").and_then(Value::as_i64);
            let node = node.map(|n| format!(":{n}")).unwrap_or_default();
            let protocol = p.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            format!("{number}{node}/{protocol}")
        })
        .collect();
    vec![
        kind.into(),
        r.or_none(&["spec", "clusterIP"]),
        external.into(),
        none(ports.join(",")),
        r.age(),
        r.selector(&["spec", "selector"]),
    ]
}

fn node(r: &Reader<'_>) -> Vec<Value> {
    let ready = r
        .list(&["status", "conditions"])
        .iter()
        .find(|c| path::text(c, &["type"]) == "Ready")
        .map_or("Unknown", |c| {
            if path::text(c, &["status"]) == "True" {
                "Ready"
            } else {
                "NotReady"
            }
        });
    let cordoned = path::get(r.object, &["spec", "unschedulable"]) == Some(&Value::Bool(true));
    let labels = path::get(r.object, &["metadata", "labels"]).and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    vec![
        if cordoned {
            format!("{ready},SchedulingDisabled").into()
        } else {
            ready.into()
        },
        none(roles.join(",")),
        r.age(),
        r.text(&["status", "nodeInfo", "kubeletVersion"]).into(),
    ]
}

fn event(r: &Reader<'_>) -> Vec<Value> {
    // Both faces of an event are read here.
    let of = if r.object.get("regarding").is_some() {
        "regarding"
    } else {
        "involvedObject"
    };
    let pick = |names: &[&[&str]]| {
        names
            .iter()
            .map(|p| r.text(p))
            .find(|t| !t.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let last = pick(&[
        &["series", "lastObservedTime"],
        &["lastTimestamp"],
        &["deprecatedLastTimestamp"],
        &["eventTime"],
        &["metadata", "creationTimestamp"],
    ]);
    let first = pick(&[
        &["firstTimestamp"],
        &["deprecatedFirstTimestamp"],
        &["eventTime"],
    ]);
    let count = ["count", "deprecatedCount"]
        .iter()
        .map(|f| r.number(&[f]))
        .max()
        .unwrap_or(0)
        .max(1);
    vec![
        age(&last, r.now).into(),
        r.text(&["type"]).into(),
        r.text(&["reason"]).into(),
        format!(
            "{}/{}",
            r.text(&[of, "kind"]).to_lowercase(),
            r.text(&[of, "name"])
        )
        .into(),
        r.text(&[of, "fieldPath"]).into(),
        pick(&[
            &["source", "component"],
            &["reportingComponent"],
            &["reportingController"],
        ])
        .into(),
        pick(&[&["message"], &["note"]]).trim().into(),
        age(&first, r.now).into(),
        count.to_string().into(),
        r.text(&["metadata", "name"]).into(),
    ]
}

fn slice(r: &Reader<'_>) -> Vec<Value> {
    let ports: Vec<String> = r
        .list(&["ports"])
        .iter()
        .map(|p| p.get("port").map(ToString::to_string).unwrap_or_default())
        .collect();
    let addresses: Vec<&str> = r
        .list(&["endpoints"])
        .iter()
        .filter_map(|e| path::get(e, &["addresses", "0"])?.as_str())
        .collect();
    let shown = if addresses.len() > 3 {
        let head = addresses
            .iter()
            .take(3)
            .copied()
            .collect::<Vec<_>>()
            .join(",");
        format!("{head} + {} more...", addresses.len() - 3)
    } else {
        addresses.join(",")
    };
    let unset = |text: String| {
        if text.is_empty() {
            "<unset>".to_owned()
        } else {
            text
        }
    };
    vec![
        r.text(&["addressType"]).into(),
        unset(ports.join(",")).into(),
        unset(shown).into(),
        r.age(),
    ]
}
