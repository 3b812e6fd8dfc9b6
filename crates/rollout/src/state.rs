//! Owns what a canary remembers: the fields of `Canary.status` that are read back. It refuses to
//! remember anything the cluster itself tells, such as the weights on the route or the pods ready.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Handled, HookKind, Position, Reading, Revision};

/// Where a canary stands, in the words people know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing was done yet.
    #[default]
    #[serde(rename = "")]
    New,
    /// The primary is being made from the target.
    Initializing,
    /// The primary serves; no run has finished yet.
    Initialized,
    /// A run waits for approval to start.
    Waiting,
    /// A run walks its weights.
    Progressing,
    /// A run waits for approval to promote.
    WaitingPromotion,
    /// What was analysed is being copied to the primary.
    Promoting,
    /// The primary runs the new revision and gets all traffic back.
    Finalising,
    /// The last run was promoted.
    Succeeded,
    /// The last run was rolled back, or the first deployment never came up.
    Failed,
    /// The canary is being deleted and gives back what it borrowed.
    Terminating,
    /// The canary gave back what it borrowed.
    Terminated,
}

impl Phase {
    /// The phase as status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Initializing => "Initializing",
            Self::Initialized => "Initialized",
            Self::Waiting => "Waiting",
            Self::Progressing => "Progressing",
            Self::WaitingPromotion => "WaitingPromotion",
            Self::Promoting => "Promoting",
            Self::Finalising => "Finalising",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::Terminated => "Terminated",
        }
    }
}

/// The persisted state: the known fields of `Canary.status`, and the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Where the canary stands.
    pub phase: Phase,
    /// Rounds of this run in which a metric was out of its range.
    pub failed_checks: u32,
    /// The canary's weight as it is meant to be. The route is brought to it, never the reverse.
    pub canary_weight: u8,
    /// Iterations of this run; 0 for weighted runs.
    pub iterations: u32,
    /// The cookie of the current run, `name=value`.
    pub session_affinity_cookie: Option<String>,
    /// The cookie of the last run, which is to be forgotten.
    pub previous_session_affinity_cookie: Option<String>,
    /// The primary's cookie.
    pub primary_session_affinity_cookie: Option<String>,
    /// The last revision that was taken up.
    pub last_applied_spec: Option<String>,
    /// The revision the primary is to run.
    pub last_promoted_spec: Option<String>,
    /// When this state was recorded.
    pub last_transition_time: Option<Timestamp>,
    /// The run that is under way, or the last one.
    pub run: Option<Run>,
    /// Runs that ended, the latest first; [`HISTORY`] of them.
    pub history: Vec<Past>,
    /// Revisions that were promoted before the current one, the latest first.
    pub previous: Vec<String>,
    /// How many pods the primary had when last looked at, so that a lost one comes back with as
    /// many.
    pub primary_replicas: Option<u32>,
    /// What people asked for last, one of each verb.
    pub requests: Vec<Handled>,
}

/// How many runs that ended are remembered.
pub const HISTORY: usize = 10;

/// A run that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Past {
    /// The revision.
    pub revision: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// Why.
    pub reason: Option<String>,
    /// The weights it walked.
    pub weights: Vec<u8>,
    /// The iterations it began, where it counted any.
    pub iterations: u32,
    /// Rounds that were judged.
    pub rounds: u32,
    /// Rounds in which a check failed.
    pub failed_checks: u32,
    /// The last round's readings.
    pub readings: Vec<Reading>,
}

impl State {
    /// Where the run stands on its course.
    pub fn position(&self) -> Position {
        let run = self.run.as_ref();
        Position {
            weight: self.canary_weight,
            iterations: self.iterations,
            mirror: self.canary_weight == 0 && run.is_some_and(|r| r.mirror),
            matched: self.canary_weight > 0 && run.is_some_and(|r| r.matched),
        }
    }
}

/// Where a revision's template was taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The target: a new revision.
    #[default]
    Target,
    /// A primary that was found: the baseline when a canary takes over.
    Primary,
}

