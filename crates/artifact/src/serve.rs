//! Owns the store's server: files by their path, without authentication, as consumers expect of it.
//! It refuses listings, names that start with a dot, and everything that is not a regular file.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LAST_MODIFIED};
use http::{Method, StatusCode};
use jiff::Timestamp;
use tokio_util::io::ReaderStream;

use crate::Storage;

impl Storage {
    /// Serves the store: `GET` and `HEAD` of an artifact's path; `/` answers 200 while it serves.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(|| async { "artifacts\n" }))
            .route("/{*path}", get(serve))
            .with_state(self.clone())
    }
}

async fn serve(
    State(storage): State<Storage>,
    UrlPath(path): UrlPath<String>,
    method: Method,
) -> Response {
    let Ok(at) = storage.find(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let opened = async {
        // The name itself must be a file: a link could lead out of the store.
        if !tokio::fs::symlink_metadata(&at).await?.is_file() {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let file = tokio::fs::File::open(&at).await?;
        let meta = file.metadata().await?;
        Ok::<_, std::io::Error>((file, meta.len(), meta.modified()?))
    };
    match opened.await {
        Ok((file, size, modified)) => {
            let kind = if at.extension().is_some_and(|e| e == "gz" || e == "tgz") {
                "application/gzip"
            } else {
                "application/octet-stream"
            };
            let modified = Timestamp::try_from(modified).unwrap_or_default();
            let headers = [
                (CONTENT_TYPE, kind.to_owned()),
                (CONTENT_LENGTH, size.to_string()),
                (
                    LAST_MODIFIED,
                    modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
                ),
            ];
            let body = if method == Method::HEAD {
                Body::empty()
            } else {
                Body::from_stream(ReaderStream::new(file))
            };
            (headers, body).into_response()
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Err(e) => {
            tracing::warn!(path, what = %e, "an artifact could not be served");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
