//! Owns the emergency stop: while the ConfigMap `weir-pause` of the controllers' namespace is
//! there, whatever changes workloads, traffic or repositories is frozen where it stands.
//!
//! It fails safe: nothing passes before the ConfigMap's watch is complete, and what was last seen
//! holds while the API server does not answer. It refuses to undo anything: traffic stays as it is.

use std::sync::Arc;

use weir_object::{Key, Object};

use crate::kinds::CONFIG_MAP;
use crate::{Caches, Projection, Store, WatchOf};

/// The name of the ConfigMap.
pub const PAUSE: &str = "weir-pause";

/// What work has to pass. Cheap to clone; an open one by default.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<Watched>>);

struct Watched {
    store: Arc<Store>,
    key: Key,
}

impl Gate {
    /// A gate that the ConfigMap of this namespace closes.
    pub fn watching(caches: &Caches, namespace: &str) -> Self {
        let store = caches.watch(WatchOf {
            namespace: Some(namespace.to_owned()),
            ..WatchOf::projected(&CONFIG_MAP, Projection::Text)
        });
        let key = Key::new(namespace, PAUSE);
        let own = key.clone();
        store.on_change(move |change| {
            if change.key != own {
                return;
            }
            match change.after.as_deref().and_then(reason) {
                Some(reason) => tracing::warn!(reason, "paused: nothing is changed from now on"),
                None => tracing::warn!("resumed"),
            }
        });
        Self(Some(Arc::new(Watched { store, key })))
    }

    /// Why work is frozen; `None` when it is not, or not yet known.
    pub fn closed(&self) -> Option<String> {
        let watched = self.0.as_ref()?;
        watched.store.get(&watched.key).as_deref().and_then(reason)
    }

    /// Whether it is known that nothing is frozen.
    pub fn is_open(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|watched| watched.store.is_synced() && self.closed().is_none())
    }

    /// Waits until work may go on.
    pub async fn open(&self) {
        self.until(true).await;
    }

    /// Waits until work is frozen, which is for ever where nobody can freeze it.
    pub async fn freeze(&self) {
        self.until(false).await;
    }

    async fn until(&self, open: bool) {
        let Some(watched) = &self.0 else {
            if !open {
                std::future::pending::<()>().await;
            }
            return;
        };
        let mut changes = watched.store.changes();
        while self.is_open() != open {
            // The store outlives this, so its sender is there.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Why a ConfigMap of this name freezes work. Whatever is in it does, unless it says that it does
/// not: a stop must not be lost to a slip of the pen.
pub fn reason(pause: &Object) -> Option<String> {
    if pause.text(&["data", "paused"]) == "false" {
        return None;
    }
    Some(match pause.text(&["data", "reason"]) {
        "" => "no reason given".to_owned(),
        reason => reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_plain_false_leaves_the_gate_open() {
        let said = |data| reason(&Object(json!({"data": data})));
        assert_eq!(said(json!({"paused": "false"})), None);
        assert_eq!(
            said(json!({"paused": "no"})),
            Some("no reason given".into())
        );
        assert_eq!(said(json!(null)), Some("no reason given".into()));
        assert_eq!(
            said(json!({"paused": "true", "reason": "fire"})),
            Some("fire".into())
        );
    }
}
