//! Owns what a Service holds: its cluster address, families and node ports, as the API gives them
//! before it judges the rest. It refuses endpoints.

use serde_json::{Value, json};
use weir_object::{Key, path};

use crate::builtin::{Checks, addresses, needs_health};
use crate::refusal::{Cause, Refusal};
use crate::state::State;

/// Node ports are taken from here.
const FIRST_NODE_PORT: u64 = 30_000;
const NODE_PORTS: u64 = 2_768;

const AGAIN: &str = "/again";

/// For whom a Service is given what it holds. One that is there already is not its own double:
/// what it has, the other cannot get.
pub(crate) fn holder(at: &Key, there: bool) -> Key {
    let again = if there { AGAIN } else { "" };
    Key::new(&at.namespace, format!("{}{again}", at.name))
}

fn refused(at: &Key, causes: Vec<Cause>) -> Refusal {
    Refusal::Invalid {
        group: String::new(),
        kind: "Service".to_owned(),
        // What is added to a name here, no name can have.
        name: at.name.trim_end_matches(AGAIN).to_owned(),
        causes,
    }
}

fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    path::text(service, &["spec", field])
}

fn texts(service: &Value, field: &str) -> Vec<String> {
    let list = path::get(service, &["spec", field]).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn addressed(service: &Value) -> bool {
    matches!(
        text(service, "type"),
        "ClusterIP" | "NodePort" | "LoadBalancer"
    )
}

/// Whether its ports are opened on nodes.
fn opens_ports(service: &Value) -> bool {
    match text(service, "type") {
        "NodePort" => true,
        "LoadBalancer" => {
            path::get(service, &["spec", "allocateLoadBalancerNodePorts"])
                != Some(&Value::Bool(false))
        }
        _ => false,
    }
}

/// Gives a Service its address, families and node ports. What it holds already stays.
pub(crate) fn give(
    state: &mut State,
    at: &Key,
    old: Option<&Value>,
    service: &mut Value,
    dry_run: bool,
) -> Result<(), Refusal> {
    match old {
        None => {
            let one = text(service, "clusterIP").to_owned();
            if !one.is_empty() && texts(service, "clusterIPs").is_empty() {
                path::set(service, &["spec", "clusterIPs"], json!([one]));
            }
        }
        Some(old) => keep(old, service),
    }
    if addressed(service) {
        families(at, old, service)?;
        address(state, at, service, dry_run)?;
    }
    if let Err(refusal) = node_ports(state, at, service, dry_run) {
        take_back(state, at, old, service);
        return Err(refusal);
    }
    Ok(())
}

/// Frees what a Service was given that is not to be kept after all.
pub(crate) fn take_back(state: &State, at: &Key, old: Option<&Value>, service: &Value) {
    let given = text(service, "clusterIP");
    if old.is_none_or(|old| text(old, "clusterIP") != given) {
        state.addresses.release(at, given);
    }
}

/// Which families it has; the cluster has one.
fn families(at: &Key, old: Option<&Value>, service: &mut Value) -> Result<(), Refusal> {
    let headless = text(service, "clusterIP") == "None";
    let selects = path::get(service, &["spec", "selector"])
        .and_then(Value::as_object)
        .is_some_and(|selector| !selector.is_empty());
    if text(service, "ipFamilyPolicy").is_empty() {
        let before = old
            .map(|old| text(old, "ipFamilyPolicy"))
            .unwrap_or_default();
        let policy = match before {
            "" if headless && !selects => "RequireDualStack",
            "" => "SingleStack",
            before => before,
        };
        path::set(service, &["spec", "ipFamilyPolicy"], policy.into());
    }
    let mut checks = Checks::default();
    addresses(
        path::get(service, &["spec"]).unwrap_or(&Value::Null),
        &mut checks,
    );
    if !checks.causes.is_empty() {
        return Err(refused(at, checks.causes));
    }
    let policy = text(service, "ipFamilyPolicy").to_owned();
    let mut families = texts(service, "ipFamilies");
    if headless && !selects {
        if families.is_empty() {
            families.push("IPv4".to_owned());
        }
        if families.len() < 2 && policy != "SingleStack" {
            let other = if families.first().is_some_and(|f| f == "IPv4") {
                "IPv6"
            } else {
                "IPv4"
            };
            families.push(other.to_owned());
        }
        path::set(service, &["spec", "ipFamilies"], json!(families));
        return Ok(());
    }
    let mut causes = Vec::new();
    if policy == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        causes.push(Cause::invalid(
            "spec.ipFamilyPolicy",
            &policy.into(),
            detail,
        ));
    }
    for (i, family) in families.iter().enumerate().filter(|(_, f)| *f != "IPv4") {
        let detail = "not configured on this cluster";
        let field = format!("spec.ipFamilies[{i}]");
        causes.push(Cause::invalid(field, &family.as_str().into(), detail));
    }
    if !causes.is_empty() {
        return Err(refused(at, causes));
    }
    if families.is_empty() {
        path::set(service, &["spec", "ipFamilies"], json!(["IPv4"]));
    }
    Ok(())
}

