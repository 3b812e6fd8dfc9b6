//! Owns finding the manifests of a checkout and setting their marks. Blocking. A checkout holds no
//! links, so nothing outside of it is read.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use weir_api::image_policy::ImageRef;

use super::edit::{Change, KEY, edit};

/// A directory below which nothing is looked for.
const DEEPEST: usize = 128;

/// A file with its marks set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EditedFile {
    /// From the repository's root, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) content: String,
    /// Never empty.
    pub(crate) changes: Vec<Change>,
}

/// What became of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Those that changed, by path.
    pub(crate) edited: Vec<EditedFile>,
    /// Those that hold a marker and could not be read, with the reason. They stay as they are.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// Sets the marks in all manifests below `path` of the checkout at `root`. `None` where there is no
/// such directory or file.
pub(crate) fn update(
    root: &Path,
    path: &str,
    images: &BTreeMap<String, ImageRef>,
) -> io::Result<Option<Report>> {
    let mut report = Report::default();
    let start = root.join(path);
    if start.is_file() {
        one(&start, path.to_owned(), images, &mut report)?;
    } else if start.is_dir() {
        walk(&start, path, images, &mut report, DEEPEST)?;
    } else {
        return Ok(None);
    }
    Ok(Some(report))
}

fn walk(
    dir: &Path,
    path: &str,
    images: &BTreeMap<String, ImageRef>,
    report: &mut Report,
    depth: usize,
) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        // A name that is no text cannot be a manifest that people edit.
        let Some(name) = name.to_str() else { continue };
        let below = match path {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &below, images, report, depth - 1)?;
        } else if kind.is_file() && is_manifest(name) {
            one(&entry.path(), below, images, report)?;
        }
    }
    Ok(())
}

fn is_manifest(name: &str) -> bool {
    let end = Path::new(name).extension();
    name == "Kustomization" || end.is_some_and(|end| end == "yaml" || end == "yml")
}

fn one(
    file: &Path,
    path: String,
    images: &BTreeMap<String, ImageRef>,
    report: &mut Report,
) -> io::Result<()> {
    let bytes = fs::read(file)?;
    let marked = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
    if !marked {
        return Ok(());
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        let what = "it is not UTF-8 text; save it as UTF-8".to_owned();
        report.unreadable.push((path, what));
        return Ok(());
    };
    match edit(text, images) {
        Ok(edited) if edited.changes.is_empty() => {}
        Ok(edited) => report.edited.push(EditedFile {
            path,
            content: edited.text,
            changes: edited.changes,
        }),
        Err(e) => report.unreadable.push((path, e.to_string())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_images() -> BTreeMap<String, ImageRef> {
        let image = ImageRef {
            name: "r.io/app".into(),
            tag: "2".into(),
            digest: None,
        };
        BTreeMap::from([("demo:app".to_owned(), image)])
    }

    #[test]
    fn manifests_are_found_and_the_rest_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let marked = "tag: '1' # {\"$imagepolicy\": \"demo:app:tag\"}\n";
        let write = |path: &str, text: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        for path in [
            "b/x.yaml",
            "a.yml",
            ".hidden/x.yaml",
            "b/Kustomization",
            "x.txt",
            "x.yaml.bak",
        ] {
            write(path, marked.as_bytes());
        }
        write("plain.yaml", b"not: [closed\n");
        write("broken.yaml", format!("a: [\n{marked}").as_bytes());
        write("latin.yaml", &[b"# \xff\n", marked.as_bytes()].concat());
        let report = update(dir.path(), "", &mk_images())
            .expect("read")
            .expect("a report");
        let paths: Vec<&str> = report.edited.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [".hidden/x.yaml", "a.yml", "b/Kustomization", "b/x.yaml"]
        );
        assert!(
            report
                .edited
                .iter()
                .all(|f| f.content.starts_with("tag: '2' # {"))
        );
        let bad: Vec<&str> = report
            .unreadable
            .iter()
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(bad, ["broken.yaml", "latin.yaml"]);
        let below = update(dir.path(), "b", &mk_images())
            .expect("read")
            .expect("a report");
        assert_eq!(below.edited.len(), 2);
        let file = update(dir.path(), "a.yml", &mk_images())
            .expect("read")
            .expect("a report");
        assert_eq!(file.edited.len(), 1);
        assert_eq!(
            update(dir.path(), "nowhere", &mk_images()).expect("read"),
            None
        );
    }
}
