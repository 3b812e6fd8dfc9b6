//! Owns what becomes of recorded fields when a type has since turned from many values into one:
//! who owned a part then owns the whole.

use weir_schema::TypeRef;

use super::{is_atomic_list, untyped};
use crate::element::PathElement;
use crate::fieldset::FieldSet;

/// The same ownership in terms of this type.
pub(crate) fn reconcile(fields: &FieldSet, ty: &TypeRef) -> FieldSet {
    let mut out = FieldSet::default();
    for (element, member, below) in fields.steps() {
        let inner = match element {
            PathElement::Field(name) => {
                if let Some(inner) = ty.field(name) {
                    inner
                } else {
                    out.put(element.clone(), member, below.clone());
                    continue;
                }
            }
            _ => ty.item().unwrap_or_else(untyped),
        };
        let whole = if inner.map().is_some() {
            inner.is_atomic_map() && !inner.is_untyped()
        } else {
            inner.list().is_some() && inner.scalar().is_none() && is_atomic_list(&inner)
        };
        if whole && !below.is_empty() {
            out.put(element.clone(), true, FieldSet::default());
        } else {
            out.put(element.clone(), member, reconcile(below, &inner));
        }
    }
    out
}
