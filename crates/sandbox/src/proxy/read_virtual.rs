//! Owns reading a VirtualService of Istio: its routes over HTTP, for callers in the mesh. What it
//! asks for and this data plane does not do is told as unsupported, and never passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use http::StatusCode;
use serde_json::Value;
use weir_gocompat::GoRegex;
use weir_object::{Key, Object};

use super::matching::{Match, PathMatch, Text};
use super::model::{
    Action, Backend, Destination, Filters, HeaderChange, Limit, Mirror, PathChange, Redirect,
    RedirectPort, Route, RouteKind, Rule, Share, Unsupported,
};
use super::read_policy::{read_cors, read_fault, retries};
use super::reading::{Refs, header, items, only};

/// What a VirtualService leans on.
pub(crate) struct Ground<'a> {
    pub(crate) refs: &'a Refs,
    /// Labels by host in full and subset.
    pub(crate) subsets: &'a BTreeMap<(String, String), BTreeMap<String, String>>,
}

/// A host in full: a short one is of the object's own namespace.
pub(crate) fn full_host(host: &str, namespace: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if !host.contains('.') && !host.starts_with('*') {
        return format!("{host}.{namespace}.svc.cluster.local");
    }
    match crate::names::service_key(&host) {
        Some(key) if host.split('.').count() > 2 => crate::names::full_name(&key),
        _ => host,
    }
}

/// The service of a destination's host: `name`, `name.namespace`, or in full.
pub(crate) fn service_of(host: &str, namespace: &str) -> Option<Key> {
    if host.contains('.') {
        crate::names::service_key(host)
    } else {
        Some(Key::new(namespace, host))
    }
}

struct Reader<'a> {
    ground: &'a Ground<'a>,
    namespace: &'a str,
    /// Destinations that lead nowhere.
    missing: Vec<String>,
}

/// Reads a VirtualService: the route, and what is missing of what it leads to.
///
/// # Errors
/// Names the first field that asks for what this data plane does not do.
pub(crate) fn read(
    object: &Object,
    ground: &Ground<'_>,
) -> Result<(Route, Vec<String>), Unsupported> {
    let spec = object.get(&["spec"]).cloned().unwrap_or_default();
    only(&spec, "spec", &["hosts", "gateways", "http", "exportTo"])?;
    for (i, gateway) in items(spec.get("gateways"))
        .filter_map(Value::as_str)
        .enumerate()
    {
        if gateway != "mesh" {
            let what = format!("the gateway `{gateway}`: only `mesh` is served here");
            return Err(Unsupported::new(format!("spec.gateways[{i}]"), what));
        }
    }
    for (i, to) in items(spec.get("exportTo"))
        .filter_map(Value::as_str)
        .enumerate()
    {
        if to != "*" && to != "." {
            let what = format!("visibility in `{to}` only: callers have no namespace here");
            return Err(Unsupported::new(format!("spec.exportTo[{i}]"), what));
        }
    }
    let mut reader = Reader {
        ground,
        namespace: object.namespace(),
        missing: Vec::new(),
    };
    let http = items(spec.get("http")).enumerate();
    let rules = http.map(|(i, http)| reader.rule(http, &format!("spec.http[{i}]")));
    let rules = rules.collect::<Result<_, _>>()?;
    let route = Route {
        kind: RouteKind::Virtual,
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        created: object.text(&["metadata", "creationTimestamp"]).to_owned(),
        hostnames: Vec::new(),
        rules,
    };
    Ok((route, reader.missing))
}

