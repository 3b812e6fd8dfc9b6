//! Owns label and field selectors: their text, and whether an object matches. It refuses regular
//! expressions and anything else the API does not have.

use std::sync::Arc;

use serde_json::Value;
use weir_object::path;

use crate::refusal::Refusal;
use crate::stored::Stored;

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

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
            labels: parse_labels(labels)?,
            fields: parse_fields(fields)?,
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
        let number = |key: &str| label(key).and_then(|v| v.parse::<i64>().ok());
        self.labels.iter().all(|need| match need {
            Need::In(key, values) => label(key).is_some_and(|v| values.iter().any(|o| o == v)),
            Need::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|o| o != v)),
            Need::Exists(key) => label(key).is_some(),
            Need::Absent(key) => label(key).is_none(),
            Need::Greater(key, than) => number(key).is_some_and(|v| v > *than),
            Need::Less(key, than) => number(key).is_some_and(|v| v < *than),
        })
    }

    /// The value that a field must equal, if one is asked for.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        let mut asked = self
            .fields
            .iter()
            .filter(|(f, equal, _)| f == field && *equal);
        asked.next().map(|(_, _, value)| value.as_str())
    }

    /// The fields that are selected by, for the check of what a kind supports.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(field, _, _)| field.as_str())
    }
}

fn field_text(object: &Value, field: &str) -> String {
    let steps: Vec<&str> = field.split('.').collect();
    // Events of both API groups share one storage, so one name stands for the other.
    let value = path::get(object, &steps).or_else(|| match steps.split_first() {
        Some((&"involvedObject", rest)) => path::get(object.get("regarding")?, rest),
        Some((&"regarding", rest)) => path::get(object.get("involvedObject")?, rest),
        _ => None,
    });
    match value {
        Some(Value::String(text)) => text.clone(),
        // An event's source is selected by its component.
        Some(Value::Object(source)) => source
            .get("component")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        None | Some(Value::Null) => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

fn parse_fields(text: &str) -> Result<Vec<(String, bool, String)>, Refusal> {
    let mut out = Vec::new();
    for term in split_escaped(text) {
        if term.is_empty() {
            continue;
        }
        let (field, equal, value) = if let Some((f, v)) = term.split_once("!=") {
            (f, false, v)
        } else if let Some((f, v)) = term.split_once("==") {
            (f, true, v)
        } else if let Some((f, v)) = term.split_once('=') {
            (f, true, v)
        } else {
            return Err(Refusal::BadRequest(format!(
                "invalid field selector: invalid selector: '{text}'; can't understand '{term}'"
            )));
        };
        out.push((field.trim().to_owned(), equal, unescape(value)));
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

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.extend(chars.next());
        } else {
            out.push(c);
        }
    }
    out
}

fn parse_labels(text: &str) -> Result<Vec<Need>, Refusal> {
    let bad = |what: String| {
        Refusal::BadRequest(format!(
            "unable to parse requirement: {what} in selector '{text}'"
        ))
    };
    let mut out = Vec::new();
    for term in split_outside_parentheses(text) {
        let term = term.trim();
        if term.is_empty() {
            if !text.trim().is_empty() {
                return Err(bad("found '', expected: identifier".to_owned()));
            }
            continue;
        }
        let need = label_need(term).map_err(&bad)?;
        let (Need::In(key, _)
        | Need::NotIn(key, _)
        | Need::Exists(key)
        | Need::Absent(key)
        | Need::Greater(key, _)
        | Need::Less(key, _)) = &need;
        if !is_qualified_name(key) {
            return Err(bad(format!(
                "<nil>: Invalid value: \"{key}\": name part must be a label key"
            )));
        }
        if let Need::In(_, values) | Need::NotIn(_, values) = &need
            && let Some(value) = values.iter().find(|v| !is_label_value(v))
        {
            return Err(bad(format!(
                "values: Invalid value: \"{value}\": not a label value"
            )));
        }
        out.push(need);
    }
    Ok(out)
}

fn label_need(term: &str) -> Result<Need, String> {
    if let Some(key) = term.strip_prefix('!') {
        return Ok(Need::Absent(key.trim().to_owned()));
    }
    if let Some(open) = term.find('(') {
        let inner = term[open + 1..]
            .trim_end()
            .strip_suffix(')')
            .ok_or_else(|| format!("found '{term}', expected: ',' or ')'"))?;
        let values: Vec<String> = inner.split(',').map(|v| v.trim().to_owned()).collect();
        let mut words = term[..open].split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => Ok(Need::In(key.to_owned(), values)),
            (Some(key), Some("notin"), None) => Ok(Need::NotIn(key.to_owned(), values)),
            _ => Err(format!("found '{term}', expected: in, notin")),
        };
    }
    let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
    if let Some(split) = term.split_once("!=") {
        let (key, value) = pair(split);
        return Ok(Need::NotIn(key, vec![value]));
    }
    if let Some(split) = term.split_once("==").or_else(|| term.split_once('=')) {
        let (key, value) = pair(split);
        return Ok(Need::In(key, vec![value]));
    }
    if let Some(split) = term.split_once('>') {
        let (key, value) = pair(split);
        let than = value
            .parse()
            .map_err(|_| format!("for 'Gt', the value must be an integer, found '{value}'"))?;
        return Ok(Need::Greater(key, than));
    }
    if let Some(split) = term.split_once('<') {
        let (key, value) = pair(split);
        let than = value
            .parse()
            .map_err(|_| format!("for 'Lt', the value must be an integer, found '{value}'"))?;
        return Ok(Need::Less(key, than));
    }
    if term.contains(char::is_whitespace) {
        return Err(format!(
            "found '{term}', expected: in, notin, =, ==, !=, gt, lt"
        ));
    }
    Ok(Need::Exists(term.to_owned()))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn is_name_part(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether the text is a label or annotation key: `name` or `prefix/name`.
pub(crate) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => {
            is_name_part(name)
                && prefix.len() <= 253
                && prefix.split('.').all(|p| {
                    is_name_part(p)
                        && !p.contains(['_', '.'])
                        && p.chars().all(|c| !c.is_ascii_uppercase())
                })
        }
        None => is_name_part(text),
    }
}

/// Whether the text can be a label's value.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name_part(text)
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
    }
}
