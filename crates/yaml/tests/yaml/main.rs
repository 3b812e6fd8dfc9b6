//! What crosses the modules of this crate: agreement with Go, and the laws of reading, writing and
//! editing.

mod corpus;
mod editing;
mod laws;
