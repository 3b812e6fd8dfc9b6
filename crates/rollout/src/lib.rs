//! The rollout decision.
//!
//! This room owns what a canary does next: the [`Strategy`] it follows, the [`Observation`] it
//! decides from, the [`Plan`] it decides for, the [`State`] it keeps, and the verdict over a round
//! of measurements. It also owns how a revision is named ([`Revision`]) and which fields a canary
//! borrows from Git ([`borrowed_fields`], [`kept_fields`]).
//!
//! It refuses everything that could make a decision depend on when or where it is made: there is no
//! clock, no client, no async and no CRD type here. `now` is a value like any other.
//!
//! # How a decision survives a crash
//!
//! [`State`] is the intent and the world is brought to match it. [`fn@decide`] does one of two things:
//! where the world is not as the state says, it answers with effects ([`Plan::Act`]), each of which
//! can be repeated; where it is, it answers with the next state ([`Plan::Record`]) and no effect at
//! all. So an effect never happens before the decision behind it is stored, a crash between the two
//! resumes at the effect, and a decision is never repeated from memory. What is "done" is read from
//! the world, or marked in the state (`inForceSince`) where the world does not tell.

mod borrow;
mod course;
mod decide;
mod explain;
mod hook;
mod observation;
mod plan;
mod request;
mod revision;
mod state;
mod strategy;
mod summary;
mod verdict;

pub use borrow::{PARKED, borrowed_fields, kept_fields};
pub use course::{Cookies, Course, Position, Step, Traffic, rising, weighted_steps};
pub use decide::decide;
pub use explain::explain;
pub use hook::{Answer, HookKind, HookResult};
pub use observation::{
    Apex, Backends, Evidence, InForce, Observation, Piece, Primary, Readiness, Records, Refusal,
    Route, Scaler, Target,
};
pub use plan::{Alert, Backend, Effect, Event, Plan, Severity};
pub use request::{Handled, Request, Verb};
pub use revision::{Revision, normalised};
pub use state::{Decision, Ending, HISTORY, Past, Phase, Run, Source, State};
pub use strategy::{Affinity, Limits, Strategy, StrategyError};
pub use summary::{Status, Summary, summarise};
pub use verdict::{Check, Judge, Measurement, Reading, Round, Rule, judge};