/// What was decided last; the world is brought to match it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Make the primary and give it all traffic.
    #[default]
    Initialize,
    /// Ask whether the run may start.
    Approve,
    /// Scale the target up and keep traffic off it until it is ready.
    ScaleUp,
    /// Give the canary its weight and measure.
    Weigh,
    /// Copy the recorded template to the primary.
    Copy,
    /// Give traffic back to the new primary.
    GiveBack,
    /// Give all traffic to the primary and scale the target down.
    Finish,
    /// Watch what was promoted for a while.
    Bake,
    /// Put the promoted template back on the primary, which did not come up on the new one.
    Restore,
    /// Give all traffic to the primary and scale the target down: the run failed.
    RollBack,
    /// Give all traffic to the primary and scale the target down: the target went back to what is
    /// promoted.
    Abort,
    /// Keep traffic on the canary: the primary has nothing to serve with.
    HoldOnCanary,
    /// Give back what was borrowed.
    Release,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The primary was made from this revision; nothing was there to compare it with.
    Initialized,
    /// The primary runs this revision.
    Promoted,
    /// Traffic is back on the revision before.
    RolledBack,
    /// The target went back to what was promoted.
    Aborted,
    /// A newer revision took its place.
    Superseded,
    /// The first deployment never came up.
    NeverReady,
}

/// One run: from a new revision to its ending. It stays until the next one starts, so that what
/// happened can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "a run is a list of facts")]
pub struct Run {
    /// The revision under analysis.
    pub revision: String,
    /// The digest of its template; the recorded template must have it to be promoted.
    pub digest: String,
    /// Where its template is taken from.
    pub source: Source,
    /// What was decided last.
    pub decision: Decision,
    /// The phase to return to if the run is aborted.
    pub idle: Phase,
    /// The weights walked so far, the current one last.
    pub weights: Vec<u8>,
    /// When the run started.
    pub started: Option<Timestamp>,
    /// Since when the current weight is known to be in force on the data plane.
    pub in_force_since: Option<Timestamp>,
    /// The evidence watermark: when the last round was measured.
    pub measured_at: Option<Timestamp>,
    /// Until when other revisions had traffic; windows reaching before it do not count.
    pub clean_from: Option<Timestamp>,
    /// Rounds in which a metric had no value.
    pub no_data_checks: u32,
    /// Rounds in which a metric's provider did not answer.
    pub provider_failures: u32,
    /// The last round's readings.
    pub readings: Vec<Reading>,
    /// Rounds of the run so far, of whatever outcome; tells one point of the run from the next.
    pub rounds: u32,
    /// Whether the canary gets copies of requests.
    pub mirror: bool,
    /// Whether the canary's weight is that of matching requests alone.
    pub matched: bool,
    /// Whether the hooks before the first traffic agreed.
    pub prepared: bool,
    /// Whether the promotion was agreed to.
    pub confirmed: bool,
    /// Whether a person let the current step go on.
    pub approved: bool,
    /// Whether a person ended the analysis, or the revision was promoted before: it is promoted as
    /// soon as its pods are ready.
    pub unanalysed: Option<String>,
    /// Since when a person holds it at its weight.
    pub paused: Option<Timestamp>,
    /// What the primary ran before the promotion.
    pub before: Option<String>,
    /// Hooks that are still to be told of the end.
    pub owed: Vec<HookKind>,
    /// When the run ended.
    pub ended: Option<Timestamp>,
    /// How the run ended.
    pub ending: Option<Ending>,
    /// Why it ended, or why it last stood still.
    pub reason: Option<String>,
}

impl Run {
    /// A run that starts now.
    pub fn start(revision: &Revision, source: Source, now: Timestamp) -> Self {
        Self {
            revision: revision.id.clone(),
            digest: revision.digest.clone(),
            source,
            started: Some(now),
            ..Self::default()
        }
    }
}