impl Reader<'_> {
    fn rule(&mut self, http: &Value, at: &str) -> Result<Rule, Unsupported> {
        only(
            http,
            at,
            &[
                "name",
                "match",
                "route",
                "redirect",
                "directResponse",
                "rewrite",
                "timeout",
                "retries",
                "fault",
                "mirror",
                "mirrorPercent",
                "mirror_percent",
                "mirrorPercentage",
                "mirrors",
                "corsPolicy",
                "headers",
            ],
        )?;
        let matches = items(http.get("match")).enumerate();
        let matches = matches.map(|(i, m)| read_match(m, &format!("{at}.match[{i}]")));
        let matches: Vec<Match> = matches.collect::<Result<_, _>>()?;
        let action = match (http.get("redirect"), http.get("directResponse")) {
            (Some(to), _) => Action::Redirect(redirect(to, &format!("{at}.redirect"))?),
            (None, Some(answer)) => direct(answer, &format!("{at}.directResponse"))?,
            (None, None) => Action::Forward(self.backends(http, at)?),
        };
        let mut filters = header_changes(http, at)?;
        if let Some(rewrite) = http.get("rewrite") {
            let at = format!("{at}.rewrite");
            filters.rewrite.host = rewrite["authority"].as_str().map(str::to_owned);
            filters.rewrite.path = match rewrite.get("uriRegexRewrite") {
                Some(expression) => Some(by_expression(expression, &at)?),
                None => rewrite["uri"]
                    .as_str()
                    .map(|to| PathChange::Prefix(to.to_owned())),
            };
        }
        filters.mirrors = self.mirrors(http, at)?;
        let (retry, attempt) = retries(http.get("retries"), &format!("{at}.retries"))?;
        Ok(Rule {
            matches,
            action,
            filters,
            cors: match http.get("corsPolicy") {
                Some(cors) => Some(read_cors(cors, &format!("{at}.corsPolicy"))?),
                None => None,
            },
            fault: read_fault(&http["fault"], &format!("{at}.fault"))?,
            retry,
            timeout: match duration(&http["timeout"], &format!("{at}.timeout"))? {
                Some(Duration::ZERO) => Limit::None,
                Some(limit) => Limit::After(limit),
                None => Limit::Default,
            },
            attempt,
        })
    }

    fn backends(&mut self, http: &Value, at: &str) -> Result<Vec<Backend>, Unsupported> {
        let routes: Vec<&Value> = items(http.get("route")).collect();
        let mut out = Vec::new();
        for (i, route) in routes.iter().enumerate() {
            let at = format!("{at}.route[{i}]");
            only(route, &at, &["destination", "weight", "headers"])?;
            let (to, broken) = self.destination(&route["destination"], &at);
            // A single destination takes everything, whether its weight is told or not.
            let weight = match route["weight"].as_u64() {
                Some(0) | None if routes.len() == 1 => 1,
                Some(weight) => u32::try_from(weight).unwrap_or(u32::MAX),
                None => 0,
            };
            out.push(Backend {
                to,
                weight,
                filters: header_changes(route, &at)?,
                broken,
                grpc: false,
            });
        }
        Ok(out)
    }

    fn destination(&mut self, value: &Value, at: &str) -> (Destination, Option<String>) {
        let host = value["host"].as_str().unwrap_or_default();
        let mut to = Destination::default();
        let mut missing = |what: String| {
            self.missing.push(format!("{at}: {what}"));
            Some(what)
        };
        let Some(key) = service_of(host, self.namespace) else {
            let what =
                format!("the host `{host}` is no service, and hosts outside are not reached");
            return (to, missing(what));
        };
        to.namespace.clone_from(&key.namespace);
        to.service.clone_from(&key.name);
        let Some(service) = self.ground.refs.services.get(&key) else {
            let what = format!("there is no service `{key}`");
            return (to, missing(what));
        };
        let ports: Vec<u64> = items(service.get(&["spec", "ports"]))
            .filter_map(|p| p["port"].as_u64())
            .collect();
        // Without a number the port that the request came in at is meant, which is looked up then.
        let asked = value["port"]["number"].as_u64();
        if let Some(port) = asked {
            if !ports.contains(&port) {
                let what = format!("service `{key}` has no port {port}");
                return (to, missing(what));
            }
            to.port = u16::try_from(port).unwrap_or_default();
        } else if let [only] = ports.as_slice() {
            to.port = u16::try_from(*only).unwrap_or_default();
        }
        if let Some(subset) = value["subset"].as_str().filter(|s| !s.is_empty()) {
            let name = (crate::names::full_name(&key), subset.to_owned());
            let Some(labels) = self.ground.subsets.get(&name) else {
                let what = format!("no DestinationRule of `{}` has a subset `{subset}`", name.0);
                return (to, missing(what));
            };
            to.labels.clone_from(labels);
        }
        (to, None)
    }

    fn mirrors(&mut self, http: &Value, at: &str) -> Result<Vec<Mirror>, Unsupported> {
        let percent = |v: &Value| v["value"].as_f64().map(Share::percent);
        let mut all = Vec::new();
        if let Some(to) = http.get("mirror") {
            let old = ["mirrorPercent", "mirror_percent"]
                .iter()
                .find_map(|k| http[*k].as_f64());
            let share = percent(&http["mirrorPercentage"]).or(old.map(Share::percent));
            all.push((to, share.unwrap_or(Share::ALL), format!("{at}.mirror")));
        }
        for (i, mirror) in items(http.get("mirrors")).enumerate() {
            let share = percent(&mirror["percentage"]).unwrap_or(Share::ALL);
            all.push((&mirror["destination"], share, format!("{at}.mirrors[{i}]")));
        }
        let read = all.into_iter().map(|(to, share, at)| {
            let (to, broken) = self.destination(to, &at);
            Ok(Mirror {
                to,
                share,
                marked: true,
                broken,
                grpc: false,
            })
        });
        read.collect()
    }
}

