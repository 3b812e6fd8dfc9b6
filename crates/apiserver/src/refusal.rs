//! Owns every way in which the API says no, and the `Status` body that tells a client so.
//! It refuses to know why: the rooms that refuse say it in their own words.

use serde_json::{Map, Value, json};
use weir_gocompat::quote;

/// The resource of a refusal, as clients read it in `details`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceName {
    /// API group, empty for the core group.
    pub group: String,
    /// The resource's plural.
    pub plural: String,
}

impl std::fmt::Display for ResourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.plural)
        } else {
            write!(f, "{}.{}", self.plural, self.group)
        }
    }
}

/// One field's trouble inside a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, such as `FieldValueRequired`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The field's path, such as `spec.replicas`.
    pub field: String,
}

impl Cause {
    /// A field that must be there.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.into(),
        }
    }

    /// A value that is not allowed.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        let message = if detail.is_empty() {
            format!("Invalid value: {}", shown(value))
        } else {
            format!("Invalid value: {}: {detail}", shown(value))
        };
        Self {
            reason: "FieldValueInvalid",
            message,
            field: field.into(),
        }
    }

    /// A value that is not among the known ones.
    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let known: Vec<String> = supported.iter().map(|known| quote(known)).collect();
        Self {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {}: supported values: {}",
                shown(value),
                known.join(", ")
            ),
            field: field.into(),
        }
    }

    /// A text or value of too many bytes.
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        Self {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {limit} bytes"),
            field: field.into(),
        }
    }

    /// A list of too many items.
    pub fn too_many(field: impl Into<String>, count: usize, limit: usize) -> Self {
        Self {
            reason: "FieldValueTooMany",
            message: format!("Too many: {count}: must have at most {limit} items"),
            field: field.into(),
        }
    }

    /// A value that is there already.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {}", shown(value)),
            field: field.into(),
        }
    }

    /// A thing that is named and not there.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueNotFound",
            message: format!("Not found: {}", shown(value)),
            field: field.into(),
        }
    }

    /// A change or value that is never allowed.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        let message = format!("Forbidden: {detail}");
        Self {
            reason: "FieldValueForbidden",
            message,
            field: field.into(),
        }
    }
}

/// How Go prints a bad value: text is quoted, objects are JSON.
pub(crate) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => quote(text),
        other => other.to_string(),
    };
    if text.len() <= 10_000 {
        return text;
    }
    let mut end = 10_000;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

