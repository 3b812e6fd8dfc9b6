//! Owns the rules of a generated HTTPRoute: from where traffic is to go, and from what a Canary asks
//! of its route, to the rules that say so. Pure: values in, values out, always in the same order.
//!
//! A request that matches nothing is never led to the canary: what can't be written as a match is
//! refused, by the field's name, before anything moves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_api::canary::{
    Analysis, CorsPolicy, HeaderOperations, MatchRequest, RouteMatch, SameSite, Service,
    SessionAffinity, StringMatch, ValueMatch,
};
use weir_api::{GoDuration, names::reason::UNSUPPORTED};
use weir_rollout::{Cookies, Refusal, Traffic};

use crate::names::Names;

/// The most matches a rule may have, as the API limits it.
const MOST_MATCHES: usize = 64;

/// How long a cookie is kept where a Canary does not say, in seconds.
const MAX_AGE: i64 = 86_400;

/// What the rules are made from.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) service: &'a Service,
    pub(crate) analysis: &'a Analysis,
    pub(crate) names: &'a Names,
}

/// A side's backend and what it adds to answers.
struct Side<'a> {
    name: &'a str,
    weight: u8,
    cookie: Option<String>,
}

impl Rules<'_> {
    /// The rules that lead traffic there.
    pub(crate) fn of(&self, to: &Traffic) -> Vec<Value> {
        let own = self.matches();
        let canary = to.canary.min(100);
        let split = |weight: u8| [self.primary(100 - weight), self.canary(weight)];
        if to.matched && canary > 0 {
            return vec![
                self.rule(&self.matching(&own), &split(canary), &[]),
                self.rule(&own, &[self.primary(100)], &[]),
            ];
        }
        let cookies = to
            .cookies
            .as_ref()
            .zip(self.analysis.session_affinity.as_ref());
        let mut rules = Vec::new();
        let mut sides = split(canary);
        if let Some((cookies, affinity)) = cookies {
            rules = self.sticky(&own, canary, cookies, affinity);
            if canary > 0 {
                let [primary, of_canary] = &mut sides;
                of_canary.cookie = cookies
                    .canary
                    .as_deref()
                    .map(|c| set_cookie(c, affinity.max_age(), affinity));
                let kept = self.analysis.interval.as_ref().and_then(|i| i.get().ok());
                let kept = kept.map_or(60, |i| i64::try_from(i.as_secs()).unwrap_or(i64::MAX));
                primary.cookie = cookies
                    .primary
                    .as_deref()
                    .map(|c| set_cookie(c, kept, affinity));
            }
        }
        let mirror = to.mirror.then(|| {
            let port = self.service.port;
            let name = &self.names.apex_canary;
            json!({"type": "RequestMirror", "requestMirror": {
                "backendRef": {"group": "", "kind": "Service", "name": name, "port": port}}})
        });
        rules.push(self.rule(&own, &sides, mirror.as_slice()));
        rules
    }

    /// Rules that keep users where they are, or let them forget where they were.
    fn sticky(
        &self,
        own: &[Value],
        canary: u8,
        cookies: &Cookies,
        affinity: &SessionAffinity,
    ) -> Vec<Value> {
        let stay = |cookie: &Option<String>, weight: u8, filters: &[Value]| {
            let matches = with_cookie(own, cookie.as_deref()?);
            let sides = [self.primary(100 - weight), self.canary(weight)];
            Some(self.rule(&matches, &sides, filters))
        };
        if canary > 0 {
            return stay(&cookies.canary, 100, &[])
                .into_iter()
                .chain(stay(&cookies.primary, 0, &[]))
                .collect();
        }
        let forget = cookies.previous.as_deref().map(|cookie| {
            let value = set_cookie(cookie, -1, affinity);
            json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {
                "add": [{"name": "Set-Cookie", "value": value}]}})
        });
        stay(&cookies.previous, 0, forget.as_slice())
            .into_iter()
            .collect()
    }

    fn primary(&self, weight: u8) -> Side<'_> {
        Side {
            name: &self.names.apex_primary,
            weight,
            cookie: None,
        }
    }

    fn canary(&self, weight: u8) -> Side<'_> {
        Side {
            name: &self.names.apex_canary,
            weight,
            cookie: None,
        }
    }

    fn rule(&self, matches: &[Value], sides: &[Side<'_>], more: &[Value]) -> Value {
        let port = self.service.port;
        let backends: Vec<Value> = sides
            .iter()
            .map(|side| {
                let mut out = json!({"group": "", "kind": "Service", "name": side.name,
                    "port": port, "weight": side.weight});
                if let Some(cookie) = &side.cookie {
                    out["filters"] = json!([{"type": "ResponseHeaderModifier",
                        "responseHeaderModifier": {
                            "add": [{"name": "Set-Cookie", "value": cookie}]}}]);
                }
                out
            })
            .collect();
        let mut rule = json!({"matches": matches, "backendRefs": backends});
        let mut filters = self.filters();
        // A filter of each type may stand in a rule once.
        for filter in more {
            merge(&mut filters, filter);
        }
        if !filters.is_empty() {
            rule["filters"] = filters.into();
        }
        for (field, timeout) in [
            ("request", &self.service.timeout),
            ("backendRequest", &self.service.backend_timeout),
        ] {
            if let Some(timeout) = timeout.as_deref().filter(|t| !t.is_empty()) {
                weir_object::path::set(&mut rule, &["timeouts", field], timeout.into());
            }
        }
        rule
    }

    /// The matches of the service; every request where it names none.
    fn matches(&self) -> Vec<Value> {
        let all: Vec<Value> = self.service.matches.iter().map(service_match).collect();
        if all.is_empty() {
            vec![json!({"path": {"type": "PathPrefix", "value": "/"}})]
        } else {
            all
        }
    }

    /// The matches of the analysis, each with each of the service's: both have to hold.
    fn matching(&self, own: &[Value]) -> Vec<Value> {
        let pairs = self.analysis.matches.iter().flat_map(|asked| {
            own.iter().map(move |own| {
                let mut out = own.clone();
                narrow(&mut out, "headers", header_values(asked));
                narrow(&mut out, "queryParams", texts(&asked.query_params));
                out
            })
        });
        pairs.collect()
    }

    fn filters(&self) -> Vec<Value> {
        let mut out = Vec::new();
        if let Some(headers) = &self.service.headers {
            for (kind, field, operations) in [
                (
                    "RequestHeaderModifier",
                    "requestHeaderModifier",
                    &headers.request,
                ),
                (
                    "ResponseHeaderModifier",
                    "responseHeaderModifier",
                    &headers.response,
                ),
            ] {
                if let Some(operations) = operations {
                    out.push(json!({"type": kind, field: modifier(operations)}));
                }
            }
        }
        if let Some(rewrite) = &self.service.rewrite {
            let mut to = Map::new();
            if let Some(host) = rewrite.authority.as_deref().filter(|h| !h.is_empty()) {
                to.insert("hostname".into(), host.into());
            }
            if let Some(uri) = rewrite.uri.as_deref().filter(|u| !u.is_empty()) {
                let path = if rewrite.kind.as_deref() == Some("ReplacePrefixMatch") {
                    json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": uri})
                } else {
                    json!({"type": "ReplaceFullPath", "replaceFullPath": uri})
                };
                to.insert("path".into(), path);
            }
            out.push(json!({"type": "URLRewrite", "urlRewrite": to}));
        }
        out.extend(self.service.mirror.iter().map(|mirror| {
            let to = &mirror.backend_ref;
            let mut backend = json!({
                "group": to.group.as_deref().unwrap_or_default(),
                "kind": to.kind.as_deref().unwrap_or("Service"), "name": to.name});
            if let Some(namespace) = &to.namespace {
                backend["namespace"] = namespace.as_str().into();
            }
            if let Some(port) = to.port {
                backend["port"] = port.into();
            }
            json!({"type": "RequestMirror", "requestMirror": {"backendRef": backend}})
        }));
        out.extend(self.service.cors_policy.as_ref().map(cors));
        out
    }

    /// What of the Canary can't be written as rules.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let no = |field: String, message: &str| {
            Some(Refusal {
                reason: UNSUPPORTED,
                field,
                message: message.to_owned(),
            })
        };
        for (i, one) in self.service.matches.iter().enumerate() {
            let at = format!("service.match[{i}]");
            if let Some(field) = inexpressible(one) {
                let message = "an HTTPRoute can't match by it; remove it";
                return no(format!("{at}.{field}"), message);
            }
        }
        for (i, one) in self.analysis.matches.iter().enumerate() {
            let at = format!("analysis.match[{i}]");
            if !one.source_labels.is_empty() {
                let message = "an HTTPRoute can't match by who calls; match by a header";
                return no(format!("{at}.sourceLabels"), message);
            }
            let values = header_values(one).len();
            if values != one.headers.len() || values + one.query_params.len() == 0 {
                let message = "it matches nothing that an HTTPRoute can tell apart; name headers or \
                               queryParams, each with `exact`, `prefix`, `suffix` or `regex`";
                return no(at, message);
            }
            if texts(&one.query_params).len() != one.query_params.len() {
                let message = "each needs `exact` or `regex`";
                return no(format!("{at}.queryParams"), message);
            }
        }
        let pairs = self.analysis.matches.len().max(1) * self.service.matches.len().max(1);
        if pairs > MOST_MATCHES {
            let message = "with those of `service.match` they make more than 64 matches, the most \
                           that a rule may have";
            return no("analysis.match".to_owned(), message);
        }
        let cors = self.service.cors_policy.as_ref();
        if cors.is_some_and(|c| !c.allow_origins.is_empty()) {
            let message = "an HTTPRoute knows origins by their text; list them in `allowOrigin`";
            return no("service.corsPolicy.allowOrigins".to_owned(), message);
        }
        let age = cors.and_then(|c| c.max_age.as_deref());
        if let Some(age) = age.filter(|a| GoDuration((*a).to_owned()).get().is_err()) {
            let message = format!("`{age}` is no duration; write it as `24h`, for example");
            return no("service.corsPolicy.maxAge".to_owned(), &message);
        }
        None
    }
}

