//! Owns keeping what the controllers ask of the API, for the comparison with a real control plane:
//! with `WEIR_RECORD=FILE` each request and its answer become a line of that file. Streams are not
//! recorded beyond their request.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

static FILE: Mutex<()> = Mutex::new(());

/// Whether requests are recorded.
pub(crate) fn wanted() -> bool {
    std::env::var_os("WEIR_RECORD").is_some()
}

/// Appends one exchange.
pub(crate) fn keep(head: &Parts, body: &Bytes, code: u16, answer: &Bytes) {
    let Some(path) = std::env::var_os("WEIR_RECORD") else {
        return;
    };
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
    let line = json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        "type": header("content-type"),
        "accept": header("accept"),
        "agent": header("user-agent"),
        "body": serde_json::from_slice::<Value>(body).unwrap_or_default(),
        "code": code,
        "answer": serde_json::from_slice::<Value>(answer).unwrap_or_default(),
    });
    let _one = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    // A record that cannot be kept does not fail a scenario.
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
