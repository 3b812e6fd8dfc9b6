//! Owns what HTTPRoute and GRPCRoute have in common when they are read: references to backends,
//! filters, header matches. What this data plane does not do is told with its field.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use weir_object::{Key, Object};

use super::matching::Text;
use super::model::{
    Backend, Cors, Destination, Filters, HeaderChange, Mirror, PathChange, Redirect, RedirectPort,
    Share, Unsupported,
};

/// A reference that leads nowhere: the route stays in force, and its share of requests gets 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// The reason as the Gateway API names it.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What references are looked up in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refs {
    pub(crate) services: BTreeMap<Key, Arc<Object>>,
    pub(crate) grants: Vec<Arc<Object>>,
}

/// One route's reading: where from, and what was unresolved so far.
pub(crate) struct Reading<'a> {
    pub(crate) refs: &'a Refs,
    pub(crate) kind: &'static str,
    pub(crate) namespace: &'a str,
    pub(crate) grpc: bool,
    pub(crate) unresolved: Vec<Unresolved>,
}

/// A filter list as read: what is done on the way, and what ends the way here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    pub(crate) filters: Filters,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) cors: Option<Cors>,
}

pub(crate) fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// Tells fields that are not known here.
pub(crate) fn only(value: &Value, at: &str, known: &[&str]) -> Result<(), Unsupported> {
    let map = value.as_object().into_iter().flatten();
    for (key, _) in map.filter(|(_, v)| !v.is_null()) {
        if !known.contains(&key.as_str()) {
            let field = format!("{at}.{key}");
            return Err(Unsupported::new(field, "a field that is not known here"));
        }
    }
    Ok(())
}

impl Refs {
    /// Whether some grant in `to` lets a kind of the Gateway API in `from` refer to a service.
    fn granted(&self, kind: &str, from: &str, to: &Key) -> bool {
        self.grants.iter().any(|grant| {
            let text = |v: &Value, k: &str| v[k].as_str().unwrap_or_default().to_owned();
            let comes = items(grant.get(&["spec", "from"])).any(|f| {
                text(f, "group") == "gateway.networking.k8s.io"
                    && text(f, "kind") == kind
                    && text(f, "namespace") == from
            });
            let goes = items(grant.get(&["spec", "to"])).any(|t| {
                let name = t["name"].as_str().filter(|n| !n.is_empty());
                text(t, "group").is_empty()
                    && text(t, "kind") == "Service"
                    && name.is_none_or(|n| n == to.name)
            });
            grant.namespace() == to.namespace && comes && goes
        })
    }

    /// Whether a service has a port.
    pub(crate) fn has_port(&self, service: &Key, port: u16) -> Option<bool> {
        let service = self.services.get(service)?;
        let ports = items(service.get(&["spec", "ports"]));
        Some(
            ports
                .into_iter()
                .any(|p| p["port"].as_u64() == Some(u64::from(port))),
        )
    }
}

