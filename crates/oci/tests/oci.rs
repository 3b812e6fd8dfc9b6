//! A registry client against a real registry in memory, and against registries that misbehave. The
//! sandbox's registry is compiled in by path, so that this room does not depend on a floor above it.

#[path = "../../sandbox/src/registry.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a module of another crate, used in part"
)]
mod registry;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use registry::{Registry, RegistryOptions};
use tower::ServiceExt as _;
use weir_oci::{
    Access, Credentials, Descriptor, ImageBuild, ImageReference, LayerFile, Oci, OciError, media,
    unpack_layers,
};
use weir_runtime::Secret;
use weir_runtime::http::{BodyStream, Http, HttpError, Request, Response, Transport};

struct Net(Router);

#[async_trait::async_trait]
impl Transport for Net {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let mut sent = http::Request::builder()
            .method(request.method)
            .uri(&request.url[url::Position::BeforePath..])
            .body(Body::from(request.body))
            .expect("a request");
        *sent.headers_mut() = request.headers;
        let (parts, body) = self
            .0
            .clone()
            .oneshot(sent)
            .await
            .expect("infallible")
            .into_parts();
        let body = body.into_data_stream().map(|chunk| {
            chunk.map_err(|e| HttpError::Broken {
                url: "memory".into(),
                what: e.to_string(),
            })
        });
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: BodyStream::new(body),
        })
    }
}

/// Answers by a function, and remembers what was asked.
struct Script<F>(F, Arc<Mutex<Vec<String>>>);

type Answer = (u16, Vec<(&'static str, String)>, String);

#[async_trait::async_trait]
impl<F: Fn(&Request) -> Answer + Send + Sync + 'static> Transport for Script<F> {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        self.1
            .lock()
            .expect("a lock")
            .push(format!("{} {}", request.method, request.url));
        let (status, named, body) = (self.0)(&request);
        let mut headers = http::HeaderMap::new();
        for (name, value) in named {
            headers.insert(name, value.parse().expect("a header"));
        }
        let status = http::StatusCode::from_u16(status).expect("a status");
        Ok(Response::full(status, headers, body))
    }
}

fn scripted(
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Oci, Arc<Mutex<Vec<String>>>) {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    (Oci::new(Http::new(Script(answer, log.clone()))), log)
}

fn mk_access() -> Access {
    Access {
        insecure: true,
        ..Access::default()
    }
}

fn mk_image(version: &str) -> ImageBuild {
    ImageBuild {
        files: vec![
            LayerFile {
                path: "app".into(),
                content: Bytes::from_static(b"#!/bin/true"),
                executable: true,
            },
            LayerFile {
                path: "etc/version".into(),
                content: Bytes::from(version.to_owned()),
                executable: false,
            },
        ],
        env: vec![("VERSION".into(), version.into())],
        entrypoint: vec!["/app".into()],
        cmd: vec!["serve".into()],
        exposed_ports: vec![9898],
        labels: BTreeMap::from([("a".into(), "b".into())]),
        created: Some(jiff::Timestamp::UNIX_EPOCH),
    }
}

fn app() -> ImageReference {
    ImageReference::parse("registry.sandbox:5000/demo/app").expect("a reference")
}

