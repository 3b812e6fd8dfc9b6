//! Owns playing all sessions to both servers at once, and comparing what they answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::compare::{Difference, differences};
use crate::normal::Normal;
use crate::report::{Report, say};
use crate::run::{Outcome, play};
use crate::session::Session;
use crate::target::Target;

/// Both servers.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) ours: Target,
    pub(crate) real: Target,
    /// What names of this run begin with.
    pub(crate) prefix: String,
}

/// Plays the sessions whose name has `only` in it. Says whether all were played.
pub(crate) async fn replay(
    pair: &Pair,
    sessions: Vec<Session>,
    only: Option<&str>,
    jobs: usize,
    report: &Arc<Report>,
) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(jobs));
    let mut running = JoinSet::new();
    let mut shapes = BTreeSet::new();
    let wanted = |s: &Session| only.is_none_or(|o| s.name.contains(o));
    for (number, session) in sessions.into_iter().enumerate() {
        if !wanted(&session) {
            continue;
        }
        let (pair, to) = (pair.clone(), report.clone());
        let permit = permits.clone().acquire_owned().await?;
        running.spawn(async move {
            let id = format!("{}-{number:03}", pair.prefix);
            let played = one(&pair, &session, &id, &to).await;
            drop(permit);
            played.with_context(|| session.name.clone())
        });
        while let Some(ended) = running.try_join_next() {
            shapes.extend(told(ended?, report));
        }
    }
    while let Some(ended) = running.join_next().await {
        shapes.extend(told(ended?, report));
    }
    say(&format!("{} distinct requests were replayed", shapes.len()));
    Ok(())
}

/// A session that could not be played is a difference too.
fn told(played: anyhow::Result<Vec<String>>, report: &Report) -> Vec<String> {
    played.unwrap_or_else(|broken| {
        let difference = Difference {
            place: String::new(),
            ours: Some(format!("{broken:#}").into()),
            real: None,
        };
        report.case(
            "broken",
            "replay/broken",
            "could not be played",
            &[difference],
        );
        Vec::new()
    })
}

/// How often a session is played before what differs is told. The real controllers act in their own
/// time: what differs by chance does not differ each time, and what is wrong does.
const PLAYS: usize = 3;

/// One compared step.
struct Compared {
    case: String,
    request: String,
    shape: String,
    found: Vec<Difference>,
    /// What is said of a step that only prepares and failed.
    note: Option<String>,
}

async fn one(
    pair: &Pair,
    session: &Session,
    id: &str,
    report: &Report,
) -> anyhow::Result<Vec<String>> {
    let mut best: Option<(usize, Vec<Compared>)> = None;
    let mut broken = None;
    for play in 0..PLAYS {
        match once(pair, session, &format!("{id}-{play}")).await {
            Ok(compared) => {
                let unknown = compared
                    .iter()
                    .filter(|c| report.is_new(&c.case, &c.found))
                    .count();
                if best.as_ref().is_none_or(|(least, _)| unknown < *least) {
                    best = Some((unknown, compared));
                }
                if unknown == 0 {
                    break;
                }
            }
            Err(why) => broken = Some(why),
        }
    }
    let Some((_, compared)) = best else {
        return Err(broken.unwrap_or_else(|| anyhow::anyhow!("it was not played")));
    };
    let group = session.name.split('/').next().unwrap_or_default();
    let mut shapes = Vec::new();
    let mut previous_differs = false;
    for step in compared {
        if let Some(note) = step.note {
            if !previous_differs {
                say(&note);
            }
            continue;
        }
        if step.case.is_empty() {
            continue;
        }
        previous_differs = report.case(group, &step.case, &step.request, &step.found);
        shapes.push(step.shape);
    }
    Ok(shapes)
}

async fn once(pair: &Pair, session: &Session, id: &str) -> anyhow::Result<Vec<Compared>> {
    let (ours, real) = tokio::join!(play(&pair.ours, session, id), play(&pair.real, session, id));
    let (ours, real) = (ours.context("ours")?, real.context("real")?);
    let (mut ours_normal, mut real_normal) = (Normal::default(), Normal::default());
    let mut out = Vec::new();
    for ((a, b), step) in ours.iter().zip(&real).zip(&session.steps) {
        let normal = |normal: &mut Normal, o: &Outcome| normal.body(&o.id, &o.answer);
        let (ours, real) = (normal(&mut ours_normal, a), normal(&mut real_normal, b));
        let quiet = step.words.quiet;
        out.push(Compared {
            case: if quiet {
                String::new()
            } else {
                format!("replay/{}/{}", session.name, a.id)
            },
            request: a.request.clone(),
            shape: b.shape.clone(),
            found: if quiet {
                Vec::new()
            } else {
                differences(&ours, &real)
            },
            note: if quiet {
                quiet_failure(session, a, b)
            } else {
                None
            },
        });
    }
    Ok(out)
}

/// A step that only prepares must not fail unseen.
fn quiet_failure(session: &Session, ours: &Outcome, real: &Outcome) -> Option<String> {
    let code = |o: &Outcome| o.answer.get("code").and_then(Value::as_u64).unwrap_or(0);
    let apart = (code(ours) >= 400 || code(real) >= 400) && code(ours) != code(real);
    (apart || code(real) >= 400).then(|| {
        format!(
            "note: {} step {} only prepares: ours {}, real {}",
            session.name,
            ours.id,
            code(ours),
            code(real)
        )
    })
}
