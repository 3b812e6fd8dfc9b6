//! Hooks and alerts: who is asked, who is told, and what they get to read.
//!
//! Those who are asked (`ask`) are part of a decision and are waited for. Those who are told
//! (`tell`) are not: a place that hangs delays no release, and what it misses is counted.

mod ask;
mod payload;
mod tell;

pub(crate) use ask::{Asker, Question};
pub(crate) use tell::{Everybody, Teller, Told, anybody, details};
