//! Owns the tests of the HTTP face: requests in, whole answers out, no sockets.

mod apply;
mod authorization;
mod client;
mod controllers;
mod definitions;
mod faults;
mod hostile;
mod objects;
mod protobuf;
mod reading;
mod removal;
mod support;
mod watches;
