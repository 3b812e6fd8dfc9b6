//! Git against a real smart-HTTP server in memory: fetch, commit, push, and everything that can go
//! wrong on the way. The sandbox's server is compiled in by path, so that this room does not depend
//! on a floor above it.

#[path = "../../sandbox/src/gitserver/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a module of another crate, used in part"
)]
mod gitserver;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use gitserver::{GitServer, GitServerOptions};
use tower::ServiceExt as _;
use weir_git::{
    Change, Credentials, Expected, Git, GitError, Limits, NewCommit, Push, Reference, Remote,
};
use weir_runtime::Secret;
use weir_runtime::http::{BodyStream, Http, HttpError, Request, Response, Transport};

/// Sends every request to one router.
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

/// Cuts every response body after so many bytes.
struct Cut(Net, usize);

#[async_trait::async_trait]
impl Transport for Cut {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let mut response = self.0.send(request).await?;
        let bytes = response.body.fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk.expect("a chunk"));
            all
        });
        let mut bytes = bytes.await;
        bytes.truncate(self.1);
        response.body = BodyStream::full(Bytes::from(bytes));
        Ok(response)
    }
}

/// Never answers.
struct Silent;

#[async_trait::async_trait]
impl Transport for Silent {
    async fn send(&self, _: Request) -> Result<Response, HttpError> {
        std::future::pending().await
    }
}

/// Answers everything the same way.
struct Fixed(u16, &'static str, &'static [u8]);

#[async_trait::async_trait]
impl Transport for Fixed {
    async fn send(&self, _: Request) -> Result<Response, HttpError> {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", self.1.parse().expect("a header"));
        let status = http::StatusCode::from_u16(self.0).expect("a status");
        Ok(Response::full(status, headers, Bytes::from_static(self.2)))
    }
}

struct World {
    server: GitServer,
    git: Git,
    remote: Remote,
    _dir: tempfile::TempDir,
}

fn mk_world(options: GitServerOptions) -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let server = GitServer::new(dir.path(), options);
    server.create("config.git").expect("a repository");
    let git = Git::new(Http::new(Net(server.router())));
    let remote = Remote::new("http://git.sandbox:3000/config.git").expect("a remote");
    World {
        server,
        git,
        remote,
        _dir: dir,
    }
}

impl World {
    fn repo(&self) -> git2::Repository {
        let path = self.server.create("config.git").expect("a path");
        git2::Repository::open_bare(path).expect("a repository")
    }

    /// Commits files straight into the bare repository.
    fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        let repo = self.repo();
        let reference = format!("refs/heads/{branch}");
        let parent = repo
            .refname_to_id(&reference)
            .ok()
            .map(|oid| repo.find_commit(oid).expect("a commit"));
        let empty = repo
            .treebuilder(None)
            .and_then(|b| b.write())
            .expect("a tree");
        let base = parent
            .as_ref()
            .map_or_else(|| repo.find_tree(empty), git2::Commit::tree)
            .expect("a tree");
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, text) in files {
            let blob = repo.blob(text.as_bytes()).expect("a blob");
            update.upsert(*path, blob, git2::FileMode::Blob);
        }
        let tree = update.create_updated(&repo, &base).expect("a tree");
        let tree = repo.find_tree(tree).expect("a tree");
        let when = git2::Time::new(1_700_000_000, 0);
        let who = git2::Signature::new("Ann", "ann@example.com", &when).expect("a name");
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let oid = repo.commit(Some(&reference), &who, &who, message, &tree, &parents);
        oid.expect("a commit").to_string()
    }
}

fn branch(name: &str) -> Reference {
    Reference::Branch(name.to_owned())
}

fn change(path: &str, text: &str) -> Change {
    Change {
        path: path.to_owned(),
        content: Some(text.as_bytes().to_vec()),
    }
}

fn mk_new(message: &str) -> NewCommit {
    NewCommit {
        author_name: "Weir".to_owned(),
        author_email: "weir@example.com".to_owned(),
        message: message.to_owned(),
        seconds: 1_700_000_100,
    }
}

fn mk_push(commit: &str, expected: Expected) -> Push {
    Push {
        commit: commit.to_owned(),
        reference: "refs/heads/main".to_owned(),
        expected,
        force: false,
    }
}

fn read(dir: &Path, path: &str) -> String {
    std::fs::read_to_string(dir.join(path)).expect("a file")
}

