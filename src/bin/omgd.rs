//! The daemon: `org.omg.PackageManager1` for one user.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use omg::daemon::{self, Mode, logging};

/// Serves org.omg.PackageManager1 to this user's programs.
///
/// Started by the first call on the session bus or the first connection with its socket; ends when it has had nothing
/// to do for a while. Configuration: $XDG_CONFIG_HOME/omg/config.toml.
#[derive(Debug, Parser)]
#[command(name = "omgd", version)]
struct Arguments {
    /// Log to standard error and never end for want of work.
    #[arg(short, long)]
    foreground: bool,
    /// Listen here instead of $OMG_SOCKET_PATH or $XDG_RUNTIME_DIR/omg.sock.
    #[arg(short, long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Serve one client at the other end of standard input, a socket, and nobody else.
    #[arg(long, conflicts_with_all = ["foreground", "socket", "refresh_status"])]
    private: bool,
    /// Bring the status file up to date and end.
    #[arg(long, conflicts_with_all = ["foreground", "socket"])]
    refresh_status: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Whatever is made is this user's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    logging::init(arguments.foreground);
    let mode = if arguments.private {
        Mode::Private
    } else if arguments.refresh_status {
        Mode::RefreshStatus
    } else {
        Mode::Serve { socket: arguments.socket, stay: arguments.foreground }
    };
    match daemon::run(mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}
