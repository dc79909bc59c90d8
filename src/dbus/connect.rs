//! The ways from a client to the daemon.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use zbus::Connection;
use zbus::connection::Builder;

use super::client::ClientError;
use super::names::{SOCKET_ENV, SOCKET_FILE};
use super::socket::{GREETING_WAIT, Stream};

/// How long a connection may wait for room in the daemon's backlog.
const BACKLOG_WAIT: Duration = Duration::from_secs(5);
/// How long one call may take: the first one on a machine may have to wait for the index.
pub(super) const CALL_WAIT: Duration = Duration::from_secs(300);
/// How long a private daemon may take to end once its peer is gone.
const PRIVATE_EXIT_WAIT: Duration = Duration::from_secs(2);
/// Bytes of a failed private daemon's log that are told.
const LOG_TAIL: usize = 4096;
/// Exit code of an omgd that ends for something the user has to mend, such as its configuration file.
const INVALID_EXIT: i32 = 2;

/// Stands for the daemon's own until its answer to the greeting is there; nobody asks for it.
const UNKNOWN_GUID: &str = "00000000000000000000000000000000";

/// Where to look for the daemon.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Only this socket; nothing else is tried.
    pub socket: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `$DBUS_SESSION_BUS_ADDRESS`, or the bus socket in the runtime directory.
    pub bus_address: Option<String>,
    /// Start the daemon privately, as this user: root's omg has it do what must not be done as root.
    pub user: Option<User>,
    /// The daemon to start privately, instead of the one that belongs to this installation.
    pub daemon: Option<PathBuf>,
}

/// Whom a daemon is started as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl ConnectOptions {
    /// As the environment says; `socket` (the `--socket` option) wins over `OMG_SOCKET_PATH`.
    pub fn from_env(socket: Option<PathBuf>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let runtime_dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let bus_address = match variable("DBUS_SESSION_BUS_ADDRESS") {
            Some(address) => address.into_string().ok(),
            None => runtime_dir
                .as_ref()
                .map(|dir| dir.join("bus"))
                .filter(|path| path.exists())
                .and_then(|path| Some(format!("unix:path={}", escape_address(path.to_str()?)))),
        };
        Self {
            socket: socket.or_else(|| variable(SOCKET_ENV).map(PathBuf::from)),
            runtime_dir,
            bus_address,
            user: None,
            daemon: variable("OMG_DAEMON").map(PathBuf::from),
        }
    }

    /// The socket that is tried first.
    pub fn socket_path(&self) -> PathBuf {
        match (&self.socket, &self.runtime_dir) {
            (Some(socket), _) => socket.clone(),
            (None, Some(dir)) => dir.join(SOCKET_FILE),
            (None, None) => PathBuf::from(format!("/tmp/omg-{}", geteuid().as_raw())).join(SOCKET_FILE),
        }
    }
}

/// A value of a D-Bus address: all but the optionally-escaped bytes as `%xx` (D-Bus specification, "Server Addresses").
fn escape_address(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'-' | b'_' | b'/' | b'.' | b'\\' | b'*' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

/// The way a daemon was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Socket(PathBuf),
    SessionBus,
    /// A daemon of this process's own; the path of its program.
    Private(PathBuf),
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "socket {}", path.display()),
            Self::SessionBus => f.write_str("session bus"),
            Self::Private(program) => write!(f, "private {}", program.display()),
        }
    }
}

/// An open way to a daemon.
#[derive(Debug)]
pub(super) struct Link {
    pub connection: Connection,
    pub route: Route,
    pub private: Option<PrivateDaemon>,
    /// Nobody has answered on it yet.
    pub untried: bool,
}

/// Opens the way that most likely works: whether it does tells the first call, with which the greeting goes out. `None`: that
/// way is not there.
pub(super) async fn hasty(options: &ConnectOptions) -> Option<Link> {
    if options.user.is_some() {
        return None;
    }
    let path = options.socket_path();
    if options.socket.is_none() && options.runtime_dir.is_none() {
        check_private_folder(path.parent()?).ok()?;
    }
    let stream = Stream::to_daemon(connected(&path).ok()?).ok()?;
    let connection = Builder::authenticated_socket(stream, UNKNOWN_GUID).p2p().method_timeout(CALL_WAIT).build().await;
    Some(Link { connection: connection.ok()?, route: Route::Socket(path), private: None, untried: true })
}

