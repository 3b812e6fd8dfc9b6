//! Owns the calls to a registry. Each proves what it reads, is bounded in time and size, and answers
//! one challenge at most; none is retried.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER};
use http::{HeaderName, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use weir_artifact::sha256_of;
use weir_runtime::http::{Http, Request, Response};

use crate::auth::{self, Shown};
use crate::{
    Access, Descriptor, Image, ImageConfig, ImageReference, Index, Manifest, OciError, media,
};

const DOCUMENT_LIMIT: usize = 4 << 20;
const MAX_PAGES: usize = 1000;
const MAX_TAGS: usize = 1_000_000;
/// For which platform an image is taken from an index.
const OS: &str = "linux";
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};
const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// A handle to registries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Oci {
    http: Http,
}

#[derive(Deserialize)]
struct Tags {
    /// `null` in a repository without tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Oci {
    /// Registries over this HTTP seam.
    pub fn new(http: Http) -> Self {
        Self { http }
    }

    /// Whether the registry answers and lets us in.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange.
    pub async fn ping(&self, image: &ImageReference, access: &Access) -> Result<(), OciError> {
        let mut call = self.call(image, access, "pull")?;
        let url = call.base.clone();
        call.send(Request::get(url), "the registry's root")
            .await
            .map(drop)
    }

