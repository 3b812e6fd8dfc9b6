//! Go's `fmt.Sprintf`: the format string.
//!
//! Owns flags, widths, precisions, argument numbers and what is said of missing and surplus arguments.

use crate::format::{Flags, MAX_TEXT, Printer, is_integer};
use crate::value::Value;

/// Widths and precisions beyond this are refused, as in Go.
const MAX_NUMBER: i64 = 1_000_000;

/// Formats values by a format string, as Go does: what is wrong is told within the text.
pub fn sprintf(format: &[u8], args: &[Value]) -> Vec<u8> {
    let mut state = State {
        format,
        at: 0,
        args,
        arg: 0,
        reordered: false,
        good_number: true,
        printer: Printer::new(MAX_TEXT),
    };
    state.run();
    state.printer.out
}

struct State<'f> {
    format: &'f [u8],
    at: usize,
    args: &'f [Value],
    arg: usize,
    reordered: bool,
    good_number: bool,
    printer: Printer,
}

impl State<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    fn run(&mut self) {
        while let Some(b) = self.peek() {
            self.at += 1;
            if b != b'%' {
                self.printer.out.push(b);
                continue;
            }
            if !self.verb() {
                break;
            }
        }
        if !self.reordered && self.arg < self.args.len() {
            self.printer.flags = Flags::default();
            self.printer.text("%!(EXTRA ");
            for (i, arg) in self.args.iter().skip(self.arg).enumerate() {
                if i > 0 {
                    self.printer.text(", ");
                }
                if matches!(arg, Value::Nil) {
                    self.printer.text("<nil>");
                    continue;
                }
                let name = arg.type_of().name().into_owned();
                self.printer.text(&name);
                self.printer.text("=");
                self.printer.value(arg, 'v');
            }
            self.printer.text(")");
        }
    }

    /// One verb, its percent sign consumed. False when the format ends within it.
    fn verb(&mut self) -> bool {
        self.good_number = true;
        let mut flags = Flags::default();
        while let Some(b) = self.peek() {
            match b {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut after_index = self.argument_number();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.star() {
                Some(width) => {
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                }
                None => self.printer.text("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            flags.width = self.number();
            if after_index && flags.width.is_some() {
                self.good_number = false;
            }
        }
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if after_index {
                self.good_number = false;
            }
            after_index = self.argument_number();
            if self.peek() == Some(b'*') {
                self.at += 1;
                match self.star() {
                    Some(precision) if precision >= 0 => {
                        flags.precision = usize::try_from(precision).ok();
                    }
                    _ => self.printer.text("%!(BADPREC)"),
                }
                after_index = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.argument_number();
        }
        let Some(verb) = self.verb_char() else {
            self.printer.text("%!(NOVERB)");
            return false;
        };
        if verb == '%' {
            self.printer.out.push(b'%');
            return true;
        }
        if !self.good_number {
            self.printer.text(&format!("%!{verb}(BADINDEX)"));
            return true;
        }
        let Some(arg) = self.args.get(self.arg) else {
            self.printer.text(&format!("%!{verb}(MISSING)"));
            return true;
        };
        self.arg += 1;
        if matches!(verb, 'v' | 'w') {
            flags.syntax = std::mem::take(&mut flags.sharp);
            flags.names = std::mem::take(&mut flags.plus);
        }
        self.printer.flags = flags;
        self.printer.value(arg, verb);
        true
    }

    fn verb_char(&mut self) -> Option<char> {
        let rest = self.format.get(self.at..).filter(|rest| !rest.is_empty())?;
        let chunk = rest.utf8_chunks().next()?;
        let verb = chunk.valid().chars().next();
        self.at += verb.map_or(1, char::len_utf8);
        Some(verb.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// A decimal number, or nothing. One that is too large ends what can be read, as in Go.
    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let mut value: i64 = 0;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            if value > MAX_NUMBER {
                self.at = self.format.len();
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            self.at += 1;
        }
        if self.at == start {
            None
        } else {
            usize::try_from(value).ok()
        }
    }

    /// The width or precision an argument gives.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.arg)?;
        self.arg += 1;
        is_integer(arg).filter(|n| (-MAX_NUMBER..=MAX_NUMBER).contains(n))
    }

    /// `[n]`: the next argument is the n-th. True when there was one that could be read.
    fn argument_number(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = self.format.get(self.at..).unwrap_or_default();
        let Some(close) = rest.iter().position(|b| *b == b']') else {
            self.good_number = false;
            self.at += 1;
            return false;
        };
        let inner = rest.get(1..close).unwrap_or_default();
        self.at += close + 1;
        let number = std::str::from_utf8(inner)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok());
        match number {
            Some(n) if (1..=self.args.len()).contains(&n) => {
                self.arg = n - 1;
                true
            }
            other => {
                self.good_number = false;
                other.is_some()
            }
        }
    }
}
