//! A sandbox in memory whose backends are routers of the test: services without selectors, with
//! endpoints that are written by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as Asked;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, Kind, Object};
use weir_runtime::http::Request;
use weir_runtime::kinds::{ENDPOINT_SLICE, EVENT, POD, SERVICE};
use weir_runtime::{ApiClient, Caches, VirtualClock, Write};
use weir_sandbox::{MemoryNet, Network, Options, Sandbox};

/// What a backend was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) backend: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: usize,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    /// The backend that answered.
    pub(crate) fn backend(&self) -> &str {
        self.text.trim()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn of(&self, backend: &str) -> Vec<Seen> {
        let all = self.0.lock().expect("a lock");
        all.iter()
            .filter(|s| s.backend == backend)
            .cloned()
            .collect()
    }
}

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) api: ApiClient,
    pub(crate) log: Log,
    net: MemoryNet,
    next: Mutex<u8>,
    _dir: tempfile::TempDir,
}

pub(crate) const HTTP_ROUTE: Kind = weir_runtime::kinds::HTTP_ROUTE;

impl Stage {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = Timestamp::from_second(1_900_000_000).expect("in range");
        let clock = Arc::new(VirtualClock::starting_at(begin));
        let mut options = Options::memory(dir.path(), clock, 7);
        let net = MemoryNet::default();
        options.network = Network::Memory(net.clone());
        let sandbox = Sandbox::start(options).await.expect("started");
        let client = sandbox.client();
        let stop = tokio_util::sync::CancellationToken::new();
        let api = ApiClient::new(client.clone(), Caches::new(client, stop), "test");
        let stage = Self {
            sandbox,
            api,
            log: Log::default(),
            net,
            next: Mutex::new(1),
            _dir: dir,
        };
        stage
            .apply("{apiVersion: v1, kind: Namespace, metadata: {name: demo, labels: {team: a}}}")
            .await;
        stage
    }

    pub(crate) async fn apply(&self, text: &str) {
        self.sandbox
            .apply("test.yaml", text)
            .await
            .expect("applied");
    }

    /// A service with some pods behind it; each answers with its name, or as the path asks:
    /// `/status/N`, `/slow/SECONDS`, `/once/N` (the status N the first time), `/location`.
    pub(crate) async fn backend(&self, namespace: &str, service: &str, pods: &[(&str, &str)]) {
        let mut endpoints = Vec::new();
        for (pod, labels) in pods {
            let number = {
                let mut next = self.next.lock().expect("a lock");
                *next += 1;
                *next
            };
            let address = format!("10.9.0.{number}");
            self.net.listen(&address, 9898, echo(pod, self.log.clone()));
            let mut meta = json!({"name": pod, "namespace": namespace, "labels": {}});
            for pair in labels.split(',').filter(|l| !l.is_empty()) {
                let (name, value) = pair.split_once('=').expect("a label");
                meta["labels"][name] = json!(value);
            }
            let object = Object(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": meta,
                "spec": {"containers": [{"name": "app", "image": "example.com/app"}], "nodeName": "elsewhere"},
            }));
            self.create(&POD, object).await;
            endpoints.push(json!({
                "addresses": [address], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
            }));
        }
        self.create(
            &SERVICE,
            Object(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": service, "namespace": namespace},
                "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 9898}]},
            })),
        )
        .await;
        self.create(
            &ENDPOINT_SLICE,
            Object(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": format!("{service}-1"), "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": service}},
                "ports": [{"name": "http", "port": 9898, "protocol": "TCP"}],
                "endpoints": endpoints,
            })),
        )
        .await;
    }

    /// Puts a router where a pod would be.
    pub(crate) fn listen(&self, address: &str, router: Router) {
        self.net.listen(address, 9898, router);
    }

    pub(crate) async fn create(&self, kind: &Kind, object: Object) {
        let key = object.key();
        let created = self.api.write(kind, &key, Write::Create(object)).await;
        created.expect("created");
    }

    pub(crate) async fn send(&self, request: Request) -> Answer {
        let mut request = request;
        request.follow_redirects = false;
        match self.sandbox.http().send(request).await {
            Err(e) => Answer {
                text: e.to_string(),
                ..Answer::default()
            },
            Ok(response) => {
                let text =
                    |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
                let headers = response.headers.iter();
                let headers = headers.map(|(k, v)| (k.to_string(), text(v))).collect();
                Answer {
                    status: response.status.as_u16(),
                    headers,
                    text: response
                        .text(1 << 20)
                        .await
                        .unwrap_or_else(|e| e.to_string()),
                }
            }
        }
    }

    /// Asks through the gateway.
    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        self.send(gateway(host, path)).await
    }

    /// Asks until an answer is as wanted.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        for _ in 0..600 {
            if holds(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a minute of virtual time passed until {what}");
    }

    /// A condition of a route at its only parent, once it is there: status, reason, message.
    pub(crate) async fn condition(
        &self,
        kind: &Kind,
        name: &str,
        condition: &str,
    ) -> (String, String, String) {
        let path = "/status/parents/0/conditions";
        let mut found = None;
        self.until(&format!("{name} says {condition}"), async |stage| {
            let object = stage
                .api
                .get(kind, &Key::new("demo", name))
                .await
                .expect("answered");
            let object = object.expect("it is there");
            let all = object
                .0
                .pointer(path)
                .or_else(|| object.0.pointer("/status/conditions"));
            let all = all.and_then(Value::as_array).cloned().unwrap_or_default();
            found = all.into_iter().find(|c| {
                c["type"].as_str() == Some(condition)
                    && c["observedGeneration"].as_i64() == Some(object.generation())
            });
            found.is_some()
        })
        .await;
        let found = found.expect("found");
        let text = |k: &str| found[k].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// The messages of all warnings about an object of this name.
    pub(crate) async fn warnings(&self, name: &str) -> Vec<String> {
        let events = self
            .api
            .list(&EVENT, Some("demo"), "")
            .await
            .expect("listed");
        let about = events.iter().filter(|e| {
            e.text(&["involvedObject", "name"]) == name && e.text(&["type"]) == "Warning"
        });
        about.map(|e| e.text(&["message"]).to_owned()).collect()
    }
}

