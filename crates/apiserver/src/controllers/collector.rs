//! Placeholder.
use std::sync::Arc;
use crate::server::Inner;
pub(crate) async fn run(_clock: Arc<Inner>) {}
