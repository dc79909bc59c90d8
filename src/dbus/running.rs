//! Is a daemon running, which process is it, and ending it: none of this starts one.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use zbus::fdo::DBusProxy;
use zbus::names::BusName;

use super::connect::{self, ConnectOptions, Route};
use super::names::{BUS_NAME, SERVICE_UNIT};

/// The daemon gives its running requests 5 s.
const STOP_WAIT: Duration = Duration::from_secs(6);

/// A running daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub pid: u32,
    /// Where it was seen.
    pub route: Route,
}

/// Why a daemon was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error("process {pid} is not an omgd of this user; nothing was stopped")]
    NotOurs { pid: u32 },
    #[error("cannot stop omgd (process {pid}): {reason}")]
    Signal { pid: u32, reason: String },
    #[error("`systemctl --user stop {SERVICE_UNIT}` failed: {0}")]
    Unit(String),
    #[error("omgd (process {pid}) still runs {} s after SIGTERM; `kill -KILL {pid}` ends it at once", STOP_WAIT.as_secs())]
    StillRunning { pid: u32 },
}

/// The daemon that clients of these options would reach, if one runs: the owner of the bus name, or the process that
/// listens on the socket. The socket is not connected to, since systemd would start a daemon for that.
pub async fn running(options: &ConnectOptions) -> Option<Running> {
    if options.socket.is_none()
        && let Some(address) = &options.bus_address
        && let Some(pid) = bus_owner(address).await
    {
        return Some(Running { pid, route: Route::SessionBus });
    }
    let socket = options.socket_path();
    let pid = listener(&socket)?;
    Some(Running { pid, route: Route::Socket(socket) })
}

async fn bus_owner(address: &str) -> Option<u32> {
    let connection = connect::session_bus(address).await.ok()?;
    let bus = DBusProxy::new(&connection).await.ok()?;
    let name = BusName::try_from(BUS_NAME).ok()?;
    bus.get_connection_unix_process_id(name).await.ok()
}

/// Whether somebody listens on the socket at `path`. It is connected to only when the kernel's table does not name it,
/// as with a path through a symbolic link.
pub fn is_listened_to(path: &Path) -> bool {
    let table = std::fs::read("/proc/net/unix").unwrap_or_default();
    !listening_inodes(&table, path).is_empty() || std::os::unix::net::UnixStream::connect(path).is_ok()
}

/// The omgd of this user that holds the listening socket at `path`.
fn listener(path: &Path) -> Option<u32> {
    let table = std::fs::read("/proc/net/unix").ok()?;
    let inodes = listening_inodes(&table, path);
    if inodes.is_empty() {
        return None;
    }
    own_daemons().find(|pid| holds_socket(*pid, &inodes))
}

/// Inodes of the sockets that listen at `path`, from the lines of `/proc/net/unix`: address, reference count,
/// protocol, flags (`00010000` for a listening one), type, state, inode, path (proc_net_unix(5)).
fn listening_inodes(table: &[u8], path: &Path) -> Vec<String> {
    let line_inode = |line: &[u8]| {
        let mut rest = line;
        let mut fields = [&b""[..]; 7];
        for field in &mut fields {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|byte| *byte == b' ')?;
            (*field, rest) = rest.split_at_checked(end)?;
        }
        let [_, _, _, flags, _, _, inode] = fields;
        let named = rest.strip_prefix(b" ").is_some_and(|name| name == path.as_os_str().as_bytes());
        (named && flags == b"00010000").then(|| String::from_utf8_lossy(inode).into_owned())
    };
    table.split(|byte| *byte == b'\n').filter_map(line_inode).collect()
}

fn own_daemons() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| is_own_daemon(*pid))
}

/// Whether the process runs a program named omgd (also one that an upgrade has replaced) as this user.
fn is_own_daemon(pid: u32) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let ours = process.metadata().is_ok_and(|metadata| metadata.uid() == geteuid().as_raw());
    let program = std::fs::read_link(process.join("exe")).ok();
    let name = program.as_deref().and_then(Path::file_name).map(OsStrExt::as_bytes);
    ours && matches!(name, Some(b"omgd" | b"omgd (deleted)"))
}

fn holds_socket(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| {
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.iter().any(|listening| listening == inode))
    })
}

/// Ends the daemon and waits until it is gone: through its unit when systemd runs it as one, else with SIGTERM.
///
/// # Errors
/// The process is not an omgd of this user, or it does not end.
pub fn stop(running: &Running) -> Result<(), StopError> {
    let pid = running.pid;
    let not_ours = || StopError::NotOurs { pid };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(not_ours)?;
    let signal_error =
        |error: rustix::io::Errno| StopError::Signal { pid, reason: std::io::Error::from(error).to_string() };
    // The descriptor is opened before the check: from here on the number cannot come to mean another process.
    let pidfd = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(signal_error(error)),
    };
    if !is_own_daemon(pid) {
        return Err(not_ours());
    }
    if runs_in_unit(pid) {
        stop_unit()?;
    } else {
        match pidfd_send_signal(&pidfd, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(signal_error(error)),
        }
    }
    if connect::ended_within(pidfd.as_fd(), STOP_WAIT) { Ok(()) } else { Err(StopError::StillRunning { pid }) }
}

fn runs_in_unit(pid: u32) -> bool {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroup.lines().any(|line| line.ends_with(&format!("/{SERVICE_UNIT}")))
}

fn stop_unit() -> Result<(), StopError> {
    let output = std::process::Command::new("systemctl")
        .args(["--user", "stop", SERVICE_UNIT])
        .output()
        .map_err(|error| StopError::Unit(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(StopError::Unit(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_of_the_path_count() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 11 /run/user/7/omg.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 12 /run/user/7/omg.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01   13 /run/user/7/omg.sock.old\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 14\n\
            short";
        assert_eq!(listening_inodes(table, Path::new("/run/user/7/omg.sock")), ["11"]);
    }

    #[test]
    fn this_process_is_not_a_daemon() {
        let running = Running { pid: std::process::id(), route: Route::SessionBus };
        assert!(matches!(stop(&running), Err(StopError::NotOurs { .. })));
    }
}
