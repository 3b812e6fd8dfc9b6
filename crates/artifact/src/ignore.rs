//! Owns which files of a source are left out of its artifact.
//!
//! The rules are those that people's `.sourceignore` files were written for. They look like
//! `.gitignore` and differ: the last match wins, and a directory that is left out is still looked
//! into, so `!dir/file` brings a file back. Without any rule of its own, a source leaves out version
//! control, pictures, archives and CI files; with one, version control only.

use std::fs;
use std::path::Path;

use crate::ArtifactError;
use crate::glob::matches;

const VERSION_CONTROL: &[&str] = &[".git/", ".gitignore", ".gitmodules", ".gitattributes"];
const DEFAULTS: &[&str] = &[
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];
const FILE: &str = ".sourceignore";
/// More of a file than this is not read.
const MAX_FILE: u64 = 1 << 20;

/// The rules of one source.
#[derive(Clone, Debug, Default)]
pub struct Ignore(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    /// The directory that it counts in, from the root.
    domain: Vec<String>,
    include: bool,
    directories_only: bool,
    /// One part for a name anywhere, or the parts of a path from the domain.
    parts: Vec<String>,
}

impl Ignore {
    /// No rules: everything is kept.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The rules for the files in `dir`: its `.sourceignore` files, then `extra` (the source's own
    /// field), or the defaults where there is neither.
    ///
    /// # Errors
    /// [`ArtifactError::Local`] when the directory cannot be read.
    pub fn load(dir: &Path, extra: Option<&str>) -> Result<Self, ArtifactError> {
        let mut own = Vec::new();
        read_files(dir, &mut Vec::new(), &mut own)?;
        if let Some(extra) = extra {
            own.extend(parse(extra, &[]));
        }
        let mut rules = parse_all(VERSION_CONTROL);
        if own.is_empty() {
            rules.extend(parse_all(DEFAULTS));
        }
        rules.extend(own);
        Ok(Self(rules))
    }

    /// Whether the file or directory at `path` (its parts from the root) is left out.
    pub fn excludes(&self, path: &[&str], directory: bool) -> bool {
        let decided = self
            .0
            .iter()
            .rev()
            .find(|rule| rule.matches(path, directory));
        decided.is_some_and(|rule| !rule.include)
    }
}

fn read_files(
    dir: &Path,
    domain: &mut Vec<String>,
    rules: &mut Vec<Rule>,
) -> Result<(), ArtifactError> {
    let failed = ArtifactError::local("reading", dir);
    let file = dir.join(FILE);
    let is_file = file
        .symlink_metadata()
        .is_ok_and(|m| m.is_file() && m.len() <= MAX_FILE);
    if is_file {
        let bytes = fs::read(&file).map_err(&failed)?;
        rules.extend(parse(&String::from_utf8_lossy(&bytes), domain));
    }
    let mut below: Vec<String> = Vec::new();
    for entry in fs::read_dir(dir).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let directory = entry.file_type().map_err(&failed)?.is_dir();
        if let (true, Ok(name)) = (directory, entry.file_name().into_string())
            && name != ".git"
        {
            below.push(name);
        }
    }
    below.sort();
    for name in below {
        let path = dir.join(&name);
        domain.push(name);
        let read = read_files(&path, domain, rules);
        domain.pop();
        read?;
    }
    Ok(())
}

fn parse_all(lines: &[&str]) -> Vec<Rule> {
    lines.iter().flat_map(|line| parse(line, &[])).collect()
}

fn parse(text: &str, domain: &[String]) -> Vec<Rule> {
    let kept = |line: &&str| !line.starts_with('#') && !line.trim().is_empty();
    text.lines()
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(kept)
        .map(|line| {
            let (include, line) = match line.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let line = if line.ends_with("\\ ") {
                line
            } else {
                line.trim_end_matches(' ')
            };
            let (directories_only, line) = match line.strip_suffix('/') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            Rule {
                domain: domain.to_vec(),
                include,
                directories_only,
                parts: line.split('/').map(str::to_owned).collect(),
            }
        })
        .collect()
}

impl Rule {
    fn matches(&self, path: &[&str], directory: bool) -> bool {
        let inside = path.len() > self.domain.len()
            && self
                .domain
                .iter()
                .zip(path)
                .all(|(domain, part)| domain == part);
        let Some(path) = inside.then(|| path.get(self.domain.len()..)).flatten() else {
            return false;
        };
        match self.parts.as_slice() {
            [name] => self.matches_name(name, path, directory),
            parts => self.matches_path(parts, path, directory),
        }
    }

