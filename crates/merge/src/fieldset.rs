//! Owns sets of field paths: the algebra that ownership is made of, and their `fieldsV1` text.
//! It refuses types: what a path means is decided by `typed`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_schema::TypeRef;

use crate::element::{Path, PathElement, UnreadableFields};

/// A set of field paths. A path may be a member, lead to members below it, or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl Node {
    fn leaf() -> Self {
        Self {
            member: true,
            below: FieldSet::default(),
        }
    }

    fn is_bare(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

static NONE: FieldSet = FieldSet {
    nodes: BTreeMap::new(),
};

impl FieldSet {
    /// The set of these members of maps, such as `&[&["status"], &["metadata", "labels"]]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut out = Self::default();
        for path in paths {
            let path: Path = path
                .iter()
                .map(|name| PathElement::Field((*name).to_owned()))
                .collect();
            out.insert(&path);
        }
        out
    }

    /// Adds a path. Its parents do not become members. The empty path is no field.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Adds one step of this set: whether it is a member itself, and what is below it.
    pub(crate) fn put(&mut self, element: PathElement, member: bool, below: Self) {
        if !member && below.is_empty() {
            return;
        }
        let node = self.nodes.entry(element).or_default();
        node.member |= member;
        node.below = if node.below.is_empty() {
            below
        } else {
            node.below.union(&below)
        };
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.nodes
            .values()
            .map(|node| usize::from(node.member) + node.below.len())
            .sum()
    }

    /// Whether this one step is a member.
    pub fn has(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|node| node.member)
    }

    /// Whether the path is a member.
    pub fn contains(&self, path: &[PathElement]) -> bool {
        match path.split_first() {
            None => false,
            Some((first, [])) => self.has(first),
            Some((first, rest)) => self.below(first).contains(rest),
        }
    }

    /// What is below one step.
    pub fn below(&self, element: &PathElement) -> &Self {
        self.nodes.get(element).map_or(&NONE, |node| &node.below)
    }

    /// Members of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (element, node) in &other.nodes {
            let mine = out.nodes.entry(element.clone()).or_default();
            mine.member |= node.member;
            mine.below = mine.below.union(&node.below);
        }
        out
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combined(|element, node| {
            let theirs = other.nodes.get(element)?;
            Some(Node {
                member: node.member && theirs.member,
                below: node.below.intersection(&theirs.below),
            })
        })
    }

    /// Members of this that are not members of the other. What is below a member of the other
    /// stays.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combined(|element, node| {
            let Some(theirs) = other.nodes.get(element) else {
                return Some(node.clone());
            };
            Some(Node {
                member: node.member && !theirs.member,
                below: node.below.difference(&theirs.below),
            })
        })
    }

    /// Members of this that are neither members of the other nor below one.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.combined(|element, node| {
            let Some(theirs) = other.nodes.get(element) else {
                return Some(node.clone());
            };
            if theirs.member {
                return None;
            }
            Some(Node {
                member: node.member,
                below: node.below.without(&theirs.below),
            })
        })
    }

    fn combined(&self, keep: impl Fn(&PathElement, &Node) -> Option<Node>) -> Self {
        let nodes = self
            .nodes
            .iter()
            .filter_map(|(element, node)| Some((element.clone(), keep(element, node)?)))
            .filter(|(_, node)| !node.is_bare())
            .collect();
        Self { nodes }
    }

    /// Members that have no members below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        self.combined(|_, node| {
            Some(Node {
                member: node.member && node.below.is_empty(),
                below: node.below.leaves(),
            })
        })
    }

    /// The same set with every declared member on the way to a member added: who sets
    /// `spec.replicas` holds `spec`, too.
    pub(crate) fn with_named_parents(&self, ty: Option<&TypeRef>) -> Self {
        let nodes = self
            .nodes
            .iter()
            .map(|(element, node)| {
                let declared = match element {
                    PathElement::Field(name) => ty.is_some_and(|ty| ty.declared(name).is_some()),
                    _ => false,
                };
                let below = match element {
                    PathElement::Field(name) => ty.and_then(|ty| ty.field(name)),
                    PathElement::Key(_) => ty.and_then(TypeRef::item),
                    PathElement::Value(_) | PathElement::Index(_) => None,
                };
                let member = node.member || (declared && !node.below.is_empty());
                let below = node.below.with_named_parents(below.as_ref());
                (element.clone(), Node { member, below })
            })
            .collect();
        Self { nodes }
    }

    /// Calls back for each member, parents first, in order.
    pub fn each(&self, mut visit: impl FnMut(&[PathElement])) {
        self.walk(&mut Vec::new(), &mut visit);
    }

    fn walk(&self, trail: &mut Path, visit: &mut impl FnMut(&[PathElement])) {
        for (element, node) in &self.nodes {
            if node.member {
                trail.push(element.clone());
                visit(trail);
                trail.pop();
            }
        }
        for (element, node) in &self.nodes {
            trail.push(element.clone());
            node.below.walk(trail, visit);
            trail.pop();
        }
    }

    /// Each step with whether it is a member and what is below it.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&PathElement, bool, &Self)> {
        self.nodes
            .iter()
            .map(|(element, node)| (element, node.member, &node.below))
    }

    /// Reads the value of `fieldsV1`. Steps of unknown kinds are dropped, as the API server does.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, UnreadableFields> {
        let Some(map) = fields.as_object() else {
            return Err(UnreadableFields {
                text: fields.to_string(),
            });
        };
        let mut out = Self::default();
        for (text, below) in map {
            if text == "." {
                continue;
            }
            let Some(element) = PathElement::parse(text)? else {
                continue;
            };
            let set = Self::from_fields_v1(below)?;
            let member = set.is_empty() || below.get(".").is_some();
            out.nodes.insert(element, Node { member, below: set });
        }
        Ok(out)
    }

    /// The value of `fieldsV1`, its keys in the API server's order.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(self.to_map(false))
    }

    fn to_map(&self, member: bool) -> Map<String, Value> {
        let mut out = Map::new();
        if member && !self.is_empty() {
            out.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, node) in &self.nodes {
            out.insert(
                element.text(),
                Value::Object(node.below.to_map(node.member)),
            );
        }
        out
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<T: IntoIterator<Item = Path>>(paths: T) -> Self {
        let mut out = Self::default();
        for path in paths {
            if let Some((last, parents)) = path.split_last() {
                let mut at = &mut out;
                for element in parents {
                    at = &mut at.nodes.entry(element.clone()).or_default().below;
                }
                at.nodes
                    .entry(last.clone())
                    .or_insert_with(Node::leaf)
                    .member = true;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(fields: &Value) -> FieldSet {
        FieldSet::from_fields_v1(fields).expect("good fields")
    }

    #[test]
    fn text_and_set_are_the_same_thing() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                "f:tags": {"v:\"a\"": {}, "v:1": {}}}});
        let read = set(&fields);
        assert_eq!(read.len(), 6);
        let text = read.to_fields_v1().to_string();
        assert_eq!(
            text,
            r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:tags":{"v:1":{},"v:\"a\"":{}}}}"#
        );
    }

    #[test]
    fn difference_keeps_children_and_without_does_not() {
        let mine = set(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let theirs = set(&json!({"f:a": {}}));
        assert_eq!(
            mine.difference(&theirs),
            set(&json!({"f:a": {"f:b": {}}, "f:c": {}}))
        );
        assert_eq!(mine.without(&theirs), set(&json!({"f:c": {}})));
        assert_eq!(mine.intersection(&theirs), theirs);
        assert_eq!(mine.leaves(), set(&json!({"f:a": {"f:b": {}}, "f:c": {}})));
    }

    #[test]
    fn unknown_kinds_of_steps_are_dropped() {
        assert_eq!(
            set(&json!({"x:future": {}, "f:a": {}})),
            set(&json!({"f:a": {}}))
        );
        assert!(FieldSet::from_fields_v1(&json!({"nonsense": {}})).is_err());
    }
}
