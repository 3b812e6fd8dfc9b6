//! The tests of this room that need no inside view: the corpora written by the API server's own
//! field manager and patcher, the tables of known cases, and the laws.

mod applying;
mod corpus;
mod laws;
