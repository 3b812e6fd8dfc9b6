//! Owns the tests of the HTTP face: requests in, whole answers out, no sockets.

mod apply;
mod client;
mod controllers;
mod definitions;
mod objects;
mod removal;
mod support;
mod watches;
