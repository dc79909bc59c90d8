//! OMG: one fast tool for system packages and language runtimes, over one D-Bus API.
//!
//! - [`package`]: the domain words, used by every other module
//! - [`index`]: the snapshot of all packages: format, writer, reader, search
//! - [`stamp`]: whether a file is still as it was
//! - [`status`]: the status file's format, shared with `omg-fast`
//! - [`config`]: the configuration file, validated
//! - [`store`]: what must survive a reboot (redb)
//! - [`aur`]: the AUR's packages
//! - [`security`]: the audit log
//! - [`transaction`]: actions, plans, progress and outcomes, and the helper's wire format
//! - [`runtime`]: language runtimes: versions, version files, fetching, checking, switching
//! - [`unit`]: programs in units of the user's service manager
//! - [`engine`]: the daemon's state: snapshot holder, caches, refresh worker, helper processes
//! - [`dbus`]: the D-Bus interfaces, proxies, names and errors
//! - [`daemon`]: activation, idle exit, signals: puts the rest together
//! - [`cli`]: the command line

pub mod aur;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dbus;
pub mod engine;
pub mod index;
pub mod package;
pub mod runtime;
pub mod security;
pub mod stamp;
pub mod status;
pub mod store;
pub mod transaction;
pub mod unit;