pub(crate) fn gateway(host: &str, path: &str) -> Request {
    let url = format!("http://gateway.sandbox:8080{path}");
    Request::get(url::Url::parse(&url).expect("a URL")).header(http::header::HOST, host)
}

fn echo(name: &str, log: Log) -> Router {
    let name = name.to_owned();
    let asked: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    Router::new().fallback(move |request: Asked| {
        let (name, log, asked) = (name.clone(), log.clone(), asked.clone());
        async move { answer(&name, &log, &asked, request).await }
    })
}

async fn answer(
    name: &str,
    log: &Log,
    asked: &Mutex<BTreeMap<String, u32>>,
    request: Asked,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24)
        .await
        .map_or(usize::MAX, |b| b.len());
    let path = parts.uri.path().to_owned();
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (k, v) in &parts.headers {
        let all = headers.entry(k.to_string()).or_default();
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&text(v));
    }
    log.0.lock().expect("a lock").push(Seen {
        backend: name.to_owned(),
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers,
        body,
    });
    let before = {
        let mut asked = asked.lock().expect("a lock");
        let count = asked.entry(path.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let mut response = Response::new(Body::from(format!("{name}\n")));
    match words.as_slice() {
        ["status", code] => *response.status_mut() = code.parse().expect("a status"),
        ["once", code] if before == 0 => *response.status_mut() = code.parse().expect("a status"),
        ["slow", seconds] => {
            tokio::time::sleep(Duration::from_secs(seconds.parse().expect("seconds"))).await;
        }
        ["trickle"] => {
            let chunks = futures::stream::unfold(0, |n| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((
                    Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"x")),
                    n + 1,
                ))
            });
            response = Response::new(Body::from_stream(chunks));
        }
        ["location"] => {
            *response.status_mut() = http::StatusCode::FOUND;
            let to = http::HeaderValue::from_static("http://gateway.sandbox:8080/location");
            response.headers_mut().insert("location", to);
        }
        _ => {}
    }
    let here = http::HeaderValue::from_static("yes");
    response.headers_mut().insert("x-from-backend", here);
    response
}
