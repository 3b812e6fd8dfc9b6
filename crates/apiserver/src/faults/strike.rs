//! Owns what a strike does to a request and its answer: refusals instead of answers, answers that
//! are lost, bodies that lag or break off.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Ambiguity, Effect, FaultError, Span, Staleness, Strike};
use crate::answer;
use crate::body::{ApiBody, Cut};
use crate::bucket::Bucket;

/// How far behind a read is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOf {
    Changes(usize),
    Time(Instant),
}

impl AsOf {
    /// The earlier version of a kind's objects; `None` where it is no other than the newest, or not
    /// known any more.
    pub(crate) fn version(self, bucket: &Bucket) -> Option<u64> {
        match self {
            Self::Changes(count) => bucket.behind(count),
            Self::Time(at) => bucket.as_of(at),
        }
    }
}

/// What a request meets before it is done: an answer instead, or the wish to be done in the past.
pub(crate) async fn before(strike: &Strike, head: &mut Parts) -> Option<Response<ApiBody>> {
    if !strike.delay.is_zero() {
        tokio::time::sleep(strike.delay).await;
    }
    match strike.effect.as_ref()? {
        Effect::Error(error) => Some(refusal(error)),
        Effect::Drop(_) if !strike.watch => Some(cut()),
        Effect::Stale(stale) if !strike.watch => {
            let as_of = match (stale.changes, stale.age) {
                (Some(changes), _) => AsOf::Changes(changes),
                (None, Some(Span(age))) => {
                    let now = Instant::now();
                    AsOf::Time(now.checked_sub(age).unwrap_or(now))
                }
                (None, None) => return None,
            };
            head.extensions.insert(as_of);
            None
        }
        Effect::Drop(_) | Effect::Stale(_) | Effect::Ambiguous(_) => None,
    }
}

/// What becomes of the answer.
pub(crate) fn after(strike: &Strike, answer: Response<ApiBody>) -> Response<ApiBody> {
    match &strike.effect {
        Some(Effect::Ambiguous(what)) => match what {
            Ambiguity::Cut => cut(),
            Ambiguity::Timeout => refusal(&FaultError {
                code: 504,
                reason: None,
                message: None,
                retry_after: None,
            }),
            Ambiguity::Storage => refusal(&FaultError {
                code: 500,
                reason: Some(String::new()),
                message: Some("etcdserver: request timed out".to_owned()),
                retry_after: None,
            }),
        },
        Some(Effect::Stale(stale)) if strike.watch && answer.status().is_success() => {
            let stale = stale.clone();
            answer.map(|body| late(body, &stale))
        }
        Some(Effect::Drop(cutting)) if strike.watch && answer.status().is_success() => {
            let events = cutting.events;
            answer.map(|body| cut_after(body, events))
        }
        _ => answer,
    }
}

/// An answer that never comes: the connection breaks off instead.
fn cut() -> Response<ApiBody> {
    Response::new(ApiBody::breaking(futures::stream::iter([Err(Cut)])))
}

/// The usual reason and message of a status.
fn usual(code: u16) -> (&'static str, &'static str) {
    match code {
        400 => (
            "BadRequest",
            "the server rejected our request for an unknown reason",
        ),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden: by the fault plan"),
        404 => (
            "NotFound",
            "the server could not find the requested resource",
        ),
        409 => (
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => ("Expired", "too old resource version"),
        422 => ("Invalid", "invalid: by the fault plan"),
        429 => (
            "TooManyRequests",
            "Too many requests, please try again later.",
        ),
        500 => (
            "InternalError",
            "Internal error occurred: by the fault plan",
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => (
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        ),
        _ => ("", "by the fault plan"),
    }
}

fn refusal(error: &FaultError) -> Response<ApiBody> {
    let (reason, message) = usual(error.code);
    let reason = error.reason.as_deref().unwrap_or(reason);
    let wait = match (error.code, error.retry_after) {
        (_, Some(seconds)) => Some(seconds),
        (429, None) => Some(1),
        (_, None) => None,
    };
    let plain = error.code == 429 && error.reason.is_none() && error.message.is_none();
    let mut response = if plain {
        // A server that is too busy says so before it knows what is asked.
        answer::text(429, format!("{message}\n"))
    } else {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": error.message.as_deref().unwrap_or(message),
        });
        if let Value::Object(map) = &mut status {
            if !reason.is_empty() {
                map.insert("reason".to_owned(), reason.into());
            }
            if let Some(seconds) = wait {
                map.insert("details".to_owned(), json!({"retryAfterSeconds": seconds}));
            }
            map.insert("code".to_owned(), error.code.into());
        }
        answer::json(error.code, &status)
    };
    *response.status_mut() =
        StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A watch's body, event by event. What is no text of lines counts piece by piece.
struct Events {
    body: BoxStream<'static, Result<Bytes, Cut>>,
    rest: BytesMut,
    ready: VecDeque<Bytes>,
}

impl Events {
    fn of(body: ApiBody) -> Self {
        Self {
            body: body.into_data_stream().boxed(),
            rest: BytesMut::new(),
            ready: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            let piece = self.body.next().await?.ok()?;
            if self.rest.is_empty() && !piece.starts_with(b"{") {
                return Some(piece);
            }
            self.rest.extend_from_slice(&piece);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                self.ready.push_back(self.rest.split_to(end + 1).freeze());
            }
        }
    }
}

