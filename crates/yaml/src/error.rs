//! Why a text could not be read. Owns the sentences and the places; refuses to keep the text itself,
//! which may hold secrets.

use granit_parser::ScanError;

/// A place in the text, both numbers counted from one, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why reading YAML failed. Every variant is terminal: the same text fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// The text is not YAML. Terminal.
    #[error("{at}: this is not valid YAML: {what}; correct the text there")]
    Syntax {
        /// Where.
        at: Place,
        /// What the parser met.
        what: String,
    },
    /// A control character that YAML forbids. Terminal.
    #[error(
        "{at}: control character U+{code:04X} is not allowed in YAML; remove it or write it as an escape in double quotes"
    )]
    ControlCharacter {
        /// Where.
        at: Place,
        /// Its code point.
        code: u32,
    },
    /// A `%YAML` directive of another version. Terminal.
    #[error(
        "{at}: the directive asks for YAML {major}.{minor}, which Kubernetes tools refuse; remove the `%YAML` line"
    )]
    Version {
        /// Where.
        at: Place,
        /// Major version asked for.
        major: u32,
        /// Minor version asked for.
        minor: u32,
    },
    /// A tag that does not fit its scalar. Terminal.
    #[error("{at}: the scalar reads as {found} but is tagged `{tag}`; change the tag or the value")]
    Tag {
        /// Where.
        at: Place,
        /// The tag as written in short form.
        tag: String,
        /// What the scalar is without the tag.
        found: &'static str,
    },
    /// A mapping key that JSON cannot hold. Terminal.
    #[error("{at}: a mapping key is {found}, and JSON keys are text; quote the key")]
    Key {
        /// Where.
        at: Place,
        /// What the key is.
        found: &'static str,
    },
    /// A value that JSON cannot hold. Terminal.
    #[error(
        "{at}: infinity and not-a-number cannot be written as JSON; use a finite number or quote the text"
    )]
    NotFinite {
        /// Where.
        at: Place,
    },
    /// A key given twice, in the dialect that forbids it. Terminal.
    #[error("{at}: the key is already set at line {first}; remove one of the two")]
    DuplicateKey {
        /// Where the second one is.
        at: Place,
        /// The line of the first one.
        first: usize,
    },
    /// A merge key whose value is no mapping. Terminal.
    #[error(
        "{at}: `<<` merges a mapping or a list of mappings, and this is neither; give a mapping or quote the key"
    )]
    Merge {
        /// Where.
        at: Place,
    },
    /// An anchor whose value contains an alias to itself. Terminal.
    #[error("{at}: the alias refers to a value that contains it; write the value out")]
    Cycle {
        /// Where.
        at: Place,
    },
    /// Aliases that would blow the document up. Terminal.
    #[error(
        "{at}: the document consists mostly of repeated aliases; write the values out or split the document"
    )]
    Aliasing {
        /// Where the bound was met.
        at: Place,
    },
    /// A bound of [`crate::Limits`] was met. Terminal.
    #[error("{at}: the text goes beyond the limit of {limit} {what}; split it into smaller files")]
    Limit {
        /// Where.
        at: Place,
        /// The bound.
        limit: usize,
        /// What is counted.
        what: &'static str,
    },
}

impl YamlError {
    /// Where in the text it is.
    pub fn place(&self) -> Place {
        match self {
            Self::Syntax { at, .. }
            | Self::ControlCharacter { at, .. }
            | Self::Version { at, .. }
            | Self::Tag { at, .. }
            | Self::Key { at, .. }
            | Self::NotFinite { at }
            | Self::DuplicateKey { at, .. }
            | Self::Merge { at }
            | Self::Cycle { at }
            | Self::Aliasing { at }
            | Self::Limit { at, .. } => *at,
        }
    }
}

impl From<ScanError> for YamlError {
    fn from(scan: ScanError) -> Self {
        let at = Place {
            line: scan.marker().line().max(1),
            column: scan.marker().col() + 1,
        };
        Self::Syntax {
            at,
            what: scan.info(),
        }
    }
}
