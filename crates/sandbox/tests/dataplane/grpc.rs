//! gRPC over HTTP/2 without TLS, on sockets, from a client through the gateway to servers and back:
//! framed messages both ways, and the status in trailers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use weir_object::{Key, Kind, Object};
use weir_runtime::kinds::{ENDPOINT_SLICE, SERVICE};
use weir_runtime::{ApiClient, Caches, Write};
use weir_sandbox::{Options, Sandbox};

const GRPC_ROUTE: Kind =
    Kind::namespaced("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes");

type Calls = Arc<Mutex<Vec<String>>>;

/// One message in its frame.
fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).expect("short"));
    out.put_slice(message);
    out.freeze()
}

fn trailers(status: &'static str, message: &'static str) -> HeaderMap {
    let mut out = HeaderMap::new();
    out.insert("grpc-status", http::HeaderValue::from_static(status));
    out.insert("grpc-message", http::HeaderValue::from_static(message));
    out
}

/// A server that answers each call with its name and the call's bytes, and a status in trailers:
/// 0, or 9 for the method `Fail`.
async fn server(name: &'static str, calls: Calls) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            let calls = calls.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let calls = calls.clone();
                async move { Ok::<_, Infallible>(echo(name, &calls, request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    port
}

type EchoBody =
    StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn echo(name: &str, calls: &Calls, request: Request<Incoming>) -> Response<EchoBody> {
    let path = request.uri().path().to_owned();
    let authority = request
        .uri()
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    let te = request.headers().get("te").cloned();
    assert_eq!(
        te.as_ref().map(http::HeaderValue::as_bytes),
        Some(&b"trailers"[..])
    );
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    calls
        .lock()
        .expect("a lock")
        .push(format!("{name} {authority}{path} {}", body.len()));
    let (status, message) = if path.ends_with("/Fail") {
        ("9", "not now")
    } else {
        ("0", "")
    };
    let frames = vec![
        Ok(Frame::data(framed(name.as_bytes()))),
        Ok(Frame::data(body)),
        Ok(Frame::trailers(trailers(status, message))),
    ];
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
    let media = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", media);
    response
}

/// What a call brought: HTTP status, first message, gRPC status and message.
#[derive(Debug, PartialEq, Eq)]
struct Outcome(u16, String, String, String);

async fn call(address: &str, path: &str, headers: &[(&'static str, &'static str)]) -> Outcome {
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("greeted");
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://grpc.example.com{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = http_body_util::Full::new(framed(b"hello"));
    let response = sender
        .send_request(request.body(body).expect("a request"))
        .await
        .expect("answered");
    let (head, body) = response.into_parts();
    let collected = body.collect().await.expect("a body");
    let late = collected.trailers().cloned().unwrap_or_default();
    let text = |name: &str| {
        let value = late.get(name).or_else(|| head.headers.get(name));
        value.map_or_else(String::new, |v| v.to_str().expect("text").to_owned())
    };
    let bytes = collected.to_bytes();
    let message = match bytes.get(1..5) {
        Some(length) => {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            String::from_utf8_lossy(&bytes[5..5 + length]).into_owned()
        }
        None => String::new(),
    };
    let status = head.status;
    assert!(status != StatusCode::OK || head.headers["content-type"] == "application/grpc");
    Outcome(
        status.as_u16(),
        message,
        text("grpc-status"),
        text("grpc-message"),
    )
}

fn route(rules: &serde_json::Value) -> Object {
    Object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "gateway"}], "hostnames": ["grpc.example.com"], "rules": rules},
    }))
}

