//! An image registry in memory, speaking the OCI distribution protocol: pull, push in one piece or
//! in many, tags in pages, and telling others of pushes.
//!
//! It refuses manifests that name what is not there, bytes that are not those of their digest, and
//! to keep more than its limit. Blobs are shared by all repositories.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LINK, LOCATION, RANGE,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use weir_runtime::Secret;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD: HeaderName = HeaderName::from_static("docker-upload-uuid");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// How the registry behaves.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// The user name and password that everyone must show, where there are any.
    pub credentials: Option<(String, Secret)>,
    /// The most bytes kept of blobs and open uploads together.
    pub bytes: usize,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: None,
            bytes: 1 << 30,
        }
    }
}

/// A manifest that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPush {
    /// The repository, such as `demo/app`.
    pub repository: String,
    /// The tag, where it was pushed under one.
    pub tag: Option<String>,
    /// The manifest's digest.
    pub digest: String,
}

/// A registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    options: Arc<RegistryOptions>,
    kept: Arc<Mutex<Kept>>,
    pushes: broadcast::Sender<RegistryPush>,
}

#[derive(Default, Debug)]
struct Kept {
    blobs: HashMap<String, Bytes>,
    repositories: BTreeMap<String, Repository>,
    uploads: HashMap<String, Vec<u8>>,
    next_upload: u64,
}

#[derive(Default, Debug)]
struct Repository {
    /// By digest.
    manifests: HashMap<String, (String, Bytes)>,
    /// Digests by tag.
    tags: BTreeMap<String, String>,
}

impl Kept {
    fn bytes(&self) -> usize {
        let uploads = self.uploads.values().map(Vec::len).sum::<usize>();
        self.blobs.values().map(Bytes::len).sum::<usize>() + uploads
    }
}

/// What a path below `/v2/` names.
enum Target<'a> {
    Root,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Upload(&'a str, &'a str),
}

impl Registry {
    /// An empty registry.
    pub fn new(options: RegistryOptions) -> Self {
        let (pushes, _) = broadcast::channel(256);
        Self {
            options: Arc::new(options),
            kept: Arc::default(),
            pushes,
        }
    }

    /// Tells of each manifest that is pushed, from now on.
    pub fn pushes(&self) -> broadcast::Receiver<RegistryPush> {
        self.pushes.subscribe()
    }

    /// What a push brought, as named pieces of bytes from which [`Registry::put_back`] makes it
    /// again: the manifest, its tag, and the blobs it names.
    pub fn pieces(&self, push: &RegistryPush) -> Vec<(String, Bytes)> {
        let kept = self.kept();
        let (repository, digest) = (&push.repository, &push.digest);
        let Some(known) = kept.repositories.get(repository) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        if let Some((kind, bytes)) = known.manifests.get(digest) {
            let manifest = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            let layers = manifest["layers"].as_array().into_iter().flatten();
            for named in layers.chain(manifest.get("config")) {
                let digest = named["digest"].as_str().unwrap_or_default();
                if let Some(blob) = kept.blobs.get(digest) {
                    out.push((format!("blob {digest}"), blob.clone()));
                }
            }
            let mut piece = kind.as_bytes().to_vec();
            piece.push(b'\n');
            piece.extend_from_slice(bytes);
            out.push((format!("manifest {repository} {digest}"), piece.into()));
        }
        if let Some(tag) = &push.tag {
            let digest = Bytes::copy_from_slice(digest.as_bytes());
            out.push((format!("tag {repository} {tag}"), digest));
        }
        out
    }

