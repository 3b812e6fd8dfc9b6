//! Owns what everything around one Canary is called.

use weir_api::canary::Spec;
use weir_object::Key;

/// The names around one Canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) namespace: String,
    /// The Canary.
    pub(crate) canary: String,
    /// The workload Git owns.
    pub(crate) target: String,
    /// The workload that serves.
    pub(crate) primary: String,
    /// The Service that users call, and the route.
    pub(crate) apex: String,
    /// The Service in front of the primary's pods.
    pub(crate) apex_primary: String,
    /// The Service in front of the target's pods.
    pub(crate) apex_canary: String,
}

impl Names {
    pub(crate) fn of(key: &Key, spec: &Spec) -> Self {
        let (target, apex) = (spec.target_ref.name.clone(), spec.apex_name().to_owned());
        Self {
            namespace: key.namespace.clone(),
            canary: key.name.clone(),
            primary: format!("{target}-primary"),
            target,
            apex_primary: format!("{apex}-primary"),
            apex_canary: format!("{apex}-canary"),
            apex,
        }
    }

    /// The same with the primary as what is measured.
    pub(crate) fn of_primary(&self) -> Self {
        Self {
            target: self.primary.clone(),
            ..self.clone()
        }
    }

    /// A name in the Canary's namespace.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(self.namespace.clone(), name)
    }

    /// `name.namespace` of the target, as texts name it.
    pub(crate) fn target_text(&self) -> String {
        format!("{}.{}", self.target, self.namespace)
    }
}

#[cfg(test)]
impl Names {
    /// Those around a Canary of namespace `demo`.
    pub(crate) fn sample(canary: &str, target: &str, apex: &str) -> Self {
        let mut spec = Spec::default();
        target.clone_into(&mut spec.target_ref.name);
        spec.service = Some(weir_api::canary::Service {
            name: Some(apex.to_owned()),
            ..weir_api::canary::Service::default()
        });
        Self::of(&Key::new("demo", canary), &spec)
    }
}
