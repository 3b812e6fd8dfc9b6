//! PromQL's grammar and its type rules: text in, a checked tree out.
//!
//! Owns precedence, modifiers and what may stand where. Refuses, with the place, what the evaluator
//! does not know, so that evaluation never meets it.

mod operand;

use crate::ast::{AggregateOp, BinaryOp, Cardinality, Expr, Matching, Node, Type};
use crate::error::{Position, QueryError};
use crate::functions::Lookup;
use crate::lexer::{Token, tokens};
use crate::matcher::Matcher;

/// Deeper than any query a person writes, shallow enough for any stack.
const MAX_HEIGHT: usize = 100;
/// Longest query in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// A checked query, ready to be evaluated any number of times.
#[derive(Debug, Clone)]
pub struct Query {
    pub(crate) text: String,
    pub(crate) root: Expr,
    pub(crate) selectors: usize,
}

impl Query {
    /// The query's text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Reads a query.
pub fn parse_query(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser::new(text)?;
    let root = parser.expression(0)?;
    parser.end()?;
    Ok(Query {
        text: text.to_owned(),
        root,
        selectors: parser.ids,
    })
}

/// Reads a lone series selector such as `up{job="x"}`, as the `match[]` parameter has it.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, QueryError> {
    let mut parser = Parser::new(text)?;
    let at = parser.at();
    let expr = parser.primary()?;
    parser.end()?;
    match expr.node {
        Node::Instant(selector) => Ok(selector.matchers),
        _ => Err(parser.fail(at, "expected a series selector such as `up{job=\"x\"}`")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize, usize)>,
    next: usize,
    depth: usize,
    ids: usize,
}

type Parsed<T> = Result<T, QueryError>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Self> {
        if text.len() > MAX_LENGTH {
            return Err(QueryError::Limit {
                what: "bytes of query text",
                limit: MAX_LENGTH,
            });
        }
        let parser = Self {
            text,
            tokens: tokens(text)?,
            next: 0,
            depth: 0,
            ids: 0,
        };
        if parser.tokens.len() == 1 {
            return Err(parser.fail(0, "the query is empty"));
        }
        Ok(parser)
    }

    fn peek(&self) -> &Token {
        self.tokens
            .get(self.next)
            .map_or(&Token::End, |(token, ..)| token)
    }

    fn peek_after(&self) -> &Token {
        self.tokens
            .get(self.next + 1)
            .map_or(&Token::End, |(token, ..)| token)
    }

