//! Owns the way of an object from what a client wrote to what may be kept: names and kinds agree,
//! fields are known, defaults are filled, the rules of its kind hold. It refuses storage.

use serde_json::{Map, Value};
use weir_object::{path, split_api_version};

use crate::builtin;
use crate::call::{Call, Part, Validation};
use crate::custom;
use crate::meta;
use crate::policy;
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::scale;
use crate::structural::{self, Nulls};
use crate::typed::{self, From, Kept};
use crate::write::{self, Patched};

/// The package of a group's internal types, as conversions name them.
pub(crate) fn package(group: &str) -> &str {
    match group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or_default(),
    }
}

/// The kind in a body, with what is left out taken from the resource.
fn kind_of(resource: &Resource, object: &Map<String, Value>) -> (String, String) {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let or = |text: String, other: &str| {
        if text.is_empty() {
            other.to_owned()
        } else {
            text
        }
    };
    (
        or(api_version, &resource.api_version),
        or(kind, &resource.kind.kind),
    )
}

/// Why an object of this kind is none of the resource's.
fn wrong_kind(resource: &Resource, api_version: &str, kind: &str) -> Option<String> {
    let same_group = split_api_version(api_version).0 == resource.kind.group;
    if kind == resource.kind.kind
        && (api_version == resource.api_version || same_group && known(api_version, kind))
    {
        return None;
    }
    Some(if known(api_version, kind) {
        let (_, version) = split_api_version(api_version);
        format!(
            "converting ({version}.{kind}) to ({}.{}): unknown conversion",
            package(&resource.kind.group),
            resource.kind.kind
        )
    } else {
        format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/runtime/scheme.go:110\""
        )
    })
}

/// Kinds that every version of every group has.
const SHARED: [&str; 7] = [
    "ListOptions",
    "GetOptions",
    "DeleteOptions",
    "CreateOptions",
    "UpdateOptions",
    "PatchOptions",
    "WatchEvent",
];

fn known(api_version: &str, kind: &str) -> bool {
    let of = |kind: &str| {
        weir_schema::GoTypes::builtin()
            .of(api_version, kind)
            .is_some()
    };
    of(kind)
        || kind.strip_suffix("List").is_some_and(of)
        || SHARED.contains(&kind)
        || api_version == "v1" && matches!(kind, "List" | "Status")
}

/// Says of a body that it cannot be read as the resource's kind.
fn unreadable(api_version: &str, kind: &str, resource: &Resource, why: &str) -> Refusal {
    let (_, version) = split_api_version(api_version);
    Refusal::BadRequest(format!(
        "{kind} in version \"{version}\" cannot be handled as a {}: {why}",
        resource.kind.kind
    ))
}

