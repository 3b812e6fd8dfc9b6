//! Owns what is printed: differing cases as they are found, and the table at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::compare::{Difference, short};
use crate::known::Known;

/// Counts of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) cases: usize,
    pub(crate) equal: usize,
    pub(crate) differing: usize,
    pub(crate) known: usize,
}

/// What was found so far.
pub(crate) struct Report {
    known: Known,
    counts: Mutex<BTreeMap<String, Counts>>,
    most: usize,
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    // Nobody reads: nothing to do about it.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

impl Report {
    /// A report that prints at most `most` places of a case.
    pub(crate) fn new(known: Known, most: usize) -> Self {
        Self {
            known,
            counts: Mutex::default(),
            most,
        }
    }

    /// Whether a case differs in a way that is not known.
    pub(crate) fn is_new(&self, case: &str, differences: &[Difference]) -> bool {
        differences.iter().any(|d| !self.known.has(case, d))
    }

    /// Takes one compared case; says whether it is unexpected.
    pub(crate) fn case(
        &self,
        group: &str,
        case: &str,
        request: &str,
        differences: &[Difference],
    ) -> bool {
        let unknown: Vec<&Difference> = differences
            .iter()
            .filter(|d| !self.known.has(case, d))
            .collect();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.entry(group.to_owned()).or_default();
        counts.cases += 1;
        if differences.is_empty() {
            counts.equal += 1;
        } else if unknown.is_empty() {
            counts.known += 1;
        } else {
            counts.differing += 1;
            let mut text = format!("DIFFERS {case}\n  {request}\n");
            for difference in unknown.iter().take(self.most) {
                let _ = write!(
                    text,
                    "  {}\n    ours {}\n    real {}\n",
                    difference.place,
                    short(difference.ours.as_ref()),
                    short(difference.real.as_ref()),
                );
            }
            if unknown.len() > self.most {
                let _ = writeln!(text, "  and {} more", unknown.len() - self.most);
            }
            say(&text);
        }
        !unknown.is_empty()
    }

    /// Prints the table, and says whether everything is as expected. `whole` names the parts that
    /// were compared in whole: their known differences must still be there.
    pub(crate) fn end(&self, whole: &[&str]) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = Counts::default();
        say(&format!(
            "{:<34} {:>7} {:>7} {:>9} {:>6}",
            "group", "cases", "equal", "differing", "known"
        ));
        for (group, c) in counts.iter() {
            say(&row(group, *c));
            total.cases += c.cases;
            total.equal += c.equal;
            total.differing += c.differing;
            total.known += c.known;
        }
        say(&row("all", total));
        let mut good = total.differing == 0 && total.cases > 0;
        for part in whole {
            for entry in self.known.unused(part) {
                say(&format!(
                    "no longer differs, take it off known.yaml: {entry}"
                ));
                good = false;
            }
        }
        good
    }
}

fn row(name: &str, c: Counts) -> String {
    format!(
        "{name:<34} {:>7} {:>7} {:>9} {:>6}",
        c.cases, c.equal, c.differing, c.known
    )
}