#[tokio::test]
async fn a_branch_is_fetched_without_its_history() {
    let world = mk_world(GitServerOptions::default());
    world.commit("main", &[("a.yaml", "one"), ("deep/b.yaml", "b")], "first");
    let tip = world.commit("main", &[("a.yaml", "two")], "second\n\nbody");

    let head = world
        .git
        .head(&world.remote, &branch("main"))
        .await
        .expect("a head");
    assert_eq!(head.revision, format!("main@sha1:{tip}"));
    let checkout = world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect("a checkout");
    assert_eq!(checkout.revision(), head.revision);
    assert_eq!(
        (
            checkout.info().subject(),
            checkout.info().author_name.as_str()
        ),
        ("second", "Ann")
    );
    assert_eq!(read(checkout.dir(), "a.yaml"), "two");
    assert_eq!(read(checkout.dir(), "deep/b.yaml"), "b");
    let store =
        git2::Repository::open_bare(checkout.dir().with_file_name("store.git")).expect("the store");
    assert!(store.is_shallow());
    let dir = checkout.dir().to_owned();
    drop(checkout);
    assert!(!dir.exists(), "a checkout is removed with its value");
}

#[tokio::test]
async fn tags_names_and_commits_are_found() {
    let world = mk_world(GitServerOptions::default());
    let first = world.commit("main", &[("a", "1")], "first");
    let second = world.commit("main", &[("a", "2")], "second");
    world.commit("main", &[("a", "3")], "third");
    let repo = world.repo();
    let object = repo.revparse_single(&first).expect("an object");
    let who = git2::Signature::new("Ann", "a@b", &git2::Time::new(1, 0)).expect("a name");
    repo.tag("v1", &object, &who, "annotated", false)
        .expect("a tag");
    repo.tag_lightweight("v0", &object, false).expect("a tag");
    repo.reference("refs/pull/7/head", object.id(), false, "")
        .expect("a reference");

    let commit = |oid: &str, on: Option<&str>| Reference::Commit {
        oid: oid.to_owned(),
        branch: on.map(str::to_owned),
    };
    for (reference, revision) in [
        (Reference::Tag("v1".into()), format!("v1@sha1:{first}")),
        (Reference::Tag("v0".into()), format!("v0@sha1:{first}")),
        (
            Reference::Name("refs/tags/v1".into()),
            format!("refs/tags/v1@sha1:{first}"),
        ),
        (
            Reference::Name("refs/pull/7/head".into()),
            format!("refs/pull/7/head@sha1:{first}"),
        ),
        (commit(&first, None), format!("sha1:{first}")),
        (commit(&second, Some("main")), format!("main@sha1:{second}")),
    ] {
        let checkout = world
            .git
            .checkout(&world.remote, &reference)
            .await
            .expect("a checkout");
        assert_eq!(checkout.revision(), revision);
        let wanted = if revision.contains(&first) { "1" } else { "2" };
        assert_eq!(read(checkout.dir(), "a"), wanted);
        let head = world
            .git
            .head(&world.remote, &reference)
            .await
            .expect("a head");
        assert_eq!(head.revision, revision);
    }
    let unknown = commit("00000000000000000000000000000000000000aa", None);
    let lost = world
        .git
        .checkout(&world.remote, &unknown)
        .await
        .expect_err("no such commit");
    assert!(!matches!(lost, GitError::Local { .. }), "{lost}");
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let world = mk_world(GitServerOptions::default());
    let url = world.remote.shown();
    let empty = world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect_err("empty");
    assert_eq!(empty, GitError::Empty { url: url.clone() });
    world.commit("main", &[("a", "1")], "first");
    let lost = world
        .git
        .checkout(&world.remote, &branch("mian"))
        .await
        .expect_err("no branch");
    assert_eq!(
        lost,
        GitError::ReferenceNotFound {
            what: "branch `mian`".into(),
            url
        }
    );
    let other = Remote::new("http://git.sandbox:3000/other.git").expect("a remote");
    let lost = world.git.list(&other).await.expect_err("no repository");
    assert_eq!(lost, GitError::RepositoryNotFound { url: other.shown() });
    let bad = world
        .git
        .head(&world.remote, &branch("a..b"))
        .await
        .expect_err("a bad name");
    assert!(matches!(bad, GitError::BadReference { .. }) && !bad.is_retryable());
}

