//! Owns what can be wrong with an expression before it runs, shown as the API shows it: message,
//! line, and a mark under the place.

use super::ast::Offset;

/// One mistake in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: Offset,
    pub(crate) message: String,
}

impl Mistake {
    pub(crate) fn new(at: Offset, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

/// The place of a mistake that the source as a whole is.
pub(crate) const NOWHERE: Offset = Offset::MAX;

/// No more mistakes than this are told of one source.
const TOLD: usize = 100;
/// Longer lines are not shown.
const SNIPPET: usize = 16_384;

/// The mistakes of a source as one text.
pub(crate) fn display(source: &str, mut mistakes: Vec<Mistake>) -> String {
    mistakes.sort_by_key(|m| m.at);
    mistakes.truncate(TOLD);
    let shown: Vec<String> = mistakes.iter().map(|m| one(source, m)).collect();
    shown.join("\n")
}

fn one(source: &str, mistake: &Mistake) -> String {
    if mistake.at == NOWHERE {
        return format!("ERROR: <input>:-1:0: {}", mistake.message);
    }
    let (mut line, mut column, mut start) = (1, 0usize, 0);
    for (count, (at, c)) in source.char_indices().enumerate() {
        if count == mistake.at as usize {
            break;
        }
        if c == '\n' {
            line += 1;
            column = 0;
            start = at + 1;
        } else {
            column += 1;
        }
    }
    let mut out = format!("ERROR: <input>:{line}:{}: {}", column + 1, mistake.message);
    let text = source[start..].split('\n').next().unwrap_or_default();
    if text.len() > SNIPPET {
        return out;
    }
    let text = text.replace('\t', " ");
    out.push_str("\n | ");
    out.push_str(&text);
    out.push_str("\n | ");
    let mut chars = text.chars();
    for c in chars.by_ref().take(column) {
        out.push(if c.is_ascii() { '.' } else { '\u{ff0e}' });
    }
    out.push(if chars.next().is_none_or(|c| c.is_ascii()) {
        '^'
    } else {
        '\u{ff3e}'
    });
    out
}
