//! A semantic version as Masterminds/semver v3 reads it.
//!
//! Owns parsing (lax: `v1`, `1.2`, `01.2.3`; strict: the specification's form) and precedence.
//! It refuses a fourth number, empty identifiers and numbers beyond 64 bits.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Why a text is not a version. Every case is terminal: the text must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text is empty.
    #[error("the version is empty; write one such as `1.2.3`")]
    Empty,
    /// The text has not the shape of a version.
    #[error("invalid semantic version `{0}`; write one such as `1.2.3` or `1.2.3-rc.1`")]
    Invalid(String),
    /// A number starts with a zero where that is not allowed.
    #[error("invalid semantic version `{0}`: the number `{1}` starts with a zero; remove the zero")]
    LeadingZero(String, String),
    /// A number does not fit 64 bits.
    #[error("invalid semantic version `{0}`: the number `{1}` is too large")]
    TooLarge(String, String),
}

/// A version. Comparison is by precedence, so two versions that differ in build metadata only are equal.
#[derive(Debug, Clone)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    pre: String,
    metadata: String,
    original: String,
}

impl Version {
    /// Reads a version leniently: an optional leading `v`, one to three numbers (leading zeros allowed),
    /// then prerelease and metadata.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let invalid = || VersionError::Invalid(text.to_owned());
        let (core, pre, metadata) =
            split(text.strip_prefix('v').unwrap_or(text)).ok_or_else(invalid)?;
        let mut numbers = [0_u64; 3];
        let mut parts = core.split('.');
        for (i, slot) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) => *slot = number(text, part)?,
                None if i == 0 => return Err(invalid()),
                None => break,
            }
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Self::build(text, numbers, pre, metadata)
    }

    /// Reads a version strictly, as the specification has it: three numbers, no leading `v`, no leading zeros.
    pub fn parse_strict(text: &str) -> Result<Self, VersionError> {
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        let invalid = || VersionError::Invalid(text.to_owned());
        let (core, pre, metadata) = split(text).ok_or_else(invalid)?;
        let mut numbers = [0_u64; 3];
        let mut parts = core.split('.');
        for slot in &mut numbers {
            let part = parts.next().ok_or_else(invalid)?;
            if part.len() > 1 && part.starts_with('0') {
                return Err(VersionError::LeadingZero(text.to_owned(), part.to_owned()));
            }
            *slot = number(text, part)?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Self::build(text, numbers, pre, metadata)
    }

    fn build(
        text: &str,
        [major, minor, patch]: [u64; 3],
        pre: Option<&str>,
        metadata: Option<&str>,
    ) -> Result<Self, VersionError> {
        for part in pre.into_iter().flat_map(|pre| pre.split('.')) {
            if !is_identifier(part) {
                return Err(VersionError::Invalid(text.to_owned()));
            }
            if part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(VersionError::LeadingZero(text.to_owned(), part.to_owned()));
            }
        }
        if !metadata
            .into_iter()
            .flat_map(|m| m.split('.'))
            .all(is_identifier)
        {
            return Err(VersionError::Invalid(text.to_owned()));
        }
        Ok(Self {
            major,
            minor,
            patch,
            pre: pre.unwrap_or_default().to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: text.to_owned(),
        })
    }

    /// The first number.
    pub fn major(&self) -> u64 {
        self.major
    }

    /// The second number, 0 when it was left out.
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// The third number, 0 when it was left out.
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// What follows the `-`, or the empty text.
    pub fn prerelease(&self) -> &str {
        &self.pre
    }

    /// What follows the `+`, or the empty text.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The text it was read from.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// The full form, `major.minor.patch[-pre][+metadata]`, whatever the original text was.
    pub fn normalized(&self) -> String {
        let mut text = format!("{}.{}.{}", self.major, self.minor, self.patch);
        for (sign, part) in [('-', &self.pre), ('+', &self.metadata)] {
            if !part.is_empty() {
                text.push(sign);
                text.push_str(part);
            }
        }
        text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.original)
    }
}

impl std::str::FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| compare_prerelease(&self.pre, &other.pre))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.major, self.minor, self.patch, &self.pre).hash(state);
    }
}

/// Orders two prerelease texts; no prerelease comes after any.
pub(crate) fn compare_prerelease(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => compare_identifier(x, y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Numbers come before words; numbers compare by value, words by bytes. A number beyond 64 bits counts as a word.
fn compare_identifier(a: &str, b: &str) -> Ordering {
    let digits = |s: &str| {
        s.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| s.parse::<u64>().ok())
    };
    match (digits(a).flatten(), digits(b).flatten()) {
        (Some(x), Some(y)) => x.cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Cuts off metadata at the first `+`, then prerelease at the first `-`. The core must be digits and dots.
fn split(text: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
    let (rest, metadata) = match text.split_once('+') {
        Some((rest, metadata)) => (rest, Some(metadata)),
        None => (text, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    core.bytes()
        .all(|b| b.is_ascii_digit() || b == b'.')
        .then_some((core, pre, metadata))
}

fn number(text: &str, part: &str) -> Result<u64, VersionError> {
    if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(VersionError::Invalid(text.to_owned()));
    }
    part.parse()
        .map_err(|_| VersionError::TooLarge(text.to_owned(), part.to_owned()))
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
