//! Owns the roles and bindings that every cluster has from its start. They are the same for every
//! server of a moment, so they are made once and shared. It refuses to keep them right later: who
//! may change them is trusted to.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use weir_object::path;

use super::aggregation;
use super::bindings::Bindings;
use crate::random::Random;
use crate::stored::{Common, Place, Stored};

const POLICY: &str = include_str!("../../data/bootstrap-policy.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
/// Labels `aggregate-to-x` gather a role's rules in the role x.
const GATHER: &str = "rbac.authorization.k8s.io/aggregate-to-";
/// The objects' uids are not those of any server's own sequence.
const SEED: u64 = 0xB007_57AB_9E11_0C1E;

type Shared = Arc<[Arc<Stored>]>;

/// The objects, as if made at a time.
pub(crate) fn objects(bindings: &Bindings, time: &str) -> Shared {
    static LAST: Mutex<Option<(String, Shared)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, made)) = last.as_ref()
        && at == time
    {
        return made.clone();
    }
    let mut common = Common::default();
    let made: Shared = policy(time)
        .into_iter()
        .map(|object| {
            let text = |field| path::text(&object, &["metadata", field]);
            let place = Place::new(text("namespace"), text("name"));
            let storage = bindings.storage(path::text(&object, &["kind"]));
            let tree = Arc::new(object);
            Arc::new(common.store(storage, place, 1, &tree).pin(tree))
        })
        .collect();
    *last = Some((time.to_owned(), made.clone()));
    made
}

/// One paragraph of the policy.
struct Entry<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    rest: Vec<&'a str>,
    rules: Vec<Value>,
}

fn list(text: &str) -> Vec<&str> {
    text.split(',')
        .map(|word| if word == "-" { "" } else { word })
        .collect()
}

fn rule(line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [verbs, groups, resources, names] => json!({"verbs": list(verbs),
            "apiGroups": list(groups), "resources": list(resources), "resourceNames": list(names)}),
        [verbs, groups, resources] => json!({"verbs": list(verbs), "apiGroups": list(groups),
            "resources": list(resources)}),
        [verbs, urls] => json!({"verbs": list(verbs), "nonResourceURLs": list(urls)}),
        _ => Value::Null,
    }
}

fn entries() -> Vec<Entry<'static>> {
    let mut out: Vec<Entry<'static>> = Vec::new();
    for line in POLICY.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(' ') {
            if let Some(entry) = out.last_mut() {
                entry.rules.push(rule(line));
            }
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(kind), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        out.push(Entry {
            kind,
            namespace,
            name,
            rest: words.collect(),
            rules: Vec::new(),
        });
    }
    out
}

fn policy(time: &str) -> Vec<Value> {
    let mut random = Random::new(SEED);
    let mut objects: Vec<Value> = entries()
        .into_iter()
        .map(|entry| object(entry, &random.uid(), time))
        .collect();
    // Gathering roles may gather each other: view into edit into admin.
    for _ in 0..3 {
        for at in 0..objects.len() {
            let Some(wanted) = objects
                .get(at)
                .and_then(|of| aggregation::gathered(of, &objects))
            else {
                continue;
            };
            if let Some(role) = objects.get_mut(at) {
                path::set(role, &["rules"], wanted);
            }
        }
    }
    objects
}

