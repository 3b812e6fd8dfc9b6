//! Owns what may be wrong with bytes, in the words of Go's readers.

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// They end too early.
    #[error("unexpected EOF")]
    End,
    /// A number has more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A length is below zero.
    #[error("proto: negative length found during unmarshaling")]
    Length,
    /// A field is coded as another type.
    #[error("proto: wrong wireType = {found} for field {field}")]
    WireType { found: u8, field: String },
    /// A field has a number that cannot be.
    #[error("proto: {message}: illegal tag {number} (wire type {found})")]
    Tag {
        message: String,
        number: i32,
        found: u8,
    },
    /// A group ends that did not begin.
    #[error("proto: {0}: wiretype end group for non-group")]
    EndOfGroup(String),
    /// The same, among fields that are passed over.
    #[error("proto: unexpected end of group")]
    StrayEndOfGroup,
    /// There is no such coding.
    #[error("proto: illegal wireType {0}")]
    Coding(u8),
    /// A quantity cannot be read.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Quantity,
    /// Embedded JSON cannot be read.
    #[error("{0}")]
    Json(String),
    /// A time cannot be told.
    #[error("the time {0} is out of range")]
    Time(i64),
    /// Messages stand in each other too deep.
    #[error("exceeded max depth")]
    Depth,
    /// There are more values than are read.
    #[error("too many values")]
    TooMany,
}
