//! The sample application that is rolled out, as a router, so that it serves as a process in a pod
//! and in memory in a scenario alike.
//!
//! It owns a version, an error rate and a latency, all set by environment, and the metric
//! `http_request_duration_seconds` as the built-in checks of a Canary expect it. It refuses to be
//! useful for anything else.

mod metrics;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::time::Instant;

pub use metrics::Requests;
pub use settings::{Settings, Unusable};

struct App {
    settings: Settings,
    requests: Requests,
    answered: AtomicU64,
}

/// The application with these settings.
pub fn router(settings: Settings) -> Router {
    let app = Arc::new(App {
        settings,
        requests: Requests::default(),
        answered: AtomicU64::new(0),
    });
    Router::new()
        .route("/", get(index))
        .route("/version", get(version))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .route("/metrics", get(exposition))
        .with_state(app)
}

async fn index(State(app): State<Arc<App>>) -> Response {
    let started = Instant::now();
    let number = app.answered.fetch_add(1, Ordering::Relaxed);
    if !app.settings.latency.is_zero() {
        tokio::time::sleep(app.settings.latency).await;
    }
    let response = if fails(number, app.settings.error_rate) {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "this version is faulty\n",
        )
            .into_response()
    } else {
        let body = json!({"version": app.settings.version, "pod": app.settings.pod});
        axum::Json(body).into_response()
    };
    app.requests
        .observe("GET", "root", response.status().as_u16(), started.elapsed());
    response
}

async fn version(State(app): State<Arc<App>>) -> String {
    format!("{}\n", app.settings.version)
}

async fn exposition(State(app): State<Arc<App>>) -> Response {
    let media = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], app.requests.exposition()).into_response()
}

/// Whether request `number` fails, so that any run of requests fails at `rate` as evenly as whole
/// numbers allow. Chance has no part in it: a scenario must end the same way each time.
fn fails(number: u64, rate: f64) -> bool {
    let failures_before = |n: u64| (n as f64 * rate).floor();
    failures_before(number + 1) > failures_before(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_spread_evenly() {
        for (rate, expected) in [(0.0, 0), (0.02, 20), (0.25, 250), (1.0, 1000)] {
            let failed = (0..1000).filter(|n| fails(*n, rate)).count();
            assert_eq!(failed, expected, "at rate {rate}");
        }
    }
}
