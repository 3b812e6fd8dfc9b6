//! Owns how tests speak to a server.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weir_apiserver::{ApiBody, ApiServer, Options};

/// A server whose clock stands still.
pub(crate) fn server() -> ApiServer {
    let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    ApiServer::new(Options {
        now: Arc::new(move || now),
        seed: 7,
    })
}

/// A server whose clock follows tokio's.
pub(crate) fn moving() -> ApiServer {
    let epoch: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    let start = tokio::time::Instant::now();
    let now = move || epoch + jiff::SignedDuration::try_from(start.elapsed()).expect("small");
    ApiServer::new(Options {
        now: Arc::new(now),
        seed: 7,
    })
}

/// An answer, read.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
}

pub(crate) async fn send_with(
    server: &ApiServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> http::Response<ApiBody> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", "test/1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(bytes::Bytes::from(body)))
        .expect("a request");
    server.service().oneshot(request).await.expect("infallible")
}

async fn read(response: http::Response<ApiBody>) -> Answer {
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings
        .map(|w| w.to_str().expect("text").to_owned())
        .collect();
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("infallible")
        .to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer {
        code,
        warnings,
        body,
    }
}

pub(crate) async fn get(server: &ApiServer, path: &str) -> Answer {
    read(send_with(server, Method::GET, path, &[], Vec::new()).await).await
}

pub(crate) async fn get_as(server: &ApiServer, path: &str, accept: &str) -> Answer {
    read(send_with(server, Method::GET, path, &[("accept", accept)], Vec::new()).await).await
}

pub(crate) async fn post(server: &ApiServer, path: &str, body: &Value) -> Answer {
    read(
        send_with(
            server,
            Method::POST,
            path,
            &[],
            body.to_string().into_bytes(),
        )
        .await,
    )
    .await
}

pub(crate) async fn put(server: &ApiServer, path: &str, body: &Value) -> Answer {
    read(
        send_with(
            server,
            Method::PUT,
            path,
            &[],
            body.to_string().into_bytes(),
        )
        .await,
    )
    .await
}

pub(crate) async fn delete(server: &ApiServer, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    read(send_with(server, Method::DELETE, path, &[], body).await).await
}

pub(crate) async fn raw(
    server: &ApiServer,
    method: Method,
    path: &str,
    content: &str,
    body: &[u8],
) -> Answer {
    read(
        send_with(
            server,
            method,
            path,
            &[("content-type", content)],
            body.to_vec(),
        )
        .await,
    )
    .await
}

/// `kind` is the word before `-patch+`.
pub(crate) async fn patch(server: &ApiServer, path: &str, kind: &str, body: &Value) -> Answer {
    let suffix = if kind == "apply" { "yaml" } else { "json" };
    let content = format!("application/{kind}-patch+{suffix}");
    raw(
        server,
        Method::PATCH,
        path,
        &content,
        body.to_string().as_bytes(),
    )
    .await
}

/// The lines of a watch that come without waiting.
pub(crate) async fn lines(body: &mut ApiBody) -> Vec<Value> {
    let mut out = Vec::new();
    while let Ok(Some(Ok(frame))) =
        tokio::time::timeout(Duration::from_millis(1), body.frame()).await
    {
        let data = frame.into_data().expect("data");
        for line in data.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            out.push(serde_json::from_slice(line).expect("JSON"));
        }
    }
    out
}

/// Events as `TYPE name@version`.
pub(crate) fn brief(events: &[Value]) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|e| {
            let meta = &e["object"]["metadata"];
            format!(
                "{} {}@{}",
                text(&e["type"]),
                text(&meta["name"]),
                text(&meta["resourceVersion"])
            )
        })
        .collect()
}

pub(crate) async fn watch(server: &ApiServer, path: &str) -> ApiBody {
    let response = send_with(server, Method::GET, path, &[], Vec::new()).await;
    assert_eq!(response.status(), 200, "{path}");
    response.into_body()
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
