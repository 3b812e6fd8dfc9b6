//! Owns building small images: one layer from given files, the same bytes for the same input.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use weir_artifact::sha256_of;

use crate::{ContainerConfig, Descriptor, ImageConfig, Manifest, OciError, RootFs, media};

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    /// Its path from the image's root, without a leading slash.
    pub path: String,
    /// Its bytes.
    pub content: Bytes,
    /// Whether it can be run.
    pub executable: bool,
}

/// An image to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageBuild {
    /// Its files, in any order.
    pub files: Vec<LayerFile>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments after those.
    pub cmd: Vec<String>,
    /// The TCP ports it listens on.
    pub exposed_ports: Vec<u16>,
    /// Notes on it.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A built image, ready to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The manifest's digest, which is the image's.
    pub digest: String,
    /// The configuration's bytes.
    pub config: Bytes,
    /// The layers.
    pub layers: Vec<(Descriptor, Bytes)>,
}

impl ImageBuild {
    /// Builds the image.
    ///
    /// # Errors
    /// [`OciError::Layer`] for a path that an archive cannot carry.
    pub fn build(&self) -> Result<Image, OciError> {
        let said = |e: io::Error| OciError::Layer(e.to_string());
        let tar = self.tar().map_err(said)?;
        let diff_id = sha256_of(&tar).to_string();
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::fast());
        io::Write::write_all(&mut gzip, &tar).map_err(said)?;
        let layer = Bytes::from(gzip.finish().map_err(said)?);
        let config = ImageConfig {
            architecture: if cfg!(target_arch = "aarch64") {
                "arm64"
            } else {
                "amd64"
            }
            .to_owned(),
            os: "linux".to_owned(),
            created: self.created.map(|at| at.to_string()),
            config: ContainerConfig {
                env: self
                    .env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
                entrypoint: self.entrypoint.clone(),
                cmd: self.cmd.clone(),
                exposed_ports: self
                    .exposed_ports
                    .iter()
                    .map(|port| (format!("{port}/tcp"), serde_json::Map::new()))
                    .collect(),
                labels: self.labels.clone(),
                working_dir: String::new(),
            },
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![diff_id],
            },
        };
        let config = json(&config)?;
        let layer_descriptor = descriptor(media::LAYER, &layer);
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: media::MANIFEST.to_owned(),
            config: descriptor(media::CONFIG, &config),
            layers: vec![layer_descriptor.clone()],
            annotations: BTreeMap::new(),
        })?;
        let digest = sha256_of(&manifest).to_string();
        Ok(Image {
            manifest,
            digest,
            config,
            layers: vec![(layer_descriptor, layer)],
        })
    }

    fn tar(&self) -> io::Result<Vec<u8>> {
        let mut files: Vec<&LayerFile> = self.files.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut tar = tar::Builder::new(Vec::new());
        for file in files {
            let mut header = tar::Header::new_ustar();
            header.set_mode(if file.executable { 0o755 } else { 0o644 });
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(file.content.len() as u64);
            tar.append_data(&mut header, &file.path, file.content.as_ref())?;
        }
        tar.into_inner()
    }
}

fn descriptor(media_type: &str, bytes: &Bytes) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: sha256_of(bytes).to_string(),
        size: bytes.len() as u64,
        ..Descriptor::default()
    }
}

fn json(value: &impl serde::Serialize) -> Result<Bytes, OciError> {
    let bytes = serde_json::to_vec(value).map_err(|e| OciError::Layer(e.to_string()))?;
    Ok(Bytes::from(bytes))
}
