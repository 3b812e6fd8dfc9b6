//! An artifact from a directory to a consumer, and everything hostile that could stand in between.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use tower::ServiceExt as _;
use weir_artifact::{
    ArtifactError, Digest, Held, Ignore, Limits, Owner, Retention, Storage, archive, extract,
    fetch_and_extract, sha256_of,
};
use weir_runtime::Clock;
use weir_runtime::http::{BodyStream, Http, HttpError, Request, Response, Transport};

struct Net(Router);

#[async_trait::async_trait]
impl Transport for Net {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let sent = http::Request::builder()
            .method(request.method)
            .uri(request.url.path())
            .body(Body::from(request.body))
            .expect("a request");
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

#[derive(Clone)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("a lock")
    }
}

impl Hands {
    fn at(second: i64) -> Self {
        Self(Arc::new(Mutex::new(
            Timestamp::from_second(second).expect("in range"),
        )))
    }

    fn forward(&self, seconds: i64) {
        let mut now = self.0.lock().expect("a lock");
        *now += jiff::SignedDuration::from_secs(seconds);
    }
}

fn mk_dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    dir
}

fn mk_storage(clock: &Hands) -> (Storage, tempfile::TempDir) {
    let root = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(clock.clone());
    let storage = Storage::new(root.path(), Retention::default(), clock).expect("a store");
    (storage, root)
}

fn packed(dir: &Path, ignore: &Ignore) -> Vec<u8> {
    let mut out = Vec::new();
    archive(dir, ignore, &mut out).expect("packed");
    out
}

fn unpacked(bytes: &[u8]) -> BTreeMap<String, (u32, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut out = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
        let path = entry.path().expect("a path").display().to_string();
        assert_eq!(entry.header().mtime().expect("a time"), 0);
        out.insert(path, (entry.header().mode().expect("a mode"), text));
    }
    out
}

/// A tar.gz with one raw header, as only a hostile packer would write it.
fn hostile(name: &[u8], kind: u8, link: &str, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[156] = kind;
    header.set_mode(0o644);
    header.set_size(size);
    if !link.is_empty() {
        header.set_link_name_literal(link).expect("a link");
    }
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().div_ceil(512) * 512 + 1024, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).expect("written");
    gzip.finish().expect("packed")
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let files = [
        ("b/x.yaml", "x"),
        ("b-1", "1"),
        ("a.yaml", "a"),
        ("run.sh", "#!"),
    ];
    let one = mk_dir(&files);
    let two = mk_dir(&files);
    for dir in [&one, &two] {
        let path = dir.path().join("run.sh");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    symlink("/etc/passwd", two.path().join("link")).expect("a link");
    let bytes = packed(one.path(), &Ignore::nothing());
    assert_eq!(bytes, packed(two.path(), &Ignore::nothing()));
    assert_eq!(
        &bytes[4..10],
        [0, 0, 0, 0, 0, 255],
        "no time and no system in the gzip header"
    );

    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let order: Vec<String> = archive
        .entries()
        .expect("entries")
        .map(|e| String::from_utf8(e.expect("an entry").path_bytes().to_vec()).expect("text"))
        .collect();
    assert_eq!(order, [".", "a.yaml", "b", "b/x.yaml", "b-1", "run.sh"]);
    let all = unpacked(&bytes);
    assert_eq!(all["b"].0, 0o750);
    assert_eq!(all["a.yaml"], (0o600, "a".to_owned()));
    assert_eq!(all["run.sh"].0, 0o700);
}

#[test]
fn long_and_foreign_names_come_through() {
    let long = format!("{}/{}.yaml", "d".repeat(120), "f".repeat(180));
    let dir = mk_dir(&[(long.as_str(), "long"), ("grüße.yaml", "hi")]);
    let bytes = packed(dir.path(), &Ignore::nothing());
    let dest = tempfile::tempdir().expect("a directory");
    extract(bytes.as_slice(), dest.path(), &Limits::default()).expect("unpacked");
    let read = |p: &str| std::fs::read_to_string(dest.path().join(p)).expect("a file");
    assert_eq!(
        (read(&long).as_str(), read("grüße.yaml").as_str()),
        ("long", "hi")
    );
}

