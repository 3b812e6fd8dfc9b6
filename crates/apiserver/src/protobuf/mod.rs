//! Owns protocol buffers: bodies and answers in the form that typed clients prefer. The rest of
//! the server knows JSON alone; this room stands between it and the client. It refuses custom
//! kinds, as every server does, and tables, which have no such form.

mod decode;
mod encode;
mod fault;
mod negotiate;
mod reader;

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use serde_json::Value;
use weir_schema::Wire;

use crate::body::ApiBody;
use crate::discovery::hexadecimal;
use crate::refusal::Refusal;
use crate::request::{self, Target};
use crate::server::ApiServer;
use fault::Fault;

pub(crate) use negotiate::Exchange;

/// The media type.
pub(crate) const MEDIA: &str = "application/vnd.kubernetes.protobuf";
/// What every body in this form begins with.
const PREFIX: &[u8] = b"k8s\0";

/// The request with a JSON body: one in protocol buffers is read, any other stays as it is.
pub(crate) fn plain<'a>(
    server: &ApiServer,
    target: &Target,
    head: &'a Parts,
    body: &'a [u8],
) -> Result<(Cow<'a, Parts>, Cow<'a, [u8]>), Refusal> {
    let content = head.headers.get(header::CONTENT_TYPE);
    let media = content.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if media != MEDIA || body.is_empty() || head.method == http::Method::PATCH {
        return Ok((Cow::Borrowed(head), Cow::Borrowed(body)));
    }
    let Some(kind) = expected(server, target, head) else {
        return Ok((Cow::Borrowed(head), Cow::Borrowed(body)));
    };
    let value = read(body, &kind)?;
    let mut out = head.clone();
    out.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok((Cow::Owned(out), Cow::Owned(value.to_string().into_bytes())))
}

/// The kind that a path takes, as `(apiVersion, kind)`; none when it takes JSON alone.
fn expected(server: &ApiServer, target: &Target, head: &Parts) -> Option<(String, String)> {
    let pair = |version: &str, kind: &str| Some((version.to_owned(), kind.to_owned()));
    if head.method == http::Method::DELETE {
        return pair("v1", "DeleteOptions");
    }
    match target.sub.as_deref() {
        Some("scale") => return pair("autoscaling/v1", "Scale"),
        Some("binding") => return pair("v1", "Binding"),
        Some("eviction") => return pair("policy/v1", "Eviction"),
        Some("token") => return pair("authentication.k8s.io/v1", "TokenRequest"),
        _ => {}
    }
    let (group, version, plural) = (&target.group, &target.version, &target.plural);
    let state = server.0.read();
    if let Some(resource) = state.registry.get(group, version, plural) {
        return match resource.custom {
            Some(_) => None,
            None => pair(&resource.api_version, &resource.kind.kind),
        };
    }
    let info = weir_schema::lookup_resource(group, version, plural)?;
    pair(&info.api_version(), &info.kind)
}

/// Reads a body. `wanted` names the kind that the path takes.
fn read(body: &[u8], wanted: &(String, String)) -> Result<Value, Refusal> {
    let unrecognized = |fault: &dyn std::fmt::Display| {
        let start = body.get(..30).unwrap_or(body);
        let mut hex = hexadecimal(start).to_lowercase();
        if start.len() < body.len() {
            hex.push_str(" ...");
        }
        Refusal::BadRequest(format!(
            "the object provided is unrecognized (must be of type {}): {fault} ({hex})",
            wanted.1
        ))
    };
    let Some(rest) = body.strip_prefix(PREFIX) else {
        return Err(unrecognized(
            &"provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ));
    };
    if rest.is_empty() {
        return Err(unrecognized(&"empty body"));
    }
    let envelope = decode::envelope(rest).map_err(|fault| unrecognized(&fault))?;
    let kind = if envelope.kind.is_empty() {
        wanted.1.clone()
    } else {
        envelope.kind
    };
    let api_version = if envelope.api_version.is_empty() {
        wanted.0.clone()
    } else {
        envelope.api_version
    };
    let (_, version) = weir_object::split_api_version(&api_version);
    let refuse = |fault: &dyn std::fmt::Display| {
        Refusal::BadRequest(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: {fault}",
            wanted.1
        ))
    };
    let wire = Wire::builtin();
    let Some(number) = wire.kind(&api_version, &kind) else {
        return Err(refuse(&format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \
             \"pkg/runtime/scheme.go:110\""
        )));
    };
    decode::object(wire, number, &api_version, &kind, &envelope.raw).map_err(|fault| match fault {
        Fault::TooMany => Refusal::TooLarge {
            limit: request::BODY_LIMIT,
        },
        fault => refuse(&fault),
    })
}

/// An object in its envelope; none when its kind has no such form.
fn written(value: &Value) -> Option<Vec<u8>> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let wire = Wire::builtin();
    let number = wire.kind(api_version, kind)?;
    let mut out = PREFIX.to_vec();
    encode::envelope(wire, number, api_version, kind, value, &mut out);
    Some(out)
}

/// The answer in protocol buffers, where it has that form.
fn translate(response: Response<ApiBody>, watches: bool) -> Response<ApiBody> {
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let (body, media) = if watches {
        let media = "application/vnd.kubernetes.protobuf;stream=watch";
        (body.map_lines(frame), media)
    } else {
        let bytes = body.gathered();
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        match value.as_ref().and_then(written) {
            Some(out) => (ApiBody::whole(out), MEDIA),
            None => return Response::from_parts(head, ApiBody::whole(bytes)),
        }
    };
    head.headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Response::from_parts(head, body)
}

/// A watch event: four bytes of length, the word, and the object in its envelope.
fn frame(line: &[u8]) -> Bytes {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    let word = event.get("type").and_then(Value::as_str);
    let object = event.get("object").and_then(written).unwrap_or_default();
    let mut out = vec![0; 4];
    encode::event(word.unwrap_or_default(), &object, &mut out);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    if let Some(head) = out.get_mut(..4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    out.into()
}

/// Reads an object in protocol buffers, its envelope included, as the JSON that Go would write.
///
/// # Errors
/// Bytes that are no object of a built-in kind are a bad request.
pub fn protobuf_to_json(body: &[u8]) -> Result<Value, Refusal> {
    read(body, &(String::new(), String::new()))
}

/// Writes an object in protocol buffers, its envelope included; none when its kind is not built
/// in.
pub fn json_to_protobuf(object: &Value) -> Option<Vec<u8>> {
    written(object)
}
