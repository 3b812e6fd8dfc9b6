//! Owns the rules of Ingress, IngressClass and NetworkPolicy.

use serde_json::Value;

use super::checks::{At, Checks, int, list, of, text};
use super::names;

const CLASS: &str = "kubernetes.io/ingress.class";

/// An Ingress.
pub(super) fn ingress(object: &Value, old: Option<&Value>, checks: &mut Checks) {
    let annotation = of(of(of(object, "metadata"), "annotations"), CLASS);
    let spec = of(object, "spec");
    let class = of(spec, "ingressClassName");
    if old.is_none()
        && let (Some(annotation), Some(class)) = (annotation.as_str(), class.as_str())
        && annotation != class
    {
        let at = At::root("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        checks.wrong(at.field(CLASS), annotation, detail);
    }
    let at = At::root("spec");
    let backend = of(spec, "defaultBackend");
    let rules = list(spec, "rules");
    if rules.is_empty() && backend.is_null() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        checks.invalid(at, &Value::Null, detail);
    }
    if !backend.is_null() {
        backend_rules(backend, at.field("defaultBackend"), checks);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = at.field("rules");
        ingress_rule(rule, at.index(i), checks);
    }
    for (i, tls) in list(spec, "tls").iter().enumerate() {
        let at = at.field("tls");
        let at = at.index(i);
        for (i, host) in list(tls, "hosts").iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            let faults = if host.contains('*') {
                names::wildcard(host)
            } else {
                names::subdomain(host)
            };
            checks.faults(at.field("hosts").index(i), host, faults);
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            checks.faults(at.field("secretName"), secret, names::subdomain(secret));
        }
    }
    if let Some(class) = class.as_str() {
        checks.faults(at.field("ingressClassName"), class, names::subdomain(class));
    }
}

fn ingress_rule(rule: &Value, at: At<'_>, checks: &mut Checks) {
    let host = text(rule, "host");
    if host.parse::<std::net::IpAddr>().is_ok() {
        checks.wrong(
            at.field("host"),
            host,
            "must be a DNS name, not an IP address",
        );
    } else if !host.is_empty() {
        let faults = if host.contains('*') {
            names::wildcard(host)
        } else {
            names::subdomain(host)
        };
        checks.faults(at.field("host"), host, faults);
    }
    let http = of(rule, "http");
    if http.is_null() {
        return;
    }
    let at = at.field("http");
    let at = at.field("paths");
    let paths = list(http, "paths");
    if paths.is_empty() {
        checks.required(at, "");
    }
    for (i, path) in paths.iter().enumerate() {
        ingress_path(path, at.index(i), checks);
    }
}

