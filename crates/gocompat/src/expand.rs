//! The template of a replacement: `$1`, `$name`, `${name}`, `$$`.
//!
//! Owns reading such a template against one match, as Go's `Regexp.Expand`: a reference to a group that does not
//! exist or did not take part is empty, and a `$` that begins no reference stands for itself.

use crate::unicode::{is_digit, is_letter};

/// Writes `template` to `out`, asking `group` for the text of a group by number and `index` for a name's numbers.
pub(crate) fn expand<'t>(
    out: &mut String,
    template: &str,
    names: &[Option<String>],
    group: impl Fn(usize) -> Option<&'t str>,
) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let Some((name, tail)) = reference(after) else {
            out.push('$');
            rest = after;
            continue;
        };
        rest = tail;
        if let Some(number) = group_number(name) {
            out.push_str(group(number).unwrap_or_default());
        } else {
            let found = names
                .iter()
                .enumerate()
                .filter(|(_, n)| n.as_deref() == Some(name))
                .find_map(|(i, _)| group(i));
            out.push_str(found.unwrap_or_default());
        }
    }
    out.push_str(rest);
}

/// The name after a `$`, braces taken off, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.starts_with('{');
    let inner = if braced { &text[1..] } else { text };
    let end = inner
        .find(|c: char| !(is_letter(c) || is_digit(c) || c == '_'))
        .unwrap_or(inner.len());
    let (name, tail) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced {
        tail.strip_prefix('}').map(|tail| (name, tail))
    } else {
        Some((name, tail))
    }
}

/// A name made of digits alone, without a leading zero, is a number.
fn group_number(name: &str) -> Option<usize> {
    let leading_zero = name.len() > 1 && name.starts_with('0');
    if leading_zero || !name.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    name.parse().ok().filter(|n| *n < 1_000_000_000)
}
