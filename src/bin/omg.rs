//! The command line client.

fn main() -> std::process::ExitCode {
    omg::cli::shim().unwrap_or_else(omg::cli::main)
}
