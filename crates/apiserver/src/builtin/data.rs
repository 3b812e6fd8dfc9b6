//! Owns the rules of ConfigMap and Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::checks::{At, Checks, members, of, text};
use super::names;
use crate::refusal::Cause;

/// What one may hold together.
const LIMIT: usize = 1024 * 1024;

/// The length of base64 text when it is read.
fn decoded(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// A ConfigMap.
pub(super) fn config_map(object: &Value, checks: &mut Checks) {
    let mut size = 0;
    let at = At::root("data");
    for (key, value) in members(of(object, "data")) {
        checks.faults(at.key(key), key, names::config_key(key));
        if !of(of(object, "binaryData"), key).is_null() {
            checks.wrong(at.key(key), key, "duplicate of key present in binaryData");
        }
        size += value.as_str().unwrap_or_default().len();
    }
    let at = At::root("binaryData");
    for (key, value) in members(of(object, "binaryData")) {
        checks.faults(at.key(key), key, names::config_key(key));
        size += decoded(value.as_str().unwrap_or_default());
    }
    if size > LIMIT {
        // The server names no field here.
        checks.causes.push(Cause::too_long("[]", LIMIT));
    }
}

/// A Secret.
pub(super) fn secret(object: &Value, checks: &mut Checks) {
    let at = At::root("data");
    let data = of(object, "data");
    let mut size = 0;
    for (key, value) in members(data) {
        checks.faults(at.key(key), key, names::config_key(key));
        size += decoded(value.as_str().unwrap_or_default());
    }
    if size > LIMIT {
        checks.causes.push(Cause::too_long(at, LIMIT));
    }
    let has = |key: &str| data.get(key).is_some_and(Value::is_string);
    let filled = |key: &str| !text(data, key).is_empty();
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let annotations = of(of(object, "metadata"), "annotations");
            if text(annotations, "kubernetes.io/service-account.name").is_empty() {
                let at = At::root("metadata");
                let at = at.field("annotations");
                checks.required(at.key("kubernetes.io/service-account.name"), "");
            }
        }
        "kubernetes.io/dockercfg" => json_key(data, ".dockercfg", at, checks),
        "kubernetes.io/dockerconfigjson" => json_key(data, ".dockerconfigjson", at, checks),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            checks.required(at.key("username"), "");
            checks.required(at.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if !filled("ssh-privatekey") => {
            checks.required(at.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(key) {
                    checks.required(at.key(key), "");
                }
            }
        }
        _ => {}
    }
}

fn json_key(data: &Value, key: &str, at: At<'_>, checks: &mut Checks) {
    let Some(encoded) = data.get(key).and_then(Value::as_str) else {
        checks.required(at.key(key), "");
        return;
    };
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    if let Err(fault) = crate::typed::parse(&bytes) {
        let why = fault
            .why
            .trim_start_matches("couldn't get version/kind; json parse error: ");
        checks.wrong(at.key(key), "<secret contents redacted>", why);
    }
}

/// What may change of either.
pub(super) fn change(old: &Value, new: &Value, checks: &mut Checks) {
    if of(old, "immutable") != &Value::Bool(true) {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    for field in ["immutable", "data", "binaryData"] {
        if of(old, field) != of(new, field) {
            checks.forbidden(At::root(field), detail);
        }
    }
}

/// What clients are warned of in a Secret.
pub(super) fn warnings(secret: &Value, out: &mut Vec<String>) {
    if text(secret, "type") != "kubernetes.io/tls" {
        return;
    }
    let bytes = STANDARD
        .decode(text(of(secret, "data"), "tls.crt"))
        .unwrap_or_default();
    let certificate = String::from_utf8_lossy(&bytes);
    if !certificate.contains("-----BEGIN CERTIFICATE-----") {
        out.push("tls: failed to find any PEM data in certificate input".to_owned());
    }
}