impl Reading<'_> {
    /// The destination of a reference, and why it cannot be used.
    pub(crate) fn destination(
        &mut self,
        reference: &Value,
        field: &str,
    ) -> Result<(Destination, Option<String>), Unsupported> {
        let text = |k: &str| reference[k].as_str().unwrap_or_default();
        let kind = reference["kind"].as_str().unwrap_or("Service");
        let namespace = reference["namespace"].as_str().unwrap_or(self.namespace);
        let mut to = Destination {
            namespace: namespace.to_owned(),
            service: text("name").to_owned(),
            ..Destination::default()
        };
        let mut told = |reason, message: String| {
            self.unresolved.push(Unresolved {
                reason,
                message: format!("{field}: {message}"),
            });
            Some(message)
        };
        if kind != "Service" || !text("group").is_empty() {
            let what = format!("a backend of kind `{kind}` is not known here, only Service");
            return Ok((to, told("InvalidKind", what)));
        }
        let port = reference["port"]
            .as_u64()
            .and_then(|p| u16::try_from(p).ok());
        let Some(port) = port else {
            return Err(Unsupported::new(field, "a backend without a port"));
        };
        to.port = port;
        let key = Key::new(namespace, text("name"));
        if namespace != self.namespace && !self.refs.granted(self.kind, self.namespace, &key) {
            let what = format!(
                "no ReferenceGrant in `{namespace}` lets {}s of `{}` use service `{}`",
                self.kind, self.namespace, key.name
            );
            return Ok((to, told("RefNotPermitted", what)));
        }
        let problem = match self.refs.has_port(&key, port) {
            None => told("BackendNotFound", format!("there is no service `{key}`")),
            Some(false) => told(
                "BackendNotFound",
                format!("service `{key}` has no port {port}"),
            ),
            Some(true) => None,
        };
        Ok((to, problem))
    }

    /// The backends of a rule.
    pub(crate) fn backends(&mut self, rule: &Value, at: &str) -> Result<Vec<Backend>, Unsupported> {
        let mut out = Vec::new();
        for (i, reference) in items(rule.get("backendRefs")).enumerate() {
            let field = format!("{at}.backendRefs[{i}]");
            let (to, broken) = self.destination(reference, &field)?;
            let read = self.filters(reference, &field)?;
            if read.redirect.is_some() || read.cors.is_some() {
                let what = "a redirect or CORS of one backend alone";
                return Err(Unsupported::new(format!("{field}.filters"), what));
            }
            let weight = reference["weight"].as_u64().unwrap_or(1);
            out.push(Backend {
                to,
                weight: u32::try_from(weight).unwrap_or(u32::MAX),
                filters: read.filters,
                broken,
                grpc: self.grpc,
            });
        }
        Ok(out)
    }

    /// The filters of a rule or of a backend.
    pub(crate) fn filters(&mut self, of: &Value, at: &str) -> Result<Read, Unsupported> {
        let mut out = Read::default();
        for (i, filter) in items(of.get("filters")).enumerate() {
            let field = format!("{at}.filters[{i}]");
            let kind = filter["type"].as_str().unwrap_or_default();
            let twice = |there: bool| {
                let told = Unsupported::new(&field, format!("`{kind}` for the second time"));
                if there { Err(told) } else { Ok(()) }
            };
            match kind {
                "RequestHeaderModifier" => {
                    twice(out.filters.request != HeaderChange::default())?;
                    out.filters.request = header_change(&filter["requestHeaderModifier"], &field)?;
                }
                "ResponseHeaderModifier" => {
                    twice(out.filters.response != HeaderChange::default())?;
                    out.filters.response =
                        header_change(&filter["responseHeaderModifier"], &field)?;
                }
                "RequestMirror" => {
                    let mirror = self.mirror(&filter["requestMirror"], &field)?;
                    out.filters.mirrors.push(mirror);
                }
                "RequestRedirect" if !self.grpc => {
                    twice(out.redirect.is_some())?;
                    out.redirect = Some(redirect(&filter["requestRedirect"], &field)?);
                }
                "URLRewrite" if !self.grpc => {
                    let rewrite = &filter["urlRewrite"];
                    twice(
                        out.filters.rewrite.host.is_some() || out.filters.rewrite.path.is_some(),
                    )?;
                    out.filters.rewrite.host = rewrite["hostname"].as_str().map(str::to_owned);
                    out.filters.rewrite.path = path_change(rewrite, &field)?;
                }
                "CORS" if !self.grpc => {
                    twice(out.cors.is_some())?;
                    out.cors = Some(cors(&filter["cors"], &field)?);
                }
                other => {
                    let what = format!("a filter of type `{other}`");
                    return Err(Unsupported::new(field, what));
                }
            }
        }
        if out.redirect.is_some()
            && (out.filters.rewrite.path.is_some() || out.filters.rewrite.host.is_some())
        {
            let what = "a redirect together with a rewrite";
            return Err(Unsupported::new(format!("{at}.filters"), what));
        }
        Ok(out)
    }

    fn mirror(&mut self, mirror: &Value, at: &str) -> Result<Mirror, Unsupported> {
        let field = format!("{at}.requestMirror.backendRef");
        let (to, broken) = self.destination(&mirror["backendRef"], &field)?;
        let number = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let share = match (number(&mirror["percent"]), mirror.get("fraction")) {
            (Some(percent), _) => Share {
                of: 100,
                hits: percent,
            },
            (None, Some(fraction)) => Share {
                of: number(&fraction["denominator"]).unwrap_or(100),
                hits: number(&fraction["numerator"]).unwrap_or_default(),
            },
            (None, None) => Share::ALL,
        };
        Ok(Mirror {
            to,
            share,
            marked: false,
            broken,
            grpc: self.grpc,
        })
    }
}

