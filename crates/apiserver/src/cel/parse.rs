//! Owns the grammar: from words to a tree, macros expanded on the way. Nesting and length are
//! limited, so that no source can exhaust the stack.

use super::ast::{Call, Entry, Expr, Literal, Node, Offset};
use super::fault::{Mistake, NOWHERE};
use super::macros;
use super::token::{Token, Word, tokens};

/// Longer sources are refused.
const LENGTH: usize = 100_000;
/// Deeper nesting is refused.
const DEPTH: usize = 250;
const RECURSION: &str = "expression recursion limit exceeded: 250";

const STARTS: &str = "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER";

/// Names that may not be variables.
pub(super) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads an expression.
pub(crate) fn parse(source: &str) -> Result<(Expr, usize), Vec<Mistake>> {
    if source.chars().count() > LENGTH {
        let message = format!(
            "expression code point size exceeds limit: size: {}, limit {LENGTH}",
            source.chars().count()
        );
        return Err(vec![Mistake::new(0, message)]);
    }
    let (tokens, mistakes) = tokens(source);
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        ids: 0,
        deep: None,
        opened: None,
        mistakes,
    };
    let expr = parser.whole();
    if let Some(deep) = parser.deep {
        return Err(vec![Mistake::new(NOWHERE, deep)]);
    }
    match expr {
        Some(expr) if parser.mistakes.is_empty() => Ok((expr, parser.ids)),
        _ => {
            if parser.mistakes.is_empty() {
                parser
                    .mistakes
                    .push(Mistake::new(0, "Syntax error: unreadable expression"));
            }
            Err(parser.mistakes)
        }
    }
}

fn binds(word: &Word) -> Option<(u8, &'static str)> {
    let Word::Sign(sign) = word else {
        return None;
    };
    Some(match *sign {
        "==" => (1, "_==_"),
        "!=" => (1, "_!=_"),
        "<" => (1, "_<_"),
        "<=" => (1, "_<=_"),
        ">" => (1, "_>_"),
        ">=" => (1, "_>=_"),
        "in" => (1, "@in"),
        "+" => (2, "_+_"),
        "-" => (2, "_-_"),
        "*" => (3, "_*_"),
        "/" => (3, "_/_"),
        "%" => (3, "_%_"),
        _ => return None,
    })
}

pub(crate) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    ids: usize,
    /// Why it nests too deep.
    deep: Option<&'static str>,
    /// Where the last arguments begin, which may also be none.
    opened: Option<usize>,
    pub(crate) mistakes: Vec<Mistake>,
}

impl Parser {
    pub(crate) fn make(&mut self, at: Offset, node: Node) -> Expr {
        self.ids += 1;
        let height = 1 + node.below();
        // Chains such as `a.b.c` and `1+2+3` nest too.
        let (height, node) = if height > DEPTH + 1 {
            self.deep.get_or_insert("max recursion depth exceeded");
            (1, Node::Literal(Literal::Null))
        } else {
            (height, node)
        };
        Expr {
            id: self.ids - 1,
            at,
            height,
            node,
        }
    }

    pub(crate) fn call(&mut self, at: Offset, name: &str, args: Vec<Expr>) -> Expr {
        let call = Call {
            target: None,
            name: name.to_owned(),
            args,
            function: None,
            matched: Vec::new(),
        };
        self.make(at, Node::Call(Box::new(call)))
    }

