//! Execution: walking the tree and writing the output.
//!
//! Owns control structures, variables, output and the bounds. What expressions yield is in `eval`.

use weir_gocompat::quote;

use crate::eval::Slot;
use crate::format::print_value;
use crate::node::{Branch, Kind, Node, Pipe};
use crate::parse::Tree;
use crate::template::{ExecError, Template};
use crate::types::Type;
use crate::value::Value;

/// What a node leaves behind: go on, or leave the loop or this turn of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(crate) type Executed<T> = Result<T, ExecError>;

/// Runs one template of a set.
pub(crate) fn run(template: &Template, name: &str, data: &Value) -> Executed<Vec<u8>> {
    let Some((name, tree)) = template.trees.get_key_value(name) else {
        return Ok(Vec::new());
    };
    let mut state = State {
        template,
        name,
        tree,
        node: &tree.root,
        vars: vec![("$".to_owned(), Slot::bare(data.clone()))],
        out: Vec::new(),
        depth: 0,
        steps: 0,
        made: 0,
    };
    let dot = Slot::bare(data.clone());
    state.walk(&dot, &tree.root)?;
    Ok(state.out)
}

pub(crate) struct State<'t> {
    pub(crate) template: &'t Template,
    /// The template being run, its tree, and the node, for messages.
    name: &'t str,
    tree: &'t Tree,
    node: &'t Node,
    vars: Vec<(String, Slot)>,
    out: Vec<u8>,
    depth: usize,
    steps: u64,
    /// Bytes of text that calls have made.
    made: usize,
}

impl<'t> State<'t> {
    pub(crate) fn at(&mut self, node: &'t Node) {
        self.node = node;
    }

    /// A failure at the node execution stands on.
    pub(crate) fn fail<T>(&self, message: &str) -> Executed<T> {
        let before = self.tree.source.get(..self.node.at).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        Err(ExecError(format!(
            "template: {}:{line}:{column}: executing {} at <{}>: {message}",
            self.tree.source_name,
            quote(self.name),
            self.node
        )))
    }

    /// Counts one unit of work against the limit.
    pub(crate) fn step(&mut self) -> Executed<()> {
        self.steps += 1;
        if self.steps > self.template.limits.steps {
            return self.fail(&format!(
                "exceeded maximum steps ({})",
                self.template.limits.steps
            ));
        }
        Ok(())
    }

