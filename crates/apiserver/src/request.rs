//! Owns reading a request: its path, query, accepted form and body. It refuses to serve it.

use serde_json::Value;
use weir_object::path;

use crate::call::{DeleteOptions, Propagation, Validation};
use crate::refusal::Refusal;
use crate::selector::Selector;

/// Bodies may not be larger.
pub(crate) const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What a path under `/api` or `/apis` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) sub: Option<String>,
    /// The path itself asks for a watch.
    pub(crate) watch: bool,
}

/// The path's segments, decoded. `None` when they are not text.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .filter(|s| !s.is_empty())
        .map(decode)
        .collect()
}

/// Text with its escaped bytes put back. `None` when it is not text then.
pub(crate) fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

/// Reads the segments of an object's or a collection's path.
pub(crate) fn target(segments: &[String]) -> Option<Target> {
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match words.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    // The older way to ask for a watch.
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, rest),
    };
    let own = |s: &str| Some(s.to_owned());
    let (namespace, plural, name, sub) = match rest {
        // The subresources of a namespace look like collections in it.
        ["namespaces", name, sub @ ("status" | "finalize")] => {
            (None, "namespaces", own(name), own(sub))
        }
        ["namespaces", namespace, plural] => (own(namespace), *plural, None, None),
        ["namespaces", namespace, plural, name] => (own(namespace), *plural, own(name), None),
        ["namespaces", namespace, plural, name, sub @ ..] if sub.len() == 1 => (
            own(namespace),
            *plural,
            own(name),
            sub.first().and_then(|s| own(s)),
        ),
        [plural] => (None, *plural, None, None),
        [plural, name] => (None, *plural, own(name), None),
        [plural, name, sub] => (None, *plural, own(name), own(sub)),
        _ => return None,
    };
    Some(Target {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace,
        plural: plural.to_owned(),
        name,
        sub,
        watch,
    })
}

/// What a query asks for.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a parameter of its own"
)]
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) selector: Selector,
    pub(crate) limit: usize,
    pub(crate) next: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) version_match: Option<String>,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout: Option<u64>,
    pub(crate) dry_run: bool,
    pub(crate) manager: Option<String>,
    pub(crate) force: bool,
    pub(crate) validation: Option<Validation>,
    pub(crate) include: Option<String>,
    pub(crate) delete: DeleteOptions,
    /// A read is to be answered as of an earlier time, as a fault plan asked for.
    pub(crate) as_of: Option<crate::faults::AsOf>,
}

/// Reads a query string. Unknown parameters are passed over, as the API does.
pub(crate) fn query(text: &str) -> Result<Query, Refusal> {
    let mut out = Query::default();
    let (mut labels, mut fields) = (String::new(), String::new());
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let flag = || value != "0" && !value.eq_ignore_ascii_case("false");
        let number = || {
            value.parse::<i64>().map_err(|fault| {
                let why = match fault.kind() {
                    std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                        "value out of range"
                    }
                    _ => "invalid syntax",
                };
                let value = Value::from(&*value);
                Refusal::BadRequest(format!("strconv.ParseInt: parsing {value}: {why}"))
            })
        };
        match name.as_ref() {
            "labelSelector" => labels = value.into_owned(),
            "fieldSelector" => fields = value.into_owned(),
            "limit" => out.limit = usize::try_from(number()?).unwrap_or_default(),
            "continue" if !value.is_empty() => out.next = Some(value.into_owned()),
            "resourceVersion" => out.version = Some(value.into_owned()),
            "resourceVersionMatch" if !value.is_empty() => {
                out.version_match = Some(value.into_owned());
            }
            "watch" => out.watch = flag(),
            "allowWatchBookmarks" => out.bookmarks = flag(),
            "sendInitialEvents" => out.initial_events = Some(flag()),
            // Without a time, or with none, the server chooses.
            "timeoutSeconds" => {
                let seconds = number()?;
                out.timeout = (seconds != 0).then(|| u64::try_from(seconds).unwrap_or_default());
            }
            "dryRun" if value == "All" => out.dry_run = true,
            "dryRun" if !value.is_empty() => {
                return Err(Refusal::BadRequest(format!(
                    "dryRun: Unsupported value: \"{value}\": supported values: \"All\""
                )));
            }
            "fieldManager" if value.len() > 128 => {
                return Err(Refusal::BadRequest(
                    "fieldManager: Too long: may not be more than 128 bytes".to_owned(),
                ));
            }
            "fieldManager" if !value.is_empty() => out.manager = Some(value.into_owned()),
            "force" => out.force = flag(),
            "fieldValidation" if !value.is_empty() => out.validation = Some(validation(&value)?),
            "includeObject" => out.include = Some(value.into_owned()),
            "gracePeriodSeconds" => out.delete.grace = Some(number()?),
            "propagationPolicy" => out.delete.propagation = Some(propagation(&value)?),
            "orphanDependents" => {
                out.delete.propagation = Some(if flag() {
                    Propagation::Orphan
                } else {
                    Propagation::Background
                });
            }
            _ => {}
        }
    }
    out.selector = Selector::parse(&labels, &fields)?;
    Ok(out)
}

