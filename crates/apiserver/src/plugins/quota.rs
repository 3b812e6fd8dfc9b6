//! Owns ResourceQuotas at the door: what an object would use, what is used, and what may be. What
//! is used is counted anew each time, so it never lags behind the objects.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_object::path;
use weir_schema::Quantity;

use super::Asked;
use super::limits::pod_total;
use crate::call::Part;
use crate::refusal::Refusal;

type Amounts = BTreeMap<String, Quantity>;

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What an object uses of what quotas count.
fn usage(resource: &str, group: &str, object: &Value) -> Amounts {
    let mut out = Amounts::new();
    let one = Quantity::whole(1);
    let counted = if group.is_empty() {
        format!("count/{resource}")
    } else {
        format!("count/{resource}.{group}")
    };
    out.insert(counted, one);
    if !group.is_empty() {
        return out;
    }
    match resource {
        "pods" => {
            if matches!(
                path::text(object, &["status", "phase"]),
                "Succeeded" | "Failed"
            ) {
                return out;
            }
            out.insert("pods".to_owned(), one);
            for (which, prefix) in [("requests", "requests."), ("limits", "limits.")] {
                for (name, amount) in pod_total(object, which) {
                    if which == "requests" && COMPUTE.contains(&name.as_str()) {
                        out.insert(name.clone(), amount);
                    }
                    out.insert(format!("{prefix}{name}"), amount);
                }
            }
        }
        "services" => {
            out.insert("services".to_owned(), one);
            let ports = path::get(object, &["spec", "ports"])
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let ports = i64::try_from(ports).unwrap_or_default();
            match path::text(object, &["spec", "type"]) {
                "NodePort" => {
                    out.insert("services.nodeports".to_owned(), Quantity::whole(ports));
                }
                "LoadBalancer" => {
                    out.insert("services.loadbalancers".to_owned(), one);
                    out.insert("services.nodeports".to_owned(), Quantity::whole(ports));
                }
                _ => {}
            }
        }
        "persistentvolumeclaims" => {
            out.insert("persistentvolumeclaims".to_owned(), one);
            let size = path::get(object, &["spec", "resources", "requests", "storage"]);
            if let Some(size) = size.and_then(Quantity::of) {
                out.insert("requests.storage".to_owned(), size);
                let class = path::text(object, &["spec", "storageClassName"]);
                if !class.is_empty() {
                    let head = format!("{class}.storageclass.storage.k8s.io/");
                    out.insert(format!("{head}requests.storage"), size);
                    out.insert(format!("{head}persistentvolumeclaims"), one);
                }
            }
        }
        "replicationcontrollers" | "resourcequotas" | "secrets" | "configmaps" => {
            out.insert(resource.to_owned(), one);
        }
        _ => {}
    }
    out
}

/// Whether a quota counts an object, by its scopes.
fn scoped(quota: &Value, resource: &str, object: &Value) -> bool {
    let scopes = path::get(quota, &["spec", "scopes"]).and_then(Value::as_array);
    let rules =
        path::get(quota, &["spec", "scopeSelector", "matchExpressions"]).and_then(Value::as_array);
    let plain = scopes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|s| (s, "Exists", None));
    let given = rules.into_iter().flatten().map(|rule| {
        (
            path::text(rule, &["scopeName"]),
            path::text(rule, &["operator"]),
            rule.get("values"),
        )
    });
    let mut all = plain.chain(given).peekable();
    if all.peek().is_none() {
        return true;
    }
    if resource != "pods" {
        return false;
    }
    let terminating = path::get(object, &["spec", "activeDeadlineSeconds"]).is_some();
    let best_effort =
        pod_total(object, "requests").is_empty() && pod_total(object, "limits").is_empty();
    let class = path::text(object, &["spec", "priorityClassName"]);
    all.all(|(scope, operator, values)| match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => {
            let named = values
                .and_then(Value::as_array)
                .is_some_and(|v| v.iter().any(|v| v == class));
            match operator {
                "In" => named,
                "NotIn" => !named,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        _ => false,
    })
}