fn object(entry: Entry<'_>, uid: &str, time: &str) -> Value {
    let mut labels = Map::new();
    labels.insert("kubernetes.io/bootstrapping".into(), "rbac-defaults".into());
    let words = |sign: char| {
        let own = entry.rest.iter();
        own.filter_map(move |word| word.strip_prefix(sign))
    };
    for into in words('>') {
        labels.insert(format!("{GATHER}{into}"), "true".into());
    }
    let mut meta = json!({"name": entry.name});
    if !entry.namespace.is_empty() {
        path::set(&mut meta, &["namespace"], entry.namespace.into());
    }
    let mut own = json!({});
    let mut fields = json!({});
    let mut managed = Vec::new();
    let by = |manager: &str, operation: &str, fields: &Value| {
        json!({"manager": manager, "operation": operation, "apiVersion": format!("{GROUP}/v1"),
            "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    if entry.kind.ends_with("Role") {
        let selectors: Vec<Value> = words('<')
            .map(|of| json!({"matchLabels": {format!("{GATHER}{of}"): "true"}}))
            .collect();
        path::set(&mut own, &["rules"], entry.rules.into());
        if selectors.is_empty() {
            path::set(&mut fields, &["f:rules"], json!({}));
        } else {
            let rule = json!({"clusterRoleSelectors": selectors});
            path::set(&mut own, &["aggregationRule"], rule);
            let field = json!({".": {}, "f:clusterRoleSelectors": {}});
            path::set(&mut fields, &["f:aggregationRule"], field);
            managed.push(by(aggregation::MANAGER, "Apply", &json!({"f:rules": {}})));
        }
    } else {
        let mut rest = entry.rest.iter();
        let role = rest.next().and_then(|word| word.split_once('/'));
        let (kind, name) = role.unwrap_or_default();
        let subjects: Vec<Value> = rest.filter_map(|word| subject(word)).collect();
        path::set(&mut fields, &["f:roleRef"], json!({}));
        if !subjects.is_empty() {
            path::set(&mut own, &["subjects"], subjects.into());
            path::set(&mut fields, &["f:subjects"], json!({}));
        }
        let role = json!({"apiGroup": GROUP, "kind": kind, "name": name});
        path::set(&mut own, &["roleRef"], role);
    }
    let mut owned = Map::new();
    owned.insert(".".into(), json!({}));
    owned.extend(labels.keys().map(|key| (format!("f:{key}"), json!({}))));
    let update = json!({
        "f:annotations": {".": {}, "f:rbac.authorization.kubernetes.io/autoupdate": {}},
        "f:labels": owned,
    });
    path::set(&mut fields, &["f:metadata"], update);
    managed.push(by("kube-apiserver", "Update", &fields));
    for (field, value) in [
        ("uid", uid.into()),
        ("resourceVersion", "1".into()),
        ("creationTimestamp", time.into()),
        ("labels", labels.into()),
        (
            "annotations",
            json!({"rbac.authorization.kubernetes.io/autoupdate": "true"}),
        ),
        ("managedFields", managed.into()),
    ] {
        path::set(&mut meta, &[field], value);
    }
    let mut out =
        json!({"kind": entry.kind, "apiVersion": format!("{GROUP}/v1"), "metadata": meta});
    if let (Value::Object(out), Value::Object(own)) = (&mut out, own) {
        out.extend(own);
    }
    out
}

fn subject(word: &str) -> Option<Value> {
    let (kind, name) = word.split_once(':')?;
    if kind == "ServiceAccount" {
        let (namespace, name) = name.split_once('/')?;
        return Some(json!({"kind": kind, "name": name, "namespace": namespace}));
    }
    Some(json!({"kind": kind, "apiGroup": GROUP, "name": name}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_policy_is_understood() {
        let objects = policy("2026-01-02T03:04:05Z");
        let count = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).count();
        assert_eq!(
            ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"].map(count),
            [68, 49, 7, 7].map(|known: usize| known)
        );
        for object in &objects {
            let name = path::text(object, &["metadata", "name"]);
            let rules = object.get("rules").and_then(Value::as_array);
            let fine = |rules: &Vec<Value>| rules.iter().all(Value::is_object);
            assert!(rules.is_none_or(fine), "{name}");
            let subjects = object.get("subjects").and_then(Value::as_array);
            assert!(
                rules.is_some() || subjects.is_some() || name == "system:node",
                "{name}"
            );
        }
        let rules = |name: &str| {
            let of = |o: &&Value| path::text(o, &["metadata", "name"]) == name;
            let role = objects.iter().find(of);
            role.and_then(|r| r["rules"].as_array()).map_or(0, Vec::len)
        };
        assert_eq!(
            rules("edit"),
            rules("system:aggregate-to-edit") + rules("view")
        );
        assert_eq!(
            rules("admin"),
            rules("system:aggregate-to-admin") + rules("edit")
        );
    }
}
