//! Owns acting as somebody else: what the `Impersonate-*` headers ask for, the leave for each part
//! of it, and the user that results.

use std::sync::Arc;

use http::header::HeaderMap;

use super::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};
use super::user::{account_groups, account_name, split_account};
use crate::authorize::{self, Attributes, Denial};
use crate::server::ApiServer;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// One part of another's identity.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Account { namespace: String, name: String },
    User(String),
    Group(String),
    Extra { key: String, value: String },
    Uid(String),
}

impl Claim {
    /// What the caller must be allowed to do to claim it.
    fn attributes(&self) -> Attributes {
        let of = |group: &str, version: &str, resource: &str, name: &str| Attributes {
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            is_resource: true,
            ..Attributes::default()
        };
        match self {
            Self::Account { namespace, name } => Attributes {
                namespace: namespace.clone(),
                ..of("", "", "serviceaccounts", name)
            },
            Self::User(name) => of("", "", "users", name),
            Self::Group(name) => of("", "", "groups", name),
            Self::Extra { key, value } => Attributes {
                subresource: key.clone(),
                ..of("authentication.k8s.io", "v1", "userextras", value)
            },
            Self::Uid(uid) => of("authentication.k8s.io", "v1", "uids", uid),
        }
    }

    /// The claim as Go prints an object reference, for the one message that shows it.
    fn shown(&self) -> String {
        match self {
            Self::Account { namespace, name } => {
                format!("{{ServiceAccount {namespace} {name}    }}")
            }
            Self::User(name) => format!("{{User  {name}    }}"),
            Self::Group(name) => format!("{{Group  {name}    }}"),
            Self::Extra { key, value } => {
                format!("{{UserExtra  {value}  authentication.k8s.io/v1  {key}}}")
            }
            Self::Uid(uid) => format!("{{UID  {uid}  authentication.k8s.io/v1  }}"),
        }
    }
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// What the headers claim, or why they cannot be followed.
fn claims(headers: &HeaderMap) -> Result<Vec<Claim>, String> {
    let mut out = Vec::new();
    let user = headers.get(USER).map(text).filter(|u| !u.is_empty());
    if let Some(user) = &user {
        out.push(match split_account(user) {
            Some((namespace, name)) => Claim::Account {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            None => Claim::User(user.clone()),
        });
    }
    out.extend(headers.get_all(GROUP).iter().map(text).map(Claim::Group));
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            out.push(Claim::Extra {
                key: unescape(key),
                value: text(value),
            });
        }
    }
    let uid = headers.get(UID).map(text).filter(|uid| !uid.is_empty());
    out.extend(uid.map(Claim::Uid));
    if user.is_none() && !out.is_empty() {
        let all: Vec<String> = out.iter().map(Claim::shown).collect();
        return Err(format!(
            "requested [{}] without impersonating a user",
            all.join(" ")
        ));
    }
    Ok(out)
}

/// A header's key may carry what headers cannot, escaped as in a path.
fn unescape(key: &str) -> String {
    crate::request::decode(key).unwrap_or_else(|| key.to_owned())
}

/// The user as whom a request is to be served: the caller, or whom the caller acts as.
pub(crate) fn act_as(
    server: &ApiServer,
    caller: Arc<User>,
    headers: &HeaderMap,
) -> Result<Arc<User>, Denial> {
    let claims = claims(headers).map_err(Denial::Broken)?;
    if claims.is_empty() {
        return Ok(caller);
    }
    let mut user = User::default();
    let groups_given = headers.contains_key(GROUP);
    for claim in claims {
        let attributes = claim.attributes();
        let decision = authorize::authorize(&server.0.read(), &caller, &attributes);
        if !decision.allowed {
            return Err(authorize::forbidden(&caller, &attributes, &decision.reason).into());
        }
        match claim {
            Claim::Account { namespace, name } => {
                user.name = account_name(&namespace, &name);
                if !groups_given {
                    user.groups = account_groups(&namespace).to_vec();
                }
            }
            Claim::User(name) => user.name = name,
            Claim::Group(name) => user.groups.push(name),
            Claim::Extra { key, value } => user.extra.entry(key).or_default().push(value),
            Claim::Uid(uid) => user.uid = uid,
        }
    }
    let has = |group: &str| user.groups.iter().any(|g| g == group);
    if user.name == ANONYMOUS {
        if !has(UNAUTHENTICATED) {
            user.groups.push(UNAUTHENTICATED.to_owned());
        }
    } else if !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(Arc::new(user))
}
