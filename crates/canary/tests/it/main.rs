//! The reconciler on an API server in memory, under virtual time: a small cluster that makes
//! Deployments ready and accepts routes, and a Prometheus that says what it is told to.

mod configs;
mod courses;
mod daemon_sets;
mod hooks;
mod scalers;
mod services;
mod stage;
mod story;
mod trouble;
