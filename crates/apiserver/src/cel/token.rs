//! Owns the words of the language: numbers, texts, names, signs, each with its place.

use super::ast::{Literal, Offset};
use super::fault::Mistake;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word {
    Name(String),
    /// A name in backquotes, which rules may not use.
    Escaped,
    Literal(Literal),
    /// An operator, bracket or keyword (`in`, `true`, `false`, `null`).
    Sign(&'static str),
    End,
}

/// A word at its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) at: Offset,
    pub(crate) word: Word,
    /// As it was written.
    pub(crate) text: String,
}

const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%", "<", ">",
];

/// Cuts a source into words.
pub(crate) fn tokens(source: &str) -> (Vec<Token>, Vec<Mistake>) {
    let chars: Vec<char> = source.chars().collect();
    let mut reader = Reader {
        chars: &chars,
        next: 0,
    };
    let (mut out, mut mistakes) = (Vec::new(), Vec::new());
    loop {
        reader.space();
        let at = reader.next;
        if at >= chars.len() {
            break;
        }
        match reader.word() {
            Ok(word) => out.push(Token {
                at: at as Offset,
                word,
                text: chars[at..reader.next].iter().collect(),
            }),
            Err(message) => {
                mistakes.push(Mistake::new(at as Offset, message));
                if reader.next == at {
                    reader.next += 1;
                }
                // A number that is too large is still a number to what stands around it.
                if chars.get(at).is_some_and(char::is_ascii_digit) {
                    out.push(Token {
                        at: at as Offset,
                        word: Word::Literal(Literal::Int(0)),
                        text: chars[at..reader.next].iter().collect(),
                    });
                }
            }
        }
    }
    out.push(Token {
        at: chars.len() as Offset,
        word: Word::End,
        text: "<EOF>".to_owned(),
    });
    (out, mistakes)
}

