//! Owns setter markers: comments such as `{"$imagepolicy": "demo:app:tag"}`. Pure.

use std::collections::BTreeMap;

use weir_api::image_policy::ImageRef;

/// The key of a marker. Files without these bytes are not looked at.
pub(crate) const KEY: &str = "$imagepolicy";

/// What of an image a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Tag,
    Name,
    Digest,
}

/// A marker in a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The policy, as `namespace:name`.
    pub(crate) policy: String,
    /// All of the marker's value.
    pub(crate) setter: String,
    part: Part,
}

impl Marker {
    /// Reads a comment's text after the `#`. A comment that is no JSON object of texts is none.
    pub(crate) fn read(comment: &str) -> Option<Self> {
        let comment = comment.trim_start_matches('#').trim();
        if !comment.starts_with('{') {
            return None;
        }
        let fields: BTreeMap<String, String> = serde_json::from_str(comment).ok()?;
        let setter = fields.get(KEY)?;
        let mut parts = setter.split(':');
        let (namespace, name) = (parts.next()?, parts.next()?);
        let part = match (parts.next(), parts.next()) {
            (None, None) => Part::Whole,
            (Some("tag"), None) => Part::Tag,
            (Some("name"), None) => Part::Name,
            (Some("digest"), None) => Part::Digest,
            _ => return None,
        };
        Some(Self {
            policy: format!("{namespace}:{name}"),
            setter: setter.clone(),
            part,
        })
    }

    /// What the field is to hold.
    pub(crate) fn value(&self, image: &ImageRef) -> String {
        match self.part {
            Part::Whole => image.to_string(),
            Part::Tag => image.tag.clone(),
            Part::Name => image.name.clone(),
            Part::Digest => image.digest.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_told_from_other_comments() {
        let image = ImageRef {
            name: "r/app".into(),
            tag: "1.0.0".into(),
            digest: Some("sha256:aa".into()),
        };
        for (comment, value) in [
            (r#" {"$imagepolicy": "n:p"}"#, Some("r/app:1.0.0@sha256:aa")),
            (r#"{"$imagepolicy":"n:p:tag"}"#, Some("1.0.0")),
            ("\t{ \"$imagepolicy\" :\t\"n:p:name\" } ", Some("r/app")),
            (r#" {"$imagepolicy": "n:p:digest"}"#, Some("sha256:aa")),
            (r#" {"a": "b", "$imagepolicy": "n:p:tag"}"#, Some("1.0.0")),
            (r#" {"$imagepolicy": "n:p:size"}"#, None),
            (r#" {"$imagepolicy": "n:p:tag:x"}"#, None),
            (r#" {"$imagepolicy": "p"}"#, None),
            (r#" {"a": 1, "$imagepolicy": "n:p:tag"}"#, None),
            (r#" {"$imagepolicy": "n:p:tag"} more"#, None),
            (r#" see {"$imagepolicy": "n:p:tag"}"#, None),
            (r" {'$imagepolicy': 'n:p:tag'}", None),
            (r#" {"$imagepolicy": 1}"#, None),
            (r#" ["$imagepolicy"]"#, None),
            ("", None),
        ] {
            let found = Marker::read(comment).map(|marker| marker.value(&image));
            assert_eq!(found.as_deref(), value, "{comment}");
        }
    }
}
