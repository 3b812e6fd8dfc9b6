//! Takes pushes: stores the pack, proves that nothing is missing, and moves each reference only if
//! it still is where the client saw it.

use std::collections::HashSet;
use std::io::Write as _;

use git2::{ObjectType, Oid, Repository};

use super::pkt::{self, FLUSH, Pkt, Reader};
use super::{Trouble, upload};

const CAPABILITIES: &str =
    "report-status delete-refs side-band-64k quiet atomic ofs-delta no-thin agent=weir";

/// A moved reference: its name, where it was, where it is.
pub(super) type Moved = (String, String, String);

/// The references and what this side can do.
pub(super) fn advertisement(repo: &Repository) -> Result<Vec<u8>, Trouble> {
    Ok(upload::advertised(
        &upload::references(repo)?,
        CAPABILITIES,
        |_| None,
    ))
}

struct Command {
    old: Oid,
    new: Oid,
    name: String,
}

/// Answers one request; the caller lets in one at a time.
pub(super) fn answer(repo: &Repository, body: &[u8]) -> Result<(Vec<u8>, Vec<Moved>), Trouble> {
    let mut reader = Reader::new(body);
    let (commands, capabilities) = commands(&mut reader)?;
    if commands.is_empty() {
        // A client probes with an empty request before it sends a large one.
        return Ok((Vec::new(), Vec::new()));
    }
    let unpacked = unpack(repo, reader.rest());
    let mut report = match &unpacked {
        Ok(()) => pkt::line("unpack ok\n"),
        Err(what) => pkt::line(&format!("unpack {what}\n")),
    };
    let mut verdicts: Vec<Result<(), String>> = commands
        .iter()
        .map(|command| match &unpacked {
            Ok(()) => check(repo, command),
            Err(_) => Err("unpacker error".to_owned()),
        })
        .collect();
    if capabilities.contains("atomic") && verdicts.iter().any(Result::is_err) {
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_ok()) {
            *verdict = Err("atomic push failed".to_owned());
        }
    }
    let mut moved = Vec::new();
    for (command, verdict) in commands.iter().zip(&verdicts) {
        let verdict = verdict.clone().and_then(|()| swap(repo, command));
        report.extend(pkt::line(&match &verdict {
            Ok(()) => format!("ok {}\n", command.name),
            Err(what) => format!("ng {} {what}\n", command.name),
        }));
        if verdict.is_ok() {
            moved.push((
                command.name.clone(),
                command.old.to_string(),
                command.new.to_string(),
            ));
        }
    }
    report.extend_from_slice(FLUSH);
    if !capabilities.contains("report-status") {
        return Ok((Vec::new(), moved));
    }
    if capabilities.contains("side-band-64k") {
        let mut out = Vec::new();
        pkt::side_band(&mut out, &report);
        out.extend_from_slice(FLUSH);
        return Ok((out, moved));
    }
    Ok((report, moved))
}

fn commands(reader: &mut Reader<'_>) -> Result<(Vec<Command>, HashSet<String>), Trouble> {
    let bad = || Trouble::Request("a line is not `<old> <new> <reference>`");
    let (mut commands, mut capabilities) = (Vec::new(), HashSet::new());
    while let Some(Pkt::Line(line)) = reader.next()? {
        let line = std::str::from_utf8(line).map_err(|_| bad())?;
        if line.starts_with("shallow ") {
            continue;
        }
        let (line, offered) = line.split_once('\0').unwrap_or((line, ""));
        capabilities.extend(offered.split(' ').map(str::to_owned));
        let mut words = line.splitn(3, ' ');
        let mut id = || {
            words
                .next()
                .and_then(|word| Oid::from_str(word).ok())
                .ok_or_else(bad)
        };
        let (old, new) = (id()?, id()?);
        let name = words.next().ok_or_else(bad)?.trim_end().to_owned();
        commands.push(Command { old, new, name });
    }
    Ok((commands, capabilities))
}

fn unpack(repo: &Repository, pack: &[u8]) -> Result<(), String> {
    // Bytes 8 to 12 of a pack count its objects; moving a name to a known commit sends none.
    if pack.is_empty() || pack.get(8..12) == Some(&[0, 0, 0, 0]) {
        return Ok(());
    }
    let told = |what: &str| what.replace('\n', " ");
    let odb = repo.odb().map_err(|e| told(e.message()))?;
    let mut writer = odb.packwriter().map_err(|e| told(e.message()))?;
    writer.write_all(pack).map_err(|e| told(&e.to_string()))?;
    writer.commit().map_err(|e| told(e.message()))?;
    odb.refresh().map_err(|e| told(e.message()))
}

fn check(repo: &Repository, command: &Command) -> Result<(), String> {
    let valid = command.name.starts_with("refs/") && git2::Reference::is_valid_name(&command.name);
    if !valid {
        return Err("funny refname".to_owned());
    }
    if current(repo, &command.name) != command.old {
        return Err("fetch first".to_owned());
    }
    if command.new.is_zero() {
        return Ok(());
    }
    connected(repo, command.new).map_err(|_| "missing necessary objects".to_owned())?;
    let kind = repo
        .find_object(command.new, None)
        .ok()
        .and_then(|o| o.kind());
    if command.name.starts_with("refs/heads/") && kind != Some(ObjectType::Commit) {
        return Err("a branch must point to a commit".to_owned());
    }
    Ok(())
}

fn current(repo: &Repository, name: &str) -> Oid {
    repo.refname_to_id(name).unwrap_or(Oid::ZERO_SHA1)
}

/// Fails unless all that `new` needs is here; what references reach already was checked before.
fn connected(repo: &Repository, new: Oid) -> Result<(), git2::Error> {
    let mut object = repo.find_object(new, None)?;
    while let Some(tag) = object.as_tag() {
        object = tag.target()?;
    }
    let mut seen = HashSet::new();
    let odb = repo.odb()?;
    let mut there = |oid| {
        odb.exists(oid)
            .then_some(())
            .ok_or_else(|| git2::Error::from_str("an object is missing"))
    };
    match object.kind() {
        Some(ObjectType::Commit) => {
            let mut commits = repo.revwalk()?;
            commits.push(object.id())?;
            for reference in repo.references()? {
                if let Some(target) = reference?.target() {
                    // Tags of other things than commits hide nothing.
                    let _ = commits.hide(target);
                }
            }
            for commit in commits {
                let commit = repo.find_commit(commit?)?;
                upload::walk(repo, commit.tree_id(), &mut seen, &mut there)?;
            }
            Ok(())
        }
        Some(ObjectType::Tree) => upload::walk(repo, object.id(), &mut seen, &mut there),
        _ => Ok(()),
    }
}

/// Compares once more under the reference's lock file, then moves it: other processes that use the
/// repository's files take the same lock.
fn swap(repo: &Repository, command: &Command) -> Result<(), String> {
    let failed = |e: git2::Error| {
        tracing::debug!(
            reference = command.name,
            what = e.message(),
            "a reference did not move"
        );
        "failed to update ref".to_owned()
    };
    let mut transaction = repo.transaction().map_err(failed)?;
    transaction.lock_ref(&command.name).map_err(failed)?;
    if current(repo, &command.name) != command.old {
        return Err("fetch first".to_owned());
    }
    if command.new.is_zero() {
        transaction.remove(&command.name).map_err(failed)?;
    } else {
        let pusher = git2::Signature::new("weir", "weir@localhost", &git2::Time::new(0, 0))
            .map_err(failed)?;
        transaction
            .set_target(&command.name, command.new, Some(&pusher), "push")
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}
