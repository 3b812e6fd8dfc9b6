//! Given/When/Then scenarios: the whole of Weir and the sandbox in one process, without sockets, on
//! a virtual clock that moves only when nothing is left to do.
//!
//! It owns the stage: starting, stopping and restarting the controllers, a person's hands, and
//! waiting for facts in virtual time. What is expected stands in the tests.

mod faults;
mod record;
mod stage;

pub use faults::{Fault, Faults};
pub use stage::{HOME, Replica, Stage, app_manifests};
