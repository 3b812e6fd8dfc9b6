//! Owns a duration as Go writes it, kept as its text so that an object is returned as it was given.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_gocompat::{DurationError, format_duration, parse_duration};

/// A duration such as `1m30s`. The text is kept; [`GoDuration::get`] reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoDuration(pub String);

impl GoDuration {
    /// The duration. A negative one is refused; a failure is terminal until the field changes.
    pub fn get(&self) -> Result<Duration, DurationError> {
        parse_duration(&self.0)
    }
}

impl From<&str> for GoDuration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Duration> for GoDuration {
    /// The text that Go prints: `4m30s`, `1.5s`, `250ms`, `0s`.
    fn from(duration: Duration) -> Self {
        Self(format_duration(duration))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}
