//! Go's printing of values: the verbs of `fmt`, padding and flags.
//!
//! Owns how one value becomes text under one verb. The format string is read in `printf`. It refuses to follow a
//! value deeper than `MAX_DEPTH`, since a map can hold itself, and to write more than it was told.

use weir_gocompat::{
    FloatFormat, format_float, is_print, quote_bytes, quote_bytes_ascii, quote_char,
    quote_char_ascii,
};

use crate::types::Type;
use crate::value::Value;

const MAX_DEPTH: usize = 128;
/// Text longer than this is not made longer; an execution refuses it anyway.
pub(crate) const MAX_TEXT: usize = 64 << 20;

/// The flags of one verb.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the format language"
)]
pub(crate) struct Flags {
    pub(crate) minus: bool,
    pub(crate) plus: bool,
    pub(crate) sharp: bool,
    pub(crate) space: bool,
    pub(crate) zero: bool,
    /// `%+v`: fields with their names.
    pub(crate) names: bool,
    /// `%#v`: Go syntax.
    pub(crate) syntax: bool,
    pub(crate) width: Option<usize>,
    pub(crate) precision: Option<usize>,
}

/// Writes values under flags.
pub(crate) struct Printer {
    pub(crate) out: Vec<u8>,
    pub(crate) flags: Flags,
    limit: usize,
}

/// Writes a value as `{{.}}` shows it.
pub(crate) fn print_value(out: &mut Vec<u8>, value: &Value, limit: usize) {
    let mut printer = Printer::new(limit);
    printer.value(value, 'v');
    out.append(&mut printer.out);
}

/// Go's `fmt.Sprint`: a space between operands when neither is a string.
pub fn sprint(args: &[Value]) -> Vec<u8> {
    let mut printer = Printer::new(MAX_TEXT);
    let mut after_string = false;
    for (i, arg) in args.iter().enumerate() {
        let string = matches!(arg, Value::Str(_));
        if i > 0 && !string && !after_string {
            printer.out.push(b' ');
        }
        printer.value(arg, 'v');
        after_string = string;
    }
    printer.out
}

/// Go's `fmt.Sprintln`: a space between operands and a newline at the end.
pub fn sprintln(args: &[Value]) -> Vec<u8> {
    let mut printer = Printer::new(MAX_TEXT);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            printer.out.push(b' ');
        }
        printer.value(arg, 'v');
    }
    printer.out.push(b'\n');
    printer.out
}

