//! Owns the definitions made from the types: the structural schema of each kind, and the
//! `CustomResourceDefinition` around it.
//!
//! What a derive gives is a general JSON schema. The API server wants a structural one: references
//! resolved, absence instead of null, plain enums. [`structural`] turns the first into the second.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use weir_object::Kind;

use crate::names::{HELM_RESOURCE_POLICY, SUBSTITUTE};

/// A definition and the file it belongs in.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Name of the file, as upstream names it.
    pub file: String,
    /// The `CustomResourceDefinition`.
    pub value: Value,
}

/// All definitions, in the order of their files.
pub fn definitions() -> Vec<Definition> {
    let flux = |group: &'static str| Words {
        categories: vec!["all", "fluxcd", group],
        ..Words::default()
    };
    let substitute = (SUBSTITUTE, "disabled");
    let keep = (HELM_RESOURCE_POLICY, "keep");
    let age = column("Age", "date", ".metadata.creationTimestamp");
    let ready = column(
        "Ready",
        "string",
        r#".status.conditions[?(@.type=="Ready")].status"#,
    );
    let status = column(
        "Status",
        "string",
        r#".status.conditions[?(@.type=="Ready")].message"#,
    );
    let flagger = || Words {
        categories: vec!["all"],
        annotation: Some(keep),
        ..Words::default()
    };

    let mut all = vec![
        flagger().define::<crate::alert_provider::Spec, crate::alert_provider::Status>(
            &crate::alert_provider::KIND,
            vec![column("Type", "string", ".spec.type")],
        ),
        flagger().define::<crate::canary::Spec, crate::canary::Status>(
            &crate::canary::KIND,
            canary_columns(),
        ),
        flagger().define::<crate::metric_template::Spec, crate::metric_template::Status>(
            &crate::metric_template::KIND,
            vec![column("Provider", "string", ".spec.provider.type")],
        ),
        Words {
            short: vec!["gitrepo"],
            annotation: Some(substitute),
            unobserved: true,
            ..flux("fluxcd-sources")
        }
        .define::<crate::git_repository::Spec, crate::git_repository::Status>(
            &crate::git_repository::KIND,
            vec![
                column("URL", "string", ".spec.url"),
                age.clone(),
                ready.clone(),
                status.clone(),
            ],
        ),
        Words {
            short: vec!["ks"],
            annotation: Some(substitute),
            unobserved: true,
            ..flux("fluxcd-appliers")
        }
        .define::<crate::kustomization::Spec, crate::kustomization::Status>(
            &crate::kustomization::KIND,
            vec![age.clone(), ready.clone(), status.clone()],
        ),
        Words {
            short: vec!["imgrepo", "imagerepo"],
            unobserved: true,
            ..flux("fluxcd-images")
        }
        .define::<crate::image_repository::Spec, crate::image_repository::Status>(
            &crate::image_repository::KIND,
            vec![
                column("Image", "string", ".spec.image"),
                column("Tags", "string", ".status.lastScanResult.tagCount"),
                ready.clone(),
                status.clone(),
                wide("Last scan", "string", ".status.lastScanResult.scanTime"),
                age.clone(),
            ],
        ),
        Words {
            short: vec!["imgpol", "imagepol"],
            unobserved: true,
            ..flux("fluxcd-images")
        }
        .define::<crate::image_policy::Spec, crate::image_policy::Status>(
            &crate::image_policy::KIND,
            vec![
                column("Image", "string", ".status.latestRef.name"),
                column("Tag", "string", ".status.latestRef.tag"),
                ready.clone(),
                status.clone(),
                age.clone(),
            ],
        ),
        Words {
            short: vec!["iua", "imgupd", "imgauto"],
            annotation: Some(substitute),
            unobserved: true,
            ..flux("fluxcd-images")
        }
        .define::<crate::image_update_automation::Spec, crate::image_update_automation::Status>(
            &crate::image_update_automation::KIND,
            vec![
                ready,
                status,
                wide("Last run", "string", ".status.lastAutomationRunTime"),
                age,
            ],
        ),
    ];
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all
}

fn canary_columns() -> Vec<Value> {
    vec![
        column("Status", "string", ".status.phase"),
        column("Weight", "string", ".status.canaryWeight"),
        wide("Suspended", "boolean", ".spec.suspend"),
        wide("FailedChecks", "string", ".status.failedChecks"),
        wide("Interval", "string", ".spec.analysis.interval"),
        wide("Mirror", "boolean", ".spec.analysis.mirror"),
        wide("StepWeight", "string", ".spec.analysis.stepWeight"),
        wide("StepWeights", "string", ".spec.analysis.stepWeights"),
        wide("MaxWeight", "string", ".spec.analysis.maxWeight"),
        column("LastTransitionTime", "string", ".status.lastTransitionTime"),
    ]
}

fn column(name: &str, kind: &str, path: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path})
}