    /// Puts a piece back. Pieces that are none are passed over.
    pub fn put_back(&self, name: &str, bytes: Bytes) {
        let mut kept = self.kept();
        match name.split(' ').collect::<Vec<_>>().as_slice() {
            ["blob", digest] => {
                kept.blobs.insert((*digest).to_owned(), bytes);
            }
            ["manifest", repository, digest] => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let Some(end) = end else { return };
                let kind = String::from_utf8_lossy(&bytes.slice(..end)).into_owned();
                let repository = kept
                    .repositories
                    .entry((*repository).to_owned())
                    .or_default();
                let manifest = (kind, bytes.slice(end + 1..));
                repository.manifests.insert((*digest).to_owned(), manifest);
            }
            ["tag", repository, tag] => {
                let digest = String::from_utf8_lossy(&bytes).into_owned();
                let repository = kept
                    .repositories
                    .entry((*repository).to_owned())
                    .or_default();
                repository.tags.insert((*tag).to_owned(), digest);
            }
            _ => {}
        }
    }

    /// The registry's routes.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = &self.options.credentials else {
            return true;
        };
        let wanted = STANDARD.encode(format!("{user}:{}", password.expose()));
        headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Basic "))
            .is_some_and(|given| given.trim() == wanted)
    }

    fn tags(&self, name: &str, query: &HashMap<String, String>) -> Response {
        let kept = self.kept();
        let Some(repository) = kept.repositories.get(name) else {
            return unknown_name();
        };
        let last = query.get("last").map(String::as_str);
        let mut tags: Vec<&String> = repository
            .tags
            .keys()
            .filter(|tag| last.is_none_or(|last| tag.as_str() > last))
            .collect();
        let limit = query.get("n").and_then(|n| n.parse::<usize>().ok());
        let mut headers = HeaderMap::new();
        if let Some(limit) = limit.filter(|limit| tags.len() > *limit) {
            tags.truncate(limit);
            if let Some(last) = tags.last() {
                let link = format!("</v2/{name}/tags/list?last={last}&n={limit}>; rel=\"next\"");
                headers.extend(link.parse().ok().map(|link| (LINK, link)));
            }
        }
        (headers, axum::Json(json!({"name": name, "tags": tags}))).into_response()
    }

    fn manifest(&self, name: &str, reference: &str, with_body: bool) -> Response {
        let kept = self.kept();
        let Some(repository) = kept.repositories.get(name) else {
            return unknown_name();
        };
        let digest = repository
            .tags
            .get(reference)
            .map_or(reference, String::as_str);
        match repository.manifests.get(digest) {
            Some((kind, bytes)) => found(kind, digest, bytes, with_body),
            None => refuse(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "there is no such manifest",
            ),
        }
    }

    fn put_manifest(&self, name: &str, reference: &str, kind: &str, bytes: Bytes) -> Response {
        let invalid = |what: &str| refuse(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", what);
        let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
            return invalid("the manifest is no JSON document");
        };
        let digest = digest_of(&bytes);
        let tag = (!reference.contains(':')).then(|| reference.to_owned());
        if tag.is_none() && reference != digest {
            return refuse(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "the digest does not match",
            );
        }
        let mut kept = self.kept();
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let config = manifest.get("config");
        for named in layers.chain(config) {
            let there = named["digest"]
                .as_str()
                .is_some_and(|d| kept.blobs.contains_key(d));
            if !there {
                let what = "a blob that the manifest names was not pushed";
                return refuse(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", what);
            }
        }
        let repository = kept.repositories.entry(name.to_owned()).or_default();
        repository
            .manifests
            .insert(digest.clone(), (kind.to_owned(), bytes));
        if let Some(tag) = &tag {
            repository.tags.insert(tag.clone(), digest.clone());
        }
        drop(kept);
        let location = format!("/v2/{name}/manifests/{digest}");
        // Nobody may be listening, and that is fine.
        let _ = self.pushes.send(RegistryPush {
            repository: name.to_owned(),
            tag,
            digest: digest.clone(),
        });
        (
            StatusCode::CREATED,
            [(LOCATION, location), (DIGEST, digest)],
        )
            .into_response()
    }

    fn delete_manifest(&self, name: &str, reference: &str) -> Response {
        let mut kept = self.kept();
        let Some(repository) = kept.repositories.get_mut(name) else {
            return unknown_name();
        };
        let gone = if reference.contains(':') {
            repository.tags.retain(|_, digest| digest != reference);
            repository.manifests.remove(reference).is_some()
        } else {
            repository.tags.remove(reference).is_some()
        };
        if gone {
            return StatusCode::ACCEPTED.into_response();
        }
        refuse(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "there is no such manifest",
        )
    }

    fn blob(&self, digest: &str, with_body: bool) -> Response {
        match self.kept().blobs.get(digest) {
            Some(bytes) => found("application/octet-stream", digest, bytes, with_body),
            None => refuse(
                StatusCode::NOT_FOUND,
                "BLOB_UNKNOWN",
                "there is no such blob",
            ),
        }
    }

    fn begin_upload(&self, name: &str, query: &HashMap<String, String>, bytes: Bytes) -> Response {
        let mut kept = self.kept();
        if let Some(digest) = query.get("mount").filter(|d| kept.blobs.contains_key(*d)) {
            return created_blob(name, digest);
        }
        if let Some(digest) = query.get("digest") {
            return self.keep_blob(&mut kept, name, digest, bytes);
        }
        let id = format!("upload-{}", kept.next_upload);
        kept.next_upload += 1;
        kept.uploads.insert(id.clone(), Vec::new());
        accepted(name, &id, 0)
    }

    fn more(&self, name: &str, id: &str, bytes: &[u8]) -> Response {
        let mut kept = self.kept();
        if kept.bytes() + bytes.len() > self.options.bytes {
            return too_large();
        }
        match kept.uploads.get_mut(id) {
            Some(upload) => {
                upload.extend_from_slice(bytes);
                accepted(name, id, upload.len())
            }
            None => unknown_upload(),
        }
    }

    fn end_upload(&self, name: &str, id: &str, digest: Option<&String>, bytes: &[u8]) -> Response {
        let mut kept = self.kept();
        let Some(mut upload) = kept.uploads.remove(id) else {
            return unknown_upload();
        };
        let Some(digest) = digest else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "the digest is missing",
            );
        };
        upload.extend_from_slice(bytes);
        self.keep_blob(&mut kept, name, digest, upload.into())
    }

    fn keep_blob(&self, kept: &mut Kept, name: &str, digest: &str, bytes: Bytes) -> Response {
        if digest_of(&bytes) != digest {
            return refuse(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "the digest does not match",
            );
        }
        if kept.bytes() + bytes.len() > self.options.bytes {
            return too_large();
        }
        kept.blobs.insert(digest.to_owned(), bytes);
        created_blob(name, digest)
    }
}

