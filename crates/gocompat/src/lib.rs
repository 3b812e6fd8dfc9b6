//! What Go programs mean by a version range, a duration, a number's text, a quoted string and a regular expression.
//!
//! Manifests written for Go controllers carry these small languages in their fields. This room reads and
//! writes each exactly as Go does, checked line by line against answers from Go itself (`tests/corpus`).
//!
//! It owns text in, value out, and nothing else: no clock, no Kubernetes types, no templates (`gotmpl` builds on it).
//! It refuses to guess: what Go refuses, it refuses, and it says why.

mod constraint;
mod duration;
mod expand;
mod number;
mod quote;
mod regex;
mod regex_class;
mod regex_parse;
mod unicode;
mod version;

pub use constraint::{ConstraintError, VersionRange};
pub use duration::{DurationError, GoDuration, format_duration, parse_duration};
pub use number::{
    FloatFormat, NumberError, format_float, json_float, parse_float, parse_int, parse_uint,
};
pub use quote::{
    QuoteError, quote, quote_ascii, quote_bytes, quote_bytes_ascii, quote_char, quote_char_ascii,
    unquote, unquote_char,
};
pub use regex::GoRegex;
pub use regex_parse::RegexError;
pub use unicode::{is_digit, is_letter, is_print};
pub use version::{Version, VersionError};
