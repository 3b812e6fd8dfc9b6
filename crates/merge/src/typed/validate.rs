//! Owns the check that an apply configuration fits its type: known fields, fitting kinds, items
//! that can be told apart and are there once. The API server refuses an apply otherwise.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_schema::{Scalar, TypeRef};

use super::{Side, is_atomic_list, item, item_element, side};
use crate::element::PathElement;
use crate::go::{kind, printed};

/// All that does not fit, one text for each place; empty when the value fits.
pub(crate) fn validate(value: &Value, ty: &TypeRef) -> Vec<String> {
    let mut out = Vec::new();
    walk(value, ty, &mut String::new(), &mut out);
    out
}

/// The reasons as one text.
pub(crate) fn told(reasons: &[String]) -> String {
    match reasons {
        [one] => one.clone(),
        many => {
            let lines: Vec<String> = many.iter().map(|reason| format!("\n  {reason}")).collect();
            format!("errors:{}", lines.concat())
        }
    }
}

fn walk(value: &Value, ty: &TypeRef, path: &mut String, out: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match side(ty, value) {
        Side::Scalar => scalar(value, ty, path, out),
        Side::List => {
            let Some(list) = value.as_array() else {
                out.push(format!(
                    "{path}: expected list, got &{{{}}}",
                    printed(value, false)
                ));
                return;
            };
            let item = item(ty);
            let mut seen = BTreeSet::new();
            for (i, value) in list.iter().enumerate() {
                let element = if is_atomic_list(ty) {
                    PathElement::Index(i as i64)
                } else {
                    match item_element(ty, value) {
                        Ok(element) => element,
                        Err(reason) => {
                            out.push(format!("{path}: element {i}: {reason}"));
                            return;
                        }
                    }
                };
                let step = element.to_string();
                if !seen.insert(element) {
                    out.push(format!("{path}: duplicate entries for key {step}"));
                }
                below(&step, path, |path| walk(value, &item, path, out));
            }
        }
        Side::Map => {
            let Some(map) = value.as_object() else {
                out.push(format!(
                    "{path}: expected map, got &{{{}}}",
                    printed(value, false)
                ));
                return;
            };
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            for name in names {
                let Some(value) = map.get(name) else { continue };
                let known = ty.field(name);
                below(&format!(".{name}"), path, |path| match &known {
                    Some(ty) => walk(value, ty, path, out),
                    None => out.push(format!("{path}: field not declared in schema")),
                });
                if known.is_none() {
                    // The API server looks no further in this map.
                    break;
                }
            }
        }
    }
}

fn below(step: &str, path: &mut String, visit: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    visit(path);
    path.truncate(length);
}

fn scalar(value: &Value, ty: &TypeRef, path: &str, out: &mut Vec<String>) {
    let (fits, expected) = match ty.scalar() {
        Some(Scalar::String | Scalar::Bytes) => (value.is_string(), "string"),
        Some(Scalar::Integer | Scalar::Number) => (value.is_number(), "numeric (int or float)"),
        Some(Scalar::Boolean) => (value.is_boolean(), "boolean"),
        Some(Scalar::DateTime | Scalar::IntOrString | Scalar::Untyped) | None => {
            (!value.is_array() && !value.is_object(), "any scalar")
        }
    };
    if fits {
        return;
    }
    let got = match expected {
        "string" => format!("&value.valueUnstructured{{Value:{}}}", printed(value, true)),
        "boolean" | "any scalar" => format!("&{{{}}}", printed(value, false)),
        _ => kind(value).to_owned(),
    };
    out.push(format!("{path}: expected {expected}, got {got}"));
}
