//! Templates parsed: text, actions, control structures, definitions.
//!
//! Owns the grammar above pipelines, and the messages of what is wrong, in Go's words and with Go's lines.
//! Pipelines and what is in them are in `parse_pipe`. It refuses nesting deeper than `MAX_NESTING`, since parsing,
//! printing and running a tree all recurse.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_gocompat::{quote, unquote};

use crate::builtins;
use crate::funcs::Funcs;
use crate::lex::{Lexer, Token, TokenKind};
use crate::node::{Branch, Kind, Node};

/// How deep blocks and parentheses may nest together.
pub(crate) const MAX_NESTING: usize = 100;

/// One parsed template and the source its places refer to.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) source_name: Arc<str>,
    pub(crate) source: Arc<str>,
    pub(crate) root: Node,
}

pub(crate) type Trees = BTreeMap<String, Arc<Tree>>;

/// Parses a source into the template of its own name and those it defines.
pub(crate) fn parse(name: &str, source: &str, funcs: &Funcs) -> Result<Trees, String> {
    let mut lexer = Lexer::new(source);
    lexer.break_is_word = funcs.get("break").is_none();
    lexer.continue_is_word = funcs.get("continue").is_none();
    let mut shared = Shared {
        name: Arc::from(name),
        source: Arc::from(source),
        lexer,
        funcs,
        trees: Trees::new(),
        nesting: 0,
    };
    let mut parser = Parser::new(&mut shared);
    let root = parser.source()?;
    parser.add(name, root)?;
    Ok(shared.trees)
}

/// What a source's template and its definitions have in common.
pub(crate) struct Shared<'s> {
    name: Arc<str>,
    source: Arc<str>,
    lexer: Lexer<'s>,
    funcs: &'s Funcs,
    trees: Trees,
    nesting: usize,
}

/// The parser of one template. A definition has its own, reading on from the same lexer.
pub(crate) struct Parser<'p, 's> {
    shared: &'p mut Shared<'s>,
    /// Tokens put back, the next one last read at index `pending - 1`.
    tokens: [Token; 3],
    pending: usize,
    pub(crate) vars: Vec<String>,
    action_line: usize,
    range_depth: usize,
}

pub(crate) type Parsed<T> = Result<T, String>;

impl<'p, 's> Parser<'p, 's> {
    fn new(shared: &'p mut Shared<'s>) -> Self {
        let none = Token {
            kind: TokenKind::Error,
            at: 0,
            text: String::new(),
            line: 0,
        };
        Self {
            shared,
            tokens: [none.clone(), none.clone(), none],
            pending: 0,
            vars: vec!["$".to_owned()],
            action_line: 0,
            range_depth: 0,
        }
    }

    // Tokens, with as many put back as the grammar needs: three.

    pub(crate) fn next(&mut self) -> Token {
        if self.pending > 0 {
            self.pending -= 1;
        } else {
            self.tokens[0] = self.shared.lexer.next_token();
        }
        self.tokens
            .get(self.pending)
            .unwrap_or(&self.tokens[0])
            .clone()
    }

    pub(crate) fn backup(&mut self) {
        self.pending += 1;
    }

    pub(crate) fn backup2(&mut self, before: Token) {
        self.tokens[1] = before;
        self.pending = 2;
    }

    pub(crate) fn backup3(&mut self, first: Token, second: Token) {
        self.tokens[1] = second;
        self.tokens[2] = first;
        self.pending = 3;
    }

    pub(crate) fn peek(&mut self) -> Token {
        let token = self.next();
        self.backup();
        token
    }

    pub(crate) fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    pub(crate) fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    // What is wrong.

    pub(crate) fn fail<T>(&self, message: &str) -> Parsed<T> {
        Err(format!(
            "template: {}:{}: {message}",
            self.shared.name, self.tokens[0].line
        ))
    }

