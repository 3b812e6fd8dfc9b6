//! Owns the command line: what can be typed, and nothing of what it does.

pub(crate) mod access;
pub(crate) mod called;
pub(crate) mod canaries;
pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod loadtest;
pub(crate) mod output;
pub(crate) mod pause;
pub(crate) mod reference;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod table;
pub(crate) mod version;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// From a Git push to safe production traffic on Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Line {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) access: access::Access,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controllers against a cluster
    Run(Box<run::Options>),
    /// Tell the story of a good and a faulty release, live, with no cluster
    Demo(crate::demo::Options),
    /// Serve an embedded Kubernetes API with pods as local processes
    Sandbox(sandbox::Options),
    /// Show sources, kustomizations, images and canaries
    Get(get::Options),
    /// Explain canaries, and ask something of them
    Canary(canary::Options),
    /// Serve gates and traffic for the hooks of canaries
    Loadtest(loadtest::Options),
    /// Show what happened to them
    Events(events::Options),
    /// Freeze all applies, canaries and commits where they stand
    Pause(pause::Options),
    /// Let frozen work go on
    Resume(pause::ResumeOptions),
    /// Check that a cluster has what Weir needs, and that nobody else does its work
    Check(check::Options),
    /// Show the version
    Version(version::Options),
    /// Print a shell's completion script
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print this command line's reference as Markdown
    #[command(hide = true)]
    Reference,
}

impl Line {
    /// Worker threads: a command that only asks needs one.
    pub(crate) fn threads(&self) -> usize {
        match self.command {
            Command::Sandbox(ref options) if !options.serves() => 1,
            Command::Run(_) | Command::Demo(_) | Command::Sandbox(_) | Command::Loadtest(_) => {
                std::thread::available_parallelism()
                    .map_or(2, usize::from)
                    .clamp(2, 8)
            }
            _ => 1,
        }
    }

    /// Whether the command runs in time that it moves itself.
    pub(crate) fn in_virtual_time(&self) -> bool {
        matches!(&self.command, Command::Sandbox(options) if options.in_virtual_time())
    }

    /// The log level where the environment says nothing.
    pub(crate) fn log_level(&self) -> &'static str {
        match self.command {
            Command::Run(_) | Command::Loadtest(_) => "info",
            _ => "error",
        }
    }

    /// Whether the log is for programs.
    pub(crate) fn logs_json(&self) -> bool {
        matches!(&self.command, Command::Run(options) if options.log_format == run::LogFormat::Json)
    }
}

/// Prints the completion script of a shell.
pub(crate) fn completion(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Line::command(), "weir", &mut std::io::stdout());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }
}
