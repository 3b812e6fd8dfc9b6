//! Owns finding and editing the files of a checkout. It reads only; what is to be written is handed
//! back. Links are not followed (a checkout holds none), and nothing outside of the directory is
//! reached.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::edit::{Change, Images, edit};
use super::marker::KEY;

/// Larger files are no manifests.
const LARGEST: u64 = 16 << 20;
/// Deeper directories are not looked into.
const DEEPEST: usize = 64;

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The path from the repository's root.
    pub(crate) path: String,
    /// The path from `spec.update.path`, which is how messages know it.
    pub(crate) shown: String,
    /// The new bytes.
    pub(crate) content: Vec<u8>,
    /// What changed.
    pub(crate) changes: Vec<Change>,
}

/// All that is to be written, and what could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits {
    /// Files to write, in the order of their paths.
    pub(crate) written: Vec<Written>,
    /// Files left as they are, each with a sentence.
    pub(crate) unreadable: Vec<String>,
}

/// The path below the root that `spec.update.path` names, without steps up.
pub(crate) fn below(path: &str) -> Result<PathBuf, String> {
    let mut below = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => below.push(part),
            // A leading slash means the repository's root, as people know it.
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!(
                    "`{path}` leads out of the repository; give a path in it"
                ));
            }
        }
    }
    Ok(below)
}

/// Edits the manifests below `path`. A sentence where there is no such path.
pub(crate) fn edit_all(root: &Path, path: &str, images: &Images) -> Result<Edits, String> {
    let below = below(path)?;
    let start = root.join(&below);
    let kind = fs::symlink_metadata(&start).map_err(|_| {
        format!("`spec.update.path` `{path}` was not found in the repository; correct it")
    })?;
    let mut found: Vec<PathBuf> = Vec::new();
    if kind.is_file() {
        found.push(start.clone());
    } else {
        walk(&start, &mut found)?;
    }
    found.sort();
    let base = if kind.is_file() {
        start.parent().unwrap_or(root)
    } else {
        &start
    };
    let mut edits = Edits::default();
    for file in found {
        let name = |from: &Path| {
            let rest = file.strip_prefix(from).unwrap_or(&file);
            rest.to_string_lossy().into_owned()
        };
        let path = name(root);
        match edit_file(&file, images) {
            Ok(None) => {}
            Ok(Some((content, changes))) => edits.written.push(Written {
                shown: name(base),
                path,
                content,
                changes,
            }),
            Err(why) => edits.unreadable.push(format!("`{path}`: {why}")),
        }
    }
    Ok(edits)
}

fn walk(start: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let mut open: Vec<(PathBuf, usize)> = vec![(start.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        let failed = |e: std::io::Error| format!("the checkout cannot be read: {e}");
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && depth < DEEPEST {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file() && is_manifest(&entry.path()) {
                found.push(entry.path());
            }
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    matches!(extension, Some("yaml" | "yml"))
        || path.file_name().is_some_and(|name| name == "Kustomization")
}

type Content = (Vec<u8>, Vec<Change>);

fn edit_file(path: &Path, images: &Images) -> Result<Option<Content>, String> {
    let failed = |e: std::io::Error| format!("it cannot be read: {e}");
    if fs::metadata(path).map_err(failed)?.len() > LARGEST {
        return Ok(None);
    }
    let bytes = fs::read(path).map_err(failed)?;
    let quoted = format!("\"{KEY}\"");
    if !bytes.windows(quoted.len()).any(|w| w == quoted.as_bytes()) {
        return Ok(None);
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| "it holds a marker but is no UTF-8 text; save it as UTF-8".to_owned())?;
    let edited = edit(&text, images)?;
    Ok(edited.map(|edited| (edited.text.into_bytes(), edited.changes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::image_policy::ImageRef;

    fn images() -> Images {
        let image = ImageRef {
            name: "r/app".into(),
            tag: "2".into(),
            digest: None,
        };
        [("n:p".to_owned(), image)].into()
    }

    #[test]
    fn one_bad_file_does_not_stop_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        let marked = b"tag: \"1\" # {\"$imagepolicy\": \"n:p:tag\"}\n";
        write("apps/a.yaml", marked);
        write("apps/deep/b.yml", marked);
        write("apps/Kustomization", marked);
        write("apps/readme.md", marked);
        write("other/c.yaml", marked);
        write("apps/bad.yaml", b"a: [ # {\"$imagepolicy\": \"n:p:tag\"}\n");
        write("apps/unmarked.yaml", b"a: [\n");
        write("apps/latin.yaml", b"\xe4: 1 # {\"$imagepolicy\": \"n:p:tag\"}\n");
        let edits = edit_all(dir.path(), "./apps", &images()).expect("found");
        let paths: Vec<_> = edits
            .written
            .iter()
            .map(|w| (w.path.as_str(), w.shown.as_str()))
            .collect();
        assert_eq!(
            paths,
            [
                ("apps/Kustomization", "Kustomization"),
                ("apps/a.yaml", "a.yaml"),
                ("apps/deep/b.yml", "deep/b.yml"),
            ]
        );
        let [bad, latin] = edits.unreadable.as_slice() else {
            panic!("{:?}", edits.unreadable);
        };
        assert!(bad.starts_with("`apps/bad.yaml`: line "), "{bad}");
        assert!(latin.contains("UTF-8"), "{latin}");
        let one = edit_all(dir.path(), "/other/c.yaml", &images()).expect("found");
        assert_eq!(one.written[0].shown, "c.yaml");
        for (path, words) in [("../x", "leads out"), ("none", "`none` was not found")] {
            let message = edit_all(dir.path(), path, &images()).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
