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

async fn one(
    pair: &Pair,
    session: &Session,
    id: &str,
    report: &Report,
) -> anyhow::Result<Vec<String>> {
    let (ours, real) = tokio::join!(play(&pair.ours, session, id), play(&pair.real, session, id));
    let (ours, real) = (ours.context("ours")?, real.context("real")?);
    let (mut ours_normal, mut real_normal) = (Normal::default(), Normal::default());
    let group = session.name.split('/').next().unwrap_or_default();
    let mut shapes = Vec::new();
    let mut previous_differs = false;
    for ((a, b), step) in ours.iter().zip(&real).zip(&session.steps) {
        let normal = |normal: &mut Normal, o: &Outcome| normal.body(&o.id, &o.answer);
        let (ours, real) = (normal(&mut ours_normal, a), normal(&mut real_normal, b));
        if step.words.quiet {
            quiet_failure(session, a, b, previous_differs);
            continue;
        }
        let case = format!("replay/{}/{}", session.name, a.id);
        let found = differences(&ours, &real);
        previous_differs = report.case(group, &case, &a.request, &found);
        shapes.push(b.shape.clone());
    }
    Ok(shapes)
}

/// A step that only prepares must not fail unseen.
fn quiet_failure(session: &Session, ours: &Outcome, real: &Outcome, told: bool) {
    let code = |o: &Outcome| o.answer.get("code").and_then(Value::as_u64).unwrap_or(0);
    let apart = (code(ours) >= 400 || code(real) >= 400) && code(ours) != code(real);
    if (apart || code(real) >= 400) && !told {
        say(&format!(
            "note: {} step {} only prepares: ours {}, real {}",
            session.name,
            ours.id,
            code(ours),
            code(real)
        ));
    }
}
