//! Owns what a pod template refers to beside its image: the ConfigMaps and Secrets that make it what
//! it is. Their content is part of a revision, is kept with it, and reaches the primary under names
//! of its own. Pure: values in, values out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use weir_object::{Kind, Object, digest, path};
use weir_runtime::kinds::{CONFIG_MAP, SECRET};

use crate::deployment::owner;

/// Annotation of a ConfigMap or Secret that is not to be tracked; its value begins with `disable`.
const TRACKING: &str = "flagger.app/config-tracking";

/// Label of what is kept for a Canary: its name.
pub(crate) const CANARY: &str = "flagger.app/canary";

/// Annotation of a kept copy: the revision it belongs to.
pub(crate) const OF_REVISION: &str = "flagger.app/revision";

/// Secrets that a person writes. The rest belongs to the cluster or to a tool, and is referred to
/// as it is.
const SECRET_TYPES: [&str; 7] = [
    "",
    "Opaque",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/dockercfg",
];

static MAP: Kind = CONFIG_MAP;
static SECRETS: Kind = SECRET;

/// A ConfigMap or Secret, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Config {
    Map(String),
    Secret(String),
}

impl Config {
    pub(crate) fn kind(&self) -> &'static Kind {
        match self {
            Self::Map(_) => &MAP,
            Self::Secret(_) => &SECRETS,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Map(name) | Self::Secret(name) => name,
        }
    }

    /// `configmap/NAME` or `secret/NAME`, as a status shows it.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Map(name) => format!("configmap/{name}"),
            Self::Secret(name) => format!("secret/{name}"),
        }
    }

    pub(crate) fn of_id(id: &str) -> Option<Self> {
        let (kind, name) = id.split_once('/')?;
        match kind {
            "configmap" => Some(Self::Map(name.to_owned())),
            "secret" => Some(Self::Secret(name.to_owned())),
            _ => None,
        }
    }

    /// The one the primary has.
    pub(crate) fn of_primary(&self) -> Self {
        match self {
            Self::Map(name) => Self::Map(format!("{name}-primary")),
            Self::Secret(name) => Self::Secret(format!("{name}-primary")),
        }
    }

    /// The one this is the primary's of.
    fn of_target(&self) -> Option<Self> {
        let name = self.name().strip_suffix("-primary")?.to_owned();
        Some(match self {
            Self::Map(_) => Self::Map(name),
            Self::Secret(_) => Self::Secret(name),
        })
    }
}

/// Digests of what is tracked, by id. An empty one is of what does not exist.
pub(crate) type Digests = BTreeMap<String, String>;

/// Everything a template refers to.
pub(crate) fn references(template: &Value) -> BTreeSet<Config> {
    let mut found = BTreeSet::new();
    let mut template = template.clone();
    visit(&mut template, &mut |config| {
        found.insert(config);
        None
    });
    found
}

/// A template that refers to the primary's copies of what is tracked.
pub(crate) fn led_to_copies(template: &mut Value, tracked: &Digests) {
    visit(template, &mut |config| {
        tracked
            .contains_key(&config.id())
            .then(|| config.of_primary().name().to_owned())
    });
}

/// What of a primary's template is a copy, by the ids of what it was copied from; and the template
/// as it was before.
pub(crate) fn led_back(template: &mut Value, owned: impl Fn(&Config) -> bool) -> BTreeSet<Config> {
    let mut found = BTreeSet::new();
    visit(template, &mut |config| {
        let source = config.of_target().filter(|_| owned(&config))?;
        let name = source.name().to_owned();
        found.insert(source);
        Some(name)
    });
    found
}

/// Calls `f` for each reference; a name it answers takes the place of the one there.
fn visit(template: &mut Value, f: &mut dyn FnMut(Config) -> Option<String>) {
    let mut one = |holder: Option<&mut Value>, field: &str, make: fn(String) -> Config| {
        let Some(name) = holder.and_then(|h| h.get_mut(field)) else {
            return;
        };
        let Some(text) = name.as_str().filter(|n| !n.is_empty()) else {
            return;
        };
        if let Some(other) = f(make(text.to_owned())) {
            *name = other.into();
        }
    };
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each(template, &["spec", list]) {
            for env in each(container, &["env"]) {
                let from = ["valueFrom", "configMapKeyRef"];
                one(path::get_mut(env, &from), "name", Config::Map);
                let from = ["valueFrom", "secretKeyRef"];
                one(path::get_mut(env, &from), "name", Config::Secret);
            }
            for from in each(container, &["envFrom"]) {
                one(from.get_mut("configMapRef"), "name", Config::Map);
                one(from.get_mut("secretRef"), "name", Config::Secret);
            }
        }
    }
    for volume in each(template, &["spec", "volumes"]) {
        one(volume.get_mut("configMap"), "name", Config::Map);
        one(volume.get_mut("secret"), "secretName", Config::Secret);
        for source in each(volume, &["projected", "sources"]) {
            one(source.get_mut("configMap"), "name", Config::Map);
            one(source.get_mut("secret"), "name", Config::Secret);
        }
    }
    for secret in each(template, &["spec", "imagePullSecrets"]) {
        one(Some(secret), "name", Config::Secret);
    }
}

