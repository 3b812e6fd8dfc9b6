//! The load tester and its gates.
//!
//! This room owns what a Canary's hooks can ask for: gates that people open and close ([`Gates`]),
//! and tasks that send traffic ([`Task`]), behind one router ([`Tester`]) with the routes, bodies and
//! statuses that are known. Traffic is made here, by [`generate()`]; the usual command lines of `hey`
//! are understood and run nothing.
//!
//! It refuses to run programs unless it is told which, and it refuses a shell unless it is told so:
//! whoever can reach it could otherwise run anything as it.

mod command;
mod gates;
mod generate;
mod server;
mod task;

pub use command::{BadCommand, words};
pub use gates::{Gate, GateFailure, Gates};
pub use generate::{Outcome, Plan, generate};
pub use server::{Options, Tester};
pub use task::{BadTask, Programs, Task};
