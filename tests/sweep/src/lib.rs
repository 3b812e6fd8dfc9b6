//! Every fault at every position of a Canary's life.
//!
//! This room owns a world small enough to be run thousands of times (an API server in memory, pods
//! and a gateway that answer at once, a Prometheus and hooks that answer as told), the faults that can be
//! put at one position of a run, what must hold at each moment and at the end, and the sweeps that
//! go through all positions. A run that ends other than the undisturbed one, or breaks a rule on its
//! way, has diverged; the table of the sweeps counts them.
//!
//! It refuses luck: there is no random choice, no wall clock and no socket, so a position that
//! diverges does so again.

mod cluster;
mod faults;
mod provider;
mod report;
mod rules;
mod story;
mod sweep;
mod world;

pub use faults::Fault;
pub use report::{Row, table, write};
pub use story::Story;
pub use sweep::{Diverged, play, sweep};
