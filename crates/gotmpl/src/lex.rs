//! Templates cut into tokens.
//!
//! Owns delimiters, trimming, comments and the lines tokens start on. It refuses to judge: what is wrong becomes
//! a token of its own, and the parser says so.

use weir_gocompat::{is_digit, is_letter, is_print, quote};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Error,
    Bool,
    Char,
    CharConstant,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

impl TokenKind {
    fn keyword(word: &str) -> Option<Self> {
        Some(match word {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "range" => Self::Range,
            "nil" => Self::Nil,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }

    fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Dot
                | Self::Nil
                | Self::Block
                | Self::Break
                | Self::Continue
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) at: usize,
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    /// The token as messages show it.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            TokenKind::Eof => "EOF".to_owned(),
            TokenKind::Error => self.text.clone(),
            kind if kind.is_keyword() => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                format!("{}...", quote(&head))
            }
            _ => quote(&self.text),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
/// A trim marker and the space beside it.
const MARKER: usize = 2;

pub(crate) struct Lexer<'t> {
    input: &'t str,
    at: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    inside: bool,
    /// `break` and `continue` are words of the language unless functions have these names.
    pub(crate) break_is_word: bool,
    pub(crate) continue_is_word: bool,
}

type Step = Option<Token>;

impl<'t> Lexer<'t> {
    pub(crate) fn new(input: &'t str) -> Self {
        Self {
            input,
            at: 0,
            start: 0,
            line: 1,
            start_line: 1,
            parens: 0,
            inside: false,
            break_is_word: true,
            continue_is_word: true,
        }
    }

    pub(crate) fn next_token(&mut self) -> Token {
        // Only comments make no token, and each moves on.
        loop {
            let step = if self.inside {
                Some(self.action())
            } else {
                self.text()
            };
            if let Some(token) = step {
                return token;
            }
        }
    }

