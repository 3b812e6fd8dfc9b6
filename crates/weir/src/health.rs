//! Owns metrics and health of the process: alive is that it answers, ready that what it watches is
//! complete and that it either plays its roles or stands by for another Weir.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use weir_runtime::Context;
use weir_runtime::lease::Standing;

use crate::leaders::Standings;

/// What keeps the process from being ready, a line each.
pub fn missing(context: &Context, standings: &Standings) -> Vec<String> {
    let mut out = context.caches.incomplete();
    for (role, standing) in standings.all() {
        let lease = role.lease(&context.shard);
        match standing {
            Standing::Held | Standing::Peer(_) => {}
            Standing::Unknown => out.push(format!("the lease {lease} was not read yet")),
            Standing::Foreign(holder) => out.push(format!(
                "{} is played by another controller: {holder} holds the lease {lease}",
                role.name()
            )),
        }
    }
    out
}

/// `/metrics`, `/healthz` and `/readyz`.
pub fn router(context: &Context, standings: &Standings) -> Router {
    let metrics = context.metrics.clone();
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(
                |State((context, standings)): State<(Context, Standings)>| async move {
                    let missing = missing(&context, &standings);
                    if missing.is_empty() {
                        (StatusCode::OK, "ok\n".to_owned())
                    } else {
                        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
                    }
                },
            ),
        )
        .route(
            "/metrics",
            get(move || async move {
                let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, media)], metrics.encode())
            }),
        )
        .with_state((context.clone(), standings.clone()))
}
