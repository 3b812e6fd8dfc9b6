//! Owns the two servers that are asked: the sandbox's API in this process, and a real control
//! plane over HTTP/2. It refuses to know what is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower::ServiceExt as _;
use weir_apiserver::ApiServer;

/// A failure of the transport, not an answer.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;
/// An answer whose body may still be coming.
pub(crate) type Response = http::Response<UnsyncBoxBody<Bytes, Broken>>;

/// What is asked, alike of both servers.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query, as it goes over the wire.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Request {
    /// A read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path, Vec::new())
    }

    /// A request with a JSON body.
    pub(crate) fn new(method: &str, path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let headers = [
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", "conform/v1"),
        ];
        Self {
            method: method.to_owned(),
            path: path.into(),
            headers: headers.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            body: body.into(),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON, or null.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Which server.
#[derive(Clone)]
pub(crate) enum Target {
    /// The sandbox's.
    Ours(ApiServer),
    /// The real one.
    Real(Arc<Real>),
}

impl Target {
    /// The sandbox's API with its controllers running until this program ends.
    pub(crate) fn ours() -> Self {
        let server = ApiServer::new(weir_apiserver::Options::default());
        tokio::spawn(server.run_controllers());
        Self::Ours(server)
    }

    /// Sends a request; the body of the answer may still be coming.
    pub(crate) async fn open(&self, request: &Request) -> anyhow::Result<Response> {
        let mut built = http::Request::builder().method(request.method.as_str());
        let uri = match self {
            Self::Ours(_) => request.path.clone(),
            Self::Real(real) => format!("https://{}{}", real.host, request.path),
        };
        built = built.uri(uri);
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        if let Self::Real(real) = self
            && !request.headers.iter().any(|(n, _)| n == "authorization")
        {
            built = built.header("authorization", format!("Bearer {}", real.token));
        }
        let built = built.body(Full::new(request.body.clone()))?;
        match self {
            Self::Ours(server) => {
                let Ok(response) = server.service().oneshot(built).await;
                Ok(response.map(|b| b.map_err(|e| -> Broken { Box::new(e) }).boxed_unsync()))
            }
            Self::Real(real) => {
                let mut sender = real.sender().await?;
                let response = match sender.send_request(built.clone()).await {
                    Ok(response) => response,
                    // The server ends a connection in peace after it refused a large body; what
                    // had not begun by then is to be sent again.
                    Err(error)
                        if error.to_string().contains("http2 error") || error.is_canceled() =>
                    {
                        let mut sender = real.sender().await?;
                        sender.send_request(built).await?
                    }
                    Err(error) => return Err(error.into()),
                };
                Ok(response.map(|b| b.map_err(|e| -> Broken { Box::new(e) }).boxed_unsync()))
            }
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: &Request) -> anyhow::Result<Answer> {
        let response = self.open(request).await?;
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|e| anyhow!("the answer broke off: {e}"))?;
        Ok(Answer {
            code: head.status.as_u16(),
            body: body.to_bytes(),
        })
    }
}

/// How many connections are held; each carries many requests at once.
const CONNECTIONS: usize = 8;

type Sender = SendRequest<Full<Bytes>>;

/// A real control plane.
pub(crate) struct Real {
    host: String,
    token: String,
    tls: tokio_rustls::TlsConnector,
    connections: [Mutex<Option<Sender>>; CONNECTIONS],
    next: AtomicUsize,
}

impl Real {
    /// Reads where it is, and who asks, from a kubeconfig's text.
    pub(crate) fn from_kubeconfig(text: &str) -> anyhow::Result<Self> {
        let config = weir_yaml::from_str(text)?;
        let text = |pointer: &str| {
            let found = config.pointer(pointer).and_then(Value::as_str);
            found.ok_or_else(|| anyhow!("the kubeconfig has no {pointer}"))
        };
        let server = text("/clusters/0/cluster/server")?;
        let Some(host) = server.strip_prefix("https://") else {
            bail!("the kubeconfig's server {server} is not https");
        };
        let ca = text("/clusters/0/cluster/certificate-authority-data")?;
        let ca = base64::engine::general_purpose::STANDARD.decode(ca)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&ca).context("the kubeconfig's certificate")?)?;
        weir_runtime::tls::init();
        let mut tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            host: host.trim_end_matches('/').to_owned(),
            token: text("/users/0/user/token")?.to_owned(),
            tls: Arc::new(tls).into(),
            connections: Default::default(),
            next: AtomicUsize::new(0),
        })
    }

    async fn sender(&self) -> anyhow::Result<Sender> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let Some(slot) = self.connections.get(turn) else {
            bail!("no connection {turn}");
        };
        let mut slot = slot.lock().await;
        if let Some(sender) = slot.as_ref().filter(|s| !s.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = self.connect().await?;
        *slot = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> anyhow::Result<Sender> {
        let stream = TcpStream::connect(&self.host)
            .await
            .with_context(|| format!("no control plane answers at {}", self.host))?;
        stream.set_nodelay(true)?;
        let name = self
            .host
            .rsplit_once(':')
            .map_or(self.host.as_str(), |p| p.0);
        let name = ServerName::try_from(name.to_owned())?;
        let stream = self.tls.connect(name, stream).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Its end shows in the sender.
        tokio::spawn(connection);
        Ok(sender)
    }
}
