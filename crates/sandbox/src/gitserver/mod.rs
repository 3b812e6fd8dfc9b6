//! A Git server: smart HTTP, protocol version 0, over bare repositories on disk.
//!
//! It owns who may come in, which repository a path names, and telling others of pushes. The two
//! services are next door: `upload` answers fetches, shallow ones included, and `receive`
//! takes pushes with compare-and-swap on each reference. It refuses the dumb protocol, version 2
//! (clients fall back by themselves) and partial clones.

mod pkt;
mod receive;
mod upload;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::broadcast;
use weir_runtime::Secret;

/// Why the server could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitServerError {
    /// The name is not one a repository can have. Terminal.
    #[error("`{0}` cannot name a repository; use letters, digits, `-`, `_`, `.` and `/`")]
    BadName(String),
    /// The repository could not be made or read. Retryable.
    #[error("the repository `{name}` cannot be used: {what}")]
    Repository {
        /// Its name.
        name: String,
        /// The cause.
        what: String,
    },
}

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct GitServerOptions {
    /// The user name and password that everyone must show, where there are any.
    pub credentials: Option<(String, Secret)>,
    /// Whether a push to a repository that is not there makes it.
    pub create_on_push: bool,
    /// The most bytes a request may have, unpacked.
    pub request_limit: usize,
}

impl Default for GitServerOptions {
    fn default() -> Self {
        Self {
            credentials: None,
            create_on_push: false,
            request_limit: 256 << 20,
        }
    }
}

/// A reference that a push moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitPush {
    /// The repository, such as `config.git`.
    pub repository: String,
    /// The full name of the reference.
    pub reference: String,
    /// Where it was; 40 zeros where it was not.
    pub old: String,
    /// Where it is; 40 zeros where it is gone.
    pub new: String,
}

/// A directory of bare repositories, served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GitServer {
    root: Arc<PathBuf>,
    options: Arc<GitServerOptions>,
    /// One push at a time, so that comparing and moving references cannot interleave.
    pushing: Arc<Mutex<()>>,
    pushes: broadcast::Sender<GitPush>,
}

/// Serves the bare repositories below `root`.
pub fn git_router(root: impl Into<PathBuf>, options: GitServerOptions) -> Router {
    GitServer::new(root, options).router()
}

impl GitServer {
    /// A server of the bare repositories below `root`.
    pub fn new(root: impl Into<PathBuf>, options: GitServerOptions) -> Self {
        let (pushes, _) = broadcast::channel(256);
        Self {
            root: Arc::new(root.into()),
            options: Arc::new(options),
            pushing: Arc::default(),
            pushes,
        }
    }

    /// Makes an empty bare repository whose default branch is `main`, or leaves the one that is
    /// there. Returns where it is.
    ///
    /// # Errors
    /// [`GitServerError`].
    pub fn create(&self, name: &str) -> Result<PathBuf, GitServerError> {
        let path = self.path(name)?;
        if !path.join("HEAD").is_file() {
            let mut options = git2::RepositoryInitOptions::new();
            options
                .bare(true)
                .mkpath(true)
                .external_template(false)
                .initial_head("main");
            git2::Repository::init_opts(&path, &options).map_err(|e| {
                GitServerError::Repository {
                    name: name.to_owned(),
                    what: e.message().to_owned(),
                }
            })?;
        }
        Ok(path)
    }

    /// Tells of each reference that a push moves, from now on.
    pub fn pushes(&self) -> broadcast::Receiver<GitPush> {
        self.pushes.subscribe()
    }

    /// The server's routes: every path is a repository's.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    fn path(&self, name: &str) -> Result<PathBuf, GitServerError> {
        let good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if name.len() > 200 || !name.split('/').all(good) {
            return Err(GitServerError::BadName(name.chars().take(200).collect()));
        }
        Ok(self.root.join(name))
    }

    /// Where all repositories are.
    pub(crate) fn root(&self) -> &std::path::Path {
        &self.root
    }

    /// Where a repository is, if it is there.
    pub(crate) fn directory(&self, name: &str) -> Option<PathBuf> {
        self.find(name)
    }

    /// The repository's directory, with or without the `.git` that people leave out.
    fn find(&self, name: &str) -> Option<PathBuf> {
        [name.to_owned(), format!("{name}.git")]
            .iter()
            .filter_map(|name| self.path(name).ok())
            .find(|path| path.join("HEAD").is_file())
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = &self.options.credentials else {
            return true;
        };
        let wanted = STANDARD.encode(format!("{user}:{}", password.expose()));
        headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Basic "))
            .is_some_and(|given| given.trim() == wanted)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Upload,
    Receive,
}

impl Service {
    fn named(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::Upload),
            "git-receive-pack" => Some(Self::Receive),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Upload => "git-upload-pack",
            Self::Receive => "git-receive-pack",
        }
    }
}

