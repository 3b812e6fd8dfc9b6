//! Owns which resources are served at this moment: the built-in ones and those of definitions.
//! It refuses objects; it only knows what they are called and where they are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use weir_object::Kind;
use weir_schema::{GoId, GoTypes, KindInfo, Schema, TypeRef};

use crate::custom::Custom;
use crate::refusal::ResourceName;

/// The number of a bucket of objects. Versions of one kind share it.
pub(crate) type Storage = usize;

/// A served resource.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) list_kind: String,
    pub(crate) singular: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) status: bool,
    pub(crate) scale: bool,
    pub(crate) generation: bool,
    pub(crate) storage: Storage,
    /// What the definition says; `None` for built-in kinds.
    pub(crate) custom: Option<Custom>,
    /// The types of its fields, for merges and field ownership.
    pub(crate) typing: TypeRef,
    /// The Go struct behind a built-in kind.
    pub(crate) go: Option<GoId>,
    /// `group/version`.
    pub(crate) api_version: String,
    /// All versions of the kind with their types, this one included.
    pub(crate) versions: Arc<[(String, TypeRef)]>,
}

impl Resource {
    /// A kind that is read from requests and kept nowhere.
    pub(crate) fn face(kind: Kind, typing: TypeRef) -> Self {
        let api_version = kind.api_version();
        Self {
            list_kind: String::new(),
            singular: String::new(),
            short: Vec::new(),
            categories: Vec::new(),
            status: false,
            scale: false,
            generation: false,
            storage: Storage::MAX,
            versions: Arc::default(),
            custom: None,
            typing,
            go: GoTypes::builtin().of(&api_version, &kind.kind),
            api_version,
            kind,
        }
    }

    /// Whether a removal answers with the object itself and not with a status.
    pub(crate) fn returned(&self) -> bool {
        let kind = self.kind.kind.as_ref();
        match self.kind.group.as_ref() {
            _ if self.custom.is_some() => false,
            "" => matches!(
                kind,
                "Namespace"
                    | "Pod"
                    | "Service"
                    | "ServiceAccount"
                    | "PersistentVolumeClaim"
                    | "PersistentVolume"
                    | "PodTemplate"
                    | "ResourceQuota"
            ),
            "storage.k8s.io" => kind != "CSIStorageCapacity",
            "resource.k8s.io" => true,
            _ => false,
        }
    }

    pub(crate) fn name(&self) -> ResourceName {
        ResourceName {
            group: self.kind.group.to_string(),
            plural: self.kind.plural.to_string(),
        }
    }

    /// Whether it is the core or grouped kind of that name.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.kind.group == group && self.kind.kind == kind
    }

    /// Whether the two are versions or faces of the same objects.
    pub(crate) fn converts(&self, object: &Value) -> bool {
        object.get("apiVersion").and_then(Value::as_str) != Some(self.api_version.as_str())
    }
}

/// Everything that is served.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
    /// Counts changes of what is served, for discovery's ETag.
    pub(crate) revision: u64,
}

impl Registry {
    /// The built-in resources, and the number of buckets they need.
    pub(crate) fn builtin() -> (Self, usize) {
        let mut registry = Self::default();
        let mut storages = 0;
        for info in weir_schema::builtin_kinds() {
            // Questions are not kept, and component statuses are nobody's to write.
            let can = |word: &str| info.verbs.iter().any(|verb| verb == word);
            if !can("list") || !can("create") {
                continue;
            }
            // Both groups of Event show the same objects, as do all versions of one kind.
            let shared = if info.group == "events.k8s.io" {
                registry.get("", "v1", "events").map(|r| r.storage)
            } else {
                registry
                    .iter()
                    .find(|r| r.kind.group == info.group && r.kind.plural == info.plural)
                    .map(|r| r.storage)
            };
            let storage = shared.unwrap_or_else(|| {
                storages += 1;
                storages - 1
            });
            registry.insert(builtin(info, storage));
        }
        (registry, storages)
    }

    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    pub(crate) fn insert(&mut self, resource: Resource) {
        let kind = &resource.kind;
        let key = (
            kind.group.to_string(),
            kind.version.to_string(),
            kind.plural.to_string(),
        );
        self.by_path.insert(key, Arc::new(resource));
        self.revision += 1;
    }