#[tokio::test]
async fn credentials_let_in_and_are_never_shown() {
    let credentials = Some(("ann".to_owned(), Secret::new("hush")));
    let world = mk_world(GitServerOptions {
        credentials,
        ..GitServerOptions::default()
    });
    world.commit("main", &[("a", "1")], "first");
    let with = |password: &str| {
        world.remote.clone().credentials(Credentials::Basic {
            username: "ann".into(),
            password: Secret::new(password),
        })
    };
    assert_eq!(
        world
            .git
            .list(&with("hush"))
            .await
            .expect("references")
            .len(),
        2
    );
    let in_url = Remote::new("http://ann:hush@git.sandbox:3000/config.git").expect("a remote");
    assert_eq!(world.git.list(&in_url).await.expect("references").len(), 2);
    for remote in [
        world.remote.clone(),
        with("wr0ng"),
        world
            .remote
            .clone()
            .credentials(Credentials::Bearer(Secret::new("t0ken"))),
    ] {
        let refused = world
            .git
            .checkout(&remote, &branch("main"))
            .await
            .expect_err("refused");
        assert!(
            matches!(refused, GitError::Auth { status: 401, .. }),
            "{refused}"
        );
        let text = format!("{refused} {refused:?} {remote:?}");
        assert!(!text.contains("wr0ng") && !text.contains("t0ken"), "{text}");
    }
}

#[tokio::test]
async fn a_commit_is_pushed_and_others_are_told() {
    let world = mk_world(GitServerOptions::default());
    let old = world.commit("main", &[("a", "1"), ("dir/b", "b")], "first");
    let mut pushes = world.server.pushes();
    let mut checkout = world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect("a checkout");
    let same = checkout
        .commit(vec![change("a", "1")], mk_new("nothing"))
        .await;
    assert_eq!(same, Ok(None));
    let changes = vec![
        change("a", "2"),
        change("new/c", "c"),
        Change {
            path: "dir/b".into(),
            content: None,
        },
    ];
    let new = checkout
        .commit(changes, mk_new("second"))
        .await
        .expect("made")
        .expect("differs");
    assert_eq!(checkout.revision(), format!("main@sha1:{new}"));
    assert_eq!(read(checkout.dir(), "new/c"), "c");
    assert!(!checkout.dir().join("dir/b").exists());

    let push = mk_push(&new, Expected::At(old.clone()));
    world
        .git
        .push(&world.remote, &checkout, push.clone())
        .await
        .expect("pushed");
    // The same push again finds its work done.
    world
        .git
        .push(&world.remote, &checkout, push)
        .await
        .expect("pushed");
    let seen = pushes.recv().await.expect("an event");
    assert_eq!(
        (seen.repository.as_str(), seen.reference.as_str()),
        ("config.git", "refs/heads/main")
    );
    assert_eq!((seen.old, seen.new.clone()), (old, new.clone()));
    let after = world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect("a checkout");
    assert_eq!(
        (after.oid(), after.info().message.as_str()),
        (new.as_str(), "second")
    );
    assert_eq!(read(after.dir(), "a"), "2");
    world
        .repo()
        .find_commit(git2::Oid::from_str(&new).expect("an id"))
        .expect("its parents too");
}

#[tokio::test]
async fn a_commit_on_a_shallow_checkout_of_a_long_history_is_pushed() {
    let world = mk_world(GitServerOptions::default());
    for number in 0..5 {
        world.commit("main", &[("a", &number.to_string())], "history");
    }
    for reference in ["refs/heads/main", "refs/heads/new"] {
        for number in 0..3 {
            let mut mine = world
                .git
                .checkout(&world.remote, &branch("main"))
                .await
                .expect("a checkout");
            let old = mine.oid().to_owned();
            let content = format!("{reference} {number}");
            let new = mine
                .commit(vec![change("a", &content)], mk_new("mine"))
                .await
                .expect("made")
                .expect("differs");
            let (expected, force) = match reference {
                "refs/heads/main" => (Expected::At(old), false),
                _ => (Expected::Any, true),
            };
            let push = Push {
                reference: reference.to_owned(),
                force,
                ..mk_push(&new, expected)
            };
            world
                .git
                .push(&world.remote, &mine, push)
                .await
                .expect("pushed");
        }
    }
}