/// Adds a filter; one of a type that may stand once is joined with the one there.
fn merge(filters: &mut Vec<Value>, filter: &Value) {
    let kind = &filter["type"];
    let there = filters.iter_mut().find(|f| f["type"] == *kind);
    match there {
        Some(there) if *kind == "ResponseHeaderModifier" => {
            let at = ["responseHeaderModifier", "add"];
            let more = weir_object::path::get(filter, &at).cloned();
            let mut all = weir_object::path::get(there, &at)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            all.extend(
                more.and_then(|m| m.as_array().cloned())
                    .into_iter()
                    .flatten(),
            );
            weir_object::path::set(there, &at, Value::Array(all));
        }
        _ => filters.push(filter.clone()),
    }
}

trait Kept {
    fn max_age(&self) -> i64;
}

impl Kept for SessionAffinity {
    fn max_age(&self) -> i64 {
        self.max_age.filter(|age| *age != 0).unwrap_or(MAX_AGE)
    }
}

/// The text of a cookie as an answer sets it. One that is to be forgotten has the same path and
/// domain, or a browser keeps it.
fn set_cookie(cookie: &str, max_age: i64, affinity: &SessionAffinity) -> String {
    let mut out = format!("{cookie}; Max-Age={max_age}");
    let text = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    if let Some(domain) = text(&affinity.domain) {
        out.push_str("; Domain=");
        out.push_str(&domain);
    }
    if affinity.http_only {
        out.push_str("; HttpOnly");
    }
    if affinity.partitioned {
        out.push_str("; Partitioned");
    }
    if let Some(path) = text(&affinity.path) {
        out.push_str("; Path=");
        out.push_str(&path);
    }
    if let Some(site) = affinity.same_site {
        out.push_str(match site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
    }
    if affinity.secure {
        out.push_str("; Secure");
    }
    out
}

/// The matches with one more: the cookie is among those that are sent.
fn with_cookie(own: &[Value], cookie: &str) -> Vec<Value> {
    let (name, value) = cookie.split_once('=').unwrap_or((cookie, ""));
    let pattern = format!(".*{}.*{}.*", escaped(name), escaped(value));
    own.iter()
        .map(|own| {
            let mut out = own.clone();
            let header = json!({"type": "RegularExpression", "name": "Cookie", "value": pattern});
            narrow(&mut out, "headers", vec![header]);
            out
        })
        .collect()
}

/// A text in which nothing is a pattern.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let special = !(c.is_alphanumeric() || c == '_' || c == '-' || c == ' ');
            special.then_some('\\').into_iter().chain([c])
        })
        .collect()
}

