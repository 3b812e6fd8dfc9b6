//! Owns the name of a kind in all the forms the API uses: group, version, kind and plural.
//! It refuses to guess a plural; that is what discovery is for.

use std::borrow::Cow;
use std::fmt;

/// A kind as the API serves it.
///
/// Ordered and hashed by all its parts, so that it can be a key of caches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// API version, such as `v1`.
    pub version: Cow<'static, str>,
    /// The kind's name, such as `Deployment`.
    pub kind: Cow<'static, str>,
    /// The resource's plural, as in request paths.
    pub plural: Cow<'static, str>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Kind {
    /// A namespaced kind known at compile time.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self::of(group, version, kind, plural, true)
    }

    /// A cluster-scoped kind known at compile time.
    pub const fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self::of(group, version, kind, plural, false)
    }

    const fn of(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }

    /// `group/version`, or `version` alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path of the collection, `/apis/apps/v1/namespaces/x/deployments` for example.
    /// Without a namespace it is the collection over all namespaces.
    pub fn collection_path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            "/api/"
        } else {
            "/apis/"
        };
        let api_version = self.api_version();
        match namespace {
            Some(ns) if self.namespaced => {
                format!("{root}{api_version}/namespaces/{ns}/{}", self.plural)
            }
            _ => format!("{root}{api_version}/{}", self.plural),
        }
    }
}

impl fmt::Display for Kind {
    /// `Deployment.apps`, or `Service` for the core group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}.{}", self.kind, self.group)
        }
    }
}

/// Splits an `apiVersion` into group and version; the core group is the empty string.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_group_and_scope() {
        let deployment = Kind::namespaced("apps", "v1", "Deployment", "deployments");
        assert_eq!(
            deployment.collection_path(Some("web")),
            "/apis/apps/v1/namespaces/web/deployments"
        );
        assert_eq!(
            deployment.collection_path(None),
            "/apis/apps/v1/deployments"
        );
        let namespace = Kind::cluster("", "v1", "Namespace", "namespaces");
        assert_eq!(namespace.collection_path(Some("web")), "/api/v1/namespaces");
        assert_eq!(namespace.to_string(), "Namespace");
        assert_eq!(deployment.to_string(), "Deployment.apps");
    }
}