#[tokio::test]
async fn grpc_goes_by_weight_and_match_and_its_status_arrives() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = Options::loopback(dir.path());
    options.api_port = 0;
    let sandbox = Sandbox::start(options).await.expect("started");
    let client = sandbox.client();
    let stop = tokio_util::sync::CancellationToken::new();
    let api = ApiClient::new(client.clone(), Caches::new(client, stop), "test");
    let calls = Calls::default();
    for name in ["primary", "canary", "shadow"] {
        let port = server(name, calls.clone()).await;
        let service = Object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [{"name": "grpc", "port": 80}]},
        }));
        let slice = Object(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("{name}-1"), "namespace": "default",
                "labels": {"kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        }));
        for (kind, object) in [(&SERVICE, service), (&ENDPOINT_SLICE, slice)] {
            let key = object.key();
            api.write(kind, &key, Write::Create(object))
                .await
                .expect("created");
        }
    }
    sandbox
        .apply(
            "gateway.yaml",
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway, namespace: default}
spec:
  gatewayClassName: sandbox
  listeners: [{name: http, protocol: HTTP, port: 8080}]
",
        )
        .await
        .expect("applied");
    let to = |name: &str, weight: u32| json!({"name": name, "port": 80, "weight": weight});
    let header = json!([{"name": "x-who", "type": "RegularExpression", "value": "me|you"}]);
    let mirror = json!([{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-way", "value": "gateway"}]}}]);
    let rules = json!([
        {"matches": [{"method": {"service": "echo.Echo"}}], "backendRefs": [to("primary", 75), to("canary", 25)]},
        {"matches": [{"method": {"service": "echo.Echo", "method": "Copy"}}], "backendRefs": [to("primary", 1)], "filters": mirror},
        {"matches": [{"method": {"service": "echo.Echo"}, "headers": header}], "backendRefs": [to("canary", 1)]},
        {"matches": [{"method": {"type": "RegularExpression", "service": "other\\..+", "method": "Get.*"}}], "backendRefs": [to("canary", 1)]},
        {"matches": [{"method": {"method": "Gone"}}], "backendRefs": [to("gone", 1)]},
    ]);
    let key = Key::new("default", "app");
    api.write(&GRPC_ROUTE, &key, Write::Create(route(&rules)))
        .await
        .expect("created");
    let accepted = async || {
        let route = api
            .get(&GRPC_ROUTE, &key)
            .await
            .expect("answered")
            .expect("there");
        let port = sandbox.gateway_address(8080);
        let open =
            TcpStream::connect(port.trim_start_matches("http://").trim_end_matches('/')).await;
        open.is_ok()
            && route.text(&["status", "parents", "0", "conditions", "0", "status"]) == "True"
    };
    let begun = std::time::Instant::now();
    while !accepted().await {
        assert!(begun.elapsed().as_secs() < 60, "the route is not accepted");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let address = sandbox.gateway_address(8080);
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let ok = |name: &str| Outcome(200, name.into(), "0".into(), String::new());

    let mut canary = 0;
    for _ in 0..20 {
        let outcome = call(&address, "/echo.Echo/Say", &[]).await;
        canary += usize::from(outcome == ok("canary"));
        assert!(
            outcome == ok("canary") || outcome == ok("primary"),
            "{outcome:?}"
        );
    }
    assert_eq!(canary, 5);
    assert_eq!(
        call(&address, "/echo.Echo/Say", &[("x-who", "you")]).await,
        ok("canary")
    );
    assert_eq!(
        call(&address, "/other.Thing/GetIt", &[]).await,
        ok("canary")
    );
    // A status that is no success comes through as it is, in trailers.
    let failed = call(&address, "/echo.Echo/Fail", &[("x-who", "me")]).await;
    assert_eq!(
        failed,
        Outcome(200, "canary".into(), "9".into(), "not now".into())
    );
    // What the gateway answers itself is a gRPC status too.
    let unknown = call(&address, "/no.Such/Method", &[]).await;
    assert_eq!((unknown.0, unknown.2.as_str()), (200, "12"));
    let gone = call(&address, "/any.Thing/Gone", &[]).await;
    assert_eq!((gone.0, gone.2.as_str()), (200, "2"));

    assert_eq!(call(&address, "/echo.Echo/Copy", &[]).await, ok("primary"));
    let copied = || {
        let calls = calls.lock().expect("a lock");
        calls
            .iter()
            .filter(|c| c.starts_with("shadow "))
            .cloned()
            .collect::<Vec<_>>()
    };
    while copied().is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "the copy did not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(copied(), ["shadow grpc.example.com/echo.Echo/Copy 10"]);
    sandbox.stop().await;
}
