//! What two series must share to be one group or one match.

use std::collections::HashSet;

use crate::ast::{Grouping, Matching};
use crate::labels::{Labels, NAME};
use crate::value::VectorSample;

/// The labels of the group a series belongs to.
pub(crate) fn group(labels: &Labels, grouping: &Grouping) -> Labels {
    select(labels, !grouping.without, &grouping.labels)
}

/// The labels by which a series is matched with the other side.
pub(crate) fn matched(labels: &Labels, matching: &Matching) -> Labels {
    select(labels, matching.on, &matching.labels)
}

fn select(labels: &Labels, listed: bool, names: &[String]) -> Labels {
    labels.filter(|name| {
        let is_listed = names.iter().any(|own| own == name);
        if listed {
            is_listed
        } else {
            !is_listed && name != NAME
        }
    })
}

/// The first label set that stands twice.
pub(crate) fn repeated(vector: &[VectorSample]) -> Option<&Labels> {
    if vector.len() < 2 {
        return None;
    }
    let mut seen = HashSet::with_capacity(vector.len());
    vector
        .iter()
        .map(|sample| &sample.labels)
        .find(|labels| !seen.insert(*labels))
}