/// A text as Istio compares it.
pub(super) fn string_match(value: &Value, at: &str, lower: bool) -> Result<Text, Unsupported> {
    only(value, at, &["exact", "prefix", "regex"])?;
    let text = |k: &str| {
        let text = value[k].as_str();
        text.map(|t| {
            if lower {
                t.to_ascii_lowercase()
            } else {
                t.to_owned()
            }
        })
    };
    if let Some(exact) = text("exact") {
        return Ok(Text::Exact(exact));
    }
    if let Some(prefix) = text("prefix") {
        return Ok(Text::Prefix(prefix));
    }
    match value["regex"].as_str() {
        // Everything matches, even nothing, so it asks for presence alone.
        Some("*" | ".*") | None => Ok(Text::Present),
        Some(pattern) => Text::expression(pattern, at),
    }
}

fn read_match(value: &Value, at: &str) -> Result<Match, Unsupported> {
    only(
        value,
        at,
        &[
            "name",
            "uri",
            "scheme",
            "method",
            "authority",
            "headers",
            "withoutHeaders",
            "queryParams",
            "port",
            "ignoreUriCase",
            "gateways",
            "statPrefix",
        ],
    )?;
    if items(value.get("gateways")).any(|g| g != "mesh") {
        let what = "a match at a gateway: only `mesh` is served here";
        return Err(Unsupported::new(format!("{at}.gateways"), what));
    }
    let ignore_case = value["ignoreUriCase"].as_bool().unwrap_or_default();
    let one = |name: &str| match value.get(name) {
        Some(wanted) => string_match(wanted, &format!("{at}.{name}"), false).map(Some),
        None => Ok(None),
    };
    let path = match value.get("uri") {
        None => None,
        Some(uri) => Some(
            match string_match(uri, &format!("{at}.uri"), ignore_case)? {
                Text::Exact(text) => PathMatch::Exact(text),
                Text::Prefix(text) => PathMatch::Prefix(text),
                Text::Expression(pattern) => PathMatch::Expression(pattern),
                Text::Present => PathMatch::Prefix("/".to_owned()),
            },
        ),
    };
    let many = |name: &str| {
        let map = value[name].as_object().into_iter().flatten();
        map.map(|(key, wanted)| {
            let field = format!("{at}.{name}[{key}]");
            Ok((key.clone(), string_match(wanted, &field, false)?))
        })
        .collect::<Result<Vec<_>, Unsupported>>()
    };
    Ok(Match {
        path,
        ignore_case,
        method: one("method")?,
        scheme: one("scheme")?,
        authority: one("authority")?,
        headers: many("headers")?,
        without: many("withoutHeaders")?,
        query: many("queryParams")?,
        port: value["port"].as_u64().and_then(|p| u16::try_from(p).ok()),
        grpc: None,
    })
}

