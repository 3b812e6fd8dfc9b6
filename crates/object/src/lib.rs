//! A Kubernetes object as a value.
//!
//! This room owns what can be said of an object without knowing its kind: who it is ([`Kind`],
//! [`ObjectRef`], [`Key`]), where a field lies ([`path`]), whether two values differ and where
//! ([`diff`]), its canonical text and digest ([`canonical`]), label selectors ([`labels`]), and the
//! JSONPath dialect of kubectl ([`jsonpath`]).
//!
//! It refuses everything that needs a schema (`weir-schema`), a merge rule (`weir-merge`), or a
//! connection.

#[path = "canonical.rs"]
mod canonical_json;
pub mod diff;
mod json;
pub mod jsonpath;
mod kind;
pub mod labels;
mod object;
pub mod path;
mod reference;

pub use canonical_json::{canonical, digest};
pub use json::json_type;
pub use kind::{Kind, split_api_version};
pub use object::{Malformed, Object};
pub use reference::{Key, ObjectRef};