/// Adds conditions to a match; one of the same name is replaced.
fn narrow(matched: &mut Value, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    let mut all = matched[field].as_array().cloned().unwrap_or_default();
    let name = |v: &Value| v["name"].as_str().unwrap_or_default().to_ascii_lowercase();
    all.retain(|there| more.iter().all(|new| name(new) != name(there)));
    all.extend(more);
    matched[field] = Value::Array(all);
}

/// The header conditions of an A/B match that can be told apart.
fn header_values(asked: &MatchRequest) -> Vec<Value> {
    let of = |(name, value): (&String, &ValueMatch)| {
        let (kind, text) = match value {
            ValueMatch { exact: Some(t), .. } => ("Exact", t.clone()),
            ValueMatch { regex: Some(t), .. } => ("RegularExpression", t.clone()),
            ValueMatch {
                prefix: Some(t), ..
            } => ("RegularExpression", format!("^{}.*$", escaped(t))),
            ValueMatch {
                suffix: Some(t), ..
            } => ("RegularExpression", format!("^.*{}$", escaped(t))),
            _ => return None,
        };
        Some(json!({"type": kind, "name": name, "value": text}))
    };
    asked.headers.iter().filter_map(of).collect()
}

/// Conditions by exact text or pattern.
fn texts(all: &BTreeMap<String, StringMatch>) -> Vec<Value> {
    let of = |(name, value): (&String, &StringMatch)| {
        let (kind, text) = match value {
            StringMatch { exact: Some(t), .. } => ("Exact", t),
            StringMatch { regex: Some(t), .. } => ("RegularExpression", t),
            _ => return None,
        };
        Some(json!({"type": kind, "name": name, "value": text}))
    };
    all.iter().filter_map(of).collect()
}

