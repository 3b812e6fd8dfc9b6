//! Replays the corpora of `tests/go/merge`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};
use weir_merge::FieldSet;
use weir_merge::managed::{self, ApplyFailure, Writer};
use weir_schema::{Absent, Schema, TypeRef};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn rows(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file)).expect("the corpus is there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row of JSON"))
        .collect()
}

fn type_of(kind: &str) -> TypeRef {
    let builtin = Schema::builtin();
    match kind {
        "Deployment" => builtin.type_of("apps", "v1", kind).expect("built in"),
        "Widget" => {
            let text = std::fs::read_to_string(folder().join("widget.schema.json"))
                .expect("the schema is there");
            let schema = serde_json::from_str(&text).expect("JSON");
            Schema::from_crd_schema(&schema).expect("a good schema")
        }
        _ => builtin.type_of("", "v1", kind).expect("built in"),
    }
}

/// Built-in objects come from typed values, which write their parts even when empty.
fn plain(value: &Value, ty: &TypeRef) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, value) in map {
                let below = ty.field(name).unwrap_or_else(TypeRef::untyped);
                let value = plain(value, &below);
                let implied = ty
                    .declared(name)
                    .is_some_and(|field| field.absent == Absent::EmptyMap);
                let hollow = value.as_object().is_some_and(Map::is_empty);
                let silent = hollow && implied || value.is_null() || name == "creationTimestamp";
                if !silent {
                    out.insert(name.clone(), value);
                }
            }
            Value::Object(out)
        }
        Value::Array(list) => {
            let item = ty.item().unwrap_or_else(TypeRef::untyped);
            Value::Array(list.iter().map(|value| plain(value, &item)).collect())
        }
        scalar => scalar.clone(),
    }
}

fn replay(file: &str) {
    let mut faults = String::new();
    let (mut steps, mut wrong) = (0, 0);
    for row in rows(file) {
        let kind = row["kind"].as_str().expect("a kind");
        let ty = type_of(kind);
        let name = row["name"].as_str().expect("a name");
        let typed = kind != "Widget";
        let ignored = |subresource: &str| match (kind, subresource) {
            ("Deployment" | "Widget", "") => FieldSet::of_fields(&[&["status"]]),
            ("Deployment" | "Widget", _) => FieldSet::of_fields(&[&["spec"]]),
            _ => FieldSet::default(),
        };
        let mut live = row.get("live").cloned();
        for (at, step) in row["steps"].as_array().expect("steps").iter().enumerate() {
            steps += 1;
            let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
            let api_version = step["object"]["apiVersion"].as_str().expect("a version");
            let ignored = ignored(text("subresource"));
            let writer = Writer {
                manager: text("manager"),
                api_version,
                subresource: text("subresource"),
                now: text("now"),
                ignored: &ignored,
                versions: &[],
            };
            let force = step.get("force").and_then(Value::as_bool) == Some(true);
            let object = step["object"].clone();
            let got = if text("op") == "apply" {
                managed::apply(live.as_ref(), &object, &ty, &writer, force)
            } else {
                Ok(managed::update(live.as_ref(), object, &ty, &writer))
            };
            let fault = match (step.get("want"), &got) {
                (Some(want), Ok(got)) => {
                    let (want, got) = if typed {
                        (plain(want, &ty), plain(got, &ty))
                    } else {
                        (want.clone(), got.clone())
                    };
                    let changes = weir_object::diff::diff(&want, &got);
                    (!changes.is_empty()).then(|| format!("{changes:#?}"))
                }
                (None, Err(ApplyFailure::Conflicts(found))) => {
                    let sorted = |text: &str| {
                        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                        lines.sort();
                        lines
                    };
                    let (want, got) = (text("conflict"), found.to_string());
                    (sorted(want) != sorted(&got)).then(|| format!("want {want}\ngot {got}"))
                }
                (None, Err(ApplyFailure::Invalid { .. })) if !text("invalid").is_empty() => None,
                (want, got) => Some(format!(
                    "want {want:?} {}{}\ngot {got:?}",
                    text("conflict"),
                    text("invalid")
                )),
            };
            if let Some(fault) = fault {
                wrong += 1;
                if wrong <= 6 {
                    let _ = writeln!(faults, "{name} step {at} ({}): {fault}", text("op"));
                }
            }
            if let Some(want) = step.get("want") {
                let mut next = want.clone();
                next["metadata"]["uid"] = "u1".into();
                live = Some(next);
            }
        }
    }
    assert!(wrong == 0, "{wrong} of {steps} steps differ:\n{faults}");
    assert!(steps > 100);
}

#[test]
fn deployments_are_owned_as_the_api_server_says() {
    replay("deployment.jsonl");
}

#[test]
fn services_are_owned_as_the_api_server_says() {
    replay("service.jsonl");
}

#[test]
fn config_maps_are_owned_as_the_api_server_says() {
    replay("configmap.jsonl");
}

#[test]
fn custom_objects_are_owned_as_the_api_server_says() {
    replay("widget.jsonl");
}

#[test]
fn strategic_patches_end_as_the_api_server_says() {
    let mut faults = String::new();
    let mut wrong = 0;
    let rows = rows("strategic.jsonl");
    for (at, row) in rows.iter().enumerate() {
        let ty = type_of(row["kind"].as_str().expect("a kind"));
        let got = weir_merge::strategic::merge_patch(&row["live"], &row["patch"], &ty);
        let fault = match (row.get("want"), &got) {
            (Some(want), Ok(got)) if want == got => None,
            (None, Err(_)) => None,
            _ => Some(format!(
                "live {}\npatch {}\nwant {:?}\ngot {got:?}",
                row["live"],
                row["patch"],
                row.get("want").map(ToString::to_string)
            )),
        };
        if let Some(fault) = fault {
            wrong += 1;
            if wrong <= 4 {
                let _ = writeln!(faults, "row {at}: {fault}");
            }
        }
    }
    assert!(
        wrong == 0,
        "{wrong} of {} patches differ:\n{faults}",
        rows.len()
    );
}
