//! Owns the rules of Service and of what lists its endpoints: Endpoints and EndpointSlice.

use serde_json::{Value, json};

use super::checks::{At, Checks, int, list, members, of, text};
use super::names;

/// Whether it has no address of its own by intent.
fn headless(spec: &Value) -> bool {
    list(spec, "clusterIPs").len() == 1 && text(spec, "clusterIP") == "None"
        || list(spec, "clusterIPs")
            .first()
            .is_some_and(|ip| ip == "None")
}

/// A Service.
pub(super) fn service(object: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let spec = of(object, "spec");
    let kind = text(spec, "type");
    let ports = list(spec, "ports");
    if ports.is_empty() && !headless(spec) && kind != "ExternalName" {
        checks.required(at.field("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            checks.wrong(at.field("clusterIPs").index(0), "None", &detail);
        }
        "ExternalName" => external_name(spec, at, checks),
        _ => {}
    }
    port_rules(spec, at.field("ports"), checks);
    checks.labels(at.field("selector"), of(spec, "selector"));
    affinity(spec, at, checks);
    addresses(spec, checks);
    for (i, ip) in list(spec, "externalIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        let faults = names::ip(ip);
        let faults = if faults.is_empty() {
            names::special_ip(ip)
        } else {
            faults
        };
        checks.faults(at.field("externalIPs").index(i), ip, faults);
    }
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    checks.one_of(at.field("type"), kind, &known);
    if kind == "ClusterIP" {
        let at = at.field("ports");
        for (i, port) in ports.iter().enumerate() {
            if int(port, "nodePort").unwrap_or_default() != 0 {
                let detail = "may not be used when `type` is 'ClusterIP'";
                checks.forbidden(at.index(i).field("nodePort"), detail);
            }
        }
    }
    repeated_ports(ports, at.field("ports"), checks);
    source_ranges(spec, kind, at, checks);
    let allocates = of(spec, "allocateLoadBalancerNodePorts");
    if !allocates.is_null() && kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        checks.forbidden(at.field("allocateLoadBalancerNodePorts"), detail);
    }
    if let Some(class) = of(spec, "loadBalancerClass").as_str() {
        if kind == "LoadBalancer" {
            checks.faults(
                at.field("loadBalancerClass"),
                class,
                names::qualified(class),
            );
        } else {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            checks.forbidden(at.field("loadBalancerClass"), detail);
        }
    }
    traffic(spec, kind, at, checks);
}

fn external_name(spec: &Value, at: At<'_>, checks: &mut Checks) {
    for field in ["clusterIPs", "ipFamilies"] {
        if !list(spec, field).is_empty() {
            checks.forbidden(at.field(field), "may not be set for ExternalName services");
        }
    }
    if !of(spec, "ipFamilyPolicy").is_null() {
        checks.forbidden(
            at.field("ipFamilyPolicy"),
            "may not be set for ExternalName services",
        );
    }
    let name = text(spec, "externalName");
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        checks.required(at.field("externalName"), "");
    } else {
        checks.faults(at.field("externalName"), name, names::subdomain(name));
    }
}

fn port_rules(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let ports = list(spec, "ports");
    let mut seen = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            checks.faults(at.field("name"), name, names::label(name));
            if seen.contains(&name) {
                checks.duplicate(at.field("name"), &name.into());
            }
            seen.push(name);
        } else if ports.len() > 1 {
            checks.required(at.field("name"), "");
        }
        checks.port(at.field("port"), int(port, "port").unwrap_or_default());
        match text(port, "protocol") {
            "" => checks.required(at.field("protocol"), ""),
            protocol => checks.one_of(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]),
        }
        checks.port_or_name(at.field("targetPort"), of(port, "targetPort"));
        if let Some(protocol) = of(port, "appProtocol").as_str() {
            checks.faults(
                at.field("appProtocol"),
                protocol,
                names::qualified(protocol),
            );
        }
    }
}

