//! Owns how hooks are asked: once at each point of a run, and the answer is part of the decision.

use super::Way;
use crate::{Answer, HookKind, Phase, Plan};

/// What all hooks of a kind answered at a point; the plan to ask them where that is not known.
pub(super) fn ask<'a>(way: &Way<'a>, kind: HookKind, point: &str) -> Result<&'a Answer, Plan> {
    ask_in(way, kind, point, way.state.phase)
}

/// The same, telling them of a phase other than the recorded one.
pub(super) fn ask_in<'a>(
    way: &Way<'a>,
    kind: HookKind,
    point: &str,
    phase: Phase,
) -> Result<&'a Answer, Plan> {
    let o = way.o;
    o.evidence.answer(kind, point).ok_or_else(|| Plan::Ask {
        kind,
        point: point.to_owned(),
        revision: way.target.revision.id.clone(),
        phase,
    })
}
