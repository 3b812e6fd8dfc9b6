//! Owns which bindings concern a user: an index by subject, made anew when bindings changed, and
//! the walk over the rules behind them. It refuses to judge rules; see `rule`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use weir_gocompat::quote;
use weir_object::{Key, path};

use super::rule::Rule;
use crate::bucket::Bucket;
use crate::identity::{User, account_name};
use crate::registry::{Registry, Storage};
use crate::state::State;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Bindings of one scope by the subjects they name.
#[derive(Debug, Default)]
struct Scope {
    bindings: Vec<Arc<Value>>,
    users: HashMap<String, Vec<usize>>,
    groups: HashMap<String, Vec<usize>>,
}

impl Scope {
    fn add(&mut self, binding: &Arc<Value>, namespace: &str) {
        let at = self.bindings.len();
        for subject in subjects(binding) {
            let name = path::text(subject, &["name"]);
            let list = match path::text(subject, &["kind"]) {
                "User" => self.users.entry(name.to_owned()),
                "Group" => self.groups.entry(name.to_owned()),
                "ServiceAccount" => {
                    let own = path::text(subject, &["namespace"]);
                    let namespace = if own.is_empty() { namespace } else { own };
                    if namespace.is_empty() {
                        continue;
                    }
                    self.users.entry(account_name(namespace, name))
                }
                _ => continue,
            };
            let list = list.or_default();
            if list.last() != Some(&at) {
                list.push(at);
            }
        }
        self.bindings.push(binding.clone());
    }

    /// The bindings that name the user or a group of theirs, in the order of their names.
    fn of(&self, user: &User) -> impl Iterator<Item = &Arc<Value>> {
        let groups = user.groups.iter().filter_map(|g| self.groups.get(g));
        let mut found: Vec<usize> = self
            .users
            .get(&user.name)
            .into_iter()
            .chain(groups)
            .flatten()
            .copied()
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.bindings.get(at))
    }
}

#[derive(Debug, Default)]
struct Index {
    cluster: Scope,
    namespaces: HashMap<String, Scope>,
    /// When the two kinds of binding last changed.
    made_of: (u64, u64),
}

/// Where roles and bindings are kept, and the index over them.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    roles: Storage,
    cluster_roles: Storage,
    /// Bindings of namespaces.
    own: Storage,
    /// Bindings of the cluster.
    wide: Storage,
    index: Mutex<Option<Arc<Index>>>,
}

impl Bindings {
    pub(crate) fn new(registry: &Registry) -> Self {
        let of = |plural| registry.get(GROUP, "v1", plural).map(|r| r.storage);
        Self {
            roles: of("roles").unwrap_or(usize::MAX),
            cluster_roles: of("clusterroles").unwrap_or(usize::MAX),
            own: of("rolebindings").unwrap_or(usize::MAX),
            wide: of("clusterrolebindings").unwrap_or(usize::MAX),
            index: Mutex::default(),
        }
    }

    /// Where objects of a kind are kept.
    pub(crate) fn storage(&self, kind: &str) -> Storage {
        match kind {
            "Role" => self.roles,
            "ClusterRole" => self.cluster_roles,
            "RoleBinding" => self.own,
            _ => self.wide,
        }
    }

    /// Whether no cluster role has changed since the server was made.
    pub(crate) fn are_as_made(&self, state: &State) -> bool {
        state
            .bucket(self.cluster_roles)
            .is_none_or(|b| b.last() <= 1)
    }

    fn index(&self, state: &State) -> Arc<Index> {
        let last = |storage| state.bucket(storage).map_or(0, Bucket::last);
        let made_of = (last(self.own), last(self.wide));
        // A poisoned index is whole or absent: it is replaced in one step.
        let mut held = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = held.as_ref().filter(|index| index.made_of == made_of) {
            return index.clone();
        }
        let mut index = Index {
            made_of,
            ..Index::default()
        };
        for (_, binding) in state.range(self.wide, None) {
            index.cluster.add(&binding, "");
        }
        for (key, binding) in state.range(self.own, None) {
            let scope = index.namespaces.entry(key.namespace.clone());
            scope.or_default().add(&binding, &key.namespace);
        }
        let index = Arc::new(index);
        *held = Some(index.clone());
        index
    }
}

