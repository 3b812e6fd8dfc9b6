//! Owns the operations in a document: which kind a path holds, what it takes and which parameters
//! it knows. Clients look there before they send a dry run or ask for strict validation.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_object::path;
use weir_schema::KindInfo;

use super::schema::{Schemas, reference};
use crate::registry::Resource;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// The operations of one place.
struct Place<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    /// The kind that the words are about: that of a scale is what is scaled.
    of: &'a str,
    /// `apps_v1`, the heading under which documentation shows it.
    heading: String,
    /// `AppsV1NamespacedDeployment`, the end of its operations' names.
    ending: String,
    custom: bool,
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

impl<'a> Place<'a> {
    fn new(
        group: &'a str,
        version: &'a str,
        kind: &'a str,
        namespaced: bool,
        custom: bool,
    ) -> Self {
        let first = group.strip_suffix(".k8s.io").unwrap_or(group);
        let first = if first.is_empty() { "core" } else { first };
        let mut parts = first.split('.');
        let start = parts.next().unwrap_or_default().to_owned();
        let name = parts.fold(start, |name, part| name + &capital(part));
        // Names of operations are made of letters and digits alone.
        let mut words = name.split('-');
        let start = words.next().unwrap_or_default().to_owned();
        let name = words.fold(start, |name, word| name + &capital(word));
        let scope = if namespaced { "Namespaced" } else { "" };
        Self {
            group,
            version,
            kind,
            of: kind,
            heading: format!("{name}_{version}"),
            ending: format!("{}{}{scope}{kind}", capital(&name), capital(version)),
            custom,
        }
    }

    /// The name's end of an operation on all objects of the place at once.
    fn collection(&self, namespaced: bool) -> String {
        let own = if namespaced {
            format!("Namespaced{}", self.kind)
        } else {
            self.kind.to_owned()
        };
        let head = self.ending.strip_suffix(&own).unwrap_or(&self.ending);
        format!("{head}Collection{own}")
    }

    fn content(&self, schema: &str, streams: bool) -> Value {
        let mut out = Map::new();
        let mut forms = vec!["application/json", "application/yaml"];
        if !self.custom {
            forms.push("application/vnd.kubernetes.protobuf");
        }
        if streams && !self.custom {
            forms.push("application/json;stream=watch");
            forms.push("application/vnd.kubernetes.protobuf;stream=watch");
        }
        for form in forms {
            out.insert(form.to_owned(), json!({"schema": reference(schema)}));
        }
        Value::Object(out)
    }

