//! Owns the writes: create, update, patch, apply. Each is one step under the lock: read, decide,
//! write or refuse. It refuses HTTP and removal (`remove`).

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, path, split_api_version};

use crate::admit;
use crate::authorize;
use crate::builtin;
use crate::call::{Call, Part, stamp};
use crate::change;
use crate::convert;
use crate::custom;
use crate::exposure;
use crate::faces;
use crate::meta;
use crate::plugins::{self, Asked};
use crate::policy::{self, Operation, Write};
use crate::refusal::{Cause, Refusal, ResourceName};
use crate::registry::Resource;
use crate::remove;
use crate::scale;
use crate::state::State;
use crate::stored::Stored;
use crate::write::{self, PatchKind, Patched};

/// The key of a name in the resource's scope.
pub(crate) fn key(namespace: Option<&str>, name: &str) -> Key {
    Key::new(namespace.unwrap_or_default(), name)
}

pub(crate) fn not_found(resource: &Resource, name: &str) -> Refusal {
    Refusal::NotFound {
        resource: resource.name(),
        name: name.to_owned(),
    }
}

/// The object as it is kept.
pub(crate) fn stored(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
) -> Result<Arc<Stored>, Refusal> {
    state
        .stored(resource.storage, &key(namespace, name))
        .cloned()
        .ok_or_else(|| not_found(resource, name))
}

/// The object as the resource shows it.
pub(crate) fn get(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
) -> Result<Arc<Value>, Refusal> {
    state
        .get(resource.storage, &key(namespace, name))
        .map(|object| convert::outward(resource, &object))
        .ok_or_else(|| not_found(resource, name))
}

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

fn insert(
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
    admit::check(resource, None, object, Vec::new(), call)?;
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

/// Replaces an object, or its part.
pub(crate) fn update(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    part: Part,
    mut object: Value,
    call: &mut Call,
) -> Result<Arc<Value>, Refusal> {
    if part == Part::Scale {
        return scale::write(state, resource, namespace, name, call, |_, _| Ok(object));
    }
    admit::place(resource, namespace, Some(name), &mut object, call)?;
    let version = path::text(&object, &["metadata", "resourceVersion"]).to_owned();
    if version.is_empty()
        && (resource.custom.is_some() || resource.is("coordination.k8s.io", "Lease"))
    {
        let detail = "must be specified for an update";
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: 0: {detail}"),
            field: "metadata.resourceVersion".to_owned(),
        };
        // A missing object is told first.
        get(state, resource, namespace, name)?;
        return Err(Refusal::Invalid {
            group: resource.kind.group.to_string(),
            kind: resource.kind.plural.to_string(),
            name: name.to_owned(),
            causes: vec![cause],
        });
    }
    let old = live(state, resource, namespace, name)?;
    replace(
        state,
        resource,
        namespace,
        &old,
        object,
        How::of(part),
        call,
    )
}

fn live(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
) -> Result<Arc<Value>, Refusal> {
    state
        .get(resource.storage, &key(namespace, name))
        .ok_or_else(|| not_found(resource, name))
}