#[test]
fn ignored_files_stay_out() {
    let dir = mk_dir(&[
        (".git/config", ""),
        ("docs/a.md", ""),
        ("docs/keep.md", ""),
        ("a.yaml", ""),
        (".sourceignore", "docs/\n!docs/keep.md\n"),
    ]);
    let ignore = Ignore::load(dir.path(), None).expect("rules");
    let names: Vec<String> = unpacked(&packed(dir.path(), &ignore)).into_keys().collect();
    assert_eq!(
        names,
        [".", ".sourceignore", "a.yaml", "docs/keep.md"].map(String::from)
    );
}

#[tokio::test]
async fn an_artifact_goes_from_a_directory_to_a_consumer() {
    let clock = Hands::at(1_700_000_000);
    let (storage, _root) = mk_storage(&clock);
    let owner = Owner::new("GitRepository", "demo", "config").expect("an owner");
    let dir = mk_dir(&[("a.yaml", "a"), ("deep/b.yaml", "b")]);
    let stored = storage
        .store_dir(&owner, "abc.tar.gz", dir.path(), Ignore::nothing())
        .await
        .expect("stored");
    assert_eq!(stored.path, "gitrepository/demo/config/abc.tar.gz");
    assert_eq!(stored.at.as_second(), 1_700_000_000);
    let bytes = std::fs::read(storage.root().join(&stored.path)).expect("a file");
    assert_eq!(
        (stored.digest.clone(), stored.size),
        (sha256_of(&bytes).to_string(), bytes.len() as u64)
    );

    let http = Http::new(Net(storage.router()));
    let url = format!("http://artifacts/{}", stored.path);
    let dest = tempfile::tempdir().expect("a directory");
    let limits = Limits::default();
    fetch_and_extract(&http, &url, &stored.digest, dest.path(), &limits)
        .await
        .expect("fetched");
    let read = std::fs::read_to_string(dest.path().join("deep/b.yaml")).expect("a file");
    assert_eq!(read, "b");

    let wrong = sha256_of(b"other").to_string();
    let empty = tempfile::tempdir().expect("a directory");
    let refused = fetch_and_extract(&http, &url, &wrong, empty.path(), &limits).await;
    assert!(
        matches!(refused, Err(ArtifactError::DigestMismatch { .. })),
        "{refused:?}"
    );
    assert_eq!(
        std::fs::read_dir(empty.path())
            .expect("a directory")
            .count(),
        0
    );
    let gone = fetch_and_extract(
        &http,
        "http://artifacts/gitrepository/demo/config/x.tar.gz",
        &wrong,
        empty.path(),
        &limits,
    )
    .await;
    assert!(
        matches!(gone, Err(ArtifactError::NotFound { .. })),
        "{gone:?}"
    );
    let small = Limits {
        download: 10,
        ..Limits::default()
    };
    let large = fetch_and_extract(&http, &url, &stored.digest, empty.path(), &small).await;
    assert!(
        matches!(large, Err(ArtifactError::TooLarge { .. })),
        "{large:?}"
    );
    for bad in ["", "md5:00", "sha256:zz"] {
        let refused = fetch_and_extract(&http, &url, bad, empty.path(), &limits).await;
        assert!(
            matches!(refused, Err(ArtifactError::BadDigest(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_server_serves_files_and_nothing_else() {
    let clock = Hands::at(1_700_000_000);
    let (storage, _root) = mk_storage(&clock);
    let owner = Owner::new("GitRepository", "demo", "config").expect("an owner");
    let dir = mk_dir(&[("a.yaml", "a")]);
    storage
        .store_dir(&owner, "abc.tar.gz", dir.path(), Ignore::nothing())
        .await
        .expect("stored");
    let home = storage.root().join("gitrepository/demo/config");
    symlink("/etc/passwd", home.join("link")).expect("a link");
    std::fs::write(home.join(".hidden"), "x").expect("a file");
    std::fs::write(storage.root().join("../outside"), "x").expect("a file");

    let ask = |method: &'static str, path: &'static str| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty());
        storage.router().oneshot(request.expect("a request"))
    };
    let found = ask("GET", "/gitrepository/demo/config/abc.tar.gz")
        .await
        .expect("infallible");
    assert_eq!(found.status(), 200);
    assert_eq!(
        found.headers()["last-modified"],
        "Tue, 14 Nov 2023 22:13:20 GMT"
    );
    assert_eq!(found.headers()["content-type"], "application/gzip");
    let head = ask("HEAD", "/gitrepository/demo/config/abc.tar.gz")
        .await
        .expect("infallible");
    assert_eq!(
        head.headers()["content-length"],
        found.headers()["content-length"]
    );
    assert_eq!(ask("GET", "/").await.expect("infallible").status(), 200);
    for path in [
        "/gitrepository/demo/config/link",
        "/gitrepository/demo/config/.hidden",
        "/gitrepository/demo/config",
        "/gitrepository/demo/config/none",
        "/../outside",
        "/%2e%2e/outside",
        "/a//b",
    ] {
        assert_eq!(
            ask("GET", path).await.expect("infallible").status(),
            404,
            "{path}"
        );
    }
    assert_eq!(
        ask("POST", "/gitrepository/demo/config/abc.tar.gz")
            .await
            .expect("ok")
            .status(),
        405
    );
    std::fs::remove_file(storage.root().join("../outside")).expect("removed");
}

#[tokio::test]
async fn what_is_stored_is_proved_and_swept() {
    let clock = Hands::at(1_700_000_000);
    let (storage, _root) = mk_storage(&clock);
    let owner = Owner::new("GitRepository", "demo", "config").expect("an owner");
    let dir = mk_dir(&[("a.yaml", "a")]);
    let mut stored = Vec::new();
    for i in 0..4 {
        let file = format!("{i}.tar.gz");
        stored.push(
            storage
                .store_dir(&owner, &file, dir.path(), Ignore::nothing())
                .await
                .expect("stored"),
        );
        clock.forward(10);
    }
    // The current one stays whatever its age; of the others the newest stay.
    let removed = storage
        .sweep(&owner, Some(&stored[0].path))
        .await
        .expect("swept");
    assert_eq!(removed, [stored[1].path.clone()]);
    clock.forward(3600);
    let removed = storage
        .sweep(&owner, Some(&stored[0].path))
        .await
        .expect("swept");
    assert_eq!(removed, [stored[3].path.clone(), stored[2].path.clone()]);

    let (path, digest) = (&stored[0].path, &stored[0].digest);
    assert_eq!(storage.verify(path, digest).await, Ok(Held::Intact));
    std::fs::write(storage.root().join(path), "rotten").expect("written");
    let rotten = Held::Damaged {
        found: sha256_of(b"rotten").to_string(),
    };
    assert_eq!(storage.verify(path, digest).await, Ok(rotten));
    assert_eq!(storage.verify(path, digest).await, Ok(Held::Missing));
    assert!(storage.verify("../../etc/passwd", digest).await.is_err());
    assert_eq!(storage.remove_all(&owner).await, Ok(0));
    assert_eq!(storage.remove_all(&owner).await, Ok(0));
    assert!(Owner::new("GitRepository", "..", "x").is_err());
    assert!(Owner::new("GitRepository", "a/b", "x").is_err());
}

#[test]
fn hostile_archives_are_refused() {
    let limits = Limits {
        bytes: 1000,
        entries: 3,
        path: 100,
        ..Limits::default()
    };
    let outside = tempfile::tempdir().expect("a directory");
    let dest = outside.path().join("dest");
    std::fs::create_dir(&dest).expect("a directory");
    let run = |bytes: &[u8]| extract(bytes, &dest, &limits);
    for (name, what) in [
        ("../x", "`..`"),
        ("/etc/x", "absolute"),
        ("a/../../x", "`..`"),
        ("a\\..\\x", "backslash"),
        ("", "empty"),
    ] {
        let refused = run(&hostile(name.as_bytes(), b'0', "", 1, b"x")).expect_err("refused");
        assert!(
            matches!(
                refused,
                ArtifactError::BadEntry { .. } | ArtifactError::Damaged(_)
            ),
            "{name}: {refused}"
        );
        assert!(
            name.is_empty() || refused.to_string().contains(what),
            "{name}: {refused}"
        );
    }
    for kind in [b'3', b'4', b'6', b'Z'] {
        let refused = run(&hostile(b"dev", kind, "", 0, b"")).expect_err("refused");
        assert!(
            matches!(refused, ArtifactError::BadEntry { .. }),
            "{refused}"
        );
    }
    for kind in [b'1', b'2'] {
        run(&hostile(b"link", kind, "/etc/passwd", 0, b"")).expect("links are left out");
    }
    let large = run(&hostile(b"large", b'0', "", 5000, &[0; 5000])).expect_err("refused");
    assert!(matches!(large, ArtifactError::TooLarge { .. }), "{large}");
    let lies = extract(
        hostile(b"lies", b'0', "", 5000, b"short").as_slice(),
        &dest,
        &Limits::default(),
    )
    .expect_err("refused");
    assert!(
        matches!(
            lies,
            ArtifactError::Damaged(_) | ArtifactError::TooLarge { .. }
        ),
        "{lies}"
    );
    let many = mk_dir(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]);
    let many = run(&packed(many.path(), &Ignore::nothing())).expect_err("refused");
    assert!(matches!(many, ArtifactError::TooLarge { .. }), "{many}");
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![0xff; 1 << 20]).expect("written");
    assert!(run(&bomb.finish().expect("packed")).is_err());
    assert!(run(b"no gzip at all").is_err());
    let left: Vec<_> = std::fs::read_dir(outside.path())
        .expect("a directory")
        .collect();
    assert_eq!(left.len(), 1, "nothing was written beside the destination");
    assert!(!dest.join("link").exists());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// What is packed comes out again, and a damaged archive is a failure and no more.
    #[test]
    fn packing_and_unpacking_are_inverse(
        files in proptest::collection::btree_map("[a-c]{1,3}(/[d-f]{1,3}){0,2}\\.y", ".{0,40}", 0..6),
        cut in 0_usize..400,
    ) {
        let list: Vec<(&str, &str)> = files.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let dir = mk_dir(&list);
        let bytes = packed(dir.path(), &Ignore::nothing());
        let dest = tempfile::tempdir().expect("a directory");
        extract(bytes.as_slice(), dest.path(), &Limits::default()).expect("unpacked");
        for (path, text) in &files {
            let read = std::fs::read_to_string(dest.path().join(path)).expect("a file");
            proptest::prop_assert_eq!(&read, text);
        }
        proptest::prop_assert_eq!(packed(dest.path(), &Ignore::nothing()), bytes.clone());
        let dest = tempfile::tempdir().expect("a directory");
        if cut < bytes.len() {
            let _ = extract(&bytes[..cut], dest.path(), &Limits::default());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_not_waited_for_forever() {
    struct Silent;
    #[async_trait::async_trait]
    impl Transport for Silent {
        async fn send(&self, _: Request) -> Result<Response, HttpError> {
            let body = BodyStream::new(
                futures::stream::iter([Ok(Bytes::from_static(b"x"))])
                    .chain(futures::stream::pending()),
            );
            Ok(Response {
                status: http::StatusCode::OK,
                headers: http::HeaderMap::new(),
                body,
            })
        }
    }
    let digest = Digest::parse(&"0".repeat(64))
        .expect("a digest")
        .to_string();
    let limits = Limits {
        timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    let dest = tempfile::tempdir().expect("a directory");
    let silent = fetch_and_extract(
        &Http::new(Silent),
        "http://a/b",
        &digest,
        dest.path(),
        &limits,
    )
    .await;
    assert!(
        matches!(silent, Err(ArtifactError::Http(HttpError::Timeout { .. }))),
        "{silent:?}"
    );
}
