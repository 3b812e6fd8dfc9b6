//! Owns the wiring of the reconcilers: all of them on one context, so on one set of caches, each
//! under the name of the controller whose kinds it serves.

use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use weir_api::names;
use weir_artifact::{Retention, Storage};
use weir_git::Git;
use weir_object::Kind;
use weir_runtime::{Context, Controller, SharedClock};

/// What the reconcilers need to know of their process.
#[derive(Clone, Debug)]
pub struct Options {
    /// Under which URL others reach the artifact server.
    pub artifact_base_url: String,
    /// What holds for all Canaries.
    pub canary: weir_canary::Options,
    /// What separates tenants.
    pub tenancy: Tenancy,
}

/// What separates tenants; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Tenancy {
    /// The ServiceAccount, in a Kustomization's namespace, that is acted as where it names none.
    pub default_service_account: Option<String>,
    /// Whether references to other namespaces are refused.
    pub no_cross_namespace_refs: bool,
}

/// A part that a process can play, one at a time in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Role {
    /// GitRepository
    #[value(name = names::SOURCE_CONTROLLER)]
    Source,
    /// Kustomization
    #[value(name = names::KUSTOMIZE_CONTROLLER)]
    Kustomize,
    /// ImageRepository and ImagePolicy
    #[value(name = names::IMAGE_REFLECTOR_CONTROLLER)]
    ImageReflector,
    /// ImageUpdateAutomation
    #[value(name = names::IMAGE_AUTOMATION_CONTROLLER)]
    ImageAutomation,
    /// Canary
    #[value(name = names::FLAGGER)]
    Canary,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::Source,
        Self::Kustomize,
        Self::ImageReflector,
        Self::ImageAutomation,
        Self::Canary,
    ];

    /// The name of the controller that is known for the role's kinds.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => names::SOURCE_CONTROLLER,
            Self::Kustomize => names::KUSTOMIZE_CONTROLLER,
            Self::ImageReflector => names::IMAGE_REFLECTOR_CONTROLLER,
            Self::ImageAutomation => names::IMAGE_AUTOMATION_CONTROLLER,
            Self::Canary => names::FLAGGER,
        }
    }

    /// The name of the Lease that stands for the role, also for others who play it. Each shard,
    /// told by its label selector, has its own, as the known controllers have.
    pub fn lease(self, shard: &str) -> String {
        let name = format!("{}-leader-election", self.name());
        if shard.is_empty() {
            return name;
        }
        let digest = format!("{:x}", Sha256::digest(shard.as_bytes()));
        format!("{name}-{}", digest.get(..8).unwrap_or_default())
    }

    /// Whether a Lease of this name stands for the role, in whatever shard.
    pub fn is_lease(self, name: &str) -> bool {
        let shard = name.strip_prefix(&*self.lease(""));
        shard.is_some_and(|rest| match rest.strip_prefix('-') {
            Some(digest) => digest.len() == 8 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
            None => rest.is_empty(),
        })
    }

    /// Whether those who hold the Leases of these names, the first of which is the role's, work on the
    /// same objects: the Leases are the same, or one of the two is of all objects.
    pub fn meets(self, own: &str, name: &str) -> bool {
        let all = self.lease("");
        own == name || self.is_lease(name) && (own == all || name == all)
    }

    /// The kinds that are worked on.
    pub fn kinds(self) -> Vec<Kind> {
        use weir_api::{canary, git_repository, kustomization};
        use weir_api::{image_policy, image_repository, image_update_automation};
        match self {
            Self::Source => vec![git_repository::KIND],
            Self::Kustomize => vec![kustomization::KIND],
            Self::ImageReflector => vec![image_repository::KIND, image_policy::KIND],
            Self::ImageAutomation => vec![image_update_automation::KIND],
            Self::Canary => vec![canary::KIND],
        }
    }

    /// The role's controllers, not yet running. That of the sources needs somewhere to keep
    /// artifacts, and is not there without.
    pub fn controllers(
        self,
        context: &Context,
        artifacts: Option<&Storage>,
        options: &Options,
    ) -> Vec<Controller> {
        let tenancy = &options.tenancy;
        let images = weir_image::Options {
            no_cross_namespace_refs: tenancy.no_cross_namespace_refs,
            ..weir_image::Options::default()
        };
        match self {
            Self::Source => {
                let controller = |artifacts: &Storage| {
                    let (artifacts, url) = (artifacts.clone(), options.artifact_base_url.as_str());
                    let git = Git::new(context.http.clone());
                    weir_source::controller(context, weir_source::Options::new(artifacts, url, git))
                };
                artifacts.map(controller).into_iter().collect()
            }
            Self::Kustomize => {
                let options = weir_deliver::Options {
                    default_service_account: tenancy.default_service_account.clone(),
                    no_cross_namespace_refs: tenancy.no_cross_namespace_refs,
                    ..weir_deliver::Options::default()
                };
                vec![weir_deliver::controller(context, options)]
            }
            Self::ImageReflector => weir_image::reflector(context, &images).into(),
            Self::ImageAutomation => vec![weir_image::automation(context, &images)],
            Self::Canary => {
                let canaries = weir_canary::Options {
                    no_cross_namespace_refs: tenancy.no_cross_namespace_refs,
                    ..options.canary.clone()
                };
                vec![weir_canary::controller(context, canaries)]
            }
        }
    }
}

/// Controllers under way.
#[derive(Default)]
pub struct Running(JoinSet<()>);

impl Running {
    /// Starts more.
    pub fn start(&mut self, controllers: Vec<Controller>) {
        for controller in controllers {
            self.0.spawn(controller.run());
        }
    }

    /// Waits until all have stopped, which they do when their context's `stop` is cancelled.
    pub async fn stopped(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// The artifact store in a directory, made when it is missing.
pub fn artifacts(dir: &Path, clock: SharedClock) -> anyhow::Result<Storage> {
    Storage::new(dir, Retention::default(), clock).with_context(|| {
        format!(
            "artifacts cannot be kept in `{}`; give a writable directory",
            dir.display()
        )
    })
}

/// Starts the controllers of these roles at once, where nobody else can play them.
pub fn start(
    context: &Context,
    roles: &[Role],
    artifacts: Option<&Storage>,
    options: &Options,
) -> Running {
    let mut running = Running::default();
    for role in roles {
        running.start(role.controllers(context, artifacts, options));
    }
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_a_lease_of_its_own() {
        let role = Role::Kustomize;
        assert_eq!(role.lease(""), "kustomize-controller-leader-election");
        // As the known controllers name it: eight digits of the selector's SHA-256.
        let main = role.lease("!sharding.fluxcd.io/key");
        let one = role.lease("sharding.fluxcd.io/key=one");
        assert_ne!(main, one);
        assert!(role.is_lease(&main) && role.is_lease(&role.lease("")));
        assert!(!role.is_lease(&format!("{main}0")) && !Role::Source.is_lease(&main));
        let all = role.lease("");
        assert!(role.meets(&one, &one) && role.meets(&one, &all));
        assert!(!role.meets(&one, &main) && role.meets(&all, &main));
    }
}
