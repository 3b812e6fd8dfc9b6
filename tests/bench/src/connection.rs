//! Owns one connection: HTTP/1.1 over TLS with as little work as the protocol allows, so that the
//! measure is of the server.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the API is, and how to prove who asks.
#[derive(Clone)]
pub(crate) struct Target {
    host: String,
    address: String,
    token: String,
    tls: TlsConnector,
}

impl Target {
    pub(crate) fn of_kubeconfig(text: &str) -> anyhow::Result<Self> {
        let value: Value = weir_yaml::from_str(text)
            .map_err(|e| anyhow::anyhow!("the kubeconfig is not YAML: {e}"))?;
        let field = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .with_context(|| format!("the kubeconfig has no {pointer}"))
        };
        let server = field("/clusters/0/cluster/server")?;
        let address = server
            .strip_prefix("https://")
            .context("the server is not https")?
            .trim_end_matches('/');
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let pem = STANDARD.decode(field("/clusters/0/cluster/certificate-authority-data")?)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem)?)?;
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            host: host.to_owned(),
            address: address.to_owned(),
            token: field("/users/0/user/token")?.to_owned(),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let stream = self.tls.connect(name, stream).await?;
        Ok(Connection {
            stream,
            target: self.clone(),
            buffer: Vec::with_capacity(256 * 1024),
            at: 0,
        })
    }
}

/// One connection, which answers one request after the other.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    target: Target,
    buffer: Vec<u8>,
    at: usize,
}

/// The length of a body.
enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    /// Sends a request and reads the answer; its code and the length of its body.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(u16, usize)> {
        self.send(method, path, body).await?;
        let (code, length) = self.head().await?;
        let size = match length {
            Length::Known(size) => {
                self.skip(size).await?;
                size
            }
            Length::Chunked => {
                let mut size = 0;
                loop {
                    let line = self.line().await?;
                    let chunk = usize::from_str_radix(line.trim(), 16)?;
                    self.skip(chunk + 2).await?;
                    if chunk == 0 {
                        break size;
                    }
                    size += chunk;
                }
            }
        };
        Ok((code, size))
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> anyhow::Result<()> {
        let content = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let (host, token) = (&self.target.address, &self.target.token);
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             User-Agent: bench/1\r\nAccept: application/json\r\nContent-Type: {content}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn head(&mut self) -> anyhow::Result<(u16, Length)> {
        let status = self.line().await?;
        let code = status
            .split(' ')
            .nth(1)
            .and_then(|c| c.parse().ok())
            .context("no HTTP status")?;
        let mut length = Length::Known(0);
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((code, length));
            }
            let (name, value) = line.split_once(':').context("no HTTP header")?;
            if name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            }
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
                let line =
                    String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
                self.at += end + 2;
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, mut size: usize) -> anyhow::Result<()> {
        loop {
            let here = (self.buffer.len() - self.at).min(size);
            self.at += here;
            size -= here;
            if size == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Opens a watch.
    pub(crate) async fn watch(&mut self, path: &str) -> anyhow::Result<()> {
        self.send("GET", path, "").await?;
        let (code, _) = self.head().await?;
        anyhow::ensure!(code == 200, "a watch was answered with {code}");
        Ok(())
    }

    /// Reads on until that many events came.
    pub(crate) async fn events(&mut self, count: usize) -> anyhow::Result<()> {
        let (mut seen, mut last) = (0, 0_u8);
        loop {
            // JSON has no line breaks of its own, and those of chunks have a carriage return.
            for byte in self.buffer.get(self.at..).unwrap_or_default() {
                seen += usize::from(*byte == b'\n' && last != b'\r');
                last = *byte;
            }
            self.at = self.buffer.len();
            if seen >= count {
                return Ok(());
            }
            self.more().await?;
        }
    }
}
