//! Owns what clients ask first: which groups, versions and resources there are, in the old form
//! and the aggregated one, and whether the server is well.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::answer;
use crate::body::ApiBody;
use crate::refusal::Refusal;
use crate::registry::{Registry, Resource};
use crate::server::ApiServer;

/// The version that is spoken.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "emulationMajor": "1", "emulationMinor": "34",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "33",
        "gitVersion": "v1.34.2", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
        "platform": "linux/amd64",
    })
}

/// Answers the questions after the server's health: `healthz`, `livez` and `readyz`.
pub(crate) fn health(words: &[&str], query: &str) -> Response<ApiBody> {
    const CHECKS: [&str; 2] = ["ping", "log"];
    let missing = || answer::text(404, "404 page not found\n");
    let kind = words.first().copied().unwrap_or_default();
    match words {
        [_] => {}
        [_, check] if CHECKS.contains(check) => return answer::text(200, "ok"),
        _ => return missing(),
    }
    let asked: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if !asked.iter().any(|(name, _)| name == "verbose") {
        return answer::text(200, "ok");
    }
    let left_out = |check: &str| asked.iter().any(|(n, v)| n == "exclude" && v == check);
    let mut out = String::new();
    for check in CHECKS {
        let word = if left_out(check) {
            "excluded: ok"
        } else {
            "ok"
        };
        let _ = writeln!(out, "[+]{check} {word}");
    }
    for (name, value) in &asked {
        if name == "exclude" && !CHECKS.contains(&value.as_str()) {
            let _ = writeln!(
                out,
                "warn: some health checks cannot be excluded: no matches for \"{value}\""
            );
        }
    }
    // Writing to memory cannot fail.
    let _ = writeln!(out, "{kind} check passed");
    answer::text(200, out)
}

/// The answer where no layer knows a path.
pub(crate) fn no_page() -> Response<ApiBody> {
    answer::text(404, "404 page not found\n")
}

/// Answers for the statuses of components, of which a server without parts has none.
pub(crate) fn components(name: Option<&str>) -> Response<ApiBody> {
    let mut response = match name {
        Some(name) => answer::refusal(&Refusal::NotFound {
            resource: crate::refusal::ResourceName {
                group: String::new(),
                plural: "componentstatus".to_owned(),
            },
            name: name.to_owned(),
        }),
        None => answer::json(
            200,
            &json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": []}),
        ),
    };
    let warning = "v1 ComponentStatus is deprecated in v1.19+".to_owned();
    answer::warn(&mut response, &[warning]);
    response
}

/// Answers `/api`, `/apis` and the resource lists below them.
pub(crate) fn serve(
    server: &ApiServer,
    words: &[&str],
    head: &Parts,
    accept: Option<&str>,
) -> Result<Response<ApiBody>, Refusal> {
    let state = server.0.read();
    let registry = &state.registry;
    let value = match words {
        [] => json!({"paths": paths(registry)}),
        ["api" | "apis"] if wants_aggregated(accept)? => {
            return Ok(aggregate(registry, words == ["api"], head));
        }
        ["api"] => {
            let host = head.headers.get("host").and_then(|h| h.to_str().ok());
            let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": host.unwrap_or("127.0.0.1:6443")}]})
        }
        ["apis"] => {
            let groups: Vec<Value> = groups(registry)
                .into_iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, versions)| api_group(&group, &versions, false))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", group] => {
            let all = groups(registry);
            match all.iter().find(|(g, _)| g == group) {
                Some((_, versions)) => api_group(group, versions, true),
                None => return Ok(no_page()),
            }
        }
        ["api", version] => resource_list(registry, "", version).ok_or(Refusal::NoResource)?,
        ["apis", group, version] => match resource_list(registry, group, version) {
            Some(list) => list,
            // Groups of definitions have no layer of their own that could say more.
            None if !is_builtin(group) => {
                return Ok(no_page());
            }
            None => return Err(Refusal::NoResource),
        },
        _ => return Err(Refusal::NoResource),
    };
    Ok(answer::json(200, &value))
}

/// Whether all groups are wanted in one answer.
fn wants_aggregated(accept: Option<&str>) -> Result<bool, Refusal> {
    let ranges = accept.unwrap_or_default().split(',').map(str::trim);
    let mut any = false;
    for range in ranges.filter(|range| !range.is_empty()) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        any = true;
        if !matches!(media, "application/json" | "application/*" | "*/*") {
            continue;
        }
        let has = |text: &str| parameters.contains(&text);
        if has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") && has("v=v2") {
            return Ok(true);
        }
        if !parameters.iter().any(|p| p.starts_with("as=")) {
            return Ok(false);
        }
    }
    if any && !accept.is_some_and(|a| a.contains("yaml") || a.contains("protobuf")) {
        return Err(Refusal::NotAcceptable {
            message: "only the following media types are accepted: application/json, \
                      application/yaml, application/vnd.kubernetes.protobuf"
                .to_owned(),
        });
    }
    Ok(false)
}

