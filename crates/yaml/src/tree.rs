//! The document as it was written: nodes with their comments and byte spans. Owns the shape; refuses
//! typing (see `value`) and editing (see `replace`).

use std::ops::Range;

use crate::error::Place;

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The root node; an empty document has an empty plain scalar.
    pub root: Node,
    /// Whether it began with `---`.
    pub explicit: bool,
    /// The `%YAML` directive, if there was one.
    pub version: Option<(u32, u32)>,
    /// Where it begins.
    pub place: Place,
    /// All comments that belong to the document, in the order of the text.
    pub comments: Vec<Comment>,
}

impl Document {
    /// Whether there is nothing in it but comments.
    pub fn is_empty(&self) -> bool {
        matches!(&self.root.content, Content::Scalar { text, style: Style::Plain } if text.is_empty())
            && self.root.tag.is_none()
            && self.root.anchor.is_none()
    }

    /// Every scalar that is a value (not a key), with the way to it, in the order of the text.
    pub fn scalars(&self) -> Vec<ScalarAt<'_>> {
        let mut found = Vec::new();
        collect(&self.root, &mut Vec::new(), &mut found);
        found
    }
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its text after the `#`, as written.
    pub text: String,
    /// Its bytes in the source, from the `#` to before the line break.
    pub span: Range<usize>,
    /// Its line, from one.
    pub line: usize,
    /// Whether something other than blanks stands before it on its line.
    pub trailing: bool,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// An explicit tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The whole tag, such as `tag:yaml.org,2002:str`, or `!` for the one that only forbids typing.
    pub name: String,
    /// Its bytes in the source.
    pub span: Option<Range<usize>>,
}

/// An anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The number that aliases refer to, unique in the stream.
    pub id: usize,
    /// Its name without the `&`.
    pub name: String,
    /// Its bytes in the source.
    pub span: Range<usize>,
}

/// A node: a scalar, a list, a mapping or an alias.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it holds.
    pub content: Content,
    /// Its bytes in the source, without tag and anchor. A block scalar's span begins at its `|` or `>`
    /// and ends before the line break after its last line with text; a block collection's ends with
    /// its last child.
    pub span: Range<usize>,
    /// Where it begins.
    pub place: Place,
    /// Its explicit tag.
    pub tag: Option<Tag>,
    /// Its anchor.
    pub anchor: Option<Anchor>,
    /// Comment lines directly above it, without a blank line between.
    pub head_comments: Vec<Comment>,
    /// The comment after it on its last line (for a block scalar: on its header line).
    pub line_comment: Option<Comment>,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A scalar.
    Scalar {
        /// The text after unquoting and folding.
        text: String,
        /// How it was written.
        style: Style,
    },
    /// A list.
    Sequence {
        /// Whether it was written with brackets.
        flow: bool,
        /// Its items.
        items: Vec<Node>,
    },
    /// A mapping.
    Mapping {
        /// Whether it was written with braces.
        flow: bool,
        /// Its entries, duplicates included.
        entries: Vec<Entry>,
    },
    /// An alias.
    Alias {
        /// The [`Anchor::id`] it refers to.
        target: usize,
    },
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Node,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The scalar's text and style, if it is a scalar.
    pub fn scalar(&self) -> Option<(&str, Style)> {
        match &self.content {
            Content::Scalar { text, style } => Some((text, *style)),
            _ => None,
        }
    }

    /// The value under a key of a mapping (the last one, if the key is there twice).
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Content::Mapping { entries, .. } = &self.content else {
            return None;
        };
        let entry = entries
            .iter()
            .rev()
            .find(|e| e.key.scalar().is_some_and(|(k, _)| k == key))?;
        Some(&entry.value)
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// Whether nothing was written where the node stands (a null by absence).
    pub fn is_absent(&self) -> bool {
        self.span.is_empty()
            && matches!(
                self.content,
                Content::Scalar {
                    style: Style::Plain,
                    ..
                }
            )
    }
}

/// One step of the way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping, by key text.
    Key(String),
    /// Into a list, by position.
    Index(usize),
}

/// A scalar and the way to it.
#[derive(Clone, Debug)]
pub struct ScalarAt<'a> {
    /// The steps from the document's root.
    pub path: Vec<Step>,
    /// The scalar's node.
    pub node: &'a Node,
}

impl ScalarAt<'_> {
    /// Whether the scalar is an item of a list.
    pub fn is_item(&self) -> bool {
        matches!(self.path.last(), Some(Step::Index(_)))
    }
}

fn collect<'a>(node: &'a Node, path: &mut Vec<Step>, found: &mut Vec<ScalarAt<'a>>) {
    match &node.content {
        Content::Scalar { .. } => found.push(ScalarAt {
            path: path.clone(),
            node,
        }),
        Content::Alias { .. } => {}
        Content::Sequence { items, .. } => {
            for (i, item) in items.iter().enumerate() {
                path.push(Step::Index(i));
                collect(item, path, found);
                path.pop();
            }
        }
        Content::Mapping { entries, .. } => {
            for entry in entries {
                let key = entry
                    .key
                    .scalar()
                    .map_or_else(String::new, |(text, _)| text.to_owned());
                path.push(Step::Key(key));
                collect(&entry.value, path, found);
                path.pop();
            }
        }
    }
}
