//! Canary: shift traffic, judge metrics, promote or roll back.
//!
//! This room owns what a Canary means in a cluster: which kinds can be released (`workload`), which
//! objects are generated and how (`deployment`, `service`, `route`, `template`), what is seen of them
//! (`observe`) and whom a change concerns (`index`), how an effect becomes a write (`act`), how a metric
//! becomes a number (`measure`), how hooks are asked and people told (`hooks`), and the loop that ties
//! them to the decision ([`controller`]). It also owns what can be said of a Canary without acting on
//! it ([`views`]).
//!
//! It refuses to decide: every rule of the state machine is `weir_rollout::decide`'s. It refuses,
//! too, what it can't do yet: a Canary that asks for more than this room has (see `accept`) gets
//! `Ready=False` with the field's name, and nothing of it moves.
//!
//! ConfigMaps and Secrets that the target refers to are part of its revisions (`configs`): a change
//! of their content starts a run, and the primary has copies of what was analysed.

mod accept;
mod act;
mod configs;
mod contents;
mod deployment;
mod failure;
mod fights;
mod hooks;
mod index;
mod keep;
mod measure;
mod names;
mod observe;
mod options;
mod reconcile;
mod route;
mod rules;
mod scaler;
mod service;
mod status;
mod telemetry;
mod template;
mod view;
mod workload;

pub use observe::annotation;
pub use options::Options;
pub use reconcile::controller;
pub use view::{View, views};