    /// All tags of the image's repository, in the registry's order.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange; [`OciError::NotFound`] for an unknown repository.
    pub async fn list_tags(
        &self,
        image: &ImageReference,
        access: &Access,
    ) -> Result<Vec<String>, OciError> {
        let mut call = self.call(image, access, "pull")?;
        let what = format!("the repository `{}`", image.name());
        let mut url = call.at("tags/list")?;
        url.set_query(Some("n=1000"));
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let response = call.send(Request::get(url.clone()), &what).await?;
            let next = response
                .header(LINK)
                .and_then(next_link)
                .map(|link| url.join(link));
            let page: Tags = call.document(response).await?;
            let tags = page.tags.unwrap_or_default();
            let ended = tags.is_empty();
            all.extend(tags);
            if all.len() > MAX_TAGS {
                let what = format!("the list of tags of `{}`", image.name());
                return Err(OciError::TooLarge {
                    what,
                    limit: MAX_TAGS as u64,
                });
            }
            match next {
                None => return Ok(all),
                Some(_) if ended => return Ok(all),
                Some(Ok(next)) if next.origin() == url.origin() => url = next,
                Some(_) => return Err(call.malformed("the next page is at another host")),
            }
        }
        Err(call.malformed("the list of tags does not end"))
    }

    /// The digest that a tag (or `latest`) stands for now.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange.
    pub async fn resolve(
        &self,
        image: &ImageReference,
        access: &Access,
    ) -> Result<Descriptor, OciError> {
        let mut call = self.call(image, access, "pull")?;
        let (descriptor, _) = call.manifest_bytes(image.manifest()).await?;
        Ok(descriptor)
    }

    /// The image's manifest; of an index, the one for this machine's platform.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange; [`OciError::NotFound`] for a platform that is not there.
    pub async fn manifest(
        &self,
        image: &ImageReference,
        access: &Access,
    ) -> Result<(Descriptor, Manifest), OciError> {
        let mut call = self.call(image, access, "pull")?;
        let (mut descriptor, mut bytes) = call.manifest_bytes(image.manifest()).await?;
        if matches!(
            descriptor.media_type.as_str(),
            media::INDEX | media::DOCKER_INDEX
        ) {
            let index: Index = call.parse(&bytes)?;
            let fits = |d: &&Descriptor| {
                d.platform
                    .as_ref()
                    .is_some_and(|p| p.os == OS && p.architecture == ARCHITECTURE)
            };
            let chosen = index
                .manifests
                .iter()
                .find(fits)
                .ok_or_else(|| OciError::NotFound {
                    what: format!("`{image}` for {OS}/{ARCHITECTURE}"),
                })?;
            (descriptor, bytes) = call.manifest_bytes(&chosen.digest).await?;
        }
        Ok((descriptor, call.parse(&bytes)?))
    }

    /// The configuration that a manifest names.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange.
    pub async fn config(
        &self,
        image: &ImageReference,
        manifest: &Manifest,
        access: &Access,
    ) -> Result<ImageConfig, OciError> {
        let bytes = self
            .blob(image, &manifest.config, DOCUMENT_LIMIT, access)
            .await?;
        self.call(image, access, "pull")?.parse(&bytes)
    }

    /// A blob's bytes, proved.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange; [`OciError::DigestMismatch`].
    pub async fn blob(
        &self,
        image: &ImageReference,
        blob: &Descriptor,
        limit: usize,
        access: &Access,
    ) -> Result<Bytes, OciError> {
        let mut call = self.call(image, access, "pull")?;
        let what = format!("blob `{}` of `{}`", blob.digest, image.name());
        if blob.size > limit as u64 {
            return Err(OciError::TooLarge {
                what,
                limit: limit as u64,
            });
        }
        let url = call.at(&format!("blobs/{}", blob.digest))?;
        let response = call.send(Request::get(url), &what).await?;
        let bytes = call.bytes(response, limit).await?;
        prove(&bytes, &blob.digest, what)?;
        Ok(bytes)
    }

    /// Pushes a blob, unless it is there.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange.
    pub async fn push_blob(
        &self,
        image: &ImageReference,
        bytes: Bytes,
        access: &Access,
    ) -> Result<(), OciError> {
        let mut call = self.call(image, access, "pull,push")?;
        let digest = sha256_of(&bytes).to_string();
        let what = format!("blob `{digest}` of `{}`", image.name());
        let there = call.at(&format!("blobs/{digest}"))?;
        match call.send(Request::new(Method::HEAD, there), &what).await {
            Ok(_) => return Ok(()),
            Err(OciError::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
        let start = call.at("blobs/uploads/")?;
        let begun = call
            .send(Request::post(start.clone(), Bytes::new()), &what)
            .await?;
        let mut to = begun
            .header(LOCATION)
            .and_then(|location| start.join(location).ok())
            .ok_or_else(|| call.malformed("it does not say where to upload to"))?;
        to.query_pairs_mut().append_pair("digest", &digest);
        let mut put =
            Request::new(Method::PUT, to).header(CONTENT_TYPE, "application/octet-stream");
        put.body = bytes;
        call.send(put, &what).await.map(drop)
    }

    /// Pushes a manifest under the reference's tag, or by its digest where it has none. What it
    /// names must be there. Returns its digest.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange.
    pub async fn push_manifest(
        &self,
        image: &ImageReference,
        manifest: Bytes,
        media_type: &str,
        access: &Access,
    ) -> Result<String, OciError> {
        let mut call = self.call(image, access, "pull,push")?;
        let digest = sha256_of(&manifest).to_string();
        let name = image.tag.as_deref().unwrap_or(&digest);
        let url = call.at(&format!("manifests/{name}"))?;
        let mut put = Request::new(Method::PUT, url).header(CONTENT_TYPE, media_type);
        put.body = manifest;
        call.send(put, &format!("`{image}`")).await?;
        Ok(digest)
    }

    /// Pushes an image: layers and configuration, then the manifest, so that the tag never stands
    /// for something incomplete. Returns the manifest's digest.
    ///
    /// # Errors
    /// Any [`OciError`] of the exchange.
    pub async fn push_image(
        &self,
        to: &ImageReference,
        image: &Image,
        access: &Access,
    ) -> Result<String, OciError> {
        for (_, bytes) in &image.layers {
            self.push_blob(to, bytes.clone(), access).await?;
        }
        self.push_blob(to, image.config.clone(), access).await?;
        self.push_manifest(to, image.manifest.clone(), media::MANIFEST, access)
            .await
    }

    fn call<'a>(
        &'a self,
        image: &'a ImageReference,
        access: &'a Access,
        rights: &str,
    ) -> Result<Call<'a>, OciError> {
        let scheme = if access.insecure { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/", image.registry)).map_err(|_| {
            OciError::BadReference {
                name: image.to_string(),
                what: "its registry is no host name",
            }
        })?;
        let scope = format!("repository:{}:{rights}", image.repository);
        Ok(Call {
            http: &self.http,
            image,
            access,
            base,
            scope,
            shown: Shown::default(),
        })
    }
}

/// One call: it may take several exchanges, which share what is shown to be let in.
struct Call<'a> {
    http: &'a Http,
    image: &'a ImageReference,
    access: &'a Access,
    base: Url,
    scope: String,
    shown: Shown,
}

