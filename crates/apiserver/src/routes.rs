//! Owns which request means what: it reads, asks the rooms that know, and shows what they say.
//! It refuses rules of its own.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use serde_json::{Value, json};
use weir_object::Key;

use crate::answer;
use crate::body::ApiBody;
use crate::call::{Call, Part};
use crate::custom;
use crate::discovery;
use crate::evict::{Evicted, evict};
use crate::faces;
use crate::identity::{self, User};
use crate::logs;
use crate::objects;
use crate::openapi;
use crate::policy::{self, Operation, Write};
use crate::protobuf::{self, Exchange};
use crate::read;
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::remove::{self, Removed};
use crate::request::{self, Query, Target, Verb, View};
use crate::review;
use crate::scale;
use crate::served;
use crate::server::ApiServer;
use crate::stream;
use crate::table;
use crate::typed::{self, Parsed, Unreadable};
use crate::write::{self, PatchKind};

/// Answers a request.
pub(crate) fn serve(
    server: &ApiServer,
    user: &Arc<User>,
    head: &Parts,
    body: &[u8],
) -> Response<ApiBody> {
    let exchange = Exchange::open(server, head);
    let response = exchange
        .head()
        .and_then(|head| route(server, user, head, body))
        .unwrap_or_else(|refusal| answer::refusal(&refusal));
    let response = exchange.close(response);
    if head.method == Method::HEAD {
        return answer::head_alone(response);
    }
    response
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

fn route(
    server: &ApiServer,
    user: &Arc<User>,
    head: &Parts,
    body: &[u8],
) -> Result<Response<ApiBody>, Refusal> {
    let path = head.uri.path();
    if path.starts_with("//") {
        return Ok(discovery::no_page());
    }
    let api = path.starts_with("/api/") || path.starts_with("/apis/");
    let filled = if api { request::filled(path) } else { None };
    if api && filled.is_none() {
        return Err(Refusal::NoResource);
    }
    let Some(segments) = request::segments(filled.as_deref().unwrap_or(path)) else {
        return Err(Refusal::BadRequest("the path is not text".to_owned()));
    };
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let accept = header(head, "accept");
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    match words.as_slice() {
        ["version" | "api"] | ["api", _] if head.method == Method::HEAD => {
            return Err(Refusal::MethodNotAllowed);
        }
        ["apis", group, _] if head.method == Method::HEAD && discovery::is_builtin(group) => {
            return Err(Refusal::MethodNotAllowed);
        }
        ["healthz" | "readyz" | "livez", ..] => {
            return Ok(discovery::health(
                &words,
                head.uri.query().unwrap_or_default(),
            ));
        }
        ["version"] => return Ok(answer::json(200, &discovery::version())),
        ["openapi", rest @ ..] if reads => return Ok(openapi::serve(server, rest, head, accept)),
        ["openid", "v1", "jwks"] if reads => return Ok(identity::keys(server)),
        [".well-known", "openid-configuration"] if reads => return Ok(identity::issuer()),
        [] | ["api" | "apis"] | ["api" | "apis", _] | ["apis", _, _] if reads => {
            return discovery::serve(server, &words, head, accept);
        }
        ["api" | "apis", ..] => {}
        _ => return Ok(discovery::no_page()),
    }
    let target = request::target(&segments).ok_or(Refusal::NoResource)?;
    let deprecation = served::deprecation(&server.0.read().registry, &target);
    // Definitions are answered for by another part of the server.
    let own = discovery::is_builtin(&target.group);
    let mut response = match serve_target(server, user, &target, head, body) {
        Err(Refusal::NoResource) if !own => answer::text(404, "404 page not found\n"),
        Err(Refusal::MethodNotAllowed) if !own => {
            answer::refusal(&served::unsupported(&target, &head.method))
        }
        other => other.unwrap_or_else(|refusal| answer::refusal(&refusal)),
    };
    if let Some(text) = deprecation {
        answer::warn_first(&mut response, &text);
    }
    Ok(response)
}

fn serve_target(
    server: &ApiServer,
    user: &Arc<User>,
    target: &Target,
    head: &Parts,
    body: &[u8],
) -> Result<Response<ApiBody>, Refusal> {
    let accept = header(head, "accept");
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if head.method == Method::HEAD && discovery::is_builtin(&target.group) {
        return Err(Refusal::MethodNotAllowed);
    }
    let verb = Verb::of(&head.method);
    let mut query = request::query(head.uri.query().unwrap_or_default(), verb)?;
    if let Some(answer) = logs::serve(server, target, head)? {
        return Ok(answer);
    }
    let (head, body) = protobuf::plain(server, target, head, body)?;
    let (head, body): (&Parts, &[u8]) = (&head, &body);
    if let Some(answer) = review::serve(server, user, target, &query, head, body)? {
        return Ok(answer);
    }
    if reads && target.group.is_empty() && target.plural == "componentstatuses" {
        return Ok(discovery::components(target.name.as_deref()));
    }
    if reads {
        query.as_of = head.extensions.get().copied();
        return read_request(server, target, &query, accept);
    }
    let view = request::accepted(accept)?;
    if head.method == Method::DELETE {
        request::delete_options(body, header(head, "content-type"), &mut query)?;
        verb.refuse(std::mem::take(&mut query.causes))?;
    }
    let mut call = Call::of(&query, user, header(head, "user-agent"), server.0.now());
    let mut response = match write_request(server, target, &query, head, body, view, &mut call) {
        // Whoever serves the group says these in its own words.
        Err(refusal @ (Refusal::MethodNotAllowed | Refusal::NoResource)) => return Err(refusal),
        answer => answer.unwrap_or_else(|refusal| answer::refusal(&refusal)),
    };
    answer::warn(&mut response, &call.warnings);
    Ok(response)
}

fn part(target: &Target, resource: &Resource) -> Result<Part, Refusal> {
    match target.sub.as_deref() {
        None => Ok(Part::Whole),
        Some("status") if resource.status => Ok(Part::Status),
        Some("scale") if resource.scale => Ok(Part::Scale),
        Some("finalize") if resource.is("", "Namespace") => Ok(Part::Finalize),
        Some("binding") if resource.is("", "Pod") => Ok(Part::Binding),
        Some("eviction") if resource.is("", "Pod") => Ok(Part::Eviction),
        Some(_) => Err(Refusal::NoResource),
    }
}

fn scope_fits(target: &Target, resource: &Resource) -> Result<(), Refusal> {
    let fits = match (&target.namespace, resource.kind.namespaced) {
        (Some(_), false) => false,
        // An object in no namespace, or a collection of all of them.
        (None, true) => target.name.is_none(),
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err(Refusal::NoResource)
    }
}

fn read_request(
    server: &ApiServer,
    target: &Target,
    query: &Query,
    accept: Option<&str>,
) -> Result<Response<ApiBody>, Refusal> {
    let state = server.0.read();
    let resource = state
        .registry
        .get(&target.group, &target.version, &target.plural)
        .cloned()
        .ok_or(Refusal::NoResource)?;
    let view = request::accepted(accept)?;
    if matches!(view, View::Table(_)) {
        table::check(query.include.as_deref())?;
    }
    scope_fits(target, &resource)?;
    let part = part(target, &resource)?;
    let namespace = target.namespace.as_deref();
    let include = query.include.as_deref();
    if let Err(refusal) = custom::convertible(&resource, false) {
        let is = match target.name.as_deref() {
            Some(name) => {
                let key = Key::new(namespace.unwrap_or_default(), name);
                state.contains(resource.storage, &key)
            }
            None => state.all(resource.storage, None).next().is_some(),
        };
        if is {
            return Err(refusal);
        }
    }
    let Some(name) = target.name.as_deref() else {
        if query.watch || target.watch {
            return stream::watch(server, &state, &resource, namespace, query, view);
        }
        request::form_fits(accept, &resource, true)?;
        let past = read::past(&state, &resource, query);
        let query = past.as_ref().map_or(query, |(_, past)| past);
        let page = read::list(&state, &resource, namespace, query)?;
        // Writing the text needs no lock.
        drop(state);
        return Ok(answer::list(&resource, page, view, include, server.0.now()));
    };
    if target.watch {
        let mut one = query.clone();
        one.selector = one.selector.of_name(name);
        return stream::watch(server, &state, &resource, namespace, &one, view);
    }
    if matches!(part, Part::Binding | Part::Eviction | Part::Finalize) {
        return Err(Refusal::MethodNotAllowed);
    }
    read::reached(&state, crate::options::least(query)?)?;
    let stored = match read::past(&state, &resource, query) {
        Some((version, _)) => read::stored_at(&state, &resource, namespace, name, version)?,
        None => objects::stored(&state, &resource, namespace, name)?,
    };
    drop(state);
    if part == Part::Scale {
        let object = crate::convert::outward(&resource, &stored.read());
        let scale = Arc::new(scale::read(&resource, &object)?);
        let (face, now) = (&*faces::SCALE, server.0.now());
        return Ok(answer::object(200, face, &scale, view, include, now));
    }
    request::form_fits(accept, &resource, false)?;
    Ok(answer::kept(
        200,
        &resource,
        &stored,
        view,
        include,
        server.0.now(),
    ))
}

fn write_request(
    server: &ApiServer,
    target: &Target,
    query: &Query,
    head: &Parts,
    body: &[u8],
    view: View,
    call: &mut Call,
) -> Result<Response<ApiBody>, Refusal> {
    let now = server.0.now();
    let content = header(head, "content-type").unwrap_or("application/json");
    let media = content.split(';').next().unwrap_or_default().trim();
    // The body is read before the lock is taken, and what is wrong with it told after that its
    // place is known.
    let read = match head.method {
        Method::POST | Method::PUT => match media {
            "application/json" | "" | "*/*" => Some(typed::parse(body)),
            "application/yaml" => Some(write::yaml(body)),
            _ => None,
        },
        Method::PATCH => match media {
            "application/apply-patch+yaml" => Some(write::yaml(body)),
            _ => Some(typed::parse(body)),
        },
        _ => None,
    };
    call.large = body.len() > LARGE;
    let mut state = server.0.write();
    let resource = state
        .registry
        .get(&target.group, &target.version, &target.plural)
        .cloned()
        .ok_or(Refusal::NoResource)?;
    scope_fits(target, &resource)?;
    let part = part(target, &resource)?;
    let namespace = target.namespace.as_deref();
    let parsed = match (&head.method, read) {
        (&Method::POST | &Method::PUT | &Method::PATCH, read) => {
            let verb = match (&head.method, target.name.is_some()) {
                (&Method::POST, true) if matches!(part, Part::Binding | Part::Eviction) => {
                    Verb::Create
                }
                (&Method::POST, false) if !resource.kind.namespaced || namespace.is_some() => {
                    Verb::Create
                }
                (&Method::PUT, true) => Verb::Update,
                (&Method::PATCH, true) if part != Part::Finalize => Verb::Patch,
                _ => return Err(Refusal::MethodNotAllowed),
            };
            if verb == Verb::Patch {
                let kind = patch_kind(media, &resource)?;
                let mut causes = query.causes.clone();
                match (kind, query.force, &query.manager) {
                    (PatchKind::Apply, _, None) => {
                        let detail = "is required for apply patch";
                        causes.insert(0, Cause::required("fieldManager", detail));
                    }
                    (PatchKind::Json | PatchKind::Merge | PatchKind::Strategic, true, _) => {
                        let detail = "may not be specified for non-apply patch";
                        causes.insert(0, Cause::forbidden("force", detail));
                    }
                    _ => {}
                }
                verb.refuse(causes)?;
                Some(read_patch(kind, read, body.trim_ascii() == b"null", call)?)
            } else {
                let Some(read) = read else {
                    return Err(Refusal::UnsupportedMediaType {
                        accepted: "application/json, application/yaml, application/vnd.kubernetes.protobuf",
                    });
                };
                verb.refuse(query.causes.clone())?;
                Some(read_object(body_kind(&resource, part), read, call)?)
            }
        }
        (&Method::DELETE, _) if part == Part::Whole => None,
        _ => return Err(Refusal::MethodNotAllowed),
    };
    let include = query.include.as_deref();
    let shown = |code: u16, object: &Arc<Value>| {
        answer::object(code, &resource, object, view, include, now)
    };
    if target.name.is_none() || head.method != Method::POST {
        custom::convertible(&resource, head.method != Method::DELETE)?;
    }
    match (&head.method, target.name.as_deref(), parsed) {
        (&Method::POST, None, Some(object)) => {
            let object = objects::create(&mut state, &resource, namespace, object, call)?;
            drop(state);
            Ok(shown(201, &object))
        }
        (&Method::POST, Some(name), Some(mut object)) => match part {
            Part::Binding => {
                let node = faces::binding(namespace, name, &mut object, call)?;
                objects::bind(&mut state, &resource, namespace, name, &node, call)?;
                Ok(answer::json(201, &success(None)))
            }
            Part::Eviction => {
                faces::eviction(namespace, name, &mut object, call)?;
                let options = weir_object::path::get(&object, &["deleteOptions"]);
                let mut asked = Query::default();
                let text = options.map(Value::to_string).unwrap_or_default();
                request::delete_options(text.as_bytes(), None, &mut asked)?;
                let write = Write {
                    operation: Operation::Create,
                    resource: &resource,
                    namespace,
                    name,
                    part,
                    new: Some(&object),
                    old: None,
                };
                policy::admit(&mut state, &write, call)?;
                call.dry_run |= asked.dry_run;
                match evict(&mut state, &resource, namespace, name, &asked.delete, call)? {
                    Evicted::Yes => Ok(answer::json(201, &success(None))),
                    Evicted::Ambiguous => Ok(answer::json(
                        500,
                        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                            "status": "Failure", "message": "This pod has more than one \
                             PodDisruptionBudget, which the eviction subresource does not support.",
                            "code": 500}),
                    )),
                }
            }
            _ => Err(Refusal::MethodNotAllowed),
        },
        (&Method::PUT, Some(name), Some(object)) => {
            let object =
                objects::update(&mut state, &resource, namespace, name, part, object, call)?;
            drop(state);
            Ok(shown(200, &object))
        }
        (&Method::PATCH, Some(name), Some(patch)) => {
            let kind = patch_kind(media, &resource)?;
            let (object, created) = objects::patch(
                &mut state, &resource, namespace, name, part, kind, patch, call,
            )?;
            drop(state);
            Ok(shown(if created { 201 } else { 200 }, &object))
        }
        (&Method::DELETE, Some(name), None) => {
            let removed =
                remove::delete(&mut state, &resource, namespace, name, &query.delete, call)?;
            drop(state);
            Ok(match removed {
                Removed::Waiting(object) => shown(200, &object),
                Removed::Gone(object) if resource.returned() => shown(200, &object),
                Removed::Gone(object) => answer::json(200, &success(Some((&resource, &object)))),
            })
        }
        (&Method::DELETE, None, None) => {
            if resource.is("", "Namespace") {
                return Err(Refusal::MethodNotAllowed);
            }
            let page = read::list(&state, &resource, namespace, query)?;
            for stored in &page.items {
                let (own, name) = (&*stored.place.namespace, &*stored.place.name);
                let namespace = resource.kind.namespaced.then_some(own);
                let one = &query.delete;
                // Objects that went meanwhile are what was asked for.
                if let Err(denied @ Refusal::Denied { .. }) =
                    remove::delete_of_many(&mut state, &resource, namespace, name, one, call)
                {
                    return Err(denied);
                }
            }
            drop(state);
            Ok(answer::list(&resource, page, view, include, now))
        }
        _ => Err(Refusal::MethodNotAllowed),
    }
}

