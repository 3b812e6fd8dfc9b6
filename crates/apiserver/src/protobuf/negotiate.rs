//! Owns the choice of an answer's form from what a client accepts, in the order of its wishes.
//! It refuses forms that the path does not have, with the words of the real server.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use serde_json::Value;

use super::translate;
use crate::body::ApiBody;
use crate::refusal::Refusal;
use crate::request;
use crate::server::ApiServer;

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Yaml,
    Protobuf,
}

const FORMS: [(&str, Form); 3] = [
    ("json", Form::Json),
    ("yaml", Form::Yaml),
    ("vnd.kubernetes.protobuf", Form::Protobuf),
];

/// One request and how its answer is to be written.
pub(crate) struct Exchange<'a> {
    head: Cow<'a, Parts>,
    form: Form,
    /// How a refusal is written: as objects are, but for what only objects can become.
    refusals: Form,
    refusal: Option<Refusal>,
    watches: bool,
}

/// What a path holds, as far as forms go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Neither objects nor lists of resources.
    Elsewhere,
    /// Lists of groups and resources.
    Discovery,
    BuiltIn,
    Custom,
}

impl<'a> Exchange<'a> {
    /// Chooses a form. The request goes on as one for JSON.
    pub(crate) fn open(server: &ApiServer, head: &'a Parts) -> Self {
        let mut out = Self {
            head: Cow::Borrowed(head),
            form: Form::Json,
            refusals: Form::Json,
            refusal: None,
            watches: false,
        };
        let place = place(server, head);
        let accept = head.headers.get(header::ACCEPT);
        let accept = accept.and_then(|v| v.to_str().ok()).map(str::trim);
        let Some(accept) = accept.filter(|a| !a.is_empty() && place != Place::Elsewhere) else {
            return out;
        };
        let watches = head.method == Method::GET
            && request::query(head.uri.query().unwrap_or_default(), request::Verb::Read)
                .is_ok_and(|q| q.watch);
        out.watches = watches;
        let clauses = clauses(accept);
        let choose = |place: Place, watches: bool| {
            clauses.iter().find_map(|clause| {
                let (_, form) = FORMS.iter().find(|(name, form)| {
                    clause.covers(name) && clause.allows(place, *form, watches)
                })?;
                Some((clause, *form))
            })
        };
        let refusals = choose(Place::Discovery, false);
        out.refusals = refusals.map_or(Form::Json, |(_, form)| form);
        // The layer of the server's own kinds looks for whole names before anything else does.
        let named = accept.split(',').any(|range| {
            let media = range.split(';').next().unwrap_or_default().trim();
            let sub = media.strip_prefix("application/");
            media == "*/*" || sub.is_some_and(|sub| FORMS.iter().any(|(name, _)| *name == sub))
        });
        if place == Place::BuiltIn && !named {
            let message = nothing_named(lists(head));
            out.refusal = Some(Refusal::NotAcceptable { message });
            return out;
        }
        let Some((clause, form)) = choose(place, watches) else {
            // Clients of lists of resources ask for newer forms and may ask for nothing else.
            if place != Place::Discovery {
                let message = message(watches);
                out.refusal = Some(Refusal::NotAcceptable { message });
            }
            return out;
        };
        let mut accept = "application/json".to_owned();
        for (name, value) in &clause.parameters {
            for part in [";", name, "=", value] {
                accept.push_str(part);
            }
        }
        if let Ok(value) = HeaderValue::from_str(&accept) {
            let mut head = head.clone();
            head.headers.insert(header::ACCEPT, value);
            out.head = Cow::Owned(head);
        }
        out.form = form;
        out
    }

    /// The request for JSON, or why it has no answer in any form that is accepted.
    pub(crate) fn head(&self) -> Result<&Parts, Refusal> {
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(&self.head),
        }
    }

    /// The answer in the chosen form.
    pub(crate) fn close(&self, response: Response<ApiBody>) -> Response<ApiBody> {
        let good = response.status().as_u16() < 400;
        let form = if good { self.form } else { self.refusals };
        match form {
            Form::Json => response,
            Form::Protobuf => translate(response, good && self.watches),
            Form::Yaml => yaml(response),
        }
    }
}

fn place(server: &ApiServer, head: &Parts) -> Place {
    let Some(segments) = request::segments(head.uri.path()) else {
        return Place::Elsewhere;
    };
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["api" | "apis"] | ["api" | "apis", _] | ["apis", _, _] => return Place::Discovery,
        ["api" | "apis", ..] => {}
        _ => return Place::Elsewhere,
    }
    let Some(target) = request::target(&segments) else {
        return Place::Elsewhere;
    };
    // Answers of programs inside pods have their own forms.
    if matches!(
        target.sub.as_deref(),
        Some("log" | "exec" | "attach" | "portforward" | "proxy")
    ) {
        return Place::Elsewhere;
    }
    let state = server.0.read();
    let resource = state
        .registry
        .get(&target.group, &target.version, &target.plural);
    match resource {
        Some(resource) if resource.custom.is_some() => Place::Custom,
        _ => Place::BuiltIn,
    }
}

