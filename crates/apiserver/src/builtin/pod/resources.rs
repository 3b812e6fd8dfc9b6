//! Owns the rules of requests and limits.

use serde_json::Value;
use weir_schema::Quantity;

use crate::builtin::checks::{At, Checks, list, members, of, text};
use crate::builtin::names;
use crate::refusal::Cause;

/// Whether a resource is one of Kubernetes' own.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether requests may be less than limits.
fn overcommits(name: &str) -> bool {
    is_native(name) && !is_huge(name)
}

/// A resource's name; `standard` are the short ones that are known here, and `what` tells of what.
pub(crate) fn resource_name(
    name: &str,
    at: At<'_>,
    standard: &[&str],
    what: &str,
    checks: &mut Checks,
) {
    let faults = names::qualified(name);
    let bad = !faults.is_empty();
    checks.faults(at, name, faults);
    if bad || name.contains('/') || is_huge(name) {
        return;
    }
    let all = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "services.nodeports",
        "services.loadbalancers",
    ];
    if !all.contains(&name) {
        checks.wrong(
            at,
            name,
            "must be a standard resource type or fully qualified",
        );
    }
    if !standard.contains(&name) {
        checks.wrong(at, name, &format!("must be a standard resource for {what}"));
    }
}

/// An amount of a resource.
pub(crate) fn amount(name: &str, value: &Value, at: At<'_>, checks: &mut Checks) {
    let Some(quantity) = Quantity::of(value) else {
        return;
    };
    if quantity.nanos < 0 {
        let detail = "must be greater than or equal to 0";
        checks.wrong(at, &quantity.to_string(), detail);
    }
    let counted = !is_native(name)
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        )
        || name.starts_with("count/");
    if counted && !quantity.is_whole() {
        checks.wrong(at, &quantity.to_string(), "must be an integer");
    }
}

fn huge_pages(name: &str, value: &Value, at: At<'_>, checks: &mut Checks) {
    let size = Quantity::parse(name.trim_start_matches("hugepages-"));
    if let (Some(size), Some(quantity)) = (size, Quantity::of(value))
        && size.nanos > 0
        && quantity.nanos % size.nanos != 0
    {
        let detail = format!("{quantity} is not positive integer multiple of {name}");
        checks.wrong(at, &quantity.to_string(), &detail);
    }
}

/// The requests, limits and claims of a container.
pub(super) fn check(resources: &Value, at: At<'_>, claims: &[&str], checks: &mut Checks) {
    let standard = ["cpu", "memory", "ephemeral-storage"];
    let (limits, requests) = (of(resources, "limits"), of(resources, "requests"));
    let limits_at = at.field("limits");
    let (mut basic, mut huge) = (false, false);
    for (name, value) in members(limits) {
        let at = limits_at.key(name);
        resource_name(name, at, &standard, "containers", checks);
        amount(name, value, at, checks);
        if is_huge(name) {
            huge = true;
            huge_pages(name, value, at, checks);
        }
        basic |= matches!(name.as_str(), "cpu" | "memory");
    }
    let requests_at = at.field("requests");
    for (name, value) in members(requests) {
        let at = requests_at.key(name);
        resource_name(name, at, &standard, "containers", checks);
        amount(name, value, at, checks);
        let limit = Quantity::of(of(limits, name));
        match (Quantity::of(value), limit) {
            (Some(request), Some(limit)) => {
                if request.nanos != limit.nanos && !overcommits(name) {
                    let detail = format!("must be equal to {name} limit of {limit}");
                    checks.wrong(requests_at, &request.to_string(), &detail);
                } else if request > limit {
                    let detail = format!("must be less than or equal to {name} limit of {limit}");
                    checks.wrong(requests_at, &request.to_string(), &detail);
                }
            }
            (_, None) if !overcommits(name) => {
                checks.required(
                    limits_at,
                    "Limit must be set for non overcommitable resources",
                );
            }
            _ => {}
        }
        if is_huge(name) {
            huge = true;
            huge_pages(name, value, at, checks);
        }
        basic |= matches!(name.as_str(), "cpu" | "memory");
    }
    if huge && !basic {
        checks.forbidden(at, "HugePages require cpu or memory");
    }
    for (i, claim) in list(resources, "claims").iter().enumerate() {
        let name = text(claim, "name");
        let at = at.field("claims");
        if name.is_empty() {
            checks.required(at.index(i).field("name"), "");
        } else if !claims.contains(&name) {
            let mut cause = Cause::not_found(at.index(i), &name.into());
            cause
                .message
                .push_str(": must be one of the names in pod.spec.resourceClaims");
            if claims.is_empty() {
                cause.message.push_str(" which is empty");
            }
            checks.causes.push(cause);
        }
    }
}
