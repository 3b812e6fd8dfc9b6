//! Owns kinds that are asked and answered but never kept: reviews, and requests for tokens.
//! It refuses to know the answers; see `authorize` and `identity`.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use serde_json::Value;
use weir_object::Kind;
use weir_schema::{Schema, TypeRef};

use crate::admit;
use crate::answer;
use crate::authorize::review as rights;
use crate::body::ApiBody;
use crate::call::{Call, Part};
use crate::identity::{User, review as identities, token_request};
use crate::refusal::Refusal;
use crate::registry::{self, Resource};
use crate::request::{self, Query, Target, View};
use crate::server::ApiServer;
use crate::typed;
use crate::write;

/// The forms in which questions are read and answered.
const MEDIA: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What is asked at a path, if it is a question.
fn asked(target: &Target) -> Result<Option<Resource>, Refusal> {
    let (group, version) = (target.group.as_str(), target.version.as_str());
    if (group, version, target.plural.as_str()) == ("", "v1", "serviceaccounts")
        && target.sub.as_deref() == Some("token")
        && target.namespace.is_some()
    {
        return Ok(Some(token_request()));
    }
    if !matches!(group, "authorization.k8s.io" | "authentication.k8s.io") {
        return Ok(None);
    }
    let info = weir_schema::builtin_kinds()
        .iter()
        .find(|info| info.group == group && info.version == version && info.plural == target.plural)
        .ok_or(Refusal::NoResource)?;
    if target.name.is_some() || info.namespaced != target.namespace.is_some() {
        return Err(Refusal::NoResource);
    }
    Ok(Some(registry::builtin(info, usize::MAX)))
}

fn token_request() -> Resource {
    let kind = Kind::namespaced(
        "authentication.k8s.io",
        "v1",
        "TokenRequest",
        "serviceaccounts",
    );
    let typing = Schema::from_crd_schema(&token_request::schema());
    Resource::face(kind, typing.unwrap_or_else(|_| TypeRef::untyped()))
}

/// Answers a question, if the path asks one.
pub(crate) fn serve(
    server: &ApiServer,
    user: &Arc<User>,
    target: &Target,
    query: &Query,
    head: &Parts,
    body: &[u8],
) -> Result<Option<Response<ApiBody>>, Refusal> {
    let Some(resource) = asked(target)? else {
        return Ok(None);
    };
    if head.method != Method::POST {
        return Err(Refusal::MethodNotAllowed);
    }
    let header = |name: &str| head.headers.get(name)?.to_str().ok();
    if request::accepted(header("accept"))? != View::Plain {
        return Err(Refusal::NotAcceptable {
            message: format!("only the following media types are accepted: {MEDIA}"),
        });
    }
    let content = header("content-type").unwrap_or("application/json");
    let media = content.split(';').next().unwrap_or_default().trim();
    let read = match media {
        "application/json" | "" | "*/*" => typed::parse(body),
        "application/yaml" => write::yaml(body),
        _ => {
            return Err(Refusal::UnsupportedMediaType { accepted: MEDIA });
        }
    };
    let mut call = Call::of(query, user, header("user-agent"), server.0.now());
    let namespace = target.namespace.as_deref();
    let mut object = crate::routes::read_object(&resource.kind.kind, read, &mut call)?;
    admit::place(&resource, namespace, None, &mut object, &call)?;
    admit::shape(&resource, &mut object, &mut call)?;
    let part = match resource.kind.kind.as_ref() {
        "TokenRequest" => {
            token_request::fill(&mut object);
            Part::Token
        }
        _ => Part::Whole,
    };
    let object = write::tracked(&resource, None, object, part, &call);
    let value = answered(server, &resource, target, object, &call)?;
    let mut response = answer::json(201, &value);
    answer::warn(&mut response, &call.warnings);
    Ok(Some(response))
}

fn answered(
    server: &ApiServer,
    resource: &Resource,
    target: &Target,
    object: Value,
    call: &Call,
) -> Result<Value, Refusal> {
    let tokens = &server.0.tokens;
    match resource.kind.kind.as_ref() {
        "SelfSubjectReview" => Ok(identities::own(call)),
        "TokenReview" => identities::token(&server.0.read(), tokens, object, call),
        "TokenRequest" => {
            let mut state = server.0.write();
            let of = |text: &Option<String>| text.clone().unwrap_or_default();
            let (namespace, name) = (of(&target.namespace), of(&target.name));
            token_request::answer(&mut state, tokens, &namespace, &name, object, call)
        }
        "SelfSubjectRulesReview" => rights::rules(&server.0.read(), &object, call),
        kind => rights::access(&server.0.read(), kind, object, call),
    }
}
