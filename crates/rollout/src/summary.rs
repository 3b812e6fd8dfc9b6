//! Owns what a canary says of itself: `Ready` is whether it is accepted and its traffic is safe, and
//! `Promoted` tells of the run. It refuses to let a run in progress make a canary unready, so that
//! whoever waits for readiness does not wait for an analysis.

use crate::{Decision, Observation, Phase, Plan, Primary, Readiness, State};

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known yet.
    Unknown,
}

impl Status {
    /// The status as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition, less its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// `Ready` or `Promoted`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// The conditions that follow from what is recorded and what comes next.
pub fn summarise(o: &Observation, state: &State, plan: &Plan) -> Vec<Summary> {
    let mut out = vec![ready(o, state, plan)];
    let kind = o.target.as_ref().map_or("Deployment", |t| t.kind.as_str());
    out.extend(promoted(state.phase, kind));
    out
}

fn ready(o: &Observation, state: &State, plan: &Plan) -> Summary {
    let say = |status, reason: &str, message: String| Summary {
        kind: "Ready",
        status,
        reason: reason.to_owned(),
        message,
    };
    if let Plan::Refuse {
        reason,
        field,
        message,
    } = plan
    {
        return say(Status::False, reason, format!("`spec.{field}`: {message}"));
    }
    if state.phase == Phase::Terminating || o.deleting {
        let waiting = match plan {
            Plan::Hold { waiting_for, .. } => format!("waiting for {waiting_for}"),
            _ => "giving back what was borrowed".to_owned(),
        };
        return say(Status::Unknown, "Terminating", waiting);
    }
    if o.target.is_none() {
        return say(
            Status::False,
            "TargetNotFound",
            "the workload named by `spec.targetRef` does not exist; create it or correct the name"
                .to_owned(),
        );
    }
    let waiting = match plan {
        Plan::Hold { waiting_for, .. } => waiting_for.as_str(),
        _ => "its objects to be made",
    };
    if state.last_promoted_spec.is_none() {
        return match state.phase {
            Phase::Failed => {
                let why = state.run.as_ref().and_then(|r| r.reason.as_deref());
                let why = why.unwrap_or("the primary did not become ready");
                let message = format!(
                    "the first deployment did not come up, {why}; the target was left as it is, \
                     push a revision whose pods become ready"
                );
                say(Status::False, "InitializationFailed", message)
            }
            _ if o.suspended => say(
                Status::Unknown,
                "Suspended",
                "suspended before it was initialised".to_owned(),
            ),
            _ => say(
                Status::Unknown,
                "Initializing",
                format!("waiting for {waiting}"),
            ),
        };
    }
    match &o.primary {
        None if !o.suspended => {
            return say(
                Status::False,
                "PrimaryNotFound",
                "the primary is being made again".into(),
            );
        }
        Some(Primary {
            available: 0,
            readiness: Readiness::Waiting(why) | Readiness::Exceeded(why),
            ..
        }) => {
            let message =
                format!("the primary has no pod ready, {why}; a new revision can still be pushed");
            return say(Status::False, "PrimaryNotReady", message);
        }
        _ => {}
    }
    if state.phase == Phase::Failed
        && state
            .run
            .as_ref()
            .is_some_and(|r| r.decision == Decision::HoldOnCanary)
        && state.canary_weight > 0
    {
        return say(
            Status::False,
            "PromotionFailed",
            format!(
                "{}% of traffic stays on the canary, waiting for {waiting}",
                state.canary_weight
            ),
        );
    }
    if o.suspended {
        return say(
            Status::True,
            "Suspended",
            "suspended; nothing is moved".to_owned(),
        );
    }
    say(
        Status::True,
        state.phase.as_str(),
        safe(state.phase).to_owned(),
    )
}

fn safe(phase: Phase) -> &'static str {
    match phase {
        Phase::Failed => "the last revision was rolled back, traffic is on the promoted one",
        Phase::Progressing => "traffic is shared with the revision under analysis",
        Phase::Promoting | Phase::Finalising => "the analysed revision is being promoted",
        _ => "traffic is on the promoted revision",
    }
}

/// `Promoted`, in the words people grep for.
fn promoted(phase: Phase, kind: &str) -> Option<Summary> {
    let (status, message) = match phase {
        Phase::New => return None,
        Phase::Initializing | Phase::Terminating | Phase::Terminated => (
            Status::Unknown,
            format!("New {kind} detected, starting initialization."),
        ),
        Phase::Initialized => (Status::True, format!("{kind} initialization completed.")),
        Phase::Waiting | Phase::WaitingPromotion => {
            (Status::Unknown, "Waiting for approval.".to_owned())
        }
        Phase::Progressing => (
            Status::Unknown,
            "New revision detected, progressing canary analysis.".to_owned(),
        ),
        Phase::Promoting => (
            Status::Unknown,
            "Canary analysis completed, starting primary rolling update.".to_owned(),
        ),
        Phase::Finalising => (
            Status::Unknown,
            "Canary analysis completed, routing all traffic to primary.".to_owned(),
        ),
        Phase::Succeeded => (
            Status::True,
            "Canary analysis completed successfully, promotion finished.".to_owned(),
        ),
        Phase::Failed => (
            Status::False,
            format!("Canary analysis failed, {kind} scaled to zero."),
        ),
    };
    Some(Summary {
        kind: "Promoted",
        status,
        reason: phase.as_str().to_owned(),
        message,
    })
}
