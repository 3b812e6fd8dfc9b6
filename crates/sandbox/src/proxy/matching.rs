//! Owns which rule a request falls under. Pure: no counters, no network. Expressions are Go's
//! (RE2) and always of the whole text.

use http::HeaderMap;
use weir_gocompat::GoRegex;

use super::model::{Route, RouteKind, Rule, Unsupported};

/// The longest expression read.
const EXPRESSION: usize = 4096;

/// How a text is compared.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Exact(String),
    Prefix(String),
    Expression(GoRegex),
    /// Anything, as long as it is there.
    Present,
}

impl Text {
    /// An expression of the whole text.
    pub(crate) fn expression(pattern: &str, field: &str) -> Result<Self, Unsupported> {
        expression(pattern, field).map(Self::Expression)
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Prefix(wanted) => text.starts_with(wanted.as_str()),
            Self::Expression(pattern) => pattern.is_match(text),
            Self::Present => true,
        }
    }
}

/// Reads an expression of the whole text.
pub(crate) fn expression(pattern: &str, field: &str) -> Result<GoRegex, Unsupported> {
    if pattern.len() > EXPRESSION {
        let what = format!("an expression of more than {EXPRESSION} bytes");
        return Err(Unsupported::new(field, what));
    }
    GoRegex::parse(&format!("^(?:{pattern})$"))
        .map_err(|e| Unsupported::new(field, format!("the expression `{pattern}`: {e}")))
}

/// How a path is compared.
#[derive(Clone, Debug)]
pub(crate) enum PathMatch {
    Exact(String),
    /// A prefix of whole path elements, as the Gateway API means it.
    Elements(String),
    /// A prefix of text, as Istio means it.
    Prefix(String),
    Expression(GoRegex),
}

/// One way for a request to fall under a rule: all of it must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Match {
    pub(crate) path: Option<PathMatch>,
    pub(crate) ignore_case: bool,
    pub(crate) method: Option<Text>,
    pub(crate) scheme: Option<Text>,
    pub(crate) authority: Option<Text>,
    pub(crate) headers: Vec<(String, Text)>,
    pub(crate) without: Vec<(String, Text)>,
    pub(crate) query: Vec<(String, Text)>,
    pub(crate) port: Option<u16>,
    /// For gRPC: characters of the service and of the method that were given.
    pub(crate) grpc: Option<(usize, usize)>,
}

/// One request as far as matching looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Host as given, without a port.
    pub(crate) host: &'a str,
    /// Path without query.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// The port it came in at.
    pub(crate) port: u16,
}

/// How specific a match is; more is better. By the Gateway API: the kind of path, its length, a
/// method, headers, query parameters; for gRPC: service, method, then headers.
type Rank = [usize; 5];

/// How well a host name fits: characters without a wildcard, then all.
pub(crate) type HostFit = (usize, usize);

/// How well a pattern of host names fits a host.
pub(crate) fn host_fit(pattern: &str, host: &str) -> Option<HostFit> {
    match pattern.strip_prefix('*') {
        // `*.example.com` takes any number of labels, but at least one.
        Some(suffix) => {
            let head = host.len().checked_sub(suffix.len())?;
            let tail = host.get(head..)?;
            (head > 0 && tail.eq_ignore_ascii_case(suffix)).then_some((0, pattern.len()))
        }
        None => pattern
            .eq_ignore_ascii_case(host)
            .then_some((pattern.len(), pattern.len())),
    }
}

/// The rule of a request, and which of its matches it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) rule: usize,
    /// `None` where the rule has no matches.
    pub(crate) found: Option<usize>,
}

impl Route {
    /// How well the route's host names fit: `None` not at all, more is better.
    pub(crate) fn fits(&self, host: &str) -> Option<HostFit> {
        if self.hostnames.is_empty() {
            return Some((0, 0));
        }
        let fits = self
            .hostnames
            .iter()
            .filter_map(|name| host_fit(name, host));
        fits.max()
    }

    /// The best rule for a request. In a VirtualService the first that matches is the best.
    fn rule(&self, asked: &Asked<'_>) -> Option<(Rank, Chosen)> {
        let mut best: Option<(Rank, Chosen)> = None;
        for (index, rule) in self.rules.iter().enumerate() {
            let Some((rank, found)) = rule.fits(asked) else {
                continue;
            };
            let chosen = Chosen { rule: index, found };
            if self.kind == RouteKind::Virtual {
                return Some((rank, chosen));
            }
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, chosen));
            }
        }
        best
    }
}

