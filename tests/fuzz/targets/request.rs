#![no_main]
//! Any method, path, content type and body: an answer of the API, never a fault of the server.
//! The input is up to four lines (method, path, content type) and then the body.

use http::Method;
use libfuzzer_sys::fuzz_target;
use weir_fuzz::{SERVER, ask, holds};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    let (method, path, content) = (line(), line(), line());
    let body = parts.next().unwrap_or_default();
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    // Nothing is kept, so that the world stays as it was for the next input.
    let separator = if path.contains('?') { '&' } else { '?' };
    let path = if method == Method::GET {
        path
    } else {
        format!("{path}{separator}dryRun=All")
    };
    let answer = ask(&SERVER, method.clone(), &path, content, body);
    holds(&answer, || format!("{method} {path}"));
});
