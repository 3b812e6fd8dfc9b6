//! Owns reading collections: versions, selections, pages. It refuses to change anything and to read
//! what is asked for (`options`).

use std::sync::Arc;

use crate::options::{self, At};
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::request::Query;
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

const STALE: &str = "The provided continue parameter is too old to display a consistent list \
result. You can start a new list without the continue parameter, or use the continue token in this \
response to retrieve the remainder of the results. Continuing with the provided token results in \
an inconsistent list - objects that were created, modified, or deleted between the time the first \
chunk was returned and now may show up in the list.";

/// Refuses to answer before a version is reached.
pub(crate) fn reached(state: &State, asked: u64) -> Result<(), Refusal> {
    if asked > state.version {
        return Err(Refusal::FutureVersion {
            asked,
            current: state.version,
        });
    }
    Ok(())
}

/// One page of a collection.
pub(crate) fn list(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    query: &Query,
) -> Result<Page, Refusal> {
    let wish = options::listing(query, namespace.is_some())?;
    query.selector.check(resource)?;
    reached(state, wish.least)?;
    let Some(bucket) = state.bucket(resource.storage) else {
        return Ok(Page::default());
    };
    // Of a kind without namespaces, and in one namespace, a place is a name alone.
    let from = wish.from.map(|from| match namespace {
        Some(namespace) => Place::new(namespace, &from.name),
        None => from,
    });
    let one = namespace.is_some();
    let At::Exact(version) = wish.at else {
        let objects = bucket.range(namespace, from.as_ref());
        return Ok(take(objects, query, wish.limit, state.version, one));
    };
    reached(state, version)?;
    let changed = bucket
        .since(version)
        .is_none_or(|mut changes| changes.next().is_some());
    if !changed {
        let objects = bucket.range(namespace, from.as_ref());
        return Ok(take(objects, query, wish.limit, version, one));
    }
    let Some(snapshot) = bucket.at(version, namespace) else {
        return Err(match from {
            Some(from) => Refusal::Expired {
                message: STALE.to_owned(),
                next: Some(options::loose_token(&from, one)),
            },
            None => Refusal::Expired {
                message: "The resourceVersion for the provided list is too old.".to_owned(),
                next: None,
            },
        });
    };
    let objects = snapshot
        .iter()
        .filter(|stored| from.as_ref().is_none_or(|from| stored.place >= *from));
    Ok(take(objects, query, wish.limit, version, one))
}

fn take<'a>(
    mut objects: impl Iterator<Item = &'a Arc<Stored>>,
    query: &Query,
    limit: usize,
    version: u64,
    one_namespace: bool,
) -> Page {
    let limit = if limit == 0 { usize::MAX } else { limit };
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
        page.next = Some(options::token(version, &last.place, one_namespace));
        page.remaining = everything.then(|| 1 + objects.count());
    }
    page
}

/// The version that a read is to be answered at, and the query for it, where a fault plan asked for
/// an earlier one. Who asks for a version of their own is answered as they asked.
pub(crate) fn past(state: &State, resource: &Resource, query: &Query) -> Option<(u64, Query)> {
    let own = query
        .version
        .as_deref()
        .is_some_and(|v| !matches!(v, "" | "0"));
    if own || query.next.is_some() {
        return None;
    }
    let version = query.as_of?.version(state.bucket(resource.storage)?)?;
    let past = Query {
        version: Some(version.to_string()),
        version_match: Some("Exact".to_owned()),
        ..query.clone()
    };
    Some((version, past))
}

/// An object as it was at an earlier version.
pub(crate) fn stored_at(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    version: u64,
) -> Result<Arc<Stored>, Refusal> {
    let bucket = state.bucket(resource.storage);
    let all = bucket.and_then(|b| b.at(version, namespace));
    // What is not known any more is answered as it is now.
    let Some(all) = all else {
        return crate::objects::stored(state, resource, namespace, name);
    };
    let found = all.into_iter().find(|stored| *stored.place.name == *name);
    found.ok_or_else(|| crate::objects::not_found(resource, name))
}
