//! Owns LimitRanges: the requests and limits they fill in, and the bounds they keep.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_object::path;
use weir_schema::Quantity;

use super::Asked;
use crate::refusal::Refusal;

/// Amounts by resource.
type Amounts = BTreeMap<String, Quantity>;

fn amounts(owner: &Value, at: &[&str]) -> Amounts {
    let map = path::get(owner, at).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::of(value)?)))
        .collect()
}

fn limits_of(asked: &Asked<'_>) -> Vec<Value> {
    let ranges = asked.all("", "v1", "limitranges", asked.namespace);
    let mut out = Vec::new();
    for range in ranges {
        let limits = path::get(&range, &["spec", "limits"]).and_then(Value::as_array);
        out.extend(limits.into_iter().flatten().cloned());
    }
    out
}

/// Fills in requests and limits that are left out.
pub(super) fn fill(asked: &Asked<'_>, pod: &mut Value) {
    if !asked.creates("", "Pod") {
        return;
    }
    for limit in limits_of(asked) {
        if path::text(&limit, &["type"]) == "Container" {
            fill_one(&limit, pod);
        }
    }
}

fn fill_one(limit: &Value, pod: &mut Value) {
    let mut told = Vec::new();
    for (list, what) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        let containers = path::get_mut(pod, &["spec", list]).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = path::text(container, &["name"]).to_owned();
            for (from, to, word) in [
                ("defaultRequest", "requests", "request"),
                ("default", "limits", "limit"),
            ] {
                let mut set = Vec::new();
                for (resource, value) in limit
                    .get(from)
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                {
                    if path::get(container, &["resources", to, resource]).is_none() {
                        path::set(container, &["resources", to, resource], value.clone());
                        set.push(resource.as_str());
                    }
                }
                set.sort_unstable();
                if !set.is_empty() {
                    told.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        let at = ["metadata", "annotations", "kubernetes.io/limit-ranger"];
        path::set(pod, &at, text.into());
    }
}

/// Refuses what is out of bounds.
pub(super) fn judge(asked: &Asked<'_>, object: &Value) -> Result<(), Refusal> {
    let claims =
        asked.part == crate::call::Part::Whole && asked.resource.is("", "PersistentVolumeClaim");
    if !asked.creates("", "Pod") && !claims {
        return Ok(());
    }
    let mut errors = Vec::new();
    for limit in limits_of(asked) {
        let kind = path::text(&limit, &["type"]);
        match kind {
            "PersistentVolumeClaim" if claims => {
                let asked = amounts(object, &["spec", "resources", "requests"]);
                for (name, least) in amounts(&limit, &["min"]) {
                    errors.extend(minimum(kind, &name, least, &asked, &Amounts::new()));
                }
                for (name, most) in amounts(&limit, &["max"]) {
                    errors.extend(over(kind, &name, most, "request", asked.get(&name)));
                }
            }
            "Container" if !claims => {
                for list in ["containers", "initContainers"] {
                    let containers = path::get(object, &["spec", list]).and_then(Value::as_array);
                    for container in containers.into_iter().flatten() {
                        let requests = amounts(container, &["resources", "requests"]);
                        let limits = amounts(container, &["resources", "limits"]);
                        bounds(&limit, kind, &requests, &limits, &mut errors);
                    }
                }
            }
            "Pod" if !claims => {
                let (requests, limits) =
                    (pod_total(object, "requests"), pod_total(object, "limits"));
                bounds(&limit, kind, &requests, &limits, &mut errors);
            }
            _ => {}
        }
    }
    let mut seen: Vec<String> = Vec::new();
    for error in errors {
        if !seen.contains(&error) {
            seen.push(error);
        }
    }
    match seen.as_slice() {
        [] => Ok(()),
        [one] => Err(asked.forbid(object, one.clone())),
        many => Err(asked.forbid(object, format!("[{}]", many.join(", ")))),
    }
}

/// What a pod asks for: all containers together, or one init container if that is more.
pub(super) fn pod_total(pod: &Value, which: &str) -> Amounts {
    let mut out = Amounts::new();
    let list = |name: &str| {
        let containers = path::get(pod, &["spec", name]).and_then(Value::as_array);
        containers.into_iter().flatten()
    };
    for container in list("containers") {
        for (name, amount) in amounts(container, &["resources", which]) {
            let sum = out.entry(name).or_insert(Quantity::ZERO);
            *sum = sum.plus(amount);
        }
    }
    let mut sidecars = Amounts::new();
    for container in list("initContainers") {
        let always = path::text(container, &["restartPolicy"]) == "Always";
        for (name, amount) in amounts(container, &["resources", which]) {
            let before = sidecars.get(&name).copied().unwrap_or(Quantity::ZERO);
            let sum = out.entry(name.clone()).or_insert(Quantity::ZERO);
            if always {
                *sum = sum.plus(amount);
                sidecars.insert(name, before.plus(amount));
            } else if before.plus(amount) > *sum {
                *sum = before.plus(amount);
            }
        }
    }
    for (name, amount) in amounts(pod, &["spec", "overhead"]) {
        if let Some(sum) = out.get_mut(&name) {
            *sum = sum.plus(amount);
        }
    }
    out
}

fn bounds(
    limit: &Value,
    kind: &str,
    requests: &Amounts,
    limits: &Amounts,
    errors: &mut Vec<String>,
) {
    for (name, least) in amounts(limit, &["min"]) {
        errors.extend(minimum(kind, &name, least, requests, limits));
    }
    for (name, most) in amounts(limit, &["max"]) {
        let error = over(kind, &name, most, "limit", limits.get(&name)).or_else(|| {
            let request = requests.get(&name)?;
            over(kind, &name, most, "request", Some(request))
        });
        errors.extend(error);
    }
    for (name, ratio) in amounts(limit, &["maxLimitRequestRatio"]) {
        errors.extend(ratio_error(
            kind,
            &name,
            ratio,
            requests.get(&name),
            limits.get(&name),
        ));
    }
}

fn minimum(
    kind: &str,
    name: &str,
    least: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let head = format!("minimum {name} usage per {kind} is {least}");
    let Some(request) = requests.get(name) else {
        return Some(format!("{head}.  No request is specified"));
    };
    if *request < least {
        return Some(format!("{head}, but request is {request}"));
    }
    let limit = limits.get(name).filter(|limit| **limit < least)?;
    Some(format!("{head}, but limit is {limit}"))
}

fn over(
    kind: &str,
    name: &str,
    most: Quantity,
    what: &str,
    given: Option<&Quantity>,
) -> Option<String> {
    let head = format!("maximum {name} usage per {kind} is {most}");
    match given {
        None => Some(format!("{head}.  No {what} is specified")),
        Some(given) if *given > most => Some(format!("{head}, but {what} is {given}")),
        Some(_) => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the ratio is shown as a float, as the server does"
)]
fn ratio_error(
    kind: &str,
    name: &str,
    most: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {kind} is {most}");
    let Some(request) = request.filter(|q| q.nanos != 0) else {
        return Some(format!(
            "{head}, but no request is specified or request is 0"
        ));
    };
    let Some(limit) = limit.filter(|q| q.nanos != 0) else {
        return Some(format!("{head}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.nanos as f64 / request.nanos as f64;
    (ratio * 1e9 > most.nanos as f64).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
}
