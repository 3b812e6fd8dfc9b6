//! Owns what a CustomResourceDefinition means: its resources, print columns and schemas, and its
//! own status. It refuses conversion webhooks: versions differ in their `apiVersion` only.

use serde_json::{Value, json};
use weir_object::{Kind, path};
use weir_schema::{Schema, TypeRef};

use crate::call::stamp;
use crate::refusal::Cause;
use crate::registry::{Registry, Resource, Storage};
use crate::structural::Structural;
use crate::table::Column;

/// The finalizer by which a definition waits for its objects.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What a definition says of one version.
#[derive(Debug)]
pub(crate) struct Custom {
    /// The definition's name.
    pub(crate) definition: String,
    pub(crate) schema: Structural,
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
        if path::text(definition, &["spec", "names", field]).is_empty() {
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

/// All that is wrong with a definition.
pub(crate) fn check_definition(definition: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let text = |p: &[&str]| path::text(definition, p).to_owned();
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    for (field, value) in [
        ("spec.group", &group),
        ("spec.names.plural", &plural),
        ("spec.names.kind", &text(&["spec", "names", "kind"])),
    ] {
        if value.is_empty() {
            out.push(Cause::required(field, ""));
        }
    }
    let name = text(&["metadata", "name"]);
    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        out.push(Cause::invalid("metadata.name", &name.into(), detail));
    }
    let scope = text(&["spec", "scope"]);
    if !matches!(scope.as_str(), "Namespaced" | "Cluster") {
        out.push(Cause {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: \"{scope}\": supported values: \"Cluster\", \"Namespaced\""
            ),
            field: "spec.scope".into(),
        });
    }
    if versions(definition).filter(|v| flag(v, "storage")).count() != 1 {
        let value = path::get(definition, &["spec", "versions"])
            .cloned()
            .unwrap_or_default();
        let detail = "must have exactly one version marked as storage version";
        out.push(Cause::invalid("spec.versions", &value, detail));
    }
    for (i, version) in versions(definition).enumerate() {
        let at = format!("spec.versions[{i}]");
        if path::text(version, &["name"]).is_empty() {
            out.push(Cause::required(format!("{at}.name"), ""));
        }
        let schema = path::get(version, &["schema", "openAPIV3Schema"]);
        if flag(version, "served") && schema.is_none() {
            let detail = "schemas are required";
            out.push(Cause::required(
                format!("{at}.schema.openAPIV3Schema"),
                detail,
            ));
        }
        if let Some(schema) = schema
            && path::text(schema, &["type"]) != "object"
        {
            let detail = "must be object at the root";
            let field = format!("{at}.schema.openAPIV3Schema.type");
            out.push(match schema.get("type") {
                Some(kind) => Cause::invalid(field, kind, detail),
                None => Cause::required(field, detail),
            });
        }
    }
    out
}

/// Writes the status that says the names are accepted and the kind is served.
pub(crate) fn establish(definition: &mut Value, now: jiff::Timestamp) {
    let names = path::get(definition, &["spec", "names"])
        .cloned()
        .unwrap_or_default();
    let storage = versions(definition)
        .find(|v| flag(v, "storage"))
        .map(|v| path::text(v, &["name"]).to_owned())
        .unwrap_or_default();
    let mut stored = texts(path::get(definition, &["status", "storedVersions"]));
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    let conditions = path::get(definition, &["status", "conditions"]).cloned().unwrap_or_else(|| {
        let now = stamp(now);
        json!([
            {"lastTransitionTime": now, "message": "no conflicts found", "reason": "NoConflicts",
             "status": "True", "type": "NamesAccepted"},
            {"lastTransitionTime": now, "message": "the initial names have been accepted",
             "reason": "InitialNamesAccepted", "status": "True", "type": "Established"},
        ])
    });
    path::set(
        definition,
        &["status"],
        json!({"conditions": conditions, "acceptedNames": names, "storedVersions": stored}),
    );
}

/// Serves what a definition says, keeping its objects in `storage`.
pub(crate) fn serve(registry: &mut Registry, definition: &Value, storage: Storage) {
    let text = |p: &[&str]| path::text(definition, p).to_owned();
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    registry.remove(&group, &plural);
    for version in versions(definition).filter(|v| flag(v, "served")) {
        let document = path::get(version, &["schema", "openAPIV3Schema"])
            .cloned()
            .unwrap_or_default();
        let typing = Schema::from_crd_schema(&document).unwrap_or_else(|unreadable| {
            tracing::warn!(%unreadable, %plural, "fields of the kind are merged without types");
            TypeRef::untyped()
        });
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
            short: texts(path::get(definition, &["spec", "names", "shortNames"])),
            categories: texts(path::get(definition, &["spec", "names", "categories"])),
            status: path::get(version, &["subresources", "status"]).is_some(),
            scale: scale.is_some(),
            generation: true,
            storage,
            api_version: kind.api_version(),
            typing,
            custom: Some(Custom {
                definition: text(&["metadata", "name"]),
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
