//! Owns the expression language of rules and policies: it reads, checks and runs it as the API
//! does, with the API's types, functions, limits and words. Every expression ends: what costs too
//! much is stopped.
//!
//! It refuses to know where expressions are written; definitions and policies do.

mod ast;
mod calls;
mod check;
mod cost;
mod decl;
mod escape;
mod estimate;
mod eval;
mod fault;
mod functions;
#[cfg(test)]
mod hostile_tests;
mod hosts;
mod library;
mod literals;
mod macros;
mod parse;
mod time;
mod token;
mod types;
mod value;

use std::collections::HashMap;
use std::thread::ScopedJoinHandle;

use weir_gocompat::GoRegex;

pub(crate) use check::Variables;
pub(crate) use cost::{PER_CALL, PER_OBJECT};
pub(crate) use decl::Decl;
pub(crate) use escape::escape;
pub(crate) use eval::{Fault, Named, Scope};
pub(crate) use hosts::{Decision as Authorization, Host, Question};
pub(crate) use time::format_duration;
pub(crate) use types::Type;
pub(crate) use value::{Value, some, view};

use ast::{Expr, Literal, Node};
use eval::Machine;

/// Whether a text is an absolute URL or path.
pub(crate) fn is_url(text: &str) -> bool {
    hosts::Url::parse(text).is_ok()
}

/// What is wrong with a pattern, as Go tells it.
pub(crate) fn pattern_fault(why: &weir_gocompat::RegexError) -> String {
    let text = why.to_string();
    let detail = text
        .strip_prefix("invalid regular expression `")
        .and_then(|rest| rest.split_once("`: "))
        .map_or(text.as_str(), |(_, detail)| detail);
    format!("error parsing regexp: {detail}")
}

/// Shorter expressions nest no deeper than any stack takes.
const SHORT: usize = 200;
const STACK: usize = 16 << 20;

/// Why an expression cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Uncompiled {
    /// It is not an expression, or its types do not fit.
    #[error("compilation failed: {0}")]
    Wrong(String),
    /// A part of it that is written out can never have a value.
    #[error("program instantiation failed: {0}")]
    Unready(String),
}

/// An expression that was found right.
#[derive(Debug)]
pub(crate) struct Program {
    expr: Expr,
    /// What it gives.
    pub(crate) result: Type,
    /// The variables it refers to.
    pub(crate) used: Vec<String>,
    types: Vec<Type>,
    regexes: HashMap<String, GoRegex>,
}

impl Program {
    /// Reads and checks an expression; what is wrong is told in one text.
    pub(crate) fn compile(source: &str, variables: Variables<'_>) -> Result<Self, Uncompiled> {
        if source.len() < SHORT {
            return Self::compile_here(source, variables);
        }
        // What may nest deep gets a stack of its own; the caller's may be small.
        std::thread::scope(|scope| {
            let work = || Self::compile_here(source, variables);
            let thread = std::thread::Builder::new().stack_size(STACK);
            match thread.spawn_scoped(scope, work).map(ScopedJoinHandle::join) {
                Ok(Ok(done)) => done,
                _ => Err(Uncompiled::Wrong(
                    "no room to read the expression".to_owned(),
                )),
            }
        })
    }

    fn compile_here(source: &str, variables: Variables<'_>) -> Result<Self, Uncompiled> {
        let tell = |mistakes| Uncompiled::Wrong(fault::display(source, mistakes));
        let (mut expr, ids) = parse::parse(source).map_err(tell)?;
        let checked = check::check(&mut expr, ids, variables).map_err(tell)?;
        let mut regexes = HashMap::new();
        prepare(&expr, &mut regexes).map_err(Uncompiled::Unready)?;
        Ok(Self {
            expr,
            result: checked.result,
            used: checked.used,
            types: checked.types,
            regexes,
        })
    }

    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.used.iter().any(|name| name == variable)
    }

    /// What the expression costs at most, where `root` declares `self`.
    pub(crate) fn at_most(&self, root: &Decl) -> u64 {
        estimate::estimate(&self.expr, &self.types, root).max
    }

    /// Runs the expression; says also what it cost.
    pub(crate) fn run<'a>(
        &'a self,
        scope: &dyn Scope<'a>,
        limit: u64,
    ) -> (Result<Value<'a>, Fault>, u64) {
        let mut machine = Machine::new(scope, &self.regexes, limit);
        let value = machine.eval(&self.expr);
        (value, machine.spent)
    }
}

/// Compiles the patterns that are written out, and converts what is written out: one that can
/// never be right is refused before it runs.
fn prepare(expr: &Expr, out: &mut HashMap<String, GoRegex>) -> Result<(), String> {
    match &expr.node {
        Node::Literal(_) | Node::Ident(_) | Node::Message(_) => {}
        Node::Select { operand, .. } => prepare(operand, out)?,
        Node::List { items, .. } => {
            for item in items {
                prepare(item, out)?;
            }
        }
        Node::Map(entries) => {
            for entry in entries {
                prepare(&entry.key, out)?;
                prepare(&entry.value, out)?;
            }
        }
        Node::Fold(fold) => {
            for part in [
                &fold.range,
                &fold.init,
                &fold.condition,
                &fold.step,
                &fold.result,
            ] {
                prepare(part, out)?;
            }
        }
        Node::Call(call) => {
            for part in call.target.iter().chain(&call.args) {
                prepare(part, out)?;
            }
            match call.name.as_str() {
                "matches" | "find" | "findAll" => {
                    let at = usize::from(call.target.is_none());
                    if let Some(Node::Literal(Literal::Text(pattern))) =
                        call.args.get(at).map(|arg| &arg.node)
                    {
                        let regex = GoRegex::parse(pattern).map_err(|why| pattern_fault(&why))?;
                        out.insert(pattern.clone(), regex);
                    }
                }
                "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp"
                | "uint" => {
                    if let [arg] = call.args.as_slice()
                        && matches!(arg.node, Node::Literal(_))
                    {
                        let (nothing, none) = (Named(Vec::new()), HashMap::new());
                        let mut machine = Machine::new(&nothing, &none, PER_CALL);
                        machine.eval(expr).map_err(|fault| fault.to_string())?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}
