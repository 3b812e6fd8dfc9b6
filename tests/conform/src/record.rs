//! Owns making sessions of what programs really send: a port that keeps requests and answers, and
//! what remains of them when each distinct request is kept once, in order, with uids and versions
//! told by what they belong to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Context as _;
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use regex::Regex;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;
use weir_apiserver::{ApiBody, ApiServer};

/// The namespace in which requests are recorded. Names of namespaces in replays are as long, so
/// that one can take the other's place inside of binary bodies too.
pub(crate) const SPACE: &str = "conform-00000-000";

/// Exchanges, as lines.
pub(crate) type Lines = Arc<Mutex<Vec<Value>>>;

/// Serves the API on a loopback port without TLS, and keeps what is asked. The port's address.
pub(crate) async fn port(server: ApiServer, lines: Lines) -> anyhow::Result<std::net::SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (server, lines) = (server.clone(), lines.clone());
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (server, lines) = (server.clone(), lines.clone());
                async move { Ok::<_, std::convert::Infallible>(answer(server, lines, request).await) }
            });
            tokio::spawn(async move {
                // How a client's connection ends is the client's affair.
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}

async fn answer(
    server: ApiServer,
    lines: Lines,
    request: Request<Incoming>,
) -> Response<Either<ApiBody, Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
    let mut line = json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        "type": header("content-type"), "accept": header("accept"), "agent": header("user-agent"),
        "as": header("impersonate-user"),
    });
    match serde_json::from_slice::<Value>(&body) {
        Ok(body) => crate::fill::set(&mut line, "/body", body),
        Err(_) if body.is_empty() => {}
        Err(_) => match std::str::from_utf8(&body) {
            Ok(text) => crate::fill::set(&mut line, "/raw", text.into()),
            Err(_) => {
                let text = base64::engine::general_purpose::STANDARD.encode(&body);
                crate::fill::set(&mut line, "/base64", text.into());
            }
        },
    }
    let streams = head.uri.query().is_some_and(|q| q.contains("watch="));
    let request = Request::from_parts(head, Full::new(body));
    let Ok(response) = server.service().oneshot(request).await;
    crate::fill::set(&mut line, "/code", response.status().as_u16().into());
    let keep = |line: Value| {
        lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    };
    if streams {
        keep(line);
        return response.map(Either::Left);
    }
    let (parts, answer) = response.into_parts();
    let answer = answer
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let answer = answer.unwrap_or_default();
    let json = serde_json::from_slice(&answer).unwrap_or_default();
    crate::fill::set(&mut line, "/answer", json);
    keep(line);
    Response::from_parts(parts, Either::Right(Full::new(answer)))
}

/// Reads lines that the scenario suite kept.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// Writes a session of the distinct requests.
pub(crate) fn write(
    lines: &[Value],
    namespace: &str,
    definitions: &[String],
    file: &Path,
) -> anyhow::Result<usize> {
    let steps = distil(lines, namespace, definitions);
    let count = steps.len();
    let session = json!({"sessions": [{"name": "requests", "steps": steps}]});
    std::fs::create_dir_all(file.parent().unwrap_or(file))?;
    std::fs::write(file, serde_json::to_string_pretty(&session)? + "\n")?;
    Ok(count)
}

static VERSION: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "the pattern is a constant")]
    Regex::new(r"resourceVersion=\d+").unwrap()
});

#[derive(Default)]
struct Distil {
    namespace: String,
    /// The names under which answers are saved, by path of the object.
    saved: HashMap<String, String>,
    /// Which object has a uid.
    uids: BTreeMap<String, String>,
    seen: HashSet<String>,
}

fn distil(lines: &[Value], namespace: &str, definitions: &[String]) -> Vec<Value> {
    let mut state = Distil {
        namespace: namespace.to_owned(),
        ..Distil::default()
    };
    let mut out: Vec<Value> = definitions
        .iter()
        .map(|d| json!({"crd": d, "quiet": true}))
        .collect();
    for line in lines {
        out.extend(state.step(line));
    }
    out
}

