//! Owns what a list or a watch is asked for beside its selection: versions, pages, and which of
//! them go together. It refuses in the API's words.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::refusal::{Cause, Refusal};
use crate::request::Query;
use crate::stored::Place;
use crate::typed;

/// Which version of a collection is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The newest, which is not older than what was asked for.
    Newest,
    /// This one.
    Exact(u64),
}

/// What a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) at: At,
    /// 0 is no limit.
    pub(crate) limit: usize,
    /// Where to go on.
    pub(crate) from: Option<Place>,
    /// The version that must have been reached.
    pub(crate) least: u64,
}

fn refuse(causes: Vec<Cause>) -> Result<(), Refusal> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(Refusal::Invalid {
        group: "meta.k8s.io".to_owned(),
        kind: "ListOptions".to_owned(),
        name: String::new(),
        causes,
    })
}

const MATCH: &str = "resourceVersionMatch";

/// Reads a resourceVersion; the error is the API's.
fn number(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<u64>().map_err(|fault| {
        let why = if matches!(fault.kind(), std::num::IntErrorKind::PosOverflow) {
            "value out of range"
        } else {
            "invalid syntax"
        };
        let text = Value::from(text);
        format!("resourceVersion: Invalid value: {text}: strconv.ParseUint: parsing {text}: {why}")
    })
}

/// The version that a read of one object must have reached.
pub(crate) fn least(query: &Query) -> Result<u64, Refusal> {
    number(query.version.as_deref().unwrap_or_default()).map_err(Refusal::Failed)
}

/// What a list is asked for.
pub(crate) fn listing(query: &Query, one_namespace: bool) -> Result<Listing, Refusal> {
    let version = query.version.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if let Some(given) = &query.version_match {
        let mut forbid = |why: &str| causes.push(Cause::forbidden(MATCH, why));
        if version.is_empty() {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if query.next.is_some() {
            forbid("resourceVersionMatch is forbidden when continue is provided");
        }
        if given == "Exact" && version == "0" {
            forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if !matches!(given.as_str(), "Exact" | "NotOlderThan") {
            causes.push(Cause::unsupported(
                MATCH,
                &given.as_str().into(),
                &["Exact", "NotOlderThan", ""],
            ));
        }
    }
    if query.initial_events.is_some() {
        let why = "sendInitialEvents is forbidden for list";
        causes.push(Cause::forbidden("sendInitialEvents", why));
    }
    refuse(causes)?;
    if let Some(text) = &query.next {
        let (at, from) = read_token(text, one_namespace)
            .map_err(|why| Refusal::BadRequest(format!("invalid continue token: {why}")))?;
        if !matches!(version, "" | "0") {
            return Err(Refusal::BadRequest(
                "specifying resource version is not allowed when using continue".to_owned(),
            ));
        }
        return Ok(Listing {
            // A negative version is the leave to go on inconsistently.
            at: u64::try_from(at).map_or(At::Newest, At::Exact),
            limit: query.limit,
            from: Some(from),
            least: 0,
        });
    }
    let asked = number(version)
        .map_err(|why| Refusal::BadRequest(format!("invalid resource version: {why}")))?;
    let exact = match query.version_match.as_deref() {
        Some(given) => given == "Exact",
        None => query.limit > 0 && asked > 0,
    };
    Ok(Listing {
        at: if exact { At::Exact(asked) } else { At::Newest },
        // Whoever takes any version gets all of it.
        limit: if version == "0" { 0 } else { query.limit },
        from: None,
        least: if exact { 0 } else { asked },
    })
}

/// How a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watching {
    /// What is there is told first.
    pub(crate) initial: bool,
    /// A bookmark marks the end of that.
    pub(crate) marked: bool,
    /// Changes after this version are told; `None` is from now on.
    pub(crate) from: Option<u64>,
    /// The version that must have been reached.
    pub(crate) least: u64,
}

/// How a watch is to begin.
pub(crate) fn watching(query: &Query) -> Result<Watching, Refusal> {
    let mut causes = Vec::new();
    let mut forbid = |why: &str| causes.push(Cause::forbidden(MATCH, why));
    let given = query.version_match.as_deref();
    if query.initial_events.is_some() && given != Some("NotOlderThan") {
        forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if let Some(given) = given {
        if query.initial_events.is_none() {
            forbid(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        let continues = query.next.is_some();
        if given != "NotOlderThan" {
            causes.push(Cause::unsupported(MATCH, &given.into(), &["NotOlderThan"]));
        }
        if continues {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
    }
    refuse(causes)?;
    let asked = least(query)?;
    let initial = query.initial_events.unwrap_or(asked == 0);
    Ok(Watching {
        initial,
        marked: initial && query.bookmarks,
        from: (!initial && asked > 0).then_some(asked),
        least: if initial { asked } else { 0 },
    })
}

/// The token of the page after an object.
pub(crate) fn token(version: u64, after: &Place, one_namespace: bool) -> String {
    write_token(
        i64::try_from(version).unwrap_or(-1),
        after,
        one_namespace,
        "\0",
    )
}

/// The token by which a list may go on inconsistently.
pub(crate) fn loose_token(from: &Place, one_namespace: bool) -> String {
    write_token(-1, from, one_namespace, "")
}

fn write_token(version: i64, at: &Place, one_namespace: bool, end: &str) -> String {
    let (namespace, name) = (&at.namespace, &at.name);
    let start = if one_namespace || namespace.is_empty() {
        format!("/{name}{end}")
    } else {
        format!("/{namespace}/{name}{end}")
    };
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "start": start});
    URL_SAFE_NO_PAD.encode(text.to_string())
}

/// A token's version, and the first place after the last page; its namespace is empty where the
/// list is of one namespace.
fn read_token(text: &str, one_namespace: bool) -> Result<(i64, Place), String> {
    const INVALID: &str = "continue key is not valid";
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|fault| {
        let at = match fault {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            // Go names the last whole group.
            _ => text.len() / 4 * 4,
        };
        format!("{INVALID}: illegal base64 data at input byte {at}")
    })?;
    let value = typed::parse(&bytes).map_err(|fault| {
        let why = fault
            .why
            .trim_start_matches("couldn't get version/kind; json parse error: ");
        format!("{INVALID}: {why}")
    })?;
    let value = value.value;
    if !value.is_object() {
        return Err(format!(
            "{INVALID}: json: cannot unmarshal {} into Go value of type storage.continueToken",
            weir_object::json_type(&value)
        ));
    }
    let of = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    if of("v") != "meta.k8s.io/v1" {
        return Err(format!(
            "{INVALID}: server does not recognize this encoded version {}",
            of("v")
        ));
    }
    let version = value.get("rv").and_then(Value::as_i64).unwrap_or_default();
    if version == 0 {
        return Err(format!(
            "{INVALID}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
        ));
    }
    let start = of("start");
    if start.is_empty() {
        return Err(format!(
            "{INVALID}: encoded start key empty (version meta.k8s.io/v1)"
        ));
    }
    let key = start.strip_prefix('/').unwrap_or(start);
    if key.is_empty() || key.split('/').any(|step| matches!(step, "" | "." | "..")) {
        return Err(format!("{INVALID}: {start}"));
    }
    let place = match key.split_once('/') {
        Some((namespace, name)) if !one_namespace => Place::new(namespace, name),
        _ => Place::new("", key),
    };
    Ok((version, place))
}