fn validation(text: &str) -> Result<Validation, Refusal> {
    match text {
        "Ignore" => Ok(Validation::Ignore),
        "Warn" => Ok(Validation::Warn),
        "Strict" => Ok(Validation::Strict),
        _ => Err(Refusal::BadRequest(format!(
            "fieldValidation: Unsupported value: \"{text}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
        ))),
    }
}

fn propagation(text: &str) -> Result<Propagation, Refusal> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        _ => Err(Refusal::BadRequest(format!(
            "propagationPolicy: Unsupported value: \"{text}\": supported values: \"Foreground\", \
             \"Background\", \"Orphan\""
        ))),
    }
}

/// Reads a `DeleteOptions` body over what the query said.
pub(crate) fn delete_options(body: &[u8], query: &mut Query) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    let value = json(body)?;
    if let Some(grace) = value.get("gracePeriodSeconds").and_then(Value::as_i64) {
        query.delete.grace = Some(grace);
    }
    if let Some(text) = value.get("propagationPolicy").and_then(Value::as_str) {
        query.delete.propagation = Some(propagation(text)?);
    }
    if let Some(orphan) = value.get("orphanDependents").and_then(Value::as_bool) {
        query.delete.propagation = Some(if orphan {
            Propagation::Orphan
        } else {
            Propagation::Background
        });
    }
    let own = |field| {
        path::get(&value, &["preconditions", field])
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    query.delete.uid = own("uid");
    query.delete.version = own("resourceVersion");
    query.dry_run |= value
        .get("dryRun")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|v| v == "All"));
    Ok(())
}

/// Reads a JSON body. Nesting is limited by the reader.
pub(crate) fn json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body)
        .map_err(|fault| Refusal::BadRequest(format!("the body is not JSON: {fault}")))
}

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Plain,
    Table,
    /// Metadata only.
    Partial,
}

/// Chooses the first form that is understood.
pub(crate) fn accepted(accept: Option<&str>) -> Result<View, Refusal> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else {
        return Ok(View::Plain);
    };
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(
            media,
            "application/json" | "*/*" | "application/*" | "application/yaml"
        ) {
            continue;
        }
        let (mut form, mut group, mut version) = ("", "", "");
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("as", value)) => form = value,
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                _ => {}
            }
        }
        match (form, group, version) {
            ("", ..) => return Ok(View::Plain),
            ("Table", "meta.k8s.io", "v1") => return Ok(View::Table),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
                return Ok(View::Partial);
            }
            _ => {}
        }
    }
    Err(Refusal::NotAcceptable {
        message: "only the following media types are accepted: application/json, \
                  application/yaml, application/vnd.kubernetes.protobuf"
            .to_owned(),
    })
}

/// The field manager that a user agent stands for.
pub(crate) fn manager_of(user_agent: Option<&str>) -> String {
    let agent = user_agent.unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<Target> {
        target(&segments(path)?)
    }

    #[test]
    fn paths_name_their_target() {
        let pod = Target {
            version: "v1".into(),
            namespace: Some("a".into()),
            plural: "pods".into(),
            name: Some("x".into()),
            sub: Some("status".into()),
            ..Target::default()
        };
        assert_eq!(read("/api/v1/namespaces/a/pods/x/status"), Some(pod));
        let namespace = Target {
            version: "v1".into(),
            plural: "namespaces".into(),
            name: Some("a".into()),
            ..Target::default()
        };
        assert_eq!(read("/api/v1/namespaces/a"), Some(namespace.clone()));
        let finalize = Target {
            sub: Some("finalize".into()),
            ..namespace
        };
        assert_eq!(read("/api/v1/namespaces/a/finalize"), Some(finalize));
        let role = Target {
            group: "rbac.authorization.k8s.io".into(),
            version: "v1".into(),
            plural: "clusterroles".into(),
            name: Some("system:x".into()),
            ..Target::default()
        };
        assert_eq!(
            read("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Ax"),
            Some(role)
        );
        let watched = Target {
            version: "v1".into(),
            plural: "pods".into(),
            watch: true,
            ..Target::default()
        };
        assert_eq!(read("/api/v1/watch/pods"), Some(watched));
        assert_eq!(read("/api/v1/%zz"), None);
        assert_eq!(read("/apis/a"), None);
    }

    #[test]
    fn accept_headers_choose_a_form() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accepted(Some(table)), Ok(View::Table));
        assert_eq!(
            accepted(Some(
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
            )),
            Ok(View::Plain)
        );
        assert_eq!(accepted(None), Ok(View::Plain));
        assert!(matches!(
            accepted(Some("text/html")),
            Err(Refusal::NotAcceptable { .. })
        ));
    }

    #[test]
    fn odd_queries_are_refused_with_words() {
        assert!(query("limit=x").is_err());
        assert!(query("dryRun=Some").is_err());
        assert!(query("fieldValidation=No").is_err());
        assert!(query("labelSelector=a%20b").is_err());
        assert!(query("nonsense=1&%%%=&&=").is_ok());
    }
}
