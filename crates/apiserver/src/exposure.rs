//! Owns what a Service holds: its cluster address and node ports. It refuses endpoints.

use serde_json::{Value, json};
use weir_object::{Key, path};

use crate::refusal::{Cause, Refusal};
use crate::state::State;

/// Gives a Service its address and node ports.
pub(crate) fn give_address(
    state: &mut State,
    at: &Key,
    service: &mut Value,
) -> Result<(), Refusal> {
    let kind = path::text(service, &["spec", "type"]).to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    let asked = path::text(service, &["spec", "clusterIP"]).to_owned();
    let address = if asked == "None" {
        "None".to_owned()
    } else {
        let wanted = (!asked.is_empty()).then_some(asked.as_str());
        state
            .addresses
            .allocate(at, wanted)
            .ok_or_else(|| Refusal::Invalid {
                group: String::new(),
                kind: "Service".to_owned(),
                name: at.name.clone(),
                causes: vec![Cause::invalid(
                    "spec.clusterIPs",
                    &json!([asked]),
                    "failed to allocate IP: the provided IP is not free, or the range is full",
                )],
            })?
    };
    path::set(service, &["spec", "clusterIP"], address.clone().into());
    path::set(service, &["spec", "clusterIPs"], json!([address]));
    for (field, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        if path::get(service, &["spec", field]).is_none() {
            path::set(service, &["spec", field], value);
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        let ports = path::get_mut(service, &["spec", "ports"]).and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if port.get("nodePort").is_none() {
                let number = 30_000 + state.random.next() % 2_768;
                path::set(port, &["nodePort"], number.into());
            }
        }
    }
    Ok(())
}

/// An update that leaves the address out keeps it.
pub(crate) fn keep_address(old: &Value, new: &mut Value) {
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if path::get(new, &["spec", field]).is_none()
            && let Some(value) = path::get(old, &["spec", field])
            && path::text(new, &["spec", "type"]) != "ExternalName"
        {
            path::set(new, &["spec", field], value.clone());
        }
    }
    let before = path::get(old, &["spec", "ports"])
        .and_then(Value::as_array)
        .cloned();
    let node_port = |port: &Value| {
        before
            .as_ref()?
            .iter()
            .find(|b| b.get("port") == port.get("port"))?
            .get("nodePort")
            .cloned()
    };
    if !matches!(
        path::text(new, &["spec", "type"]),
        "NodePort" | "LoadBalancer"
    ) {
        return;
    }
    let ports = path::get_mut(new, &["spec", "ports"]).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if port.get("nodePort").is_none()
            && let Some(number) = node_port(port)
        {
            path::set(port, &["nodePort"], number);
        }
    }
}
