//! Owns one rule of a role: whether it allows a request, what it covers, and its short text.

use serde_json::{Value, json};
use weir_gocompat::quote;

use super::Attributes;

fn words<'a>(rule: &'a Value, field: &str) -> impl Iterator<Item = &'a str> + Clone {
    let list = rule.get(field).and_then(Value::as_array);
    list.map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
}

/// Whether the rule allows the request.
pub(crate) fn allows(rule: &Value, of: &Attributes) -> bool {
    let one = |field: &str, word: &str| words(rule, field).any(|w| w == "*" || w == word);
    if !one("verbs", &of.verb) {
        return false;
    }
    if !of.is_resource {
        return words(rule, "nonResourceURLs").any(|url| url == "*" || url_covers(url, &of.path));
    }
    if !one("apiGroups", &of.group) {
        return false;
    }
    let resource = words(rule, "resources").any(|word| {
        if of.subresource.is_empty() {
            return word == "*" || word == of.resource;
        }
        if word == "*" || word.strip_prefix("*/") == Some(&of.subresource) {
            return true;
        }
        word.strip_prefix(of.resource.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            == Some(&of.subresource)
    });
    let mut names = words(rule, "resourceNames").peekable();
    resource && (names.peek().is_none() || names.any(|name| name == of.name))
}

/// A pattern of paths ends in a star, or is the path.
fn url_covers(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*'))
}

/// A rule taken out of its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) urls: Vec<String>,
}

impl From<&Value> for Rule {
    fn from(rule: &Value) -> Self {
        let own = |field| words(rule, field).map(str::to_owned).collect();
        Self {
            verbs: own("verbs"),
            groups: own("apiGroups"),
            resources: own("resources"),
            names: own("resourceNames"),
            urls: own("nonResourceURLs"),
        }
    }
}

impl Rule {
    /// Everything, as two rules.
    pub(crate) fn all() -> [Self; 2] {
        let star = || vec!["*".to_owned()];
        [
            Self {
                verbs: star(),
                groups: star(),
                resources: star(),
                ..Self::default()
            },
            Self {
                verbs: star(),
                urls: star(),
                ..Self::default()
            },
        ]
    }

    /// The rule as reviews show it.
    pub(crate) fn shown(&self) -> Value {
        let mut out = json!({"verbs": self.verbs});
        let parts = [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ];
        for (field, list) in parts {
            if !list.is_empty() {
                weir_object::path::set(&mut out, &[field], json!(list));
            }
        }
        out
    }

    /// The rule in one line, as refusals list it.
    fn line(&self) -> String {
        let parts = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted_list(list)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }

    /// The smallest rules that together are this one.
    fn pieces(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut out = Vec::new();
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let piece = Self {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.names.is_empty() {
                        out.push(piece);
                        continue;
                    }
                    out.extend(self.names.iter().map(|name| Self {
                        names: one(name),
                        ..piece.clone()
                    }));
                }
            }
        }
        for url in &self.urls {
            out.extend(self.verbs.iter().map(|verb| Self {
                verbs: one(verb),
                urls: one(url),
                ..Self::default()
            }));
        }
        out
    }

    /// Whether the rule grants everything that a piece does.
    fn covers(&self, piece: &Self) -> bool {
        let all = |own: &[String], asked: &[String]| {
            own.iter().any(|w| w == "*") || asked.iter().all(|w| own.contains(w))
        };
        let resource = |asked: &String| {
            self.resources.iter().any(|own| {
                own == "*"
                    || own == asked
                    || asked
                        .split_once('/')
                        .is_some_and(|(_, sub)| own.strip_prefix("*/") == Some(sub))
            })
        };
        all(&self.verbs, &piece.verbs)
            && all(&self.groups, &piece.groups)
            && piece.resources.iter().all(resource)
            && piece
                .urls
                .iter()
                .all(|url| self.urls.iter().any(|own| url_covers(own, url)))
            && (self.names.is_empty()
                || !piece.names.is_empty() && piece.names.iter().all(|n| self.names.contains(n)))
    }
}