async fn serve(State(registry): State<Registry>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !registry.admits(&parts.headers) {
        let ask = [(WWW_AUTHENTICATE, "Basic realm=\"registry\"")];
        let said = refuse(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "credentials are needed",
        );
        return (ask, said).into_response();
    }
    let query = query_of(parts.uri.query().unwrap_or_default());
    let Some(target) = target_of(parts.uri.path()) else {
        return refuse(
            StatusCode::NOT_FOUND,
            "NAME_INVALID",
            "this is no path of a registry",
        );
    };
    let Ok(bytes) = to_bytes(body, registry.options.bytes).await else {
        return too_large();
    };
    let kind = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let with_body = parts.method != Method::HEAD;
    let method = if with_body { parts.method } else { Method::GET };
    match (method, target) {
        (Method::GET, Target::Root) => {
            ([(VERSION, "registry/2.0")], axum::Json(json!({}))).into_response()
        }
        (Method::GET, Target::Catalog) => {
            let names: Vec<String> = registry.kept().repositories.keys().cloned().collect();
            axum::Json(json!({"repositories": names})).into_response()
        }
        (Method::GET, Target::Tags(name)) => registry.tags(name, &query),
        (Method::GET, Target::Manifest(name, reference)) => {
            registry.manifest(name, reference, with_body)
        }
        (Method::PUT, Target::Manifest(name, reference)) => {
            registry.put_manifest(name, reference, kind, bytes)
        }
        (Method::DELETE, Target::Manifest(name, reference)) => {
            registry.delete_manifest(name, reference)
        }
        (Method::GET, Target::Blob(_, digest)) => registry.blob(digest, with_body),
        (Method::POST, Target::Upload(name, "")) => registry.begin_upload(name, &query, bytes),
        (Method::PATCH, Target::Upload(name, id)) => registry.more(name, id, &bytes),
        (Method::PUT, Target::Upload(name, id)) => {
            registry.end_upload(name, id, query.get("digest"), &bytes)
        }
        (Method::DELETE, Target::Upload(_, id)) => match registry.kept().uploads.remove(id) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => unknown_upload(),
        },
        _ => refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "this is not supported",
        ),
    }
}

fn target_of(path: &str) -> Option<Target<'_>> {
    let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
    match rest {
        "" => return Some(Target::Root),
        "_catalog" => return Some(Target::Catalog),
        _ => {}
    }
    let target = if let Some(name) = rest.strip_suffix("/tags/list") {
        Target::Tags(name)
    } else if let Some((name, id)) = rest.split_once("/blobs/uploads") {
        Target::Upload(name, id.trim_start_matches('/'))
    } else if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
        Target::Blob(name, digest)
    } else {
        let (name, reference) = rest.rsplit_once("/manifests/")?;
        Target::Manifest(name, reference)
    };
    let (Target::Tags(name)
    | Target::Upload(name, _)
    | Target::Blob(name, _)
    | Target::Manifest(name, _)) = &target
    else {
        return Some(target);
    };
    let good = |part: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
    };
    (name.len() <= 255 && name.split('/').all(good)).then_some(target)
}

/// Names and values of a query; `%3A` is the one escape that clients use here.
fn query_of(query: &str) -> HashMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            (
                name.to_owned(),
                value
                    .replace("%3A", ":")
                    .replace("%3a", ":")
                    .replace("%2F", "/"),
            )
        })
        .collect()
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn found(kind: &str, digest: &str, bytes: &Bytes, with_body: bool) -> Response {
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (DIGEST, digest.to_owned()),
        (CONTENT_LENGTH, bytes.len().to_string()),
    ];
    let body = if with_body {
        Body::from(bytes.clone())
    } else {
        Body::empty()
    };
    (headers, body).into_response()
}

fn accepted(name: &str, id: &str, length: usize) -> Response {
    let headers = [
        (LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        (UPLOAD, id.to_owned()),
        (RANGE, format!("0-{}", length.saturating_sub(1))),
    ];
    (StatusCode::ACCEPTED, headers).into_response()
}

fn created_blob(name: &str, digest: &str) -> Response {
    let location = format!("/v2/{name}/blobs/{digest}");
    (
        StatusCode::CREATED,
        [(LOCATION, location), (DIGEST, digest.to_owned())],
    )
        .into_response()
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (
        status,
        axum::Json(json!({"errors": [{"code": code, "message": message}]})),
    )
        .into_response()
}

fn unknown_name() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "NAME_UNKNOWN",
        "there is no such repository",
    )
}

fn unknown_upload() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "BLOB_UPLOAD_UNKNOWN",
        "there is no such upload",
    )
}

fn too_large() -> Response {
    refuse(
        StatusCode::PAYLOAD_TOO_LARGE,
        "SIZE_INVALID",
        "the registry keeps no more than it may",
    )
}
