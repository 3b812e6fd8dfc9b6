//! A Kubernetes API in memory, as a tower service without sockets or processes.
//!
//! This room owns the wire protocol ([`ApiServer::service`]), the rules behind it (validation,
//! defaults, field ownership, finalizers, watches) and the controllers that make built-in kinds
//! behave ([`ApiServer::run_controllers`]). Parts of the same process use [`Store`].
//!
//! It refuses sockets and TLS (`weir-sandbox`) and running pods (a kubelet that watches them). What
//! it knows is gone when it is dropped, unless it was opened on a file ([`ApiServer::open`]).

mod addresses;
mod admit;
mod answer;
mod authorize;
mod body;
mod bucket;
mod builtin;
mod call;
mod cel;
mod change;
mod controllers;
mod convert;
mod custom;
mod discovery;
mod evict;
mod exposure;
mod faces;
mod faults;
mod identity;
mod logs;
mod meta;
mod objects;
mod openapi;
mod options;
mod persist;
mod plugins;
mod policy;
mod protobuf;
mod random;
mod read;
mod refusal;
mod registry;
mod remove;
mod request;
mod review;
mod routes;
mod scale;
mod selector;
mod served;
mod server;
mod service;
mod state;
mod store;
mod stored;
mod stream;
mod structural;
mod table;
mod typed;
mod watch;
mod write;

pub use addresses::{Addresses, SequentialAddresses};
pub use body::{ApiBody, Cut};
pub use controllers::metrics::{MetricsSource, Usage};
pub use faults::{
    Ambiguity, Cutting, FaultCount, FaultError, FaultMatch, FaultPlan, FaultPlanError, FaultRule,
    FaultVerb, FaultWhen, Faults, Moment, Span, Staleness,
};
pub use identity::{User, has_bearer_token};
pub use logs::{LogOptions, LogStream, PodLogs};
pub use persist::{OpenFailure, SaveFailure, peek_parcel};
pub use protobuf::{json_to_protobuf, protobuf_to_json};
pub use refusal::{Cause, Refusal, ResourceName};
pub use selector::Selector;
pub use server::{ApiServer, Now, Options, Tuning};
pub use service::ApiService;
pub use store::{Event, Store, Watch};