/// A list as Go prints it with quotes.
pub(crate) fn quoted_list(list: &[String]) -> String {
    let all: Vec<String> = list.iter().map(|text| quote(text)).collect();
    format!("[{}]", all.join(" "))
}

/// More pieces than any real role has are not compared.
const PIECES: usize = 100_000;

/// The lines of what `own` does not grant of `asked`; none when all of it is granted.
/// Lines that differ in verbs only are one. `None` when there is too much to compare.
pub(crate) fn missing(own: &[Rule], asked: &[Rule]) -> Option<Vec<String>> {
    let size = |rule: &Rule| {
        let targets = rule.groups.len() * rule.resources.len() * rule.names.len().max(1);
        rule.verbs.len() * (targets + rule.urls.len())
    };
    if asked.iter().map(size).fold(0, usize::saturating_add) > PIECES {
        return None;
    }
    let mut out: Vec<Rule> = Vec::new();
    for piece in asked.iter().flat_map(Rule::pieces) {
        if own.iter().any(|rule| rule.covers(&piece)) {
            continue;
        }
        let same = out.iter_mut().find(|rule| {
            rule.urls.is_empty()
                && piece.urls.is_empty()
                && rule.groups == piece.groups
                && rule.resources == piece.resources
                && rule.names == piece.names
        });
        match same {
            Some(rule) => rule.verbs.extend(piece.verbs),
            None => out.push(piece),
        }
    }
    let mut lines: Vec<String> = out.iter().map(Rule::line).collect();
    lines.sort();
    lines.dedup();
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_names() {
        let pods =
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"]});
        let named =
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["x"]});
        let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/a/*", "/b"]});
        let of = |verb: &str, resource: &str, sub: &str, name: &str| Attributes {
            verb: verb.into(),
            resource: resource.into(),
            subresource: sub.into(),
            name: name.into(),
            is_resource: true,
            ..Attributes::default()
        };
        let path = |path: &str| Attributes {
            verb: "get".into(),
            path: path.into(),
            ..Attributes::default()
        };
        assert!(allows(&pods, &of("get", "pods", "", "x")));
        assert!(!allows(&pods, &of("get", "pods", "log", "x")));
        assert!(allows(&pods, &of("get", "any", "scale", "x")));
        assert!(!allows(&pods, &of("delete", "pods", "", "x")));
        assert!(allows(&named, &of("delete", "pods", "log", "x")));
        assert!(!allows(&named, &of("list", "pods", "", "")));
        assert!(allows(&paths, &path("/a/b")) && allows(&paths, &path("/b")));
        assert!(!allows(&paths, &path("/b/c")) && !allows(&paths, &of("get", "a", "", "")));
        assert!(!allows(&pods, &path("/a/b")));
    }

    #[test]
    fn missing_rights_are_told_in_few_lines() {
        let own = Rule::from(
            &json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/status"]}),
        );
        let asked = Rule::from(
            &json!({"verbs": ["get", "list", "watch"], "apiGroups": ["", "apps"],
            "resources": ["pods", "pods/status"]}),
        );
        assert_eq!(
            missing(&[own], &[asked]).expect("small"),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#,
                r#"{APIGroups:[""], Resources:["pods/status"], Verbs:["list" "watch"]}"#,
                r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list" "watch"]}"#,
                r#"{APIGroups:["apps"], Resources:["pods/status"], Verbs:["get" "list" "watch"]}"#,
            ]
        );
        let everything = Rule::all();
        let some = Rule::from(&json!({"verbs": ["x"], "nonResourceURLs": ["/y"]}));
        assert_eq!(missing(&everything, &[some]), Some(Vec::new()));
        assert_eq!(missing(&everything, &Rule::all()), Some(Vec::new()));
    }
}
