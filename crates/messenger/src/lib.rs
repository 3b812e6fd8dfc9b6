//! Outgoing hooks and alerts.
//!
//! This room owns how a hook is called ([`call()`]): the exchange, its retries and its signature; and
//! how an alert reads in each of the services it can go to ([`message`], [`send`]). It refuses to
//! know who asks or why: payloads and texts are given. Addresses of such services are secrets, so
//! no failure shows more of one than its host.

mod alert;
mod call;

pub use alert::{Alert, AlertFailure, Channel, Message, Service, message, send};
pub use call::{Call, CallFailure, MOST_RETRIES, call};
