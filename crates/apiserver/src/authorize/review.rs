//! Owns the questions about rights: may I, may they, and what may I at all.
//! It refuses to take part in the decision.

use serde_json::{Map, Value, json};
use weir_object::path;

use super::bindings::rules_of;
use super::{Attributes, authorize};
use crate::builtin::names;
use crate::call::Call;
use crate::identity::User;
use crate::refusal::{Cause, Refusal, shown};
use crate::selector::Selector;
use crate::state::State;

const GROUP: &str = "authorization.k8s.io";

/// Answers a `SubjectAccessReview` or its local or own form. The object is shaped already.
pub(crate) fn access(
    state: &State,
    kind: &str,
    mut object: Value,
    call: &Call,
) -> Result<Value, Refusal> {
    let own = kind == "SelfSubjectAccessReview";
    let local = kind == "LocalSubjectAccessReview";
    let spec = object.get("spec").cloned().unwrap_or_else(|| json!({}));
    let causes = check(&object, &spec, own, local);
    if !causes.is_empty() {
        return Err(Refusal::Invalid {
            group: GROUP.to_owned(),
            kind: String::new(),
            name: String::new(),
            causes,
        });
    }
    let subject;
    let user = if own {
        &*call.user
    } else {
        subject = subject_of(&spec);
        &subject
    };
    let attributes = asked(&spec);
    let decision = authorize(state, user, &attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        path::set(&mut status, &["reason"], decision.reason.into());
    }
    let faults = selector_faults(&spec);
    if !faults.is_empty() {
        path::set(&mut status, &["evaluationError"], faults.join("; ").into());
    }
    path::set(&mut object, &["status"], status);
    Ok(object)
}

/// Answers a `SelfSubjectRulesReview`.
pub(crate) fn rules(state: &State, object: &Value, call: &Call) -> Result<Value, Refusal> {
    let namespace = path::text(object, &["spec", "namespace"]);
    if namespace.is_empty() {
        return Err(Refusal::BadRequest("no namespace on request".to_owned()));
    }
    let (rules, faults) = rules_of(state, &call.user, namespace);
    let shown = |rule: &super::rule::Rule| rule.shown();
    let on_resources = rules.iter().filter(|rule| !rule.resources.is_empty());
    let on_urls = rules.iter().filter(|rule| !rule.urls.is_empty());
    let mut status = json!({
        "resourceRules": on_resources.map(shown).collect::<Vec<_>>(),
        "nonResourceRules": on_urls.map(shown).collect::<Vec<_>>(),
        "incomplete": false,
    });
    if let Some(faults) = faults {
        path::set(&mut status, &["evaluationError"], faults.into());
    }
    Ok(
        json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {}, "spec": {}, "status": status}),
    )
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn subject_of(spec: &Value) -> User {
    let extra = spec.get("extra").and_then(Value::as_object);
    User {
        name: path::text(spec, &["user"]).to_owned(),
        uid: path::text(spec, &["uid"]).to_owned(),
        groups: texts(spec.get("groups")),
        extra: extra
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), texts(Some(values))))
            .collect(),
    }
}

fn asked(spec: &Value) -> Attributes {
    let Some(of) = spec.get("resourceAttributes").filter(|v| v.is_object()) else {
        let text = |field| path::text(spec, &["nonResourceAttributes", field]).to_owned();
        return Attributes {
            verb: text("verb"),
            path: text("path"),
            ..Attributes::default()
        };
    };
    let text = |field: &str| path::text(of, &[field]).to_owned();
    let version = text("version");
    Attributes {
        verb: text("verb"),
        group: text("group"),
        version: if version.is_empty() {
            "*".to_owned()
        } else {
            version
        },
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: String::new(),
        is_resource: true,
    }
}

