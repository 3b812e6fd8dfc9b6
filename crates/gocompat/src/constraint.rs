//! Version ranges as Masterminds/semver v3 reads and checks them.
//!
//! Owns the range language: alternatives by `||`, conjunction by comma or space, hyphen ranges, wildcards,
//! `= != > >= => < <= =< ~ ~> ^`, and the rule that prereleases take part only in a group that names one.
//! It refuses the empty text.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use crate::version::{Version, compare_prerelease};

/// Why a text is not a range. Terminal: the text must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// A part between `||` is not a list of comparisons.
    #[error(
        "improper constraint: `{0}`; write comparisons such as `>=1.2.0 <2.0.0`, `~1.2`, `^1` or `1.x`"
    )]
    Improper(String),
    /// A comparison's version cannot be read.
    #[error(
        "improper constraint: the version `{0}` is not valid; write one such as `1.2.3` or `1.x`"
    )]
    Version(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

/// Longest spelling first, so that `>=` is never read as `>`.
const OPS: [(&str, Op); 11] = [
    ("!=", Op::NotEqual),
    (">=", Op::GreaterEqual),
    ("=>", Op::GreaterEqual),
    ("<=", Op::LessEqual),
    ("=<", Op::LessEqual),
    ("~>", Op::Tilde),
    ("=", Op::Equal),
    (">", Op::Greater),
    ("<", Op::Less),
    ("~", Op::Tilde),
    ("^", Op::Caret),
];

/// Which numbers a comparison leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// None: `1.2.3`.
    None,
    /// The patch: `1.2`, `1.2.x`.
    Patch,
    /// The minor and the patch: `1`, `1.x`.
    Minor,
    /// All: `*`.
    All,
}

#[derive(Debug, Clone)]
struct Comparison {
    op: Op,
    version: Version,
    open: Open,
}

#[derive(Debug, Clone)]
struct Group {
    comparisons: Vec<Comparison>,
    prereleases: bool,
}

/// A version range.
#[derive(Debug, Clone)]
pub struct VersionRange {
    groups: Vec<Group>,
    original: String,
}

impl VersionRange {
    /// Reads a range.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let rewritten = rewrite_hyphens(text);
        let groups = rewritten
            .split("||")
            .map(group)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            groups,
            original: text.to_owned(),
        })
    }

    /// Whether `version` lies in the range.
    pub fn check(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            (version.prerelease().is_empty() || group.prereleases)
                && group
                    .comparisons
                    .iter()
                    .all(|comparison| comparison.admits(version))
        })
    }

    /// The text it was read from.
    pub fn original(&self) -> &str {
        &self.original
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.original)
    }
}

impl std::str::FromStr for VersionRange {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        Self::parse(text)
    }
}

impl Comparison {
    fn admits(&self, v: &Version) -> bool {
        let c = &self.version;
        match self.op {
            Op::Equal if self.open == Open::None => v == c,
            Op::Equal | Op::Tilde => self.tilde(v),
            Op::NotEqual => self.differs(v),
            Op::Greater => self.greater(v),
            Op::GreaterEqual => v >= c,
            Op::Less => v < c,
            Op::LessEqual => match self.open {
                Open::None => v <= c,
                Open::Minor => v.major() <= c.major(),
                Open::Patch | Open::All => (v.major(), v.minor()) <= (c.major(), c.minor()),
            },
            Op::Caret => self.caret(v),
        }
    }

    /// Go answers by which numbers are open; an open `*` differs from no `0.0.0`-like version only by its metadata.
    fn differs(&self, v: &Version) -> bool {
        let c = &self.version;
        match self.open {
            Open::None | Open::All => v != c,
            Open::Minor => v.major() != c.major(),
            Open::Patch => {
                (v.major(), v.minor()) != (c.major(), c.minor())
                    || compare_prerelease(v.prerelease(), c.prerelease()).is_ne()
            }
        }
    }

    fn greater(&self, v: &Version) -> bool {
        let c = &self.version;
        match self.open {
            Open::None | Open::All => v > c,
            Open::Minor => v.major() > c.major(),
            Open::Patch => (v.major(), v.minor()) > (c.major(), c.minor()),
        }
    }

    fn tilde(&self, v: &Version) -> bool {
        let c = &self.version;
        if v < c {
            return false;
        }
        // `~0.0.0` and `*` have no upper end.
        let zero = (c.major(), c.minor(), c.patch()) == (0, 0, 0);
        if zero && matches!(self.open, Open::None | Open::All) {
            return true;
        }
        v.major() == c.major() && (v.minor() == c.minor() || self.open == Open::Minor)
    }