fn is_bookmark(line: &[u8]) -> bool {
    line.starts_with(b"{\"type\":\"BOOKMARK\"")
}

/// A body that breaks off after so many events.
fn cut_after(body: ApiBody, events: usize) -> ApiBody {
    let state = (Events::of(body), events, false);
    ApiBody::breaking(futures::stream::unfold(
        state,
        |(mut from, left, over)| async move {
            if over {
                return None;
            }
            if left == 0 {
                return Some((Err(Cut), (from, 0, true)));
            }
            let line = from.next().await?;
            let left = if is_bookmark(&line) { left } else { left - 1 };
            Some((Ok(line), (from, left, false)))
        },
    ))
}

/// A body whose events come late.
fn late(body: ApiBody, stale: &Staleness) -> ApiBody {
    let from = Events::of(body);
    match (stale.changes, stale.age) {
        (Some(changes), _) => behind(from, changes),
        (None, Some(Span(age))) => delayed(from, age),
        (None, None) => ApiBody::breaking(futures::stream::empty()),
    }
}

/// The last events are held back until others follow. The objects that were there at the beginning
/// are not, where the client asked for a mark at their end; other bookmarks would tell of what is
/// held back, and are left out.
fn behind(from: Events, changes: usize) -> ApiBody {
    let state = (from, VecDeque::<Bytes>::new(), false);
    let lines =
        futures::stream::unfold(state, move |(mut from, mut held, mut marked)| async move {
            loop {
                let line = from.next().await?;
                if is_bookmark(&line) {
                    let end = line.windows(INITIAL_END.len()).any(|w| w == INITIAL_END);
                    if end && !marked {
                        marked = true;
                        let mut all = BytesMut::new();
                        for event in held.drain(..) {
                            all.extend_from_slice(&event);
                        }
                        all.extend_from_slice(&line);
                        return Some((Ok(all.freeze()), (from, held, marked)));
                    }
                    if held.is_empty() {
                        return Some((Ok(line), (from, held, marked)));
                    }
                    continue;
                }
                held.push_back(line);
                if held.len() > changes
                    && let Some(event) = held.pop_front()
                {
                    return Some((Ok(event), (from, held, marked)));
                }
            }
        });
    ApiBody::breaking(lines)
}

const INITIAL_END: &[u8] = b"k8s.io/initial-events-end";

/// Every event comes so much later.
fn delayed(from: Events, age: Duration) -> ApiBody {
    let state = (from, VecDeque::<(Instant, Bytes)>::new(), false);
    let lines = futures::stream::unfold(state, move |(mut from, mut held, mut over)| async move {
        loop {
            let due = held.front().map(|(at, _)| *at);
            if over && due.is_none() {
                return None;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, line)) = held.pop_front() {
                        return Some((Ok(line), (from, held, over)));
                    }
                }
                line = from.next(), if !over => match line {
                    Some(line) => held.push_back((Instant::now() + age, line)),
                    None => over = true,
                },
            }
        }
    });
    ApiBody::breaking(lines)
}
