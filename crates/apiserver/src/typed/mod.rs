//! Owns what Go's typed decoding and encoding do to built-in objects: [`read`] reads a body as
//! sigs.k8s.io/json does, [`decode()`] shapes it to its struct, [`settle()`] writes it as it is kept.
//! It refuses judgement of values.

mod decode;
mod read;
mod settle;
mod time;

pub(crate) use decode::{From, decode};
pub(crate) use read::{Parsed, Unreadable, parse, plain, summary};
pub(crate) use settle::{Kept, settle};
