//! Owns what an object's own labels and annotations ask of the applier. A value counts in either
//! place, upper and lower case alike.

use weir_api::names::{FORCE, OWNER_NAME, OWNER_NAMESPACE, PRUNE, RECONCILE, SSA};
use weir_object::Object;

use crate::Owner;

fn says(object: &Object, key: &str, value: &str) -> bool {
    let same = |v: Option<&str>| v.is_some_and(|v| v.eq_ignore_ascii_case(value));
    same(object.annotation(key)) || same(object.label(key))
}

/// Whether the applier must leave it alone.
pub(crate) fn leaves_alone(desired: &Object, live: Option<&Object>) -> bool {
    let off = |o: &Object| says(o, RECONCILE, "disabled") || says(o, SSA, "Ignore");
    off(desired) || live.is_some_and(off) || (live.is_some() && says(desired, SSA, "IfNotPresent"))
}

/// Whether it may be made anew when a change of it is not allowed.
pub(crate) fn may_be_recreated(desired: &Object, live: &Object) -> bool {
    says(desired, FORCE, "enabled") || says(live, FORCE, "enabled")
}

/// Whether it stays when it left the source.
pub(crate) fn is_kept(live: &Object) -> bool {
    says(live, PRUNE, "disabled") || says(live, RECONCILE, "disabled") || says(live, SSA, "Ignore")
}

/// Whether it carries the owner's labels.
pub(crate) fn is_owned(live: &Object, owner: &Owner) -> bool {
    live.label(OWNER_NAME) == Some(&owner.name)
        && live.label(OWNER_NAMESPACE) == Some(&owner.namespace)
}
