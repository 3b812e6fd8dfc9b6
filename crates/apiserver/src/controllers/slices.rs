//! Placeholder.
use crate::store::Store;
pub(crate) async fn run(_store: Store) {}
