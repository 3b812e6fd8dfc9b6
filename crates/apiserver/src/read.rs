//! Owns reading collections: versions, selections, pages. It refuses to change anything.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use weir_object::path;

use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::request::Query;
use crate::selector::Selector;
use crate::state::State;
use crate::stored::{Place, Stored};

/// A part of a collection at one version.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Stored>>,
    pub(crate) version: u64,
    /// The token of the next page.
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

/// Reads the resourceVersion of a query. `None` is "whatever is newest".
pub(crate) fn version(query: &Query) -> Result<Option<u64>, Refusal> {
    let Some(text) = query.version.as_deref().filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Refusal::BadRequest(format!(
            "resourceVersion: Invalid value: \"{text}\": it must be a number"
        ))
    })
}

fn token(version: i64, after: &Place) -> String {
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "start": format!("{}/{}\0", after.namespace, after.name)});
    URL_SAFE_NO_PAD.encode(text.to_string())
}

fn read_token(text: &str) -> Result<(i64, Place), Refusal> {
    let bad = || {
        Refusal::BadRequest("continue key is not valid: send the one of the last page".to_owned())
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let start = path::text(&value, &["start"]);
    let (namespace, name) = start
        .strip_suffix('\0')
        .and_then(|s| s.split_once('/'))
        .ok_or_else(bad)?;
    let version = value.get("rv").and_then(Value::as_i64).ok_or_else(bad)?;
    Ok((version, Place::new(namespace, name)))
}

const STALE: &str = "The provided continue parameter is too old to display a consistent list \
result. You can start a new list without the continue parameter, or use the continue token in this \
response to retrieve the remainder of the results. Continuing with the provided token results in \
an inconsistent list - objects that were created, modified, or deleted between the time the first \
chunk was returned and now may show up in the list.";

/// One page of a collection.
pub(crate) fn list(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    query: &Query,
) -> Result<Page, Refusal> {
    check_fields(resource, &query.selector)?;
    let asked = version(query)?;
    let exact = match query.version_match.as_deref() {
        Some(_) if query.version.is_none() => {
            return Err(Refusal::BadRequest(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless \
                 resourceVersion is provided"
                    .to_owned(),
            ));
        }
        None | Some("NotOlderThan") => false,
        Some("Exact") => {
            if asked.is_none_or(|v| v == 0) {
                return Err(Refusal::BadRequest(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden \
                     for resourceVersion \"0\""
                        .to_owned(),
                ));
            }
            true
        }
        Some(other) => {
            return Err(Refusal::BadRequest(format!(
                "resourceVersionMatch: Unsupported value: \"{other}\": supported values: \"Exact\", \
                 \"NotOlderThan\""
            )));
        }
    };
    if let Some(asked) = asked.filter(|v| *v > state.version) {
        return Err(Refusal::FutureVersion {
            asked,
            current: state.version,
        });
    }
    let mut from = None;
    let mut at = if exact { asked } else { None };
    if let Some(text) = &query.next {
        if asked.is_some_and(|v| v != 0) {
            return Err(Refusal::BadRequest(
                "specifying resource version is not allowed when using continue".to_owned(),
            ));
        }
        let (version, key) = read_token(text)?;
        // A negative version is the leave to go on inconsistently.
        at = u64::try_from(version).ok();
        if at.is_some_and(|v| v > state.version) {
            return Err(Refusal::BadRequest(
                "continue key is not valid: it is of another server".to_owned(),
            ));
        }
        from = Some(key);
    }
    let Some(bucket) = state.bucket(resource.storage) else {
        return Ok(Page::default());
    };
    let version = at.unwrap_or(state.version);
    let changed = at.is_some_and(|v| {
        bucket
            .since(v)
            .is_none_or(|mut changes| changes.next().is_some())
    });
    if !changed {
        let objects = bucket.range(namespace, from.as_ref());
        return Ok(take(objects, query, version));
    }
    let Some(snapshot) = bucket.at(version, namespace) else {
        return Err(match from {
            Some(key) => Refusal::Expired {
                message: STALE.to_owned(),
                next: Some(token(-1, &key)),
            },
            None => Refusal::Expired {
                message: format!(
                    "The resourceVersion for the provided list is too old: {version}."
                ),
                next: None,
            },
        });
    };
    let objects = snapshot
        .iter()
        .filter(|stored| from.as_ref().is_none_or(|from| stored.place > *from));
    Ok(take(objects, query, version))
}

fn take<'a>(
    mut objects: impl Iterator<Item = &'a Arc<Stored>>,
    query: &Query,
    version: u64,
) -> Page {
    let limit = if query.limit == 0 {
        usize::MAX
    } else {
        query.limit
    };
    let mut page = Page {
        version,
        ..Page::default()
    };
    let everything = query.selector.is_everything();
    let mut selected = objects
        .by_ref()
        .filter(|stored| everything || query.selector.selects(stored, || stored.read()));
    page.items.extend(selected.by_ref().take(limit).cloned());
    let more = selected.next().is_some();
    if more && let Some(last) = page.items.last() {
        page.next = Some(token(i64::try_from(version).unwrap_or(-1), &last.place));
        page.remaining = everything.then(|| 1 + objects.count());
    }
    page
}

/// Refuses fields that the kind cannot be selected by.
pub(crate) fn check_fields(resource: &Resource, selector: &Selector) -> Result<(), Refusal> {
    let known: &[&str] = match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("" | "events.k8s.io", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", _) => &["spec.signerName"],
        _ => &[],
    };
    let own = resource
        .custom
        .as_ref()
        .map_or(&[][..], |c| c.selectable.as_slice());
    for field in selector.fields() {
        let good = matches!(field, "metadata.name" | "metadata.namespace")
            || known.contains(&field)
            || own.iter().any(|f| f == field);
        if !good {
            let kind = &resource.kind;
            let version = if kind.group.is_empty() {
                kind.version.to_string()
            } else {
                format!("{}/{}", kind.group, kind.version)
            };
            return Err(Refusal::BadRequest(format!(
                "Unable to find \"{version}, Resource={}\" that match the field selector: field \
                 label not supported: {field}",
                kind.plural
            )));
        }
    }
    Ok(())
}
