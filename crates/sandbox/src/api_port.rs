//! Owns the API's port: TLS on loopback with a certificate authority made at the start, the
//! administrator's bearer token, and the kubeconfig that holds both. Who has no token is anonymous,
//! and may see little: loopback is shared by everyone on the machine. It refuses to read tokens;
//! the server does that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;
use weir_apiserver::{ApiBody, ApiServer, User};
use weir_runtime::Secret;

use crate::memory::read_body;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest answer of a control, in bytes.
const CONTROL_LIMIT: usize = 1 << 20;

/// Why the API's port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortFailure {
    /// The socket cannot be used. Retryable.
    #[error("the API's socket cannot be used: {0}")]
    Socket(std::io::Error),
    /// No certificate could be made. Terminal.
    #[error("no certificate could be made for the API's port: {0}")]
    Certificate(String),
}

/// The open port; it closes when dropped.
pub struct ApiPort {
    address: SocketAddr,
    ca_pem: String,
    token: Secret,
    _stop: DropGuard,
}

impl ApiPort {
    /// Serves the API on a socket.
    pub fn serve(server: ApiServer, listener: TcpListener) -> Result<Self, PortFailure> {
        Self::serve_with(server, axum::Router::new(), listener)
    }

    /// Serves the API on a socket, and the sandbox's own controls under `/sandbox/`.
    pub(crate) fn serve_with(
        server: ApiServer,
        controls: axum::Router,
        listener: TcpListener,
    ) -> Result<Self, PortFailure> {
        let address = listener.local_addr().map_err(PortFailure::Socket)?;
        let (config, ca_pem) = tls_config(address.ip())?;
        let token = Secret::new(random_token());
        server.accept_token(token.expose(), (*User::admin()).clone());
        let stop = CancellationToken::new();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let face = Face { server, controls };
        tokio::spawn(accept(listener, acceptor, face, stop.clone()));
        Ok(Self {
            address,
            ca_pem,
            token,
            _stop: stop.drop_guard(),
        })
    }

    /// Where the API is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kubeconfig by which `kubectl` and any client reach it. It holds the token.
    pub fn kubeconfig(&self) -> Secret {
        let ca = STANDARD.encode(&self.ca_pem);
        Secret::new(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\n\
             clusters:\n- name: sandbox\n  cluster:\n    server: https://{}\n    \
             certificate-authority-data: {ca}\n\
             users:\n- name: admin\n  user:\n    token: {}\n\
             contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: admin\n    \
             namespace: default\n",
            self.address,
            self.token.expose(),
        ))
    }
}

fn tls_config(address: IpAddr) -> Result<(rustls::ServerConfig, String), PortFailure> {
    let failed = |e: rcgen::Error| PortFailure::Certificate(e.to_string());
    weir_runtime::tls::init();
    let ca_key = KeyPair::generate().map_err(failed)?;
    let mut ca = CertificateParams::new(Vec::new()).map_err(failed)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "weir-sandbox");
    let ca_cert = ca.self_signed(&ca_key).map_err(failed)?;
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().map_err(failed)?;
    let names = ["localhost".to_owned(), "kubernetes.default.svc".to_owned()];
    let mut leaf = CertificateParams::new(names).map_err(failed)?;
    leaf.subject_alt_names.push(SanType::IpAddress(address));
    leaf.distinguished_name
        .push(rcgen::DnType::CommonName, "weir-sandbox-api");
    let cert = leaf.signed_by(&key, &issuer).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .map_err(|e| PortFailure::Certificate(e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, ca_cert.pem()))
}

/// 128 bits of the certificate library's randomness: the serial of a throw-away key.
fn random_token() -> String {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let key = KeyPair::generate()
        .map(|k| k.serialize_der())
        .unwrap_or_default();
    Sha256::digest(&key)
        .iter()
        .take(16)
        .fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// What is behind the port.
#[derive(Clone)]
struct Face {
    server: ApiServer,
    controls: axum::Router,
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, face: Face, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // An answer in several pieces must not wait for the client's acknowledgement of the first.
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(%e, "a client's connection answers in large pieces only");
        }
        let (acceptor, face) = (acceptor.clone(), face.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = handshake else { return };
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let face = face.clone();
                async move { answer(face, request).await }
            });
            let builder = Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = stopped.cancelled() => {}
                ended = connection => {
                    if let Err(e) = ended {
                        tracing::debug!(%e, "a client's connection ended");
                    }
                }
            }
        });
    }
}

async fn answer(
    face: Face,
    mut request: Request<Incoming>,
) -> Result<Response<Either<ApiBody, Full<Bytes>>>, std::convert::Infallible> {
    // Without this, a request that proves nothing would be taken for one of this process.
    if !weir_apiserver::has_bearer_token(request.headers()) {
        request.extensions_mut().insert(User::anonymous());
    }
    if !request.uri().path().starts_with("/sandbox/") {
        let response = face.server.service().oneshot(request).await?;
        return Ok(response.map(Either::Left));
    }
    // The controls are paths like any other to the rules of roles.
    let (head, body) = request.into_parts();
    if let Err(refused) = face.server.admit(&head) {
        return Ok(refused.map(Either::Left));
    }
    let request = Request::from_parts(head, axum::body::Body::new(body));
    let response = face.controls.oneshot(request).await?;
    let (head, body) = response.into_parts();
    let body = read_body(body, CONTROL_LIMIT).await.unwrap_or_default();
    Ok(Response::from_parts(head, Either::Right(body.into())))
}
