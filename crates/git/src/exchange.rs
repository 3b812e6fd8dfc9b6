//! Owns one operation's meeting of two worlds: libgit2, which blocks and calls back, and the HTTP
//! seam, which is async.
//!
//! libgit2 runs on a thread of its own and sends each wish (begin an exchange, give me the next
//! bytes) to the driver, an async function that performs it and replies. While the thread computes,
//! the driver waits for it inside `spawn_blocking`, which also keeps a paused tokio clock from
//! running ahead; while an exchange is under way nothing blocks, so a virtual clock may move and a
//! silent server does time out in a scenario. Dropping the driver ends the thread at its next wish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::{io, thread};

use bytes::Bytes;
use futures::StreamExt as _;
use git2::transport::Service;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION, USER_AGENT};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use url::Url;
use weir_runtime::http::{BodyStream, Http, HttpError, Request, Response, masked};

use crate::{Credentials, GitError, Limits, Remote, transport};

/// Servers of some vendors answer only those whose name starts like this.
const AGENT: &str = concat!("git/2.0 (weir ", env!("CARGO_PKG_VERSION"), ")");
const MAX_REDIRECTS: usize = 5;

/// What the thread wishes of the driver.
enum Ask {
    Begin { service: Service, body: Bytes },
    Chunk,
}

/// What the driver replies.
enum Reply {
    Begun,
    Chunk(Bytes),
    End,
    /// The cause is kept by the driver, which tells it better than libgit2 could.
    Failed,
}

/// The thread's end of the line.
pub(crate) struct Wire {
    asks: mpsc::Sender<Ask>,
    replies: Mutex<mpsc::Receiver<Reply>>,
    body_limit: usize,
}

impl Wire {
    fn ask(&self, ask: Ask) -> io::Result<Reply> {
        let gone = || io::Error::new(io::ErrorKind::ConnectionAborted, "the operation was ended");
        self.asks.send(ask).map_err(|_| gone())?;
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        match replies.recv().map_err(|_| gone())? {
            Reply::Failed => Err(io::Error::other("the exchange failed")),
            reply => Ok(reply),
        }
    }

    /// Sends a request; returns when the head of the response is there.
    pub(crate) fn begin(&self, service: Service, body: Vec<u8>) -> io::Result<()> {
        self.ask(Ask::Begin {
            service,
            body: body.into(),
        })
        .map(|_| ())
    }

    /// The next bytes of the response; `None` at its end.
    pub(crate) fn chunk(&self) -> io::Result<Option<Bytes>> {
        match self.ask(Ask::Chunk)? {
            Reply::Chunk(bytes) => Ok(Some(bytes)),
            Reply::Begun | Reply::End | Reply::Failed => Ok(None),
        }
    }

    /// The most bytes one request may have.
    pub(crate) fn body_limit(&self) -> usize {
        self.body_limit
    }
}

/// Tells the thread to stop computing. Set when time is up or nobody waits any more.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `job` on a thread where remotes reach `remote` through `http`, within the remote's timeout.
pub(crate) async fn run<T: Send + 'static>(
    http: &Http,
    remote: &Remote,
    limits: &Limits,
    permits: &Arc<Semaphore>,
    job: impl FnOnce(&Stop) -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    let deadline = Instant::now() + remote.timeout;
    let late = || GitError::Timeout {
        url: remote.shown(),
        timeout: remote.timeout,
    };
    let local = |what: &str| GitError::Local {
        doing: "running libgit2",
        what: what.to_owned(),
    };
    transport::register().map_err(|what| local(&what))?;
    let permit = timeout_at(deadline, permits.clone().acquire_owned())
        .await
        .map_err(|_| late())?
        .map_err(|_| local("the pool of operations is closed"))?;

    let (asks, mut asked) = mpsc::channel();
    let (reply, replies) = mpsc::channel();
    let (done, result) = oneshot::channel();
    let stop = Stop::default();
    let _stop_on_drop = StopOnDrop(stop.clone());
    let wire = Wire {
        asks,
        replies: Mutex::new(replies),
        body_limit: limits.pack_bytes,
    };
    let flag = stop.clone();
    thread::Builder::new()
        .name("weir-git".to_owned())
        .spawn(move || {
            let _permit = permit;
            transport::with_wire(wire, || {
                // The result is there before the line closes, so the driver never waits for it
                // with nothing blocking, when a paused clock would run ahead.
                let _ = done.send(job(&flag));
            });
        })
        .map_err(|e| local(&e.to_string()))?;

    let mut driver = Driver {
        http,
        remote,
        limits,
        deadline,
        base: remote.url.clone(),
        credentials: remote.credentials.clone(),
        body: None,
        allowed: 0,
        failure: None,
    };
    // Bounded by the thread: it ends when the job does, or at its first wish after a failure.
    loop {
        let mut waiting = tokio::task::spawn_blocking(move || {
            let ask = asked.recv();
            (asked, ask)
        });
        let joined = tokio::select! {
            biased;
            joined = &mut waiting => joined,
            () = tokio::time::sleep_until(deadline) => {
                stop.0.store(true, Ordering::Relaxed);
                waiting.await
            }
        };
        let Ok((back, ask)) = joined else {
            return Err(local("the runtime is shutting down"));
        };
        asked = back;
        let Ok(ask) = ask else { break };
        if reply.send(driver.answer(ask).await).is_err() {
            break;
        }
    }
    let failed = match result.await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(failed)) => failed,
        Err(_) => local("the operation stopped without a result"),
    };
    // The driver's cause says more than what libgit2 made of it.
    Err(driver
        .failure
        .unwrap_or_else(|| if stop.is_set() { late() } else { failed }))
}