/// The route and rule of a request: the most specific host name, then the most specific match,
/// then the oldest route, then the first by name.
pub(crate) fn choose<'r, R: AsRef<Route>>(
    routes: &'r [R],
    asked: &Asked<'_>,
) -> Option<(&'r R, Chosen)> {
    let mut best: Option<(HostFit, Rank, &'r R, Chosen)> = None;
    for candidate in routes {
        let route = candidate.as_ref();
        let Some(fit) = route.fits(asked.host) else {
            continue;
        };
        let Some((rank, chosen)) = route.rule(asked) else {
            continue;
        };
        let better = best
            .as_ref()
            .is_none_or(|(other_fit, other_rank, other, _)| {
                let seniority = || other.as_ref().seniority().cmp(&route.seniority());
                (fit, rank)
                    .cmp(&(*other_fit, *other_rank))
                    .then_with(seniority)
                    .is_gt()
            });
        if better {
            best = Some((fit, rank, candidate, chosen));
        }
    }
    best.map(|(_, _, route, chosen)| (route, chosen))
}

impl Rule {
    fn fits(&self, asked: &Asked<'_>) -> Option<(Rank, Option<usize>)> {
        if self.matches.is_empty() {
            // As a prefix match of `/`.
            return Some(([1, 1, 0, 0, 0], None));
        }
        let all = self.matches.iter().enumerate();
        let fitting = all.filter_map(|(i, m)| Some((m.fits(asked)?, i)));
        fitting
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(rank, i)| (rank, Some(i)))
    }
}

impl Match {
    fn fits(&self, asked: &Asked<'_>) -> Option<Rank> {
        let (kind, length) = self.path_fits(asked.path)?;
        let fits = |wanted: &Option<Text>, is: &str| wanted.as_ref().is_none_or(|w| w.fits(is));
        if !fits(&self.method, asked.method)
            || !fits(&self.scheme, "http")
            || !fits(&self.authority, asked.host)
            || self.port.is_some_and(|port| port != asked.port)
        {
            return None;
        }
        let header = |name: &str| joined(asked.headers, name);
        let has = |(name, wanted): &(String, Text)| header(name).is_some_and(|v| wanted.fits(&v));
        if !self.headers.iter().all(has) || self.without.iter().any(has) {
            return None;
        }
        let parameter = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(asked.query.as_bytes());
            pairs.find(|(k, _)| k == name).map(|(_, v)| v)
        };
        let has =
            |(name, wanted): &(String, Text)| parameter(name).is_some_and(|v| wanted.fits(&v));
        if !self.query.iter().all(has) {
            return None;
        }
        Some(match self.grpc {
            Some((service, method)) => [service, method, 0, self.headers.len(), 0],
            None => [
                kind,
                length,
                usize::from(self.method.is_some()),
                self.headers.len(),
                self.query.len(),
            ],
        })
    }

    /// How specific the path is, where it fits.
    fn path_fits(&self, path: &str) -> Option<(usize, usize)> {
        let lower;
        let path = if self.ignore_case {
            lower = path.to_ascii_lowercase();
            &lower
        } else {
            path
        };
        match &self.path {
            None => Some((1, 1)),
            Some(PathMatch::Exact(wanted)) => (wanted == path).then_some((3, wanted.len())),
            Some(PathMatch::Expression(pattern)) => pattern
                .is_match(path)
                .then_some((2, pattern.as_str().len())),
            Some(PathMatch::Prefix(wanted)) => path
                .starts_with(wanted.as_str())
                .then_some((1, wanted.len())),
            Some(PathMatch::Elements(wanted)) => {
                let prefix = wanted.trim_end_matches('/');
                let rest = path.strip_prefix(prefix)?;
                (rest.is_empty() || rest.starts_with('/')).then_some((1, wanted.len()))
            }
        }
    }

    /// The part of the path that a prefix change replaces.
    pub(crate) fn prefix(&self) -> Option<&str> {
        match &self.path {
            Some(PathMatch::Elements(text) | PathMatch::Prefix(text)) => Some(text),
            _ => None,
        }
    }
}

/// A header's values as one text.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let mut out = text(values.next()?);
    for more in values {
        out.push(',');
        out.push_str(&text(more));
    }
    Some(out)
}
