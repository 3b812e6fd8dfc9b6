//! Owns how a cluster is reached: kubeconfig, context and namespace, as kubectl reads them.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Which cluster, and where in it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Access {
    /// Kubeconfig file; otherwise KUBECONFIG, ~/.kube/config, or the pod's own account
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace; otherwise the context's
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

impl Access {
    /// The configuration of a client. kube's own retry is off: ours is the one that is tested.
    pub(crate) async fn config(&self) -> anyhow::Result<kube::Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..Default::default()
        };
        let mut config = match &self.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).with_context(|| {
                    format!("the kubeconfig `{}` cannot be read", file.display())
                })?;
                kube::Config::from_custom_kubeconfig(read, &options).await?
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options).await?,
            None => kube::Config::infer().await.context(
                "no cluster is configured: give --kubeconfig or set KUBECONFIG, \
                 or start one with `weir sandbox`",
            )?,
        };
        config.default_retry = false;
        Ok(config)
    }

    /// A client, and the namespace to look in.
    pub(crate) async fn client(&self) -> anyhow::Result<(kube::Client, String)> {
        let config = self.config().await?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let at = config.cluster_url.to_string();
        let client = kube::Client::try_from(config)
            .with_context(|| format!("no client could be made for {at}"))?;
        Ok((client, namespace))
    }

    /// A client for single questions: no caches, no field manager that matters.
    pub(crate) async fn api(&self) -> anyhow::Result<(weir_runtime::ApiClient, String)> {
        let (client, namespace) = self.client().await?;
        let caches =
            weir_runtime::Caches::new(client.clone(), tokio_util::sync::CancellationToken::new());
        Ok((
            weir_runtime::ApiClient::new(client, caches, "weir"),
            namespace,
        ))
    }
}
