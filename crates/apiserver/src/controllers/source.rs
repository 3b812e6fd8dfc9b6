//! Owns what all controllers wait on: followed kinds that survive a lost history, and a queue of
//! keys that are due now or later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::Value;
use tokio::time::Instant;
use weir_object::{Key, Kind, path};

use crate::selector::Selector;
use crate::store::{Event, Store, Watch};

/// What a source tells.
#[derive(Debug)]
pub(crate) enum Seen {
    Put(Arc<Value>),
    Gone(Arc<Value>),
    /// A pod as it was while it had the labels that it has no more.
    Left(Arc<Value>),
    /// Changes were lost: what is there is told again after this, what went is not.
    All,
}

impl Seen {
    /// The object that was seen, if it was one.
    pub(crate) fn object(&self) -> Option<&Arc<Value>> {
        match self {
            Self::Put(object) | Self::Gone(object) | Self::Left(object) => Some(object),
            Self::All => None,
        }
    }
}

/// One followed kind.
pub(crate) struct Source {
    store: Store,
    kind: Kind,
    watch: Option<Watch>,
}

impl Source {
    pub(crate) fn new(store: &Store, kind: Kind) -> Self {
        Self {
            store: store.clone(),
            watch: None,
            kind,
        }
    }

    /// The next change. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            let Some(watch) = &mut self.watch else {
                let everything = Selector::default();
                match self.store.watch(&self.kind, None, &everything, None) {
                    Ok(watch) => self.watch = Some(watch),
                    // Built-in kinds are always served.
                    Err(_) => std::future::pending::<()>().await,
                }
                return Seen::All;
            };
            match watch.next().await {
                Some(Ok(Event::Deleted(object))) => return Seen::Gone(object),
                Some(Ok(event)) => return Seen::Put(event.object().clone()),
                Some(Err(_)) | None => self.watch = None,
            }
        }
    }

    /// What can be told without waiting.
    pub(crate) fn ready(&mut self) -> Option<Seen> {
        self.next().now_or_never()
    }
}

/// The longest wait before something that failed is tried again.
const PATIENCE: Duration = Duration::from_secs(1000);

/// Keys to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: BTreeSet<Key>,
    later: BTreeMap<Instant, BTreeSet<Key>>,
    /// When each waiting key is due; the earliest time wins.
    when: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    pub(crate) fn add(&mut self, key: Key) {
        self.due.insert(key);
    }

    pub(crate) fn add_all(&mut self, objects: &[Arc<Value>]) {
        self.due
            .extend(objects.iter().map(|o| crate::state::key_of(o)));
    }

    /// Looks at the key again after a while.
    pub(crate) fn after(&mut self, wait: Duration, key: Key) {
        let at = Instant::now() + wait;
        if let Some(earlier) = self.when.get(&key).copied() {
            if earlier <= at {
                return;
            }
            if let Some(keys) = self.later.get_mut(&earlier) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.later.remove(&earlier);
                }
            }
        }
        self.when.insert(key.clone(), at);
        self.later.entry(at).or_default().insert(key);
    }

    /// Looks again at a key that failed, later each time.
    pub(crate) fn again(&mut self, key: Key) {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = Duration::from_millis(5).saturating_mul(2_u32.saturating_pow(*failures));
        *failures = failures.saturating_add(1);
        self.after(wait.min(PATIENCE), key);
    }

    /// Forgets that a key failed.
    pub(crate) fn well(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// When the next timer ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.later.keys().next().copied()
    }

    /// Makes due what has waited long enough.
    pub(crate) fn ripen(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if *entry.key() > now {
                break;
            }
            for key in entry.remove() {
                self.when.remove(&key);
                self.due.insert(key);
            }
        }
    }

    pub(crate) fn take(&mut self) -> Option<Key> {
        self.due.pop_first()
    }
}

/// The reference to the controlling owner.
pub(crate) fn controller_ref(object: &Value) -> Option<&Value> {
    let owners = path::get(object, &["metadata", "ownerReferences"])?.as_array()?;
    owners
        .iter()
        .find(|o| o.get("controller") == Some(&Value::Bool(true)))
}

/// The owner that controls an object, if it is of this kind: its name and uid.
pub(crate) fn controller<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let owner = controller_ref(object)?;
    (path::text(owner, &["kind"]) == kind)
        .then(|| (path::text(owner, &["name"]), path::text(owner, &["uid"])))
}

/// The key of the controlling owner of a kind.
pub(crate) fn controller_key(object: &Value, kind: &str) -> Option<Key> {
    let (name, _) = controller(object, kind)?;
    Some(Key::new(
        path::text(object, &["metadata", "namespace"]),
        name,
    ))
}

/// The number at a path, 0 where there is none.
pub(crate) fn number(object: &Value, at: &[&str]) -> i64 {
    path::get(object, at)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// The items of the list at a path.
pub(crate) fn items<'a>(
    object: &'a Value,
    at: &[&str],
) -> impl Iterator<Item = &'a Value> + use<'a> {
    path::get(object, at)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Whether deletion was asked for.
pub(crate) fn is_going(object: &Value) -> bool {
    path::get(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// The name of an object.
pub(crate) fn name_of(object: &Value) -> &str {
    path::text(object, &["metadata", "name"])
}

/// The namespace of an object.
pub(crate) fn namespace_of(object: &Value) -> &str {
    path::text(object, &["metadata", "namespace"])
}

/// The uid of an object.
pub(crate) fn uid_of(object: &Value) -> &str {
    path::text(object, &["metadata", "uid"])
}

/// A label selector as messages show it.
pub(crate) fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector.filter(|s| !s.is_null()) else {
        return "nil".to_owned();
    };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let pairs: BTreeSet<String> = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}: {},", v.as_str().unwrap_or_default()))
        .collect();
    let needs: Vec<String> = items(selector, &["matchExpressions"])
        .map(|need| {
            let values: Vec<&str> = items(need, &["values"]).filter_map(Value::as_str).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                path::text(need, &["key"]),
                path::text(need, &["operator"]),
                values.join(" ")
            )
        })
        .collect();
    let needs = needs.concat();
    let pairs: String = pairs.into_iter().collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},MatchExpressions:\
         []LabelSelectorRequirement{{{needs}}},}}"
    )
}