    /// A name counts for every part: what matches a directory matches all below it.
    fn matches_name(&self, pattern: &str, path: &[&str], directory: bool) -> bool {
        for (i, name) in path.iter().enumerate() {
            match matches(pattern, name) {
                None => return false,
                Some(false) => {}
                Some(true) => {
                    return directory || !self.directories_only || i + 1 < path.len();
                }
            }
        }
        false
    }

    /// A path counts from its domain on; what is left of it below the pattern matches as well.
    fn matches_path(&self, parts: &[String], path: &[&str], directory: bool) -> bool {
        let mut rest = path;
        let (mut matched, mut anywhere) = (false, false);
        for (i, pattern) in parts.iter().enumerate() {
            match pattern.as_str() {
                "" => {
                    anywhere = false;
                    continue;
                }
                "**" if i + 1 == parts.len() => break,
                "**" => {
                    anywhere = true;
                    continue;
                }
                _ => {}
            }
            loop {
                let Some((first, below)) = rest.split_first() else {
                    return false;
                };
                match (matches(pattern, first), anywhere) {
                    (Some(true), _) => {
                        rest = below;
                        matched = true;
                        break;
                    }
                    (Some(false), true) => rest = below,
                    (Some(false), false) | (None, _) => return false,
                }
            }
            anywhere = false;
        }
        matched && (directory || !self.directories_only || !rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(rules: &str, path: &str) -> bool {
        let (path, directory) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let parts: Vec<&str> = path.split('/').collect();
        Ignore(parse(rules, &[])).excludes(&parts, directory)
    }

    #[test]
    fn the_dialect_is_the_one_people_know() {
        for (rules, path, expected) in [
            ("# a", "# a", false),
            ("\\#a", "#a", true),
            ("\\!a", "!a", true),
            (" a", "a", false),
            ("a  ", "a", true),
            ("a\\ ", "a ", true),
            ("a\r", "a", true),
            ("a\t", "a", false),
            ("*.md", "x/y.md", true),
            ("dir", "dir/x/y", true),
            ("dir/", "dir", false),
            ("dir/", "dir/", true),
            ("dir/", "dir/x", true),
            ("dir/x", "other/dir/x", false),
            ("dir/x", "dir/x/y", true),
            ("/x", "x", true),
            ("/x", "y/x", false),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**/x", "a/x", true),
            ("a/**/x", "a/b/c/x", true),
            ("a/**/x", "b/x", false),
            ("d/**", "d/", true),
            ("d/**", "d/x", true),
            ("d/*", "d/", false),
            ("d/*", "d/x", true),
            ("/**", "x", false),
            ("**", "x/y", true),
            ("a**b", "axb", true),
            ("[^a]", "b", true),
            ("[!a]", "b", false),
            ("{a,b}", "a", false),
            ("./a", "a", false),
            ("/*\n!/keep", "drop/x", true),
            ("/*\n!/keep", "keep/x", false),
            // A directory that is left out is looked into all the same.
            ("dir/\n!dir/keep", "dir/keep", false),
            ("dir/\n!dir/keep", "dir/other", true),
            ("!dir/keep\ndir/", "dir/keep", true),
            ("[", "[", false),
        ] {
            assert_eq!(excluded(rules, path), expected, "{rules:?} {path}");
        }
    }

    #[test]
    fn defaults_go_when_there_is_a_rule_and_version_control_stays_out() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("sub")).expect("a directory");
        let load = |extra| Ignore::load(dir.path(), extra).expect("rules");
        let plain = load(None);
        assert!(plain.excludes(&["a.png"], false) && plain.excludes(&[".git", "x"], false));
        assert!(!plain.excludes(&["a.yaml"], false));
        // A file of comments alone is no rule.
        std::fs::write(dir.path().join(".sourceignore"), "# nothing\n\n").expect("written");
        assert!(load(None).excludes(&["a.png"], false));
        let own = load(Some("*.md"));
        assert!(!own.excludes(&["a.png"], false) && own.excludes(&["a.md"], false));
        assert!(own.excludes(&[".git", "config"], false));
        assert!(!own.excludes(&[".sourceignore"], false));
        // A file counts below its own directory; the field comes last.
        std::fs::write(dir.path().join("sub/.sourceignore"), "/x\n").expect("written");
        let rules = load(None);
        assert!(rules.excludes(&["sub", "x"], false) && !rules.excludes(&["x"], false));
        assert!(!load(Some("!x")).excludes(&["sub", "x"], false));
    }
}
