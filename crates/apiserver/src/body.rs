//! Owns the bodies of answers: whole, or a stream of frames for watches.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, Stream};
use http_body::{Body, Frame, SizeHint};

/// The connection was cut, as a fault plan asked for. Retryable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection was cut by the fault plan")]
pub struct Cut;

/// An answer's body. It fails only where a fault plan cuts it.
pub struct ApiBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    /// A stream that may break off.
    Breaking(Pin<Box<dyn Stream<Item = Result<Bytes, Cut>> + Send>>),
}

impl ApiBody {
    /// A body that is known at once.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Whole(Some(bytes.into())))
    }

    /// A body that comes in pieces.
    pub(crate) fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(stream)))
    }

    /// A body that comes in pieces and may break off.
    pub(crate) fn breaking(
        stream: impl Stream<Item = Result<Bytes, Cut>> + Send + 'static,
    ) -> Self {
        Self(Inner::Breaking(Box::pin(stream)))
    }

    /// The whole of a body, pieces that are ready put together. A stream that would have to wait
    /// ends there.
    pub(crate) fn gathered(self) -> Bytes {
        use futures::StreamExt as _;
        match self.0 {
            Inner::Whole(bytes) => bytes.unwrap_or_default(),
            Inner::Stream(mut stream) => {
                let mut out = BytesMut::new();
                while let Some(Some(piece)) = stream.next().now_or_never() {
                    out.extend_from_slice(&piece);
                }
                out.freeze()
            }
            // What a fault plan breaks off is not put together.
            Inner::Breaking(_) => Bytes::new(),
        }
    }

    /// A stream of lines, each in another form. Other bodies stay as they are.
    pub(crate) fn map_lines(self, change: fn(&[u8]) -> Bytes) -> Self {
        use futures::StreamExt as _;
        let Inner::Stream(stream) = self.0 else {
            return self;
        };
        // A piece may hold several lines, and end within one.
        let mut rest = BytesMut::new();
        Self::stream(stream.map(move |piece| {
            rest.extend_from_slice(&piece);
            let mut out = BytesMut::new();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                out.extend_from_slice(&change(&line));
            }
            out.freeze()
        }))
    }
}

impl std::fmt::Debug for ApiBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Whole(_) => "ApiBody(whole)",
            Inner::Stream(_) | Inner::Breaking(_) => "ApiBody(stream)",
        })
    }
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.0 {
            Inner::Whole(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|b| !b.is_empty())
                    .map(|b| Ok(Frame::data(b))),
            ),
            Inner::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Breaking(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|next| next.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Inner::Stream(_) | Inner::Breaking(_) => SizeHint::default(),
        }
    }
}