    fn caret(&self, v: &Version) -> bool {
        let c = &self.version;
        if v < c {
            return false;
        }
        if c.major() > 0 || self.open == Open::Minor {
            return v.major() == c.major();
        }
        if v.major() > 0 {
            return false;
        }
        if c.minor() > 0 || self.open == Open::Patch {
            return v.minor() == c.minor();
        }
        v.minor() == 0 && v.patch() == c.patch()
    }
}

/// One version of a hyphen range. `|` stands in the class because the language this follows has it there:
/// such a version is found, and then refused.
const PARTIAL: &str = r"v?[0-9xX*|]+(?:\.[0-9xX*|]+){0,2}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?";

static HYPHEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let blank = r"[\t\n\x0c\r ]";
    Regex::new(&format!(
        r"{blank}*({PARTIAL}){blank}+-{blank}+({PARTIAL}){blank}*"
    ))
    .ok()
});

fn rewrite_hyphens(text: &str) -> String {
    let mut out = text.to_owned();
    let Some(hyphen) = HYPHEN.as_ref() else {
        return out;
    };
    for found in hyphen.captures_iter(text) {
        if let (Some(whole), Some(low), Some(high)) = (found.get(0), found.get(1), found.get(2)) {
            let both = format!(">= {}, <= {} ", low.as_str(), high.as_str());
            out = out.replacen(whole.as_str(), &both, 1);
        }
    }
    out
}

fn is_blank(b: u8) -> bool {
    matches!(b, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_blank))
}

/// Comparisons separated by blanks or one comma; blanks may follow an operator.
fn group(text: &str) -> Result<Group, ConstraintError> {
    let improper = || ConstraintError::Improper(text.to_owned());
    let mut comparisons = Vec::new();
    let mut prereleases = false;
    let mut rest = skip_blanks(text);
    loop {
        let (op, after) = OPS
            .iter()
            .find_map(|(spelling, op)| Some((*op, rest.strip_prefix(spelling)?)))
            .unwrap_or((Op::Equal, rest));
        let after = skip_blanks(after);
        let length = partial_length(after).ok_or_else(improper)?;
        let (version, tail) = after.split_at(length);
        let (version, open) = partial(version)?;
        prereleases |= !version.prerelease().is_empty();
        comparisons.push(Comparison { op, version, open });
        let trimmed = skip_blanks(tail);
        if trimmed.is_empty() {
            return Ok(Group {
                comparisons,
                prereleases,
            });
        }
        rest = match trimmed.strip_prefix(',') {
            Some(next) => skip_blanks(next),
            None if trimmed.len() < tail.len() => trimmed,
            None => return Err(improper()),
        };
    }
}

/// How many bytes at the start of `text` are one version with wildcards.
fn partial_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let run = |from: usize, ok: fn(u8) -> bool| {
        bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| ok(**b))
            .count()
    };
    let number = |b: u8| b.is_ascii_digit() || matches!(b, b'x' | b'X' | b'*' | b'|');
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let mut at = usize::from(text.starts_with('v'));
    let first = run(at, number);
    if first == 0 {
        return None;
    }
    at += first;
    for _ in 0..2 {
        let more = if bytes.get(at) == Some(&b'.') {
            run(at + 1, number)
        } else {
            0
        };
        if more == 0 {
            break;
        }
        at += 1 + more;
    }
    for sign in [b'-', b'+'] {
        if bytes.get(at) != Some(&sign) || run(at + 1, word) == 0 {
            continue;
        }
        loop {
            at += 1 + run(at + 1, word);
            if bytes.get(at) != Some(&b'.') || run(at + 1, word) == 0 {
                break;
            }
        }
    }
    Some(at)
}

/// Reads a version with wildcards: the open numbers become 0, and what follows an open number is dropped.
fn partial(text: &str) -> Result<(Version, Open), ConstraintError> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let end = bare.find(['-', '+']).unwrap_or(bare.len());
    let (core, rest) = bare.split_at(end);
    let pre = &rest[..rest.find('+').unwrap_or(rest.len())];
    let mut parts = core.split('.');
    let mut fixed = || {
        parts
            .next()
            .filter(|part| !matches!(*part, "x" | "X" | "*" | ""))
    };
    let (version, open) = match (fixed(), fixed(), fixed()) {
        (None, _, _) => (format!("0.0.0{pre}"), Open::All),
        (Some(major), None, _) => (format!("{major}.0.0{pre}"), Open::Minor),
        (Some(major), Some(minor), None) => (format!("{major}.{minor}.0{pre}"), Open::Patch),
        (Some(_), Some(_), Some(_)) => (text.to_owned(), Open::None),
    };
    match Version::parse(&version) {
        Ok(version) => Ok((version, open)),
        Err(_) => Err(ConstraintError::Version(text.to_owned())),
    }
}