/// A column that is shown only with `-o wide`.
fn wide(name: &str, kind: &str, path: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path, "priority": 1})
}

/// The words of a definition that its types do not say.
#[derive(Clone, Debug, Default)]
struct Words {
    short: Vec<&'static str>,
    categories: Vec<&'static str>,
    annotation: Option<(&'static str, &'static str)>,
    /// Whether a new object's status says that no generation was observed, so that waiting clients
    /// do not take it for done.
    unobserved: bool,
}

impl Words {
    fn define<S: JsonSchema, T: JsonSchema>(self, kind: &Kind, columns: Vec<Value>) -> Definition {
        let mut metadata = Map::new();
        if let Some((key, value)) = self.annotation {
            metadata.insert("annotations".to_owned(), json!({key: value}));
        }
        metadata.insert(
            "name".to_owned(),
            json!(format!("{}.{}", kind.plural, kind.group)),
        );
        let mut names = json!({
            "kind": kind.kind,
            "listKind": format!("{}List", kind.kind),
            "plural": kind.plural,
            "singular": kind.kind.to_lowercase(),
            "categories": self.categories,
        });
        if !self.short.is_empty() {
            names["shortNames"] = json!(self.short);
        }
        let spec = structural::<S>();
        let mut status = structural::<T>();
        if self.unobserved {
            status["default"] = json!({"observedGeneration": -1});
        }
        let value = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": {
                "group": kind.group,
                "names": names,
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "versions": [{
                    "name": kind.version,
                    "served": true,
                    "storage": true,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": Value::Array(columns),
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "apiVersion": {
                                "type": "string",
                                "description": "Version of the API that the object is written in.",
                            },
                            "kind": {"type": "string", "description": "Kind of the object."},
                            "metadata": {"type": "object"},
                            "spec": spec,
                            "status": status,
                        },
                    }},
                }],
            },
        });
        Definition {
            file: format!("{}_{}.yaml", kind.group, kind.plural),
            value,
        }
    }
}

/// A definition as YAML.
pub fn yaml(definition: &Value) -> String {
    weir_yaml::to_string(definition)
}

/// All definitions as one compact JSON document, one definition a line.
pub fn embedded(definitions: &[Definition]) -> String {
    let lines: Vec<String> = definitions.iter().map(|d| d.value.to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// The structural schema of a type.
pub fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
        s.transforms = Vec::new();
    });
    let mut value = SchemaGenerator::new(settings)
        .into_root_schema_for::<T>()
        .to_value();
    settle(&mut value);
    if let Value::Object(map) = &mut value {
        map.shift_remove("title");
    }
    value
}

/// Makes one schema and all below it structural.
fn settle(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        // Lines end where the source's do; paragraphs stay.
        *text = text
            .split("\n\n")
            .map(|p| p.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
    drop_null_choice(map);
    collapse_constants(map);
    if map.get("default").is_some_and(Value::is_null) {
        map.shift_remove("default");
    }
    // A plain number needs no width; the API server would refuse to know `double`.
    if map
        .get("format")
        .is_some_and(|f| f == "double" || f == "float")
    {
        map.shift_remove("format");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(settle);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            settle(inner);
        }
    }
}

/// `anyOf: [schema, null]` is how an optional value is written; here absence needs no word.
fn drop_null_choice(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.get_mut("anyOf") else {
        return;
    };
    choices.retain(|c| c.get("type").is_none_or(|t| t != "null"));
    if choices.len() != 1 {
        return;
    }
    let Some(Value::Object(inner)) = choices.pop() else {
        return;
    };
    map.shift_remove("anyOf");
    for (key, value) in inner {
        // The field's own words come before those of its type.
        map.entry(key).or_insert(value);
    }
}

/// An enum with a doc on each variant comes as `oneOf` constants; the API server knows `enum`.
fn collapse_constants(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.get("oneOf") else {
        return;
    };
    let mut values = Vec::new();
    for choice in choices {
        match (
            choice.get("const"),
            choice.get("enum").and_then(Value::as_array),
        ) {
            (Some(constant), _) => values.push(constant.clone()),
            (None, Some(several)) => values.extend(several.iter().cloned()),
            (None, None) => return,
        }
    }
    map.shift_remove("oneOf");
    map.insert("type".to_owned(), json!("string"));
    map.insert("enum".to_owned(), Value::Array(values));
}

/// A map of anything, kept as it is.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// For a type whose required fields are said by `oneOf`.
pub(crate) fn nothing_required(schema: &mut Schema) {
    schema.remove("required");
}

/// For a field that is absent rather than zero at first.
pub(crate) fn no_default(schema: &mut Schema) {
    schema.remove("default");
}

/// For a field that takes any word although the type knows some.
pub(crate) fn no_enum(schema: &mut Schema) {
    for key in ["oneOf", "enum", "anyOf"] {
        schema.remove(key);
    }
}
