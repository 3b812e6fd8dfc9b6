//! Answers fetches: which references there are, and a pack of what the client lacks.
//!
//! A request is complete in itself (HTTP keeps no state), so each answer repeats the shallow
//! boundary, acknowledges what both sides have, and only after `done` sends the pack.

use std::collections::{HashSet, VecDeque};

use git2::{ObjectType, Oid, Repository};

use super::Trouble;
use super::pkt::{self, FLUSH, Pkt, Reader};

const CAPABILITIES: &str = "multi_ack_detailed side-band-64k ofs-delta shallow no-progress \
                            allow-tip-sha1-in-want allow-reachable-sha1-in-want agent=weir";

/// The references, annotated tags peeled, and what this side can do.
pub(super) fn advertisement(repo: &Repository) -> Result<Vec<u8>, Trouble> {
    let mut refs: Vec<(String, Oid)> = Vec::new();
    let mut capabilities = CAPABILITIES.to_owned();
    let head = repo.find_reference("HEAD")?;
    if let Some(target) = head.symbolic_target().ok().flatten()
        && let Ok(oid) = repo.refname_to_id(target)
    {
        refs.push(("HEAD".to_owned(), oid));
        capabilities = format!("{capabilities} symref=HEAD:{target}");
    }
    refs.extend(references(repo)?);
    Ok(advertised(&refs, &capabilities, |oid| {
        let tag = repo.find_tag(oid).ok()?;
        tag.peel().ok().map(|object| object.id())
    }))
}

/// All references in order of name.
pub(super) fn references(repo: &Repository) -> Result<Vec<(String, Oid)>, Trouble> {
    let mut out = Vec::new();
    for reference in repo.references()? {
        let reference = reference?;
        if let (Ok(name), Some(oid)) = (reference.name(), reference.target()) {
            out.push((name.to_owned(), oid));
        }
    }
    out.sort();
    Ok(out)
}

pub(super) fn advertised(
    refs: &[(String, Oid)],
    capabilities: &str,
    peel: impl Fn(Oid) -> Option<Oid>,
) -> Vec<u8> {
    let mut out = Vec::new();
    if refs.is_empty() {
        out.extend(pkt::line(&format!(
            "{} capabilities^{{}}\0{capabilities}\n",
            Oid::ZERO_SHA1
        )));
    }
    for (i, (name, oid)) in refs.iter().enumerate() {
        let tail = if i == 0 {
            format!("\0{capabilities}")
        } else {
            String::new()
        };
        out.extend(pkt::line(&format!("{oid} {name}{tail}\n")));
        if let Some(peeled) = peel(*oid) {
            out.extend(pkt::line(&format!("{peeled} {name}^{{}}\n")));
        }
    }
    out.extend_from_slice(FLUSH);
    out
}

#[derive(Default)]
struct Wish {
    wants: Vec<Oid>,
    capabilities: HashSet<String>,
    /// Commits whose parents the client lacks.
    shallow: HashSet<Oid>,
    depth: Option<usize>,
}

/// Answers one request.
pub(super) fn answer(repo: &Repository, body: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut reader = Reader::new(body);
    let wish = match wish(&mut reader)? {
        Some(wish) if !wish.wants.is_empty() => wish,
        // A client that needs nothing says so with a flush.
        _ => return Ok(Vec::new()),
    };
    let odb = repo.odb()?;
    if let Some(unknown) = wish.wants.iter().find(|oid| !odb.exists(**oid)) {
        return Ok(pkt::line(&format!(
            "ERR upload-pack: not our ref {unknown}"
        )));
    }
    let mut out = Vec::new();
    let wanted = commits_wanted(repo, &wish)?;
    if wish.depth.is_some() {
        for oid in wanted
            .boundary
            .iter()
            .filter(|oid| !wish.shallow.contains(oid))
        {
            out.extend(pkt::line(&format!("shallow {oid}")));
        }
        for oid in wish.shallow.iter().filter(|oid| wanted.deepened(**oid)) {
            out.extend(pkt::line(&format!("unshallow {oid}")));
        }
        out.extend_from_slice(FLUSH);
    }
    let (common, done) = negotiate(&mut reader, &wish, |oid| odb.exists(oid), &mut out)?;
    if !done {
        return Ok(out);
    }
    let pack = pack(repo, &wish, &wanted, &common)?;
    if wish.capabilities.contains("side-band-64k") {
        pkt::side_band(&mut out, &pack);
        out.extend_from_slice(FLUSH);
    } else {
        out.extend_from_slice(&pack);
    }
    Ok(out)
}

