//! YAML as Kubernetes tools read and write it, with comments and spans.
//!
//! Owns three things:
//! - reading: text → [`serde_json::Value`] with the typing rules of Go's YAML libraries
//!   ([`from_str`], [`from_str_all`], [`Reader`]);
//! - writing: value → text, byte for byte as `sigs.k8s.io/yaml` prints it ([`to_string`], [`Writer`]);
//! - editing: a tree of nodes with comments and byte spans ([`parse()`], [`Node`]), and replacing one
//!   scalar without touching any other byte ([`replace_scalar`], [`replace_node`], [`apply_edits`]).
//!
//! Refuses: typed decoding (serde does that from the value), streams without a bound, values that
//! JSON cannot hold, and knowing anything of Kubernetes objects.

mod comments;
mod error;
mod number;
mod order;
mod parse;
mod reader;
mod replace;
mod resolve;
mod scalar;
mod tree;
mod value;
mod writer;

pub use error::{Place, YamlError};
pub use number::float_text;
pub use order::natural;
pub use parse::parse;
pub use reader::{Limits, Numbers, Reader, from_str, from_str_all};
pub use replace::{Edit, apply_edits, quote, replace_node, replace_scalar};
pub use resolve::Dialect;
pub use tree::{Anchor, Comment, Content, Document, Entry, Node, ScalarAt, Step, Style, Tag};
pub use writer::{Writer, to_string};