    /// Counts text a call made: none longer than the output may be, and all together not many times that, since
    /// variables can keep it.
    pub(crate) fn made(&mut self, bytes: usize) -> Executed<()> {
        const TIMES: usize = 16;
        self.made = self.made.saturating_add(bytes);
        let limit = self.template.limits.output;
        if bytes > limit || self.made > limit.saturating_mul(TIMES) {
            return self.fail(&format!("exceeded maximum output ({limit} bytes)"));
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Executed<()> {
        let limit = self.template.limits.output;
        if self.out.len() + bytes.len() > limit {
            return self.fail(&format!("exceeded maximum output ({limit} bytes)"));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn variable(&self, name: &str) -> Executed<Slot> {
        match self.vars.iter().rev().find(|(known, _)| known == name) {
            Some((_, slot)) => Ok(slot.clone()),
            None => self.fail(&format!("undefined variable: {name}")),
        }
    }

    pub(crate) fn push(&mut self, name: &str, slot: Slot) {
        self.vars.push((name.to_owned(), slot));
    }

    pub(crate) fn assign(&mut self, name: &str, slot: Slot) -> Executed<()> {
        match self.vars.iter_mut().rev().find(|(known, _)| known == name) {
            Some(variable) => {
                variable.1 = slot;
                Ok(())
            }
            None => self.fail(&format!("undefined variable: {name}")),
        }
    }

    fn walk(&mut self, dot: &Slot, node: &'t Node) -> Executed<Flow> {
        self.at(node);
        self.step()?;
        match &node.kind {
            Kind::Action(pipe) => {
                let slot = self.pipeline(dot, pipe)?;
                if !matches!(&pipe.kind, Kind::Pipe(pipe) if !pipe.decl.is_empty()) {
                    self.at(node);
                    self.print(node, &slot)?;
                }
                Ok(Flow::Next)
            }
            Kind::Text(text) => self.write(text.as_bytes()).map(|()| Flow::Next),
            Kind::List(nodes) => {
                self.depth += 1;
                if self.depth > self.template.limits.depth {
                    let limit = self.template.limits.depth;
                    return self.fail(&format!("exceeded maximum template depth ({limit})"));
                }
                let mut flow = Flow::Next;
                for node in nodes {
                    flow = self.walk(dot, node)?;
                    if flow != Flow::Next {
                        break;
                    }
                }
                self.depth -= 1;
                Ok(flow)
            }
            Kind::If(branch) => self.branch(dot, branch, false),
            Kind::With(branch) => self.branch(dot, branch, true),
            Kind::Range(branch) => self.range(dot, branch),
            Kind::Template { name, pipe } => {
                self.invoke(dot, name, pipe.as_deref()).map(|()| Flow::Next)
            }
            Kind::Break => Ok(Flow::Break),
            Kind::Continue => Ok(Flow::Continue),
            _ => self.fail(&format!("unknown node: {node}")),
        }
    }

    fn print(&mut self, node: &'t Node, slot: &Slot) -> Executed<()> {
        match &slot.value {
            Value::Nil => self.write(b"<no value>"),
            Value::Func(_) => {
                let name = slot.value.type_of();
                self.fail(&format!("can't print {node} of type {}", name.name()))
            }
            Value::Str(text) => self.write(text.clone().as_bytes()),
            value => {
                let mut text = Vec::new();
                print_value(&mut text, value, self.template.limits.output);
                self.write(&text)
            }
        }
    }

    fn branch(&mut self, dot: &Slot, branch: &'t Branch, with: bool) -> Executed<Flow> {
        let mark = self.vars.len();
        let slot = self.pipeline(dot, &branch.pipe)?;
        let flow = if slot.value.is_true() {
            self.walk(if with { &slot } else { dot }, &branch.list)?
        } else if let Some(otherwise) = &branch.otherwise {
            self.walk(dot, otherwise)?
        } else {
            Flow::Next
        };
        self.vars.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Slot, branch: &'t Branch) -> Executed<Flow> {
        let Kind::Pipe(pipe) = &branch.pipe.kind else {
            return Ok(Flow::Next);
        };
        let outer = self.vars.len();
        let slot = self.pipeline(dot, &branch.pipe)?;
        let mark = self.vars.len();
        let mut ran = false;
        let mut turn = |state: &mut Self, index: Slot, element: Slot| -> Executed<bool> {
            ran = true;
            state.bind(pipe, mark, index, &element)?;
            let flow = state.walk(&element, &branch.list)?;
            state.vars.truncate(mark);
            Ok(flow != Flow::Break)
        };
        match &slot.value {
            Value::Nil => {}
            Value::List(list) => {
                for (i, item) in list.items().iter().enumerate() {
                    let index = Slot::bare(Value::Int(i as i64));
                    if !turn(self, index, Slot::of(list.element(), item.clone()))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, value) in map.entries() {
                    let key = Slot::of(map.key(), key);
                    if !turn(self, key, Slot::of(map.element(), value))? {
                        break;
                    }
                }
            }
            value if value.type_of().is_integer() => {
                if pipe.decl.len() > 1 {
                    let shown = shown(value);
                    return self.fail(&format!(
                        "can't use {shown} to iterate over more than one variable"
                    ));
                }
                let (end, make): (u64, fn(u64) -> Value) = match value {
                    Value::Int64(i) => (u64::try_from(*i).unwrap_or(0), |i| Value::Int64(i as i64)),
                    Value::Uint8(u) => (u64::from(*u), |i| Value::Uint8(i as u8)),
                    Value::Uint64(u) => (*u, Value::Uint64),
                    Value::Int(i) => (u64::try_from(*i).unwrap_or(0), |i| Value::Int(i as i64)),
                    _ => (0, Value::Uint64),
                };
                for i in 0..end {
                    if !turn(self, Slot::default(), Slot::bare(make(i)))? {
                        break;
                    }
                }
            }
            value => {
                let shown = shown(value);
                return self.fail(&format!("range can't iterate over {shown}"));
            }
        }
        let mut flow = Flow::Next;
        if !ran && let Some(otherwise) = &branch.otherwise {
            // A `break` here belongs to a range around this one in the grammar, yet Go ends it at this one.
            flow = self.walk(dot, otherwise)?;
            if flow == Flow::Break {
                flow = Flow::Next;
            }
        }
        self.vars.truncate(outer);
        Ok(flow)
    }

    /// Sets the variables of a range for one turn.
    fn bind(&mut self, pipe: &'t Pipe, mark: usize, index: Slot, element: &Slot) -> Executed<()> {
        let values = match pipe.decl.len() {
            0 => return Ok(()),
            1 => vec![element.clone()],
            _ => vec![index, element.clone()],
        };
        let first = mark.saturating_sub(values.len());
        for (i, (name, value)) in pipe.decl.iter().zip(values).enumerate() {
            if pipe.assign {
                self.assign(name, value)?;
            } else if let Some(variable) = self.vars.get_mut(first + i) {
                variable.1 = value;
            }
        }
        Ok(())
    }

    fn invoke(&mut self, dot: &Slot, name: &'t str, pipe: Option<&'t Node>) -> Executed<()> {
        let Some(tree) = self.template.trees.get(name) else {
            return self.fail(&format!("template {} not defined", quote(name)));
        };
        // What the pipeline declares stays.
        let dot = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Slot::default(),
        };
        let vars = std::mem::replace(&mut self.vars, vec![("$".to_owned(), dot.clone())]);
        let outer = (self.name, self.tree, self.node);
        (self.name, self.tree) = (name, tree);
        self.walk(&dot, &tree.root)?;
        (self.name, self.tree, self.node) = outer;
        self.vars = vars;
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    let mut text = Vec::new();
    print_value(&mut text, value, 1 << 16);
    String::from_utf8_lossy(&text).into_owned()
}

/// Names a type in a message.
pub(crate) fn named(kind: &Type) -> String {
    kind.name().into_owned()
}