struct Driver<'a> {
    http: &'a Http,
    remote: &'a Remote,
    limits: &'a Limits,
    deadline: Instant,
    /// Where the repository is, after redirects.
    base: Url,
    credentials: Credentials,
    body: Option<BodyStream>,
    /// Bytes that may still come in this exchange.
    allowed: usize,
    /// Why the last exchange failed.
    failure: Option<GitError>,
}

impl Driver<'_> {
    async fn answer(&mut self, ask: Ask) -> Reply {
        let replied = match ask {
            Ask::Begin { service, body } => {
                self.failure = None;
                self.begin(service, body).await.map(|()| Reply::Begun)
            }
            Ask::Chunk => self.chunk().await,
        };
        replied.unwrap_or_else(|failure| {
            self.body = None;
            self.failure = Some(failure);
            Reply::Failed
        })
    }

    async fn begin(&mut self, service: Service, body: Bytes) -> Result<(), GitError> {
        let (name, listing) = match service {
            Service::UploadPackLs => ("git-upload-pack", true),
            Service::ReceivePackLs => ("git-receive-pack", true),
            Service::UploadPack => ("git-upload-pack", false),
            Service::ReceivePack => ("git-receive-pack", false),
        };
        let (response, wanted) = if listing {
            let response = self.list(name).await?;
            (response, format!("application/x-{name}-advertisement"))
        } else {
            let request = Request::post(below(&self.base, name), body)
                .header(CONTENT_TYPE, &format!("application/x-{name}-request"))
                .header(ACCEPT, &format!("application/x-{name}-result"));
            (
                self.send(request).await?,
                format!("application/x-{name}-result"),
            )
        };
        self.judge(&response, &wanted)?;
        self.allowed = match service {
            Service::UploadPack => self.limits.pack_bytes,
            _ => self.limits.listing_bytes,
        };
        self.body = Some(response.body);
        Ok(())
    }

    /// Asks for the list of references, following redirects by hand: the exchanges after this one
    /// go where it led, and credentials stay with the origin they were given for.
    async fn list(&mut self, service: &str) -> Result<Response, GitError> {
        const SUFFIX: &str = "/info/refs";
        for _ in 0..=MAX_REDIRECTS {
            let mut url = below(&self.base, "info/refs");
            url.set_query(Some(&format!("service={service}")));
            let request = Request::get(url.clone())
                .header(ACCEPT, &format!("application/x-{service}-advertisement"));
            let response = self.send(request).await?;
            if !response.status.is_redirection() {
                return Ok(response);
            }
            let odd = |what: &str| GitError::NotGit {
                url: masked(&url),
                what: what.to_owned(),
            };
            let mut to = response
                .header(LOCATION)
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| odd("it redirects without saying where to"))?;
            let Some(path) = to.path().strip_suffix(SUFFIX).map(str::to_owned) else {
                return Err(odd("it redirects to something that is not a repository"));
            };
            if !matches!(
                (url.scheme(), to.scheme()),
                ("http", "http" | "https") | (_, "https")
            ) {
                return Err(odd("it redirects from https to a scheme that is not safe"));
            }
            to.set_path(&path);
            to.set_query(None);
            if to.origin() != self.base.origin() {
                self.credentials = Credentials::None;
            }
            self.base = to;
        }
        let what = format!("it redirects more than {MAX_REDIRECTS} times");
        Err(GitError::NotGit {
            url: self.remote.shown(),
            what,
        })
    }

    // Exclusive, since a response body can be moved between threads but not shared.
    async fn send(&mut self, request: Request) -> Result<Response, GitError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.late());
        }
        let mut request = self
            .credentials
            .apply(request)
            .header(USER_AGENT, AGENT)
            .timeout(left)
            .tls(self.remote.tls.clone());
        request.follow_redirects = false;
        self.http.send(request).await.map_err(|e| self.of_http(e))
    }

    fn judge(&self, response: &Response, wanted: &str) -> Result<(), GitError> {
        let url = masked(&self.base);
        match response.status.as_u16() {
            200 => {}
            status @ (401 | 403) => {
                return Err(GitError::Auth {
                    url,
                    status,
                    given: self.credentials.kind(),
                });
            }
            404 | 410 => return Err(GitError::RepositoryNotFound { url }),
            status @ (408 | 429 | 500..) => {
                let what = format!("it answered with status {status}");
                return Err(GitError::Unreachable { url, what });
            }
            status => {
                let what = format!("it answered with status {status}");
                return Err(GitError::NotGit { url, what });
            }
        }
        let kind = response.header(CONTENT_TYPE).unwrap_or("no content type");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        let kind: String = kind.chars().take(80).collect();
        Err(GitError::NotGit {
            url,
            what: format!("`{kind}` came in place of `{wanted}`"),
        })
    }

    async fn chunk(&mut self) -> Result<Reply, GitError> {
        let Some(body) = &mut self.body else {
            return Ok(Reply::End);
        };
        match body.next().await {
            None => {
                self.body = None;
                Ok(Reply::End)
            }
            Some(Err(e)) => Err(self.of_http(e)),
            Some(Ok(bytes)) => match self.allowed.checked_sub(bytes.len()) {
                Some(left) => {
                    self.allowed = left;
                    Ok(Reply::Chunk(bytes))
                }
                None => Err(GitError::TooLarge {
                    url: masked(&self.base),
                    what: "the data sent, in bytes,",
                    limit: self.limits.pack_bytes as u64,
                }),
            },
        }
    }

    fn of_http(&self, e: HttpError) -> GitError {
        GitError::of_http(e, masked(&self.base), self.remote.timeout)
    }

    fn late(&self) -> GitError {
        GitError::Timeout {
            url: self.remote.shown(),
            timeout: self.remote.timeout,
        }
    }
}

/// `name` below the repository's URL, whose query (a tenant's token, say) stays.
fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}
