//! Owns who may do what: the rules of roles and bindings, and the decision over them.
//! It refuses to know who is asking; see `identity`.

mod aggregation;
mod attributes;
mod bindings;
mod bootstrap;
mod gate;
mod grants;
pub(crate) mod review;
mod rule;
mod validate;

pub(crate) use aggregation::run as gather_rules;
pub(crate) use attributes::Attributes;
pub(crate) use bindings::Bindings;
pub(crate) use bootstrap::objects as bootstrap;
pub(crate) use gate::{Denial, enter, forbidden};
pub(crate) use grants::{may_create, may_grant};
pub(crate) use rule::quoted_list;
pub(crate) use validate::{check, complete};

use crate::identity::User;
use crate::state::State;

/// What was decided, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// The binding that allows it, or what was wrong with the bindings; may be empty.
    pub(crate) reason: String,
}

/// Whether the user may do it. A function of what is stored, and of nothing else.
pub(crate) fn authorize(state: &State, user: &User, attributes: &Attributes) -> Decision {
    if user.is_privileged() {
        return Decision {
            allowed: true,
            reason: String::new(),
        };
    }
    let mut reason = None;
    let faults = bindings::visit(state, user, &attributes.namespace, &mut |source, rule| {
        if rule::allows(rule, attributes) {
            reason = Some(format!("RBAC: allowed by {source}"));
        }
        reason.is_none()
    });
    match reason {
        Some(reason) => Decision {
            allowed: true,
            reason,
        },
        None => Decision {
            allowed: false,
            reason: bindings::aggregate(&faults)
                .map(|fault| format!("RBAC: {fault}"))
                .unwrap_or_default(),
        },
    }
}