/// Whether a group is one of the server itself.
pub(crate) fn is_builtin(group: &str) -> bool {
    weir_schema::builtin_kinds()
        .iter()
        .any(|info| info.group == group)
}

/// Every path that tells of others.
fn paths(registry: &Registry) -> Vec<String> {
    let mut out: Vec<String> = ["/api", "/api/v1", "/apis", "/apis/", "/healthz", "/livez"]
        .into_iter()
        .chain([
            "/openapi/v2",
            "/openapi/v3",
            "/openapi/v3/",
            "/readyz",
            "/version",
        ])
        .map(str::to_owned)
        .collect();
    for check in ["ping", "log"] {
        out.extend(["healthz", "livez", "readyz"].map(|kind| format!("/{kind}/{check}")));
    }
    for (group, versions) in groups(registry) {
        if group.is_empty() {
            continue;
        }
        out.push(format!("/apis/{group}"));
        out.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    out.sort();
    out
}

/// Groups with versions, the preferred one first: built-in groups in their own order, then those
/// of definitions by name.
pub(crate) fn groups(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for info in weir_schema::builtin_kinds() {
        match out.iter_mut().find(|(group, _)| *group == info.group) {
            Some((_, versions)) if versions.contains(&info.version) => {}
            Some((_, versions)) => versions.push(info.version.clone()),
            None => out.push((info.group.clone(), vec![info.version.clone()])),
        }
    }
    for (group, versions) in registry.groups() {
        match out.iter_mut().find(|(g, _)| *g == group) {
            Some((_, known)) => {
                let new: Vec<String> = versions
                    .into_iter()
                    .filter(|version| !known.contains(version))
                    .collect();
                known.extend(new);
            }
            None => out.push((group, versions)),
        }
    }
    out
}

fn api_group(group: &str, versions: &[String], alone: bool) -> Value {
    let each: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v}))
        .collect();
    let mut out = Map::new();
    if alone {
        out.insert("kind".into(), "APIGroup".into());
        out.insert("apiVersion".into(), "v1".into());
    }
    out.insert("name".into(), group.into());
    let preferred = each.first().cloned().unwrap_or_default();
    out.insert("versions".into(), each.into());
    out.insert("preferredVersion".into(), preferred);
    Value::Object(out)
}

/// A resource as discovery tells it, from the table of built-in kinds or from a definition.
struct Entry {
    name: String,
    singular: String,
    namespaced: bool,
    kind: String,
    verbs: Vec<String>,
    short: Vec<String>,
    categories: Vec<String>,
    hash: String,
    parts: Vec<PartEntry>,
    /// Definitions say their group and version; built-in kinds leave them out.
    own: Option<(String, String)>,
}

struct PartEntry {
    name: String,
    group: String,
    version: String,
    kind: String,
    verbs: Vec<String>,
}

/// The order in which definitions tell what can be done.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

fn entries(registry: &Registry, group: &str, version: &str) -> Vec<Entry> {
    let mut out: Vec<Entry> = weir_schema::builtin_kinds()
        .iter()
        .filter(|info| info.group == group && info.version == version)
        .map(|info| Entry {
            name: info.plural.clone(),
            singular: info.singular.clone(),
            namespaced: info.namespaced,
            kind: info.kind.clone(),
            verbs: info.verbs.clone(),
            short: info.short_names.clone(),
            categories: info.categories.clone(),
            hash: info.storage_version_hash.clone(),
            parts: info
                .subresources
                .iter()
                .map(|part| PartEntry {
                    name: part.name.clone(),
                    group: part.group.clone(),
                    version: part.version.clone(),
                    kind: part.kind.clone(),
                    verbs: part.verbs.clone(),
                })
                .collect(),
            own: None,
        })
        .collect();
    let custom = registry
        .iter()
        .filter(|r| r.custom.is_some() && r.kind.group == group && r.kind.version == version);
    out.extend(custom.map(|resource| custom_entry(resource)));
    out
}