/// Checks that a body is an object of the resource, in the place of the request, and fills what
/// the request already says.
pub(crate) fn place(
    resource: &Resource,
    namespace: Option<&str>,
    name: Option<&str>,
    object: &mut Value,
    call: &Call,
) -> Result<(), Refusal> {
    let Value::Object(map) = object else {
        return Err(Refusal::BadRequest(
            "the body must be a JSON object".to_owned(),
        ));
    };
    let (api_version, kind) = kind_of(resource, map);
    if resource.custom.is_none() {
        // A strategic patch is laid over the typed object, so what it says of types is not read.
        let ignored = call.patch.as_ref().is_some_and(|p| p.from() == From::Map);
        if !ignored && let Some(why) = wrong_kind(resource, &api_version, &kind) {
            // It is read as what it says it is before anybody asks whether that fits.
            let own = weir_schema::GoTypes::builtin().of(&api_version, &kind);
            let read = |go| typed::decode(Value::Object(map.clone()), go, false, From::Text);
            let why = own.and_then(|go| read(go).err()).unwrap_or(why);
            return Err(match &call.patch {
                Some(patch) => patch.refuse(resource, &why),
                None => unreadable(&api_version, &kind, resource, &why),
            });
        }
        if !ignored && api_version != resource.api_version {
            return Err(Refusal::BadRequest(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                resource.api_version
            )));
        }
    } else {
        let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("kind").is_empty() || text("apiVersion").is_empty() {
            return Err(Refusal::BadRequest(
                "Object 'Kind' or 'apiVersion' is missing".to_owned(),
            ));
        }
        if call.patch.is_some() || api_version == resource.api_version {
            // What a patch makes of an object is judged as an object.
            let cause = [
                ("apiVersion", &*api_version, &*resource.api_version),
                ("kind", &*kind, &*resource.kind.kind),
            ]
            .into_iter()
            .filter(|(_, is, wanted)| is != wanted)
            .map(|(field, is, wanted)| {
                Cause::invalid(field, &is.into(), &format!("must be {wanted}"))
            });
            let causes: Vec<Cause> = cause.collect();
            if !causes.is_empty() {
                let own = map.get("metadata").map_or("", |m| path::text(m, &["name"]));
                return Err(Refusal::Invalid {
                    group: split_api_version(&api_version).0.to_owned(),
                    kind,
                    name: name.unwrap_or(own).to_owned(),
                    causes,
                });
            }
        }
        if api_version != resource.api_version {
            return Err(Refusal::BadRequest(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                resource.api_version
            )));
        }
    }
    map.insert("apiVersion".into(), resource.api_version.clone().into());
    map.insert("kind".into(), resource.kind.kind.to_string().into());
    let meta = map
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if meta.is_null() {
        *meta = Value::Object(Map::new());
    }
    let Value::Object(meta) = meta else {
        if resource.custom.is_none() {
            // The decoder says what is wrong with it.
            return Ok(());
        }
        return Err(Refusal::BadRequest(
            "metadata must be a JSON object".to_owned(),
        ));
    };
    let given = meta
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match namespace {
        Some(namespace) if given.is_empty() => {
            meta.insert("namespace".into(), namespace.into());
        }
        Some(namespace) if given != namespace => {
            return Err(Refusal::BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
                    .to_owned(),
            ));
        }
        Some(_) => {}
        None => {
            meta.shift_remove("namespace");
        }
    }
    if let Some(name) = name {
        let given = meta.get("name").and_then(Value::as_str).unwrap_or_default();
        if given.is_empty() && call.named {
            meta.insert("name".into(), name.into());
        } else if given.is_empty() {
            return Err(Refusal::BadRequest(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        } else if given != name {
            return Err(Refusal::BadRequest(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
    }
    Ok(())
}

/// Drops or refuses unknown fields, fills defaults, and writes the object as it is kept.
pub(crate) fn shape(
    resource: &Resource,
    object: &mut Value,
    call: &mut Call,
) -> Result<(), Refusal> {
    let (mut complaints, fault) = match (&resource.custom, resource.go) {
        (Some(custom), _) => shape_custom(custom, object, call),
        (None, Some(go)) => {
            let from = call.patch.as_ref().map_or(From::Text, Patched::from);
            match typed::decode(std::mem::take(object), go, !call.doubled.is_empty(), from) {
                Ok(decoded) => {
                    *object = decoded.value;
                    (decoded.strict, None)
                }
                Err(why) => (Vec::new(), Some(why)),
            }
        }
        (None, None) => (Vec::new(), None),
    };
    if let Some(why) = fault {
        return Err(match &call.patch {
            Some(patch) => patch.refuse(resource, &why),
            None => unreadable(&resource.api_version, &resource.kind.kind, resource, &why),
        });
    }
    if let Some(patch) = &call.patch {
        complaints.splice(0..0, patch.complaints.iter().cloned());
    }
    let repeated = std::mem::take(&mut call.repeated);
    match call.validation {
        // The reader of YAML tells all of its complaints as one.
        Validation::Strict if !repeated.is_empty() => {
            let lines = repeated.join("\n  ");
            complaints.insert(0, format!("yaml: unmarshal errors:\n  {lines}"));
        }
        _ => drop(complaints.splice(0..0, repeated)),
    }
    if !complaints.is_empty() {
        match call.validation {
            Validation::Ignore => {}
            Validation::Warn => complaints.into_iter().for_each(|text| call.warn(text)),
            Validation::Strict => {
                let why = format!("strict decoding error: {}", complaints.join(", "));
                return Err(match &call.patch {
                    Some(patch) => patch.refuse(resource, &why),
                    None => unreadable(&resource.api_version, &resource.kind.kind, resource, &why),
                });
            }
        }
    }
    match &resource.custom {
        Some(custom) if call.applied => structural::fill(object, &custom.schema, Nulls::Keep),
        _ => defaults(resource, object),
    }
    settle(resource, object);
    Ok(())
}

/// An object of the kind in which nothing is said.
pub(crate) fn empty(resource: &Resource) -> Value {
    let mut empty = Value::Object(Map::new());
    if let Some(go) = resource.go {
        typed::settle(&mut empty, go, Kept::Protobuf);
    }
    empty
}

/// Writes an object of a built-in kind as it is kept.
pub(crate) fn settle(resource: &Resource, object: &mut Value) {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    // What is kept of an object may be another version of it.
    let go = if resource.go.is_some() && resource.converts(object) {
        weir_schema::GoTypes::builtin()
            .of(text("apiVersion"), text("kind"))
            .or(resource.go)
    } else {
        resource.go
    };
    if let Some(go) = go {
        if resource.is("", "Service") && path::text(object, &["spec", "type"]) == "ExternalName" {
            path::remove(object, &["spec", "internalTrafficPolicy"]);
        }
        let json = matches!(
            resource.kind.group.as_ref(),
            "apiextensions.k8s.io" | "apiregistration.k8s.io"
        );
        typed::settle(object, go, if json { Kept::Json } else { Kept::Protobuf });
    }
}

/// What the store below the API takes at most.
const KEPT: usize = 1536 * 1024;

/// Refuses what is too large to be kept.
pub(crate) fn fits(object: &Value, call: &Call) -> Result<(), Refusal> {
    if call.large && object.to_string().len() > KEPT {
        return Err(Refusal::Failed(
            "etcdserver: request is too large".to_owned(),
        ));
    }
    Ok(())
}

/// Prunes a custom object and shapes its metadata.
fn shape_custom(
    custom: &custom::Custom,
    object: &mut Value,
    call: &mut Call,
) -> (Vec<String>, Option<String>) {
    let mut complaints: Vec<String> = std::mem::take(&mut call.doubled)
        .iter()
        .map(|path| format!("duplicate field \"{path}\""))
        .collect();
    if !complaints.is_empty() {
        typed::plain(object);
    }
    let meta = object.get_mut("metadata");
    if let (Some(meta), Some(go)) = (meta, weir_schema::GoTypes::builtin().object_meta()) {
        match typed::decode(meta.take(), go, false, From::Text) {
            Ok(decoded) => {
                *meta = decoded.value;
                typed::settle(meta, go, Kept::Json);
                let prefix = |text: String| text.replacen("field \"", "field \"metadata.", 1);
                complaints.extend(decoded.strict.into_iter().map(prefix));
            }
            Err(why) => return (complaints, Some(why)),
        }
    }
    let mut unknown = Vec::new();
    structural::prune(object, &custom.schema, true, &mut unknown);
    complaints.extend(
        unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\"")),
    );
    (complaints, None)
}

/// Fills absent fields.
pub(crate) fn defaults(resource: &Resource, object: &mut Value) {
    match &resource.custom {
        Some(custom) => structural::fill(object, &custom.schema, Nulls::Drop),
        None if resource.kind.kind == "CustomResourceDefinition" => {
            custom::default_definition(object);
        }
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicy") => policy::fill(object),
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicyBinding") => {
            policy::fill_binding(object);
        }
        None => {
            write::builtin_defaults(object);
            builtin::derive(resource, object);
        }
    }
}

/// Checks the rules of the kind; all causes are told together.
pub(crate) fn check(
    resource: &Resource,
    part: Part,
    old: Option<&Value>,
    new: &Value,
    early: Vec<Cause>,
    call: &mut Call,
) -> Result<(), Refusal> {
    if resource.custom.is_none() {
        let warnings = builtin::early_warnings(resource, new);
        for text in warnings {
            call.warn(text);
        }
    }
    let mut causes: Vec<Cause> = meta::check(resource, old, new, early);
    match &resource.custom {
        Some(custom) => {
            let counts = scale::check(custom, part, new);
            let judged = structural::judge(new, old, &custom.schema, counts);
            let mut found = judged.causes;
            if part == Part::Status {
                // The status is judged by itself, and so its fields are named in the words.
                for cause in &mut found {
                    let inner = cause.field.strip_prefix("status.").unwrap_or(&cause.field);
                    let (whole, inner) = (
                        format!("{} in body", cause.field),
                        format!("{inner} in body"),
                    );
                    cause.message = cause.message.replacen(&whole, &inner, 1);
                }
            }
            causes.extend(found);
            judged.warnings.into_iter().for_each(|text| call.warn(text));
        }
        None if resource.kind.kind == "CustomResourceDefinition" => {
            causes.extend(custom::check_definition(new, old));
        }
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicy") => {
            causes.extend(policy::check_policy(new));
        }
        None if resource.is(policy::GROUP, "ValidatingAdmissionPolicyBinding") => {
            causes.extend(policy::check_binding(new));
        }
        None => causes.extend(builtin::check(resource, part, old, new)),
    }
    if causes.is_empty() {
        let warnings = if resource.custom.is_none() {
            builtin::warnings(resource, old, new)
        } else {
            meta::finalizer_warnings(old, new)
        };
        for text in warnings {
            call.warn(text);
        }
        return Ok(());
    }
    Err(Refusal::Invalid {
        group: resource.kind.group.to_string(),
        kind: resource.kind.kind.to_string(),
        name: path::text(new, &["metadata", "name"]).to_owned(),
        causes,
    })
}
