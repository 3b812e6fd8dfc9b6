//! The Weir program: one binary from a Git push to safe production traffic.
//!
//! It owns the command line and the wiring of the rooms below: [`controllers`] starts the
//! reconcilers on one set of caches, `demo` tells the whole story on the sandbox. It refuses to
//! decide anything about a release; that is done by `weir-rollout`.

mod cli;
pub mod controllers;
mod demo;
pub mod health;
pub mod leaders;
mod program;

pub use program::main;
