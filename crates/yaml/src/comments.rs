//! Which comment belongs to which node. Owns the rules of nearness; refuses to read a comment's text.
//!
//! A line comment belongs to the innermost node that ends right before it on the same line, with
//! nothing but blanks and one comma between, or to the block scalar whose header it follows. Comment
//! lines belong to the list item or key on the line directly below them.

use std::collections::VecDeque;

use crate::tree::{Comment, Content, Document, Node, Style};

pub(crate) fn attach(text: &str, document: &mut Document) {
    if document.comments.is_empty() {
        return;
    }
    document.comments.sort_by_key(|c| c.span.start);
    let (trailing, heads): (Vec<Comment>, Vec<Comment>) =
        document.comments.iter().cloned().partition(|c| c.trailing);
    let mut work = Attach {
        text,
        trailing: trailing.into(),
        heads: heads.into(),
    };
    work.node(&mut document.root, false);
}

struct Attach<'a> {
    text: &'a str,
    trailing: VecDeque<Comment>,
    heads: VecDeque<Comment>,
}

impl Attach<'_> {
    fn node(&mut self, node: &mut Node, item: bool) {
        // A block collection leaves the lines to its first child, unless it is a list's item.
        let block = matches!(
            node.content,
            Content::Mapping { flow: false, .. } | Content::Sequence { flow: false, .. }
        );
        if !node.is_absent() && (item || !block) {
            node.head_comments = self.heads_of(node);
        }
        match &mut node.content {
            Content::Sequence { items, .. } => {
                for item in items {
                    self.node(item, true);
                }
            }
            Content::Mapping { entries, .. } => {
                for entry in entries {
                    self.node(&mut entry.key, false);
                    self.node(&mut entry.value, false);
                }
            }
            Content::Scalar {
                style: Style::Literal | Style::Folded,
                ..
            } => {
                self.skip_before(node.span.start);
                let header = self.text.get(node.span.clone()).unwrap_or("");
                let header_end = node.span.start + header.find('\n').unwrap_or(header.len());
                if self
                    .trailing
                    .front()
                    .is_some_and(|c| c.span.start < header_end)
                {
                    node.line_comment = self.trailing.pop_front();
                }
                return;
            }
            Content::Scalar { .. } | Content::Alias { .. } => {}
        }
        if node.span.is_empty() {
            return;
        }
        self.skip_before(node.span.end);
        let Some(comment) = self.trailing.front() else {
            return;
        };
        let gap = self
            .text
            .get(node.span.end..comment.span.start)
            .unwrap_or("\n");
        let gap = gap.trim_start_matches([' ', '\t']);
        let gap = gap
            .strip_prefix(',')
            .unwrap_or(gap)
            .trim_start_matches([' ', '\t']);
        if gap.is_empty() {
            node.line_comment = self.trailing.pop_front();
        }
    }

    /// Drops comments that stand before a place and so can belong to nothing from there on.
    fn skip_before(&mut self, offset: usize) {
        while self.trailing.front().is_some_and(|c| c.span.start < offset) {
            self.trailing.pop_front();
        }
    }

    /// The comment lines that end on the line above a node.
    fn heads_of(&mut self, node: &Node) -> Vec<Comment> {
        let mut block: Vec<Comment> = Vec::new();
        while self
            .heads
            .front()
            .is_some_and(|c| c.span.start < node.span.start)
        {
            let Some(comment) = self.heads.pop_front() else {
                break;
            };
            if block
                .last()
                .is_some_and(|last| last.line + 1 != comment.line)
            {
                block.clear();
            }
            block.push(comment);
        }
        if block
            .last()
            .is_some_and(|last| last.line + 1 != node.place.line)
        {
            block.clear();
        }
        block
    }
}
