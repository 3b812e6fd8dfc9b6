//! The doors for reading. Owns the settings and the bounds; refuses to touch events or typing rules.

use serde_json::Value;

use crate::error::YamlError;
use crate::parse::{Want, documents};
use crate::resolve::Dialect;
use crate::tree::Document;
use crate::value::to_value;

/// What happens to whole numbers that a 64-bit float cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// They stay as they are, as for API objects.
    #[default]
    Exact,
    /// They pass through a float, as in tools that decode to Go's `interface{}`.
    Float64,
}

/// Bounds on what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Levels of nesting, after following aliases.
    pub depth: usize,
    /// Nodes of one document's value, after following aliases.
    pub nodes: usize,
    /// Bytes of text in one document's value, after following aliases.
    pub expanded: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            depth: 200,
            nodes: 10_000_000,
            expanded: 128 << 20,
        }
    }
}

/// A reader with its settings.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The typing rules.
    pub dialect: Dialect,
    /// Treatment of large whole numbers.
    pub numbers: Numbers,
    /// Bounds.
    pub limits: Limits,
}

impl Reader {
    /// The documents as they were written, with comments and spans.
    pub fn parse(&self, text: &str) -> Result<Vec<Document>, YamlError> {
        documents(
            text,
            &self.limits,
            Want {
                comments: true,
                all: true,
            },
        )
    }

    /// The value of one document.
    pub fn value(&self, document: &Document) -> Result<Value, YamlError> {
        to_value(document, self)
    }

    /// The value of the first document; null when there is none. What follows is not looked at.
    pub fn read(&self, text: &str) -> Result<Value, YamlError> {
        match documents(
            text,
            &self.limits,
            Want {
                comments: false,
                all: false,
            },
        )?
        .first()
        {
            Some(document) => self.value(document),
            None => Ok(Value::Null),
        }
    }

    /// The values of all documents that are not empty.
    pub fn read_all(&self, text: &str) -> Result<Vec<Value>, YamlError> {
        documents(
            text,
            &self.limits,
            Want {
                comments: false,
                all: true,
            },
        )?
        .iter()
        .filter(|document| !document.is_empty())
        .map(|document| self.value(document))
        .collect()
    }
}

/// Reads the first document as `sigs.k8s.io/yaml` does.
pub fn from_str(text: &str) -> Result<Value, YamlError> {
    Reader::default().read(text)
}

/// Reads every document that is not empty as `sigs.k8s.io/yaml` does.
pub fn from_str_all(text: &str) -> Result<Vec<Value>, YamlError> {
    Reader::default().read_all(text)
}
