//! What passes between the daemon and the service manager: descriptors, readiness, watchdog.

use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use libsystemd::activation::{IsType, receive_descriptors};
use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};

/// The listening socket that a socket unit passed on, if one did. Call it before there is a second thread: it takes the
/// variables out of the environment, so that no child believes the descriptors to be its own.
pub(super) fn inherited_listener() -> Option<UnixListener> {
    let descriptors = receive_descriptors(true).ok()?;
    let mut listeners = descriptors.into_iter().filter(IsType::is_unix).map(IntoRawFd::into_raw_fd);
    let first = listeners.next()?;
    #[expect(unsafe_code, reason = "the protocol passes bare descriptor numbers (sd_listen_fds(3))")]
    // SAFETY: LISTEN_PID names this process, so the descriptor is open and nobody else's here.
    let listener = unsafe { UnixListener::from_raw_fd(first) };
    Some(listener)
}

/// Tells the service manager that calls can come.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// Tells the service manager that the daemon is ending, within `grace`.
pub(super) fn stopping(grace: Duration) {
    tell(NotifyState::Stopping);
    tell(NotifyState::Other(format!("EXTEND_TIMEOUT_USEC={}", grace.as_micros())));
}

fn tell(state: NotifyState) {
    if let Err(error) = notify(false, &[state]) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

/// The service manager's watchdog.
#[derive(Debug)]
pub(super) struct Watchdog {
    timeout: Option<Duration>,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self { timeout: watchdog_enabled(false) }
    }

    /// How often to call [`Watchdog::alive`]: twice within the timeout, as sd_watchdog_enabled(3) recommends.
    pub(super) fn period(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout / 2).filter(|period| !period.is_zero())
    }

    pub(super) fn alive(&self) {
        tell(NotifyState::Watchdog);
    }
}
