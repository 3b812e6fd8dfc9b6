//! Owns reading an ImageRepository's spec: what is wanted of the registry, or which field stands in
//! the way.

use std::time::Duration;

use weir_api::image_repository::{Provider, Spec};
use weir_api::names::reason;
use weir_gocompat::GoRegex;
use weir_oci::ImageReference;

use crate::trouble::Trouble;

/// Signatures are no images.
const DEFAULT_EXCLUSION: &str = r"^.*\.sig$";
const MOST_EXCLUSIONS: usize = 25;
const SHORTEST: Duration = Duration::from_secs(1);

/// What is wanted of the registry.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The image, without tag and digest.
    pub(crate) image: ImageReference,
    /// How often.
    pub(crate) interval: Duration,
    /// Bound of a scan.
    pub(crate) timeout: Duration,
    /// The exclusions as they count.
    pub(crate) exclusion_list: Vec<String>,
    exclusions: Vec<GoRegex>,
}

impl Wanted {
    /// Whether a tag is left out.
    pub(crate) fn excludes(&self, tag: &str) -> bool {
        self.exclusions.iter().any(|pattern| pattern.is_match(tag))
    }
}

/// The first field set that is not supported.
fn unsupported(spec: &Spec) -> Option<&'static str> {
    let fields = [
        (
            "spec.serviceAccountName",
            spec.service_account_name.is_some(),
        ),
        ("spec.proxySecretRef", spec.proxy_secret_ref.is_some()),
        (
            "spec.provider",
            spec.provider.is_some_and(|p| p != Provider::Generic),
        ),
    ];
    fields
        .into_iter()
        .find(|(_, set)| *set)
        .map(|(name, _)| name)
}

/// The image that a spec names.
pub(crate) fn image_of(spec: &Spec) -> Result<ImageReference, Trouble> {
    let bad = |what: &str| {
        let message = format!(
            "`spec.image` cannot be used: {what}; write it as `registry/repository`, without \
             scheme, tag and digest"
        );
        Trouble::stalled(reason::IMAGE_URL_INVALID, message)
    };
    let image = ImageReference::parse(&spec.image).map_err(|e| bad(&e.to_string()))?;
    if image.tag.is_some() || image.digest.is_some() {
        return Err(bad(&format!("`{}` has a tag or a digest", spec.image)));
    }
    Ok(image)
}

/// Reads the spec.
pub(crate) fn wanted(spec: &Spec) -> Result<Wanted, Trouble> {
    if let Some(field) = unsupported(spec) {
        return Err(Trouble::unsupported(field));
    }
    let image = image_of(spec)?;
    let interval = spec
        .interval
        .get()
        .map_err(|e| Trouble::invalid("spec.interval", &e))?
        .max(SHORTEST);
    let timeout = match &spec.timeout {
        Some(timeout) => timeout
            .get()
            .map_err(|e| Trouble::invalid("spec.timeout", &e))?,
        None => interval,
    };
    // An empty list means the default, as it always did.
    let exclusion_list = match spec.exclusion_list.as_deref() {
        None | Some([]) => vec![DEFAULT_EXCLUSION.to_owned()],
        Some(list) if list.len() > MOST_EXCLUSIONS => {
            let what = format!("it has more than {MOST_EXCLUSIONS} entries");
            return Err(Trouble::invalid("spec.exclusionList", &what));
        }
        Some(list) => list.to_vec(),
    };
    let exclusions: Result<Vec<GoRegex>, Trouble> = exclusion_list
        .iter()
        .map(|pattern| {
            GoRegex::parse(pattern).map_err(|e| {
                let what = format!("`{pattern}` is no regular expression: {e}");
                Trouble::invalid("spec.exclusionList", &what)
            })
        })
        .collect();
    Ok(Wanted {
        image,
        interval,
        timeout: timeout.max(SHORTEST),
        exclusions: exclusions?,
        exclusion_list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::LocalObjectReference;

    fn mk_spec() -> Spec {
        Spec {
            image: "r.io/demo/app".into(),
            interval: "1m".into(),
            ..Spec::default()
        }
    }

    #[test]
    fn defaults_are_the_known_ones() {
        let read = wanted(&mk_spec()).expect("a spec");
        assert_eq!(read.timeout, Duration::from_mins(1));
        assert_eq!(read.exclusion_list, [DEFAULT_EXCLUSION]);
        assert!(read.excludes("sha256-0.sig") && !read.excludes("1.0.0"));
        let hub = wanted(&Spec {
            image: "alpine".into(),
            exclusion_list: Some(Vec::new()),
            ..mk_spec()
        })
        .expect("a spec");
        assert_eq!(hub.image.name(), "index.docker.io/library/alpine");
        assert!(hub.excludes("a.sig"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let told = |spec: Spec| {
            let trouble = wanted(&spec).expect_err("trouble");
            format!("{}: {}", trouble.reason, trouble.message)
        };
        let image = |image: &str| Spec {
            image: image.into(),
            ..mk_spec()
        };
        for bad in ["https://r.io/a/b", "r.io/a:1", "r.io/A b", ""] {
            assert!(
                told(image(bad)).starts_with("ImageURLInvalid: `spec.image`"),
                "{bad}"
            );
        }
        let list = |list: Vec<String>| Spec {
            exclusion_list: Some(list),
            ..mk_spec()
        };
        assert!(told(list(vec!["(".into()])).contains("`(` is no regular expression"));
        assert!(told(list(vec!["a".into(); 26])).contains("more than 25"));
        for (spec, field) in [
            (
                Spec {
                    interval: "soon".into(),
                    ..mk_spec()
                },
                "`spec.interval`",
            ),
            (
                Spec {
                    timeout: Some("x".into()),
                    ..mk_spec()
                },
                "`spec.timeout`",
            ),
            (
                Spec {
                    provider: Some(Provider::Aws),
                    ..mk_spec()
                },
                "`spec.provider`",
            ),
            (
                Spec {
                    service_account_name: Some("a".into()),
                    ..mk_spec()
                },
                "`spec.serviceAccountName`",
            ),
            (
                Spec {
                    proxy_secret_ref: Some(LocalObjectReference::new("a")),
                    ..mk_spec()
                },
                "`spec.proxySecretRef`",
            ),
        ] {
            assert!(told(spec).contains(field), "{field}");
        }
    }
}
