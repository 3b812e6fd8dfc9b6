//! Owns the proof that the definitions say what upstream's say. Where upstream's files are at hand,
//! every property, type, pattern, default, rule, column and name is compared; each kind of difference
//! that is meant has its reason in [`meant`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use weir_object::path;

use super::{crds, gateway_crds};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn by_name(definitions: Vec<Value>) -> BTreeMap<String, Value> {
    let name = |d: &Value| path::text(d, &["metadata", "name"]).to_owned();
    definitions.into_iter().map(|d| (name(&d), d)).collect()
}

fn read(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("the file was just listed");
    weir_yaml::from_str_all(&text).expect("a definition is YAML")
}

fn read_all(directory: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(directory).expect("the directory exists");
    let mut files: Vec<PathBuf> = files.map(|f| f.expect("readable").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files
        .iter()
        .flat_map(|f| read(f))
        .filter(Value::is_object)
        .collect()
}

#[test]
fn every_kind_has_a_definition() {
    let names: Vec<String> = by_name(crds()).into_keys().collect();
    assert_eq!(
        names,
        [
            "alertproviders.flagger.app",
            "canaries.flagger.app",
            "gitrepositories.source.toolkit.fluxcd.io",
            "imagepolicies.image.toolkit.fluxcd.io",
            "imagerepositories.image.toolkit.fluxcd.io",
            "imageupdateautomations.image.toolkit.fluxcd.io",
            "kustomizations.kustomize.toolkit.fluxcd.io",
            "metrictemplates.flagger.app",
        ]
    );
    let names: Vec<String> = by_name(gateway_crds()).into_keys().collect();
    assert_eq!(
        names,
        [
            "gatewayclasses.gateway.networking.k8s.io",
            "gateways.gateway.networking.k8s.io",
            "grpcroutes.gateway.networking.k8s.io",
            "httproutes.gateway.networking.k8s.io",
            "referencegrants.gateway.networking.k8s.io",
        ]
    );
}

#[test]
fn the_files_say_what_is_embedded() {
    assert_eq!(
        by_name(read_all(&root().join("crds"))),
        by_name(crds()),
        "run `make gen`"
    );
}

#[cfg(feature = "schema")]
#[test]
fn what_is_embedded_is_what_the_types_say() {
    let made = crate::schema::definitions()
        .into_iter()
        .map(|d| d.value)
        .collect();
    assert_eq!(by_name(crds()), by_name(made), "run `make gen`");
}

/// A structural schema has a type at each place that has a value, and no words beside it that the
/// API server does not know.
#[test]
fn every_schema_is_structural() {
    const KNOWN: [&str; 25] = [
        "type",
        "description",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "enum",
        "default",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "oneOf",
        "nullable",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    ];
    fn check(at: &str, schema: &Value) {
        let map = schema.as_object().expect("a schema is a map");
        for word in map.keys() {
            assert!(KNOWN.contains(&word.as_str()), "{at}: {word}");
        }
        let typed = map.get("type").is_some_and(Value::is_string);
        assert!(
            typed || map.contains_key("x-kubernetes-int-or-string"),
            "{at} has no type"
        );
        for (name, inner) in map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            check(&format!("{at}.{name}"), inner);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = map.get(key) {
                check(&format!("{at}.{key}"), inner);
            }
        }
    }
    for (name, definition) in by_name(crds()).into_iter().chain(by_name(gateway_crds())) {
        let schema = ["spec", "versions", "0", "schema", "openAPIV3Schema"];
        check(
            &name,
            path::get(&definition, &schema).expect("a definition has a schema"),
        );
    }
}

#[test]
fn definitions_are_upstreams_in_structure() {
    let directory = root().join("../shared/data/crds");
    if !directory.is_dir() {
        println!(
            "skipped: upstream's definitions are not at {}",
            directory.display()
        );
        return;
    }
    let upstream = by_name(read_all(&directory));
    let mut found = Vec::new();
    for (name, ours) in by_name(crds()) {
        let theirs = upstream.get(&name).expect("the kind exists upstream");
        compare(&name, &plain(&ours), &plain(theirs), &mut found);
    }
    found.retain(|d| !meant(d));
    assert_eq!(found, []);
}

