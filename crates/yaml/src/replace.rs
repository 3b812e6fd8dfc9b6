//! Replacing scalars in a source text. Owns quoting of the new text in the old one's style; refuses to
//! touch any byte outside of the scalar, so that comments, order and layout stay as their owner left
//! them.

use std::ops::Range;

use crate::resolve::{TAG_PREFIX, ambiguous};
use crate::scalar::{analyze, escape, is_printable, needs_escape};
use crate::tree::{Node, Style};

/// A replacement of bytes of a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to replace.
    pub span: Range<usize>,
    /// What takes their place.
    pub text: String,
}

/// Applies edits to a text. `None` if two of them overlap or one does not lie in the text.
pub fn apply_edits(source: &str, edits: &[Edit]) -> Option<String> {
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    ordered.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    for edit in ordered {
        out.push_str(source.get(at..edit.span.start)?);
        source.get(edit.span.clone())?;
        out.push_str(&edit.text);
        at = edit.span.end;
    }
    out.push_str(source.get(at..)?);
    Some(out)
}

/// The source with one scalar replaced, in the scalar's style where that can hold the new text.
/// Reading the result gives exactly `new` as text, whatever it looks like. `None` if the span does not
/// lie in the text.
pub fn replace_scalar(source: &str, span: Range<usize>, style: Style, new: &str) -> Option<String> {
    let edit = edit_scalar(source, span, style, new)?;
    apply_edits(source, &[edit])
}

/// The edit that replaces a scalar node's text. A tag other than `!!str` goes, for it would give the
/// new text another type. `None` if the node is no scalar, was not written at all, or is not of this
/// source.
pub fn replace_node(source: &str, node: &Node, new: &str) -> Option<Edit> {
    let (_, style) = node.scalar()?;
    if node.is_absent() {
        return None;
    }
    let mut edit = edit_scalar(source, node.span.clone(), style, new)?;
    let Some(tag) = &node.tag else {
        return Some(edit);
    };
    if tag.name.strip_prefix(TAG_PREFIX) == Some("str") {
        return Some(edit);
    }
    let written = tag.span.clone()?;
    let between = source.get(written.end..edit.span.start)?.trim_start();
    edit.text.insert_str(0, between);
    edit.span.start = written.start;
    Some(edit)
}

fn edit_scalar(source: &str, span: Range<usize>, style: Style, new: &str) -> Option<Edit> {
    let old = source.get(span.clone())?;
    let text = match style {
        Style::Literal | Style::Folded => block(old, style, new, span.end == source.len())
            .unwrap_or_else(|| {
                let header = old.lines().next().unwrap_or("");
                let comment = header.find(" #").map_or("", |at| header[at..].trim_end());
                format!("{}{comment}", quote(Style::Double, new))
            }),
        _ => quote(style, new),
    };
    Some(Edit { span, text })
}

/// A text as a scalar on one line, in the wished style if that can hold it: otherwise in double quotes
/// if it would be taken for a number or another type, in single quotes if these do, and in double
/// quotes with escapes if nothing else does. It can stand inside and outside of brackets, and as a key.
pub fn quote(style: Style, text: &str) -> String {
    let analysis = analyze(text);
    let single_holds = analysis.single && !analysis.multiline;
    match style {
        Style::Plain if plain_holds(text) => text.to_owned(),
        Style::Plain if !ambiguous(text) && single_holds => single(text),
        Style::Single if single_holds => single(text),
        _ => double(text),
    }
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn double(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if needs_escape(c) {
            out.push_str(&escape(c));
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// Whether a text can stand without quotes wherever the old scalar stood.
fn plain_holds(text: &str) -> bool {
    !text.is_empty()
        && text != "<<"
        && text != "="
        && !ambiguous(text)
        && analyze(text).plain
        && !text.starts_with(['?', ':', '-'])
        && !text.contains([',', '[', ']', '{', '}'])
}

/// The new text as a block scalar with the old one's indentation and header comment.
fn block(old: &str, style: Style, new: &str, at_end: bool) -> Option<String> {
    let (header, body) = old.split_once('\n')?;
    let end = if header.ends_with('\r') { "\r\n" } else { "\n" };
    let header = header.trim_end_matches('\r');
    let marks = header
        .find(|c: char| !matches!(c, '|' | '>' | '+' | '-'))
        .unwrap_or(header.len());
    let rest = &header[marks..];
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let first = body.lines().find(|line| !line.trim().is_empty())?;
    let indent = first.len() - first.trim_start_matches(' ').len();
    let (content, clip) = match new.strip_suffix('\n') {
        Some(content) => (content, true),
        None => (new, false),
    };
    let holds = indent > 0
        && !content.starts_with([' ', '\t', '\n'])
        && !content.ends_with('\n')
        && !content.is_empty()
        && content
            .chars()
            .all(|c| is_printable(c) && !matches!(c, '\u{2028}' | '\u{2029}'))
        && (style == Style::Literal || !content.contains('\n'))
        && content
            .split('\n')
            .all(|line| line.is_empty() || !line.trim().is_empty());
    if !holds {
        return None;
    }
    let mark = if style == Style::Literal { '|' } else { '>' };
    let chomp = if clip { "" } else { "-" };
    let mut out = format!("{mark}{chomp}{rest}");
    for line in content.split('\n') {
        out.push_str(end);
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
    if clip && at_end {
        out.push_str(end);
    }
    Some(out)
}
