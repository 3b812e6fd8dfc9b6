//! The template: parsed once, executed many times.
//!
//! Owns the public surface: a set of named templates with the functions and options they run under.

use std::sync::Arc;

use weir_gocompat::quote;

use crate::exec;
use crate::funcs::Funcs;
use crate::limits::Limits;
use crate::parse::{self, Trees};
use crate::value::Value;

/// Why a template cannot be parsed, in Go's words. Terminal: the template must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);

/// Why a template cannot be executed, in Go's words. Terminal for the same data and functions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExecError(pub(crate) String);

/// What a map without the asked key yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// Nothing, printed as `<no value>`.
    #[default]
    Default,
    /// The zero value of the map's element type.
    Zero,
    /// The execution fails.
    Error,
}

/// A set of templates.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) name: String,
    pub(crate) trees: Trees,
    pub(crate) funcs: Arc<Funcs>,
    pub(crate) missing_key: MissingKey,
    pub(crate) limits: Limits,
}

impl Template {
    /// Parses a template. Functions must be known now; the built-in ones are.
    pub fn parse(name: &str, text: &str, funcs: &Funcs) -> Result<Self, ParseError> {
        let trees = parse::parse(name, text, funcs).map_err(ParseError)?;
        Ok(Self {
            name: name.to_owned(),
            trees,
            funcs: Arc::new(funcs.clone()),
            missing_key: MissingKey::Default,
            limits: Limits::default(),
        })
    }

    /// Adds another source to the set. What it defines replaces what was there, unless it is empty.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let trees = parse::parse(name, text, &self.funcs).map_err(ParseError)?;
        for (name, tree) in trees {
            if !tree.root.is_empty() || !self.trees.contains_key(&name) {
                self.trees.insert(name, tree);
            }
        }
        Ok(())
    }

    /// Sets what a missing key yields.
    #[must_use]
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Sets the bounds of an execution.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Replaces functions by ones of the same name, say to bind them to one use. Names not known when the
    /// template was parsed stay unknown to it.
    #[must_use]
    pub fn with_funcs(mut self, funcs: Funcs) -> Self {
        self.funcs = Arc::new(funcs);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of all templates in the set, sorted.
    pub fn defined(&self) -> impl Iterator<Item = &str> {
        self.trees.keys().map(String::as_str)
    }

    /// Executes the template. Bytes of the output that are not UTF-8 are replaced.
    pub fn execute(&self, data: &Value) -> Result<String, ExecError> {
        self.execute_named(&self.name, data)
    }

    /// Executes one template of the set.
    pub fn execute_named(&self, name: &str, data: &Value) -> Result<String, ExecError> {
        let bytes = self.execute_bytes(name, data)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()))
    }

    /// Executes one template of the set, the output as it is.
    pub fn execute_bytes(&self, name: &str, data: &Value) -> Result<Vec<u8>, ExecError> {
        if !self.trees.contains_key(name) {
            return Err(ExecError(format!(
                "template: no template {} associated with template {}",
                quote(name),
                quote(&self.name)
            )));
        }
        exec::run(self, name, data)
    }
}
