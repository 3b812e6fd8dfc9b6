//! PromQL over samples in memory: a small time series store, the text format that fills it, the
//! query language and its evaluation with Prometheus's own semantics.
//!
//! It owns the language and the numbers. It refuses sockets, clocks and scraping (the caller says
//! what time it is and hands over bytes), writing to disk, native histograms, and the `@` modifier;
//! whatever it cannot evaluate is a [`QueryError`] that names the place, never an empty answer.
//!
//! Answers are checked against recordings of a real Prometheus 2.42. On purpose they differ in
//! this: the parts of a date of NaN or infinity are NaN (there: whatever the processor makes of
//! them), `stddev` and `stdvar` of a lone NaN are NaN (there: 0), and equal elements keep their
//! order in `sort`, `topk` and `bottomk` (there: any order). The last digit of `exp` and logarithms
//! may differ. Messages are our own.
//!
//! ```
//! use weir_promql::{Engine, Labels, Retention, Storage};
//!
//! let storage = Storage::new(Retention::default());
//! let labels = Labels::named("requests_total", [("pod", "a")]);
//! for second in 0..=60_u32 {
//!     storage.append(&labels, i64::from(second) * 1000, f64::from(second) * 2.0)?;
//! }
//! let value = Engine::default().instant(&storage, "sum(rate(requests_total[1m]))", 60_000)?;
//! assert_eq!(value.to_json()["result"][0]["value"][1], "2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod ast;
mod binary;
mod calendar;
mod call;
mod engine;
mod error;
mod eval;
mod exposition;
mod functions;
mod histogram;
mod labels;
mod lexer;
mod matcher;
mod number;
mod over_time;
mod parse;
mod pattern;
mod rate;
mod signature;
mod storage;
mod value;
mod window;

pub use engine::{Dialect, Engine, Limits};
pub use error::{Position, QueryError};
pub use exposition::{ExposedSample, Exposition, ExpositionError, Format, parse_exposition};
pub use labels::Labels;
pub use matcher::{MatchOp, Matcher};
pub use number::{format_value, is_stale, parse_duration, parse_value, stale_marker};
pub use parse::{Query, parse_query, parse_selector};
pub use storage::{Retention, Sample, Series, Storage, StorageError};
pub use value::{RangeSeries, Value, VectorSample};
