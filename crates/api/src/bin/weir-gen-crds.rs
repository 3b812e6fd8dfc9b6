//! Writes the definitions of all kinds: one YAML file each into `crds/`, or into the directory that
//! is named, and all as one JSON file that the library embeds. Run by `make gen`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = match std::env::args_os().nth(1) {
        Some(named) => PathBuf::from(named),
        None => room.join("../../crds"),
    };
    match write(&directory, &room.join("data/crds.json")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&directory, &failure),
    }
}

fn write(directory: &Path, embedded: &Path) -> Result<(), std::io::Error> {
    std::fs::create_dir_all(directory)?;
    let definitions = weir_api::schema::definitions();
    for definition in &definitions {
        let text = weir_api::schema::yaml(&definition.value);
        std::fs::write(directory.join(&definition.file), text)?;
    }
    std::fs::write(embedded, weir_api::schema::embedded(&definitions))
}

#[expect(
    clippy::print_stderr,
    reason = "a program says on standard error why it failed"
)]
fn complain(directory: &Path, failure: &std::io::Error) -> ExitCode {
    eprintln!(
        "The definitions could not be written to `{}`: {failure}.",
        directory.display()
    );
    ExitCode::FAILURE
}
