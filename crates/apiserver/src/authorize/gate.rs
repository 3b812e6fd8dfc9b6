//! Owns the gate before every request: who asks, as whom, and whether they may. What is refused
//! here is refused before anything is known of the path or read of the body.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response};

use super::{Attributes, authorize};
use crate::answer;
use crate::body::ApiBody;
use crate::identity::{self, User};
use crate::refusal::{Refusal, ResourceName};
use crate::request;
use crate::server::ApiServer;

/// Why a request does not pass.
#[derive(Debug)]
pub(crate) enum Denial {
    /// Its headers contradict themselves.
    Broken(String),
    /// Said as any refusal is.
    Refused(Refusal),
}

impl Denial {
    /// What is told to a user who may not.
    pub(crate) fn forbidden(user: &User, attributes: &Attributes, reason: &str) -> Self {
        let mut why = attributes
            .refused(&user.name)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        if !reason.is_empty() {
            why = format!("{why}: {reason}");
        }
        Self::Refused(Refusal::Forbidden {
            resource: ResourceName {
                group: attributes.group.clone(),
                plural: attributes.resource.clone(),
            },
            name: attributes.name.clone(),
            why,
            causes: Vec::new(),
        })
    }

    fn answer(&self, head: &Parts) -> Response<ApiBody> {
        let mut response = match self {
            Self::Broken(what) => {
                let uri = head.uri.path_and_query().map_or("/", |p| p.as_str());
                let uri = weir_gocompat::quote(uri);
                let text = format!("Internal Server Error: {uri}: {what}\n");
                let text = text
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;");
                answer::text(500, text)
            }
            Self::Refused(refusal) => answer::refusal(refusal),
        };
        let careful = !matches!(self, Self::Refused(Refusal::Unauthorized));
        if careful {
            let header = HeaderValue::from_static("nosniff");
            response
                .headers_mut()
                .insert("x-content-type-options", header);
        }
        response
    }
}

/// Lets a request in as a user, or answers it.
pub(crate) fn enter(server: &ApiServer, head: &Parts) -> Result<Arc<User>, Response<ApiBody>> {
    admit(server, head).map_err(|denial| denial.answer(head))
}

fn admit(server: &ApiServer, head: &Parts) -> Result<Arc<User>, Denial> {
    let caller = identity::of(server, head).map_err(Denial::Refused)?;
    let user = identity::act_as(server, caller, &head.headers)?;
    if user.is_privileged() {
        return Ok(user);
    }
    let segments = request::segments(head.uri.path())
        .ok_or_else(|| Denial::Refused(Refusal::BadRequest("the path is not text".to_owned())))?;
    let attributes = Attributes::of(head, &segments);
    let decision = authorize(&server.0.read(), &user, &attributes);
    if decision.allowed {
        return Ok(user);
    }
    Err(Denial::forbidden(&user, &attributes, &decision.reason))
}