#[tokio::test]
async fn an_image_is_pushed_found_and_unpacked() {
    let registry = Registry::new(RegistryOptions::default());
    let mut pushes = registry.pushes();
    let oci = Oci::new(Http::new(Net(registry.router())));
    let access = mk_access();
    oci.ping(&app(), &access).await.expect("a registry");
    let image = mk_image("1.0.0").build().expect("an image");
    assert_eq!(
        image,
        mk_image("1.0.0").build().expect("an image"),
        "the same bytes again"
    );
    let digest = oci
        .push_image(&app().with_tag("1.0.0"), &image, &access)
        .await
        .expect("pushed");
    assert_eq!(digest, image.digest);
    let push = pushes.recv().await.expect("an event");
    assert_eq!(
        (push.repository.as_str(), push.tag.as_deref()),
        ("demo/app", Some("1.0.0"))
    );

    for wanted in [app().with_tag("1.0.0"), app().with_digest(&digest)] {
        let resolved = oci.resolve(&wanted, &access).await.expect("resolved");
        assert_eq!(
            (resolved.digest, resolved.media_type),
            (digest.clone(), media::MANIFEST.into())
        );
        let (found, manifest) = oci.manifest(&wanted, &access).await.expect("a manifest");
        assert_eq!(found.digest, digest);
        let config = oci
            .config(&wanted, &manifest, &access)
            .await
            .expect("a configuration");
        assert_eq!(config.config.env, ["VERSION=1.0.0"]);
        assert_eq!(config.config.entrypoint, ["/app"]);
        assert!(config.config.exposed_ports.contains_key("9898/tcp"));
        let layer = manifest.layers.first().expect("a layer");
        let bytes = oci
            .blob(&wanted, layer, 1 << 20, &access)
            .await
            .expect("a blob");
        let dest = tempfile::tempdir().expect("a directory");
        let limits = weir_artifact::Limits::default();
        unpack_layers(vec![bytes], dest.path(), &limits)
            .await
            .expect("unpacked");
        let read = |p: &str| std::fs::read_to_string(dest.path().join(p)).expect("a file");
        assert_eq!(read("etc/version"), "1.0.0");
        let mode = std::fs::metadata(dest.path().join("app"))
            .expect("a file")
            .permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o111,
            0o111
        );
        let small = oci
            .blob(&wanted, layer, 10, &access)
            .await
            .expect_err("too large");
        assert!(matches!(small, OciError::TooLarge { .. }), "{small}");
    }
}

#[tokio::test]
async fn tags_come_in_pages() {
    let registry = Registry::new(RegistryOptions::default());
    let oci = Oci::new(Http::new(Net(registry.router())));
    let image = mk_image("x").build().expect("an image");
    let access = mk_access();
    for i in 0..5 {
        let to = app().with_tag(&format!("1.0.{i}"));
        oci.push_image(&to, &image, &access).await.expect("pushed");
    }
    let tags = oci.list_tags(&app(), &access).await.expect("tags");
    assert_eq!(tags, ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4"]);

    let router = registry.router();
    let (paged, log) = scripted(move |request| {
        // The same list by two at a time, straight from the registry.
        let url = request.url.as_str().replace("n=1000", "n=2");
        let at = url
            .split_once("5000")
            .map_or("/", |(_, path)| path)
            .to_owned();
        let asked = http::Request::builder()
            .uri(at)
            .body(Body::empty())
            .expect("a request");
        at_once(router.clone().oneshot(asked))
    });
    assert_eq!(paged.list_tags(&app(), &access).await.expect("tags"), tags);
    assert_eq!(log.lock().expect("a lock").len(), 3);

    let unknown = ImageReference::parse("registry.sandbox:5000/demo/none").expect("a reference");
    let lost = oci.list_tags(&unknown, &access).await.expect_err("unknown");
    assert_eq!(
        lost,
        OciError::NotFound {
            what: "the repository `registry.sandbox:5000/demo/none`".into()
        }
    );
    let lost = oci
        .resolve(&app().with_tag("9"), &access)
        .await
        .expect_err("unknown");
    assert!(matches!(lost, OciError::NotFound { .. }) && lost.is_retryable());
}

/// The answer of a router that does not wait, which is there at the first poll.
fn at_once(
    asked: impl Future<Output = Result<axum::response::Response, std::convert::Infallible>>,
) -> Answer {
    let response = asked.now_or_never().expect("at once").expect("infallible");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20)
        .now_or_never()
        .expect("at once");
    let link = parts
        .headers
        .get("link")
        .map(|v| v.to_str().expect("text").to_owned());
    let named = link.map(|link| ("link", link)).into_iter().collect();
    let text = String::from_utf8(body.expect("bytes").to_vec()).expect("text");
    (parts.status.as_u16(), named, text)
}

