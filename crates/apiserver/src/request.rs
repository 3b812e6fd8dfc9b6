//! Owns reading a request: its path, query, accepted form and body. It refuses to serve it.

use serde_json::Value;
use weir_object::path;
use weir_schema::GoTypes;

use crate::call::{DeleteOptions, Propagation, Validation};
use crate::refusal::{Cause, Refusal};
use crate::selector::Selector;
use crate::typed::{self, From};

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

/// A path under `/api` or `/apis` without what is empty in it: at the end, and in the place of a
/// namespace, which then is none. `None` when it is empty elsewhere.
pub(crate) fn filled(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = path.replacen("/namespaces//", "/", 1);
    (!path.contains("//")).then_some(path)
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
    /// What is wrong with it, told once it is known who asks.
    pub(crate) causes: Vec<Cause>,
}

impl Verb {
    /// What a method asks for.
    pub(crate) fn of(method: &http::Method) -> Self {
        match *method {
            http::Method::POST => Self::Create,
            http::Method::PUT => Self::Update,
            http::Method::PATCH => Self::Patch,
            http::Method::DELETE => Self::Delete,
            _ => Self::Read,
        }
    }
}

/// Which options a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// The kind of its options.
    fn options(self) -> &'static str {
        match self {
            Self::Read => "ListOptions",
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch => "PatchOptions",
            Self::Delete => "DeleteOptions",
        }
    }

    /// Refuses options for what is wrong with them.
    pub(crate) fn refuse(self, causes: Vec<Cause>) -> Result<(), Refusal> {
        if causes.is_empty() {
            return Ok(());
        }
        Err(Refusal::Invalid {
            group: "meta.k8s.io".to_owned(),
            kind: self.options().to_owned(),
            name: String::new(),
            causes,
        })
    }
}

/// Reads a query string. Parameters of other verbs and unknown ones are passed over, as the API
/// does.
pub(crate) fn query(text: &str, verb: Verb) -> Result<Query, Refusal> {
    let mut out = Query::default();
    let (mut labels, mut fields) = (String::new(), String::new());
    let (mut dry, mut validation) = (Vec::new(), None);
    let (mut propagates, mut orphans) = (None, None);
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
        let collection = matches!(verb, Verb::Read | Verb::Delete);
        let writes = !matches!(verb, Verb::Read | Verb::Delete);
        match name.as_ref() {
            "labelSelector" if collection => labels = value.into_owned(),
            "fieldSelector" if collection => fields = value.into_owned(),
            "limit" if collection => out.limit = usize::try_from(number()?).unwrap_or_default(),
            "continue" if collection && !value.is_empty() => out.next = Some(value.into_owned()),
            "resourceVersion" if collection => out.version = Some(value.into_owned()),
            "resourceVersionMatch" if collection && !value.is_empty() => {
                out.version_match = Some(value.into_owned());
            }
            "watch" if collection => out.watch = flag(),
            "allowWatchBookmarks" => out.bookmarks = flag(),
            "sendInitialEvents" if collection => out.initial_events = Some(flag()),
            // Without a time, or with none, the server chooses.
            "timeoutSeconds" if collection => {
                let seconds = number()?;
                out.timeout = (seconds != 0).then(|| u64::try_from(seconds).unwrap_or_default());
            }
            "dryRun" if verb != Verb::Read => dry.push(value.into_owned()),
            "fieldManager" if writes && !value.is_empty() => out.manager = Some(value.into_owned()),
            "force" if writes => out.force = flag(),
            "fieldValidation" if writes => validation = Some(value.into_owned()),
            "includeObject" => out.include = Some(value.into_owned()),
            "gracePeriodSeconds" if verb == Verb::Delete => out.delete.grace = Some(number()?),
            "propagationPolicy" if verb == Verb::Delete => propagates = Some(value.into_owned()),
            "orphanDependents" if verb == Verb::Delete => orphans = Some(flag()),
            _ => {}
        }
    }
    out.selector = Selector::parse(&labels, &fields)?;
    if let Some(manager) = &out.manager {
        check_manager(manager, &mut out.causes);
    }
    check_dry_run(&dry, &mut out.causes);
    out.dry_run = !dry.is_empty();
    match validation.as_deref() {
        None | Some("") => {}
        Some("Ignore") => out.validation = Some(Validation::Ignore),
        Some("Warn") => out.validation = Some(Validation::Warn),
        Some("Strict") => out.validation = Some(Validation::Strict),
        Some(other) => out.causes.push(Cause::unsupported(
            "fieldValidation",
            &other.into(),
            &["", "Ignore", "Strict", "Warn"],
        )),
    }
    set_propagation(&mut out, propagates.as_deref(), orphans);
    Ok(out)
}

