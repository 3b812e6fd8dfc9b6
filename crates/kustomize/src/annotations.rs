//! Owns where common annotations are written (metadata and pod templates), and that an object is not
//! left with annotations that hold nothing.

use serde_json::Value;
use weir_object::Object;

use crate::fields::FieldSpec;
use crate::labels::templates_of;

/// All places of `commonAnnotations`.
pub(crate) fn places() -> Vec<FieldSpec> {
    let mut out = vec![FieldSpec::new("", "", "", "metadata/annotations", true)];
    out.extend(templates_of("annotations", ""));
    out
}

/// Removes `metadata.annotations` where nothing is in it; empty labels are kept.
pub(crate) fn drop_empty(object: &mut Object) {
    const PATH: [&str; 2] = ["metadata", "annotations"];
    let nothing = match object.get(&PATH) {
        Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        _ => false,
    };
    if nothing {
        object.remove(&PATH);
    }
}
