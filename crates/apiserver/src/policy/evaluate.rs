//! Owns what a policy says to a write through each of its bindings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use weir_object::{Key, path, split_api_version};

use super::compiled::{Compiled, Ready};
use super::matching::{self, Asked};
use super::scope::World;
use crate::call::Call;
use crate::cel::{PER_CALL, PER_OBJECT, Question, Value as Val};
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::selector::Selector;
use crate::state::State;

/// Messages may not be longer.
const MESSAGE: usize = 5 * 1024;
/// Conditions of one policy may cost this much together.
const CONDITIONS: u64 = 2_500_000;

const OUT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A denial: its message, and the reason that the policy gives.
struct Denial {
    message: String,
    reason: String,
}

/// Asks one policy through its bindings.
#[expect(
    clippy::too_many_arguments,
    reason = "one place asks, with all there is"
)]
pub(super) fn policy(
    state: &State,
    asked: &Asked<'_>,
    matched: &Arc<Resource>,
    name: &str,
    compiled: &Compiled,
    bindings: &[&Arc<Value>],
    call: &mut Call,
    denied: &mut Option<Refusal>,
) {
    let kind = match &compiled.param_kind {
        None => None,
        Some((api_version, kind)) => match param_resource(state, api_version, kind) {
            Some(resource) => Some(resource),
            None => {
                let (group, version) = split_api_version(api_version);
                let slash = if group.is_empty() { "" } else { "/" };
                let why = format!(
                    "failed to configure policy: failed to find resource referenced by paramKind: \
                     '{group}{slash}{version}, Kind={kind}'"
                );
                if !compiled.ignores_faults {
                    deny(asked, name, None, &why, "", denied);
                }
                return;
            }
        },
    };
    for binding in bindings {
        let bound = path::text(binding, &["metadata", "name"]);
        let limits = path::get(binding, &["spec", "matchResources"]);
        if matching::matches(state, asked, limits).is_none() {
            continue;
        }
        let reference = path::get(binding, &["spec", "paramRef"]);
        let params = match params(state, asked, kind.as_deref(), reference) {
            Ok(params) => params,
            Err(why) => {
                if !compiled.ignores_faults {
                    let why = format!("failed to configure binding: {why}");
                    deny(asked, name, Some(bound), &why, "", denied);
                }
                continue;
            }
        };
        let actions = path::get(binding, &["spec", "validationActions"]).and_then(Value::as_array);
        let does = |action: &str| {
            let mut actions = actions.into_iter().flatten();
            actions.any(|a| a.as_str() == Some(action))
        };
        let request = asked.request(matched, call);
        for param in &params {
            let user = call.user.clone();
            let world = World {
                state,
                user: &user,
                object: asked.new.as_ref(),
                old: asked.old.as_ref(),
                request: &request,
                space: asked
                    .space
                    .as_deref()
                    .filter(|_| !asked.write.resource.is("", "Namespace")),
                params: param.as_deref(),
                has_params: kind.is_some(),
                variables: &compiled.variables,
                resource: question(asked),
                found: RefCell::new(HashMap::new()),
                spent: RefCell::new(0),
            };
            for Denial { message, reason } in judge(compiled, &world) {
                if does("Deny") {
                    deny(asked, name, Some(bound), &message, &reason, denied);
                }
                if does("Warn") {
                    call.warn(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{name}' with binding \
                         '{bound}': {message}"
                    ));
                }
            }
            for message in annotations(compiled, &world) {
                deny(asked, name, Some(bound), &message, "", denied);
            }
        }
    }
}

fn question(asked: &Asked<'_>) -> Question {
    let kind = &asked.write.resource.kind;
    Question {
        group: kind.group.to_string(),
        resource: kind.plural.to_string(),
        subresource: asked.write.part.name().to_owned(),
        namespace: asked.write.namespace.unwrap_or_default().to_owned(),
        name: asked.write.name.to_owned(),
        ..Question::default()
    }
}

