//! Owns the definitions to install, embedded as JSON so that nothing is parsed or derived from the
//! types at run time. `weir-gen-crds` writes them together with `crds/`.

use serde_json::Value;

/// The definitions of this project's kinds, as in `crds/`.
pub fn crds() -> Vec<Value> {
    // The file is generated and a test reads it, so there is nothing to report.
    serde_json::from_str(include_str!("../data/crds.json")).unwrap_or_default()
}

/// The definitions of Gateway, GatewayClass, HTTPRoute, GRPCRoute and ReferenceGrant in the form that
/// a cluster without the Gateway API needs: true in structure, without every rule of the original.
pub fn gateway_crds() -> Vec<Value> {
    serde_json::from_str(include_str!("../data/gateway.json")).unwrap_or_default()
}

#[cfg(test)]
#[path = "crds_tests.rs"]
mod tests;