fn check(object: &Value, spec: &Value, own: bool, local: bool) -> Vec<Cause> {
    let mut out = Vec::new();
    let part = |field: &str| spec.get(field).filter(|v| v.is_object());
    let (resource, url) = (part("resourceAttributes"), part("nonResourceAttributes"));
    // The value is shown as the server's own type, whose fields have no names of their own.
    let url_shown = |url: &Value| json!({"Path": path::text(url, &["path"]), "Verb": path::text(url, &["verb"])});
    match (resource, url) {
        (Some(_), Some(url)) => out.push(Cause::invalid(
            "spec.nonResourceAttributes",
            &url_shown(url),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => out.push(Cause::invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    let groups = texts(spec.get("groups"));
    if !own && path::text(spec, &["user"]).is_empty() && groups.is_empty() {
        out.push(Cause::invalid(
            "spec.user",
            &"".into(),
            "at least one of user or group must be specified",
        ));
    }
    if let Some(resource) = resource {
        check_selector(resource, "fieldSelector", &mut out);
        check_selector(resource, "labelSelector", &mut out);
    }
    let meta = object.get("metadata").and_then(Value::as_object);
    let meta = meta.map(ordered).unwrap_or_default();
    let left = meta
        .keys()
        .any(|key| key != "managedFields" && !(local && key == "namespace"));
    if left {
        let detail = if local {
            "must be empty except for namespace"
        } else {
            "must be empty"
        };
        let message = format!("Invalid value: {}: {detail}", shown(&meta.into()));
        out.push(Cause {
            reason: "FieldValueInvalid",
            message,
            field: "metadata".to_owned(),
        });
    }
    if !local {
        return out;
    }
    if let Some(resource) = resource {
        let asked = path::text(resource, &["namespace"]);
        if asked != path::text(object, &["metadata", "namespace"]) {
            out.push(Cause::invalid(
                "spec.resourceAttributes.namespace",
                &asked.into(),
                "must match metadata.namespace",
            ));
        }
    }
    if let Some(url) = url {
        out.push(Cause::invalid(
            "spec.nonResourceAttributes",
            &url_shown(url),
            "disallowed on this kind of request",
        ));
    }
    out
}

/// Metadata in the order in which the server's own type has it, what is empty left out.
fn ordered(meta: &Map<String, Value>) -> Map<String, Value> {
    const ORDER: [&str; 13] = [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
    ];
    let mut out = Map::new();
    for field in ORDER.into_iter().chain(["finalizers", "managedFields"]) {
        let empty = |v: &Value| match v {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if let Some(value) = meta.get(field).filter(|v| !empty(v)) {
            out.insert(field.to_owned(), value.clone());
        }
    }
    out
}

fn requirements(selector: &Value) -> &[Value] {
    let list = selector.get("requirements").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn check_selector(resource: &Value, name: &str, out: &mut Vec<Cause>) {
    let Some(selector) = resource.get(name).filter(|v| v.is_object()) else {
        return;
    };
    let at = format!("spec.resourceAttributes.{name}");
    let raw = path::text(selector, &["rawSelector"]);
    let needs = requirements(selector);
    if !raw.is_empty() && !needs.is_empty() {
        out.push(Cause::invalid(
            format!("{at}.rawSelector"),
            &raw.into(),
            "may not specified at the same time as requirements",
        ));
    }
    if raw.is_empty() && needs.is_empty() {
        let detail = format!("when {at} is specified, requirements or rawSelector is required");
        out.push(Cause::required(format!("{at}.requirements"), &detail));
    }
    for (i, need) in needs.iter().enumerate() {
        let at = format!("{at}.requirements[{i}]");
        let key = path::text(need, &["key"]);
        let values = texts(need.get("values"));
        let labels = name == "labelSelector";
        if !labels && key.is_empty() {
            out.push(Cause::required(format!("{at}.key"), "must be specified"));
        }
        match path::text(need, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => out.push(Cause::required(
                format!("{at}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => out.push(Cause::forbidden(
                format!("{at}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            _ => {}
        }
        if labels {
            for fault in names::qualified(key) {
                out.push(Cause::invalid(format!("{at}.key"), &key.into(), &fault));
            }
            for (j, value) in values.iter().enumerate() {
                for fault in names::label_value(value) {
                    let at = format!("{at}.values[{j}]");
                    out.push(Cause::invalid(at, &value.clone().into(), &fault));
                }
            }
        }
    }
}

/// What of the selectors could not be understood. Rules do not know selectors, so no more than
/// this depends on them.
fn selector_faults(spec: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for name in ["fieldSelector", "labelSelector"] {
        let Some(selector) = path::get(spec, &["resourceAttributes", name]) else {
            continue;
        };
        let raw = path::text(selector, &["rawSelector"]);
        let (labels, fields) = if name == "labelSelector" {
            (raw, "")
        } else {
            ("", raw)
        };
        let needs = requirements(selector);
        let understood = |need: &&Value| match path::text(need, &["operator"]) {
            "In" | "NotIn" => name == "labelSelector" || texts(need.get("values")).len() == 1,
            "Exists" | "DoesNotExist" => name == "labelSelector",
            _ => false,
        };
        let good = needs.iter().filter(understood).count();
        let how = if good < needs.len() {
            if good > 0 {
                "partially ignored"
            } else {
                "ignored"
            }
        } else if Selector::parse(labels, fields).is_err() {
            "ignored"
        } else {
            continue;
        };
        out.push(format!(
            "spec.resourceAttributes.{name} {how} due to parse error"
        ));
    }
    out
}
