//! The type graph: what the fields of a Kubernetes object are, as data.
//!
//! This room owns [`Schema`] (a graph of types with list kinds, merge keys, patch strategies and
//! key defaults), the built-in kinds of Kubernetes 1.34 ([`builtin_kinds`]), the reading of a
//! CustomResourceDefinition's schema into the same graph, the types' numbers in protocol buffers
//! ([`Wire`]), and the defaults a real API server fills in for the kinds Weir meets on its way
//! ([`defaults`]).
//!
//! It refuses validation of values, pruning and CEL (the API server's), and merging
//! (`weir-merge`).

mod builtin;
mod crd;
pub mod defaults;
mod go;
mod graph;
mod kinds;
mod wire;

pub use crd::UnreadableSchema;
pub use defaults::Quantity;
pub use go::{GoEdge, GoField, GoForm, GoId, GoStruct, GoType, GoTypes};
pub use graph::{
    Absent, Field, Link, ListKind, ListType, MapType, PatchStrategy, Relation, Scalar, Schema,
    Type, TypeRef,
};
pub use kinds::{
    KindInfo, SubresourceInfo, allowed_values, builtin_kinds, lookup, lookup_resource,
};
pub use wire::{Wire, WireChoice, WireField, WireKind, WireMessage, WireShape, canonical_quantity};
