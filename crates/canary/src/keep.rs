//! Owns the writes that keep configuration with a revision and bring it to the primary. A copy is
//! made of exactly what was recorded: what was read is compared with its digest before it is
//! written, so that content nobody analysed never passes for content that was.

use weir_object::{Key, Object};
use weir_runtime::{Propagation, Write};

use crate::act::Actor;
use crate::configs::{Config, Digests, content, copy, kept_name};
use crate::deployment::is_owned;
use crate::failure::Failure;
use crate::observe::Facts;
use crate::template::{self, Stored};

impl Actor {
    /// Keeps a copy of everything that a revision refers to. `from` says where each is now.
    pub(crate) async fn keep_configs(
        &self,
        facts: &Facts,
        revision: &str,
        configs: &Digests,
        from: impl Fn(&Config) -> Config,
    ) -> Result<(), Failure> {
        for (config, digest) in all(configs) {
            let name = kept_name(&facts.names.canary, revision, &config);
            let key = facts.names.key(&name);
            if let Some(there) = self.api.get(config.kind(), &key).await? {
                if is_owned(&there, &facts.canary) && content(&there) == digest {
                    continue;
                }
                let uid = Some(there.uid());
                self.api
                    .delete(config.kind(), &key, uid, Propagation::Background)
                    .await?;
            }
            let source = self.holding(facts, &from(&config), digest).await?;
            let made = copy(&facts.canary, &source, &name, Some(revision));
            let create = Write::Create(made);
            self.put(config.kind(), &key, create).await?;
        }
        Ok(())
    }

    /// Makes the primary's copies hold what is kept with a revision.
    pub(crate) async fn bring_configs(
        &self,
        facts: &Facts,
        stored: Stored<'_>,
    ) -> Result<(), Failure> {
        for (config, digest) in all(&stored.configs()) {
            let target = config.of_primary();
            let key = facts.names.key(target.name());
            let there = self.api.get(config.kind(), &key).await?;
            if let Some(there) = &there {
                if !is_owned(there, &facts.canary) {
                    return Err(Failure::Moved(target.id()));
                }
                if content(there) == digest {
                    continue;
                }
            }
            let kept = kept_name(&facts.names.canary, stored.revision, &config);
            let kept = match config {
                Config::Map(_) => Config::Map(kept),
                Config::Secret(_) => Config::Secret(kept),
            };
            let source = self.holding(facts, &kept, digest).await?;
            let made = copy(&facts.canary, &source, target.name(), None);
            let write = match there {
                // A merge would leave keys behind, and an apply those that somebody added.
                Some(there) => {
                    let mut made = made;
                    let version = there.resource_version().into();
                    made.set(&["metadata", "resourceVersion"], version);
                    Write::Replace(made)
                }
                None => Write::Create(made),
            };
            self.put(config.kind(), &key, write).await?;
        }
        Ok(())
    }

    /// Removes what was kept with a revision.
    pub(crate) async fn drop_configs(&self, facts: &Facts, record: &Object) -> Result<(), Failure> {
        let revision = record.text(&["data", "revision"]);
        for (config, _) in all(&template::configs(record)) {
            let key = facts
                .names
                .key(&kept_name(&facts.names.canary, revision, &config));
            let Some(there) = self.api.get(config.kind(), &key).await? else {
                continue;
            };
            if is_owned(&there, &facts.canary) {
                let uid = Some(there.uid());
                self.api
                    .delete(config.kind(), &key, uid, Propagation::Background)
                    .await?;
            }
        }
        Ok(())
    }

    /// A ConfigMap or Secret, if it holds what was recorded.
    async fn holding(
        &self,
        facts: &Facts,
        config: &Config,
        digest: &str,
    ) -> Result<Object, Failure> {
        let key: Key = facts.names.key(config.name());
        let live = self.api.get(config.kind(), &key).await?;
        live.filter(|live| content(live) == digest)
            .ok_or_else(|| Failure::Moved(config.id()))
    }
}

/// What exists of it.
fn all(configs: &Digests) -> impl Iterator<Item = (Config, &str)> {
    configs
        .iter()
        .filter(|(_, digest)| !digest.is_empty())
        .filter_map(|(id, digest)| Some((Config::of_id(id)?, digest.as_str())))
}
