//! Owns what a CustomResourceDefinition means: its resources, print columns and schemas, and its
//! own status. It refuses conversion webhooks: versions differ in their `apiVersion` only.

mod lists;
mod rules;
mod schema;
mod shown;
mod spec;
mod status;
mod structure;

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Kind, path};
use weir_schema::{Schema, TypeRef};

use crate::refusal::Refusal;
use crate::registry::{Registry, Resource, Storage};
use crate::structural::Structural;
use crate::table::Column;

pub(crate) use spec::check_definition;
pub(crate) use status::{begin, mark_going, note_storage, reconsider, settle};

/// The finalizer by which a definition waits for its objects.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The version in which a definition's objects are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) api_version: String,
    pub(crate) schema: Structural,
}

impl Kept {
    fn of(definition: &Value) -> Self {
        let version = versions(definition).find(|v| flag(v, "storage"));
        let version = version.cloned().unwrap_or_default();
        let group = path::text(definition, &["spec", "group"]);
        Self {
            api_version: format!("{group}/{}", path::text(&version, &["name"])),
            schema: Structural::read(&document(&version)),
        }
    }
}

fn document(version: &Value) -> Value {
    let document = path::get(version, &["schema", "openAPIV3Schema"]);
    document.cloned().unwrap_or_default()
}

fn typing(document: &Value, plural: &str) -> TypeRef {
    Schema::from_crd_schema(document).unwrap_or_else(|unreadable| {
        tracing::warn!(%unreadable, %plural, "fields of the kind are merged without types");
        TypeRef::untyped()
    })
}

/// What a definition says of one version.
#[derive(Debug)]
pub(crate) struct Custom {
    /// The definition's name.
    pub(crate) definition: String,
    /// The definition goes; nothing new is created.
    pub(crate) going: bool,
    /// The version that objects are kept in, when only a webhook could convert them to this one.
    pub(crate) foreign: Option<String>,
    pub(crate) schema: Structural,
    /// How objects are kept, in whichever version they are written.
    pub(crate) kept: Arc<Kept>,
    /// The schema as it was written, for OpenAPI.
    pub(crate) document: Value,
    pub(crate) columns: Vec<Column>,
    /// Where `spec.replicas`, `status.replicas` and the selector are.
    pub(crate) scale: Option<(String, String, String)>,
    pub(crate) selectable: Vec<String>,
    pub(crate) deprecation: Option<String>,
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    path::get(definition, &["spec", "versions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Fills the names that may be left out.
pub(crate) fn default_definition(definition: &mut Value) {
    let kind = path::text(definition, &["spec", "names", "kind"]).to_owned();
    for (field, value) in [
        ("singular", kind.to_lowercase()),
        ("listKind", format!("{kind}List")),
    ] {
        if !kind.is_empty() && path::text(definition, &["spec", "names", field]).is_empty() {
            path::set(definition, &["spec", "names", field], value.into());
        }
    }
    if path::get(definition, &["spec", "conversion"]).is_none() {
        path::set(
            definition,
            &["spec", "conversion"],
            json!({"strategy": "None"}),
        );
    }
}

/// Refuses what only a webhook could convert: none is called. `given` says that the object comes
/// in the resource's version, not in the version it is kept in.
pub(crate) fn convertible(resource: &Resource, given: bool) -> Result<(), Refusal> {
    let Some(kept) = resource.custom.as_ref().and_then(|c| c.foreign.as_ref()) else {
        return Ok(());
    };
    let from = if given { &resource.api_version } else { kept };
    Err(Refusal::Failed(format!(
        "conversion webhook for {from}, Kind={} failed: webhooks are not called here",
        resource.kind.kind
    )))
}

/// Serves what a definition says, keeping its objects in `storage`.
pub(crate) fn serve(registry: &mut Registry, definition: &Value, storage: Storage) {
    let text = |p: &[&str]| path::text(definition, p).to_owned();
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    registry.remove(&group, &plural);
    let kept = Arc::new(Kept::of(definition));
    let all: Arc<[(String, TypeRef)]> = versions(definition)
        .map(|version| {
            let name = path::text(version, &["name"]);
            (
                format!("{group}/{name}"),
                typing(&document(version), &plural),
            )
        })
        .collect();
    let webhook = text(&["spec", "conversion", "strategy"]) == "Webhook";
    let foreign = webhook.then(|| kept.api_version.clone());
    for version in versions(definition).filter(|v| flag(v, "served")) {
        let document = document(version);
        let typing = typing(&document, &plural);
        let kind = Kind {
            group: group.clone().into(),
            version: path::text(version, &["name"]).to_owned().into(),
            kind: text(&["spec", "names", "kind"]).into(),
            plural: plural.clone().into(),
            namespaced: text(&["spec", "scope"]) == "Namespaced",
        };
        let scale = path::get(version, &["subresources", "scale"]);
        let columns = path::get(version, &["additionalPrinterColumns"]).and_then(Value::as_array);
        let selectable = version.get("selectableFields").and_then(Value::as_array);
        registry.insert(Resource {
            list_kind: text(&["spec", "names", "listKind"]),
            singular: text(&["spec", "names", "singular"]),
            short: texts(path::get(
                definition,
                &["status", "acceptedNames", "shortNames"],
            )),
            categories: texts(path::get(definition, &["spec", "names", "categories"])),
            status: path::get(version, &["subresources", "status"]).is_some(),
            scale: scale.is_some(),
            generation: true,
            storage,
            api_version: kind.api_version(),
            typing,
            go: None,
            versions: all.clone(),
            custom: Some(Custom {
                kept: kept.clone(),
                definition: text(&["metadata", "name"]),
                foreign: foreign.clone().filter(|kept| *kept != kind.api_version()),
                going: path::get(definition, &["metadata", "deletionTimestamp"]).is_some(),
                schema: Structural::read(&document),
                columns: crate::table::custom_columns(columns.map_or(&[][..], Vec::as_slice)),
                scale: scale.map(|scale| {
                    let at = |key| path::text(scale, &[key]).trim_start_matches('.').to_owned();
                    (
                        at("specReplicasPath"),
                        at("statusReplicasPath"),
                        at("labelSelectorPath"),
                    )
                }),
                selectable: selectable
                    .into_iter()
                    .flatten()
                    .map(|f| {
                        path::text(f, &["jsonPath"])
                            .trim_start_matches('.')
                            .to_owned()
                    })
                    .collect(),
                deprecation: flag(version, "deprecated").then(|| {
                    let own = path::text(version, &["deprecationWarning"]);
                    if own.is_empty() {
                        format!("{} {} is deprecated", kind.api_version(), kind.kind)
                    } else {
                        own.to_owned()
                    }
                }),
                document,
            }),
            kind,
        });
    }
}