    /// An operation: its verb, what is said of it, what it takes and gives.
    fn operation(
        &self,
        (verb, action): (&str, &str),
        says: &str,
        takes: Option<Value>,
        gives: &str,
        codes: &[(&str, &str)],
        parameters: &[(&str, &str)],
    ) -> Value {
        let mut responses = Map::new();
        for (code, word) in codes {
            let content = self.content(gives, action == "list");
            responses.insert(
                (*code).to_owned(),
                json!({"description": word, "content": content}),
            );
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        let mut out = json!({
            "tags": [self.heading], "description": format!("{says} {}", self.of),
            "operationId": format!("{verb}{}", self.ending),
            "responses": responses, "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind":
                {"group": self.group, "version": self.version, "kind": self.kind},
        });
        if !parameters.is_empty() {
            let list: Vec<Value> = parameters.iter().map(query).collect();
            path::set(&mut out, &["parameters"], list.into());
        }
        if let Some(takes) = takes {
            path::set(&mut out, &["requestBody"], takes);
        }
        out
    }
}

fn query((name, kind): &(&str, &str)) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn in_path(name: &str, says: &str) -> Value {
    json!({"name": name, "in": "path", "description": says, "required": true,
        "schema": {"type": "string", "uniqueItems": true}})
}

const LISTS: [(&str, &str); 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITES: [(&str, &str); 3] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const PATCHES: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETES: [(&str, &str); 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

fn body(schema: &str, custom: bool, required: bool) -> Value {
    let forms: &[&str] = if custom {
        &["application/json", "application/yaml"]
    } else {
        &["*/*"]
    };
    let content: Map<String, Value> = forms
        .iter()
        .map(|form| ((*form).to_owned(), json!({"schema": reference(schema)})))
        .collect();
    let mut out = json!({"content": content});
    if required {
        path::set(&mut out, &["required"], true.into());
    }
    out
}

fn patch_body(custom: bool) -> Value {
    let mut content = Map::new();
    let forms = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    for form in forms.iter().filter(|f| !custom || !f.contains("strategic")) {
        let schema = reference(&format!("{META}.Patch"));
        content.insert((*form).to_owned(), json!({"schema": schema}));
    }
    json!({"content": content, "required": true})
}

/// Adds the operations of a kind.
pub(super) fn add(
    resource: &Resource,
    name: &str,
    schemas: &mut Schemas,
    out: &mut BTreeMap<String, Value>,
) {
    let kind = &resource.kind;
    let custom = resource.custom.is_some();
    for needed in ["DeleteOptions", "Status", "Patch"] {
        schemas.add_named(&format!("{META}.{needed}"));
    }
    schemas.mark(
        &format!("{META}.Status"),
        json!([{"group": "", "kind": "Status", "version": "v1"}]),
    );
    let place = Place::new(
        &kind.group,
        &kind.version,
        &kind.kind,
        kind.namespaced,
        custom,
    );
    let says = if custom {
        "list objects of kind"
    } else {
        "list or watch objects of kind"
    };
    // Custom objects can be read as they were; built-in kinds do not say that they can.
    let reads: &[(&str, &str)] = if custom {
        &[("resourceVersion", "string")]
    } else {
        &[]
    };
    let patched: &[(&str, &str)] = if custom { &[OK] } else { &[OK, CREATED] };
    // The removal of a namespace gives the namespace, though the document says otherwise.
    let removed = if resource.returned() && !resource.is("", "Namespace") {
        name
    } else {
        &format!("{META}.Status")
    };
    let list = format!("{name}List");
    let status = format!("{META}.Status");
    let options = || Some(body(&format!("{META}.DeleteOptions"), custom, false));
    let collection = kind.collection_path(kind.namespaced.then_some("{namespace}"));
    let mut common = vec![query(&("pretty", "string"))];
    if kind.namespaced {
        let scope = "object name and auth scope, such as for teams and projects";
        common.insert(0, in_path("namespace", scope));
        let everywhere = Place {
            ending: format!("{}ForAllNamespaces", place.ending.replace("Namespaced", "")),
            ..Place::new(&kind.group, &kind.version, &kind.kind, false, custom)
        };
        let get = everywhere.operation(("list", "list"), says, None, &list, &[OK], &[]);
        let mut parameters = LISTS.to_vec();
        parameters.push(("pretty", "string"));
        parameters.sort_unstable();
        let parameters: Vec<Value> = parameters.iter().map(query).collect();
        out.insert(
            kind.collection_path(None),
            json!({"get": get, "parameters": parameters}),
        );
    }
    let mut deletes = LISTS.to_vec();
    if !custom {
        deletes.retain(|(name, _)| *name != "watch" && *name != "allowWatchBookmarks");
        deletes.extend(DELETES);
        deletes.sort_unstable();
    }
    let mut at_collection = json!({
        "get": place.operation(("list", "list"), says, None, &list,
            &[OK], &LISTS),
        "post": place.operation(("create", "post"), article("create", &kind.kind),
            Some(body(name, custom, true)), name, &[OK, CREATED, ACCEPTED], &WRITES),
        "parameters": common,
    });
    if !resource.is("", "Namespace") {
        let delete = Place {
            ending: place.collection(kind.namespaced),
            ..Place::new(
                &kind.group,
                &kind.version,
                &kind.kind,
                kind.namespaced,
                custom,
            )
        }
        .operation(
            ("delete", "deletecollection"),
            "delete collection of",
            options().filter(|_| !custom),
            &status,
            &[OK],
            &deletes,
        );
        path::set(&mut at_collection, &["delete"], delete);
    }
    out.insert(collection.clone(), at_collection);
    let mut common = common;
    common.insert(0, in_path("name", &format!("name of the {}", kind.kind)));
    out.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": place.operation(("read", "get"), "read the specified", None, name, &[OK], reads),
            "put": place.operation(("replace", "put"), "replace the specified",
                Some(body(name, custom, true)), name, &[OK, CREATED], &WRITES),
            "delete": place.operation(("delete", "delete"), article("delete", &kind.kind),
                options(), removed, &[OK, ACCEPTED], &DELETES),
            "patch": place.operation(("patch", "patch"), "partially update the specified",
                Some(patch_body(custom)), name, patched, &PATCHES),
            "parameters": common,
        }),
    );
    for (part, has) in [("status", resource.status), ("scale", resource.scale)] {
        if !has {
            continue;
        }
        let (of, of_name) = if part == "scale" {
            schemas.add_named(SCALE);
            (scale_of(&place), SCALE)
        } else {
            (
                Place {
                    ending: format!("{}Status", place.ending),
                    ..Place::new(
                        &kind.group,
                        &kind.version,
                        &kind.kind,
                        kind.namespaced,
                        custom,
                    )
                },
                name,
            )
        };
        let says = |verb: &str| format!("{verb} {part} of the specified");
        out.insert(
            format!("{collection}/{{name}}/{part}"),
            json!({
                "get": of.operation(("read", "get"), &says("read"), None, of_name, &[OK], reads),
                "put": of.operation(("replace", "put"), &says("replace"),
                    Some(body(of_name, custom, true)), of_name, &[OK, CREATED], &WRITES),
                "patch": of.operation(("patch", "patch"), &says("partially update"),
                    Some(patch_body(custom)), of_name, patched, &PATCHES),
                "parameters": common,
            }),
        );
    }
}