fn custom_entry(resource: &Resource) -> Entry {
    let kind = &resource.kind;
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
    let mut parts = Vec::new();
    if resource.status {
        parts.push(PartEntry {
            name: "status".to_owned(),
            group: String::new(),
            version: String::new(),
            kind: kind.kind.to_string(),
            verbs: words(&["get", "patch", "update"]),
        });
    }
    if resource.scale {
        parts.push(PartEntry {
            name: "scale".to_owned(),
            group: "autoscaling".to_owned(),
            version: "v1".to_owned(),
            kind: "Scale".to_owned(),
            verbs: words(&["get", "patch", "update"]),
        });
    }
    // Told by the kind, as the real server does, whatever version is stored.
    let digest = Sha256::digest(format!("{}/{}/{}", kind.group, kind.version, kind.kind));
    Entry {
        name: kind.plural.to_string(),
        singular: resource.singular.clone(),
        namespaced: kind.namespaced,
        kind: kind.kind.to_string(),
        verbs: words(&VERBS),
        short: resource.short.clone(),
        categories: resource.categories.clone(),
        hash: STANDARD.encode(digest.get(..8).unwrap_or_default()),
        parts,
        own: Some((kind.group.to_string(), kind.version.to_string())),
    }
}

fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut out = Vec::new();
    for entry in entries(registry, group, version) {
        let mut row = json!({
            "name": entry.name, "singularName": entry.singular, "namespaced": entry.namespaced,
            "kind": entry.kind, "verbs": entry.verbs,
        });
        for (field, list) in [
            ("shortNames", &entry.short),
            ("categories", &entry.categories),
        ] {
            if !list.is_empty() {
                weir_object::path::set(&mut row, &[field], json!(list));
            }
        }
        if !entry.hash.is_empty() {
            weir_object::path::set(&mut row, &["storageVersionHash"], entry.hash.into());
        }
        out.push(row);
        for part in entry.parts {
            let mut row = Map::new();
            row.insert(
                "name".into(),
                format!("{}/{}", entry.name, part.name).into(),
            );
            row.insert("singularName".into(), "".into());
            row.insert("namespaced".into(), entry.namespaced.into());
            if !part.version.is_empty() {
                row.insert("group".into(), part.group.into());
                row.insert("version".into(), part.version.into());
            }
            row.insert("kind".into(), part.kind.into());
            row.insert("verbs".into(), json!(part.verbs));
            out.push(Value::Object(row));
        }
    }
    if out.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut list = Map::new();
    list.insert("kind".into(), "APIResourceList".into());
    // The oldest list does not say its own version.
    if !group.is_empty() {
        list.insert("apiVersion".into(), "v1".into());
    }
    list.insert("groupVersion".into(), group_version.into());
    list.insert("resources".into(), out.into());
    Some(Value::Object(list))
}

fn aggregate(registry: &Registry, core: bool, head: &Parts) -> Response<ApiBody> {
    let mut items = Vec::new();
    for (group, versions) in groups(registry) {
        if group.is_empty() != core {
            continue;
        }
        let mut each = Vec::new();
        for version in versions {
            let resources: Vec<Value> = entries(registry, &group, &version)
                .into_iter()
                .map(aggregated_resource)
                .collect();
            if !resources.is_empty() {
                let version =
                    json!({"version": version, "resources": resources, "freshness": "Current"});
                each.push(version);
            }
        }
        let metadata = if core {
            json!({})
        } else {
            json!({"name": group})
        };
        items.push(json!({"metadata": metadata, "versions": each}));
    }
    let value = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items});
    let body = value.to_string().into_bytes();
    let tag = format!("\"{}\"", hexadecimal(&Sha512::digest(&body)));
    let known = head.headers.get(IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        let mut response = Response::new(ApiBody::whole(Vec::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer::bytes(200, body)
    };
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        ),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// Bytes as the upper-case text that tags are made of.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to memory cannot fail.
        let _ = write!(out, "{byte:02X}");
    }
    out
}

fn aggregated_resource(entry: Entry) -> Value {
    let (group, version) = entry.own.unwrap_or_default();
    let mut row = json!({
        "resource": entry.name,
        "responseKind": {"group": group, "version": version, "kind": entry.kind},
        "scope": if entry.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": entry.singular, "verbs": entry.verbs,
    });
    for (field, list) in [
        ("shortNames", &entry.short),
        ("categories", &entry.categories),
    ] {
        if !list.is_empty() {
            weir_object::path::set(&mut row, &[field], json!(list));
        }
    }
    let parts: Vec<Value> = entry
        .parts
        .into_iter()
        .map(|part| {
            // The same kind again is said as shortly as the kind itself.
            let (group, version) = if part.version.is_empty() {
                (group.clone(), version.clone())
            } else {
                (part.group, part.version)
            };
            json!({"subresource": part.name, "verbs": part.verbs,
                "responseKind": {"group": group, "version": version, "kind": part.kind}})
        })
        .collect();
    if !parts.is_empty() {
        weir_object::path::set(&mut row, &["subresources"], parts.into());
    }
    row
}
