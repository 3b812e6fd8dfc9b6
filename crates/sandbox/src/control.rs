//! Owns the sandbox's own controls, served at the API's port under `/sandbox/`: the time, and the
//! objects as manifests. They are the administrator's; the port asks for its token first.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use weir_runtime::SharedClock;

use crate::tempo::Tempo;

/// What the controls act on.
pub(crate) struct Controls {
    pub(crate) clock: SharedClock,
    /// There is one where time is virtual.
    pub(crate) tempo: Option<Tempo>,
}

/// The controls' router.
pub(crate) fn router(controls: Controls) -> Router {
    Router::new()
        .route("/sandbox/clock", get(clock).post(advance))
        .with_state(Arc::new(controls))
}

fn told(controls: &Controls) -> Response {
    let time = controls.clock.now().to_string();
    axum::Json(json!({"time": time, "virtual": controls.tempo.is_some()})).into_response()
}

fn refused(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(json!({"message": why}))).into_response()
}

async fn clock(State(controls): State<Arc<Controls>>) -> Response {
    told(&controls)
}

#[derive(serde::Deserialize)]
struct Advance {
    /// Whole seconds; Go's and Kubernetes' durations are read by the command line.
    seconds: Option<u64>,
}

async fn advance(State(controls): State<Arc<Controls>>, Query(asked): Query<Advance>) -> Response {
    let Some(tempo) = &controls.tempo else {
        return refused("the sandbox runs in real time; start it with `--clock virtual`");
    };
    let Some(seconds) = asked.seconds else {
        return refused("say how far: `?seconds=600`");
    };
    match tempo.advance(Duration::from_secs(seconds)).await {
        Ok(()) => told(&controls),
        Err(failure) => refused(&failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;
    use weir_runtime::{SystemClock, VirtualClock};

    async fn post(router: &Router, path: &str) -> (u16, String) {
        let request = Request::post(path).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        let code = response.status().as_u16();
        let body = crate::memory::read_body(response.into_body(), 1 << 16).await;
        (
            code,
            String::from_utf8_lossy(&body.expect("short")).into_owned(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_is_told_and_moved() {
        let clock = Arc::new(VirtualClock::starting_at(jiff::Timestamp::UNIX_EPOCH));
        let router = router(Controls {
            clock,
            tempo: Some(Tempo::start()),
        });
        let (code, body) = post(&router, "/sandbox/clock?seconds=86400").await;
        assert_eq!(code, 200, "{body}");
        assert!(body.contains("1970-01-02T"), "{body}");
        let (code, body) = post(&router, "/sandbox/clock").await;
        assert_eq!(code, 400, "{body}");
        let (code, body) = post(&router, "/sandbox/clock?seconds=99999999").await;
        assert!(
            code == 400 && body.contains("at most 31 days"),
            "{code} {body}"
        );
    }

    #[tokio::test]
    async fn real_time_cannot_be_moved() {
        let router = router(Controls {
            clock: Arc::new(SystemClock),
            tempo: None,
        });
        let (code, body) = post(&router, "/sandbox/clock?seconds=1").await;
        assert!(
            code == 400 && body.contains("--clock virtual"),
            "{code} {body}"
        );
    }
}
