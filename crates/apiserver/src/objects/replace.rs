//! Owns change: the one way in which an object becomes another, its parts kept apart and its
//! version checked. It refuses to know what was sent: an update, a patch and an apply all end here.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::path;

use super::key;
use crate::admit;
use crate::authorize;
use crate::builtin;
use crate::call::{Call, Part};
use crate::change;
use crate::convert;
use crate::custom;
use crate::exposure;
use crate::meta;
use crate::plugins::{self, Asked};
use crate::policy::{self, Operation, Write};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::remove;
use crate::state::State;
use crate::write;

pub(super) fn check_version(
    resource: &Resource,
    old: &Value,
    new: &Value,
    call: &Call,
) -> Result<(), Refusal> {
    let name = path::text(old, &["metadata", "name"]);
    let conflict = |why: String| {
        Err(Refusal::Conflict {
            resource: resource.name(),
            name: name.to_owned(),
            why,
        })
    };
    let (given, is) = (
        path::text(new, &["metadata", "uid"]),
        path::text(old, &["metadata", "uid"]),
    );
    // A patch that changes the uid is refused for that field later.
    if !given.is_empty() && given != is && call.patch.is_none() {
        let namespace = path::text(old, &["metadata", "namespace"]);
        let scope = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        return conflict(format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{scope}{name}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {is}",
            resource.kind.plural
        ));
    }
    let given = path::text(new, &["metadata", "resourceVersion"]);
    if !given.is_empty() && given != path::text(old, &["metadata", "resourceVersion"]) {
        if given.parse::<u64>().is_err() {
            return Err(Refusal::Failed(format!(
                "strconv.ParseUint: parsing \"{given}\": invalid syntax"
            )));
        }
        return conflict(
            "the object has been modified; please apply your changes to the latest version and try again"
                .to_owned(),
        );
    }
    Ok(())
}

/// Through which door a write comes, and what it is recorded as.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) part: Part,
    pub(crate) recorded: Part,
    /// Whether ownership is still to be found by comparison; an apply has told it already.
    pub(crate) track: bool,
}

impl How {
    pub(crate) fn of(part: Part) -> Self {
        Self {
            part,
            recorded: part,
            track: true,
        }
    }
}

/// The one way in which an object changes.
pub(crate) fn replace(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    old: &Arc<Value>,
    mut new: Value,
    How {
        part,
        recorded,
        track,
    }: How,
    call: &mut Call,
) -> Result<Arc<Value>, Refusal> {
    let kept = old;
    // A custom object is judged in the version of the request.
    let old = if resource.custom.is_some() {
        &convert::outward(resource, kept)
    } else {
        kept
    };
    check_version(resource, old, &new, call)?;
    meta::dedup_owners(&mut new, &mut |text| call.warn(text));
    let early = meta::carry(old, &mut new);
    admit::shape(resource, &mut new, call)?;
    if track {
        // Whoever sends a change owns it, even where the part written does not take it.
        let before = convert::outward(resource, old);
        new = write::tracked(resource, Some(&before), new, recorded, call);
    }
    convert::inward(resource, &mut new);
    keep_other_parts(resource, part, old, &mut new);
    let name = path::text(old, &["metadata", "name"]);
    authorize::may_grant(state, resource, namespace, name, Some(old), &new, call)?;
    let whole = part == Part::Whole;
    let at = key(namespace, path::text(old, &["metadata", "name"]));
    let service = whole && resource.is("", "Service");
    if resource.custom.is_none() && whole {
        let mut asked = Asked {
            state,
            resource,
            namespace,
            part,
            old: Some(old),
        };
        plugins::fill(&mut asked, &mut new, call)?;
        builtin::every_write(resource, Some(old), &mut new);
    }
    if service {
        exposure::give(state, &at, Some(old), &mut new, call.dry_run)?;
    }
    let definition = resource.is("apiextensions.k8s.io", "CustomResourceDefinition");
    if definition && part == Part::Whole {
        custom::note_storage(&mut new);
    }
    if part == Part::Whole && change::needs_generation(resource, old, &new) {
        let generation = path::get(old, &["metadata", "generation"]).and_then(Value::as_i64);
        path::set(
            &mut new,
            &["metadata", "generation"],
            (generation.unwrap_or(0) + 1).into(),
        );
    }
    let judged = judge_change(
        state,
        resource,
        namespace,
        old,
        &new,
        (part, recorded),
        early,
        call,
    );
    if service && (judged.is_err() || call.dry_run) {
        exposure::take_back(state, &at, Some(old), &new);
    }
    judged?;
    admit::settle(resource, &mut new);
    admit::fits(&new, call)?;
    convert::keep(resource, &mut new);
    if change::same(kept, &new) {
        if !call.dry_run {
            remove::settle(state, resource, &at);
        }
        return Ok(convert::outward(resource, kept));
    }
    if call.dry_run {
        return Ok(convert::outward(resource, &Arc::new(new)));
    }
    if remove::goes(resource, &new) {
        // The last form is the one before; what is answered keeps its version.
        remove::finish(state, resource, &at);
        return Ok(convert::outward(resource, &Arc::new(new)));
    }
    if service && path::text(&new, &["spec", "clusterIP"]).is_empty() {
        let held = path::text(old, &["spec", "clusterIP"]);
        state.addresses.release(&at, held);
    }
    let new = state.put(resource.storage, &at, new);
    if definition {
        custom::settle(state, &at.name, call.now);
    }
    if part == Part::Whole && resource.is(policy::GROUP, "ValidatingAdmissionPolicy") {
        policy::settle(state, resource, &at.name, call.now);
    }
    remove::settle(state, resource, &at);
    Ok(convert::outward(resource, &new))
}

