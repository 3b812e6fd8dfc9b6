//! How nodes are written in messages: as source again, in Go's normal form.
//!
//! Owns that form only.

use std::fmt::{Display, Formatter, Result};

use weir_gocompat::quote;

use crate::node::{Branch, Kind, Node, Pipe};

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            Kind::Text(text) => f.write_str(text),
            Kind::List(nodes) => nodes.iter().try_for_each(|node| node.fmt(f)),
            Kind::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            Kind::If(branch) => write_branch(f, "if", branch),
            Kind::Range(branch) => write_branch(f, "range", branch),
            Kind::With(branch) => write_branch(f, "with", branch),
            Kind::Break => f.write_str("{{break}}"),
            Kind::Continue => f.write_str("{{continue}}"),
            Kind::Template { name, pipe: None } => write!(f, "{{{{template {}}}}}", quote(name)),
            Kind::Template {
                name,
                pipe: Some(pipe),
            } => {
                write!(f, "{{{{template {} {pipe}}}}}", quote(name))
            }
            Kind::Pipe(pipe) => write_pipe(f, pipe),
            Kind::Command(args) => args.iter().enumerate().try_for_each(|(i, arg)| {
                if i > 0 {
                    f.write_str(" ")?;
                }
                write_grouped(f, arg)
            }),
            Kind::Bool(b) => b.fmt(f),
            Kind::Dot => f.write_str("."),
            Kind::Nil => f.write_str("nil"),
            Kind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            Kind::Variable(names) => f.write_str(&names.join(".")),
            Kind::Function(name) => f.write_str(name),
            Kind::Number(number) => f.write_str(&number.text),
            Kind::Str { quoted, .. } => f.write_str(quoted),
            Kind::Chain { node, fields } => {
                write_grouped(f, node)?;
                fields.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            Kind::End => f.write_str("{{end}}"),
            Kind::Else => f.write_str("{{else}}"),
        }
    }
}

/// A pipeline inside another is in parentheses.
fn write_grouped(f: &mut Formatter<'_>, node: &Node) -> Result {
    if matches!(node.kind, Kind::Pipe(_)) {
        write!(f, "({node})")
    } else {
        node.fmt(f)
    }
}

fn write_pipe(f: &mut Formatter<'_>, pipe: &Pipe) -> Result {
    if !pipe.decl.is_empty() {
        let sign = if pipe.assign { "=" } else { ":=" };
        write!(f, "{} {sign} ", pipe.decl.join(", "))?;
    }
    pipe.commands
        .iter()
        .enumerate()
        .try_for_each(|(i, command)| {
            if i > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)
        })
}

fn write_branch(f: &mut Formatter<'_>, word: &str, branch: &Branch) -> Result {
    write!(f, "{{{{{word} {}}}}}{}", branch.pipe, branch.list)?;
    if let Some(otherwise) = &branch.otherwise {
        write!(f, "{{{{else}}}}{otherwise}")?;
    }
    f.write_str("{{end}}")
}
