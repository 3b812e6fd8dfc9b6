//! Owns the controllers.

use crate::server::ApiServer;

/// Runs all controllers.
pub(crate) async fn run(server: ApiServer) {
    let _ = server;
    std::future::pending::<()>().await;
}
