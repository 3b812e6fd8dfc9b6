//! The state machine from outside: every transition by whole value, the edges known to hurt, and a
//! model that drives it with random schedules and crashes.

mod courses;
mod edges;
mod model;
mod table;
mod transitions;
mod world;
