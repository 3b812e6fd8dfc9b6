//! Owns the gate before every request: who asks, as whom, and whether they may. What is refused
//! here is refused before anything is known of the path or read of the body.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response};

use super::{Attributes, authorize};
use crate::answer;
use crate::body::ApiBody;
use crate::identity::{self, User};
use crate::protobuf::Exchange;
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

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What cannot be taken for HTML is shown as it is.
fn harmless(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// What is told to a user who may not.
pub(crate) fn forbidden(user: &User, attributes: &Attributes, reason: &str) -> Refusal {
    let mut why = harmless(&attributes.refused(&user.name));
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    Refusal::Forbidden {
        resource: ResourceName {
            group: attributes.group.clone(),
            plural: attributes.resource.clone(),
        },
        name: attributes.name.clone(),
        why,
        causes: Vec::new(),
    }
}

impl Denial {
    /// The answer that says so, in a form that the client accepts.
    pub(crate) fn answer(&self, server: &ApiServer, head: &Parts) -> Response<ApiBody> {
        let careful = !matches!(self, Self::Refused(Refusal::Unauthorized));
        let mut response = match self {
            Self::Broken(what) => {
                let uri = head.uri.path_and_query().map_or("/", |p| p.as_str());
                let uri = weir_gocompat::quote(uri);
                let text = format!("Internal Server Error: {uri}: {what}\n");
                answer::text(500, harmless(&text))
            }
            Self::Refused(refusal) => Exchange::open(server, head).close(answer::refusal(refusal)),
        };
        if careful {
            let header = HeaderValue::from_static("nosniff");
            let headers = response.headers_mut();
            headers.insert("x-content-type-options", header);
        }
        response
    }
}

/// Lets a request in as a user.
pub(crate) fn enter(server: &ApiServer, head: &Parts) -> Result<Arc<User>, Denial> {
    let caller = identity::of(server, head)?;
    let user = identity::act_as(server, caller, &head.headers)?;
    if user.is_privileged() {
        return Ok(user);
    }
    let segments = request::segments(head.uri.path())
        .ok_or_else(|| Refusal::BadRequest("the path is not text".to_owned()))?;
    let attributes = Attributes::of(head, &segments);
    let decision = authorize(&server.0.read(), &user, &attributes);
    if decision.allowed {
        return Ok(user);
    }
    Err(forbidden(&user, &attributes, &decision.reason).into())
}
