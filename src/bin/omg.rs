//! The command line client.

fn main() -> std::process::ExitCode {
    omg::cli::main()
}
