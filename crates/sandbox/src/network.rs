//! Owns where a router can be put: on a socket of its own, or in memory.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::MemoryNet;
use crate::proxy::listener;

/// The network of a sandbox. Cheap to clone.
#[derive(Clone)]
pub enum Network {
    /// Real sockets on loopback addresses.
    Loopback,
    /// Routers in memory.
    Memory(MemoryNet),
}

/// A router that is served until this is dropped.
pub(crate) struct Served {
    stop: CancellationToken,
    memory: Option<(MemoryNet, String, u16)>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some((net, host, port)) = &self.memory {
            net.close(host, *port);
        }
    }
}

impl Network {
    /// Serves `router` at an address until the returned value is dropped.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) async fn serve(
        &self,
        address: IpAddr,
        port: u16,
        router: Router,
    ) -> std::io::Result<Served> {
        let stop = CancellationToken::new();
        match self {
            Self::Memory(net) => {
                let host = address.to_string();
                net.listen(&host, port, router);
                Ok(Served {
                    stop,
                    memory: Some((net.clone(), host, port)),
                })
            }
            Self::Loopback => {
                let listener = TcpListener::bind(SocketAddr::new(address, port)).await?;
                tokio::spawn(listener::serve(listener, router, stop.clone()));
                Ok(Served { stop, memory: None })
            }
        }
    }
}
