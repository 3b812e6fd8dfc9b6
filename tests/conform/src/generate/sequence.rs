//! Owns one random sequence: which manager does what to one object, step by step.

use serde_json::{Value, json};
use std::fmt::Write as _;

use super::dice::Dice;
use super::objects::{Kind, metadata, object};
use crate::session::{Step, Words};

const MANAGERS: [&str; 4] = ["one", "two", "three", "four"];

/// The steps of a sequence.
pub(crate) fn sequence(seed: u64, number: u64) -> (Kind, Vec<Step>) {
    let mut dice = Dice::new(seed, number);
    let all = Kind::ALL;
    // Most is to be learnt where lists and maps of all sorts are.
    let kind = match dice.below(10) {
        0..=3 => Kind::Custom,
        4 | 5 => Kind::Deployment,
        n => all.get(n - 5).copied().unwrap_or(Kind::ConfigMap),
    };
    let length = 4 + dice.below(7);
    let mut steps = Vec::new();
    for index in 0..length {
        let mut step = if index == 0 {
            first(&mut dice, kind)
        } else {
            later(&mut dice, kind)
        };
        step.id = (index + 1).to_string();
        step.words.save = Some("last".to_owned());
        steps.push(step);
    }
    (kind, steps)
}

fn version(dice: &mut Dice) -> &'static str {
    dice.of(&["v1", "v1", "v1beta1"])
}

fn named(mut body: Value) -> Value {
    crate::fill::set(&mut body, "/metadata/name", "${name}".into());
    body
}

fn step(method: &str, path: String, media: &str, body: Value) -> Step {
    Step {
        id: String::new(),
        method: method.to_owned(),
        path,
        words: Words {
            r#type: Some(media.to_owned()),
            body: Some(body),
            ..Words::default()
        },
    }
}

fn first(dice: &mut Dice, kind: Kind) -> Step {
    let version = version(dice);
    let manager = dice.of(&MANAGERS);
    let body = named(object(dice, kind, version, true));
    let path = kind.path(version);
    if dice.one_in(2) {
        step(
            "POST",
            format!("{path}?fieldManager={manager}"),
            "json",
            body,
        )
    } else {
        step(
            "PATCH",
            format!("{path}/${{name}}?fieldManager={manager}"),
            "apply",
            body,
        )
    }
}

fn later(dice: &mut Dice, kind: Kind) -> Step {
    let version = version(dice);
    let manager = dice.of(&MANAGERS);
    let mut path = format!("{}/${{name}}", kind.path(version));
    if kind == Kind::Custom && dice.one_in(6) {
        path.push_str("/status");
    }
    let _ = write!(path, "?fieldManager={manager}");
    match dice.below(20) {
        0..=10 => {
            if dice.one_in(3) {
                path.push_str("&force=true");
            }
            let whole = kind == Kind::Pod || dice.one_in(3);
            step(
                "PATCH",
                path,
                "apply",
                named(object(dice, kind, version, whole)),
            )
        }
        // A pod's specification is the server's to complete, so nobody can send it anew.
        11 | 12 if kind != Kind::Pod => {
            let mut body = named(object(dice, kind, version, true));
            if kind == Kind::Custom || (kind != Kind::Deployment && dice.one_in(3)) {
                let now = "${last/metadata/resourceVersion}";
                crate::fill::set(&mut body, "/metadata/resourceVersion", now.into());
            }
            step("PUT", path, "json", body)
        }
        13..=15 => {
            let mut body = part(dice, kind, version);
            punch(dice, &mut body);
            step("PATCH", path, "merge", body)
        }
        16 | 17 if kind != Kind::Custom => {
            let mut body = part(dice, kind, version);
            direct(dice, &mut body);
            step("PATCH", path, "strategic", body)
        }
        _ => step("PATCH", path, "jsonpatch", operations(dice, kind)),
    }
}

/// An object as a patch: without what names it.
fn part(dice: &mut Dice, kind: Kind, version: &str) -> Value {
    let mut body = if kind == Kind::Pod {
        json!({"metadata": metadata(dice)})
    } else {
        object(dice, kind, version, false)
    };
    if let Value::Object(map) = &mut body {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
    }
    body
}