#[tokio::test]
async fn a_push_compares_the_reference_it_replaces() {
    let world = mk_world(GitServerOptions::default());
    let old = world.commit("main", &[("a", "1")], "first");
    let mut mine = world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect("a checkout");
    let new = mine
        .commit(vec![change("a", "2")], mk_new("mine"))
        .await
        .expect("made");
    let new = new.expect("differs");
    let theirs = world.commit("main", &[("a", "3")], "theirs");

    for (expected, force) in [
        (Expected::At(old.clone()), false),
        (Expected::At(old.clone()), true),
        (Expected::Absent, true),
        (Expected::Any, false),
    ] {
        let push = Push {
            force,
            ..mk_push(&new, expected.clone())
        };
        let rejected = world
            .git
            .push(&world.remote, &mine, push)
            .await
            .expect_err("it moved");
        assert!(
            matches!(rejected, GitError::Rejected { .. }),
            "{expected:?}: {rejected}"
        );
        assert!(rejected.is_retryable());
    }
    assert_eq!(
        world
            .git
            .head(&world.remote, &branch("main"))
            .await
            .expect("a head")
            .oid,
        theirs
    );
    // Said to be meant so, it may be replaced.
    let push = Push {
        force: true,
        ..mk_push(&new, Expected::At(theirs))
    };
    world
        .git
        .push(&world.remote, &mine, push)
        .await
        .expect("pushed");
    // And a new branch may be made, once.
    let push = Push {
        reference: "refs/heads/next".into(),
        ..mk_push(&new, Expected::Absent)
    };
    world
        .git
        .push(&world.remote, &mine, push)
        .await
        .expect("pushed");
    let push = Push {
        reference: "refs/heads/next".into(),
        ..mk_push(&old, Expected::Absent)
    };
    assert!(world.git.push(&world.remote, &mine, push).await.is_err());
}