#[tokio::test]
async fn basic_credentials_let_in() {
    let credentials = Some(("ann".to_owned(), Secret::new("hush")));
    let registry = Registry::new(RegistryOptions {
        credentials,
        ..RegistryOptions::default()
    });
    let oci = Oci::new(Http::new(Net(registry.router())));
    let with = |password: &str| Access {
        credentials: Credentials::Basic {
            username: "ann".into(),
            password: Secret::new(password),
        },
        ..mk_access()
    };
    let image = mk_image("1").build().expect("an image");
    oci.push_image(&app().with_tag("1"), &image, &with("hush"))
        .await
        .expect("pushed");
    assert_eq!(
        oci.list_tags(&app(), &with("hush")).await.expect("tags"),
        ["1"]
    );
    for access in [mk_access(), with("wr0ng")] {
        let refused = oci.list_tags(&app(), &access).await.expect_err("refused");
        assert!(matches!(refused, OciError::Auth { .. }), "{refused}");
        assert!(!format!("{refused} {access:?}").contains("wr0ng"));
    }
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_asks_for_one() {
    let (oci, log) = scripted(|request| {
        let auth = request
            .headers
            .get("authorization")
            .and_then(|v| v.to_str().ok());
        match (request.url.path(), auth) {
            ("/token", Some(basic)) if basic.starts_with("Basic ") => {
                (200, vec![], r#"{"token":"t0k"}"#.to_owned())
            }
            ("/token", _) => (401, vec![], String::new()),
            (_, Some("Bearer t0k")) => (200, vec![], r#"{"tags":["a"]}"#.to_owned()),
            _ => {
                let ask = r#"Bearer realm="http://auth.sandbox/token",service="reg""#;
                (
                    401,
                    vec![("www-authenticate", ask.to_owned())],
                    String::new(),
                )
            }
        }
    });
    let credentials = Credentials::Basic {
        username: "ann".into(),
        password: Secret::new("hush"),
    };
    let access = Access {
        credentials,
        ..mk_access()
    };
    assert_eq!(oci.list_tags(&app(), &access).await.expect("tags"), ["a"]);
    assert_eq!(
        *log.lock().expect("a lock"),
        [
            "GET http://registry.sandbox:5000/v2/demo/app/tags/list?n=1000",
            "GET http://auth.sandbox/token?service=reg&scope=repository%3Ademo%2Fapp%3Apull",
            "GET http://registry.sandbox:5000/v2/demo/app/tags/list?n=1000",
        ]
    );
    let refused = oci
        .list_tags(&app(), &mk_access())
        .await
        .expect_err("refused");
    assert!(matches!(refused, OciError::Auth { .. }), "{refused}");
    // Over HTTPS no password goes to a token service without it.
    let access = Access {
        insecure: false,
        ..access
    };
    let refused = oci.list_tags(&app(), &access).await.expect_err("refused");
    assert!(matches!(refused, OciError::Malformed { .. }), "{refused}");
}

#[tokio::test]
async fn registries_that_misbehave_are_a_failure_and_no_more() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let blob = Descriptor {
        digest,
        size: 5,
        ..Descriptor::default()
    };
    let (liar, _) = scripted(|_| (200, vec![], "other".to_owned()));
    let access = mk_access();
    let refused = liar
        .blob(&app(), &blob, 100, &access)
        .await
        .expect_err("other bytes");
    assert!(
        matches!(refused, OciError::DigestMismatch { .. }),
        "{refused}"
    );
    let refused = liar
        .manifest(&app(), &access)
        .await
        .expect_err("no manifest");
    assert!(matches!(refused, OciError::Malformed { .. }), "{refused}");
    let by_digest = app().with_digest(&blob.digest);
    let refused = liar
        .resolve(&by_digest, &access)
        .await
        .expect_err("other bytes");
    assert!(
        matches!(refused, OciError::DigestMismatch { .. }),
        "{refused}"
    );

    let link = || {
        vec![(
            "link",
            "</v2/demo/app/tags/list?last=a>; rel=\"next\"".to_owned(),
        )]
    };
    let (endless, log) = scripted(move |_| (200, link(), r#"{"tags":["a"]}"#.to_owned()));
    let refused = endless
        .list_tags(&app(), &access)
        .await
        .expect_err("no end");
    assert!(matches!(refused, OciError::Malformed { .. }), "{refused}");
    assert!(log.lock().expect("a lock").len() <= 1000);
    let away = || vec![("link", "<http://elsewhere/x>; rel=\"next\"".to_owned())];
    let (away, _) = scripted(move |_| (200, away(), r#"{"tags":["a"]}"#.to_owned()));
    assert!(away.list_tags(&app(), &access).await.is_err());

    for (status, ok) in [
        (
            500,
            (|e| matches!(e, OciError::Unreachable { .. })) as fn(&OciError) -> bool,
        ),
        (403, |e| matches!(e, OciError::Auth { .. })),
        (429, |e| {
            *e == OciError::RateLimited {
                registry: "registry.sandbox:5000".into(),
                after: Some(Duration::from_secs(7)),
            }
        }),
        (302, |e| matches!(e, OciError::Malformed { .. })),
        (400, |e| {
            e.to_string().contains("NAME_INVALID") && !e.is_retryable()
        }),
    ] {
        let body = r#"{"errors":[{"code":"NAME_INVALID","message":"no"}]}"#;
        let (oci, _) = scripted(move |_| {
            (
                status,
                vec![("retry-after", "7".to_owned())],
                body.to_owned(),
            )
        });
        let failed = oci.list_tags(&app(), &access).await.expect_err("a failure");
        assert!(ok(&failed), "{status}: {failed:?}");
    }
}

#[tokio::test]
async fn uploads_in_pieces_and_bad_pushes() {
    let registry = Registry::new(RegistryOptions {
        bytes: 1000,
        ..RegistryOptions::default()
    });
    let ask = |method: &'static str, path: String, body: &'static str| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Body::from(body));
        registry.router().oneshot(request.expect("a request"))
    };
    let begun = ask("POST", "/v2/a/b/blobs/uploads/".into(), "")
        .await
        .expect("infallible");
    assert_eq!(begun.status(), 202);
    let at = begun.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        ask("PATCH", at.clone(), "hel")
            .await
            .expect("infallible")
            .status(),
        202
    );
    let digest = weir_artifact::sha256_of(b"hello").to_string();
    let end = format!("{at}?digest={digest}");
    assert_eq!(
        ask("PUT", end, "lo").await.expect("infallible").status(),
        201
    );
    let got = ask("GET", format!("/v2/a/b/blobs/{digest}"), "")
        .await
        .expect("infallible");
    assert_eq!(got.status(), 200);

    let wrong = format!("/v2/a/b/blobs/uploads/?digest=sha256:{}", "0".repeat(64));
    assert_eq!(
        ask("POST", wrong, "x").await.expect("infallible").status(),
        400
    );
    let missing = r#"{"config":{"digest":"sha256:none"},"layers":[]}"#;
    let put = ask("PUT", "/v2/a/b/manifests/1".into(), missing)
        .await
        .expect("infallible");
    assert_eq!(put.status(), 404);
    let put = ask("PUT", "/v2/a/b/manifests/1".into(), "{")
        .await
        .expect("infallible");
    assert_eq!(put.status(), 400);
    for path in [
        "/",
        "/v2/../x/tags/list",
        "/v2/a//b/tags/list",
        "/v2/a/b/none",
        "/v3/",
    ] {
        assert_eq!(
            ask("GET", path.into(), "")
                .await
                .expect("infallible")
                .status(),
            404,
            "{path}"
        );
    }
    assert_eq!(
        ask("GET", "/v2".into(), "")
            .await
            .expect("infallible")
            .status(),
        200
    );
}

#[tokio::test]
async fn upper_layers_take_away_from_lower_ones() {
    let layer = |files: &[&str]| {
        let files = files
            .iter()
            .map(|path| LayerFile {
                path: (*path).to_owned(),
                content: Bytes::from_static(b"x"),
                executable: false,
            })
            .collect();
        let image = ImageBuild {
            files,
            ..ImageBuild::default()
        }
        .build()
        .expect("an image");
        image.layers.into_iter().next().expect("a layer").1
    };
    let layers = vec![
        layer(&["a/one", "a/two", "b/three"]),
        layer(&["a/.wh.one", "b/.wh..wh..opq", "b/four"]),
    ];
    let dest = tempfile::tempdir().expect("a directory");
    let limits = weir_artifact::Limits::default();
    unpack_layers(layers, dest.path(), &limits)
        .await
        .expect("unpacked");
    let names = |dir: &str| {
        let mut all: Vec<String> = std::fs::read_dir(dest.path().join(dir))
            .expect("a directory")
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        (names("a"), names("b")),
        (vec!["two".to_owned()], vec!["four".to_owned()])
    );
    let bad = unpack_layers(vec![Bytes::from_static(b"no layer")], dest.path(), &limits).await;
    assert!(matches!(bad, Err(OciError::Layer(_))), "{bad:?}");
}

/// Reconcilers run on several threads.
#[test]
fn calls_can_move_between_threads() {
    fn movable<T: Send>(_: T) {}
    let (oci, _) = scripted(|_| (200, vec![], String::new()));
    let (image, access) = (app(), mk_access());
    movable(oci.list_tags(&image, &access));
    movable(oci.manifest(&image, &access));
    movable(oci.push_blob(&image, Bytes::new(), &access));
}