fn address(state: &State, at: &Key, service: &mut Value, dry_run: bool) -> Result<(), Refusal> {
    let asked = text(service, "clusterIP").to_owned();
    if asked == "None" {
        return Ok(());
    }
    let wanted = (!asked.is_empty()).then_some(asked.as_str());
    let Some(given) = state.addresses.allocate(at, wanted) else {
        let range = state.addresses.range();
        let why = match wanted {
            // A trial asks the range itself, a write those who have ranges.
            Some(ip) if !range.is_empty() && !in_range(ip, &range) && dry_run => format!(
                "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The \
                 range of valid IPs is {range}"
            ),
            Some(ip) if !range.is_empty() && !in_range(ip, &range) => format!(
                "failed to allocate IP {ip}: the provided network does not match the current range"
            ),
            Some(ip) => format!("failed to allocate IP {ip}: provided IP is already allocated"),
            None => "failed to allocate a serviceIP: range is full".to_owned(),
        };
        let shown = path::get(service, &["spec", "clusterIPs"])
            .cloned()
            .unwrap_or_default();
        return Err(refused(
            at,
            vec![Cause::invalid("spec.clusterIPs", &shown, &why)],
        ));
    };
    path::set(service, &["spec", "clusterIP"], given.clone().into());
    path::set(service, &["spec", "clusterIPs"], json!([given]));
    Ok(())
}

/// Whether an address lies in a range such as `10.96.0.0/16`.
fn in_range(ip: &str, range: &str) -> bool {
    let Some((base, bits)) = range.split_once('/') else {
        return false;
    };
    let parsed = (
        ip.parse::<std::net::Ipv4Addr>(),
        base.parse::<std::net::Ipv4Addr>(),
        bits.parse::<u32>(),
    );
    let (Ok(ip), Ok(base), Ok(bits)) = parsed else {
        return false;
    };
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub(bits))
        .unwrap_or_default();
    u32::from(ip) & mask == u32::from(base) & mask
}

/// A dry run looks at the Service alone.
fn node_ports(
    state: &mut State,
    at: &Key,
    service: &mut Value,
    dry_run: bool,
) -> Result<(), Refusal> {
    let health = needs_health(path::get(service, &["spec"]).unwrap_or(&Value::Null))
        && path::get(service, &["spec", "healthCheckNodePort"]).is_none_or(|p| p == 0);
    if !opens_ports(service) && !health {
        return Ok(());
    }
    let mut taken = if dry_run {
        Vec::new()
    } else {
        taken(state, at)
    };
    let mut causes = Vec::new();
    let opens = opens_ports(service);
    let mut own: Vec<(String, u64)> = Vec::new();
    let mut ports = path::get(service, &["spec", "ports"])
        .cloned()
        .unwrap_or_default();
    for (i, port) in ports.as_array_mut().into_iter().flatten().enumerate() {
        let protocol = path::text(port, &["protocol"]).to_owned();
        let asked = port
            .get("nodePort")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        if asked != 0 {
            let field = format!("spec.ports[{i}].nodePort");
            let known = dry_run || (FIRST_NODE_PORT..FIRST_NODE_PORT + NODE_PORTS).contains(&asked);
            let detail = if !known {
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
            } else if taken.contains(&asked)
                && !own.iter().any(|(p, n)| *n == asked && *p != protocol)
            {
                "provided port is already allocated"
            } else {
                taken.push(asked);
                own.push((protocol, asked));
                continue;
            };
            causes.push(Cause::invalid(field, &asked.into(), detail));
            continue;
        }
        if !opens {
            continue;
        }
        let number = free(state, &taken);
        taken.push(number);
        own.push((protocol, number));
        path::set(port, &["nodePort"], number.into());
    }
    if !causes.is_empty() {
        causes.truncate(1);
        return Err(refused(at, causes));
    }
    if path::get(service, &["spec", "ports"]).is_some() {
        path::set(service, &["spec", "ports"], ports);
    }
    if health {
        let number = free(state, &taken);
        path::set(service, &["spec", "healthCheckNodePort"], number.into());
    }
    Ok(())
}

