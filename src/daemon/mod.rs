//! Puts the daemon together: activation, serving, idle exit, signals, shutdown.

mod bus;
pub mod logging;
mod memory;
mod peers;
mod service_manager;
mod socket;

use std::future::pending;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::aur::ARCHIVE;
use crate::config::{self, Backend, ConfigError, Paths, Settings, SocketOrigin};
use crate::dbus::activity::Activity;
use crate::dbus::client::find_program;
use crate::dbus::network;
use crate::engine::{AurOptions, CacheLimits, Engine, Options};
use crate::index::Inputs;
use bus::Bus;
use peers::{Entrance, Peers};
use socket::{Listener, Place, SocketError};

/// Running requests get so long to finish after SIGTERM.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Running requests get so long when the daemon ends by itself: longer than any helper is given.
const IDLE_GRACE: Duration = Duration::from_secs(3700);

/// The bus gets so long to take the name back.
const RELEASE: Duration = Duration::from_secs(1);

/// Questions that have not come for so long may not come for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// The most threads that answer questions, with those that wait for slow readers of dumps.
const BLOCKING_THREADS: usize = 16;

/// How an `omgd` is to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// On the session bus and the socket.
    Serve {
        /// Overrides where the socket is.
        socket: Option<PathBuf>,
        /// Never ends for want of work.
        stay: bool,
    },
    /// For the one client at the other end of standard input, a socket.
    Private,
    /// Brings the status file up to date and ends.
    RefreshStatus,
}

/// Why a daemon could not run.
#[derive(Debug, Error)]
pub enum DaemonError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("standard input is no socket: --private is for clients that pass one end of a socket pair: {0}")]
    NoSocketPair(io::Error),
    #[error(transparent)]
    Bus(#[from] bus::BusError),
    #[error(transparent)]
    Socket(#[from] socket::SocketError),
    #[error(
        "there is neither a session bus nor a place for a socket: set DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR or --socket"
    )]
    NowhereToServe,
    #[error("packages cannot be read; `omg doctor` tells more")]
    PackagesUnreadable,
    #[error("the connection with the client failed: {0}")]
    Peer(zbus::Error),
}

impl DaemonError {
    /// Exit code of a daemon that ends for this reason: 2 for what the user has to mend, 3 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NowhereToServe | Self::NoSocketPair(_) => 2,
            _ => 3,
        }
    }
}

/// Runs until there is nothing left to do.
///
/// # Errors
/// Any [`DaemonError`].
pub fn run(mode: Mode) -> Result<(), DaemonError> {
    let settings = &config::load(Paths::from_process().config_file.as_deref())?;
    memory::few_heaps();
    // Descriptors are taken from the environment before there is a second thread.
    let inherited = service_manager::inherited_listener();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(2))
        .build()
        .map_err(DaemonError::Runtime)?;
    let outcome = runtime.block_on(async {
        let paths = Paths::from_process().with_settings(settings);
        let announces = matches!(mode, Mode::Serve { .. });
        let engine = Engine::new(engine_options(settings, &paths, announces));
        match mode {
            Mode::Serve { socket, stay } => {
                let idle = settings.idle_timeout.filter(|_| !stay);
                serve(engine, &paths, socket, inherited, idle).await
            }
            Mode::Private => serve_client(engine).await,
            Mode::RefreshStatus => tokio::select! {
                // Twice: a change that comes while the first run is on starts no run of its own.
                refreshed = async { engine.run_once().await && engine.run_once().await } => match refreshed {
                    true => Ok(()),
                    false => Err(DaemonError::PackagesUnreadable),
                },
                signalled = told_to_end()? => Ok(signalled),
            },
        }
    });
    // What is being written may end; a question that is stuck in the file system must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn engine_options(settings: &Settings, paths: &Paths, announces: bool) -> Options {
    let root = settings.apt.root.as_ref().map(|root| root.to_string_lossy().into_owned());
    let backend = match settings.backend {
        Backend::Auto => detect_backend(settings.apt.root.as_deref()),
        backend => backend.as_str(),
    };
    let archive = paths.cache_dir.join("aur").join(ARCHIVE);
    let is_asked = settings.aur.enabled.unwrap_or(backend == Backend::Alpm.as_str());
    let aur = is_asked.then(|| AurOptions {
        url: settings.aur.url.clone(),
        archive: archive.clone(),
        keyserver: settings.aur.keyserver.clone(),
        devel: settings.aur.devel,
    });
    // Not among the package system's own snapshots, whose folder is cleared of what is not used any more.
    let aur_snapshot = || paths.data_dir.join("aur").join(Inputs::of_aur(&archive).file_name());
    let inputs =
        Inputs { aur: is_asked.then(aur_snapshot), ..Inputs::here(backend, root, settings.apt.options.clone()) };
    Options {
        data_dir: paths.data_dir.clone(),
        status_file: paths.status_file.clone(),
        inputs,
        aur,
        helper: settings.helper.clone().or_else(|| find_program("omg-helper", None)),
        helper_timeout: settings.helper_timeout,
        cache: CacheLimits {
            searches: settings.cache.searches,
            search_bytes: settings.cache.search_bytes,
            details: settings.cache.details,
            details_bytes: settings.cache.details_bytes,
        },
        announces,
        worker_interval: settings.worker_interval,
        status_max_age: settings.status_max_age,
        runtimes: settings.runtimes.clone(),
        cache_dir: paths.cache_dir.clone(),
    }
}

