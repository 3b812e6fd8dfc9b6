//! Owns a watch's answer: the events of a feed as lines, with bookmarks and an end. It refuses to
//! wait without a limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Response};
use serde_json::json;
use tokio::time::Instant;
use weir_object::path;

use crate::answer;
use crate::body::ApiBody;
use crate::options;
use crate::read;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::request::{Query, View};
use crate::server::{ApiServer, Now};
use crate::state::State;
use crate::stored::Recent;
use crate::table;
use crate::watch::{End, Feed, Notice, Word, bookmark};

/// A watch without a limit of its own ends after this.
const USUAL: Duration = Duration::from_mins(45);
/// No watch is longer.
const LONGEST: Duration = Duration::from_hours(24);
/// Bookmarks come this often.
const BOOKMARKS: Duration = Duration::from_mins(1);
/// One more comes this long before the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Lines written in one piece.
const PIECE: usize = 64 * 1024;

/// Answers a watch.
pub(crate) fn watch(
    server: &ApiServer,
    state: &State,
    resource: &Arc<Resource>,
    namespace: Option<&str>,
    query: &Query,
    view: View,
) -> Result<Response<ApiBody>, Refusal> {
    let wish = options::watching(query)?;
    query.selector.check(resource)?;
    let mut pending = VecDeque::new();
    let mut last = None;
    if let Err(refusal) = read::reached(state, wish.least) {
        last = Some(refusal);
    } else if wish.initial {
        for stored in state.all(resource.storage, namespace) {
            if query.selector.selects(stored, || stored.read()) {
                pending.push_back(Notice::kept(Word::Added, stored.clone()));
            }
        }
        if wish.marked {
            pending.push_back(bookmark(resource, state.version, true));
        }
    }
    let from = wish.from.unwrap_or(state.version);
    let feed = Feed::open(
        server.0.clone(),
        state,
        resource.clone(),
        namespace.map(str::to_owned),
        query.selector.clone(),
        from,
    );
    let feed = match feed {
        Ok(feed) => Some(feed),
        Err(End::Closed) => return Err(Refusal::NoResource),
        Err(End::Expired(refusal)) => {
            last = Some(refusal);
            None
        }
    };
    let limit = query
        .timeout
        .map_or(USUAL, Duration::from_secs)
        .min(LONGEST);
    let start = Instant::now();
    let stream = Lines {
        resource: resource.clone(),
        feed,
        pending,
        last,
        deadline: start + limit,
        farewell: (limit > FAREWELL).then(|| start + limit - FAREWELL),
        bookmark_at: start + BOOKMARKS,
        bookmarks: query.bookmarks,
        view,
        include: query.include.clone(),
        now: server.0.now.clone(),
        recent: state.recent.clone(),
        first: true,
        over: false,
    };
    let body = futures::stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((piece, stream))
    });
    let mut response = Response::new(ApiBody::stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        HeaderName::from_static("cache-control"),
        HeaderValue::from_static("no-cache, private"),
    );
    Ok(response)
}

struct Lines {
    resource: Arc<Resource>,
    feed: Option<Feed>,
    pending: VecDeque<Notice>,
    /// Why the feed ended, to be told last.
    last: Option<Refusal>,
    deadline: Instant,
    farewell: Option<Instant>,
    bookmark_at: Instant,
    bookmarks: bool,
    view: View,
    include: Option<String>,
    now: Now,
    recent: Arc<Recent>,
    first: bool,
    over: bool,
}

impl Lines {
    /// The next piece of the body, or the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.pending.is_empty() {
                return Some(self.piece());
            }
            if let Some(refusal) = self.last.take() {
                self.feed = None;
                let notice = Notice::new(Word::Error, Arc::new(refusal.status()));
                let mut line = Vec::new();
                notice.write(&self.resource, &mut line);
                return Some(line.into());
            }
            if self.over {
                return None;
            }
            let bookmark_at = self
                .farewell
                .map_or(self.bookmark_at, |at| at.min(self.bookmark_at));
            let feed = self.feed.as_mut()?;
            tokio::select! {
                biased;
                batch = feed.next() => match batch {
                    Ok(batch) => self.pending.extend(batch),
                    Err(End::Closed) => self.over = true,
                    Err(End::Expired(refusal)) => self.last = Some(refusal),
                },
                () = tokio::time::sleep_until(bookmark_at), if self.bookmarks => {
                    self.bookmark_at = Instant::now() + BOOKMARKS;
                    self.farewell = self.farewell.filter(|at| *at > Instant::now());
                    self.mark();
                }
                () = tokio::time::sleep_until(self.deadline) => self.over = true,
            }
        }
    }

    /// Adds a bookmark.
    fn mark(&mut self) {
        let Some(feed) = self.feed.as_mut().filter(|_| self.bookmarks) else {
            return;
        };
        // Moves the position on past what other kinds did.
        match feed.poll() {
            Ok(batch) => self.pending.extend(batch),
            Err(_) => return,
        }
        let bookmark = bookmark(&self.resource, feed.position(), false);
        self.pending.push_back(bookmark);
    }

    fn piece(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(4096);
        while let Some(notice) = self.pending.pop_front() {
            match self.view {
                View::Plain => notice.write(&self.resource, &mut out),
                _ => self.shown(&notice).write(&self.resource, &mut out),
            }
            if out.len() >= PIECE {
                break;
            }
        }
        out.into()
    }

    /// The event in a form that is not the object's own.
    fn shown(&mut self, notice: &Notice) -> Notice {
        let object = notice.object(&self.resource, &self.recent);
        let shown = match self.view {
            View::Table(shared) => {
                let version = path::text(&object, &["metadata", "resourceVersion"]);
                let meta = json!({"resourceVersion": version});
                let rows = std::slice::from_ref(&object);
                let include = self.include.as_deref();
                let first = std::mem::take(&mut self.first);
                table::render(
                    &self.resource,
                    rows,
                    &meta,
                    include,
                    (self.now)(),
                    shared,
                    first,
                )
            }
            View::Partial(shared) | View::Partials(shared) => answer::partial(&object, shared),
            View::Plain => return notice.clone(),
        };
        Notice::new(notice.word, Arc::new(shown))
    }
}
