//! PromQL text to tokens with byte positions.

use crate::error::{Position, QueryError};
use crate::number::{parse_duration, parse_value};

/// A token's kind with what it carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// An identifier or keyword, as written.
    Word(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// Punctuation and operators.
    Sign(&'static str),
    End,
}

impl Token {
    /// How the token is named in messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Number(value) => format!("the number {}", crate::number::format_value(*value)),
            Self::Duration(_) => "a duration".to_owned(),
            Self::Text(text) => format!("the string {text:?}"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

/// Longest first, so that `==` is not read as `=`.
const SIGNS: [&str; 25] = [
    "=~", "!~", "==", "!=", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", ":", "=", "<", ">", "+",
    "-", "*", "/", "%", "^", "@", ";",
];

/// All tokens with their byte ranges; the last is [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, usize, usize)>, QueryError> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut brackets = 0_usize;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if c == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let fail = |message: String| QueryError::Parse {
            at: Position::of(text, at),
            message,
        };
        let (token, length) = if c.is_ascii_digit()
            || c == '.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        {
            number(rest).map_err(fail)?
        } else if c.is_ascii_alphabetic() || c == '_' || c == ':' && brackets == 0 {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (
                Token::Word(rest.get(..end).unwrap_or_default().to_owned()),
                end,
            )
        } else if matches!(c, '"' | '\'' | '`') {
            string(rest, c).map_err(fail)?
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            match *sign {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            (Token::Sign(sign), sign.len())
        } else {
            return Err(fail(format!("the character `{c}` cannot stand here")));
        };
        out.push((token, at, at + length));
        at += length;
    }
    out.push((Token::End, text.len(), text.len()));
    Ok(out)
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let bytes = rest.as_bytes();
    let hex = bytes.get(1).is_some_and(|b| matches!(b, b'x' | b'X'));
    let mut end = 0;
    while let Some(byte) = bytes.get(end) {
        let signed = matches!(byte, b'+' | b'-')
            && !hex
            && end > 0
            && bytes.get(end - 1).is_some_and(|b| matches!(b, b'e' | b'E'));
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || signed) {
            break;
        }
        end += 1;
    }
    let word = rest.get(..end).unwrap_or_default();
    if let Some(value) = parse_value(word) {
        Ok((Token::Number(value), end))
    } else if let Some(millis) = parse_duration(word) {
        Ok((Token::Duration(millis), end))
    } else {
        Err(format!("`{word}` is neither a number nor a duration"))
    }
}

fn string(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let unclosed = || "the string has no closing quote".to_owned();
    let body = rest.get(1..).unwrap_or_default();
    if quote == '`' {
        let end = body.find('`').ok_or_else(unclosed)?;
        return Ok((
            Token::Text(body.get(..end).unwrap_or_default().to_owned()),
            end + 2,
        ));
    }
    let mut out: Vec<u8> = Vec::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => return Err(unclosed()),
            '\\' => {
                let (_, kind) = chars.next().ok_or_else(unclosed)?;
                escape(kind, quote, &mut chars, &mut out)?;
            }
            c if c == quote => {
                let text = String::from_utf8(out)
                    .map_err(|_| "the string's escapes are not valid UTF-8".to_owned())?;
                return Ok((Token::Text(text), at + 2));
            }
            other => push(&mut out, other),
        }
    }
    Err(unclosed())
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(
    kind: char,
    quote: char,
    chars: &mut std::str::CharIndices<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let mut digits = |first: Option<char>, count: usize, radix: u32| {
        let mut value = first.and_then(|c| c.to_digit(radix)).unwrap_or(0);
        for _ in 0..count {
            let digit = chars.next().and_then(|(_, c)| c.to_digit(radix))?;
            value = value.checked_mul(radix)?.checked_add(digit)?;
        }
        Some(value)
    };
    let byte = |value: Option<u32>| value.and_then(|value| u8::try_from(value).ok());
    let done = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        c if c == quote => u8::try_from(c).ok(),
        'x' => byte(digits(None, 2, 16)),
        '0'..='7' => byte(digits(Some(kind), 2, 8)),
        'u' | 'U' => {
            let count = if kind == 'u' { 4 } else { 8 };
            let c = digits(None, count, 16).and_then(char::from_u32);
            push(
                out,
                c.ok_or_else(|| format!("the escape `\\{kind}` names no character"))?,
            );
            return Ok(());
        }
        _ => None,
    };
    out.push(done.ok_or_else(|| format!("the escape `\\{kind}` is not known"))?);
    Ok(())
}
