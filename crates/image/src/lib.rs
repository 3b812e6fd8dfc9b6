//! Images: which tags there are, which one is chosen, and the commit that writes it to Git.
//!
//! This room owns ImageRepository (the scan), ImagePolicy (the choice) and ImageUpdateAutomation
//! (the commit). Each pass is *observe → decide → act → record*, with the decision a pure function
//! in a file of its own; conditions, reasons and events carry the names that other tools know. A new
//! tag leads to a pushed commit by events alone: the scan wakes its policies, a policy's new choice
//! wakes the automations, and no step waits for an interval.
//!
//! It refuses to overwrite what somebody else pushed, to change a byte beside a marked scalar, to
//! share scanned tags between ImageRepositories, and to ignore a field that it does not support.

mod controllers;
mod desk;
mod policy;
mod repository;
mod secrets;
mod tags;
mod trouble;
mod update;
mod verdict;

pub use controllers::{Options, automation, reflector};