fn ingress_path(rule: &Value, at: At<'_>, checks: &mut Checks) {
    let path = text(rule, "path");
    match text(rule, "pathType") {
        "" => checks.required(at.field("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !path.starts_with('/') {
                checks.wrong(at.field("path"), path, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if path.contains(bad) {
                    checks.wrong(at.field("path"), path, &format!("must not contain '{bad}'"));
                }
            }
            for bad in ["/..", "/."] {
                if path.ends_with(bad) {
                    checks.wrong(at.field("path"), path, &format!("cannot end with '{bad}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.starts_with('/') {
                checks.wrong(at.field("path"), path, "must be an absolute path");
            }
        }
        other => {
            let known = ["Exact", "ImplementationSpecific", "Prefix"];
            checks.unsupported(at.field("pathType"), &other.into(), &known);
        }
    }
    backend_rules(of(rule, "backend"), at.field("backend"), checks);
}

fn backend_rules(backend: &Value, at: At<'_>, checks: &mut Checks) {
    let (service, resource) = (of(backend, "service"), of(backend, "resource"));
    match (service.is_null(), resource.is_null()) {
        (false, false) => {
            checks.wrong(at, "", "cannot set both resource and service backends");
            return;
        }
        (true, true) => {
            checks.wrong(at, "", "resource or service backend is required");
            return;
        }
        (true, false) => {
            let at = at.field("resource");
            for field in ["kind", "name"] {
                if text(resource, field).is_empty() {
                    checks.required(at.field(field), "");
                }
            }
            return;
        }
        (false, true) => {}
    }
    {
        let at = at.field("service");
        match text(service, "name") {
            "" => checks.required(at.field("name"), ""),
            name => checks.faults(at.field("name"), name, names::label_1035(name)),
        }
    }
    let port = of(service, "port");
    let (name, number) = (text(port, "name"), int(port, "number").unwrap_or_default());
    if !name.is_empty() && number != 0 {
        checks.wrong(at, "", "cannot set both port name & port number");
    } else if !name.is_empty() {
        let at = at.field("service");
        let at = at.field("port");
        checks.faults(at.field("name"), name, names::port_name(name));
    } else if number != 0 {
        let at = at.field("service");
        let at = at.field("port");
        checks.port(at.field("number"), number);
    } else {
        checks.required(at, "port name or number is required");
    }
}

/// What clients are warned of in an Ingress.
pub(super) fn ingress_warnings(object: &Value, out: &mut Vec<String>) {
    if !of(of(of(object, "metadata"), "annotations"), CLASS).is_null() {
        out.push(format!(
            "annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
        ));
    }
}

/// An IngressClass.
pub(super) fn ingress_class(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    match text(spec, "controller") {
        "" => checks.required(at.field("controller"), ""),
        name => {
            if name.len() > 250 {
                checks
                    .causes
                    .push(crate::refusal::Cause::too_long(at.field("controller"), 250));
            }
            for (value, fault) in names::domain_path(name) {
                checks.wrong(at.field("controller"), &value, &fault);
            }
        }
    }
    let parameters = of(spec, "parameters");
    if parameters.is_null() {
        return;
    }
    let at = at.field("parameters");
    if let Some(group) = of(parameters, "apiGroup").as_str() {
        checks.faults(at.field("apiGroup"), group, names::subdomain(group));
    }
    for field in ["kind", "name"] {
        match text(parameters, field) {
            "" => checks.required(at.field(field), ""),
            value => checks.faults(at.field(field), value, names::path_segment(value)),
        }
    }
    let namespace = of(parameters, "namespace");
    match text(parameters, "scope") {
        "" => checks.required(at.field("scope"), ""),
        "Cluster" if !namespace.is_null() => {
            checks.forbidden(
                at.field("namespace"),
                "`parameters.scope` is set to 'Cluster'",
            );
        }
        "Namespace" if namespace.is_null() => {
            checks.required(
                at.field("namespace"),
                "`parameters.scope` is set to 'Namespace'",
            );
        }
        "Namespace" => {
            let namespace = namespace.as_str().unwrap_or_default();
            checks.faults(at.field("namespace"), namespace, names::label(namespace));
        }
        scope => checks.one_of(at.field("scope"), scope, &["Cluster", "Namespace"]),
    }
}

/// A NetworkPolicy.
pub(super) fn policy(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    checks.selector(at.field("podSelector"), of(spec, "podSelector"));
    for (name, peers) in [("ingress", "from"), ("egress", "to")] {
        let at = at.field(name);
        for (i, rule) in list(spec, name).iter().enumerate() {
            let at = at.index(i);
            for (i, port) in list(rule, "ports").iter().enumerate() {
                let at = at.field("ports");
                policy_port(port, at.index(i), checks);
            }
            for (i, peer) in list(rule, peers).iter().enumerate() {
                let at = at.field(peers);
                policy_peer(peer, at.index(i), checks);
            }
        }
    }
    let types = list(spec, "policyTypes");
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        checks.invalid(at.field("policyTypes"), of(spec, "policyTypes"), detail);
        return;
    }
    for (i, kind) in types.iter().enumerate() {
        let kind = kind.as_str().unwrap_or_default();
        let at = at.field("policyTypes");
        checks.one_of(at.index(i), kind, &["Ingress", "Egress"]);
    }
}

fn policy_port(port: &Value, at: At<'_>, checks: &mut Checks) {
    if let Some(protocol) = of(port, "protocol").as_str() {
        checks.one_of(at.field("protocol"), protocol, &["TCP", "UDP", "SCTP"]);
    }
    let number = of(port, "port");
    let end = int(port, "endPort");
    match number {
        Value::Null => {
            if end.is_some() {
                checks.required(
                    at.field("port"),
                    "must be specified when `endPort` is specified",
                );
            }
        }
        Value::String(name) => {
            if end.is_some() {
                let detail = "may not be specified when `port` is non-numeric";
                checks.invalid(at.field("endPort"), &end.into(), detail);
            }
            checks.faults(at.field("port"), name, names::port_name(name));
        }
        number => {
            let number = number.as_i64().unwrap_or_default();
            checks.port(at.field("port"), number);
            if let Some(end) = end {
                if end < number {
                    let detail = "must be greater than or equal to `port`";
                    checks.invalid(at.field("endPort"), &number.into(), detail);
                }
                checks.port(at.field("endPort"), end);
            }
        }
    }
}

fn policy_peer(peer: &Value, at: At<'_>, checks: &mut Checks) {
    let (pods, spaces, block) = (
        of(peer, "podSelector"),
        of(peer, "namespaceSelector"),
        of(peer, "ipBlock"),
    );
    if !pods.is_null() {
        checks.selector(at.field("podSelector"), pods);
    }
    if !spaces.is_null() {
        checks.selector(at.field("namespaceSelector"), spaces);
    }
    if !block.is_null() {
        ip_block(block, at.field("ipBlock"), checks);
    }
    let selects = !pods.is_null() || !spaces.is_null();
    if !block.is_null() && selects {
        checks.forbidden(at, "may not specify both ipBlock and another peer");
    } else if block.is_null() && !selects {
        checks.required(at, "must specify a peer");
    }
}

fn ip_block(block: &Value, at: At<'_>, checks: &mut Checks) {
    let cidr = text(block, "cidr");
    if cidr.is_empty() {
        checks.required(at.field("cidr"), "");
        return;
    }
    let faults = names::cidr(cidr);
    if !faults.is_empty() {
        checks.faults(at.field("cidr"), cidr, faults);
        return;
    }
    let whole = names::parse_cidr(cidr);
    for (i, except) in list(block, "except").iter().enumerate() {
        let at = at.field("except");
        let except = except.as_str().unwrap_or_default();
        let part = names::parse_cidr(except);
        match (whole, part) {
            (_, None) => checks.faults(at.index(i), except, names::cidr(except)),
            (Some(whole), Some(part)) if !contains(whole, part) => {
                checks.wrong(at.index(i), except, "must be a strict subset of `cidr`");
            }
            _ => {}
        }
    }
}

type Range = (std::net::IpAddr, u32);

/// Whether a range is more than another and holds it.
fn contains((base, bits): Range, (part, part_bits): Range) -> bool {
    use std::net::IpAddr;
    let (a, b, width) = match (base, part) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(u32::from(a)), u128::from(u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b), 128),
        _ => return false,
    };
    let shift = width - bits.min(width);
    let cut = |n: u128| n.checked_shr(shift).unwrap_or_default();
    part_bits > bits && cut(a) == cut(b)
}