/// The place of what scales a kind. Only a built-in kind's says that it holds a Scale.
fn scale_of<'a>(place: &Place<'a>) -> Place<'a> {
    let (group, version, kind) = if place.custom {
        (place.group, place.version, place.kind)
    } else {
        ("autoscaling", "v1", "Scale")
    };
    Place {
        group,
        version,
        kind,
        of: place.of,
        heading: place.heading.clone(),
        ending: format!("{}Scale", place.ending),
        custom: place.custom,
    }
}

fn article(verb: &str, kind: &str) -> &'static str {
    let many = kind.ends_with('s') && !kind.ends_with("ss");
    let vowel = kind.starts_with(['A', 'E', 'I', 'O', 'U']);
    match (verb, many, vowel) {
        ("create", true, _) => "create",
        ("create", _, true) => "create an",
        ("create", ..) => "create a",
        (_, true, _) => "delete",
        (_, _, true) => "delete an",
        _ => "delete a",
    }
}

/// Adds the operation of a kind that can only be asked.
pub(super) fn add_question(info: &'static KindInfo, out: &mut BTreeMap<String, Value>) {
    let place = Place::new(
        &info.group,
        &info.version,
        &info.kind,
        info.namespaced,
        false,
    );
    let kind = if info.namespaced {
        weir_object::Kind::namespaced(&info.group, &info.version, &info.kind, &info.plural)
    } else {
        weir_object::Kind::cluster(&info.group, &info.version, &info.kind, &info.plural)
    };
    let name = &info.type_name;
    let post = place.operation(
        ("create", "post"),
        article("create", &info.kind),
        Some(body(name, false, true)),
        name,
        &[OK, CREATED, ACCEPTED],
        &[],
    );
    let mut parameters: Vec<Value> = WRITES.iter().map(query).collect();
    if info.namespaced {
        let says = "object name and auth scope, such as for teams and projects";
        parameters.push(in_path("namespace", says));
    }
    parameters.push(query(&("pretty", "string")));
    out.insert(
        kind.collection_path(info.namespaced.then_some("{namespace}")),
        json!({"post": post, "parameters": parameters}),
    );
}
