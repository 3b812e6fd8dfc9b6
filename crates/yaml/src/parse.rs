//! From text to the tree of nodes. Owns the walk over the parser's events and the bounds on size and
//! depth; refuses to type scalars. Nothing here recurses, so hostile nesting costs no stack.

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};

use crate::comments::attach;
use crate::error::{Place, YamlError};
use crate::reader::{Limits, Reader};
use crate::tree::{Anchor, Comment, Content, Document, Entry, Node, Style, Tag};

/// Reads the documents as they were written, with the usual bounds.
pub fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    Reader::default().parse(text)
}

/// What the caller wants of a text.
#[derive(Clone, Copy)]
pub(crate) struct Want {
    /// Comments, attached to their nodes.
    pub(crate) comments: bool,
    /// All documents, not only the first.
    pub(crate) all: bool,
}

pub(crate) fn documents(
    text: &str,
    limits: &Limits,
    want: Want,
) -> Result<Vec<Document>, YamlError> {
    if text.len() > limits.bytes {
        let at = Place { line: 1, column: 1 };
        return Err(YamlError::Limit {
            at,
            limit: limits.bytes,
            what: "bytes",
        });
    }
    check_characters(text)?;
    let mut mended = Cow::Borrowed(text);
    let mut budget = MENDING_BYTES;
    loop {
        let mut builder = Builder::new(text, limits.depth);
        let scan = match walk(&mended, limits, want, &mut builder) {
            Ok(()) => return Ok(builder.finish()),
            Err(Failure::Bound(bound)) => return Err(bound),
            Err(Failure::Scan(scan)) => scan,
        };
        let left = budget.checked_sub(text.len() + 1);
        match (left, mend(&mended, &scan, builder.in_flow())) {
            (Some(left), Some(again)) => {
                budget = left;
                mended = Cow::Owned(again);
            }
            _ => return Err(scan.into()),
        }
    }
}

/// Why a walk stopped.
enum Failure {
    Scan(ScanError),
    Bound(YamlError),
}

fn walk(text: &str, limits: &Limits, want: Want, builder: &mut Builder<'_>) -> Result<(), Failure> {
    let options = granit_parser::options! {
        emit_anchor_events: true,
        emit_comments: want.comments,
        block_scalar_eof_without_line_feed: true,
        bom_inside_document_as_content: true,
        max_buffered_comment_events: usize::MAX,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(Failure::Scan)?;
        builder.take(event, &span).map_err(Failure::Bound)?;
        if !want.all && !builder.done.is_empty() {
            break;
        }
    }
    Ok(())
}

/// How many bytes may be read again after mending.
const MENDING_BYTES: usize = 16 << 20;

/// Two things the parser refuses that Go reads: a comment right behind another token (`"x"#c`), and
/// tabs in front of lines inside of brackets. The text is changed without changing any offset, so that
/// it can be read again; `None` where that would not help.
fn mend(text: &str, scan: &ScanError, in_flow: bool) -> Option<String> {
    let at = scan.marker().byte_offset()?;
    let mut bytes = text.as_bytes().to_vec();
    match scan.kind() {
        ErrorKind::CommentNotSeparated if bytes.get(at) == Some(&b'#') => {
            let next = text.get(at + 1..)?.chars().next();
            *bytes.get_mut(at)? = b' ';
            if let Some(next) = next.filter(|c| !matches!(c, '\n' | '\r')) {
                let filler = bytes.get_mut(at + 1..at + 1 + next.len_utf8())?;
                filler.fill(b' ');
                *filler.first_mut()? = b'#';
            }
        }
        ErrorKind::TabInBlockIndentation if in_flow => {
            let mut line = text.get(..at)?.rfind('\n').map_or(0, |p| p + 1);
            let mut changed = false;
            while let Some(rest) = bytes.get_mut(line..) {
                let lead = rest.iter_mut().take_while(|b| matches!(b, b' ' | b'\t'));
                let tabs: Vec<&mut u8> = lead.filter(|b| **b == b'\t').collect();
                if tabs.is_empty() {
                    break;
                }
                for tab in tabs {
                    *tab = b' ';
                }
                changed = true;
                let Some(length) = text.get(line..)?.find('\n') else {
                    break;
                };
                line += length + 1;
            }
            if !changed {
                return None;
            }
        }
        _ => return None,
    }
    String::from_utf8(bytes).ok()
}

/// Go refuses these anywhere, also in comments and quotes.
fn check_characters(text: &str) -> Result<(), YamlError> {
    let forbidden = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
    };
    let Some((offset, found)) = text.char_indices().find(|(_, c)| forbidden(*c)) else {
        return Ok(());
    };
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let at = Place {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    };
    Err(YamlError::ControlCharacter {
        at,
        code: u32::from(found),
    })
}

/// A collection that is still open.
struct Frame {
    node: Node,
    key: Option<Node>,
    block: bool,
}

