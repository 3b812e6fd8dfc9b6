//! Owns a request's body while it is passed on: it streams to the backend and is kept, up to a
//! limit, so that it can be sent again or copied to a mirror. A body past the limit is passed on
//! all the same; it can then be neither. It never waits for anything but the body.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

/// A body that is kept while it is read. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tape(Arc<Mutex<Inner>>);

#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
struct Inner {
    source: Body,
    kept: Kept,
    /// The most that is kept.
    limit: usize,
    ended: bool,
    /// More came than is kept, or it broke off.
    lost: bool,
    /// Whether anything was read yet.
    begun: bool,
    /// The number of the reader whose turn it is; earlier ones read nothing more.
    reader: u64,
    reading: bool,
    waiting: Option<Waker>,
}

/// What a body consisted of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    chunks: Vec<Bytes>,
    size: usize,
    trailers: Option<HeaderMap>,
}

impl Kept {
    /// The same body once more.
    pub(crate) fn body(&self) -> Body {
        let data = self.chunks.clone().into_iter().map(Frame::data);
        let trailers = self.trailers.clone().map(Frame::trailers);
        let frames: Vec<_> = data
            .chain(trailers)
            .map(Ok::<_, std::convert::Infallible>)
            .collect();
        if frames.is_empty() {
            return Body::empty();
        }
        Body::new(http_body_util::StreamBody::new(futures::stream::iter(
            frames,
        )))
    }
}

impl Tape {
    pub(crate) fn new(source: Body, limit: usize) -> Self {
        let ended = source.is_end_stream();
        Self(Arc::new(Mutex::new(Inner {
            source,
            kept: Kept::default(),
            limit,
            ended,
            lost: false,
            begun: false,
            reader: 0,
            reading: false,
            waiting: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body from its beginning; `None` when that is no longer known.
    pub(crate) fn play(&self) -> Option<Body> {
        let mut inner = self.lock();
        if inner.lost && inner.begun {
            return None;
        }
        inner.reader += 1;
        inner.reading = true;
        if inner.ended && inner.kept.chunks.is_empty() && inner.kept.trailers.is_none() {
            inner.reading = false;
            return Some(Body::empty());
        }
        Some(Body::new(Reader {
            tape: self.clone(),
            number: inner.reader,
            at: 0,
            trailed: false,
        }))
    }

    /// The whole body, once the reader has read it or was dropped; the rest is then read here.
    /// `None` when it is longer than what is kept, or breaks off.
    pub(crate) async fn whole(&self) -> Option<Kept> {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            loop {
                if inner.lost {
                    return Poll::Ready(None);
                }
                if inner.ended {
                    return Poll::Ready(Some(inner.kept.clone()));
                }
                if inner.reading {
                    inner.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                if inner.pull(cx).is_pending() {
                    // A new reader may take over meanwhile, and then the source wakes that one.
                    inner.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

impl Inner {
    /// Reads one frame from the source and keeps it.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.source).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            return Poll::Pending;
        };
        self.begun = true;
        let out = match frame {
            None => {
                self.ended = true;
                None
            }
            Some(Err(broken)) => {
                self.lost = true;
                Some(Err(broken))
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.kept.size = self.kept.size.saturating_add(data.len());
                    if self.kept.size > self.limit {
                        self.lost = true;
                        self.kept.chunks.clear();
                    } else if !self.lost {
                        self.kept.chunks.push(data.clone());
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.kept.trailers = Some(trailers.clone());
                }
                if self.source.is_end_stream() {
                    self.ended = true;
                }
                Some(Ok(frame))
            }
        };
        if (self.ended || self.lost)
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
        Poll::Ready(out)
    }
}

struct Reader {
    tape: Tape,
    number: u64,
    at: usize,
    trailed: bool,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let tape = this.tape.clone();
        let mut inner = tape.lock();
        if inner.reader != this.number {
            let what = std::io::Error::other("the request is sent anew");
            return Poll::Ready(Some(Err(axum::Error::new(what))));
        }
        if !inner.lost {
            if let Some(chunk) = inner.kept.chunks.get(this.at) {
                this.at += 1;
                return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
            }
            if inner.ended {
                if let Some(trailers) = inner.kept.trailers.clone().filter(|_| !this.trailed) {
                    this.trailed = true;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                return Poll::Ready(None);
            }
        } else if inner.ended {
            return Poll::Ready(None);
        }
        let out = inner.pull(cx);
        if let Poll::Ready(Some(Ok(frame))) = &out {
            this.at = inner.kept.chunks.len();
            this.trailed |= frame.is_trailers();
        }
        out
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.tape.lock();
        inner.ended
            && (inner.lost || self.at >= inner.kept.chunks.len())
            && (self.trailed || inner.kept.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.tape.lock();
        let rest = inner.source.size_hint();
        // What is kept and unread comes before the rest.
        let kept: usize = inner.kept.chunks.iter().skip(self.at).map(Bytes::len).sum();
        let kept = kept as u64;
        match rest.exact() {
            Some(exact) => SizeHint::with_exact(exact.saturating_add(kept)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.tape.lock();
        if inner.reader == self.number {
            inner.reading = false;
            if let Some(waker) = inner.waiting.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn chunks(all: &'static [&'static str]) -> Body {
        let items = all
            .iter()
            .map(|c| Ok::<_, std::io::Error>(Bytes::from_static(c.as_bytes())));
        Body::from_stream(futures::stream::iter(items))
    }

    async fn read(body: Body) -> Result<String, String> {
        let all = body.collect().await.map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&all.to_bytes()).into_owned())
    }

    #[tokio::test]
    async fn a_body_is_read_again_from_its_beginning() {
        let tape = Tape::new(chunks(&["ab", "cd", "ef"]), 100);
        let mut first = tape.play().expect("a body");
        let frame = first.frame().await.expect("a frame").expect("read");
        assert_eq!(frame.into_data().ok(), Some(Bytes::from_static(b"ab")));
        // The second attempt begins at the beginning, and the first reads nothing more.
        let second = tape.play().expect("a body");
        assert!(first.frame().await.expect("a frame").is_err());
        assert_eq!(read(second).await, Ok("abcdef".into()));
        assert_eq!(
            read(tape.play().expect("a body")).await,
            Ok("abcdef".into())
        );
        let whole = tape.whole().await.expect("whole");
        assert_eq!(read(whole.body()).await, Ok("abcdef".into()));
    }

    #[tokio::test]
    async fn a_long_body_passes_but_is_not_kept() {
        let tape = Tape::new(chunks(&["abc", "def", "ghi"]), 5);
        assert_eq!(
            read(tape.play().expect("a body")).await,
            Ok("abcdefghi".into())
        );
        assert!(tape.play().is_none());
        assert!(tape.whole().await.is_none());
    }

    #[tokio::test]
    async fn what_the_backend_did_not_read_is_still_copied() {
        let tape = Tape::new(chunks(&["ab", "cd"]), 100);
        drop(tape.play().expect("a body"));
        let whole = tape.whole().await.expect("whole");
        assert_eq!(read(whole.body()).await, Ok("abcd".into()));
    }
}
