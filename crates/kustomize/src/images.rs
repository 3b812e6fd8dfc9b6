//! Owns replacing images: which fields hold one, how its text is taken apart, and what comes in.
//! A name is a Go regular expression, as it always was.

use serde_json::Value;
use weir_gocompat::GoRegex;
use weir_object::Object;

use crate::fields::{FieldSpec, Leaf};

/// The replacement of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The image as the manifests name it, without tag and digest.
    pub name: String,
    /// Its new name; empty keeps it.
    pub new_name: String,
    /// Its new tag; empty keeps it.
    pub new_tag: String,
    /// Its new digest; empty keeps it.
    pub digest: String,
}

impl Image {
    /// What recognises the image. The text says what is wrong with the name.
    pub(crate) fn matcher(&self) -> Result<GoRegex, String> {
        let tail = r"(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?$";
        GoRegex::parse(&format!("^{}{tail}", self.name)).map_err(|e| e.to_string())
    }

    fn apply(&self, text: &str) -> String {
        let (name, mut tag, mut digest) = parts(text);
        let name = if self.new_name.is_empty() {
            name
        } else {
            &self.new_name
        };
        if !self.new_tag.is_empty() || !self.digest.is_empty() {
            (tag, digest) = (&self.new_tag, &self.digest);
        }
        let mut out = name.to_owned();
        for (mark, part) in [(':', tag), ('@', digest)] {
            if !part.is_empty() {
                out.push(mark);
                out.push_str(part);
            }
        }
        out
    }
}

/// Name, tag and digest of an image. A colon before the first slash belongs to a port.
fn parts(text: &str) -> (&str, &str, &str) {
    let domain = text.find('/').filter(|i| *i > 0).unwrap_or(0);
    let (rest, digest) = match text[domain..].find('@') {
        Some(at) => (&text[..domain + at], &text[domain + at + 1..]),
        None => (text, ""),
    };
    match rest[domain..].find(':') {
        Some(at) => (&rest[..domain + at], &rest[domain + at + 1..], digest),
        None => (rest, "", digest),
    }
}

/// Replaces one image everywhere in an object.
pub(crate) fn replace(
    object: &mut Object,
    image: &Image,
    matcher: &GoRegex,
) -> Result<(), (String, String)> {
    if object.kind() != "CustomResourceDefinition" {
        anywhere(&mut object.0, image, matcher);
    }
    for spec in places() {
        let mut set = |at: &mut Value| {
            change(at, image, matcher);
            Ok(())
        };
        if let Err(what) = spec.visit(object, Leaf::Text, &mut set) {
            return Err((spec.path, what));
        }
    }
    Ok(())
}

fn places() -> Vec<FieldSpec> {
    let mut out = Vec::new();
    for root in ["spec", "spec/template/spec"] {
        for field in [
            "containers[]/image",
            "initContainers[]/image",
            "volumes[]/image/reference",
        ] {
            out.push(FieldSpec::new(
                "",
                "",
                "",
                &format!("{root}/{field}"),
                false,
            ));
        }
    }
    out
}

/// Every list of containers, wherever it is.
fn anywhere(at: &mut Value, image: &Image, matcher: &GoRegex) {
    match at {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if let ("containers" | "initContainers", Value::Array(items)) =
                    (key.as_str(), &mut *value)
                {
                    for item in items {
                        if let Some(found) = item.get_mut("image") {
                            change(found, image, matcher);
                        }
                    }
                } else {
                    anywhere(value, image, matcher);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|i| anywhere(i, image, matcher)),
        _ => {}
    }
}

fn change(at: &mut Value, image: &Image, matcher: &GoRegex) {
    if let Value::String(text) = at
        && matcher.is_match(text)
    {
        *text = image.apply(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        for (text, expected) in [
            ("nginx", ("nginx", "", "")),
            ("host:5000/a/b", ("host:5000/a/b", "", "")),
            ("host:5000/a/b:1.0", ("host:5000/a/b", "1.0", "")),
            ("a@sha256:1", ("a", "", "sha256:1")),
            ("a:1@sha256:1", ("a", "1", "sha256:1")),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn tag_and_digest_are_replaced_as_one() {
        let image = |new_name: &str, new_tag: &str, digest: &str| {
            let [new_name, new_tag, digest] = [new_name, new_tag, digest].map(str::to_owned);
            Image {
                name: "a".into(),
                new_name,
                new_tag,
                digest,
            }
        };
        assert_eq!(image("b", "", "").apply("a:1@sha256:2"), "b:1@sha256:2");
        assert_eq!(image("", "3", "").apply("a:1@sha256:2"), "a:3");
        assert_eq!(image("", "", "sha256:4").apply("a:1"), "a@sha256:4");
        assert_eq!(image("b", "5", "sha256:4").apply("a"), "b:5@sha256:4");
    }
}
