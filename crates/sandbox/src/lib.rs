//! The sandbox: a small world in which a change goes the whole way from a push to traffic, with no
//! cluster.
//!
//! It owns the parts around the in-memory API server: the API's port ([`ApiPort`]), pods as
//! processes or in memory (the kubelet), service addresses, the data plane of the Gateway API and of
//! Istio's routes (the proxy), a Git server, an image registry, Prometheus and a load generator. [`Sandbox`] wires them.
//!
//! There are two networks behind the same code: [`Network::Loopback`] with real sockets on a block
//! of 127.x.y.z, and [`Network::Memory`], where requests go straight to routers and time may be
//! virtual. It refuses to be a Kubernetes distribution: pods run without isolation.

mod addresses;
mod api_port;
mod block;
mod control;
mod gateway;
pub mod gitserver;
mod hands;
mod images;
mod install;
mod istio;
mod keeping;
mod kubelet;
mod load;
mod logs;
mod manifests;
mod memory;
mod names;
mod network;
mod plane;
mod probe;
mod process;
pub mod prometheus;
mod proxy;
pub mod registry;
mod scraped;
mod services;
mod tempo;
mod webhooks;
mod world;

pub use addresses::Addresses;
pub use api_port::{ApiPort, PortFailure};
pub use hands::HandFailure;
pub use load::{Load, LoadReport};
pub use manifests::{Loaded, ManifestFailure};
pub use memory::MemoryNet;
pub use names::Names;
pub use network::Network;
pub use proxy::ProxyMetrics;
pub use tempo::{Tempo, TempoFailure};
pub use weir_apiserver::{FaultPlan, FaultPlanError};
pub use world::{Options, Sandbox, StartFailure};
