//! The `weir` program.

use std::process::ExitCode;

/// A server makes and drops many small values; this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::main()
}
