//! Go's quoted strings and characters (`strconv.Quote`, `Unquote`).
//!
//! Owns the escapes. Go strings are bytes, so the byte forms are the true ones; bytes that are not UTF-8 are
//! written as `\xNN`. It refuses what Go refuses: a bare newline between double quotes, surrogates, unknown escapes.

use std::fmt::Write as _;

use crate::unicode::is_print;

/// Why a text is not a quoted string or character. Terminal: the text must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid syntax")]
pub struct QuoteError;

/// Quotes text with double quotes.
pub fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// Quotes text with double quotes, all but ASCII escaped.
pub fn quote_ascii(text: &str) -> String {
    quote_bytes_ascii(text.as_bytes())
}

/// Quotes bytes with double quotes.
pub fn quote_bytes(bytes: &[u8]) -> String {
    quote_with(bytes, false)
}

/// Quotes bytes with double quotes, all but ASCII escaped.
pub fn quote_bytes_ascii(bytes: &[u8]) -> String {
    quote_with(bytes, true)
}

/// Quotes one character with single quotes.
pub fn quote_char(c: char) -> String {
    let mut out = String::from("'");
    escape(&mut out, c, '\'', false);
    out.push('\'');
    out
}

/// Quotes one character with single quotes, escaped when not ASCII.
pub fn quote_char_ascii(c: char) -> String {
    let mut out = String::from("'");
    escape(&mut out, c, '\'', true);
    out.push('\'');
    out
}

fn quote_with(bytes: &[u8], ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            escape(&mut out, c, '"', ascii);
        }
        for b in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out.push('"');
    out
}

fn escape(out: &mut String, c: char, quote: char, ascii: bool) {
    if c == quote || c == '\\' {
        out.push('\\');
        out.push(c);
        return;
    }
    if is_print(c) && (c.is_ascii() || !ascii) {
        out.push(c);
        return;
    }
    let short = match c {
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => "",
    };
    if short.is_empty() {
        let code = u32::from(c);
        // Writing to a string cannot fail.
        let _ = match code {
            0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
            0x20..0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    } else {
        out.push_str(short);
    }
}

/// Reads a Go literal, `"…"`, `` `…` `` or one character in single quotes, into its bytes.
pub fn unquote(text: &str) -> Result<Vec<u8>, QuoteError> {
    if text.starts_with('\'') {
        return unquote_char(text).map(|c| c.to_string().into_bytes());
    }
    if let Some(raw) = text
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'))
    {
        if raw.contains('`') {
            return Err(QuoteError);
        }
        return Ok(raw.bytes().filter(|b| *b != b'\r').collect());
    }
    let mut rest = text
        .strip_prefix('"')
        .and_then(|r| r.strip_suffix('"'))
        .ok_or(QuoteError)?;
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (unit, tail) = unit(rest, '"')?;
        match unit {
            Unit::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(b) => out.push(b),
        }
        rest = tail;
    }
    Ok(out)
}

/// Reads a Go character literal, `'…'`, into its code.
pub fn unquote_char(text: &str) -> Result<char, QuoteError> {
    let inner = text.strip_prefix('\'').ok_or(QuoteError)?;
    let (unit, tail) = unit(inner, '\'')?;
    if tail != "'" {
        return Err(QuoteError);
    }
    match unit {
        Unit::Char(c) => Ok(c),
        Unit::Byte(b) => Ok(char::from(b)),
    }
}

enum Unit {
    Char(char),
    Byte(u8),
}

fn unit(text: &str, quote: char) -> Result<(Unit, &str), QuoteError> {
    let mut chars = text.chars();
    let first = chars.next().ok_or(QuoteError)?;
    if first == quote || first == '\n' {
        return Err(QuoteError);
    }
    if first != '\\' {
        return Ok((Unit::Char(first), chars.as_str()));
    }
    let kind = chars.next().ok_or(QuoteError)?;
    let rest = chars.as_str();
    let plain = |c| Ok((Unit::Char(c), rest));
    match kind {
        'a' => plain('\x07'),
        'b' => plain('\x08'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        '\\' => plain('\\'),
        '\'' | '"' if kind == quote => plain(kind),
        'x' => {
            let (code, rest) = code(rest, 2, 16)?;
            Ok((
                Unit::Byte(u8::try_from(code).map_err(|_| QuoteError)?),
                rest,
            ))
        }
        'u' | 'U' => {
            let (code, rest) = code(rest, if kind == 'u' { 4 } else { 8 }, 16)?;
            Ok((Unit::Char(char::from_u32(code).ok_or(QuoteError)?), rest))
        }
        '0'..='7' => {
            let (code, rest) = code(text.get(1..).ok_or(QuoteError)?, 3, 8)?;
            Ok((
                Unit::Byte(u8::try_from(code).map_err(|_| QuoteError)?),
                rest,
            ))
        }
        _ => Err(QuoteError),
    }
}

fn code(text: &str, length: usize, base: u32) -> Result<(u32, &str), QuoteError> {
    let digits = text.get(..length).ok_or(QuoteError)?;
    if !digits.chars().all(|c| c.is_digit(base)) {
        return Err(QuoteError);
    }
    let value = u32::from_str_radix(digits, base).map_err(|_| QuoteError)?;
    Ok((value, text.get(length..).unwrap_or_default()))
}
