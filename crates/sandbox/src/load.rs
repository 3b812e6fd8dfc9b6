//! Owns the load generator: requests at a steady rate through the gateway, counted by outcome and
//! by the version that answered. A late request does not wait for an earlier one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderName;
use serde_json::Value;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use weir_runtime::http::{Http, Request};

/// What came back so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests answered or given up.
    pub total: u64,
    /// Of these: no answer, or a status of 500 or more.
    pub failed: u64,
    /// Good answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
}

/// A running load generator; it stops when dropped.
pub struct Load {
    report: Arc<Mutex<LoadReport>>,
    _stop: DropGuard,
}

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most requests under way at once; past it, requests are left out rather than piled up.
const AT_ONCE: usize = 256;

impl Load {
    /// Starts sending `per_second` requests to `url` under the host name `host`.
    pub fn start(http: Http, url: Url, host: &str, per_second: u32) -> Self {
        Self::with(http, url, host, per_second, None)
    }

    /// The same with a header, by which a route may tell these requests from others.
    pub fn with(
        http: Http,
        url: Url,
        host: &str,
        per_second: u32,
        header: Option<(HeaderName, String)>,
    ) -> Self {
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let stop = CancellationToken::new();
        let limit = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let (counted, stopped, host) = (report.clone(), stop.clone(), host.to_owned());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let Ok(permit) = limit.clone().try_acquire_owned() else {
                    continue;
                };
                let mut request = Request::get(url.clone())
                    .timeout(TIMEOUT)
                    .header(http::header::HOST, &host);
                if let Some((name, value)) = &header {
                    request = request.header(name.clone(), value);
                }
                let (http, counted) = (http.clone(), counted.clone());
                tokio::spawn(async move {
                    let version = one(&http, request).await;
                    let mut report = counted.lock().unwrap_or_else(PoisonError::into_inner);
                    report.total += 1;
                    match version {
                        Some(version) => *report.versions.entry(version).or_default() += 1,
                        None => report.failed += 1,
                    }
                    drop(permit);
                });
            }
        });
        Self {
            report,
            _stop: stop.drop_guard(),
        }
    }

    /// What came back so far.
    pub fn report(&self) -> LoadReport {
        self.report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The version that answered; `None` for a failure.
async fn one(http: &Http, request: Request) -> Option<String> {
    let response = http.send(request).await.ok()?;
    if response.status.as_u16() >= 500 {
        return None;
    }
    let body = response.bytes(64 << 10).await.ok()?;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    Some(value["version"].as_str().unwrap_or("unknown").to_owned())
}