/// Opens the first way that works: the named socket and nothing else; or the default socket, the session bus (unless
/// `skip_bus`), a private daemon.
pub(super) async fn open(options: &ConnectOptions, skip_bus: bool) -> Result<Link, ClientError> {
    if options.user.is_some() {
        return private(options).await.map_err(|PrivateFailure { reason, invalid }| match invalid {
            true => ClientError::Invalid { reason },
            false => ClientError::NoDaemon { tried: vec![format!("private omgd: {reason}")] },
        });
    }
    if let Some(path) = &options.socket {
        return match socket(path).await {
            Ok(connection) => {
                Ok(Link { connection, route: Route::Socket(path.clone()), private: None, untried: false })
            }
            Err(reason) => Err(ClientError::Socket { path: path.clone(), reason }),
        };
    }
    let mut tried = Vec::new();
    let path = options.socket_path();
    match default_socket(options, &path).await {
        Ok(connection) => return Ok(Link { connection, route: Route::Socket(path), private: None, untried: false }),
        Err(reason) => tried.push(format!("socket {}: {reason}", path.display())),
    }
    match (&options.bus_address, skip_bus) {
        (Some(address), false) => match session_bus(address).await {
            Ok(connection) => return Ok(Link { connection, route: Route::SessionBus, private: None, untried: false }),
            Err(reason) => tried.push(format!("session bus {address}: {reason}")),
        },
        (Some(_), true) => tried.push("session bus: it cannot start omgd".into()),
        (None, _) => tried.push("session bus: there is none".into()),
    }
    match private(options).await {
        Ok(link) => Ok(link),
        Err(PrivateFailure { reason, invalid: true }) => Err(ClientError::Invalid { reason }),
        Err(PrivateFailure { reason, .. }) => {
            tried.push(format!("private omgd: {reason}"));
            Err(ClientError::NoDaemon { tried })
        }
    }
}

async fn default_socket(options: &ConnectOptions, path: &Path) -> Result<Connection, String> {
    if options.runtime_dir.is_none() {
        check_private_folder(path.parent().unwrap_or(Path::new("/")))?;
    }
    match socket(path).await {
        // A daemon that ends at this moment closes what it has accepted; the next one answers.
        Err(_) if path.exists() => socket(path).await,
        result => result,
    }
}

/// Anybody can make a folder in `/tmp`: ours is ours alone.
fn check_private_folder(folder: &Path) -> Result<(), String> {
    let metadata = folder.symlink_metadata().map_err(|error| error.to_string())?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(format!("{} is not a folder of this user alone (mode 0700)", folder.display()));
    }
    Ok(())
}

async fn socket(path: &Path) -> Result<Connection, String> {
    greet(Builder::unix_stream(connected(path)?).p2p()).await
}

/// A stream to whoever serves the socket: this user, and nobody else.
fn connected(path: &Path) -> Result<UnixStream, String> {
    let stream = connect_unix(path).map_err(|error| std::io::Error::from(error).to_string())?;
    let peer = socket_peercred(&stream).map_err(|error| std::io::Error::from(error).to_string())?;
    if peer.uid != geteuid() {
        return Err(format!("it is served by uid {}, not by this user", peer.uid.as_raw()));
    }
    Ok(stream)
}

/// Connects; a full backlog is waited for, but not for ever.
fn connect_unix(path: &Path) -> Result<UnixStream, rustix::io::Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(BACKLOG_WAIT))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}

pub(super) async fn session_bus(address: &str) -> Result<Connection, String> {
    greet(Builder::address(address)).await
}

async fn greet(builder: Builder<'_>) -> Result<Connection, String> {
    match tokio::time::timeout(GREETING_WAIT, builder.method_timeout(CALL_WAIT).build()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no greeting within {} s", GREETING_WAIT.as_secs())),
    }
}

/// Why no private daemon serves.
struct PrivateFailure {
    reason: String,
    /// The daemon ended for something that the user has to mend.
    invalid: bool,
}

impl From<String> for PrivateFailure {
    fn from(reason: String) -> Self {
        Self { reason, invalid: false }
    }
}

