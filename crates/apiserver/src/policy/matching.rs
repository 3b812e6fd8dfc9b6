//! Owns which writes a policy or a binding is about: by resource, operation, namespace and labels.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, path};

use super::{Operation, Write};
use crate::call::Part;
use crate::registry::Resource;
use crate::selector::Selector;
use crate::state::State;

/// A write with what rules ask of it.
pub(super) struct Asked<'w> {
    pub(super) write: &'w Write<'w>,
    pub(super) new: Option<Value>,
    pub(super) old: Option<Value>,
    /// The object's namespace, where it has one.
    pub(super) space: Option<Arc<Value>>,
    /// Group, version and kind of what the request is about.
    pub(super) kind: (String, String, String),
}

impl<'w> Asked<'w> {
    pub(super) fn new(
        state: &State,
        write: &'w Write<'w>,
        new: Option<Value>,
        old: Option<Value>,
    ) -> Self {
        let space = write.namespace.and_then(|namespace| {
            let namespaces = state.registry.get("", "v1", "namespaces")?;
            state.get(namespaces.storage, &Key::new("", namespace))
        });
        let kind = &write.resource.kind;
        let own = |group: &str, version: &str, kind: &str| {
            (group.to_owned(), version.to_owned(), kind.to_owned())
        };
        let kind = match write.part {
            Part::Scale => own("autoscaling", "v1", "Scale"),
            Part::Binding => own("", "v1", "Binding"),
            Part::Eviction => own("policy", "v1", "Eviction"),
            _ => own(&kind.group, &kind.version, &kind.kind),
        };
        Self {
            write,
            new,
            old,
            space,
            kind,
        }
    }

    fn objects(&self) -> impl Iterator<Item = &Value> {
        self.new.iter().chain(&self.old)
    }

    /// `request`, seen as the matched resource.
    pub(super) fn request(&self, matched: &Resource, call: &crate::call::Call) -> Value {
        let own = &self.write.resource.kind;
        let (group, version, kind) = &self.kind;
        let of = |group: &str, version: &str, name: &str, last: &str| json!({"group": group, "version": version, last: name});
        let same = matched.kind.version == own.version && matched.kind.group == own.group;
        let shown = if same {
            of(group, version, kind, "kind")
        } else {
            of(
                &matched.kind.group,
                &matched.kind.version,
                &matched.kind.kind,
                "kind",
            )
        };
        let mut out = json!({
            "uid": "", "kind": shown,
            "resource": of(&matched.kind.group, &matched.kind.version, &matched.kind.plural, "resource"),
            "requestKind": of(group, version, kind, "kind"),
            "requestResource": of(&own.group, &own.version, &own.plural, "resource"),
            "operation": self.write.operation.name(), "userInfo": call.user.info(),
            "dryRun": call.dry_run, "options": self.options(call),
        });
        let mut put = |field: &str, text: &str| {
            if !text.is_empty() {
                path::set(&mut out, &[field], text.into());
            }
        };
        put("name", self.write.name);
        put("namespace", self.write.namespace.unwrap_or_default());
        put("subResource", self.write.part.name());
        put("requestSubResource", self.write.part.name());
        out
    }

    fn options(&self, call: &crate::call::Call) -> Value {
        let kind = match self.write.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
        };
        let mut out = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if call.dry_run {
            path::set(&mut out, &["dryRun"], json!(["All"]));
        }
        if self.write.operation != Operation::Delete {
            path::set(&mut out, &["fieldManager"], call.manager.as_str().into());
        }
        out
    }
}

/// The resource as which a write is matched, if it is. No constraints match everything.
pub(super) fn matches(
    state: &State,
    asked: &Asked<'_>,
    constraints: Option<&Value>,
) -> Option<Arc<Resource>> {
    let own = state.registry.get(
        &asked.write.resource.kind.group,
        &asked.write.resource.kind.version,
        &asked.write.resource.kind.plural,
    )?;
    let Some(constraints) = constraints else {
        return Some(own.clone());
    };
    if !in_namespace(asked, constraints.get("namespaceSelector"))
        || !labelled(asked, constraints.get("objectSelector"))
    {
        return None;
    }
    let equivalent = path::text(constraints, &["matchPolicy"]) != "Exact";
    let rules = |key: &str| -> Vec<&Value> {
        let list = constraints.get(key).and_then(Value::as_array);
        list.into_iter().flatten().collect()
    };
    if ruled(
        state,
        asked,
        own,
        &rules("excludeResourceRules"),
        equivalent,
    )
    .is_some()
    {
        return None;
    }
    let rules = rules("resourceRules");
    if rules.is_empty() {
        return Some(own.clone());
    }
    ruled(state, asked, own, &rules, equivalent)
}

fn selects_all(selector: Option<&Value>) -> bool {
    selector.is_none_or(|s| {
        s.as_object().is_some_and(|map| {
            map.values().all(|v| match v {
                Value::Object(map) => map.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => true,
            })
        })
    })
}

fn in_namespace(asked: &Asked<'_>, selector: Option<&Value>) -> bool {
    if selects_all(selector) {
        return true;
    }
    let Some(selector) = Selector::from_object(selector) else {
        return false;
    };
    if asked.write.resource.is("", "Namespace") {
        // A namespace is selected by what it is labelled with, or was.
        let object = asked.new.as_ref().or(asked.old.as_ref());
        return object.is_some_and(|object| selector.matches(object));
    }
    match (&asked.space, asked.write.namespace) {
        (Some(space), _) => selector.matches(space),
        (None, Some(_)) => false,
        // Objects outside of all namespaces are not selected by them.
        (None, None) => true,
    }
}

fn labelled(asked: &Asked<'_>, selector: Option<&Value>) -> bool {
    if selects_all(selector) {
        return true;
    }
    Selector::from_object(selector)
        .is_some_and(|selector| asked.objects().any(|object| selector.matches(object)))
}

/// The resource by which one of the rules matches.
fn ruled(
    state: &State,
    asked: &Asked<'_>,
    own: &Arc<Resource>,
    rules: &[&Value],
    equivalent: bool,
) -> Option<Arc<Resource>> {
    if rules.iter().any(|rule| fits(rule, asked, own)) {
        return Some(own.clone());
    }
    if !equivalent {
        return None;
    }
    state
        .registry
        .iter()
        .filter(|r| r.storage == own.storage && r.kind != own.kind)
        .find(|r| rules.iter().any(|rule| fits(rule, asked, r)))
        .cloned()
}

fn fits(rule: &Value, asked: &Asked<'_>, resource: &Resource) -> bool {
    let any = |key: &str, is: &dyn Fn(&str) -> bool| {
        let list = rule.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).any(is)
    };
    let word = |wanted: &str, is: &str| wanted == "*" || wanted == is;
    let scope = match path::text(rule, &["scope"]) {
        "Namespaced" => resource.kind.namespaced,
        "Cluster" => !resource.kind.namespaced,
        _ => true,
    };
    let sub = asked.write.part.name();
    let named = rule
        .get("resourceNames")
        .and_then(Value::as_array)
        .is_none_or(|names| {
            names.is_empty() || names.iter().any(|n| n.as_str() == Some(asked.write.name))
        });
    scope
        && named
        && any("operations", &|o| word(o, asked.write.operation.name()))
        && any("apiGroups", &|g| word(g, &resource.kind.group))
        && any("apiVersions", &|v| word(v, &resource.kind.version))
        && any("resources", &|r| {
            let (plural, wanted) = r.split_once('/').unwrap_or((r, ""));
            word(plural, &resource.kind.plural)
                && (wanted == sub || (wanted == "*" && r.contains('/')))
        })
}
