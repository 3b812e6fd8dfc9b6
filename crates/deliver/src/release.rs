//! Owns letting a Kustomization go: what it applied is taken away where it asks for that, and the
//! finalizer only goes when nothing is left to do.

use std::time::Duration;

use jiff::Timestamp;
use weir_api::kustomization::KIND;
use weir_api::names::{FINALIZER, reason};
use weir_runtime::kinds::SERVICE_ACCOUNT;
use weir_runtime::{ApiFailure, EventKind, Outcome};

use crate::pass::Pass;
use crate::record;
use crate::spec::{Deletion, deletion, timeout};

/// Between two looks at what is going.
const LOOK: Duration = Duration::from_secs(2);

impl Pass<'_> {
    /// Takes away what was applied, where the object asks for it, and lets the object go.
    pub(crate) async fn release(&mut self) -> Result<Outcome, ApiFailure> {
        // Read field by field: a spec that can't be delivered any more still says this much.
        let asked = deletion(&self.object);
        let inventory = record::inventory(&self.status);
        let leaves = asked == Deletion::Orphan || inventory.0.is_empty();
        if !leaves && self.account_is_gone().await {
            // Nobody is left who may take it away, and the object must not stay for ever.
            let message = "the ServiceAccount is gone, so what was applied stays";
            self.tell(EventKind::Warning, reason::PRUNE_FAILED, message, None);
        } else if !leaves {
            let (pruned, failure) = self.applier().prune(&inventory, &self.owner()).await;
            let lines: Vec<String> = pruned
                .deleted
                .iter()
                .map(|e| format!("{} deleted", e.object))
                .collect();
            if !lines.is_empty() {
                let lines = lines.join("\n");
                self.tell(EventKind::Normal, reason::PROGRESSING, &lines, None);
            }
            if let Some(failure) = failure {
                let message = format!("pruning for deleted resource failed: {failure}");
                self.tell(EventKind::Warning, reason::PRUNE_FAILED, &message, None);
                return Ok(Outcome::Retry(message));
            }
            let going = !pruned.deleted.is_empty() || !pruned.going.is_empty();
            if asked == Deletion::DeleteAndWait && going {
                if !self.is_late() {
                    return Ok(Outcome::After(LOOK));
                }
                let left: Vec<String> = pruned.going.iter().map(|e| e.object.to_string()).collect();
                let message = format!(
                    "failed to wait for resources termination: {}",
                    left.join(", ")
                );
                self.tell(EventKind::Warning, reason::PRUNE_FAILED, &message, None);
            }
        }
        self.all
            .api
            .remove_finalizer(&KIND, &self.object, FINALIZER)
            .await?;
        Ok(Outcome::Wait)
    }

    /// Whether the account that objects are applied as is known not to be there.
    async fn account_is_gone(&self) -> bool {
        match self.account() {
            Some(account) => {
                let found = self.all.api.get(&SERVICE_ACCOUNT, &account).await;
                matches!(found, Ok(None))
            }
            None => false,
        }
    }

    /// Whether the deletion has taken longer than the object allows.
    fn is_late(&self) -> bool {
        let asked: Result<Timestamp, _> =
            self.object.text(&["metadata", "deletionTimestamp"]).parse();
        let end = asked
            .ok()
            .and_then(|at| at.checked_add(timeout(&self.object)).ok());
        end.is_none_or(|end| self.all.clock.now() >= end)
    }
}