impl Call<'_> {
    fn at(&self, path: &str) -> Result<Url, OciError> {
        let path = format!("{}/{path}", self.image.repository);
        self.base
            .join(&path)
            .map_err(|e| self.malformed(&e.to_string()))
    }

    /// Sends a request; answers a challenge once; makes a failure of a status of 400 or more.
    async fn send(&mut self, request: Request, what: &str) -> Result<Response, OciError> {
        let request = request
            .timeout(self.access.timeout)
            .tls(self.access.tls.clone());
        let registry = &self.image.registry;
        let of_http = |e| OciError::of_http(e, registry);
        let send = |shown: &Shown| self.http.send(shown.apply(request.clone(), self.access));
        let response = send(&self.shown).await.map_err(of_http)?;
        if response.status != StatusCode::UNAUTHORIZED {
            return self.judge(response, what).await;
        }
        let headers = response.headers.clone();
        let answered =
            auth::answer(self.http, self.access, &headers, registry, &self.scope).await?;
        let Some(shown) = answered else {
            return self.judge(response, what).await;
        };
        let response = send(&shown).await.map_err(of_http)?;
        self.shown = shown;
        self.judge(response, what).await
    }

    async fn judge(&self, response: Response, what: &str) -> Result<Response, OciError> {
        if response.status.is_success() {
            return Ok(response);
        }
        let registry = self.image.registry.clone();
        let (status, headers) = (response.status.as_u16(), response.headers.clone());
        let said = response.text(64 << 10).await.unwrap_or_default();
        let said = told(&said, status);
        Err(match status {
            401 | 403 => OciError::Auth {
                registry,
                repository: self.image.repository.clone(),
                what: said,
            },
            404 => OciError::NotFound {
                what: what.to_owned(),
            },
            429 => {
                let after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
                let after = after.and_then(|v| v.parse().ok()).map(Duration::from_secs);
                OciError::RateLimited { registry, after }
            }
            408 | 500.. => OciError::Unreachable {
                registry,
                what: said,
            },
            status if status < 400 => OciError::Malformed {
                registry,
                what: said,
            },
            status => OciError::Refused {
                registry,
                status,
                what: said,
            },
        })
    }

    async fn bytes(&self, response: Response, limit: usize) -> Result<Bytes, OciError> {
        response
            .bytes(limit)
            .await
            .map_err(|e| OciError::of_http(e, &self.image.registry))
    }

    async fn document<T: DeserializeOwned>(&self, response: Response) -> Result<T, OciError> {
        self.parse(&self.bytes(response, DOCUMENT_LIMIT).await?)
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, OciError> {
        serde_json::from_slice(bytes).map_err(|e| self.malformed(&e.to_string()))
    }

    async fn manifest_bytes(&mut self, name: &str) -> Result<(Descriptor, Bytes), OciError> {
        let what = format!("`{}` (manifest `{name}`)", self.image.name());
        let accept = [
            media::MANIFEST,
            media::DOCKER_MANIFEST,
            media::INDEX,
            media::DOCKER_INDEX,
        ]
        .join(", ");
        let url = self.at(&format!("manifests/{name}"))?;
        let response = self
            .send(Request::get(url).header(ACCEPT, &accept), &what)
            .await?;
        let kind = response.header(CONTENT_TYPE).unwrap_or_default();
        let media_type = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let told = response.header(DIGEST_HEADER).map(str::to_owned);
        let bytes = self.bytes(response, DOCUMENT_LIMIT).await?;
        if name.contains(':') {
            prove(&bytes, name, what.clone())?;
        }
        if let Some(told) = told.filter(|told| told.starts_with("sha256:")) {
            prove(&bytes, &told, what)?;
        }
        let digest = sha256_of(&bytes).to_string();
        let descriptor = Descriptor {
            media_type,
            digest,
            size: bytes.len() as u64,
            ..Descriptor::default()
        };
        Ok((descriptor, bytes))
    }

    fn malformed(&self, what: &str) -> OciError {
        OciError::Malformed {
            registry: self.image.registry.clone(),
            what: what.to_owned(),
        }
    }
}

fn prove(bytes: &[u8], expected: &str, what: String) -> Result<(), OciError> {
    let found = sha256_of(bytes).to_string();
    if found == expected {
        return Ok(());
    }
    Err(OciError::DigestMismatch {
        what,
        expected: expected.to_owned(),
        found,
    })
}

/// What the registry said, as one line.
fn told(body: &str, status: u16) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Said>,
    }
    let answer = serde_json::from_str::<Answer>(body).ok();
    let said = answer.and_then(|answer| answer.errors.into_iter().next());
    match said {
        Some(said) => format!("{} {}", said.code, said.message)
            .trim()
            .chars()
            .take(300)
            .collect(),
        None => format!("status {status}"),
    }
}

/// The target of `<…>; rel="next"`.
fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"")
            .then_some(target)
            .or_else(|| rest.contains("rel=next").then_some(target))
    })
}
