//! Owns what is asked of libgit2 against a remote: list, fetch, push. Runs on an operation's own
//! thread; the remote's URL here is for messages only.

use git2::{
    AutotagOption, Direction, FetchOptions, Oid, PushOptions, RemoteCallbacks, Repository,
    RepositoryInitOptions,
};

use crate::checkout::{self, Store};
use crate::exchange::Stop;
use crate::transport::URL;
use crate::{Checkout, GitError, Limits, Reference};

/// A reference that a remote lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// The full name, such as `refs/heads/main`.
    pub name: String,
    /// The object it points to.
    pub oid: String,
    /// For an annotated tag, the commit the tag points to.
    pub peeled: Option<String>,
}

impl RemoteRef {
    /// The commit that it leads to.
    pub fn commit(&self) -> &str {
        self.peeled.as_deref().unwrap_or(&self.oid)
    }
}

/// Where a remote reference must be for a push to move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// At this commit.
    At(String),
    /// Nowhere: the push creates it.
    Absent,
    /// Anywhere. The server still compares with what it listed in the same connection.
    Any,
}

/// A push of one commit to one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The remote's full name, such as `refs/heads/main`.
    pub reference: String,
    /// Where it must be now.
    pub expected: Expected,
    /// Whether it may move to a commit that does not follow from the one it is at.
    pub force: bool,
}

/// Where the fetched commit is kept in the local store.
const FETCHED: &str = "refs/weir/fetched";

pub(crate) fn list(url: &str) -> Result<Vec<RemoteRef>, GitError> {
    let said = |e: git2::Error| GitError::of_libgit2(&e, "listing references", url);
    let mut remote = git2::Remote::create_detached(URL).map_err(said)?;
    let connection = remote
        .connect_auth(Direction::Fetch, None, None)
        .map_err(said)?;
    Ok(listed(connection.list().map_err(said)?))
}

fn listed(heads: &[git2::RemoteHead<'_>]) -> Vec<RemoteRef> {
    let mut out: Vec<RemoteRef> = Vec::with_capacity(heads.len());
    for head in heads {
        match (head.name().strip_suffix("^{}"), out.last_mut()) {
            (Some(name), Some(last)) if last.name == name => {
                last.peeled = Some(head.oid().to_string());
            }
            _ => out.push(RemoteRef {
                name: head.name().to_owned(),
                oid: head.oid().to_string(),
                peeled: None,
            }),
        }
    }
    out
}

pub(crate) fn checkout(
    url: &str,
    reference: &Reference,
    limits: &Limits,
    stop: &Stop,
) -> Result<Checkout, GitError> {
    let store = Store::create()?;
    let said = |e: git2::Error| GitError::of_libgit2(&e, "fetching", url);
    let mut options = RepositoryInitOptions::new();
    options
        .bare(true)
        .external_template(false)
        .initial_head("main");
    let repo = Repository::init_opts(store.repository(), &options).map_err(said)?;

    let mut remote = repo.remote_anonymous(URL).map_err(said)?;
    let mut connection = remote
        .connect_auth(Direction::Fetch, None, None)
        .map_err(said)?;
    let refs = listed(connection.list().map_err(said)?);
    let head = reference.find(&refs, url)?;

    // The cheap way first: a name that leads to the commit, then the commit itself. Only where the
    // server allows neither is history fetched.
    let name = match reference.full_name() {
        Some(name) => Some(name),
        None => refs
            .iter()
            .find(|r| r.commit() == head.oid)
            .map(|r| r.name.clone()),
    };
    let first = format!("+{}:{FETCHED}", name.as_deref().unwrap_or(&head.oid));
    let mut fetched = fetch(connection.remote(), &first, 1, stop);
    drop(connection);
    if name.is_none() && fetched.is_err() && !stop.is_set() {
        let wide = match reference {
            Reference::Commit {
                branch: Some(branch),
                ..
            } => {
                format!("+refs/heads/{branch}:refs/weir/heads/{branch}")
            }
            _ => "+refs/heads/*:refs/weir/heads/*".to_owned(),
        };
        fetched = fetch(
            &mut repo.remote_anonymous(URL).map_err(said)?,
            &wide,
            0,
            stop,
        );
    } else if let Err(e) = &fetched
        && e.message().contains("doesn't support shallow")
    {
        fetched = fetch(
            &mut repo.remote_anonymous(URL).map_err(said)?,
            &first,
            0,
            stop,
        );
    }
    fetched.map_err(said)?;

    let missing = || GitError::ReferenceNotFound {
        what: reference.to_string(),
        url: url.to_owned(),
    };
    // A push between the list and the fetch moves the name: what was fetched is what counts.
    let oid = match (&name, reference) {
        (Some(_), Reference::Branch(_) | Reference::Tag(_) | Reference::Name(_)) => {
            repo.refname_to_id(FETCHED).map_err(said)?
        }
        _ => Oid::from_str(&head.oid).map_err(said)?,
    };
    let commit = repo
        .find_object(oid, None)
        .and_then(|object| object.peel_to_commit())
        .map_err(|_| missing())?;
    let commit_oid = commit.id().to_string();
    let head = crate::Head {
        revision: reference.revision(&commit_oid),
        oid: commit_oid,
    };
    checkout::write_tree(&repo, &commit, &store.files(), limits, url, stop)?;
    let info = checkout::info_of(&commit);
    drop(commit);
    Ok(Checkout::new(store, head, info))
}

fn fetch(
    remote: &mut git2::Remote<'_>,
    refspec: &str,
    depth: i32,
    stop: &Stop,
) -> Result<(), git2::Error> {
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|_| !stop.is_set());
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .download_tags(AutotagOption::None)
        .update_fetchhead(false)
        .depth(depth);
    remote.fetch(&[refspec], Some(&mut options), None)
}