/// Makes some values null.
fn punch(dice: &mut Dice, value: &mut Value) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            let fixed = ["containers", "selector", "template", "spec", "metadata"];
            if dice.one_in(8) && !fixed.contains(&key.as_str()) {
                *value = Value::Null;
            } else if !value.is_array() {
                punch(dice, value);
            }
        }
    }
}

/// Adds some directives of strategic merge.
fn direct(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let mut order = None;
            for (key, value) in map.iter_mut() {
                direct(dice, value);
                if key == "finalizers" && dice.one_in(2) {
                    // What is both added and taken away stays or goes by chance.
                    if let Value::Array(items) = value {
                        items.retain(|item| item != "weir.test/f1");
                    }
                    order = Some((
                        "$deleteFromPrimitiveList/finalizers",
                        json!(["weir.test/f1"]),
                    ));
                }
                if key == "env" && dice.one_in(3) {
                    order = Some((
                        "$setElementOrder/env",
                        json!([{"name": "C"}, {"name": "B"}, {"name": "A"}]),
                    ));
                }
                if key == "strategy" && dice.one_in(2) {
                    crate::fill::set(value, "/$retainKeys", json!(["type"]));
                }
                if (key == "labels" || key == "annotations" || key == "nodeSelector")
                    && dice.one_in(6)
                {
                    crate::fill::set(value, "/$patch", "replace".into());
                }
            }
            if let Some((key, value)) = order {
                map.insert(key.to_owned(), value);
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                direct(dice, item);
                if let Value::Object(map) = item
                    && map.contains_key("name")
                    && !map.contains_key("image")
                    && dice.one_in(6)
                {
                    map.insert("$patch".to_owned(), "delete".into());
                }
            }
            if items.first().is_some_and(|i| i.get("name").is_some()) && dice.one_in(10) {
                items.push(json!({"$patch": "replace"}));
            }
        }
        _ => {}
    }
}

fn operations(dice: &mut Dice, kind: Kind) -> Value {
    let color = dice.of(&["red", "green", "blue"]);
    let common = [
        json!({"op": "add", "path": "/metadata/labels", "value": {"team": color}}),
        json!({"op": "add", "path": "/metadata/labels/tier", "value": color}),
        json!({"op": "remove", "path": "/metadata/labels/tier"}),
        json!({"op": "replace", "path": "/metadata/annotations/note", "value": color}),
        json!({"op": "remove", "path": "/metadata/annotations"}),
    ];
    let own = match kind {
        Kind::Deployment => vec![
            json!({"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.test/app:9"}),
            json!({"op": "remove", "path": "/spec/template/spec/containers/0/env"}),
            json!({"op": "add", "path": "/spec/template/spec/containers/0/args", "value": ["-z"]}),
        ],
        Kind::PodTemplate => vec![
            json!({"op": "replace", "path": "/template/spec/containers/0/image", "value": "registry.test/app:9"}),
            json!({"op": "add", "path": "/template/spec/containers/0/args/-", "value": "-z"}),
        ],
        Kind::Service => vec![
            json!({"op": "add", "path": "/spec/ports/-", "value": {"name": "more", "port": 99}}),
            json!({"op": "remove", "path": "/spec/ports/1"}),
        ],
        Kind::ConfigMap => vec![
            json!({"op": "add", "path": "/data/a", "value": color}),
            json!({"op": "move", "from": "/data/a", "path": "/data/b"}),
            json!({"op": "remove", "path": "/data"}),
        ],
        Kind::Pod => Vec::new(),
        Kind::Custom => vec![
            json!({"op": "add", "path": "/spec/tags/-", "value": "v"}),
            json!({"op": "add", "path": "/spec/items", "value": [{"name": "x"}]}),
            json!({"op": "remove", "path": "/spec/items/0"}),
            json!({"op": "copy", "from": "/spec/map", "path": "/spec/whole"}),
            json!({"op": "remove", "path": "/spec/deep/two"}),
        ],
    };
    let all: Vec<Value> = common.into_iter().chain(own).collect();
    let count = 1 + dice.below(2);
    let picked = (0..count).filter_map(|_| all.get(dice.below(all.len())).cloned());
    picked.collect()
}