/// Bodies over this length may make objects that are too large to be kept.
const LARGE: usize = 1024 * 1024;

fn patch_kind(media: &str, resource: &Resource) -> Result<PatchKind, Refusal> {
    match media {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" if resource.custom.is_none() => {
            Ok(PatchKind::Strategic)
        }
        "application/strategic-merge-patch+json" => Err(Refusal::UnsupportedMediaType {
            accepted: "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        }),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ => Err(Refusal::UnsupportedPatchType),
    }
}

/// The kind of body that a part takes.
fn body_kind(resource: &Resource, part: Part) -> &str {
    match part {
        Part::Scale => "Scale",
        Part::Binding => "Binding",
        Part::Eviction => "Eviction",
        _ => &resource.kind.kind,
    }
}

/// The object in a body that is to be one of a kind.
pub(crate) fn read_object(
    kind: &str,
    read: Result<Parsed, Unreadable>,
    call: &mut Call,
) -> Result<Value, Refusal> {
    let unknown = |why: &str, summary: &str| {
        Refusal::BadRequest(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
        ))
    };
    let parsed = read.map_err(|fault| unknown(&fault.why, &fault.summary))?;
    let wanted = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
    let fault = match &parsed.value {
        Value::Object(map) => ["apiVersion", "kind"].iter().find_map(|field| {
            let found = map.get(*field).filter(|v| !v.is_null() && !v.is_string())?;
            let word = weir_object::json_type(found);
            Some(format!(
                "json: cannot unmarshal {word} into Go struct field .{field} of type string"
            ))
        }),
        other => Some(format!(
            "json: cannot unmarshal {} into Go value of type {wanted}",
            weir_object::json_type(other)
        )),
    };
    if let Some(fault) = fault {
        let why = format!("couldn't get version/kind; json parse error: {fault}");
        return Err(unknown(&why, &parsed.summary));
    }
    let api_version = parsed.value.get("apiVersion").and_then(Value::as_str);
    if let Some(text) = api_version.filter(|text| text.matches('/').count() > 1) {
        let why = format!("unexpected GroupVersion string: {text}");
        return Err(unknown(&why, &parsed.summary));
    }
    call.doubled = parsed.doubled;
    call.repeated = parsed.repeated;
    Ok(parsed.value)
}

