//! Owns the editing of one file: each marked scalar takes its policy's image, and no other byte
//! changes. Pure.

use std::collections::BTreeMap;

use weir_api::image_policy::ImageRef;
use weir_yaml::{Document, Edit, ScalarAt, apply_edits, parse, replace_node};

use super::marker::Marker;

/// The images that policies chose, by `namespace:name`.
pub(crate) type Images = BTreeMap<String, ImageRef>;

/// The object that a change is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectId {
    /// `apiVersion`.
    pub(crate) api_version: String,
    /// `kind`.
    pub(crate) kind: String,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.namespace`.
    pub(crate) namespace: String,
}

/// One field's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// In which object.
    pub(crate) object: ObjectId,
    /// What the field held.
    pub(crate) old: String,
    /// What it holds.
    pub(crate) new: String,
    /// The marker's value.
    pub(crate) setter: String,
}

/// A file as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The whole text.
    pub(crate) text: String,
    /// What changed in it, in the order of the text; never nothing.
    pub(crate) changes: Vec<Change>,
}

/// Edits a file. `None` where nothing changes; a sentence where the file cannot be edited.
pub(crate) fn edit(source: &str, images: &Images) -> Result<Option<Edited>, String> {
    let documents = parse(source).map_err(|e| e.to_string())?;
    let (mut edits, mut changes): (Vec<Edit>, Vec<Change>) = (Vec::new(), Vec::new());
    for document in &documents {
        for scalar in document.scalars() {
            let Some(marker) = marker_of(&scalar) else {
                continue;
            };
            let Some(image) = images.get(&marker.policy) else {
                continue;
            };
            let (Some((old, _)), new) = (scalar.node.scalar(), marker.value(image)) else {
                continue;
            };
            if old == new {
                continue;
            }
            let place = scalar.node.place;
            let edit = replace_node(source, scalar.node, &new)
                .ok_or_else(|| format!("{place}: the marked value cannot be replaced"))?;
            edits.push(edit);
            changes.push(Change {
                object: object_of(document),
                old: old.to_owned(),
                new,
                setter: marker.setter,
            });
        }
    }
    if edits.is_empty() {
        return Ok(None);
    }
    let text = apply_edits(source, &edits)
        .filter(|text| holds(text, &documents, &changes, images))
        .ok_or_else(|| {
            let what = "the marked values cannot be replaced without harm to others";
            format!("{what}; write each marked value on a line of its own")
        })?;
    Ok(Some(Edited { text, changes }))
}

/// Whether the edited text reads as it should: as many values as before, and nothing left to change.
fn holds(text: &str, before: &[Document], changes: &[Change], images: &Images) -> bool {
    let Ok(after) = parse(text) else {
        return false;
    };
    let values = |documents: &[Document]| -> Vec<Vec<String>> {
        let texts = |d: &Document| {
            let scalars = d.scalars();
            let texts = scalars.iter().filter_map(|s| s.node.scalar());
            texts.map(|(text, _)| text.to_owned()).collect()
        };
        documents.iter().map(texts).collect()
    };
    let (old, new) = (values(before), values(&after));
    let same_shape = old.len() == new.len() && old.iter().zip(&new).all(|(a, b)| a.len() == b.len());
    let differ = old.iter().flatten().zip(new.iter().flatten());
    let differ = differ.filter(|(a, b)| a != b);
    let settled = after.iter().flat_map(Document::scalars).all(|scalar| {
        let wanted = marker_of(&scalar)
            .and_then(|marker| images.get(&marker.policy).map(|image| marker.value(image)));
        wanted.is_none() || wanted.as_deref() == scalar.node.scalar().map(|(text, _)| text)
    });
    same_shape && settled && differ.count() == changes.len()
}

fn marker_of(scalar: &ScalarAt<'_>) -> Option<Marker> {
    let node = scalar.node;
    // A value that was not written has nothing to replace, and a document's root is no field.
    if node.is_absent() || scalar.path.is_empty() {
        return None;
    }
    match &node.line_comment {
        // Whatever is on the line, it hides what is above.
        Some(comment) => Marker::read(&comment.text),
        None if scalar.is_item() => Marker::read(&node.head_comments.last()?.text),
        None => None,
    }
}

fn object_of(document: &Document) -> ObjectId {
    let root = &document.root;
    let text = |node: Option<&weir_yaml::Node>| {
        let text = node.and_then(|n| n.scalar());
        text.map(|(text, _)| text.to_owned()).unwrap_or_default()
    };
    let metadata = root.get("metadata");
    ObjectId {
        api_version: text(root.get("apiVersion")),
        kind: text(root.get("kind")),
        name: text(metadata.and_then(|m| m.get("name"))),
        namespace: text(metadata.and_then(|m| m.get("namespace"))),
    }
}
