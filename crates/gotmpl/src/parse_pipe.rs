//! Pipelines parsed: declarations, commands, operands.
//!
//! Owns the grammar inside an action. It refuses functions and variables that are not known, as Go does while parsing.

use weir_gocompat::{quote, unquote};

use crate::lex::TokenKind;
use crate::node::{Kind, Node, Pipe};
use crate::number::Number;
use crate::parse::{Parsed, Parser};

impl Parser<'_, '_> {
    /// A pipeline up to `end`, which is consumed.
    pub(crate) fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<Node> {
        let at = self.peek_non_space().at;
        let mut pipe = Pipe::default();
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_non_space();
            if token.kind == end {
                self.check(&pipe, context)?;
                return Ok(Node::new(at, Kind::Pipe(pipe)));
            }
            if !starts_operand(token.kind) {
                return self.unexpected(&token, context);
            }
            self.backup();
            let command = self.command()?;
            pipe.commands.push(command);
        }
    }

    /// `$x :=`, `$x =` and, in a range, `$i, $x :=`. What only looked like one is put back.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != TokenKind::Variable {
                return Ok(());
            }
            self.next();
            let after = self.peek();
            let next = self.peek_non_space();
            match next.kind {
                TokenKind::Assign | TokenKind::Declare => {
                    pipe.assign = next.kind == TokenKind::Assign;
                    self.next_non_space();
                    self.vars.push(variable.text.clone());
                    pipe.decl.push(variable.text);
                    return Ok(());
                }
                TokenKind::Char if next.text == "," => {
                    self.next_non_space();
                    self.vars.push(variable.text.clone());
                    pipe.decl.push(variable.text);
                    if context != "range" || pipe.decl.len() >= 2 {
                        return self.fail(&format!("too many declarations in {context}"));
                    }
                    let kind = self.peek_non_space().kind;
                    if !matches!(
                        kind,
                        TokenKind::Variable | TokenKind::RightDelim | TokenKind::RightParen
                    ) {
                        return self.fail("range can only initialize variables");
                    }
                }
                _ if after.kind == TokenKind::Space => {
                    self.backup3(variable, after);
                    return Ok(());
                }
                _ => {
                    self.backup2(variable);
                    return Ok(());
                }
            }
        }
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.fail(&format!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            let Kind::Command(args) = &command.kind else {
                continue;
            };
            if args.first().is_some_and(is_constant) {
                return self.fail(&format!(
                    "non executable command in pipeline stage {}",
                    i + 1
                ));
            }
        }
        Ok(())
    }

    /// Operands up to a pipe, which is consumed, or a delimiter, which is not.
    fn command(&mut self) -> Parsed<Node> {
        let at = self.peek_non_space().at;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.kind {
                TokenKind::Space => continue,
                TokenKind::RightDelim | TokenKind::RightParen => self.backup(),
                TokenKind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if args.is_empty() {
            return self.fail("empty command");
        }
        Ok(Node::new(at, Kind::Command(args)))
    }

    /// A term with the fields after it.
    fn operand(&mut self) -> Parsed<Option<Node>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != TokenKind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == TokenKind::Field {
            fields.push(self.next().text.trim_start_matches('.').to_owned());
        }
        Ok(Some(match term.kind {
            Kind::Field(mut names) => {
                names.append(&mut fields);
                Node::new(at, Kind::Field(names))
            }
            Kind::Variable(mut names) => {
                names.append(&mut fields);
                Node::new(at, Kind::Variable(names))
            }
            _ if is_constant(&term) => {
                return self.fail(&format!(
                    "unexpected . after term {}",
                    quote(&term.to_string())
                ));
            }
            _ => Node::new(
                at,
                Kind::Chain {
                    node: Box::new(term),
                    fields,
                },
            ),
        }))
    }

    fn term(&mut self) -> Parsed<Option<Node>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            TokenKind::Identifier => {
                if !self.knows_function(&token.text) {
                    return self.fail(&format!("function {} not defined", quote(&token.text)));
                }
                Kind::Function(token.text)
            }
            TokenKind::Dot => Kind::Dot,
            TokenKind::Nil => Kind::Nil,
            TokenKind::Variable => {
                if !self.vars.contains(&token.text) {
                    return self.fail(&format!("undefined variable {}", quote(&token.text)));
                }
                Kind::Variable(vec![token.text])
            }
            TokenKind::Field => Kind::Field(vec![token.text.trim_start_matches('.').to_owned()]),
            TokenKind::Bool => Kind::Bool(token.text == "true"),
            TokenKind::CharConstant | TokenKind::Number => {
                let number = if token.kind == TokenKind::Number {
                    Number::parse(&token.text)
                } else {
                    Number::character(&token.text)
                };
                match number {
                    Ok(number) => Kind::Number(number),
                    Err(wrong) => return self.fail(&wrong),
                }
            }
            TokenKind::LeftParen => {
                self.enter()?;
                let pipe = self.pipeline("parenthesized pipeline", TokenKind::RightParen)?;
                self.leave();
                return Ok(Some(pipe));
            }
            TokenKind::String | TokenKind::RawString => match unquote(&token.text) {
                Ok(bytes) => Kind::Str {
                    quoted: token.text,
                    bytes,
                },
                Err(wrong) => return self.fail(&wrong.to_string()),
            },
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Node::new(token.at, kind)))
    }
}

fn starts_operand(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Bool
            | TokenKind::CharConstant
            | TokenKind::Dot
            | TokenKind::Field
            | TokenKind::Identifier
            | TokenKind::Number
            | TokenKind::Nil
            | TokenKind::RawString
            | TokenKind::String
            | TokenKind::Variable
            | TokenKind::LeftParen
    )
}

fn is_constant(node: &Node) -> bool {
    matches!(
        node.kind,
        Kind::Bool(_) | Kind::Dot | Kind::Nil | Kind::Number(_) | Kind::Str { .. }
    )
}