/// A range of media types with its parameters.
struct Clause {
    kind: String,
    sub: String,
    parameters: Vec<(String, String)>,
    quality: f64,
}

/// The clauses in the order of preference.
fn clauses(accept: &str) -> Vec<Clause> {
    let mut out: Vec<Clause> = accept.split(',').filter_map(clause).collect();
    out.sort_by(|a, b| {
        let wide = |c: &Clause| (c.kind == "*", c.sub == "*");
        b.quality
            .total_cmp(&a.quality)
            .then_with(|| wide(a).cmp(&wide(b)))
    });
    out
}

fn clause(text: &str) -> Option<Clause> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, sub) = match parts.next()? {
        "*" => ("*", "*"),
        media => media.split_once('/')?,
    };
    let (mut parameters, mut quality) = (Vec::new(), 1.0);
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name == "q" {
            quality = value.parse().unwrap_or(1.0);
        } else {
            parameters.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    Some(Clause {
        kind: kind.trim().to_owned(),
        sub: sub.trim().to_owned(),
        parameters,
        quality,
    })
}

impl Clause {
    fn covers(&self, sub: &str) -> bool {
        match (self.kind.as_str(), self.sub.as_str()) {
            ("*" | "application", "*") => true,
            ("application", own) => own == sub,
            _ => false,
        }
    }

    fn parameter(&self, name: &str) -> &str {
        self.parameters
            .iter()
            .find(|(own, _)| own == name)
            .map_or("", |(_, value)| value.as_str())
    }

    fn allows(&self, place: Place, form: Form, watches: bool) -> bool {
        // A stream of documents has no form in YAML.
        if watches && form == Form::Yaml {
            return false;
        }
        if !matches!(self.parameter("stream"), "" | "watch") || !self.parameter("sv").is_empty() {
            return false;
        }
        let converted = (
            self.parameter("g"),
            self.parameter("v"),
            self.parameter("as"),
        );
        match (place, converted) {
            (Place::Custom, ("", "", "")) => form != Form::Protobuf,
            (
                Place::Discovery,
                ("apidiscovery.k8s.io", "v2" | "v2beta1", "APIGroupDiscoveryList"),
            ) => form == Form::Json,
            (Place::Custom | Place::BuiltIn, ("meta.k8s.io", "v1" | "v1beta1", "Table")) => {
                form != Form::Protobuf
            }
            (Place::BuiltIn | Place::Discovery, ("", "", ""))
            | (
                Place::Custom | Place::BuiltIn,
                (
                    "meta.k8s.io",
                    "v1" | "v1beta1",
                    "PartialObjectMetadata" | "PartialObjectMetadataList",
                ),
            ) => true,
            _ => false,
        }
    }
}

/// Whether a request reads a collection.
fn lists(head: &Parts) -> bool {
    let target = request::segments(head.uri.path()).and_then(|s| request::target(&s));
    head.method == Method::GET && target.is_some_and(|t| t.name.is_none())
}

/// What there is where nothing that is accepted is named.
fn nothing_named(lists: bool) -> String {
    let streams = if lists {
        ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    } else {
        ""
    };
    format!(
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf{streams}"
    )
}

/// What there would be.
fn message(watches: bool) -> String {
    let forms = if watches {
        "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    } else {
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    };
    format!("only the following media types are accepted: {forms}")
}

/// The answer in YAML.
fn yaml(response: Response<ApiBody>) -> Response<ApiBody> {
    let (mut head, body) = response.into_parts();
    let bytes = body.gathered();
    let Some(text) = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .map(|value| weir_yaml::to_string(&value))
    else {
        return Response::from_parts(head, ApiBody::whole(bytes));
    };
    head.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/yaml"),
    );
    Response::from_parts(head, ApiBody::whole(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_heard_in_their_order() {
        let order =
            |text: &str| -> Vec<String> { clauses(text).into_iter().map(|c| c.sub).collect() };
        assert_eq!(
            order("*/*, application/json;q=0.5, application/yaml"),
            ["yaml", "*", "json"]
        );
        assert_eq!(order("nonsense,, application/json"), ["json"]);
    }

    #[test]
    fn tables_and_custom_kinds_have_no_protocol_buffers() {
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1";
        let [clause] = clauses(table).try_into().ok().expect("one clause");
        assert!(!clause.allows(Place::BuiltIn, Form::Protobuf, false));
        assert!(clause.allows(Place::BuiltIn, Form::Json, false));
        let [clause] = clauses("*/*").try_into().ok().expect("one clause");
        assert!(!clause.allows(Place::Custom, Form::Protobuf, false));
        assert!(clause.allows(Place::BuiltIn, Form::Protobuf, false));
        assert!(!clause.allows(Place::BuiltIn, Form::Yaml, true));
    }
}