/// Refuses what would be more than a quota allows.
pub(super) fn judge(asked: &Asked<'_>, object: &Value) -> Result<(), Refusal> {
    let grows = matches!(
        asked.resource.kind.plural.as_ref(),
        "services" | "persistentvolumeclaims"
    );
    if asked.part != Part::Whole || (asked.old.is_some() && !grows) || asked.namespace.is_none() {
        return Ok(());
    }
    let (plural, group) = (
        asked.resource.kind.plural.as_ref(),
        asked.resource.kind.group.as_ref(),
    );
    let quotas = asked.all("", "v1", "resourcequotas", asked.namespace);
    for quota in quotas {
        if !scoped(&quota, plural, object) {
            continue;
        }
        let name = path::text(&quota, &["metadata", "name"]);
        let hard = path::get(&quota, &["spec", "hard"]).and_then(Value::as_object);
        let hard: Amounts = hard
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), Quantity::of(value)?)))
            .collect();
        if plural == "pods" && group.is_empty() {
            told_all(asked, name, &hard, object)?;
        }
        let mut wanted = usage(plural, group, object);
        if let Some(old) = asked.old {
            for (name, amount) in usage(plural, group, old) {
                if let Some(own) = wanted.get_mut(&name) {
                    own.nanos -= amount.nanos;
                }
            }
        }
        wanted.retain(|name, amount| amount.nanos > 0 && hard.contains_key(name));
        if wanted.is_empty() {
            continue;
        }
        let used = used(asked, &quota, &wanted);
        let over: Vec<&String> = wanted
            .iter()
            .filter(|(name, amount)| {
                let used = used.get(*name).copied().unwrap_or(Quantity::ZERO);
                hard.get(*name)
                    .is_some_and(|hard| used.plus(**amount) > *hard)
            })
            .map(|(name, _)| name)
            .collect();
        if !over.is_empty() {
            let shown = |amounts: &Amounts| {
                let pairs: Vec<String> = over
                    .iter()
                    .map(|name| {
                        format!(
                            "{name}={}",
                            amounts.get(*name).copied().unwrap_or(Quantity::ZERO)
                        )
                    })
                    .collect();
                pairs.join(",")
            };
            let why = format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                shown(&wanted),
                shown(&used),
                shown(&hard)
            );
            return Err(asked.forbid(object, why));
        }
    }
    Ok(())
}

/// Each container says how much it wants of what a quota limits.
fn told_all(asked: &Asked<'_>, quota: &str, hard: &Amounts, pod: &Value) -> Result<(), Refusal> {
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in hard.keys() {
        let (which, resource) = match name.split_once('.') {
            Some(("requests", rest)) => ("requests", rest),
            Some(("limits", rest)) => ("limits", rest),
            _ => ("requests", name.as_str()),
        };
        if !COMPUTE.contains(&resource) {
            continue;
        }
        for list in ["containers", "initContainers"] {
            let containers = path::get(pod, &["spec", list]).and_then(Value::as_array);
            for container in containers.into_iter().flatten() {
                if path::get(container, &["resources", which, resource]).is_none() {
                    let own = path::text(container, &["name"]).to_owned();
                    missing.entry(name.clone()).or_default().push(own);
                }
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = missing
        .iter_mut()
        .map(|(name, containers)| {
            containers.sort();
            containers.dedup();
            format!("{name} for: {}", containers.join(","))
        })
        .collect();
    Err(asked.forbid(
        pod,
        format!("failed quota: {quota}: must specify {}", told.join("; ")),
    ))
}

/// What is used in the namespace of what is wanted.
fn used(asked: &Asked<'_>, quota: &Value, wanted: &Amounts) -> Amounts {
    let mut out = Amounts::new();
    let resource = asked.resource;
    let own = asked.old.map(|old| path::text(old, &["metadata", "name"]));
    for (key, object) in asked.state.range(resource.storage, asked.namespace) {
        let group = resource.kind.group.as_ref();
        if !scoped(quota, &resource.kind.plural, &object) && own != Some(&key.name) {
            continue;
        }
        for (name, amount) in usage(&resource.kind.plural, group, &object) {
            if wanted.contains_key(&name) {
                let sum = out.entry(name).or_insert(Quantity::ZERO);
                *sum = sum.plus(amount);
            }
        }
    }
    out
}
