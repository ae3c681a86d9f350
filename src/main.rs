//! The program: everything is in the library; see `ARCHITECTURE.md` for the map.

use std::process::ExitCode;

/// Many small messages are made and dropped on one thread: worth a tenth of the processor time of a simulated night. Without
/// huge pages, which would more than double what the daemon holds at rest (49 MB by 80).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    alidade::cli::main()
}
