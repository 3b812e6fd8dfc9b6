//! Operands: selectors, aggregations and calls, with the types of their arguments.

use super::{Parsed, Parser};
use crate::ast::{AggregateOp, Expr, Grouping, Node, Selector, Type};
use crate::functions::Function;
use crate::labels::{is_label_name, is_metric_name};
use crate::lexer::Token;
use crate::matcher::{MatchOp, Matcher};

impl Parser<'_> {
    pub(super) fn selector(&mut self, metric: Option<(&str, usize)>) -> Parsed<Expr> {
        let mut matchers = Vec::new();
        let start = metric.map_or_else(|| self.at(), |(_, at)| at);
        if let Some((name, at)) = metric {
            if !is_metric_name(name) {
                return Err(self.fail(at, format!("`{name}` cannot be a metric's name")));
            }
            matchers.push(Matcher::equal("__name__", name));
        }
        if self.eat("{") {
            while !self.eat("}") {
                let at = self.at();
                let Token::Word(name) = self.take() else {
                    self.next -= 1;
                    return Err(self.unexpected("a label's name or `}`"));
                };
                if !is_label_name(&name) {
                    return Err(self.fail(at, format!("`{name}` cannot be a label's name")));
                }
                if metric.is_some() && name == "__name__" {
                    return Err(self.fail(at, "the metric's name is given twice"));
                }
                let op = match self.peek() {
                    Token::Sign("=") => MatchOp::Equal,
                    Token::Sign("!=") => MatchOp::NotEqual,
                    Token::Sign("=~") => MatchOp::Matches,
                    Token::Sign("!~") => MatchOp::NotMatches,
                    _ => return Err(self.unexpected("`=`, `!=`, `=~` or `!~`")),
                };
                self.next += 1;
                let value_at = self.at();
                let Token::Text(value) = self.take() else {
                    self.next -= 1;
                    return Err(self.unexpected("a quoted string"));
                };
                let matcher = Matcher::new(&name, op, &value);
                matchers.push(matcher.map_err(|message| self.fail(value_at, message))?);
                if !self.eat(",") && !self.is("}") {
                    return Err(self.unexpected("`,` or `}`"));
                }
            }
        }
        if matchers.iter().all(|matcher| matcher.matches_value("")) {
            let text = "a selector needs at least one matcher that does not match the empty string";
            return Err(self.fail(start, text));
        }
        let id = self.id();
        Self::wrap(
            Node::Instant(Selector {
                id,
                matchers,
                offset: 0,
            }),
            start,
            Type::Vector,
            1,
        )
    }

    pub(super) fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(", "before the list of labels")?;
        let mut labels = Vec::new();
        while !self.eat(")") {
            let at = self.at();
            let Token::Word(name) = self.take() else {
                self.next -= 1;
                return Err(self.unexpected("a label's name or `)`"));
            };
            if !is_label_name(&name) {
                return Err(self.fail(at, format!("`{name}` cannot be a label's name")));
            }
            labels.push(name);
            if !self.eat(",") && !self.is(")") {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(labels)
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.word_is("without");
        if !without && !self.word_is("by") {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(Grouping {
            without,
            labels: self.label_list()?,
        }))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect("(", "before the arguments")?;
        let mut args = Vec::new();
        while !self.eat(")") {
            args.push(self.expression(0)?);
            if self.eat(",") {
                if self.is(")") {
                    return Err(self.unexpected("an argument after `,`"));
                }
            } else if !self.is(")") {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(args)
    }

    pub(super) fn aggregate(&mut self, op: AggregateOp, name: &str, at: usize) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let wanted = 1 + usize::from(op.param().is_some());
        if args.len() != wanted {
            let text = format!("`{name}` takes {wanted} argument(s), found {}", args.len());
            return Err(self.fail(at, text));
        }
        let height = 1 + args.iter().map(|arg| arg.height).max().unwrap_or(0);
        let Some(inner) = args.pop() else {
            return Err(self.fail(at, format!("`{name}` needs an argument")));
        };
        self.check(&inner, Type::Vector, name)?;
        let param = args.pop().map(Box::new);
        if let (Some(param), Some(kind)) = (&param, op.param()) {
            self.check(param, kind, name)?;
        }
        let grouping = grouping.unwrap_or_default();
        let node = Node::Aggregate {
            op,
            param,
            inner: Box::new(inner),
            grouping,
        };
        Self::wrap(node, at, Type::Vector, height)
    }

    pub(super) fn call(&mut self, function: &'static Function, at: usize) -> Parsed<Expr> {
        let args = self.arguments()?;
        let (least, most) = function.arity();
        if args.len() < least || most.is_some_and(|most| args.len() > most) {
            let wanted = match most {
                Some(most) if most == least => format!("{least}"),
                Some(most) => format!("{least} to {most}"),
                None => format!("at least {least}"),
            };
            let name = function.name;
            let text = format!("`{name}` takes {wanted} argument(s), found {}", args.len());
            return Err(self.fail(at, text));
        }
        for (index, arg) in args.iter().enumerate() {
            self.check(arg, function.arg(index), function.name)?;
        }
        let parts: Vec<&Expr> = args.iter().collect();
        let height = 1 + parts.iter().map(|part| part.height).max().unwrap_or(0);
        Self::wrap(Node::Call { function, args }, at, function.returns, height)
    }

    fn check(&self, arg: &Expr, kind: Type, name: &str) -> Parsed<()> {
        if arg.kind == kind {
            return Ok(());
        }
        let text = format!(
            "`{name}` needs {} here, found {}",
            kind.name(),
            arg.kind.name()
        );
        Err(self.fail(arg.at, text))
    }
}