#[tokio::test]
async fn paths_that_leave_the_tree_are_refused() {
    let world = mk_world(GitServerOptions::default());
    world.commit("main", &[("dir/b", "b")], "first");
    let repo = world.repo();
    let link = repo.blob(b"/etc").expect("a blob");
    let tip = repo
        .revparse_single("refs/heads/main")
        .expect("a tip")
        .peel_to_commit();
    let tip = tip.expect("a commit");
    let mut update = git2::build::TreeUpdateBuilder::new();
    update.upsert("link", link, git2::FileMode::Link);
    let tree = update
        .create_updated(&repo, &tip.tree().expect("a tree"))
        .expect("a tree");
    let tree = repo.find_tree(tree).expect("a tree");
    let author = tip.author();
    repo.commit(
        Some("refs/heads/main"),
        &author,
        &author,
        "link",
        &tree,
        &[&tip],
    )
    .expect("a commit");

    let mut checkout = world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect("a checkout");
    assert!(
        checkout.dir().join("link").symlink_metadata().is_err(),
        "links are not made"
    );
    for path in [
        "../x",
        "/x",
        "a//b",
        "",
        ".git/config",
        "link/x",
        "link",
        "dir",
        "dir/b/c",
        "a/.",
    ] {
        let refused = checkout
            .commit(vec![change(path, "x")], mk_new("bad"))
            .await;
        assert!(
            matches!(refused, Err(GitError::BadPath { .. })),
            "{path}: {refused:?}"
        );
    }
    let made = checkout
        .commit(vec![change("x", "x")], mk_new("good"))
        .await
        .expect("made");
    let store = git2::Repository::open_bare(checkout.dir().with_file_name("store.git"));
    let store = store.expect("the store");
    let kept = store.revparse_single(&format!("{}:link", made.expect("differs")));
    assert_eq!(kept.expect("the link is carried over").id(), link);

    // A tree as only a hostile client would write it.
    let odb = repo.odb().expect("objects");
    let blob = repo.blob(b"x").expect("a blob");
    let raw = [b"100644 ..\0".as_slice(), blob.as_bytes()].concat();
    let evil = odb.write(git2::ObjectType::Tree, &raw).expect("a tree");
    let text = format!("tree {evil}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nevil\n");
    let evil = odb
        .write(git2::ObjectType::Commit, text.as_bytes())
        .expect("a commit");
    repo.reference("refs/heads/evil", evil, true, "")
        .expect("a branch");
    let refused = world
        .git
        .checkout(&world.remote, &branch("evil"))
        .await
        .expect_err("refused");
    assert!(
        matches!(refused, GitError::BadPath { .. } | GitError::Broken { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn too_much_is_refused() {
    let world = mk_world(GitServerOptions::default());
    let noise = (0..20_000_u32).fold(String::new(), |all, i| {
        all + &i.wrapping_mul(2_654_435_761).to_string()
    });
    world.commit("main", &[("a", &noise), ("b", "b"), ("c", "c")], "first");
    for (limits, word) in [
        (
            Limits {
                pack_bytes: 1000,
                ..Limits::default()
            },
            "bytes",
        ),
        (
            Limits {
                tree_bytes: 1000,
                ..Limits::default()
            },
            "size of all files",
        ),
        (
            Limits {
                entries: 2,
                ..Limits::default()
            },
            "number of files",
        ),
        (
            Limits {
                listing_bytes: 10,
                ..Limits::default()
            },
            "bytes",
        ),
    ] {
        let git = Git::with_limits(Http::new(Net(world.server.router())), limits);
        let refused = git
            .checkout(&world.remote, &branch("main"))
            .await
            .expect_err("too much");
        assert!(matches!(refused, GitError::TooLarge { .. }), "{refused:?}");
        assert!(
            refused.to_string().contains(word) && !refused.is_retryable(),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn responses_cut_short_are_a_failure_and_no_more() {
    let world = mk_world(GitServerOptions::default());
    world.commit("main", &[("a", "1"), ("b", "2")], "first");
    // Cut inside the list of references, inside the acknowledgement, inside the pack.
    for length in [0, 3, 4, 20, 60, 120, 250, 300] {
        let git = Git::new(Http::new(Cut(Net(world.server.router()), length)));
        let failed = git
            .checkout(&world.remote, &branch("main"))
            .await
            .expect_err("cut");
        assert!(failed.is_retryable(), "{length}: {failed:?}");
    }
    for (fixed, ok) in [
        (
            Fixed(200, "text/html", b"<html>"),
            (|e| matches!(e, GitError::NotGit { .. })) as fn(&GitError) -> bool,
        ),
        (Fixed(302, "text/html", b""), |e| {
            matches!(e, GitError::NotGit { .. })
        }),
        (Fixed(503, "text/html", b""), |e| {
            matches!(e, GitError::Unreachable { .. })
        }),
        (Fixed(403, "text/html", b""), |e| {
            matches!(e, GitError::Auth { status: 403, .. })
        }),
        (Fixed(404, "text/html", b""), |e| {
            matches!(e, GitError::RepositoryNotFound { .. })
        }),
        (
            Fixed(200, "application/x-git-upload-pack-advertisement", b"00zz"),
            GitError::is_retryable,
        ),
        (
            Fixed(
                200,
                "application/x-git-upload-pack-advertisement",
                b"ffffPACK",
            ),
            GitError::is_retryable,
        ),
    ] {
        let git = Git::new(Http::new(fixed));
        let failed = git
            .checkout(&world.remote, &branch("main"))
            .await
            .expect_err("nonsense");
        assert!(ok(&failed), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_in_virtual_time() {
    let git = Git::new(Http::new(Silent));
    let remote = Remote::new("http://a/b")
        .expect("a remote")
        .timeout(Duration::from_mins(1));
    let before = tokio::time::Instant::now();
    let failed = git
        .checkout(&remote, &branch("main"))
        .await
        .expect_err("silence");
    assert_eq!(
        failed,
        GitError::Timeout {
            url: "http://a/b".into(),
            timeout: Duration::from_mins(1)
        }
    );
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn work_takes_no_virtual_time() {
    let world = mk_world(GitServerOptions::default());
    world.commit("main", &[("a", "1")], "first");
    let waiting = tokio::spawn(tokio::time::sleep(Duration::from_secs(5)));
    let before = tokio::time::Instant::now();
    world
        .git
        .checkout(&world.remote, &branch("main"))
        .await
        .expect("a checkout");
    assert_eq!(before.elapsed(), Duration::ZERO);
    waiting.abort();
}

#[tokio::test]
async fn redirects_are_followed_without_taking_credentials_elsewhere() {
    let world = mk_world(GitServerOptions::default());
    world.commit("main", &[("a", "1")], "first");
    let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    struct Moved(Net, Arc<std::sync::Mutex<Vec<String>>>);
    #[async_trait::async_trait]
    impl Transport for Moved {
        async fn send(&self, request: Request) -> Result<Response, HttpError> {
            let auth = if request.headers.contains_key("authorization") {
                " auth"
            } else {
                ""
            };
            let line = format!(
                "{}{}{auth}",
                request.url.host_str().unwrap_or(""),
                request.url.path()
            );
            self.1.lock().expect("a lock").push(line);
            if request.url.host_str() == Some("old") {
                let mut headers = http::HeaderMap::new();
                let to = "http://new/config.git/info/refs?service=git-upload-pack";
                headers.insert("location", to.parse().expect("a header"));
                return Ok(Response::full(
                    http::StatusCode::MOVED_PERMANENTLY,
                    headers,
                    "",
                ));
            }
            self.0.send(request).await
        }
    }
    let git = Git::new(Http::new(Moved(Net(world.server.router()), seen.clone())));
    let remote = Remote::new("http://u:p@old/gone.git").expect("a remote");
    git.checkout(&remote, &branch("main"))
        .await
        .expect("a checkout");
    let seen = seen.lock().expect("a lock").clone();
    assert_eq!(seen[0], "old/gone.git/info/refs auth");
    assert_eq!(seen[1], "new/config.git/info/refs");
    assert!(
        seen[2..]
            .iter()
            .all(|line| line == "new/config.git/git-upload-pack"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_git_program_works_with_the_server() {
    let run = |dir: &Path, args: &[&str]| {
        let out = std::process::Command::new("git")
            .args([
                "-c",
                "user.name=A",
                "-c",
                "user.email=a@b",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(args)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", dir)
            .current_dir(dir)
            .output()
            .expect("git runs");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        (
            out.status.success(),
            format!("{}{text}", String::from_utf8_lossy(&out.stdout)),
        )
    };
    if std::process::Command::new("git")
        .arg("--version")
        .output()
        .is_err()
    {
        return;
    }
    let world = mk_world(GitServerOptions {
        create_on_push: true,
        ..GitServerOptions::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(axum::serve(listener, world.server.router()).into_future());
    let url = format!("http://{address}/team/app.git");
    let story = tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir().expect("a directory");
        let good = |at: &str, args: &[&str]| {
            let (ok, text) = run(&dir.path().join(at), args);
            assert!(ok, "git {args:?}: {text}");
            text
        };
        good("", &["init", "one"]);
        let write = |path: &str, text: &str| {
            std::fs::write(dir.path().join(path), text).expect("written");
        };
        for i in 0..30 {
            write("one/a", &format!("{i}"));
            good("one", &["add", "."]);
            good("one", &["commit", "-m", &format!("commit {i}")]);
        }
        good("one", &["tag", "-a", "v1", "-m", "tag"]);
        good("one", &["push", &url, "main", "v1"]);
        good("", &["clone", &url, "two"]);
        assert_eq!(good("two", &["rev-list", "--count", "HEAD"]).trim(), "30");
        assert_eq!(good("two", &["describe"]).trim(), "v1");
        good("", &["clone", "--depth", "2", &url, "three"]);
        assert_eq!(good("three", &["rev-list", "--count", "HEAD"]).trim(), "2");
        good("three", &["fetch", "--depth", "5"]);
        assert_eq!(good("three", &["rev-list", "--count", "HEAD"]).trim(), "5");
        write("three/a", "three");
        good("three", &["commit", "-am", "from shallow"]);
        good("three", &["push"]);
        good("two", &["pull", "--ff-only"]);
        assert_eq!(good("two", &["rev-list", "--count", "HEAD"]).trim(), "31");
        good("three", &["fetch", "--unshallow"]);
        assert_eq!(good("three", &["rev-list", "--count", "HEAD"]).trim(), "31");
        // A push from behind is refused, by the client or by the comparison.
        write("one/a", "one");
        good("one", &["commit", "-am", "behind"]);
        assert!(!run(&dir.path().join("one"), &["push", &url, "main"]).0);
        // A large push goes in pieces, after a probe.
        let noise: Vec<u8> = (0..3_000_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        std::fs::write(dir.path().join("two/big"), noise).expect("written");
        good("two", &["add", "."]);
        good("two", &["commit", "-m", "big"]);
        good("two", &["push"]);
        good("two", &["push", "origin", "HEAD:refs/heads/other"]);
        good("two", &["push", "origin", "--delete", "other"]);
        good("two", &["fsck", "--strict"]);
        assert!(!run(dir.path(), &["clone", "http://127.0.0.1:1/none.git", "x"]).0);
    });
    story.await.expect("the story");
    serving.abort();
}

/// Reconcilers run on several threads.
#[test]
fn operations_can_move_between_threads() {
    fn movable<T: Send>(_: T) {}
    let git = Git::new(Http::new(Silent));
    let remote = Remote::new("http://a/b").expect("a remote");
    movable(git.list(&remote));
    movable(git.checkout(&remote, &branch("main")));
}
