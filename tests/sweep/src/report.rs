//! Owns the table of the sweeps, as it stands in `docs/reliability.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::faults::Fault;
use crate::story::Story;

/// One fault's line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The fault.
    pub fault: Fault,
    /// Each story with its positions and how many of them diverged.
    pub stories: Vec<(Story, u64, usize)>,
}

/// The lines that mark the table in the document.
const BEGIN: &str = "<!-- sweep: begin -->";
const END: &str = "<!-- sweep: end -->";

/// The table as Markdown. A cell is `diverged of positions`.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from("| fault |");
    let stories: Vec<Story> = rows
        .first()
        .map(|r| r.stories.iter().map(|(story, ..)| *story).collect())
        .unwrap_or_default();
    for story in &stories {
        let _ = write!(out, " {} |", story.name());
    }
    out.push_str("\n|---|");
    out.push_str(&"--:|".repeat(stories.len()));
    out.push('\n');
    for row in rows {
        let _ = write!(out, "| {} |", row.fault.name());
        for (_, positions, diverged) in &row.stories {
            let _ = match positions {
                0 => write!(out, " |"),
                _ => write!(out, " {diverged} of {positions} |"),
            };
        }
        out.push('\n');
    }
    out
}

/// Puts the table into the document; says whether the document changed.
pub fn write(document: &Path, table: &str) -> anyhow::Result<bool> {
    let name = document.display();
    let text =
        std::fs::read_to_string(document).with_context(|| format!("{name} can't be read"))?;
    let (head, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{name} has no line `{BEGIN}`"))?;
    let (_, tail) = rest
        .split_once(END)
        .with_context(|| format!("{name} has no line `{END}`"))?;
    let next = format!("{head}{BEGIN}\n{table}{END}{tail}");
    if next == text {
        return Ok(false);
    }
    std::fs::write(document, next).with_context(|| format!("{name} can't be written"))?;
    Ok(true)
}
