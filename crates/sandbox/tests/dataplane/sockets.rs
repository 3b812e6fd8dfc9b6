//! The data plane on sockets: what it takes and what it refuses of what comes in over TCP.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_object::Key;
use weir_runtime::http::Request;

/// On sockets the mesh takes HTTP alone; other protocols pass as they are, also those in which the
/// server speaks first.
#[tokio::test]
async fn on_loopback_the_mesh_takes_http_and_passes_the_rest() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let dir = tempfile::tempdir().expect("a directory");
    let mut options = weir_sandbox::Options::loopback(dir.path());
    options.api_port = 0;
    let sandbox = weir_sandbox::Sandbox::start(options)
        .await
        .expect("started");
    let mut manifest = vec![
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: default}
spec: {hosts: [app], http: [{route: [{destination: {host: app}, weight: 1}, {destination: {host: canary}, weight: 1}]}]}
"
        .to_owned(),
    ];
    for (name, port) in [
        ("app", web("app").await),
        ("canary", web("canary").await),
        ("greeter", greeter().await),
    ] {
        manifest.push(format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{ports: [{{name: p, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata:
  name: {name}-1
  namespace: default
  labels:
    kubernetes.io/service-name: {name}
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
ports: [{{name: p, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"
        ));
    }
    let manifest = manifest.join("---");
    sandbox
        .apply("mesh.yaml", &manifest)
        .await
        .expect("applied");
    let get = async || {
        let url = url::Url::parse("http://app.default/").expect("a URL");
        match sandbox.http().send(Request::get(url)).await {
            Ok(answer) => answer.text(1 << 10).await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    };
    let begun = std::time::Instant::now();
    while get().await != "canary" {
        assert!(begun.elapsed().as_secs() < 60, "the route is not in force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut seen = BTreeMap::new();
    for _ in 0..10 {
        *seen.entry(get().await).or_insert(0) += 1;
    }
    let expected = [("app".to_owned(), 5), ("canary".to_owned(), 5)];
    assert_eq!(seen, BTreeMap::from(expected));
    let client = sandbox.client();
    let stop = tokio_util::sync::CancellationToken::new();
    let api = weir_runtime::ApiClient::new(
        client.clone(),
        weir_runtime::Caches::new(client, stop),
        "test",
    );
    let greeter = api
        .get(
            &weir_runtime::kinds::SERVICE,
            &Key::new("default", "greeter"),
        )
        .await;
    let greeter = greeter.expect("answered").expect("there");
    let address = greeter.text(&["spec", "clusterIP"]).to_owned();
    let mut stream = tokio::net::TcpStream::connect((address.as_str(), 80))
        .await
        .expect("connected");
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).await.expect("greeted");
    assert_eq!(&greeting, b"hello ");
    stream.write_all(b"you").await.expect("sent");
    let mut echo = [0; 3];
    stream.read_exact(&mut echo).await.expect("answered");
    assert_eq!(&echo, b"you");
    sandbox.stop().await;
}

/// A head that is too large is refused, and the listener goes on.
#[tokio::test]
async fn on_loopback_hostile_heads_are_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let dir = tempfile::tempdir().expect("a directory");
    let mut options = weir_sandbox::Options::loopback(dir.path());
    options.api_port = 0;
    let sandbox = weir_sandbox::Sandbox::start(options)
        .await
        .expect("started");
    sandbox
        .apply(
            "gateway.yaml",
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway, namespace: default}
spec: {gatewayClassName: sandbox, listeners: [{name: http, protocol: HTTP, port: 8080}]}
",
        )
        .await
        .expect("applied");
    let address = sandbox.gateway_address(8080);
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let ask = async |request: Vec<u8>| {
        let begun = std::time::Instant::now();
        let mut stream = loop {
            match tokio::net::TcpStream::connect(&address).await {
                Ok(stream) => break stream,
                Err(_) => assert!(begun.elapsed().as_secs() < 60, "nothing listens"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(&request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let large = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(100 << 10)
    );
    assert!(ask(large.into_bytes()).await.contains("431"));
    let many = "x-again: y\r\n".repeat(500);
    assert!(
        ask(format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n").into_bytes())
            .await
            .contains("431")
    );
    assert!(
        ask(b"GET / HTTP/1.1\r\nbad header\r\n\r\n".to_vec())
            .await
            .contains("400")
    );
    let fine = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec();
    assert_eq!(ask(fine).await, "HTTP/1.1 404 Not Found");
    let tunnel = b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec();
    assert!(ask(tunnel).await.contains("501"));
    sandbox.stop().await;
}

async fn web(name: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let router = axum::Router::new().fallback(move || async move { name });
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn greeter() -> u16 {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"hello ").await.expect("sent");
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.expect("echoed");
            });
        }
    });
    port
}