    pub(crate) fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind != TokenKind::Error {
            return self.fail(&format!("unexpected {} in {context}", token.describe()));
        }
        let mut extra = String::new();
        if self.action_line != 0 && self.action_line != token.line {
            let word = if token.text.ends_with(" action") {
                ""
            } else {
                " in action"
            };
            extra = format!(
                "{word} started at {}:{}",
                self.shared.name, self.action_line
            );
        }
        self.fail(&format!("{}{extra}", token.text))
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    pub(crate) fn enter(&mut self) -> Parsed<()> {
        self.shared.nesting += 1;
        if self.shared.nesting > MAX_NESTING {
            return self.fail("max expression depth exceeded");
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.shared.nesting -= 1;
    }

    pub(crate) fn knows_function(&self, name: &str) -> bool {
        self.shared.funcs.get(name).is_some() || builtins::get(name).is_some()
    }

    // The grammar.

    /// The whole source; only here may templates be defined.
    fn source(&mut self) -> Parsed<Node> {
        let at = self.peek().at;
        let mut nodes = Vec::new();
        while self.peek().kind != TokenKind::Eof {
            if self.peek().kind == TokenKind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == TokenKind::Define {
                    Parser::new(self.shared).definition()?;
                    continue;
                }
                self.backup2(delim);
            }
            let node = self.text_or_action()?;
            if matches!(node.kind, Kind::End | Kind::Else) {
                return self.fail(&format!("unexpected {node}"));
            }
            nodes.push(node);
        }
        Ok(Node::new(at, Kind::List(nodes)))
    }

