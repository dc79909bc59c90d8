//! Who calls: the bus is asked, never the caller.

use std::time::Duration;

use rustix::process::geteuid;
use tokio::time::timeout;
use zbus::message::{Flags, Header};
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::{Connection, fdo};

use super::error::Error;

/// A bus that has not answered by then is treated as not there.
const PATIENCE: Duration = Duration::from_secs(10);

const BUS: &str = "org.freedesktop.DBus";

/// Asks the bus about its peers, over a connection that serves nothing: a method that waits for an answer here holds up
/// no call, not even where calls are handled one after the other.
#[derive(Debug, Clone)]
pub struct Callers {
    /// None where nobody but this process's own user gets in, so that there is nothing to ask.
    bus: Option<Connection>,
}

/// Stands for the peer of a connection on which messages name no sender.
const ONLY_PEER: &str = ":0.0";

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: OwnedUniqueName,
    /// Whether people may be asked for their consent, by the message's own flag.
    pub interactive: bool,
}

impl Caller {
    /// The sender of a message.
    ///
    /// # Errors
    /// `NotAuthorized` when it has none: then it did not come over a bus, which vouches for senders.
    pub fn of(header: &Header<'_>) -> Result<Self, Error> {
        let name = header.sender().ok_or_else(|| Error::NotAuthorized("the message names no sender".into()))?;
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        Ok(Self { name: name.to_owned().into(), interactive })
    }
}

impl Callers {
    pub fn new(bus: Connection) -> Self {
        Self { bus: Some(bus) }
    }

    /// Of a session bus or a peer-to-peer connection, whose peers are all of this process's own user.
    pub fn of_own_user() -> Self {
        Self { bus: None }
    }

    /// The sender of a message.
    ///
    /// # Errors
    /// As [`Caller::of`], where there may be others than this process's own user.
    pub fn caller(&self, header: &Header<'_>) -> Result<Caller, Error> {
        if self.bus.is_some() || header.sender().is_some() {
            return Caller::of(header);
        }
        let name = OwnedUniqueName::try_from(ONLY_PEER)?;
        Ok(Caller { name, interactive: header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH) })
    }

    /// The user behind a name.
    ///
    /// # Errors
    /// `NotAuthorized` when the bus does not say, as for a peer that is gone.
    pub async fn uid(&self, name: &UniqueName<'_>) -> Result<u32, Error> {
        let Some(bus) = &self.bus else { return Ok(geteuid().as_raw()) };
        let asked = bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "GetConnectionUnixUser", name);
        let unknown = |why: &dyn std::fmt::Display| {
            Error::NotAuthorized(format!("the bus does not say which user {name} is: {why}"))
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(reply)) => reply.body().deserialize().map_err(|error| unknown(&error)),
            Ok(Err(error)) => Err(unknown(&error)),
            Err(late) => Err(unknown(&late)),
        }
    }

    /// Whether a peer is still there. A bus that does not say is taken for yes: that it is gone is announced too.
    pub async fn is_there(&self, name: &UniqueName<'_>) -> bool {
        let Some(bus) = &self.bus else { return true };
        let asked = bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "NameHasOwner", name);
        match timeout(PATIENCE, asked).await {
            Ok(Ok(reply)) => reply.body().deserialize().unwrap_or(true),
            Ok(Err(zbus::Error::FDO(error))) => !matches!(*error, fdo::Error::NameHasNoOwner(_)),
            _ => true,
        }
    }
}
