//! Owns answers: status codes, headers, and the forms in which objects and lists are shown.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WARNING};
use http::{HeaderName, Response, StatusCode};
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};
use weir_object::path;

use crate::body::ApiBody;
use crate::read::Page;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::request::View;
use crate::table;

/// A JSON answer.
pub(crate) fn bytes(code: u16, body: Vec<u8>) -> Response<ApiBody> {
    let mut response = Response::new(ApiBody::whole(body));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A value as a JSON answer.
pub(crate) fn json(code: u16, value: &Value) -> Response<ApiBody> {
    let mut body = Vec::with_capacity(1024);
    // Writing a value to memory cannot fail.
    let _ = serde_json::to_writer(&mut body, value);
    bytes(code, body)
}

/// A plain text answer.
pub(crate) fn text(code: u16, body: impl Into<Vec<u8>>) -> Response<ApiBody> {
    let mut response = bytes(code, body.into());
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// A refusal as a `Status`.
pub(crate) fn refusal(refusal: &Refusal) -> Response<ApiBody> {
    let mut response = json(refusal.code(), &refusal.status());
    if matches!(refusal, Refusal::FutureVersion { .. }) {
        response.headers_mut().insert(
            HeaderName::from_static("retry-after"),
            HeaderValue::from_static("1"),
        );
    }
    response
}

/// Adds what the client is to be told.
pub(crate) fn warn(response: &mut Response<ApiBody>, warnings: &[String]) {
    for warning in warnings {
        let safe: String = warning
            .chars()
            .map(|c| match c {
                '"' => '\'',
                c if c.is_control() => ' ',
                c => c,
            })
            .collect();
        // The quotes inside are escaped as Go does it.
        let quoted = if warning.contains('"') {
            warning.replace('\\', "\\\\").replace('"', "\\\"")
        } else {
            safe
        };
        let header = HeaderValue::from_str(&format!("299 - \"{quoted}\""))
            .or_else(|_| HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()));
        if let Ok(value) = header {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// One object in the wanted form.
pub(crate) fn object(
    code: u16,
    resource: &Resource,
    object: &Arc<Value>,
    view: View,
    include: Option<&str>,
    now: Timestamp,
) -> Response<ApiBody> {
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kind != resource.kind.kind {
        return json(code, object);
    }
    match view {
        View::Plain => json(code, object),
        View::Partial => json(code, &partial(object)),
        View::Table => {
            let version = path::text(object, &["metadata", "resourceVersion"]);
            let table = table::render(
                resource,
                std::slice::from_ref(object),
                &json!({"resourceVersion": version}),
                include,
                now,
                true,
            );
            json(code, &table)
        }
    }
}

/// The object with its metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata"),
    })
}

/// A built-in object inside a list does not repeat what the list says.
struct Untyped<'a>(&'a Value);

impl Serialize for Untyped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(map) = self.0 else {
            return self.0.serialize(serializer);
        };
        let mut out = serializer.serialize_map(None)?;
        for (key, value) in map {
            if key != "apiVersion" && key != "kind" {
                out.serialize_entry(key, value)?;
            }
        }
        out.end()
    }
}

/// A page in the wanted form.
pub(crate) fn list(
    resource: &Resource,
    page: &Page,
    view: View,
    include: Option<&str>,
    now: Timestamp,
) -> Response<ApiBody> {
    let mut meta = json!({"resourceVersion": page.version.to_string()});
    if let Some(next) = &page.next {
        path::set(&mut meta, &["continue"], next.clone().into());
    }
    if let Some(remaining) = page.remaining {
        path::set(&mut meta, &["remainingItemCount"], remaining.into());
    }
    match view {
        View::Table => json(
            200,
            &table::render(resource, &page.items, &meta, include, now, true),
        ),
        View::Partial => {
            let items: Vec<Value> = page.items.iter().map(|o| partial(o)).collect();
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": meta, "items": items,
            });
            json(200, &list)
        }
        View::Plain => {
            let head = json!({
                "kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": meta,
            });
            let mut out = head.to_string().into_bytes();
            // Opens the object's last brace for the items.
            out.pop();
            out.extend_from_slice(b",\"items\":[");
            out.reserve(page.items.len() * 1024);
            for (i, item) in page.items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                // Writing a value to memory cannot fail.
                let _ = if resource.custom.is_some() {
                    serde_json::to_writer(&mut out, &**item)
                } else {
                    serde_json::to_writer(&mut out, &Untyped(item))
                };
            }
            out.extend_from_slice(b"]}");
            bytes(200, out)
        }
    }
}
