//! Owns what is said of a resource beside what it holds: that it goes away, or that nothing
//! serves it or its method, in the words of whoever would have.

use http::Method;

use crate::refusal::{Refusal, ResourceName};
use crate::registry::Registry;
use crate::request::Target;

/// What every client of a deprecated resource is told.
pub(crate) fn deprecation(registry: &Registry, target: &Target) -> Option<String> {
    match (
        target.group.as_str(),
        target.version.as_str(),
        target.plural.as_str(),
    ) {
        ("", "v1", "endpoints") => Some(
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
                .to_owned(),
        ),
        (group, version, plural) => {
            let resource = registry.get(group, version, plural)?;
            resource.custom.as_ref()?.deprecation.clone()
        }
    }
}

/// A method that a custom resource does not have.
pub(crate) fn unsupported(target: &Target, method: &Method) -> Refusal {
    let named = target.name.is_some();
    Refusal::Unsupported {
        resource: ResourceName {
            group: target.group.clone(),
            plural: target.plural.clone(),
        },
        verb: match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ if named => "get",
            _ => "list",
        },
    }
}
