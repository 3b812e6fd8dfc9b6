//! Owns the cells of what carries traffic: services, their endpoints, ingresses and policies.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_object::path;

use super::cells::named;
use super::row::{Row, few};

/// The cells after the name.
pub(super) fn cells(kind: &str, row: &Row<'_>) -> Vec<Value> {
    match kind {
        "Service" => service(row),
        "Endpoints" => vec![endpoints(row).into(), row.age()],
        "EndpointSlice" => vec![
            row.text(&["addressType"]).into(),
            few(&slice_ports(row), 3, "<unset>").into(),
            few(&slice_addresses(row), 3, "<unset>").into(),
            row.age(),
        ],
        "Ingress" => ingress(row),
        "IngressClass" => vec![
            row.text(&["spec", "controller"]).into(),
            parameters(row),
            row.age(),
        ],
        "NetworkPolicy" => vec![row.selector(&["spec", "podSelector"]), row.age()],
        "ServiceCIDR" => {
            let all = row
                .list(&["spec", "cidrs"])
                .iter()
                .filter_map(Value::as_str);
            vec![all.collect::<Vec<_>>().join(",").into(), row.age()]
        }
        "IPAddress" => vec![parent(row), row.age()],
        _ => vec![row.age()],
    }
}

fn service(row: &Row<'_>) -> Vec<Value> {
    let addresses = row.list(&["spec", "clusterIPs"]);
    let own = addresses
        .first()
        .and_then(Value::as_str)
        .unwrap_or_default();
    let ports: Vec<String> = row
        .list(&["spec", "ports"])
        .iter()
        .map(|port| {
            let number = |field| port.get(field).and_then(Value::as_i64).unwrap_or_default();
            let protocol = path::text(port, &["protocol"]);
            match number("nodePort") {
                node if node > 0 => format!("{}:{node}/{protocol}", number("port")),
                _ => format!("{}/{protocol}", number("port")),
            }
        })
        .collect();
    vec![
        row.text(&["spec", "type"]).into(),
        named(own),
        external(row).into(),
        named(&ports.join(",")),
        row.age(),
        row.labels(&["spec", "selector"]),
    ]
}

/// The addresses that a load balancer gave.
fn given(row: &Row<'_>) -> Vec<String> {
    let all = row.list(&["status", "loadBalancer", "ingress"]);
    let each = all.iter().filter_map(|at| {
        let address = ["ip", "hostname"].map(|field| path::text(at, &[field]));
        address.into_iter().find(|text| !text.is_empty())
    });
    let sorted: BTreeSet<&str> = each.collect();
    sorted.into_iter().map(str::to_owned).collect()
}

fn external(row: &Row<'_>) -> String {
    let own: Vec<String> = row
        .list(&["spec", "externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    match row.text(&["spec", "type"]) {
        "ClusterIP" | "NodePort" if own.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => {
            let mut all = given(row);
            all.extend(own);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => row.text(&["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn endpoints(row: &Row<'_>) -> String {
    const MOST: usize = 3;
    let subsets = row.list(&["subsets"]);
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let list = |field| subset.get(field).and_then(Value::as_array);
        let addresses = || {
            let each = list("addresses").into_iter().flatten();
            each.map(|a| path::text(a, &["ip"]))
        };
        let ports: Vec<i64> = list("ports")
            .into_iter()
            .flatten()
            .map(|p| p.get("port").and_then(Value::as_i64).unwrap_or_default())
            .collect();
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            all.extend(addresses().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                }
            }));
        }
    }
    few(&all, MOST, "")
}

fn slice_ports(row: &Row<'_>) -> Vec<String> {
    let name = |port: &Value| match port.get("port").and_then(Value::as_i64) {
        Some(number) => number.to_string(),
        None => match port.get("name").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => "*".to_owned(),
        },
    };
    row.list(&["ports"]).iter().map(name).collect()
}

fn slice_addresses(row: &Row<'_>) -> Vec<String> {
    row.list(&["endpoints"])
        .iter()
        .filter_map(|endpoint| endpoint.get("addresses").and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn ingress(row: &Row<'_>) -> Vec<Value> {
    let rules = row.list(&["spec", "rules"]);
    let mut hosts = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= hosts.len() == 3;
        let host = path::text(rule, &["host"]);
        if !more && !host.is_empty() {
            hosts.push(host);
        }
    }
    let hosts = if hosts.is_empty() {
        "*".to_owned()
    } else if more {
        format!("{} + {} more...", hosts.join(","), rules.len() - 3)
    } else {
        hosts.join(",")
    };
    let ports = if row.list(&["spec", "tls"]).is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        row.text_or(&["spec", "ingressClassName"], "<none>"),
        hosts.into(),
        given(row).join(",").into(),
        ports.into(),
        row.age(),
    ]
}

fn parameters(row: &Row<'_>) -> Value {
    let Some(of) = row.get(&["spec", "parameters"]) else {
        return "<none>".into();
    };
    let text = |field| path::text(of, &[field]);
    let group = match text("apiGroup") {
        "" => String::new(),
        group => format!(".{group}"),
    };
    format!("{}{group}/{}", text("kind"), text("name")).into()
}

fn parent(row: &Row<'_>) -> Value {
    let Some(of) = row.get(&["spec", "parentRef"]) else {
        return "<none>".into();
    };
    let text = |field| path::text(of, &[field]);
    let mut out = text("resource").to_lowercase();
    for (before, part) in [
        (".", text("group").to_lowercase()),
        ("/", text("namespace").to_owned()),
    ] {
        if !part.is_empty() {
            out.push_str(before);
            out.push_str(&part);
        }
    }
    format!("{out}/{}", text("name")).into()
}
