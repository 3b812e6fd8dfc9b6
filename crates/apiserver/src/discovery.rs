//! Owns what clients ask first: which groups, versions and resources there are, in the old form
//! and the aggregated one.

use http::Response;
use http::request::Parts;
use serde_json::{Value, json};

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
        "gitVersion": "v1.34.2", "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Answers `/api`, `/apis` and the resource lists below them.
pub(crate) fn serve(
    server: &ApiServer,
    words: &[&str],
    head: &Parts,
    accept: Option<&str>,
) -> Result<Response<ApiBody>, Refusal> {
    let _ = head;
    let state = server.0.read();
    let registry = &state.registry;
    let aggregated = accept.is_some_and(|a| {
        a.split(',').any(|range| {
            range.contains("g=apidiscovery.k8s.io")
                && range.contains("as=APIGroupDiscoveryList")
                && range.contains("v=v2")
                && !range.contains("v=v2beta1")
        })
    });
    let value = match words {
        [] => json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2",
            "/openapi/v3", "/readyz", "/version"]}),
        ["api"] if aggregated => return Ok(aggregate(registry, true)),
        ["apis"] if aggregated => return Ok(aggregate(registry, false)),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}]}),
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
            let versions = all
                .iter()
                .find(|(g, _)| g == group)
                .map(|(_, v)| v)
                .ok_or(Refusal::NoResource)?;
            api_group(group, versions, true)
        }
        ["api", version] => resource_list(registry, "", version)?,
        ["apis", group, version] => resource_list(registry, group, version)?,
        _ => return Err(Refusal::NoResource),
    };
    Ok(answer::json(200, &value))
}

/// Groups with versions, in the order of the registry, reviews included.
fn groups(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut all = registry.groups();
    for group in ["authentication.k8s.io", "authorization.k8s.io"] {
        all.entry(group.to_owned())
            .or_insert_with(|| vec!["v1".to_owned()]);
    }
    // The order of built-in groups is theirs; definitions follow.
    let mut order: Vec<String> = Vec::new();
    for info in weir_schema::builtin_kinds() {
        if !order.contains(&info.group) {
            order.push(info.group.clone());
        }
    }
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for group in order {
        if let Some(versions) = all.remove(&group) {
            out.push((group, versions));
        }
    }
    out.extend(all);
    out
}

fn api_group(group: &str, versions: &[String], alone: bool) -> Value {
    let each: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v}))
        .collect();
    let preferred = each.first().cloned().unwrap_or_default();
    let mut out = json!({"name": group, "versions": each, "preferredVersion": preferred});
    if alone {
        weir_object::path::set(&mut out, &["kind"], "APIGroup".into());
        weir_object::path::set(&mut out, &["apiVersion"], "v1".into());
    }
    out
}

fn subresources(resource: &Resource) -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let kind = &resource.kind;
    let own = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let of = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut out = Vec::new();
    if resource.is("", "Pod") {
        out.push(("binding", of("", "v1", "Binding"), vec!["create"]));
        out.push(("eviction", of("policy", "v1", "Eviction"), vec!["create"]));
    }
    if resource.is("", "Namespace") {
        out.push(("finalize", own.clone(), vec!["update"]));
    }
    if resource.scale {
        out.push((
            "scale",
            of("autoscaling", "v1", "Scale"),
            vec!["get", "patch", "update"],
        ));
    }
    if resource.status {
        out.push(("status", own, vec!["get", "patch", "update"]));
    }
    out
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    let collection = !resource.is("", "Namespace");
    VERBS
        .iter()
        .copied()
        .filter(|v| collection || *v != "deletecollection")
        .collect()
}

fn resource_list(registry: &Registry, group: &str, version: &str) -> Result<Value, Refusal> {
    let mut out = Vec::new();
    for resource in registry.iter() {
        let kind = &resource.kind;
        if kind.group != group || kind.version != version {
            continue;
        }
        let mut entry = json!({
            "name": kind.plural, "singularName": resource.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": verbs(resource),
        });
        for (field, list) in [
            ("shortNames", &resource.short),
            ("categories", &resource.categories),
        ] {
            if !list.is_empty() {
                weir_object::path::set(&mut entry, &[field], json!(list));
            }
        }
        out.push(entry);
        for (name, of, verbs) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "kind": of["kind"], "verbs": verbs,
            });
            if of["kind"] != json!(kind.kind) {
                weir_object::path::set(&mut entry, &["group"], of["group"].clone());
                weir_object::path::set(&mut entry, &["version"], of["version"].clone());
            }
            out.push(entry);
        }
    }
    for info in weir_schema::builtin_kinds() {
        if info.group == group && info.version == version && info.verbs == ["create"] {
            out.push(json!({"name": info.plural, "singularName": info.singular,
                "namespaced": info.namespaced, "kind": info.kind, "verbs": ["create"]}));
        }
    }
    if out.is_empty() {
        return Err(Refusal::NoResource);
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Ok(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": out}),
    )
}

fn aggregate(registry: &Registry, core: bool) -> Response<ApiBody> {
    let mut items = Vec::new();
    for (group, versions) in groups(registry) {
        if group.is_empty() != core {
            continue;
        }
        let mut each = Vec::new();
        for version in versions {
            let mut resources: Vec<Value> = registry
                .iter()
                .filter(|r| r.kind.group == group && r.kind.version == version)
                .map(|resource| aggregated_resource(resource))
                .collect();
            for info in weir_schema::builtin_kinds() {
                if info.group == group && info.version == version && info.verbs == ["create"] {
                    let scope = if info.namespaced {
                        "Namespaced"
                    } else {
                        "Cluster"
                    };
                    resources.push(json!({"resource": info.plural, "scope": scope,
                        "responseKind": {"group": info.group, "version": info.version, "kind": info.kind},
                        "singularResource": info.singular, "verbs": ["create"]}));
                }
            }
            each.push(json!({"version": version, "resources": resources, "freshness": "Current"}));
        }
        let metadata = if core {
            json!({"creationTimestamp": null})
        } else {
            json!({"name": group, "creationTimestamp": null})
        };
        items.push(json!({"metadata": metadata, "versions": each}));
    }
    let value = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items});
    let mut response = answer::json(200, &value);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        ),
    );
    response
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = &resource.kind;
    let response = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut entry = json!({
        "resource": kind.plural, "responseKind": response,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": verbs(resource),
    });
    for (field, list) in [
        ("shortNames", &resource.short),
        ("categories", &resource.categories),
    ] {
        if !list.is_empty() {
            weir_object::path::set(&mut entry, &[field], json!(list));
        }
    }
    let subs: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, of, verbs)| json!({"subresource": name, "responseKind": of, "verbs": verbs}))
        .collect();
    if !subs.is_empty() {
        weir_object::path::set(&mut entry, &["subresources"], subs.into());
    }
    entry
}
