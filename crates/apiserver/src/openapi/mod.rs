//! Owns the published schemas: what `kubectl` asks before it validates, explains or applies.
//! Documents are made when they are first asked for and kept until what is served changes.

mod custom;
mod paths;
mod schema;
mod two;
pub(crate) mod words;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};
use weir_object::path;

use crate::answer;
use crate::body::ApiBody;
use crate::discovery;
use crate::registry::{Registry, Resource};
use crate::server::ApiServer;
use schema::Schemas;

const TITLE: &str = "Kubernetes";
const VERSION: &str = "v1.34.2";
const JSON: &str = "application/json";

/// What was made so far, of one state of the registry.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    revision: u64,
    by_path: HashMap<String, Document>,
}

#[derive(Clone, Debug)]
struct Document {
    body: Bytes,
    tag: String,
}

impl Documents {
    /// The document of a path, made now if it must be.
    fn get(
        &self,
        revision: u64,
        path: &str,
        make: impl FnOnce() -> Option<(Vec<u8>, Option<String>)>,
    ) -> Option<Document> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut kept = kept();
            if kept.revision != revision {
                kept.revision = revision;
                kept.by_path.clear();
            }
            if let Some(document) = kept.by_path.get(path) {
                return Some(document.clone());
            }
        }
        // Two may make the same at once; the lock is not held for so long.
        let (body, tag) = make()?;
        let tag = tag.unwrap_or_else(|| discovery::hexadecimal(&Sha512::digest(&body)));
        let document = Document {
            body: body.into(),
            tag,
        };
        let mut kept = kept();
        if kept.revision == revision {
            kept.by_path.insert(path.to_owned(), document.clone());
        }
        Some(document)
    }
}

/// Answers below `/openapi`.
pub(crate) fn serve(
    server: &ApiServer,
    rest: &[&str],
    head: &Parts,
    accept: Option<&str>,
) -> Response<ApiBody> {
    let state = server.0.read();
    let registry = &state.registry;
    let documents = &server.0.documents;
    let revision = registry.revision;
    match rest {
        ["v2"]
            if two::MEDIAS.iter().any(|media| accepts(accept, media))
                && !accepts_first(accept, JSON) =>
        {
            let document =
                documents.get(revision, "v2.pb", || Some((two::protobuf(registry), None)));
            served(document, two::MEDIAS[0], head)
        }
        ["v2"] => {
            let document = documents.get(revision, "v2", || {
                Some((two::document(registry).to_string().into_bytes(), None))
            });
            served(document, JSON, head)
        }
        ["v3"] => {
            let document = documents.get(revision, "v3", || {
                Some((index(registry).to_string().into_bytes(), None))
            });
            served(document, "text/plain; charset=utf-8", head)
        }
        ["v3", root @ ..] => {
            let (group, version) = match root {
                ["api", version] => ("", *version),
                ["apis", group, version] => (*group, *version),
                _ => return empty(StatusCode::NOT_FOUND),
            };
            if !accepts(accept, JSON) {
                return empty(StatusCode::NOT_ACCEPTABLE);
            }
            let place = root.join("/");
            let document = documents.get(revision, &place, || {
                let value = document(registry, group, version)?;
                let tag = tag(registry, group, version);
                Some((value.to_string().into_bytes(), Some(tag)))
            });
            versioned(document, &place, head)
        }
        _ => answer::text(404, "404 page not found\n"),
    }
}

fn empty(code: StatusCode) -> Response<ApiBody> {
    let mut response = Response::new(ApiBody::whole(Vec::new()));
    *response.status_mut() = code;
    response
}

/// Whether a header names the form, or leaves the choice.
fn accepts(accept: Option<&str>, media: &str) -> bool {
    let Some(accept) = accept.filter(|a| !a.trim().is_empty()) else {
        return media == JSON;
    };
    accept.split(',').any(|range| {
        let own = range.split(';').next().unwrap_or_default().trim();
        own == media || (media == JSON && matches!(own, "*/*" | "application/*"))
    })
}

fn accepts_first(accept: Option<&str>, media: &str) -> bool {
    let first = accept.and_then(|a| a.split(',').next());
    first.is_none_or(|first| first.split(';').next().is_some_and(|m| m.trim() == media))
}

