//! Owns label and field selectors: their text, and whether an object matches. It refuses regular
//! expressions and anything else the API does not have.

use std::sync::Arc;

use serde_json::Value;
use weir_object::labels::{self, Need};
use weir_object::path;

use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::stored::Stored;

/// A selection of objects by labels and fields. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Need>,
    fields: Vec<(String, bool, String)>,
}

impl Selector {
    /// Reads the `labelSelector` and `fieldSelector` query values.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, Refusal> {
        Ok(Self {
            labels: labels::parse(labels).map_err(Refusal::BadRequest)?,
            fields: parse_fields(fields).map_err(Refusal::BadRequest)?,
        })
    }

    /// Selects by equality of labels.
    pub fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = pairs
            .into_iter()
            .map(|(k, v)| Need::In(k.to_owned(), vec![v.to_owned()]))
            .collect();
        Self {
            labels,
            fields: Vec::new(),
        }
    }

    /// Reads a `LabelSelector` object (`matchLabels` and `matchExpressions`).
    /// An absent or unreadable selector selects nothing, which is `None`.
    pub fn from_object(selector: Option<&Value>) -> Option<Self> {
        let selector = selector?.as_object()?;
        let mut labels = Vec::new();
        for (key, value) in selector
            .get("matchLabels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            labels.push(Need::In(key.clone(), vec![value.as_str()?.to_owned()]));
        }
        for need in selector
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = path::text(need, &["key"]).to_owned();
            let values = need
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let values: Vec<String> = values
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            labels.push(match path::text(need, &["operator"]) {
                "In" => Need::In(key, values),
                "NotIn" => Need::NotIn(key, values),
                "Exists" => Need::Exists(key),
                "DoesNotExist" => Need::Absent(key),
                _ => return None,
            });
        }
        Some(Self {
            labels,
            fields: Vec::new(),
        })
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = path::get(object, &["metadata", "labels"]);
        self.labels_match(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str))
            && self
                .fields
                .iter()
                .all(|(field, equal, value)| (field_text(object, field) == *value) == *equal)
    }

    /// Whether a kept object is selected; its tree is only asked for where a field is in it.
    pub(crate) fn selects(&self, stored: &Stored, tree: impl FnOnce() -> Arc<Value>) -> bool {
        if !self.labels_match(|key| stored.label(key)) {
            return false;
        }
        let tree = std::cell::LazyCell::new(tree);
        self.fields.iter().all(|(field, equal, value)| {
            let is = match field.as_str() {
                "metadata.name" => *stored.place.name == **value,
                "metadata.namespace" => *stored.place.namespace == **value,
                _ => field_text(&tree, field) == *value,
            };
            is == *equal
        })
    }

    fn labels_match<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        labels::meet(&self.labels, label)
    }

    /// The value that a field must equal, if one is asked for.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        let mut asked = self
            .fields
            .iter()
            .filter(|(f, equal, _)| f == field && *equal);
        asked.next().map(|(_, _, value)| value.as_str())
    }

    /// The same, and of this name.
    #[must_use]
    pub(crate) fn of_name(mut self, name: &str) -> Self {
        let field = ("metadata.name".to_owned(), true, name.to_owned());
        self.fields.push(field);
        self
    }

    /// Refuses fields that the kind cannot be selected by.
    pub(crate) fn check(&self, resource: &Resource) -> Result<(), Refusal> {
        let fault = |(field, ..): &(String, bool, String)| field_fault(resource, field);
        match self.fields.iter().find_map(fault) {
            Some(fault) => Err(Refusal::BadRequest(fault)),
            None => Ok(()),
        }
    }
}

