//! Owns what is known when a decision is made. Every absence is said, not implied. It refuses
//! stored objects: whoever observes reduces them to the facts named here.

use jiff::Timestamp;

use crate::{Answer, HookKind, Measurement, Request, Revision, State, Strategy, Traffic};

/// Everything a decision is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The time of the observation.
    pub now: Timestamp,
    /// The Canary's name.
    pub name: String,
    /// The Canary's namespace.
    pub namespace: String,
    /// How it is to proceed.
    pub strategy: Strategy,
    /// What the Canary asks for that can't be done, if anything.
    pub refusal: Option<Refusal>,
    /// Whether the Canary is suspended.
    pub suspended: bool,
    /// Whether the Canary is being deleted.
    pub deleting: bool,
    /// Whether the Canary carries the finalizer.
    pub finalizer: bool,
    /// What was recorded. `None`: the canary was never taken up.
    pub state: Option<State>,
    /// The workload Git owns. `None`: there is none.
    pub target: Option<Target>,
    /// The workload that serves. `None`: there is none.
    pub primary: Option<Primary>,
    /// The autoscaler, where the Canary names one that exists.
    pub scaler: Option<Scaler>,
    /// Which templates are stored.
    pub records: Records,
    /// The Service in front of the canary's pods.
    pub canary_service: Piece,
    /// The Service in front of the primary's pods.
    pub primary_service: Piece,
    /// Where the apex Service leads.
    pub apex: Apex,
    /// The route.
    pub route: Route,
    /// What people ask for.
    pub requests: Vec<Request>,
    /// Why a new run has to wait for its turn, if it has.
    pub turn: Option<String>,
    /// What was found out since the last record.
    pub evidence: Evidence,
}

/// What was found out by asking, since the last record. It is never stored as it is: what follows
/// from it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// What hooks answered.
    pub answers: Vec<Answer>,
    /// A round of measurements.
    pub measurement: Option<Measurement>,
}

impl Evidence {
    /// What the hooks of a kind answered at a point.
    pub fn answer(&self, kind: HookKind, point: &str) -> Option<&Answer> {
        self.answers
            .iter()
            .find(|a| a.kind == kind && a.point == point)
    }

    /// The round that was measured at a point.
    pub fn measurement(&self, point: &str) -> Option<&Measurement> {
        self.measurement.as_ref().filter(|m| m.point == point)
    }
}

/// What the Canary asks for that can't be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The condition's reason: `Unsupported` or `Invalid`, for example.
    pub reason: &'static str,
    /// The field, from the Canary's root.
    pub field: String,
    /// A sentence: what, where and what to do.
    pub message: String,
}

/// The workload Git owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its kind, for people.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The revision of its live template.
    pub revision: Revision,
    /// Whether its pods can be taken away between runs; those behind a Service are somebody else's.
    pub scales: bool,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Whether this canary co-owns `spec.replicas`.
    pub claimed: bool,
    /// Pods able to serve.
    pub available: u32,
    /// Whether its rollout is through.
    pub readiness: Readiness,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The workload that serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Primary {
    /// Its name.
    pub name: String,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Pods able to serve.
    pub available: u32,
    /// Whether its rollout is through.
    pub readiness: Readiness,
    /// Whether its live template is the promoted revision's, less the rewrites.
    /// `None`: that revision's template is not stored.
    pub runs_promoted: Option<bool>,
    /// Whether its live template is the current run's, less the rewrites.
    /// `None`: that revision's template is not stored.
    pub runs_run: Option<bool>,
    /// Its template with the rewrites undone; the baseline when a canary takes over.
    pub baseline: Revision,
}

/// The target's autoscaler, and the primary's that is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaler {
    /// The primary's.
    pub primary: Piece,
    /// The least number of pods, at least 1.
    pub min: u32,
    /// The greatest number of pods.
    pub max: Option<u32>,
    /// Whether the target's is stopped at zero; `None` for a kind that stops by itself when there
    /// are no pods.
    pub paused: Option<bool>,
}

/// Whether a workload's rollout is through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is, for the current generation.
    Ready,
    /// Not yet.
    Waiting(String),
    /// Its own deadline has passed.
    Exceeded(String),
}

/// Which templates are stored, each with its right digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The promoted revision's.
    pub promoted: bool,
    /// The run's.
    pub run: bool,
    /// Those of revisions promoted earlier that can be gone back to, by id.
    pub previous: Vec<String>,
    /// Others, which nothing needs any more.
    pub stale: bool,
}

/// A generated object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// There is none.
    Absent,
    /// It is not as it should be.
    Differs,
    /// It is as it should be.
    Current,
}

/// Where the apex Service leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apex {
    /// There is none.
    Absent,
    /// To the primary, and it is as it should be.
    Primary,
    /// To the target, and it is as it should be.
    Target,
    /// Elsewhere, or it is not as it should be.
    Other,
}

/// The route.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// There is none.
    Absent,
    /// There is one.
    Present {
        /// Where it sends what.
        backends: Backends,
        /// Whether all but the weights is as it should be.
        current: bool,
        /// Whether the data plane has taken it over.
        in_force: InForce,
    },
}

/// Where a route sends what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backends {
    /// To primary and canary.
    Split(Traffic),
    /// To the apex Service.
    Apex,
    /// Elsewhere.
    Other,
}

/// Whether the data plane has taken the route over as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InForce {
    /// All its parents accepted this generation.
    Yes,
    /// A parent refused it.
    No(String),
    /// A parent has not answered for this generation.
    Unknown(String),
}
