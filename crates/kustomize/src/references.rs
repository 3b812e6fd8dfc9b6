//! Owns mending references that name a namespace, after objects were put into another one: the
//! subjects of role bindings and the services of webhooks.

use serde_json::{Value, json};

use crate::build::Resource;
use crate::failure::{BuildError, Spot};
use crate::scope::{effective_namespace, is_cluster_scoped};

/// A kind that is referred to, and where.
struct Rule {
    target: &'static str,
    referrers: &'static [&'static str],
    path: &'static [&'static str],
}

const RULES: [Rule; 2] = [
    Rule {
        target: "ServiceAccount",
        referrers: &["RoleBinding", "ClusterRoleBinding"],
        path: &["subjects"],
    },
    Rule {
        target: "Service",
        referrers: &[
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
        ],
        path: &["webhooks", "clientConfig", "service"],
    },
];

/// Mends all references. Only objects that went through a namespace transformer are looked for.
pub(crate) fn mend(resources: &mut [Resource]) -> Result<(), BuildError> {
    for resource in resources.iter() {
        refuse_blank_namespaces(resource)?;
    }
    for rule in &RULES {
        for at in 0..resources.len() {
            if !rule.referrers.contains(&resources[at].object.kind()) {
                continue;
            }
            let mut object = resources[at].object.clone();
            visit(&mut object.0, rule.path, &mut |found| {
                mend_one(rule, resources, &resources[at], found)
            })?;
            resources[at].object = object;
        }
    }
    Ok(())
}

fn refuse_blank_namespaces(resource: &Resource) -> Result<(), BuildError> {
    let object = &resource.object;
    let subjects = object.get(&["subjects"]).and_then(Value::as_array);
    let binding = object.kind() == "RoleBinding";
    for (i, subject) in subjects
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|_| binding)
    {
        let blank = subject
            .get("namespace")
            .is_some_and(|n| n.is_null() || n == "");
        if blank && subject["kind"] == "ServiceAccount" {
            return Err(BuildError::NotAnObject {
                spot: Spot::file(&resource.file),
                what: format!(
                    "{}: the namespace of subject {i} is blank; name one or remove the field",
                    object.reference()
                ),
            });
        }
    }
    Ok(())
}

fn visit(
    at: &mut Value,
    path: &[&str],
    change: &mut dyn FnMut(&mut Value) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    match (at, path.split_first()) {
        (Value::Array(items), _) => items.iter_mut().try_for_each(|i| visit(i, path, change)),
        (Value::Object(map), Some((step, rest))) => map
            .get_mut(*step)
            .map_or(Ok(()), |next| visit(next, rest, change)),
        (found @ Value::Object(_), None) => change(found),
        _ => Ok(()),
    }
}

fn mend_one(
    rule: &Rule,
    all: &[Resource],
    referrer: &Resource,
    found: &mut Value,
) -> Result<(), BuildError> {
    let Some(name) = found["name"].as_str().map(str::to_owned) else {
        return Ok(());
    };
    let wanted = found.get("namespace").and_then(Value::as_str);
    let anywhere = is_cluster_scoped(&referrer.object);
    let subject_namespaces = service_account_namespaces(referrer);
    // Who may be referred to at all: the same namespace, and those that the subjects name.
    let reachable = |r: &&Resource| {
        anywhere
            || effective_namespace(&r.object) == effective_namespace(&referrer.object)
            || subject_namespaces.contains(&r.object.namespace().to_owned())
    };
    let mut candidates: Vec<&Resource> = all.iter().filter(reachable).collect();
    if let Some(namespace) = wanted {
        let original = |r: &&&Resource| r.original_namespace() == namespace;
        let current = |r: &&&Resource| effective_namespace(&r.object) == namespace;
        let by_original: Vec<&Resource> = candidates.iter().filter(original).copied().collect();
        candidates = if by_original.is_empty() {
            candidates.iter().filter(current).copied().collect()
        } else {
            by_original
        };
    }
    candidates.retain(|r| {
        r.object.kind() == rule.target
            && r.object.api_version() == "v1"
            && r.previous.iter().any(|(n, _)| *n == name)
    });
    let Some(first) = candidates.first() else {
        return Ok(());
    };
    let same = |r: &&Resource| r.object.key() == first.object.key();
    if !candidates.iter().all(same) {
        let names: Vec<String> = candidates
            .iter()
            .map(|r| r.object.reference().to_string())
            .collect();
        return Err(BuildError::Ambiguous {
            object: referrer.object.reference().to_string(),
            name,
            candidates: names.join(" or "),
        });
    }
    found["name"] = json!(first.object.name());
    if !first.object.namespace().is_empty() {
        found["namespace"] = json!(first.object.namespace());
    }
    Ok(())
}

fn service_account_namespaces(referrer: &Resource) -> Vec<String> {
    let subjects = referrer.object.get(&["subjects"]).and_then(Value::as_array);
    subjects
        .into_iter()
        .flatten()
        .filter(|s| s["kind"] == "ServiceAccount")
        .filter_map(|s| Some(s["namespace"].as_str()?.to_owned()))
        .collect()
}
