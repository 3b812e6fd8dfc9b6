//! RE2 regular expressions, as Go writes them, on top of the `regex` crate.
//!
//! Owns the small differences: Perl classes and word boundaries are ASCII in RE2, and character
//! classes have no set operations. Refuses patterns that compile to more than a megabyte.

use regex::{Regex, RegexBuilder};

/// A compiled pattern that has to match the whole text.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Compiles with both ends anchored; the message says why not.
    pub(crate) fn anchored(source: &str) -> Result<Self, String> {
        // Compiled alone first, so that `)(` cannot close the group that anchors it.
        let translated = translate(source);
        build(&translated)?;
        build(&format!("^(?:{translated})$")).map(Self)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The replacement with `$1`, `$name` and `${name}` filled in, when the text matches.
    pub(crate) fn expand(&self, text: &str, replacement: &str) -> Option<String> {
        let captures = self.0.captures(text)?;
        let mut out = String::new();
        captures.expand(replacement, &mut out);
        Some(out)
    }
}

fn build(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source)
        .size_limit(1 << 20)
        .nest_limit(100)
        .build()
        .map_err(|cause| {
            let text = cause.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!(
                "the regular expression cannot be used: {}",
                last.trim_start_matches("error: ")
            )
        })
}

fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars().peekable();
    let mut in_class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let starting = std::mem::take(&mut class_start);
        match c {
            '\\' => match (chars.next(), in_class) {
                (Some('d'), true) => out.push_str("0-9"),
                (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                (Some('s'), true) => out.push_str("\\t\\n\\x0C\\r "),
                (Some('d'), false) => out.push_str("[0-9]"),
                (Some('w'), false) => out.push_str("[0-9A-Za-z_]"),
                (Some('s'), false) => out.push_str("[\\t\\n\\x0C\\r ]"),
                (Some('D'), _) => out.push_str("[^0-9]"),
                (Some('W'), _) => out.push_str("[^0-9A-Za-z_]"),
                (Some('S'), _) => out.push_str("[^\\t\\n\\x0C\\r ]"),
                (Some('b'), false) => out.push_str("(?-u:\\b)"),
                (Some('Q'), false) => {
                    let mut literal = String::new();
                    for next in chars.by_ref() {
                        literal.push(next);
                        if literal.ends_with("\\E") {
                            literal.truncate(literal.len() - 2);
                            break;
                        }
                    }
                    out.push_str(&regex::escape(&literal));
                }
                (Some(other), _) => {
                    out.push('\\');
                    out.push(other);
                }
                (None, _) => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // A POSIX class such as [:alpha:] goes through as it is.
                out.push('[');
                for next in chars.by_ref() {
                    out.push(next);
                    if next == ']' {
                        break;
                    }
                }
            }
            ']' if in_class && starting => out.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::anchored(pattern).expect("compiles").is_match(text)
    }

    #[test]
    fn whole_text_and_ascii_classes() {
        assert!(matches("5..", "503") && !matches("5..", "5033"));
        assert!(matches("a|bc", "bc") && !matches("a|bc", "abc"));
        assert!(matches(r"\d+", "12") && !matches(r"\d+", "١٢"));
        assert!(matches(r"[\w-]+", "a_b-c") && matches("[[&&~]+", "[&~"));
        assert!(matches("[]a]+", "]a") && matches("[[:alpha:]]+", "ab"));
        assert!(matches(r"\Qa.b\E+", "a.b") && !matches(r"\Qa.b\E", "axb"));
        assert!(!matches("a.b", "a\nb"));
    }

    #[test]
    fn refused_with_a_reason() {
        assert!(Pattern::anchored("a)(b").is_err());
        assert!(Pattern::anchored("(?=a)").is_err());
        assert!(Pattern::anchored("[a").is_err());
    }
}
