//! Owns the comparison of two versions of a value: which fields were added, changed and removed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_schema::{Absent, TypeRef};

use super::{Side, Sides, is_atomic_list, item, item_element, member};
use crate::element::{Path, PathElement, same};
use crate::fieldset::FieldSet;

/// What changed from one version to another. No field is in two of the sets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) removed: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) added: FieldSet,
}

impl Comparison {
    /// The comparison less these fields and all below them.
    pub(crate) fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            removed: self.removed.without(ignored),
            modified: self.modified.without(ignored),
            added: self.added.without(ignored),
        }
    }

    /// Fields whose value is new.
    pub(crate) fn written(&self) -> FieldSet {
        self.modified.union(&self.added)
    }
}

pub(crate) fn compare(before: &Value, after: &Value, ty: &TypeRef) -> Comparison {
    let mut walk = Walk {
        out: Comparison::default(),
        path: Vec::new(),
    };
    walk.value(Some(before), Some(after), ty);
    walk.out
}

struct Walk {
    out: Comparison,
    path: Path,
}

impl Walk {
    fn value(&mut self, lhs: Option<&Value>, rhs: Option<&Value>, ty: &TypeRef) {
        let (l, r) = (Sides::of(ty, lhs), Sides::of(ty, rhs));
        let leaf = if rhs.is_none() {
            self.side(l.first(), lhs, rhs, ty)
        } else if lhs.is_none() || l == r {
            self.side(r.first(), lhs, rhs, ty)
        } else {
            self.side(l.first(), lhs, rhs, ty);
            self.side(r.first(), lhs, rhs, ty)
        };
        if !leaf {
            if lhs.is_none() {
                self.out.added.insert(&self.path);
            } else if rhs.is_none() {
                self.out.removed.insert(&self.path);
            }
        }
    }

    /// Compares one side and answers whether the value was one leaf.
    fn side(&mut self, side: Side, lhs: Option<&Value>, rhs: Option<&Value>, ty: &TypeRef) -> bool {
        match side {
            Side::Scalar => self.leaf(lhs, rhs),
            Side::Map => {
                let (l, r) = (
                    lhs.and_then(Value::as_object),
                    rhs.and_then(Value::as_object),
                );
                let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
                if empty || ty.is_atomic_map() {
                    return self.leaf(lhs, rhs);
                }
                self.map(l, r, ty);
                false
            }
            Side::List => {
                let (l, r) = (lhs.and_then(Value::as_array), rhs.and_then(Value::as_array));
                let empty = l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty);
                if empty || is_atomic_list(ty) {
                    return self.leaf(lhs, rhs);
                }
                let (Ok(l), Ok(r)) = (by_element(l, ty), by_element(r, ty)) else {
                    // Items that can't be told apart make the list one value.
                    return self.leaf(lhs, rhs);
                };
                self.list(&l, &r, ty);
                false
            }
        }
    }

    fn leaf(&mut self, lhs: Option<&Value>, rhs: Option<&Value>) -> bool {
        match (lhs, rhs) {
            (None, _) => self.out.added.insert(&self.path),
            (_, None) => self.out.removed.insert(&self.path),
            (Some(l), Some(r)) if !same(l, r) => self.out.modified.insert(&self.path),
            _ => {}
        }
        true
    }

    fn map(
        &mut self,
        lhs: Option<&Map<String, Value>>,
        rhs: Option<&Map<String, Value>>,
        ty: &TypeRef,
    ) {
        let empty = Value::Object(Map::new());
        let names = lhs.into_iter().flat_map(Map::keys).chain(
            rhs.into_iter()
                .flat_map(Map::keys)
                .filter(|name| !lhs.is_some_and(|lhs| lhs.contains_key(*name))),
        );
        for name in names {
            // A member that is always there does not come or go with what is in it.
            let absent = match ty.declared(name).map(|field| field.absent) {
                None | Some(Absent::Nothing) => None,
                Some(Absent::EmptyMap) => Some(&empty),
                Some(Absent::Null) => Some(&Value::Null),
            };
            let l = lhs.and_then(|map| map.get(name).or(absent));
            let r = rhs.and_then(|map| map.get(name).or(absent));
            self.path.push(PathElement::Field(name.clone()));
            self.value(l, r, &member(ty, name));
            self.path.pop();
        }
    }

    fn list(&mut self, lhs: &Index<'_>, rhs: &Index<'_>, ty: &TypeRef) {
        let item = item(ty);
        let none = Vec::new();
        let elements = lhs
            .keys()
            .chain(rhs.keys().filter(|element| !lhs.contains_key(*element)));
        for element in elements {
            let l = lhs.get(element).unwrap_or(&none);
            let r = rhs.get(element).unwrap_or(&none);
            self.path.push(element.clone());
            match (l.as_slice(), r.as_slice()) {
                ([], []) => {}
                ([] | [_], [] | [_]) => {
                    self.value(l.first().copied(), r.first().copied(), &item);
                }
                // Items that are there more than once are owned as one value.
                ([_, _, ..], [_, _, ..]) => {
                    let equal = l.len() == r.len() && l.iter().zip(r).all(|(a, b)| same(a, b));
                    if !equal {
                        self.out.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], _) => {
                    if let Some(single) = r.first() {
                        self.value(None, Some(*single), &item);
                    }
                    self.out.removed.insert(&self.path);
                }
                (_, [_, _, ..]) => {
                    if let Some(single) = l.first() {
                        self.value(Some(*single), None, &item);
                    }
                    self.out.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
    }
}

type Index<'a> = BTreeMap<PathElement, Vec<&'a Value>>;

fn by_element<'a>(list: Option<&'a Vec<Value>>, ty: &TypeRef) -> Result<Index<'a>, String> {
    let mut out = Index::new();
    for value in list.into_iter().flatten() {
        out.entry(item_element(ty, value)?).or_default().push(value);
    }
    Ok(out)
}