    /// A definition, its opening word consumed.
    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(TokenKind::RightDelim, CONTEXT)?;
        let (root, end) = self.list()?;
        if !matches!(end.kind, Kind::End) {
            return self.fail(&format!("unexpected {end} in {CONTEXT}"));
        }
        self.add(&name, root)
    }

    /// Keeps a tree; an empty one never replaces another, and two that are not empty contradict each other.
    fn add(&mut self, name: &str, root: Node) -> Parsed<()> {
        match self.shared.trees.get(name) {
            Some(known) if !known.root.is_empty() => {
                if root.is_empty() {
                    return Ok(());
                }
                self.fail(&format!(
                    "template: multiple definition of template {}",
                    quote(name)
                ))
            }
            _ => {
                let tree = Tree {
                    source_name: self.shared.name.clone(),
                    source: self.shared.source.clone(),
                    root,
                };
                self.shared.trees.insert(name.to_owned(), Arc::new(tree));
                Ok(())
            }
        }
    }

    /// Nodes up to `end` or `else`, which is returned beside them.
    fn list(&mut self) -> Parsed<(Node, Node)> {
        let at = self.peek_non_space().at;
        let mut nodes = Vec::new();
        self.enter()?;
        while self.peek_non_space().kind != TokenKind::Eof {
            let node = self.text_or_action()?;
            if matches!(node.kind, Kind::End | Kind::Else) {
                self.leave();
                return Ok((Node::new(at, Kind::List(nodes)), node));
            }
            nodes.push(node);
        }
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Node> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Text => Ok(Node::new(token.at, Kind::Text(token.text))),
            TokenKind::LeftDelim => {
                self.action_line = token.line;
                let node = self.action();
                self.action_line = 0;
                node
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    /// What stands between delimiters, the left one consumed.
    fn action(&mut self) -> Parsed<Node> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Block => self.block(),
            TokenKind::Break => self.loop_word(&token, Kind::Break, "{{break}}"),
            TokenKind::Continue => self.loop_word(&token, Kind::Continue, "{{continue}}"),
            TokenKind::Else => self.otherwise(),
            TokenKind::End => {
                let delim = self.expect(TokenKind::RightDelim, "end")?;
                Ok(Node::new(delim.at, Kind::End))
            }
            TokenKind::If => self.branch(TokenKind::If),
            TokenKind::Range => self.branch(TokenKind::Range),
            TokenKind::With => self.branch(TokenKind::With),
            TokenKind::Template => self.template(),
            _ => {
                self.backup();
                let at = self.peek().at;
                let pipe = self.pipeline("command", TokenKind::RightDelim)?;
                Ok(Node::new(at, Kind::Action(Box::new(pipe))))
            }
        }
    }

    fn loop_word(&mut self, word: &Token, kind: Kind, context: &str) -> Parsed<Node> {
        self.expect(TokenKind::RightDelim, context)?;
        if self.range_depth == 0 {
            return self.fail(&format!("{context} outside {{{{range}}}}"));
        }
        Ok(Node::new(word.at, kind))
    }

    fn otherwise(&mut self) -> Parsed<Node> {
        let next = self.peek_non_space();
        // `else if` and `else with` leave their second word for the branch to find.
        if matches!(next.kind, TokenKind::If | TokenKind::With) {
            return Ok(Node::new(next.at, Kind::Else));
        }
        let delim = self.expect(TokenKind::RightDelim, "else")?;
        Ok(Node::new(delim.at, Kind::Else))
    }

    /// `if`, `range` or `with`, the word consumed.
    fn branch(&mut self, word: TokenKind) -> Parsed<Node> {
        let context = match word {
            TokenKind::If => "if",
            TokenKind::Range => "range",
            _ => "with",
        };
        let vars = self.vars.len();
        let pipe = self.pipeline(context, TokenKind::RightDelim)?;
        self.range_depth += usize::from(word == TokenKind::Range);
        let (list, end) = self.list()?;
        self.range_depth -= usize::from(word == TokenKind::Range);
        let mut otherwise = None;
        if matches!(end.kind, Kind::Else) {
            let next = self.peek().kind;
            if next == word && matches!(word, TokenKind::If | TokenKind::With) {
                // `else if` is an `else` holding one `if`, which brings the `end` for both.
                self.next();
                self.enter()?;
                let inner = self.branch(word)?;
                self.leave();
                otherwise = Some(Box::new(Node::new(end.at, Kind::List(vec![inner]))));
            } else {
                let (list, end) = self.list()?;
                if !matches!(end.kind, Kind::End) {
                    return self.fail(&format!("expected end; found {end}"));
                }
                otherwise = Some(Box::new(list));
            }
        }
        self.vars.truncate(vars);
        let at = pipe.at;
        let branch = Branch {
            pipe: Box::new(pipe),
            list: Box::new(list),
            otherwise,
        };
        Ok(Node::new(
            at,
            match word {
                TokenKind::If => Kind::If(branch),
                TokenKind::Range => Kind::Range(branch),
                _ => Kind::With(branch),
            },
        ))
    }

    /// `block`: a definition and its use at once.
    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, TokenKind::RightDelim)?;
        let mut inner = Parser::new(self.shared);
        let (root, end) = inner.list()?;
        if !matches!(end.kind, Kind::End) {
            return inner_fail(self, &end, CONTEXT);
        }
        inner.add(&name, root)?;
        Ok(Node::new(
            token.at,
            Kind::Template {
                name,
                pipe: Some(Box::new(pipe)),
            },
        ))
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != TokenKind::RightDelim {
            self.backup();
            pipe = Some(Box::new(self.pipeline(CONTEXT, TokenKind::RightDelim)?));
        }
        Ok(Node::new(token.at, Kind::Template { name, pipe }))
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<String> {
        if !matches!(token.kind, TokenKind::String | TokenKind::RawString) {
            return self.unexpected(token, context);
        }
        match unquote(&token.text) {
            Ok(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
            Err(wrong) => self.fail(&wrong.to_string()),
        }
    }
}

/// An `else` where a block must end is told of by the template around it.
fn inner_fail<T>(outer: &Parser<'_, '_>, end: &Node, context: &str) -> Parsed<T> {
    outer.fail(&format!("unexpected {end} in {context}"))
}
