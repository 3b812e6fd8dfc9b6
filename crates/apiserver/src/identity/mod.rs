//! Owns who is asking: users, the tokens that prove them, and acting as somebody else.
//! It refuses to judge what they may do; see `authorize`.

mod impersonate;
mod key;
pub(crate) mod review;
pub(crate) mod token_request;
mod tokens;
mod user;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::json;

pub(crate) use impersonate::act_as;
pub(crate) use tokens::Tokens;
pub use user::User;
pub(crate) use user::account_name;

use crate::answer;
use crate::body::ApiBody;
use crate::refusal::Refusal;
use crate::server::ApiServer;
use tokens::ISSUER;

/// Who sent a request. Parts of this process say so in an extension, others by a token; who says
/// nothing is the administrator, because nobody else can reach a service without sockets.
pub(crate) fn of(server: &ApiServer, head: &Parts) -> Result<Arc<User>, Refusal> {
    if let Some(user) = head.extensions.get::<Arc<User>>() {
        return Ok(user.clone());
    }
    if let Some(user) = head.extensions.get::<User>() {
        return Ok(Arc::new(user.clone()));
    }
    let Some(token) = bearer(&head.headers) else {
        return Ok(User::admin());
    };
    let audiences = [ISSUER.to_owned()];
    let proof = server
        .0
        .tokens
        .prove(&server.0.read(), token, &audiences, server.0.now());
    proof.map(|proof| proof.user).map_err(|fault| {
        tracing::debug!(%fault, "a token was refused");
        Refusal::Unauthorized
    })
}

/// Whether a request carries a bearer token, good or bad. What has none is to be marked as
/// anonymous by whoever takes it from outside this process.
pub fn has_bearer_token(headers: &HeaderMap) -> bool {
    bearer(headers).is_some()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The keys with which others may check tokens.
pub(crate) fn keys(server: &ApiServer) -> Response<ApiBody> {
    let mut response = answer::json(200, &server.0.tokens.published());
    let media = HeaderValue::from_static("application/jwk-set+json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// What others need to know to trust tokens.
pub(crate) fn issuer() -> Response<ApiBody> {
    answer::json(
        200,
        &json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"]}),
    )
}
