//! Owns the traffic: requests at a steady rate, counted by what came of them. A late request does not
//! wait for an earlier one, and more than so many at once are left out rather than piled up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, Method};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use weir_runtime::http::{Http, Request};

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to.
    pub url: Url,
    /// How.
    pub method: Method,
    /// With what headers.
    pub headers: Vec<(HeaderName, String)>,
    /// With what body.
    pub body: String,
    /// How many a second.
    pub per_second: u32,
    /// How many at once at most.
    pub at_once: usize,
    /// For how long.
    pub duration: Duration,
    /// How many at most; no limit where it is not set.
    pub requests: Option<u64>,
    /// How long one may take.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests that were answered or given up.
    pub total: u64,
    /// Requests that were left out, because too many were under way.
    pub left_out: u64,
    /// Answers by status; 0 is none.
    pub statuses: BTreeMap<u16, u64>,
    /// Times of the answers in milliseconds, sorted.
    times: Vec<u32>,
}

/// The most times that are kept for quantiles.
const MOST_TIMES: usize = 100_000;

impl Outcome {
    /// The time that this share of the answers stayed under, in milliseconds.
    pub fn quantile(&self, share: f64) -> Option<u32> {
        let last = self.times.len().checked_sub(1)?;
        // Ranks are far below 2^53.
        let rank = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.times.get(rank.min(last)).copied()
    }

    /// One line for a log.
    pub fn line(&self) -> String {
        let statuses: Vec<String> = self
            .statuses
            .iter()
            .map(|(status, n)| match status {
                0 => format!("{n} without an answer"),
                status => format!("{n} with {status}"),
            })
            .collect();
        let quantile = |q| self.quantile(q).unwrap_or_default();
        format!(
            "{} requests: {}; half within {} ms, 99 % within {} ms; {} left out",
            self.total,
            statuses.join(", "),
            quantile(0.5),
            quantile(0.99),
            self.left_out
        )
    }
}

/// Sends it, until the plan is done or `stop` says so.
pub async fn generate(http: &Http, plan: &Plan, stop: &CancellationToken) -> Outcome {
    let outcome: Arc<Mutex<Outcome>> = Arc::default();
    let limit = Arc::new(Semaphore::new(plan.at_once.max(1)));
    let end = Instant::now() + plan.duration;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tasks = TaskTracker::new();
    let mut sent = 0u64;
    while plan.requests.is_none_or(|most| sent < most) {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(end) => break,
            _ = ticks.tick() => {}
        }
        let Ok(permit) = limit.clone().try_acquire_owned() else {
            outcome
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .left_out += 1;
            continue;
        };
        sent += 1;
        let (http, outcome, plan) = (http.clone(), outcome.clone(), plan.clone());
        tasks.spawn(async move {
            let begun = Instant::now();
            let status = one(&http, &plan).await;
            let took = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.total += 1;
            *outcome.statuses.entry(status).or_default() += 1;
            if status != 0 && outcome.times.len() < MOST_TIMES {
                outcome.times.push(took);
            }
            drop(permit);
        });
    }
    tasks.close();
    // Each ends by its own timeout.
    tasks.wait().await;
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    outcome.times.sort_unstable();
    std::mem::take(&mut outcome)
}

async fn one(http: &Http, plan: &Plan) -> u16 {
    let mut request = Request::new(plan.method.clone(), plan.url.clone()).timeout(plan.timeout);
    request.body = plan.body.clone().into();
    request.follow_redirects = false;
    for (name, value) in &plan.headers {
        request = request.header(name.clone(), value);
    }
    match http.send(request).await {
        Ok(response) => {
            let status = response.status.as_u16();
            // The body is part of the answer; what is too much of it is not read.
            let _ = response.bytes(16 << 20).await;
            status
        }
        Err(_) => 0,
    }
}
