//! Owns reading an HTTPRoute. What it asks for and this data plane does not do is told as
//! unsupported, with the field, and never passed over.

use std::time::Duration;

use serde_json::Value;
use weir_object::Object;

use super::matching::{Match, PathMatch, Text, expression};
use super::model::{
    Action, Limit, PathChange, Retry, RetryOn, Route, RouteKind, Rule, Unsupported,
};
use super::reading::{Reading, Refs, Unresolved, items, named_matches, only};

/// Reads an HTTPRoute: the route, and the references that lead nowhere.
///
/// # Errors
/// Names the first field that asks for what this data plane does not do.
pub(crate) fn read(object: &Object, refs: &Refs) -> Result<(Route, Vec<Unresolved>), Unsupported> {
    let mut reading = Reading {
        refs,
        kind: "HTTPRoute",
        namespace: object.namespace(),
        grpc: false,
        unresolved: Vec::new(),
    };
    let rules = items(object.get(&["spec", "rules"])).enumerate();
    let rules = rules.map(|(i, rule)| read_rule(rule, &mut reading, &format!("spec.rules[{i}]")));
    let route = Route {
        rules: rules.collect::<Result<_, _>>()?,
        ..named(object, RouteKind::Http)
    };
    Ok((route, reading.unresolved))
}

/// A route without rules: who it is, and for which hosts.
pub(crate) fn named(object: &Object, kind: RouteKind) -> Route {
    let hostnames = items(object.get(&["spec", "hostnames"])).filter_map(Value::as_str);
    Route {
        kind,
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        created: object.text(&["metadata", "creationTimestamp"]).to_owned(),
        hostnames: hostnames.map(str::to_ascii_lowercase).collect(),
        rules: Vec::new(),
    }
}

fn read_rule(rule: &Value, reading: &mut Reading<'_>, at: &str) -> Result<Rule, Unsupported> {
    let known = [
        "name",
        "matches",
        "filters",
        "backendRefs",
        "timeouts",
        "retry",
    ];
    only(rule, at, &known)?;
    let matches = items(rule.get("matches")).enumerate();
    let matches = matches.map(|(i, m)| read_match(m, &format!("{at}.matches[{i}]")));
    let matches: Vec<Match> = matches.collect::<Result<_, _>>()?;
    let read = reading.filters(rule, at)?;
    let backends = reading.backends(rule, at)?;
    let changes = [&read.filters.rewrite.path]
        .into_iter()
        .chain(read.redirect.iter().map(|r| &r.path))
        .chain(backends.iter().map(|b| &b.filters.rewrite.path));
    let prefixed = |m: &Match| m.path.is_none() || m.prefix().is_some();
    for change in changes {
        if matches!(change, Some(PathChange::Elements(_))) && !matches.iter().all(prefixed) {
            let what = "ReplacePrefixMatch where a match is of another type than PathPrefix";
            return Err(Unsupported::new(format!("{at}.filters"), what));
        }
    }
    let timeouts = &rule["timeouts"];
    only(
        timeouts,
        &format!("{at}.timeouts"),
        &["request", "backendRequest"],
    )?;
    let limit = |name: &str| duration(timeouts, name, &format!("{at}.timeouts"));
    let (timeout, attempt) = (limit("request")?, limit("backendRequest")?);
    Ok(Rule {
        matches,
        action: match read.redirect {
            Some(redirect) => Action::Redirect(redirect),
            None => Action::Forward(backends),
        },
        filters: read.filters,
        cors: read.cors,
        retry: retry(&rule["retry"], &format!("{at}.retry"))?,
        timeout,
        attempt: match attempt {
            Limit::After(limit) => Some(limit),
            Limit::Default | Limit::None => None,
        },
        ..Rule::default()
    })
}

fn duration(of: &Value, name: &str, at: &str) -> Result<Limit, Unsupported> {
    let Some(text) = of[name].as_str() else {
        return Ok(Limit::Default);
    };
    match weir_gocompat::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Limit::None),
        Ok(limit) => Ok(Limit::After(limit)),
        Err(e) => Err(Unsupported::new(format!("{at}.{name}"), e.to_string())),
    }
}

fn retry(retry: &Value, at: &str) -> Result<Retry, Unsupported> {
    if retry.is_null() {
        return Ok(Retry::default());
    }
    only(retry, at, &["codes", "attempts", "backoff"])?;
    let codes = items(retry.get("codes")).filter_map(Value::as_u64);
    let attempts = retry["attempts"].as_u64().unwrap_or(1);
    Ok(Retry {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        backoff: match duration(retry, "backoff", at)? {
            Limit::After(wait) => Some(wait),
            Limit::Default | Limit::None => None,
        },
        on: RetryOn {
            connect: true,
            reset: true,
            timeout: true,
            statuses: codes.filter_map(|c| u16::try_from(c).ok()).collect(),
            ..RetryOn::default()
        },
    })
}

fn read_match(value: &Value, at: &str) -> Result<Match, Unsupported> {
    only(value, at, &["path", "method", "headers", "queryParams"])?;
    let path = match value.get("path") {
        None => None,
        Some(path) => {
            let text = path["value"].as_str().unwrap_or("/").to_owned();
            let field = format!("{at}.path");
            Some(match path["type"].as_str().unwrap_or("PathPrefix") {
                "PathPrefix" => PathMatch::Elements(text),
                "Exact" => PathMatch::Exact(text),
                "RegularExpression" => PathMatch::Expression(expression(&text, &field)?),
                other => {
                    return Err(Unsupported::new(
                        field,
                        format!("a match of type `{other}`"),
                    ));
                }
            })
        }
    };
    Ok(Match {
        path,
        method: value["method"].as_str().map(|m| Text::Exact(m.to_owned())),
        headers: named_matches(value, "headers", at)?,
        query: named_matches(value, "queryParams", at)?,
        ..Match::default()
    })
}

#[cfg(test)]
#[path = "read_http_tests.rs"]
mod tests;