/// Applies a patch to an object, or its part. An apply creates what is missing.
#[expect(clippy::too_many_arguments, reason = "a patch has all of these, once")]
pub(crate) fn patch(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    part: Part,
    kind: PatchKind,
    mut body: Value,
    call: &mut Call,
) -> Result<(Arc<Value>, bool), Refusal> {
    if part == Part::Scale {
        if kind == PatchKind::Apply {
            let new = scale::apply(state, resource, namespace, name, body, call)?;
            return Ok((new, false));
        }
        let whole =
            |live: Arc<Value>, call: &mut Call| patch_of(&faces::SCALE, live, kind, body, call);
        return Ok((
            scale::write(state, resource, namespace, name, call, whole)?,
            false,
        ));
    }
    let old = live(state, resource, namespace, name);
    if kind == PatchKind::Apply {
        call.applied = true;
        let own = |field| path::text(&body, &["metadata", field]).to_owned();
        let (sent_namespace, sent_name) = (own("namespace"), own("name"));
        let sent = (sent_namespace.as_str(), sent_name.as_str());
        let given = |field| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let (api_version, own_kind) = (given("apiVersion"), given("kind"));
        if api_version != resource.api_version || *own_kind != *resource.kind.kind {
            let (group, version) = split_api_version(api_version);
            return Err(Refusal::BadRequest(format!(
                "invalid object type: {group}/{version}, Kind={own_kind}"
            )));
        }
        // What is to be created has to say its name.
        call.named = old.is_ok();
        admit::place(resource, namespace, Some(name), &mut body, call)?;
        let has = |field: &str| path::get(&body, &["metadata", field]).is_some();
        if has("managedFields") {
            return Err(Refusal::BadRequest(
                "metadata.managedFields must be nil".to_owned(),
            ));
        }
        return match old {
            Err(_) if part != Part::Whole => Err(not_found(resource, name)),
            Err(_) if sent.1.is_empty() => Err(Refusal::BadRequest(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be \
                 provided"
            ))),
            Err(_) => {
                let uid = path::text(&body, &["metadata", "uid"]);
                if !uid.is_empty() {
                    return Err(Refusal::Conflict {
                        resource: resource.name(),
                        name: name.to_owned(),
                        why: format!(
                            "uid mismatch: the provided object specified uid {uid}, and no existing \
                             object was found"
                        ),
                    });
                }
                let mut object = write::applied(resource, None, &body, sent, part, call)?;
                admit::shape(resource, &mut object, call)?;
                insert(state, resource, namespace, object, part, call, false).map(|o| (o, true))
            }
            Ok(old) => {
                let shown = convert::outward(resource, &old);
                let (uid, is) = (
                    path::text(&body, &["metadata", "uid"]),
                    path::text(&old, &["metadata", "uid"]),
                );
                if !uid.is_empty() && uid != is {
                    return Err(Refusal::Invalid {
                        group: resource.kind.group.to_string(),
                        kind: resource.kind.kind.to_string(),
                        name: name.to_owned(),
                        causes: vec![Cause::invalid(
                            "metadata.uid",
                            &uid.into(),
                            "field is immutable",
                        )],
                    });
                }
                check_version(resource, &old, &body, call)?;
                let object = write::applied(resource, Some(&shown), &body, sent, part, call)?;
                let how = How {
                    track: false,
                    ..How::of(part)
                };
                let out = replace(state, resource, namespace, &old, object, how, call)?;
                Ok((out, false))
            }
        };
    }
    let old = old?;
    let shown = convert::outward(resource, &old);
    let mut object = patch_of(resource, shown, kind, body, call)?;
    admit::place(resource, namespace, Some(name), &mut object, call)?;
    Ok((
        replace(
            state,
            resource,
            namespace,
            &old,
            object,
            How::of(part),
            call,
        )?,
        false,
    ))
}

/// The object that a patch makes of another one. The call remembers how it came about.
fn patch_of(
    resource: &Resource,
    live: Arc<Value>,
    kind: PatchKind,
    body: Value,
    call: &mut Call,
) -> Result<Value, Refusal> {
    let body = Arc::new(body);
    let object = write::patched(resource, &live, kind, &body)?;
    let doubled = std::mem::take(&mut call.doubled);
    call.patch = Some(Patched {
        live,
        kind,
        body,
        complaints: doubled
            .iter()
            .map(|path| format!("duplicate field \"{path}\""))
            .collect(),
    });
    Ok(object)
}

fn check_version(
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
    authorize::complete(resource, &mut new);
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
    admit::check(resource, Some(old), new, early, call)?;
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

/// Puts a pod on a node.
pub(crate) fn bind(
    state: &mut State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    node: &str,
    call: &mut Call,
) -> Result<Arc<Value>, Refusal> {
    let old = live(state, resource, namespace, name)?;
    let bound = path::text(&old, &["spec", "nodeName"]);
    if !bound.is_empty() {
        return Err(Refusal::Conflict {
            resource: ResourceName {
                group: String::new(),
                plural: "pods/binding".to_owned(),
            },
            name: name.to_owned(),
            why: format!("pod {name} is already assigned to node \"{bound}\""),
        });
    }
    let mut new = (*old).clone();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace},
        "target": {"kind": "Node", "name": node},
    });
    let write = Write {
        operation: Operation::Create,
        resource,
        namespace,
        name,
        part: Part::Binding,
        new: Some(&binding),
        old: None,
    };
    policy::admit(state, &write, call)?;
    path::set(&mut new, &["spec", "nodeName"], node.into());
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": stamp(call.now)});
    let conditions = path::get(&new, &["status", "conditions"]).and_then(Value::as_array);
    let mut conditions = conditions.cloned().unwrap_or_default();
    conditions.retain(|c| path::text(c, &["type"]) != "PodScheduled");
    conditions.push(scheduled);
    path::set(&mut new, &["status", "conditions"], conditions.into());
    replace(
        state,
        resource,
        namespace,
        &old,
        new,
        How::of(Part::Binding),
        call,
    )
}
