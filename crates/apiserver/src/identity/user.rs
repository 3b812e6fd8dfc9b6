//! Owns what the API knows of a caller, and the names that every cluster has.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

/// The group whose members may do everything.
const MASTERS: &str = "system:masters";
/// The group of everybody who proved an identity.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of whoever proved nothing.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
const ACCOUNT: &str = "system:serviceaccount:";

/// A caller, as authentication found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name that bindings and managed rules refer to.
    pub name: String,
    /// Tells users of one name apart; may be empty.
    pub uid: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What else authentication learnt.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user of that name in these groups.
    pub fn new<'a>(name: &str, groups: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// The administrator, who may do everything.
    pub fn admin() -> Arc<Self> {
        static ADMIN: LazyLock<Arc<User>> = LazyLock::new(|| {
            Arc::new(User {
                uid: "admin".to_owned(),
                ..User::new("kubernetes-admin", [MASTERS, AUTHENTICATED])
            })
        });
        ADMIN.clone()
    }

    /// The server's own parts.
    pub(crate) fn server() -> Arc<Self> {
        static SERVER: LazyLock<Arc<User>> =
            LazyLock::new(|| Arc::new(User::new("system:apiserver", [MASTERS, AUTHENTICATED])));
        SERVER.clone()
    }

    /// Whoever proved nothing.
    pub fn anonymous() -> Arc<Self> {
        static NOBODY: LazyLock<Arc<User>> =
            LazyLock::new(|| Arc::new(User::new(ANONYMOUS, [UNAUTHENTICATED])));
        NOBODY.clone()
    }

    /// The user that a service account is.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let mut groups = account_groups(namespace).to_vec();
        groups.push(AUTHENTICATED.to_owned());
        Self {
            name: account_name(namespace, name),
            groups,
            ..Self::default()
        }
    }

    /// Whether every check passes.
    pub(crate) fn is_privileged(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// The user as reviews and admission see it.
    pub(crate) fn info(&self) -> Value {
        let mut out = Map::new();
        if !self.name.is_empty() {
            out.insert("username".into(), self.name.clone().into());
        }
        if !self.uid.is_empty() {
            out.insert("uid".into(), self.uid.clone().into());
        }
        if !self.groups.is_empty() {
            out.insert("groups".into(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            out.insert("extra".into(), json!(self.extra));
        }
        out.into()
    }
}

/// The name of a service account's user.
pub(crate) fn account_name(namespace: &str, name: &str) -> String {
    format!("{ACCOUNT}{namespace}:{name}")
}

/// The groups of all service accounts and of those of a namespace.
pub(crate) fn account_groups(namespace: &str) -> [String; 2] {
    [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

/// The namespace and name behind a user name, when it is a service account's.
pub(crate) fn split_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (is_label(namespace) && is_subdomain(name)).then_some((namespace, name))
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 63
        && !text.is_empty()
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !part.is_empty()
                && part.bytes().all(inner)
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_names_are_service_accounts() {
        let split = |name| split_account(name);
        assert_eq!(split("system:serviceaccount:a:b.c"), Some(("a", "b.c")));
        for other in [
            "system:serviceaccount:a",
            "system:serviceaccount:a:",
            "system:serviceaccount::b",
            "system:serviceaccount:A:b",
            "system:serviceaccount:a:b:c",
            "jane",
        ] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
