//! Owns the columns of built-in kinds: names, types and what they tell. The words are those of the
//! fields that a column shows, or the printer's own.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::openapi::words;

static DATA: &str = include_str!("../../data/columns-1.34.json");

/// A column of a built-in kind.
#[derive(Clone, Debug)]
pub(super) struct BuiltinColumn {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) priority: i64,
    pub(super) description: String,
}

/// A column as it is written in the data.
type Cut = (String, String, String, i64, usize);

#[derive(Default, Deserialize)]
struct Data {
    /// `@type.field` stands for what the type says of its field.
    words: Vec<String>,
    /// Name, type, format, priority and the place of the words.
    kinds: HashMap<String, Vec<Cut>>,
}

/// The columns of a kind, the name's first.
pub(super) fn of(group: &str, version: &str, kind: &str) -> &'static [BuiltinColumn] {
    static CELL: OnceLock<HashMap<String, Vec<BuiltinColumn>>> = OnceLock::new();
    let all = CELL.get_or_init(|| {
        // The data is part of the program, and a test reads all of it.
        let data: Data = serde_json::from_str(DATA).unwrap_or_default();
        let text = |place: usize| {
            let word = data
                .words
                .get(place)
                .map(String::as_str)
                .unwrap_or_default();
            match word.strip_prefix('@').and_then(|at| at.rsplit_once('.')) {
                Some((ty, field)) => words::of_field(ty, field).unwrap_or_default().to_owned(),
                None => word.to_owned(),
            }
        };
        data.kinds
            .iter()
            .map(|(at, rows)| {
                let columns =
                    rows.iter()
                        .map(|(name, kind, format, priority, words)| BuiltinColumn {
                            name: name.clone(),
                            kind: kind.clone(),
                            format: format.clone(),
                            priority: *priority,
                            description: text(*words),
                        });
                (at.clone(), columns.collect())
            })
            .collect()
    });
    all.get(&format!("{group}/{version}/{kind}"))
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_kind_has_columns_that_say_what_they_are() {
        let data: Data = serde_json::from_str(DATA).expect("the data parses");
        for word in data.words.iter().filter_map(|word| word.strip_prefix('@')) {
            let (ty, field) = word.rsplit_once('.').expect("a type and a field");
            assert!(words::of_field(ty, field).is_some(), "{word}");
        }
        for info in weir_schema::builtin_kinds() {
            if info.verbs.iter().any(|verb| verb == "list") {
                let columns = of(&info.group, &info.version, &info.kind);
                assert!(!columns.is_empty(), "{}", info.kind);
            }
        }
    }
}
