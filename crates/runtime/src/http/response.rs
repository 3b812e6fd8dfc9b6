//! Owns one response: its head, and a body that is read with a limit and a deadline.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::HttpError;

/// A response body as it arrives. Ends with a failure when the exchange's deadline passes.
pub struct BodyStream {
    inner: Pin<Box<dyn Stream<Item = Result<Bytes, HttpError>> + Send>>,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    url: String,
    timeout: Duration,
}

impl BodyStream {
    /// A body from a stream.
    pub fn new(stream: impl Stream<Item = Result<Bytes, HttpError>> + Send + 'static) -> Self {
        Self {
            inner: Box::pin(stream),
            deadline: None,
            url: String::new(),
            timeout: Duration::ZERO,
        }
    }

    /// A body that is already there.
    pub fn full(bytes: Bytes) -> Self {
        Self::new(futures::stream::iter([Ok(bytes)]))
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, HttpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(item) = self.inner.poll_next_unpin(cx) {
            return Poll::Ready(item);
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.deadline = None;
            self.inner = Box::pin(futures::stream::empty());
            let (url, timeout) = (self.url.clone(), self.timeout);
            return Poll::Ready(Some(Err(HttpError::Timeout { url, timeout })));
        }
        Poll::Pending
    }
}

/// One response.
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: BodyStream,
}

impl Response {
    /// A response whose body is already there.
    pub fn full(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers,
            body: BodyStream::full(body.into()),
        }
    }

    pub(super) fn with_deadline(mut self, at: Instant, url: String, timeout: Duration) -> Self {
        self.body.deadline = Some(Box::pin(tokio::time::sleep_until(at)));
        self.body.url = url;
        self.body.timeout = timeout;
        self
    }

    /// A header's text.
    pub fn header(&self, name: http::header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body, at most `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, HttpError> {
        let url = self.body.url.clone();
        let mut out = BytesMut::new();
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk?;
            if out.len() + chunk.len() > limit {
                return Err(HttpError::TooLarge { url, limit });
            }
            out.extend_from_slice(&chunk);
        }
        Ok(out.freeze())
    }

    /// The whole body as text; bytes that are not UTF-8 are replaced.
    pub async fn text(self, limit: usize) -> Result<String, HttpError> {
        let bytes = self.bytes(limit).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The whole body as JSON.
    pub async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T, HttpError> {
        let url = self.body.url.clone();
        let bytes = self.bytes(limit).await?;
        serde_json::from_slice(&bytes).map_err(|e| HttpError::Broken {
            url,
            what: format!("the body is not as expected: {e}"),
        })
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({})", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Http, Request, Transport};
    use super::*;

    struct Endless;

    #[async_trait::async_trait]
    impl Transport for Endless {
        async fn send(&self, request: Request) -> Result<Response, HttpError> {
            let body: BodyStream = if request.url.path() == "/hang" {
                BodyStream::new(futures::stream::pending())
            } else {
                BodyStream::new(futures::stream::repeat_with(|| {
                    Ok(Bytes::from_static(b"0123456789"))
                }))
            };
            Ok(Response {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body,
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded_in_size_and_time() {
        let http = Http::new(Endless);
        let url = |p: &str| url::Url::parse(&format!("http://a{p}")).expect("a URL");
        let large = http
            .send(Request::get(url("/big")))
            .await
            .expect("a head")
            .bytes(25)
            .await;
        assert_eq!(
            large,
            Err(HttpError::TooLarge {
                url: "http://a/big".into(),
                limit: 25
            })
        );
        let timeout = Duration::from_secs(5);
        let slow = http
            .send(Request::get(url("/hang")).timeout(timeout))
            .await
            .expect("a head");
        assert_eq!(
            slow.bytes(25).await,
            Err(HttpError::Timeout {
                url: "http://a/hang".into(),
                timeout
            })
        );
    }
}
