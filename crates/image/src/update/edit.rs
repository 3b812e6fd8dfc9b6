//! Owns setting marked scalars in the text of a manifest. Only the bytes of those scalars change;
//! comments, quotes, line ends, order and all other documents stay as their owner left them.
//!
//! A marker is a comment that holds exactly one JSON object of texts,
//! `{"$imagepolicy": "namespace:policy[:tag|:name|:digest]"}`, behind a scalar or on the line above
//! a list's scalar. Anything else is a comment like others.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_api::image_policy::ImageRef;
use weir_yaml::{Comment, Node, ScalarAt, Step, YamlError, apply_edits, replace_node};

/// What a file holds when it may hold a marker.
pub(crate) const KEY: &str = "\"$imagepolicy\"";

/// The object that a change is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectId {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One scalar that was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) object: ObjectId,
    pub(crate) old: String,
    pub(crate) new: String,
    /// The marker's text, `namespace:policy[:tag|:name|:digest]`.
    pub(crate) setter: String,
}

/// A text with its marked scalars set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) text: String,
    /// In the order of the text; empty where nothing had to change.
    pub(crate) changes: Vec<Change>,
}

/// Sets every scalar marked for one of `images`, which are keyed by `namespace:policy`.
pub(crate) fn edit(text: &str, images: &BTreeMap<String, ImageRef>) -> Result<Edited, YamlError> {
    let documents = weir_yaml::parse(text)?;
    let (mut edits, mut changes) = (Vec::new(), Vec::new());
    for document in &documents {
        for scalar in document.scalars() {
            let Some(setter) = marker(&scalar) else {
                continue;
            };
            let (Some(new), Some((old, _))) = (value(&setter, images), scalar.node.scalar()) else {
                continue;
            };
            if old == new {
                continue;
            }
            let Some(edit) = replace_node(text, scalar.node, &new) else {
                continue;
            };
            edits.push(edit);
            changes.push(Change {
                object: object_of(&document.root, &scalar.path),
                old: old.to_owned(),
                new,
                setter,
            });
        }
    }
    match apply_edits(text, &edits) {
        Some(text) => Ok(Edited { text, changes }),
        // Scalars do not overlap; were it otherwise, no byte would be touched.
        None => Ok(Edited {
            text: text.to_owned(),
            changes: Vec::new(),
        }),
    }
}

/// The setter of a scalar. A comment behind it hides the lines above.
fn marker(scalar: &ScalarAt<'_>) -> Option<String> {
    let node = scalar.node;
    if let Some(comment) = &node.line_comment {
        return setter(comment);
    }
    let above = node.head_comments.last().filter(|_| scalar.is_item())?;
    setter(above)
}

fn setter(comment: &Comment) -> Option<String> {
    let text = comment.text.trim();
    if !text.starts_with('{') {
        return None;
    }
    let marks: Map<String, Value> = serde_json::from_str(text).ok()?;
    if !marks.values().all(Value::is_string) {
        return None;
    }
    marks.get("$imagepolicy")?.as_str().map(str::to_owned)
}

/// What a setter's scalar is to hold, where its policy is known.
fn value(setter: &str, images: &BTreeMap<String, ImageRef>) -> Option<String> {
    if let Some(image) = images.get(setter) {
        return Some(image.to_string());
    }
    let (policy, part) = setter.rsplit_once(':')?;
    let image = images.get(policy)?;
    match part {
        "tag" => Some(image.tag.clone()),
        "name" => Some(image.name.clone()),
        "digest" => Some(image.digest.clone().unwrap_or_default()),
        _ => None,
    }
}

/// The object that a path leads into; in a list of objects, the innermost item that is one.
fn object_of(root: &Node, path: &[Step]) -> ObjectId {
    let text = |node: &Node, keys: &[&str]| {
        let mut at = Some(node);
        for key in keys {
            at = at.and_then(|node| node.get(key));
        }
        let scalar = at.and_then(Node::scalar);
        scalar.map_or_else(String::new, |(text, _)| text.to_owned())
    };
    let id = |node: &Node| ObjectId {
        api_version: text(node, &["apiVersion"]),
        kind: text(node, &["kind"]),
        namespace: text(node, &["metadata", "namespace"]),
        name: text(node, &["metadata", "name"]),
    };
    let whole = id(root);
    if !whole.kind.ends_with("List") {
        return whole;
    }
    let (Some(Step::Key(key)), Some(Step::Index(index))) = (path.first(), path.get(1)) else {
        return whole;
    };
    let item = root.get(key).and_then(|items| items.items().get(*index));
    item.map_or(whole, id)
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
