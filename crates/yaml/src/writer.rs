//! From a JSON value to text, byte for byte as go-yaml v2 prints it. Owns layout, key order and
//! folding; refuses comments and styles (editing keeps those, see `replace`).
//!
//! The layout follows from four facts about the cursor (column, indentation, whether only blanks or
//! indicators stand before it on the line, whether a blank stands before it), as in the emitter whose
//! output is reproduced: its corner cases come out of these and not out of rules of their own.

use serde_json::{Number, Value};

use crate::number::{float_text, json_float};
use crate::order::sort_natural;
use crate::resolve::ambiguous;
use crate::scalar::{Analysis, analyze, escape, is_break, needs_escape};
use crate::tree::Style;

/// A writer with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Whether keys are written in natural order; otherwise in the value's order.
    pub sort_keys: bool,
    /// The column after which text is folded at spaces; `None` never folds.
    pub width: Option<usize>,
}

impl Default for Writer {
    /// As `sigs.k8s.io/yaml` writes: sorted, folded at 80.
    fn default() -> Self {
        Self {
            sort_keys: true,
            width: Some(80),
        }
    }
}

/// Writes a value as `sigs.k8s.io/yaml` does, with a line break at the end.
pub fn to_string(value: &Value) -> String {
    Writer::default().to_string(value)
}

impl Writer {
    /// Keys in the value's order, nothing folded.
    pub fn in_order() -> Self {
        Self {
            sort_keys: false,
            width: None,
        }
    }

    /// Writes one value, with a line break at the end.
    pub fn to_string(&self, value: &Value) -> String {
        let mut cursor = Cursor {
            settings: self,
            out: String::new(),
            column: 0,
            indent: -1,
            indention: true,
            whitespace: true,
        };
        cursor.node(value, false);
        cursor.line();
        cursor.out
    }

    /// Writes several values as documents of one stream, `---` between them.
    pub fn stream<'a>(&self, values: impl IntoIterator<Item = &'a Value>) -> String {
        let texts: Vec<String> = values.into_iter().map(|v| self.to_string(v)).collect();
        texts.join("---\n")
    }
}

struct Cursor<'a> {
    settings: &'a Writer,
    out: String,
    column: usize,
    /// The column of the enclosing collection; -1 outside of any.
    indent: i64,
    /// Only blanks and indicators stand before the cursor on this line.
    indention: bool,
    /// A blank or the line's begin stands before the cursor.
    whitespace: bool,
}

