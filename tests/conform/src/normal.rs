//! Owns what may differ between two servers without meaning: times, uids, versions, generated
//! names and hashes, addresses, tokens. Each becomes a placeholder named by where it was first
//! seen, so that what is equal stays equal and what is not stays apart. It refuses to hide
//! anything else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use jiff::{Timestamp, ToSpan as _};
use regex::Regex;
use serde_json::{Map, Value};

static UUID: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
static TIME: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"));
/// Names whose end the server makes up: a volume of a token, a ReplicaSet in a sentence.
static MADE_UP: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#"kube-api-access-([a-z0-9]{5})\b|[Rr]eplica ?[Ss]et "?[a-z0-9.-]+-([a-z0-9]{6,10})\b"#)
});
static AGE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\d+[smhdy])+( ago)?$"));
static NODE_PORT: LazyLock<Regex> = LazyLock::new(|| regex(r":3[0-2]\d{3}/"));
static RECORD: LazyLock<Regex> = LazyLock::new(|| regex(r"in record \(\d+\)"));
static CURRENT: LazyLock<Regex> = LazyLock::new(|| regex(r"current: \d+"));
static EMBEDDED: LazyLock<Regex> = LazyLock::new(|| regex(r#"resourceVersion\\*":\\*"\d+"#));
static IN_YAML: LazyLock<Regex> = LazyLock::new(|| regex(r#"resourceVersion: "\d+""#));
/// The hash of a document as a whole, which is compared where it is asked for.
static HASH: LazyLock<Regex> = LazyLock::new(|| regex(r"\bhash=[0-9A-F]{128}\b"));
static TOKEN: LazyLock<Regex> = LazyLock::new(|| regex(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"));

fn regex(text: &str) -> Regex {
    #[expect(clippy::unwrap_used, reason = "the patterns are constants")]
    Regex::new(text).unwrap()
}

/// What was seen on one server in one session.
#[derive(Default)]
pub(crate) struct Normal {
    /// The number of the step that is read.
    step: String,
    /// Placeholders by what they stand for.
    seen: HashMap<(&'static str, String), String>,
    /// Texts that are replaced wherever they stand, longest first.
    texts: Vec<(String, String)>,
}

impl Normal {
    /// Learns from an answer's body, and says it without what may differ.
    pub(crate) fn body(&mut self, step: &str, body: &Value) -> Value {
        step.clone_into(&mut self.step);
        self.learn(body, &mut String::new());
        self.texts
            .sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        self.value(body, "", &mut String::new(), None)
    }

    fn name(&mut self, kind: &'static str, what: &str, at: &str) -> String {
        let place = format!("<{kind} {}:{at}>", self.step);
        self.seen
            .entry((kind, what.to_owned()))
            .or_insert(place)
            .clone()
    }

    fn learn(&mut self, value: &Value, at: &mut String) {
        match value {
            Value::Object(map) => {
                self.learn_names(map, at);
                for (key, value) in sorted(map) {
                    let length = at.len();
                    at.push('/');
                    at.push_str(key);
                    if let Value::String(text) = value {
                        self.learn_text(key, text, at);
                    }
                    self.learn(value, at);
                    at.truncate(length);
                }
            }
            Value::String(text) => {
                for found in MADE_UP.captures_iter(text) {
                    for end in [found.get(1), found.get(2)].into_iter().flatten() {
                        let placeholder = self.name("made up", end.as_str(), at);
                        self.replace_everywhere(end.as_str(), placeholder);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let length = at.len();
                    let _ = write!(at, "/{index}");
                    self.learn(item, at);
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn learn_names(&mut self, map: &Map<String, Value>, at: &str) {
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        let (start, name) = (text("generateName"), text("name"));
        // The server cuts a long beginning.
        let start: String = start.chars().take(58).collect();
        if let Some(suffix) = name.strip_prefix(start.as_str())
            && !start.is_empty()
            && suffix.len() == 5
        {
            let placeholder = self.name("generated", name, at);
            let whole = format!("{start}{placeholder}");
            self.replace_everywhere(name, whole);
        }
        let ips = map.get("clusterIPs").and_then(Value::as_array);
        for ip in ips.into_iter().flatten().filter_map(Value::as_str) {
            self.learn_text("clusterIP", ip, at);
        }
    }

    fn learn_text(&mut self, key: &str, text: &str, at: &str) {
        if key == "uid" && UUID.is_match(text) {
            // Before it is met as part of a name, where all are alike.
            self.name("uid", text, at);
            return;
        }
        let kind = match key {
            "pod-template-hash" | "controller-revision-hash" | "controller.kubernetes.io/hash" => {
                "hash"
            }
            "clusterIP" if text.contains(['.', ':']) => "ip",
            _ => return,
        };
        if text.len() < 5 {
            return;
        }
        // The label of a StatefulSet's pods holds the name of the revision.
        let text = match text.rsplit_once('-') {
            Some((_, hash)) if kind == "hash" => hash,
            _ => text,
        };
        let placeholder = self.name(kind, text, at);
        self.replace_everywhere(text, placeholder);
    }

    fn replace_everywhere(&mut self, text: &str, placeholder: String) {
        if !self.texts.iter().any(|(known, _)| known == text) {
            self.texts.push((text.to_owned(), placeholder));
        }
    }

    fn value(
        &mut self,
        value: &Value,
        key: &str,
        at: &mut String,
        parent: Option<&Map<String, Value>>,
    ) -> Value {
        match value {
            Value::Object(map) => {
                if map.contains_key("columnDefinitions") {
                    return self.table(map, at);
                }
                let mut out = Map::new();
                for (key, value) in sorted(map) {
                    let length = at.len();
                    at.push('/');
                    at.push_str(key);
                    let said = if key == "metadata" && (is_list(map) || is_bookmark(map)) {
                        self.of_many(value, at)
                    } else {
                        self.value(value, key, at, Some(map))
                    };
                    out.insert(self.text(key, ""), said);
                    at.truncate(length);
                }
                Value::Object(out)
            }
            Value::Array(items) => {
                let mut out = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let length = at.len();
                    let _ = write!(at, "/{index}");
                    out.push(self.value(item, key, at, None));
                    at.truncate(length);
                }
                if key.ends_with("cells") {
                    out.iter_mut().for_each(ageless);
                }
                if key == "managedFields" {
                    // Their order is that of seconds, which pass when they pass.
                    out.sort_by_cached_key(|entry| {
                        ["operation", "manager", "apiVersion", "subresource"].map(|k| {
                            entry
                                .get(k)
                                .and_then(Value::as_str)
                                .unwrap_or_default()
                                .to_owned()
                        })
                    });
                }
                Value::Array(out)
            }
            Value::String(text) if key.contains("/cells/") => {
                let mut cell = self.text(text, at).into();
                ageless(&mut cell);
                cell
            }
            Value::String(text) => match key {
                "resourceVersion" if !text.is_empty() && text != "0" => {
                    self.name("version", text, at).into()
                }
                "serverAddress" => "<address>".into(),
                "continue" if !text.is_empty() => "<continue>".into(),
                // Each has its own authority.
                "ca.crt" => "<certificate>".into(),
                _ => self.text(text, at).into(),
            },
            Value::Number(number) => match key {
                "nodePort" | "healthCheckNodePort" if number.as_i64() != Some(0) => {
                    self.name("port", &number.to_string(), at).into()
                }
                // Counted back from when the server asked.
                "age" if parent.is_none() => value.clone(),
                _ => value.clone(),
            },
            _ => value.clone(),
        }
    }

    /// The metadata of a list or a bookmark: its version is the server's, whatever else happened,
    /// and no object's.
    fn of_many(&mut self, metadata: &Value, at: &mut String) -> Value {
        let mut metadata = metadata.clone();
        let version = metadata.get_mut("resourceVersion").map(Value::take);
        let mut said = self.value(&metadata, "metadata", at, None);
        if let (Some(_), Some(place)) = (version, said.get_mut("resourceVersion")) {
            *place = "<version>".into();
        }
        said
    }

    /// A table: cells that tell an age lose it.
    fn table(&mut self, map: &Map<String, Value>, at: &mut String) -> Value {
        let mut out = Map::new();
        for (key, value) in sorted(map) {
            let length = at.len();
            at.push('/');
            at.push_str(key);
            let said = if key == "metadata" {
                self.of_many(value, at)
            } else {
                self.value(value, key, at, None)
            };
            out.insert(key.clone(), said);
            at.truncate(length);
        }
        Value::Object(out)
    }

    fn text(&mut self, text: &str, at: &str) -> String {
        let mut out = text.to_owned();
        for (what, placeholder) in &self.texts {
            if out.contains(what.as_str()) {
                out = out.replace(what.as_str(), placeholder);
            }
        }
        if out.len() >= 20 {
            out = replaced(&out, &TOKEN, |_| Some("<token>".to_owned()));
            let mut found = |uid: &str| Some(self.name("uid", uid, at));
            out = replaced(&out, &UUID, &mut found);
            out = replaced(&out, &TIME, recent);
        }
        if out.contains("resourceVersion") {
            let hidden = r#"resourceVersion":"<version>"#;
            out = EMBEDDED.replace_all(&out, hidden).into_owned();
            let hidden = r#"resourceVersion: "<version>""#;
            out = IN_YAML.replace_all(&out, hidden).into_owned();
        }
        if out.contains("hash=") {
            out = HASH.replace_all(&out, "hash=<hash>").into_owned();
        }
        if out.contains(":3") {
            out = NODE_PORT.replace_all(&out, ":<port>/").into_owned();
        }
        if out.contains("in record (") {
            out = RECORD
                .replace_all(&out, "in record (<version>)")
                .into_owned();
        }
        if out.contains("current: ") {
            out = CURRENT.replace_all(&out, "current: <version>").into_owned();
        }
        out
    }
}

/// Takes the age out of a table's cell.
fn ageless(cell: &mut Value) {
    if cell.as_str().is_some_and(|c| AGE.is_match(c)) {
        *cell = "<age>".into();
    }
}

fn replaced(text: &str, pattern: &Regex, mut with: impl FnMut(&str) -> Option<String>) -> String {
    let new = pattern.replace_all(text, |found: &regex::Captures<'_>| {
        let found = found.get(0).map_or("", |m| m.as_str());
        with(found).unwrap_or_else(|| found.to_owned())
    });
    new.into_owned()
}

/// A time near now is the server's; another one was sent by somebody.
fn recent(text: &str) -> Option<String> {
    let time: Timestamp = text.parse().ok()?;
    let now = Timestamp::now();
    let near = time > now - 30.minutes() && time < now + 400.days().hours_only();
    near.then(|| {
        if text.contains('.') {
            "<time with parts of a second>".to_owned()
        } else {
            "<time>".to_owned()
        }
    })
}

trait HoursOnly {
    fn hours_only(self) -> jiff::Span;
}

impl HoursOnly for jiff::Span {
    // A timestamp knows no days.
    fn hours_only(self) -> jiff::Span {
        (i64::from(self.get_days()) * 24).hours()
    }
}

fn is_list(map: &Map<String, Value>) -> bool {
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    map.contains_key("items") || kind.ends_with("List")
}

fn is_bookmark(map: &Map<String, Value>) -> bool {
    let metadata = map.get("metadata").and_then(Value::as_object);
    metadata.is_some_and(|m| !m.contains_key("name"))
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut out: Vec<_> = map.iter().collect();
    out.sort_by_key(|(key, _)| *key);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_values_stay_equal_and_others_apart() {
        let mut normal = Normal::default();
        let uid = "0f4a1f0e-17a5-4d7e-9d64-1c1a2b3c4d5e";
        let first = json!({"metadata": {"uid": uid, "name": "a-bcdfg", "generateName": "a-",
            "resourceVersion": "12", "creationTimestamp": Timestamp::now().to_string()}});
        let said = normal.body("1", &first);
        assert_eq!(said["metadata"]["uid"], "<uid 1:/metadata/uid>");
        assert_eq!(said["metadata"]["name"], "a-<generated 1:/metadata>");
        let second = json!({"message": format!("{uid} of a-bcdfg at 2020-01-01T00:00:00Z"),
            "metadata": {"name": "x", "resourceVersion": "12"}});
        let said = normal.body("2", &second);
        assert_eq!(
            said["message"],
            "<uid 1:/metadata/uid> of a-<generated 1:/metadata> at 2020-01-01T00:00:00Z"
        );
        assert_eq!(
            said["metadata"]["resourceVersion"],
            "<version 1:/metadata/resourceVersion>"
        );
    }
}