/// Why a request was not served. Each becomes one HTTP answer with a `Status` body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be understood (400). Terminal until the request changes.
    #[error("{0}")]
    BadRequest(String),
    /// Admission or a rule forbids it (403). Terminal until the rule or the request changes.
    #[error("{}", forbidden_message(.resource, .name, .why))]
    Forbidden {
        /// What was asked for.
        resource: ResourceName,
        /// The object's name.
        name: String,
        /// The rule.
        why: String,
        /// Details for machines.
        causes: Vec<Cause>,
    },
    /// An admission policy refuses it, with a reason of its own (422 unless it says otherwise).
    /// Terminal until the policy or the request changes.
    #[error("{}", forbidden_message(.resource, .name, .why))]
    Denied {
        /// What was asked for.
        resource: ResourceName,
        /// The object's name.
        name: String,
        /// Which policy says what.
        why: String,
        /// The code that goes with it.
        code: u16,
    },
    /// The credentials prove nothing (401). Terminal until they change.
    #[error("Unauthorized")]
    Unauthorized,
    /// There is no such object (404). Retryable once it is created.
    #[error("{resource} \"{name}\" not found")]
    NotFound {
        /// What was asked for.
        resource: ResourceName,
        /// The object's name.
        name: String,
    },
    /// There is no such resource or path (404). Retryable once the definition is created.
    #[error("the server could not find the requested resource")]
    NoResource,
    /// The method does not exist on the path (405). Terminal.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// The kind does not have that verb (405). Terminal.
    #[error("{verb} is not supported on resources of kind \"{resource}\"")]
    Unsupported {
        /// What was asked for.
        resource: ResourceName,
        /// What was to be done.
        verb: &'static str,
    },
    /// None of the accepted media types can be served (406). Terminal.
    #[error("{message}")]
    NotAcceptable {
        /// What would be.
        message: String,
    },
    /// An object of that name exists (409). Terminal until it goes.
    #[error("{}{resource} \"{name}\" already exists", if *.going { "object is being deleted: " } else { "" })]
    AlreadyExists {
        /// What was asked for.
        resource: ResourceName,
        /// The object's name.
        name: String,
        /// It is on its way out.
        going: bool,
    },
    /// The object changed meanwhile, or a precondition does not hold (409). Retryable after
    /// reading again.
    #[error("Operation cannot be fulfilled on {resource} \"{name}\": {why}")]
    Conflict {
        /// What was asked for.
        resource: ResourceName,
        /// The object's name.
        name: String,
        /// What differs.
        why: String,
    },
    /// Another manager owns applied fields (409). Terminal unless forced.
    #[error("{message}")]
    ApplyConflict {
        /// The summary.
        message: String,
        /// One for each conflicting field.
        causes: Vec<Cause>,
    },
    /// The history asked for is gone (410). Retryable by listing anew.
    #[error("{message}")]
    Expired {
        /// What was asked and what remains.
        message: String,
        /// For lists: the token with which an inconsistent list may go on.
        next: Option<String>,
    },
    /// The body is larger than the limit (413). Terminal.
    #[error("Request entity too large: limit is {limit}")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The request asks for more than is allowed at once (413). Terminal.
    #[error("Request entity too large: {0}")]
    TooMuch(String),
    /// The body's media type is not understood (415). Terminal.
    #[error(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    )]
    UnsupportedMediaType {
        /// What would be.
        accepted: &'static str,
    },
    /// The patch's media type is none (415). Terminal.
    #[error("415: Unsupported Media Type")]
    UnsupportedPatchType,
    /// The object does not pass validation (422). Terminal until the object changes.
    #[error("{}", invalid_message(.kind, .group, .name, .causes))]
    Invalid {
        /// API group.
        group: String,
        /// Kind.
        kind: String,
        /// The object's name.
        name: String,
        /// One for each field.
        causes: Vec<Cause>,
    },
    /// The patch is well formed but cannot be applied to the object (422). Terminal.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// It would be too much now (429). Retryable later.
    #[error("{message}")]
    TooManyRequests {
        /// What would be.
        message: String,
        /// What stands against it.
        cause: Cause,
        /// Seconds after which to ask again, if that is known.
        after: u32,
    },
    /// Something failed inside (500). Terminal until the object changes.
    #[error("Internal error occurred: {0}")]
    Internal(String),
    /// Something failed that has no reason of its own (500). Terminal until the request changes.
    #[error("{0}")]
    Failed(String),
    /// A resourceVersion from the future (504). Retryable.
    #[error("Timeout: Too large resource version: {asked}, current: {current}")]
    FutureVersion {
        /// What the client has seen.
        asked: u64,
        /// What is.
        current: u64,
    },
}

fn forbidden_message(resource: &ResourceName, name: &str, why: &str) -> String {
    if resource.plural.is_empty() {
        format!("forbidden: {why}")
    } else if name.is_empty() {
        format!("{resource} is forbidden: {why}")
    } else {
        format!(
            "{resource} {} is forbidden: {why}",
            weir_gocompat::quote(name)
        )
    }
}

fn invalid_message(kind: &str, group: &str, name: &str, causes: &[Cause]) -> String {
    let qualified = if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    };
    let mut lines: Vec<String> = Vec::with_capacity(causes.len());
    for cause in causes {
        let line = format!("{}: {}", cause.field, cause.message);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    match lines.as_slice() {
        [one] => format!("{qualified} \"{name}\" is invalid: {one}"),
        many => format!("{qualified} \"{name}\" is invalid: [{}]", many.join(", ")),
    }
}