fn wish(reader: &mut Reader<'_>) -> Result<Option<Wish>, Trouble> {
    let mut wish = Wish::default();
    loop {
        let line = match reader.next()? {
            None => return Ok(None),
            Some(Pkt::Flush) => return Ok(Some(wish)),
            Some(Pkt::Line(line)) => std::str::from_utf8(line)
                .map_err(|_| Trouble::Request("a line of the request is not text"))?,
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "want" => {
                let (id, capabilities) = rest.split_once(' ').unwrap_or((rest, ""));
                wish.wants.push(oid(id)?);
                wish.capabilities
                    .extend(capabilities.split(' ').map(str::to_owned));
            }
            "shallow" => {
                wish.shallow.insert(oid(rest)?);
            }
            "deepen" => {
                let depth = rest
                    .parse()
                    .map_err(|_| Trouble::Request("a depth is a number"))?;
                wish.depth = Some(depth).filter(|depth| *depth > 0);
            }
            _ => {
                return Err(Trouble::Request(
                    "the request asks for what was not offered",
                ));
            }
        }
    }
}

fn oid(text: &str) -> Result<Oid, Trouble> {
    Oid::from_str(text)
        .ok()
        .filter(|_| text.len() == 40)
        .ok_or(Trouble::Request(
            "an object's name is 40 hexadecimal digits",
        ))
}

struct Wanted {
    /// Commits within reach, nearest first, with their distance from a want.
    commits: Vec<Oid>,
    reach: HashSet<Oid>,
    /// Those at the end of the depth asked for.
    boundary: HashSet<Oid>,
    /// Tags, trees and blobs that were asked for by name.
    others: Vec<Oid>,
}

impl Wanted {
    /// Whether a commit that was shallow for the client is so no more.
    fn deepened(&self, oid: Oid) -> bool {
        self.reach.contains(&oid) && !self.boundary.contains(&oid)
    }
}

fn commits_wanted(repo: &Repository, wish: &Wish) -> Result<Wanted, Trouble> {
    let mut wanted = Wanted {
        commits: Vec::new(),
        reach: HashSet::new(),
        boundary: HashSet::new(),
        others: Vec::new(),
    };
    let mut queue: VecDeque<(Oid, usize)> = VecDeque::new();
    for want in &wish.wants {
        let mut object = repo.find_object(*want, None)?;
        while let Some(tag) = object.as_tag() {
            wanted.others.push(object.id());
            object = tag.target()?;
        }
        if object.kind() == Some(ObjectType::Commit) {
            queue.push_back((object.id(), 1));
        } else {
            wanted.others.push(object.id());
        }
    }
    // Breadth first, so each commit is met at its least distance.
    while let Some((oid, distance)) = queue.pop_front() {
        if !wanted.reach.insert(oid) {
            continue;
        }
        wanted.commits.push(oid);
        let commit = repo.find_commit(oid)?;
        let cut = match wish.depth {
            Some(depth) => distance >= depth,
            None => wish.shallow.contains(&oid),
        };
        if !cut {
            queue.extend(commit.parent_ids().map(|parent| (parent, distance + 1)));
        } else if wish.depth.is_some() && commit.parent_count() > 0 {
            wanted.boundary.insert(oid);
        }
    }
    Ok(wanted)
}

