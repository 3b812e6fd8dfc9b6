//! What can go wrong with a query, each with the place in the query's text.
//!
//! Owns the split that the HTTP API needs (is the query wrong, or did running it fail?); knows
//! nothing of HTTP.

use std::fmt;

/// A place in a query: line and column from 1, and the byte offset they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Offset in bytes, from 0.
    pub offset: usize,
}

impl Position {
    /// The place of a byte offset in a text.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = text.get(..end).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Self {
            line,
            column,
            offset: end,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The text is not PromQL, or its types do not fit. Terminal: the query has to change.
    #[error("{at}: {message}")]
    Parse {
        /// Where.
        at: Position,
        /// What was found and what was expected.
        message: String,
    },
    /// Valid PromQL that this evaluator does not know. Terminal: the query has to change.
    #[error("{at}: {what} is not supported here; rewrite the query without it")]
    Unsupported {
        /// Where.
        at: Position,
        /// The function or construct.
        what: String,
    },
    /// The samples do not allow the operation, such as many-to-many matching. It may go away with
    /// other samples, so it is worth a retry at the next interval.
    #[error("{at}: {message}")]
    Execution {
        /// Where.
        at: Position,
        /// What does not fit, with the labels concerned.
        message: String,
    },
    /// The query asks for more than the engine's limits. Terminal: narrow the query.
    #[error("the query exceeds the limit of {limit} {what}; narrow its range, step or selectors")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The range of a range query makes no sense. Terminal.
    #[error("the range query cannot run: {message}")]
    Range {
        /// What is wrong with start, end or step.
        message: String,
    },
}

impl QueryError {
    /// Whether the query itself is at fault (Prometheus's `bad_data`), rather than its execution.
    pub fn is_bad_query(&self) -> bool {
        match self {
            Self::Parse { .. } | Self::Unsupported { .. } | Self::Range { .. } => true,
            Self::Execution { .. } | Self::Limit { .. } => false,
        }
    }

    /// Whether the same query may have an answer later without a change to it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Execution { .. })
    }
}
