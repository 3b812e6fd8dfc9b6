//! Owns the table of built-in kinds: names, scope and subresources as discovery tells them.
//! It refuses custom kinds, which only an API server knows.

use serde::Deserialize;

/// What discovery says of a kind.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KindInfo {
    /// The API group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The resource name in URLs.
    pub plural: String,
    /// The resource name for one.
    pub singular: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Abbreviations, such as `deploy`.
    #[serde(default)]
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Subresources: `status`, `scale` and others.
    #[serde(default)]
    pub subresources: Vec<SubresourceInfo>,
    /// What may be done with the resource.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// The name of its type in the graph.
    pub type_name: String,
    /// Tells clients whether the stored version changed; empty for what is not stored.
    #[serde(default)]
    pub storage_version_hash: String,
}

/// What discovery says of a part of a kind.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SubresourceInfo {
    /// The part's name.
    pub name: String,
    /// The API group of what it takes and gives, where that is another kind.
    #[serde(default)]
    pub group: String,
    /// The version of that kind.
    #[serde(default)]
    pub version: String,
    /// The kind.
    pub kind: String,
    /// What may be done with it.
    pub verbs: Vec<String>,
}

impl KindInfo {
    /// Whether the status is written apart from the rest.
    pub fn has_status(&self) -> bool {
        self.subresources.iter().any(|part| part.name == "status")
    }

    /// Whether replicas can be read and written through `scale`.
    pub fn has_scale(&self) -> bool {
        self.subresources.iter().any(|part| part.name == "scale")
    }

    /// `group/version`, or the version alone for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// All built-in kinds, in discovery's order.
pub fn builtin_kinds() -> &'static [KindInfo] {
    crate::builtin::kinds()
}

/// The built-in kind of this name.
pub fn lookup(group: &str, version: &str, kind: &str) -> Option<&'static KindInfo> {
    builtin_kinds()
        .iter()
        .find(|info| info.kind == kind && info.group == group && info.version == version)
}

/// The built-in kind served under this plural name.
pub fn lookup_resource(group: &str, version: &str, plural: &str) -> Option<&'static KindInfo> {
    builtin_kinds()
        .iter()
        .find(|info| info.plural == plural && info.group == group && info.version == version)
}

/// The values that a text may have, where they are few: by the type's name and the field's, which
/// ends with `[]` for the items of a list.
pub fn allowed_values(type_name: &str, field: &str) -> &'static [String] {
    crate::builtin::values(&format!("{type_name}.{field}"))
}
