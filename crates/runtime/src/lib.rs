//! What every reconciler shares.
//!
//! One shape serves all of them: *observe → decide → intend → act → record*. This room owns what
//! that shape stands on: the [`Clock`], the keyed [`queue`] with its timers, the shared watch
//! [`Caches`], the [`Controller`] that ties them to a [`Reconciler`], the [`ApiClient`] whose every
//! reply is fed back to the caches, [`conditions`] and status patches, the event [`Recorder`],
//! [`Metrics`], and the one HTTP and TLS seam, [`http`].
//!
//! It refuses to know any kind: rules live in the reconcilers' `decide` functions.

mod api_client;
mod blocked;
mod cache;
mod clock;
pub mod conditions;
mod context;
mod controller;
mod failure;
mod gate;
mod grant;
pub mod http;
mod interval;
pub mod kinds;
pub mod lease;
mod metrics;
pub mod queue;
mod recorder;
mod secret;
mod secret_data;
mod status;
mod store;
pub mod tls;

pub use api_client::{ApiClient, Applied, Propagation, Write};
pub use cache::Caches;
pub use clock::{Clock, SharedClock, SystemClock, VirtualClock};
pub use context::Context;
pub use controller::{Controller, ControllerOptions, Outcome, Reconciler};
pub use failure::{ApiFailure, Refusal};
pub use gate::{Gate, PAUSE, reason as pause_reason};
pub use interval::jittered;
pub use metrics::Metrics;
pub use recorder::{EventKind, Recorder};
pub use secret::Secret;
pub use secret_data::{SecretData, UnusableSecret};
pub use status::{merge_between, patch_status};
pub use store::{Change, Projection, Store, WatchOf};
