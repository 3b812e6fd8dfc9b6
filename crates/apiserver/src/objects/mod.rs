//! Owns reading objects and the writes: creation ([`create()`]), update, patch and apply. Each is one
//! step under the lock: read, decide, write or refuse. It refuses HTTP and removal (`remove`).

mod create;
mod replace;

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, path, split_api_version};

use crate::admit;
use crate::call::{Call, Part, stamp};
use crate::convert;
use crate::faces;
use crate::policy::{self, Operation, Write};
use crate::refusal::{Cause, Refusal, ResourceName};
use crate::registry::Resource;
use crate::scale;
use crate::state::State;
use crate::stored::Stored;
use crate::write::{self, PatchKind, Patched};

pub(crate) use create::create;
pub(crate) use replace::{How, custom_storage, replace};

use create::insert;
use replace::check_version;

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
