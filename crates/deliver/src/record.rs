//! Owns what is said of a Kustomization: conditions, history, and the inventory in its status.

use std::time::Duration;

use jiff::Timestamp;
use weir_api::kustomization::{Inventory as Entries, InventoryEntry, Status};
use weir_api::names::{HEALTHY, READY, RECONCILING, STALLED, reason};
use weir_api::{Condition, ConditionStatus, GoDuration, Snapshot};
use weir_cluster::{Entry, Inventory};
use weir_runtime::conditions::{self, Wanted};

/// How many builds are remembered.
const HISTORY: usize = 5;

/// When and of which generation something is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) now: Timestamp,
    pub(crate) generation: i64,
}

/// Sets one condition.
pub(crate) fn set(
    status: &mut Status,
    at: At,
    kind: &str,
    is: ConditionStatus,
    reason: &str,
    message: &str,
) {
    let wanted = Wanted {
        kind,
        status: is,
        reason,
        message,
    };
    conditions::set(&mut status.conditions, &wanted, at.generation, at.now);
}

/// Work is under way.
pub(crate) fn progress(status: &mut Status, at: At, message: &str) {
    conditions::remove(&mut status.conditions, STALLED);
    set(
        status,
        at,
        RECONCILING,
        ConditionStatus::True,
        reason::PROGRESSING,
        message,
    );
    summarise(status, at);
}

/// It did not work out. It stays in work, since it is tried again.
pub(crate) fn failed(status: &mut Status, at: At, why: &str, message: &str) {
    set(
        status,
        at,
        RECONCILING,
        ConditionStatus::True,
        reason::PROGRESSING_WITH_RETRY,
        message,
    );
    set(status, at, READY, ConditionStatus::False, why, message);
    first(&mut status.conditions);
}

/// Only a change of the object can help.
pub(crate) fn stalled(status: &mut Status, at: At, why: &str, message: &str) {
    conditions::remove(&mut status.conditions, RECONCILING);
    set(status, at, STALLED, ConditionStatus::True, why, message);
    summarise(status, at);
    status.observed_generation = Some(at.generation);
}

/// It is as it should be.
pub(crate) fn succeeded(status: &mut Status, at: At, revision: &str, origin: Option<String>) {
    conditions::remove(&mut status.conditions, RECONCILING);
    conditions::remove(&mut status.conditions, STALLED);
    status.last_applied_revision = Some(revision.to_owned());
    status.last_applied_origin_revision = origin;
    status.observed_generation = Some(at.generation);
    let message = format!("Applied revision: {revision}");
    let ready = (reason::RECONCILIATION_SUCCEEDED, message.as_str());
    conditions::summarise(&mut status.conditions, &[], ready, at.generation, at.now);
}

fn summarise(status: &mut Status, at: At) {
    let ready = (reason::RECONCILIATION_SUCCEEDED, "");
    conditions::summarise(&mut status.conditions, &[], ready, at.generation, at.now);
}

fn first(all: &mut [Condition]) {
    if let Some(place) = all.iter().position(|c| c.kind == READY) {
        all[..=place].rotate_right(1);
    }
}

/// Says how healthy the applied objects are; `None` where nobody asked.
pub(crate) fn health(status: &mut Status, at: At, health: Option<(ConditionStatus, &str, &str)>) {
    match health {
        Some((is, why, message)) => set(status, at, HEALTHY, is, why, message),
        None => conditions::remove(&mut status.conditions, HEALTHY),
    }
}

/// Remembers a build and how it ended; the same build with the same end counts up.
pub(crate) fn remember(
    status: &mut Status,
    digest: &str,
    revision: &str,
    why: &str,
    took: Duration,
    now: Timestamp,
) {
    let same = |s: &Snapshot| s.digest == digest && s.last_reconciled_status == why;
    let earlier = status
        .history
        .iter()
        .position(same)
        .map(|i| status.history.remove(i));
    let mut snapshot = earlier.unwrap_or_else(|| Snapshot {
        digest: digest.to_owned(),
        first_reconciled: now.into(),
        last_reconciled_status: why.to_owned(),
        ..Snapshot::default()
    });
    snapshot.last_reconciled = now.into();
    snapshot.last_reconciled_duration = GoDuration::from(took);
    snapshot.total_reconciliations += 1;
    snapshot.metadata = [("revision".to_owned(), revision.to_owned())].into();
    status.history.insert(0, snapshot);
    status.history.truncate(HISTORY);
}

/// The inventory that the status holds; entries that cannot be read are left out.
pub(crate) fn inventory(status: &Status) -> Inventory {
    let entries = status.inventory.iter().flat_map(|i| &i.entries);
    Inventory(
        entries
            .filter_map(|e| Entry::parse(&e.id, &e.version))
            .collect(),
    )
}

/// Puts an inventory into the status.
pub(crate) fn hold(status: &mut Status, inventory: &Inventory) {
    let entry = |e: &Entry| InventoryEntry {
        id: e.id(),
        version: e.version().to_owned(),
    };
    status.inventory = Some(Entries {
        entries: inventory.0.iter().map(entry).collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_comes_first_and_says_why() {
        let mut status = Status::default();
        let at = At {
            now: Timestamp::UNIX_EPOCH,
            generation: 3,
        };
        progress(&mut status, at, "Fetching");
        let shown = |s: &Status| {
            let c = &s.conditions[0];
            (
                c.kind.clone(),
                c.status,
                c.reason.clone(),
                c.message.clone(),
            )
        };
        let text = |t: &str| t.to_owned();
        assert_eq!(
            shown(&status),
            (
                text("Ready"),
                ConditionStatus::Unknown,
                text("Progressing"),
                text("Fetching")
            )
        );
        failed(&mut status, at, "BuildFailed", "no");
        assert_eq!(
            shown(&status),
            (
                text("Ready"),
                ConditionStatus::False,
                text("BuildFailed"),
                text("no")
            )
        );
        succeeded(&mut status, at, "main@sha1:a", None);
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(
            shown(&status),
            (
                text("Ready"),
                ConditionStatus::True,
                text("ReconciliationSucceeded"),
                text("Applied revision: main@sha1:a")
            )
        );
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn the_history_counts_and_is_bounded() {
        let mut status = Status::default();
        for i in 0..8 {
            let digest = format!("sha256:{}", i / 2);
            let now = Timestamp::UNIX_EPOCH;
            remember(
                &mut status,
                &digest,
                "r",
                "ReconciliationSucceeded",
                Duration::from_secs(1),
                now,
            );
        }
        let shown: Vec<(&str, i64)> = status
            .history
            .iter()
            .map(|s| (s.digest.as_str(), s.total_reconciliations))
            .collect();
        assert_eq!(
            shown,
            [
                ("sha256:3", 2),
                ("sha256:2", 2),
                ("sha256:1", 2),
                ("sha256:0", 2)
            ]
        );
    }
}
