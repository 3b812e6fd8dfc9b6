//! Owns the types of what policies may refer to.

use crate::cel::{Decl, Type};

/// The variables of an expression, by what its policy has.
pub(super) struct Variables {
    /// The type of `object` and `oldObject`.
    pub(super) object: Type,
    /// The type of `params`, where the policy has any.
    pub(super) params: Option<Type>,
    pub(super) authorizer: bool,
    /// The policy's own variables so far; `None` where they may not be used.
    pub(super) composed: Option<Vec<(String, Type)>>,
}

impl Variables {
    /// What the compiler is told.
    pub(super) fn list(&self) -> Vec<(String, Type)> {
        let mut out = vec![
            ("object".to_owned(), self.object.clone()),
            ("oldObject".to_owned(), self.object.clone()),
            ("namespaceObject".to_owned(), namespace()),
            ("request".to_owned(), request()),
        ];
        if let Some(params) = &self.params {
            out.push(("params".to_owned(), params.clone()));
        }
        if self.authorizer {
            let host = Type::Host("kubernetes.authorization.Authorizer");
            out.push(("authorizer".to_owned(), host));
            let host = Type::Host("kubernetes.authorization.ResourceCheck");
            out.push(("authorizer.requestResource".to_owned(), host));
        }
        if let Some(composed) = &self.composed {
            let fields = composed
                .iter()
                .map(|(name, ty)| (name.as_str(), ty.clone()))
                .collect();
            let record = Decl::record("kubernetes.variables", fields);
            out.push(("variables".to_owned(), record));
            for (name, ty) in composed {
                out.push((format!("variables.{name}"), ty.clone()));
            }
        }
        out
    }
}

fn request() -> Type {
    let text = || Type::Text;
    let kind = || {
        let fields = vec![("group", text()), ("version", text()), ("kind", text())];
        Decl::record("kubernetes.GroupVersionKind", fields)
    };
    let resource = || {
        let fields = vec![("group", text()), ("version", text()), ("resource", text())];
        Decl::record("kubernetes.GroupVersionResource", fields)
    };
    let user = Decl::record(
        "kubernetes.UserInfo",
        vec![
            ("username", text()),
            ("uid", text()),
            ("groups", Type::list(text())),
            ("extra", Type::map(text(), Type::list(text()))),
        ],
    );
    Decl::record(
        "kubernetes.AdmissionRequest",
        vec![
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

fn namespace() -> Type {
    let text = || Type::Text;
    let labels = || Type::map(Type::Text, Type::Text);
    let condition = Decl::record(
        "kubernetes.NamespaceCondition",
        vec![
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", Type::Timestamp),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let metadata = Decl::record(
        "kubernetes.NamespaceMetadata",
        vec![
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", labels()),
            ("annotations", labels()),
            ("UID", text()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", text()),
            ("finalizers", Type::list(text())),
        ],
    );
    let spec = vec![("finalizers", Type::list(text()))];
    let status = vec![("conditions", Type::list(condition)), ("phase", text())];
    Decl::record(
        "kubernetes.Namespace",
        vec![
            ("metadata", metadata),
            ("spec", Decl::record("kubernetes.NamespaceSpec", spec)),
            ("status", Decl::record("kubernetes.NamespaceStatus", status)),
        ],
    )
}
