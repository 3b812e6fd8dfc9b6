//! Owns one outgoing request as a value.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::Secret;

/// TLS wishes of one request. The default trusts the system's certificates.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// PEM certificates to trust beside the system's.
    pub ca_pem: Option<Bytes>,
    /// PEM certificate and key to show to the server.
    pub identity_pem: Option<Secret>,
    /// Accept any certificate. Only where a user's object asks for it by name.
    pub insecure: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca_pem", &self.ca_pem.as_ref().map(Bytes::len))
            .field("identity_pem", &self.identity_pem)
            .field("insecure", &self.insecure)
            .finish()
    }
}

/// One outgoing request.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Target.
    pub url: Url,
    /// Headers. Values of secrets are marked sensitive.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Bound of the whole exchange, body included.
    pub timeout: Duration,
    /// TLS wishes.
    pub tls: Tls,
    /// Whether GET and HEAD follow redirects; credentials stay with the first origin.
    pub follow_redirects: bool,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: super::DEFAULT_TIMEOUT,
            tls: Tls::default(),
            follow_redirects: true,
        }
    }

    /// A GET.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST.
    pub fn post(url: Url, body: impl Into<Bytes>) -> Self {
        let mut request = Self::new(Method::POST, url);
        request.body = body.into();
        request
    }

    /// Adds a header. A value that HTTP cannot carry is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds basic authentication.
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &Secret) -> Self {
        let text = STANDARD.encode(format!("{user}:{}", password.expose()));
        self.authorization(&format!("Basic {text}"))
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.authorization(&format!("Bearer {}", token.expose()))
    }

    /// Bounds the whole exchange.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the TLS wishes.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    fn authorization(mut self, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({} bytes)",
            self.method,
            masked(&self.url),
            self.body.len()
        )
    }
}

/// The URL for people: user, password and query values are masked.
pub fn masked(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() || !shown.username().is_empty() {
        // Both fail only for URLs that have no authority, and so no credentials.
        let _ = shown.set_username("***");
        let _ = shown.set_password(None);
    }
    let text = shown.as_str();
    match text.split_once('?') {
        Some((path, _)) if url.query_pairs().any(|(k, _)| sensitive(&k)) => format!("{path}?***"),
        _ => text.to_owned(),
    }
}

fn sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "signature", "key", "sig"]
        .iter()
        .any(|s| name.contains(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let url = Url::parse("https://me:pw@example.com/x?access_token=a").expect("a URL");
        assert_eq!(masked(&url), "https://***@example.com/x?***");
        let request = Request::get(url).bearer(&Secret::new("t0p"));
        assert!(!format!("{request:?} {:?}", request.headers).contains("t0p"));
        let plain = Url::parse("http://a/x?service=git-upload-pack").expect("a URL");
        assert_eq!(masked(&plain), "http://a/x?service=git-upload-pack");
    }
}
