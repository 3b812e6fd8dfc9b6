//! How much one execution may use.
//!
//! Owns the bounds. Go has nearly none; here a template from a stranger must not take the process with it.

/// Bounds on one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest output, and the largest string on the way to it, in bytes. All strings made on the way may
    /// together be sixteen times that.
    pub output: usize,
    /// How deep templates and blocks may nest while running.
    pub depth: usize,
    /// How many nodes may be executed in all.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: 16 << 20,
            depth: 200,
            steps: 10_000_000,
        }
    }
}
