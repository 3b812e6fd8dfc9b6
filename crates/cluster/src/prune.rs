//! Owns taking away what left the source: only what still carries the owner's labels, only the very
//! object that was looked at, in the reverse order of applying.

use weir_object::Object;
use weir_runtime::Propagation;

use crate::apply::{Applier, Owner};
use crate::failure::ClusterError;
use crate::inventory::{Entry, Inventory};
use crate::{policy, stages};

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deleted now.
    pub deleted: Vec<Entry>,
    /// Left alone, since they ask for it or belong to somebody else.
    pub skipped: Vec<Entry>,
    /// Deleted before, and not gone yet.
    pub going: Vec<Entry>,
    /// Could not be deleted; they stay in the inventory.
    pub left: Vec<Entry>,
}

/// What became of one object.
enum Fate {
    Deleted,
    Skipped,
    Going,
    Absent,
}

impl Applier {
    /// Deletes the objects. Every one is tried; failures are told together beside the result.
    pub async fn prune(&self, stale: &Inventory, owner: &Owner) -> (Pruned, Option<ClusterError>) {
        let mut order: Vec<&Entry> = stale.0.iter().collect();
        order.sort_by_cached_key(|e| stages::rank(&stand_in(e)));
        let mut out = Pruned::default();
        let mut failures = Vec::new();
        for entry in order.into_iter().rev() {
            match self.prune_one(entry, owner).await {
                Ok(Fate::Deleted) => out.deleted.push(entry.clone()),
                Ok(Fate::Skipped) => out.skipped.push(entry.clone()),
                Ok(Fate::Going) => out.going.push(entry.clone()),
                Ok(Fate::Absent) => {}
                Err(failure) => {
                    out.left.push(entry.clone());
                    failures.push(failure);
                }
            }
        }
        (out, ClusterError::of(failures))
    }

    async fn prune_one(&self, entry: &Entry, owner: &Owner) -> Result<Fate, ClusterError> {
        let object = &entry.object;
        let Some(kind) = self
            .discovery
            .find(&object.api_version, &object.kind)
            .await?
        else {
            return Ok(Fate::Absent); // with its definition went the object
        };
        if kind.namespaced == object.namespace.is_empty() {
            // No object has such a name. Asking for it could find another one, without a namespace.
            return Ok(Fate::Absent);
        }
        let refused = |failure| ClusterError::Refused {
            object: object.clone(),
            step: "delete",
            failure,
        };
        let key = object.key();
        let Some(live) = self.api.get(&kind, &key).await.map_err(refused)? else {
            return Ok(Fate::Absent);
        };
        if policy::is_kept(&live) || !policy::is_owned(&live, owner) {
            return Ok(Fate::Skipped);
        }
        if live.is_deleting() {
            return Ok(Fate::Going);
        }
        let uid = Some(live.uid());
        match self
            .api
            .delete(&kind, &key, uid, Propagation::Background)
            .await
        {
            Ok(_) => Ok(Fate::Deleted),
            // Another object of this name is there by now, and it is not ours.
            Err(failure) if failure.is_conflict() => Ok(Fate::Skipped),
            Err(failure) => Err(refused(failure)),
        }
    }
}

fn stand_in(entry: &Entry) -> Object {
    let o = &entry.object;
    Object(serde_json::json!({
        "apiVersion": o.api_version, "kind": o.kind,
        "metadata": {"namespace": o.namespace, "name": o.name},
    }))
}