fn deny(
    asked: &Asked<'_>,
    policy: &str,
    binding: Option<&str>,
    message: &str,
    reason: &str,
    denied: &mut Option<Refusal>,
) {
    if denied.is_some() {
        return;
    }
    let through = binding.map_or(String::new(), |b| format!(" with binding '{b}'"));
    let code = match reason {
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    *denied = Some(Refusal::Denied {
        resource: asked.write.resource.name(),
        name: if asked.write.name.is_empty() {
            "Unknown".to_owned()
        } else {
            asked.write.name.to_owned()
        },
        why: format!("ValidatingAdmissionPolicy '{policy}'{through} denied request: {message}"),
        code,
    });
}

fn param_resource(state: &State, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
    let found = |r: &&Arc<Resource>| r.api_version == api_version && r.kind.kind == kind;
    state.registry.iter().find(found).cloned()
}

/// The parameters that a binding names; without any there is one evaluation without.
fn params(
    state: &State,
    asked: &Asked<'_>,
    kind: Option<&Resource>,
    reference: Option<&Value>,
) -> Result<Vec<Option<Arc<Value>>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else {
        return Ok(vec![None]);
    };
    let given = path::text(reference, &["namespace"]);
    let namespace = if kind.kind.namespaced {
        let own = asked.write.namespace.unwrap_or_default();
        let namespace = if given.is_empty() { own } else { given };
        if namespace.is_empty() {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .to_owned(),
            );
        }
        namespace
    } else if given.is_empty() {
        ""
    } else {
        return Err(
            "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned(),
        );
    };
    let name = path::text(reference, &["name"]);
    let found: Vec<Option<Arc<Value>>> = if !name.is_empty() {
        let at = Key::new(namespace, name);
        state.get(kind.storage, &at).into_iter().map(Some).collect()
    } else if let Some(selector) = reference.get("selector") {
        let selector = Selector::from_object(Some(selector))
            .ok_or_else(|| "the paramRef's selector cannot be read".to_owned())?;
        let within = kind.kind.namespaced.then_some(namespace);
        let all = state.range(kind.storage, within).map(|(_, object)| object);
        all.filter(|object| selector.matches(object))
            .map(Some)
            .collect()
    } else {
        return Err("one of name or selector must be provided".to_owned());
    };
    if found.is_empty() && path::text(reference, &["parameterNotFoundAction"]) == "Deny" {
        let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
        return Err(why.to_owned());
    }
    Ok(found)
}

/// Runs an expression within a budget. `Err(None)` says that it is spent.
fn run<'a>(
    ready: &'a Ready,
    world: &World<'a>,
    expression: &str,
    budget: &mut u64,
) -> Result<Val<'a>, Option<String>> {
    let program = match ready {
        Ok(program) => program,
        Err(why) => return Err(Some(format!("compilation error: {why}"))),
    };
    *world.spent.borrow_mut() = 0;
    let (value, cost) = program.run(world, PER_CALL);
    let cost = cost + *world.spent.borrow();
    if cost > *budget {
        return Err(None);
    }
    *budget -= cost;
    value.map_err(|fault| {
        Some(format!(
            "expression '{expression}' resulted in error: {fault}"
        ))
    })
}

fn judge<'a>(compiled: &'a Compiled, world: &World<'a>) -> Vec<Denial> {
    let fault = |message: String| -> Vec<Denial> {
        if compiled.ignores_faults {
            return Vec::new();
        }
        let reason = String::new();
        vec![Denial { message, reason }]
    };
    let mut budget = CONDITIONS;
    let mut faults = Vec::new();
    for (expression, ready) in &compiled.conditions {
        match run(ready, world, expression.trim(), &mut budget) {
            Ok(Val::Bool(false)) => return Vec::new(),
            Ok(_) => {}
            Err(Some(why)) => faults.push(why),
            Err(None) => return fault(OUT.to_owned()),
        }
    }
    match faults.as_slice() {
        [] => {}
        [one] => return fault(one.clone()),
        many => return fault(format!("[{}]", many.join(", "))),
    }
    let mut budget = PER_OBJECT;
    let mut results = Vec::with_capacity(compiled.validations.len());
    for validation in &compiled.validations {
        let result = run(
            &validation.program,
            world,
            &validation.expression,
            &mut budget,
        );
        if result == Err(None) {
            return fault(OUT.to_owned());
        }
        results.push(result);
    }
    let mut out = Vec::new();
    for (validation, result) in compiled.validations.iter().zip(results) {
        match result {
            Ok(Val::Bool(true)) => {}
            Err(why) => out.extend(fault(why.unwrap_or_default())),
            Ok(_) => {
                let made = validation.telling.as_ref().and_then(|ready| {
                    let source = &validation.expression;
                    match run(ready, world, source, &mut budget) {
                        Ok(Val::Text(text)) => Some(text.trim().to_owned()),
                        _ => None,
                    }
                });
                let made = made.filter(|text| {
                    !text.is_empty() && !text.contains('\n') && text.len() <= MESSAGE
                });
                let fixed = validation.message.trim();
                let message = match made {
                    Some(made) => made,
                    None if !fixed.is_empty() => fixed.to_owned(),
                    None => format!("failed expression: {}", validation.expression.trim()),
                };
                out.push(Denial {
                    message,
                    reason: validation.reason.clone(),
                });
            }
        }
    }
    out
}

/// Audit annotations are not kept anywhere; one that cannot be made still refuses.
fn annotations<'a>(compiled: &'a Compiled, world: &World<'a>) -> Vec<String> {
    let mut budget = PER_OBJECT;
    let mut out = Vec::new();
    for (_, expression, ready) in &compiled.annotations {
        if let Err(why) = run(ready, world, expression, &mut budget)
            && !compiled.ignores_faults
        {
            out.push(why.unwrap_or_else(|| OUT.to_owned()));
        }
    }
    out
}
