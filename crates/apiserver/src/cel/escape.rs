//! Owns how a property's name is spelled in an expression.

use std::borrow::Cow;

use super::parse::RESERVED;

/// Words of the language beside those that may not be variables.
const LITERALS: [&str; 4] = ["true", "false", "null", "in"];

const PARTS: [(&str, &str); 4] = [
    ("__underscores__", "__"),
    ("__dot__", "."),
    ("__dash__", "-"),
    ("__slash__", "/"),
];

/// Whether the name is a word of the language.
pub(crate) fn is_reserved(name: &str) -> bool {
    LITERALS.contains(&name) || RESERVED.contains(&name)
}

/// The spelling of a property's name, or `None` when it has none.
pub(crate) fn escape(name: &str) -> Option<String> {
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("__") {
            out.push_str("__underscores__");
            rest = &rest[2..];
            continue;
        }
        match c {
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

/// The property that a spelling means.
pub(crate) fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains("__") {
        return Cow::Borrowed(name);
    }
    let word = name.strip_prefix("__").and_then(|n| n.strip_suffix("__"));
    if let Some(word) = word
        && is_reserved(word)
    {
        return Cow::Owned(word.to_owned());
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'whole: while let Some(c) = rest.chars().next() {
        for (spelled, means) in PARTS {
            if let Some(after) = rest.strip_prefix(spelled) {
                out.push_str(means);
                rest = after;
                continue 'whole;
            }
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}