/// The package system of the distribution, by os-release(5): its own name first, then what it is like.
fn detect_backend(root: Option<&Path>) -> &'static str {
    let root = root.unwrap_or(Path::new("/"));
    let text = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|file| std::fs::read_to_string(root.join(file)).ok())
        .or_else(|| std::fs::read_to_string("/etc/os-release").ok())
        .unwrap_or_default();
    for key in ["ID=", "ID_LIKE="] {
        let names = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        for name in names.trim_matches(['"', '\'']).split_ascii_whitespace() {
            match name {
                "debian" | "ubuntu" => return "apt",
                "arch" | "archlinux" => return "alpm",
                _ => {}
            }
        }
    }
    "none"
}

async fn serve_client(engine: Arc<Engine>) -> Result<(), DaemonError> {
    let stream = std::io::stdin();
    let stream =
        rustix::io::dup(&stream).map(UnixStream::from).map_err(|error| DaemonError::NoSocketPair(error.into()))?;
    stream.peer_addr().map_err(DaemonError::NoSocketPair)?;
    let serving = peers::serve_stream(stream, engine, Activity::default(), "private".to_owned(), told_to_end()?);
    serving.await.map_err(DaemonError::Peer)
}

/// Waits for SIGTERM or SIGINT, from this call on.
fn told_to_end() -> Result<impl Future<Output = ()>, DaemonError> {
    let mut terminated = signal(SignalKind::terminate()).map_err(DaemonError::Runtime)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(DaemonError::Runtime)?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}

/// Why a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Idle,
    Signal,
    BusGone,
}

async fn serve(
    engine: Arc<Engine>,
    paths: &Paths,
    socket: Option<PathBuf>,
    inherited: Option<std::os::unix::net::UnixListener>,
    idle_timeout: Option<Duration>,
) -> Result<(), DaemonError> {
    let told_to_end = told_to_end()?;
    let activity = Activity::default();

    let passed_on = inherited.is_some();
    let entrance = match inherited {
        Some(listener) => Entrance::Open(Listener::inherited(listener)?),
        None => own_entrance(paths, socket)?,
    };
    let bus = Bus::connect(&engine, &activity, passed_on).await?;
    if bus.is_none() && !matches!(entrance, Entrance::Open(_)) {
        return Err(DaemonError::NowhereToServe);
    }
    let mut peers = Peers::new(entrance, Arc::clone(&engine), activity.clone());
    let connected = peers.connected();
    service_manager::ready();
    tracing::debug!("serving");
    let worker = tokio::spawn(Arc::clone(&engine).work(network::is_metered));

    let ending = {
        let mut watchdog = service_manager::Watchdog::new();
        tokio::select! {
            () = told_to_end => Ending::Signal,
            () = async { match &bus { Some(bus) => bus.closed().await, None => pending().await } } => Ending::BusGone,
            () = idle(&activity, &connected, idle_timeout) => Ending::Idle,
            () = peers.accept() => Ending::Signal,
            () = rest(&engine, &activity) => Ending::Signal,
            () = watchdog.keep() => Ending::Signal,
        }
    };
    tracing::debug!("ending: {ending:?}");
    // A call that came at the last moment may wait for a rebuild; nobody waits for a daemon that ends by itself.
    let grace = if ending == Ending::Idle { IDLE_GRACE } else { SHUTDOWN_GRACE };
    service_manager::stopping(grace);
    worker.abort();
    let finished = timeout(grace, async {
        if let Some(bus) = &bus {
            // A bus that does not answer must not keep the other clients waiting.
            let _ = timeout(RELEASE, bus.release()).await;
        }
        peers.stop(ending == Ending::Idle);
        activity.drained().await;
        // Those that connected at the last moment are answered; those that stay find the next daemon.
        let _ = timeout(SHUTDOWN_GRACE, peers.finish(ending == Ending::Idle)).await;
        if let Some(bus) = bus {
            bus.shutdown().await;
        }
    })
    .await;
    if finished.is_err() {
        tracing::warn!("requests were still running {} s after the end was asked for", grace.as_secs());
    }
    Ok(())
}

fn own_entrance(paths: &Paths, socket: Option<PathBuf>) -> Result<Entrance, DaemonError> {
    let wanted = socket.is_some() || paths.socket_origin == SocketOrigin::Override;
    let place = Place {
        path: socket.unwrap_or_else(|| paths.socket.clone()),
        make_folder: paths.socket_origin == SocketOrigin::Temporary && !wanted,
    };
    match place.bind() {
        Ok(listener) => Ok(Entrance::Open(listener)),
        Err(error) if wanted => Err(error.into()),
        // The bus alone will do where nobody asked for a socket.
        Err(error) => {
            tracing::warn!("no socket: {error}");
            Ok(match error {
                SocketError::InUse(_) => Entrance::Taken(place),
                _ => Entrance::None,
            })
        }
    }
}

/// Gives memory back whenever questions pause.
async fn rest(engine: &Engine, activity: &Activity) {
    loop {
        activity.paused(PAUSE).await;
        engine.rest();
        memory::give_back();
    }
}

/// Waits until nothing has been asked for `idle_timeout` and no peer is connected.
async fn idle(activity: &Activity, connected: &AtomicUsize, idle_timeout: Option<Duration>) {
    let Some(idle_timeout) = idle_timeout else { return pending().await };
    loop {
        let idle = if connected.load(Ordering::Acquire) == 0 { activity.idle_for() } else { None };
        let rest = idle_timeout.saturating_sub(idle.unwrap_or_default());
        if rest.is_zero() {
            return;
        }
        // While something runs the clock stands; a short look again does not keep a processor awake for long.
        sleep(if idle.is_some() { rest } else { rest.min(Duration::from_secs(5)) }).await;
    }
}

impl service_manager::Watchdog {
    /// Tells the service manager again and again that the main loop turns.
    async fn keep(&mut self) {
        let Some(period) = self.period() else { return pending().await };
        let mut ticks = interval_at(Instant::now() + period, period);
        loop {
            ticks.tick().await;
            self.alive();
        }
    }
}