fn service_match(one: &RouteMatch) -> Value {
    let mut out = Map::new();
    let path = one.uri.as_ref().and_then(|uri| {
        Some(match uri {
            StringMatch { regex: Some(t), .. } => ("RegularExpression", t),
            StringMatch { exact: Some(t), .. } => ("Exact", t),
            StringMatch {
                prefix: Some(t), ..
            } => ("PathPrefix", t),
            _ => return None,
        })
    });
    let (kind, value) = path.map_or(("PathPrefix", "/"), |(kind, t)| (kind, t.as_str()));
    out.insert("path".into(), json!({"type": kind, "value": value}));
    if let Some(method) = one.method.as_ref().and_then(|m| m.exact.as_deref()) {
        out.insert("method".into(), method.into());
    }
    for (field, all) in [
        ("headers", texts(&one.headers)),
        ("queryParams", texts(&one.query_params)),
    ] {
        if !all.is_empty() {
            out.insert(field.into(), all.into());
        }
    }
    Value::Object(out)
}

/// The field of a service's match that an HTTPRoute can't express, if there is one.
fn inexpressible(one: &RouteMatch) -> Option<&'static str> {
    let unlike = |all: &BTreeMap<String, StringMatch>| texts(all).len() != all.len();
    [
        ("scheme", one.scheme.is_some()),
        ("authority", one.authority.is_some()),
        ("withoutHeaders", !one.without_headers.is_empty()),
        ("ignoreUriCase", one.ignore_uri_case),
        ("port", one.port.is_some()),
        ("sourceLabels", !one.source_labels.is_empty()),
        ("sourceNamespace", one.source_namespace.is_some()),
        ("gateways", !one.gateways.is_empty()),
        (
            "method",
            one.method.as_ref().is_some_and(|m| m.exact.is_none()),
        ),
        ("headers", unlike(&one.headers)),
        ("queryParams", unlike(&one.query_params)),
    ]
    .into_iter()
    .find(|(_, asked)| *asked)
    .map(|(field, _)| field)
}

fn modifier(operations: &HeaderOperations) -> Value {
    let list = |all: &BTreeMap<String, String>| -> Vec<Value> {
        all.iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    };
    let mut out = Map::new();
    for (field, all) in [("add", &operations.add), ("set", &operations.set)] {
        if !all.is_empty() {
            out.insert(field.into(), list(all).into());
        }
    }
    if !operations.remove.is_empty() {
        out.insert("remove".into(), json!(operations.remove));
    }
    Value::Object(out)
}

fn cors(policy: &CorsPolicy) -> Value {
    let mut out = Map::new();
    for (field, all) in [
        ("allowOrigins", &policy.allow_origin),
        ("allowMethods", &policy.allow_methods),
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ] {
        if !all.is_empty() {
            out.insert(field.into(), json!(all));
        }
    }
    if policy.allow_credentials == Some(true) {
        out.insert("allowCredentials".into(), true.into());
    }
    let age = policy.max_age.as_ref();
    if let Some(age) = age.and_then(|a| GoDuration(a.clone()).get().ok()) {
        out.insert("maxAge".into(), age.as_secs().into());
    }
    json!({"type": "CORS", "cors": out})
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
