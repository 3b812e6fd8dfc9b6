//! Owns the extensions of lists and maps in a schema: kinds, keys, and what they ask of items.

use serde_json::{Value, json};

use super::schema::{Walk, kind, on};
use crate::refusal::Cause;

impl Walk {
    pub(super) fn extensions(&mut self, schema: &Value, list_type: Option<&str>, at: &str) {
        let wrong = &mut self.wrong;
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let detail = "must be true or undefined";
            let field = format!("{at}.x-kubernetes-preserve-unknown-fields");
            wrong.push(Cause::invalid(field, &false.into(), detail));
        }
        let typed = kind(schema);
        let map_type = schema.get("x-kubernetes-map-type").and_then(Value::as_str);
        for (given, wanted, name) in [
            (map_type, "object", "x-kubernetes-map-type"),
            (list_type, "array", "x-kubernetes-list-type"),
        ] {
            if given.is_some() && typed != wanted {
                let detail = format!("must be {wanted} if {name} is specified");
                let field = format!("{at}.type");
                wrong.push(if typed.is_empty() {
                    Cause::required(field, &detail)
                } else {
                    Cause::invalid(field, &typed.into(), &detail)
                });
            }
        }
        let known = |given: Option<&str>, words: &[&str], name: &str| {
            let given = given.filter(|given| !words.contains(given))?;
            Some(Cause::unsupported(
                format!("{at}.{name}"),
                &given.into(),
                words,
            ))
        };
        wrong.extend(known(
            map_type,
            &["atomic", "granular"],
            "x-kubernetes-map-type",
        ));
        let items = schema.get("items").filter(|i| i.is_object());
        if typed == "array"
            && list_type == Some("set")
            && let Some(items) = items
        {
            let of = |key: &str| items.get(key).and_then(Value::as_str);
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let found = items
                .get("x-kubernetes-list-type")
                .cloned()
                .unwrap_or_default();
            if kind(items) == "array" && of("x-kubernetes-list-type").is_some_and(|t| t != "atomic")
            {
                let field = format!("{at}.items.x-kubernetes-list-type");
                wrong.push(Cause::invalid(field, &found, detail));
            } else if kind(items) == "object" && of("x-kubernetes-map-type") != Some("atomic") {
                let field = format!("{at}.items.x-kubernetes-map-type");
                wrong.push(Cause::invalid(field, &found, detail));
            }
        }
        wrong.extend(known(
            list_type,
            &["atomic", "set", "map"],
            "x-kubernetes-list-type",
        ));
        lists(schema, list_type, items, at, wrong);
    }
}

/// Lists of items that are told apart.
fn lists(
    schema: &Value,
    list_type: Option<&str>,
    items: Option<&Value>,
    at: &str,
    wrong: &mut Vec<Cause>,
) {
    let keys = super::texts(schema.get("x-kubernetes-list-map-keys"));
    let keys_at = format!("{at}.x-kubernetes-list-map-keys");
    if !keys.is_empty() && list_type != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        let field = format!("{at}.x-kubernetes-list-type");
        wrong.push(match list_type {
            None => Cause::required(field, detail),
            Some(given) => Cause::invalid(field, &given.into(), detail),
        });
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            wrong.push(Cause::required(keys_at.clone(), detail));
        }
        match items {
            None => {
                let detail = "must have a schema if x-kubernetes-list-type is map";
                wrong.push(Cause::required(format!("{at}.items"), detail));
            }
            Some(items) if kind(items) != "object" => {
                let detail = "must be object if parent array's x-kubernetes-list-type is map";
                wrong.push(Cause::invalid(
                    format!("{at}.items.type"),
                    &kind(items).into(),
                    detail,
                ));
            }
            Some(items) => {
                let mut seen = std::collections::BTreeSet::new();
                for key in &keys {
                    match items.get("properties").and_then(|p| p.get(key)) {
                        Some(of) if matches!(kind(of), "array" | "object") => {
                            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                            let field = format!("{at}.items.properties[{key}].type");
                            wrong.push(Cause::invalid(field, &kind(items).into(), detail));
                        }
                        Some(_) => {}
                        None => {
                            let detail = "entries must all be names of item properties";
                            wrong.push(Cause::invalid(keys_at.clone(), &json!(keys), detail));
                        }
                    }
                    if !seen.insert(key) {
                        let detail = "must not contain duplicate entries";
                        wrong.push(Cause::invalid(keys_at.clone(), &json!(keys), detail));
                    }
                }
            }
        }
    }
    let (Some(items), Some(list_type @ ("set" | "map"))) = (items, list_type) else {
        return;
    };
    if on(items, "nullable") {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        wrong.push(Cause::forbidden(format!("{at}.items.nullable"), &detail));
    }
    if list_type == "map" {
        let required = super::texts(items.get("required"));
        for key in &keys {
            let Some(of) = items.get("properties").and_then(|p| p.get(key)) else {
                continue;
            };
            let at = format!("{at}.items.properties[{key}]");
            if !required.contains(key) && of.get("default").is_none() {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                wrong.push(Cause::required(format!("{at}.default"), detail));
            }
            if on(of, "nullable") {
                let detail =
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                wrong.push(Cause::forbidden(format!("{at}.nullable"), detail));
            }
        }
    }
}
