//! Owns the data plane: a request comes in at a Gateway or at a service of the mesh, a rule is
//! found, a backend has its turn, and the request goes to one of its ready pods. Which routes there
//! are is decided elsewhere (`plane`) and put here as one table.
//!
//! What comes back as a redirect is the client's to follow, copies for mirrors go straight to pods,
//! and a request that passes here too often is refused, so nothing goes in circles.

mod bounded;
mod filters;
mod forward;
pub(crate) mod listener;
pub(crate) mod matching;
mod metrics;
mod mirror;
pub(crate) mod model;
pub(crate) mod read_grpc;
pub(crate) mod read_http;
mod read_policy;
pub(crate) mod read_virtual;
pub(crate) mod reading;
mod replay;
mod turns;
mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::Semaphore;
use weir_object::Key;

use crate::names::Names;
use crate::network::Network;
use matching::{Asked, Chosen, choose, host_fit};
pub use metrics::ProxyMetrics;
use model::{Action, Backend, Destination, Retry, RetryOn, Route, RouteKind, Rule};
use turns::AllTurns;
use upstream::Upstream;

/// Copies for mirrors under way at once; past it copies are left out.
const MIRRORS: usize = 128;

/// All routes in force.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By gateway and port.
    pub(crate) gateways: HashMap<(Key, u16), Vec<ListenerRoutes>>,
    pub(crate) mesh: Mesh,
}

/// The routes of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerRoutes {
    pub(crate) hostname: Option<String>,
    pub(crate) routes: Vec<Arc<Route>>,
}

/// A route of one port of a service, or of all.
type OfPort = (Option<u16>, Arc<Route>);

/// The routes of the mesh; they have no host names of their own, those are looked at here.
#[derive(Debug, Default)]
pub(crate) struct Mesh {
    /// By host in full and in lower case; a host may begin with `*`.
    pub(crate) hosts: HashMap<String, Arc<Route>>,
    /// Routes whose parent is a service, all of its ports or one.
    pub(crate) services: HashMap<Key, Vec<OfPort>>,
}

impl Mesh {
    /// Without routes there is no mesh: services are then reached as they are.
    pub(crate) fn in_use(&self) -> bool {
        !self.hosts.is_empty() || !self.services.is_empty()
    }

    fn host(&self, host: &str) -> Option<&Arc<Route>> {
        let host = host.to_ascii_lowercase();
        self.hosts.get(&host).or_else(|| {
            let wild = self.hosts.iter().filter(|(name, _)| name.starts_with('*'));
            let fitting = wild.filter_map(|(name, r)| Some((host_fit(name, &host)?, name, r)));
            fitting
                .max_by_key(|(fit, name, _)| (*fit, *name))
                .map(|(_, _, r)| r)
        })
    }
}

/// Where a request came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A listener's port of a Gateway.
    Gateway(Key, u16),
    /// A port of a service.
    Mesh(Key, u16),
}

impl Entry {
    fn port(&self) -> u16 {
        match self {
            Self::Gateway(_, port) | Self::Mesh(_, port) => *port,
        }
    }

    fn is_mesh(&self) -> bool {
        matches!(self, Self::Mesh(..))
    }
}

/// The routes in force and what was done by them.
pub(crate) struct Proxy {
    upstream: Upstream,
    names: Arc<Names>,
    table: RwLock<Arc<Table>>,
    turns: AllTurns,
    metrics: ProxyMetrics,
    mirrors: Arc<Semaphore>,
}

impl Proxy {
    pub(crate) fn new(network: &Network, names: Arc<Names>, seed: u64) -> Self {
        Self {
            upstream: Upstream::new(network),
            names,
            table: RwLock::default(),
            turns: AllTurns::new(seed),
            metrics: ProxyMetrics::default(),
            mirrors: Arc::new(Semaphore::new(MIRRORS)),
        }
    }

    pub(crate) fn metrics(&self) -> ProxyMetrics {
        self.metrics.clone()
    }

    /// Puts a table in force, at once and as a whole.
    pub(crate) fn put(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    fn table(&self) -> Arc<Table> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The router of one entry.
    pub(crate) fn router(self: &Arc<Self>, entry: Entry) -> Router {
        Router::new()
            .fallback(enter)
            .with_state((self.clone(), entry))
    }

    /// The router of a service of the mesh by its name or address; `None` where there is no mesh
    /// or no such service.
    pub(crate) fn mesh_router(self: &Arc<Self>, host: &str, port: u16) -> Option<Router> {
        let service = self.names.service_of(host)?;
        self.in_mesh()
            .then(|| self.router(Entry::Mesh(service, port)))
    }

    pub(crate) fn in_mesh(&self) -> bool {
        self.table().mesh.in_use()
    }

    /// The route and rule of a request.
    fn choose(&self, entry: &Entry, asked: &Asked<'_>) -> Option<(Arc<Route>, Chosen)> {
        let table = self.table();
        match entry {
            Entry::Gateway(gateway, port) => {
                let listeners = table.gateways.get(&(gateway.clone(), *port))?;
                // A listener whose host name fits best has the request to itself.
                let fit = |l: &ListenerRoutes| match &l.hostname {
                    Some(name) => host_fit(name, asked.host),
                    None => Some((0, 0)),
                };
                let fitting = listeners.iter().filter_map(|l| Some((fit(l)?, l)));
                let (_, listener) = fitting.reduce(|a, b| if b.0 > a.0 { b } else { a })?;
                choose(&listener.routes, asked).map(|(route, chosen)| (route.clone(), chosen))
            }
            Entry::Mesh(service, port) => {
                let named = self.names.service_of(asked.host);
                let service = named.as_ref().unwrap_or(service);
                let host = match &named {
                    Some(key) => crate::names::full_name(key),
                    None => asked.host.to_owned(),
                };
                if let Some(route) = table.mesh.host(&host) {
                    let (route, chosen) = choose(std::slice::from_ref(route), asked)?;
                    return Some((route.clone(), chosen));
                }
                if let Some(routes) = table.mesh.services.get(service) {
                    let of_port: Vec<Arc<Route>> = routes
                        .iter()
                        .filter(|(only, _)| only.is_none_or(|p| p == *port))
                        .map(|(_, route)| route.clone())
                        .collect();
                    if !of_port.is_empty() {
                        let (route, chosen) = choose(&of_port, asked)?;
                        return Some((route.clone(), chosen));
                    }
                }
                let chosen = Chosen {
                    rule: 0,
                    found: None,
                };
                Some((Arc::new(plain(service, *port)), chosen))
            }
        }
    }
}

/// A service of the mesh as it is.
fn plain(service: &Key, port: u16) -> Route {
    let to = Destination {
        namespace: service.namespace.clone(),
        service: service.name.clone(),
        port,
        ..Destination::default()
    };
    let backend = Backend {
        to,
        weight: 1,
        ..Backend::default()
    };
    Route {
        kind: RouteKind::Plain,
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        rules: vec![Rule {
            action: Action::Forward(vec![backend]),
            retry: mesh_retry(),
            ..Rule::default()
        }],
        ..Route::default()
    }
}

/// What Istio does where nothing was said of retries.
pub(crate) fn mesh_retry() -> Retry {
    Retry {
        attempts: 2,
        backoff: None,
        on: RetryOn {
            connect: true,
            grpc: vec![1, 14],
            ..RetryOn::default()
        },
    }
}

async fn enter(State((proxy, entry)): State<(Arc<Proxy>, Entry)>, request: Request) -> Response {
    proxy.answer(&entry, request).await
}