    /// The name of what is kept in a storage, `group/plural`, which is the same in every process.
    pub(crate) fn kind_of(&self, storage: Storage) -> Option<String> {
        let found = self.iter().find(|r| r.storage == storage)?;
        Some(format!("{}/{}", found.kind.group, found.kind.plural))
    }

    /// Where a kind of that name is kept.
    pub(crate) fn storage_of(&self, kind: &str) -> Option<Storage> {
        let (group, plural) = kind.split_once('/')?;
        let of = |r: &&Arc<Resource>| r.kind.group == group && r.kind.plural == plural;
        self.iter().find(of).map(|r| r.storage)
    }

    /// Stops serving a group's plural in all versions.
    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.by_path
            .retain(|(g, _, p), _| !(g == group && p == plural));
        self.revision += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_path.values()
    }

    /// Groups with their versions, the preferred one first.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (group, version, _) in self.by_path.keys() {
            let versions = out.entry(group.clone()).or_default();
            if !versions.contains(version) {
                versions.push(version.clone());
            }
        }
        for versions in out.values_mut() {
            versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
        }
        out
    }
}

/// The API's order of versions: GA before beta before alpha, higher numbers first.
fn version_rank(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let major = rest[..digits].parse().unwrap_or_default();
    match &rest[digits..] {
        "" => (3, major, 0),
        tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(minor), _) => (2, major, minor.parse().unwrap_or_default()),
            (_, Some(minor)) => (1, major, minor.parse().unwrap_or_default()),
            _ => (0, 0, 0),
        },
    }
}

/// Kinds whose `metadata.generation` counts changes of what is wanted.
const COUNTED: [&str; 20] = [
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "CronJob",
    "Job",
    "EndpointSlice",
    "Ingress",
    "IngressClass",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
];

/// A built-in resource whose objects are kept in a bucket.
pub(crate) fn builtin(info: &'static KindInfo, storage: Storage) -> Resource {
    let kind = if info.namespaced {
        Kind::namespaced(&info.group, &info.version, &info.kind, &info.plural)
    } else {
        Kind::cluster(&info.group, &info.version, &info.kind, &info.plural)
    };
    let typing = Schema::builtin()
        .type_of(&info.group, &info.version, &info.kind)
        .unwrap_or_else(TypeRef::untyped);
    // Objects are compared in the version they are written in, whoever else wrote them.
    let versions = weir_schema::builtin_kinds()
        .iter()
        .filter(|other| other.kind == info.kind && other.plural == info.plural)
        .map(|other| (other.api_version(), typing.clone()));
    Resource {
        versions: versions.collect(),
        list_kind: format!("{}List", info.kind),
        singular: info.singular.clone(),
        short: info.short_names.clone(),
        categories: info.categories.clone(),
        status: info.has_status(),
        scale: info.has_scale(),
        generation: COUNTED.contains(&info.kind.as_str()),
        storage,
        custom: None,
        typing,
        go: GoTypes::builtin().of(&kind.api_version(), &info.kind),
        api_version: kind.api_version(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_clients_prefer_them() {
        let mut versions = vec!["v1beta2", "v1", "v2alpha1", "v1beta10", "v2", "x"];
        versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
        assert_eq!(
            versions,
            ["v2", "v1", "v1beta10", "v1beta2", "v2alpha1", "x"]
        );
    }

    #[test]
    fn both_event_groups_share_their_objects() {
        let (registry, _) = Registry::builtin();
        let storage = |group| registry.get(group, "v1", "events").map(|r| r.storage);
        assert_eq!(storage(""), storage("events.k8s.io"));
        assert!(registry.get("apps", "v1", "deployments").is_some());
        assert!(registry.get("apps", "v2", "deployments").is_none());
    }
}
