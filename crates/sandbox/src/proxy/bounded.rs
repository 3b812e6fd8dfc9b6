//! Owns a body's bounds in time, and what is noted once it is over. A body that stalls, or that
//! goes on past its deadline, ends with a failure.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::metrics::{Hop, ProxyMetrics, Series};

/// How long a body may bring nothing.
const IDLE: Duration = Duration::from_mins(5);

/// What is counted once an answer is over, however it ends.
pub(crate) struct Observation {
    pub(crate) metrics: ProxyMetrics,
    pub(crate) series: Series,
    /// For the mesh: who sent, and who received if anyone did.
    pub(crate) hops: Vec<Hop>,
    pub(crate) started: Instant,
}

impl Observation {
    fn grpc_status(&mut self, headers: &http::HeaderMap) {
        let status = headers.get("grpc-status").and_then(|v| v.to_str().ok());
        // Only numbers are labels.
        if let Some(status) = status.filter(|s| s.len() < 4 && s.parse::<u8>().is_ok()) {
            for hop in &mut self.hops {
                status.clone_into(&mut hop.grpc_status);
            }
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.observe(&self.series, took);
        for hop in self.hops.drain(..) {
            self.metrics.observe_hop(hop, took);
        }
    }
}

/// A body with bounds.
pub(crate) struct Bounded {
    inner: Body,
    idle: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    stalled: Arc<AtomicBool>,
    observation: Option<Observation>,
}

impl Bounded {
    /// A request's body; says whether it stalled.
    pub(crate) fn request(inner: Body, idle: Duration) -> (Body, Arc<AtomicBool>) {
        let stalled = Arc::new(AtomicBool::new(false));
        if inner.is_end_stream() {
            return (inner, stalled);
        }
        let body = Self {
            inner,
            idle,
            waiting: None,
            deadline: None,
            stalled: stalled.clone(),
            observation: None,
        };
        (Body::new(body), stalled)
    }

    /// An answer's body, observed at its end.
    pub(crate) fn answer(
        inner: Body,
        headers: &http::HeaderMap,
        deadline: Option<Instant>,
        mut observation: Observation,
    ) -> Body {
        observation.grpc_status(headers);
        Body::new(Self {
            inner,
            idle: IDLE,
            waiting: None,
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            stalled: Arc::default(),
            observation: Some(observation),
        })
    }

    fn give_up(&mut self, what: &str) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.stalled.store(true, Ordering::Relaxed);
        self.inner = Body::empty();
        self.observation = None;
        Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(
            what.to_owned(),
        )))))
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(frame) = polled {
            self.waiting = None;
            if let (Some(Ok(frame)), Some(observation)) = (&frame, &mut self.observation)
                && let Some(trailers) = frame.trailers_ref()
            {
                observation.grpc_status(trailers);
            }
            if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
                self.observation = None;
            }
            return Poll::Ready(frame);
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.deadline = None;
            return self.give_up("the request's time is over");
        }
        let idle = self.idle;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if waiting.as_mut().poll(cx).is_ready() {
            self.waiting = None;
            return self.give_up("nothing came for too long");
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_ends_with_a_failure() {
        let begun = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from("a")) });
        let stalls = futures::StreamExt::chain(begun, futures::stream::pending());
        let (mut body, stalled) =
            Bounded::request(Body::from_stream(stalls), Duration::from_mins(1));
        let first = body.frame().await.expect("a frame").expect("read");
        assert_eq!(first.into_data().ok(), Some(Bytes::from("a")));
        assert!(!stalled.load(Ordering::Relaxed));
        let before = Instant::now();
        assert!(body.frame().await.expect("a frame").is_err());
        assert_eq!(before.elapsed().as_secs(), 60);
        assert!(stalled.load(Ordering::Relaxed) && body.frame().await.is_none());
    }
}