struct Builder<'a> {
    text: &'a str,
    depth: usize,
    done: Vec<Document>,
    open: Vec<Frame>,
    root: Option<Node>,
    explicit: bool,
    version: Option<(u32, u32)>,
    place: Place,
    comments: Vec<Comment>,
    /// Where the last thing before the current node ended; a block scalar's header is looked for from
    /// here.
    before: usize,
    /// Whether the last event began a collection.
    begun: bool,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, depth: usize) -> Self {
        Self {
            text,
            depth,
            done: Vec::new(),
            open: Vec::new(),
            root: None,
            explicit: false,
            version: None,
            place: Place { line: 1, column: 1 },
            comments: Vec::new(),
            before: 0,
            begun: false,
        }
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), YamlError> {
        let range = span.byte_range().unwrap_or(0..0);
        let begun = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        match event {
            Event::DocumentStart(explicit, version) => {
                self.explicit = explicit;
                self.place = Place {
                    line: span.start.line(),
                    column: span.start.col() + 1,
                };
                self.version = version.map(|v| (v.major, v.minor));
                if explicit {
                    self.before = range.end;
                }
            }
            Event::DocumentEnd => {
                if let Some(root) = self.root.take() {
                    let mut document = Document {
                        root,
                        explicit: self.explicit,
                        version: self.version.take(),
                        place: self.place,
                        comments: std::mem::take(&mut self.comments),
                    };
                    attach(self.text, &mut document);
                    self.done.push(document);
                }
                self.before = self.before.max(range.end);
            }
            Event::Comment(..) => self.comment(range, span.start.line()),
            Event::Scalar(value, style, _, tag) => self.scalar(&value, style, tag.as_deref(), span),
            Event::SequenceStart(style, _, tag) => {
                let flow = style == StructureStyle::Flow;
                let content = Content::Sequence {
                    flow,
                    items: Vec::new(),
                };
                self.begin(new_node(content, range, tag.as_deref(), span))?;
            }
            Event::MappingStart(style, _, tag) => {
                let flow = style == StructureStyle::Flow;
                let content = Content::Mapping {
                    flow,
                    entries: Vec::new(),
                };
                self.begin(new_node(content, range, tag.as_deref(), span))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(range.end),
            Event::Alias(target) => {
                self.before = range.end;
                let node = new_node(Content::Alias { target }, range, None, span);
                self.put(node);
            }
            Event::Anchor(id, name) => self.anchor(id, &name, range),
            _ => {}
        }
        self.begun = begun;
        Ok(())
    }

    /// Notes a comment, in its own words: mending may have moved its `#` by one.
    fn comment(&mut self, span: Range<usize>, line: usize) {
        let moved = usize::from(self.text.as_bytes().get(span.start) != Some(&b'#'));
        let span = span.start.saturating_sub(moved)..span.end;
        let Some(body) = self.text.get(span.start + 1..span.end) else {
            return;
        };
        let line_start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let lead = &self.text[line_start..span.start];
        self.comments.push(Comment {
            text: body.to_owned(),
            line,
            trailing: !lead.trim_matches([' ', '\t', '\u{feff}']).is_empty(),
            span,
        });
    }

    fn in_flow(&self) -> bool {
        self.open.iter().any(|frame| !frame.block)
    }

    fn scalar(
        &mut self,
        value: &str,
        style: ScalarStyle,
        tag: Option<&granit_parser::Tag>,
        span: &Span,
    ) {
        let style = match style {
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
            ScalarStyle::Plain => Style::Plain,
        };
        let range = span.byte_range().unwrap_or(0..0);
        // A node that is not there is reported as `~` without any bytes.
        let absent = style == Style::Plain && range.is_empty();
        let text = if absent {
            String::new()
        } else {
            value.to_owned()
        };
        let end = range.end;
        let mut node = new_node(Content::Scalar { text, style }, range, tag, span);
        if matches!(style, Style::Literal | Style::Folded) {
            let from = node
                .tag
                .as_ref()
                .and_then(|t| t.span.as_ref())
                .map_or(0, |s| s.end);
            widen(self.text, &mut node, from.max(self.before));
        }
        self.before = self.before.max(end);
        self.put(node);
    }

    fn anchor(&mut self, id: usize, name: &str, span: Range<usize>) {
        let text = self.text;
        // The event follows its node: a scalar is already put away, a collection has just begun.
        let target = match self.open.last_mut() {
            Some(frame) if self.begun => Some(&mut frame.node),
            Some(frame) => match (&mut frame.node.content, &mut frame.key) {
                (Content::Sequence { items, .. }, _) => items.last_mut(),
                (Content::Mapping { .. }, Some(key)) => Some(key),
                (Content::Mapping { entries, .. }, None) => {
                    entries.last_mut().map(|entry| &mut entry.value)
                }
                _ => None,
            },
            None => self.root.as_mut(),
        };
        let Some(node) = target else { return };
        let block = matches!(node.scalar(), Some((_, Style::Literal | Style::Folded)));
        if block && node.span.start < span.end {
            widen(text, node, span.end);
        }
        node.anchor = Some(Anchor {
            id,
            name: name.to_owned(),
            span,
        });
    }

    fn begin(&mut self, mut node: Node) -> Result<(), YamlError> {
        if self.open.len() >= self.depth {
            return Err(YamlError::Limit {
                at: node.place,
                limit: self.depth,
                what: "levels",
            });
        }
        let block = matches!(
            node.content,
            Content::Sequence { flow: false, .. } | Content::Mapping { flow: false, .. }
        );
        if matches!(node.content, Content::Sequence { flow: false, .. }) {
            // The parser reports a list that is not indented under its key from behind its dash.
            let lead = self.text.get(self.before..node.span.start).unwrap_or("");
            if let Some(lead) = lead.trim_end_matches([' ', '\t']).strip_suffix('-') {
                let back = node.span.start - self.before - lead.len();
                node.span = self.before + lead.len()..node.span.end;
                node.place.column = node.place.column.saturating_sub(back).max(1);
            }
        }
        self.before = self.before.max(node.span.end);
        self.open.push(Frame {
            node,
            key: None,
            block,
        });
        Ok(())
    }

    fn end(&mut self, end: usize) {
        let Some(Frame {
            mut node, block, ..
        }) = self.open.pop()
        else {
            return;
        };
        if block {
            let last = match &node.content {
                Content::Sequence { items, .. } => items.last().map(|item| item.span.end),
                Content::Mapping { entries, .. } => {
                    entries.last().map(|e| e.value.span.end.max(e.key.span.end))
                }
                _ => None,
            };
            node.span.end = last.unwrap_or(node.span.end).max(node.span.start);
        } else {
            node.span.end = end;
            self.before = self.before.max(end);
        }
        self.put(node);
    }

    fn put(&mut self, node: Node) {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut frame.node.content {
            Content::Sequence { items, .. } => items.push(node),
            Content::Mapping { entries, .. } => match frame.key.take() {
                None => frame.key = Some(node),
                Some(key) => entries.push(Entry { key, value: node }),
            },
            _ => {}
        }
    }

    fn finish(mut self) -> Vec<Document> {
        if let Some(last) = self.done.last_mut() {
            last.comments.append(&mut self.comments);
        }
        self.done
    }
}