/// The text of a field, by the name that selectors know it by.
fn field_text(object: &Value, field: &str) -> String {
    let field = match field {
        "status.successful" => "status.succeeded",
        // Events of both API groups share one storage, so one name stands for the other.
        "reportingController" => "reportingComponent",
        "spec.host" => "spec.nodeName",
        other => other,
    };
    let steps: Vec<&str> = field.split('.').collect();
    let value = match steps.as_slice() {
        ["regarding", rest @ ..] => {
            path::get(object, &["involvedObject"]).and_then(|o| path::get(o, rest))
        }
        // An event's source is its component, or who reports it.
        ["source"] => path::get(object, &["source", "component"])
            .filter(|c| c.as_str() != Some(""))
            .or_else(|| object.get("reportingComponent")),
        all => path::get(object, all),
    };
    match value {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.succeeded" | "status.replicas" => "0".to_owned(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

fn parse_fields(text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let mut terms = split_escaped(text);
    // The API sorts them, which decides whose fault is told.
    terms.sort_unstable();
    let mut out = Vec::new();
    for term in terms {
        if term.is_empty() {
            continue;
        }
        let sign = term.char_indices().find_map(|(at, _)| {
            let signs = ["!=", "==", "="];
            let sign = signs
                .into_iter()
                .find(|sign| term[at..].starts_with(sign))?;
            Some((at, sign))
        });
        let Some((at, sign)) = sign else {
            return Err(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            ));
        };
        let value = unescape(&term[at + sign.len()..])?;
        if at == 0 && value.is_empty() {
            // Nothing that is nothing selects everything.
            continue;
        }
        out.push((term[..at].to_owned(), sign != "!=", value));
    }
    Ok(out)
}

fn split_escaped(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{other}"
                    ));
                }
            },
            ',' | '=' => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                ));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// The fields that a kind can be selected by beside its name and namespace; `None` for kinds that
/// have no more.
fn known(resource: &Resource) -> Option<&'static [&'static str]> {
    Some(match (&*resource.kind.group, &*resource.kind.kind) {
        ("", "Pod") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "spec.host",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "metadata.name",
            "metadata.namespace",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["metadata.name", "metadata.namespace", "type"],
        ("", "Namespace") => &["metadata.name", "status.phase"],
        ("", "Node") => &["metadata.name", "spec.unschedulable"],
        ("", "Service") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.clusterIP",
            "spec.type",
        ],
        ("", "ReplicationController") => {
            &["metadata.name", "metadata.namespace", "status.replicas"]
        }
        ("batch", "Job") => &["metadata.name", "metadata.namespace", "status.successful"],
        ("certificates.k8s.io", _) => &["metadata.name", "spec.signerName"],
        _ => return None,
    })
}

/// What is wrong with a field as one to select a kind's objects by.
fn field_fault(resource: &Resource, field: &str) -> Option<String> {
    let meta = |namespaces: bool| {
        field == "metadata.name" || (namespaces && field == "metadata.namespace")
    };
    if let Some(custom) = &resource.custom {
        let good = meta(resource.kind.namespaced) || custom.selectable.iter().any(|f| f == field);
        return (!good).then(|| format!("field label not supported: {field}"));
    }
    match known(resource) {
        Some(known) if known.contains(&field) => None,
        Some(_) if resource.is("batch", "Job") => {
            Some(format!("field label \"{field}\" not supported for Job"))
        }
        Some(_) => Some(format!("field label not supported: {field}")),
        None => (!meta(true)).then(|| {
            format!(
                "\"{field}\" is not a known field selector: only \"metadata.name\", \
                 \"metadata.namespace\""
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selected(labels: &str, fields: &str) -> bool {
        let object = json!({
            "metadata": {"name": "a", "labels": {"app": "web", "tier": "front", "n": "5"}},
            "status": {"phase": "Running"}
        });
        Selector::parse(labels, fields).is_ok_and(|s| s.matches(&object))
    }

    #[test]
    fn labels_select_by_equality_and_by_set() {
        for yes in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "missing!=x",
            "app",
            "!missing",
            "app in (web, db),tier notin (back)",
            "n>4",
            "n<6",
            " app = web , tier ",
        ] {
            assert!(selected(yes, ""), "{yes}");
        }
        for no in [
            "app=db",
            "app!=web",
            "missing",
            "!app",
            "app in (db)",
            "n>5",
            "app notin (web)",
        ] {
            assert!(!selected(no, ""), "{no}");
        }
        for bad in [
            "app in web",
            "a b",
            "app in (",
            ",",
            "=x",
            "n>z",
            "-a=b",
            "a=b c",
        ] {
            assert!(Selector::parse(bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_select_by_equality() {
        assert!(selected("", "metadata.name=a,status.phase!=Failed"));
        assert!(!selected("", "status.phase=Failed"));
        assert!(Selector::parse("", "metadata.name").is_err());
        assert!(Selector::parse("", "=,!=").is_ok_and(|s| s.is_everything()));
    }
}
