//! What both measuring programs share: what the system says of the measured processes.

use anyhow::Context as _;
use serde_json::{Value, json};

/// The processes that serve the API together.
#[derive(Clone, Debug)]
pub struct Processes(pub Vec<u32>);

impl Processes {
    /// Resident and proportional memory in MiB.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub fn memory(&self) -> anyhow::Result<Value> {
        let (mut resident, mut proportional) = (0.0, 0.0);
        for pid in &self.0 {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("`{path}` cannot be read"))?;
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok())
                    .unwrap_or_default()
                    / 1024.0
            };
            resident += field("Rss:");
            proportional += field("Pss:");
        }
        Ok(json!({"rss": resident, "pss": proportional}))
    }

    /// Processor time in seconds.
    pub fn busy(&self) -> f64 {
        let ticks: u64 = self
            .0
            .iter()
            .filter_map(|pid| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                // The name may hold spaces; the times are the 12th and 13th field after it.
                let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
                Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
            })
            .sum();
        // The kernel counts in hundredths of a second towards programs.
        ticks as f64 / 100.0
    }
}
