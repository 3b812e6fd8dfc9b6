//! Owns service addresses on loopback: each port of each Service with a cluster IP is a listener
//! that hands a connection to one of the ready endpoints. (In memory, names alone do this.)

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

/// How long a connection to an endpoint may take.
const CONNECT: Duration = Duration::from_secs(5);

pub(crate) struct ServicePorts {
    store: Arc<Store>,
    names: Arc<Names>,
    open: Mutex<HashMap<(Key, SocketAddr), DropGuard>>,
}

impl ServicePorts {
    pub(crate) fn controller(context: &Context, names: Arc<Names>) -> Controller {
        let store = context.caches.watch(WatchOf::all(&SERVICE));
        let reconciler = Self {
            store,
            names,
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
                    let accept =
                        accept(listener, at, self.names.clone(), key.clone(), stop.clone());
                    tokio::spawn(accept);
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
    names: Arc<Names>,
    service: Key,
    stop: CancellationToken,
) {
    let mut turn = 0_usize;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut client, _)) = accepted else {
            // Out of file descriptors, most likely: give others time to close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let endpoints = names.ready(&service.namespace, &service.name, at.port());
        turn = turn.wrapping_add(1);
        let Some(endpoint) = endpoints.get(turn % endpoints.len().max(1)).copied() else {
            continue; // closing the connection is all that TCP can say
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            let connect = tokio::time::timeout(CONNECT, TcpStream::connect(endpoint)).await;
            if let Ok(Ok(mut server)) = connect {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                }
            }
        });
    }
}
