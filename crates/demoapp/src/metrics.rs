//! Owns one histogram in the Prometheus text format: `http_request_duration_seconds` with the
//! labels `method`, `path` and `status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets in seconds; the last one, infinity, is implied.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Default)]
struct Series {
    /// Not cumulative; one more than the bounds, for the rest.
    buckets: [u64; BOUNDS.len() + 1],
    sum: f64,
}

/// Requests answered so far.
#[derive(Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, &'static str, u16), Series>>);

impl Requests {
    /// Counts one answered request.
    pub fn observe(&self, method: &'static str, path: &'static str, status: u16, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry((method, path, status)).or_default();
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|b| seconds <= *b)
            .unwrap_or(BOUNDS.len());
        series.buckets[bucket] += 1;
        series.sum += seconds;
    }

    /// All series as text.
    pub fn exposition(&self) -> String {
        let name = "http_request_duration_seconds";
        let mut out = format!(
            "# HELP {name} The time that requests took, in seconds.\n# TYPE {name} histogram\n"
        );
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, path, status), series) in all.iter() {
            let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
            let mut count = 0;
            for (i, n) in series.buckets.iter().enumerate() {
                count += n;
                let bound = BOUNDS.get(i).map_or("+Inf".to_owned(), f64::to_string);
                // Writing to a String does not fail.
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", series.sum);
            let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let requests = Requests::default();
        requests.observe("GET", "root", 200, Duration::from_millis(20));
        requests.observe("GET", "root", 200, Duration::from_mins(1));
        let text = requests.exposition();
        for line in [
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"root\",status=\"200\",le=\"0.01\"} 0",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"root\",status=\"200\",le=\"0.025\"} 1",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"root\",status=\"200\",le=\"+Inf\"} 2",
            "http_request_duration_seconds_count{method=\"GET\",path=\"root\",status=\"200\"} 2",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
