//! Owns the shape of a parsed expression. It refuses meaning: types are `check`'s, values `eval`'s.

use super::functions::Function;

/// A position in the source, in characters from its start.
pub(crate) type Offset = u32;

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A node with its number, by which its type is found, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) id: usize,
    pub(crate) at: Offset,
    /// How many nodes deep it is.
    pub(crate) height: usize,
    pub(crate) node: Node,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Literal(Literal),
    Ident(String),
    /// `operand.field`, or `has(operand.field)`.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    Call(Box<Call>),
    List {
        items: Vec<Expr>,
        /// Which of them are optional.
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    /// A message literal; no message type is known, so the check refuses it.
    Message(String),
    Fold(Box<Fold>),
}

/// A call of a function or an operator.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) target: Option<Expr>,
    pub(crate) name: String,
    pub(crate) args: Vec<Expr>,
    /// Found by the check, with those of its overloads that fit.
    pub(crate) function: Option<&'static Function>,
    pub(crate) matched: Vec<usize>,
}

/// An entry of a map literal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A loop over a list or a map, made by a macro.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) var: String,
    pub(crate) var2: Option<String>,
    /// The accumulator's name, and what it starts as.
    pub(crate) accu: String,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

/// The name of a loop's accumulator. No source can spell it.
pub(crate) const ACCU: &str = "@result";

impl Node {
    /// How many nodes deep the deepest part is.
    pub(crate) fn below(&self) -> usize {
        let deepest = |parts: &[&Expr]| parts.iter().map(|part| part.height).max();
        let all = |parts: &[Expr]| parts.iter().map(|part| part.height).max();
        let found = match self {
            Self::Literal(_) | Self::Ident(_) | Self::Message(_) => None,
            Self::Select { operand, .. } => Some(operand.height),
            Self::Call(call) => all(&call.args).max(call.target.as_ref().map(|t| t.height)),
            Self::List { items, .. } => all(items),
            Self::Map(entries) => entries
                .iter()
                .map(|entry| entry.key.height.max(entry.value.height))
                .max(),
            Self::Fold(fold) => deepest(&[
                &fold.range,
                &fold.init,
                &fold.condition,
                &fold.step,
                &fold.result,
            ]),
        };
        found.unwrap_or_default()
    }
}

impl Expr {
    /// The dotted name that the node spells, if it does.
    pub(crate) fn qualified(&self) -> Option<String> {
        match &self.node {
            Node::Ident(name) => Some(name.clone()),
            Node::Select {
                operand,
                field,
                test: false,
            } => operand.qualified().map(|of| format!("{of}.{field}")),
            _ => None,
        }
    }
}
