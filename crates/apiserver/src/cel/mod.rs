//! Owns the expression language of rules and policies: it reads, checks and runs it as the API
//! does, with the API's types, functions, limits and words. Every expression ends: what costs too
//! much is stopped.
//!
//! It refuses to know where expressions are written; definitions and policies do.

mod ast;
mod check;
mod cost;
mod decl;
mod escape;
mod eval;
mod fault;
mod functions;
mod hosts;
mod library;
mod macros;
mod parse;
mod time;
mod token;
mod types;
mod value;

use std::collections::HashMap;

use weir_gocompat::GoRegex;

pub(crate) use check::Variables;
pub(crate) use cost::{PER_CALL, PER_OBJECT};
pub(crate) use decl::Decl;
pub(crate) use escape::escape;
pub(crate) use eval::{Fault, Named, Scope};
pub(crate) use time::{format_duration, timestamp};
pub(crate) use types::Type;
pub(crate) use value::{Value, some, view};

use ast::{Expr, Literal, Node};
use eval::Machine;

/// Whether a text is an absolute URL or path.
pub(crate) fn is_url(text: &str) -> bool {
    hosts::Url::parse(text).is_ok()
}

/// An expression that was found right.
#[derive(Debug)]
pub(crate) struct Program {
    expr: Expr,
    /// What it gives.
    pub(crate) result: Type,
    /// The variables it refers to.
    pub(crate) used: Vec<String>,
    regexes: HashMap<String, GoRegex>,
}

impl Program {
    /// Reads and checks an expression; what is wrong is told in one text.
    pub(crate) fn compile(source: &str, variables: Variables<'_>) -> Result<Self, String> {
        let tell = |mistakes| fault::display(source, mistakes);
        let (mut expr, ids) = parse::parse(source).map_err(tell)?;
        let checked = check::check(&mut expr, ids, variables).map_err(tell)?;
        let mut regexes = HashMap::new();
        gather(&expr, &mut regexes);
        Ok(Self {
            expr,
            result: checked.result,
            used: checked.used,
            regexes,
        })
    }

    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.used.iter().any(|name| name == variable)
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

/// Compiles the patterns that are written out.
fn gather(expr: &Expr, out: &mut HashMap<String, GoRegex>) {
    match &expr.node {
        Node::Literal(_) | Node::Ident(_) | Node::Message(_) => {}
        Node::Select { operand, .. } => gather(operand, out),
        Node::List { items, .. } => items.iter().for_each(|e| gather(e, out)),
        Node::Map(entries) => {
            for entry in entries {
                gather(&entry.key, out);
                gather(&entry.value, out);
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
                gather(part, out);
            }
        }
        Node::Call(call) => {
            call.target.iter().chain(&call.args).for_each(|e| gather(e, out));
            if !matches!(call.name.as_str(), "matches" | "find" | "findAll") {
                return;
            }
            for arg in &call.args {
                if let Node::Literal(Literal::Text(pattern)) = &arg.node
                    && let Ok(regex) = GoRegex::parse(pattern)
                {
                    out.insert(pattern.clone(), regex);
                }
            }
        }
    }
}
