//! `weir-sweep`: every fault at every position, and the table of what diverged.

#![expect(clippy::print_stdout, reason = "a command says what it found")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use weir_sweep::{Fault, Row, Story, sweep, table, write};

/// Plays every story with every fault at every position.
#[derive(Parser)]
struct Line {
    /// Only faults whose name contains this
    #[arg(long, default_value = "")]
    fault: String,
    /// Only stories whose name contains this
    #[arg(long, default_value = "")]
    story: String,
    /// Put the table into this document
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let line = Line::parse();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut rows = Vec::new();
    let mut diverged = 0;
    for fault in Fault::ALL {
        if !fault.name().contains(&line.fault) {
            continue;
        }
        let mut stories = Vec::new();
        for story in Story::ALL {
            if !story.name().contains(&line.story) {
                continue;
            }
            let (positions, found) = sweep(story, fault, threads)?;
            for one in &found {
                println!(
                    "{} · {} · position {}:",
                    story.name(),
                    fault.name(),
                    one.position
                );
                for how in &one.how {
                    println!("    {how}");
                }
            }
            diverged += found.len();
            stories.push((story, positions, found.len()));
        }
        println!(
            "{}: {:?}",
            fault.name(),
            stories
                .iter()
                .map(|(_, all, bad)| (*bad, *all))
                .collect::<Vec<_>>()
        );
        rows.push(Row { fault, stories });
    }
    let table = table(&rows);
    println!("\n{table}");
    if let Some(document) = &line.write {
        let changed = write(document, &table)?;
        println!(
            "{}: {}",
            document.display(),
            if changed { "changed" } else { "as it was" }
        );
    }
    Ok(if diverged == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
