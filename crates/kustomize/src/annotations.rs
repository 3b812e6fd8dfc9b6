//! Owns where common annotations are written: metadata and pod templates.

use crate::fields::FieldSpec;
use crate::labels::templates_of;

/// All places of `commonAnnotations`.
pub(crate) fn places() -> Vec<FieldSpec> {
    let mut out = vec![FieldSpec::new("", "", "", "metadata/annotations", true)];
    out.extend(templates_of("annotations", ""));
    out
}
