//! Placeholder.
use std::sync::Arc;
use crate::server::Inner;
use crate::store::Store;
pub(crate) async fn run(_store: Store, _clock: Arc<Inner>) {}