impl Refusal {
    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden { .. } => 403,
            Self::Denied { code, .. } => *code,
            Self::NotFound { .. } | Self::NoResource => 404,
            Self::MethodNotAllowed | Self::Unsupported { .. } => 405,
            Self::NotAcceptable { .. } => 406,
            Self::AlreadyExists { .. } | Self::Conflict { .. } | Self::ApplyConflict { .. } => 409,
            Self::Expired { .. } => 410,
            Self::TooLarge { .. } | Self::TooMuch(_) => 413,
            Self::UnsupportedMediaType { .. } | Self::UnsupportedPatchType => 415,
            Self::Invalid { .. } | Self::Unprocessable => 422,
            Self::TooManyRequests { .. } => 429,
            Self::Internal(_) | Self::Failed(_) => 500,
            Self::FutureVersion { .. } => 504,
        }
    }

    /// The `reason` of the `Status`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::Denied { code, .. } => match code {
                403 => "Forbidden",
                413 => "RequestEntityTooLarge",
                _ => "Invalid",
            },
            Self::NotFound { .. } | Self::NoResource => "NotFound",
            Self::MethodNotAllowed | Self::Unsupported { .. } => "MethodNotAllowed",
            Self::NotAcceptable { .. } => "NotAcceptable",
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::Conflict { .. } | Self::ApplyConflict { .. } => "Conflict",
            Self::Expired { .. } => "Expired",
            Self::TooLarge { .. } | Self::TooMuch(_) => "RequestEntityTooLarge",
            Self::UnsupportedMediaType { .. } | Self::UnsupportedPatchType => {
                "UnsupportedMediaType"
            }
            Self::Invalid { .. } | Self::Unprocessable => "Invalid",
            Self::TooManyRequests { .. } => "TooManyRequests",
            Self::Internal(_) => "InternalError",
            Self::Failed(_) => "",
            Self::FutureVersion { .. } => "Timeout",
        }
    }

    /// Whether the same request may succeed later, unchanged or after reading again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::NoResource
                | Self::Conflict { .. }
                | Self::Expired { .. }
                | Self::FutureVersion { .. }
                | Self::TooManyRequests { .. }
        )
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut details = Map::new();
        let mut name_of = |resource: &ResourceName, name: &str| {
            if !name.is_empty() {
                details.insert("name".into(), name.into());
            }
            if !resource.group.is_empty() {
                details.insert("group".into(), resource.group.clone().into());
            }
            if !resource.plural.is_empty() {
                details.insert("kind".into(), resource.plural.clone().into());
            }
        };
        let mut causes: &[Cause] = &[];
        let mut metadata = json!({});
        match self {
            Self::NotFound { resource, name }
            | Self::AlreadyExists { resource, name, .. }
            | Self::Conflict { resource, name, .. }
            | Self::Denied { resource, name, .. } => name_of(resource, name),
            Self::Unsupported { resource, .. } => name_of(resource, ""),
            Self::Forbidden {
                resource,
                name,
                causes: of,
                ..
            } => {
                name_of(resource, name);
                causes = of;
            }
            Self::Invalid {
                group,
                kind,
                name,
                causes: of,
            } => {
                name_of(
                    &ResourceName {
                        group: group.clone(),
                        plural: kind.clone(),
                    },
                    name,
                );
                causes = of;
            }
            Self::ApplyConflict { causes: of, .. } => causes = of,
            Self::TooManyRequests { cause, after, .. } => {
                if *after > 0 {
                    details.insert("retryAfterSeconds".into(), (*after).into());
                }
                causes = std::slice::from_ref(cause);
            }
            Self::Expired {
                next: Some(token), ..
            } => metadata = json!({"continue": token}),
            Self::FutureVersion { .. } => {
                details.insert("retryAfterSeconds".into(), 1.into());
            }
            _ => {}
        }
        if let Self::Denied { why, .. } = self {
            details.insert("causes".into(), json!([{"message": why}]));
        }
        if let Self::Internal(why) = self {
            details.insert("causes".into(), json!([{"message": why}]));
        }
        let mut list: Vec<Value> = causes
            .iter()
            .map(|c| {
                let mut cause = json!({"reason": c.reason, "message": c.message});
                if !c.field.is_empty() {
                    weir_object::path::set(&mut cause, &["field"], c.field.clone().into());
                }
                cause
            })
            .collect();
        if matches!(self, Self::FutureVersion { .. }) {
            list.push(json!({
                "reason": "ResourceVersionTooLarge",
                "message": "Too large resource version",
            }));
        }
        if !list.is_empty() {
            details.insert("causes".into(), list.into());
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.to_string(),
        });
        // What no path takes is said by the layer above, whose words always have details.
        let early = matches!(self, Self::NotAcceptable { message } if message.starts_with("406"));
        let keep_details = !details.is_empty()
            || early
            || matches!(
                self,
                Self::NoResource
                    | Self::MethodNotAllowed
                    | Self::Forbidden { .. }
                    | Self::UnsupportedPatchType
                    | Self::Unprocessable
            );
        if let Value::Object(map) = &mut status {
            if !self.reason().is_empty() {
                map.insert("reason".into(), self.reason().into());
            }
            if keep_details {
                map.insert("details".into(), details.into());
            }
            map.insert("code".into(), self.code().into());
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_shape_clients_know() {
        let resource = ResourceName {
            group: "apps".into(),
            plural: "deployments".into(),
        };
        let gone = Refusal::NotFound {
            resource,
            name: "web".into(),
        };
        assert_eq!(
            gone.status(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps \"web\" not found", "reason": "NotFound",
                "details": {"name": "web", "group": "apps", "kind": "deployments"}, "code": 404,
            })
        );
        let invalid = Refusal::Invalid {
            group: String::new(),
            kind: "Pod".into(),
            name: "p".into(),
            causes: vec![
                Cause::required("spec.containers", ""),
                Cause::invalid("spec.x", &json!("y"), "must be z"),
            ],
        };
        assert_eq!(
            invalid.to_string(),
            "Pod \"p\" is invalid: [spec.containers: Required value, \
             spec.x: Invalid value: \"y\": must be z]"
        );
    }
}