fn new_node(
    content: Content,
    span: Range<usize>,
    tag: Option<&granit_parser::Tag>,
    at: &Span,
) -> Node {
    Node {
        content,
        span,
        place: Place {
            line: at.start.line(),
            column: at.start.col() + 1,
        },
        tag: tag.map(|t| Tag {
            name: format!("{}{}", t.handle(), t.suffix()),
            span: at.tag_span().and_then(|s| s.byte_range()),
        }),
        anchor: None,
        head_comments: Vec::new(),
        line_comment: None,
    }
}

/// Makes a block scalar's span, which covers its content, begin at its header and end with its last
/// line of text. `from` is a place after its tag, its anchor and what stands before it.
fn widen(text: &str, node: &mut Node, from: usize) {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'|' | b'>' => break,
            b'#' => {
                while bytes.get(at).is_some_and(|b| *b != b'\n') {
                    at += 1;
                }
            }
            _ => at += 1,
        }
    }
    let Some(scalar) = text.get(at..node.span.end) else {
        return;
    };
    let (low, high) = (at.min(node.span.start), at.max(node.span.start));
    let lines = text
        .get(low..high)
        .map_or(0, |between| between.matches('\n').count());
    let line = if at <= node.span.start {
        node.place.line.saturating_sub(lines)
    } else {
        node.place.line + lines
    };
    let line_start = text[..at].rfind('\n').map_or(0, |p| p + 1);
    node.place = Place {
        line,
        column: text[line_start..at].chars().count() + 1,
    };
    node.span = at..at + body_end(scalar);
}

/// Where the last line of a block scalar that holds text ends, without its line break. Blanks beyond
/// the indentation are text.
fn body_end(scalar: &str) -> usize {
    let mut indent = None;
    let (mut end, mut offset) = (0, 0);
    for (i, line) in scalar.split('\n').enumerate() {
        let bare = line.trim_end_matches('\r');
        let spaces = bare.len() - bare.trim_start_matches(' ').len();
        let blank = bare.trim_matches([' ', '\t']).is_empty();
        if i > 0 && !blank && indent.is_none() {
            indent = Some(spaces);
        }
        if i == 0 || !blank || indent.is_some_and(|n| bare.len() > n) {
            end = offset + bare.len();
        }
        offset += line.len() + 1;
    }
    end
}
