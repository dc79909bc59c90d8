//! Keeps the machine from sleeping or shutting down while packages are half changed.

use std::os::fd::OwnedFd;

use zbus::Connection;

/// Asks logind to wait, until the descriptor is closed. `None` where there is no logind, or it does not want to.
pub async fn inhibit(bus: &Connection) -> Option<OwnedFd> {
    const NAME: &str = "org.freedesktop.login1";
    let asked = ("shutdown:sleep", "omg", "Packages are being changed", "block");
    let path = "/org/freedesktop/login1";
    let reply = bus.call_method(Some(NAME), path, Some("org.freedesktop.login1.Manager"), "Inhibit", &asked).await;
    let lock: zbus::OwnedFd = reply.ok()?.body().deserialize().ok()?;
    Some(lock.into())
}
