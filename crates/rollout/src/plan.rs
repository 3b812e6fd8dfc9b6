//! Owns what can come next. A plan is data with prose: it can be shown, stored and compared.

use jiff::Timestamp;
use serde::Serialize;

use crate::{HookKind, Phase, Source, State, Traffic};

/// What comes next. Exactly one of these, and never an effect together with a new state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "plan", rename_all = "camelCase")]
pub enum Plan {
    /// Nothing moves: the Canary asks for what can't be done.
    Refuse {
        /// The condition's reason.
        reason: String,
        /// The field at fault.
        field: String,
        /// What, where and what to do.
        message: String,
    },
    /// Everything is as recorded; only a change of the world starts something.
    Rest {
        /// Why nothing is to be done.
        why: String,
    },
    /// Something in the cluster has to happen first; its watch event continues.
    Hold {
        /// What is waited for.
        waiting_for: String,
        /// When patience ends, if it does.
        until: Option<Timestamp>,
    },
    /// Time has to pass first: a measurement is due then.
    Wait {
        /// When.
        until: Timestamp,
        /// What is waited for.
        why: String,
    },
    /// Record this state, and nothing else. The next decision is made from it.
    Record {
        /// The state to store, with the observed resourceVersion as its precondition.
        state: Box<State>,
        /// What to tell, once it is stored.
        events: Vec<Event>,
    },
    /// Bring the world to what is recorded: these effects, in this order, stopping at the first
    /// that fails. Each can be repeated and carries its own precondition.
    Act {
        /// The effects.
        effects: Vec<Effect>,
        /// What to tell, once they are done.
        events: Vec<Event>,
    },
    /// Measure every metric now, then decide again from a fresh observation that carries the round.
    Measure {
        /// The revision that is measured.
        revision: String,
        /// The point of the run, which the round carries.
        point: String,
        /// The workload whose pods run it.
        of: Backend,
        /// Since when its requests are to be counted, where their number matters.
        count_since: Option<Timestamp>,
    },
    /// Ask every hook of a kind now, then decide again from a fresh observation that carries the
    /// answers.
    Ask {
        /// The kind.
        kind: HookKind,
        /// The point of the run, which the answers carry. The same point is the same question:
        /// asked again after a crash, it has the same idempotency key.
        point: String,
        /// The revision it is about.
        revision: String,
        /// The phase to tell them.
        phase: Phase,
    },
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "camelCase")]
pub enum Effect {
    /// Put the finalizer on the Canary: from here on a deletion gives back what was borrowed.
    AddFinalizer,
    /// Take the finalizer off the Canary.
    RemoveFinalizer,
    /// Co-own the target's replicas at their current number.
    ClaimReplicas,
    /// Store the template of this revision, if the source still has it.
    StoreTemplate {
        /// The revision.
        revision: String,
        /// Its digest.
        digest: String,
        /// Where the template is taken from.
        source: Source,
    },
    /// Remove the stored templates nothing needs any more.
    PruneTemplates,
    /// Make the Services in front of canary and primary as they should be.
    ApplyServices,
    /// Make the apex Service lead there.
    PointApex {
        /// Where.
        to: Backend,
    },
    /// Create the primary from the stored template of this revision.
    CreatePrimary {
        /// The revision.
        revision: String,
        /// How many pods.
        replicas: u32,
    },
    /// Replace the primary's pod template as a whole by the stored one of this revision.
    ReplacePrimaryTemplate {
        /// The revision.
        revision: String,
    },
    /// Set the target's replicas.
    ScaleTarget {
        /// How many.
        replicas: u32,
    },
    /// Make the primary's autoscaler as it should be.
    ApplyScaler,
    /// Stop the target's autoscaler at zero, or let it go on.
    PauseScaler {
        /// Whether it is to be stopped.
        paused: bool,
    },
    /// Make the route send traffic there.
    Route {
        /// Where.
        to: Traffic,
    },
    /// Make the route send everything to the apex Service, and let go of it.
    ReleaseRoute,
}

impl Effect {
    /// What it does, in words.
    pub fn says(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "putting the finalizer on",
            Self::RemoveFinalizer => "taking the finalizer off",
            Self::ClaimReplicas => "co-owning the target's replicas",
            Self::StoreTemplate { .. } => "storing the pod template",
            Self::PruneTemplates => "removing stored templates",
            Self::ApplyServices => "making the Services",
            Self::PointApex { .. } => "leading the apex Service",
            Self::CreatePrimary { .. } => "making the primary",
            Self::ReplacePrimaryTemplate { .. } => "setting the primary's pod template",
            Self::ScaleTarget { .. } => "scaling the target",
            Self::ApplyScaler => "making the primary's autoscaler",
            Self::PauseScaler { .. } => "stopping or starting the target's autoscaler",
            Self::Route { .. } => "leading the route",
            Self::ReleaseRoute => "letting go of the route",
        }
    }
}

/// A workload traffic can be led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// The primary.
    Primary,
    /// The target; the apex Service is let go of.
    Target,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Whether it is a warning.
    pub warning: bool,
    /// The text, as people know it.
    pub message: String,
    /// What to tell those who are alerted, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
}

/// What to tell those who are alerted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// How grave it is.
    pub severity: Severity,
    /// The text, as people know it.
    pub message: String,
    /// Whether the target and the limits of the run are told too.
    pub details: bool,
}

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// All is well.
    Info,
    /// Somebody is waited for.
    Warn,
    /// Something failed.
    Error,
}

impl Alert {
    /// All is well.
    pub fn info(message: impl Into<String>) -> Self {
        Self::of(Severity::Info, message)
    }

    /// Somebody is waited for.
    pub fn warn(message: impl Into<String>) -> Self {
        Self::of(Severity::Warn, message)
    }

    /// Something failed.
    pub fn error(message: impl Into<String>) -> Self {
        Self::of(Severity::Error, message)
    }

    /// The same with the target and the limits of the run.
    #[must_use]
    pub fn detailed(self) -> Self {
        Self {
            details: true,
            ..self
        }
    }

    fn of(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            details: false,
        }
    }
}

impl Event {
    /// Something that went as it should.
    pub fn normal(message: impl Into<String>) -> Self {
        Self {
            warning: false,
            message: message.into(),
            alert: None,
        }
    }

    /// Something a person may have to look at.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            warning: true,
            message: message.into(),
            alert: None,
        }
    }

    /// The same, and those who are alerted are told.
    #[must_use]
    pub fn alerting(self, alert: Alert) -> Self {
        Self {
            alert: Some(alert),
            ..self
        }
    }
}
