//! Owns knowing what ConfigMaps and Secrets hold without keeping it: their metadata is watched, and
//! of each that a Canary needs the content is read once per version and only its digest is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_object::{Key, Object};
use weir_runtime::ApiClient;

use crate::configs::{Config, Digests, content, is_tracked, led_back, references};
use crate::deployment::is_owned;
use crate::failure::Failure;
use crate::observe::{Facts, Stores};
use crate::template;

/// How many digests are kept. When there are more, all are read anew as they are needed.
const MOST: usize = 20_000;

/// What is known of a Canary's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Configs {
    /// What the target refers to.
    pub(crate) target: Digests,
    /// What the primary's copies hold, by the ids of what they are copies of.
    pub(crate) copies: Digests,
    /// A name that a copy needs and that is somebody else's.
    pub(crate) taken: Option<String>,
}

impl Configs {
    /// What the primary's template was made from: the digests of the copies it refers to.
    pub(crate) fn baseline(&self, primary: &serde_json::Value) -> Digests {
        let mut template = primary.clone();
        let ours = |config: &Config| self.is_copy(config);
        led_back(&mut template, ours)
            .iter()
            .filter_map(|c| Some((c.id(), self.copies.get(&c.id())?.clone())))
            .collect()
    }

    /// Whether it is one of the primary's copies.
    pub(crate) fn is_copy(&self, config: &Config) -> bool {
        self.copies
            .keys()
            .filter_map(|id| Config::of_id(id))
            .any(|source| source.of_primary() == *config)
    }

    /// Whether the copies hold what was recorded.
    pub(crate) fn hold(&self, recorded: &Digests) -> bool {
        recorded
            .iter()
            .all(|(id, digest)| digest.is_empty() || self.copies.get(id) == Some(digest))
    }
}

/// A version of an object, and what was seen of it.
#[derive(Clone)]
struct Seen {
    version: String,
    tracked: bool,
    digest: String,
}

/// Reads contents, and keeps digests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Contents {
    api: ApiClient,
    seen: Arc<Mutex<HashMap<(Config, String), Seen>>>,
}

impl Contents {
    pub(crate) fn new(api: ApiClient) -> Self {
        Self {
            api,
            seen: Arc::default(),
        }
    }

    /// What is known of a Canary's configuration now.
    pub(crate) async fn resolve(&self, stores: &Stores, facts: &Facts) -> Result<Configs, Failure> {
        let mut out = Configs::default();
        let namespace = facts.names.namespace.as_str();
        for config in facts
            .live_template
            .as_ref()
            .map(references)
            .unwrap_or_default()
        {
            match self.look(stores, namespace, &config).await? {
                None => drop(out.target.insert(config.id(), String::new())),
                Some(seen) if seen.tracked => drop(out.target.insert(config.id(), seen.digest)),
                Some(_) => {}
            }
        }
        let mut sources: Vec<String> = out.target.keys().cloned().collect();
        for record in &facts.records {
            sources.extend(template::configs(record).into_keys());
        }
        let primary = facts.primary.as_ref();
        if let Some(template) = primary.and_then(|p| p.get(&["spec", "template"])) {
            sources.extend(
                led_back(&mut template.clone(), |_| true)
                    .iter()
                    .map(Config::id),
            );
        }
        sources.sort();
        sources.dedup();
        for source in sources {
            let Some(config) = Config::of_id(&source) else {
                continue;
            };
            let copy = config.of_primary();
            let Some(object) = metadata(stores, namespace, &copy) else {
                continue;
            };
            if !is_owned(&object, &facts.canary) {
                // Only what the target is to be copied to matters.
                if out.target.contains_key(&source) {
                    out.taken = Some(copy.id());
                }
                continue;
            }
            if let Some(seen) = self.look(stores, namespace, &copy).await? {
                out.copies.insert(source, seen.digest);
            }
        }
        Ok(out)
    }

    async fn look(
        &self,
        stores: &Stores,
        namespace: &str,
        config: &Config,
    ) -> Result<Option<Seen>, Failure> {
        let Some(object) = metadata(stores, namespace, config) else {
            return Ok(None);
        };
        let at = (config.clone(), namespace.to_owned());
        let known = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.get(&at).cloned()
        };
        if let Some(known) = known.filter(|k| k.version == object.resource_version()) {
            return Ok(Some(known));
        }
        let key = Key::new(namespace, config.name());
        // It is there, or the watch will tell that it is gone.
        let Some(live) = self.api.get(config.kind(), &key).await? else {
            return Err(Failure::Moved(config.id()));
        };
        // An answer from before what the watch has shown would be taken for no change, and nothing
        // would ask again.
        let version = |o: &Object| o.resource_version().parse::<u64>().unwrap_or_default();
        if version(&live) < version(&object) {
            return Err(Failure::Moved(config.id()));
        }
        let found = Seen {
            version: live.resource_version().to_owned(),
            tracked: is_tracked(&live),
            digest: content(&live),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(at, found.clone());
        Ok(Some(found))
    }
}

fn metadata(stores: &Stores, namespace: &str, config: &Config) -> Option<Arc<Object>> {
    let store = match config {
        Config::Map(_) => &stores.maps,
        Config::Secret(_) => &stores.secrets,
    };
    store.get(&Key::new(namespace, config.name()))
}
