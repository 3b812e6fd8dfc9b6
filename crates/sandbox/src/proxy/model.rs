//! Owns the one form of routing that HTTPRoute, GRPCRoute and VirtualService are read into. It
//! knows no kind's fields and no traffic: reading is in `read_*`, forwarding in `forward`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::matching::{Match, Text};

/// What kind of object a route was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    /// HTTPRoute.
    #[default]
    Http,
    /// GRPCRoute.
    Grpc,
    /// VirtualService.
    Virtual,
    /// No object: a service of the mesh as it is.
    Plain,
}

impl RouteKind {
    /// The kind's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Virtual => "VirtualService",
            Self::Plain => "Service",
        }
    }
}

/// One route, ready to be asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub(crate) kind: RouteKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// When the object was made: of equals the oldest wins.
    pub(crate) created: String,
    /// Host names in lower case; empty means all.
    pub(crate) hostnames: Vec<String>,
    /// Rules in their order.
    pub(crate) rules: Vec<Rule>,
}

impl Route {
    /// The name in metrics, and that of the state kept for it.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What decides between routes that match equally well: age, then name.
    pub(crate) fn seniority(&self) -> (&str, &str, &str) {
        (&self.created, &self.namespace, &self.name)
    }
}

/// One rule of a route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    /// Any of these; empty means all requests.
    pub(crate) matches: Vec<Match>,
    pub(crate) action: Action,
    pub(crate) filters: Filters,
    pub(crate) cors: Option<Cors>,
    pub(crate) fault: Fault,
    pub(crate) retry: Retry,
    /// Until the answer is complete: the default, none, or this.
    pub(crate) timeout: Limit,
    /// Of each attempt, until its answer begins.
    pub(crate) attempt: Option<Duration>,
}

/// A bound of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Nothing was said.
    #[default]
    Default,
    /// Explicitly none.
    None,
    /// This.
    After(Duration),
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// It goes to one of these by weight.
    Forward(Vec<Backend>),
    /// It is sent elsewhere.
    Redirect(Redirect),
    /// It is answered here.
    Answer(http::StatusCode, String),
}

impl Default for Action {
    fn default() -> Self {
        Self::Forward(Vec::new())
    }
}

/// A port of a service, or of those of its pods that bear some labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) namespace: String,
    pub(crate) service: String,
    /// 0 means the port that the request came in at.
    pub(crate) port: u16,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Destination {
    /// The destination with a port, where it has none of its own.
    pub(crate) fn at(&self, port: u16) -> Self {
        let port = if self.port == 0 { port } else { self.port };
        Self {
            port,
            ..self.clone()
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)?;
        for (name, value) in &self.labels {
            write!(f, ",{name}={value}")?;
        }
        Ok(())
    }
}

/// One backend of a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backend {
    pub(crate) to: Destination,
    /// Weight, relative to the sum of the rule's weights.
    pub(crate) weight: u32,
    pub(crate) filters: Filters,
    /// Why it cannot be used: its share of the requests is answered with 500.
    pub(crate) broken: Option<String>,
    /// gRPC, whatever the port says.
    pub(crate) grpc: bool,
}

/// What is done to requests and answers on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) request: HeaderChange,
    pub(crate) response: HeaderChange,
    pub(crate) rewrite: Rewrite,
    pub(crate) mirrors: Vec<Mirror>,
}

/// Changes of headers, done in the order set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderChange {
    pub(crate) set: Vec<(http::HeaderName, http::HeaderValue)>,
    pub(crate) add: Vec<(http::HeaderName, http::HeaderValue)>,
    pub(crate) remove: Vec<http::HeaderName>,
}

/// A change of the request's target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewrite {
    pub(crate) host: Option<String>,
    pub(crate) path: Option<PathChange>,
}

/// A change of a path.
#[derive(Clone, Debug)]
pub(crate) enum PathChange {
    /// The whole path.
    Full(String),
    /// What the rule's match found, by path elements.
    Elements(String),
    /// What the rule's match found, as text; all of it where no prefix was matched.
    Prefix(String),
    /// Every match of the expression.
    Expression(weir_gocompat::GoRegex, String),
}

/// A copy of requests to a backend whose answers are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) to: Destination,
    /// How many of how many requests.
    pub(crate) share: Share,
    /// Whether the copy's host is marked, as Envoy does it.
    pub(crate) marked: bool,
    pub(crate) broken: Option<String>,
    pub(crate) grpc: bool,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) of: u32,
    pub(crate) hits: u32,
}

impl Share {
    /// Everything.
    pub(crate) const ALL: Self = Self { of: 1, hits: 1 };

    /// A percentage to the fourth decimal.
    pub(crate) fn percent(percent: f64) -> Self {
        let hits = (percent.clamp(0.0, 100.0) * 10_000.0).round();
        Self {
            of: 1_000_000,
            hits: hits as u32,
        }
    }
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirect {
    pub(crate) scheme: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: RedirectPort,
    pub(crate) path: Option<PathChange>,
    pub(crate) status: http::StatusCode,
}

/// The port a redirect names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RedirectPort {
    /// That of the scheme when one is given, else the port the request came in at.
    #[default]
    Derived,
    /// This.
    Given(u16),
    /// The scheme's own.
    OfScheme,
    /// The one in the request's host.
    OfRequest,
}

/// Who may read answers from other origins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cors {
    pub(crate) origins: Vec<Text>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) expose: Vec<String>,
    pub(crate) max_age: Option<u64>,
    pub(crate) credentials: bool,
    /// Whether a preflight from elsewhere is the backend's to answer.
    pub(crate) forward_unmatched: bool,
}

/// Faults put in by intent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault {
    pub(crate) delay: Option<(Duration, Share)>,
    pub(crate) abort: Option<(Abort, Share)>,
}

/// How a request is given up by intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    Http(http::StatusCode),
    Grpc(u32),
}

/// When and how often a request is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Attempts beside the first.
    pub(crate) attempts: u32,
    pub(crate) backoff: Option<Duration>,
    pub(crate) on: RetryOn,
}

/// What a request is sent again for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent words")]
pub(crate) struct RetryOn {
    /// No connection.
    pub(crate) connect: bool,
    /// The exchange broke off before an answer.
    pub(crate) reset: bool,
    /// No answer in time.
    pub(crate) timeout: bool,
    /// Any status of 500 and more.
    pub(crate) server: bool,
    /// These statuses.
    pub(crate) statuses: Vec<u16>,
    /// These gRPC statuses, where they come without a body.
    pub(crate) grpc: Vec<u32>,
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

impl Unsupported {
    pub(crate) fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            what: what.into(),
        }
    }
}