/// A node port that nobody has.
fn free(state: &mut State, taken: &[u64]) -> u64 {
    let start = state.random.next() % NODE_PORTS;
    let all = (0..NODE_PORTS).map(|step| FIRST_NODE_PORT + (start + step) % NODE_PORTS);
    let mut all = all.filter(|number| !taken.contains(number));
    all.next().unwrap_or(FIRST_NODE_PORT)
}

/// The node ports of all other Services.
fn taken(state: &State, at: &Key) -> Vec<u64> {
    let Some(services) = state.registry.get("", "v1", "services") else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (key, service) in state.range(services.storage, None) {
        if key == *at {
            continue;
        }
        let ports = path::get(&service, &["spec", "ports"]).and_then(Value::as_array);
        for port in ports.into_iter().flatten() {
            out.extend(port.get("nodePort").and_then(Value::as_u64));
        }
        out.extend(path::get(&service, &["spec", "healthCheckNodePort"]).and_then(Value::as_u64));
    }
    out
}

/// An update that leaves out what was given keeps it, and drops it where it means nothing any more.
fn keep(old: &Value, new: &mut Value) {
    let same = |new: &Value, field: &str| {
        path::get(old, &["spec", field]) == path::get(new, &["spec", field])
    };
    if addressed(old) && addressed(new) {
        let changed = text(new, "clusterIP").to_owned();
        if changed.is_empty() {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = path::get(old, &["spec", field]) {
                    path::set(new, &["spec", field], value.clone());
                }
            }
        } else if (changed != text(old, "clusterIP") && same(new, "clusterIPs"))
            || texts(new, "clusterIPs").is_empty()
        {
            path::set(new, &["spec", "clusterIPs"], json!([changed]));
        }
    }
    if addressed(old) && !addressed(new) {
        if same(new, "clusterIPs") {
            path::remove(new, &["spec", "clusterIP"]);
            path::remove(new, &["spec", "clusterIPs"]);
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if same(new, field) {
                path::remove(new, &["spec", field]);
            }
        }
    }
    keep_ports(old, new);
    let exposed = |service: &Value| {
        let outside = !texts(service, "externalIPs").is_empty();
        match text(service, "type") {
            "NodePort" | "LoadBalancer" => true,
            "ClusterIP" => outside,
            _ => false,
        }
    };
    if exposed(old) && !exposed(new) && same(new, "externalTrafficPolicy") {
        path::remove(new, &["spec", "externalTrafficPolicy"]);
    }
    if text(old, "type") == "LoadBalancer" && text(new, "type") != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(new, field) {
                path::remove(new, &["spec", field]);
            }
        }
        path::set(new, &["status", "loadBalancer"], json!({}));
    }
}

fn keep_ports(old: &Value, new: &mut Value) {
    let before = path::get(old, &["spec", "ports"])
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let number = |port: &Value| {
        port.get("nodePort")
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let (opened, opens) = (opens_ports(old), opens_ports(new));
    let Some(ports) = path::get_mut(new, &["spec", "ports"]).and_then(Value::as_array_mut) else {
        return;
    };
    let used: Vec<u64> = ports.iter().map(number).filter(|n| *n != 0).collect();
    if opened && !opens {
        let unchanged = ports.iter().map(number).eq(before.iter().map(number));
        for port in ports.iter_mut().filter(|_| unchanged) {
            path::remove(port, &["nodePort"]);
        }
        return;
    }
    if !opened || !opens {
        return;
    }
    for port in ports.iter_mut().filter(|port| number(port) == 0) {
        let same_name = |b: &&Value| path::text(b, &["name"]) == path::text(port, &["name"]);
        if let Some(kept) = before
            .iter()
            .find(same_name)
            .map(number)
            .filter(|n| *n != 0 && !used.contains(n))
        {
            path::set(port, &["nodePort"], kept.into());
        }
    }
}
