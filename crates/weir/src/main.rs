//! The `weir` program.

use std::process::ExitCode;

/// Controllers read many objects and keep a little of each. With the system's allocator most of what was
/// read stays too, since what is kept lies scattered between: 619 MiB for ten thousand Canaries, where
/// 262 are enough.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    weir::main()
}