impl Cursor<'_> {
    fn node(&mut self, value: &Value, in_mapping: bool) {
        match value {
            Value::Null => self.plain("null", false),
            Value::Bool(true) => self.plain("true", false),
            Value::Bool(false) => self.plain("false", false),
            Value::Number(n) => self.plain(&number_text(n), false),
            Value::String(text) => self.text(text, false),
            Value::Array(items) if items.is_empty() => self.indicator("[]", true, false, false),
            Value::Object(map) if map.is_empty() => self.indicator("{}", true, false, false),
            Value::Array(items) => {
                // A list directly under a key stays in the key's column.
                let outer = self.deepen(in_mapping && !self.indention);
                for item in items {
                    self.line();
                    self.indicator("-", true, false, true);
                    self.node(item, false);
                }
                self.indent = outer;
            }
            Value::Object(map) => {
                let mut entries: Vec<(&str, &Value)> =
                    map.iter().map(|(k, v)| (k.as_str(), v)).collect();
                if self.settings.sort_keys {
                    sort_natural(&mut entries);
                }
                let outer = self.deepen(false);
                for (key, value) in entries {
                    self.line();
                    if key.len() <= 128 && !key.contains(is_break) {
                        self.text(key, true);
                        self.indicator(":", false, false, false);
                    } else {
                        self.indicator("?", true, false, true);
                        self.text(key, false);
                        self.line();
                        self.indicator(":", true, false, true);
                    }
                    self.node(value, true);
                }
                self.indent = outer;
            }
        }
    }

    /// Goes one level in and gives back the indentation to return to.
    fn deepen(&mut self, stay: bool) -> i64 {
        let outer = self.indent;
        if outer < 0 {
            self.indent = 0;
        } else if !stay {
            self.indent += 2;
        }
        outer
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn break_line(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
    }

    /// Goes to the indentation, on a new line unless this one is still blank.
    fn line(&mut self) {
        let indent = usize::try_from(self.indent).unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.break_line('\n');
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, mark: &str, blank_before: bool, whitespace: bool, indention: bool) {
        if blank_before && !self.whitespace {
            self.put(' ');
        }
        mark.chars().for_each(|c| self.put(c));
        self.whitespace = whitespace;
        self.indention &= indention;
    }

    fn text(&mut self, text: &str, key: bool) {
        let analysis = analyze(text);
        // Continuation lines stand one level deeper than the collection.
        let outer = self.indent;
        self.indent = if outer < 0 { 2 } else { outer + 2 };
        match style(text, analysis, key) {
            Style::Single => self.single(text, key),
            Style::Double => self.double(text, key),
            Style::Literal | Style::Folded => self.literal(text),
            Style::Plain => self.plain(text, key),
        }
        self.indent = outer;
    }

    /// Whether a space here may become a line break.
    fn folds(&self, key: bool, after_space: bool) -> bool {
        !key && !after_space && self.settings.width.is_some_and(|width| self.column > width)
    }

    fn plain(&mut self, text: &str, key: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        let mut spaces = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == ' ' && self.folds(key, spaces) && chars.peek() != Some(&' ') {
                self.line();
            } else {
                self.put(c);
            }
            spaces = c == ' ';
            self.indention &= spaces;
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single(&mut self, text: &str, key: bool) {
        self.indicator("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            if c == ' ' {
                let inside = !first && chars.peek().is_some_and(|n| *n != ' ');
                if inside && self.folds(key, spaces) {
                    self.line();
                } else {
                    self.put(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.break_line('\n');
                }
                self.break_line(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.line();
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
            first = false;
        }
        self.indicator("'", false, false, false);
    }

    fn double(&mut self, text: &str, key: bool) {
        self.indicator("\"", true, false, false);
        // A byte-order mark in front makes the emitter escape everything.
        let all = text.starts_with('\u{feff}');
        let mut spaces = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            if all || needs_escape(c) {
                let escaped = if all { escape_always(c) } else { escape(c) };
                escaped.chars().for_each(|c| self.put(c));
                spaces = false;
            } else if c == ' ' {
                if !first && chars.peek().is_some() && self.folds(key, spaces) {
                    self.line();
                    if chars.peek() == Some(&' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(c);
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
            first = false;
        }
        self.indicator("\"", false, false, false);
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator("2", false, false, false);
        }
        let mut from_end = text.chars().rev();
        let chomp = match (from_end.next(), from_end.next()) {
            (Some(last), _) if !is_break(last) => "-",
            (Some(_), None) => "+",
            (Some(_), Some(before)) if is_break(before) => "+",
            _ => "",
        };
        self.indicator(chomp, false, false, false);
        self.break_line('\n');
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.break_line(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.line();
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }
}

/// The style Go chooses: a literal block for lines, double quotes for what would be taken for another
/// type, none otherwise; then what the text allows.
fn style(text: &str, analysis: Analysis, key: bool) -> Style {
    let mut style = if text.contains('\n') {
        Style::Literal
    } else if ambiguous(text) || key && text == "<<" {
        // Go writes the key `<<` without quotes and then reads it as a merge.
        Style::Double
    } else {
        Style::Plain
    };
    if key && analysis.multiline {
        style = Style::Double;
    }
    if style == Style::Plain && !analysis.plain {
        style = Style::Single;
    }
    if style == Style::Single && !analysis.single {
        style = Style::Double;
    }
    if style == Style::Literal && (!analysis.literal || key) {
        style = Style::Double;
    }
    style
}

fn escape_always(c: char) -> String {
    if needs_escape(c) {
        escape(c)
    } else {
        escape_code(c)
    }
}

fn escape_code(c: char) -> String {
    match u32::from(c) {
        code @ 0..=0xff => format!("\\x{code:02X}"),
        code => format!("\\u{code:04X}"),
    }
}

fn number_text(n: &Number) -> String {
    if n.is_i64() || n.is_u64() {
        return n.to_string();
    }
    let Some(f) = n.as_f64() else {
        return n.to_string();
    };
    match json_float(f) {
        Some(Value::Number(n)) if n.is_i64() || n.is_u64() => n.to_string(),
        _ => float_text(f),
    }
}
