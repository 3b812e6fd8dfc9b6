//! Owns answers: status codes, headers, and the forms in which objects and lists are shown.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WARNING};
use http::{HeaderName, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::path;

use crate::admit;
use crate::body::ApiBody;
use crate::convert;
use crate::read::Page;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::request::{Shared, View};
use crate::stored::Stored;
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
    // As Go's encoder does.
    body.push(b'\n');
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

/// The answer to a question after the headers alone.
pub(crate) fn head_alone(response: Response<ApiBody>) -> Response<ApiBody> {
    let (mut head, body) = response.into_parts();
    let length = body.gathered().len();
    head.headers.insert(CONTENT_LENGTH, length.into());
    Response::from_parts(head, ApiBody::whole(Vec::new()))
}

/// A refusal as a `Status`.
pub(crate) fn refusal(refusal: &Refusal) -> Response<ApiBody> {
    let mut response = json(refusal.code(), &refusal.status());
    let after = match refusal {
        Refusal::FutureVersion { .. } => 1,
        Refusal::TooManyRequests { after, .. } => *after,
        _ => 0,
    };
    if after > 0 {
        response.headers_mut().insert(
            HeaderName::from_static("retry-after"),
            HeaderValue::from(after),
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

/// Tells the client something before everything else.
pub(crate) fn warn_first(response: &mut Response<ApiBody>, text: &str) {
    let others: Vec<HeaderValue> = response
        .headers()
        .get_all(WARNING)
        .iter()
        .cloned()
        .collect();
    response.headers_mut().remove(WARNING);
    warn(response, &[text.to_owned()]);
    for other in others {
        response.headers_mut().append(WARNING, other);
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
        View::Partial(shared) => json(code, &partial(object, shared)),
        View::Partials(_) => refusal(&unlike(
            "PartialObjectMetadataList",
            "not a list",
            resource,
            "",
        )),
        View::Table(shared) => {
            let version = path::text(object, &["metadata", "resourceVersion"]);
            let table = table::render(
                resource,
                std::slice::from_ref(object),
                &json!({"resourceVersion": version}),
                include,
                now,
                shared,
                true,
            );
            json(code, &table)
        }
    }
}

/// One kept object in the wanted form.
pub(crate) fn kept(
    code: u16,
    resource: &Resource,
    stored: &Stored,
    view: View,
    include: Option<&str>,
    now: Timestamp,
) -> Response<ApiBody> {
    if view == View::Plain && convert::as_kept(resource, stored) {
        let mut text = stored.to_vec();
        text.push(b'\n');
        return bytes(code, text);
    }
    let shown = convert::outward(resource, &stored.read());
    object(code, resource, &shown, view, include, now)
}

/// The object with its metadata alone.
pub(crate) fn partial(object: &Value, shared: Shared) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": shared.api_version(),
        "metadata": object.get("metadata"),
    })
}

/// Refuses the form of a list for an object, or that of an object for a list.
fn unlike(wanted: &str, is: &str, resource: &Resource, end: &str) -> Refusal {
    let kind = &resource.kind;
    let ty = if resource.custom.is_some() {
        format!("unstructured.Unstructured{end}")
    } else {
        format!("{}.{}{end}", admit::package(&kind.group), kind.kind)
    };
    Refusal::NotAcceptable {
        message: format!("you requested {wanted}, but the requested object is {is} (*{ty})"),
    }
}

/// A page in the wanted form.
pub(crate) fn list(
    resource: &Arc<Resource>,
    page: Page,
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
    let shown = |stored: Arc<Stored>| convert::outward(resource, &stored.read());
    match view {
        View::Table(shared) => {
            let items: Vec<Arc<Value>> = page.items.into_iter().map(shown).collect();
            let table = table::render(resource, &items, &meta, include, now, shared, true);
            json(200, &table)
        }
        View::Partial(_) => refusal(&unlike("PartialObjectMetadata", "a list", resource, "List")),
        View::Partials(shared) => {
            let items = page.items.into_iter().map(shown);
            let items: Vec<Value> = items.map(|object| partial(&object, shared)).collect();
            // A list of nothing is no list.
            let items = Some(items).filter(|items| !items.is_empty());
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": shared.api_version(),
                "metadata": meta, "items": items,
            });
            json(200, &list)
        }
        View::Plain => {
            // Lists of custom objects say also that nothing follows.
            if resource.custom.is_some() && page.next.is_none() {
                path::set(&mut meta, &["continue"], "".into());
            }
            let head = json!({
                "kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": meta,
            });
            let mut out = head.to_string().into_bytes();
            // Opens the object's last brace for the items.
            out.pop();
            out.extend_from_slice(b",\"items\":[");
            pieces(Items {
                resource: resource.clone(),
                left: page.items.into_iter(),
                first: true,
                out,
            })
        }
    }
}

/// A list is written in pieces of about this length.
const PIECE: usize = 128 * 1024;

/// The objects of a list that are still to be written, and what is written of the next piece.
struct Items {
    resource: Arc<Resource>,
    left: std::vec::IntoIter<Arc<Stored>>,
    first: bool,
    out: Vec<u8>,
}

impl Items {
    /// Fills the piece; true when the list is at its end.
    fn fill(&mut self) -> bool {
        // A built-in object inside a list does not repeat what the list says.
        let typed = self.resource.custom.is_some();
        let upcoming = self.left.as_slice().iter().map(|s| s.len() + 1);
        let room: usize = upcoming.take(PIECE / 512).sum();
        self.out.reserve(room.min(PIECE) + 4096);
        while self.out.len() < PIECE {
            let Some(stored) = self.left.next() else {
                self.out.extend_from_slice(b"]}\n");
                return true;
            };
            if !std::mem::take(&mut self.first) {
                self.out.push(b',');
            }
            convert::write(&self.resource, &stored, typed, &mut self.out);
        }
        false
    }
}

/// A list as an answer: whole when it is short, in pieces otherwise.
fn pieces(mut items: Items) -> Response<ApiBody> {
    let mut response = bytes(200, Vec::new());
    if items.fill() {
        *response.body_mut() = ApiBody::whole(items.out);
        return response;
    }
    let mut over = false;
    let pieces = std::iter::from_fn(move || {
        if items.out.is_empty() && !over {
            over = items.fill();
        }
        let piece = std::mem::take(&mut items.out);
        (!piece.is_empty()).then(|| piece.into())
    });
    *response.body_mut() = ApiBody::stream(futures::stream::iter(pieces));
    response
}
