//! Owns the record of what was applied, in the form that existing objects have: an entry is
//! `namespace_name_group_kind` with the version beside it; a colon in a name is two underscores.

use std::collections::HashSet;

use weir_object::ObjectRef;

/// One applied object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The object.
    pub object: ObjectRef,
}

impl Entry {
    /// The entry's id.
    pub fn id(&self) -> String {
        let o = &self.object;
        format!(
            "{}_{}_{}_{}",
            o.namespace,
            o.name.replace(':', "__"),
            o.group(),
            o.kind
        )
    }

    /// The API version, without the group.
    pub fn version(&self) -> &str {
        weir_object::split_api_version(&self.object.api_version).1
    }

    /// Reads an entry. `None` for an id that is not of this form.
    pub fn parse(id: &str, version: &str) -> Option<Self> {
        let (namespace, rest) = id.split_once('_')?;
        let (rest, kind) = rest.rsplit_once('_')?;
        let (name, group) = rest.rsplit_once('_')?;
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        Some(Self {
            object: ObjectRef {
                api_version,
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.replace("__", ":"),
            },
        })
    }
}

/// What was applied, in the order of applying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory(pub Vec<Entry>);

impl Inventory {
    /// This one's entries, then those of the other that it does not have. A version does not make
    /// another object.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.0.extend(other.without(self).0);
        out
    }

    /// The entries that the other one does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let ids: HashSet<String> = other.0.iter().map(Entry::id).collect();
        Self(
            self.0
                .iter()
                .filter(|e| !ids.contains(&e.id()))
                .cloned()
                .collect(),
        )
    }

    /// Whether it holds the object.
    pub fn holds(&self, object: &ObjectRef) -> bool {
        let id = Entry {
            object: object.clone(),
        }
        .id();
        self.0.iter().any(|e| e.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_that_existing_objects_have() {
        for (id, version, api_version) in [
            ("default_podinfo__Service", "v1", "v1"),
            ("demo_app_apps_Deployment", "v1", "apps/v1"),
            (
                "_system__node_rbac.authorization.k8s.io_ClusterRole",
                "v1",
                "rbac.authorization.k8s.io/v1",
            ),
        ] {
            let entry = Entry::parse(id, version).expect("readable");
            assert_eq!((entry.id().as_str(), entry.version()), (id, version));
            assert_eq!(entry.object.api_version, api_version);
        }
        assert_eq!(
            Entry::parse("_system__node_g_K", "v1")
                .expect("readable")
                .object
                .name,
            "system:node"
        );
        assert_eq!(Entry::parse("nothing", "v1"), None);
    }

    #[test]
    fn a_new_version_is_the_same_object() {
        let inventory = |pairs: &[(&str, &str)]| {
            Inventory(
                pairs
                    .iter()
                    .filter_map(|(id, v)| Entry::parse(id, v))
                    .collect(),
            )
        };
        let old = inventory(&[("a_x_g_K", "v1"), ("a_y_g_K", "v1")]);
        let new = inventory(&[("a_x_g_K", "v2"), ("a_z_g_K", "v1")]);
        assert_eq!(old.without(&new), inventory(&[("a_y_g_K", "v1")]));
        assert_eq!(new.union(&old).0.len(), 3);
    }
}
