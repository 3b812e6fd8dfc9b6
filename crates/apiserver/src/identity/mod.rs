//! Owns who is asking: users, the tokens that prove them, and acting as somebody else.
//! It refuses to judge what they may do; see `authorize`.

mod impersonate;
mod user;

use std::sync::Arc;

use http::request::Parts;

pub(crate) use impersonate::act_as;
pub use user::User;
pub(crate) use user::account_name;

use crate::refusal::Refusal;
use crate::server::ApiServer;

/// Who sent a request. Parts of this process say so in an extension; who says nothing is the
/// administrator, because nobody else can reach a service without sockets.
pub(crate) fn of(server: &ApiServer, head: &Parts) -> Result<Arc<User>, Refusal> {
    let _ = server;
    if let Some(user) = head.extensions.get::<Arc<User>>() {
        return Ok(user.clone());
    }
    if let Some(user) = head.extensions.get::<User>() {
        return Ok(Arc::new(user.clone()));
    }
    Ok(User::admin())
}