/// A header's name and value.
pub(crate) fn header(
    name: &str,
    value: &str,
    at: &str,
) -> Result<(HeaderName, HeaderValue), Unsupported> {
    let bad = |e: &dyn std::fmt::Display| Unsupported::new(at, format!("header `{name}`: {e}"));
    Ok((
        HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?,
        HeaderValue::from_bytes(value.as_bytes()).map_err(|e| bad(&e))?,
    ))
}

fn header_change(change: &Value, at: &str) -> Result<HeaderChange, Unsupported> {
    let pairs = |field: &str| {
        items(change.get(field))
            .map(|pair| {
                let text = |k: &str| pair[k].as_str().unwrap_or_default();
                header(text("name"), text("value"), at)
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let removed = items(change.get("remove")).filter_map(Value::as_str);
    Ok(HeaderChange {
        set: pairs("set")?,
        add: pairs("add")?,
        remove: removed
            .map(|name| header(name, "", at).map(|(name, _)| name))
            .collect::<Result<_, _>>()?,
    })
}

fn path_change(of: &Value, at: &str) -> Result<Option<PathChange>, Unsupported> {
    let Some(path) = of.get("path") else {
        return Ok(None);
    };
    let text = |k: &str| path[k].as_str().unwrap_or_default().to_owned();
    match path["type"].as_str().unwrap_or_default() {
        "ReplaceFullPath" => Ok(Some(PathChange::Full(text("replaceFullPath")))),
        "ReplacePrefixMatch" => Ok(Some(PathChange::Elements(text("replacePrefixMatch")))),
        other => {
            let what = format!("a path change of type `{other}`");
            Err(Unsupported::new(format!("{at}.path"), what))
        }
    }
}

fn redirect(redirect: &Value, at: &str) -> Result<Redirect, Unsupported> {
    let status = redirect["statusCode"].as_u64().unwrap_or(302);
    let known = u16::try_from(status)
        .ok()
        .filter(|s| (300..400).contains(s));
    let status = known.and_then(|s| StatusCode::from_u16(s).ok());
    let status = status.ok_or_else(|| Unsupported::new(at, "a status that is no redirect's"))?;
    let port = redirect["port"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok());
    Ok(Redirect {
        scheme: redirect["scheme"].as_str().map(str::to_owned),
        host: redirect["hostname"].as_str().map(str::to_owned),
        port: port.map_or(RedirectPort::Derived, RedirectPort::Given),
        path: path_change(redirect, at)?,
        status,
    })
}

fn cors(cors: &Value, at: &str) -> Result<Cors, Unsupported> {
    let texts = |k: &str| -> Vec<String> {
        let all = items(cors.get(k)).filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    };
    let origins = texts("allowOrigins");
    let origins = origins.iter().map(|origin| match origin.as_str() {
        "*" => Ok(Text::Present),
        wild if wild.contains('*') => {
            let parts: Vec<String> = wild.split('*').map(quoted).collect();
            Text::expression(&parts.join("[^/:]+"), at)
        }
        exact => Ok(Text::Exact(exact.to_owned())),
    });
    Ok(Cors {
        origins: origins.collect::<Result<_, _>>()?,
        methods: texts("allowMethods"),
        headers: texts("allowHeaders"),
        expose: texts("exposeHeaders"),
        max_age: cors["maxAge"].as_u64(),
        credentials: cors["allowCredentials"].as_bool().unwrap_or_default(),
        forward_unmatched: false,
    })
}

/// A text as an expression that matches it alone.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Matches of names and values: exact, or by expression.
pub(crate) fn named_matches(
    of: &Value,
    list: &str,
    at: &str,
) -> Result<Vec<(String, Text)>, Unsupported> {
    let mut out: Vec<(String, Text)> = Vec::new();
    for (i, wanted) in items(of.get(list)).enumerate() {
        let field = format!("{at}.{list}[{i}]");
        let text = |k: &str| wanted[k].as_str().unwrap_or_default().to_owned();
        let value = match wanted["type"].as_str().unwrap_or("Exact") {
            "Exact" => Text::Exact(text("value")),
            "RegularExpression" => Text::expression(&text("value"), &field)?,
            other => {
                return Err(Unsupported::new(
                    field,
                    format!("a match of type `{other}`"),
                ));
            }
        };
        let same = |name: &str| name.eq_ignore_ascii_case(&text("name"));
        // Of entries with the same header name only the first counts.
        if list != "headers" || !out.iter().any(|(name, _)| same(name)) {
            out.push((text("name"), value));
        }
    }
    Ok(out)
}
