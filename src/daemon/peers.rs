//! Peer-to-peer clients on the socket.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zbus::object_server::SignalEmitter;
use zbus::{Guid, connection};

use super::socket::{Listener, Place};
use crate::dbus::activity::Activity;
use crate::dbus::manager::Manager;
use crate::dbus::names::{PATH, RUNTIMES_PATH};
use crate::dbus::runtimes::Runtimes;
use crate::dbus::served::Served;
use crate::dbus::socket::Stream;
use crate::engine::Engine;

/// The most clients at once.
const MAX_PEERS: usize = 512;

/// A client that has not authenticated by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after `accept` fails, as it does while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a daemon whose socket another one has looks whether it is free: a handful of system calls.
const SOCKET_RETRY: Duration = Duration::from_secs(5);

/// Where clients connect.
#[derive(Debug)]
pub(super) enum Entrance {
    Open(Listener),
    /// Another daemon listens there; this one does once that has ended.
    Taken(Place),
    None,
}

/// Accepts and serves peer-to-peer clients.
#[derive(Debug)]
pub(super) struct Peers {
    entrance: Entrance,
    engine: Arc<Engine>,
    activity: Activity,
    clients: JoinSet<()>,
    /// Becomes true when connections are to end.
    ending: watch::Sender<bool>,
    connected: Arc<AtomicUsize>,
    accepted: u64,
}

/// Counts a client for as long as it lives.
struct Connected(Arc<AtomicUsize>);

impl Connected {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Peers {
    pub(super) fn new(entrance: Entrance, engine: Arc<Engine>, activity: Activity) -> Self {
        Self {
            entrance,
            engine,
            activity,
            clients: JoinSet::new(),
            ending: watch::Sender::new(false),
            connected: Arc::new(AtomicUsize::new(0)),
            accepted: 0,
        }
    }

    /// How many clients are connected, now and later.
    pub(super) fn connected(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connected)
    }

    /// Accepts and serves; never ends.
    pub(super) async fn accept(&mut self) {
        loop {
            let listener = match &self.entrance {
                Entrance::Open(listener) => listener,
                Entrance::Taken(place) => {
                    // From now on clients of that daemon come here.
                    if let Some(listener) = place.once_free(SOCKET_RETRY).await {
                        self.entrance = Entrance::Open(listener);
                    } else {
                        self.entrance = Entrance::None;
                    }
                    continue;
                }
                Entrance::None => return std::future::pending().await,
            };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(stream) => self.serve(stream),
                    Err(error) => {
                        tracing::warn!("cannot accept a client: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.clients.join_next() => {}
            }
        }
    }

    fn serve(&mut self, stream: UnixStream) {
        if self.connected.load(Ordering::Acquire) >= MAX_PEERS {
            tracing::warn!("{MAX_PEERS} clients are connected; another was turned away");
            return;
        }
        if let Err(why) = check_peer(&stream) {
            tracing::warn!("a client was turned away: {why}");
            return;
        }
        self.accepted += 1;
        let (engine, activity) = (Arc::clone(&self.engine), self.activity.clone());
        let (peer, connected) = (format!("peer {}", self.accepted), Connected::new(&self.connected));
        let mut ending = self.ending.subscribe();
        self.clients.spawn(async move {
            let _connected = connected;
            let ended = async move {
                // The sender lives as long as the clients do.
                let _ = ending.wait_for(|ending| *ending).await;
            };
            if let Err(error) = serve_stream(stream, engine, activity, peer, ended).await {
                tracing::debug!("a client was lost: {error}");
            }
        });
    }

    /// Accepts nothing more. With `drain`, clients that are connecting are still served.
    pub(super) fn stop(&mut self, drain: bool) {
        let waiting = match std::mem::replace(&mut self.entrance, Entrance::None) {
            Entrance::Open(listener) => listener.close(),
            Entrance::Taken(_) | Entrance::None => Vec::new(),
        };
        if drain {
            for stream in waiting {
                self.serve(stream);
            }
        }
    }

    /// Waits until the clients have ended their connections; without `drain`, ends those once their calls are answered.
    pub(super) async fn finish(&mut self, drain: bool) {
        self.ending.send_replace(!drain);
        while self.clients.join_next().await.is_some() {}
    }
}

/// Refuses peers of other users. The socket's mode keeps them out already; root is let through by the kernel.
fn check_peer(stream: &UnixStream) -> Result<(), String> {
    let credentials =
        socket_peercred(stream.as_fd()).map_err(|error| format!("its credentials cannot be read: {error}"))?;
    let own = rustix::process::geteuid();
    if credentials.uid == own {
        Ok(())
    } else {
        Err(format!("it runs as user {}, this daemon serves user {}", credentials.uid.as_raw(), own.as_raw()))
    }
}

/// Serves one client until it is gone, or until `ended`: then its running calls are still answered.
///
/// # Errors
/// When the connection cannot be set up.
pub(super) async fn serve_stream(
    stream: UnixStream,
    engine: Arc<Engine>,
    activity: Activity,
    peer: String,
    ended: impl Future<Output = ()>,
) -> zbus::Result<()> {
    tokio::pin!(ended);
    let manager = Manager::new(Arc::clone(&engine), activity, peer);
    let mut changes = engine.changes();
    let mut runtime_changes = engine.runtime_changes();
    let failed = |error: std::io::Error| zbus::Error::InputOutput(Arc::new(error));
    let uid = socket_peercred(stream.as_fd()).map_err(|error| failed(error.into()))?.uid;
    let socket = Stream::to_client(stream, uid.as_raw()).map_err(failed)?;
    let building = connection::Builder::socket(socket)
        .server(Guid::generate())
        .p2p()
        .serve_at(PATH, Served::new(manager.clone()))
        .serve_at(PATH, Served::new(manager.aur()))
        .serve_at(RUNTIMES_PATH, Served::new(manager.runtimes()))
        .build();
    let connection = tokio::select! {
        built = timeout(HANDSHAKE, building) => built
            .map_err(|_| zbus::Error::Handshake(format!("no authentication within {} s", HANDSHAKE.as_secs())))??,
        () = &mut ended => return Ok(()),
    };
    {
        let emitter = SignalEmitter::new(&connection, PATH)?;
        let runtimes = SignalEmitter::new(&connection, RUNTIMES_PATH)?;
        loop {
            tokio::select! {
                () = connection.closed() => {
                    manager.end();
                    return Ok(());
                }
                () = &mut ended => break,
                // A connection that is gone ends the loop by itself; a signal that cannot be sent is no reason to cut one.
                change = changes.recv() => if let Ok(change) = change
                    && let Err(error) = Manager::announce(&emitter, change).await
                {
                    tracing::debug!("signals were not sent: {error}");
                },
                change = runtime_changes.recv() => if let Ok(change) = change
                    && let Err(error) = Runtimes::runtimes_changed(&runtimes, change).await
                {
                    tracing::debug!("signals were not sent: {error}");
                },
            }
        }
    }
    manager.end();
    connection.graceful_shutdown().await;
    Ok(())
}
