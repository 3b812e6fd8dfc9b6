//! Owns what filters do to a request's head and to an answer's: headers, path and host, redirects
//! and cross-origin answers. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

use super::model::{Cors, HeaderChange, PathChange, Redirect, RedirectPort};

/// Headers of one connection, which are not passed on.
const OF_A_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

impl HeaderChange {
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

/// Takes away what belongs to one connection, those named by `Connection` included. `te: trailers`
/// stays: gRPC asks for it.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&OF_A_CONNECTION) {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
}

/// The path with a change; `found` is the prefix that the rule's match found.
pub(crate) fn changed(path: &str, change: &PathChange, found: Option<&str>) -> String {
    let out = match change {
        PathChange::Full(to) => to.clone(),
        PathChange::Elements(to) => {
            let prefix = found.unwrap_or("/").trim_end_matches('/');
            let rest = path.strip_prefix(prefix).unwrap_or_default();
            format!("{}{rest}", to.trim_end_matches('/'))
        }
        PathChange::Prefix(to) => {
            // The match may have ignored case, so the prefix is cut off by length.
            let rest = found.and_then(|f| path.get(f.len()..)).unwrap_or_default();
            format!("{to}{rest}")
        }
        PathChange::Expression(pattern, to) => pattern.replace_all(path, to),
    };
    if out.starts_with('/') {
        out
    } else {
        format!("/{out}")
    }
}

/// The port in a host, and the host without it.
pub(crate) fn split_host(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_end_matches('.'), port)
}

/// The answer of a redirect; `port` is the one that the request came in at.
pub(crate) fn location(
    redirect: &Redirect,
    uri: &Uri,
    host: &str,
    port: u16,
    found: Option<&str>,
) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or("http");
    let (asked, given) = split_host(host);
    let name = redirect.host.as_deref().unwrap_or(asked);
    let own = if scheme == "https" { 443 } else { 80 };
    let port = match redirect.port {
        RedirectPort::Given(port) => port,
        RedirectPort::OfScheme => own,
        RedirectPort::OfRequest => given.unwrap_or(port),
        RedirectPort::Derived if redirect.scheme.is_some() => own,
        RedirectPort::Derived => port,
    };
    let path = match &redirect.path {
        Some(change) => changed(uri.path(), change, found),
        None => uri.path().to_owned(),
    };
    let mut out = format!("{scheme}://{name}");
    // An authority given with a port stands as it is.
    if port != own && split_host(name).1.is_none() {
        out.push(':');
        out.push_str(&port.to_string());
    }
    out.push_str(&path);
    if let Some(query) = uri.query() {
        out.push('?');
        out.push_str(query);
    }
    out
}

/// What a request from another origin is told.
pub(crate) enum Crossing {
    /// It is not one, or its origin may not read the answer.
    Silent,
    /// These headers go on the answer.
    Headers(HeaderMap),
    /// The question before the request is answered here.
    Preflight(HeaderMap),
}

impl Cors {
    /// What is told to a request.
    pub(crate) fn cross(&self, method: &Method, headers: &HeaderMap) -> Crossing {
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        let Some(origin) = text(header::ORIGIN) else {
            return Crossing::Silent;
        };
        let asked = text(header::ACCESS_CONTROL_REQUEST_METHOD);
        let preflight = method == Method::OPTIONS && asked.is_some();
        if !self.origins.iter().any(|o| o.fits(origin)) {
            return if preflight && !self.forward_unmatched {
                Crossing::Preflight(HeaderMap::new())
            } else {
                Crossing::Silent
            };
        }
        let mut out = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                out.insert(name, value);
            }
        };
        put(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        put(header::VARY, "Origin");
        if self.credentials {
            put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        // With credentials `*` has no meaning, so what was asked for is named.
        let list = |given: &[String], asked: Option<&str>| match asked {
            Some(asked) if self.credentials && given.iter().any(|g| g == "*") => asked.to_owned(),
            _ => given.join(", "),
        };
        if preflight {
            let wanted = text(header::ACCESS_CONTROL_REQUEST_HEADERS);
            for (name, value) in [
                (
                    header::ACCESS_CONTROL_ALLOW_METHODS,
                    list(&self.methods, asked),
                ),
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    list(&self.headers, wanted),
                ),
            ] {
                if !value.is_empty() {
                    put(name, &value);
                }
            }
            if let Some(age) = self.max_age {
                put(header::ACCESS_CONTROL_MAX_AGE, &age.to_string());
            }
            return Crossing::Preflight(out);
        }
        if !self.expose.is_empty() {
            put(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                &self.expose.join(", "),
            );
        }
        Crossing::Headers(out)
    }
}

/// The gRPC status of an answer that this data plane gives itself, as gRPC maps them.
pub(crate) fn grpc_status(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::matching::Text;
    use super::*;

    #[test]
    fn prefixes_are_replaced_by_path_elements() {
        let to = |text: &str| PathChange::Elements(text.into());
        for (path, prefix, with, out) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
        ] {
            assert_eq!(
                changed(path, &to(with), Some(prefix)),
                out,
                "{path} {prefix} {with}"
            );
        }
        let text = PathChange::Prefix("/v2".into());
        assert_eq!(changed("/API1", &text, Some("/api")), "/v21");
        assert_eq!(changed("/anything", &text, None), "/v2");
    }

    #[test]
    fn redirects_name_a_port_only_where_it_is_not_the_schemes() {
        let uri: Uri = "/a?b=c".parse().expect("a URI");
        let to = |redirect: &Redirect| location(redirect, &uri, "app.example.com:8080", 8080, None);
        assert_eq!(
            to(&Redirect::default()),
            "http://app.example.com:8080/a?b=c"
        );
        let https = Redirect {
            scheme: Some("https".into()),
            ..Redirect::default()
        };
        assert_eq!(to(&https), "https://app.example.com/a?b=c");
        let other = Redirect {
            host: Some("other.org".into()),
            port: RedirectPort::Given(80),
            path: Some(PathChange::Full("/new".into())),
            ..Redirect::default()
        };
        assert_eq!(to(&other), "http://other.org/new?b=c");
    }

    #[test]
    fn other_origins_are_told_what_they_may_do() {
        let cors = Cors {
            origins: vec![Text::Exact("https://a.example".into())],
            methods: vec!["GET".into(), "PUT".into()],
            max_age: Some(5),
            ..Cors::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ORIGIN,
            HeaderValue::from_static("https://a.example"),
        );
        let put = HeaderValue::from_static("PUT");
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, put);
        let Crossing::Preflight(told) = cors.cross(&Method::OPTIONS, &headers) else {
            panic!("a preflight is answered");
        };
        assert_eq!(
            told[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "https://a.example"
        );
        assert_eq!(told[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT");
        assert_eq!(told[header::ACCESS_CONTROL_MAX_AGE], "5");
        headers.insert(
            header::ORIGIN,
            HeaderValue::from_static("https://b.example"),
        );
        assert!(matches!(
            cors.cross(&Method::GET, &headers),
            Crossing::Silent
        ));
        let Crossing::Preflight(told) = cors.cross(&Method::OPTIONS, &headers) else {
            panic!("a preflight is answered");
        };
        assert!(told.is_empty());
    }
}
