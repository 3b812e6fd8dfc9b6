//! Owns an object in the versions of its kind: fields of a manager are named in the version it
//! wrote, so each question about its fields is asked of the object in that version. Versions
//! differ in what they declare; an object that another version does not fit has no form in it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use weir_schema::TypeRef;

use super::Writer;
use super::entries::Table;
use crate::typed::{self, Comparison};

/// Why an object has no form in a version.
pub(super) enum Formless {
    /// There is no such version; who wrote in it owns nothing any more.
    Missing,
    /// The object does not fit the version, in the API server's words.
    Broken(String),
}

/// The versions of the kind that is written.
pub(super) struct Versions<'a> {
    own: &'a str,
    ty: &'a TypeRef,
    others: &'a [(String, TypeRef)],
}

impl<'a> Versions<'a> {
    pub(super) fn of(writer: &Writer<'a>, ty: &'a TypeRef) -> Self {
        Self {
            own: writer.api_version,
            ty,
            others: writer.versions,
        }
    }

    /// The type of a version.
    pub(super) fn ty(&self, version: &str) -> Option<&'a TypeRef> {
        if version == self.own {
            return Some(self.ty);
        }
        let found = self.others.iter().find(|(name, _)| name == version);
        found.map(|(_, ty)| ty)
    }

    /// An object of version `from` in version `to`.
    pub(super) fn form<'o>(
        &self,
        object: &'o Value,
        from: &str,
        to: &str,
    ) -> Result<(Cow<'o, Value>, &'a TypeRef), Formless> {
        let ty = self.ty(to).ok_or(Formless::Missing)?;
        if from == to {
            return Ok((Cow::Borrowed(object), ty));
        }
        let mut object = object.clone();
        if object.get("apiVersion").is_some() {
            weir_object::path::set(&mut object, &["apiVersion"], Value::String(to.to_owned()));
        }
        // Built-in versions that share one type fit each other.
        let reasons = if std::ptr::eq(ty, self.ty) || ty.name().is_some() {
            Vec::new()
        } else {
            typed::validate(&object, ty)
        };
        if reasons.is_empty() {
            Ok((Cow::Owned(object), ty))
        } else {
            Err(Formless::Broken(typed::told(&reasons)))
        }
    }

    /// Names what each manager owns in terms of today's types, and drops who wrote in a version
    /// that is gone.
    pub(super) fn reconcile(&self, table: &mut Table, live: &Value) -> Result<(), String> {
        let mut fits: BTreeMap<String, Option<&TypeRef>> = BTreeMap::new();
        for share in table.values() {
            if fits.contains_key(&share.api_version) {
                continue;
            }
            let ty = match self.form(live, self.own, &share.api_version) {
                Ok((_, ty)) => Some(ty),
                Err(Formless::Missing) => None,
                Err(Formless::Broken(reason)) => return Err(reason),
            };
            fits.insert(share.api_version.clone(), ty);
        }
        table.retain(
            |_, share| match fits.get(&share.api_version).copied().flatten() {
                None => false,
                Some(ty) => {
                    share.fields = typed::reconcile(&share.fields, ty);
                    true
                }
            },
        );
        Ok(())
    }

    /// What changed from one object to another, in each version that somebody wrote in.
    pub(super) fn changes(
        &self,
        before: &Value,
        after: &Value,
        own: &Comparison,
        table: &Table,
    ) -> Result<Changes, String> {
        let mut out = Changes(BTreeMap::new());
        out.0.insert(self.own.to_owned(), Some(own.clone()));
        for share in table.values() {
            if out.0.contains_key(&share.api_version) {
                continue;
            }
            let form = |object, which: &str| match self.form(object, self.own, &share.api_version) {
                Ok(form) => Ok(Some(form)),
                Err(Formless::Missing) => Ok(None),
                Err(Formless::Broken(reason)) => {
                    Err(format!("failed to convert {which} object: {reason}"))
                }
            };
            let old = form(before, "old")?;
            let new = form(after, "new")?;
            let change = match (old, new) {
                (Some((old, ty)), Some((new, _))) => Some(typed::compare(&old, &new, ty)),
                _ => None,
            };
            out.0.insert(share.api_version.clone(), change);
        }
        Ok(out)
    }
}

/// What changed, by version; nothing for a version that is gone.
pub(super) struct Changes(BTreeMap<String, Option<Comparison>>);

impl Changes {
    /// What changed in a version.
    pub(super) fn in_version(&self, version: &str) -> Option<&Comparison> {
        self.0.get(version)?.as_ref()
    }
}