/// A document with its tag; `304` for one that the client has.
fn served(document: Option<Document>, media: &'static str, head: &Parts) -> Response<ApiBody> {
    let Some(document) = document else {
        return empty(StatusCode::NOT_FOUND);
    };
    let tag = format!("\"{}\"", document.tag);
    let known = head.headers.get(IF_NONE_MATCH);
    let has = known.is_some_and(|known| {
        let mut each = known.as_bytes().split(|b| *b == b',');
        each.any(|one| one.trim_ascii() == tag.as_bytes())
    });
    let mut response = if has {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        Response::new(ApiBody::whole(document.body))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// A document whose address carries its tag, so that it may be kept for ever.
fn versioned(document: Option<Document>, place: &str, head: &Parts) -> Response<ApiBody> {
    let query = head.uri.query().unwrap_or_default();
    let asked = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "hash")
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty());
    let tag = document.as_ref().map(|d| d.tag.clone()).unwrap_or_default();
    let mut response = served(document, JSON, head);
    match asked {
        Some(asked) if !tag.is_empty() && asked != tag => {
            let mut moved = empty(StatusCode::MOVED_PERMANENTLY);
            let to = format!("/openapi/v3/{place}?hash={tag}");
            if let Ok(to) = HeaderValue::from_str(&to) {
                moved.headers_mut().insert(LOCATION, to);
            }
            moved
        }
        Some(_) if !tag.is_empty() => {
            let forever = HeaderValue::from_static("public, immutable");
            response.headers_mut().insert(CACHE_CONTROL, forever);
            response
        }
        _ => response,
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in discovery::groups(registry) {
        for version in versions {
            let path = root(&group, &version);
            let url = format!(
                "/openapi/v3/{path}?hash={}",
                tag(registry, &group, &version)
            );
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    paths.sort_keys();
    json!({"paths": paths})
}

/// Tells documents apart without making them: it changes with all that goes into one.
fn tag(registry: &Registry, group: &str, version: &str) -> String {
    let mut digest = Sha512::new();
    digest.update(format!("{VERSION} {group}/{version}"));
    for resource in resources(registry, group, version) {
        digest.update(format!(
            " {} {} {} {}",
            resource.kind.plural, resource.kind.kind, resource.status, resource.scale
        ));
        if let Some(custom) = &resource.custom {
            digest.update(custom.document.to_string());
        }
    }
    discovery::hexadecimal(&digest.finalize())
}

fn resources<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Resource> {
    registry
        .iter()
        .map(|resource| &**resource)
        .filter(move |r| r.kind.group == group && r.kind.version == version)
}

/// All that a group's version is made of.
fn document(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut schemas = Schemas::default();
    let mut all = BTreeMap::new();
    for resource in resources(registry, group, version) {
        let name = component(resource);
        match &resource.custom {
            None => {
                schemas.add(&resource.typing);
                schemas.mark(&name, gvk(resource, ""));
            }
            Some(custom) => {
                let schema = custom::schema(&custom.document, gvk(resource, ""));
                schemas.insert(&name, schema);
                for needed in [schema::OBJECT_META, schema::LIST_META] {
                    schemas.add_named(needed);
                }
            }
        }
        let list = list(resource, &name);
        schemas.insert(&format!("{name}List"), list);
        schemas.add_named(schema::LIST_META);
        paths::add(resource, &name, &mut schemas, &mut all);
    }
    // Kinds that are only questions have their types here too.
    for info in weir_schema::builtin_kinds() {
        if info.group == group && info.version == version && info.verbs == ["create"] {
            schemas.add_named(&info.type_name);
            let gvk = json!([{"group": group, "version": version, "kind": info.kind}]);
            schemas.mark(&info.type_name, gvk);
            paths::add_question(info, &mut all);
        }
    }
    if all.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": TITLE, "version": VERSION},
        "paths": all, "components": {"schemas": schemas.done()},
    }))
}

fn gvk(resource: &Resource, suffix: &str) -> Value {
    let kind = &resource.kind;
    json!([{"group": kind.group, "kind": format!("{}{suffix}", kind.kind), "version": kind.version}])
}

/// The name of a kind's type: its own, or made of its group turned round.
fn component(resource: &Resource) -> String {
    if let Some(name) = resource.typing.name() {
        return name.to_owned();
    }
    let kind = &resource.kind;
    let mut parts: Vec<&str> = kind
        .group
        .split('.')
        .rev()
        .filter(|p| !p.is_empty())
        .collect();
    parts.push(&kind.version);
    parts.push(&kind.kind);
    parts.join(".")
}

/// The type of a list of a kind.
fn list(resource: &Resource, name: &str) -> Value {
    let kind = &resource.kind;
    let items = if resource.custom.is_some() {
        schema::reference(name)
    } else {
        json!({"default": {}, "allOf": [schema::reference(name)]})
    };
    let mut out = json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "items": {"type": "array", "items": items},
            "kind": {"type": "string"},
            "metadata": {"allOf": [schema::reference(schema::LIST_META)]},
        },
        "x-kubernetes-group-version-kind": gvk(resource, "List"),
    });
    custom::describe_type(&mut out);
    if resource.custom.is_some() {
        let of = format!("{}List is a list of {}", kind.kind, kind.kind);
        path::set(&mut out, &["description"], of.into());
        let of = format!(
            "List of {}. More info: https://git.k8s.io/community/contributors/devel/\
             sig-architecture/api-conventions.md",
            kind.plural
        );
        path::set(&mut out, &["properties", "items", "description"], of.into());
        let of = "Standard list metadata. More info: https://git.k8s.io/community/contributors/\
                  devel/sig-architecture/api-conventions.md#types-kinds";
        path::set(
            &mut out,
            &["properties", "metadata", "description"],
            of.into(),
        );
    } else {
        path::set(&mut out, &["properties", "metadata", "default"], json!({}));
    }
    out
}