fn each<'a>(value: &'a mut Value, at: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    path::get_mut(value, at)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Whether an object is tracked: it does not ask to be left alone, and is of a kind that people
/// write.
pub(crate) fn is_tracked(object: &Object) -> bool {
    let asks = object.annotation(TRACKING).unwrap_or_default();
    !asks.starts_with("disable") && SECRET_TYPES.contains(&object.text(&["type"]))
}

/// What identifies the content of a ConfigMap or Secret, as a status shows it: sixteen digits.
pub(crate) fn content(object: &Object) -> String {
    let mut of = Map::new();
    for field in ["data", "binaryData"] {
        let here = object.get(&[field]).and_then(Value::as_object);
        if let Some(data) = here.filter(|d| !d.is_empty()) {
            of.insert(field.into(), Value::Object(data.clone()));
        }
    }
    digest(&Value::Object(of))
        .get(7..23)
        .unwrap_or_default()
        .to_owned()
}

/// The name of the copy that is kept with a revision.
pub(crate) fn kept_name(canary: &str, revision: &str, config: &Config) -> String {
    let part = weir_rollout::Revision::name_part(revision);
    let which = digest(&Value::String(config.id()));
    let which = which.get(7..15).unwrap_or_default();
    format!("{canary}-{part}-{which}")
}

/// A copy of `source` under another name, that goes with the Canary. What is kept for a revision is
/// never changed.
pub(crate) fn copy(canary: &Object, source: &Object, name: &str, revision: Option<&str>) -> Object {
    let mut out = json!({
        "apiVersion": "v1",
        "kind": source.kind(),
        "metadata": {
            "name": name,
            "namespace": canary.namespace(),
            "labels": {CANARY: canary.name()},
            "ownerReferences": [owner(canary)],
        },
    });
    for field in ["data", "binaryData", "type"] {
        if let Some(value) = source.get(&[field]) {
            out[field] = value.clone();
        }
    }
    if let Some(revision) = revision {
        out["immutable"] = true.into();
        path::set(
            &mut out,
            &["metadata", "annotations", OF_REVISION],
            revision.into(),
        );
    }
    Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Value {
        json!({"spec": {
            "initContainers": [{"envFrom": [{"secretRef": {"name": "i"}}]}],
            "containers": [{
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k"}}},
                    {"name": "C", "value": "plain"},
                ],
                "envFrom": [{"configMapRef": {"name": "c"}}],
            }],
            "ephemeralContainers": [{"envFrom": [{"configMapRef": {"name": "e"}}]}],
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "v", "configMap": {"name": "d"}},
                {"name": "w", "secret": {"secretName": "s"}},
                {"name": "p", "projected": {"sources": [
                    {"configMap": {"name": "a"}}, {"secret": {"name": "t"}},
                    {"serviceAccountToken": {"path": "x"}}]}},
                {"name": "x", "emptyDir": {}},
            ],
        }})
    }

    #[test]
    fn everything_a_template_refers_to_is_found_and_led_to_copies() {
        let found: Vec<String> = references(&template()).iter().map(Config::id).collect();
        let all = [
            "configmap/a",
            "configmap/c",
            "configmap/d",
            "configmap/e",
            "secret/b",
            "secret/i",
            "secret/pull",
            "secret/s",
            "secret/t",
        ];
        assert_eq!(found, all);
        let tracked: Digests = all
            .iter()
            .filter(|id| **id != "secret/pull")
            .map(|id| ((*id).to_owned(), "x".to_owned()))
            .collect();
        let mut copy = template();
        led_to_copies(&mut copy, &tracked);
        let names: Vec<String> = references(&copy)
            .iter()
            .map(|c| c.name().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "a-primary",
                "c-primary",
                "d-primary",
                "e-primary",
                "b-primary",
                "i-primary",
                "pull",
                "s-primary",
                "t-primary"
            ]
        );
        let back = led_back(&mut copy, |_| true);
        assert_eq!((copy, back.len()), (template(), 8));
    }

    #[test]
    fn r17_binary_data_is_content_and_is_copied() {
        let source = Object(json!({
            "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"app": "x"}},
            "data": {"k": "v"}, "binaryData": {"b": "AAE="},
        }));
        let canary = Object(
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "web", "namespace": "demo", "uid": "u1"}}),
        );
        let made = copy(&canary, &source, "a-primary", None);
        assert_eq!(made.get(&["binaryData"]), source.get(&["binaryData"]));
        assert_eq!(content(&made), content(&source));
        let mut other = source.clone();
        other.set(&["binaryData", "b"], "AAI=".into());
        assert_ne!(content(&other), content(&source));
        let mut empty = source.clone();
        empty.set(&["binaryData"], json!({}));
        let mut none = source;
        none.remove(&["binaryData"]);
        assert_eq!(content(&empty), content(&none));
    }

    #[test]
    fn what_asks_to_be_left_alone_is_not_tracked() {
        let secret = |kind: &str, asks: &str| {
            Object(json!({"kind": "Secret", "type": kind,
                "metadata": {"annotations": {TRACKING: asks}}}))
        };
        assert!(is_tracked(&secret("Opaque", "")));
        assert!(!is_tracked(&secret("Opaque", "disabled")));
        assert!(!is_tracked(&secret(
            "kubernetes.io/service-account-token",
            ""
        )));
    }
}
