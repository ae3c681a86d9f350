//! The program: everything is in the library; see `ARCHITECTURE.md` for the map.

fn main() -> std::process::ExitCode {
    alidade::cli::main()
}