impl Printer {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            out: Vec::new(),
            flags: Flags::default(),
            limit,
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes a value as an operand of its own.
    pub(crate) fn value(&mut self, value: &Value, verb: char) {
        if self.out.len() > self.limit {
            return;
        }
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Nil, _) | (_, 'p') => self.bad_verb(value, verb),
            (_, 'T') => {
                let name = value.type_of().name().into_owned();
                self.string(name.as_bytes());
            }
            _ => self.nested(value, verb, 0),
        }
    }

    fn nested(&mut self, value: &Value, verb: char, depth: usize) {
        if depth > MAX_DEPTH || self.out.len() > self.limit {
            self.text("...");
            return;
        }
        match value {
            Value::Nil if self.flags.syntax => self.text("interface {}(nil)"),
            Value::Nil => self.text("<nil>"),
            Value::Bool(b) if matches!(verb, 't' | 'v') => {
                self.pad(if *b { b"true" } else { b"false" });
            }
            Value::Int(i) | Value::Int64(i) => {
                self.integer_verb(value, i.unsigned_abs(), *i < 0, *i as u64, verb);
            }
            Value::Uint8(u) => self.unsigned(value, u64::from(*u), verb),
            Value::Uint64(u) => self.unsigned(value, *u, verb),
            Value::Float(f) => self.float_verb(value, *f, verb),
            Value::Str(s) => self.string_verb(value, s.as_bytes(), verb),
            Value::List(list) => {
                let (open, close) = self.brackets(value, "", ['[', ']']);
                self.text(&open);
                for (i, item) in list.items().iter().enumerate() {
                    self.separate(i);
                    self.nested(item, verb, depth + 1);
                }
                self.text(close);
            }
            Value::Map(map) => {
                let (open, close) = self.brackets(value, "map", ['[', ']']);
                self.text(&open);
                for (i, (key, item)) in map.entries().iter().enumerate() {
                    self.separate(i);
                    self.nested(key, verb, depth + 1);
                    self.text(":");
                    self.nested(item, verb, depth + 1);
                }
                self.text(close);
            }
            Value::Struct(fields) => {
                let (open, close) = self.brackets(value, "", ['{', '}']);
                self.text(&open);
                for (i, (name, item)) in fields.fields().enumerate() {
                    self.separate(i);
                    if self.flags.names || self.flags.syntax {
                        self.text(name);
                        self.text(":");
                    }
                    self.nested(item, verb, depth + 1);
                }
                self.text(close);
            }
            Value::Bool(_) | Value::Func(_) => self.bad_verb(value, verb),
        }
    }

    fn brackets(&self, value: &Value, prefix: &str, plain: [char; 2]) -> (String, &'static str) {
        if self.flags.syntax {
            return (format!("{}{{", value.type_of().name()), "}");
        }
        (
            format!("{prefix}{}", plain[0]),
            if plain[1] == ']' { "]" } else { "}" },
        )
    }

    fn separate(&mut self, i: usize) {
        if i > 0 {
            self.text(if self.flags.syntax { ", " } else { " " });
        }
    }

    /// `%!d(string=hi)`: the verb does not fit the value.
    pub(crate) fn bad_verb(&mut self, value: &Value, verb: char) {
        self.text(&format!("%!{verb}("));
        if matches!(value, Value::Nil) {
            self.text("<nil>)");
            return;
        }
        let name = value.type_of().name().into_owned();
        self.text(&name);
        if matches!(value, Value::Func(_)) {
            self.text(")");
            return;
        }
        self.text("=");
        self.nested(value, 'v', 0);
        self.text(")");
    }

    fn fill(&mut self, count: usize) {
        let filler = if self.flags.zero && !self.flags.minus {
            b'0'
        } else {
            b' '
        };
        self.out.resize(self.out.len() + count, filler);
    }

    /// Writes text, padded to the width, counted in characters.
    fn pad(&mut self, text: &[u8]) {
        let missing = self
            .flags
            .width
            .unwrap_or(0)
            .saturating_sub(count_chars(text));
        if !self.flags.minus {
            self.fill(missing);
        }
        self.out.extend_from_slice(text);
        if self.flags.minus {
            self.fill(missing);
        }
    }

    fn pad_spaces(&mut self, text: &[u8]) {
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn truncated<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(limit) = self.flags.precision else {
            return bytes;
        };
        let mut end = 0;
        let mut count = 0;
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                if count == limit {
                    return bytes.get(..end).unwrap_or(bytes);
                }
                end += c.len_utf8();
                count += 1;
            }
            for _ in chunk.invalid() {
                if count == limit {
                    return bytes.get(..end).unwrap_or(bytes);
                }
                end += 1;
                count += 1;
            }
        }
        bytes
    }

    fn string(&mut self, bytes: &[u8]) {
        self.pad(self.truncated(bytes));
    }

    fn string_verb(&mut self, value: &Value, bytes: &[u8], verb: char) {
        match verb {
            'v' if self.flags.syntax => self.quoted(bytes),
            'v' | 's' => self.string(bytes),
            'q' => self.quoted(bytes),
            'x' | 'X' => self.hex(bytes, verb == 'X'),
            _ => self.bad_verb(value, verb),
        }
    }

    fn quoted(&mut self, bytes: &[u8]) {
        let bytes = self.truncated(bytes);
        let raw = std::str::from_utf8(bytes).is_ok_and(|text| {
            text.chars()
                .all(|c| c == '\t' || !c.is_ascii_control() && c != '`' && c != '\u{feff}')
        });
        let text = if self.flags.sharp && raw {
            format!("`{}`", String::from_utf8_lossy(bytes))
        } else if self.flags.plus {
            quote_bytes_ascii(bytes)
        } else {
            quote_bytes(bytes)
        };
        self.pad(text.as_bytes());
    }

    fn hex(&mut self, bytes: &[u8], upper: bool) {
        let bytes = bytes
            .get(..self.flags.precision.unwrap_or(usize::MAX))
            .unwrap_or(bytes);
        let prefix = match (self.flags.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut text = String::new();
        for (i, b) in bytes.iter().enumerate() {
            if self.flags.space && i > 0 {
                text.push(' ');
            }
            if i == 0 || self.flags.space {
                text.push_str(prefix);
            }
            let digits = if upper {
                b"0123456789ABCDEF"
            } else {
                b"0123456789abcdef"
            };
            for half in [b >> 4, b & 15] {
                text.extend(
                    digits
                        .get(usize::from(half))
                        .map(|digit| char::from(*digit)),
                );
            }
        }
        self.pad(text.as_bytes());
    }

    fn unsigned(&mut self, value: &Value, number: u64, verb: char) {
        if verb == 'v' && self.flags.syntax {
            let sharp = std::mem::replace(&mut self.flags.sharp, true);
            self.integer(number, 16, false, verb);
            self.flags.sharp = sharp;
            return;
        }
        self.integer_verb(value, number, false, number, verb);
    }

    fn integer_verb(&mut self, value: &Value, size: u64, negative: bool, code: u64, verb: char) {
        match verb {
            'v' | 'd' => self.integer(size, 10, negative, verb),
            'b' => self.integer(size, 2, negative, verb),
            'o' | 'O' => self.integer(size, 8, negative, verb),
            'x' | 'X' => self.integer(size, 16, negative, verb),
            'c' => self.pad(character(code).to_string().as_bytes()),
            'q' => {
                let c = character(code);
                let text = if self.flags.plus {
                    quote_char_ascii(c)
                } else {
                    quote_char(c)
                };
                self.pad(text.as_bytes());
            }
            'U' => {
                let precision = self.flags.precision.unwrap_or(0).max(4);
                let mut text = format!("U+{code:0precision$X}");
                let shown = u32::try_from(code)
                    .ok()
                    .and_then(char::from_u32)
                    .filter(|c| is_print(*c));
                if let Some(c) = shown.filter(|_| self.flags.sharp) {
                    text.extend([' ', '\'', c, '\'']);
                }
                self.pad_spaces(text.as_bytes());
            }
            _ => self.bad_verb(value, verb),
        }
    }

    fn integer(&mut self, size: u64, base: u32, negative: bool, verb: char) {
        let signed = negative || self.flags.plus || self.flags.space;
        let mut least = 0;
        if let Some(precision) = self.flags.precision {
            if precision == 0 && size == 0 {
                let zero = std::mem::replace(&mut self.flags.zero, false);
                self.fill(self.flags.width.unwrap_or(0));
                self.flags.zero = zero;
                return;
            }
            least = precision;
        } else if self.flags.zero && !self.flags.minus {
            least = self
                .flags
                .width
                .unwrap_or(0)
                .saturating_sub(usize::from(signed));
        }
        let mut digits = match (base, verb) {
            (2, _) => format!("{size:b}"),
            (8, _) => format!("{size:o}"),
            (16, 'X') => format!("{size:X}"),
            (16, _) => format!("{size:x}"),
            _ => size.to_string(),
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        let prefix = match (self.flags.sharp, base) {
            (true, 2) => "0b",
            (true, 8) if !digits.starts_with('0') => "0",
            (true, 16) if verb == 'X' => "0X",
            (true, 16) => "0x",
            _ => "",
        };
        let octal = if verb == 'O' { "0o" } else { "" };
        let sign = match (negative, self.flags.plus, self.flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        self.pad_spaces(format!("{sign}{octal}{prefix}{digits}").as_bytes());
    }

    fn float_verb(&mut self, value: &Value, float: f64, verb: char) {
        let precision = self.flags.precision;
        let text = match verb {
            'v' | 'g' | 'G' => format_float(float, FloatFormat::General, precision),
            'f' | 'F' => format_float(float, FloatFormat::Fixed, precision.or(Some(6))),
            'e' | 'E' => format_float(float, FloatFormat::Exponent, precision.or(Some(6))),
            'x' | 'X' if precision.is_none() => hex_float(float),
            'b' => binary_float(float),
            _ => return self.bad_verb(value, verb),
        };
        let upper = matches!(verb, 'G' | 'E' | 'X') && float.is_finite();
        let text = if upper {
            text.to_ascii_uppercase()
        } else {
            text
        };
        let (mut sign, body) = match text.strip_prefix(['-', '+']) {
            Some(body) if text.starts_with('-') => ("-", body.to_owned()),
            Some(body) => ("+", body.to_owned()),
            None => ("+", text),
        };
        if sign == "+" && self.flags.space && !self.flags.plus {
            sign = " ";
        }
        if !float.is_finite() {
            let shown = float.is_infinite() || self.flags.plus || self.flags.space;
            let text = if shown { format!("{sign}{body}") } else { body };
            return self.pad_spaces(text.as_bytes());
        }
        let body = if self.flags.sharp {
            sharp_float(&body, verb, precision)
        } else {
            body
        };
        if self.flags.plus || sign != "+" {
            let width = self.flags.width.unwrap_or(0);
            if self.flags.zero && !self.flags.minus && width > body.len() + 1 {
                self.text(sign);
                self.fill(width - body.len() - 1);
                self.text(&body);
                return;
            }
            return self.pad(format!("{sign}{body}").as_bytes());
        }
        self.pad(body.as_bytes());
    }
}

/// `%#g`: a point always, and the zeros that `%g` drops.
fn sharp_float(body: &str, verb: char, precision: Option<usize>) -> String {
    if verb == 'b' {
        return body.to_owned();
    }
    let exponent = if matches!(verb, 'x' | 'X') {
        ['p', 'P']
    } else {
        ['e', 'E']
    };
    let split = body.find(exponent).unwrap_or(body.len());
    let (number, tail) = body.split_at(split);
    let mut number = number.to_owned();
    let wanted = match verb {
        'v' | 'g' | 'G' | 'x' => precision.unwrap_or(6),
        _ => 0,
    };
    let significant = number
        .trim_start_matches(['0', '.'])
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .count();
    let mut missing = wanted.saturating_sub(significant);
    if !number.contains('.') {
        if number == "0" {
            missing = missing.saturating_sub(1);
        }
        number.push('.');
    }
    number.push_str(&"0".repeat(missing));
    number + tail
}

/// `%b` of a float: the whole mantissa and the power of two it is multiplied by.
fn binary_float(float: f64) -> String {
    if !float.is_finite() {
        return format_float(float, FloatFormat::General, None);
    }
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let bits = float.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
    let (exponent, mantissa) = if exponent == 0 {
        (1, fraction)
    } else {
        (exponent, fraction | 1 << 52)
    };
    format!("{sign}{mantissa}p{:+}", exponent - 1075)
}

/// `%x` of a float: the mantissa in hexadecimal and a binary exponent.
fn hex_float(float: f64) -> String {
    let sign = if float.is_sign_negative() { "-" } else { "" };
    if !float.is_finite() {
        return format_float(float, FloatFormat::General, None);
    }
    let bits = float.to_bits();
    let (mut exponent, mut fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
    let mut lead = 1;
    if exponent == 0 {
        if fraction == 0 {
            (lead, exponent) = (0, 1023);
        } else {
            // A subnormal number is brought into normal form.
            let shift = fraction.leading_zeros() - 11;
            fraction = fraction << shift & ((1 << 52) - 1);
            exponent = 1 - i64::from(shift);
        }
    }
    let digits = format!("{fraction:013x}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let exponent = exponent - 1023;
    let direction = if exponent < 0 { '-' } else { '+' };
    format!(
        "{sign}0x{lead}{point}{digits}p{direction}{:02}",
        exponent.abs()
    )
}

fn character(code: u64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Characters as Go counts them: each byte that is not UTF-8 is one.
pub(crate) fn count_chars(bytes: &[u8]) -> usize {
    bytes
        .utf8_chunks()
        .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
        .sum()
}

/// Whether `kind` is one that Go's `*` width takes.
pub(crate) fn is_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) | Value::Int64(i) => Some(*i),
        Value::Uint8(u) => Some(i64::from(*u)),
        Value::Uint64(u) => i64::try_from(*u).ok(),
        _ => None,
    }
    .filter(|_| value.type_of() != Type::Any)
}
