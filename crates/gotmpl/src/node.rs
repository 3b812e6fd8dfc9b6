//! The parsed form of a template.
//!
//! Owns the shape of the tree: one node type, so that "where execution stands" is one reference. How a node is
//! written in messages is in `display`.

use crate::number::Number;

/// A node and where it starts, in bytes.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Text(String),
    List(Vec<Node>),
    Action(Box<Node>),
    If(Branch),
    Range(Branch),
    With(Branch),
    Break,
    Continue,
    Template {
        name: String,
        pipe: Option<Box<Node>>,
    },
    Pipe(Pipe),
    Command(Vec<Node>),
    Bool(bool),
    Dot,
    Nil,
    Field(Vec<String>),
    /// The variable's name with its dollar sign, then fields.
    Variable(Vec<String>),
    Function(String),
    Number(Number),
    Str {
        quoted: String,
        bytes: Vec<u8>,
    },
    Chain {
        node: Box<Node>,
        fields: Vec<String>,
    },
    /// Only while parsing.
    End,
    /// Only while parsing.
    Else,
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) pipe: Box<Node>,
    pub(crate) list: Box<Node>,
    pub(crate) otherwise: Option<Box<Node>>,
}

#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) assign: bool,
    /// Variables declared or assigned, each a `Kind::Variable` of one name.
    pub(crate) decl: Vec<String>,
    pub(crate) commands: Vec<Node>,
}

impl Node {
    pub(crate) fn new(at: usize, kind: Kind) -> Self {
        Self { at, kind }
    }

    /// Whether there is nothing but white space.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::List(nodes) => nodes.iter().all(Node::is_empty),
            Kind::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}
