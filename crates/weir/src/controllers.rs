//! Owns the wiring of the reconcilers: all of them on one context, so on one set of caches, each
//! under the name of the controller whose kinds it serves.

use std::path::Path;

use anyhow::Context as _;
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

    /// The name of the Lease that stands for the role, also for others who play it.
    pub fn lease(self) -> String {
        format!("{}-leader-election", self.name())
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
        match self {
            Self::Source => {
                let controller = |artifacts: &Storage| {
                    let (artifacts, url) = (artifacts.clone(), options.artifact_base_url.as_str());
                    let git = Git::new(context.http.clone());
                    weir_source::controller(context, weir_source::Options::new(artifacts, url, git))
                };
                artifacts.map(controller).into_iter().collect()
            }
            Self::Kustomize => vec![weir_deliver::controller(
                context,
                weir_deliver::Options::default(),
            )],
            Self::ImageReflector => {
                weir_image::reflector(context, &weir_image::Options::default()).into()
            }
            Self::ImageAutomation => {
                vec![weir_image::automation(
                    context,
                    &weir_image::Options::default(),
                )]
            }
            Self::Canary => vec![weir_canary::controller(context, options.canary.clone())],
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