#[derive(Debug, PartialEq)]
struct Difference {
    at: String,
    ours: Option<Value>,
    theirs: Option<Value>,
}

/// The differences that are meant.
fn meant(d: &Difference) -> bool {
    let ends = |suffix: &str| d.at.ends_with(suffix);
    let adds = d.theirs.is_none();
    // Which tool made the file is nobody's concern.
    let tool = d.at.contains("/metadata/annotations");
    // `string` and `url` are formats that the API server does not know and therefore ignores.
    let format =
        ends("/format") && (d.theirs == Some(json!("string")) || d.theirs == Some(json!("url")));
    // Counts, weights, seconds and ports are read as whole numbers: a fraction that upstream admits
    // it cannot decode afterwards, so it is refused here when it is written.
    let whole =
        ends("/type") && d.ours == Some(json!("integer")) && d.theirs == Some(json!("number"));
    // The width in which a whole number is read, where upstream leaves it out.
    let width = ends("/format")
        && adds
        && (d.ours == Some(json!("int64")) || d.ours == Some(json!("int32")));
    // A status without fields, so that its place is known.
    let status = adds
        && ["alertproviders.flagger.app", "metrictemplates.flagger.app"]
            .iter()
            .any(|n| d.at.starts_with(n))
        && ends("/properties/status");
    // Upstream requires the receiver on the list of mirrors, where it means nothing; here on each.
    let mirror =
        d.at.starts_with("canaries.flagger.app") && ends("mirror/required") && d.ours.is_none()
            || d.at.starts_with("canaries.flagger.app") && ends("mirror/items/required") && adds;
    // What is added: steps that ask for more than a weight, the time after a promotion, the record
    // of runs, and which generation a Canary's status speaks of.
    let added = adds
        && d.at.starts_with("canaries.flagger.app")
        && [
            "analysis/properties/steps",
            "analysis/properties/bakeTime",
            "analysis/properties/rollbackWindow",
            "webhooks/items/properties/secretRef",
            "status/properties/run",
            "status/properties/history",
            "status/properties/previous",
            "status/properties/primaryReplicas",
            "status/properties/requests",
            "status/properties/observedGeneration",
            "conditions/items/properties/observedGeneration",
        ]
        .iter()
        .any(|s| ends(s));
    // The steps are a fourth way to say how a run proceeds.
    let ways = d.at.ends_with("analysis/oneOf")
        && d.ours
            .as_ref()
            .zip(d.theirs.as_ref())
            .is_some_and(|(ours, theirs)| {
                let steps = json!({"required": ["interval", "steps", "threshold"]});
                let mut ours = ours.as_array().cloned().unwrap_or_default();
                ours.retain(|way| *way != steps);
                Some(&ours) == theirs.as_array()
            });
    ways || tool || format || whole || width || status || mirror || added
}

/// The value without descriptions, and with sets in one order.
fn plain(value: &Value) -> Value {
    fn walk(value: &Value, names: bool) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .filter(|(key, _)| names || *key != "description")
                .map(|(key, inner)| {
                    let mut inner = walk(inner, key == "properties" && !names);
                    if let (false, "required" | "enum" | "oneOf", Value::Array(items)) =
                        (names, key.as_str(), &mut inner)
                    {
                        items.sort_by_cached_key(weir_object::canonical);
                    }
                    (key.clone(), inner)
                })
                .collect(),
            Value::Array(items) => items.iter().map(|v| walk(v, false)).collect(),
            scalar => scalar.clone(),
        }
    }
    walk(value, false)
}

fn compare(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<Difference>) {
    let note = |at: String, ours: Option<&Value>, theirs: Option<&Value>| Difference {
        at,
        ours: ours.cloned(),
        theirs: theirs.cloned(),
    };
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => compare(&format!("{at}/{key}"), value, other, found),
                    None => found.push(note(format!("{at}/{key}"), Some(value), None)),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                found.push(note(format!("{at}/{key}"), None, Some(value)));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                compare(&format!("{at}/{i}"), x, y, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(note(at.to_owned(), Some(a), Some(b))),
    }
}
