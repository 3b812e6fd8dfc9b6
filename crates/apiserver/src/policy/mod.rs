//! Owns admission by policy: which ValidatingAdmissionPolicies a write meets through their
//! bindings, what they say to it, and what is told of policies that are wrong themselves.
//! Policies are compiled once for each generation.
//!
//! It refuses webhooks and policies that change objects: they are kept and never called.

mod check;
mod compiled;
mod evaluate;
mod matching;
mod scope;
mod types;
mod warnings;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use weir_object::path;

use crate::bucket::Bucket;
use crate::call::{Call, Part};
use crate::refusal::Refusal;
use crate::registry::{Resource, Storage};
use crate::scale;
use crate::state::State;

pub(crate) use check::{check_binding, check_policy, fill, fill_binding};
pub(crate) use warnings::settle;

use compiled::Compiled;
use matching::Asked;

/// The group of policies.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io";

/// Policies as they were compiled, by uid, and where they are kept.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    compiled: HashMap<String, (i64, Arc<Compiled>)>,
    places: Option<(Storage, Storage)>,
    /// Policies and bindings as they were read, and the versions they were read at.
    read: Option<(u64, u64, Lists)>,
}

type Lists = (Arc<Vec<Arc<Value>>>, Arc<Vec<Arc<Value>>>);

/// What a write is to policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One write, as policies see it.
pub(crate) struct Write<'w> {
    pub(crate) operation: Operation,
    pub(crate) resource: &'w Resource,
    pub(crate) namespace: Option<&'w str>,
    pub(crate) name: &'w str,
    pub(crate) part: Part,
    pub(crate) new: Option<&'w Value>,
    pub(crate) old: Option<&'w Value>,
}

/// Asks all policies that a write meets. The first that denies is the answer.
pub(crate) fn admit(state: &mut State, write: &Write<'_>, call: &mut Call) -> Result<(), Refusal> {
    let Some((policies, bindings)) = places(state) else {
        return Ok(());
    };
    let none = |storage| state.all(storage, None).next().is_none();
    if none(bindings) || none(policies) || is_exempt(write.resource) {
        return Ok(());
    }
    ask(state, write, call, policies, bindings)
}

/// Policies are not asked about themselves, nor about reviews.
fn is_exempt(resource: &Resource) -> bool {
    resource.kind.group == GROUP
        && matches!(
            resource.kind.kind.as_ref(),
            "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
                | "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
                | "ValidatingWebhookConfiguration"
                | "MutatingWebhookConfiguration"
        )
}

fn places(state: &mut State) -> Option<(Storage, Storage)> {
    if state.policies.places.is_none() {
        let of = |plural| state.registry.get(GROUP, "v1", plural).map(|r| r.storage);
        let found = of("validatingadmissionpolicies").zip(of("validatingadmissionpolicybindings"));
        state.policies.places = found;
    }
    state.policies.places
}

fn ask(
    state: &mut State,
    write: &Write<'_>,
    call: &mut Call,
    policies: Storage,
    bindings: Storage,
) -> Result<(), Refusal> {
    let (policies, bindings) = read(state, policies, bindings);
    // What a scale says is asked about, not the object behind it.
    let (new, old) = if write.part == Part::Scale {
        let of = |object: Option<&Value>| object.and_then(|o| scale::read(write.resource, o).ok());
        (of(write.new), of(write.old))
    } else {
        (write.new.cloned(), write.old.cloned())
    };
    let asked = Asked::new(state, write, new, old);
    let mut denied = None;
    for policy in policies.iter() {
        let name = path::text(policy, &["metadata", "name"]);
        let bound: Vec<&Arc<Value>> = bindings
            .iter()
            .filter(|b| path::text(b, &["spec", "policyName"]) == name)
            .collect();
        if bound.is_empty() {
            continue;
        }
        let constraints = path::get(policy, &["spec", "matchConstraints"]);
        let Some(matched) = matching::matches(state, &asked, constraints) else {
            continue;
        };
        let compiled = compiled(state, policy);
        evaluate::policy(
            state,
            &asked,
            &matched,
            name,
            &compiled,
            &bound,
            call,
            &mut denied,
        );
    }
    match denied {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// All policies and bindings, read anew when one of them changed.
fn read(state: &mut State, policies: Storage, bindings: Storage) -> Lists {
    let last = |storage| state.bucket(storage).map_or(0, Bucket::last);
    let (of_policies, of_bindings) = (last(policies), last(bindings));
    if let Some((a, b, lists)) = &state.policies.read
        && (*a, *b) == (of_policies, of_bindings)
    {
        return lists.clone();
    }
    let all = |storage| {
        Arc::new(
            state
                .range(storage, None)
                .map(|(_, o)| o)
                .collect::<Vec<_>>(),
        )
    };
    let lists: Lists = (all(policies), all(bindings));
    state.policies.compiled.retain(|uid, _| {
        let is = |p: &Arc<Value>| path::text(p, &["metadata", "uid"]) == uid;
        lists.0.iter().any(is)
    });
    state.policies.read = Some((of_policies, of_bindings, lists.clone()));
    lists
}

fn compiled(state: &mut State, policy: &Value) -> Arc<Compiled> {
    let uid = path::text(policy, &["metadata", "uid"]);
    let generation = path::get(policy, &["metadata", "generation"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if let Some((of, compiled)) = state.policies.compiled.get(uid)
        && *of == generation
    {
        return compiled.clone();
    }
    let made = Arc::new(Compiled::read(policy));
    let entry = (generation, made.clone());
    state.policies.compiled.insert(uid.to_owned(), entry);
    made
}
