//! Owns the tests of the HTTP face: requests in, whole answers out, no sockets.

mod apply;
mod authorization;
mod client;
mod controllers;
mod controllers_around;
mod controllers_jobs;
mod controllers_places;
mod controllers_scale;
mod controllers_sets;
mod definitions;
mod faults;
mod hostile;
mod identity;
mod objects;
mod policies;
mod protobuf;
mod reading;
mod removal;
mod reviews;
mod rules;
mod stage;
mod state_file;
mod support;
mod watches;
