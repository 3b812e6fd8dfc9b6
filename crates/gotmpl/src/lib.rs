//! Go's `text/template`: the language, its values, its printing and its messages.
//!
//! Metric queries, commit messages and alerts are written in it. A template is parsed once against a set of
//! functions and executed against data; output, messages and their places are those of Go (`tests/corpus`).
//!
//! It owns the lexer, the parser, execution, Go's `fmt` and the built-in functions. It refuses complex numbers,
//! channels and custom delimiters, and it is bounded where Go is not: output, nesting and steps have limits.
//! Further functions (sprig, a chart's `include`) are added to [`Funcs`] by whoever owns them.

mod builtins;
mod compare;
mod display;
mod escape;
mod eval;
mod exec;
mod format;
mod funcs;
mod lex;
mod limits;
mod node;
mod number;
mod parse;
mod parse_pipe;
mod printf;
mod template;
mod types;
mod value;

pub use format::{sprint, sprintln};
pub use funcs::{Func, Funcs, Signature};
pub use limits::Limits;
pub use printf::sprintf;
pub use template::{ExecError, MissingKey, ParseError, Template};
pub use types::Type;
pub use value::{GoStr, Key, List, Map, Struct, Value};