async fn private(options: &ConnectOptions) -> Result<Link, PrivateFailure> {
    let program = find_program("omgd", options.daemon.as_deref()).ok_or_else(|| {
        "omgd is neither beside omg nor in PATH: install it, or set OMG_DAEMON to its path".to_owned()
    })?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    // A file in memory, not a pipe: nobody reads it while the daemon serves, and writing must not block.
    let log = match std::env::var_os("RUST_LOG") {
        Some(_) => None,
        None => rustix::fs::memfd_create("omgd-log", rustix::fs::MemfdFlags::CLOEXEC).ok().map(File::from),
    };
    let stderr = match &log {
        Some(log) => log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from),
        None => Stdio::inherit(),
    };
    let mut command = Command::new(&program);
    // An interrupt at the terminal is for its client, which says what comes of it.
    command.process_group(0);
    if let Some(user) = &options.user {
        // Nothing of root's environment is that user's. Supplementary groups are left behind too.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.uid(user.uid).gid(user.gid).env_clear().env("PATH", path).env("HOME", &user.home).current_dir("/");
    }
    let child = command.arg("--private").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(stderr).spawn();
    // With it goes the daemon's end of the pair: one that ends at once is not waited for.
    drop(command);
    let mut private = PrivateDaemon { child: child.map_err(|error| format!("{}: {error}", program.display()))? };
    let reason = match greet(Builder::unix_stream(ours).p2p()).await {
        Ok(connection) => {
            return Ok(Link { connection, route: Route::Private(program), private: Some(private), untried: false });
        }
        Err(reason) => reason,
    };
    let invalid = private.end().and_then(|status| status.code()) == Some(INVALID_EXIT);
    let said = log.map(|log| log_tail(&log)).unwrap_or_default();
    if let Some(wrong) = said.strip_prefix("ERROR omgd: ").filter(|_| invalid) {
        return Err(PrivateFailure { reason: wrong.to_owned(), invalid });
    }
    let more = if said.is_empty() { "RUST_LOG=debug shows its log".to_owned() } else { format!("it said: {said}") };
    Err(PrivateFailure { reason: format!("{} --private: {reason}; {more}", program.display()), invalid })
}

/// The last lines of a log, in one line.
fn log_tail(log: &File) -> String {
    let length = log.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(LOG_TAIL as u64);
    let mut bytes = vec![0; LOG_TAIL];
    let read = log.read_at(&mut bytes, start).unwrap_or(0);
    bytes.truncate(read);
    let text = String::from_utf8_lossy(&bytes);
    // The first line of a cut log is not whole.
    let lines = text.lines().skip(usize::from(start > 0)).map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// Finds a program of this installation: the override alone when there is one; or beside the running program, in
/// `../libexec/omg`, in `PATH`.
pub fn find_program(name: &str, given: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = given {
        // Whoever runs it may do so in another folder.
        return is_executable(path).then(|| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    }
    let own = std::env::current_exe().ok();
    let folder = own.as_deref().and_then(Path::parent);
    let libexec = folder.and_then(Path::parent).map(|prefix| prefix.join("libexec/omg"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An empty or relative entry would run whatever the working directory holds.
    let in_path = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let folders = folder.map(Path::to_owned).into_iter().chain(libexec).chain(in_path);
    folders.map(|folder| folder.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// A daemon that serves this process alone. It ends when its peer closes; dropping waits for that, so close the
/// connection first.
#[derive(Debug)]
pub(super) struct PrivateDaemon {
    child: Child,
}

impl PrivateDaemon {
    /// Waits until it has ended, and kills it when that takes too long; how it ended, where that is known.
    fn end(&mut self) -> Option<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Ok(None) = self.child.try_wait()
            && let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            && !ended_within(pidfd.as_fd(), PRIVATE_EXIT_WAIT)
        {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
        // It has ended, was killed, or cannot be watched: then it is left to end by itself.
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for PrivateDaemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether the process of a pidfd ends in time.
pub(super) fn ended_within(pidfd: std::os::fd::BorrowedFd<'_>, wait: Duration) -> bool {
    let deadline = std::time::Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        let timeout =
            rustix::time::Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) if ready > 0 => return true,
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) if !left.is_zero() => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_named_socket_wins_over_the_runtime_directory() {
        let mut options = ConnectOptions { runtime_dir: Some("/run/user/7".into()), ..ConnectOptions::default() };
        assert_eq!(options.socket_path(), Path::new("/run/user/7/omg.sock"));
        options.socket = Some("/x/y.sock".into());
        assert_eq!(options.socket_path(), Path::new("/x/y.sock"));
    }

    #[test]
    fn without_a_runtime_directory_the_socket_is_in_a_folder_named_after_the_user() {
        let uid = geteuid().as_raw();
        assert_eq!(ConnectOptions::default().socket_path(), PathBuf::from(format!("/tmp/omg-{uid}/omg.sock")));
    }

    #[test]
    fn a_folder_open_to_others_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (mode, accepted) in [(0o700, true), (0o755, false), (0o770, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("chmod");
            assert_eq!(check_private_folder(folder.path()).is_ok(), accepted, "{mode:o}");
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/", &link).expect("symlink");
        assert!(check_private_folder(&link).is_err());
    }

    #[test]
    fn an_address_escapes_what_separates_its_parts() {
        assert_eq!(escape_address("/run/a b,c=%;é/bus"), "/run/a%20b%2cc%3d%25%3b%c3%a9/bus");
    }
}
