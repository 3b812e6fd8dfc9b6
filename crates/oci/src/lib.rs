//! Image registries: references, tags, manifests, configurations and layers.
//!
//! This room speaks the OCI distribution protocol over the one HTTP seam, proves every digest
//! before its bytes are used, builds small reproducible images, and unpacks layers within limits.
//!
//! It refuses to keep tokens between calls (so none is used under another's credentials), to fall
//! back to plain HTTP unless told to, and to make links when it unpacks.

mod auth;
mod build;
mod client;
mod failure;
mod layers;
mod reference;
mod types;

pub use auth::{Access, Credentials};
pub use build::{Image, ImageBuild, LayerFile};
pub use client::Oci;
pub use failure::OciError;
pub use layers::unpack_layers;
pub use reference::ImageReference;
pub use types::{
    ContainerConfig, Descriptor, ImageConfig, Index, Manifest, Platform, RootFs, media,
};
