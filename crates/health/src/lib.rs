//! Health rules: is this object as its spec asks?
//!
//! This room owns the answer for one object at one moment: [`health()`] for every kind, by the rules
//! that people know from `kubectl` and Flux; [`health_with_pods`] for workloads whose pods tell more
//! than they do; and [`deployment_ready`], the stricter question a canary asks of a Deployment.
//!
//! Everything is a pure function of values: it fetches nothing, waits for nothing and reads no
//! clock. It refuses to judge what needs an expression language; those rules are the user's.

mod conditions;
mod health;
mod kinds;
mod pod;
mod readiness;
mod workloads;

pub use health::{Health, health, health_with_pods};
pub use readiness::{Readiness, deployment_ready};
