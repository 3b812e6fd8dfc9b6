//! Go's regular expressions, matched in linear time.
//!
//! Owns the compiled form: matching, captures, expansion and replacement over text. The syntax is translated in
//! `regex_parse`, so that one pattern means here what it means to Go; matching is left to the `regex` crate.

use crate::expand::expand;
use crate::regex_parse::{RegexError, translate};

/// A pattern's compiled size beyond which it is refused, in bytes.
const SIZE_LIMIT: usize = 32 << 20;

/// A regular expression in Go's syntax.
#[derive(Debug, Clone)]
pub struct GoRegex {
    pattern: String,
    names: Vec<Option<String>>,
    regex: regex::Regex,
}

impl GoRegex {
    /// Reads and compiles a pattern.
    pub fn parse(pattern: &str) -> Result<Self, RegexError> {
        let translated = translate(pattern)?;
        let regex = regex::RegexBuilder::new(&translated.pattern)
            .size_limit(SIZE_LIMIT)
            .nest_limit(5000)
            .build()
            .map_err(|_| RegexError::TooLarge(pattern.to_owned()))?;
        Ok(Self {
            pattern: pattern.to_owned(),
            names: translated.names,
            regex,
        })
    }

    /// The pattern it was read from.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// The groups' names by number; group 0, the whole match, and unnamed groups have none.
    pub fn group_names(&self) -> &[Option<String>] {
        &self.names
    }

    /// Whether the pattern matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The first match.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.regex.find(text).map(|found| found.as_str())
    }

    /// All matches that do not overlap, from the left.
    pub fn find_all<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.regex.find_iter(text).map(|found| found.as_str())
    }

    /// The groups of the first match, the whole match first. A group that took no part is `None`.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Vec<Option<&'t str>>> {
        let found = self.regex.captures(text)?;
        Some(
            found
                .iter()
                .map(|group| group.map(|g| g.as_str()))
                .collect(),
        )
    }

    /// `template` filled from the first match, or nothing when there is none: `$1`, `$name`, `${name}`, `$$`.
    pub fn extract(&self, text: &str, template: &str) -> Option<String> {
        let groups = self.captures(text)?;
        let mut out = String::new();
        expand(&mut out, template, &self.names, |i| {
            groups.get(i).copied().flatten()
        });
        Some(out)
    }

    /// `text` with every match replaced by the filled `template`.
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        for found in self.regex.captures_iter(text) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(text.get(at..whole.start()).unwrap_or_default());
            expand(&mut out, template, &self.names, |i| {
                found.get(i).map(|g| g.as_str())
            });
            at = whole.end();
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }
}

impl std::fmt::Display for GoRegex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl std::str::FromStr for GoRegex {
    type Err = RegexError;

    fn from_str(pattern: &str) -> Result<Self, RegexError> {
        Self::parse(pattern)
    }
}
