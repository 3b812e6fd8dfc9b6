//! Owns the list of differences that are known, each with its reason, and that the list stays
//! true: an entry that no longer differs is told.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::anyhow;
use regex::Regex;
use serde::Deserialize;

use crate::compare::Difference;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    case: String,
    path: String,
    reason: String,
    #[serde(default)]
    sometimes: bool,
}

struct Entry {
    text: EntryText,
    case: Regex,
    place: Regex,
    used: AtomicUsize,
}

/// The list.
#[derive(Default)]
pub(crate) struct Known(Vec<Entry>);

impl Known {
    /// Reads the list.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|e| anyhow!("{}: {e}", file.display()))?;
        let value = weir_yaml::from_str(&text)?;
        let entries: Option<Vec<EntryText>> = serde_path_to_error::deserialize(value)
            .map_err(|e| anyhow!("{}: {e}", file.display()))?;
        let mut out = Vec::new();
        for text in entries.unwrap_or_default() {
            out.push(Entry {
                case: pattern(&text.case)?,
                place: pattern(&text.path)?,
                text,
                used: AtomicUsize::new(0),
            });
        }
        Ok(Self(out))
    }

    /// Whether a difference is on the list.
    pub(crate) fn has(&self, case: &str, difference: &Difference) -> bool {
        let mut found = false;
        for entry in &self.0 {
            if entry.case.is_match(case) && entry.place.is_match(&difference.place) {
                entry.used.fetch_add(1, Ordering::Relaxed);
                found = true;
            }
        }
        found
    }

    /// Entries of one part that nothing differed by.
    pub(crate) fn unused(&self, part: &str) -> Vec<String> {
        let of = |e: &&Entry| e.text.case.split('/').next() == Some(part);
        self.0
            .iter()
            .filter(|e| !e.text.sometimes && e.used.load(Ordering::Relaxed) == 0)
            .filter(of)
            .map(|e| format!("{} {} ({})", e.text.case, e.text.path, e.text.reason))
            .collect()
    }
}

/// `*` stands for anything between slashes, `**` for anything.
pub(crate) fn pattern(text: &str) -> anyhow::Result<Regex> {
    let parts: Vec<String> = text
        .split("**")
        .map(|part| {
            let words: Vec<String> = part.split('*').map(regex::escape).collect();
            words.join("[^/]*")
        })
        .collect();
    Ok(Regex::new(&format!("^{}$", parts.join(".*")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_cases() {
        let all = pattern("replay/crud/**").expect("a pattern");
        assert!(all.is_match("replay/crud/a/1") && !all.is_match("replay/crudx/a"));
        let one = pattern("replay/*/a/1").expect("a pattern");
        assert!(one.is_match("replay/crud/a/1") && !one.is_match("replay/crud/b/a/1"));
    }
}
