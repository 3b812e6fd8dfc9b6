//! Owns the status of a policy: its expressions checked against the types of what it matches, and
//! the generation that was checked.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};
use weir_schema::{ListKind, Scalar, TypeRef};

use super::compiled::{Gives, compile, variables};
use crate::call::{Call, Part};
use crate::cel::{Decl, Type};
use crate::registry::Resource;
use crate::state::State;
use crate::write;

/// No more kinds are checked for one policy.
const KINDS: usize = 10;
/// Types of built-in kinds are followed so deep; what lies below is anything.
const DEPTH: usize = 12;
/// Who writes the status.
const MANAGER: &str = "validatingadmissionpolicy-status";

/// Writes the status of a policy that was written.
pub(crate) fn settle(state: &mut State, resource: &Resource, name: &str, now: Timestamp) {
    let at = Key::new("", name);
    let Some(live) = state.get(resource.storage, &at) else {
        return;
    };
    let generation = path::get(&live, &["metadata", "generation"]).cloned();
    let observed = path::get(&live, &["status", "observedGeneration"]).cloned();
    if generation.is_none() || generation == observed {
        return;
    }
    let warnings = check(state, &live);
    let checked = if warnings.is_empty() {
        json!({})
    } else {
        json!({"expressionWarnings": warnings})
    };
    let config = json!({
        "apiVersion": resource.api_version, "kind": resource.kind.kind, "metadata": {"name": name},
        "status": {"observedGeneration": generation, "typeChecking": checked},
    });
    let mut call = Call::new(MANAGER, now);
    call.force = true;
    if let Ok(new) = write::applied(
        resource,
        Some(&live),
        &config,
        ("", ""),
        Part::Status,
        &call,
    ) {
        state.put(resource.storage, &at, new);
    }
}

fn check(state: &State, policy: &Value) -> Vec<Value> {
    let kinds = kinds(state, policy);
    let params = path::get(policy, &["spec", "paramKind"]).map(|kind| {
        let (version, kind) = (
            path::text(kind, &["apiVersion"]),
            path::text(kind, &["kind"]),
        );
        let found = |r: &&Arc<Resource>| r.api_version == version && r.kind.kind == kind;
        let found = state.registry.iter().find(found);
        found.map_or(Type::Dyn, |resource| typed(resource))
    });
    let list = path::get(policy, &["spec", "validations"]).and_then(Value::as_array);
    let mut out = Vec::new();
    for (i, validation) in list.into_iter().flatten().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = path::text(validation, &[field]);
            if source.is_empty() {
                continue;
            }
            let said: Vec<String> = kinds
                .iter()
                .filter_map(|resource| {
                    let (known, _) = variables(policy, typed(resource), params.clone());
                    let why = compile(source, &known, Gives::Anything).err()?;
                    let why = why.strip_prefix("compilation failed: ").unwrap_or(&why);
                    Some(format!(
                        "{}, Kind={}: {why}\n",
                        shown_version(resource),
                        resource.kind.kind
                    ))
                })
                .collect();
            if !said.is_empty() {
                out.push(json!({
                    "fieldRef": format!("spec.validations[{i}].{field}"),
                    "warning": said.join("\n"),
                }));
            }
        }
    }
    out
}

/// `/v1` for the core group: group and version as Go prints them.
fn shown_version(resource: &Resource) -> String {
    format!("{}/{}", resource.kind.group, resource.kind.version)
}

/// The kinds that the policy names; rules with wildcards name none.
fn kinds(state: &State, policy: &Value) -> Vec<Arc<Resource>> {
    let rules = path::get(policy, &["spec", "matchConstraints", "resourceRules"]);
    let mut out: Vec<Arc<Resource>> = Vec::new();
    for rule in rules.and_then(Value::as_array).into_iter().flatten() {
        let words = |key: &str| -> Vec<&str> {
            let list = rule.get(key).and_then(Value::as_array);
            let words: Vec<&str> = list
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if words.contains(&"*") {
                Vec::new()
            } else {
                words
            }
        };
        let (groups, versions, plurals) =
            (words("apiGroups"), words("apiVersions"), words("resources"));
        for resource in state.registry.iter() {
            let kind = &resource.kind;
            if groups.contains(&kind.group.as_ref())
                && versions.contains(&kind.version.as_ref())
                && plurals.contains(&kind.plural.as_ref())
                && !out.iter().any(|r| r.kind == resource.kind)
                && out.len() < KINDS
            {
                out.push(resource.clone());
            }
        }
    }
    out.sort_by(|a, b| {
        let of = |r: &Resource| {
            (
                r.kind.group.to_string(),
                r.kind.version.to_string(),
                r.kind.kind.to_string(),
            )
        };
        of(a).cmp(&of(b))
    });
    out
}

fn typed(resource: &Resource) -> Type {
    match &resource.custom {
        Some(custom) => {
            Decl::of(&custom.schema, &resource.kind.kind, true).map_or(Type::Dyn, |decl| decl.ty)
        }
        None => builtin(&resource.typing, &resource.kind.kind, 0),
    }
}

/// The type of a built-in field.
fn builtin(of: &TypeRef, name: &str, depth: usize) -> Type {
    if depth > DEPTH {
        return Type::Dyn;
    }
    match of.scalar() {
        Some(Scalar::String) => return Type::Text,
        Some(Scalar::Integer) => return Type::Int,
        Some(Scalar::Number) => return Type::Double,
        Some(Scalar::Boolean) => return Type::Bool,
        Some(Scalar::Bytes) => return Type::Bytes,
        Some(Scalar::DateTime) => return Type::Timestamp,
        Some(_) => return Type::Dyn,
        None => {}
    }
    if of
        .list_kind()
        .is_some_and(|kind| matches!(kind, ListKind::Atomic | ListKind::Set | ListKind::Map(_)))
    {
        let item = of.item();
        let item = item.map_or(Type::Dyn, |item| {
            builtin(&item, &format!("{name}.@idx"), depth + 1)
        });
        return Type::list(item);
    }
    let Some(map) = of.map() else {
        return Type::Dyn;
    };
    if map.fields.is_empty() {
        return map.additional.map_or(Type::Dyn, |link| {
            let values = of.follow(link);
            let values = builtin(&values, &format!("{name}.@elem"), depth + 1);
            Type::map(Type::Text, values)
        });
    }
    let fields: Vec<(&str, Type)> = map
        .fields
        .iter()
        .map(|(field, of_field)| {
            let ty = of.follow(of_field.link);
            let ty = builtin(&ty, &format!("{name}.{field}"), depth + 1);
            (field.as_str(), ty)
        })
        .collect();
    Decl::record(name, fields)
}
