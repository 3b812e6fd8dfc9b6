//! Owns reading a GRPCRoute: services and methods are paths of HTTP/2, so that the rest of the data
//! plane need not know of gRPC.

use serde_json::Value;
use weir_object::Object;

use super::matching::{Match, PathMatch, expression};
use super::model::{Action, Route, RouteKind, Rule, Unsupported};
use super::read_http::named;
use super::reading::{Reading, Refs, Unresolved, items, named_matches, only};

/// Reads a GRPCRoute: the route, and the references that lead nowhere.
///
/// # Errors
/// Names the first field that asks for what this data plane does not do.
pub(crate) fn read(object: &Object, refs: &Refs) -> Result<(Route, Vec<Unresolved>), Unsupported> {
    let mut reading = Reading {
        refs,
        kind: "GRPCRoute",
        namespace: object.namespace(),
        grpc: true,
        unresolved: Vec::new(),
    };
    let mut route = named(object, RouteKind::Grpc);
    for (i, rule) in items(object.get(&["spec", "rules"])).enumerate() {
        let at = format!("spec.rules[{i}]");
        only(rule, &at, &["name", "matches", "filters", "backendRefs"])?;
        let matches = items(rule.get("matches")).enumerate();
        let matches = matches.map(|(i, m)| read_match(m, &format!("{at}.matches[{i}]")));
        let matches = matches.collect::<Result<_, _>>()?;
        let read = reading.filters(rule, &at)?;
        route.rules.push(Rule {
            matches,
            filters: read.filters,
            action: Action::Forward(reading.backends(rule, &at)?),
            ..Rule::default()
        });
    }
    Ok((route, reading.unresolved))
}

fn read_match(value: &Value, at: &str) -> Result<Match, Unsupported> {
    only(value, at, &["method", "headers"])?;
    let method = &value["method"];
    let text = |k: &str| method[k].as_str().filter(|t| !t.is_empty());
    let field = format!("{at}.method");
    let kind = method["type"].as_str().unwrap_or("Exact");
    let (service, name) = (text("service"), text("method"));
    let path = match (kind, service, name) {
        (_, None, None) => None,
        ("Exact", Some(service), Some(name)) => {
            Some(PathMatch::Exact(format!("/{service}/{name}")))
        }
        ("Exact", Some(service), None) => Some(PathMatch::Prefix(format!("/{service}/"))),
        ("Exact", None, Some(name)) => {
            let pattern = format!("/[^/]+/{}", super::reading::quoted(name));
            Some(PathMatch::Expression(expression(&pattern, &field)?))
        }
        ("RegularExpression", ..) => {
            let part = |text: Option<&str>| text.map_or("[^/]+".to_owned(), |t| format!("(?:{t})"));
            let pattern = format!("/{}/{}", part(service), part(name));
            Some(PathMatch::Expression(expression(&pattern, &field)?))
        }
        (other, ..) => {
            return Err(Unsupported::new(
                field,
                format!("a match of type `{other}`"),
            ));
        }
    };
    Ok(Match {
        path,
        headers: named_matches(value, "headers", at)?,
        grpc: Some((service.map_or(0, str::len), name.map_or(0, str::len))),
        ..Match::default()
    })
}
