//! Owns the questions about identities: who am I, and whose token is that.

use serde_json::{Value, json};
use weir_object::path;

use super::tokens::{ISSUER, Tokens};
use crate::call::{Call, stamp};
use crate::refusal::Refusal;
use crate::state::State;

/// Answers a `SelfSubjectReview`.
pub(crate) fn own(call: &Call) -> Value {
    json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": stamp(call.now)},
        "status": {"userInfo": call.user.info()}})
}

/// Answers a `TokenReview`.
pub(crate) fn token(
    state: &State,
    tokens: &Tokens,
    mut object: Value,
    call: &Call,
) -> Result<Value, Refusal> {
    let token = path::text(&object, &["spec", "token"]);
    if token.is_empty() {
        return Err(Refusal::BadRequest(
            "token is required for TokenReview in authentication".to_owned(),
        ));
    }
    let asked = path::get(&object, &["spec", "audiences"]).and_then(Value::as_array);
    let mut wanted: Vec<String> = asked
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if wanted.is_empty() {
        wanted.push(ISSUER.to_owned());
    }
    let status = match tokens.prove(state, token, &wanted, call.now) {
        Ok(proof) => json!({"authenticated": true, "user": proof.user.info(),
            "audiences": proof.audiences}),
        Err(fault) => json!({"user": {}, "error": fault}),
    };
    path::set(&mut object, &["status"], status);
    Ok(object)
}
