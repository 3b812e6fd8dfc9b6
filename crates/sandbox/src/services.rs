//! Owns service addresses on loopback: each port of each Service with a cluster IP is a listener
//! that hands a connection to one of the ready endpoints, or, where there is a mesh and the
//! connection speaks HTTP, to the proxy. (In memory, names alone do this.)

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use weir_object::Key;
use weir_runtime::kinds::SERVICE;
use weir_runtime::{Context, Controller, ControllerOptions, Outcome, Reconciler, Store, WatchOf};

use crate::names::Names;
use crate::proxy::{Entry, Proxy, listener};

/// How long a connection to an endpoint may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a client in the mesh may take to show what it speaks; past it the connection is passed
/// on as it is, since some protocols let the server speak first.
const SPEAK: Duration = Duration::from_millis(500);

pub(crate) struct ServicePorts {
    store: Arc<Store>,
    way: Way,
    open: Mutex<HashMap<(Key, SocketAddr), DropGuard>>,
}

/// Where connections go.
#[derive(Clone)]
struct Way {
    names: Arc<Names>,
    proxy: Arc<Proxy>,
}

impl ServicePorts {
    pub(crate) fn controller(
        context: &Context,
        names: Arc<Names>,
        proxy: Arc<Proxy>,
    ) -> Controller {
        let store = context.caches.watch(WatchOf::all(&SERVICE));
        let reconciler = Self {
            store,
            way: Way { names, proxy },
            open: Mutex::default(),
        };
        Controller::new(
            context,
            "sandbox-services",
            &SERVICE,
            reconciler,
            ControllerOptions::default(),
        )
    }
}

#[async_trait::async_trait]
impl Reconciler for ServicePorts {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let mut wanted: Vec<SocketAddr> = Vec::new();
        if let Some(service) = self.store.get(key)
            && let Ok(address) = service.text(&["spec", "clusterIP"]).parse::<IpAddr>()
            && address.is_loopback()
        {
            let ports = service.get(&["spec", "ports"]).and_then(Value::as_array);
            let numbers = ports
                .into_iter()
                .flatten()
                .filter_map(|p| p["port"].as_u64());
            wanted.extend(
                numbers
                    .filter_map(|p| u16::try_from(p).ok())
                    .map(|p| SocketAddr::new(address, p)),
            );
        }
        let missing: Vec<SocketAddr> = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|(owner, at), _| owner != key || wanted.contains(at));
            wanted
                .into_iter()
                .filter(|at| !open.contains_key(&(key.clone(), *at)))
                .collect()
        };
        for at in missing {
            match TcpListener::bind(at).await {
                Ok(listener) => {
                    let stop = CancellationToken::new();
                    let way = self.way.clone();
                    tokio::spawn(accept(listener, at, way, key.clone(), stop.clone()));
                    let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                    open.insert((key.clone(), at), stop.drop_guard());
                }
                Err(e) => return Outcome::Retry(format!("{at} cannot be bound: {e}")),
            }
        }
        Outcome::Wait
    }
}

async fn accept(
    listener: TcpListener,
    at: SocketAddr,
    way: Way,
    service: Key,
    stop: CancellationToken,
) {
    let mut turn = 0_usize;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((client, _)) = accepted else {
            // Out of file descriptors, most likely: give others time to close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        turn = turn.wrapping_add(1);
        let (way, service, stopped) = (way.clone(), service.clone(), stop.clone());
        tokio::spawn(async move {
            if way.proxy.in_mesh() && speaks_http(&client).await {
                let router = way.proxy.router(Entry::Mesh(service, at.port()));
                return listener::connection(client, router, stopped).await;
            }
            pass(client, &way.names, &service, at.port(), turn, &stopped).await;
        });
    }
}

/// Hands a connection to an endpoint, byte by byte. Closing it is all that TCP can say where there
/// is none.
async fn pass(
    mut client: TcpStream,
    names: &Names,
    service: &Key,
    port: u16,
    turn: usize,
    stop: &CancellationToken,
) {
    let endpoints = names.ready(&service.namespace, &service.name, port);
    let Some(endpoint) = endpoints.get(turn % endpoints.len().max(1)).copied() else {
        return;
    };
    let connect = tokio::time::timeout(CONNECT, TcpStream::connect(endpoint)).await;
    if let Ok(Ok(mut server)) = connect {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        }
    }
}

/// Whether a connection begins as HTTP does: with a method of HTTP/1, or HTTP/2's greeting. The
/// bytes stay to be read.
async fn speaks_http(client: &TcpStream) -> bool {
    let mut first = [0; 8];
    let look = async {
        loop {
            match client.peek(&mut first).await {
                Err(_) | Ok(0) => return false,
                Ok(n) => {
                    let seen = first.get(..n).unwrap_or_default();
                    if let Some(answer) = begins_as_http(seen) {
                        return answer;
                    }
                }
            }
            // Peeking returns at once while too little is there.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SPEAK, look).await.unwrap_or(false)
}

/// Whether these first bytes are HTTP's; `None` while there are too few to tell.
fn begins_as_http(seen: &[u8]) -> Option<bool> {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"TRACE ",
        b"CONNECT ",
        b"PRI * HT",
    ];
    if METHODS.iter().any(|m| seen.starts_with(m)) {
        return Some(true);
    }
    let may_be = METHODS.iter().any(|m| m.starts_with(seen));
    if may_be { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_other_protocols_by_its_first_bytes() {
        for (seen, http) in [
            (&b"GET /x H"[..], Some(true)),
            (b"PRI * HT", Some(true)),
            (b"PO", None),
            (b"", None),
            (b"SSH-2.0-", Some(false)),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", Some(false)),
            (b"GETX", Some(false)),
        ] {
            assert_eq!(begins_as_http(seen), http, "{seen:?}");
        }
    }
}