    fn at(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.text.len(), |(_, start, _)| *start)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(own) if *own == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str, context: &str) -> Parsed<()> {
        if self.eat(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{sign}` {context}")))
        }
    }

    fn word_is(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(own) if own.eq_ignore_ascii_case(word))
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.word_is(word);
        self.next += usize::from(found);
        found
    }

    fn fail(&self, at: usize, message: impl Into<String>) -> QueryError {
        QueryError::Parse {
            at: Position::of(self.text, at),
            message: message.into(),
        }
    }

    fn unexpected(&self, expected: &str) -> QueryError {
        self.fail(
            self.at(),
            format!("expected {expected}, found {}", self.peek().describe()),
        )
    }

    fn end(&self) -> Parsed<()> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(self.unexpected("an operator or the end of the query")),
        }
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids - 1
    }

    fn wrap(node: Node, at: usize, kind: Type, height: usize) -> Parsed<Expr> {
        if height > MAX_HEIGHT {
            return Err(QueryError::Limit {
                what: "nested expressions",
                limit: MAX_HEIGHT,
            });
        }
        Ok(Expr {
            node,
            at,
            height,
            kind,
        })
    }

    /// Precedence climbing; `floor` is the lowest precedence this call may take.
    fn expression(&mut self, floor: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > MAX_HEIGHT {
            return Err(QueryError::Limit {
                what: "nested expressions",
                limit: MAX_HEIGHT,
            });
        }
        let mut left = self.unary()?;
        while let Some((op, precedence)) = self.operator() {
            if precedence < floor {
                break;
            }
            let at = self.at();
            self.next += 1;
            let (bool, matching) = self.modifiers(op, at)?;
            // `^` binds to the right, the others to the left.
            let above = if op == BinaryOp::Pow {
                precedence
            } else {
                precedence + 1
            };
            let right = self.expression(above)?;
            left = self.binary(op, left, right, bool, matching, at)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<(BinaryOp, u8)> {
        use BinaryOp as Op;
        Some(match self.peek() {
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "or" => (Op::Or, 1),
                "and" => (Op::And, 2),
                "unless" => (Op::Unless, 2),
                "atan2" => (Op::Atan2, 5),
                _ => return None,
            },
            Token::Sign(sign) => match *sign {
                "==" => (Op::Equal, 3),
                "!=" => (Op::NotEqual, 3),
                "<" => (Op::Less, 3),
                "<=" => (Op::LessEqual, 3),
                ">" => (Op::Greater, 3),
                ">=" => (Op::GreaterEqual, 3),
                "+" => (Op::Add, 4),
                "-" => (Op::Sub, 4),
                "*" => (Op::Mul, 5),
                "/" => (Op::Div, 5),
                "%" => (Op::Mod, 5),
                "^" => (Op::Pow, 6),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn modifiers(&mut self, op: BinaryOp, at: usize) -> Parsed<(bool, Matching)> {
        let bool = self.eat_word("bool");
        if bool && !op.is_comparison() {
            return Err(self.fail(at, "`bool` goes with comparisons only"));
        }
        let mut matching = Matching {
            on: self.word_is("on"),
            ..Matching::default()
        };
        if matching.on || self.word_is("ignoring") {
            self.next += 1;
            matching.labels = self.label_list()?;
            for (word, cardinality) in [
                ("group_left", Cardinality::ManyToOne),
                ("group_right", Cardinality::OneToMany),
            ] {
                if self.word_is(word) {
                    if op.is_set() {
                        return Err(self.unexpected("no grouping with `and`, `or` or `unless`"));
                    }
                    self.next += 1;
                    matching.cardinality = cardinality;
                    if self.is("(") {
                        matching.include = self.label_list()?;
                    }
                    break;
                }
            }
            let twice = matching
                .include
                .iter()
                .find(|label| matching.labels.contains(label));
            if let Some(twice) = twice.filter(|_| matching.on) {
                let text = format!("the label `{twice}` cannot be both in `on` and grouped in");
                return Err(self.fail(at, text));
            }
        }
        Ok((bool, matching))
    }

    fn binary(
        &self,
        op: BinaryOp,
        left: Expr,
        right: Expr,
        bool: bool,
        matching: Matching,
        at: usize,
    ) -> Parsed<Expr> {
        for side in [&left, &right] {
            if !matches!(side.kind, Type::Scalar | Type::Vector) {
                let text = format!("an operator cannot take {}", side.kind.name());
                return Err(self.fail(side.at, text));
            }
        }
        let vectors = left.kind == Type::Vector && right.kind == Type::Vector;
        if !vectors && op.is_set() {
            return Err(self.fail(
                at,
                "`and`, `or` and `unless` need instant vectors on both sides",
            ));
        }
        // An empty list states nothing, and Prometheus lets it pass.
        if !vectors && !matching.labels.is_empty() {
            return Err(self.fail(at, "vector matching needs instant vectors on both sides"));
        }
        let scalars = left.kind == Type::Scalar && right.kind == Type::Scalar;
        if scalars && op.is_comparison() && !bool {
            return Err(self.fail(at, "a comparison of two scalars needs `bool`"));
        }
        let kind = if scalars { Type::Scalar } else { Type::Vector };
        let height = 1 + left.height.max(right.height);
        let (left, right) = (Box::new(left), Box::new(right));
        Self::wrap(
            Node::Binary {
                op,
                left,
                right,
                bool,
                matching,
            },
            at,
            kind,
            height,
        )
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let negate = self.is("-");
        if !negate && !self.is("+") {
            return self.postfix();
        }
        self.next += 1;
        // Tighter than `*`, looser than `^`: -2^2 is -4.
        let inner = self.expression(6)?;
        if !matches!(inner.kind, Type::Scalar | Type::Vector) {
            let text = format!("a sign cannot stand before {}", inner.kind.name());
            return Err(self.fail(inner.at, text));
        }
        let kind = inner.kind;
        let height = inner.height + 1;
        let inner = Box::new(inner);
        let node = if negate {
            Node::Negate(inner)
        } else {
            Node::Paren(inner)
        };
        Self::wrap(node, at, kind, height)
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            if self.is("[") {
                expr = self.bracket(expr)?;
            } else if self.word_is("offset") {
                let at = self.at();
                self.next += 1;
                let back = self.eat("-");
                let Token::Duration(length) = *self.peek() else {
                    return Err(self.unexpected("a duration after `offset`"));
                };
                self.next += 1;
                let length = if back { -length } else { length };
                let slot = match &mut expr.node {
                    Node::Instant(selector) | Node::Range { selector, .. } => &mut selector.offset,
                    Node::Subquery { offset, .. } => offset,
                    _ => {
                        let text = "`offset` follows a selector or a subquery directly";
                        return Err(self.fail(at, text));
                    }
                };
                if *slot != 0 {
                    return Err(self.fail(at, "`offset` is given twice"));
                }
                *slot = length;
            } else if self.is("@") {
                return Err(QueryError::Unsupported {
                    at: Position::of(self.text, self.at()),
                    what: "the `@` modifier".to_owned(),
                });
            } else {
                return Ok(expr);
            }
        }
    }

    fn bracket(&mut self, expr: Expr) -> Parsed<Expr> {
        let at = self.at();
        self.next += 1;
        let range = self.positive_duration("a range")?;
        let start = expr.at;
        if self.eat(":") {
            let step = match self.peek() {
                Token::Duration(_) => Some(self.positive_duration("a step")?),
                _ => None,
            };
            self.expect("]", "after the subquery's range")?;
            if expr.kind != Type::Vector && expr.kind != Type::Scalar {
                let text = format!("a subquery cannot take {}", expr.kind.name());
                return Err(self.fail(at, text));
            }
            if expr.kind == Type::Scalar {
                let text = "a subquery needs an instant vector; wrap the scalar in `vector()`";
                return Err(self.fail(at, text));
            }
            let id = self.id();
            let height = expr.height + 1;
            let inner = Box::new(expr);
            let node = Node::Subquery {
                id,
                inner,
                range,
                step,
                offset: 0,
            };
            return Self::wrap(node, start, Type::Matrix, height);
        }
        self.expect("]", "after the range")?;
        match expr.node {
            Node::Instant(selector) if selector.offset == 0 => {
                Self::wrap(Node::Range { selector, range }, start, Type::Matrix, 1)
            }
            Node::Instant(_) => Err(self.fail(at, "`offset` goes after the range")),
            _ => Err(self.fail(
                at,
                "a range follows a selector; a subquery needs a `:` as well",
            )),
        }
    }

    fn positive_duration(&mut self, what: &str) -> Parsed<i64> {
        match *self.peek() {
            Token::Duration(length) if length > 0 => {
                self.next += 1;
                Ok(length)
            }
            Token::Duration(_) => Err(self.fail(self.at(), format!("{what} must be above zero"))),
            _ => Err(self.unexpected(&format!("{what} such as `5m`"))),
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        match self.peek().clone() {
            Token::Number(value) => {
                self.next += 1;
                Self::wrap(Node::Number(value), at, Type::Scalar, 1)
            }
            Token::Text(text) => {
                self.next += 1;
                Self::wrap(Node::Text(text), at, Type::Text, 1)
            }
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.expect(")", "to close the parenthesis")?;
                let kind = inner.kind;
                let height = inner.height + 1;
                Self::wrap(Node::Paren(Box::new(inner)), at, kind, height)
            }
            Token::Sign("{") => self.selector(None),
            Token::Word(word) => self.word(&word, at),
            _ => Err(self.unexpected("a value, a selector or a function")),
        }
    }

    fn word(&mut self, word: &str, at: usize) -> Parsed<Expr> {
        let lower = word.to_ascii_lowercase();
        if matches!(lower.as_str(), "inf" | "nan") {
            self.next += 1;
            let value = if lower == "inf" {
                f64::INFINITY
            } else {
                f64::NAN
            };
            return Self::wrap(Node::Number(value), at, Type::Scalar, 1);
        }
        let called = matches!(self.peek_after(), Token::Sign("("));
        let grouped = matches!(self.peek_after(), Token::Word(next)
            if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
        if let Some(op) = AggregateOp::of(word).filter(|_| called || grouped) {
            self.next += 1;
            return self.aggregate(op, &lower, at);
        }
        if called {
            return match crate::functions::lookup(word) {
                Lookup::Known(function) => {
                    self.next += 1;
                    self.call(function, at)
                }
                Lookup::Unsupported => Err(QueryError::Unsupported {
                    at: Position::of(self.text, at),
                    what: format!("the function `{word}`"),
                }),
                Lookup::Unknown => {
                    Err(self.fail(at, format!("there is no function named `{word}`")))
                }
            };
        }
        self.next += 1;
        self.selector(Some((word, at)))
    }
}