pub(crate) fn push(url: &str, store: &Store, push: &Push, stop: &Stop) -> Result<(), GitError> {
    const PUSHED: &str = "refs/weir/pushed";
    let said = |e: git2::Error| GitError::of_libgit2(&e, "pushing", url);
    let rejected = |what: String| GitError::Rejected {
        url: url.to_owned(),
        reference: push.reference.clone(),
        what,
    };
    Reference::Name(push.reference.clone()).validate()?;
    let expected = match &push.expected {
        Expected::At(oid) => Some(Oid::from_str(oid).map_err(said)?),
        Expected::Absent => Some(Oid::ZERO_SHA1),
        Expected::Any => None,
    };
    let repo = Repository::open_bare(store.repository()).map_err(said)?;
    let commit = Oid::from_str(&push.commit).map_err(said)?;
    repo.reference(PUSHED, commit, true, "").map_err(said)?;

    if repo.is_shallow() {
        deepen(&repo, &push.reference, stop).map_err(said)?;
    }
    let mut refused: Option<String> = None;
    let mut moved: Option<String> = None;
    let result = {
        let mut callbacks = RemoteCallbacks::new();
        // The old value sent to the server is the one listed in this connection, so a match here
        // plus the server's own comparison make one compare-and-swap.
        callbacks.push_negotiation(|updates| {
            let there = updates.first().map(git2::PushUpdate::src);
            if stop.is_set() {
                return Err(git2::Error::from_str("the operation was ended"));
            }
            match (expected, there) {
                (Some(expected), Some(there)) if expected != there && there != commit => {
                    moved = Some(moved_text(expected, there));
                    Err(git2::Error::from_str("the reference moved"))
                }
                _ => Ok(()),
            }
        });
        callbacks.push_update_reference(|_, status| {
            if let Some(status) = status {
                refused = Some(status.chars().take(200).collect());
            }
            Ok(())
        });
        let mut options = PushOptions::new();
        options
            .remote_callbacks(callbacks)
            .packbuilder_parallelism(1);
        let sign = if push.force { "+" } else { "" };
        let refspec = format!("{sign}{PUSHED}:{}", push.reference);
        let mut remote = repo.remote_anonymous(URL).map_err(said)?;
        remote.push(&[refspec], Some(&mut options))
    };
    if let Some(what) = moved {
        return Err(rejected(what));
    }
    match (result, refused) {
        (_, Some(status)) => Err(rejected(format!("the server said `{status}`"))),
        (Ok(()), None) => Ok(()),
        (Err(e), None) if e.code() == git2::ErrorCode::NotFastForward => Err(rejected(
            "it has commits that the pushed one does not follow from".to_owned(),
        )),
        (Err(e), None) => Err(said(e)),
    }
}

/// Fetches the history that a shallow checkout left out. libgit2 walks it to find what the server
/// lacks, and does not stop at the shallow boundary there as it does elsewhere.
fn deepen(repo: &Repository, reference: &str, stop: &Stop) -> Result<(), git2::Error> {
    // The value that asks for everything, `GIT_FETCH_DEPTH_UNSHALLOW`.
    const ALL: i32 = i32::MAX;
    let mut remote = repo.remote_anonymous(URL)?;
    let connection = remote.connect_auth(Direction::Fetch, None, None)?;
    let there = connection
        .list()?
        .iter()
        .any(|head| head.name() == reference);
    drop(connection);
    // A new reference has no history of its own; it follows from one of the branches.
    let refspec = if there {
        format!("+{reference}:refs/weir/base")
    } else {
        "+refs/heads/*:refs/weir/heads/*".to_owned()
    };
    fetch(&mut remote, &refspec, ALL, stop)
}

fn moved_text(expected: Oid, there: Oid) -> String {
    let words = |oid: Oid| {
        if oid.is_zero() {
            "absent".to_owned()
        } else {
            format!("at `{oid}`")
        }
    };
    format!(
        "it was expected {} and is {}",
        words(expected),
        words(there)
    )
}
