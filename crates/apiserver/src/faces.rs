//! Owns the kinds that are sent to parts of other kinds: a Scale, a Binding, an Eviction. They are
//! read as objects of their own; what they do is the business of the part.

use std::sync::LazyLock;

use serde_json::Value;
use weir_object::{Kind, path};
use weir_schema::{Schema, TypeRef};

use crate::admit;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::registry::Resource;

fn face(group: &'static str, kind: &'static str, plural: &'static str) -> Resource {
    let typing = Schema::builtin().type_of(group, "v1", kind);
    Resource::face(
        Kind::namespaced(group, "v1", kind, plural),
        typing.unwrap_or_else(TypeRef::untyped),
    )
}

/// `autoscaling/v1` Scale.
pub(crate) static SCALE: LazyLock<Resource> =
    LazyLock::new(|| face("autoscaling", "Scale", "scales"));
/// `v1` Binding.
static BINDING: LazyLock<Resource> = LazyLock::new(|| face("", "Binding", "bindings"));
/// `policy/v1` Eviction.
static EVICTION: LazyLock<Resource> = LazyLock::new(|| face("policy", "Eviction", "evictions"));

/// Reads an Eviction of a pod.
pub(crate) fn eviction(
    namespace: Option<&str>,
    name: &str,
    object: &mut Value,
    call: &mut Call,
) -> Result<(), Refusal> {
    admit::place(&EVICTION, namespace, None, object, call)?;
    admit::shape(&EVICTION, object, call)?;
    let named = path::text(object, &["metadata", "name"]);
    if !named.is_empty() && named != name {
        return Err(Refusal::BadRequest(
            "name in URL does not match name in Eviction object".to_owned(),
        ));
    }
    Ok(())
}

/// Reads a Binding of a pod; answers the node.
pub(crate) fn binding(
    namespace: Option<&str>,
    name: &str,
    object: &mut Value,
    call: &mut Call,
) -> Result<String, Refusal> {
    admit::place(&BINDING, namespace, None, object, call)?;
    admit::shape(&BINDING, object, call)?;
    let named = path::text(object, &["metadata", "name"]);
    if !named.is_empty() && named != name {
        return Err(Refusal::BadRequest(
            "name in URL does not match name in Binding object".to_owned(),
        ));
    }
    let kind = path::text(object, &["target", "kind"]);
    let node = path::text(object, &["target", "name"]);
    let mut faults = Vec::new();
    if !matches!(kind, "" | "Node") {
        faults.push(format!(
            "target.kind: Unsupported value: \"{kind}\": supported values: \"Node\", \"<empty>\""
        ));
    }
    if node.is_empty() {
        faults.push("target.name: Required value".to_owned());
    }
    match faults.as_slice() {
        [] => Ok(node.to_owned()),
        [one] => Err(Refusal::Failed(one.clone())),
        many => Err(Refusal::Failed(format!("[{}]", many.join(", ")))),
    }
}
