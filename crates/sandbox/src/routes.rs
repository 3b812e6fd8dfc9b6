//! Owns the meaning of an HTTPRoute: which rule a request falls under, and which backend's turn it
//! is. Pure: objects in, choices out. It knows path, header, query and method matches, header
//! changes and weights; what else a rule asks for is told as unsupported, never passed over.

use serde_json::Value;
use weir_object::Object;

/// One route, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    /// `namespace/name`, for metrics.
    pub(crate) name: String,
    /// Host names; empty means all.
    pub(crate) hostnames: Vec<String>,
    /// Rules in their order.
    pub(crate) rules: Vec<Rule>,
}

/// One rule of a route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    matches: Vec<Match>,
    /// Headers set on the request.
    pub(crate) set_headers: Vec<(String, String)>,
    /// Headers removed from the request.
    pub(crate) remove_headers: Vec<String>,
    /// Backends with their weights, zero weights included.
    pub(crate) backends: Vec<Backend>,
}

/// One backend of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// Namespace of the service.
    pub(crate) namespace: String,
    /// Service.
    pub(crate) service: String,
    /// Port of the service.
    pub(crate) port: u16,
    /// Weight, relative to the sum of the rule's weights.
    pub(crate) weight: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Match {
    path: Option<(PathKind, String)>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathKind {
    Exact,
    Prefix,
}

/// Something that this data plane does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is not supported by this data plane: {what}")]
pub(crate) struct Unsupported {
    /// The field of the route.
    pub(crate) field: String,
    /// What was found there.
    pub(crate) what: String,
}

/// One request as far as matching looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Method.
    pub(crate) method: &'a str,
    /// Path without query.
    pub(crate) path: &'a str,
    /// Query.
    pub(crate) query: &'a str,
    /// Headers.
    pub(crate) headers: &'a http::HeaderMap,
}

impl Route {
    /// Reads an HTTPRoute.
    ///
    /// # Errors
    /// Names the first field that asks for what this data plane does not do.
    pub(crate) fn read(object: &Object) -> Result<Self, Unsupported> {
        let rules = items(object.get(&["spec", "rules"]))
            .enumerate()
            .map(|(i, rule)| Rule::read(rule, object.namespace(), &format!("spec.rules[{i}]")))
            .collect::<Result<_, _>>()?;
        let hostnames = items(object.get(&["spec", "hostnames"]));
        Ok(Self {
            name: object.key().to_string(),
            hostnames: hostnames
                .filter_map(Value::as_str)
                .map(str::to_ascii_lowercase)
                .collect(),
            rules,
        })
    }

    /// How well the route's host names fit: `None` not at all, more is better.
    pub(crate) fn fits(&self, host: &str) -> Option<usize> {
        if self.hostnames.is_empty() {
            return Some(0);
        }
        let host = host.to_ascii_lowercase();
        let fit = |name: &String| match name.strip_prefix("*.") {
            Some(suffix) => host
                .strip_suffix(suffix)
                .is_some_and(|head| head.ends_with('.') && head.len() > 1)
                .then_some(suffix.len()),
            None => (*name == host).then_some(usize::MAX),
        };
        self.hostnames.iter().filter_map(fit).max()
    }

    /// The rule for a request: the most specific match wins, then the first.
    pub(crate) fn rule(&self, asked: &Asked<'_>) -> Option<usize> {
        let fits = |(i, rule): (usize, &Rule)| rule.fits(asked).map(|fit| (fit, i));
        let all = self.rules.iter().enumerate().filter_map(fits);
        all.max_by(|(a, i), (b, j)| a.cmp(b).then(j.cmp(i)))
            .map(|(_, i)| i)
    }
}

