//! Owns making a service account's token: for whom, how long, and bound to what.

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, path};

use super::tokens::{ISSUER, Tokens};
use super::user::account_name;
use crate::call::{Call, stamp};
use crate::refusal::{Cause, Refusal, ResourceName};
use crate::state::State;

const GROUP: &str = "authentication.k8s.io";
/// Tokens of pods that ask for this long live on, with a warning, for clients that never reload.
const WARN_ONLY: i64 = 60 * 60 + 7;
const EXTENDED: i64 = 365 * 24 * 60 * 60;

/// The fields of a request: it is no kind of its own in the published API.
pub(crate) fn schema() -> Value {
    let text = json!({"type": "string"});
    let bound = json!({"type": "object", "properties":
        {"kind": text, "apiVersion": text, "name": text, "uid": text}});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "audiences": {"type": "array", "items": text, "x-kubernetes-list-type": "atomic"},
            "expirationSeconds": {"type": "integer", "format": "int64"},
            "boundObjectRef": bound}},
        "status": {"type": "object", "properties": {
            "token": text, "expirationTimestamp": {"type": "string", "format": "date-time"}}}}})
}

/// Fills what a request leaves open and the server always decides alike.
pub(crate) fn fill(request: &mut Value) {
    if path::get(request, &["spec", "expirationSeconds"]).is_none_or(Value::is_null) {
        path::set(request, &["spec", "expirationSeconds"], (60 * 60).into());
    }
}

fn kind() -> ResourceName {
    ResourceName {
        group: GROUP.to_owned(),
        plural: "TokenRequest".to_owned(),
    }
}

fn invalid(name: &str, causes: Vec<Cause>) -> Refusal {
    Refusal::Invalid {
        group: GROUP.to_owned(),
        kind: "TokenRequest".to_owned(),
        name: name.to_owned(),
        causes,
    }
}

fn find(state: &State, plural: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
    let resource = state.registry.get("", "v1", plural);
    resource
        .and_then(|r| state.get(r.storage, &Key::new(namespace, name)))
        .map(|object| (*object).clone())
        .ok_or_else(|| Refusal::NotFound {
            resource: ResourceName {
                group: String::new(),
                plural: plural.to_owned(),
            },
            name: name.to_owned(),
        })
}

/// Answers a `TokenRequest` for an account. The object is shaped already.
pub(crate) fn answer(
    state: &mut State,
    tokens: &Tokens,
    namespace: &str,
    name: &str,
    mut request: Value,
    call: &Call,
) -> Result<Value, Refusal> {
    let given = path::text(&request, &["metadata", "name"]);
    if !given.is_empty() && given != name {
        let detail = "must match the service account name if specified";
        let cause = Cause::invalid("metadata.name", &given.into(), detail);
        return Err(invalid(name, vec![cause]));
    }
    let account = find(state, "serviceaccounts", namespace, name)?;
    let uid = path::text(&account, &["metadata", "uid"]).to_owned();
    let asked = path::text(&request, &["metadata", "uid"]);
    if !asked.is_empty() && asked != uid {
        return Err(Refusal::Conflict {
            resource: kind(),
            name: name.to_owned(),
            why: format!(
                "the UID in the token request ({asked}) does not match the UID of the service \
                 account ({uid})"
            ),
        });
    }
    let spec = request.get("spec");
    let audiences = spec.and_then(|s| s.get("audiences")).cloned();
    let audiences = audiences
        .filter(|a| a.as_array().is_some_and(|a| !a.is_empty()))
        .unwrap_or_else(|| json!([ISSUER]));
    let seconds = spec.and_then(|s| s.get("expirationSeconds")?.as_i64());
    let seconds = seconds.unwrap_or_default();
    let bound = spec.and_then(|s| s.get("boundObjectRef")).cloned();
    let bound = bound.filter(|b| !b.is_null());
    let limit = |detail| {
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), detail);
        Err(invalid("", vec![cause]))
    };
    if seconds < 10 * 60 {
        return limit("may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        return limit("may not specify a duration larger than 2^32 seconds");
    }
    let account = json!({"name": name, "uid": uid});
    let mut own = json!({"namespace": namespace, "serviceaccount": account});
    let mut of_pod = false;
    if let Some(bound) = &bound {
        of_pod = bind(state, namespace, name, bound, &mut own)?;
    }
    let now = call.now.as_second();
    let mut life = seconds;
    if of_pod && seconds == WARN_ONLY && audiences == json!([ISSUER]) {
        path::set(&mut own, &["warnafter"], (now + seconds).into());
        life = EXTENDED;
    }
    let claims = json!({
        "aud": audiences, "exp": now + life, "iat": now, "iss": ISSUER, "jti": state.random.uid(),
        "kubernetes.io": own, "nbf": now, "sub": account_name(namespace, name),
    });
    let token = tokens.sign(&claims).ok_or_else(|| {
        Refusal::Internal("failed to generate token: the system has no randomness".to_owned())
    })?;
    let expires = Timestamp::from_second(now + seconds).unwrap_or(call.now);
    for (field, value) in [
        ("name", name),
        ("namespace", namespace),
        ("uid", &uid),
        ("creationTimestamp", &stamp(call.now)),
    ] {
        path::set(&mut request, &["metadata", field], value.into());
    }
    let spec =
        json!({"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound});
    path::set(&mut request, &["spec"], spec);
    let status = json!({"token": token, "expirationTimestamp": stamp(expires)});
    path::set(&mut request, &["status"], status);
    Ok(request)
}

/// Ties a token to an object; whether that is a pod.
fn bind(
    state: &State,
    namespace: &str,
    account: &str,
    bound: &Value,
    own: &mut Value,
) -> Result<bool, Refusal> {
    let text = |field| path::text(bound, &[field]);
    let (kind, name) = (text("kind"), text("name"));
    let version = text("apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let object = match (group, kind) {
        ("", "Pod") => {
            let pod = find(state, "pods", namespace, name)?;
            if path::text(&pod, &["spec", "serviceAccountName"]) != account {
                return Err(Refusal::BadRequest(format!(
                    "cannot bind token for serviceaccount {} to pod running with different \
                     serviceaccount name.",
                    weir_gocompat::quote(account)
                )));
            }
            pod
        }
        ("", "Node") => find(state, "nodes", "", name)?,
        ("", "Secret") => find(state, "secrets", namespace, name)?,
        _ => {
            return Err(Refusal::BadRequest(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let uid = path::text(&object, &["metadata", "uid"]);
    let asked = text("uid");
    if !asked.is_empty() && asked != uid {
        return Err(Refusal::Conflict {
            resource: ResourceName {
                group: String::new(),
                plural: kind.to_owned(),
            },
            name: name.to_owned(),
            why: format!(
                "the UID in the bound object reference ({asked}) does not match the UID in \
                 record. The object might have been deleted and then recreated"
            ),
        });
    }
    let node = path::text(&object, &["spec", "nodeName"]);
    if kind == "Pod" && !node.is_empty() {
        let live = find(state, "nodes", "", node).ok();
        let mut claim = json!({"name": node});
        if let Some(live) = &live {
            let uid = path::text(live, &["metadata", "uid"]);
            path::set(&mut claim, &["uid"], uid.into());
        }
        path::set(own, &["node"], claim);
    }
    let claim = kind.to_lowercase();
    path::set(own, &[&claim], json!({"name": name, "uid": uid}));
    sort(own);
    Ok(kind == "Pod")
}

/// Claims are written in order of their names.
fn sort(claims: &mut Value) {
    if let Value::Object(map) = claims {
        map.sort_keys();
    }
}
