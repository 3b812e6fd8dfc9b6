//! Go's regular expression syntax, translated to that of the `regex` crate.
//!
//! Owns the grammar (RE2 with Perl's extensions, as Go's `regexp` accepts it). Each atom is written out with its
//! own flags, so that nothing in the result depends on what stands around it. It refuses what Go refuses:
//! look-around, back-references, stacked repetition, repetition above 1000.

use crate::regex_class::{bracket, literal, perl, posix, unicode};

/// Groups within groups beyond this are refused, as Go does.
const MAX_DEPTH: usize = 1000;
/// The largest repetition count, also of nested ones multiplied.
const MAX_REPEAT: u64 = 1000;

/// Why a pattern is refused. Every case is terminal: the pattern must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// The syntax is wrong at a place.
    #[error("invalid regular expression `{pattern}`: {reason}: `{at}`")]
    Syntax {
        /// The whole pattern.
        pattern: String,
        /// What is wrong.
        reason: &'static str,
        /// The text it is wrong with.
        at: String,
    },
    /// The pattern is nested too deeply or compiles to too much.
    #[error("the regular expression `{0}` is too large; use fewer groups or smaller counts")]
    TooLarge(String),
}

/// A translated pattern.
pub(crate) struct Translated {
    pub(crate) pattern: String,
    pub(crate) names: Vec<Option<String>>,
}

/// Translates a pattern.
pub(crate) fn translate(pattern: &str) -> Result<Translated, RegexError> {
    let mut parser = Parser {
        pattern,
        at: 0,
        names: vec![None],
    };
    let (text, _) = parser.alternation(Flags::default(), 0)?;
    if !parser.rest().is_empty() {
        return Err(parser.refuse("unexpected )", pattern));
    }
    Ok(Translated {
        pattern: text,
        names: parser.names,
    })
}

#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the language has four independent flags"
)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_newline: bool,
    swap_greed: bool,
}

/// A piece that a repetition can follow.
struct Atom {
    text: String,
    /// The product of the repetition counts within.
    weight: u64,
    repeated: bool,
}

struct Parser<'p> {
    pattern: &'p str,
    at: usize,
    names: Vec<Option<String>>,
}