impl Rule {
    fn read(rule: &Value, namespace: &str, at: &str) -> Result<Self, Unsupported> {
        let mut out = Self {
            matches: items(rule.get("matches"))
                .enumerate()
                .map(|(i, m)| Match::read(m, &format!("{at}.matches[{i}]")))
                .collect::<Result<_, _>>()?,
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            backends: Vec::new(),
        };
        for (i, filter) in items(rule.get("filters")).enumerate() {
            let kind = filter["type"].as_str().unwrap_or_default();
            if kind != "RequestHeaderModifier" {
                let field = format!("{at}.filters[{i}]");
                return Err(Unsupported {
                    field,
                    what: format!("a filter of type `{kind}`"),
                });
            }
            let change = &filter["requestHeaderModifier"];
            for pair in items(change.get("set")).chain(items(change.get("add"))) {
                let text = |k: &str| pair[k].as_str().unwrap_or_default().to_owned();
                out.set_headers.push((text("name"), text("value")));
            }
            let removed = items(change.get("remove")).filter_map(Value::as_str);
            out.remove_headers.extend(removed.map(str::to_owned));
        }
        for (i, backend) in items(rule.get("backendRefs")).enumerate() {
            let field = format!("{at}.backendRefs[{i}]");
            let kind = backend["kind"].as_str().unwrap_or("Service");
            if kind != "Service" || !backend["group"].as_str().unwrap_or_default().is_empty() {
                return Err(Unsupported {
                    field,
                    what: format!("a backend of kind `{kind}`"),
                });
            }
            let port = backend["port"].as_u64().and_then(|p| u16::try_from(p).ok());
            let Some(port) = port else {
                return Err(Unsupported {
                    field,
                    what: "a backend without a port".into(),
                });
            };
            let weight = backend["weight"].as_u64().unwrap_or(1);
            out.backends.push(Backend {
                namespace: backend["namespace"]
                    .as_str()
                    .unwrap_or(namespace)
                    .to_owned(),
                service: backend["name"].as_str().unwrap_or_default().to_owned(),
                port,
                weight: u32::try_from(weight).unwrap_or(u32::MAX),
            });
        }
        Ok(out)
    }

    /// How specific the rule's best match is: path kind and length, then headers, then query.
    fn fits(&self, asked: &Asked<'_>) -> Option<(usize, usize, usize, usize)> {
        if self.matches.is_empty() {
            return Some((1, 0, 0, 0));
        }
        self.matches.iter().filter_map(|m| m.fits(asked)).max()
    }
}

impl Match {
    fn read(value: &Value, at: &str) -> Result<Self, Unsupported> {
        let unsupported = |field: &str, what: &str| Unsupported {
            field: format!("{at}.{field}"),
            what: format!("a match of type `{what}`"),
        };
        let mut out = Self {
            method: value["method"].as_str().map(str::to_owned),
            ..Self::default()
        };
        if let Some(path) = value.get("path") {
            let text = path["value"].as_str().unwrap_or("/").to_owned();
            out.path = match path["type"].as_str().unwrap_or("PathPrefix") {
                "PathPrefix" => Some((PathKind::Prefix, text)),
                "Exact" => Some((PathKind::Exact, text)),
                other => return Err(unsupported("path", other)),
            };
        }
        for (field, into) in [
            ("headers", &mut out.headers),
            ("queryParams", &mut out.query),
        ] {
            for pair in items(value.get(field)) {
                let kind = pair["type"].as_str().unwrap_or("Exact");
                if kind != "Exact" {
                    return Err(unsupported(field, kind));
                }
                let text = |k: &str| pair[k].as_str().unwrap_or_default().to_owned();
                into.push((text("name"), text("value")));
            }
        }
        Ok(out)
    }

    fn fits(&self, asked: &Asked<'_>) -> Option<(usize, usize, usize, usize)> {
        let path = match &self.path {
            None => (1, 0),
            Some((PathKind::Exact, path)) => (path == asked.path).then_some((2, path.len()))?,
            Some((PathKind::Prefix, path)) => {
                let prefix = path.trim_end_matches('/');
                let rest = asked.path.strip_prefix(prefix)?;
                (rest.is_empty() || rest.starts_with('/')).then_some((1, prefix.len()))?
            }
        };
        if self.method.as_deref().is_some_and(|m| m != asked.method) {
            return None;
        }
        let header = |name: &str| asked.headers.get(name).and_then(|v| v.to_str().ok());
        if self
            .headers
            .iter()
            .any(|(name, value)| header(name) != Some(value))
        {
            return None;
        }
        let query = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(asked.query.as_bytes());
            pairs.find(|(k, _)| k == name).map(|(_, v)| v.into_owned())
        };
        if self
            .query
            .iter()
            .any(|(name, value)| query(name).as_ref() != Some(value))
        {
            return None;
        }
        Some((path.0, path.1, self.headers.len(), self.query.len()))
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// Whose turn it is, by smooth weighted round robin: over any run of requests each backend gets
/// its share as exactly as whole requests allow. (The method is the one nginx made known.)
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    credit: Vec<i64>,
    weights: Vec<u32>,
}