fn read_patch(
    kind: PatchKind,
    read: Option<Result<Parsed, Unreadable>>,
    // Whether the body is `null`, which otherwise reads as an empty object.
    nothing: bool,
    call: &mut Call,
) -> Result<Value, Refusal> {
    let Some(read) = read else {
        return Err(Refusal::UnsupportedPatchType);
    };
    match kind {
        PatchKind::Json if nothing => return Ok(Value::Array(Vec::new())),
        PatchKind::Merge if nothing => {
            return Err(Refusal::BadRequest("Invalid JSON Patch".to_owned()));
        }
        _ => {}
    }
    let told = match kind {
        PatchKind::Apply => "error decoding YAML: ",
        PatchKind::Strategic => "",
        PatchKind::Json | PatchKind::Merge => "error decoding patch: ",
    };
    let mut parsed = read.map_err(|fault| {
        let why = fault
            .why
            .trim_start_matches("couldn't get version/kind; json parse error: ");
        Refusal::BadRequest(format!("{told}{why}"))
    })?;
    let wanted = match (&parsed.value, kind) {
        (Value::Array(_), PatchKind::Json) => None,
        (_, PatchKind::Json) => Some("[]handlers.jsonPatchOp"),
        (Value::Object(_), _) => None,
        _ => Some("map[string]interface {}"),
    };
    if let Some(wanted) = wanted {
        return Err(Refusal::BadRequest(format!(
            "{told}json: cannot unmarshal {} into Go value of type {wanted}",
            weir_object::json_type(&parsed.value)
        )));
    }
    if !parsed.doubled.is_empty() {
        typed::plain(&mut parsed.value);
    }
    call.doubled = parsed.doubled;
    Ok(parsed.value)
}

fn success(of: Option<(&Resource, &Value)>) -> Value {
    let mut status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    match of {
        None => weir_object::path::set(&mut status, &["code"], 201.into()),
        Some((resource, object)) => {
            let text = |field| weir_object::path::text(object, &["metadata", field]);
            let mut details = json!({"name": text("name")});
            if !resource.kind.group.is_empty() {
                weir_object::path::set(
                    &mut details,
                    &["group"],
                    resource.kind.group.to_string().into(),
                );
            }
            weir_object::path::set(
                &mut details,
                &["kind"],
                resource.kind.plural.to_string().into(),
            );
            weir_object::path::set(&mut details, &["uid"], text("uid").into());
            weir_object::path::set(&mut status, &["details"], details);
        }
    }
    status
}