impl Distil {
    fn step(&mut self, line: &Value) -> Option<Value> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let (method, path) = (text("method"), text("path"));
        let about = ["/openapi", "/version", "/metrics"];
        if about.iter().any(|p| path.starts_with(p)) || path.contains("/customresourcedefinitions")
        {
            return None;
        }
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        self.learn(bare, line);
        let failed = line.get("code").and_then(Value::as_u64).unwrap_or(500) >= 500;
        let body = line.get("body").filter(|b| !b.is_null());
        let shape = format!(
            "{method} {} {} {} {} {}",
            template(bare),
            VERSION.replace(query, ""),
            text("type"),
            text("accept"),
            body.map_or_else(String::new, shape)
        );
        if failed || !self.seen.insert(shape) {
            return None;
        }
        let mut step = Map::new();
        let streams = query.contains("watch=");
        let mut query = VERSION.replace(query, "").replace("&&", "&");
        if streams {
            query = query.replace("timeoutSeconds=", "was=");
            query.push_str("&timeoutSeconds=1");
        }
        let space = format!("/namespaces/{}", self.namespace);
        let mut to = bare.replace(&space, "/namespaces/${ns}");
        if !query.is_empty() {
            to = format!(
                "{to}?{}",
                query.trim_matches('&').replace(&self.namespace, "${ns}")
            );
        }
        step.insert("do".to_owned(), format!("{method} {to}").into());
        let media = text("type");
        if !media.is_empty() && (body.is_some() || line.get("base64").is_some()) {
            step.insert("type".to_owned(), media.into());
        }
        // Answers are compared as JSON.
        let accept = text("accept").replace("application/vnd.kubernetes.protobuf,", "");
        let others = ["agent", "raw", "base64", "as"].map(|key| (key, text(key)));
        for (key, value) in others.into_iter().chain([("accept", accept.as_str())]) {
            if !value.is_empty() {
                step.insert(key.to_owned(), value.into());
            }
        }
        if let Some(body) = body {
            step.insert("body".to_owned(), self.value(bare, body));
        }
        let inside = bare.contains(&space) || bare.contains("/reviews");
        let collection =
            line.pointer("/answer/items").is_some() || line.pointer("/answer/rows").is_some();
        if controlled(bare) {
            step.insert("controlled".to_owned(), true.into());
        }
        if bare.ends_with("/scale") {
            step.insert("hide".to_owned(), json!(["/status/replicas"]));
        }
        if streams {
            step.insert("watch".to_owned(), json!({"by_object": true}));
        }
        if (streams || collection) && !inside {
            // What others do in other namespaces is not compared.
            step.insert("show".to_owned(), json!(["/kind", "/apiVersion"]));
        }
        if method != "DELETE" && !streams && !collection {
            let name = self.name(&object_path(bare, line));
            step.insert("save".to_owned(), name.into());
        }
        Some(Value::Object(step))
    }

    fn name(&mut self, path: &str) -> String {
        let next = format!("o{}", self.saved.len() + 1);
        self.saved.entry(path.to_owned()).or_insert(next).clone()
    }

    fn learn(&mut self, path: &str, line: &Value) {
        let uid = line.pointer("/answer/metadata/uid").and_then(Value::as_str);
        if let Some(uid) = uid {
            let name = self.name(&object_path(path, line));
            self.uids.entry(uid.to_owned()).or_insert(name);
        }
    }

    /// A body with placeholders for what a server gives.
    fn value(&mut self, path: &str, body: &Value) -> Value {
        match body {
            Value::Object(map) => {
                let mut out = Map::new();
                for (key, value) in map {
                    let new = match (key.as_str(), value) {
                        ("resourceVersion", Value::String(_)) => {
                            let name = self.name(path.trim_end_matches("/status"));
                            format!("${{{name}/metadata/resourceVersion}}").into()
                        }
                        ("namespace" | "name", Value::String(text)) if *text == self.namespace => {
                            "${ns}".into()
                        }
                        (_, value) => self.value(path, value),
                    };
                    out.insert(key.clone(), new);
                }
                Value::Object(out)
            }
            Value::Array(items) => items.iter().map(|v| self.value(path, v)).collect(),
            Value::String(text) => match self.uids.get(text) {
                Some(name) => format!("${{{name}/metadata/uid}}").into(),
                None => body.clone(),
            },
            _ => body.clone(),
        }
    }
}

/// The path of the object that was answered.
fn object_path(path: &str, line: &Value) -> String {
    let path = path.trim_end_matches("/status");
    let name = line
        .pointer("/answer/metadata/name")
        .and_then(Value::as_str);
    match (line.get("method").and_then(Value::as_str), name) {
        (Some("POST"), Some(name)) if !path.ends_with(name) => format!("{path}/{name}"),
        _ => path.to_owned(),
    }
}

/// Whether controllers write what is at a path, whoever else does.
fn controlled(path: &str) -> bool {
    const KINDS: [&str; 5] = [
        "deployments",
        "endpointslices",
        "events",
        "pods",
        "replicasets",
    ];
    path.split('/').any(|word| KINDS.contains(&word))
}

/// A path without the names of objects.
fn template(path: &str) -> String {
    let words: Vec<&str> = path.split('/').collect();
    let from = if path.starts_with("/apis/") { 4 } else { 3 };
    let named = words.get(from) == Some(&"namespaces") && words.len() > from + 2;
    let name = from + if named { 3 } else { 1 };
    let words: Vec<&str> = words
        .iter()
        .enumerate()
        .map(|(i, w)| {
            if i == name || (named && i == from + 1) {
                "*"
            } else {
                w
            }
        })
        .collect();
    words.join("/")
}

/// The keys of a body.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", shape(v)))
                .collect();
            keys.sort();
            format!("{{{}}}", keys.join(","))
        }
        Value::Array(items) => {
            let mut shapes: Vec<String> = items.iter().map(shape).collect();
            shapes.sort();
            shapes.dedup();
            format!("[{}]", shapes.join(","))
        }
        Value::Null => "null".to_owned(),
        _ => "_".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distinct_request_is_kept_once_with_placeholders() {
        let create = |name: &str| {
            json!({"method": "POST", "path": "/api/v1/namespaces/demo/configmaps", "type": "application/json",
                "body": {"metadata": {"name": name, "namespace": "demo"}}, "code": 201,
                "answer": {"metadata": {"name": name, "uid": format!("uid-{name}")}}})
        };
        let owned = json!({"method": "PUT", "path": "/api/v1/namespaces/demo/configmaps/b", "type": "application/json",
            "body": {"metadata": {"resourceVersion": "7", "ownerReferences": [{"uid": "uid-a"}]}}, "code": 200, "answer": {}});
        let steps = distil(&[create("a"), create("b"), owned], "demo", &[]);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0]["body"]["metadata"]["namespace"], "${ns}");
        assert_eq!(
            steps[1]["body"]["metadata"]["ownerReferences"][0]["uid"],
            "${o1/metadata/uid}"
        );
        assert_eq!(
            steps[1]["body"]["metadata"]["resourceVersion"],
            "${o2/metadata/resourceVersion}"
        );
    }
}