impl Turns {
    /// The index of the next backend; `None` when all weights are zero. A change of the weights
    /// starts anew.
    pub(crate) fn next(&mut self, backends: &[Backend]) -> Option<usize> {
        if !self
            .weights
            .iter()
            .copied()
            .eq(backends.iter().map(|b| b.weight))
        {
            self.weights = backends.iter().map(|b| b.weight).collect();
            self.credit = vec![0; backends.len()];
        }
        let total: i64 = self.weights.iter().map(|w| i64::from(*w)).sum();
        if total == 0 {
            return None;
        }
        for (credit, weight) in self.credit.iter_mut().zip(&self.weights) {
            *credit += i64::from(*weight);
        }
        let candidates = self
            .credit
            .iter()
            .enumerate()
            .filter(|(i, _)| self.weights[*i] > 0);
        let (best, _) = candidates.max_by(|(i, a), (j, b)| a.cmp(b).then(j.cmp(i)))?;
        self.credit[best] -= total;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn backend(service: &str, weight: u32) -> Backend {
        Backend {
            namespace: "n".into(),
            service: service.into(),
            port: 80,
            weight,
        }
    }

    #[test]
    fn shares_are_exact() {
        let backends = [backend("primary", 90), backend("canary", 10)];
        let mut turns = Turns::default();
        let canary = (0..1000)
            .filter(|_| turns.next(&backends) == Some(1))
            .count();
        assert_eq!(canary, 100);
        let off = [backend("primary", 100), backend("canary", 0)];
        assert!((0..100).all(|_| turns.next(&off) == Some(0)));
        assert_eq!(turns.next(&[backend("primary", 0)]), None);
        assert_eq!(turns.next(&[]), None);
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let object = Object(
            json!({"metadata": {"name": "r", "namespace": "n"}, "spec": {
            "hostnames": ["app.example.com", "*.wild.org"],
            "rules": [
                {"backendRefs": [{"name": "all", "port": 80}]},
                {"matches": [{"path": {"type": "PathPrefix", "value": "/api"}}], "backendRefs": []},
                {"matches": [{"path": {"type": "Exact", "value": "/api/x"}}]},
                {"matches": [{"path": {"value": "/api"}, "headers": [{"name": "X-Who", "value": "me"}]}]},
                {"matches": [{"queryParams": [{"name": "v", "value": "2"}]}]},
            ]}}),
        );
        let route = Route::read(&object).expect("supported");
        let headers = http::HeaderMap::new();
        let asked = |path, query| Asked {
            method: "GET",
            path,
            query,
            headers: &headers,
        };
        assert_eq!(route.rule(&asked("/", "")), Some(0));
        assert_eq!(route.rule(&asked("/apiary", "")), Some(0));
        assert_eq!(route.rule(&asked("/api/y", "")), Some(1));
        assert_eq!(route.rule(&asked("/api/x", "")), Some(2));
        assert_eq!(route.rule(&asked("/", "v=2")), Some(4));
        let mut with = http::HeaderMap::new();
        with.insert("x-who", http::HeaderValue::from_static("me"));
        let asked = Asked {
            headers: &with,
            ..asked("/api", "")
        };
        assert_eq!(route.rule(&asked), Some(3));
        assert_eq!(route.fits("APP.example.com"), Some(usize::MAX));
        assert!(route.fits("a.wild.org").is_some());
        assert_eq!(route.fits("wild.org"), None);
        assert_eq!(route.fits("other"), None);
    }

    #[test]
    fn what_is_not_done_is_told() {
        let rule = json!({"filters": [{"type": "RequestMirror"}]});
        let object = Object(json!({"metadata": {"name": "r"}, "spec": {"rules": [rule]}}));
        let told = Route::read(&object).map_err(|e| e.field);
        assert_eq!(told, Err("spec.rules[0].filters[0]".into()));
    }
}
