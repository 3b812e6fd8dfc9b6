//! Applying to a cluster.
//!
//! This room owns how a set of objects becomes the state of a cluster: which kind is served where
//! ([`Discovery`]), in which stages objects go ([`stages`]), how one is applied, left alone or made
//! anew ([`Applier`]), what was applied ([`Inventory`]), what is taken away again ([`Applier::prune`]),
//! and waiting until it is healthy ([`Waiting`]).
//!
//! It refuses to build objects and to decide when any of this happens. It sends nothing that a dry
//! run shows to change nothing.

mod apply;
mod discovery;
mod failure;
mod inventory;
mod policy;
mod prune;
pub mod stages;
mod wait;

pub use apply::{Action, Applied, Applier, Done, Loan, Owner};
pub use discovery::Discovery;
pub use failure::ClusterError;
pub use inventory::{Entry, Inventory};
pub use prune::Pruned;
pub use wait::{Waited, Waiting};
