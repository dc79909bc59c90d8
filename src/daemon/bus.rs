//! The session bus.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, connection};

use crate::dbus::activity::Activity;
use crate::dbus::manager::Manager;
use tokio::sync::broadcast::error::RecvError;

use crate::dbus::names::{BUS_NAME, PATH, RUNTIMES_PATH};
use crate::dbus::runtimes::Runtimes;
use crate::dbus::served::Served;
use crate::engine::Engine;

/// A bus that has not answered by then is treated as not there.
const CONNECT: Duration = Duration::from_secs(10);

/// Why the daemon cannot serve on the bus.
#[derive(Debug, Error)]
pub enum BusError {
    #[error("another omgd owns {BUS_NAME}; `omg daemon status` tells which")]
    NameTaken,
    #[error("cannot claim {BUS_NAME} on the session bus: {0}")]
    Claim(zbus::Error),
}

/// The daemon's connection with the session bus.
#[derive(Debug)]
pub(super) struct Bus {
    connection: Connection,
    manager: Manager,
    signals: JoinHandle<()>,
}

impl Bus {
    /// Serves on the session bus; `None` where there is none. Objects are served before the name is claimed: whoever
    /// started the daemon with a call finds them. While another daemon has the name, `queue` waits behind it instead of
    /// failing: a daemon that was started for its socket has clients to serve meanwhile.
    pub(super) async fn connect(
        engine: &Arc<Engine>,
        activity: &Activity,
        queue: bool,
    ) -> Result<Option<Self>, BusError> {
        if !is_there() {
            return Ok(None);
        }
        let manager = Manager::new(Arc::clone(engine), activity.clone(), "bus".to_owned());
        let building = connection::Builder::session().serve_at(PATH, Served::new(manager.clone()));
        let building = building.serve_at(PATH, Served::new(manager.aur()));
        let building = building.serve_at(RUNTIMES_PATH, Served::new(manager.runtimes())).build();
        let connection = match timeout(CONNECT, building).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::warn!("no session bus: {error}");
                return Ok(None);
            }
            Err(_) => {
                tracing::warn!("no session bus: it did not answer within {} s", CONNECT.as_secs());
                return Ok(None);
            }
        };
        let flags = if queue { RequestNameFlags::empty() } else { RequestNameFlags::DO_NOT_QUEUE };
        match connection.request_name_with_flags(BUS_NAME, flags).await {
            Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => {}
            Ok(RequestNameReply::InQueue) => {
                tracing::warn!("another omgd owns {BUS_NAME}; until it ends, this one serves its socket");
            }
            Ok(_) | Err(zbus::Error::NameTaken) => return Err(BusError::NameTaken),
            Err(error) => return Err(BusError::Claim(error)),
        }
        let signals = tokio::spawn(send_signals(connection.clone(), Arc::clone(engine)));
        Ok(Some(Self { connection, manager, signals }))
    }

    /// Waits until the bus is gone.
    pub(super) async fn closed(&self) {
        self.connection.closed().await;
    }

    /// Gives up the name: calls from now on start the next daemon. Those that came before are all being handled when
    /// this returns: the daemon's own call of itself has travelled behind them.
    pub(super) async fn release(&self) {
        if let Err(error) = self.connection.release_name(BUS_NAME).await {
            tracing::debug!("the name was not released: {error}");
            return;
        }
        if let Some(own) = self.connection.unique_name().cloned() {
            let ping =
                self.connection.call_method(Some(own.as_ref()), PATH, Some("org.freedesktop.DBus.Peer"), "Ping", &());
            if let Err(error) = ping.await {
                tracing::debug!("the last calls may not have been handled: {error}");
            }
        }
    }

    /// Sends what is still to be sent and closes.
    pub(super) async fn shutdown(self) {
        self.signals.abort();
        let _ = self.signals.await;
        self.manager.end();
        self.connection.graceful_shutdown().await;
    }
}

/// Whether the environment names a session bus, or the user's bus is where systemd puts it.
fn is_there() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("DBUS_SESSION_BUS_ADDRESS").is_some()
        || set("XDG_RUNTIME_DIR").is_some_and(|folder| std::path::Path::new(&folder).join("bus").exists())
}

async fn send_signals(connection: Connection, engine: Arc<Engine>) {
    let mut changes = engine.changes();
    let mut runtime_changes = engine.runtime_changes();
    let (Ok(emitter), Ok(runtimes)) =
        (SignalEmitter::new(&connection, PATH), SignalEmitter::new(&connection, RUNTIMES_PATH))
    else {
        return;
    };
    loop {
        let sent = tokio::select! {
            change = changes.recv() => match change {
                Ok(change) => Manager::announce(&emitter, change).await,
                Err(RecvError::Lagged(_)) => Ok(()),
                Err(RecvError::Closed) => return,
            },
            change = runtime_changes.recv() => match change {
                Ok(change) => Runtimes::runtimes_changed(&runtimes, change).await,
                Err(RecvError::Lagged(_)) => Ok(()),
                Err(RecvError::Closed) => return,
            },
        };
        if let Err(error) = sent {
            tracing::debug!("signals were not sent: {error}");
        }
    }
}