fn header_changes(of: &Value, at: &str) -> Result<Filters, Unsupported> {
    let change = |side: &str| {
        let at = format!("{at}.headers.{side}");
        let change = &of["headers"][side];
        only(change, &at, &["set", "add", "remove"])?;
        let pairs = |field: &str| {
            let map = change[field].as_object().into_iter().flatten();
            map.map(|(name, value)| header(name, value.as_str().unwrap_or_default(), &at))
                .collect::<Result<Vec<_>, _>>()
        };
        let removed = items(change.get("remove")).filter_map(Value::as_str);
        Ok(HeaderChange {
            set: pairs("set")?,
            add: pairs("add")?,
            remove: removed
                .map(|name| header(name, "", &at).map(|(name, _)| name))
                .collect::<Result<_, _>>()?,
        })
    };
    Ok(Filters {
        request: change("request")?,
        response: change("response")?,
        ..Filters::default()
    })
}

pub(super) fn duration(value: &Value, at: &str) -> Result<Option<Duration>, Unsupported> {
    let Some(text) = value.as_str() else {
        return Ok(None);
    };
    weir_gocompat::parse_duration(text)
        .map(Some)
        .map_err(|e| Unsupported::new(at, e.to_string()))
}

pub(super) fn status(value: &Value, at: &str) -> Result<StatusCode, Unsupported> {
    let code = value.as_u64().and_then(|c| u16::try_from(c).ok());
    code.and_then(|c| StatusCode::from_u16(c).ok())
        .filter(|s| s.as_u16() >= 200)
        .ok_or_else(|| Unsupported::new(at, format!("the status {value}")))
}

fn by_expression(value: &Value, at: &str) -> Result<PathChange, Unsupported> {
    let at = format!("{at}.uriRegexRewrite");
    let pattern = value["match"].as_str().unwrap_or_default();
    let pattern = GoRegex::parse(pattern)
        .map_err(|e| Unsupported::new(&at, format!("the expression `{pattern}`: {e}")))?;
    // Groups are written `\1` there and `${1}` here.
    let mut to = String::new();
    let mut chars = value["rewrite"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                chars.next();
                to.extend(['$', '{', digit, '}']);
            }
            ('\\', Some('\\')) => {
                chars.next();
                to.push('\\');
            }
            ('$', _) => to.push_str("$$"),
            (c, _) => to.push(c),
        }
    }
    Ok(PathChange::Expression(pattern, to))
}

fn redirect(value: &Value, at: &str) -> Result<Redirect, Unsupported> {
    only(
        value,
        at,
        &[
            "uri",
            "authority",
            "port",
            "derivePort",
            "scheme",
            "redirectCode",
            "uriRegexRewrite",
        ],
    )?;
    let port = value["port"].as_u64().and_then(|p| u16::try_from(p).ok());
    let port = match (port, value["derivePort"].as_str()) {
        (Some(port), _) => RedirectPort::Given(port),
        (None, Some("FROM_REQUEST_PORT")) => RedirectPort::OfRequest,
        (None, Some("FROM_PROTOCOL_DEFAULT")) => RedirectPort::OfScheme,
        (None, _) if value.get("scheme").is_some() => RedirectPort::Derived,
        (None, _) => RedirectPort::OfRequest,
    };
    let code = value.get("redirectCode");
    Ok(Redirect {
        scheme: value["scheme"].as_str().map(str::to_owned),
        host: value["authority"].as_str().map(str::to_owned),
        port,
        path: match value.get("uriRegexRewrite") {
            Some(expression) => Some(by_expression(expression, at)?),
            None => value["uri"]
                .as_str()
                .map(|to| PathChange::Full(to.to_owned())),
        },
        status: match code {
            Some(code) => status(code, &format!("{at}.redirectCode"))?,
            None => StatusCode::MOVED_PERMANENTLY,
        },
    })
}

fn direct(value: &Value, at: &str) -> Result<Action, Unsupported> {
    only(value, at, &["status", "body"])?;
    let body = &value["body"];
    let text = match body["bytes"].as_str() {
        Some(bytes) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(bytes);
            let bad = || Unsupported::new(format!("{at}.body.bytes"), "bytes that are not text");
            let decoded = decoded.map_err(|_| bad())?;
            String::from_utf8(decoded).map_err(|_| bad())?
        }
        None => body["string"].as_str().unwrap_or_default().to_owned(),
    };
    Ok(Action::Answer(
        status(&value["status"], &format!("{at}.status"))?,
        text,
    ))
}