fn check_manager(manager: &str, causes: &mut Vec<Cause>) {
    if manager.len() > 128 {
        causes.push(Cause::too_long("fieldManager", 128));
    }
    for (at, c) in manager.char_indices() {
        if c.is_control() {
            let detail = format!(
                "invalid character U+{:04X} (at position {at})",
                u32::from(c)
            );
            causes.push(Cause::invalid("fieldManager", &manager.into(), &detail));
        }
    }
}

fn check_dry_run(asked: &[String], causes: &mut Vec<Cause>) {
    if asked.iter().any(|word| word != "All") {
        causes.push(Cause::unsupported("dryRun", &asked.into(), &["All"]));
    }
}

fn set_propagation(query: &mut Query, propagates: Option<&str>, orphans: Option<bool>) {
    if let (Some(policy), Some(_)) = (propagates, orphans) {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        query
            .causes
            .push(Cause::invalid("propagationPolicy", &policy.into(), detail));
        return;
    }
    let propagation = match (propagates, orphans) {
        (Some("Background"), _) | (None, Some(false)) => Propagation::Background,
        (Some("Foreground"), _) => Propagation::Foreground,
        (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
        (Some(other), _) => {
            query.causes.push(Cause::unsupported(
                "propagationPolicy",
                &other.into(),
                &["Foreground", "Background", "Orphan", "nil"],
            ));
            return;
        }
        (None, None) => return,
    };
    query.delete.propagation = Some(propagation);
}

/// Reads a `DeleteOptions` body, which stands in the place of the query's parameters.
pub(crate) fn delete_options(
    body: &[u8],
    media: Option<&str>,
    query: &mut Query,
) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    let media = media.and_then(|m| m.split(';').next()).map(str::trim);
    let parsed = match media {
        None | Some("" | "application/json" | "*/*") => typed::parse(body),
        Some("application/yaml") => crate::write::yaml(body),
        _ => {
            return Err(Refusal::UnsupportedMediaType {
                accepted: "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            });
        }
    };
    let parsed = parsed.map_err(|fault| Refusal::Failed(fault.why))?;
    let mut value = parsed.value;
    typed::plain(&mut value);
    let kind = path::text(&value, &["kind"]);
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(Refusal::Failed(format!(
            "no kind \"{kind}\" is registered for version \"{}\" in scheme \"pkg/runtime/scheme.go:110\"",
            path::text(&value, &["apiVersion"])
        )));
    }
    if let Some(go) = GoTypes::builtin().of("v1", "DeleteOptions") {
        let decoded = typed::decode(value, go, false, From::Text).map_err(Refusal::Failed)?;
        value = decoded.value;
    }
    query.delete = DeleteOptions::default();
    query.causes.clear();
    query.delete.grace = value.get("gracePeriodSeconds").and_then(Value::as_i64);
    set_propagation(
        query,
        value.get("propagationPolicy").and_then(Value::as_str),
        value.get("orphanDependents").and_then(Value::as_bool),
    );
    let own = |field| {
        path::get(&value, &["preconditions", field])
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    query.delete.uid = own("uid");
    query.delete.version = own("resourceVersion");
    let dry: Vec<String> = value
        .get("dryRun")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    check_dry_run(&dry, &mut query.causes);
    query.dry_run = !dry.is_empty();
    Ok(())
}

/// The version of the forms that objects of all kinds share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    V1,
    V1Beta1,
}

impl Shared {
    /// The `apiVersion` of such a form.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Plain,
    Table(Shared),
    /// The metadata of one object.
    Partial(Shared),
    /// The metadata of the objects of a list.
    Partials(Shared),
}

/// Whether the form of metadata alone that is asked for is that of a list or of an object.
pub(crate) fn form_fits(
    accept: Option<&str>,
    resource: &crate::registry::Resource,
    list: bool,
) -> Result<(), Refusal> {
    let first = accept
        .unwrap_or_default()
        .split(',')
        .next()
        .unwrap_or_default();
    let form = first
        .split(';')
        .map(str::trim)
        .find_map(|p| p.strip_prefix("as="));
    let kind = &resource.kind;
    let name = if resource.custom.is_some() {
        "unstructured.Unstructured".to_owned()
    } else {
        format!("{}.{}", crate::admit::package(&kind.group), kind.kind)
    };
    let message = match form {
        Some("PartialObjectMetadata") if list => format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{name}List)"
        ),
        Some("PartialObjectMetadataList") if !list => format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{name})"
        ),
        _ => return Ok(()),
    };
    Err(Refusal::NotAcceptable { message })
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
        let shared = match (group, version) {
            ("meta.k8s.io", "v1") => Some(Shared::V1),
            ("meta.k8s.io", "v1beta1") => Some(Shared::V1Beta1),
            _ => None,
        };
        match (form, shared) {
            ("", _) => return Ok(View::Plain),
            ("Table", Some(shared)) => return Ok(View::Table(shared)),
            ("PartialObjectMetadata", Some(shared)) => return Ok(View::Partial(shared)),
            ("PartialObjectMetadataList", Some(shared)) => return Ok(View::Partials(shared)),
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
    fn only_a_namespace_may_be_left_out_of_a_path() {
        let is = |path: &str| filled(path);
        assert_eq!(is("/api/v1/pods/").as_deref(), Some("/api/v1/pods"));
        let all = is("/api/v1/namespaces//pods");
        assert_eq!(all.as_deref(), Some("/api/v1/pods"));
        assert_eq!(is("/api//v1/pods"), None);
        assert_eq!(is("/api/v1/namespaces/a//pods"), None);
    }

    #[test]
    fn accept_headers_choose_a_form() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accepted(Some(table)), Ok(View::Table(Shared::V1)));
        assert_eq!(
            accepted(Some(
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
            )),
            Ok(View::Table(Shared::V1Beta1))
        );
        assert_eq!(
            accepted(Some(
                "application/json;as=Table;v=v9;g=meta.k8s.io,application/json"
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
        assert!(query("limit=x", Verb::Read).is_err());
        assert!(query("limit=x", Verb::Create).is_ok());
        assert!(query("labelSelector=a%20b", Verb::Read).is_err());
        assert!(query("nonsense=1&%%%=&&=", Verb::Read).is_ok());
        let told = |text: &str, verb: Verb| {
            let causes = query(text, verb).expect("read").causes;
            let refusal = verb.refuse(causes).expect_err("refused");
            refusal.to_string()
        };
        assert_eq!(
            told("dryRun=All&dryRun=x", Verb::Create),
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"All\",\"x\"]: \
             supported values: \"All\""
        );
        assert_eq!(
            told("fieldValidation=x", Verb::Patch),
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"x\": \
             supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
        );
        assert_eq!(
            told(
                "orphanDependents=true&propagationPolicy=Orphan",
                Verb::Delete
            ),
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": \
             orphanDependents and deletionPropagation cannot be both set"
        );
    }
}
