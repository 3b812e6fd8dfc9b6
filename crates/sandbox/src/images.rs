//! Owns getting images onto the sandbox's node: pulled from the sandbox's own registry by digest,
//! unpacked once, and kept while the sandbox runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use weir_artifact::Limits;
use weir_oci::{Access, ImageReference, Oci};
use weir_runtime::http::Http;

/// The registry whose images run here.
pub(crate) const REGISTRY: &str = "registry.sandbox:5000";
/// The largest layer pulled.
const LAYER_LIMIT: usize = 512 << 20;

/// An image on the node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    /// Its files.
    pub(crate) root: PathBuf,
    /// Its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Program and first arguments.
    pub(crate) entrypoint: Vec<String>,
    /// The arguments after those.
    pub(crate) cmd: Vec<String>,
}

/// The node's images.
pub(crate) struct Images {
    oci: Oci,
    dir: PathBuf,
    /// One pull at a time: two pods of one image are the usual case.
    pulling: Arc<Mutex<()>>,
}

impl Images {
    pub(crate) fn new(http: Http, dir: PathBuf) -> Self {
        Self {
            oci: Oci::new(http),
            dir,
            pulling: Arc::default(),
        }
    }

    /// Whether an image is of the sandbox's own registry.
    pub(crate) fn is_own(reference: &str) -> bool {
        reference
            .strip_prefix(REGISTRY)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The image, pulled where it is not there yet; else why not.
    pub(crate) async fn pull(&self, reference: &str) -> Result<Image, String> {
        let _one = self.pulling.lock().await;
        let told = |e: weir_oci::OciError| e.to_string();
        let image = ImageReference::parse(reference).map_err(told)?;
        let access = access();
        let (descriptor, manifest) = self.oci.manifest(&image, &access).await.map_err(told)?;
        let config = self
            .oci
            .config(&image, &manifest, &access)
            .await
            .map_err(told)?;
        let root = self.dir.join(descriptor.digest.replace(':', "-"));
        if !root.is_dir() {
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                layers.push(
                    self.oci
                        .blob(&image, layer, LAYER_LIMIT, &access)
                        .await
                        .map_err(told)?,
                );
            }
            // Unpacked beside its place and moved there whole, so that half an image never runs.
            let beside = root.with_extension("part");
            let io = |e: std::io::Error| format!("`{}`: {e}", beside.display());
            if beside.exists() {
                std::fs::remove_dir_all(&beside).map_err(io)?;
            }
            std::fs::create_dir_all(&beside).map_err(io)?;
            let limits = Limits::default();
            weir_oci::unpack_layers(layers, &beside, &limits)
                .await
                .map_err(told)?;
            std::fs::rename(&beside, &root).map_err(io)?;
        }
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        Ok(Image {
            root,
            env: config.config.env.iter().map(pair).collect(),
            entrypoint: config.config.entrypoint,
            cmd: config.config.cmd,
        })
    }
}

/// How the sandbox talks to its own registry.
pub(crate) fn access() -> Access {
    Access {
        insecure: true,
        timeout: Duration::from_secs(30),
        ..Access::default()
    }
}
