//! Owns the choice of output and printing a value for programs.

use std::io::Write as _;

use clap::ValueEnum;
use serde_json::Value;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Prints a value as JSON or YAML.
pub(crate) fn value(output: Output, value: &Value) -> anyhow::Result<()> {
    let text = match output {
        Output::Yaml => weir_yaml::to_string(value),
        Output::Table | Output::Json => serde_json::to_string_pretty(value)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
