//! Owns creation: the way of a new object from what was asked to what is kept. It refuses changes of
//! what is there already.

use std::sync::Arc;

use serde_json::Value;
use weir_object::{Key, path};

use super::{key, not_found};
use crate::admit;
use crate::authorize;
use crate::builtin;
use crate::call::{Call, Part, stamp};
use crate::convert;
use crate::custom;
use crate::exposure;
use crate::meta;
use crate::plugins::{self, Asked};
use crate::policy::{self, Operation, Write};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::state::State;
use crate::write;

/// Creates an object.
pub(crate) fn create(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    mut object: Value,
    call: &mut Call,
) -> Result<Arc<Value>, Refusal> {
    admit::place(resource, namespace, None, &mut object, call)?;
    if !path::text(&object, &["metadata", "resourceVersion"]).is_empty() {
        return Err(Refusal::Failed(
            "resourceVersion should not be set on objects to be created".to_owned(),
        ));
    }
    admit::shape(resource, &mut object, call)?;
    insert(state, resource, namespace, object, Part::Whole, call, true)
}

pub(super) fn insert(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    mut object: Value,
    part: Part,
    call: &mut Call,
    track: bool,
) -> Result<Arc<Value>, Refusal> {
    // A patch names what it creates in its path; a create does not.
    let named = if track {
        ""
    } else {
        path::text(&object, &["metadata", "name"])
    };
    authorize::may_grant(state, resource, namespace, named, None, &object, call)?;
    meta::strip(&mut object);
    meta::dedup_owners(&mut object, &mut |text| call.warn(text));
    if let Some(namespace) = namespace {
        let name = path::text(&object, &["metadata", "name"]).to_owned();
        admit_namespace(state, resource, namespace, &name)?;
    }
    if let Some(custom) = &resource.custom
        && custom.going
    {
        return Err(Refusal::Forbidden {
            resource: resource.name(),
            name: path::text(&object, &["metadata", "name"]).to_owned(),
            why: "create not allowed while custom resource definition is terminating".to_owned(),
            causes: Vec::new(),
        });
    }
    if resource.generation {
        path::set(&mut object, &["metadata", "generation"], 1.into());
    }
    if resource.custom.is_none() {
        builtin::before_owners(resource, &mut object);
    }
    if track {
        object = write::tracked(resource, None, object, part, call);
    }
    convert::inward(resource, &mut object);
    let mut asked = Asked {
        state,
        resource,
        namespace,
        part,
        old: None,
    };
    plugins::fill(&mut asked, &mut object, call)?;
    name_it(state, resource, namespace, &mut object);
    let name = path::text(&object, &["metadata", "name"]).to_owned();
    let at = key(namespace, &name);
    let meta_uid = state.random.uid();
    path::set(&mut object, &["metadata", "uid"], meta_uid.into());
    path::set(
        &mut object,
        &["metadata", "creationTimestamp"],
        stamp(call.now).into(),
    );
    if resource.custom.is_some() {
        if resource.status {
            path::remove(&mut object, &["status"]);
        }
    } else {
        builtin::begin(resource, &mut object, call);
    }
    let service = resource.is("", "Service");
    let there = service && state.contains(resource.storage, &at);
    let holder = exposure::holder(&at, there);
    if service {
        exposure::give(state, &holder, None, &mut object, call.dry_run)?;
    }
    let judged = judge_new(state, resource, namespace, &object, part, track, call);
    if service && (judged.is_err() || call.dry_run || there) {
        exposure::take_back(state, &holder, None, &object);
    }
    judged?;
    if let Some(there) = state.stored(resource.storage, &at) {
        return Err(exists(resource, name, &there.read()));
    }
    if resource.custom.is_none() {
        builtin::finish(resource, &mut object);
    }
    admit::settle(resource, &mut object);
    admit::fits(&object, call)?;
    if call.dry_run {
        return Ok(convert::outward(resource, &Arc::new(object)));
    }
    convert::keep(resource, &mut object);
    let stored = state.put(resource.storage, &at, object);
    if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        custom::settle(state, &at.name, call.now);
    }
    if resource.is(policy::GROUP, "ValidatingAdmissionPolicy") {
        policy::settle(state, resource, &at.name, call.now);
    }
    Ok(convert::outward(resource, &stored))
}

fn exists(resource: &Resource, name: String, there: &Value) -> Refusal {
    Refusal::AlreadyExists {
        resource: resource.name(),
        name,
        going: path::get(there, &["metadata", "deletionTimestamp"]).is_some(),
    }
}

/// Judges a new object: its rules first, then admission's.
fn judge_new(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    object: &Value,
    part: Part,
    track: bool,
    call: &mut Call,
) -> Result<(), Refusal> {
    admit::check(resource, Part::Whole, None, object, Vec::new(), call)?;
    if !track {
        let name = path::text(object, &["metadata", "name"]);
        authorize::may_create(state, resource, namespace, name, call)?;
    }
    let mut asked = Asked {
        state,
        resource,
        namespace,
        part,
        old: None,
    };
    plugins::judge(&mut asked, object, call)?;
    let write = Write {
        operation: Operation::Create,
        resource,
        namespace,
        name: path::text(object, &["metadata", "name"]),
        part: Part::Whole,
        new: Some(object),
        old: None,
    };
    policy::admit(state, &write, call)?;
    let asked = Asked {
        state,
        resource,
        namespace,
        part,
        old: None,
    };
    plugins::count(&asked, object)
}

/// Gives an object that has only a prefix a name that is free.
fn name_it(state: &mut State, resource: &Resource, namespace: Option<&str>, object: &mut Value) {
    let prefix = path::text(object, &["metadata", "generateName"]).to_owned();
    if !path::text(object, &["metadata", "name"]).is_empty() || prefix.is_empty() {
        return;
    }
    let mut name = String::new();
    for _ in 0..8 {
        let room = prefix.chars().take(58).collect::<String>();
        name = format!("{room}{}", state.random.suffix());
        if !state.contains(resource.storage, &key(namespace, &name)) {
            break;
        }
    }
    path::set(object, &["metadata", "name"], name.into());
}

/// Refuses to create in a namespace that is missing or going.
fn admit_namespace(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<(), Refusal> {
    let Some(namespaces) = state.registry.get("", "v1", "namespaces") else {
        return Ok(());
    };
    let Some(live) = state.get(namespaces.storage, &Key::new("", namespace)) else {
        return Err(not_found(namespaces, namespace));
    };
    if path::get(&live, &["metadata", "deletionTimestamp"]).is_some() {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        return Err(Refusal::Forbidden {
            resource: resource.name(),
            name: name.to_owned(),
            why,
            causes: vec![Cause {
                reason: "NamespaceTerminating",
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            }],
        });
    }
    Ok(())
}