/// Reads what the client has and acknowledges it; returns what both have, and whether the client
/// said it is done.
fn negotiate(
    reader: &mut Reader<'_>,
    wish: &Wish,
    exists: impl Fn(Oid) -> bool,
    out: &mut Vec<u8>,
) -> Result<(Vec<Oid>, bool), Trouble> {
    let detailed = wish.capabilities.contains("multi_ack_detailed");
    let mut common: Vec<Oid> = Vec::new();
    let (mut got_common, mut got_other) = (false, false);
    while let Some(pkt) = reader.next()? {
        match pkt {
            Pkt::Flush => {
                if let Some(last) = common.last()
                    && detailed
                    && got_common
                    && !got_other
                {
                    out.extend(pkt::line(&format!("ACK {last} ready\n")));
                }
                if common.is_empty() || detailed {
                    out.extend(pkt::line("NAK\n"));
                }
                (got_common, got_other) = (false, false);
            }
            Pkt::Line(b"done") => {
                match common.last() {
                    Some(last) => out.extend(pkt::line(&format!("ACK {last}\n"))),
                    None => out.extend(pkt::line("NAK\n")),
                }
                return Ok((common, true));
            }
            Pkt::Line(line) => {
                let id = line
                    .strip_prefix(b"have ")
                    .and_then(|id| std::str::from_utf8(id).ok())
                    .ok_or(Trouble::Request(
                        "`have`, `done` or a flush is expected here",
                    ))?;
                let have = oid(id)?;
                if exists(have) {
                    got_common = true;
                    common.push(have);
                    if detailed {
                        out.extend(pkt::line(&format!("ACK {have} common\n")));
                    } else if common.len() == 1 {
                        out.extend(pkt::line(&format!("ACK {have}\n")));
                    }
                } else {
                    got_other = true;
                    if detailed && !common.is_empty() {
                        out.extend(pkt::line(&format!("ACK {have} ready\n")));
                    }
                }
            }
        }
    }
    Ok((common, false))
}

fn pack(
    repo: &Repository,
    wish: &Wish,
    wanted: &Wanted,
    common: &[Oid],
) -> Result<Vec<u8>, Trouble> {
    // What the client has: its commits and their ancestors, down to where its history ends.
    let mut theirs: HashSet<Oid> = HashSet::new();
    let mut open: Vec<Oid> = common.to_vec();
    while let Some(oid) = open.pop() {
        if theirs.contains(&oid) {
            continue;
        }
        let Ok(commit) = repo.find_object(oid, None).and_then(|o| o.peel_to_commit()) else {
            continue;
        };
        theirs.insert(commit.id());
        if !wish.shallow.contains(&commit.id()) {
            open.extend(commit.parent_ids());
        }
    }
    let mut builder = repo.packbuilder()?;
    builder.set_threads(1);
    let mut seen: HashSet<Oid> = HashSet::new();
    let mut trees: Vec<Oid> = Vec::new();
    let mut known: HashSet<Oid> = HashSet::new();
    for oid in wanted.commits.iter().filter(|oid| !theirs.contains(oid)) {
        builder.insert_object(*oid, None)?;
        let commit = repo.find_commit(*oid)?;
        trees.push(commit.tree_id());
        for parent in commit
            .parents()
            .filter(|parent| theirs.contains(&parent.id()))
        {
            if known.insert(parent.id()) {
                walk(repo, parent.tree_id(), &mut seen, &mut |_| Ok(()))?;
            }
        }
    }
    for tree in trees {
        walk(repo, tree, &mut seen, &mut |oid| {
            builder.insert_object(oid, None)
        })?;
    }
    for oid in &wanted.others {
        if repo.find_tree(*oid).is_ok() {
            walk(repo, *oid, &mut seen, &mut |oid| {
                builder.insert_object(oid, None)
            })?;
        } else if seen.insert(*oid) {
            builder.insert_object(*oid, None)?;
        }
    }
    let mut out = git2::Buf::new();
    builder.write_buf(&mut out)?;
    Ok(out.to_vec())
}

/// Calls `each` for the tree and all below it that was not seen before.
pub(super) fn walk(
    repo: &Repository,
    root: Oid,
    seen: &mut HashSet<Oid>,
    each: &mut impl FnMut(Oid) -> Result<(), git2::Error>,
) -> Result<(), git2::Error> {
    let mut open = vec![root];
    while let Some(oid) = open.pop() {
        if !seen.insert(oid) {
            continue;
        }
        each(oid)?;
        for entry in &repo.find_tree(oid)? {
            match entry.kind() {
                Some(ObjectType::Tree) => open.push(entry.id()),
                Some(ObjectType::Blob) if seen.insert(entry.id()) => each(entry.id())?,
                // A submodule's commit is in another repository.
                _ => {}
            }
        }
    }
    Ok(())
}