    fn rest(&self) -> &'t str {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.advance();
        }
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn spelled(&self) -> &'t str {
        self.input.get(self.start..self.at).unwrap_or_default()
    }

    fn emit(&mut self, kind: TokenKind) -> Token {
        let token = Token {
            kind,
            at: self.start,
            text: self.spelled().to_owned(),
            line: self.start_line,
        };
        self.start = self.at;
        self.start_line = self.line;
        token
    }

    /// Drops what was passed over without `advance`.
    fn ignore(&mut self) {
        self.count_lines();
        self.start = self.at;
        self.start_line = self.line;
    }

    fn count_lines(&mut self) {
        self.line += self.spelled().matches('\n').count();
    }

    /// A token that says what is wrong; nothing follows it.
    fn fail(&mut self, message: String) -> Token {
        let token = Token {
            kind: TokenKind::Error,
            at: self.start,
            text: message,
            line: self.start_line,
        };
        self.input = "";
        self.at = 0;
        self.start = 0;
        token
    }

    fn text(&mut self) -> Step {
        let Some(found) = self.rest().find(LEFT) else {
            self.at = self.input.len();
            if self.at > self.start {
                self.count_lines();
                return Some(self.emit(TokenKind::Text));
            }
            return Some(self.emit(TokenKind::Eof));
        };
        if found > 0 {
            let end = self.at + found;
            let text = self.input.get(self.at..end).unwrap_or_default();
            let after = self.input.get(end + LEFT.len()..).unwrap_or_default();
            let kept = if left_marker(after) {
                text.trim_end_matches(SPACES).len()
            } else {
                text.len()
            };
            self.at += kept;
            self.count_lines();
            let token = self.emit(TokenKind::Text);
            self.at = end;
            self.ignore();
            if !token.text.is_empty() {
                return Some(token);
            }
        }
        self.left_delim()
    }

    fn left_delim(&mut self) -> Step {
        self.at += LEFT.len();
        let skip = if left_marker(self.rest()) { MARKER } else { 0 };
        if self
            .rest()
            .get(skip..)
            .is_some_and(|rest| rest.starts_with("/*"))
        {
            self.at += skip;
            self.ignore();
            return self.comment();
        }
        let token = self.emit(TokenKind::LeftDelim);
        self.inside = true;
        self.at += skip;
        self.ignore();
        self.parens = 0;
        Some(token)
    }

    fn comment(&mut self) -> Step {
        self.at += 2;
        let Some(end) = self.rest().find("*/") else {
            return Some(self.fail("unclosed comment".to_owned()));
        };
        self.at += end + 2;
        let Some(trim) = self.right_delim_ahead() else {
            return Some(self.fail("comment ends before closing delimiter".to_owned()));
        };
        if trim {
            self.at += MARKER;
        }
        self.at += RIGHT.len();
        if trim {
            self.at += self.rest().len() - self.rest().trim_start_matches(SPACES).len();
        }
        self.ignore();
        None
    }

    /// Whether a closing delimiter comes next, and whether it trims.
    fn right_delim_ahead(&self) -> Option<bool> {
        let rest = self.rest();
        if right_marker(rest)
            && rest
                .get(MARKER..)
                .is_some_and(|rest| rest.starts_with(RIGHT))
        {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn right_delim(&mut self) -> Token {
        let trim = self.right_delim_ahead() == Some(true);
        if trim {
            self.at += MARKER;
            self.ignore();
        }
        self.at += RIGHT.len();
        let token = self.emit(TokenKind::RightDelim);
        if trim {
            self.at += self.rest().len() - self.rest().trim_start_matches(SPACES).len();
            self.ignore();
        }
        self.inside = false;
        token
    }

    fn action(&mut self) -> Token {
        if self.right_delim_ahead().is_some() {
            if self.parens == 0 {
                return self.right_delim();
            }
            return self.fail("unclosed left paren".to_owned());
        }
        let Some(c) = self.peek() else {
            return self.fail("unclosed action".to_owned());
        };
        if SPACES.contains(&c) {
            return self.space();
        }
        let digit_next = self
            .rest()
            .as_bytes()
            .get(1)
            .is_some_and(u8::is_ascii_digit);
        let at_end = self.rest().len() == 1;
        if matches!(c, '+' | '-') || c.is_ascii_digit() || c == '.' && (digit_next || at_end) {
            return self.number();
        }
        if is_alphanumeric(c) {
            return self.identifier();
        }
        self.advance();
        match c {
            '=' => self.emit(TokenKind::Assign),
            ':' => {
                if self.advance() == Some('=') {
                    self.emit(TokenKind::Declare)
                } else {
                    self.fail("expected :=".to_owned())
                }
            }
            '|' => self.emit(TokenKind::Pipe),
            '"' => self.quoted('"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted(
                '\'',
                TokenKind::CharConstant,
                "unterminated character constant",
            ),
            '`' => self.raw_quoted(),
            '$' => self.field_or_variable(TokenKind::Variable),
            '.' => self.field_or_variable(TokenKind::Field),
            '(' => {
                self.parens += 1;
                self.emit(TokenKind::LeftParen)
            }
            ')' if self.parens == 0 => self.fail("unexpected right paren".to_owned()),
            ')' => {
                self.parens -= 1;
                self.emit(TokenKind::RightParen)
            }
            ' '..='~' => self.emit(TokenKind::Char),
            _ => self.fail(format!(
                "unrecognized character in action: {}",
                code_point(c)
            )),
        }
    }

    fn space(&mut self) -> Token {
        let mut count = 0;
        let mut last = self.at;
        while self.peek().is_some_and(|c| SPACES.contains(&c)) {
            last = self.at;
            self.advance();
            count += 1;
        }
        // The last space may belong to a trimming delimiter.
        let tail = self.input.get(last..).unwrap_or_default();
        if right_marker(tail)
            && tail
                .get(MARKER..)
                .is_some_and(|rest| rest.starts_with(RIGHT))
        {
            self.line -= usize::from(tail.starts_with('\n'));
            self.at = last;
            if count == 1 {
                return self.right_delim();
            }
        }
        self.emit(TokenKind::Space)
    }

    fn identifier(&mut self) -> Token {
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = self.spelled();
        match TokenKind::keyword(word) {
            Some(TokenKind::Break) if !self.break_is_word => self.emit(TokenKind::Identifier),
            Some(TokenKind::Continue) if !self.continue_is_word => self.emit(TokenKind::Identifier),
            Some(keyword) => self.emit(keyword),
            None if matches!(word, "true" | "false") => self.emit(TokenKind::Bool),
            None => self.emit(TokenKind::Identifier),
        }
    }

    fn field_or_variable(&mut self, kind: TokenKind) -> Token {
        if self.at_terminator() {
            let bare = if kind == TokenKind::Variable {
                kind
            } else {
                TokenKind::Dot
            };
            return self.emit(bare);
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        if self.at_terminator() {
            self.emit(kind)
        } else {
            self.bad_character()
        }
    }

    fn bad_character(&mut self) -> Token {
        let c = self.peek().map_or_else(String::new, code_point);
        self.fail(format!("bad character {c}"))
    }

    /// Whether what comes next may follow a word.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    /// A string or character constant, its opening quote consumed.
    fn quoted(&mut self, quote: char, kind: TokenKind, unterminated: &str) -> Token {
        loop {
            match self.advance() {
                Some('\\') if !matches!(self.advance(), None | Some('\n')) => {}
                Some('\\' | '\n') | None => return self.fail(unterminated.to_owned()),
                Some(c) if c == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Token {
        loop {
            match self.advance() {
                None => return self.fail("unterminated raw quoted string".to_owned()),
                Some('`') => return self.emit(TokenKind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Token {
        let mut ok = self.scan_number();
        if ok && matches!(self.peek(), Some('+' | '-')) {
            ok = self.scan_number() && self.spelled().ends_with('i');
        }
        if ok {
            self.emit(TokenKind::Number)
        } else {
            let message = format!("bad number syntax: {}", quote(self.spelled()));
            self.fail(message)
        }
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
            return false;
        }
        true
    }
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || is_letter(c) || is_digit(c)
}

fn left_marker(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(SPACES))
}

fn right_marker(text: &str) -> bool {
    text.strip_prefix(SPACES)
        .is_some_and(|rest| rest.starts_with('-'))
}

fn code_point(c: char) -> String {
    let shown = if is_print(c) {
        format!(" '{c}'")
    } else {
        String::new()
    };
    format!("U+{:04X}{shown}", u32::from(c))
}