impl<'p> Parser<'p> {
    fn rest(&self) -> &'p str {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn refuse(&self, reason: &'static str, at: &str) -> RegexError {
        RegexError::Syntax {
            pattern: self.pattern.to_owned(),
            reason,
            at: at.to_owned(),
        }
    }

    /// Everything up to the closing parenthesis or the end; flags set within end with it.
    fn alternation(&mut self, mut flags: Flags, depth: usize) -> Result<(String, u64), RegexError> {
        if depth > MAX_DEPTH {
            return Err(RegexError::TooLarge(self.pattern.to_owned()));
        }
        let mut atoms: Vec<Atom> = Vec::new();
        let mut done = String::new();
        let mut weight = 1;
        let mut after_repeat = None; // where a repetition began that ends right here
        loop {
            let start = self.at;
            let stacked = after_repeat.take();
            let atom = match self.next() {
                None => break,
                Some(')') => {
                    self.at = start;
                    break;
                }
                Some('|') => {
                    atoms.drain(..).for_each(|atom| done.push_str(&atom.text));
                    done.push('|');
                    continue;
                }
                Some('(') => match self.group(&mut flags, depth)? {
                    Some(atom) => atom,
                    None => continue,
                },
                Some('[') => self.class(flags, start)?,
                Some('.') => plain(if flags.dot_newline {
                    "(?s:.)"
                } else {
                    "(?-s:.)"
                }),
                Some('^') => plain(if flags.multi_line { "(?m:^)" } else { r"\A" }),
                Some('$') => plain(if flags.multi_line { "(?m:$)" } else { r"\z" }),
                Some('\\') => {
                    if self.eat("Q") {
                        let (quoted, skip) = match self.rest().split_once("\\E") {
                            Some((quoted, _)) => (quoted, 2),
                            None => (self.rest(), 0),
                        };
                        atoms.extend(quoted.chars().map(|c| character(c, flags)));
                        self.at += quoted.len() + skip;
                        continue;
                    }
                    self.escape(flags, start)?
                }
                Some(c @ ('*' | '+' | '?' | '{')) => {
                    let counts = match c {
                        '*' => Some((0, None)),
                        '+' => Some((1, None)),
                        '?' => Some((0, Some(1))),
                        _ => self.counts(start)?,
                    };
                    let Some((min, max)) = counts else {
                        atoms.push(character('{', flags));
                        continue;
                    };
                    let spelled = self.pattern.get(start..self.at).unwrap_or_default();
                    let lazy = self.eat("?") != flags.swap_greed;
                    if let Some(first) = stacked {
                        let both = self.pattern.get(first..self.at).unwrap_or_default();
                        return Err(self.refuse("invalid nested repetition operator", both));
                    }
                    let Some(atom) = atoms.pop() else {
                        return Err(self.refuse("missing argument to repetition operator", spelled));
                    };
                    after_repeat = Some(start);
                    repeat(atom, spelled, c == '{', min, max, lazy)
                }
                Some(c) => character(c, flags),
            };
            weight = weight.max(atom.weight);
            if weight > MAX_REPEAT {
                let spelled = self.pattern.get(start..self.at).unwrap_or_default();
                return Err(self.refuse("invalid repeat count", spelled));
            }
            atoms.push(atom);
        }
        atoms.drain(..).for_each(|atom| done.push_str(&atom.text));
        Ok((done, weight))
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else after a brace makes the brace a literal one.
    fn counts(&mut self, start: usize) -> Result<Option<(u64, Option<u64>)>, RegexError> {
        let Some((inner, _)) = self.rest().split_once('}') else {
            return Ok(None);
        };
        let count = |text: &str| {
            let shape = !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'));
            shape.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        let counts = match inner.split_once(',') {
            None => count(inner).map(|n| (n, Some(n))),
            Some((min, "")) => count(min).map(|min| (min, None)),
            Some((min, max)) => count(min)
                .zip(count(max))
                .map(|(min, max)| (min, Some(max))),
        };
        let Some((min, max)) = counts else {
            return Ok(None);
        };
        self.at += inner.len() + 1;
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            let spelled = self.pattern.get(start..self.at).unwrap_or_default();
            return Err(self.refuse("invalid repeat count", spelled));
        }
        Ok(Some((min, max)))
    }

    /// What follows an opening parenthesis. `(?i)` sets flags and is no atom.
    fn group(&mut self, flags: &mut Flags, depth: usize) -> Result<Option<Atom>, RegexError> {
        let start = self.at - 1;
        let mut inner = *flags;
        let open = if self.eat("?P<") || self.rest().starts_with("?<") && self.eat("?<") {
            let Some((name, _)) = self.rest().split_once('>') else {
                let rest = self.pattern.get(start..).unwrap_or_default();
                return Err(self.refuse("invalid named capture", rest));
            };
            self.at += name.len() + 1;
            let spelled = self.pattern.get(start..self.at).unwrap_or_default();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(self.refuse("invalid named capture", spelled));
            }
            self.names.push(Some(name.to_owned()));
            "("
        } else if self.eat("?") {
            if !self.flags(&mut inner, start)? {
                *flags = inner;
                return Ok(None);
            }
            "(?:"
        } else {
            self.names.push(None);
            "("
        };
        let (text, weight) = self.alternation(inner, depth + 1)?;
        if !self.eat(")") {
            return Err(self.refuse("missing closing )", self.pattern));
        }
        Ok(Some(Atom {
            text: format!("{open}{text})"),
            weight,
            repeated: false,
        }))
    }

    /// The flags after `(?`. True when they end in a colon, so that a group follows.
    fn flags(&mut self, flags: &mut Flags, start: usize) -> Result<bool, RegexError> {
        let (mut on, mut seen) = (true, false);
        loop {
            match self.next() {
                Some('i') => flags.fold = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_newline = on,
                Some('U') => flags.swap_greed = on,
                Some('-') if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                Some(end @ (':' | ')')) if on || seen => return Ok(end == ':'),
                other => {
                    if other.is_none() {
                        let rest = self.pattern.get(start..).unwrap_or_default();
                        return Err(self.refuse("missing argument to group syntax", rest));
                    }
                    let spelled = self.pattern.get(start..self.at).unwrap_or_default();
                    return Err(self.refuse("invalid or unsupported Perl syntax", spelled));
                }
            }
            seen = true;
        }
    }

    /// What follows a backslash outside brackets.
    fn escape(&mut self, flags: Flags, start: usize) -> Result<Atom, RegexError> {
        let simple = match self.rest().chars().next() {
            Some('A') => Some(r"\A"),
            Some('z') => Some(r"\z"),
            Some('b') => Some(r"(?-u:\b)"),
            Some('B') => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(simple) = simple {
            self.at += 1;
            return Ok(plain(simple));
        }
        if let Some(class) = self.named_class(start)? {
            return Ok(folded(&class, flags));
        }
        self.escaped_char(start).map(|c| character(c, flags))
    }

    /// `\d`, `\pL`, `\p{Greek}` after the backslash, or nothing when it is not such a class.
    fn named_class(&mut self, start: usize) -> Result<Option<String>, RegexError> {
        let Some(letter) = self.rest().chars().next() else {
            return Ok(None);
        };
        if let Some((members, negated)) = perl(letter) {
            self.at += 1;
            return Ok(Some(bracket(members, negated)));
        }
        if !matches!(letter, 'p' | 'P') {
            return Ok(None);
        }
        self.at += 1;
        let from = self.at;
        let name = match self.next() {
            Some('{') => match self.rest().split_once('}') {
                Some((name, _)) => {
                    self.at += name.len() + 1;
                    name
                }
                None => "{",
            },
            Some(_) => self.pattern.get(from..self.at).unwrap_or_default(),
            None => "",
        };
        let (name, caret) = name
            .strip_prefix('^')
            .map_or((name, false), |name| (name, true));
        if let Some(class) = unicode(name, (letter == 'P') != caret) {
            return Ok(Some(class));
        }
        let spelled = self.pattern.get(start..self.at).unwrap_or_default();
        Err(self.refuse("invalid character class range", spelled))
    }

    /// The character an escape stands for, the backslash consumed.
    fn escaped_char(&mut self, start: usize) -> Result<char, RegexError> {
        let Some(c) = self.next() else {
            return Err(self.refuse("trailing backslash at end of expression", ""));
        };
        let found = match c {
            '0' => Some(self.octal(0)),
            '1'..='7' if self.rest().starts_with(|c: char| ('0'..='7').contains(&c)) => {
                Some(self.octal(u32::from(c) - u32::from('0')))
            }
            'a' => Some('\x07'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            'x' => self.hex(),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        found.ok_or_else(|| {
            let spelled = self.pattern.get(start..self.at).unwrap_or_default();
            self.refuse("invalid escape sequence", spelled)
        })
    }

    fn octal(&mut self, first: u32) -> char {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.rest().chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.at += 1;
            code = code * 8 + digit;
        }
        char::from_u32(code).unwrap_or('\0') // three octal digits always make a character
    }

    fn hex(&mut self) -> Option<char> {
        let digits = if self.eat("{") {
            let (digits, _) = self.rest().split_once('}')?;
            self.at += digits.len() + 1;
            digits
        } else {
            let digits = self.rest().get(..2)?;
            self.at += 2;
            digits
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)
    }

    /// A class, the opening bracket consumed.
    fn class(&mut self, flags: Flags, start: usize) -> Result<Atom, RegexError> {
        let negated = self.eat("^");
        let mut members = String::new();
        let mut first = true;
        loop {
            let rest = self.rest();
            if rest.starts_with(']') && !first {
                self.at += 1;
                break;
            }
            first = false;
            if let Some((name, _)) = rest
                .strip_prefix("[:")
                .and_then(|rest| rest.split_once(":]"))
            {
                self.at += name.len() + 4;
                let (bare, caret) = name.strip_prefix('^').map_or((name, false), |n| (n, true));
                let Some(inner) = posix(bare) else {
                    let spelled = rest.get(..name.len() + 4).unwrap_or_default();
                    return Err(self.refuse("invalid character class range", spelled));
                };
                members.push_str(&bracket(inner, caret));
                continue;
            }
            let at = self.at;
            if self.eat("\\") {
                if let Some(class) = self.named_class(at)? {
                    members.push_str(&class);
                    continue;
                }
                self.at = at;
            }
            let low = self.class_char(start)?;
            let mut ends = self.rest().chars();
            if ends.next() == Some('-') && !matches!(ends.next(), Some(']') | None) {
                self.at += 1;
                let high = self.class_char(start)?;
                if high < low {
                    let spelled = self.pattern.get(at..self.at).unwrap_or_default();
                    return Err(self.refuse("invalid character class range", spelled));
                }
                members.push_str(&literal(low));
                members.push('-');
                members.push_str(&literal(high));
            } else {
                members.push_str(&literal(low));
            }
        }
        Ok(folded(&bracket(&members, negated), flags))
    }

    fn class_char(&mut self, start: usize) -> Result<char, RegexError> {
        let at = self.at;
        match self.next() {
            None => {
                let rest = self.pattern.get(start..).unwrap_or_default();
                Err(self.refuse("missing closing ]", rest))
            }
            Some('\\') => self.escaped_char(at),
            Some(c) => Ok(c),
        }
    }
}

fn plain(text: &str) -> Atom {
    Atom {
        text: text.to_owned(),
        weight: 1,
        repeated: false,
    }
}

fn folded(text: &str, flags: Flags) -> Atom {
    if flags.fold {
        plain(&format!("(?i:{text})"))
    } else {
        plain(text)
    }
}

fn character(c: char, flags: Flags) -> Atom {
    if flags.fold && c.is_alphabetic() {
        plain(&format!("(?i:{})", literal(c)))
    } else {
        plain(&literal(c))
    }
}

fn repeat(
    atom: Atom,
    spelled: &str,
    counted: bool,
    min: u64,
    max: Option<u64>,
    lazy: bool,
) -> Atom {
    let inner = if atom.repeated {
        format!("(?:{})", atom.text)
    } else {
        atom.text
    };
    let lazy = if lazy { "?" } else { "" };
    let factor = max.unwrap_or(min);
    let weight = if counted && (min >= 2 || factor >= 2) {
        factor.saturating_mul(atom.weight)
    } else {
        atom.weight
    };
    Atom {
        text: format!("{inner}{spelled}{lazy}"),
        weight,
        repeated: true,
    }
}