fn repeated_ports(ports: &[Value], at: At<'_>, checks: &mut Checks) {
    let key = |port: &Value, field| {
        (
            text(port, "protocol").to_owned(),
            int(port, field).unwrap_or_default(),
        )
    };
    for (i, port) in ports.iter().enumerate() {
        let own = key(port, "nodePort");
        let earlier = ports.get(..i).unwrap_or_default();
        if own.1 != 0 && earlier.iter().any(|p| key(p, "nodePort") == own) {
            checks.duplicate(at.index(i).field("nodePort"), &own.1.into());
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let own = key(port, "port");
        let earlier = ports.get(..i).unwrap_or_default();
        if earlier.iter().any(|p| key(p, "port") == own) {
            let shown = json!({"Name": "", "Protocol": own.0, "AppProtocol": null, "Port": own.1,
                "TargetPort": 0, "NodePort": 0});
            checks.duplicate(at.index(i), &shown);
        }
    }
}

fn affinity(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let config = of(spec, "sessionAffinityConfig");
    match text(spec, "sessionAffinity") {
        "" => checks.required(at.field("sessionAffinity"), ""),
        "ClientIP" => {
            let seconds = int(of(config, "clientIP"), "timeoutSeconds").unwrap_or_default();
            if seconds <= 0 || seconds > 86400 {
                let at = at.field("sessionAffinityConfig");
                let at = at.field("clientIP");
                let detail = "must be greater than 0 and less than 86400";
                checks.invalid(at.field("timeoutSeconds"), &seconds.into(), detail);
            }
        }
        "None" => {
            if !config.is_null() {
                let detail = "must not be set when session affinity is None";
                checks.forbidden(at.field("sessionAffinityConfig"), detail);
            }
        }
        other => checks.one_of(at.field("sessionAffinity"), other, &["ClientIP", "None"]),
    }
}

/// The rules of addresses and their families.
pub(crate) fn addresses(spec: &Value, checks: &mut Checks) {
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let at = At::root("spec");
    let (one, all) = (text(spec, "clusterIP"), list(spec, "clusterIPs"));
    let shown = of(spec, "clusterIPs");
    if one.is_empty() {
        if !all.is_empty() {
            let detail = "must be empty when `clusterIP` is not specified";
            checks.invalid(at.field("clusterIPs"), shown, detail);
        }
    } else if all.is_empty() {
        checks.required(at.field("clusterIPs"), "");
    } else if all.first().is_some_and(|first| first != one) {
        checks.invalid(
            at.field("clusterIPs"),
            shown,
            "first value must match `clusterIP`",
        );
    }
    let families = list(spec, "ipFamilies");
    for (i, family) in families.iter().enumerate() {
        let name = family.as_str().unwrap_or_default();
        checks.one_of(at.field("ipFamilies").index(i), name, &["IPv4", "IPv6"]);
        if families
            .get(..i)
            .is_some_and(|earlier| earlier.contains(family))
        {
            checks.duplicate(at.field("ipFamilies").index(i), family);
        }
    }
    let policy = text(spec, "ipFamilyPolicy");
    let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    checks.one_of_if(at.field("ipFamilyPolicy"), policy, &known);
    let before = checks.count();
    for (i, ip) in all.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if i == 0 && ip == "None" {
            if all.len() > 1 {
                let detail = "'None' must be the first and only value";
                checks.invalid(at.field("clusterIPs"), shown, detail);
            }
            continue;
        }
        checks.faults(at.field("clusterIPs").index(i), ip, names::ip(ip));
    }
    if all.len() > 2 {
        checks.invalid(
            at.field("clusterIPs"),
            shown,
            "may only hold up to 2 values",
        );
    }
    if checks.count() > before || headless(spec) {
        return;
    }
    for (i, (ip, family)) in all.iter().zip(families).enumerate() {
        let six = ip.as_str().is_some_and(|ip| ip.contains(':'));
        let wanted = match family.as_str() {
            Some("IPv4") if six => "IPv4",
            Some("IPv6") if !six => "IPv6",
            _ => continue,
        };
        let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{i}]`");
        checks.invalid(at.field("clusterIPs").index(i), ip, &detail);
    }
}

fn source_ranges(spec: &Value, kind: &str, at: At<'_>, checks: &mut Checks) {
    let ranges = list(spec, "loadBalancerSourceRanges");
    let at = at.field("LoadBalancerSourceRanges");
    if !ranges.is_empty() && kind != "LoadBalancer" {
        checks.forbidden(at, "may only be used when `type` is 'LoadBalancer'");
    }
    for (i, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or_default().trim();
        checks.faults(at.index(i), range, names::cidr(range));
    }
}

/// Whether it can be reached from outside.
fn exposed(spec: &Value) -> bool {
    let kind = text(spec, "type");
    matches!(kind, "LoadBalancer" | "NodePort")
        || kind == "ClusterIP" && !list(spec, "externalIPs").is_empty()
}

/// Whether a balancer has to ask for its health.
pub(crate) fn needs_health(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn traffic(spec: &Value, kind: &str, at: At<'_>, checks: &mut Checks) {
    let policy = text(spec, "externalTrafficPolicy");
    if exposed(spec) {
        match policy {
            "" => checks.required(at.field("externalTrafficPolicy"), ""),
            policy => checks.one_of(
                at.field("externalTrafficPolicy"),
                policy,
                &["Cluster", "Local"],
            ),
        }
    } else if !policy.is_empty() {
        let detail = "may only be set for externally-accessible services";
        checks.wrong(at.field("externalTrafficPolicy"), policy, detail);
    }
    let health = int(spec, "healthCheckNodePort").unwrap_or_default();
    if health != 0 && !needs_health(spec) {
        let detail =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        checks.invalid(at.field("healthCheckNodePort"), &health.into(), detail);
    }
    let inner = of(spec, "internalTrafficPolicy");
    if inner.is_null() && matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
        checks.required(at.field("internalTrafficPolicy"), "");
    }
    let inner = inner.as_str().unwrap_or_default();
    checks.one_of_if(
        at.field("internalTrafficPolicy"),
        inner,
        &["Cluster", "Local"],
    );
    let spread = text(spec, "trafficDistribution");
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    checks.one_of_if(at.field("trafficDistribution"), spread, &known);
}

/// What may change of a Service.
pub(super) fn service_change(old: &Value, new: &Value, checks: &mut Checks) {
    let (a, b) = (of(old, "spec"), of(new, "spec"));
    if text(a, "type") == "ExternalName" || text(b, "type") == "ExternalName" {
        return;
    }
    if headless(a) && headless(b) {
        return;
    }
    let at = At::root("spec");
    let at = at.field("clusterIPs");
    let shown = of(b, "clusterIPs");
    let (before, after) = (list(a, "clusterIPs"), list(b, "clusterIPs"));
    if after.is_empty() && !before.is_empty() {
        checks.invalid(at.index(0), shown, "primary clusterIP can not be unset");
    }
    for (i, (x, y)) in before.iter().zip(after).enumerate() {
        if x != y {
            checks.invalid(at.index(i), shown, "may not change once set");
        }
    }
    if needs_health(a)
        && needs_health(b)
        && of(a, "healthCheckNodePort") != of(b, "healthCheckNodePort")
    {
        let at = At::root("spec");
        checks.forbidden(at.field("healthCheckNodePort"), "field is immutable");
    }
}

/// What clients are warned of in a Service.
pub(super) fn service_warnings(service: &Value, out: &mut Vec<String>) {
    let spec = of(service, "spec");
    let hints = "service.kubernetes.io/topology-aware-hints";
    if !of(of(of(service, "metadata"), "annotations"), hints).is_null() {
        out.push(format!(
            "annotation {hints} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    if headless(spec) {
        if !text(spec, "loadBalancerIP").is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if !list(spec, "externalIPs").is_empty() {
            out.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if text(spec, "sessionAffinity") != "None" {
            out.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    let external = text(spec, "type") == "ExternalName";
    if external && !list(spec, "externalIPs").is_empty() {
        out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !external && !text(spec, "externalName").is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
}

/// An Endpoints.
pub(super) fn endpoints(object: &Value, checks: &mut Checks) {
    // Pods of a sandbox have loopback addresses, which only its own controller may tell of.
    let labels = of(of(object, "metadata"), "labels");
    let controlled = text(labels, "endpoints.kubernetes.io/managed-by") == "endpoint-controller";
    let at = At::root("subsets");
    for (i, subset) in list(object, "subsets").iter().enumerate() {
        let at = at.index(i);
        let ports = list(subset, "ports");
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            checks.required(at, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            let at = at.field(field);
            for (i, address) in list(subset, field).iter().enumerate() {
                let at = at.index(i);
                let ip = text(address, "ip");
                checks.faults(at.field("ip"), ip, names::ip(ip));
                let host = text(address, "hostname");
                if !host.is_empty() {
                    checks.faults(at.field("hostname"), host, names::label(host));
                }
                if let Some(node) = of(address, "nodeName").as_str() {
                    checks.faults(at.field("nodeName"), node, names::subdomain(node));
                }
                if !controlled {
                    checks.faults(at.field("ip"), ip, names::special_ip(ip));
                }
            }
        }
        let at = at.field("ports");
        for (i, port) in ports.iter().enumerate() {
            let at = at.index(i);
            match text(port, "name") {
                "" if ports.len() > 1 => checks.required(at.field("name"), ""),
                "" => {}
                name => checks.faults(at.field("name"), name, names::label(name)),
            }
            checks.port(at.field("port"), int(port, "port").unwrap_or_default());
            checks.one_of(
                at.field("protocol"),
                text(port, "protocol"),
                &["SCTP", "TCP", "UDP"],
            );
            if let Some(protocol) = of(port, "appProtocol").as_str() {
                checks.faults(
                    at.field("appProtocol"),
                    protocol,
                    names::qualified(protocol),
                );
            }
        }
    }
}

/// An EndpointSlice.
pub(super) fn slice(object: &Value, old: Option<&Value>, checks: &mut Checks) {
    let kind = text(object, "addressType");
    match kind {
        "" => checks.required(At::root("addressType"), ""),
        kind => checks.one_of(At::root("addressType"), kind, &["FQDN", "IPv4", "IPv6"]),
    }
    let at = At::root("endpoints");
    // Pods of a sandbox have loopback addresses, which only its own controller may tell of.
    let labels = of(of(object, "metadata"), "labels");
    let controlled =
        text(labels, "endpointslice.kubernetes.io/managed-by") == "endpointslice-controller.k8s.io";
    // What was there before was judged then.
    let kept = |endpoint: &Value| old.is_some_and(|old| list(old, "endpoints").contains(endpoint));
    for (i, endpoint) in list(object, "endpoints")
        .iter()
        .enumerate()
        .filter(|(_, e)| !kept(e))
    {
        slice_endpoint(endpoint, kind, controlled, at.index(i), checks);
    }
    let at = At::root("ports");
    let mut seen = Vec::new();
    for (i, port) in list(object, "ports").iter().enumerate() {
        let at = at.index(i);
        let name = text(port, "name");
        if seen.contains(&name) {
            checks.duplicate(at.field("name"), &name.into());
        }
        seen.push(name);
        if !name.is_empty() {
            checks.faults(at.field("name"), name, names::label(name));
        }
        match text(port, "protocol") {
            "" => checks.required(at.field("protocol"), ""),
            protocol => checks.one_of(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]),
        }
        if let Some(protocol) = of(port, "appProtocol").as_str() {
            checks.faults(
                at.field("appProtocol"),
                protocol,
                names::qualified(protocol),
            );
        }
    }
}

fn slice_endpoint(endpoint: &Value, kind: &str, controlled: bool, at: At<'_>, checks: &mut Checks) {
    let addresses = list(endpoint, "addresses");
    if addresses.is_empty() {
        checks.required(at.field("addresses"), "must contain at least 1 address");
    } else if addresses.len() > 100 {
        checks.causes.push(crate::refusal::Cause::too_many(
            at.field("addresses"),
            addresses.len(),
            100,
        ));
    }
    for (i, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        let item = at.field("addresses");
        match kind {
            "FQDN" => checks.faults(item.index(i), address, names::subdomain(address)),
            "IPv4" | "IPv6" => {
                let faults = names::ip(address);
                if !faults.is_empty() {
                    checks.faults(item.index(i), address, faults);
                    continue;
                }
                if address.contains(':') != (kind == "IPv6") {
                    checks.wrong(item, address, &format!("must be an {kind} address"));
                }
                if !controlled {
                    checks.faults(item.index(i), address, names::special_ip(address));
                }
            }
            _ => {}
        }
    }
    if let Some(host) = of(endpoint, "hostname").as_str() {
        checks.faults(at.field("hostname"), host, names::label(host));
    }
    if let Some(node) = of(endpoint, "nodeName").as_str() {
        checks.faults(at.field("nodeName"), node, names::subdomain(node));
    }
    for (key, _) in members(of(endpoint, "deprecatedTopology")) {
        checks.faults(at.field("deprecatedTopology"), key, names::qualified(key));
    }
}