async fn serve(State(server): State<GitServer>, request: Request) -> Response {
    if !server.admits(request.headers()) {
        let ask = [(WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return (StatusCode::UNAUTHORIZED, ask, "credentials are needed\n").into_response();
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/');
    if let Some(name) = path.strip_suffix("/info/refs") {
        if parts.method != Method::GET {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let query = parts.uri.query().unwrap_or_default();
        let service = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("service="));
        return match service.and_then(Service::named) {
            Some(service) => advertise(&server, name, service).await,
            None => refuse(StatusCode::FORBIDDEN, "only Git's smart protocol is served"),
        };
    }
    let Some((name, service)) = path
        .rsplit_once('/')
        .and_then(|(n, s)| Some((n, Service::named(s)?)))
    else {
        return refuse(StatusCode::NOT_FOUND, "this is no path of a Git repository");
    };
    if parts.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    exchange(&server, name, service, &parts.headers, body).await
}

fn refuse(status: StatusCode, text: &'static str) -> Response {
    (status, format!("{text}\n")).into_response()
}

async fn advertise(server: &GitServer, name: &str, service: Service) -> Response {
    let found = match server.find(name) {
        None if service == Service::Receive && server.options.create_on_push => {
            server.create(name).ok()
        }
        found => found,
    };
    let Some(path) = found else {
        return refuse(StatusCode::NOT_FOUND, "there is no such repository");
    };
    let listed = blocking(move || {
        let repo = git2::Repository::open_bare(&path)?;
        let mut out = pkt::line(&format!("# service={}\n", service.name()));
        out.extend_from_slice(pkt::FLUSH);
        out.extend(match service {
            Service::Upload => upload::advertisement(&repo)?,
            Service::Receive => receive::advertisement(&repo)?,
        });
        Ok(out)
    });
    answer(
        listed.await,
        &format!("application/x-{}-advertisement", service.name()),
    )
}

async fn exchange(
    server: &GitServer,
    name: &str,
    service: Service,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let Some(path) = server.find(name) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such repository");
    };
    let limit = server.options.request_limit;
    let Ok(body) = to_bytes(body, limit).await else {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is too large or broke off",
        );
    };
    let zipped = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|v| v == "gzip" || v == "x-gzip");
    let (server, name) = (server.clone(), name.to_owned());
    let done = blocking(move || {
        let body = if zipped {
            unzipped(&body, limit)?
        } else {
            body.to_vec()
        };
        let repo = git2::Repository::open_bare(&path)?;
        match service {
            Service::Upload => upload::answer(&repo, &body),
            Service::Receive => {
                let _one_at_a_time = server
                    .pushing
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let (report, moved) = receive::answer(&repo, &body)?;
                for (reference, old, new) in moved {
                    let repository = shown_name(&path, &server.root, &name);
                    // Nobody may be listening, and that is fine.
                    let _ = server.pushes.send(GitPush {
                        repository,
                        reference,
                        old,
                        new,
                    });
                }
                Ok(report)
            }
        }
    });
    answer(
        done.await,
        &format!("application/x-{}-result", service.name()),
    )
}

fn shown_name(path: &Path, root: &Path, asked: &str) -> String {
    path.strip_prefix(root)
        .ok()
        .and_then(Path::to_str)
        .unwrap_or(asked)
        .to_owned()
}

fn unzipped(body: &[u8], limit: usize) -> Result<Vec<u8>, Trouble> {
    let mut out = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body).take(limit as u64 + 1);
    reader
        .read_to_end(&mut out)
        .map_err(|_| Trouble::Request("the gzip body is damaged"))?;
    if out.len() > limit {
        return Err(Trouble::Request("the unpacked request is too large"));
    }
    Ok(out)
}

/// Why an exchange failed.
#[derive(Debug)]
enum Trouble {
    /// The client sent what makes no sense.
    Request(&'static str),
    /// The repository could not be read.
    Repository(git2::Error),
}

impl From<git2::Error> for Trouble {
    fn from(e: git2::Error) -> Self {
        Self::Repository(e)
    }
}

async fn blocking(
    job: impl FnOnce() -> Result<Vec<u8>, Trouble> + Send + 'static,
) -> Result<Vec<u8>, Trouble> {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        Err(_) => Err(Trouble::Repository(git2::Error::from_str(
            "the work was cut short",
        ))),
    }
}

fn answer(done: Result<Vec<u8>, Trouble>, kind: &str) -> Response {
    match done {
        Ok(body) => (
            [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")],
            Body::from(body),
        )
            .into_response(),
        Err(Trouble::Request(what)) => refuse(StatusCode::BAD_REQUEST, what),
        Err(Trouble::Repository(e)) => {
            tracing::warn!(what = e.message(), "a Git request could not be served");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{}\n", e.message()),
            )
                .into_response()
        }
    }
}