/// Judges a change: the rules of the kind first, then admission's.
#[expect(clippy::too_many_arguments, reason = "a change has all of these, once")]
fn judge_change(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    old: &Value,
    new: &Value,
    (part, recorded): (Part, Part),
    early: Vec<Cause>,
    call: &mut Call,
) -> Result<(), Refusal> {
    if part == Part::Binding {
        return Ok(());
    }
    admit::check(resource, part, Some(old), new, early, call)?;
    let mut asked = Asked {
        state,
        resource,
        namespace,
        part,
        old: Some(old),
    };
    plugins::judge(&mut asked, new, call)?;
    let write = Write {
        operation: Operation::Update,
        resource,
        namespace,
        name: path::text(old, &["metadata", "name"]),
        part: recorded,
        new: Some(new),
        old: Some(old),
    };
    policy::admit(state, &write, call)?;
    let asked = Asked {
        state,
        resource,
        namespace,
        part,
        old: Some(old),
    };
    plugins::count(&asked, new)
}

/// Where the objects of a definition are kept.
pub(crate) fn custom_storage(state: &State, definition: &Value) -> Option<usize> {
    let name = path::text(definition, &["metadata", "name"]);
    let of = |r: &&Arc<Resource>| r.custom.as_ref().is_some_and(|c| c.definition == name);
    state.registry.iter().find(of).map(|r| r.storage)
}

/// What a write of the status changes of an object's metadata.
fn own_metadata_of_status(resource: &Resource) -> &'static [&'static str] {
    let kind = (resource.kind.group.as_ref(), resource.kind.kind.as_ref());
    match kind {
        _ if resource.custom.is_some() => &[],
        (
            "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "admissionregistration.k8s.io"
            | "storage.k8s.io",
            _,
        )
        | ("networking.k8s.io", "ServiceCIDR")
        | ("resource.k8s.io", "ResourceClaim") => &[],
        ("apps", "Deployment") => &["annotations", "finalizers", "ownerReferences"],
        ("", "Pod") => &["labels", "annotations", "finalizers"],
        _ => &["labels", "annotations", "finalizers", "ownerReferences"],
    }
}

/// A write through one part leaves the others as they are.
fn keep_other_parts(resource: &Resource, part: Part, old: &Value, new: &mut Value) {
    match part {
        Part::Status => {
            let status = path::remove(new, &["status"]);
            let meta = path::remove(new, &["metadata"]);
            let mut kept = old.clone();
            match status {
                Some(status) => path::set(&mut kept, &["status"], status),
                None => {
                    path::remove(&mut kept, &["status"]);
                }
            }
            let own = own_metadata_of_status(resource);
            for (field, value) in meta.iter().filter_map(Value::as_object).flatten() {
                if field == "managedFields" || own.contains(&field.as_str()) {
                    path::set(&mut kept, &["metadata", field], value.clone());
                }
            }
            for field in own.iter().chain(&["managedFields"]) {
                if meta.as_ref().is_some_and(|m| m.get(field).is_none()) {
                    path::remove(&mut kept, &["metadata", field]);
                }
            }
            *new = kept;
        }
        Part::Whole => {
            if resource.status {
                match old.get("status") {
                    Some(status) => path::set(new, &["status"], status.clone()),
                    None => {
                        path::remove(new, &["status"]);
                    }
                }
            }
            if resource.is("", "Namespace") {
                let finalizers = path::get(old, &["spec", "finalizers"])
                    .cloned()
                    .unwrap_or_default();
                path::set(new, &["spec", "finalizers"], finalizers);
            }
        }
        Part::Finalize => {
            let finalizers = path::get(new, &["spec", "finalizers"])
                .cloned()
                .unwrap_or(json!([]));
            let managed = path::remove(new, &["metadata", "managedFields"]);
            *new = old.clone();
            path::remove(new, &["metadata", "managedFields"]);
            path::set(new, &["spec", "finalizers"], finalizers);
            if let Some(managed) = managed {
                path::set(new, &["metadata", "managedFields"], managed);
            }
        }
        Part::Scale | Part::Binding | Part::Eviction | Part::Token => {}
    }
}