struct Reader<'a> {
    chars: &'a [char],
    next: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.next + ahead).copied()
    }

    fn space(&mut self) {
        while let Some(c) = self.peek(0) {
            if matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}') {
                self.next += 1;
            } else if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.next += 1;
                }
            } else {
                break;
            }
        }
    }

    fn word(&mut self) -> Result<Word, String> {
        let Some(c) = self.peek(0) else {
            return Ok(Word::End);
        };
        if let Some(length) = self.text_prefix() {
            return self.text(length);
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let start = self.next;
            while self
                .peek(0)
                .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                self.next += 1;
            }
            let name: String = self.chars[start..self.next].iter().collect();
            return Ok(match name.as_str() {
                "in" => Word::Sign("in"),
                "true" => Word::Literal(Literal::Bool(true)),
                "false" => Word::Literal(Literal::Bool(false)),
                "null" => Word::Literal(Literal::Null),
                _ => Word::Name(name),
            });
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        for sign in SIGNS {
            if sign
                .chars()
                .enumerate()
                .all(|(i, s)| self.peek(i) == Some(s))
            {
                self.next += sign.len();
                return Ok(Word::Sign(sign));
            }
        }
        if c == '`'
            && let Some(length) = self.chars[self.next + 1..].iter().position(|c| *c == '`')
        {
            self.next += length + 2;
            return Ok(Word::Escaped);
        }
        // What could have begun a sign is told with what did not go on with it.
        let mut text = String::from(c);
        if matches!(c, '&' | '|' | '=') {
            text.extend(self.peek(1));
        }
        self.next += text.chars().count();
        Err(format!(
            "Syntax error: token recognition error at: '{text}'"
        ))
    }

    fn number(&mut self) -> Result<Word, String> {
        let start = self.next;
        let digits = |r: &mut Self, hex: bool| {
            while r
                .peek(0)
                .is_some_and(|c| c.is_ascii_digit() || (hex && c.is_ascii_hexdigit()))
            {
                r.next += 1;
            }
        };
        let hex = self.peek(0) == Some('0')
            && self.peek(1) == Some('x')
            && self.peek(2).is_some_and(|c| c.is_ascii_hexdigit());
        let mut float = false;
        if hex {
            self.next += 2;
            digits(self, true);
        } else {
            digits(self, false);
            if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
                float = true;
                self.next += 1;
                digits(self, false);
            }
            if matches!(self.peek(0), Some('e' | 'E')) {
                let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
                if self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                    float = true;
                    self.next += 1 + sign;
                    digits(self, false);
                }
            }
        }
        let text: String = self.chars[start..self.next].iter().collect();
        if float {
            let value = text
                .parse()
                .map_err(|_| "invalid double literal".to_owned());
            return value.map(|v| Word::Literal(Literal::Double(v)));
        }
        let parsed = if hex {
            u64::from_str_radix(&text[2..], 16)
        } else {
            text.parse()
        };
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.next += 1;
            let value = parsed.map_err(|_| "invalid uint literal".to_owned());
            return value.map(|v| Word::Literal(Literal::Uint(v)));
        }
        match parsed {
            Ok(v) => match i64::try_from(v) {
                Ok(v) => Ok(Word::Literal(Literal::Int(v))),
                // Only after a minus sign is this a number; the parser decides.
                Err(_) if v == 1 << 63 => Ok(Word::Literal(Literal::Int(i64::MIN))),
                Err(_) => Err("invalid int literal".to_owned()),
            },
            Err(_) => Err("invalid int literal".to_owned()),
        }
    }

    /// The length of `r`, `b`, `br` before a quote, or `None` when no text starts here.
    fn text_prefix(&self) -> Option<usize> {
        let mut length = 0;
        if matches!(self.peek(0), Some('b' | 'B')) {
            length = 1;
        }
        if matches!(self.peek(length), Some('r' | 'R')) {
            length += 1;
        }
        matches!(self.peek(length), Some('"' | '\'')).then_some(length)
    }

    fn text(&mut self, prefix: usize) -> Result<Word, String> {
        let start = self.next;
        let (mut raw, mut bytes) = (false, false);
        for i in 0..prefix {
            match self.peek(i) {
                Some('r' | 'R') => raw = true,
                _ => bytes = true,
            }
        }
        self.next += prefix;
        let quote = self.peek(0).unwrap_or('"');
        let long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.next += if long { 3 } else { 1 };
        let mut out = Vec::new();
        loop {
            let Some(c) = self.peek(0) else {
                return Err(self.unrecognized(start));
            };
            if c == quote && (!long || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote)))
            {
                self.next += if long { 3 } else { 1 };
                break;
            }
            if !long && (c == '\n' || c == '\r') {
                return Err(self.unrecognized(start));
            }
            self.next += 1;
            if c == '\\' && !raw {
                self.escape(bytes, &mut out)
                    .ok_or_else(|| self.unrecognized(start))?;
            } else {
                if c == '\\' {
                    // A raw text keeps the backslash and what it would have escaped.
                    out.extend_from_slice(b"\\");
                    if let Some(after) = self.peek(0).filter(|c| *c == quote || *c == '\\') {
                        self.next += 1;
                        out.extend_from_slice(after.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    continue;
                }
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Word::Literal(if bytes {
            Literal::Bytes(out)
        } else {
            Literal::Text(String::from_utf8_lossy(&out).into_owned())
        }))
    }

    fn unrecognized(&self, start: usize) -> String {
        let text: String = self.chars[start..self.next].iter().collect();
        format!("Syntax error: token recognition error at: '{text}'")
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Option<()> {
        let c = self.peek(0)?;
        self.next += 1;
        let simple = match c {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' | '\'' | '"' | '`' | '?' => Some(c as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            return Some(());
        }
        let (count, radix, first) = match c {
            'x' | 'X' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            '0'..='3' => (2, 8, c.to_digit(8)?),
            _ => return None,
        };
        let mut code = first;
        for _ in 0..count {
            let digit = self.peek(0)?.to_digit(radix)?;
            self.next += 1;
            code = code.checked_mul(radix)?.checked_add(digit)?;
        }
        if bytes {
            out.push(u8::try_from(code).ok()?);
        } else {
            let c = char::from_u32(code)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Some(())
    }
}