/// Whom a binding names.
pub(crate) fn subjects(binding: &Value) -> &[Value] {
    let list = binding.get("subjects").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The binding through which a rule concerns a user.
pub(crate) struct Source<'a> {
    binding: &'a Value,
    user: &'a User,
    namespace: &'a str,
}

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |at: &[&str]| path::text(self.binding, at);
        let (mut kind, mut name) = ("ClusterRoleBinding", quote(text(&["metadata", "name"])));
        if !self.namespace.is_empty() {
            kind = "RoleBinding";
            name = quote(&format!(
                "{}/{}",
                text(&["metadata", "name"]),
                self.namespace
            ));
        }
        let (role_kind, role) = (
            text(&["roleRef", "kind"]),
            quote(text(&["roleRef", "name"])),
        );
        write!(f, "{kind} {name} of {role_kind} {role} to ")?;
        let first = subjects(self.binding)
            .iter()
            .find(|subject| applies(subject, self.user, self.namespace));
        let Some(subject) = first else { return Ok(()) };
        let text = |field: &str| path::text(subject, &[field]);
        let name = if text("kind") == "ServiceAccount" {
            let own = text("namespace");
            let namespace = if own.is_empty() { self.namespace } else { own };
            quote(&format!("{}/{namespace}", text("name")))
        } else {
            quote(text("name"))
        };
        write!(f, "{} {name}", text("kind"))
    }
}

fn applies(subject: &Value, user: &User, namespace: &str) -> bool {
    let text = |field: &str| path::text(subject, &[field]);
    match text("kind") {
        "User" => user.name == text("name"),
        "Group" => user.groups.iter().any(|group| group == text("name")),
        "ServiceAccount" => {
            let own = text("namespace");
            let namespace = if own.is_empty() { namespace } else { own };
            !namespace.is_empty() && user.name == account_name(namespace, text("name"))
        }
        _ => false,
    }
}

/// The role that a binding refers to, or why there is none.
pub(crate) fn role(
    state: &State,
    reference: &Value,
    namespace: &str,
) -> Result<Arc<Value>, String> {
    let rbac = &state.bindings;
    let name = path::text(reference, &["name"]);
    let (storage, key, kind) = match path::text(reference, &["kind"]) {
        "Role" => (rbac.roles, Key::new(namespace, name), "role"),
        "ClusterRole" => (rbac.cluster_roles, Key::new("", name), "clusterrole"),
        other => return Err(format!("unsupported role reference kind: {}", quote(other))),
    };
    state
        .get(storage, &key)
        .ok_or_else(|| format!("{kind}.{GROUP} {} not found", quote(name)))
}

/// The rules of a role.
pub(crate) fn rules(role: &Value) -> &[Value] {
    let rules = role.get("rules").and_then(Value::as_array);
    rules.map(Vec::as_slice).unwrap_or_default()
}

/// Shows each rule that concerns the user in a namespace (empty: in the cluster) until the visitor
/// answers `false`. What could not be followed is answered.
pub(crate) fn visit(
    state: &State,
    user: &User,
    namespace: &str,
    visitor: &mut dyn FnMut(&Source<'_>, &Value) -> bool,
) -> Vec<String> {
    let index = state.bindings.index(state);
    let mut faults = Vec::new();
    let inside = index.namespaces.get(namespace);
    let scopes = [("", Some(&index.cluster)), (namespace, inside)];
    for (namespace, scope) in scopes {
        for binding in scope.into_iter().flat_map(|scope| scope.of(user)) {
            let reference = binding.get("roleRef").unwrap_or(&Value::Null);
            let role = match role(state, reference, namespace) {
                Ok(role) => role,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            let source = Source {
                binding,
                user,
                namespace,
            };
            for rule in rules(&role) {
                if !visitor(&source, rule) {
                    return faults;
                }
            }
        }
    }
    faults
}

/// Every rule that concerns the user in a namespace, and what could not be followed.
pub(crate) fn rules_of(state: &State, user: &User, namespace: &str) -> (Vec<Rule>, Option<String>) {
    let mut rules = Vec::new();
    let faults = visit(state, user, namespace, &mut |_, rule| {
        rules.push(Rule::from(rule));
        true
    });
    (rules, aggregate(&faults))
}

/// Several faults as one text, each told once.
pub(crate) fn aggregate(faults: &[String]) -> Option<String> {
    let mut once: Vec<&str> = Vec::new();
    for fault in faults {
        if !once.contains(&fault.as_str()) {
            once.push(fault);
        }
    }
    match once.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}