    pub(crate) fn mistake(&mut self, at: Offset, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(at, message));
    }

    fn token(&self) -> &Token {
        // The last token is the end, and `next` never passes it.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn bump(&mut self) -> Token {
        let token = self.token().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(&self.token().word, Word::Sign(s) if *s == sign)
    }

    fn accept(&mut self, sign: &str) -> Option<Offset> {
        self.is(sign).then(|| self.bump().at)
    }

    fn expect(&mut self, sign: &str, expecting: &str) -> Option<Offset> {
        if let Some(at) = self.accept(sign) {
            return Some(at);
        }
        let token = self.token();
        let missing = match sign {
            ")" => token.word == Word::End && expecting == "')'",
            ":" => matches!(
                token.word,
                Word::Name(_) | Word::Literal(_) | Word::Sign("[" | "{" | "(" | "." | "-" | "!")
            ),
            _ => false,
        };
        if missing {
            let (at, text) = (token.at, token.text.clone());
            self.mistake(at, format!("Syntax error: missing '{sign}' at '{text}'"));
        } else {
            self.mismatch(expecting);
        }
        None
    }

    fn mismatch(&mut self, expecting: &str) {
        let token = self.token().clone();
        let what = match token.word {
            Word::End => "mismatched input",
            _ => "extraneous input",
        };
        let message = format!(
            "Syntax error: {what} '{}' expecting {expecting}",
            token.text
        );
        self.mistake(token.at, message);
    }

    fn whole(&mut self) -> Option<Expr> {
        let expr = self.expr()?;
        if self.token().word != Word::End {
            let token = self.token().clone();
            let what = if self.next + 2 == self.tokens.len() {
                "extraneous"
            } else {
                "mismatched"
            };
            let after = "<EOF>";
            self.mistake(
                token.at,
                format!(
                    "Syntax error: {what} input '{}' expecting {after}",
                    token.text
                ),
            );
            return None;
        }
        Some(expr)
    }

    fn expr(&mut self) -> Option<Expr> {
        if self.depth >= DEPTH {
            self.deep = Some(RECURSION);
            return None;
        }
        self.depth += 1;
        let out = self.conditional();
        self.depth -= 1;
        out
    }

    fn conditional(&mut self) -> Option<Expr> {
        let condition = self.logic("||", "_||_")?;
        let Some(at) = self.accept("?") else {
            return Some(condition);
        };
        let yes = self.logic("||", "_||_")?;
        self.expect(":", "':'")?;
        let no = self.expr()?;
        Some(self.call(at, "_?_:_", vec![condition, yes, no]))
    }

    /// `||` over `&&`; the terms of each stand side by side.
    fn logic(&mut self, sign: &str, name: &str) -> Option<Expr> {
        let below = |p: &mut Self| {
            if sign == "||" {
                p.logic("&&", "_&&_")
            } else {
                p.binary(1)
            }
        };
        let first = below(self)?;
        let mut at = None;
        let mut terms = vec![first];
        while let Some(place) = self.accept(sign) {
            at.get_or_insert(place);
            terms.push(below(self)?);
        }
        match at {
            None => terms.pop(),
            Some(at) => Some(self.call(at, name, terms)),
        }
    }

    /// Relations over sums over products, by how tight a sign binds.
    fn binary(&mut self, least: u8) -> Option<Expr> {
        let mut left = self.unary()?;
        while let Some((tight, name)) = binds(&self.token().word)
            && tight >= least
        {
            let at = self.bump().at;
            let right = self.binary(tight + 1)?;
            left = self.call(at, name, vec![left, right]);
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Expr> {
        for (sign, name) in [("!", "!_"), ("-", "-_")] {
            if !self.is(sign) {
                continue;
            }
            if sign == "-"
                && let Some(literal) = self.negative()
            {
                return self.members(literal);
            }
            let (mut count, mut at) = (0, 0);
            while let Some(place) = self.accept(sign) {
                if count == 0 {
                    at = place;
                }
                count += 1;
            }
            let operand = self.primary()?;
            let operand = self.members(operand)?;
            return Some(if count % 2 == 0 {
                operand
            } else {
                self.call(at, name, vec![operand])
            });
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    /// A minus sign before a number belongs to it.
    fn negative(&mut self) -> Option<Expr> {
        let after = self.tokens.get(self.next + 1)?;
        let literal = match after.word {
            Word::Literal(Literal::Int(i64::MIN)) => Literal::Int(i64::MIN),
            Word::Literal(Literal::Int(v)) => Literal::Int(-v),
            Word::Literal(Literal::Double(v)) => Literal::Double(-v),
            _ => return None,
        };
        let at = self.bump().at;
        self.bump();
        Some(self.make(at, Node::Literal(literal)))
    }

    fn members(&mut self, mut left: Expr) -> Option<Expr> {
        loop {
            if let Some(at) = self.accept(".") {
                let optional = self.accept("?").is_some();
                let token = self.bump();
                let Word::Name(name) = token.word else {
                    let between = " ".repeat((token.at.saturating_sub(at + 2)) as usize);
                    let message = format!(
                        "Syntax error: no viable alternative at input '.{between}{}'",
                        if token.word == Word::End {
                            ""
                        } else {
                            &token.text
                        }
                    );
                    self.mistake(token.at, message);
                    return None;
                };
                if optional {
                    let field = self.make(token.at, Node::Literal(Literal::Text(name)));
                    left = self.call(at, "_?._", vec![left, field]);
                } else if self.is("(") {
                    let open = self.bump().at;
                    let args = self.arguments(")")?;
                    left = macros::receiver(self, open, left, name, args)?;
                } else {
                    left = self.make(
                        at,
                        Node::Select {
                            operand: Box::new(left),
                            field: name,
                            test: false,
                        },
                    );
                }
            } else if let Some(at) = self.accept("[") {
                let optional = self.accept("?").is_some();
                let index = self.expr()?;
                self.expect("]", "']'")?;
                let name = if optional { "_[?_]" } else { "_[_]" };
                left = self.call(at, name, vec![left, index]);
            } else {
                return Some(left);
            }
        }
    }

    fn arguments(&mut self, close: &str) -> Option<Vec<Expr>> {
        let mut args = Vec::new();
        if self.accept(close).is_some() {
            return Some(args);
        }
        self.opened = (close == ")").then_some(self.next);
        loop {
            args.push(self.expr()?);
            if self.accept(",").is_none() {
                break;
            }
        }
        self.expect(close, "{')', ','}")?;
        Some(args)
    }

    fn primary(&mut self) -> Option<Expr> {
        let may_close = self.opened == Some(self.next);
        let token = self.bump();
        match token.word {
            Word::Literal(Literal::Int(i64::MIN)) => {
                self.mistake(token.at, "invalid int literal");
                None
            }
            Word::Literal(literal) => Some(self.make(token.at, Node::Literal(literal))),
            Word::Sign("(") => {
                let inner = self.expr()?;
                self.expect(")", "')'")?;
                Some(inner)
            }
            Word::Sign("[") => self.list(token.at),
            Word::Sign("{") => self.map(token.at),
            Word::Sign(".") => {
                let name = self.bump();
                match name.word {
                    Word::Name(text) => self.named(name.at, text),
                    _ => {
                        self.mistake(
                            name.at,
                            format!(
                                "Syntax error: mismatched input '{}' expecting IDENTIFIER",
                                name.text
                            ),
                        );
                        None
                    }
                }
            }
            Word::Name(name) => self.named(token.at, name),
            Word::Sign(_) | Word::End | Word::Escaped => {
                let mismatched = matches!(token.word, Word::End | Word::Escaped);
                let what = if mismatched || self.token().word == Word::End {
                    "mismatched"
                } else {
                    "extraneous"
                };
                let starts = if may_close {
                    STARTS.replacen("'(', ", "'(', ')', ", 1)
                } else {
                    STARTS.to_owned()
                };
                let message = format!(
                    "Syntax error: {what} input '{}' expecting {{{starts}}}",
                    token.text
                );
                self.mistake(token.at, message);
                None
            }
        }
    }

    fn named(&mut self, at: Offset, name: String) -> Option<Expr> {
        if self.is("(") {
            let open = self.bump().at;
            let args = self.arguments(")")?;
            return macros::global(self, open, &name, args);
        }
        if self.is("{") {
            let at = self.token().at;
            return self.message(at, name);
        }
        if RESERVED.contains(&name.as_str()) {
            self.mistake(at, format!("reserved identifier: {name}"));
            return None;
        }
        Some(self.make(at, Node::Ident(name)))
    }

    /// A message literal; its fields are read and dropped, because no message type is known.
    fn message(&mut self, at: Offset, name: String) -> Option<Expr> {
        self.bump();
        while self.accept("}").is_none() {
            self.accept("?");
            if !matches!(self.bump().word, Word::Name(_)) {
                self.mistake(at, "Syntax error: mismatched input expecting IDENTIFIER");
                return None;
            }
            self.expect(":", "':'")?;
            self.expr()?;
            if self.accept(",").is_none() && !self.is("}") {
                self.mismatch("{'}', ','}");
                return None;
            }
        }
        Some(self.make(at, Node::Message(name)))
    }

    fn list(&mut self, at: Offset) -> Option<Expr> {
        let (mut items, mut optional) = (Vec::new(), Vec::new());
        while self.accept("]").is_none() {
            optional.push(self.accept("?").is_some());
            items.push(self.expr()?);
            if self.accept(",").is_none() && !self.is("]") {
                self.mismatch("{']', ','}");
                return None;
            }
        }
        Some(self.make(at, Node::List { items, optional }))
    }

    fn map(&mut self, at: Offset) -> Option<Expr> {
        let mut entries = Vec::new();
        while self.accept("}").is_none() {
            let optional = self.accept("?").is_some();
            let key = self.expr()?;
            self.expect(":", "':'")?;
            let value = self.expr()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if self.accept(",").is_none() && !self.is("}") {
                self.mismatch("{'}', ','}");
                return None;
            }
        }
        Some(self.make(at, Node::Map(entries)))
    }
}
