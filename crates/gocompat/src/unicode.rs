//! Go's character classes (`unicode.IsLetter`, `IsDigit`, `IsPrint`), which Rust's own differ from.
//!
//! Owns the three questions; the tables come from `regex-syntax`, so that they are those of the matcher too.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

type Ranges = Vec<(char, char)>;

/// The ranges a class expression stands for. A class this crate spells itself always parses; were it not to,
/// the answer is the empty class rather than a panic.
fn ranges(class: &str) -> Ranges {
    let Ok(hir) = regex_syntax::parse(class) else {
        return Ranges::new();
    };
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => class
            .iter()
            .map(|range| (range.start(), range.end()))
            .collect(),
        _ => Ranges::new(),
    }
}

fn within(ranges: &Ranges, c: char) -> bool {
    let after = ranges.partition_point(|range| range.1 < c);
    ranges.get(after).is_some_and(|range| range.0 <= c)
}

static LETTER: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{L}]"));
static DIGIT: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{Nd}]"));
static PRINT: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{L}\p{M}\p{N}\p{P}\p{S}]"));

/// Whether Go calls `c` a letter (category L).
pub fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        within(&LETTER, c)
    }
}

/// Whether Go calls `c` a decimal digit (category Nd).
pub fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        within(&DIGIT, c)
    }
}

/// Whether Go prints `c` as itself in a quoted string: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_print(c: char) -> bool {
    if c.is_ascii() {
        matches!(c, ' '..='~')
    } else {
        within(&PRINT, c)
    }
}
